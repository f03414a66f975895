//! Owns what a push came to: its kinds, what Dolt's and git's texts mean, and what is kept of it.
//! Does not push. Always: texts that are kept hold no credential.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Characters of a text that are kept.
const TEXT_CHARS_MAX: usize = 500;

/// What a push came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The remote has main as it is.
    UpToDate,
    /// It has it now: seen there.
    Pushed,
    /// It has commits that main has not.
    Behind,
    /// Its history is not the one that was pushed before.
    Rewritten,
    /// It refuses: a protected branch, a hook, a full disk.
    Rejected,
    /// It can't be reached, or there is no repository.
    Unreachable,
    /// It wants credentials that it was not given.
    Auth,
    /// It has no branch, and git needs one.
    NoBranch,
    /// It has another database's data.
    OtherData,
    /// It did not end in time.
    Timeout,
    /// Something else talked to the remote all the time.
    Busy,
    /// Dolt could not.
    DoltError,
}

impl Outcome {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::Pushed => "pushed",
            Self::Behind => "behind",
            Self::Rewritten => "rewritten",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Auth => "auth",
            Self::NoBranch => "no branch",
            Self::OtherData => "other data",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::DoltError => "dolt error",
        }
    }

    /// Whether the remote has what main has.
    pub fn is_well(self) -> bool {
        matches!(self, Self::UpToDate | Self::Pushed)
    }

    /// What an error's text means. Every failure of git carries Dolt's hint about credentials, so that says nothing.
    pub fn of(text: &str) -> Self {
        let text = text.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // Of this machine, in a text that says that the remote could not be accessed.
        let is_local = has(&["git not found on path"])
            || has(&["not a git repository: '"]) && has(&["git-remote-cache"]);
        if has(&["git remote has no branches"]) {
            Self::NoBranch
        } else if is_local {
            Self::DoltError
        } else if has(&["blob not found", "did not find parent commit"]) {
            // Files that its manifest names are not there.
            Self::Rewritten
        } else if has(&["no common ancestor"]) {
            Self::OtherData
        } else if has(&[
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied (",
            "host key verification failed",
            "terminal prompts disabled",
            "requested url returned error: 401",
            "requested url returned error: 403",
            "invalid credentials",
            "no supported authentication methods",
        ]) {
            Self::Auth
        } else if has(&[
            "pre-receive hook",
            "protected branch",
            "remote rejected",
            "update hook",
            "unpacker error",
            "unpack failed",
            "no space left",
        ]) {
            Self::Rejected
        } else if has(&[
            "tip of your current branch is behind",
            "non-fast-forward",
            "fetch first",
            "stale info",
        ]) {
            Self::Behind
        } else if has(&[
            "could not resolve host",
            "could not resolve hostname",
            "connection refused",
            "connection reset",
            "connection timed out",
            "connection closed",
            "timed out",
            "unable to access",
            "does not appear to be a git repository",
            "not a git repository",
            "repository not found",
            "/' not found",
            "could not read from remote repository",
            "could not be accessed",
            "early eof",
            "hung up",
            "rpc failed",
            "unexpected disconnect",
            "no such file or directory",
            "no route to host",
            "network is unreachable",
        ]) {
            Self::Unreachable
        } else {
            Self::DoltError
        }
    }

    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::UpToDate | Self::Pushed => "",
            Self::Behind => {
                "`branchline pull DB` merges its commits into main by the rules of [merge]; `on_behind = \"merge\"` in \
                 [remotes] does that by itself"
            }
            Self::Rewritten => {
                "nothing is pushed over it: find out who rewrote it. `branchline pull DB` takes what is there if it is meant; \
                 `branchline remote add` with another, empty repository begins anew"
            }
            Self::Rejected => "see what the remote says, and allow refs/dolt/data to be pushed there",
            Self::Unreachable => {
                "check the URL with `git ls-remote` (without the git+ in front); it is tried again by itself"
            }
            Self::Auth => {
                "give git credentials that need no terminal to the account that runs Branchline: an ssh key without \
                 passphrase or an agent and a known host key, or a credential helper; `git ls-remote URL` must work there \
                 without a question"
            }
            Self::NoBranch => "`branchline remote add DB URL --init` makes one",
            Self::OtherData => {
                "nothing is pushed over it: give each database a repository of its own with `branchline remote add`"
            }
            Self::Timeout => {
                "its processes were ended; remotes.timeout_s is the limit. It is tried again by itself"
            }
            Self::Busy => {
                "`branchline jobs` and SHOW PROCESSLIST show what: a job, or a client's own call. It is tried again by itself"
            }
            Self::DoltError => "it is tried again by itself",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text of several lines as one; without what every failure of git carries: Dolt's hints about credentials, and git's
/// own advice; and without the frame that ssh draws around a changed host key.
pub fn one_line(text: &str) -> String {
    let says_nothing = |line: &str| {
        line.is_empty()
            || line.starts_with("hint: ")
            || line == "Please make sure you have the correct access rights"
            || line == "and the repository exists."
            || line.bytes().all(|byte| byte == b'@')
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !says_nothing(line)).collect();
    crate::observe::redact::cut(&lines.join("; "), TEXT_CHARS_MAX)
}

/// What is kept of one push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it began, seconds since 1970.
    pub at: u64,
    /// `commit`, `heartbeat`, `retry`, `asked`
    pub why: String,
    /// What it came to.
    pub outcome: Outcome,
    /// Commits that the remote got, or that it has and main has not.
    pub commits: u64,
    /// Bytes that Dolt's copy of the git repository grew by, if that is ours to look at.
    pub bytes: Option<u64>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Head of main that was seen there.
    pub head: Option<String>,
    /// What was said; one line, without credentials.
    pub text: String,
}

