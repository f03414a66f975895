//! What depends on what: ww, wr and rw from the order of versions, and the order in time.
//! Does not look for cycles.

use std::collections::BTreeSet;

use super::super::history::{Key, Outcome, Value};
use super::lists::Lists;

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// Its value is followed by the other's.
    Ww { key: Key, value: Value, next: Value },
    /// Its value was seen by the other.
    Wr { key: Key, value: Value },
    /// It saw the version before the other's value.
    Rw { key: Key, next: Value },
    /// It had ended when the other began.
    RealTime,
}

/// From each transaction to those that come after it.
pub type Graph = Vec<BTreeSet<(usize, Edge)>>;

/// The graph of the transactions that happened.
pub fn dependencies(lists: &Lists<'_>) -> Graph {
    let mut graph: Graph = vec![BTreeSet::new(); lists.history.txns.len()];
    let mut add = |from: usize, to: usize, edge: Edge| {
        if from != to {
            graph[from].insert((to, edge));
        }
    };
    for key in lists.keys() {
        for pair in lists.order(key).windows(2) {
            let &[value, next] = pair else { continue };
            if let (Some(from), Some(to)) = (lists.writer(key, value), lists.writer(key, next)) {
                add(from, to, Edge::Ww { key, value, next });
            }
        }
    }
    for (reader, txn) in lists.committed() {
        for (key, seen) in lists.external_reads(reader, txn) {
            if let Some((value, writer)) = seen.last().and_then(|v| Some((*v, lists.writer(key, *v)?))) {
                add(writer, reader, Edge::Wr { key, value });
            }
            let order = lists.order(key);
            if !order.starts_with(seen) {
                continue;
            }
            if let Some((next, writer)) =
                order.get(seen.len()).and_then(|v| Some((*v, lists.writer(key, *v)?)))
            {
                add(reader, writer, Edge::Rw { key, next });
            }
        }
    }
    real_time(lists, &mut add);
    graph
}

/// Only to the nearest: what had ended before one that had ended before follows.
fn real_time(lists: &Lists<'_>, add: &mut impl FnMut(usize, usize, Edge)) {
    const END: bool = true;
    let mut events = Vec::new();
    for (at, txn) in lists.committed() {
        events.push((txn.began, !END, at));
        // One whose answer never came may happen at any time after it began.
        if txn.outcome == Outcome::Ok {
            events.push((txn.ended, END, at));
        }
    }
    // A beginning in the same moment as an end is not after it: beginnings sort first.
    events.sort_unstable();
    let mut latest: BTreeSet<usize> = BTreeSet::new();
    let mut before: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); lists.history.txns.len()];
    for (_, kind, at) in events {
        if kind == END {
            latest.retain(|earlier| !before[at].contains(earlier));
            latest.insert(at);
        } else {
            for earlier in &latest {
                add(*earlier, at, Edge::RealTime);
            }
            before[at].clone_from(&latest);
        }
    }
}
