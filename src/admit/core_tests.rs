use std::time::{Duration, Instant};

use super::*;
use crate::admit::clock::Reads;
use crate::admit::commits::Committed;
use crate::admit::counters::{Cause, Outcome};

const MS: Duration = Duration::from_millis(1);

pub(super) fn who(client_id: u32, process: Option<u32>) -> Who {
    let [account, program, address] = ["root@localhost", "bd", "127.0.0.1:5000"].map(str::to_owned);
    Who { client_id, account, program, address, process }
}

pub(super) fn key(name: &str) -> LaneKey {
    let (database, branch) = name.split_once('/').expect("db/branch");
    LaneKey::new(database, branch)
}

fn keys(names: &[&str]) -> BTreeSet<LaneKey> {
    names.iter().map(|name| key(name)).collect()
}

/// A core, its sessions by their number from 1, and a clock that stands.
struct Town {
    core: Core,
    now: Instant,
}

const A: Ticket = Ticket(1);
const B: Ticket = Ticket(2);
const C: Ticket = Ticket(3);
const D: Ticket = Ticket(4);
const MAIN: &[&str] = &["db/main"];

impl Town {
    /// One session per entry, of that process.
    fn of(processes: &[Option<u32>]) -> Self {
        let now = Instant::now();
        let mut core = Core::new(LaneSettings::default(), now);
        for (at, process) in processes.iter().enumerate() {
            assert_eq!(core.join(who(at as u32 + 1, *process)), Ticket(at as u64 + 1));
        }
        Self { core, now }
    }

    /// Four sessions of four processes.
    fn strangers() -> Self {
        Self::of(&[Some(1), Some(2), Some(3), Some(4)])
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn take(&mut self, ticket: Ticket, names: &[&str]) -> Step {
        self.core.take(ticket, &keys(names), self.now)
    }

    fn look(&mut self, ticket: Ticket) -> Look {
        self.core.look(ticket, self.now)
    }

    /// In how many milliseconds it has to look again.
    fn looks_in(&mut self, ticket: Ticket) -> Option<u128> {
        match self.look(ticket) {
            Look::Granted => panic!("{ticket:?} does not wait"),
            Look::Wait { until } => until.map(|until| (until - self.now).as_millis()),
        }
    }

    fn commit(&mut self, ticket: Ticket, names: &[&str], kind: Committed) {
        self.core.committed(ticket, &keys(names), kind, self.now);
    }

    fn release_all(&mut self, ticket: Ticket) {
        self.core.release_all(ticket, self.now);
    }

    fn idle(&mut self, ticket: Ticket) {
        self.core.idle(ticket, self.now);
    }

    fn holder(&self, name: &str) -> Option<Ticket> {
        Some(self.core.lanes.get(&key(name))?.holder.as_ref()?.ticket)
    }

    fn wakes(&mut self) -> Vec<Ticket> {
        self.core.take_effects().wakes
    }

    fn moved(&self, names: &[&str], since: u64) -> bool {
        let mut reads = Reads::default();
        names.iter().for_each(|name| reads.lane(&key(name)));
        self.core.moved_since(&reads, since)
    }

    fn counters(&self) -> Counters {
        self.core.totals().counters
    }
}

const HELD: Step = Step::Taken { anew: false };
const ANEW: Step = Step::Taken { anew: true };

#[test]
fn a_free_lane_is_taken_and_its_own_is_not_new() {
    let mut town = Town::strangers();
    assert_eq!(town.take(A, MAIN), ANEW);
    assert_eq!(town.take(A, MAIN), HELD);
    assert_eq!(town.take(A, &["db/x", "db/main"]), ANEW, "a free earlier lane needs no yielding");
    assert_eq!(town.core.held(A), [key("db/main"), key("db/x")]);
    assert_eq!(town.take(B, &["other/main"]), ANEW);
}

#[test]
fn waiters_are_served_in_order_and_one_is_woken() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    for ticket in [B, C, D] {
        assert_eq!(town.take(ticket, MAIN), Step::Wait);
    }
    town.core.leave_queue(C, town.now);
    town.wakes();
    town.pass(5 * MS);
    town.release_all(A);
    assert_eq!(town.holder("db/main"), Some(B));
    assert_eq!(town.wakes(), [B, D], "the new holder, and the one who has to watch it now");
    assert_eq!(town.look(B), Look::Granted);
    assert_eq!(town.take(B, MAIN), ANEW);
    assert!(matches!(town.look(D), Look::Wait { .. }));
    town.release_all(B);
    assert_eq!(town.holder("db/main"), Some(D));
    let counters = town.counters();
    assert_eq!((counters.grants, counters.waits), (3, 3));
    assert_eq!((counters.wait_total, counters.wait_max), (10 * MS, 5 * MS));
    assert_eq!(town.core.totals().waiting, 0);
}

