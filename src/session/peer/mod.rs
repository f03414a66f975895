//! Owns the look-up of the process at the other end of a connection.
//! Does not decide what its variables mean: `route` does.
//! Always: a process is named only if it was seen to hold the socket; what can't be told is Unknown with a reason.

mod cache;
mod environment;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "unsupported.rs"]
mod platform;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::identity::{PeerProcess, ProcessIdentity};
use cache::Cache;

/// Look-ups at once: each may walk all of /proc.
const LOOKUPS_MAX: usize = 4;

/// Holders of one connection that are looked at before giving up.
const HOLDERS_MAX: usize = 16;

/// How often, and how long, a process that is between two programs (exec) is waited for.
const EXEC_TRIES_MAX: u32 = 20;
const EXEC_WAIT: Duration = Duration::from_millis(1);

/// What the kernel says of a connection's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSocket {
    /// Unix socket: SO_PEERCRED, taken when the client connected; a fork afterwards doesn't matter.
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
#[derive(Debug)]
pub struct PeerProcesses {
    cache: Arc<Mutex<Cache>>,
    permits: Arc<Semaphore>,
}

impl Default for PeerProcesses {
    fn default() -> Self {
        Self { cache: Arc::default(), permits: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl PeerProcesses {
    /// Nothing remembered.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process that holds the client's end. `hint_pid` (the `_pid` attribute) only makes it faster:
    /// it counts if that process is seen to hold the connection.
    pub async fn process_of(&self, socket: PeerSocket, hint_pid: Option<u32>) -> PeerProcess {
        let unknown = |reason: &str| PeerProcess::Unknown { reason: reason.to_owned() };
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return unknown("Branchline is stopping");
        };
        let cache = Arc::clone(&self.cache);
        // /proc blocks: a process that is swapped out or exiting can hold its files up.
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look_up(socket, hint_pid, &cache)
        });
        match task.await {
            Ok(Ok(process)) => PeerProcess::Found(process),
            Ok(Err(reason)) => PeerProcess::Unknown { reason },
            Err(_) => unknown("the look-up was cut off"),
        }
    }
}

fn look_up(
    socket: PeerSocket,
    hint_pid: Option<u32>,
    cache: &Mutex<Cache>,
) -> Result<ProcessIdentity, String> {
    match socket {
        PeerSocket::Unix { pid: 0, .. } => Err("it runs in another pid namespace".to_owned()),
        PeerSocket::Unix { pid, uid } => {
            may_look_at(uid)?;
            read(pid, uid, cache)
        }
        PeerSocket::Tcp { local, peer } => {
            let platform::ClientSocket { inode, uid } = platform::client_socket(local, peer)?;
            may_look_at(uid)?;
            if let Some(pid) = hint_pid
                && platform::holds(pid, inode)
            {
                return read_holder(pid, inode, uid, cache);
            }
            match platform::holders(inode)?.as_slice() {
                [] => Err("no process that Branchline can see holds the connection: it is gone, or runs in \
                     another pid namespace"
                    .to_owned()),
                [pid] => read_holder(*pid, inode, uid, cache),
                pids => read_several(pids, inode, uid, cache),
            }
        }
    }
}

/// Its own user's processes, or anybody's as root; /proc would refuse the others' anyway.
fn may_look_at(uid: u32) -> Result<(), String> {
    let ours = platform::our_uid();
    if ours == 0 || ours == uid {
        return Ok(());
    }
    Err(format!("it runs as uid {uid}, which Branchline, as uid {ours}, may not look at"))
}

/// Of several processes any will do if they carry the same variables.
fn read_several(pids: &[u32], inode: u32, uid: u32, cache: &Mutex<Cache>) -> Result<ProcessIdentity, String> {
    let several = |why: &str| {
        let mut list: Vec<String> = pids.iter().take(HOLDERS_MAX).map(u32::to_string).collect();
        if pids.len() > HOLDERS_MAX {
            list.push("…".to_owned());
        }
        format!("{} processes hold the connection (pids {}) and {why}", pids.len(), list.join(", "))
    };
    if pids.len() > HOLDERS_MAX {
        return Err(several("that is too many to look at"));
    }
    let mut first: Option<ProcessIdentity> = None;
    for &pid in pids {
        // One that has gone or let go meanwhile doesn't count.
        let Ok(process) = read_holder(pid, inode, uid, cache) else { continue };
        if process.environment.is_err() {
            return Err(several("not all of their environments can be read"));
        }
        match &first {
            Some(first) if first.environment != process.environment => {
                return Err(several("differ in BD_BRANCH, BD_ACTOR or GT_POLECAT"));
            }
            Some(_) => {}
            None => first = Some(process),
        }
    }
    first.ok_or_else(|| several("all went away"))
}

/// Reads `pid` and checks afterwards that it still holds the socket, so that it is no other process by
/// the same pid.
fn read_holder(pid: u32, inode: u32, uid: u32, cache: &Mutex<Cache>) -> Result<ProcessIdentity, String> {
    let process = read(pid, uid, cache)?;
    if platform::holds(pid, inode) { Ok(process) } else { Err(gone(pid)) }
}

/// Tells a process from another that had its pid, and from itself before an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Image {
    /// Start time in clock ticks since boot.
    start_ticks: u64,
    /// Where the environment begins and ends in memory: anew with each exec, 0 in the middle of one.
    environment: (u64, u64),
}

/// What a process runs.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    image: Image,
    executable: PathBuf,
}

impl Program {
    fn of(pid: u32) -> Result<Self, String> {
        let image = platform::image(pid).ok_or_else(|| gone(pid))?;
        let executable = platform::executable(pid).ok_or_else(|| gone(pid))?;
        Ok(Self { image, executable })
    }

    /// Base name of the executable.
    fn name(&self) -> String {
        let name = self.executable.file_name().unwrap_or_default().to_string_lossy();
        // What the kernel adds when the file was replaced, e.g. by an upgrade.
        name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
    }
}

/// What is known of `pid`, read once per program that it runs.
fn read(pid: u32, uid: u32, cache: &Mutex<Cache>) -> Result<ProcessIdentity, String> {
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..EXEC_TRIES_MAX {
        let program = Program::of(pid)?;
        if let Some(process) = lock().get(pid, uid, &program) {
            return Ok(process);
        }
        let environment = match read_environment(pid, uid) {
            Ok(block) if block.is_empty() && program.image.environment.1 == 0 => None,
            Ok(block) => Some(Ok(environment::pick(pid, &block))),
            Err(reason) => Some(Err(reason)),
        };
        match environment {
            Some(environment) if Program::of(pid)? == program => {
                let start_ticks = program.image.start_ticks;
                let process = ProcessIdentity { pid, start_ticks, program: program.name(), environment };
                if process.environment.is_ok() {
                    lock().insert(uid, program, process.clone());
                }
                return Ok(process);
            }
            _ => std::thread::sleep(EXEC_WAIT),
        }
    }
    Err(format!("process {pid} keeps starting other programs"))
}

fn read_environment(pid: u32, uid: u32) -> Result<Vec<u8>, String> {
    match platform::uid_of(pid) {
        Some(runs_as) if runs_as != uid => {
            Err(format!("it runs as uid {runs_as}, but uid {uid} opened the connection"))
        }
        Some(_) => platform::environment(pid),
        None => Err(gone(pid)),
    }
}

fn gone(pid: u32) -> String {
    format!("process {pid} is gone")
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
