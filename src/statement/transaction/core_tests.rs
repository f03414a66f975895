//! The rules, one by one; the model test against real Dolt is `tests/transactions.rs`.

use super::core::*;
use crate::admit::{LaneKey, Reads};
use crate::wire::response::{ErrInfo, STATUS_AUTOCOMMIT, STATUS_IN_TRANS};
use std::collections::BTreeSet;
use std::sync::Arc;

fn lane(branch: &str) -> LaneKey {
    LaneKey::new("hq", branch)
}

fn lanes(branches: &[&str]) -> BTreeSet<LaneKey> {
    branches.iter().map(|branch| lane(branch)).collect()
}

fn unit(does: Does, writes: &[&str]) -> Unit {
    Unit { does, writes: lanes(writes), ..Unit::nothing() }
}

fn read(branch: &str) -> Unit {
    let mut reads = Reads::default();
    reads.lane(&lane(branch));
    Unit { does: Does::Read, reads, ..Unit::nothing() }
}

fn text(text: &str) -> Option<Arc<[u8]>> {
    Some(Arc::from(text.as_bytes()))
}

const BEGIN: Does = Does::Begin { consistent: false };
const OUT: u16 = STATUS_AUTOCOMMIT;
const IN: u16 = STATUS_AUTOCOMMIT | STATUS_IN_TRANS;

/// Does what the session does: plans, begins, sends, takes the answer in.
fn run(transaction: &mut Transaction, unit: &Unit, clock: u64, status: u16) -> (Plan, After) {
    let plan = transaction.plan(unit, true);
    if plan.answered {
        transaction.answered(unit, text("BEGIN"));
        return (plan, After::default());
    }
    if let Some(begin) = plan.begins.clone() {
        transaction.begins(begin, clock);
    }
    let after = transaction.after(
        unit,
        Facts { status: Some(status), err: None, clock, autocommit: true },
        text("BEGIN"),
    );
    (plan, after)
}

#[test]
fn an_autocommit_write_takes_its_lane_and_gives_it_back() {
    let mut transaction = Transaction::default();
    let (plan, after) = run(&mut transaction, &unit(Does::Dml, &["main"]), 1, OUT);
    assert_eq!(plan, Plan { lanes: lanes(&["main"]), commits: true, ..Plan::default() });
    assert_eq!(after, After { committed: lanes(&["main"]), ended: true, logged: false, ..After::default() });
}

#[test]
fn an_autocommit_read_needs_nothing() {
    let mut transaction = Transaction::default();
    let (plan, after) = run(&mut transaction, &read("main"), 1, OUT);
    assert_eq!(plan, Plan::default());
    assert_eq!(after, After { ended: true, ..After::default() });
}

#[test]
fn begin_is_sent_with_the_first_statement_behind_the_lane() {
    let mut transaction = Transaction::default();
    assert!(run(&mut transaction, &unit(BEGIN, &[]), 1, IN).0.answered);
    assert!(transaction.is_begun() && !transaction.is_open());
    let (plan, after) = run(&mut transaction, &unit(Does::Dml, &["main"]), 5, IN);
    assert_eq!(plan.begins, Some(Begin::Text(text("BEGIN").unwrap())));
    assert_eq!(plan.lanes, lanes(&["main"]));
    assert!(!plan.commits && !plan.validate);
    assert_eq!(after, After { logged: true, ..After::default() });
    assert_eq!(transaction.snapshot().map(|(_, clock)| clock), Some(5));
    let (plan, after) = run(&mut transaction, &unit(Does::Commit, &[]), 9, OUT);
    assert!(plan.validate && plan.commits && plan.lanes_of_reads);
    assert_eq!(plan.lanes, lanes(&["main"]));
    assert_eq!(after, After { committed: lanes(&["main"]), ended: true, logged: false, ..After::default() });
    assert!(!transaction.is_begun());
}

#[test]
fn a_transaction_that_did_nothing_costs_dolt_nothing() {
    for end in [Does::Commit, Does::Rollback] {
        let mut transaction = Transaction::default();
        run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
        assert!(transaction.plan(&unit(end, &[]), true).answered);
    }
}

