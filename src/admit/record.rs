//! Owns what is known of one session: whose it is, what it holds, for what it waits.
//! Decides nothing.

use std::sync::Arc;
use std::time::Instant;

use super::habits::habit_of;
use super::lane::Place;
use super::lane_key::LaneKey;

/// Names a session here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Ticket(pub u64);

impl Ticket {
    /// Of no session.
    pub(super) const NOBODY: Self = Self(0);
}

/// Whose session it is, for messages and for what depends on the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Its id in our greeting.
    pub client_id: u32,
    /// `user@host`.
    pub account: String,
    /// Name of its program.
    pub program: String,
    /// `127.0.0.1:5123` or `unix`.
    pub address: String,
    /// The process on this machine that it belongs to, if known.
    pub process: Option<u32>,
}

/// What the lanes know of one session.
#[derive(Debug)]
pub(super) struct Record {
    pub who: Arc<Who>,
    pub activity: Activity,
    pub waiting: Option<Waiting>,
    pub habit: Arc<str>,
    pub own_rows: OwnRowsState,
    /// Since its last Dolt commit.
    pub sql_commits: u32,
    pub held: Vec<Held>,
    /// Lanes lost within the transaction.
    pub absent: Vec<Absent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// A command of it is served.
    Busy,
    /// Its client's turn.
    Idle { since: Instant },
}

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub key: LaneKey,
    pub place: Place,
    pub since: Instant,
}

/// A lane that it holds.
#[derive(Debug)]
pub(super) struct Held {
    pub key: LaneKey,
    /// Given within the `take` that is going on.
    pub fresh: bool,
}

/// A lane that it lost within its transaction.
#[derive(Debug)]
pub(super) struct Absent {
    pub key: LaneKey,
    /// Yielded within the `take` that is going on, which gets it back.
    pub retake: bool,
}

/// What a session's SQL commit says about its habit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnRowsState {
    None,
    /// No DOLT_COMMIT yet.
    Pending,
    /// Nor did it come in time; counted.
    Missed,
}

impl Record {
    pub(super) fn new(who: Who) -> Self {
        Self {
            habit: habit_of(&who.program, &who.account),
            who: Arc::new(who),
            activity: Activity::Busy,
            waiting: None,
            own_rows: OwnRowsState::None,
            sql_commits: 0,
            held: Vec::new(),
            absent: Vec::new(),
        }
    }
}