impl Record {
    /// How long it took.
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.took_ms)
    }
}

/// `pushed 3 commits (1.2 KiB) in 0.4 s`
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took_ms as f64 / 1000.0;
        match self.outcome {
            Outcome::UpToDate => write!(f, "up to date"),
            Outcome::Pushed => {
                let commits = if self.commits == 1 { "commit" } else { "commits" };
                write!(f, "pushed {} {commits}", self.commits)?;
                if let Some(bytes) = self.bytes {
                    write!(f, ", {bytes} bytes,")?;
                }
                write!(f, " in {seconds:.1} s")
            }
            outcome => write!(f, "{outcome}: {}; {}", self.text, outcome.advice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before what git said: where Dolt was when it gave up.
    const OPENING: &str = "failed to get remote db; the remote: origin 'git+http://***@127.0.0.1:1/r.git' could not be accessed; ";
    const READING: &str =
        "failed to read latest version of remote database origin@git+ssh://127.0.0.1:1/tmp/r.git: ";
    const WRITING: &str = "unknown push error; addTableFiles, updateManifestAddFiles: ";
    /// After it, always.
    const HINTS: &str = "\nhint: dolt does not support interactive credential prompts\n\
         hint: configure git credentials (credential helper, token) for HTTPS remotes\n\
         hint: run `ssh-add <key>` to pre-load your key for SSH remotes\n\
         hint: ensure non-interactive auth is configured for GCM";
    const NO_ACCESS: &str = "\nfatal: Could not read from remote repository.\n\n\
         Please make sure you have the correct access rights\nand the repository exists.";

    /// As Dolt 1.88.1 gave them for git 2.39, OpenSSH 9.2 and git http-backend.
    #[test]
    fn texts_of_dolt_and_git() {
        let refused = |why: &str| {
            format!(
                "error: failed to push some refs to 'file:///r.git'\nTo file:///r.git\n!\trefs/dolt/blobstore/x:refs/dolt/data\t[remote rejected] ({why})"
            )
        };
        for (before, said, want) in [
            (
                "",
                "git remote has no branches: cannot push to \"file:///e.git\"; initialize the repository with an initial \
                 branch/commit first"
                    .to_owned(),
                Outcome::NoBranch,
            ),
            (OPENING, "fatal: Authentication failed for 'http://127.0.0.1:1/r.git/'".to_owned(), Outcome::Auth),
            (
                OPENING,
                "fatal: could not read Username for 'https://h': terminal prompts disabled".to_owned(),
                Outcome::Auth,
            ),
            (
                WRITING,
                "fatal: unable to access 'http://h/r.git/': The requested URL returned error: 403".to_owned(),
                Outcome::Auth,
            ),
            (READING, format!("root@h: Permission denied (publickey).{NO_ACCESS}"), Outcome::Auth),
            (READING, format!("Host key verification failed.{NO_ACCESS}"), Outcome::Auth),
            (
                READING,
                format!(
                    "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key for h has changed and you have \
                     requested strict checking.\nHost key verification failed.{NO_ACCESS}"
                ),
                Outcome::Auth,
            ),
            (WRITING, refused("pre-receive hook declined"), Outcome::Rejected),
            (WRITING, refused("hook declined"), Outcome::Rejected),
            (
                WRITING,
                format!(
                    "remote: fatal: unable to write loose object file: No space left on device\nerror: remote unpack \
                     failed: unpack-objects abnormal exit\n{}",
                    refused("unpacker error")
                ),
                Outcome::Rejected,
            ),
            (
                WRITING,
                format!(
                    "error: remote unpack failed: unable to create temporary object directory\n{}",
                    refused("unpacker error")
                ),
                Outcome::Rejected,
            ),
            (
                "",
                "Updates were rejected because the tip of your current branch is behind its remote counterpart"
                    .to_owned(),
                Outcome::Behind,
            ),
            (
                WRITING,
                "fatal: unable to access 'http://h/r.git/': Failed to connect to h port 1 after 0 ms: Couldn't \
                 connect to server"
                    .to_owned(),
                Outcome::Unreachable,
            ),
            (
                WRITING,
                format!("ssh: connect to host h port 1: Connection refused{NO_ACCESS}"),
                Outcome::Unreachable,
            ),
            (READING, format!("Connection closed by 127.0.0.1 port 1{NO_ACCESS}"), Outcome::Unreachable),
            (
                READING,
                format!("Connection to 127.0.0.1 closed by remote host.{NO_ACCESS}"),
                Outcome::Unreachable,
            ),
            (
                READING,
                "fatal: unable to access 'http://h/r.git/': transfer closed with 143 bytes remaining to read"
                    .to_owned(),
                Outcome::Unreachable,
            ),
            (
                WRITING,
                "error: RPC failed; curl 52 Empty reply from server\nsend-pack: unexpected disconnect while reading \
                 sideband packet\nfatal: the remote end hung up unexpectedly\nDone"
                    .to_owned(),
                Outcome::Unreachable,
            ),
            (READING, "fatal: repository 'http://127.0.0.1:1/r.git/' not found".to_owned(), Outcome::Unreachable),
            (
                WRITING,
                format!("fatal: '/tmp/r.git' does not appear to be a git repository{NO_ACCESS}"),
                Outcome::Unreachable,
            ),
            (
                OPENING,
                "fatal: unable to access 'https://h/r.git/': Could not resolve host: h".to_owned(),
                Outcome::Unreachable,
            ),
            (OPENING, format!("ssh: Could not resolve hostname nowhere{NO_ACCESS}"), Outcome::Unreachable),
            (
                OPENING,
                "git not found on PATH: exec: \"git\": executable file not found in $PATH".to_owned(),
                Outcome::DoltError,
            ),
            (
                OPENING,
                "fatal: not a git repository: '/data/n/.dolt/git-remote-cache/56ff/repo.git'".to_owned(),
                Outcome::DoltError,
            ),
            ("unknown push error; ", "no common ancestor".to_owned(), Outcome::OtherData),
            ("", String::new(), Outcome::DoltError),
        ] {
            let text = format!("{before}{said}{HINTS}");
            assert_eq!(Outcome::of(&text), want, "{text}");
        }
    }
}
