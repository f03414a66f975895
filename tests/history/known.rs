//! The checker on histories that people wrote: each anomaly is found under its name, and good ones are left alone.

use super::checker::{Kind, check};
use super::history::{History, Key, Op, Outcome, Txn, Value};
use Outcome::{Fail, Info, Ok as Done};

/// A history line by line; transactions overlap in time unless `at` says otherwise.
#[derive(Default)]
struct Script(History);

fn append(key: Key, value: Value) -> Op {
    Op::Append(key, value)
}

fn read(key: Key, list: &[Value]) -> Op {
    Op::Read(key, list.to_vec())
}

impl Script {
    fn txn(self, outcome: Outcome, ops: impl IntoIterator<Item = Op>) -> Self {
        self.at(0, 100, outcome, ops)
    }

    fn at(mut self, began: u64, ended: u64, outcome: Outcome, ops: impl IntoIterator<Item = Op>) -> Self {
        let session = self.0.txns.len();
        let ops = ops.into_iter().collect();
        self.0.txns.push(Txn { session, began, ended, ops, outcome, note: String::new() });
        self
    }

    fn ends(mut self, key: Key, list: &[Value]) -> Self {
        self.0.finals.insert(key, list.to_vec());
        self
    }

    #[track_caller]
    fn is(self, wanted: &[Kind]) -> String {
        let anomalies = check(&self.0);
        let texts: Vec<String> = anomalies.iter().map(ToString::to_string).collect();
        let texts = texts.join("\n");
        let kinds: Vec<Kind> = anomalies.into_iter().map(|anomaly| anomaly.kind).collect();
        assert_eq!(kinds, wanted, "{texts}");
        texts
    }
}

#[test]
fn good_histories_are_good() {
    Script::default().is(&[]);
    Script::default()
        .txn(Done, [append(1, 1), read(1, &[1]), append(1, 2)])
        .txn(Done, [read(1, &[1, 2]), append(2, 3)])
        .txn(Fail, [read(1, &[1, 2]), append(1, 4), read(1, &[1, 2, 4])])
        .txn(Done, [read(2, &[3]), read(1, &[1, 2])])
        .txn(Done, [read(2, &[]), read(1, &[1, 2])])
        .ends(1, &[1, 2])
        .ends(2, &[3])
        .is(&[]);
    // Told "unknown": it may have happened, late too, or not.
    Script::default()
        .at(0, 1, Info, [append(1, 1)])
        .at(0, 1, Info, [append(1, 2)])
        .at(5, 6, Done, [read(1, &[])])
        .at(7, 8, Done, [read(1, &[1])])
        .ends(1, &[1])
        .is(&[]);
}

#[test]
fn g0_two_transactions_write_through_each_other() {
    Script::default()
        .txn(Done, [append(1, 1), append(2, 2)])
        .txn(Done, [append(1, 3), append(2, 4)])
        .ends(1, &[1, 3])
        .ends(2, &[4, 2])
        .is(&[Kind::G0]);
}

#[test]
fn g1a_a_read_of_what_failed() {
    Script::default().txn(Fail, [append(1, 1)]).txn(Done, [read(1, &[1])]).is(&[Kind::AbortedRead]);
    // And of what is there in the end though the client was told that it has not happened.
    Script::default().txn(Fail, [append(1, 1)]).ends(1, &[1]).is(&[Kind::AbortedRead]);
}

#[test]
fn g1b_a_read_of_half_a_transaction() {
    Script::default()
        .txn(Done, [append(1, 1), append(1, 2)])
        .txn(Done, [read(1, &[1])])
        .ends(1, &[1, 2])
        .is(&[Kind::IntermediateRead, Kind::GSingle]);
}

