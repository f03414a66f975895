//! Owns every process and directory that the benchmark makes, and ends them whatever happens.
//! Does not know what the processes are for.
//! Always: only children of ours are signalled; SIGTERM comes 40 s before SIGKILL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Branchline gives Dolt 30 s, so it needs a little more itself.
const STOP_WAIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);
/// Exit status after an interrupt, as shells have it.
const INTERRUPTED: i32 = 130;

/// What must be gone at the end. Global because an interrupt has to find it.
static RUNNING: Mutex<Vec<(String, Child)>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<(String, Child)>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory for everything; dropping it ends the processes and removes it.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// Makes the directory and sees to it that an interrupt cleans up, too.
    pub fn new() -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("branchline-bench-")
            .tempdir()
            .map_err(|error| format!("no temporary directory: {error}"))?;
        let path = directory.path().to_owned();
        fs::create_dir(path.join("home")).map_err(|error| format!("{}: {error}", path.display()))?;
        on_interrupt(move || {
            end_all();
            drop(fs::remove_dir_all(&path));
            std::process::exit(INTERRUPTED);
        })?;
        Ok(Self { directory })
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a process with a HOME of its own and its stderr in a file; hands back its pid.
    /// `adopt` sees the child before anybody else, to take its stdout.
    pub fn start(
        &self,
        name: &str,
        command: &mut Command,
        adopt: impl FnOnce(&mut Child),
    ) -> Result<i32, String> {
        let log = self.log(name);
        let file = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut list = running();
        let mut child = command
            .env("HOME", self.path("home"))
            .env_remove("BD_BRANCH")
            .stdin(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", command.get_program().display()))?;
        let pid = child.id() as i32;
        adopt(&mut child);
        list.push((name.to_owned(), child));
        Ok(pid)
    }

    /// Waits until `ready` gives something, the process ends or time is up.
    pub fn await_ready<T>(
        &self,
        name: &str,
        wait: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(done) = ready() {
                return Ok(done);
            }
            if let Some(status) = ended(name) {
                return Err(format!("{name} ended with {status}{}", self.last_words(name)));
            }
            if Instant::now() > deadline {
                return Err(format!("{name} was not ready after {} s{}", wait.as_secs(), self.last_words(name)));
            }
            thread::sleep(POLL);
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    fn last_words(&self, name: &str) -> String {
        let text = fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.iter().rev().fold(String::new(), |all, line| format!("{all}\n  {line}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        end_all();
    }
}

/// Searches PATH and the directories for system programs.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| is_file(candidate))
}

/// Whether there is a file.
pub fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn ended(name: &str) -> Option<ExitStatus> {
    running().iter_mut().find(|(other, _)| other == name).and_then(|(_, child)| child.try_wait().ok().flatten())
}

/// Ends the processes, the last started first: proxies before what is behind them.
fn end_all() {
    let mut list = running();
    while let Some((name, mut child)) = list.pop() {
        if matches!(child.try_wait(), Ok(Some(_))) {
            continue;
        }
        // Not reaped yet, so the pid is still this child's.
        let told = kill_process(Pid::from_child(&child), Signal::TERM);
        let deadline = Instant::now() + STOP_WAIT;
        while told.is_ok() && matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if matches!(child.try_wait(), Ok(None)) {
            eprintln!("e2e: {name} did not end within {} s of SIGTERM: killed", STOP_WAIT.as_secs());
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Runs `clean_up` on its own thread at SIGINT, SIGTERM or SIGHUP.
fn on_interrupt(clean_up: impl FnOnce() + Send + 'static) -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime for signals: {error}"))?;
    let listen = |kind| {
        let _inside = runtime.enter();
        signal(kind).map_err(|error| format!("no signal handler: {error}"))
    };
    let (mut interrupt, mut terminate, mut hang_up) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        clean_up();
    });
    Ok(())
}
