//! Owns programs that are told of an alert: the administrator's command, and `gt` for mail.
//! Does not know what it tells. Always: when a try is over, its time is not, or what it started was ended.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::Instant;

use crate::observe::redact;

/// Bytes of a program's complaint that are looked at.
const TEXT_BYTES_MAX: u64 = 4096;
const TEXT_CHARS_MAX: usize = 200;
/// Between two looks for what a program has left running.
const POLL: Duration = Duration::from_millis(50);
/// For the last words of a program that has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why somebody was not told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub text: String,
    /// Whether another try may go better.
    pub may_pass: bool,
}

impl Problem {
    pub fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: true }
    }

    pub fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), may_pass: false }
    }
}

/// `sh -c COMMAND` with the message on stdin.
pub(super) async fn command(command: &str, message: &[u8], limit: Duration) -> Result<(), Problem> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    run(shell, message, limit).await
}

/// `gt mail send mayor/ -s SUBJECT -m BODY`, in the town.
pub(super) async fn mail(
    gt: &Path,
    town: &Path,
    subject: &str,
    body: &str,
    limit: Duration,
) -> Result<(), Problem> {
    let mut send = Command::new(gt);
    send.args(["mail", "send", "mayor/", "-s", subject, "-m", body]).current_dir(town);
    run(send, b"", limit).await
}

/// The first program of this name on the PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    find(&path, name)
}

fn find(path: &OsStr, name: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|dir| dir.join(name)).find(is_program)
}

/// Runs it in a process group of its own. It is well if it says so by its exit code in time; what it leaves running may
/// go on until its time is over.
async fn run(mut command: Command, input: &[u8], limit: Duration) -> Result<(), Problem> {
    let deadline = Instant::now() + limit;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let cannot = |error: std::io::Error| Problem::lasting(format!("cannot be run: {error}"));
    let mut child = command.spawn().map_err(cannot)?;
    let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let input = input.to_vec();
    tokio::spawn(async move {
        // A program that does not want it closes it: that is its choice.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(&input).await;
        }
    });
    let said = tokio::spawn(async move {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(TEXT_BYTES_MAX).read_to_end(&mut said).await;
            // Read on, so that it is not ended for talking.
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
        said
    });
    let Ok(ended) = tokio::time::timeout_at(deadline, child.wait()).await else {
        drop(group);
        let seconds = limit.as_secs();
        return Err(Problem::passing(format!(
            "did not end within {seconds} s (alerts.timeout_s) and was ended"
        )));
    };
    let status = ended.map_err(cannot)?;
    let is_left = || group.0.is_some_and(|pid| test_kill_process_group(pid).is_ok());
    let mut is_running = is_left();
    while is_running && status.success() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        is_running = is_left();
    }
    if !is_running {
        group.0 = None;
    }
    drop(group);
    if status.success() {
        return Ok(());
    }
    let said = tokio::time::timeout(LAST_WORDS, said).await;
    Err(Problem::passing(complaint(status, &said.ok().and_then(Result::ok).unwrap_or_default())))
}

fn complaint(status: ExitStatus, said: &[u8]) -> String {
    let said = redact::cut(&redact::urls(&String::from_utf8_lossy(said)), TEXT_CHARS_MAX);
    if said.is_empty() { format!("{status}") } else { format!("{status}: {said}") }
}

/// Ended when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_command_gets_the_message_and_its_exit_code_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's");
        let line = format!("cat > \"{}\"", file.display());
        command(&line, b"{\"a\": 1}", LIMIT).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"{\"a\": 1}");
        let problem = command("echo no https://bob:hunter2@h/ >&2; exit 3", b"x", LIMIT).await.unwrap_err();
        assert_eq!(problem, Problem::passing("exit status: 3: no https://***@h/"));
        // More than a pipe holds, which nobody reads.
        command("exec 0<&-; true", &vec![b'x'; 1 << 20], LIMIT).await.unwrap();
        command("head -c 1000000 /dev/zero >&2", b"", LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let limit = Duration::from_millis(500);
        for (line, is_well) in
            [("sleep 600 & echo $! > PIDS; wait", false), ("sleep 600 2>&- & echo $! > PIDS", true)]
        {
            let line = line.replace("PIDS", &pids.display().to_string());
            assert_eq!(command(&line, b"", limit).await.is_ok(), is_well, "{line}");
            let pid = std::fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
            let pid = Pid::from_raw(pid).unwrap();
            let until = Instant::now() + LIMIT;
            while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
                assert!(Instant::now() < until, "{pid:?} still runs");
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// Where nobody reaps orphans, that is their end.
    fn is_zombie(pid: Pid) -> bool {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    }

    #[test]
    fn a_program_is_one_that_can_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gt");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_eq!(find(dir.path().as_os_str(), "gt"), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(dir.path().as_os_str(), "gt"), Some(file));
    }
}
