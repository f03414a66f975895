//! docs/guide/recovery.md, row by row, with the commands that it shows: the real binary, Dolt and git.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::branchline::Branchline;
use support::client::{Client, Login};
use support::git::Repository;
use support::watch;

const DEADLINE: Duration = Duration::from_secs(60);

/// Short times: a push follows a commit within a second, a failure is tried again within two.
const QUICK: &str = "[remotes]\nquiet_s = 0\nheartbeat_s = 1\nbackoff_min_s = 1\nbackoff_max_s = 1\n";

/// Pushes only when it is told to.
const SLOW: &str = "[remotes]\nquiet_s = 3600\nquiet_max_s = 3600\nheartbeat_s = 3600\n";

/// A Branchline in a directory that outlives it.
struct Town(Branchline);

impl Town {
    fn start_in(directory: &Path, config: &str) -> Self {
        let file = directory.join("branchline.toml");
        fs::write(&file, config).expect("written");
        Self(Branchline::start_in(directory, |command| {
            command.arg("--config").arg(&file);
        }))
    }

    fn say(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_branchline"))
            .args(arguments)
            .arg("--state-dir")
            .arg(self.0.state_dir())
            .stdin(Stdio::null())
            .output()
            .expect("branchline runs")
    }

    /// What it says, with its exit code 0.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.say(arguments);
        let text = text(&output);
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }

    /// What it says, with its exit code 1.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.say(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    fn client(&self, database: &str) -> Client {
        Client::connect(self.0.addr(), &Login::root(database))
    }

    /// Database `beads`, pushed to the repository.
    fn beads(&self, repository: &Repository) {
        let mut client = self.client("");
        client.run("CREATE DATABASE beads");
        client.run("USE beads");
        client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, s VARCHAR(64), updated_at DATETIME)");
        client.run("INSERT INTO t VALUES (1, 'a', '2026-01-01'), (2, 'b', '2026-01-01')");
        client.run("CALL DOLT_COMMIT('-Am', 'tables')");
        self.done(&["remote", "add", "beads", &repository.file_url()]);
        assert!(self.done(&["push", "beads"]).starts_with("beads: "));
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn rows(client: &mut Client) -> Vec<String> {
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    let line = |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join("|");
    client.rows("SELECT id, s FROM t ORDER BY id").into_iter().map(line).collect()
}

#[test]
fn disk_loss() {
    let (directory, repository) = (tempfile::tempdir().expect("a temporary directory"), Repository::new());
    let head = {
        let town = Town::start_in(directory.path(), QUICK);
        town.beads(&repository);
        town.client("beads").row("SELECT dolt_hashof('main')")
    };
    fs::remove_dir_all(directory.path().join("data")).expect("lost");
    let town = Town::start_in(directory.path(), QUICK);
    let told = town.refused(&["push", "beads"]);
    assert!(told.contains("there is no such database"), "{told}");
    let told = town.done(&["clone", &repository.file_url(), "beads"]);
    assert!(told.contains("beads has 2 commits of git+file://"), "{told}");
    let mut client = town.client("beads");
    assert_eq!(rows(&mut client), ["1|a", "2|b"]);
    assert_eq!(client.row("SELECT dolt_hashof('main')"), head);
    let told = town.done(&["remote", "verify", "beads"]);
    assert!(told.contains("beads: origin has all 2 commits of main"), "{told}");
    // It is pushed as before.
    client.run("INSERT INTO t VALUES (3, 'c', '2026-01-02')");
    client.run("CALL DOLT_COMMIT('-Am', 'c')");
    watch::until(DEADLINE, "it is pushed", || {
        town.say(&["remote", "verify", "beads"]).status.success().then_some(())
    });
    let told = town.refused(&["clone", &repository.file_url(), "beads"]);
    assert!(told.contains("--replace"), "{told}");
}

