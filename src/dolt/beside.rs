//! Owns running Dolt's program beside the server, on directories that no server has open: a home of its own, its time
//! limit, its end. Does not know what it is run for. Always: when a run returns, or is dropped and a moment has passed,
//! nothing of it is running; what a killed Branchline left is ended and removed at the next start.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::files::PROGRAM;
use super::git::{MARK, end_processes, environment, kill_processes};

/// In the state directory: one directory for each.
const DIR: &str = "dolt-beside";
/// Of what it prints.
const OUTPUT_BYTES_MAX: usize = 256 << 20;
/// Of what it says about an error.
const ERROR_BYTES_MAX: usize = 16 << 10;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Dolt's program with a home of its own, and a directory to work in; both are removed when dropped.
#[derive(Debug)]
pub struct Beside {
    program: PathBuf,
    root: PathBuf,
}

/// Why it did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BesideError {
    /// It could not be run.
    #[error("cannot run Dolt: {0}")]
    Run(String),
    /// It did not end in time, and was ended with all that it had started.
    #[error("it did not end within {} s and was ended", .0.as_secs())]
    Timeout(Duration),
    /// It said no.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for BesideError {
    fn from(error: io::Error) -> Self {
        Self::Run(error.to_string())
    }
}

impl Beside {
    /// Makes the directories.
    pub fn new(state_dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        // Dolt does not run where we do.
        let state_dir = std::path::absolute(state_dir)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = state_dir.join(DIR).join(format!("{}-{number}", std::process::id()));
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        // Of a process that had our number.
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        builder.create(root.join("home"))?;
        // Making a database is a commit of somebody's.
        super::files::write_home(&root.join("home"))?;
        builder.create(root.join("work"))?;
        Ok(Self { program: state_dir.join(PROGRAM), root })
    }

    /// Room for what it makes.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Runs it in `dir`; `seen` gets what it prints, as it comes. What it has printed.
    pub async fn run(
        &self,
        arguments: &[&str],
        dir: &Path,
        limit: Duration,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Vec<u8>, BesideError> {
        let home = self.home();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .envs(environment(std::env::vars_os()))
            .env("LC_ALL", "C")
            .env(MARK, &home)
            .env("DOLT_DISABLE_EVENT_FLUSH", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let mut guard = Guard(Some((home.clone(), group)));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let run = async {
            let said = read(stdout, OUTPUT_BYTES_MAX, &mut seen);
            let complained = read(stderr, ERROR_BYTES_MAX, |_| {});
            let (said, complained) = tokio::try_join!(said, complained)?;
            Ok::<_, io::Error>((said, complained, child.wait().await?))
        };
        let ended = tokio::time::timeout(limit, run).await;
        if let Some((home, group)) = guard.0.take() {
            if let (true, Some(group)) = (ended.is_err(), group) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            // Its git is in sessions of its own, and may outlive it.
            end_processes(&home, None).await;
        }
        let Ok(ended) = ended else { return Err(BesideError::Timeout(limit)) };
        let (said, complained, status) = ended?;
        if status.success() {
            return Ok(said);
        }
        let text = String::from_utf8_lossy(&complained).trim().to_owned();
        Err(BesideError::Failed(if text.is_empty() { format!("Dolt ended with {status}") } else { text }))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// A run that is dropped is ended all the same.
struct Guard(Option<(PathBuf, Option<Pid>)>);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some((home, group)) = self.0.take() else { return };
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        // At once, since Branchline may be ending.
        kill_processes(&home);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { end_processes(&home, None).await });
        }
    }
}

async fn read(
    from: Option<impl AsyncRead + Unpin>,
    bytes_max: usize,
    mut seen: impl FnMut(&[u8]),
) -> io::Result<Vec<u8>> {
    let Some(mut from) = from else { return Ok(Vec::new()) };
    let (mut all, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(all);
        }
        let some = &buffer[..count];
        seen(some);
        all.extend_from_slice(&some[..count.min(bytes_max - all.len())]);
    }
}

/// Ends and removes what runs of a Branchline that was killed have left.
pub async fn clean_up(state_dir: &Path) {
    let Ok(state_dir) = std::path::absolute(state_dir) else { return };
    for entry in std::fs::read_dir(state_dir.join(DIR)).into_iter().flatten().flatten() {
        let root = entry.path();
        let count = end_processes(&root.join("home"), None).await;
        let removed = std::fs::remove_dir_all(&root);
        tracing::info!(dir = %root.display(), count, ?removed, "what a killed clone left was ended and removed");
    }
}
