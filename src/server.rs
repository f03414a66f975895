//! Puts the parts together and runs them: Dolt first, then the listeners, then signals until the end.
//! Owns start, drain and stop. Does not serve connections: `session` does.
//! Always: `ready ADDR` is printed only when SQL is served, and Dolt is stopped whatever ends us but SIGKILL.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::accounts::Directory;
use crate::branch::{Branches, Forks};
use crate::clients::Clients;
use crate::config::{Config, DoltSource};
use crate::dolt::Dolt;
use crate::net::Stream;
use crate::pool::Pool;
use crate::session::peer::{PeerProcesses, PeerSocket};
use crate::session::route::AssignedRules;
use crate::session::{self, Accepted, ClientSocket, Context, ControlAccounts};

/// Pause after an accept that failed for lack of something (file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why Branchline did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Dolt did not come up.
    #[error(transparent)]
    Dolt(#[from] crate::dolt::StartError),
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {error}{hint}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The assigned rules could not be read.
    #[error(transparent)]
    Assigned(#[from] crate::session::route::assigned::AssignedError),
    /// Signals could not be caught.
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
}

/// Runs until SIGTERM or SIGINT. The exit code of `branchline serve`.
pub async fn run(config: Config) -> ExitCode {
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "cannot serve");
            eprintln!("branchline: {error}");
            match error {
                ServeError::Dolt(error) => ExitCode::from(error.exit_code()),
                _ => ExitCode::from(1),
            }
        }
    }
}

async fn serve(config: Config) -> Result<(), ServeError> {
    // A port that is taken is told before Dolt is started for nothing.
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(listen(*address).await?);
    }
    let unix = match &config.socket {
        Some(path) => Some(listen_unix(path).await?),
        None => None,
    };
    let assigned = AssignedRules::load(&config.state_dir)?;
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let starting = Dolt::start(&config);
    let dolt = tokio::select! {
        started = starting => started?,
        // Dropping the start ends what it has begun.
        () = signals.stop() => return Ok(()),
    };
    let context = Arc::new(context(config, dolt.clone(), assigned));
    let accepting = CancellationToken::new();
    let sessions = TaskTracker::new();
    for listener in listeners {
        let address = listener.local_addr().map_err(|error| no_listener("TCP", error))?;
        tokio::spawn(accept_tcp(listener, Arc::clone(&context), accepting.clone(), sessions.clone()));
        println!("ready {address}");
        info!(%address, "serving");
    }
    if let (Some(listener), Some(path)) = (unix, context.config.socket.clone()) {
        tokio::spawn(accept_unix(listener, Arc::clone(&context), accepting.clone(), sessions.clone()));
        println!("ready {}", path.display());
        info!(socket = %path.display(), "serving");
    }
    signals.until_stop(|| dump(&context)).await;
    info!("stopping: no new connections");
    accepting.cancel();
    drain(&context, &sessions).await;
    if let Some(path) = &context.config.socket {
        let _ = std::fs::remove_file(path);
    }
    dolt.stop().await;
    info!("stopped");
    Ok(())
}

fn context(config: Config, dolt: Dolt, assigned: AssignedRules) -> Context {
    let data_dir = match config.dolt.source {
        DoltSource::Private { .. } => Some(config.data_dir.clone()),
        DoltSource::External { .. } => None,
    };
    let control = dolt.control().clone();
    Context {
        pool: Pool::new(dolt.clone()),
        clients: Arc::new(Clients::new()),
        accounts: Directory::new(ControlAccounts(control.clone())),
        peers: PeerProcesses::new(),
        branches: Branches::new(control, data_dir),
        forks: Forks::new(),
        assigned,
        drain: CancellationToken::new(),
        dolt,
        config,
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| no_listener(&address.to_string(), error))
}

