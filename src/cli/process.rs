//! Owns signalling and awaiting another process, by pid without mistaking a reused one.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// A handle on a process that stays on that one process.
pub struct Process {
    pid: i32,
    fd: std::os::fd::OwnedFd,
}

impl Process {
    /// The process with this id; none if it is gone.
    pub fn open(pid: i32) -> Result<Option<Self>, Failure> {
        let Some(id) = Pid::from_raw(pid) else {
            return Err(Failure::Failed(format!("{pid} is no process id")));
        };
        match pidfd_open(id, PidfdFlags::NONBLOCK) {
            Ok(fd) => Ok(Some(Self { pid, fd })),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(Failure::Failed(format!("can't watch process {pid}: {error}"))),
        }
    }

    /// SIGTERM: Branchline drains and stops Dolt.
    pub fn terminate(&self) -> Result<(), Failure> {
        match pidfd_send_signal(&self.fd, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(Failure::Failed(format!("can't send SIGTERM to process {}: {error}", self.pid)))
            }
        }
    }

    /// Waits until it is gone; false when time is up. Says on stderr what it waits for.
    pub fn wait(self, limit: Duration, what: &str) -> Result<bool, Failure> {
        let mut progress = Progress::new(format!("{what} (pid {})", self.pid));
        loop {
            let left = limit.saturating_sub(progress.begun.elapsed());
            let pause = left.min(progress.until_next());
            let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: pause.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) => progress.say_if_due(),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    return Err(Failure::Failed(format!("can't wait for process {}: {error}", self.pid)));
                }
            }
        }
    }
}

/// A line on stderr after two seconds, and then every five.
pub struct Progress {
    what: String,
    begun: Instant,
    next: Duration,
}

impl Progress {
    /// Nothing is said yet.
    pub fn new(what: String) -> Self {
        Self { what, begun: Instant::now(), next: Duration::from_secs(2) }
    }

    /// Returns after it said something.
    pub async fn tick(&mut self) {
        tokio::time::sleep(self.until_next()).await;
        self.say_if_due();
    }

    fn until_next(&self) -> Duration {
        self.next.saturating_sub(self.begun.elapsed())
    }

    fn say_if_due(&mut self) {
        if self.until_next().is_zero() {
            eprintln!("{}: {} s …", self.what, self.begun.elapsed().as_secs());
            self.next += Duration::from_secs(5);
        }
    }
}

/// A runtime for a command's own waiting.
pub fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("can't start the async runtime: {error}")))
}

/// Makes a directory that only the owner may enter; one that is there keeps its mode.
pub fn private_dir(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        let dir = dir.display();
        Failure::Failed(format!("can't make the state directory {dir}: {error}; give another --state-dir"))
    })
}
