//! Owns the look-up of the process at the other end of a connection.
//! Does not decide what its variables mean: `route` does.
//! Always: a process is named only if it was seen to hold the socket; what can't be told is Unknown with a reason.

mod cache;
mod environment;
mod holders;

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
use holders::Holders;

/// Look-ups that read /proc at once. Each takes some 50 µs, but a process that is swapped out or exiting
/// can hold one up, and must not hold up the others' logins.
const LOOKUPS_MAX: usize = 32;

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
    holders: Holders,
    permits: Arc<Semaphore>,
}

impl Default for PeerProcesses {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { cache: Arc::default(), holders: Holders::default(), permits }
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
        match self.look_up(socket, hint_pid).await {
            Ok(process) => PeerProcess::Found(process),
            Err(reason) => PeerProcess::Unknown { reason },
        }
    }

    async fn look_up(&self, socket: PeerSocket, hint_pid: Option<u32>) -> Result<ProcessIdentity, String> {
        let of_it = match self.blocking(move |cache| without_scan(socket, hint_pid, cache)).await? {
            FirstLook::Done(process) => return Ok(process),
            FirstLook::ScanFor(of_it) => of_it,
        };
        let platform::ClientSocket { inode, uid } = of_it;
        let pids = self.holders.of(inode).await?;
        self.blocking(move |cache| match pids.as_slice() {
            [] => Err("no process that Branchline can see holds the connection: it is gone, or runs in \
                 another pid namespace"
                .to_owned()),
            [pid] => read_holder(*pid, inode, uid, cache),
            pids => read_several(pids, inode, uid, cache),
        })
        .await
    }

    /// /proc blocks: a process that is swapped out or exiting can hold its files up.
    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Mutex<Cache>) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| "Branchline is stopping".to_owned())?;
        let cache = Arc::clone(&self.cache);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            job(&cache)
        });
        task.await.unwrap_or_else(|_| Err("the look-up was cut off".to_owned()))
    }
}

/// What can be told without a look at all processes.
enum FirstLook {
    Done(ProcessIdentity),
    ScanFor(platform::ClientSocket),
}

fn without_scan(
    socket: PeerSocket,
    hint_pid: Option<u32>,
    cache: &Mutex<Cache>,
) -> Result<FirstLook, String> {
    match socket {
        PeerSocket::Unix { pid: 0, .. } => Err("it runs in another pid namespace".to_owned()),
        PeerSocket::Unix { pid, uid } => {
            may_look_at(uid)?;
            read(pid, uid, cache).map(FirstLook::Done)
        }
        PeerSocket::Tcp { local, peer } => {
            let of_it = platform::client_socket(local, peer)?;
            may_look_at(of_it.uid)?;
            match hint_pid {
                Some(pid) if platform::holds(pid, of_it.inode) => {
                    read_holder(pid, of_it.inode, of_it.uid, cache).map(FirstLook::Done)
                }
                _ => Ok(FirstLook::ScanFor(of_it)),
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