#[test]
fn reads_first_then_a_write_is_validated_under_the_lane() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    assert!(run(&mut transaction, &read("main"), 3, IN).0.lanes.is_empty());
    for does in [Does::Dml, Does::LockingRead] {
        let plan = transaction.plan(&unit(does, &["main"]), true);
        assert!(plan.validate, "{does:?}");
        assert_eq!(plan.lanes, lanes(&["main"]));
    }
}

#[test]
fn a_transaction_that_only_read_commits_without_a_lane() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &read("main"), 3, IN);
    let (plan, after) = run(&mut transaction, &unit(Does::Commit, &[]), 4, OUT);
    assert_eq!(plan, Plan::default());
    assert_eq!(after, After { ended: true, ..After::default() });
}

#[test]
fn what_was_read_is_held_still_at_commit() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &read("other"), 3, IN);
    run(&mut transaction, &unit(Does::Dml, &["main"]), 4, IN);
    let plan = transaction.plan(&unit(Does::Commit, &[]), true);
    assert!(plan.lanes_of_reads && plan.validate);
    assert_eq!(transaction.depends_on().0.lanes(), &lanes(&["other"]));
}

#[test]
fn a_locking_read_holds_its_lane_but_is_no_write() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    let (plan, _) = run(&mut transaction, &unit(Does::LockingRead, &["main"]), 2, IN);
    assert_eq!(plan.lanes, lanes(&["main"]));
    assert!(!transaction.wrote());
    let (_, after) = run(&mut transaction, &unit(Does::Commit, &[]), 3, OUT);
    assert!(after.committed.is_empty() && after.ended);
}

#[test]
fn ddl_commits_what_is_open_and_what_begin_began_stays_begun() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &unit(Does::Dml, &["main"]), 2, IN);
    let (plan, after) = run(&mut transaction, &unit(Does::CommitsItself, &["main"]), 3, OUT);
    assert!(plan.validate && plan.commits);
    assert_eq!(after, After { committed: lanes(&["main"]), ended: false, logged: false, ..After::default() });
    // The next statement has a snapshot of its own, and is not committed by itself.
    let (plan, after) = run(&mut transaction, &unit(Does::Dml, &["main"]), 7, IN);
    assert_eq!(plan.begins, Some(Begin::Odd));
    assert_eq!((plan.commits, after.committed.len()), (false, 0));
    assert_eq!(transaction.snapshot().map(|(_, clock)| clock), Some(7));
    let (_, after) = run(&mut transaction, &unit(Does::Commit, &[]), 8, OUT);
    assert_eq!(after, After { committed: lanes(&["main"]), ended: true, logged: false, ..After::default() });
}

#[test]
fn begin_inside_a_transaction_commits_it() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &unit(Does::Dml, &["main"]), 2, IN);
    let (plan, after) = run(&mut transaction, &unit(BEGIN, &[]), 3, IN);
    assert!(!plan.answered && plan.validate && plan.commits);
    assert_eq!(after.committed, lanes(&["main"]));
    assert!(!after.ended && transaction.is_open() && !transaction.wrote());
}

#[test]
fn without_autocommit_any_statement_begins() {
    let mut transaction = Transaction::default();
    assert_eq!(transaction.plan(&unit(Does::Nothing, &[]), false), Plan::default());
    let plan = transaction.plan(&unit(Does::Dml, &["main"]), false);
    assert_eq!((plan.begins.clone(), plan.lanes.clone()), (Some(Begin::Implicit), lanes(&["main"])));
    transaction.begins(Begin::Implicit, 4);
    let facts = Facts { status: Some(STATUS_IN_TRANS), err: None, clock: 4, autocommit: false };
    assert!(transaction.after(&unit(Does::Dml, &["main"]), facts, None).logged);
    let plan = transaction.plan(&unit(Does::Commit, &[]), false);
    assert!(plan.validate && plan.commits);
    let facts = Facts { status: Some(0), err: None, clock: 5, autocommit: false };
    let after = transaction.after(&unit(Does::Commit, &[]), facts, None);
    assert_eq!((after.committed, after.ended), (lanes(&["main"]), true));
}

