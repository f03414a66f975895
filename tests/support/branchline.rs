//! Owns one running Branchline: data and state directories, its address, its private Dolt's address.
//! Does not know what is asked of it.
//! Always: gone when dropped, and its Dolt with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::process::{Process, await_line, lines};
use super::watch;

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Branchline gives Dolt 30 s; a little more for itself.
const STOP_DEADLINE: Duration = Duration::from_secs(35);

/// `branchline serve` on a free port.
pub struct Branchline {
    process: Process,
    addr: SocketAddr,
    data_dir: PathBuf,
    state_dir: PathBuf,
    directory: Town,
}

/// Where a Branchline works: `home`, `data` and `state` below it.
enum Town {
    /// Removed at the end.
    Own(TempDir),
    /// Somebody else's.
    Given(PathBuf),
}

impl Town {
    fn path(&self) -> &Path {
        match self {
            Self::Own(directory) => directory.path(),
            Self::Given(path) => path,
        }
    }
}

/// How a `serve` ended that was not expected to stay.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard error.
    pub stderr: String,
}

/// Where the private Dolt listens, as Branchline publishes it in `dolt.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct PrivateDolt {
    /// Its process.
    pub pid: i32,
    /// Its unix socket.
    pub socket: PathBuf,
    /// Its loopback port.
    pub port: u16,
}

impl Branchline {
    /// Starts it with default settings.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts it with whatever `change` adds to the command: arguments or environment.
    pub fn start_with(change: impl FnOnce(&mut Command)) -> Self {
        Self::serve(Town::Own(tempfile::tempdir().expect("a temporary directory")), change)
    }

    /// The same on the `data` and `state` in a directory that outlives it.
    pub fn start_in(directory: &Path, change: impl FnOnce(&mut Command)) -> Self {
        Self::serve(Town::Given(directory.to_owned()), change)
    }

    /// Runs `serve`, which must end by itself; `change` may override anything but the private HOME.
    pub fn refused(directory: &Path, change: impl FnOnce(&mut Command)) -> Ended {
        let (mut command, _) = serve_command(directory);
        change(&mut command);
        let stderr = directory.join("stderr-of-refused");
        let (mut process, _stdout) = Process::start("branchline", command, &stderr, STOP_DEADLINE);
        let status = process.wait(READY_DEADLINE);
        let status =
            status.unwrap_or_else(|| panic!("`serve` did not end by itself: {}", process.stderr_tail()));
        Ended { code: status.code(), stderr: fs::read_to_string(&stderr).expect("its standard error") }
    }

    fn serve(directory: Town, change: impl FnOnce(&mut Command)) -> Self {
        let (mut command, [data_dir, state_dir]) = serve_command(directory.path());
        command.args(["--listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(&data_dir).arg("--state-dir").arg(&state_dir);
        // Not a flag, so that `change` can name another Dolt, or an address.
        command.env("BRANCHLINE_DOLT", super::dolt_binary());
        change(&mut command);
        let (process, stdout) =
            Process::start("branchline", command, &directory.path().join("stderr"), STOP_DEADLINE);
        let ready = await_line(&lines(stdout), READY_DEADLINE, |line| {
            line.strip_prefix("ready ")?.trim().parse().ok()
        });
        let Some(addr) = ready else {
            panic!(
                "no `ready ADDR` from branchline within {READY_DEADLINE:?}; it said:\n{}",
                process.stderr_tail()
            );
        };
        Self { process, addr, data_dir, state_dir, directory }
    }

    /// Where SQL is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Branchline's own process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `--data-dir`.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// `--state-dir`.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The end of what it wrote to standard error.
    pub fn stderr_tail(&self) -> String {
        self.process.stderr_tail()
    }

    /// Everything it wrote to standard error.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, up to a deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.process.wait(deadline)
    }

    /// The Dolt that runs now, if one is published.
    pub fn try_dolt(&self) -> Option<PrivateDolt> {
        serde_json::from_str(&fs::read_to_string(self.state_dir.join("dolt.json")).ok()?).ok()
    }

    /// The Dolt that runs now.
    pub fn dolt(&self) -> PrivateDolt {
        let path = self.state_dir.join("dolt.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()))
    }
}

/// `serve` with a private HOME and nothing that routes, and its data and state directories.
fn serve_command(directory: &Path) -> (Command, [PathBuf; 2]) {
    let [home, data_dir, state_dir] = ["home", "data", "state"].map(|name| directory.join(name));
    for path in [&home, &data_dir, &state_dir] {
        fs::create_dir_all(path).expect("a directory in the temporary directory");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.arg("serve").env("HOME", &home).env("TZ", "UTC");
    for routed_by in ["BD_BRANCH", "BD_ACTOR", "GT_POLECAT"] {
        command.env_remove(routed_by);
    }
    (command, [data_dir, state_dir])
}

impl Drop for Branchline {
    fn drop(&mut self) {
        if self.process.stop() {
            // A Branchline that was killed leaves its Dolt to the kernel's SIGTERM.
            if std::thread::panicking() {
                // Its log goes with the temporary directory.
                eprintln!("branchline's last words:\n{}", self.stderr_tail());
            } else {
                watch::until(STOP_DEADLINE, "no process of Branchline is left", || {
                    watch::processes_of(&self.state_dir).is_empty().then_some(())
                });
            }
            return;
        }
        // It was killed and could not stop its Dolt any more.
        let published = fs::read_to_string(self.state_dir.join("dolt.json")).ok();
        let dolt = published.and_then(|text| serde_json::from_str::<PrivateDolt>(&text).ok());
        if let Some(pid) = dolt.and_then(|dolt| Pid::from_raw(dolt.pid)) {
            let _already_gone = kill_process(pid, Signal::KILL);
        }
        let message =
            format!("branchline did not stop within {STOP_DEADLINE:?} of SIGTERM\n{}", self.stderr_tail());
        if std::thread::panicking() { eprintln!("{message}") } else { panic!("{message}") }
    }
}
