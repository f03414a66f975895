//! Owns git remotes for tests: bare repositories, a real `sshd`, a real `git http-backend`, and what can go wrong
//! between them and git. Does not imitate git or a server of it.
//! Always: on loopback and free ports, below temporary directories; processes end with their owner.

pub mod faulty;
pub mod http;
pub mod repository;
pub mod rigs;
pub mod ssh;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

pub use faulty::{Fault, FaultyProxy};
pub use http::HttpServer;
pub use repository::Repository;
pub use rigs::Rigs;
pub use ssh::{Access, SshServer};

use super::watch;

/// git without any settings of this machine's or its user's.
pub fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("HOME", directory).envs([
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LC_ALL", "C"),
    ]);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_SSH_COMMAND"] {
        command.env_remove(name);
    }
    for (name, value) in [("NAME", "test"), ("EMAIL", "test@example.com")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    command
}

/// What it prints; it succeeds.
pub fn run<S: AsRef<OsStr>>(mut command: Command, arguments: &[S]) -> String {
    let output = command.args(arguments).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{stderr}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A program that a Debian package brings, by its path: those of servers are not on everybody's PATH.
fn program(name: &str, package: &str) -> PathBuf {
    static PREPARED: Once = Once::new();
    let find = || {
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        let dirs =
            std::env::split_paths(&on_path).chain(["/usr/sbin", "/usr/lib/git-core"].map(PathBuf::from));
        dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
    };
    find().unwrap_or_else(|| {
        PREPARED.call_once(|| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/git/prepare.sh");
            let status = Command::new(&script).status().unwrap_or_else(|error| panic!("{script:?}: {error}"));
            assert!(status.success(), "{script:?} failed: see above");
        });
        find().unwrap_or_else(|| panic!("{name} is missing: it is in the Debian package {package}"))
    })
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Processes that this one has started, theirs too.
fn descendants(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}