#[test]
fn after_1213_the_next_transaction_takes_its_lanes_first() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &read("main"), 2, IN);
    transaction.refused(lanes(&["main"]));
    assert!(!transaction.is_begun());
    run(&mut transaction, &unit(Does::Rollback, &[]), 2, OUT);
    run(&mut transaction, &unit(BEGIN, &[]), 3, IN);
    let (plan, _) = run(&mut transaction, &read("main"), 4, IN);
    assert_eq!(plan.lanes, lanes(&["main"]));
    run(&mut transaction, &unit(Does::Commit, &[]), 5, OUT);
    run(&mut transaction, &unit(BEGIN, &[]), 6, IN);
    assert!(run(&mut transaction, &read("main"), 7, IN).0.lanes.is_empty(), "once");
}

#[test]
fn dolts_1213_ends_the_transaction_and_other_errors_do_not() {
    for (code, message, ends) in [
        (1213, "serialization failure: this transaction conflicts", true),
        (1062, "duplicate primary key given: [1]", false),
        (1105, "optimistic lock failed on database Root update", false),
        (1105, "Merge conflict detected, @autocommit transaction rolled back.", true),
    ] {
        let mut transaction = Transaction::default();
        run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
        run(&mut transaction, &unit(Does::Dml, &["main"]), 2, IN);
        let err = ErrInfo::new(code, "HY000", message);
        let facts = Facts { status: None, err: Some(&err), clock: 3, autocommit: true };
        let after = transaction.after(&unit(Does::Commit, &[]), facts, None);
        assert_eq!((after.ended, transaction.is_open()), (ends, !ends), "{message}");
        assert_eq!(after.committed, lanes(&["main"]), "it may have moved: {message}");
    }
}

#[test]
fn several_statements_may_leave_a_transaction_open() {
    let mut transaction = Transaction::default();
    let (plan, after) = run(&mut transaction, &unit(Does::Anything, &["main"]), 1, IN);
    assert!(plan.commits && plan.lanes == lanes(&["main"]));
    assert!(transaction.is_open() && transaction.wrote() && !after.ended);
    let (_, after) = run(&mut transaction, &unit(Does::Anything, &["main"]), 2, OUT);
    assert!(after.ended && !transaction.is_open());
    assert_eq!(after.committed, lanes(&["main"]));
}

#[test]
fn a_lost_backend_forgets_what_dolt_had_begun_by_itself() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &unit(Does::CommitsItself, &["main"]), 2, OUT);
    transaction.lost_backend();
    let plan = transaction.plan(&unit(Does::Dml, &["main"]), true);
    assert_eq!(plan.begins, Some(Begin::Text(text("BEGIN").unwrap())));
}

#[test]
fn without_autocommit_what_is_not_understood_stays_open() {
    for status in [Some(0), Some(STATUS_IN_TRANS), None] {
        let mut transaction = Transaction::default();
        transaction.begins(Begin::Implicit, 4);
        let facts = Facts { status, err: None, clock: 4, autocommit: false };
        let after = transaction.after(&unit(Does::Anything, &["main"]), facts, None);
        assert!(transaction.is_open() && transaction.wrote() && after.opaque && !after.ended, "{status:?}");
        let plan = transaction.plan(&unit(Does::Commit, &[]), false);
        assert!(plan.validate && plan.commits && plan.lanes == lanes(&["main"]));
    }
}

#[test]
fn a_procedure_that_may_have_committed_nothing_leaves_its_transaction_open() {
    let maybe = Unit { surely_commits: false, dolt: true, ..unit(Does::CommitsItself, &["main"]) };
    for (status, open) in [(IN, true), (OUT, false)] {
        let mut transaction = Transaction::default();
        run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
        run(&mut transaction, &unit(Does::Dml, &["main"]), 2, IN);
        let (_, after) = run(&mut transaction, &maybe, 3, status);
        assert_eq!((transaction.is_open(), after.opaque), (open, open));
        assert_eq!(transaction.wrote(), open);
    }
}

#[test]
fn failed_ddl_commits_nothing_and_is_not_run_again() {
    let mut transaction = Transaction::default();
    run(&mut transaction, &unit(BEGIN, &[]), 1, IN);
    run(&mut transaction, &read("main"), 2, IN);
    let err = ErrInfo::new(1050, "HY000", "table with name t already exists");
    let facts = Facts { status: None, err: Some(&err), clock: 3, autocommit: true };
    let after = transaction.after(&unit(Does::CommitsItself, &["main"]), facts, None);
    assert!(after.opaque && after.committed.is_empty() && !after.logged && transaction.is_open());
}