#[test]
fn corruption() {
    let (directory, repository) = (tempfile::tempdir().expect("a temporary directory"), Repository::new());
    let head = {
        let town = Town::start_in(directory.path(), QUICK);
        town.beads(&repository);
        // Dolt says the name of the first one that it opens only.
        town.client("").run("CREATE DATABASE a_first");
        town.client("").run("CREATE DATABASE other");
        town.client("beads").row("SELECT dolt_hashof('main')")
    };
    let beads = directory.path().join("data/beads");
    let journal = beads.join(".dolt/noms").join("v".repeat(32));
    let mut bytes = fs::read(&journal).expect("a journal");
    let (from, to) = (bytes.len() / 3, bytes.len() / 2);
    bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(&journal, bytes).expect("written");
    let refused = Branchline::refused(directory.path(), |command| {
        command.arg("--data-dir").arg(directory.path().join("data"));
        command.arg("--state-dir").arg(directory.path().join("state"));
        command.args(["--listen", "127.0.0.1:0"]).env("BRANCHLINE_DOLT", support::dolt_binary());
    });
    assert!(refused.stderr.contains("corrupted journal"), "{refused:?}");
    // What to do, as a shell takes it.
    assert!(refused.stderr.contains("branchline clone URL beads"), "{refused:?}");
    let away = refused.stderr.lines().find(|line| line.contains("mkdir -p")).expect("a command").to_owned();
    // Which one it is.
    let is_whole = |database: &str| {
        Command::new(support::dolt_binary())
            .args(["sql", "-q", "SELECT COUNT(*) FROM dolt_log"])
            .current_dir(directory.path().join("data").join(database))
            .env("HOME", directory.path().join("home"))
            .env("DOLT_ROOT_PATH", directory.path().join("home"))
            .stdin(Stdio::null())
            .output()
            .expect("dolt runs")
            .status
            .success()
    };
    assert!(is_whole("other") && !is_whole("beads"));
    assert!(Command::new("sh").args(["-c", &away]).status().expect("sh runs").success());
    assert!(!beads.exists() && directory.path().join("data/.branchline_replaced/beads/.dolt").is_dir());
    let town = Town::start_in(directory.path(), QUICK);
    town.done(&["clone", &repository.file_url(), "beads"]);
    let mut client = town.client("beads");
    assert_eq!(rows(&mut client), ["1|a", "2|b"]);
    assert_eq!(client.row("SELECT dolt_hashof('main')"), head);
    assert!(town.done(&["remote", "verify", "beads"]).contains("has all 2 commits"));
}

/// Dolt starts with a journal that was cut off, and the database answers nothing: the others have to go on.
#[test]
fn a_database_that_cannot_be_read_leaves_the_others_alone() {
    let (directory, repository) = (tempfile::tempdir().expect("a temporary directory"), Repository::new());
    {
        let town = Town::start_in(directory.path(), QUICK);
        town.beads(&repository);
        town.client("").run("CREATE DATABASE other");
    }
    let journal = directory.path().join("data/other/.dolt/noms").join("v".repeat(32));
    let file = fs::OpenOptions::new().write(true).open(journal).expect("a journal");
    file.set_len(0).expect("cut off");
    let town = Town::start_in(directory.path(), QUICK);
    let mut direct = town.client("");
    let broken = direct.query("SELECT name FROM other.dolt_branches");
    assert!(broken.is_err(), "this Dolt copes with it: the test shows nothing");
    assert_eq!(rows(&mut town.client("beads")), ["1|a", "2|b"]);
    let rigs = town.done(&["rig", "list"]);
    assert!(rigs.contains("beads") && rigs.contains("other"), "{rigs}");
    assert!(town.done(&["push", "beads"]).contains("beads: "));
}

