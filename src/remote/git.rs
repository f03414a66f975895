//! Owns git commands of our own: asking a remote, making a first branch.
//! Does not touch Dolt's git repositories. Always: nothing is asked of a terminal, no URL is taken for an option, and
//! when a command returns or is dropped, it and all that it started are gone.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::outcome::Outcome;
use super::url::RemoteUrl;
use crate::dolt::git::environment;

/// Bytes kept of an error.
const TEXT_BYTES_MAX: usize = 4096;

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refs {
    /// Branches.
    pub branches: usize,
    /// The commit of `refs/dolt/data`.
    pub dolt_data: Option<String>,
}

/// Why git did not do it; without credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct GitError {
    /// What it means.
    pub outcome: Outcome,
    /// What was said.
    pub text: String,
}

/// `git ls-remote`: whether the repository can be reached and read, and what is in it.
pub async fn refs(url: &RemoteUrl, limit: Duration) -> Result<Refs, GitError> {
    let address = url.for_git();
    let listed = run(&["ls-remote", "--", &address], None, url, limit).await?;
    let mut refs = Refs::default();
    for line in listed.lines() {
        match line.split_once('\t') {
            Some((_, name)) if name.starts_with("refs/heads/") => refs.branches += 1,
            Some((commit, "refs/dolt/data")) => refs.dolt_data = Some(commit.to_owned()),
            _ => {}
        }
    }
    Ok(refs)
}

/// Makes a first branch with an empty commit, in a repository that has none. Never moves one.
pub async fn init(url: &RemoteUrl, scratch: &Path, limit: Duration) -> Result<(), GitError> {
    let address = url.for_git();
    let identity =
        ["-c", "user.name=Branchline", "-c", "user.email=branchline@localhost", "-c", "commit.gpgSign=false"];
    run(&["init", "-q", "--initial-branch=main"], Some(scratch), url, limit).await?;
    let commit = [
        "commit",
        "-q",
        "--allow-empty",
        "--no-verify",
        "-m",
        "First branch, which Dolt's data needs beside it",
    ];
    run(&[&identity[..], &commit].concat(), Some(scratch), url, limit).await?;
    run(&["push", "-q", "--", &address, "HEAD:refs/heads/main"], Some(scratch), url, limit).await?;
    Ok(())
}

/// A git command; what it printed.
pub(super) async fn run(
    arguments: &[&str],
    dir: Option<&Path>,
    url: &RemoteUrl,
    limit: Duration,
) -> Result<String, GitError> {
    let printed = run_with(arguments, dir, url, limit, Stdio::piped()).await?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

/// A git command that prints into a file.
pub(super) async fn run_into(
    arguments: &[&str],
    dir: Option<&Path>,
    url: &RemoteUrl,
    limit: Duration,
    file: std::fs::File,
) -> Result<(), GitError> {
    run_with(arguments, dir, url, limit, file.into()).await.map(drop)
}

async fn run_with(
    arguments: &[&str],
    dir: Option<&Path>,
    url: &RemoteUrl,
    limit: Duration,
    stdout: Stdio,
) -> Result<Vec<u8>, GitError> {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .env_clear()
        .envs(environment(std::env::vars_os()))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let failed = |outcome, text: String| GitError { outcome, text };
    let child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed(
            Outcome::DoltError,
            "git is not on the PATH of Branchline; install it: Dolt needs it for git remotes".to_owned(),
        ),
        _ => failed(Outcome::DoltError, format!("cannot run git: {error}")),
    })?;
    // Helpers (ssh, git-remote-https) are in git's group and outlive it.
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
    if ended.is_ok() {
        // It is reaped, and waited for its helpers.
        group.0 = None;
    }
    drop(group);
    let output = match ended {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(Outcome::DoltError, format!("cannot run git: {error}"))),
        Err(_) => {
            let text = format!("git {} did not end within {} s and was ended", arguments[0], limit.as_secs());
            return Err(failed(Outcome::Timeout, text));
        }
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = &output.stderr[..output.stderr.len().min(TEXT_BYTES_MAX)];
    let text = url.hide_in(String::from_utf8_lossy(text).trim());
    Err(failed(Outcome::of(&text), super::outcome::one_line(&text)))
}

struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
