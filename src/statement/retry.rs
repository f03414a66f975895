//! Owns what is done about a failure of Dolt, by what failed and what was under way: one table.
//! Does not do it, wait, or read a clock or a text: [`crate::dolt::errors`] says what a text means.
//! Always: nothing is run again once a byte of its answer reached the client, after [`TRIES_MAX`] tries or past
//! the budget; a write that may have happened is never run again before its fate is known.

use std::time::Duration;

use super::fate::Verdict;
use crate::dolt::errors::{self, Conflict};

/// How often one statement or transaction is run again.
pub const TRIES_MAX: u32 = 10;
/// Longest pause before the first time; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(4);
/// And no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(256);

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Somebody else's commit came in between; Dolt has rolled back (1213).
    Conflict,
    /// The same, and Dolt has not rolled back: optimistic lock, "dataset head is not ancestor".
    ConflictStillOpen,
    /// Dolt refuses to go on with this connection (online GC, change of the cluster role); it has not begun.
    ConnectionEnded,
    /// The commit met a conflict of rows that it can't merge; Dolt has rolled back.
    MergeConflict,
    /// The commit would break a constraint; Dolt has rolled back.
    ConstraintViolations,
    /// `DOLT_COMMIT` had nothing to commit; the SQL transaction is committed.
    NothingToCommit,
    /// More than one branch or database was written; sticks to the session until a ROLLBACK.
    SeveralHeads,
    /// The server or the database takes no writes.
    ReadOnly,
    /// Any other error of Dolt's.
    Other,
    /// The backend was lost before anything was sent.
    LostBeforeSent,
    /// It was lost after that, and before a byte of the answer.
    LostUnanswered,
    /// It was lost in the middle of the answer.
    LostMidAnswer,
    /// No backend is to be had: Dolt is down or restarting. Nothing was sent.
    DoltDown,
}

impl Failure {
    /// What an ERR packet of Dolt's is.
    pub fn of(code: u16, message: &str) -> Self {
        match errors::conflict(code, message) {
            Some(Conflict::RolledBack) => return Self::Conflict,
            Some(Conflict::StillOpen) => return Self::ConflictStillOpen,
            None => {}
        }
        type Means = fn(&str) -> bool;
        let meanings: [(Means, Self); 6] = [
            (errors::kills_connection, Self::ConnectionEnded),
            (errors::is_merge_conflict, Self::MergeConflict),
            (errors::is_constraint_violations, Self::ConstraintViolations),
            (errors::is_nothing_to_commit, Self::NothingToCommit),
            (errors::is_several_heads, Self::SeveralHeads),
            (errors::is_read_only, Self::ReadOnly),
        ];
        meanings.into_iter().find(|(means, _)| means(message)).map_or(Self::Other, |(_, failure)| failure)
    }
}

/// What was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A read outside a transaction.
    Read,
    /// A write outside a transaction: it commits itself.
    Write,
    /// A statement inside a transaction that does not end it.
    InTransaction,
    /// COMMIT, or what commits a transaction as DDL does.
    Commit,
    /// `DOLT_COMMIT` and the other procedures of Dolt that move a ref, in a transaction or not.
    DoltProcedure,
    /// What can't be run twice: LOAD DATA LOCAL, several statements in one text, a text too long to keep.
    Unrepeatable,
}

/// What there is to run it again with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Means {
    /// The statement, or all of the transaction up to it, was kept.
    pub logged: bool,
    /// The session's state can be built again on a new backend (nothing pins it).
    pub restorable: bool,
    /// A byte of the answer has reached the client.
    pub delivered: bool,
}

/// What was spent on it.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How often it was run again already.
    pub tries: u32,
    /// Since its receipt.
    pub elapsed: Duration,
    /// For all of it.
    pub budget: Duration,
}

impl Effort {
    fn is_spent(self, tries_max: u32) -> bool {
        self.tries >= tries_max || self.elapsed >= self.budget
    }

    /// Full jitter: anything from zero to a bound that doubles; never past the budget.
    fn pause(self, random: u64) -> Duration {
        let bound = PAUSE_FIRST.saturating_mul(1 << self.tries.min(16)).min(PAUSE_MAX);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random % (nanos + 1)).min(self.budget.saturating_sub(self.elapsed))
    }
}

/// What is to be done. What tells the client cuts the connection instead if the answer stands in the middle of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The client gets Dolt's error as it is.
    Relay,
    /// The same, and the SQL transaction counts as committed.
    RelayCommitted,
    /// ROLLBACK on this backend, then Dolt's error as it is.
    RollBackAndRelay,
    /// ROLLBACK on this backend, then the statement again.
    RollBackAndRunAgain,
    /// ROLLBACK on this backend, then the transaction again from its log.
    RollBackAndReplay,
    /// A new backend with the session's state, then the statement again.
    NewBackendAndRunAgain,
    /// A new backend with the session's state, then the transaction again from its log.
    NewBackendAndReplay,
    /// Whether it happened must be found out first: [`super::fate::find_out`], then [`settle`].
    FindFate,
    /// It happened, and all of its answer is known: the client gets that.
    AnswerForDolt,
    /// ROLLBACK if the backend still lives, then 1213/40001: nothing of the transaction has happened.
    Tell1213,
    /// The connection to Dolt was lost; nothing has happened, and it is safe to run it again.
    TellLost,
    /// It happened; its answer is lost.
    TellApplied,
    /// Whether it happened is unknown.
    TellUnknown,
}

