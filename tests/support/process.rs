//! Owns child processes: started in their own group, waited for with a deadline, stopped when dropped.
//! Does not know what they are.
//! Always: only signals processes that it started and has not yet reaped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A child whose standard error goes to a file, stopped with SIGTERM when dropped.
pub struct Process {
    name: &'static str,
    pid: Pid,
    /// Behind a mutex only so that tests can share the process.
    exit: Mutex<mpsc::Receiver<ExitStatus>>,
    status: Option<ExitStatus>,
    stop_deadline: Duration,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own. `stop_deadline` is what it gets between SIGTERM and SIGKILL.
    pub fn start(
        name: &'static str,
        mut command: Command,
        stderr: &Path,
        stop_deadline: Duration,
    ) -> (Self, ChildStdout) {
        let log = File::create(stderr).expect("the log file can be created");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let pid = Pid::from_child(&child);
        let exit = Mutex::new(reap(child));
        (Self { name, pid, exit, status: None, stop_deadline, stderr: stderr.to_owned() }, stdout)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// The last lines of it.
    pub fn stderr_tail(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits for the end, up to a deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            let exit = self.exit.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.status = exit.recv_timeout(deadline).ok();
        }
        self.status
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.wait(Duration::ZERO).is_none() {
            let _already_gone = kill_process(self.pid, signal);
        }
    }

    /// SIGTERM, then SIGKILL to the whole group at the deadline. True if SIGTERM was enough.
    pub fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        if self.wait(self.stop_deadline).is_some() {
            return true;
        }
        let _already_gone = kill_process_group(self.pid, Signal::KILL);
        self.wait(Duration::from_secs(10));
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.stop() {
            eprintln!(
                "{} (pid {}) did not stop within {:?} of SIGTERM",
                self.name,
                self.pid(),
                self.stop_deadline
            );
        }
    }
}

/// A thread that waits for the child, so that others can wait with a deadline.
fn reap(mut child: Child) -> mpsc::Receiver<ExitStatus> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            let _nobody_waits = send.send(status);
        }
    });
    receive
}

/// The lines of an output as they come, bytes that are not UTF-8 escaped; the pipe is read to its end even if nobody listens.
pub fn lines(output: ChildStdout) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let _nobody_listens = send.send(text(&line));
        }
    });
    receive
}

fn text(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii())).collect()
}

/// The first line that `wanted` accepts, or `None` at the deadline or the output's end.
pub fn await_line<T>(
    lines: &mpsc::Receiver<String>,
    deadline: Duration,
    mut wanted: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        let line = lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
        if let Some(found) = wanted(&line) {
            return Some(found);
        }
    }
}
