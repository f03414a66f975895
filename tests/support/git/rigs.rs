//! Owns a Branchline whose databases have remotes, and what is seen of it from outside: what it says of its remotes, what
//! a fresh clone of them holds, which processes push. Does not judge.
//! Always: what a repository holds is told by a clone of Dolt's own, not by Branchline.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::super::branchline::Branchline;
use super::super::client::{Client, Login};
use super::Repository;

/// For whatever is awaited: on a busy machine a push over ssh takes half a minute.
pub const DEADLINE: Duration = Duration::from_secs(150);
/// Between two looks by a command.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// Between two looks at the process table.
const WATCH_EVERY: Duration = Duration::from_millis(30);

/// A Branchline with databases; `branchline.toml` is in its state directory.
pub struct Rigs {
    branchline: Option<Branchline>,
    environment: Vec<(&'static str, OsString)>,
    rows: AtomicU32,
    watch: Watch,
    directory: TempDir,
}

impl Rigs {
    /// Starts it with this config and environment; each database has a table `t` and one commit.
    pub fn start(config: &str, environment: Vec<(&'static str, OsString)>, databases: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("state")).expect("made");
        let watch = Watch::start(directory.path().join("state/dolt-home"));
        let mut rigs = Self { branchline: None, environment, rows: AtomicU32::new(0), watch, directory };
        rigs.configure(config);
        rigs.start_again();
        for database in databases {
            let mut client = rigs.client("");
            client.run(&format!("CREATE DATABASE {database}"));
            client.run(&format!("USE {database}"));
            client.run("CREATE TABLE t (id INT PRIMARY KEY, n INT)");
            client.run("CALL DOLT_COMMIT('-Am', 'a table')");
        }
        rigs
    }

    /// Starts it again on the same directory.
    pub fn start_again(&mut self) {
        self.branchline = None;
        let environment = self.environment.clone();
        self.branchline =
            Some(Branchline::start_in(self.directory.path(), |command| _ = command.envs(environment)));
    }

    /// Ends it with SIGKILL; its Dolt is left to the kernel.
    pub fn kill(&mut self) {
        let mut branchline = self.branchline.take().expect("it runs");
        branchline.signal(Signal::KILL);
        assert!(branchline.wait(DEADLINE).is_some(), "it outlives SIGKILL");
        // Its drop waits for all that worked for it; what is left over is the next one's to end.
        std::mem::forget(branchline);
    }

    /// What runs now.
    pub fn branchline(&self) -> &Branchline {
        self.branchline.as_ref().expect("it runs")
    }

    /// Where it works.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the config file, which is taken up while it runs.
    pub fn configure(&self, config: &str) {
        let path = self.directory.path().join("state/branchline.toml");
        let new = path.with_extension("new");
        fs::write(&new, config).expect("written");
        fs::rename(&new, &path).expect("renamed");
    }

    /// A root session.
    pub fn client(&self, database: &str) -> Client {
        Client::connect(self.branchline().addr(), &Login::root(database))
    }

    /// One more row in a commit of its own; how long that took.
    pub fn commit(&self, database: &str) -> Duration {
        let mut client = self.client(database);
        let begun = Instant::now();
        let id = self.rows.fetch_add(1, Ordering::SeqCst);
        client.run(&format!("INSERT INTO t VALUES ({id}, {id})"));
        client.run(&format!("CALL DOLT_COMMIT('-Am', 'row {id}')"));
        begun.elapsed()
    }

    /// A commit of about this many bytes that can't be compressed.
    pub fn commit_bytes(&self, database: &str, bytes: usize) {
        let mut random = vec![0; bytes];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut client = self.client(database);
        client.run("CREATE TABLE IF NOT EXISTS big (id INT PRIMARY KEY, random LONGBLOB)");
        client.run(&format!("REPLACE INTO big VALUES (1, x'{hex}')"));
        client.run("CALL DOLT_COMMIT('-Am', 'many bytes')");
    }

    /// `branchline ARGUMENTS --json`, whatever it exits with.
    pub fn json(&self, arguments: &[&str]) -> Json {
        self.try_json(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }

    fn try_json(&self, arguments: &[&str]) -> Result<Json, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_branchline"))
            .args(arguments)
            .arg("--json")
            .arg("--state-dir")
            .arg(self.branchline().state_dir())
            .stdin(Stdio::null())
            .output()
            .expect("branchline runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stdout}{stderr}"))
    }

    /// The row of `remote status`.
    pub fn status(&self, database: &str) -> Json {
        self.try_json(&["remote", "status", database]).map_or(Json::Null, |rows| rows[0].clone())
    }

    /// What is kept of its pushes, the newest first; none if it is not pushed, or not yet.
    pub fn pushes(&self, database: &str) -> Vec<Json> {
        let log = self.try_json(&["remote", "log", database]);
        log.ok().and_then(|log| log.as_array().cloned()).unwrap_or_default()
    }

    /// Waits until the last push, begun since this was called, came to one of these; its record.
    pub fn await_outcome(&self, database: &str, outcomes: &[&str]) -> Json {
        let before = self.pushes(database).first().cloned();
        self.until(&format!("{database} is one of {outcomes:?}"), || {
            let last = self.pushes(database).first().cloned();
            let is_so = |last: &Json| outcomes.iter().any(|outcome| last["outcome"] == *outcome);
            last.filter(|last| before.as_ref() != Some(last) && is_so(last))
        })
    }

