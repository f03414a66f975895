//! The journal's root hash against the real server: it moves with every write, before the answer, and with nothing else.

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use branchline::dolt::journal::{JOURNAL, JournalCursor, Journals, RootHash};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use support::direct::{root, run};
use support::plain::PlainDolt;

const DEADLINE: Duration = Duration::from_secs(60);
const COMMITS: u32 = 500;

/// A Dolt with database `d`: `t` of one row, `digits` of 1,000, `big` of none.
async fn with_tables() -> (PlainDolt, Conn, Journals) {
    let dolt = PlainDolt::start();
    let mut conn = root(dolt.port()).await;
    for sql in [
        "CREATE DATABASE d",
        "USE d",
        "CREATE TABLE t (id INT PRIMARY KEY, n INT)",
        "CREATE TABLE digits (i INT PRIMARY KEY)",
        "INSERT INTO digits WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 1000) SELECT i FROM s",
        "CREATE TABLE big (id INT PRIMARY KEY, v TEXT)",
        "INSERT INTO t VALUES (1, 0)",
        "CALL DOLT_COMMIT('-Am', 'tables')",
    ] {
        run(&mut conn, sql).await;
    }
    let journals = Journals::new(&dolt.data_dir());
    (dolt, conn, journals)
}

fn journal(dolt: &PlainDolt) -> PathBuf {
    dolt.data_dir().join("d/.dolt/noms").join(JOURNAL)
}

/// What a client sees of all refs and working sets.
async fn seen(conn: &mut Conn) -> Vec<(String, String, String, String)> {
    run(conn, "USE d").await;
    let branches: Vec<String> =
        conn.query("SELECT name FROM dolt_branches ORDER BY name").await.expect("branches");
    let mut seen = Vec::new();
    for branch in branches {
        let [head, staged, working] = ["HEAD", "STAGED", "WORKING"].map(|what| {
            let name = if what == "HEAD" { &branch } else { what };
            format!("SELECT DOLT_HASHOF_DB('{name}')")
        });
        run(conn, &format!("USE `d/{branch}`")).await;
        let mut ask =
            async |sql: String| -> String { conn.query_first(sql).await.expect("a hash").expect("a row") };
        seen.push((branch, ask(head).await, ask(staged).await, ask(working).await));
    }
    run(conn, "USE d").await;
    seen
}

