//! The list of branches, and what is done about orphans, against real Dolt.

mod support;

use std::time::{Duration, Instant};

use branchline::branch::list::{BranchRow, list};
use branchline::branch::reap::reap;
use support::embedded::Embedded;

fn listed(branchline: &Embedded) -> Vec<BranchRow> {
    branchline.run(list(&branchline.context, Some("rig"))).expect("a list")
}

fn row(branchline: &Embedded, branch: &str) -> BranchRow {
    let rows = listed(branchline);
    rows.into_iter().find(|row| row.branch == branch).unwrap_or_else(|| panic!("{branch} is not listed"))
}

#[test]
fn a_branch_is_listed_with_all_that_main_has_not() {
    let branchline = Embedded::start(|_| {});
    branchline.database("rig", &[]);
    let mut main = branchline.direct("rig");
    main.run("INSERT INTO dolt_ignore VALUES ('wisps', true)");
    main.run("CALL DOLT_COMMIT('-Am', 'ignored')");
    main.run("CREATE TABLE wisps (id INT PRIMARY KEY)");
    main.run("INSERT INTO wisps VALUES (1)");
    let mut session = branchline.on("polecat-nux", "rig");
    session.run("INSERT INTO t VALUES (1, 'x')");
    main.run("CALL DOLT_BRANCH('by-hand')");
    let nux = row(&branchline, "polecat-nux");
    assert_eq!((nux.ahead, nux.behind, nux.sessions), (0, 0, 1));
    assert_eq!(nux.uncommitted, ["t"]);
    assert_eq!(nux.ignored, Vec::<String>::new(), "as it was forked");
    assert!(nux.unmerged && !nux.orphan && nux.last_seen.is_some() && nux.created.is_some(), "{nux:?}");
    session.run("INSERT INTO wisps VALUES (2)");
    session.run("CALL DOLT_COMMIT('-Am', 'work')");
    main.run("CALL DOLT_COMMIT('--allow-empty', '-m', 'elsewhere')");
    let nux = row(&branchline, "polecat-nux");
    assert_eq!((nux.ahead, nux.behind), (1, 1));
    assert_eq!((nux.uncommitted, nux.ignored), (vec![], vec!["wisps".to_owned()]));
    let by_hand = row(&branchline, "by-hand");
    assert!(!by_hand.unmerged && by_hand.worker.is_none() && by_hand.sessions == 0, "{by_hand:?}");
    assert_eq!(listed(&branchline).len(), 2, "not main, and nothing of our own making");
}

#[test]
fn fifty_branches_are_listed_in_well_under_a_second() {
    let branchline = Embedded::start(|_| {});
    let names: Vec<String> = (0..50).map(|number| format!("polecat-{number}")).collect();
    branchline.database("rig", &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(listed(&branchline).len(), 50);
    let began = Instant::now();
    assert_eq!(listed(&branchline).len(), 50);
    let took = began.elapsed();
    println!("50 branches in {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn orphans_with_work_are_told_once_and_nothing_of_them_is_touched() {
    let branchline = Embedded::start(|config| config.branches.orphan_after = Duration::ZERO);
    branchline.database("rig", &["polecat-empty", "polecat-work", "feature"]);
    branchline.direct("rig/polecat-work").run("INSERT INTO t VALUES (1, 'x')");
    let in_use = branchline.on("polecat-used", "rig");
    let context = &branchline.context;
    let of = |dry_run| {
        let reaped = branchline.run(reap(context, None, dry_run)).expect("a look");
        reaped.into_iter().map(|reaped| (reaped.branch, reaped.action)).collect::<Vec<_>>()
    };
    let want = [("polecat-empty".to_owned(), "delete"), ("polecat-work".to_owned(), "alert")];
    assert_eq!(of(true), want);
    assert!(context.book.alerts().is_empty(), "a dry run tells nobody");
    assert_eq!(of(false)[1], want[1]);
    let alerts = context.book.alerts();
    let [alert] = alerts.values().collect::<Vec<_>>()[..] else { panic!("{alerts:?}") };
    assert!(alert.starts_with("branch polecat-work of rig is an orphan"), "{alert}");
    assert!(alert.contains("0 commits and 1 table that main has not"), "{alert}");
    assert_eq!(of(false).last(), Some(&want[1]));
    assert_eq!(context.book.alerts(), alerts, "the same alert, told once");
    let there: Vec<String> = listed(&branchline).into_iter().map(|row| row.branch).collect();
    assert!(there.contains(&"polecat-work".to_owned()) && there.contains(&"feature".to_owned()), "{there:?}");
    // The alert is over once somebody is on it.
    let mut back = branchline.on("polecat-work", "rig");
    back.run("SELECT * FROM t");
    of(false);
    assert!(context.book.alerts().is_empty());
    drop(in_use);
}
