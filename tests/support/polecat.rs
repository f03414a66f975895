//! Owns what a polecat's processes run: `branchline branch …`. Does not judge what comes out.
//! Always: nothing of this machine's environment routes it.

use std::path::Path;
use std::process::{Command, Stdio};

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Exit code; none: by a signal.
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub text: String,
}

/// `branchline branch ARGUMENTS` for the Branchline of this state directory, not yet started.
pub fn command(state_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.arg("branch").args(arguments).arg("--state-dir").arg(state_dir);
    for routed_by in ["BD_BRANCH", "BD_ACTOR", "GT_POLECAT"] {
        command.env_remove(routed_by);
    }
    command.stdin(Stdio::null());
    command
}

/// The same, run to its end.
pub fn branch(state_dir: &Path, arguments: &[&str]) -> Said {
    let output = command(state_dir, arguments).output().expect("branchline runs");
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Said { code: output.status.code(), text: stdout + &stderr }
}

/// The same, which succeeds; what it printed.
pub fn done(state_dir: &Path, arguments: &[&str]) -> String {
    let said = branch(state_dir, arguments);
    assert_eq!(said.code, Some(0), "branch {arguments:?}: {}", said.text);
    said.text
}
