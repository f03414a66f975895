//! Fifty polecats at once: each forks, commits five times, and is done. Every row and every commit is on main.

#[allow(dead_code, reason = "shared with the benchmark")]
#[path = "../benches/polecats/day.rs"]
mod day;
mod support;

use support::town::Town;

#[test]
fn fifty_polecats_at_once_lose_nothing() {
    let town = Town::start("");
    let times = day::through_branchline(&town.branchline);
    println!("{times}");
    let mut main = town.client(day::DATABASE);
    let (rows, commits) = (day::POLECATS * day::COMMITS, day::POLECATS * day::COMMITS);
    assert_eq!(main.row("SELECT COUNT(*), COUNT(DISTINCT id) FROM issues"), format!("{rows}|{rows}"));
    let log = |kind: &str| format!("SELECT COUNT(*) FROM dolt_log WHERE message LIKE '{kind}'");
    assert_eq!(main.row(&log("work of %")), commits.to_string(), "each commit once");
    let merges = "SELECT COUNT(*) FROM dolt_commit_ancestors WHERE parent_index = 1";
    assert_eq!(main.row(merges), day::POLECATS.to_string(), "a merge commit for each polecat");
    assert_eq!(main.row("SELECT COUNT(*) FROM dolt_status"), "0", "nothing is left uncommitted");
    assert_eq!(main.row("SELECT GROUP_CONCAT(name) FROM dolt_branches"), "main");
    assert_eq!(main.row("SELECT COUNT(*) FROM dolt_tags"), "0", "no base outlives its branch");
}
