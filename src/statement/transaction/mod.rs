//! The client's transaction: what is open, what it read and wrote, and what a command needs before it may run.
//! Owns the rules (`core`) and the log for running a transaction again (`log`). Does not send anything: the
//! session does. Always: a transaction commits only on data that nobody moved since it was read.

pub mod core;
pub mod log;

#[cfg(test)]
mod core_tests;

pub use self::core::{After, Begin, Does, Facts, Plan, Transaction, Unit};
pub use log::{AnswerHash, Digest, Entry, Log, LogBudget, WhyNot};