#[test]
fn g1c_each_reads_what_the_other_wrote() {
    let text = Script::default()
        .txn(Done, [append(1, 1), read(2, &[2])])
        .txn(Done, [append(2, 2), read(1, &[1])])
        .ends(1, &[1])
        .ends(2, &[2])
        .is(&[Kind::G1c]);
    for part in
        ["a cycle of 2 among 2", "T0: session 0, Ok, append(1, 1), read(2) = [2]", "T0 < T1, wr: its 1 in 1"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn lost_updates() {
    Script::default()
        .txn(Done, [read(1, &[7]), append(1, 1)])
        .txn(Done, [read(1, &[7]), append(1, 2)])
        .at(0, 1, Done, [append(1, 7)])
        .ends(1, &[7, 1, 2])
        .is(&[Kind::LostUpdate]);
    // The other way to lose one: overwritten.
    Script::default()
        .txn(Done, [read(1, &[]), append(1, 1)])
        .txn(Done, [read(1, &[]), append(1, 2)])
        .ends(1, &[2])
        .is(&[Kind::LostAppend]);
}

#[test]
fn g_single_a_read_that_is_torn() {
    Script::default()
        .txn(Done, [append(1, 1), append(2, 2)])
        .txn(Done, [read(1, &[1]), read(2, &[])])
        .ends(1, &[1])
        .ends(2, &[2])
        .is(&[Kind::GSingle]);
}

#[test]
fn g2_write_skew() {
    Script::default()
        .txn(Done, [read(1, &[]), append(2, 2)])
        .txn(Done, [read(2, &[]), append(1, 1)])
        .ends(1, &[1])
        .ends(2, &[2])
        .is(&[Kind::G2]);
    // Over three, one of them only reading.
    Script::default()
        .txn(Done, [read(1, &[]), append(2, 2)])
        .txn(Done, [read(2, &[]), append(3, 3)])
        .txn(Done, [read(3, &[]), append(1, 1)])
        .ends(1, &[1])
        .ends(2, &[2])
        .ends(3, &[3])
        .is(&[Kind::G2]);
}

#[test]
fn an_append_that_is_there_twice() {
    Script::default().txn(Done, [append(1, 1)]).ends(1, &[1, 1]).is(&[Kind::Duplicate]);
    Script::default()
        .txn(Done, [append(1, 1)])
        .txn(Done, [append(1, 2)])
        .txn(Done, [read(1, &[1, 2, 1])])
        .ends(1, &[1, 2, 1])
        .is(&[Kind::Duplicate, Kind::Duplicate, Kind::G0]);
    // Also of one whose client was told nothing.
    Script::default().txn(Info, [append(1, 1)]).ends(1, &[1, 1]).is(&[Kind::Duplicate]);
}

#[test]
fn an_acknowledged_append_that_is_lost() {
    Script::default().txn(Done, [append(1, 1)]).ends(1, &[]).is(&[Kind::LostAppend]);
    Script::default()
        .txn(Done, [append(1, 1)])
        .txn(Done, [append(1, 2)])
        .txn(Done, [read(1, &[1])])
        .ends(1, &[2])
        .is(&[Kind::IncompatibleOrder, Kind::LostAppend]);
}

#[test]
fn two_orders_of_one_list() {
    Script::default()
        .txn(Done, [append(1, 1)])
        .txn(Done, [append(1, 2)])
        .txn(Done, [read(1, &[2])])
        .ends(1, &[1, 2])
        .is(&[Kind::IncompatibleOrder]);
}

#[test]
fn a_value_out_of_nowhere() {
    Script::default().ends(1, &[5]).is(&[Kind::UnknownValue]);
}

#[test]
fn a_transaction_that_does_not_see_itself() {
    Script::default().txn(Done, [append(1, 1), read(1, &[])]).ends(1, &[1]).is(&[Kind::Internal]);
    Script::default()
        .txn(Done, [append(1, 1)])
        .txn(Done, [read(1, &[]), read(1, &[1])])
        .ends(1, &[1])
        .is(&[Kind::Internal, Kind::GSingle]);
    // Only itself, in spite of what it has seen.
    Script::default()
        .txn(Done, [append(1, 1)])
        .txn(Fail, [read(1, &[1]), append(1, 2), read(1, &[2])])
        .ends(1, &[1])
        .is(&[Kind::Internal]);
}

#[test]
fn what_is_only_wrong_in_time() {
    // Serialisable, but the reader came after the writer had been told.
    let stale = |began| {
        Script::default().at(0, 10, Done, [append(1, 1)]).at(began, 20, Done, [read(1, &[])]).ends(1, &[1])
    };
    stale(11).is(&[Kind::GSingleRealTime]);
    stale(10).is(&[]);
    Script::default()
        .at(0, 10, Done, [append(1, 1)])
        .at(11, 20, Done, [append(1, 2)])
        .ends(1, &[2, 1])
        .is(&[Kind::G0RealTime]);
    // Read before it was written.
    Script::default()
        .at(0, 10, Done, [read(1, &[1])])
        .at(11, 20, Done, [append(1, 1)])
        .ends(1, &[1])
        .is(&[Kind::G1cRealTime]);
    // Through others: the time between the first and the last is only implied.
    Script::default()
        .at(0, 10, Done, [append(1, 1)])
        .at(11, 20, Done, [append(2, 2)])
        .at(21, 30, Done, [append(3, 3)])
        .at(31, 40, Done, [read(1, &[])])
        .ends(1, &[1])
        .ends(2, &[2])
        .ends(3, &[3])
        .is(&[Kind::GSingleRealTime]);
    Script::default()
        .at(0, 10, Done, [append(3, 3)])
        .at(11, 20, Done, [read(2, &[])])
        .at(5, 25, Done, [append(2, 2), read(3, &[])])
        .ends(2, &[2])
        .ends(3, &[3])
        .is(&[Kind::G2RealTime]);
}

#[test]
fn each_group_is_reported_once_and_by_its_worst() {
    let mut script = Script::default();
    for group in [10, 20] {
        script = script
            .txn(Done, [append(group, group.into()), append(group + 1, 100 + u64::from(group))])
            .txn(Done, [append(group, 200 + u64::from(group)), append(group + 1, 300 + u64::from(group))])
            .txn(Done, [read(group, &[])])
            .ends(group, &[group.into(), 200 + u64::from(group)])
            .ends(group + 1, &[300 + u64::from(group), 100 + u64::from(group)]);
    }
    script.is(&[Kind::G0, Kind::G0]);
}