#[test]
fn only_the_first_waiter_watches_the_holder() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.take(B, MAIN);
    town.take(C, MAIN);
    town.wakes();
    assert_eq!(town.looks_in(B), Some(1000), "to warn");
    assert_eq!(town.looks_in(C), None);
    town.core.leave_queue(B, town.now);
    assert_eq!(town.wakes(), [C]);
    town.pass(1000 * MS);
    assert_eq!(town.looks_in(C), Some(2000), "the holder is busy: it can't be idle for long before then");
}

#[test]
fn an_idle_holder_loses_the_lane_after_two_seconds_and_comes_back_first() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.take(B, MAIN);
    town.pass(100 * MS);
    town.idle(A);
    town.pass(1999 * MS);
    assert_eq!(town.looks_in(B), Some(1));
    assert_eq!(town.core.take_over(B, town.now), None);
    town.pass(MS);
    assert_eq!(town.core.take_over(C, town.now), None, "it does not wait");
    assert_eq!(town.take(C, MAIN), Step::Wait);
    assert_eq!(town.core.take_over(C, town.now), None, "it is not the first");
    assert_eq!(town.core.take_over(B, town.now), Some(Lending::Idle));
    assert!(!town.core.uses(A, &key("db/main")));
    assert_eq!(town.counters().lent_idle, 1);
    assert_eq!(town.take(B, MAIN), ANEW);
    assert_eq!(town.take(D, MAIN), Step::Wait);
    assert_eq!(town.take(A, MAIN), Step::Wait, "at its COMMIT");
    town.release_all(B);
    assert_eq!(town.holder("db/main"), Some(A), "before C and D, who came earlier");
    assert_eq!(town.take(A, MAIN), ANEW, "it has to check");
    town.release_all(A);
    assert_eq!(town.holder("db/main"), Some(C));
}

#[test]
fn who_ended_its_transaction_while_lent_does_not_come_first_in_the_next() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.idle(A);
    town.take(B, MAIN);
    town.pass(2000 * MS);
    assert_eq!(town.look(B), Look::Granted);
    assert!(town.core.has_any(A), "a claim to come back");
    town.release_all(A);
    assert!(!town.core.has_any(A));
    town.take(C, MAIN);
    town.take(A, MAIN);
    town.release_all(B);
    assert_eq!(town.holder("db/main"), Some(C));
}

#[test]
fn a_busy_holder_keeps_its_lane() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.take(B, MAIN);
    town.idle(A);
    town.pass(1999 * MS);
    town.core.busy(A);
    town.pass(Duration::from_secs(3600));
    assert_eq!(town.core.take_over(B, town.now), None);
    town.idle(A);
    assert_eq!(town.core.take_over(B, town.now), None, "its idling begins anew");
}

