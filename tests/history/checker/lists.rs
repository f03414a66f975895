//! The lists of a history: who appended what, in which order, and what is wrong with that in itself.
//! Does not relate transactions to each other: `graph` does.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::history::{History, Key, Op, Outcome, Shown, Txn, Value};
use super::{Anomaly, Kind};

/// What a history says about its lists.
pub struct Lists<'a> {
    pub history: &'a History,
    /// Who appended a value.
    writers: HashMap<(Key, Value), usize>,
    /// Transactions that took effect: acknowledged, or unknown and seen by somebody.
    happened: Vec<bool>,
    /// The versions of each list in order: the longest that a transaction that happened, or the end, has seen.
    orders: BTreeMap<Key, Vec<Value>>,
}

impl<'a> Lists<'a> {
    pub fn of(history: &'a History) -> Self {
        let mut writers = HashMap::new();
        for (at, txn) in history.txns.iter().enumerate() {
            for op in &txn.ops {
                if let Op::Append(key, value) = op {
                    let before = writers.insert((*key, *value), at);
                    assert!(before.is_none(), "the history appends {value} to {key} twice: T{at}");
                }
            }
        }
        let mut lists = Self { history, writers, happened: Vec::new(), orders: BTreeMap::new() };
        lists.happened = lists.happened();
        lists.orders = lists.orders();
        lists
    }

    pub fn writer(&self, key: Key, value: Value) -> Option<usize> {
        self.writers.get(&(key, value)).copied()
    }

    /// Its transactions that took effect.
    pub fn committed(&self) -> impl Iterator<Item = (usize, &'a Txn)> {
        self.history.txns.iter().enumerate().filter(|(at, _)| self.happened[*at])
    }

    pub fn orders(&self) -> BTreeMap<Key, Vec<Value>> {
        let mut orders = self.history.finals.clone();
        for (at, txn) in self.committed() {
            for (key, seen) in self.external_reads(at, txn) {
                let order = orders.entry(key).or_default();
                if seen.len() > order.len() {
                    *order = seen.to_vec();
                }
            }
        }
        orders
    }

    /// The versions of a list, as far as they were seen.
    pub fn order(&self, key: Key) -> &[Value] {
        self.orders.get(&key).map_or(&[], Vec::as_slice)
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.orders.keys().copied()
    }

    /// What a transaction saw of others: its reads without its own appends at their end.
    pub fn external_reads(&self, at: usize, txn: &'a Txn) -> impl Iterator<Item = (Key, &'a [Value])> {
        txn.ops.iter().filter_map(move |op| match op {
            Op::Read(key, list) => {
                let own = list.iter().rev().take_while(|value| self.writer(*key, **value) == Some(at));
                Some((*key, &list[..list.len() - own.count()]))
            }
            Op::Append(..) => None,
        })
    }

    fn happened(&self) -> Vec<bool> {
        let txns = &self.history.txns;
        let mut happened: Vec<bool> = txns.iter().map(|txn| txn.outcome == Outcome::Ok).collect();
        // Of a transaction of unknown outcome a read by anybody else tells.
        let mut see = |key, list: &[Value], reader: Option<usize>| {
            for value in list {
                let writer = self.writer(key, *value).filter(|writer| Some(*writer) != reader);
                if let Some(writer) = writer.filter(|writer| txns[*writer].outcome == Outcome::Info) {
                    happened[writer] = true;
                }
            }
        };
        for (at, txn) in txns.iter().enumerate() {
            for (key, seen) in self.external_reads(at, txn) {
                see(key, seen, Some(at));
            }
        }
        for (key, list) in &self.history.finals {
            see(*key, list, None);
        }
        happened
    }

