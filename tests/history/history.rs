//! What clients did and were told: transactions over lists of unique values (list-append, as in Elle).
//! Does not judge. Always: times are of one clock, and a value is appended by one transaction only.

use std::collections::BTreeMap;
use std::fmt;

/// Which list.
pub type Key = u32;
/// What is appended; never the same twice.
pub type Value = u64;

/// One operation, with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Append(Key, Value),
    Read(Key, Vec<Value>),
}

/// What the client was told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has happened.
    Ok,
    /// It has not happened and never will.
    Fail,
    /// Nobody said.
    Info,
}

/// One transaction; its name in explanations is `T` and its place in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    pub session: usize,
    /// Before its first statement was sent.
    pub began: u64,
    /// After its last answer was read.
    pub ended: u64,
    pub ops: Vec<Op>,
    pub outcome: Outcome,
    /// How it was run and what was answered, for people.
    pub note: String,
}

impl Txn {
    /// The values it appends to a list, in order.
    pub fn appends(&self, key: Key) -> impl Iterator<Item = Value> {
        self.ops.iter().filter_map(move |op| match op {
            Op::Append(appended_to, value) if *appended_to == key => Some(*value),
            _ => None,
        })
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}, {:?}", self.session, self.outcome)?;
        for op in &self.ops {
            match op {
                Op::Append(key, value) => write!(f, ", append({key}, {value})")?,
                Op::Read(key, list) => write!(f, ", read({key}) = {}", Shown(list))?,
            }
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, " [{}]", self.note) }
    }
}

/// A list by its last values.
pub struct Shown<'a>(pub &'a [Value]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 5;
        let skipped = self.0.len().saturating_sub(SHOWN_MAX);
        let values: Vec<String> = self.0[skipped..].iter().map(Value::to_string).collect();
        let before = if skipped > 0 { format!("{skipped} more, ") } else { String::new() };
        write!(f, "[{before}{}]", values.join(", "))
    }
}

/// Everything that happened to some lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub txns: Vec<Txn>,
    /// The lists as they were read when every transaction had ended.
    pub finals: BTreeMap<Key, Vec<Value>>,
}