#[test]
fn a_waiter_of_the_same_process_jumps_the_queue_after_forty_milliseconds() {
    let mut town = Town::of(&[Some(7), Some(1), Some(7), Some(7), None]);
    let unknown = Ticket(5);
    for ticket in [A, B, unknown, D, C] {
        town.take(ticket, MAIN);
    }
    town.wakes();
    town.idle(A);
    assert_eq!(town.looks_in(D), Some(40));
    assert_eq!(town.looks_in(C), None, "D came earlier");
    assert_eq!(town.looks_in(unknown), None);
    town.pass(39 * MS);
    assert_eq!(town.core.take_over(D, town.now), None);
    town.pass(MS);
    assert_eq!(town.core.take_over(C, town.now), None);
    assert_eq!(town.core.take_over(D, town.now), Some(Lending::SameProcess));
    assert!(town.wakes().contains(&C), "the next of that process watches now");
    assert_eq!((town.counters().lent_same_process, town.counters().lent_idle), (1, 0));
    town.release_all(D);
    assert_eq!(town.holder("db/main"), Some(B), "the queue goes on in its order");
}

#[test]
fn unknown_processes_are_not_the_same_until_they_are_known() {
    let mut town = Town::of(&[None, Some(1), None]);
    for ticket in [A, B, C] {
        town.take(ticket, MAIN);
    }
    town.idle(A);
    town.pass(50 * MS);
    assert_eq!(town.core.take_over(C, town.now), None);
    town.core.set_process(A, 7);
    assert_eq!(town.core.take_over(C, town.now), None);
    town.wakes();
    town.core.set_process(C, 7);
    assert!(town.wakes().contains(&C));
    assert_eq!(town.core.take_over(C, town.now), Some(Lending::SameProcess));
    town.core.set_process(B, 8);
    assert_eq!(town.core.lanes[&key("db/main")].queue.len(), 1, "learning twice adds no waiter");
    town.release_all(C);
    assert_eq!(town.holder("db/main"), Some(B));
}

#[test]
fn a_kept_lane_is_kept_for_one_second_even_from_a_busy_session() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    assert!(!town.core.uses(A, &key("db/main")), "not in use");
    town.take(B, MAIN);
    town.take(C, MAIN);
    town.pass(999 * MS);
    assert_eq!(town.looks_in(B), Some(1));
    town.pass(MS);
    assert_eq!(town.core.take_over(B, town.now), Some(Lending::KeepOver));
    assert_eq!((town.counters().keeps, town.counters().keeps_taken_over), (1, 1));
    assert_eq!(town.counters().lent_idle, 0);
    town.take(A, MAIN);
    town.release_all(B);
    assert_eq!(town.holder("db/main"), Some(C), "A was between transactions: no claim to come first");
}

#[test]
fn a_kept_lane_is_given_to_the_same_process_after_forty_idle_milliseconds() {
    let mut town = Town::of(&[Some(7), Some(1), Some(7)]);
    town.take(A, MAIN);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    town.take(B, MAIN);
    town.take(C, MAIN);
    town.pass(50 * MS);
    assert_eq!(town.core.take_over(C, town.now), None, "A is busy");
    town.idle(A);
    town.pass(40 * MS);
    assert_eq!(town.core.take_over(C, town.now), Some(Lending::KeepOver));
}

#[test]
fn a_kept_lane_in_use_again_is_not_taken_and_renewing_does_not_prolong() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    town.take(B, MAIN);
    town.pass(900 * MS);
    assert_eq!(town.take(A, MAIN), HELD, "nobody was in between");
    town.pass(200 * MS);
    assert_eq!(town.core.take_over(B, town.now), None);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    assert_eq!(town.holder("db/main"), Some(B), "its second was over");
}

#[test]
fn a_dolt_commit_ends_the_second_and_only_written_lanes_are_kept() {
    let mut town = Town::strangers();
    town.take(A, &["db/main", "db/x"]);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    assert_eq!((town.holder("db/main"), town.holder("db/x")), (Some(A), None));
    town.pass(900 * MS);
    town.take(A, MAIN);
    town.commit(A, MAIN, Committed::Dolt);
    town.core.keep(A, OwnRows::Always, town.now);
    assert_eq!(town.holder("db/main"), None, "nothing of its own awaits a Dolt commit");
    town.take(A, MAIN);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    town.take(B, MAIN);
    town.pass(999 * MS);
    assert_eq!(town.core.take_over(B, town.now), None, "a new second");
    town.core.release_kept(A, town.now);
    assert_eq!(town.holder("db/main"), Some(B));
}

