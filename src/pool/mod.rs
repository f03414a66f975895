//! Owns connections to Dolt on behalf of clients: opening them as the client's account, leasing them,
//! and asking our own short questions on them.
//! Does not know routes or transactions. Always: a lease that is dropped is destroyed; only `quit`
//! ends one politely.
//!
//! One backend per client for now. Sharing comes behind `Pool::lease`, which is why nobody else opens one.

mod backend;
mod connect;

pub use backend::{Answer, Backend, BackendError, Question};
pub use connect::{BackendLogin, ConnectError};

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::SystemTime;

use crate::dolt::{Dolt, Ready, State};

/// Where leases come from; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    dolt: Dolt,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Dolt is not serving.
    #[error("{0}")]
    DoltDown(String),
    /// It is, but this connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A backend that is this client's until it is dropped.
#[derive(Debug)]
pub struct Lease(Backend);

impl Pool {
    /// Leases from this Dolt.
    pub fn new(dolt: Dolt) -> Self {
        Self { dolt }
    }

    /// The Dolt that serves now, or what to tell a client.
    pub fn ready(&self) -> Result<Arc<Ready>, LeaseError> {
        match self.dolt.state() {
            State::Ready(ready) => Ok(ready),
            other => Err(LeaseError::DoltDown(outage(&other))),
        }
    }

    /// A backend logged in as `login`, with nothing else done on it.
    pub async fn lease(&self, login: &BackendLogin) -> Result<Lease, LeaseError> {
        let ready = self.ready()?;
        let backend = connect::connect(&ready, login).await;
        if matches!(backend, Err(ConnectError::Io(_))) {
            self.dolt.report_lost();
        }
        Ok(Lease(backend?))
    }
}

impl Lease {
    /// Ends it politely. Dolt then frees the session at once.
    pub async fn quit(self) {
        self.0.quit().await;
    }
}

impl Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.0
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        &mut self.0
    }
}

/// What a client may be told of a Dolt that is not serving: what happens, and since when.
pub fn outage(state: &State) -> String {
    let since = |at: &SystemTime| format!("{} s", at.elapsed().unwrap_or_default().as_secs());
    match state {
        State::Starting { since: at } => format!("Dolt is starting (for {}); try again shortly", since(at)),
        State::Ready(_) => "Dolt has just come back; try again".to_owned(),
        State::Down { since: at, reason } => format!("Dolt has been down for {}: {reason}", since(at)),
        State::Stopping => "Branchline is shutting down".to_owned(),
    }
}
