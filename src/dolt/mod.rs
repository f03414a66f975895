//! Owns all that is Dolt's own: finding the binary, its private configuration, starting, watching,
//! restarting and stopping it, the control connection, and what its error texts mean.
//! Does not know clients, routes or statements; has no globals: a second `Dolt` is a second server.
//! Always: `State::Ready` means that a real SQL probe was answered over the endpoint it names.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::config::Config;

mod control;
pub mod errors;
mod start_error;

pub use control::{Control, ControlError, ControlSession};
pub use mysql_async::{Row, Value};
pub use start_error::StartError;

/// Where backends connect; the unix socket when there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Unix socket.
    pub socket: Option<PathBuf>,
    /// TCP address.
    pub tcp: Option<SocketAddr>,
}

/// What Dolt says of itself in its greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Server version string, `8.0.33`.
    pub version: String,
    /// Capability flags, raw bits as Dolt sent them.
    pub capabilities: u32,
    /// Default collation id.
    pub charset: u8,
}

/// A Dolt that answers SQL.
#[derive(Debug)]
pub struct Ready {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Its greeting.
    pub greeting: Greeting,
    /// `dolt_version()`.
    pub dolt_version: String,
    /// Process id; none when it is somebody else's server.
    pub pid: Option<u32>,
    /// When it became ready.
    pub since: SystemTime,
    /// Counts up with every start; a backend of an older generation is dead.
    pub generation: u64,
}

/// What Dolt is up to.
#[derive(Debug, Clone)]
pub enum State {
    /// Spawned, or being looked for, and not yet answering.
    Starting {
        /// Since when.
        since: SystemTime,
    },
    /// Answers SQL.
    Ready(Arc<Ready>),
    /// Not there.
    Down {
        /// Since when.
        since: SystemTime,
        /// What happened and what happens next; safe for clients.
        reason: String,
    },
    /// We are stopping it.
    Stopping,
}

/// Figures for status and health, kept across restarts.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Starts after the first.
    pub restarts: u64,
    /// How long the last successful health probe took.
    pub health_latency: Option<Duration>,
    /// When it was answered.
    pub health_at: Option<SystemTime>,
    /// What went wrong last, and when.
    pub last_error: Option<(SystemTime, String)>,
    /// What a person should look at now; empty when all is well.
    pub alerts: Vec<String>,
}

/// Handle on the one Dolt behind us; cheap to clone.
#[derive(Clone)]
pub struct Dolt {
    _inner: Arc<()>,
}

impl fmt::Debug for Dolt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dolt")
    }
}

impl Dolt {
    /// Takes the data directory's lock, starts Dolt and returns once it answers SQL; with an external
    /// server, once it answered or said why not.
    pub async fn start(_config: &Config) -> Result<Dolt, StartError> {
        todo!()
    }

    /// What Dolt is up to now.
    pub fn state(&self) -> State {
        todo!()
    }

    /// The same, to wait on.
    pub fn watch(&self) -> watch::Receiver<State> {
        todo!()
    }

    /// Our own connections to Dolt, as a superuser.
    pub fn control(&self) -> &Control {
        todo!()
    }

    /// A session saw its backend die: probe now rather than at the next interval.
    pub fn report_lost(&self) {
        todo!()
    }

    /// Figures for status.
    pub fn facts(&self) -> Facts {
        todo!()
    }

    /// SIGTERM, wait, SIGKILL only after `config.dolt.stop_timeout`; returns when it is gone.
    pub async fn stop(&self) {
        todo!()
    }
}

/// `branchline dolt-exec …`: becomes Dolt, tied to its parent's life. For `main` only; never returns.
pub fn exec_shim(_args: impl IntoIterator<Item = std::ffi::OsString>) -> ! {
    todo!()
}