async fn listen_unix(path: &Path) -> Result<UnixListener, ServeError> {
    let fail = |error| no_listener(&path.display().to_string(), error);
    // A socket that somebody answers on is theirs; one that nobody does is left over.
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(fail(io::Error::from(io::ErrorKind::AddrInUse)));
    }
    match std::fs::symlink_metadata(path) {
        Ok(meta) if std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) => {
            std::fs::remove_file(path).map_err(fail)?;
        }
        Ok(_) => {
            return Err(fail(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is not a socket")));
        }
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(fail)
}

fn no_listener(address: &str, error: io::Error) -> ServeError {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process has it: stop that one or choose another --listen or --socket"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 and other people's directories need more rights"
        }
        _ => "",
    };
    ServeError::Listen { address: address.to_owned(), error, hint }
}

async fn accept_tcp(
    listener: TcpListener,
    context: Arc<Context>,
    accepting: CancellationToken,
    sessions: TaskTracker,
) {
    while let Some(accepted) = accepting.run_until_cancelled(listener.accept()).await {
        let taken = accepted.and_then(|(stream, peer)| {
            let local = stream.local_addr()?;
            Ok((Stream::tcp(stream)?, PeerSocket::Tcp { local, peer }))
        });
        begin(taken, &context, &sessions).await;
    }
}

async fn accept_unix(
    listener: UnixListener,
    context: Arc<Context>,
    accepting: CancellationToken,
    sessions: TaskTracker,
) {
    while let Some(accepted) = accepting.run_until_cancelled(listener.accept()).await {
        let taken = accepted.and_then(|(stream, _)| {
            let peer = stream.peer_cred()?;
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
            Ok((Stream::Unix(stream), PeerSocket::Unix { pid, uid: peer.uid() }))
        });
        begin(taken, &context, &sessions).await;
    }
}

async fn begin(taken: io::Result<(Stream, PeerSocket)>, context: &Arc<Context>, sessions: &TaskTracker) {
    match taken {
        Ok((stream, peer)) => {
            let address = match peer {
                PeerSocket::Unix { .. } => "unix".to_owned(),
                PeerSocket::Tcp { peer, .. } => peer.to_string(),
            };
            let registration = context.clients.register(address, CancellationToken::new());
            let accepted = Accepted { client: ClientSocket::new(stream), peer, registration };
            sessions.spawn(session::run(accepted, Arc::clone(context)));
        }
        // A client that was gone before it was accepted is its own affair; the rest is ours.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
        Err(error) => {
            warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Lets idle clients go at once, those in a statement or transaction within the limit, and then the rest.
async fn drain(context: &Context, sessions: &TaskTracker) {
    sessions.close();
    context.drain.cancel();
    let limit = context.config.limits.drain_timeout;
    if tokio::time::timeout(limit, sessions.wait()).await.is_err() {
        let left = context.clients.all();
        warn!(clients = left.len(), "still busy after limits.drain_timeout_s: ending them");
        for client in left {
            client.cancel.cancel();
        }
        sessions.wait().await;
    }
}

/// Everything a person could want to know of a process that seems stuck; no statement texts, no secrets.
pub fn dump(context: &Context) -> String {
    let mut out = format!(
        "branchline {} pid {}\ndolt: {:?}\nclients: {} now, {} accepted\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        context.dolt.state(),
        context.clients.count(),
        context.clients.accepted.load(std::sync::atomic::Ordering::Relaxed),
    );
    let now = Instant::now();
    for client in context.clients.all() {
        let view = client.view();
        out.push_str(&format!(
            "client {} {} {} pid {:?} db {:?} branch {:?} ({}) backend {:?} {} for {} ms, in transaction: {}\n",
            client.id,
            view.address,
            view.account,
            view.pid,
            view.database,
            view.branch,
            view.reason,
            view.backend_id,
            view.doing.as_str(),
            now.duration_since(view.doing_since).as_millis(),
            view.in_transaction,
        ));
    }
    out
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// SIGTERM or SIGINT.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The same; meanwhile SIGQUIT writes a state dump, and SIGHUP (a terminal that went away) is ignored.
    async fn until_stop(&mut self, dump: impl Fn() -> String) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.quit.recv() => eprintln!("{}", dump()),
                _ = self.hangup.recv() => {}
            }
        }
    }
}
