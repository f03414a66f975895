//! Owns the price of one step alone: a commit, a merge to main, main to a branch, by size of the table, number of
//! branches and length of the history.

use std::time::{Duration, Instant};

use super::support::client::Client;
use super::{Merge, Place, merge, quantiles};

/// Times of one kind of step.
#[derive(Default)]
struct Times {
    commit: Vec<Duration>,
    forward: Vec<Duration>,
    three_way: Vec<Duration>,
    checked: Vec<Duration>,
    refresh: Vec<Duration>,
}

/// A table of medians.
pub fn print(rounds: u32, sizes: &[u32]) {
    println!("\nOne at a time, nobody else, ms: median (p99) of {rounds}");
    println!(
        "| rows | branches | commits on main | commit on a branch | to main, fast-forward | to main, three-way | three-way, checked, as `done` | main to the branch, fast-forward |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for &rows in sizes {
        for branches in [2, 50, 400] {
            let place = Place::new(rows, branches);
            row(&place, rows, rounds);
            if branches == 50 {
                lengthen(&place, 2_000);
                row(&place, rows, rounds);
            }
        }
    }
}

fn row(place: &Place, rows: u32, rounds: u32) {
    let mut main = place.client("s/main");
    let mut branches = ["s/b0", "s/b1"].map(|branch| place.client(branch));
    for client in &mut branches {
        merge(client, "main");
    }
    let commits = main.row("SELECT COUNT(*) FROM dolt_log");
    let base: u64 = commits.parse::<u64>().expect("a number") * 1_000_000;
    let mut times = Times::default();
    for round in 0..u64::from(rounds) {
        let [first, second] = &mut branches;
        times.commit.push(commit(first, base + round * 4));
        let (kind, took) = timed(|| merge(&mut main, "b0"));
        assert_eq!(kind, Merge::Forward, "main had not moved");
        times.forward.push(took);
        // Main has moved away from where b1 is.
        times.commit.push(commit(second, base + round * 4 + 1));
        let (kind, took) = timed(|| merge(&mut main, "b1"));
        assert_eq!(kind, Merge::ThreeWay, "main had moved");
        times.three_way.push(took);
        for client in [&mut *first, &mut *second] {
            let (kind, took) = timed(|| merge(client, "main"));
            assert_eq!(kind, Merge::Forward, "the branch had nothing of its own");
            times.refresh.push(took);
        }
        commit(first, base + round * 4 + 2);
        commit(second, base + round * 4 + 3);
        merge(&mut main, "b0");
        times.checked.push(timed(|| checked_merge(&mut main, "b1")).1);
        merge(first, "main");
        merge(second, "main");
    }
    let cells =
        [times.commit, times.forward, times.three_way, times.checked, times.refresh].map(|mut times| {
            let [median, p99] = quantiles(&mut times);
            format!("{median:.1} ({p99:.1})")
        });
    println!("| {rows} | {} | {commits} | {} |", place.branches(), cells.join(" | "));
}

/// A longer history: each commit of b0 merged to main on its own.
fn lengthen(place: &Place, commits: u64) {
    let mut main = place.client("s/main");
    for number in 0..commits {
        main.run(&format!(
            "INSERT INTO issues VALUES ({}, 'long ago', 'closed', NOW(6))",
            900_000_000 + number
        ));
        main.run("CALL DOLT_COMMIT('-Am', 'long ago')");
    }
}

fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let value = action();
    (value, begun.elapsed())
}

/// One row and its Dolt commit.
pub fn commit(client: &mut Client, id: u64) -> Duration {
    let id = id + 1_000_000_000_000;
    timed(|| {
        client.run(&format!("INSERT INTO issues VALUES ({id}, 'new', 'open', NOW(6))"));
        client.run("CALL DOLT_COMMIT('-Am', 'new')");
    })
    .1
}

/// In a transaction that looks for conflicts before it commits.
fn checked_merge(main: &mut Client, branch: &str) {
    main.run("SET autocommit = 0");
    main.run(&format!("CALL DOLT_MERGE('--no-ff', '--no-commit', '{branch}')"));
    for table in ["dolt_conflicts", "dolt_schema_conflicts", "dolt_constraint_violations"] {
        assert_eq!(main.row(&format!("SELECT COUNT(*) FROM {table}")), "0");
    }
    main.run(&format!("CALL DOLT_COMMIT('-m', 'merge {branch}')"));
    main.run("COMMIT");
    main.run("SET autocommit = 1");
}
