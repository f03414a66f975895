//! Owns every process and directory that the benchmark makes, and ends them whatever happens.
//! Does not know what the processes are for.
//! Always: only what this run started is signalled; SIGTERM comes 40 s before SIGKILL.

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

fn running() -> Running {
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
            // Held until the exit, so that the main thread starts nothing in between.
            let _nothing_starts = end_all(&path);
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
                return Err(format!(
                    "{name} was not ready after {} s{}",
                    wait.as_secs(),
                    self.last_words(name)
                ));
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
        drop(end_all(self.directory.path()));
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
    running()
        .iter_mut()
        .find(|(other, _)| other == name)
        .and_then(|(_, child)| child.try_wait().ok().flatten())
}

type Running = MutexGuard<'static, Vec<(String, Child)>>;

/// Ends the processes, the last started first: proxies before what is behind them. As long as the result is
/// held, no other can be started.
fn end_all(scratch: &Path) -> Running {
    let mut list = running();
    while let Some((name, mut child)) = list.pop() {
        // A child that is not reaped yet keeps its pid, so the signal reaches nobody else.
        end(&name, Pid::from_child(&child), || matches!(child.try_wait(), Ok(None)));
        drop(child.wait());
    }
    // A Branchline that crashed leaves its Dolt behind; the scratch path in its arguments shows whose it is.
    for orphan in processes_with_argument(scratch) {
        let still_there = || processes_with_argument(scratch).contains(&orphan);
        eprintln!("e2e: process {orphan} was left behind by a server that is gone");
        if let Some(pid) = Pid::from_raw(orphan) {
            end("it", pid, still_there);
        }
    }
    list
}

/// SIGTERM, then SIGKILL for what does not listen.
fn end(name: &str, pid: Pid, mut runs: impl FnMut() -> bool) {
    if !runs() || kill_process(pid, Signal::TERM).is_err() {
        return;
    }
    let deadline = Instant::now() + STOP_WAIT;
    while runs() {
        if Instant::now() > deadline {
            eprintln!("e2e: {name} did not end within {} s of SIGTERM: killed", STOP_WAIT.as_secs());
            // It may have ended just now.
            let _ = kill_process(pid, Signal::KILL);
            return;
        }
        thread::sleep(POLL);
    }
}

/// Processes that name a path under `directory` in their arguments.
fn processes_with_argument(directory: &Path) -> Vec<i32> {
    let Some(needle) = directory.to_str() else { return Vec::new() };
    let names_it = |process: &procfs::process::Process| {
        process.cmdline().is_ok_and(|arguments| arguments.iter().any(|argument| argument.contains(needle)))
    };
    procfs::process::all_processes()
        .map(|all| all.flatten().filter(names_it).map(|process| process.pid).collect())
        .unwrap_or_default()
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
