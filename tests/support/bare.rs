//! Owns bare git repositories that Dolt can push to. Does not know Dolt.
//! Always: gone when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use branchline::remote::RemoteUrl;
use tempfile::TempDir;

/// A bare repository with one branch, as Dolt needs it.
pub struct Bare {
    directory: TempDir,
}

impl Bare {
    /// Makes one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let bare = Self { directory };
        git(bare.directory.path(), &["init", "-q", "--bare", "--initial-branch=main", "r.git"]);
        git(bare.directory.path(), &["init", "-q", "--initial-branch=main", "first"]);
        let first = bare.directory.path().join("first");
        git(&first, &["commit", "-q", "--allow-empty", "-m", "first"]);
        git(&first, &["push", "-q", "../r.git", "main"]);
        bare
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("r.git")
    }

    /// As Dolt takes it.
    pub fn url(&self) -> String {
        format!("git+file://{}", self.path().display())
    }

    /// As settings have it.
    pub fn remote_url(&self) -> RemoteUrl {
        RemoteUrl::parse(&self.url()).expect("a URL")
    }

    /// Runs git in it.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.path(), arguments)
    }
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgSign=false"])
        .args(arguments)
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
