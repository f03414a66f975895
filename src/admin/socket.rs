//! Owns the console's socket: binding it privately, letting in only our own uid and root, removing it at the end.
//! Always: a socket that somebody still answers on is never replaced.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use opensrv_mysql::AsyncMysqlIntermediary;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::backend::Backend;
use super::guard::{Ended, Guard};
use super::shim::Shim;

/// Console connections at once.
const CONNECTIONS_MAX: usize = 64;
const ER_CON_COUNT_ERROR: u16 = 1040;
const ER_ACCESS_DENIED: u16 = 1045;

/// Why the console can't be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error("another Branchline answers on {}", path.display())]
    Answered {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is there and is not a socket; remove it or choose another --state-dir", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("can't make the console's socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A bound console.
#[derive(Debug)]
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Console {
    /// Binds `path` with mode 0600. A stale socket is replaced, one that is answered is not.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { path: path.to_path_buf(), source };
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(BindError::NotASocket { path: path.to_path_buf() });
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => return Err(BindError::Answered { path: path.to_path_buf() }),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                }
                Err(error) => return Err(failed(error)),
            },
        }
        // Made private under another name first, so that nobody can connect in between.
        let temporary = path.with_file_name(format!(".c{}", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary).map_err(failed)?;
        let finish = || {
            std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
            std::fs::rename(&temporary, path)?;
            Ok(std::fs::symlink_metadata(path)?.ino())
        };
        let inode = finish().map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            failed(error)
        })?;
        Ok(Self { listener, path: path.to_path_buf(), inode })
    }

    /// Serves until `stop`, then removes the socket and ends its connections.
    pub async fn serve(self, backend: Arc<dyn Backend>, stop: CancellationToken) {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let next_id = AtomicU32::new(1);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors: wait, or this would spin.
                    warn!(%error, "the console can't accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection_id = next_id.fetch_add(1, Ordering::Relaxed);
            let (backend, stop, free) = (Arc::clone(&backend), stop.clone(), Arc::clone(&free));
            tokio::spawn(async move {
                let Ok(_permit) = free.try_acquire_owned() else {
                    let text = format!("the console has {CONNECTIONS_MAX} connections, its limit");
                    return refuse_early(stream, ER_CON_COUNT_ERROR, &text).await;
                };
                tokio::select! {
                    () = connection(stream, connection_id, backend) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Only if it is still ours: a successor may have replaced it.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who may use the console.
fn is_permitted(peer_uid: u32, our_uid: u32) -> bool {
    peer_uid == our_uid || peer_uid == 0
}

async fn connection(stream: UnixStream, connection_id: u32, backend: Arc<dyn Backend>) {
    let credentials = match stream.peer_cred() {
        Ok(credentials) => credentials,
        Err(error) => {
            warn!(%error, "a console connection without credentials");
            return;
        }
    };
    let uid = credentials.uid();
    if !is_permitted(uid, rustix::process::geteuid().as_raw()) {
        warn!(uid, "console connection refused: another user's");
        let text = format!(
            "Access denied: the console is for the user that runs Branchline and for root, not for uid {uid}"
        );
        return refuse_early(stream, ER_ACCESS_DENIED, &text).await;
    }
    let Some(salt) = random_salt() else {
        warn!("no random bytes for a console connection");
        return;
    };
    let by = match credentials.pid() {
        Some(pid) => format!("uid {uid}, pid {pid}"),
        None => format!("uid {uid}"),
    };
    let authenticated = Arc::new(AtomicBool::new(false));
    let guard_sees = Arc::clone(&authenticated);
    let shim = Shim { backend, by, salt, connection_id, authenticated, prepared: Vec::new() };
    let (reader, mut writer) = stream.into_split();
    let Err(error) = AsyncMysqlIntermediary::run_on(shim, Guard::new(reader, guard_sees), &mut writer).await
    else {
        return;
    };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Ended>()) {
        Some(Ended::PasswordSent { seq }) => {
            let text = "#28000Access denied: the console takes no password, the socket says who you are; connect with an empty one";
            let _ = writer.write_all(&error_packet(*seq, ER_ACCESS_DENIED, text)).await;
        }
        _ => debug!(connection_id, %error, "console connection ended"),
    }
}

/// An ERR instead of a greeting.
async fn refuse_early(mut stream: UnixStream, code: u16, text: &str) {
    let _ = stream.write_all(&error_packet(0, code, text)).await;
}

/// `text` includes `#SQLSTATE` where the client expects one: after the greeting.
fn error_packet(seq: u8, code: u16, text: &str) -> Vec<u8> {
    let len = (3 + text.len()) as u32;
    let mut packet = len.to_le_bytes()[..3].to_vec();
    packet.extend_from_slice(&[seq, 0xff]);
    packet.extend_from_slice(&code.to_le_bytes());
    packet.extend_from_slice(text.as_bytes());
    packet
}

/// 20 bytes without NUL and `$`, which old clients read as the end of the salt.
fn random_salt() -> Option<[u8; 20]> {
    let mut salt = [0_u8; 20];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").ok()?, &mut salt).ok()?;
    for byte in &mut salt {
        *byte &= 0x7f;
        if matches!(*byte, 0 | b'$') {
            *byte += 1;
        }
    }
    Some(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_uid_and_root() {
        for (peer, ours, want) in [(1000, 1000, true), (0, 1000, true), (1001, 1000, false), (1000, 0, false)]
        {
            assert_eq!(is_permitted(peer, ours), want, "{peer} {ours}");
        }
    }

    #[test]
    fn salts_differ_and_have_no_nul() {
        let (a, b) = (random_salt().unwrap(), random_salt().unwrap());
        assert_ne!(a, b);
        assert!(!a.contains(&0) && !a.contains(&b'$'));
    }
}
