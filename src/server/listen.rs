//! Listening sockets, and the clients that come over them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::ServeError;
use crate::net::Stream;
use crate::session::peer::PeerSocket;
use crate::session::{self, Accepted, ClientSocket, Context};

/// Pause after an accept that failed for lack of something (file descriptors), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that the kernel holds until we accept them: storms come all at once.
const BACKLOG: u32 = 4096;

/// A bound socket; `Display` is its address. A Unix socket's file goes with it.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// Unix.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds a TCP address; port 0 becomes a free one.
    pub async fn tcp(address: SocketAddr) -> Result<Self, ServeError> {
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
                SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
            };
            // A restart must not wait for the old connections' TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let bound = listener.local_addr()?;
            Ok(Self::Tcp(listener, bound))
        };
        bind().map_err(|error| cannot(&address.to_string(), error))
    }

    /// Binds a Unix socket. One that nobody answers on is left over and replaced.
    pub async fn unix(path: &Path) -> Result<Self, ServeError> {
        let fail = |error| cannot(&path.display().to_string(), error);
        if UnixStream::connect(path).await.is_ok() {
            return Err(fail(io::Error::from(io::ErrorKind::AddrInUse)));
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) if std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()) => {
                std::fs::remove_file(path).map_err(fail)?;
            }
            Ok(_) => {
                return Err(fail(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it exists and is not a socket",
                )));
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(fail)?;
        Ok(Self::Unix(listener, path.to_owned()))
    }

    /// The bound address, if it is TCP.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(..) => None,
        }
    }

    /// Accepts clients until told to stop; each becomes a session of its own.
    pub async fn accept(self, context: Arc<Context>, accepting: CancellationToken, sessions: TaskTracker) {
        while let Some(taken) = accepting.run_until_cancelled(self.next()).await {
            match taken {
                Ok((stream, peer)) => {
                    let address = match peer {
                        PeerSocket::Unix { .. } => "unix".to_owned(),
                        PeerSocket::Tcp { peer, .. } => peer.to_string(),
                    };
                    let registration = context.clients.register(address, CancellationToken::new());
                    let accepted = Accepted { client: ClientSocket::new(stream), peer, registration };
                    sessions.spawn(session::run(accepted, Arc::clone(&context)));
                }
                // A client that was gone before it was accepted is its own affair; the rest is ours.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn next(&self) -> io::Result<(Stream, PeerSocket)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                let local = stream.local_addr()?;
                Ok((Stream::tcp(stream)?, PeerSocket::Tcp { local, peer }))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
                Ok((Stream::Unix(stream), PeerSocket::Unix { pid, uid: peer.uid() }))
            }
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => address.fmt(f),
            Self::Unix(_, path) => path.display().fmt(f),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn cannot(address: &str, error: io::Error) -> ServeError {
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
