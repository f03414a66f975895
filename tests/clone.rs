//! Cloning into a running Branchline, recovering from a lost data directory, and proving that a remote is whole: with
//! real Dolt and git.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use branchline::dolt::State;

use branchline::observe::progress::Progress;
use branchline::remote::RemoteUrl;
use branchline::remote::clone::{CloneError, CloneRequest, Cloned, clean_up, clone};
use branchline::remote::pull::{PullRequest, pull};
use branchline::remote::verify::{Verified, VerifyError, verify};
use rustix::process::Signal;
use support::branchline::Branchline;
use support::client::{Client, Login};
use support::embedded::Embedded;
use support::git::{Fault, FaultyProxy, HttpServer, Repository};
use support::watch;

const DEADLINE: Duration = Duration::from_secs(30);

/// As settings have it.
fn remote_url(repository: &Repository) -> RemoteUrl {
    RemoteUrl::parse(&repository.file_url()).expect("a URL")
}

fn cloned(server: &Embedded, url: RemoteUrl, name: &str, replace: bool) -> Result<Cloned, CloneError> {
    let request = CloneRequest { url, database: name.to_owned(), replace, by: "test".to_owned() };
    server.run(clone(&server.context, &request, &Progress::default()))
}

fn verified(server: &Embedded, database: &str) -> Result<Verified, VerifyError> {
    server.run(verify(&server.context, database, None, &Progress::default()))
}

fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    let line = |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join("|");
    client.rows(sql).into_iter().map(line).collect()
}

const ROWS: &str = "SELECT id, s FROM t ORDER BY id";

/// Database `c` with three rows, pushed.
fn pushed(server: &Embedded, bare: &Repository) {
    server.database("c", &[]);
    let mut client = server.direct("c");
    client.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    client.run("CALL DOLT_COMMIT('-Am', 'rows')");
    client.run(&format!("CALL DOLT_REMOTE('add', 'origin', '{}')", bare.file_url()));
    client.run("CALL DOLT_PUSH('origin', 'main')");
}

/// Names below a directory, without Dolt's own.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !matches!(name.as_str(), ".dolt" | ".doltcfg"));
    names.sort();
    names
}

fn nothing_is_left(server: &Embedded) {
    let config = &server.context.config;
    assert!(!config.data_dir.join(".branchline_clones").exists());
    assert!(names(&config.data_dir.join(".dolt_dropped_databases")).is_empty());
    assert!(names(&config.state_dir.join("dolt-beside")).is_empty());
    for name in ["clone.json", "dolt-moves.json"] {
        assert!(!config.state_dir.join(name).exists(), "{name}");
    }
}

/// Of a database's files.
fn journal(server: &Embedded, database: &str) -> std::path::PathBuf {
    server.context.config.data_dir.join(database).join(".dolt/noms").join("v".repeat(32))
}

#[test]
fn a_lost_data_directory_comes_back_from_the_remote() {
    let bare = Repository::new();
    let before = {
        let lost = Embedded::start(|_| {});
        pushed(&lost, &bare);
        let mut client = lost.direct("c");
        (
            rows(&mut client, ROWS),
            client.row("SELECT dolt_hashof('main')"),
            client.row("SELECT dolt_hashof_db()"),
        )
    };
    // All of it is gone: this one's data directory is empty.
    let server = Embedded::start(|_| {});
    let progress = Progress::default();
    let request = CloneRequest {
        url: remote_url(&bare),
        database: "c".to_owned(),
        replace: false,
        by: "test".to_owned(),
    };
    let cloned = server.run(clone(&server.context, &request, &progress)).expect("cloned");
    assert_eq!((cloned.commits, cloned.replaced.as_deref()), (3, None));
    let mut client = server.login(&Login::root("c"));
    let after = (
        rows(&mut client, ROWS),
        client.row("SELECT dolt_hashof('main')"),
        client.row("SELECT dolt_hashof_db()"),
    );
    assert_eq!(after, before);
    assert_eq!(after.1, cloned.head);
    nothing_is_left(&server);

    // It goes on from there: pushed, pulled, verified, and routed as any other.
    client.run("INSERT INTO t VALUES (4, 'd')");
    client.run("CALL DOLT_COMMIT('-Am', 'd')");
    let mut worker = server.on("polecat-x", "c");
    worker.run("INSERT INTO t VALUES (5, 'e')");
    assert_eq!(worker.row("SELECT ACTIVE_BRANCH()"), "polecat-x");
    let missing = verified(&server, "c").expect("compared");
    assert_eq!((missing.here, missing.there, missing.missing, missing.extra), (4, 3, 1, 0));
    assert!(!missing.is_whole() && missing.named[0].ends_with(" is not at the remote"), "{missing:?}");
    server.direct("c").run("CALL DOLT_PUSH('origin', 'main')");
    let whole = verified(&server, "c").expect("compared");
    assert_eq!((whole.here, whole.there, whole.missing, whole.extra), (4, 4, 0, 0));
    assert!(whole.is_whole() && whole.named.is_empty());
    nothing_is_left(&server);
}

