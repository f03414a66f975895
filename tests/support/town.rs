//! Owns a town for end-to-end tests: a Branchline with a config, databases whose branches hold a row naming
//! them, and the ways to reach it. Does not assert anything about routes.
//! Always: databases are never dropped, so that tests that run at the same time don't disturb each other.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::branchline::Branchline;
use super::client::{Client, Login};

/// For one condition that is awaited.
const CONDITION_DEADLINE: Duration = Duration::from_secs(30);

/// What a session says of where it is.
pub const WHERE: &str = "SELECT ACTIVE_BRANCH(), DATABASE()";

/// A running Branchline with its databases.
pub struct Town {
    pub branchline: Branchline,
    directory: TempDir,
}

impl Town {
    /// Starts one with this config file.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    /// The same with whatever `change` adds to the command.
    pub fn start_with(config: &str, change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("branchline.toml");
        std::fs::write(&file, config).expect("written");
        let socket = directory.path().join("sql.sock");
        let branchline = Branchline::start_with(|command| {
            command.arg("--config").arg(&file).arg("--socket").arg(&socket);
            change(command);
        });
        Self { branchline, directory }
    }

    /// The unix socket on which SQL is served.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sql.sock")
    }

    /// Makes a database: in `here` a row with the branch's name, and an empty table `t`, both Dolt-committed
    /// on main; on the other branches the row is changed, not committed.
    pub fn database(&self, name: &str, branches: &[&str]) {
        let mut client = self.direct("");
        client.run(&format!("CREATE DATABASE `{name}`"));
        client.run(&format!("USE `{name}`"));
        client.run("CREATE TABLE here (name VARCHAR(64))");
        client.run("CREATE TABLE t (id INT PRIMARY KEY, n INT, s VARCHAR(64))");
        client.run("INSERT INTO here VALUES ('main')");
        client.run("CALL DOLT_COMMIT('-Am', 'tables')");
        for branch in branches {
            client.run(&format!("CALL DOLT_BRANCH('{branch}')"));
            client.run(&format!("UPDATE `{name}/{branch}`.here SET name = '{branch}'"));
        }
    }

    /// A root session through Branchline; without a database if it is empty.
    pub fn client(&self, database: &str) -> Client {
        self.login(&Login::root(database))
    }

    /// A session through Branchline.
    pub fn login(&self, login: &Login) -> Client {
        Client::connect(self.branchline.addr(), login)
    }

    /// A root session whose connection attribute `branch` names this one.
    pub fn on(&self, branch: &str, database: &str) -> Client {
        self.login(&Login::root(database).attribute("branch", branch))
    }

    /// A root session with Dolt itself.
    pub fn direct(&self, database: &str) -> Client {
        let port = self.branchline.dolt().port;
        Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &Login::root(database))
    }

    /// The mariadb CLI as root, not yet started.
    pub fn mariadb(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Command {
        let mut command = Command::new("mariadb");
        let port = self.branchline.addr().port().to_string();
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"]);
        if !arguments.iter().any(|argument| argument.starts_with("--socket")) {
            command.args(["--protocol=tcp", "--host=127.0.0.1", "--port", &port]);
        }
        command.args(arguments);
        for name in ["BD_BRANCH", "BD_ACTOR", "GT_POLECAT"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        command
    }

    /// What the mariadb CLI prints for a script that succeeds, line by line.
    pub fn script(&self, environment: &[(&str, &str)], arguments: &[&str], script: &str) -> Vec<String> {
        let output = fed(self.mariadb(environment, arguments), script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{stderr}");
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.replace('\t', "|")).collect()
    }

    /// `branchline ARGUMENTS --json`, which succeeds.
    pub fn command(&self, arguments: &[&str]) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_branchline"))
            .args(arguments)
            .arg("--json")
            .arg("--state-dir")
            .arg(self.branchline.state_dir())
            .stdin(Stdio::null())
            .output()
            .expect("branchline runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stdout}"))
    }

    /// The row of `branchline clients` with this id.
    pub fn shown(&self, id: u32) -> serde_json::Value {
        let clients = self.command(&["clients"]);
        let mut rows = clients.as_array().expect("a list").iter();
        rows.find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id} is not in {clients}")).clone()
    }
}

/// Runs a program with this standard input.
pub fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // It may end before it has read everything.
    let feeder = thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().expect("its end");
    let _all_read = feeder.join().expect("no panic");
    output
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < CONDITION_DEADLINE, "not within {CONDITION_DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
