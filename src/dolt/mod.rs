//! Owns all that is Dolt's own: finding the binary, its private configuration, starting, watching,
//! restarting and stopping it, the control connection, and what its error texts mean.
//! Does not know clients, routes or statements; has no globals: a second `Dolt` is a second server.
//! Always: `State::Ready` means that a real SQL probe was answered over the endpoint it names.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;

pub mod beside;
mod start;
mod lock;
mod files;
pub mod moves;
mod binary;
mod supervisor;
mod core;
mod process;
pub mod git;
mod shim;
mod process_facts;
mod log;
mod target;
mod greeting;
mod control;
pub mod journal;
mod journal_record;
pub mod procedures;
pub mod errors;
mod start_error;

pub use control::{Control, ControlError, ControlSession};
pub use log::RotatingFile;
use moves::{Moves, NotMoved};
pub use mysql_async::{Row, Value};
pub use shim::{SHIM_SUBCOMMAND, exec_shim};
use start::START_TIMEOUT;
pub use start_error::StartError;
use supervisor::{Order, Shared};

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
    /// Starts after the first, without those that somebody asked for.
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

/// Why Dolt was not stopped and started again with directories renamed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// Nothing was renamed.
    #[error("{0}; all is as before")]
    AsBefore(String),
    /// Some may be renamed; the next start of Dolt goes on with it.
    #[error("{0}; the next start of Dolt goes on with it")]
    HalfWay(String),
    /// All are renamed, but Dolt does not answer.
    #[error("Dolt does not come back: {0}")]
    NotBack(String),
}

/// Handle on the one Dolt behind us; cheap to clone. When the last one is dropped Dolt is stopped.
#[derive(Clone)]
pub struct Dolt {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    finished: CancellationToken,
}

impl fmt::Debug for Dolt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dolt").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Dolt {
    /// Takes the data directory's lock, starts Dolt and returns once it answers SQL; with an external
    /// server, once it answered or said why not.
    pub async fn start(config: &Config) -> Result<Dolt, StartError> {
        // The running file itself, even if it has been replaced on disk since.
        let ourselves = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()
                .map_err(|error| StartError::Binary(format!("cannot find ourselves: {error}")))?
        };
        Self::start_through(config, ourselves).await
    }

    /// The same for programs that are not `branchline`: `shim` is a program that hands what follows
    /// [`SHIM_SUBCOMMAND`] to [`exec_shim`].
    pub async fn start_through(config: &Config, shim: PathBuf) -> Result<Dolt, StartError> {
        start::start(config, shim).await
    }

    /// What Dolt is up to now.
    pub fn state(&self) -> State {
        self.inner.shared.state.borrow().clone()
    }

    /// The same, to wait on.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.inner.shared.state.subscribe()
    }

    /// Our own connections to Dolt, as a superuser.
    pub fn control(&self) -> &Control {
        &self.inner.shared.control
    }

    /// A session saw its backend die: probe now rather than at the next interval.
    pub fn report_lost(&self) {
        let _ = self.inner.orders.send(Order::Lost);
    }

    /// The private home of a Dolt that is ours, which its git processes carry as a mark; none of an external one.
    pub fn home(&self) -> Option<&std::path::Path> {
        self.inner.shared.home.as_deref()
    }

    /// Stops a Dolt of ours, renames these directories while it is stopped, and starts it again. Clients wait meanwhile. Goes
    /// on when the caller is cancelled.
    pub async fn restart_with(&self, moves: Moves) -> Result<(), RestartError> {
        let mut states = self.watch();
        let before = match &*states.borrow_and_update() {
            State::Ready(ready) => ready.generation,
            _ => 0,
        };
        let (answer, answered) = oneshot::channel();
        let stopping = || RestartError::AsBefore("Branchline is being stopped".to_owned());
        self.inner.orders.send(Order::Hold(moves, answer)).map_err(|_| stopping())?;
        match answered.await {
            Ok(Ok(())) => {}
            Ok(Err(NotMoved { why, as_before: true })) => return Err(RestartError::AsBefore(why)),
            Ok(Err(NotMoved { why, as_before: false })) => return Err(RestartError::HalfWay(why)),
            Err(_) => return Err(RestartError::HalfWay("Branchline is being stopped".to_owned())),
        }
        let is_back = |state: &State| match state {
            State::Ready(ready) => ready.generation > before,
            State::Stopping => true,
            State::Starting { .. } | State::Down { .. } => false,
        };
        let back = tokio::time::timeout(START_TIMEOUT, states.wait_for(is_back)).await;
        match back.map(|state| state.map(|state| matches!(*state, State::Ready(_)))) {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(RestartError::NotBack("Branchline is being stopped".to_owned())),
            Err(_) => {
                let last = self.facts().last_error.map(|(_, error)| error);
                Err(RestartError::NotBack(last.unwrap_or_else(|| "it does not answer".to_owned())))
            }
        }
    }

    /// Figures for status.
    pub fn facts(&self) -> Facts {
        self.inner.shared.facts().clone()
    }

    /// SIGTERM, wait, SIGKILL only after `config.dolt.stop_timeout`; returns when it is gone. An
    /// external server is left alone.
    pub async fn stop(&self) {
        let _ = self.inner.orders.send(Order::Stop);
        self.inner.finished.cancelled().await;
    }
}
