//! Owns the look-up of the process at the other end of a connection.
//! Does not decide what its variables mean: `route` does.
//! Always: a process is named only if it was seen to hold the socket; what can't be told is Unknown with a reason.

use std::net::SocketAddr;

use super::identity::PeerProcess;

/// What the kernel says of a connection's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSocket {
    /// Unix socket: SO_PEERCRED, taken when the client connected.
    Unix {
        /// Process that connected.
        pid: u32,
        /// Its uid.
        uid: u32,
    },
    /// TCP.
    Tcp {
        /// Our end.
        local: SocketAddr,
        /// The client's end.
        peer: SocketAddr,
    },
}

/// Looks up peers' processes; remembers what it read of the last 1,024.
#[derive(Debug, Default)]
pub struct PeerProcesses {}

impl PeerProcesses {
    /// Nothing remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process that holds the client's end. `hint_pid` (the `_pid` attribute) only makes it faster.
    pub async fn process_of(&self, _socket: PeerSocket, _hint_pid: Option<u32>) -> PeerProcess {
        todo!()
    }
}