#[test]
fn waiting_for_an_earlier_lane_yields_the_later_ones() {
    let mut town = Town::strangers();
    town.take(A, &["db/main"]);
    town.take(B, &["db/x"]);
    assert_eq!(town.take(B, &["db/main"]), Step::Wait, "x comes before main: B keeps it");
    assert_eq!(town.holder("db/x"), Some(B));
    assert_eq!(town.take(A, &["db/x"]), Step::Wait, "main comes after x: A gives it up");
    assert_eq!(town.holder("db/main"), Some(B));
    assert_eq!(town.take(B, &["db/main"]), ANEW);
    assert_eq!(town.take(C, &["db/main"]), Step::Wait);
    town.release_all(B);
    assert_eq!(town.look(A), Look::Granted);
    assert_eq!(town.holder("db/main"), Some(C), "A had not asked for it yet");
    assert_eq!(town.take(A, &["db/x"]), Step::Wait, "it gets back what it yielded");
    town.take(D, &["db/main"]);
    town.release_all(C);
    assert_eq!(town.holder("db/main"), Some(A));
    assert_eq!(town.take(A, &["db/x"]), ANEW);
    assert_eq!(town.counters().yields, 1);
}

#[test]
fn a_take_given_up_leaves_what_was_there_before() {
    let mut town = Town::strangers();
    town.take(A, &["db/b"]);
    town.take(A, &["db/f"]);
    town.take(B, &["db/d"]);
    assert_eq!(town.take(A, &["db/c", "db/d", "db/main"]), Step::Wait);
    assert_eq!(town.core.held(A), [key("db/b"), key("db/c")]);
    town.core.give_up(A, town.now);
    assert_eq!(town.core.held(A), [key("db/b")]);
    assert_eq!(town.take(C, &["db/c", "db/f"]), ANEW, "both are free");
    assert_eq!(town.take(D, &["db/f"]), Step::Wait);
    assert_eq!(town.take(A, &["db/b", "db/f"]), Step::Wait);
    town.release_all(C);
    assert_eq!(town.holder("db/f"), Some(A), "what it yielded counts as lent: it comes first");
    assert_eq!(town.take(A, &["db/b", "db/f"]), ANEW);
}

#[test]
fn try_take_takes_all_or_changes_nothing() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    assert_eq!(town.core.try_take(B, &keys(&["db/x", "db/main"]), town.now), None);
    assert!(!town.core.has_any(B));
    assert_eq!(town.core.totals().waiting, 0);
    assert_eq!(town.core.try_take(B, &keys(&["db/x", "db/y"]), town.now), Some(ANEW));
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    let mut town = Town::strangers();
    town.take(A, &["db/x", "db/main"]);
    town.take(B, MAIN);
    town.take(C, MAIN);
    town.core.leave(B, town.now);
    town.core.leave(A, town.now);
    assert_eq!((town.holder("db/main"), town.holder("db/x")), (Some(C), None));
    town.core.leave(C, town.now);
    let totals = town.core.totals();
    assert_eq!((totals.held, totals.waiting, town.core.records.len()), (0, 0, 1));
}

#[test]
fn a_long_holding_is_warned_of_once_and_only_while_others_wait() {
    let mut town = Town::strangers();
    let long = |town: &mut Town| {
        let notes = town.core.take_effects().notes;
        notes.into_iter().filter(|note| matches!(note, Note::HeldLong { .. })).collect::<Vec<_>>()
    };
    town.take(A, MAIN);
    town.pass(5000 * MS);
    town.take(B, MAIN);
    assert_eq!(town.looks_in(B), Some(1000), "nobody waited before");
    town.pass(1000 * MS);
    assert_eq!(town.looks_in(B), Some(2000));
    let held = Duration::from_secs(6);
    assert_eq!(long(&mut town), [Note::HeldLong { key: key("db/main"), by: 1, held, waiting: 1 }]);
    town.pass(1000 * MS);
    town.look(B);
    assert_eq!(long(&mut town), []);
    town.release_all(A);
    town.take(C, MAIN);
    town.pass(1000 * MS);
    town.look(C);
    assert_eq!(long(&mut town).len(), 1, "another holding");
}

