//! Owns Dolt's process: spawning it, its environment, its output, signals to it and how it ended.
//! Does not decide when. Always: one process at a time; a signal never reaches a reused pid.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::oneshot;

use super::git::{MARK, environment};
use super::log::{RotatingFile, Tail, copy_lines};
use super::shim::SHIM_SUBCOMMAND;

/// What Dolt wrote before it ended may still be in the pipe.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// How to start it.
#[derive(Debug)]
pub(super) struct Launch {
    /// Ourselves, for the step in between.
    pub(super) shim: PathBuf,
    /// The link to Dolt's binary.
    pub(super) program: PathBuf,
    pub(super) config: PathBuf,
    pub(super) home: PathBuf,
    pub(super) log: PathBuf,
    pub(super) rotate_bytes: u64,
    pub(super) rotate_keep: usize,
}

/// A process that was started; when dropped while it runs, it gets SIGTERM.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    child: Arc<Mutex<Option<Child>>>,
    pub(super) exit: oneshot::Receiver<Exit>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) status: Option<ExitStatus>,
    pub(super) last_words: Vec<String>,
}

impl Exit {
    /// For people; the last words only where it ended by itself with an error.
    pub(super) fn describe(&self) -> String {
        let Some(status) = self.status else { return "Dolt has ended".into() };
        if let Some(signal) = status.signal() {
            return format!("Dolt was ended by signal {signal}");
        }
        let code = status.code().unwrap_or(-1);
        format!("Dolt has ended with exit code {code}")
    }
}

impl Process {
    /// SIGTERM.
    pub(super) fn terminate(&self) {
        self.signal(|pid| rustix::process::kill_process(pid, Signal::TERM));
    }

    /// SIGKILL, also to whatever it has started (git).
    pub(super) fn kill(&self) {
        self.signal(|pid| rustix::process::kill_process_group(pid, Signal::KILL));
    }

    fn signal(&self, send: impl FnOnce(Pid) -> rustix::io::Result<()>) {
        // While the child is there it has not been waited for, so its pid cannot have been reused.
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = child.as_ref().map(Child::id).and_then(pid_of) {
            let _ = send(pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// The thread that all Dolts are started from. The kernel sends the parent-death signal when the
/// *thread* that forked ends, so it has to live as long as we do; it also waits for the exit.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    orders: mpsc::Sender<oneshot::Sender<io::Result<Process>>>,
}

impl Keeper {
    pub(super) fn start(launch: Launch) -> io::Result<Self> {
        let (orders, taken) = mpsc::channel::<oneshot::Sender<io::Result<Process>>>();
        std::thread::Builder::new().name("dolt-keeper".into()).spawn(move || {
            let tail = Tail::default();
            for order in taken {
                match launch.spawn(&tail) {
                    Ok((process, wait)) => {
                        let _ = order.send(Ok(process));
                        wait();
                    }
                    Err(error) => {
                        let _ = order.send(Err(error));
                    }
                }
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts Dolt; the one before has to have ended.
    pub(super) async fn spawn(&self) -> io::Result<Process> {
        let (order, result) = oneshot::channel();
        self.orders.send(order).map_err(|_| io::Error::other("the keeper thread has ended"))?;
        result.await.map_err(|_| io::Error::other("the keeper thread has ended"))?
    }
}

impl Launch {
    /// The process, and what the keeper does until it has ended.
    fn spawn(&self, tail: &Tail) -> io::Result<(Process, impl FnOnce() + use<>)> {
        let mut log = RotatingFile::open(&self.log, self.rotate_bytes, self.rotate_keep)?;
        let (output, input) = io::pipe()?;
        let child = self.command(output.try_clone()?, input)?.spawn()?;
        let pid = child.id();
        let child = Arc::new(Mutex::new(Some(child)));
        let (exit_sender, exit) = oneshot::channel();
        let process = Process { pid, child: child.clone(), exit };

        tail.clear();
        let (at_end, ended) = mpsc::channel::<()>();
        let lines = tail.clone();
        std::thread::Builder::new().name("dolt-log".into()).spawn(move || {
            copy_lines(output, &mut log, &lines);
            drop(at_end);
        })?;
        let tail = tail.clone();
        let wait = move || {
            // Left waitable, so that the pid stays taken until `child` is.
            if let Some(pid) = pid_of(pid) {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options) {}
            }
            let child = child.lock().unwrap_or_else(PoisonError::into_inner).take();
            let status = child.and_then(|mut child| child.wait().ok());
            let _ = ended.recv_timeout(LAST_WORDS_TIMEOUT);
            let _ = exit_sender.send(Exit { status, last_words: tail.lines() });
        };
        Ok((process, wait))
    }

    fn command(&self, keep: io::PipeReader, input: io::PipeWriter) -> io::Result<Command> {
        let mut command = Command::new(&self.shim);
        command
            .arg0("branchline")
            .arg(SHIM_SUBCOMMAND)
            .arg(std::process::id().to_string())
            .arg(&self.program)
            .args([OsStr::new("sql-server"), OsStr::new("--config")])
            .arg(&self.config)
            // Not the data directory: nothing that Dolt might leave in its working directory goes there.
            .current_dir(&self.home)
            .process_group(0)
            .stdin(Stdio::from(keep))
            .stdout(Stdio::from(input.try_clone()?))
            .stderr(Stdio::from(input))
            .env_clear()
            .envs(environment(std::env::vars_os()))
            // HOME stays the user's: git's credential helpers and ssh's keys are found there. Dolt's own settings are not.
            .env(MARK, &self.home)
            .env("DOLT_DISABLE_EVENT_FLUSH", "1");
        Ok(command)
    }
}
