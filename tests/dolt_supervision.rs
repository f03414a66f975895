//! The supervisor against a real Dolt: start, crash, wedge, lock, stop, and nothing left behind.

#[path = "support/settings.rs"]
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use branchline::config::{Config, DoltSource, Secret};
use branchline::dolt::moves::{Move, Moves};
use branchline::dolt::{ControlError, Dolt, Ready, RestartError, StartError, State};
use rustix::process::{Pid, Signal, kill_process};
use settings::settings;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);
/// Set for the copy of this program that plays the Branchline that is killed.
const CHILD_OF: &str = "BRANCHLINE_TEST_SUPERVISE";

fn config(town: &Path) -> Config {
    settings(town, DoltSource::Private { binary: None })
}

async fn start(config: &Config) -> Result<Dolt, StartError> {
    let shim = PathBuf::from(env!("CARGO_BIN_EXE_branchline"));
    tokio::time::timeout(DEADLINE, Dolt::start_through(config, shim)).await.expect("start ends in time")
}

/// A started Dolt in a directory of its own.
async fn started() -> (TempDir, Config, Dolt) {
    let town = tempfile::tempdir().expect("temp dir");
    let config = config(town.path());
    let asked = Instant::now();
    let dolt = start(&config).await.expect("Dolt starts");
    println!("start to ready: {:?}", asked.elapsed());
    (town, config, dolt)
}

fn ready(dolt: &Dolt) -> std::sync::Arc<Ready> {
    match dolt.state() {
        State::Ready(ready) => ready,
        other => panic!("not ready: {other:?}"),
    }
}

async fn wait_for(dolt: &Dolt, what: &str, accept: impl FnMut(&State) -> bool) -> State {
    let mut states = dolt.watch();
    let state = tokio::time::timeout(DEADLINE * 2, states.wait_for(accept)).await;
    state.unwrap_or_else(|_| panic!("{what}: still {:?}", dolt.state())).expect("supervisor lives").clone()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("signal");
}

/// Whether it runs; a zombie that its parent has not looked at yet does not.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !matches!(stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().as_bytes()[0]), Some(b'Z'))
    })
}

