//! Owns the git processes that Dolt starts for its remotes: finding and ending them.
//! Does not start any. Always: only processes that carry our Dolt's mark in their environment are signalled.
//!
//! Dolt starts git in a session of its own, git starts helpers (git-remote-https, ssh), and all of them outlive a KILL of
//! the statement that waits for them. Linux; elsewhere none is found.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::process_facts;

/// The environment variable that marks them: Dolt's private home, which all of them inherit.
pub(super) const MARK: &str = "DOLT_ROOT_PATH";

/// Between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// Environment of git for processes of ours and of Dolt's: `ours` without what would change Dolt's behaviour behind our
/// back, and with git and ssh never asking anybody anything, nor waiting for ever.
pub fn environment(ours: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let confusing = |name: &OsStr| {
        let name = name.as_bytes();
        // The password of remotes is the user's to give.
        name != b"DOLT_REMOTE_PASSWORD" && (name.starts_with(b"DOLT_") || name.starts_with(b"MYSQL_"))
    };
    let always =
        [("GIT_TERMINAL_PROMPT", "0"), ("GCM_INTERACTIVE", "never"), ("SSH_ASKPASS_REQUIRE", "never")];
    let is_always = |name: &OsStr| always.iter().any(|(always, _)| name == *always);
    let mut result: Vec<_> = ours.filter(|(name, _)| !confusing(name) && !is_always(name)).collect();
    result.extend(always.map(|(name, value)| (name.into(), value.into())));
    // Git takes that for less than a GIT_SSH_COMMAND.
    let has_ssh = result.iter().any(|(name, _)| name == "GIT_SSH");
    let ssh = if has_ssh { None } else { ssh_command(configured_ssh()) };
    let askpass = ["/bin/true", "/usr/bin/true"].into_iter().find(|path| Path::new(path).exists());
    for (name, value) in [
        ("GIT_ASKPASS", Some(askpass.unwrap_or("true"))),
        ("GIT_SSH_COMMAND", ssh.as_deref()),
        // Fewer than 100 bytes a second for 60 s is no connection any more.
        ("GIT_HTTP_LOW_SPEED_LIMIT", Some("100")),
        ("GIT_HTTP_LOW_SPEED_TIME", Some("60")),
    ] {
        if let Some(value) = value.filter(|_| !result.iter().any(|(given, _)| given == name)) {
            result.push((name.into(), value.into()));
        }
    }
    result
}

/// The user's own, if it is set in git's configuration; read once.
fn configured_ssh() -> Option<&'static str> {
    static CONFIGURED: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let mut git = Command::new("git");
        let said = git.args(["config", "--get", "core.sshCommand"]).stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        Some(said).filter(|said| !said.is_empty())
    };
    CONFIGURED.get_or_init(read).as_deref()
}

/// With ssh never asking and never waiting for ever; none if that can't be told to what the user has configured.
fn ssh_command(configured: Option<&str>) -> Option<String> {
    let command = configured.unwrap_or("ssh");
    let program = command.split_whitespace().next()?;
    (Path::new(program).file_name()? == "ssh").then(|| {
        format!(
            "{command} -oBatchMode=yes -oConnectTimeout=10 -oServerAliveInterval=15 -oServerAliveCountMax=2"
        )
    })
}