    /// Waits until Branchline has seen main at the remote and nothing is to be pushed, and then clones it.
    pub fn await_equal(&self, database: &str, repository: &Repository) {
        self.until(&format!("{database} is up to date"), || {
            let status = self.status(database);
            (status["state"] == "up to date" && status["lag_commits"] == 0).then_some(())
        });
        let clone = Clone::of(repository);
        let mut client = self.client(database);
        for sql in ["SELECT dolt_hashof('main') AS head", "SELECT COUNT(*), COALESCE(SUM(n), 0) FROM t"] {
            assert_eq!(clone.row(sql), client.row(sql).replace('|', ","), "{sql}");
        }
        repository.check();
    }

    /// Waits until it is so; what is known of the remotes otherwise.
    pub fn until<T>(&self, what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = is_so() {
                return found;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "not within {DEADLINE:?}: {what}\n{:#}\n{}",
                self.json(&["remote", "status"]),
                self.branchline().stderr_tail()
            );
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Processes that Dolt has started.
    pub fn processes(&self) -> Vec<Working> {
        working(&self.watch.home)
    }

    /// Their sessions: each git that Dolt starts leads one.
    pub fn sessions(&self) -> BTreeSet<String> {
        self.processes().into_iter().map(|process| process.session).collect()
    }

    /// Waits until a push of the database runs.
    pub fn await_push_running(&self, database: &str) {
        self.until(&format!("a push of {database} runs"), || {
            self.processes().iter().any(|process| process.pushes(database)).then_some(())
        });
    }

    /// That there was never more than one push of a database at a time, and that nothing is left of any.
    pub fn check_pushes(&self) {
        let most = self.watch.most();
        assert!(most.values().all(|count| *count == 1), "pushes of a database at once: {most:?}");
        assert!(!most.is_empty(), "no push was seen");
        self.until("no process of a push is left", || self.processes().is_empty().then_some(()));
        let sql = "SELECT COUNT(*) FROM information_schema.processlist \
                   WHERE info LIKE 'CALL DOLT_PUSH%' OR info LIKE 'CALL DOLT_FETCH%'";
        let port = self.branchline().dolt().port;
        let mut dolt = Client::connect(([127, 0, 0, 1], port).into(), &Login::root(""));
        self.until("no statement of a push is left", || (dolt.row(sql) == "0").then_some(()));
    }
}

/// A fresh clone with Dolt's own program.
pub struct Clone {
    directory: TempDir,
}

impl Clone {
    /// Makes one.
    pub fn of(repository: &Repository) -> Self {
        let clone = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        for (key, value) in [("user.name", "test"), ("user.email", "test@example.com")] {
            clone.dolt(".", &["config", "--global", "--add", key, value]);
        }
        clone.dolt(".", &["clone", &repository.file_url(), "clone"]);
        clone
    }

    /// The first row, separated by commas.
    pub fn row(&self, sql: &str) -> String {
        let text = self.dolt("clone", &["sql", "-r", "csv", "-q", sql]);
        text.lines().nth(1).unwrap_or_else(|| panic!("{sql}: {text}")).to_owned()
    }

    /// A dolt command in the clone, which succeeds.
    pub fn dolt(&self, directory: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(super::super::dolt_binary());
        command.current_dir(self.directory.path().join(directory)).env("HOME", self.directory.path());
        command.env_remove("DOLT_ROOT_PATH");
        super::run(command, arguments)
    }

    /// The same in the clone itself.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.dolt("clone", arguments)
    }
}

/// A process that works for a Dolt.
#[derive(Debug, std::clone::Clone)]
pub struct Working {
    session: String,
    command: String,
    git_dir: String,
}

impl Working {
    fn pushes(&self, database: &str) -> bool {
        self.database() == Some(database) && self.command.contains("git push ")
    }

    fn database(&self) -> Option<&str> {
        self.git_dir.split_once("/data/")?.1.split('/').next()
    }
}

/// All that carry the mark of Dolt's home, but Dolt itself.
fn working(home: &Path) -> Vec<Working> {
    let mark = format!("DOLT_ROOT_PATH={}", home.display());
    let read = |entry: fs::DirEntry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables.clone().find(|variable| *variable == mark.as_bytes())?;
        let git_dir = variables.find_map(|variable| variable.strip_prefix(b"GIT_DIR=")).unwrap_or_default();
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let session = stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.to_owned();
        let is_dolt = command.contains(" sql-server ");
        (!is_dolt).then(|| Working {
            session,
            command,
            git_dir: String::from_utf8_lossy(git_dir).into_owned(),
        })
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter_map(read).collect()
}

/// Looks at the process table all the time: pushes of a database at once. Each runs in a session of its own.
struct Watch {
    home: PathBuf,
    most: Arc<Mutex<BTreeMap<String, usize>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(home: PathBuf) -> Self {
        let most = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (home, most, is_over) = (home.clone(), Arc::clone(&most), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::SeqCst) {
                    let mut sessions = BTreeMap::<String, BTreeSet<String>>::new();
                    for process in working(&home) {
                        if let Some(database) = process.database().filter(|name| process.pushes(name)) {
                            sessions.entry(database.to_owned()).or_default().insert(process.session.clone());
                        }
                    }
                    let mut most = most.lock().unwrap_or_else(PoisonError::into_inner);
                    for (database, sessions) in sessions {
                        let count = most.entry(database).or_default();
                        *count = sessions.len().max(*count);
                    }
                    drop(most);
                    thread::sleep(WATCH_EVERY);
                }
            }
        });
        Self { home, most, is_over, thread: Some(thread) }
    }

    fn most(&self) -> BTreeMap<String, usize> {
        self.most.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _it_panicked = thread.join();
        }
    }
}
