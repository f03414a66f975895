//! Backups and restores as people use them: the real binary and Dolt; what a copy holds, what is refused, what is left
//! after a failure.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value as Json;
use support::branchline::Branchline;
use support::client::{Client, Login};
use support::watch;

const DEADLINE: Duration = Duration::from_secs(60);

/// A directory with a Branchline and copies.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["state", "copies"] {
            fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, text: &str) {
        fs::write(self.path("state/branchline.toml"), text).expect("written");
    }

    /// What is not whole, of whatever kind.
    fn scratch(&self) -> Vec<String> {
        let below = |dir: &str| {
            let dir = self.path(dir);
            if dir.is_dir() { names(&dir) } else { Vec::new() }
        };
        let is_unfinished = |name: &String| {
            let is_record = ["clone.json", "dolt-moves.json", ".branchline_clones"].contains(&name.as_str());
            is_record || name.starts_with(".branchline-") || name.ends_with(".link")
        };
        let dirs = ["copies", "copies/beads", "data", "state"].into_iter().flat_map(below);
        let dropped = below("data/.dolt_dropped_databases");
        dirs.filter(is_unfinished).chain(below("state/dolt-beside")).chain(dropped).collect()
    }

    fn has_no_scratch(&self) {
        assert_eq!(self.scratch(), Vec::<String>::new(), "no scratch is left");
    }

    fn start(&self) -> Running<'_> {
        Running { place: self, branchline: Branchline::start_in(self.0.path(), |_| {}) }
    }

    /// What is in `copies`, hidden or not.
    fn copies(&self) -> Vec<String> {
        names(&self.path("copies"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

struct Running<'a> {
    place: &'a Place,
    branchline: Branchline,
}

impl Running<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
        command.args(arguments).arg("--state-dir").arg(self.branchline.state_dir()).stdin(Stdio::null());
        command
    }

    /// Exit code, and standard output and error.
    fn say(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(arguments);
        let output = command.current_dir(self.place.path("copies")).output().expect("branchline runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.say(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let text = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    fn refused(&self, arguments: &[&str], told: &[&str]) {
        let (code, text) = self.say(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        for told in told {
            assert!(text.contains(told), "{arguments:?} doesn't say {told:?}: {text}");
        }
    }

    fn client(&self, database: &str) -> Client {
        Client::connect(self.branchline.addr(), &Login::root(database))
    }

    /// A database with two branches, rows that are not committed on either, a tag, and an ignored table.
    fn make(&self, name: &str) {
        let mut main = self.client("");
        for sql in [
            &format!("CREATE DATABASE {name}"),
            &format!("USE {name}"),
            "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(20))",
            "INSERT INTO t VALUES (1, 'committed')",
            "INSERT INTO dolt_ignore VALUES ('wisps', true)",
            "CREATE TABLE wisps (id INT PRIMARY KEY)",
            "CALL DOLT_COMMIT('-Am', 'one')",
            "CALL DOLT_TAG('v1')",
            "CALL DOLT_BRANCH('side')",
            "INSERT INTO t VALUES (2, 'not committed')",
            "INSERT INTO wisps VALUES (7)",
        ] {
            main.run(sql);
        }
        let mut side = self.client(&format!("{name}/side"));
        side.run("INSERT INTO t VALUES (3, 'of side')");
    }

    /// Everything that should be the same in a copy.
    fn facts(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let mut facts = BTreeMap::new();
        for (at, sql) in [
            (name.to_owned(), "SELECT CONCAT(id, s) FROM t ORDER BY id"),
            (name.to_owned(), "SELECT CONCAT(id, '') FROM wisps"),
            (name.to_owned(), "SELECT CONCAT(name, hash) FROM dolt_branches ORDER BY name"),
            (name.to_owned(), "SELECT CONCAT(tag_name, tag_hash) FROM dolt_tags"),
            (name.to_owned(), "SELECT CONCAT(table_name, status) FROM dolt_status ORDER BY table_name"),
            (name.to_owned(), "SELECT dolt_hashof_db()"),
            (format!("{name}/side"), "SELECT CONCAT(id, s) FROM t ORDER BY id"),
        ] {
            let rows = self.client(&at).rows(sql);
            let side = at.contains('/');
            facts.insert(format!("{side} {sql}"), rows.into_iter().flatten().flatten().collect());
        }
        facts
    }
}

#[test]
fn a_copy_holds_everything_and_becomes_a_database_again() {
    let place = Place::new();
    let running = place.start();
    running.make("beads");
    let facts = running.facts("beads");
    assert_eq!(facts["true SELECT CONCAT(id, s) FROM t ORDER BY id"], ["1committed", "3of side"]);
    // A name that a URL, SQL and a shell would each take amiss; below the directory where it is asked for.
    let odd = "it's 50%25 of\"?#é";
    let said = running.done(&["backup", "beads", odd]);
    assert!(said.contains("2 branches") && said.contains(odd), "{said}");
    assert_eq!(place.copies(), [odd], "nothing is left beside it");
    let listed = running.json(&["backups"]);
    assert_eq!(
        (&listed[0]["database"], &listed[0]["branches"], &listed[0]["next"]),
        (&"beads".into(), &2.into(), &Json::Null)
    );

    let mut client = running.client("beads");
    client.run("DELETE FROM t");
    client.run("CALL DOLT_COMMIT('-Am', 'all gone')");
    let said = running.done(&["restore", odd, "beads2"]);
    assert!(said.contains("a backup of beads of 2"), "{said}");
    assert_eq!(running.facts("beads2"), facts);
    assert!(running.client("beads2").rows("SELECT * FROM dolt_remotes").is_empty());

    // In the place of the first: which is kept under another name.
    running.refused(&["restore", odd, "beads"], &["there is a database beads already", "--replace"]);
    running.refused(&["restore", odd, "BEADS2"], &["there is a database beads2 already"]);
    assert_eq!(client.row("SELECT COUNT(*) FROM t"), "0");
    let replaced = running.json(&["restore", odd, "beads", "--replace"]);
    assert_eq!(running.facts("beads"), facts);
    let old = replaced["old"].as_str().expect("the old one's name");
    assert!(old.starts_with("beads_replaced_"), "{replaced}");
    assert_eq!(running.client(old).row("SELECT COUNT(*) FROM t"), "0");
    // Sessions write on, through the lanes, and nobody has gone past us.
    let mut client = running.client("beads");
    client.run("INSERT INTO t VALUES (9, 'after')");
    assert_eq!(client.row("SELECT COUNT(*) FROM t"), "3");
    let status = running.done(&["status"]);
    assert!(!status.contains("BYPASS"), "{status}");
    place.has_no_scratch();
    assert!(names(&place.path("state")).iter().all(|name| !name.contains("link") && name != "clone.json"));

    // What Dolt made by itself can be restored too.
    let by_dolt = place.path("copies/by dolt").display().to_string();
    client.run(&format!("CALL DOLT_BACKUP('sync-url', 'file://{by_dolt}')"));
    running.done(&["restore", &by_dolt, "beads3"]);
    assert_eq!(running.client("beads3").row("SELECT COUNT(*) FROM t"), "3");
}

#[test]
fn a_newer_copy_takes_an_older_ones_place_and_nothing_else_is_touched() {
    let place = Place::new();
    let running = place.start();
    running.make("beads");
    running.make("hq");
    running.done(&["backup", "beads", "beads"]);
    running.client("beads").run("INSERT INTO t VALUES (4, 'later')");
    running.done(&["backup", "beads", "beads"]);
    running.refused(&["backup", "hq", "beads"], &["holds a backup of beads, not of hq"]);
    running.done(&["restore", "beads", "again"]);
    assert_eq!(running.client("again").row("SELECT COUNT(*) FROM t"), "3", "the newer one");

    fs::write(place.path("copies/file"), "mine").expect("written");
    fs::create_dir(place.path("copies/notes")).expect("a directory");
    fs::write(place.path("copies/notes/a"), "mine").expect("written");
    for (arguments, told) in [
        (["backup", "beads", "notes"], &["holds \"a\" and is no Dolt backup", "name a directory"][..]),
        (["backup", "beads", "file"], &["is not a directory"]),
        (["backup", "beads", "file/below"], &["file is not a directory"]),
        (["backup", "beads", "none/below"], &["none is not there", "make it first"]),
        (["backup", "beads", "notes/.."], &["does not name a directory of its own"]),
        (["backup", "beads", "../data/copy"], &["name another one", "data directory"]),
        (["backup", "none", "x"], &["there is no database none"]),
        (["backup", "beads", "/proc/1/x"], &["/proc/1"]),
        (["restore", "notes", "x"], &["holds \"a\" and is no Dolt backup"]),
        (["restore", "file", "x"], &["is not a directory"]),
        (["restore", "none", "x"], &["is not there"]),
        (["restore", "beads", "a/b"], &["can't be a rig's name"]),
        (["restore", "beads", "it's"], &["can't be a rig's name"]),
        (["restore", "beads", "mysql"], &["is reserved"]),
    ] {
        running.refused(&arguments, told);
    }
    let not_utf8 = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
    let output = running.command(&["backup", "beads"]).arg(not_utf8).output().expect("branchline runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not UTF-8"));
    assert_eq!(place.copies(), ["beads", "file", "notes"]);
    assert_eq!(fs::read_to_string(place.path("copies/notes/a")).expect("read"), "mine");

    // A damaged copy is noticed before anything is changed.
    let table =
        names(&place.path("copies/beads")).into_iter().find(|name| name.ends_with(".darc")).expect("a file");
    let path = place.path("copies/beads").join(table);
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(0xff);
    fs::write(&path, bytes).expect("written");
    let before = running.facts("beads");
    running.refused(&["restore", "beads", "beads", "--replace"], &["can't be restored"]);
    assert_eq!(running.facts("beads"), before);
    place.has_no_scratch();
}

#[test]
fn copies_are_made_on_a_schedule_old_ones_go_and_failures_are_told() {
    let place = Place::new();
    let dir = place.path("copies").display().to_string();
    place.config(&format!("[backups]\ndir = \"{dir}\"\nevery_h = 24\nkeep = 2\ndatabases = [\"beads\"]\n"));
    let running = place.start();
    let alert = watch::until(DEADLINE, "it is told that there is none to copy", || {
        running.json(&["alerts"]).as_array()?.first().cloned()
    });
    assert_eq!(
        (&alert["kind"], &alert["database"], &alert["remote"]),
        (&"backup".into(), &"beads".into(), &dir.clone().into())
    );
    assert!(
        alert["text"].as_str().is_some_and(|text| text.contains("there is no database beads")),
        "{alert}"
    );
    let listed = running.done(&["backups"]);
    assert!(listed.contains("beads: there is no database beads"), "{listed}");
    drop(running);

    // Two of the days before, and something that is none.
    for name in ["20200101T000000Z", "20200102T000000Z"] {
        let copy = place.path("copies/beads").join(name);
        fs::create_dir_all(&copy).expect("a directory");
        fs::write(copy.join("manifest"), "").expect("written");
        let marker = r#"{"version": 1, "database": "beads", "at": 1, "branches": {}}"#;
        fs::write(copy.join("branchline-backup.json"), marker).expect("written");
    }
    fs::create_dir(place.path("copies/beads/20190101T000000Z")).expect("a directory");
    // The wait after the failure is over.
    fs::remove_file(place.path("state/backups.json")).expect("removed");
    place.config("");
    let running = place.start();
    running.make("beads");
    place.config(&format!("[backups]\ndir = \"{dir}\"\nevery_h = 24\nkeep = 2\n"));
    let backup = watch::until(DEADLINE, "it is copied", || {
        let rows = running.json(&["backups"]);
        rows.as_array()?.iter().find(|row| row["database"] == "beads" && !row["at"].is_null()).cloned()
    });
    let made = PathBuf::from(backup["path"].as_str().expect("a path"));
    assert!(backup["next"].as_str() > backup["at"].as_str(), "{backup}");
    watch::until(DEADLINE, "the oldest one is gone", || {
        let name = made.file_name()?.to_string_lossy().into_owned();
        (names(&place.path("copies/beads")) == ["20190101T000000Z", "20200102T000000Z", &name]).then_some(())
    });
    watch::until(DEADLINE, "the alert is over", || {
        running.json(&["alerts"]).as_array()?.is_empty().then_some(())
    });
    running.refused(
        &["restore", &format!("{dir}/beads"), "x"],
        &["holds several backups", &made.display().to_string()],
    );
    running.done(&["restore", &made.display().to_string(), "again"]);
    assert_eq!(running.facts("again"), running.facts("beads"));
}

#[test]
fn what_is_cut_off_leaves_nothing() {
    let place = Place::new();
    let mut running = place.start();
    running.make("beads");
    running.done(&["backup", "beads", "beads"]);
    let (facts, before) =
        (running.facts("beads"), fs::read_dir(place.path("copies/beads")).expect("read").count());
    // Killed at some moment of each: what it is does not matter. (tests/replace.rs has each step of what replaces.)
    for (arguments, milliseconds) in [
        (&["backup", "beads", "beads"][..], 20),
        (&["backup", "beads", "beads"], 120),
        (&["restore", "beads", "new"], 80),
        (&["restore", "beads", "new", "--replace"], 300),
        (&["restore", "beads", "beads", "--replace"], 60),
        (&["restore", "beads", "beads", "--replace"], 700),
    ] {
        let mut child = running.command(arguments);
        child.current_dir(place.path("copies")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().expect("branchline runs");
        watch::until(DEADLINE, "it has begun", || {
            let jobs = running.done(&["jobs", "--json"]);
            jobs.contains("running").then_some(()).or_else(|| child.try_wait().ok()?.map(drop))
        });
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.branchline.signal(Signal::KILL);
        let _ = child.wait();
        drop(running);
        running = place.start();
        watch::until(DEADLINE, "nothing is left of it", || place.scratch().is_empty().then_some(()));
        assert_eq!(running.facts("beads"), facts, "{arguments:?} after {milliseconds} ms");
        let copy = fs::read_dir(place.path("copies/beads")).expect("the copy").count();
        assert!(copy >= before, "the copy is whole");
    }
    running.done(&["restore", "beads", "whole"]);
    assert_eq!(running.facts("whole"), facts);
}