#[tokio::test]
async fn the_root_moves_with_every_write_and_with_nothing_else() {
    let (dolt, mut conn, journals) = with_tables().await;
    let path = journal(&dolt);
    let mut cursor = JournalCursor::default();
    let mut states = Vec::new();
    // Statement by statement: whether the root moves with it.
    for (sql, moves) in [
        ("UPDATE t SET n = n + 1", true),
        ("UPDATE t SET n = n", false),
        ("SELECT COUNT(*) FROM digits a, digits b", false),
        ("INSERT INTO t VALUES (2, 0), (3, 0)", true),
        ("BEGIN", false),
        ("UPDATE t SET n = n + 1", false),
        ("COMMIT", true),
        ("BEGIN", false),
        ("UPDATE t SET n = n + 1", false),
        ("ROLLBACK", false),
        ("CREATE TABLE u (id INT PRIMARY KEY)", true),
        ("ALTER TABLE u ADD COLUMN v INT", true),
        ("CREATE INDEX v ON u (v)", true),
        ("CREATE VIEW w AS SELECT * FROM u", true),
        ("CREATE TRIGGER tr BEFORE INSERT ON u FOR EACH ROW SET new.v = 1", true),
        ("CREATE PROCEDURE p() INSERT INTO u VALUES (1, 1)", true),
        ("CALL p()", true),
        ("DROP TRIGGER tr", true),
        ("CREATE TEMPORARY TABLE tmp (id INT)", false),
        ("INSERT INTO tmp VALUES (1)", false),
        ("CALL DOLT_ADD('-A')", true),
        ("CALL DOLT_COMMIT('-m', 'one')", true),
        ("CALL DOLT_BRANCH('b')", true),
        ("CALL DOLT_CHECKOUT('b')", false),
        ("INSERT INTO t VALUES (4, 0)", true),
        ("CALL DOLT_COMMIT('-Am', 'two')", true),
        ("CALL DOLT_CHECKOUT('main')", false),
        ("CALL DOLT_MERGE('b')", true),
        ("INSERT INTO t VALUES (5, 0)", true),
        ("CALL DOLT_RESET('--hard')", true),
        ("CALL DOLT_RESET('--soft', 'HEAD~1')", true),
        ("CALL DOLT_TAG('v1')", true),
        ("CALL DOLT_TAG('-d', 'v1')", true),
        ("CALL DOLT_CHECKOUT('-b', 'c')", true),
        ("CALL DOLT_CHECKOUT('main')", false),
        ("CALL DOLT_BRANCH('-D', 'c')", true),
        ("INSERT INTO t VALUES (50, 0)", true),
        ("CALL DOLT_STASH('push', 's')", true),
        ("CALL DOLT_STASH('pop', 's')", true),
        ("CALL DOLT_COMMIT('-Am', 'three')", true),
        ("CALL DOLT_REVERT('HEAD')", true),
        ("BEGIN", false),
        ("INSERT INTO t VALUES (6, 0)", false),
        ("CALL DOLT_COMMIT('-Am', 'four')", true),
        ("COMMIT", false),
        ("CALL DOLT_CHECKOUT('b')", false),
        ("INSERT INTO t VALUES (7, 0)", true),
        ("CALL DOLT_COMMIT('-Am', 'five')", true),
        ("CALL DOLT_CHECKOUT('main')", false),
        ("CALL DOLT_MERGE('b')", true),
        ("CALL DOLT_RESET('--hard', 'HEAD~1')", true),
        ("INSERT INTO t VALUES (8, 0)", true),
        ("BEGIN", false),
        ("INSERT INTO t VALUES (9, 0)", false),
        ("CREATE TABLE x (id INT)", true),
        ("ROLLBACK", false),
        ("CALL DOLT_CLEAN()", true),
        ("CALL DOLT_COMMIT('-Am', 'six', '--amend')", true),
        ("CALL DOLT_COMMIT('--allow-empty', '-m', 'seven')", true),
        ("CALL DOLT_BRANCH('-m', 'b', 'bb')", true),
        ("CALL DOLT_BRANCH('-m', 'bb', 'b')", true),
        ("TRUNCATE TABLE digits", true),
        ("DROP TABLE u", true),
        ("SET @@GLOBAL.max_connections = 500", false),
        ("CREATE USER u1", false),
        ("CALL DOLT_REMOTE('add', 'o', 'file:///nowhere/r')", false),
        ("ANALYZE TABLE t", false),
    ] {
        let before = cursor.advance(&path).expect("read").expect("a root");
        let count = cursor.moves();
        run(&mut conn, sql).await;
        let after = cursor.advance(&path).expect("read").expect("a root");
        println!("{:2} moves: {sql}", cursor.moves() - count);
        assert_eq!(before != after, moves, "{sql}");
        assert_eq!(journals.root("d"), Some(after));
        states.push(after);
    }
    let branches = seen(&mut conn).await;
    assert_eq!(branches.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["b", "main"]);
    // `main` before and after a reset to where it was.
    let here = (journals.root("d"), seen(&mut conn).await);
    run(&mut conn, "INSERT INTO t VALUES (100, 0)").await;
    let there = (journals.root("d"), seen(&mut conn).await);
    assert!(here.0 != there.0 && here.1 != there.1);
    let mut other = root(dolt.port()).await;
    assert_eq!(seen(&mut other).await, there.1);
    assert_eq!(journals.root("d"), there.0, "reading does not move it");
}

