//! Owns the registry of live clients: ids, what each does, whom to tell to stop.
//! Does not touch sockets: a session watches its own `Client::cancel`.
//! Always: an id is in the registry exactly as long as its `Registration` lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

/// Our connection ids start here, so that `KILL n` can tell one of ours from one of
/// Dolt's own (which count from 1). Below 2^31: some drivers keep ids in a signed int.
pub const CLIENT_ID_MIN: u32 = 0x4000_0000;
const CLIENT_ID_MAX: u32 = 0x7fff_ffff;

/// All live clients.
#[derive(Debug)]
pub struct Clients {
    live: DashMap<u32, Arc<Client>>,
    next: AtomicU32,
    /// Clients accepted since start.
    pub accepted: AtomicU64,
    /// Clients refused since start (limit, authentication, route, Dolt down).
    pub refused: AtomicU64,
}

/// One live client, as others may see it.
#[derive(Debug)]
pub struct Client {
    /// The id in our greeting.
    pub id: u32,
    /// When it was accepted.
    pub since: SystemTime,
    /// Cancelled to end the session: KILL, drain.
    pub cancel: CancellationToken,
    /// What it is and does; short critical sections only.
    pub view: std::sync::Mutex<View>,
    /// Commands served.
    pub commands: AtomicU64,
}

/// What a client is and does.
#[derive(Debug, Clone)]
pub struct View {
    /// `127.0.0.1:5123` or `unix`.
    pub address: String,
    /// Account as `user@host` once matched.
    pub account: String,
    /// Program name, from the process or the attributes.
    pub program: String,
    /// Process id if known.
    pub pid: Option<u32>,
    /// Current database as the client named it.
    pub database: Option<String>,
    /// Branch of the current database; None while on its default branch.
    pub branch: Option<String>,
    /// Why it is on that branch.
    pub reason: String,
    /// Dolt's id of the backend.
    pub backend_id: Option<u32>,
    /// What it does now.
    pub doing: Doing,
    /// Since when.
    pub doing_since: Instant,
    /// Whether a transaction is open.
    pub in_transaction: bool,
}

/// What a client does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Before the end of authentication.
    Connecting,
    /// Waiting for the client's next command.
    Idle,
    /// A command is with Dolt.
    Running,
    /// A command waits for a write lane.
    Waiting,
    /// A command waits for the finish or drop of its branch.
    WaitingAtGate,
}

impl Doing {
    /// The word in `SHOW CLIENTS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Doing::Connecting => "connecting",
            Doing::Idle => "idle",
            Doing::Running => "running",
            Doing::Waiting => "waiting for a lane",
            Doing::WaitingAtGate => "waiting for the end of its branch",
        }
    }
}

impl Clients {
    /// An empty registry.
    pub fn new() -> Self {
        Self {
            live: DashMap::new(),
            next: AtomicU32::new(CLIENT_ID_MIN),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Registers a client that was just accepted.
    pub fn register(self: &Arc<Self>, address: String, cancel: CancellationToken) -> Registration {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        loop {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            if !(CLIENT_ID_MIN..=CLIENT_ID_MAX).contains(&id) {
                self.next.store(CLIENT_ID_MIN, Ordering::Relaxed);
                continue;
            }
            if let dashmap::Entry::Vacant(slot) = self.live.entry(id) {
                let client = Arc::new(Client {
                    id,
                    since: SystemTime::now(),
                    cancel,
                    view: std::sync::Mutex::new(View::connecting(address)),
                    commands: AtomicU64::new(0),
                });
                slot.insert(Arc::clone(&client));
                return Registration { clients: Arc::clone(self), client };
            }
        }
    }

    /// Live clients.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// The client with this id.
    pub fn get(&self, id: u32) -> Option<Arc<Client>> {
        self.live.get(&id).map(|entry| Arc::clone(entry.value()))
    }

    /// All live clients, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.live.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_by_key(|client| client.id);
        all
    }

    /// The client whose backend has this id in Dolt.
    pub fn by_backend(&self, backend_id: u32) -> Option<Arc<Client>> {
        self.live
            .iter()
            .find(|entry| entry.value().view().backend_id == Some(backend_id))
            .map(|entry| Arc::clone(entry.value()))
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A copy of what it is and does.
    pub fn view(&self) -> View {
        self.update(|view| view.clone())
    }

    /// Changes what others see.
    pub fn update<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut view = self.view.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut view)
    }
}

impl View {
    fn connecting(address: String) -> Self {
        Self {
            address,
            account: String::new(),
            program: String::new(),
            pid: None,
            database: None,
            branch: None,
            reason: String::new(),
            backend_id: None,
            doing: Doing::Connecting,
            doing_since: Instant::now(),
            in_transaction: false,
        }
    }
}

/// Keeps a client in the registry; dropping it removes it.
#[derive(Debug)]
pub struct Registration {
    clients: Arc<Clients>,
    /// The registered client.
    pub client: Arc<Client>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.live.remove(&self.client.id);
    }
}