async fn wait_gone(pid: u32) {
    let until = Instant::now() + DEADLINE;
    while runs(pid) {
        assert!(Instant::now() < until, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).expect("list");
    entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn starts_answers_and_stops_without_leaving_anything() {
    let (_town, config, dolt) = started().await;
    let ready = ready(&dolt);
    assert!(ready.greeting.version.starts_with("8.0."), "{ready:?}");
    // PROTOCOL_41, PLUGIN_AUTH, CONNECT_ATTRS; never COMPRESS.
    assert_eq!(ready.greeting.capabilities & 0x0018_0220, 0x0018_0200, "{:#x}", ready.greeting.capabilities);
    assert_eq!(ready.generation, 1);
    let pid = ready.pid.expect("ours");

    // gt takes processes named dolt… for strays.
    for what in ["comm", "cmdline"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{what}")).expect("proc");
        let name =
            text.split('\0').next().expect("name").trim().rsplit('/').next().expect("base").to_string();
        assert_eq!(name, "branchline-dolt", "{what}");
    }
    let group = rustix::process::getpgid(Pid::from_raw(pid as i32)).expect("group");
    assert_eq!(group.as_raw_nonzero().get() as u32, pid, "a group of its own");

    // It holds the reading end of its log pipe: should we die, its last lines are no SIGPIPE.
    let descriptors = PathBuf::from(format!("/proc/{pid}/fd"));
    let output = std::fs::read_link(descriptors.join("2")).expect("stderr");
    let reads = names(&descriptors).into_iter().any(|fd| {
        let flags = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
        // O_RDONLY is octal 0 in the last digit.
        let readable = flags.lines().any(|line| line.starts_with("flags:") && line.ends_with('0'));
        readable && std::fs::read_link(descriptors.join(&fd)).is_ok_and(|link| link == output)
    });
    assert!(reads, "no reading end of {output:?}");

    let published = std::fs::read_to_string(config.state_dir.join("dolt.json")).expect("dolt.json");
    let published: serde_json::Value = serde_json::from_str(&published).expect("json");
    assert_eq!(published["pid"], pid);
    assert_eq!(published["port"], ready.endpoint.tcp.expect("tcp").port());

    let rows =
        dolt.control().rows("SELECT COUNT(*) FROM mysql.user WHERE User = ?", vec!["root".into()]).await;
    assert_eq!(rows.expect("answer")[0].get::<i64, _>(0), Some(1));
    dolt.control().execute("CREATE DATABASE hq", vec![]).await.expect("create");
    dolt.control().execute("CREATE TABLE hq.t (id INT PRIMARY KEY)", vec![]).await.expect("create");
    let inserted = dolt.control().execute("INSERT INTO hq.t VALUES (?), (?)", vec![1.into(), 2.into()]).await;
    assert_eq!(inserted.expect("insert"), 2);
    let log = std::fs::read_to_string(config.state_dir.join("dolt.log")).expect("log");
    assert!(log.contains("Starting server"), "{log}");
    assert!(dolt.facts().health_latency.is_some());

    dolt.stop().await;
    assert!(!runs(pid));
    assert!(matches!(dolt.state(), State::Stopping));
    assert_eq!(
        names(&config.data_dir),
        [".branchline.lock", ".dolt", ".doltcfg", "hq"].map(String::from).into()
    );
    assert_eq!(names(&config.data_dir.join(".dolt")), BTreeSet::new());
    for name in ["dolt.json", "dolt.sock"] {
        assert!(!config.state_dir.join(name).exists(), "{name} is still there");
    }
    let after = dolt.control().rows("SELECT 1", vec![]).await;
    assert!(matches!(after, Err(ControlError::Down(_))), "{after:?}");
}

/// Sessions that are open, idle or in a transaction, do not hold up the end.
#[tokio::test]
async fn stop_does_not_wait_for_sessions() {
    let (_town, _config, dolt) = started().await;
    dolt.control().execute("CREATE DATABASE hq", vec![]).await.expect("create");
    dolt.control().execute("CREATE TABLE hq.t (id INT PRIMARY KEY)", vec![]).await.expect("create");
    let mut sessions = Vec::new();
    for id in 0..5 {
        let mut session = dolt.control().dedicated().await.expect("dedicated");
        session.execute("BEGIN", vec![]).await.expect("begin");
        session.execute("INSERT INTO hq.t VALUES (?)", vec![id.into()]).await.expect("insert");
        sessions.push(session);
    }
    let asked = Instant::now();
    dolt.stop().await;
    println!("stop with 5 open transactions: {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let error = sessions[0].rows("SELECT 1", vec![]).await.expect_err("the server is gone");
    assert!(!matches!(error, ControlError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn control_does_not_need_root() {
    let (_town, _config, dolt) = started().await;
    let control = dolt.control();
    for sql in [
        "ALTER USER root@localhost IDENTIFIED BY 'x'",
        "FLUSH PRIVILEGES",
        "DROP USER root@localhost",
        "CREATE USER app@'%' IDENTIFIED BY 'y'",
        "GRANT ALL ON *.* TO app@'%'",
        "FLUSH PRIVILEGES",
        "CREATE DATABASE gastown",
        "SET GLOBAL local_infile = 1",
    ] {
        control.execute(sql, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let users =
        control.rows("SELECT User, plugin FROM mysql.user ORDER BY User", vec![]).await.expect("mysql.user");
    let users: Vec<String> = users.iter().filter_map(|row| row.get(0)).collect();
    assert!(users.contains(&"app".to_string()) && !users.contains(&"root".to_string()), "{users:?}");

    // And so after a restart, when Dolt finds accounts without any root.
    let pid = ready(&dolt).pid.expect("ours");
    signal(pid, Signal::KILL);
    wait_for(&dolt, "restart", |state| matches!(state, State::Ready(ready) if ready.generation == 2)).await;
    let rows = dolt
        .control()
        .rows("SELECT COUNT(*) FROM mysql.user WHERE User='root'", vec![])
        .await
        .expect("answer");
    assert_eq!(rows[0].get::<i64, _>(0), Some(0));

    let mut session = dolt.control().dedicated().await.expect("dedicated");
    session.execute("USE gastown", vec![]).await.expect("use");
    session.execute("CREATE TABLE t (id INT PRIMARY KEY)", vec![]).await.expect("create");
    session.execute("CALL DOLT_COMMIT('-Am', ?)", vec!["t".into()]).await.expect("commit");
    assert_eq!(
        session.rows("SELECT DATABASE()", vec![]).await.expect("database")[0].get(0),
        Some("gastown".to_string())
    );
    let error = session.rows("SELECT * FROM nowhere", vec![]).await.expect_err("no such table");
    assert!(matches!(&error, ControlError::Server { code: 1146, .. }), "{error}");
    session.rows("SELECT 1", vec![]).await.expect("usable after a refused statement");
    dolt.stop().await;
}

#[tokio::test]
async fn a_killed_dolt_is_back_within_five_seconds() {
    let (_town, _config, dolt) = started().await;
    let first = ready(&dolt);
    let control = dolt.control().clone();
    // Idle connections in the pool, so that the restart has something stale to avoid.
    let all: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let control = control.clone();
                async move { control.rows("SELECT SLEEP(0.05)", vec![]).await }
            })
        })
        .collect();
    for one in all {
        one.await.expect("task").expect("answer");
    }
    let killed = Instant::now();
    signal(first.pid.expect("ours"), Signal::KILL);
    let down = wait_for(&dolt, "down", |state| matches!(state, State::Down { .. })).await;
    let State::Down { reason, .. } = down else { unreachable!() };
    assert!(reason.contains("signal 9") && reason.contains("started again"), "{reason}");
    wait_for(&dolt, "restart", |state| matches!(state, State::Ready(ready) if ready.generation == 2)).await;
    println!("kill to ready: {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    control.rows("SELECT 1", vec![]).await.expect("answer");
    let facts = dolt.facts();
    assert_eq!(facts.restarts, 1);
    assert!(facts.last_error.is_some_and(|(_, text)| text.contains("signal 9")));
    dolt.stop().await;
}

/// A stopped process accepts connections (the kernel does) and answers nothing.
#[tokio::test]
async fn a_wedged_dolt_is_noticed_and_ended_by_sigterm() {
    let (_town, _config, dolt) = started().await;
    let pid = ready(&dolt).pid.expect("ours");
    signal(pid, Signal::STOP);
    dolt.report_lost();
    let down = wait_for(&dolt, "down", |state| matches!(state, State::Down { .. })).await;
    let State::Down { reason, .. } = down else { unreachable!() };
    assert!(reason.contains("does not answer SQL"), "{reason}");
    assert!(runs(pid), "SIGKILL would have come too early");
    // SIGTERM waits until it runs again.
    signal(pid, Signal::CONT);
    wait_for(&dolt, "restart", |state| matches!(state, State::Ready(ready) if ready.generation == 2)).await;
    dolt.stop().await;
}

#[tokio::test]
async fn a_data_dir_is_served_once() {
    let (town, first_config, dolt) = started().await;
    let mut second = first_config.clone();
    second.state_dir = town.path().join("other-state");
    match start(&second).await {
        Err(error @ StartError::Locked { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert_eq!(error.exit_code(), 4);
            assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    ready(&dolt);
    dolt.stop().await;
    let again = start(&second).await.expect("free after stop");
    again.stop().await;
}

/// A Dolt that somebody started by hand: with a database it holds the lock, without one only its
/// `sql-server.info` tells.
#[tokio::test]
async fn a_foreign_dolt_is_an_error_and_not_a_restart_loop() {
    for with_database in [false, true] {
        let town = tempfile::tempdir().expect("temp dir");
        let config = config(town.path());
        let home = town.path().join("home");
        std::fs::create_dir_all(&home).expect("mkdir");
        if with_database {
            let dolt = start(&config).await.expect("start");
            dolt.control().execute("CREATE DATABASE hq", vec![]).await.expect("create");
            dolt.stop().await;
        } else {
            std::fs::create_dir_all(&config.data_dir).expect("mkdir");
        }
        let yaml = format!(
            "data_dir: {}\nlistener:\n  host: 127.0.0.1\n  port: {}\n  socket: {}\n",
            config.data_dir.display(),
            std::net::TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address").port(),
            home.join("foreign.sock").display(),
        );
        std::fs::write(home.join("foreign.yaml"), yaml).expect("write");
        let mut foreign = Command::new(dolt_binary())
            .args(["sql-server", "--config"])
            .arg(home.join("foreign.yaml"))
            .current_dir(&home)
            .env("HOME", &home)
            .env("DOLT_ROOT_PATH", &home)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("foreign Dolt");
        let info = config.data_dir.join(".dolt/sql-server.info");
        let until = Instant::now() + DEADLINE;
        while !info.exists() {
            assert!(Instant::now() < until, "the foreign Dolt does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let named = start(&config).await;
        // Without the file only the databases' lock is left to notice it.
        std::fs::remove_file(&info).expect("remove");
        let unnamed = if with_database { Some(start(&config).await) } else { None };
        signal(foreign.id(), Signal::TERM);
        foreign.wait().expect("wait");

        match named {
            Err(error @ StartError::ForeignDolt { pid, .. }) => {
                assert_eq!(pid, Some(foreign.id()));
                assert_eq!(error.exit_code(), 4);
                assert!(error.to_string().contains("--dolt-address"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        match unnamed {
            None | Some(Err(StartError::ForeignDolt { .. })) => {}
            other => panic!("{other:?}"),
        }
        let dolt = start(&config).await.expect("free again");
        dolt.stop().await;
    }
}

fn dolt_binary() -> PathBuf {
    std::env::var_os("BRANCHLINE_DOLT")
        .map(PathBuf::from)
        .filter(|path| path.exists())
        .or_else(|| {
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/dolt")).filter(|path| path.exists())
        })
        .unwrap_or_else(|| PathBuf::from("dolt"))
}

/// In the copy that `killed_branchline` makes: becomes the Branchline that is killed.
async fn play_branchline_if_asked() {
    if let Some(town) = std::env::var_os(CHILD_OF) {
        let _dolt = start(&config(Path::new(&town))).await.expect("Dolt starts");
        std::fs::write(Path::new(&town).join("ready"), "").expect("write");
        std::future::pending::<()>().await;
    }
}

/// Runs the test of that name as a Branchline on `town`, kills it with SIGKILL, and returns its Dolt's pid.
async fn killed_branchline(test: &str, town: &Path) -> u32 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD_OF, town)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawn");
    let until = Instant::now() + DEADLINE;
    while !town.join("ready").exists() {
        assert!(Instant::now() < until, "the child does not get ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let published = std::fs::read_to_string(town.join("state/dolt.json")).expect("dolt.json");
    let published: serde_json::Value = serde_json::from_str(&published).expect("json");
    let pid = u32::try_from(published["pid"].as_u64().expect("pid")).expect("a pid");
    assert!(runs(pid));
    child.kill().expect("kill");
    child.wait().expect("wait");
    pid
}

#[tokio::test]
async fn the_next_branchline_waits_for_the_dolt_of_a_killed_one() {
    play_branchline_if_asked().await;
    let town = tempfile::tempdir().expect("temp dir");
    let pid = killed_branchline("the_next_branchline_waits_for_the_dolt_of_a_killed_one", town.path()).await;
    let dolt = start(&config(town.path())).await.expect("starts again");
    assert!(!runs(pid));
    assert_ne!(ready(&dolt).pid, Some(pid));
    dolt.stop().await;
}

#[tokio::test]
async fn a_killed_branchline_takes_dolt_along_in_order() {
    play_branchline_if_asked().await;
    let town = tempfile::tempdir().expect("temp dir");
    let pid = killed_branchline("a_killed_branchline_takes_dolt_along_in_order", town.path()).await;
    wait_gone(pid).await;
    // By SIGTERM: Dolt has taken its credentials away.
    assert!(
        !town.path().join("data/.dolt/sql-server.info").exists(),
        "it was ended before it could clean up"
    );
}

/// Directories are renamed while Dolt is stopped; it comes back, and what is uncommitted is still there.
#[tokio::test]
async fn it_is_stopped_for_a_moment_to_rename_directories() {
    let (_town, config, dolt) = started().await;
    let control = dolt.control();
    for sql in [
        "CREATE DATABASE hq",
        "CREATE TABLE hq.t (id INT PRIMARY KEY)",
        "INSERT INTO hq.t VALUES (7)",
        "CREATE DATABASE other",
    ] {
        control.execute(sql, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let (pid, generation) = (ready(&dolt).pid, ready(&dolt).generation);
    // Somebody is in the middle of something.
    let mut session = control.dedicated().await.expect("dedicated");
    session.execute("BEGIN", vec![]).await.expect("begin");
    session.execute("INSERT INTO hq.t VALUES (8)", vec![]).await.expect("insert");
    let asked = Instant::now();
    let moves = vec![Move::new("hq", "hq_before"), Move::new("other", "hq")];
    dolt.restart_with(Moves::new(moves, None)).await.expect("renamed");
    println!("stopped, renamed, and ready again: {:?}", asked.elapsed());
    assert!(ready(&dolt).generation > generation && ready(&dolt).pid != pid);
    let rows = control.rows("SELECT COUNT(*), MAX(id) FROM hq_before.t", vec![]).await.expect("answer");
    assert_eq!((rows[0].get::<i64, _>(0), rows[0].get::<i64, _>(1)), (Some(1), Some(7)));
    assert!(control.rows("SELECT * FROM hq.t", vec![]).await.is_err(), "it is the other one");
    let facts = dolt.facts();
    assert!(facts.alerts.is_empty() && facts.last_error.is_none() && facts.restarts == 0, "{facts:?}");
    assert!(!config.state_dir.join("dolt-moves.json").exists());

    // What can't be done leaves all as it was, and Dolt serves again.
    let moves = vec![Move::new("hq", "hq_away"), Move::new("none", "hq")];
    let error = dolt.restart_with(Moves::new(moves, None)).await.expect_err("there is no such directory");
    assert!(matches!(&error, RestartError::AsBefore(why) if why.contains("neither is there")), "{error}");
    wait_for(&dolt, "it is back", |state| matches!(state, State::Ready(_))).await;
    control.rows("SELECT * FROM hq.dolt_branches", vec![]).await.expect("answer");
    assert!(!config.state_dir.join("dolt-moves.json").exists());
    dolt.stop().await;
    let error = dolt.restart_with(Moves::new(vec![], None)).await.expect_err("it is stopped");
    assert!(matches!(error, RestartError::AsBefore(_) | RestartError::HalfWay(_)), "{error}");
}

/// What was written down is done before any Dolt opens anything; what can't be done is told, with the file.
#[tokio::test]
async fn what_was_not_renamed_is_renamed_by_the_next_start() {
    let (_town, config, dolt) = started().await;
    dolt.control().execute("CREATE DATABASE hq", vec![]).await.expect("create");
    dolt.stop().await;
    let file = config.state_dir.join("dolt-moves.json");
    let wants = |from: &str| {
        let text = format!(r#"{{"version": 1, "moves": [{{"from": "{from}", "to": "hq_before"}}]}}"#);
        std::fs::write(&file, text).expect("written");
    };
    wants("none");
    let error = start(&config).await.expect_err("there is no such directory").to_string();
    for part in ["dolt-moves.json", "data/none", "data/hq_before", "neither is there", "remove the file"] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    wants("hq");
    let dolt = start(&config).await.expect("starts");
    assert!(!file.exists());
    dolt.control().rows("SELECT * FROM hq_before.dolt_branches", vec![]).await.expect("answer");
    dolt.stop().await;
}

#[tokio::test]
async fn a_bad_start_says_why_and_leaves_nothing_running() {
    let town = tempfile::tempdir().expect("temp dir");
    let mut config = config(town.path());
    std::fs::create_dir_all(&config.data_dir).expect("mkdir");
    // A database directory that is none: Dolt refuses it or serves without it; a broken account file it refuses.
    std::fs::create_dir_all(config.data_dir.join(".doltcfg")).expect("mkdir");
    std::fs::write(config.data_dir.join(".doltcfg/privileges.db"), "not a privileges file").expect("write");
    match start(&config).await {
        Err(error @ StartError::Failed { .. }) => {
            assert_eq!(error.exit_code(), 1);
            assert!(error.to_string().contains("last words"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!config.state_dir.join("dolt.json").exists());

    config.data_dir = town.path().join("file");
    std::fs::write(&config.data_dir, "").expect("write");
    let error = start(&config).await.expect_err("a file").to_string();
    assert!(error.contains("is not a directory"), "{error}");
}

#[tokio::test]
async fn an_external_server_is_watched_and_never_stopped() {
    let (_town, _config, ours) = started().await;
    let endpoint = ready(&ours).endpoint.clone();
    ours.control().execute("CREATE USER watcher@'%' IDENTIFIED BY 'pw'", vec![]).await.expect("user");
    ours.control().execute("GRANT ALL ON *.* TO watcher@'%'", vec![]).await.expect("grant");
    let elsewhere = tempfile::tempdir().expect("temp dir");
    let external = |address: String, password: &str| {
        let mut config = config(elsewhere.path());
        let password = Secret::new(password);
        config.dolt.source = DoltSource::External { address, user: "watcher".into(), password };
        config
    };
    let tcp = endpoint.tcp.expect("tcp").to_string();

    let refused = start(&external(tcp.clone(), "wrong")).await.expect("starts, and is down");
    let State::Down { reason, .. } = refused.state() else { panic!("{:?}", refused.state()) };
    assert!(reason.contains("1045") && !reason.contains("wrong"), "{reason}");
    refused.stop().await;

    let dolt = start(&external(tcp, "pw")).await.expect("starts");
    let there = ready(&dolt);
    assert_eq!((there.pid, there.endpoint.socket.clone()), (None, None));
    dolt.control().rows("SELECT 1", vec![]).await.expect("answer");
    // It goes and comes back, on another port: this one stays down and says why.
    let pid = ready(&ours).pid.expect("ours");
    signal(pid, Signal::KILL);
    let down = wait_for(&dolt, "down", |state| matches!(state, State::Down { .. })).await;
    let State::Down { reason, .. } = down else { unreachable!() };
    assert!(reason.contains("looking again"), "{reason}");
    dolt.stop().await;
    assert!(!elsewhere.path().join("data").exists(), "an external server's data is not ours to lock");
    wait_for(&ours, "restart", |state| matches!(state, State::Ready(_))).await;
    ours.stop().await;
}