#[test]
fn what_moved_since_a_snapshot_is_seen() {
    let mut town = Town::strangers();
    let snapshot = town.core.clock.now();
    assert!(!town.moved(&["db/main", "db/x"], snapshot));
    town.commit(A, &["db/x"], Committed::Sql);
    assert!(town.moved(&["db/main", "db/x"], snapshot));
    assert!(!town.moved(&["db/main"], snapshot));
    assert!(!town.moved(&["db/x"], town.core.clock.now()));
    let mut reads = Reads::default();
    reads.database("DB");
    assert!(town.core.moved_since(&reads, snapshot));
    reads.clear();
    reads.database("other");
    assert!(!town.core.moved_since(&reads, snapshot));
    reads.everything();
    assert!(town.core.moved_since(&reads, snapshot));
    let snapshot = town.core.clock.now();
    town.take(A, MAIN);
    town.release_all(A);
    assert!(!town.core.moved_since(&reads, snapshot), "holding moves nothing");
    town.core.touched("Other");
    assert!(town.core.moved_since(&reads, snapshot));
    assert!(!town.moved(&["other/main"], snapshot), "no branch of it");
    town.core.bypassed(&key("other/main"), town.now);
    assert!(town.moved(&["other/main"], snapshot));
    assert_eq!(town.counters().bypasses, 1);
}

#[test]
fn pruning_makes_old_snapshots_count_as_moved() {
    let mut town = Town::strangers();
    let snapshot = town.core.clock.now();
    town.commit(A, MAIN, Committed::Sql);
    for n in 0..20_000 {
        town.commit(A, &[&format!("db{n}/main")], Committed::Sql);
    }
    assert!(town.moved(MAIN, snapshot), "forgotten, not unmoved");
    let mut reads = Reads::default();
    reads.database("db");
    assert!(town.core.moved_since(&reads, snapshot));
    assert!(town.core.others_active_since("db", B, snapshot));
    assert!(!town.moved(MAIN, town.core.clock.now()));
}

#[test]
fn idle_lanes_are_forgotten_and_others_never() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.take(B, MAIN);
    for n in 0..25_000 {
        town.take(C, &[&format!("db/x{n}")]);
        town.release_all(C);
    }
    assert!(town.core.lanes.len() <= 10_000);
    assert_eq!(town.holder("db/main"), Some(A));
    town.release_all(A);
    assert_eq!(town.holder("db/main"), Some(B));
    assert_eq!(town.counters().grants, 25_002, "totals remember");
}

#[test]
fn others_are_active_while_they_hold_and_since_they_did() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    let since = town.core.clock.now();
    assert!(!town.core.others_active_since("DB", A, since), "its own lane does not count");
    assert!(town.core.others_active_since("db", B, since));
    town.take(B, &["db/x"]);
    assert!(town.core.others_active_since("db", A, since));
    assert!(!town.core.others_active_since("other", A, since));
    town.release_all(B);
    assert!(town.core.others_active_since("db", A, since), "it was, in between");
    let since = town.core.clock.now();
    assert!(!town.core.others_active_since("db", A, since));
    town.commit(A, MAIN, Committed::Sql);
    town.core.release(A, &key("db/main"), town.now);
    assert!(!town.core.others_active_since("db", A, since), "its own doing does not count");
    town.take(B, &["db/x"]);
    town.commit(B, &["db/x"], Committed::Sql);
    town.core.keep(B, OwnRows::Always, town.now);
    town.take(A, MAIN);
    assert!(town.core.others_active_since("db", A, since));
    let since = town.core.clock.now();
    assert!(!town.core.others_active_since("db", A, since), "a kept lane is not in use");
    town.take(B, &["db/x"]);
    assert!(town.core.others_active_since("db", A, since), "now it is");
    town.release_all(B);
    let since = town.core.clock.now();
    town.core.touched("db");
    assert!(town.core.others_active_since("db", A, since));
}

