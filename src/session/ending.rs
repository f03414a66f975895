//! How sessions end. Log, metrics and `SHOW` share these names.

use std::io;

use crate::wire::BadFrame;

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Ending {
    /// COM_QUIT.
    #[error("the client quit")]
    ClientQuit,
    /// The client's connection closed or failed.
    #[error("the client vanished")]
    ClientVanished,
    /// It closed before it said who it is.
    #[error("the client closed before its handshake response")]
    ProbeOnly,
    /// Told no: a limit, a wrong password, a branch that is not there, Dolt down.
    #[error("refused: {0}")]
    Refused(String),
    /// The client sent what is not the protocol.
    #[error("the client broke the protocol: {0}")]
    ClientProtocol(#[from] BadFrame),
    /// Dolt's connection was lost and the session could not go on.
    #[error("{0}")]
    DoltLost(String),
    /// Not logged in within the handshake timeout.
    #[error("the handshake took longer than {0} s (limits.handshake_timeout_s)")]
    HandshakeTimedOut(u64),
    /// KILL.
    #[error("killed")]
    Killed,
    /// Branchline is shutting down.
    #[error("drained")]
    Drained,
}

impl From<io::Error> for Ending {
    /// I/O errors on the client's socket: it is gone.
    fn from(_: io::Error) -> Self {
        Self::ClientVanished
    }
}
