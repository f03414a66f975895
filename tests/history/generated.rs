//! The checker on histories of an executor that runs one transaction after another: never an alarm; and on the same
//! ones with one answer changed: always one.

use proptest::prelude::*;

use super::checker::{Anomaly, Kind, check};
use super::history::{History, Key, Op, Outcome, Txn, Value};
use super::random::Random;

const KEYS: u64 = 4;
/// Between two moments at which transactions take effect.
const STEP: u64 = 100;

/// Transactions that take effect one after another, each at a moment within its time, and its lists at that moment.
fn executed(seed: u64, count: usize) -> History {
    let mut random = Random::new(seed);
    let finals = (0..KEYS).map(|key| (key as Key, Vec::new())).collect();
    let mut history = History { txns: Vec::new(), finals };
    for at in 0..count {
        let moment = (at as u64 + 10) * STEP;
        let outcome = [Outcome::Ok, Outcome::Ok, Outcome::Ok, Outcome::Ok, Outcome::Fail, Outcome::Info]
            [random.below(6) as usize];
        let happens = outcome == Outcome::Ok || outcome == Outcome::Info && random.one_in(2);
        let mut lists = history.finals.clone();
        let ops = (0..1 + random.below(4)).map(|op| {
            let key = random.below(KEYS) as Key;
            let list = lists.get_mut(&key).expect("there from the start");
            if random.one_in(2) {
                return Op::Read(key, list.clone());
            }
            let value = at as Value * 10 + op;
            list.push(value);
            Op::Append(key, value)
        });
        let ops: Vec<Op> = ops.collect();
        if happens {
            history.finals = lists;
        }
        let mut near = || random.below(3 * STEP);
        let (began, ended) = (moment - near(), moment + near());
        history.txns.push(Txn { session: at % 5, began, ended, ops, outcome, note: String::new() });
    }
    history
}

fn found(history: &History) -> Vec<Kind> {
    check(history).into_iter().map(|anomaly: Anomaly| anomaly.kind).collect()
}

/// Places in a history, the first to fit from a random one on.
fn pick<T>(random: &mut Random, mut places: Vec<T>) -> Option<T> {
    let count = places.len() as u64;
    (count > 0).then(|| places.swap_remove(random.below(count) as usize))
}

fn reads(history: &History) -> impl Iterator<Item = (usize, usize, Key, &Vec<Value>)> {
    history.txns.iter().enumerate().filter(|(_, txn)| txn.outcome == Outcome::Ok).flat_map(|(at, txn)| {
        txn.ops.iter().enumerate().filter_map(move |(place, op)| match op {
            Op::Read(key, list) => Some((at, place, *key, list)),
            Op::Append(..) => None,
        })
    })
}

fn writer(history: &History, value: Value) -> &Txn {
    &history.txns[(value / 10) as usize]
}

/// The list that a read returned.
fn answer(history: &mut History, (at, place): (usize, usize)) -> &mut Vec<Value> {
    match &mut history.txns[at].ops[place] {
        Op::Read(_, list) => list,
        Op::Append(..) => unreachable!("a read was picked"),
    }
}