#[tokio::test]
async fn the_root_has_moved_before_the_answer_comes() {
    let (dolt, mut conn, journals) = with_tables().await;
    let mut looks = Duration::ZERO;
    let mut last = journals.root("d").expect("a root");
    for number in 0..COMMITS {
        let (statements, after): (&[&str], &str) = match number % 10 {
            4 => (&["BEGIN", "UPDATE t SET n = n + 1", "COMMIT"], "SELECT 1"),
            // After DOLT_COMMIT in a transaction Dolt ignores autocommit until the next COMMIT.
            9 => (&["BEGIN", "UPDATE t SET n = n + 1", "CALL DOLT_COMMIT('-Am', 'x')"], "COMMIT"),
            _ => (&["UPDATE t SET n = n + 1"], "SELECT 1"),
        };
        for sql in statements {
            run(&mut conn, sql).await;
        }
        let begun = Instant::now();
        let now = journals.root("d").expect("a root");
        looks += begun.elapsed();
        assert_ne!(now, last, "commit {number}");
        last = now;
        run(&mut conn, after).await;
    }
    println!("a look after a commit: {:?}", looks / COMMITS);
    let n: u32 = conn.query_first("SELECT n FROM t").await.expect("read").expect("a row");
    assert_eq!(n, COMMITS);
    let begun = Instant::now();
    assert_eq!(Journals::new(&dolt.data_dir()).root("d"), Some(last));
    let size = std::fs::metadata(journal(&dolt)).expect("the journal").len();
    println!("from the beginning, {size} bytes: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_killed_statement_does_not_move_the_root() {
    let (dolt, mut conn, journals) = with_tables().await;
    let before = journals.root("d").expect("a root");
    let mut writer = root(dolt.port()).await;
    run(&mut writer, "USE d").await;
    let id = writer.id();
    let insert =
        "INSERT INTO big SELECT a.i * 1000 + b.i, REPEAT(MD5(a.i * 1000 + b.i), 20) FROM digits a, digits b";
    let statement = tokio::spawn(async move { writer.query_drop(insert).await });
    let listed = |list: Vec<(u64, Option<String>)>| list.into_iter().find(|(is, _)| *is == u64::from(id));
    let ask = "SELECT id, info FROM information_schema.processlist";
    let begun = Instant::now();
    let size = |dolt: &PlainDolt| std::fs::metadata(journal(dolt)).expect("the journal").len();
    let at_first = size(&dolt);
    loop {
        assert!(begun.elapsed() < DEADLINE, "the INSERT was not seen at work");
        let list = conn.query(ask).await.expect("the list");
        let is_at_work =
            listed(list).is_some_and(|(_, info)| info.is_some_and(|info| info.contains("INSERT")));
        if is_at_work && begun.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    run(&mut conn, &format!("KILL {id}")).await;
    while listed(conn.query(ask).await.expect("the list")).is_some() {
        assert!(begun.elapsed() < DEADLINE, "the killed one is still there");
    }
    assert!(statement.await.expect("no panic").is_err());
    println!("the killed INSERT appended {} bytes", size(&dolt) - at_first);
    assert_eq!(journals.root("d"), Some(before));
    let rows: u64 = conn.query_first("SELECT COUNT(*) FROM d.big").await.expect("read").expect("a row");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_crash_and_a_restart_leave_the_root() {
    let (mut dolt, conn, journals) = with_tables().await;
    drop(conn);
    for round in 0..5_u32 {
        let port = dolt.port();
        let (acknowledged, mut seen) = tokio::sync::watch::channel(0_u32);
        let writer = tokio::spawn(async move {
            let mut conn = root(port).await;
            run(&mut conn, "USE d").await;
            while conn.query_drop("UPDATE t SET n = n + 1").await.is_ok() {
                acknowledged.send_modify(|count| *count += 1);
            }
            *acknowledged.borrow()
        });
        seen.wait_for(|count| *count >= 20 + round).await.expect("the writer lives");
        dolt.kill();
        let acknowledged = writer.await.expect("no panic");
        let dead = journals.root("d").expect("a root");
        dolt.start_again();
        let mut conn = root(dolt.port()).await;
        run(&mut conn, "USE d").await;
        let n: u32 = conn.query_first("SELECT n FROM t").await.expect("read").expect("a row");
        assert_eq!(journals.root("d"), Some(dead), "the restart moved it");
        assert_eq!(Journals::new(&dolt.data_dir()).root("d"), Some(dead));
        assert!(n == acknowledged || n == acknowledged + 1, "{n} of {acknowledged}");
        run(&mut conn, "UPDATE t SET n = 0").await;
        assert_ne!(journals.root("d"), Some(dead));
    }
}

#[tokio::test]
async fn a_gc_leaves_the_root() {
    let (mut dolt, mut conn, journals) = with_tables().await;
    let path = journal(&dolt);
    let before = journals.root("d").expect("a root");
    run(&mut conn, "CALL DOLT_GC()").await;
    println!("after the GC the journal is there: {}", path.exists());
    assert_eq!(journals.root("d"), Some(before));
    run(&mut conn, "USE d").await;
    let hashes = seen(&mut conn).await;
    assert_eq!(journals.root("d"), Some(before));
    run(&mut conn, "INSERT INTO t VALUES (9, 9)").await;
    let after: RootHash = journals.root("d").expect("a root");
    assert_ne!(after, before);
    assert_ne!(seen(&mut conn).await, hashes);
    run(&mut conn, "CALL DOLT_GC('--full')").await;
    assert_eq!(journals.root("d"), Some(after));
    drop(conn);
    dolt.end();
    assert_eq!(journals.root("d"), Some(after));
    dolt.start_again();
    assert_eq!(journals.root("d"), Some(after));
    let mut conn = root(dolt.port()).await;
    run(&mut conn, "DROP DATABASE d").await;
    assert_eq!(journals.root("d"), None);
    run(&mut conn, "CREATE DATABASE d").await;
    assert!(journals.root("d").is_some_and(|new| new != after));
}
