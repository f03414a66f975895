//! Cloning into a running Branchline, recovering from a lost data directory, and proving that a remote is whole: with
//! real Dolt and git.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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
    let dropped = names(&config.data_dir.join(".dolt_dropped_databases"));
    assert!(!dropped.iter().any(|name| name.starts_with("branchline-")), "{dropped:?}");
    assert!(names(&config.state_dir.join("dolt-beside")).is_empty());
    assert!(!config.state_dir.join("clone.json").exists());
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
fn a_clone_that_was_killed_is_cleaned_up_and_one_that_was_cut_off_is_put_right() {
    let bare = Repository::new();
    let server = Embedded::start(|_| {});
    pushed(&server, &bare);
    let config = &server.context.config;
    // Killed while it was cloning.
    let dropped = config.data_dir.join(".dolt_dropped_databases");
    fs::create_dir_all(dropped.join("branchline-clone-1-d/.dolt/noms")).expect("made");
    fs::create_dir_all(config.state_dir.join("dolt-beside/1-1/home")).expect("made");
    server.run(clean_up(&server.context));
    nothing_is_left(&server);

    // Killed between two steps of giving it its name: the old one is dropped, and not aside yet.
    let replace = cloned(&server, remote_url(&bare), "e", false).expect("cloned");
    server.direct("e").run("INSERT INTO t VALUES (7, 'of e')");
    server.direct("").run("DROP DATABASE c");
    server.direct("").run("DROP DATABASE e");
    fs::rename(dropped.join("e"), dropped.join("branchline-clone-2-c")).expect("moved");
    let swap = format!(
        r#"{{"version": 1, "database": "c", "aside": "c_replaced_2", "fresh": "{}"}}"#,
        dropped.join("branchline-clone-2-c").display()
    );
    fs::write(config.state_dir.join("clone.json"), &swap).expect("written");
    assert_eq!(replace.database, "e");
    server.run(clean_up(&server.context));
    nothing_is_left(&server);
    assert_eq!(rows(&mut server.direct("c"), ROWS), ["1|a", "2|b", "3|c"], "as before");

    // Killed when the old one was aside: it goes on.
    cloned(&server, remote_url(&bare), "e", false).expect("cloned");
    server.direct("e").run("INSERT INTO t VALUES (7, 'of e')");
    server.direct("").run("DROP DATABASE c");
    server.direct("").run("DROP DATABASE e");
    fs::rename(dropped.join("e"), dropped.join("branchline-clone-2-c")).expect("moved");
    fs::rename(dropped.join("c"), dropped.join("c_replaced_2")).expect("moved");
    fs::write(config.state_dir.join("clone.json"), &swap).expect("written");
    server.run(clean_up(&server.context));
    nothing_is_left(&server);
    assert_eq!(rows(&mut server.direct("c"), ROWS), ["1|a", "2|b", "3|c", "7|of e"]);
    assert_eq!(rows(&mut server.direct("c_replaced_2"), ROWS), ["1|a", "2|b", "3|c"]);
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
    let dropped = names(&data.join(".dolt_dropped_databases"));
    assert!(dropped.is_empty() && !names(&data).contains(&"c".to_owned()), "{dropped:?}");
    drop(branchline);
}
