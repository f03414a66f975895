//! What became of writes whose connection was cut, against the real server: each verdict is held against the data.

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline::config::{Config, DoltSource, Secret};
use branchline::dolt::journal::Journals;
use branchline::dolt::{Dolt, Ready, State};
use branchline::statement::fate::{Fate, StateBefore, Triple, Verdict, Watched, What, find_out};
use rustix::process::{Pid, Signal, kill_process};
use support::plain::PlainDolt;
use support::raw::{Client, Login};
use support::settings::settings;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

async fn start(config: &Config) -> Dolt {
    let shim = PathBuf::from(env!("CARGO_BIN_EXE_branchline"));
    let started = tokio::time::timeout(DEADLINE, Dolt::start_through(config, shim)).await;
    started.expect("start ends in time").expect("Dolt starts")
}

fn ready(dolt: &Dolt) -> Arc<Ready> {
    match dolt.state() {
        State::Ready(ready) => ready,
        other => panic!("not ready: {other:?}"),
    }
}

/// How the connection is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    HangUp,
    /// SIGKILL for Dolt at once.
    Crash,
    /// SIGKILL for Dolt once the write has happened.
    CrashOnceMoved,
}

/// A Dolt with a database `d`: `t` of one row that counts.
struct Scene {
    dolt: Dolt,
    journals: Option<Journals>,
    _town: TempDir,
}

impl Scene {
    async fn private() -> Self {
        let town = tempfile::tempdir().expect("temp dir");
        let config = settings(town.path(), DoltSource::Private { binary: None });
        let dolt = start(&config).await;
        let journals = Some(Journals::new(&config.data_dir));
        Self { dolt, journals, _town: town }.with_tables()
    }

    async fn external(plain: &PlainDolt) -> Self {
        let town = tempfile::tempdir().expect("temp dir");
        let addr = SocketAddr::from(([127, 0, 0, 1], plain.port()));
        let source = DoltSource::External {
            address: addr.to_string(),
            user: "root".into(),
            password: Secret::new(""),
        };
        let dolt = start(&settings(town.path(), source)).await;
        Self { dolt, journals: None, _town: town }.with_tables()
    }

    fn with_tables(self) -> Self {
        let mut root = Client::root(self.addr());
        for sql in [
            "CREATE DATABASE d",
            "USE d",
            "CREATE TABLE t (id INT PRIMARY KEY, n INT)",
            "INSERT INTO t VALUES (1, 0)",
            "CALL DOLT_COMMIT('-Am', 'tables')",
        ] {
            root.run(sql);
        }
        root.quit();
        self
    }

    fn addr(&self) -> SocketAddr {
        ready(&self.dolt).endpoint.tcp.expect("a TCP endpoint")
    }

    fn client(&self) -> Client {
        Client::tcp(self.addr(), &Login::root().on("d")).expect("root logs in")
    }

    fn before(&self, client: &mut Client) -> StateBefore {
        match &self.journals {
            Some(journals) => StateBefore::Root(journals.root("d").expect("a root")),
            None => {
                let reply = client.run(Triple::QUESTION);
                StateBefore::Triple(Triple::parse(&reply.rows[0]).expect("a triple"))
            }
        }
    }

    /// Sends the last statement after the others were answered, cuts the connection, and asks for its fate.
    async fn cut(&self, statements: &[&str], what: What, cut: Cut) -> (Verdict, Duration) {
        let generation = ready(&self.dolt).generation;
        let mut client = self.client();
        let (last, first) = statements.split_last().expect("a statement");
        let before = self.before(&mut client);
        for sql in first {
            client.run(sql);
        }
        let sent_at = Instant::now();
        client.send_query(last).expect("sent");
        let has_moved = || self.before(&mut self.client()) != before;
        while cut == Cut::CrashOnceMoved && !has_moved() {
            assert!(sent_at.elapsed() < DEADLINE, "{last} does not happen");
        }
        if cut != Cut::HangUp {
            let pid = ready(&self.dolt).pid.expect("ours");
            kill_process(Pid::from_raw(pid as i32).expect("a pid"), Signal::KILL).expect("signal");
        }
        let backend = client.id;
        client.wire.hang_up();
        let watched = vec![Watched { database: "d".into(), branch: "main".into(), before }];
        let fate = Fate {
            dolt: &self.dolt,
            journals: self.journals.as_ref(),
            backend,
            generation,
            what,
            watched,
            sent_at,
            others: &|_| false,
            deadline: Instant::now() + DEADLINE,
        };
        (find_out(fate).await, sent_at.elapsed())
    }