#[test]
fn merge_conflict() {
    let (left, right) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let repository = Repository::new();
    let left = Town::start_in(left.path(), SLOW);
    left.beads(&repository);
    let manual = format!("{SLOW}[[merge.rules]]\ntable = \"t\"\ncolumn = \"s\"\ncells = \"manual\"\n");
    let right = Town::start_in(right.path(), &manual);
    let told = right.done(&["clone", &repository.file_url(), "beads"]);
    assert!(told.contains("pushed nowhere"), "{told}");
    right.done(&["remote", "add", "beads", &repository.file_url()]);
    for (town, text, day) in [(&left, "of left", "02-01"), (&right, "of right", "02-02")] {
        let mut client = town.client("beads");
        client.run(&format!("UPDATE t SET s = '{text}', updated_at = '2026-{day}' WHERE id = 1"));
        client.run("CALL DOLT_COMMIT('-Am', 'mine')");
    }
    left.done(&["push", "beads"]);
    // A person decides.
    let told = right.refused(&["pull", "beads"]);
    assert!(told.contains("Nothing was changed") && told.contains("branch resolve beads pulled"), "{told}");
    let command = told.split('`').find(|part| part.starts_with("branchline sql")).expect("a command");
    let (_, sql) = command.trim_end_matches('"').split_once('"').expect("SQL");
    right.client("beads").run(sql);
    assert!(right.done(&["branch", "conflicts", "beads", "pulled"]).contains("of left"));
    let key = ["branch", "resolve", "beads", "pulled", "--table", "t", "--key", "id=1", "--set", "s=of both"];
    right.done(&key);
    right.done(&["branch", "done", "beads", "pulled"]);
    assert_eq!(rows(&mut right.client("beads")), ["1|of both", "2|b"]);
    assert!(right.done(&["pull", "beads"]).contains("up to date with origin/main"));
    // A rule decides.
    right.done(&["push", "beads"]);
    left.client("beads").run("UPDATE t SET s = 'newest', updated_at = '2026-03-01' WHERE id = 1");
    left.client("beads").run("CALL DOLT_COMMIT('-Am', 'newest')");
    let told = left.refused(&["pull", "--remote", "alice"]);
    assert!(told.contains("no database has a remote \"alice\""), "{told}");
    // All that have a remote.
    let told = left.done(&["pull"]);
    assert!(told.contains("merged as ") && told.contains("1 conflict resolved"), "{told}");
    assert_eq!(rows(&mut left.client("beads")), ["1|newest", "2|b"]);
}

#[test]
fn crash() {
    let (directory, repository) = (tempfile::tempdir().expect("a temporary directory"), Repository::new());
    let mut town = Town::start_in(directory.path(), QUICK);
    town.beads(&repository);
    // Dolt alone.
    let dolt = town.0.dolt().pid;
    let pid = rustix::process::Pid::from_raw(dolt).expect("a process");
    rustix::process::kill_process(pid, Signal::KILL).expect("killed");
    let mut client = watch::until(DEADLINE, "it is back", || {
        (town.0.try_dolt()?.pid != dolt).then_some(())?;
        Client::try_connect(town.0.addr(), &Login::root("beads")).ok()
    });
    client.run("INSERT INTO t VALUES (3, 'acknowledged', '2026-01-02')");
    client.run("CALL DOLT_COMMIT('-Am', 'acknowledged')");
    client.run("INSERT INTO t VALUES (4, 'not Dolt-committed', '2026-01-02')");
    // All of it.
    town.0.signal(Signal::KILL);
    assert!(town.0.wait(DEADLINE).is_some());
    drop(town);
    let town = Town::start_in(directory.path(), QUICK);
    let mut client = town.client("beads");
    assert_eq!(rows(&mut client), ["1|a", "2|b", "3|acknowledged", "4|not Dolt-committed"]);
    watch::until(DEADLINE, "what was not pushed is", || {
        town.say(&["remote", "verify", "beads"]).status.success().then_some(())
    });
}

#[test]
fn remote_unreachable() {
    let (directory, repository) = (tempfile::tempdir().expect("a temporary directory"), Repository::new());
    let town = Town::start_in(directory.path(), QUICK);
    town.beads(&repository);
    let away = repository.path().with_extension("away");
    fs::rename(repository.path(), &away).expect("moved");
    let mut client = town.client("beads");
    client.run("INSERT INTO t VALUES (3, 'meanwhile', '2026-01-02')");
    client.run("CALL DOLT_COMMIT('-Am', 'meanwhile')");
    let told = town.refused(&["push", "beads"]);
    assert!(told.contains("unreachable"), "{told}");
    assert!(town.refused(&["pull", "beads"]).contains("unreachable"));
    assert!(town.refused(&["remote", "verify", "beads"]).contains("can't be cloned: unreachable"));
    assert!(town.done(&["remote", "status", "beads"]).contains("unreachable"));
    fs::rename(&away, repository.path()).expect("moved");
    watch::until(DEADLINE, "it is pushed by itself", || {
        town.say(&["remote", "verify", "beads"]).status.success().then_some(())
    });
}
