//! Owns what is known of a client when its branch is chosen.
//! Does not look anything up: `peer` and the handshake fill it in.
//! Always: a value that could not be learned is absent with a reason, never guessed.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a client connected from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over TCP.
    Tcp {
        /// The client's address.
        ip: IpAddr,
        /// The client's port.
        port: u16,
    },
    /// Over the unix socket.
    Unix,
}

/// All that a route may depend on.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User name as the client sent it, after `user_separator` was split off.
    pub user: String,
    /// Branch from `account+branch`, if the separator is on and was there.
    pub user_branch: Option<String>,
    /// Connection attributes of the handshake response.
    pub attributes: BTreeMap<String, String>,
    /// Where from.
    pub address: PeerAddress,
    /// The process at the other end.
    pub process: PeerProcess,
}

/// The process that holds the client's end of the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerProcess {
    /// Not looked up (yet): no rule needed it.
    NotLooked,
    /// Found; its environment may or may not count.
    Found(ProcessIdentity),
    /// It can't be told, and why: another machine, several holders, gone, another uid.
    Unknown {
        /// For `route explain` and the log.
        reason: String,
    },
}

/// One process on this machine, read once per (pid, start time, executable).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot: tells a reused pid.
    pub start_ticks: u64,
    /// Base name of the executable.
    pub program: String,
    /// The variables that count, or why they were not read.
    pub environment: Result<ProcessEnvironment, String>,
}

/// The variables that count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessEnvironment {
    /// BD_BRANCH
    pub bd_branch: Option<String>,
    /// BD_ACTOR
    pub bd_actor: Option<String>,
    /// GT_POLECAT
    pub gt_polecat: Option<String>,
}