    /// What is wrong without looking at dependencies.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let mut anomalies = Vec::new();
        for (at, txn) in self.history.txns.iter().enumerate() {
            let who = format!("T{at} ({txn})");
            for op in &txn.ops {
                if let Op::Read(key, list) = op {
                    self.check_values(*key, list, Some(at), &who, &mut anomalies);
                }
            }
            anomalies
                .extend(internal(txn).map(|text| Anomaly::new(Kind::Internal, format!("{who}: {text}"))));
        }
        for (key, list) in &self.history.finals {
            let who = format!("the read of {key} at the end");
            self.check_values(*key, list, None, &who, &mut anomalies);
            self.check_order(*key, list, &who, &mut anomalies);
        }
        for (at, txn) in self.committed() {
            for (key, seen) in self.external_reads(at, txn) {
                self.check_order(key, seen, &format!("T{at} ({txn})"), &mut anomalies);
            }
        }
        anomalies.extend(self.lost());
        anomalies
    }

    /// Each value of a list by itself, and what is at its end.
    fn check_values(
        &self,
        key: Key,
        list: &[Value],
        reader: Option<usize>,
        who: &str,
        to: &mut Vec<Anomaly>,
    ) {
        let mut seen = BTreeSet::new();
        for value in list {
            if !seen.insert(value) {
                to.push(Anomaly::new(Kind::Duplicate, format!("{who} has {value} twice in {key}")));
            }
            match self.writer(key, *value) {
                None => {
                    let text = format!("{who} has {value} in {key}, which nobody appended");
                    to.push(Anomaly::new(Kind::UnknownValue, text));
                }
                Some(writer) if Some(writer) != reader && self.txn(writer).outcome == Outcome::Fail => {
                    let text = format!(
                        "{who} has {value} in {key} of T{writer}, which did not happen ({})",
                        self.txn(writer)
                    );
                    to.push(Anomaly::new(Kind::AbortedRead, text));
                }
                Some(_) => {}
            }
        }
        let Some(last) = list.last() else { return };
        let Some(writer) = self.writer(key, *last).filter(|writer| Some(*writer) != reader) else { return };
        if self.txn(writer).appends(key).last() != Some(*last) {
            let text =
                format!("{who} ends with {last} in {key} in the middle of T{writer} ({})", self.txn(writer));
            to.push(Anomaly::new(Kind::IntermediateRead, text));
        }
    }

    fn check_order(&self, key: Key, seen: &[Value], who: &str, to: &mut Vec<Anomaly>) {
        let order = self.order(key);
        if !order.starts_with(seen) {
            let at = seen.iter().zip(order).take_while(|(a, b)| a == b).count();
            let text = format!(
                "{who} has {} in {key} where the longest read has {} (from the {}. value on)",
                Shown(&seen[at..]),
                Shown(&order[at..]),
                at + 1,
            );
            to.push(Anomaly::new(Kind::IncompatibleOrder, text));
        }
    }

    fn lost(&self) -> Vec<Anomaly> {
        let mut anomalies = Vec::new();
        let sets: BTreeMap<Key, BTreeSet<Value>> =
            self.history.finals.iter().map(|(key, list)| (*key, list.iter().copied().collect())).collect();
        let acknowledged = self.history.txns.iter().enumerate().filter(|(_, txn)| txn.outcome == Outcome::Ok);
        for (at, txn) in acknowledged {
            for op in &txn.ops {
                let Op::Append(key, value) = op else { continue };
                if sets.get(key).is_some_and(|at_end| !at_end.contains(value)) {
                    let text = format!("{value} is not in {key} at the end: T{at} ({txn})");
                    anomalies.push(Anomaly::new(Kind::LostAppend, text));
                }
            }
        }
        anomalies
    }

    fn txn(&self, at: usize) -> &'a Txn {
        &self.history.txns[at]
    }
}

/// Whether a transaction sees what it has seen and appended before.
fn internal(txn: &Txn) -> Option<String> {
    // What must be read next, in full or, before the first read, at its end.
    let mut known: HashMap<Key, (bool, Vec<Value>)> = HashMap::new();
    for op in &txn.ops {
        match op {
            Op::Append(key, value) => known.entry(*key).or_default().1.push(*value),
            Op::Read(key, list) => {
                if let Some((whole, expected)) = known.get(key) {
                    let right = if *whole { list == expected } else { list.ends_with(expected) };
                    if !right {
                        let (end, got) = (if *whole { "" } else { " at its end" }, Shown(list));
                        return Some(format!("{key} should be {}{end} but is {got}", Shown(expected)));
                    }
                }
                known.insert(*key, (true, list.clone()));
            }
        }
    }
    None
}
