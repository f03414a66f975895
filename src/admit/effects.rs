//! Owns what the core leaves for the shell to do: whom to wake, what to log.

use std::time::Duration;

use super::lane_key::LaneKey;
use super::record::Ticket;

/// Why a lane passed from its holder to a waiter before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lending {
    Idle,
    SameProcess,
    KeepOver,
}

impl Lending {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "holder idle",
            Self::SameProcess => "same process",
            Self::KeepOver => "keep over",
        }
    }
}

/// A decision worth a trace event; clients by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Granted { key: LaneKey, to: u32, waited: Duration },
    Lent { key: LaneKey, from: u32, to: u32, why: Lending },
    Kept { key: LaneKey, by: u32 },
    Yielded { key: LaneKey, by: u32, for_: LaneKey },
    Swept { key: LaneKey, by: u32 },
    HeldLong { key: LaneKey, by: u32, held: Duration, waiting: usize },
}

/// What the shell has to do after a call.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub wakes: Vec<Ticket>,
    pub notes: Vec<Note>,
    /// Lanes whose branch moved by more than rows.
    pub moved: Vec<LaneKey>,
}
