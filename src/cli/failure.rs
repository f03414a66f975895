//! Owns how a command ends badly: exit code and text.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::config::problem::Problems;

/// Exit code for wrong usage; clap's is the same.
pub const USAGE: u8 = 2;

/// How a command ended badly; the exit codes are a contract.
#[derive(Debug)]
pub enum Failure {
    /// 1: it was tried and did not work.
    Failed(String),
    /// 2: arguments or settings that can't be.
    Usage(String),
    /// 3: nothing runs there.
    NotRunning(String),
    /// 4: something runs there already.
    AlreadyRunning(String),
    /// stdout was closed by a pager or `head`: nobody is left to read, so nothing is said.
    OutputClosed,
}

impl Failure {
    /// Nothing answers in this state directory.
    pub fn not_running(state_dir: &Path) -> Self {
        let dir = state_dir.display();
        Failure::NotRunning(format!(
            "Branchline is not running: nothing answers in the state directory {dir}\n\
             start it with `branchline start`, or name another directory with --state-dir"
        ))
    }

    /// Says it on stderr.
    pub fn report(self) -> ExitCode {
        let (code, text) = match self {
            Failure::Failed(text) => (1, text),
            Failure::Usage(text) => (USAGE, text),
            Failure::NotRunning(text) => (3, text),
            Failure::AlreadyRunning(text) => (4, text),
            Failure::OutputClosed => return ExitCode::from(1),
        };
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "branchline: {}", text.trim_end());
        ExitCode::from(code)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Failure::Usage(problems.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(text)
            | Failure::Usage(text)
            | Failure::NotRunning(text)
            | Failure::AlreadyRunning(text) => f.write_str(text),
            Failure::OutputClosed => f.write_str("the output was closed"),
        }
    }
}