#[test]
fn an_existing_database_is_replaced_only_when_asked_and_is_kept() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    let mut session = server.login(&Login::root("c"));
    session.run("INSERT INTO t VALUES (9, 'mine')");
    session.run("CALL DOLT_COMMIT('-Am', 'mine')");
    session.run("INSERT INTO t VALUES (10, 'uncommitted')");
    let error = cloned(&server, remote_url(&bare), "c", false).expect_err("there is one");
    assert_eq!(error, CloneError::Exists("c".to_owned()));
    assert!(error.to_string().contains("--replace"), "{error}");

    let replaced = cloned(&server, remote_url(&bare), "c", true).expect("replaced");
    let aside = replaced.replaced.expect("the old one");
    assert!(aside.starts_with("c_replaced_"), "{aside}");
    // A session that was on the old one goes on with the new one.
    assert_eq!(rows(&mut session, ROWS), ["1|a", "2|b", "3|c"]);
    session.run("INSERT INTO t VALUES (11, 'after')");
    assert_eq!(rows(&mut server.login(&Login::root("c")), ROWS), ["1|a", "2|b", "3|c", "11|after"]);
    let mut old = server.login(&Login::root(&aside));
    assert_eq!(rows(&mut old, ROWS), ["1|a", "2|b", "3|c", "9|mine", "10|uncommitted"]);
    assert!(rows(&mut old, "SELECT name FROM dolt_remotes").is_empty(), "nothing of it is pushed");
    assert_eq!(rows(&mut session, "SELECT name FROM dolt_remotes"), ["origin"]);
    let request = PullRequest { database: "c".to_owned(), remote: None, by: "test".to_owned() };
    server.run(pull(&server.context, &request, &Progress::default())).expect("its remote works");
    nothing_is_left(&server);
    let bypass = server.context.bypass.as_ref().expect("a Dolt of our own");
    bypass.look(["c", aside.as_str()]);
    assert!(bypass.report().is_empty(), "{:?}", bypass.report());
}

#[test]
fn a_clone_that_fails_leaves_nothing_and_says_why() {
    let (empty, bare) = (Repository::new(), Repository::new());
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    let before = names(&server.context.config.data_dir);
    let gone = RemoteUrl::parse("git+file:///nowhere/r.git").expect("a URL");
    for (url, name, want) in [
        (remote_url(&empty), "d", "contains no Dolt data"),
        (gone.clone(), "d", "unreachable: "),
        (gone, "c", "unreachable: "),
        (remote_url(&bare), "../c", "can't be a rig's name"),
        (remote_url(&bare), "mysql", "is reserved"),
    ] {
        let error = cloned(&server, url, name, true).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
    }
    let after: Vec<String> = names(&server.context.config.data_dir)
        .into_iter()
        .filter(|name| name != ".dolt_dropped_databases")
        .collect();
    assert_eq!(after, before);
    assert_eq!(rows(&mut server.direct("c"), ROWS), ["1|a", "2|b", "3|c"]);
    nothing_is_left(&server);
}

