//! `clone --replace` and `restore --replace` cut off at every step, with the real binary and Dolt: the name is the old
//! database's or the new one's, the other one is where it is told, and nothing else is left.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::branchline::Branchline;
use support::client::{Client, Login};
use support::watch;

const DEADLINE: Duration = Duration::from_secs(60);
const ROWS: &str = "SELECT id, s FROM t ORDER BY id";
const OLD: [&str; 2] = ["1|old", "2|uncommitted"];

fn rows(branchline: &Branchline, database: &str, sql: &str) -> Vec<String> {
    let mut client = Client::connect(branchline.addr(), &Login::root(database));
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    let line = |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join("|");
    client.rows(sql).into_iter().map(line).collect()
}

/// A database with a Dolt-committed row, and a remote.
fn database(branchline: &Branchline, name: &str, text: &str) {
    let mut client = Client::connect(branchline.addr(), &Login::root(""));
    for sql in [
        format!("CREATE DATABASE {name}"),
        format!("USE {name}"),
        "CREATE TABLE t (id BIGINT PRIMARY KEY, s VARCHAR(64))".to_owned(),
        format!("INSERT INTO t VALUES (1, '{text}')"),
        "CALL DOLT_COMMIT('-Am', 'one')".to_owned(),
        format!("CALL DOLT_REMOTE('add', 'origin', 'git+file:///nowhere/{name}.git')"),
    ] {
        client.run(&sql);
    }
}

/// The old database `c`, with an uncommitted row; the new one, named `made`; and another.
fn prepared(directory: &Path) {
    let branchline = Branchline::start_in(directory, |_| {});
    for (name, text) in [("c", "old"), ("made", "new"), ("other", "other")] {
        database(&branchline, name, text);
    }
    Client::connect(branchline.addr(), &Login::root("c")).run("INSERT INTO t VALUES (2, 'uncommitted')");
}

