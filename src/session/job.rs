//! One command on its way to Dolt, kept so that it can be sent again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::client_socket::Incoming;
use super::command::Plan;
use crate::observe::bypass::Touch;
use crate::statement::fate::Watched;
use crate::statement::transaction::{self, Unit};
use crate::wire::command::Command;

/// One command on its way to Dolt.
#[derive(Debug)]
pub struct Job {
    /// Which command.
    pub command: Command,
    /// Its payload.
    pub body: Body,
    /// What its text means for the session.
    pub plan: Plan,
    /// What it does to transactions and data.
    pub unit: Unit,
    /// What must be so before it is sent.
    pub wants: transaction::Plan,
    /// Text of COM_STMT_PREPARE.
    pub prepares: Option<Arc<[u8]>>,
    /// The text of a BEGIN.
    pub begin_text: Option<Arc<[u8]>>,
    /// Why the transaction can't be run again after it, if so.
    pub opaque: Option<transaction::WhyNot>,
    /// It can't be sent a second time, as the backend has a part of it.
    pub once: bool,
    /// It was sent.
    pub sent: bool,
    /// For waiting and trying again.
    pub budget: Duration,
    /// They end here.
    pub deadline: Instant,
    /// How often it was sent.
    pub tries: u32,
    /// What it may change as it was before it was sent, to find out what became of it.
    pub before: Vec<Watched>,
    /// Databases that it may move, so that it is not taken for somebody else's write.
    pub touches: Vec<(String, Touch)>,
    /// The commit clock then.
    pub clock: u64,
    /// When that was.
    pub sent_at: std::time::Instant,
}

/// A command's payload.
#[derive(Debug)]
pub enum Body {
    /// All of it; taken out of the client's stream.
    Whole(Vec<u8>),
    /// Longer than what is looked at: still in the client's stream, relayed in pieces, sent once.
    Streaming(Incoming),
}

impl Job {
    /// Whether it can be sent more than once.
    pub fn is_whole(&self) -> bool {
        matches!(self.body, Body::Whole(_))
    }
}