/// An action and the pause before it, zero unless something is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub action: Action,
    /// After how long.
    pub after: Duration,
}

/// What is best, and what is done if that can't be.
type Cell = (Action, Action);

/// The table. Columns are the phases, in their order.
const fn row(failure: Failure) -> [Cell; 6] {
    use Action::*;
    const fn always(action: Action) -> Cell {
        (action, action)
    }
    match failure {
        Failure::Conflict => [
            (RollBackAndRunAgain, Tell1213),
            (RollBackAndRunAgain, Tell1213),
            (RollBackAndReplay, Tell1213),
            (RollBackAndReplay, Tell1213),
            (RollBackAndReplay, Tell1213),
            always(Relay),
        ],
        Failure::ConflictStillOpen => [
            (RollBackAndRunAgain, Tell1213),
            (RollBackAndRunAgain, Tell1213),
            (RollBackAndReplay, Tell1213),
            (RollBackAndReplay, Tell1213),
            (RollBackAndReplay, Tell1213),
            // Some of several statements may have happened: no 1213.
            always(RollBackAndRelay),
        ],
        Failure::ConnectionEnded => [
            (NewBackendAndRunAgain, TellLost),
            (NewBackendAndRunAgain, TellLost),
            (NewBackendAndReplay, Tell1213),
            (NewBackendAndReplay, Tell1213),
            (NewBackendAndReplay, Tell1213),
            always(Relay),
        ],
        Failure::ConstraintViolations => [
            always(Relay),
            (RollBackAndRunAgain, Relay),
            (RollBackAndReplay, Relay),
            (RollBackAndReplay, Relay),
            (RollBackAndReplay, Relay),
            always(Relay),
        ],
        Failure::MergeConflict | Failure::ReadOnly | Failure::Other => [always(Relay); 6],
        Failure::NothingToCommit => [always(RelayCommitted); 6],
        Failure::SeveralHeads => [always(RollBackAndRelay); 6],
        Failure::LostBeforeSent | Failure::DoltDown => [
            (NewBackendAndRunAgain, TellLost),
            (NewBackendAndRunAgain, TellLost),
            (NewBackendAndReplay, Tell1213),
            (NewBackendAndReplay, Tell1213),
            (NewBackendAndReplay, Tell1213),
            always(TellLost),
        ],
        Failure::LostUnanswered | Failure::LostMidAnswer => [
            (NewBackendAndRunAgain, TellLost),
            (FindFate, TellUnknown),
            (NewBackendAndReplay, Tell1213),
            (FindFate, TellUnknown),
            (FindFate, TellUnknown),
            (FindFate, TellUnknown),
        ],
    }
}

/// What is to be done about a failure. `random`: any 64 bits, for the pause.
pub fn decide(failure: Failure, phase: Phase, means: Means, effort: Effort, random: u64) -> Decision {
    let (best, otherwise) = row(failure)[phase as usize];
    // Broken by another transaction's half-seen rows, it may hold the next time; not more often.
    let tries_max = if failure == Failure::ConstraintViolations { 1 } else { TRIES_MAX };
    choose(best, otherwise, means, effort, tries_max, random)
}

/// What is to be done once the fate of a write is known.
pub fn settle(verdict: &Verdict, phase: Phase, means: Means, effort: Effort, random: u64) -> Decision {
    use Action::*;
    let (best, otherwise) = match (verdict, phase) {
        (Verdict::DidNotHappen, Phase::Read | Phase::Write) => (NewBackendAndRunAgain, TellLost),
        (Verdict::DidNotHappen, Phase::InTransaction | Phase::Commit | Phase::DoltProcedure) => {
            (NewBackendAndReplay, Tell1213)
        }
        (Verdict::DidNotHappen, Phase::Unrepeatable) => (TellLost, TellLost),
        // The first of several statements may be all that happened.
        (_, Phase::Unrepeatable) | (Verdict::CannotTell(_), _) => (TellUnknown, TellUnknown),
        (Verdict::Happened { .. }, _) => (AnswerForDolt, TellUnknown),
        (Verdict::HappenedAnswerLost, _) => (TellApplied, TellApplied),
    };
    choose(best, otherwise, means, effort, TRIES_MAX, random)
}

fn choose(
    best: Action,
    otherwise: Action,
    means: Means,
    effort: Effort,
    tries_max: u32,
    random: u64,
) -> Decision {
    use Action::*;
    let again = means.logged && !means.delivered && !effort.is_spent(tries_max);
    let (possible, pauses) = match best {
        RollBackAndRunAgain | RollBackAndReplay => (again, true),
        NewBackendAndRunAgain | NewBackendAndReplay => (again && means.restorable, true),
        FindFate | AnswerForDolt => (!means.delivered, false),
        _ => (true, false),
    };
    match (possible, pauses) {
        (true, true) => Decision { action: best, after: effort.pause(random) },
        (true, false) => Decision { action: best, after: Duration::ZERO },
        (false, _) => Decision { action: otherwise, after: Duration::ZERO },
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