#[test]
fn who_is_connected_elsewhere_goes_on_and_no_acknowledged_write_is_lost() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    server.database("other", &["side"]);
    server.direct("c").run("INSERT INTO t VALUES (9, 'mine')");
    // Connected since before, and idle; and one in the middle of a transaction on what is replaced.
    let mut idle = server.login(&Login::root("other"));
    assert_eq!(idle.row("SELECT COUNT(*) FROM t"), "0");
    let mut open = server.login(&Login::root("c"));
    open.run("BEGIN");
    open.run("INSERT INTO t VALUES (10, 'in a transaction')");
    let done = AtomicBool::new(false);
    let (replaced, written) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u32)
            .map(|writer| {
                let (server, done) = (&server, &done);
                scope.spawn(move || {
                    let branch = if writer % 2 == 0 { "other" } else { "other/side" };
                    let mut client = server.login(&Login::root(branch));
                    let (mut acknowledged, mut after) = (Vec::new(), 0);
                    // Some more when it is over.
                    for number in 0_u32.. {
                        let id = writer * 1_000_000 + number;
                        if client.query(&format!("INSERT INTO t VALUES ({id}, 'w')")).is_ok() {
                            acknowledged.push(id.to_string());
                        }
                        after += u32::from(done.load(Ordering::Relaxed));
                        if after > 5 {
                            return (branch, acknowledged);
                        }
                    }
                    unreachable!("there are numbers enough")
                })
            })
            .collect();
        let replaced = cloned(&server, remote_url(&bare), "c", true);
        done.store(true, Ordering::Relaxed);
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("it ends")).collect();
        (replaced, written)
    });
    let aside = replaced.expect("replaced").replaced.expect("the old one");
    let bypass = server.context.bypass.as_ref().expect("a Dolt of our own");
    bypass.look(["c", "other", aside.as_str()]);
    assert!(bypass.report().is_empty(), "{:?}", bypass.report());
    for (branch, acknowledged) in written {
        assert!(!acknowledged.is_empty());
        let there = rows(&mut server.login(&Login::root(branch)), "SELECT id FROM t");
        let lost: Vec<_> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
        assert!(lost.is_empty(), "{branch}: acknowledged, and not there: {lost:?}");
    }
    idle.run("INSERT INTO t VALUES (-7, 'goes on')");
    assert_eq!(idle.row("SELECT s FROM t WHERE id = -7"), "goes on");
    // Its transaction is over and it is told so, or it was run again, on the new one.
    let mut want = vec!["1|a", "2|b", "3|c"];
    match open.query("COMMIT") {
        Ok(_) => want.push("10|in a transaction"),
        Err(error) => println!("the transaction that was open: {error}"),
    }
    assert_eq!(rows(&mut server.login(&Login::root("c")), ROWS), want);
    assert_eq!(rows(&mut server.login(&Login::root(&aside)), ROWS), ["1|a", "2|b", "3|c", "9|mine"]);
    nothing_is_left(&server);
}

#[test]
fn a_database_that_cannot_be_read_is_replaced_and_kept_out_of_dolt_s_sight() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    server.database("other", &[]);
    let kept = server.context.config.data_dir.join(".branchline_replaced");
    let whole = |server: &Embedded, count: usize| {
        assert_eq!(rows(&mut server.login(&Login::root("c")), ROWS), ["1|a", "2|b", "3|c"]);
        assert_eq!(server.direct("other").row("SELECT COUNT(*) FROM t"), "0");
        assert_eq!(names(&kept).len(), count);
        nothing_is_left(server);
    };
    // Damaged while Dolt has it open: that shows when Dolt is started again, and Dolt would serve nothing.
    let path = journal(&server, "c");
    let bytes = fs::read(&path).expect("a journal");
    let mut damaged = bytes.clone();
    let (from, to) = (bytes.len() / 3, bytes.len() / 2);
    damaged[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, &damaged).expect("written");
    let replaced = cloned(&server, remote_url(&bare), "c", true).expect("replaced");
    let place = replaced.replaced.expect("the old one");
    assert!(Path::new(&place).join(".dolt").is_dir() && Path::new(&place).starts_with(&kept), "{place}");
    let there = fs::read(Path::new(&place).join(".dolt/noms").join("v".repeat(32))).expect("its journal");
    assert!(there.starts_with(&damaged[..bytes.len()]), "as it was");
    whole(&server, 1);

    // Cut off: Dolt starts, and the database answers nothing.
    let pid = |server: &Embedded| match server.context.dolt.state() {
        State::Ready(ready) => ready.pid,
        _ => None,
    };
    let before = pid(&server).expect("ready");
    fs::OpenOptions::new()
        .write(true)
        .open(journal(&server, "c"))
        .expect("open")
        .set_len(0)
        .expect("cut off");
    let killed = rustix::process::Pid::from_raw(before.cast_signed()).expect("a process");
    rustix::process::kill_process(killed, Signal::KILL).expect("killed");
    watch::until(DEADLINE, "Dolt is back", || pid(&server).filter(|now| *now != before));
    assert!(server.direct("").query("SELECT * FROM c.dolt_branches").is_err(), "the test shows nothing");
    let replaced = cloned(&server, remote_url(&bare), "c", true).expect("replaced");
    assert!(Path::new(&replaced.replaced.expect("the old one")).starts_with(&kept));
    whole(&server, 2);

    // Something that is no database at all.
    let dir = server.context.config.data_dir.join("d");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("notes"), "mine").expect("written");
    let error = cloned(&server, remote_url(&bare), "d", false).expect_err("it is in the way");
    assert!(matches!(error, CloneError::InTheWay(_)) && error.to_string().contains(".branchline_replaced"));
    let replaced = cloned(&server, remote_url(&bare), "d", true).expect("replaced").replaced.expect("kept");
    assert_eq!(fs::read_to_string(Path::new(&replaced).join("notes")).expect("read"), "mine");
    assert_eq!(rows(&mut server.direct("d"), ROWS), ["1|a", "2|b", "3|c"]);
    // What is kept there survives the emptying of what was dropped.
    server.direct("").run("CALL DOLT_PURGE_DROPPED_DATABASES()");
    whole(&server, 3);
}