fn only_op_on(txn: &Txn, key: Key) -> bool {
    txn.ops.iter().filter(|op| matches!(op, Op::Read(k, _) | Op::Append(k, _) if *k == key)).count() == 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_after_another_is_never_an_alarm(seed: u64, count in 0_usize..120) {
        let anomalies = check(&executed(seed, count));
        prop_assert!(anomalies.is_empty(), "{:?}", anomalies);
    }

    #[test]
    fn an_acknowledged_append_that_is_missing_in_the_end_is_found(seed: u64) {
        let mut history = executed(seed, 60);
        let acknowledged = history.txns.iter().filter(|txn| txn.outcome == Outcome::Ok);
        let appends = acknowledged.flat_map(|txn| &txn.ops).filter_map(|op| match op {
            Op::Append(key, value) => Some((*key, *value)),
            Op::Read(..) => None,
        });
        let (key, value) = pick(&mut Random::new(seed), appends.collect()).expect("60 transactions append something");
        history.finals.get_mut(&key).expect("there").retain(|kept| *kept != value);
        prop_assert!(found(&history).contains(&Kind::LostAppend));
    }

    #[test]
    fn a_second_execution_is_found(seed: u64) {
        let mut history = executed(seed, 60);
        let mut random = Random::new(seed);
        let places = history.finals.iter().flat_map(|(key, list)| list.iter().map(move |value| (*key, *value)));
        let (key, value) = pick(&mut random, places.collect()).expect("60 transactions append something");
        let list = history.finals.get_mut(&key).expect("there");
        let first = list.iter().position(|kept| *kept == value).expect("picked from it") as u64;
        let again = first + 1 + random.below(list.len() as u64 - first);
        list.insert(again as usize, value);
        prop_assert!(found(&history).contains(&Kind::Duplicate));
    }

    #[test]
    fn two_values_in_another_order_are_found(seed: u64) {
        let mut history = executed(seed, 60);
        let places = reads(&history).filter(|(at, _, key, list)| {
            // Others than its own, of two transactions.
            list.len() > 1 && only_op_on(&history.txns[*at], *key) && list[list.len() - 1] / 10 != list[list.len() - 2] / 10
        });
        let place = pick(&mut Random::new(seed), places.map(|(at, place, ..)| (at, place)).collect());
        let list = answer(&mut history, place.expect("60 transactions read something"));
        let last = list.len() - 1;
        list.swap(last - 1, last);
        let found = found(&history);
        prop_assert!(found.contains(&Kind::IncompatibleOrder), "{:?}", found);
    }

    #[test]
    fn a_value_that_was_rolled_back_is_found(seed: u64) {
        let mut history = executed(seed, 80);
        let failed = history.txns.iter().filter(|txn| txn.outcome == Outcome::Fail);
        let values: Vec<_> = failed.flat_map(|txn| &txn.ops).filter_map(|op| match op {
            Op::Append(key, value) => Some((*key, *value)),
            Op::Read(..) => None,
        }).collect();
        let mut places = Vec::new();
        for (at, place, key, _) in reads(&history) {
            places.extend(values.iter().filter(|(appended, _)| *appended == key).map(|(_, value)| (at, place, *value)));
        }
        let (at, place, value) = pick(&mut Random::new(seed), places).expect("some of 80 fail");
        answer(&mut history, (at, place)).push(value);
        prop_assert!(found(&history).contains(&Kind::AbortedRead));
    }

    #[test]
    fn a_stale_read_is_found(seed: u64) {
        let mut history = executed(seed, 80);
        let places = reads(&history).filter(|(at, _, key, list)| {
            let Some(last) = list.last() else { return false };
            let (reader, writer) = (&history.txns[*at], writer(&history, *last));
            writer.outcome == Outcome::Ok && writer.ended < reader.began && only_op_on(reader, *key)
        });
        let place = pick(&mut Random::new(seed), places.map(|(at, place, ..)| (at, place)).collect());
        let list = answer(&mut history, place.expect("80 transactions read something old"));
        list.pop();
        prop_assert!(!found(&history).is_empty());
    }

    #[test]
    fn a_write_after_a_read_of_an_older_version_is_found(seed: u64) {
        let mut history = executed(seed, 80);
        let places = reads(&history).filter_map(|(at, place, key, list)| {
            let txn = &history.txns[at];
            let is_first = !txn.ops[..place].iter().any(|op| matches!(op, Op::Read(k, _) | Op::Append(k, _) if *k == key));
            let rest = &txn.ops[place + 1..];
            let read_once = !rest.iter().any(|op| matches!(op, Op::Read(k, _) if *k == key));
            (is_first && read_once && !list.is_empty() && txn.appends(key).next().is_some()).then_some((at, place))
        });
        let mut random = Random::new(seed);
        if let Some(place) = pick(&mut random, places.collect()) {
            let list = answer(&mut history, place);
            let kept = random.below(list.len() as u64) as usize;
            list.truncate(kept);
            let found = found(&history);
            // Where a third one's read was in between, or the cut was in the middle of a transaction, by another name.
            let named = [Kind::LostUpdate, Kind::GSingle, Kind::IntermediateRead, Kind::G0, Kind::G1c];
            prop_assert!(found.iter().any(|kind| named.contains(kind)), "{:?}", found);
        }
    }
}