/// Ends what Dolt with this private home has started besides itself; with `database_dir` only what works for that
/// database. Returns how many there were, once they are gone or nothing more can be done.
pub async fn end_processes(home: &Path, database_dir: Option<&Path>) -> usize {
    let first = find(home, database_dir);
    let mut count = first.len();
    for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, PATIENCE)] {
        let until = Instant::now() + patience;
        loop {
            let found = find(home, database_dir);
            if found.is_empty() {
                return count;
            }
            count = count.max(found.len());
            // Again each time: one that ends may have started another before.
            for pid in &found {
                let _ = kill_process(*pid, signal);
            }
            if Instant::now() >= until {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    count
}

/// Kills all of that at once, without a look at what comes of it: for those who can't wait.
pub(super) fn kill_processes(home: &Path) {
    for pid in find(home, None) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Processes with the mark that are no Dolt servers; with `database_dir`, those in the session of a git that works there,
/// and those that a git has left behind.
fn find(home: &Path, database_dir: Option<&Path>) -> Vec<Pid> {
    let marked = marked(home);
    let Some(dir) = database_dir else { return marked.into_iter().map(|process| process.pid).collect() };
    let dir = dir.as_os_str().as_bytes();
    let ours = process_facts::session(std::process::id()).unwrap_or(0);
    // Git leads its session itself: neither one that we are in, nor one from outside, is a git's.
    let is_gits = |session: u32| session != ours && session != 0;
    let sessions: BTreeSet<u32> = marked
        .iter()
        .filter(|process| is_gits(process.session) && process.mentions(dir))
        .map(|process| process.session)
        .collect();
    // A KILL of the statement ends git, which leads the session, and nothing tells then which database its ssh works for.
    // Nobody reads from that any more, but it holds pipes of Dolt's: the statement, and the remote's lock, stay until it
    // ends.
    let leaders: BTreeSet<u32> =
        marked.iter().map(|process| process.pid.as_raw_nonzero().get().unsigned_abs()).collect();
    let is_left = |session: u32| is_gits(session) && !leaders.contains(&session);
    marked
        .into_iter()
        .filter(|process| {
            sessions.contains(&process.session) || is_left(process.session) || process.mentions(dir)
        })
        .map(|process| process.pid)
        .collect()
}

struct Process {
    pid: Pid,
    session: u32,
    arguments: Vec<u8>,
    environment: Vec<u8>,
}

impl Process {
    fn mentions(&self, dir: &[u8]) -> bool {
        let below = |text: &[u8]| {
            memchr::memmem::find_iter(text, dir)
                .any(|at| text.get(at + dir.len()).is_none_or(|byte| *byte == b'/'))
        };
        below(&self.arguments)
            || self
                .environment
                .split(|byte| *byte == 0)
                .any(|entry| entry.starts_with(b"GIT_DIR=") && below(entry))
    }
}

#[cfg(target_os = "linux")]
fn marked(home: &Path) -> Vec<Process> {
    let mut mark = format!("{MARK}=").into_bytes();
    mark.extend_from_slice(home.as_os_str().as_bytes());
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let process = |entry: std::fs::DirEntry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        // Those of other accounts can't be read, and are none of ours.
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        environment.split(|byte| *byte == 0).find(|entry| *entry == mark)?;
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        // The server itself, and the step before it.
        let mut words = arguments.split(|byte| *byte == 0);
        if words.any(|word| word == b"sql-server") {
            return None;
        }
        let pid = Pid::from_raw(id.cast_signed())?;
        let session = process_facts::session(id)?;
        Some(Process { pid, session, arguments, environment })
    };
    entries.flatten().filter_map(process).collect()
}

#[cfg(not(target_os = "linux"))]
fn marked(_home: &Path) -> Vec<Process> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_cleaned_and_the_users_git_settings_stay() {
        let ours = [
            ("PATH", "/bin"),
            ("DOLT_ROOT_PASSWORD", "x"),
            ("DOLT_REMOTE_PASSWORD", "theirs"),
            ("MYSQL_HOST", "elsewhere"),
            ("GIT_ASKPASS", "/opt/askpass"),
            ("GIT_TERMINAL_PROMPT", "1"),
        ];
        let pairs = ours.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let result: std::collections::BTreeMap<_, _> = environment(pairs).into_iter().collect();
        let get = |name: &str| result.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!(get("PATH"), Some("/bin"));
        assert_eq!(get("DOLT_ROOT_PASSWORD"), None);
        assert_eq!(get("MYSQL_HOST"), None);
        assert_eq!(get("DOLT_REMOTE_PASSWORD"), Some("theirs"));
        assert_eq!(get("GIT_ASKPASS"), Some("/opt/askpass"));
        assert_eq!(get("GIT_TERMINAL_PROMPT"), Some("0"));
        let with_own = [("GIT_SSH", "/opt/ssh")].map(|(name, value)| (name.into(), value.into()));
        assert!(!environment(with_own.into_iter()).iter().any(|(name, _)| name == "GIT_SSH_COMMAND"));
    }

    #[test]
    fn the_users_ssh_is_the_one_that_is_used() {
        let of = |configured| ssh_command(configured);
        assert!(of(None).is_some_and(|command| command.starts_with("ssh -oBatchMode=yes ")));
        let own = of(Some("/usr/bin/ssh -i /k"));
        assert!(own.is_some_and(|command| command.starts_with("/usr/bin/ssh -i /k -oBatchMode=yes ")));
        assert_eq!(of(Some("plink -batch")), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_a_killed_git_left_behind_is_ended_though_it_names_no_database() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a");
        // As git and its ssh: the leader of the session alone names the database.
        let script = format!("sleep 60 & : {}/.dolt; wait", dir.display());
        let mut git =
            Command::new("setsid").args(["sh", "-c", &script]).env(MARK, home.path()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        let find = || find(home.path(), Some(&dir));
        while find().len() < 2 {
            assert!(Instant::now() < until, "they do not come up");
            tokio::time::sleep(POLL).await;
        }
        git.kill().unwrap();
        git.wait().unwrap();
        assert_eq!(find().len(), 1, "its helper is left");
        assert_eq!(end_processes(home.path(), Some(&dir)).await, 1);
        assert_eq!(find().len(), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_tree_of_one_database_is_ended_and_no_other() {
        use std::os::unix::process::CommandExt;

        let home = tempfile::tempdir().unwrap();
        let start = |database: &str| {
            let mut command = Command::new("setsid");
            // A helper without the database in its arguments, as ssh is, that ignores SIGTERM.
            let script =
                format!(": {}/{database}/.dolt; (trap '' TERM; exec sleep 60) & wait", home.path().display());
            command.args(["--wait", "sh", "-c", &script]).env(MARK, home.path()).process_group(0);
            command.spawn().unwrap()
        };
        let mut children = [start("a"), start("ab")];
        let of = |database: &str| find(home.path(), Some(&home.path().join(database)));
        let until = Instant::now() + Duration::from_secs(20);
        // setsid, the shell and its helper.
        while of("a").len() < 3 || of("ab").len() < 3 {
            assert!(Instant::now() < until, "they do not come up");
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(end_processes(home.path(), Some(&home.path().join("a"))).await, 3);
        assert_eq!(of("a").len(), 0);
        assert_eq!(of("ab").len(), 3, "another database's are left alone");
        assert_eq!(end_processes(home.path(), None).await, 3);
        assert_eq!(find(home.path(), None).len(), 0);
        for child in &mut children {
            child.wait().unwrap();
        }
    }
}