#[test]
fn a_name_that_somebody_takes_meanwhile_is_not_taken_from_him() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    // Two at once: their turns come one after the other.
    let (one, two) = std::thread::scope(|scope| {
        let clone = || cloned(&server, remote_url(&bare), "d", false);
        let two = scope.spawn(clone);
        (clone(), two.join().expect("it ends"))
    });
    let errors: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    assert_eq!(errors, [CloneError::Exists("d".to_owned())]);
    // While it is cloned, somebody makes one.
    let clones = server.context.config.data_dir.join(".branchline_clones");
    let error = std::thread::scope(|scope| {
        let clone = scope.spawn(|| cloned(&server, remote_url(&bare), "e", false));
        let mut client = server.direct("");
        watch::until(DEADLINE, "it clones", || (clones.exists() || clone.is_finished()).then_some(()));
        client.run("CREATE DATABASE e");
        clone.join().expect("it ends").expect_err("somebody was faster")
    });
    assert_eq!(error, CloneError::Exists("e".to_owned()));
    assert_eq!(rows(&mut server.direct("e"), "SHOW TABLES"), Vec::<String>::new(), "it is the other one");
    nothing_is_left(&server);
}

#[test]
fn what_was_cut_off_when_a_new_name_was_taken_is_put_right() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    let config = &server.context.config;
    let clones = config.data_dir.join(".branchline_clones");
    let dropped = config.data_dir.join(".dolt_dropped_databases");
    let fresh = clones.join("1-1-0/database");
    let written = |replaces: bool, name: &str, aside: &str| {
        let text = format!(
            r#"{{"version": 2, "database": "{name}", "replaces": {replaces}, "aside": {aside}, "fresh": "{}"}}"#,
            fresh.display()
        );
        fs::write(config.state_dir.join("clone.json"), text).expect("written");
    };
    // One whose directory is where something is made.
    let made = || {
        cloned(&server, remote_url(&bare), "e", false).expect("cloned");
        server.direct("").run("DROP DATABASE e");
        fs::create_dir_all(clones.join("1-1-0")).expect("made");
        fs::rename(dropped.join("e"), &fresh).expect("moved");
    };
    let clean_up = || {
        server.run(clean_up(&server.context));
        nothing_is_left(&server);
    };
    // Killed while it was cloning; when it was about to take the name; when it is among the dropped ones; when it has it.
    fs::create_dir_all(clones.join("1-1-0/database/.dolt/noms")).expect("made");
    fs::create_dir_all(config.state_dir.join("dolt-beside/1-1/home")).expect("made");
    clean_up();
    made();
    written(false, "e", "null");
    clean_up();
    assert!(server.direct("").query("SELECT * FROM e.t").is_err());
    for has_name in [false, true] {
        made();
        written(false, "e", "null");
        fs::rename(&fresh, dropped.join("e")).expect("moved");
        if has_name {
            server.direct("").run("CALL DOLT_UNDROP('e')");
        }
        clean_up();
        assert_eq!(rows(&mut server.direct("e"), ROWS), ["1|a", "2|b", "3|c"]);
        server.direct("").run("DROP DATABASE e");
        server.direct("").run("CALL DOLT_PURGE_DROPPED_DATABASES()");
    }
    // A replacement that had not begun, and one that only had to forget the old one's remote.
    made();
    written(true, "c", r#""c_replaced_1""#);
    clean_up();
    assert_eq!(rows(&mut server.direct("c"), "SELECT name FROM dolt_remotes"), ["origin"]);
    written(true, "c", r#""c""#);
    clean_up();
    assert!(rows(&mut server.direct("c"), "SELECT name FROM dolt_remotes").is_empty());
    // What can't be read is left alone, and told before anything else is changed.
    fs::write(config.state_dir.join("clone.json"), "{").expect("written");
    server.run(branchline::remote::clone::clean_up(&server.context));
    let error = cloned(&server, remote_url(&bare), "c", true).expect_err("what is it?").to_string();
    assert!(error.contains("clone.json can't be read"), "{error}");
    fs::remove_file(config.state_dir.join("clone.json")).expect("removed");
    nothing_is_left(&server);
}

#[test]
fn what_holds_the_url_s_credentials_is_ours_alone() {
    use std::os::unix::fs::PermissionsExt;
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = Repository::create(&shelf.path().join("r.git"));
    let http = HttpServer::start(shelf.path());
    let server = Embedded::start(|_| {});
    pushed(&server, &repository);
    let open = http.url_at(http.port(), &repository);
    let url = open.replacen("://", "://user:secret@", 1);
    assert_ne!(open, url);
    let all = || {
        let mut found = vec![server.context.config.data_dir.join(".branchline_clones")];
        let mut modes = Vec::new();
        while let Some(dir) = found.pop() {
            let Ok(mode) = fs::metadata(&dir).map(|meta| meta.permissions().mode() & 0o777) else { continue };
            modes.push(mode);
            found.extend(fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        modes
    };
    std::thread::scope(|scope| {
        let url = RemoteUrl::parse(&url).expect("a URL");
        let clone = scope.spawn(|| cloned(&server, url, "d", false));
        let modes = watch::until(DEADLINE, "it clones", || {
            Some(all()).filter(|modes| !modes.is_empty() || clone.is_finished())
        });
        assert!(modes.is_empty() || modes[0] == 0o700, "{modes:?}");
        clone.join().expect("it ends").expect("cloned");
    });
    let dir = server.context.config.data_dir.join("d/.dolt");
    assert!(
        fs::read_to_string(dir.join("repo_state.json")).expect("there").contains("secret"),
        "the test shows nothing"
    );
    assert_eq!(fs::metadata(&dir).expect("there").permissions().mode() & 0o777, 0o700);
    nothing_is_left(&server);
}

#[test]
fn a_remote_that_lacks_objects_is_not_whole() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    // Somebody's housekeeping has lost files of it.
    let data = bare.git(&["ls-tree", "-r", "--name-only", "refs/dolt/data"]);
    assert!(!data.is_empty());
    for dir in ["objects/pack", "objects"] {
        for entry in fs::read_dir(bare.path().join(dir)).into_iter().flatten().flatten() {
            if entry.path().is_dir() && entry.file_name().len() == 2 {
                fs::remove_dir_all(entry.path()).expect("removed");
            }
        }
    }
    let error = verified(&server, "c").expect_err("not whole").to_string();
    assert!(error.contains("origin of c") && error.contains("can't be cloned"), "{error}");
    nothing_is_left(&server);
}

/// A clone that hangs, in a process of its own, and its Branchline.
fn hanging(directory: &Path, url: &str) -> (Branchline, std::process::Child) {
    let file = directory.join("branchline.toml");
    fs::write(&file, "[limits]\ndrain_timeout_s = 1\n").expect("written");
    let branchline = Branchline::start_in(directory, |command| {
        command.arg("--config").arg(&file);
    });
    let asking = Command::new(env!("CARGO_BIN_EXE_branchline"))
        .args(["clone", url, "c", "--state-dir"])
        .arg(branchline.state_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("branchline runs");
    let beside = branchline.state_dir().join("dolt-beside");
    watch::until(DEADLINE, "it clones", || (!watch::processes_of(&beside).is_empty()).then_some(()));
    (branchline, asking)
}

#[test]
fn a_clone_that_hangs_ends_with_branchline_however_that_ends() {
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = Repository::create(&shelf.path().join("r.git"));
    let server = HttpServer::start(shelf.path());
    let proxy = FaultyProxy::start(server.port());
    proxy.set(Fault::Hang);
    let url = server.url_at(proxy.port(), &repository);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [data, state] = ["data", "state"].map(|name| directory.path().join(name));
    // Asked to stop: its drop looks for processes that are left.
    let (branchline, mut asking) = hanging(directory.path(), &url);
    drop(branchline);
    asking.wait().expect("ended");
    assert!(names(&state.join("dolt-beside")).is_empty());
    assert!(!names(&data).contains(&"c".to_owned()));
    // Killed.
    let (mut branchline, mut asking) = hanging(directory.path(), &url);
    branchline.signal(Signal::KILL);
    assert!(branchline.wait(DEADLINE).is_some());
    drop(branchline);
    asking.wait().expect("ended");
    let branchline = Branchline::start_in(directory.path(), |_| {});
    assert!(names(&state.join("dolt-beside")).is_empty());
    assert!(watch::processes_of(&state.join("dolt-beside")).is_empty());
    let left = names(&data);
    assert!(!left.iter().any(|name| name == "c" || name == ".branchline_clones"), "{left:?}");
    drop(branchline);
}