fn has_no_scratch(directory: &Path) {
    let left = ["data/.branchline_clones", "state/clone.json", "state/dolt-moves.json"];
    let left: Vec<_> = left.iter().filter(|name| directory.join(name).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn cut_off_at_any_step_the_next_start_comes_to_an_end() {
    // What is done, of: written down that it may have begun; what is renamed written down; the first rename; noted;
    // the second one; noted; Dolt has answered; all forgotten.
    for cut in 0..=7 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        prepared(directory.path());
        let [data, state] = ["data", "state"].map(|name| directory.path().join(name));
        let fresh = data.join(".branchline_clones/1-1-0/database");
        fs::create_dir_all(fresh.parent().expect("a parent")).expect("made");
        fs::rename(data.join("made"), &fresh).expect("moved");
        let began = format!(
            r#"{{"version": 2, "database": "c", "replaces": true, "aside": "c_replaced_1", "fresh": "{}"}}"#,
            fresh.display()
        );
        let doubtful = r#""doubtful": {"from": "c_replaced_1", "to": ".branchline_replaced/c_replaced_1"}"#;
        let second = r#"{"from": ".branchline_clones/1-1-0/database", "to": "c"}"#;
        let listed = |moves: &str| {
            let text = format!(r#"{{"version": 1, "moves": [{moves}], {doubtful}}}"#);
            fs::write(state.join("dolt-moves.json"), text).expect("written");
        };
        let steps: [&dyn Fn(); 7] = [
            &|| fs::write(state.join("clone.json"), &began).expect("written"),
            &|| listed(&format!(r#"{{"from": "c", "to": "c_replaced_1"}}, {second}"#)),
            &|| fs::rename(data.join("c"), data.join("c_replaced_1")).expect("renamed"),
            &|| listed(second),
            &|| fs::rename(&fresh, data.join("c")).expect("renamed"),
            &|| listed(""),
            &|| fs::remove_file(state.join("dolt-moves.json")).expect("removed"),
        ];
        steps[..cut].iter().for_each(|step| step());
        let branchline = Branchline::start_in(directory.path(), |_| {});
        if cut < 2 {
            assert_eq!(rows(&branchline, "c", ROWS), OLD, "{cut}: as before");
            assert_eq!(rows(&branchline, "c", "SELECT name FROM dolt_remotes"), ["origin"], "{cut}");
        } else {
            assert_eq!(rows(&branchline, "c", ROWS), ["1|new"], "{cut}: it is the new one");
            assert_eq!(rows(&branchline, "c_replaced_1", ROWS), OLD, "{cut}: the old one is kept");
            let remotes = rows(&branchline, "c_replaced_1", "SELECT name FROM dolt_remotes");
            assert!(remotes.is_empty(), "{cut}: nothing of it is pushed");
        }
        assert_eq!(rows(&branchline, "other", ROWS), ["1|other"], "{cut}");
        has_no_scratch(directory.path());
    }
}

/// A damaged database that is about to be kept may not keep Dolt from starting.
#[test]
fn what_dolt_cannot_open_any_more_is_out_of_its_way_at_the_next_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    prepared(directory.path());
    let [data, state] = ["data", "state"].map(|name| directory.path().join(name));
    fs::rename(data.join("c"), data.join("c_replaced_1")).expect("renamed");
    fs::rename(data.join("made"), data.join("c")).expect("renamed");
    let journal = data.join("c_replaced_1/.dolt/noms").join("v".repeat(32));
    let mut bytes = fs::read(&journal).expect("a journal");
    let (from, to) = (bytes.len() / 3, bytes.len() / 2);
    bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(&journal, bytes).expect("written");
    // Without the list it is told which one it is, and what to do.
    let refused = Branchline::refused(directory.path(), |command| {
        command.arg("--data-dir").arg(&data).arg("--state-dir").arg(&state);
        command.args(["--listen", "127.0.0.1:0"]).env("BRANCHLINE_DOLT", support::dolt_binary());
    });
    for part in ["with c_replaced_1 as it is", "mkdir -p", "branchline clone URL c_replaced_1"] {
        assert!(refused.stderr.contains(part), "{part:?} is not in {}", refused.stderr);
    }
    let list = r#"{"version": 1, "moves": [],
        "doubtful": {"from": "c_replaced_1", "to": ".branchline_replaced/c_replaced_1"}}"#;
    fs::write(state.join("dolt-moves.json"), list).expect("written");
    let branchline = Branchline::start_in(directory.path(), |_| {});
    assert_eq!(rows(&branchline, "c", ROWS), ["1|new"]);
    assert!(data.join(".branchline_replaced/c_replaced_1/.dolt").is_dir());
    has_no_scratch(directory.path());
}

/// Who is killed; or asked to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Branchline,
    Dolt,
    Asked,
}

/// A Branchline that is asked to restore in the place of a database.
struct Asked {
    child: std::process::Child,
    said: PathBuf,
}

impl Asked {
    fn ask(branchline: &Branchline, directory: &Path) -> Self {
        let said = directory.join("said");
        let file = fs::File::create(&said).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
        command.arg("restore").arg(directory.join("copy")).args(["c", "--replace", "--state-dir"]);
        let errors = file.try_clone().expect("a file");
        command.arg(branchline.state_dir()).stdin(Stdio::null()).stdout(file).stderr(errors);
        Self { child: command.spawn().expect("branchline runs"), said }
    }

    /// Where it says the old one is, if it says that it has replaced it.
    fn ended(mut self) -> Option<String> {
        let status = self.child.wait().expect("it ends");
        let said = fs::read_to_string(self.said).expect("what it said");
        let kept = said
            .lines()
            .find_map(|line| line.strip_prefix("the one before is kept as "))
            .map(|rest| rest.split(',').next().unwrap_or(rest).to_owned());
        assert_eq!(status.success(), kept.is_some(), "{said}");
        kept
    }
}

#[test]
fn killed_at_any_moment_the_name_is_the_old_one_s_or_the_new_one_s() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [data, state] = ["data", "state"].map(|name| directory.path().join(name));
    let mut branchline = Branchline::start_in(directory.path(), |_| {});
    database(&branchline, "c", "new");
    database(&branchline, "other", "other");
    let backup = Command::new(env!("CARGO_BIN_EXE_branchline"))
        .args(["backup", "c"])
        .arg(directory.path().join("copy"))
        .arg("--state-dir")
        .arg(branchline.state_dir())
        .stdin(Stdio::null())
        .output()
        .expect("branchline runs");
    assert!(backup.status.success(), "{backup:?}");
    let is_there = |name: &str| state.join(name).exists();
    let moments: [(&str, &dyn Fn() -> bool); 4] = [
        ("it has begun", &|| is_there("clone.json")),
        ("Dolt is gone", &|| is_there("clone.json") && !is_there("dolt.json")),
        ("it is written down what is renamed", &|| is_there("dolt-moves.json")),
        ("Dolt starts again", &|| is_there("dolt-moves.json") && is_there("dolt.json")),
    ];
    for (number, (what, moment)) in moments.iter().enumerate() {
        for who in [Who::Branchline, Who::Dolt, Who::Asked] {
            let told = format!("{what}, {who:?}");
            let old = vec!["1|new".to_owned(), format!("{}|{told}", number + 2)];
            let mut client = Client::connect(branchline.addr(), &Login::root("c"));
            client.run(&format!("INSERT INTO t VALUES ({}, '{told}')", number + 2));
            let asides = || {
                let databases = rows(&branchline, "", "SHOW DATABASES");
                databases.into_iter().filter(|name| name.starts_with("c_replaced_")).collect::<Vec<_>>()
            };
            let before = asides();
            let asked = Asked::ask(&branchline, directory.path());
            let mut missed = None;
            watch::until(DEADLINE, what, || {
                missed = fs::read_to_string(&asked.said).ok().filter(|said| said.contains("is kept as"));
                (moment() || missed.is_some()).then_some(())
            });
            match (who, branchline.try_dolt().and_then(|dolt| Pid::from_raw(dolt.pid))) {
                (Who::Branchline, _) => branchline.signal(Signal::KILL),
                (Who::Asked, _) => branchline.signal(Signal::TERM),
                (Who::Dolt, Some(pid)) => {
                    let _already_gone = kill_process(pid, Signal::KILL);
                }
                (Who::Dolt, None) => {}
            }
            let kept = asked.ended();
            if who != Who::Dolt {
                let ended = branchline.wait(DEADLINE).expect("it ends");
                assert_eq!(ended.success(), who == Who::Asked, "{told}: {ended}");
                drop(branchline);
                branchline = Branchline::start_in(directory.path(), |_| {});
            }
            watch::until(DEADLINE, "it answers", || {
                let login = Login::root("c");
                Client::try_connect(branchline.addr(), &login).ok()?.query("SELECT 1 FROM t").ok()
            });
            // Cut off in its last step, which the next start takes.
            if who == Who::Dolt && directory.path().join("state/clone.json").exists() {
                branchline.signal(Signal::TERM);
                branchline.wait(DEADLINE).expect("it ends");
                drop(branchline);
                branchline = Branchline::start_in(directory.path(), |_| {});
            }
            let databases = rows(&branchline, "", "SHOW DATABASES");
            let new: Vec<_> = databases
                .into_iter()
                .filter(|name| name.starts_with("c_replaced_") && !before.contains(name))
                .collect();
            let now = rows(&branchline, "c", ROWS);
            match &new[..] {
                [] => assert_eq!((now, kept), (old, None), "{told}: as before"),
                [aside] => {
                    assert_eq!(now, ["1|new"], "{told}: the new one");
                    assert_eq!(rows(&branchline, aside, ROWS), old, "{told}: the old one");
                    assert!(rows(&branchline, aside, "SELECT name FROM dolt_remotes").is_empty(), "{told}");
                    assert!(kept.is_none_or(|kept| kept == *aside), "{told}: told where it is");
                    Client::connect(branchline.addr(), &Login::root(""))
                        .run(&format!("DROP DATABASE {aside}"));
                }
                several => panic!("{told}: {several:?}"),
            }
            if new.is_empty() {
                // The next one begins with the same rows.
                let delete = format!("DELETE FROM t WHERE id = {}", number + 2);
                Client::connect(branchline.addr(), &Login::root("c")).run(&delete);
            }
            assert_eq!(rows(&branchline, "other", ROWS), ["1|other"], "{told}");
            has_no_scratch(directory.path());
            assert!(!data.join(".branchline_replaced").exists(), "{told}");
            println!("{told}: {}", if new.is_empty() { "as before" } else { "replaced" });
        }
    }
}