    fn value(&self, sql: &str) -> String {
        let mut client = self.client();
        let value = client.value(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
        client.quit();
        value
    }

    /// Cuts it and holds the verdict against the data; whether it had happened.
    async fn held_against_the_data(&self, statements: &[&str], what: What, cut: Cut) -> (bool, Duration) {
        let looks = ["SELECT SUM(n) FROM t", "SELECT DOLT_HASHOF('main')"].map(|sql| (sql, self.value(sql)));
        let wants_head = matches!(what, What::DoltCommit { .. });
        let (verdict, took) = self.cut(statements, what.clone(), cut).await;
        let now = looks.clone().map(|(sql, _)| self.value(sql));
        let changed = looks.iter().zip(&now).any(|((_, before), now)| before != now);
        let want = match (changed, &what) {
            (false, _) => Verdict::DidNotHappen,
            (true, What::DoltCommit { .. }) => Verdict::Happened { head: Some(now[1].clone()) },
            (true, What::Commit) => Verdict::Happened { head: None },
            (true, _) => Verdict::HappenedAnswerLost,
        };
        assert_eq!(verdict, want, "{statements:?}");
        assert!(!wants_head || !changed || looks[1].1 != now[1], "{statements:?}: no new commit");
        (changed, took)
    }
}

fn dolt_commit(message: &str) -> What {
    What::DoltCommit {
        database: "d".into(),
        branch: "main".into(),
        message: Some(message.into()),
        head_before: None,
    }
}

/// Fifty cuts of each kind, some of statements that take a while, so that the KILL meets them at work.
async fn cut_fifty_times(scene: &Scene) {
    let mut total = 0;
    for (name, what, statements) in [
        ("quick write", What::Write, ["UPDATE t SET n = n + 1"].as_slice()),
        ("slow write", What::Write, &["UPDATE t SET n = n + 1 + SLEEP(MS)"]),
        ("COMMIT", What::Commit, &["BEGIN", "UPDATE t SET n = n + 1", "COMMIT"]),
        (
            "DOLT_COMMIT",
            dolt_commit("x"),
            &["BEGIN", "UPDATE t SET n = n + 1", "CALL DOLT_COMMIT('-Am', 'x')"],
        ),
    ] {
        let (mut happened, mut slowest, mut all) = (0, Duration::ZERO, Duration::ZERO);
        for round in 0..50 {
            let seconds = format!("{:.5}", f64::from(round) / 20_000.0);
            let statements: Vec<String> = statements.iter().map(|sql| sql.replace("MS", &seconds)).collect();
            let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
            let (changed, took) = scene.held_against_the_data(&statements, what.clone(), Cut::HangUp).await;
            happened += u32::from(changed);
            slowest = slowest.max(took);
            all += took;
        }
        println!("{name}: {happened} of 50 happened; {:?} each, {slowest:?} at most", all / 50);
        total += happened;
    }
    assert!((1..200).contains(&total), "both ends were to be met: {total} of 200 happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verdict_is_what_the_data_shows() {
    let scene = Scene::private().await;
    cut_fifty_times(&scene).await;
    // Nothing to commit: the SQL transaction is committed, and no Dolt commit is made.
    scene.client().run("CALL DOLT_COMMIT('--allow-empty', '-Am', 'all')");
    let statements = ["BEGIN", "UPDATE t SET n = n + 1", "CALL DOLT_COMMIT('-m', 'x')"];
    let mut verdicts = Vec::new();
    while verdicts.last() != Some(&Verdict::HappenedAnswerLost) {
        let before = scene.value("SELECT n FROM t");
        verdicts.push(scene.cut(&statements, dolt_commit("x"), Cut::HangUp).await.0);
        let changed = scene.value("SELECT n FROM t") != before;
        let want = if changed { Verdict::HappenedAnswerLost } else { Verdict::DidNotHappen };
        assert_eq!(verdicts.last(), Some(&want));
        assert!(verdicts.len() < 50, "it never happens");
    }
    scene.dolt.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_servers_dolt_is_asked_for_its_heads() {
    let plain = PlainDolt::start();
    let scene = Scene::external(&plain).await;
    cut_fifty_times(&scene).await;
    scene.dolt.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_dolt_is_no_doubt() {
    let scene = Scene::private().await;
    // Not more often: then Dolt is left alone for a minute.
    let mut outcomes = Vec::new();
    for (statements, cut) in [
        (["BEGIN", "UPDATE t SET n = n + 1", "COMMIT"].as_slice(), Cut::CrashOnceMoved),
        (&["UPDATE t SET n = n + 1 + SLEEP(5)"], Cut::Crash),
        (&["BEGIN", "UPDATE t SET n = n + 1", "COMMIT"], Cut::Crash),
    ] {
        let what = if statements.len() > 1 { What::Commit } else { What::Write };
        outcomes.push(scene.crashed(statements, what, cut).await);
    }
    println!("happened before the crash: {outcomes:?}");
    assert!(outcomes[0].0 && !outcomes[1].0);
    scene.dolt.stop().await;
}

impl Scene {
    async fn crashed(&self, statements: &[&str], what: What, cut: Cut) -> (bool, Duration) {
        let pid = ready(&self.dolt).pid;
        // Dolt has another port with each start: the data is read through the control connection.
        let before = self.n().await;
        let (verdict, took) = self.cut(statements, what.clone(), cut).await;
        assert_ne!(ready(&self.dolt).pid, pid);
        let changed = self.n().await != before;
        let want = match (changed, &what) {
            (false, _) => Verdict::DidNotHappen,
            (true, What::Commit) => Verdict::Happened { head: None },
            (true, _) => Verdict::HappenedAnswerLost,
        };
        assert_eq!(verdict, want, "{statements:?}");
        (changed, took)
    }

    async fn n(&self) -> i32 {
        let rows = self.dolt.control().rows("SELECT n FROM d.t", Vec::new()).await.expect("read");
        let (n,): (String,) = mysql_async::from_row(rows.into_iter().next().expect("a row"));
        n.parse().expect("a number")
    }
}
