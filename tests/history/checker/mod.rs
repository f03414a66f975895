//! Judges a history: is it strictly serialisable, and is each acknowledged append in its list exactly once?
//! Does not know where the history is from. Always: an anomaly that is named is there, whatever else may be.
//!
//! After Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (2020): a list
//! of unique values shows the order of its versions, and so what depends on what; a cycle is an anomaly (Adya).

use std::fmt;

use super::history::History;

mod lists;
mod graph;
mod cycles;

pub use lists::Lists;

/// The names of what can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A value was seen of a transaction that did not happen (G1a).
    AbortedRead,
    /// A value was seen that its transaction followed by another one in the same list (G1b).
    IntermediateRead,
    /// A value was seen that nobody appended.
    UnknownValue,
    /// A value is in a list twice: a second execution.
    Duplicate,
    /// A transaction does not see its own appends, or what it saw before.
    Internal,
    /// Two reads of one list are not one the beginning of the other.
    IncompatibleOrder,
    /// An append that was acknowledged is not in the list at the end.
    LostAppend,
    /// A cycle of writes.
    G0,
    /// A cycle of writes and reads of what was written.
    G1c,
    /// Two transactions read the same version of a list and both append to it.
    LostUpdate,
    /// A cycle with one anti-dependency: a read of something older than what it must have seen.
    GSingle,
    /// A cycle with several anti-dependencies: write skew, phantoms.
    G2,
    /// Such a cycle where one step is only that one transaction had ended before the other began.
    G0RealTime,
    /// The same for G1c.
    G1cRealTime,
    /// The same for G-single: a stale read.
    GSingleRealTime,
    /// The same for G2.
    G2RealTime,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: Kind,
    /// Why, in terms of the history.
    pub text: String,
}

impl Anomaly {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

/// Everything that is wrong with a history; each group of transactions that depend on each other in circles is
/// reported once, with its worst and shortest cycle.
pub fn check(history: &History) -> Vec<Anomaly> {
    let lists = Lists::of(history);
    let mut anomalies = lists.anomalies();
    let graph = graph::dependencies(&lists);
    anomalies.extend(cycles::anomalies(history, &graph));
    anomalies.sort_by_key(|anomaly| anomaly.kind);
    anomalies
}