#[test]
fn a_dolt_commit_that_takes_foreign_rows_along_is_a_sweep() {
    let mut town = Town::strangers();
    use Committed::*;
    let steps: [(Ticket, Committed, u64); 10] = [
        (A, Sql, 0),
        (A, Dolt, 0),
        (A, Sql, 0),
        (B, Dolt, 1),
        (B, Dolt, 1),
        (A, Sql, 1),
        (B, Sql, 1),
        (B, Other, 1),
        (B, SqlAndDolt, 2),
        (C, SqlAndDolt, 2),
    ];
    town.take(C, &["db/x"]);
    for (at, (ticket, kind, sweeps)) in steps.into_iter().enumerate() {
        town.take(ticket, MAIN);
        town.commit(ticket, MAIN, kind);
        town.core.release(ticket, &key("db/main"), town.now);
        assert_eq!(town.counters().sweeps, sweeps, "step {at}");
    }
    let uptime = Duration::ZERO;
    assert_eq!(town.core.lanes[&key("db/main")].counters.sweeps_per_minute(uptime), 2);
    assert_eq!(town.core.lanes[&key("db/x")].counters.sweeps, 0);
}

#[test]
fn habits_are_learned_from_commits_and_from_keeps_that_were_too_slow() {
    let mut town = Town::strangers();
    let believes = |town: &Town| town.core.believes(A, OwnRows::Learn);
    let mut step = |kind, believed: bool, why: &str| {
        town.commit(A, MAIN, kind);
        assert_eq!(believes(&town), believed, "{why}");
    };
    step(Committed::Sql, true, "its first");
    step(Committed::Other, true, "DOLT_ADD says nothing");
    step(Committed::Dolt, true, "as believed");
    step(Committed::Dolt, true, "a Dolt commit without a SQL commit teaches nothing");
    for at in 1..COMMITS_PER_MISS * 2 {
        step(Committed::Sql, true, &format!("{at} in a row"));
    }
    step(Committed::Sql, false, "twice as many in a row as a miss takes: score 0");
    step(Committed::Dolt, true, "one Dolt commit is enough");
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.commit(A, MAIN, Committed::Sql);
    town.core.keep(A, OwnRows::Always, town.now);
    town.take(B, MAIN);
    town.pass(1000 * MS);
    assert_eq!(town.look(B), Look::Granted);
    assert!(!believes(&town));
    town.take(B, &["db/x"]);
    assert!(town.core.believes(B, OwnRows::Learn), "a session that has not shown anything yet, for a moment");
    town.commit(A, MAIN, Committed::Sql);
    town.commit(A, MAIN, Committed::Dolt);
    assert!(believes(&town), "the commit that was too slow counted once");
}

#[test]
fn outcomes_are_counted_by_cause_and_lane() {
    let mut town = Town::strangers();
    town.take(A, MAIN);
    town.core.outcome(Outcome::Rerun, Cause::Moved, &keys(MAIN));
    town.core.outcome(Outcome::Conflict, Cause::AnswerChanged, &keys(&["db/main", "db/unknown"]));
    let totals = town.core.totals();
    assert_eq!(totals.by_cause(Outcome::Rerun, Cause::Moved), 1);
    assert_eq!(totals.by_cause(Outcome::Conflict, Cause::Moved), 0);
    let lane = &town.core.lanes[&key("db/main")].counters;
    assert_eq!((lane.reruns, lane.conflicts, totals.counters.conflicts), (1, 1, 1));
}
