//! MySQL bytes: frames, handshake, commands, responses, and where a reply ends.
//! Owns the protocol's shapes. Does not read sockets, look at clocks or know SQL.
//! Always: input from a peer is an `Err(BadFrame…)` at worst, never a panic and never an allocation
//! that the peer chose the size of.
//!
//! Source of the protocol facts: MySQL's client/server protocol documentation, and for what Dolt does
//! differently its own server package, both checked against the real server in `tests/`.

pub mod capability;
pub mod frame;
pub mod lenenc;
pub mod handshake;
pub mod command;
pub mod response;
pub mod reply;
pub mod rows;

use thiserror::Error;

/// A peer sent bytes that are not the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadFrame {
    /// A packet's sequence number is not the next one.
    #[error("packets out of order: sequence {got}, expected {want}")]
    SequenceGap {
        /// The number that was due.
        want: u8,
        /// The number that came.
        got: u8,
    },
    /// A packet is longer than this phase allows.
    #[error("packet of {bytes} bytes where at most {bytes_max} are allowed ({phase})")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
        /// Which phase.
        phase: &'static str,
    },
    /// A packet ends before its fields do, or a field holds what it can't.
    #[error("malformed {what}")]
    Malformed {
        /// Which packet.
        what: &'static str,
    },
    /// A packet without a byte where at least one is due.
    #[error("empty {what}")]
    Empty {
        /// Which packet.
        what: &'static str,
    },
}
