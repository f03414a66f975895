//! Forks under writers, of databases without a `main`, and after a crash, against the real server.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use branchline::branch::fork::{UNFINISHED_PREFIX, fork};
use branchline::branch::recover::{Recovered, recover};
use mysql_async::Conn;
use mysql_async::prelude::{FromValue, Queryable};
use support::direct::{root, run_all as run};
use support::plain::PlainDolt;

const WRITERS: u32 = 8;
const FORKS: u32 = 20;

async fn one<T: FromValue + Send + 'static>(conn: &mut Conn, sql: &str) -> T {
    let value: Option<T> = conn.query_first(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    value.expect("a row")
}

async fn branches(conn: &mut Conn) -> Vec<String> {
    conn.query("SELECT name FROM f.dolt_branches ORDER BY name").await.expect("branches")
}

/// Database `f` with a table of two committed rows and one that isn't.
async fn with_uncommitted_row(conn: &mut Conn) {
    run(
        conn,
        &[
            "CREATE DATABASE f",
            "USE f",
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2)",
            "CALL DOLT_COMMIT('-Am', 'init')",
            "INSERT INTO t VALUES (3)",
        ],
    )
    .await;
}

#[tokio::test]
async fn forks_under_writers_are_snapshots() {
    let dolt = PlainDolt::start();
    let mut conn = root(dolt.port()).await;
    run(
        &mut conn,
        &[
            "CREATE DATABASE f",
            "USE f",
            "CREATE TABLE taken (id INT PRIMARY KEY, n INT)",
            "CREATE TABLE given (id INT PRIMARY KEY, n INT, FOREIGN KEY (id) REFERENCES taken (id))",
            "CREATE TABLE events (id VARCHAR(36) PRIMARY KEY, taken INT, FOREIGN KEY (taken) REFERENCES taken (id))",
            "CREATE TABLE audit (id VARCHAR(36) PRIMARY KEY)",
            "CREATE TRIGGER tr AFTER INSERT ON events FOR EACH ROW INSERT INTO audit VALUES (new.id)",
            "CALL DOLT_COMMIT('-Am', 'init')",
        ],
    )
    .await;
    for id in 0..WRITERS {
        run(
            &mut conn,
            &[&format!("INSERT INTO taken VALUES ({id}, 0)"), &format!("INSERT INTO given VALUES ({id}, 0)")],
        )
        .await;
    }
    let head: String = one(&mut conn, "SELECT dolt_hashof('main')").await;

    let ended = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for id in 0..WRITERS {
        let (ended, written, port) = (Arc::clone(&ended), Arc::clone(&written), dolt.port());
        writers.spawn(async move {
            let mut conn = root(port).await;
            run(&mut conn, &["USE f"]).await;
            let mut rounds = 0;
            while !ended.load(Ordering::Acquire) {
                // Each has its own rows, so that none of this conflicts.
                let statements = [
                    "BEGIN".to_owned(),
                    format!("UPDATE taken SET n = n - 1 WHERE id = {id}"),
                    format!("UPDATE given SET n = n + 1 WHERE id = {id}"),
                    "COMMIT".to_owned(),
                    format!("INSERT INTO events VALUES (UUID(), {id})"),
                ];
                for sql in statements {
                    run(&mut conn, &[&sql]).await;
                }
                rounds += 1;
                written.fetch_add(1, Ordering::AcqRel);
            }
            (id, rounds)
        });
    }
    let mut control = root(dolt.port()).await;
    let mut copied = 0;
    for number in 0..FORKS {
        let before = written.load(Ordering::Acquire);
        let name = format!("polecat-{number}");
        let forked = fork(&mut control, "f", &name).await.expect("forked while others write");
        copied += forked.tables_copied;
        run(&mut conn, &[&format!("USE `f/{name}`")]).await;
        let sums: i64 =
            one(&mut conn, "SELECT (SELECT SUM(n) FROM taken) + (SELECT SUM(n) FROM given)").await;
        assert_eq!(sums, 0, "{name} has half of a transaction");
        let unaudited: i64 =
            one(&mut conn, "SELECT (SELECT COUNT(*) FROM events) - (SELECT COUNT(*) FROM audit)").await;
        assert_eq!(unaudited, 0, "{name} has an event without what its trigger wrote");
        let given: i64 = one(&mut conn, "SELECT CAST(SUM(n) AS SIGNED) FROM given").await;
        assert!(given >= i64::try_from(before).expect("few"), "{name}: {given} of {before} transactions");
    }
    ended.store(true, Ordering::Release);
    let rounds = writers.join_all().await;
    assert!(copied > 0, "main's rows were uncommitted");
    run(&mut conn, &["USE `f/main`"]).await;
    for (id, rounds) in &rounds {
        let given: i64 = one(&mut conn, &format!("SELECT n FROM given WHERE id = {id}")).await;
        assert_eq!(given, i64::from(*rounds), "what writer {id} wrote to main is there");
    }
    let events: i64 = one(&mut conn, "SELECT COUNT(*) FROM audit").await;
    assert_eq!(events, rounds.iter().map(|(_, rounds)| i64::from(*rounds)).sum::<i64>());
    assert_eq!(
        one::<String>(&mut conn, "SELECT dolt_hashof('main')").await,
        head,
        "main's HEAD did not move"
    );
    assert_eq!(branches(&mut conn).await.len(), 1 + FORKS as usize, "nothing unfinished is left");
}

#[tokio::test]
async fn the_database_s_default_branch_is_forked_whatever_its_name() {
    let dolt = PlainDolt::start();
    let mut conn = root(dolt.port()).await;
    with_uncommitted_row(&mut conn).await;
    run(&mut conn, &["CALL DOLT_BRANCH('trunk')", "SET @@GLOBAL.f_default_branch = 'trunk'"]).await;
    run(&mut conn, &["USE `f/trunk`", "INSERT INTO t VALUES (4)"]).await;
    let mut control = root(dolt.port()).await;
    fork(&mut control, "f", "polecat-x").await.expect("forked");
    run(&mut conn, &["USE `f/polecat-x`"]).await;
    let rows: Vec<i64> = conn.query("SELECT id FROM t ORDER BY id").await.expect("rows");
    assert_eq!(rows, [1, 2, 4]);
    assert_eq!(branches(&mut conn).await, ["main", "polecat-x", "trunk"]);
}

#[tokio::test]
async fn a_refusal_names_what_to_run_and_that_helps() {
    let dolt = PlainDolt::start();
    for uncommitted in [
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET new.id = new.id + 0",
        "CREATE PROCEDURE pp() SELECT 1",
    ] {
        let mut conn = root(dolt.port()).await;
        with_uncommitted_row(&mut conn).await;
        run(&mut conn, &[uncommitted]).await;
        let refused = fork(&mut root(dolt.port()).await, "f", "polecat-x").await.expect_err(uncommitted);
        assert_eq!(
            refused.to_string(),
            "cannot fork polecat-x from main of f: it has uncommitted triggers, procedures, or settings of Dolt's \
             own tables, or its schema was changed meanwhile; Dolt-commit there first: USE `f/main`; CALL DOLT_COMMIT('-Am', '…')"
        );
        run(&mut conn, &["USE `f/main`", "CALL DOLT_COMMIT('-Am', '…')"]).await;
        fork(&mut root(dolt.port()).await, "f", "polecat-x").await.expect(uncommitted);
        run(&mut conn, &["USE mysql", "DROP DATABASE f"]).await;
    }
}

/// How far `x` had come.
#[derive(Clone, Copy, PartialEq)]
enum Named {
    No,
    WithoutRows,
    WithRows,
}

#[tokio::test]
async fn forks_that_were_cut_off_leave_nothing_half_made() {
    use Named::{No, WithRows, WithoutRows};
    let dolt = PlainDolt::start();
    let mut conn = root(dolt.port()).await;
    with_uncommitted_row(&mut conn).await;
    run(&mut conn, &["INSERT INTO dolt_ignore VALUES ('wisps', true)"]).await;
    run(&mut conn, &["CALL DOLT_ADD('dolt_ignore')", "CALL DOLT_COMMIT('-m', 'ignore')"]).await;
    let main: String = one(&mut conn, "SELECT dolt_hashof_db()").await;
    let unfinished = format!("{UNFINISHED_PREFIX}x");
    let write = "INSERT INTO t VALUES (9)";
    let commit = "CALL DOLT_COMMIT('--allow-empty', '-m', 'mine')";
    let ignored = "CREATE TABLE wisps (id INT PRIMARY KEY)";
    // What somebody did on `x` after that; what is done about it; the rows of `x` then.
    for (named, then, want, rows) in [
        (No, None, Recovered::Removed, None),
        (WithoutRows, None, Recovered::RemovedWithName, None),
        (WithRows, None, Recovered::Complete, Some(&[1, 2, 3][..])),
        (WithRows, Some(write), Recovered::LeftAsItIs, Some(&[1, 2, 3, 9])),
        (WithoutRows, Some(write), Recovered::LeftAsItIs, Some(&[1, 2, 9])),
        (WithoutRows, Some(commit), Recovered::LeftAsItIs, Some(&[1, 2])),
        (WithoutRows, Some(ignored), Recovered::LeftAsItIs, Some(&[1, 2])),
    ] {
        let mut control = root(dolt.port()).await;
        if named == WithRows {
            fork(&mut control, "f", "x").await.expect("forked");
        }
        fork(&mut control, "f", &unfinished).await.expect("built");
        if named == WithoutRows {
            run(&mut conn, &["USE f"]).await;
            conn.exec_drop("CALL DOLT_BRANCH('x', ?)", (&unfinished,)).await.expect("made");
        }
        if let Some(sql) = then {
            run(&mut conn, &["USE `f/x`", sql]).await;
        }
        let mut control = root(dolt.port()).await;
        assert_eq!(recover(&mut control, "f", "x").await.expect("recovered"), want, "{then:?}");
        assert_eq!(recover(&mut control, "f", "x").await.expect("again"), Recovered::Nothing, "{then:?}");
        let there = branches(&mut conn).await;
        match rows {
            Some(rows) => {
                assert_eq!(there, ["main", "x"], "{want:?} {then:?}");
                run(&mut conn, &["USE `f/x`"]).await;
                let found: Vec<i64> = conn.query("SELECT id FROM t ORDER BY id").await.expect("rows");
                assert_eq!(found, rows, "{want:?} {then:?}");
                run(&mut conn, &["USE f", "CALL DOLT_BRANCH('-D', 'x')"]).await;
            }
            None => assert_eq!(there, ["main"], "{want:?} {then:?}"),
        }
        run(&mut conn, &["USE f"]).await;
        assert_eq!(one::<String>(&mut conn, "SELECT dolt_hashof_db()").await, main, "main is as it was");
    }
}

/// What bd's tables have: defaults that Dolt's own patch writes down wrong, in tables that are new or ignored.
#[tokio::test]
async fn new_and_ignored_tables_keep_their_defaults() {
    let dolt = PlainDolt::start();
    let mut conn = root(dolt.port()).await;
    with_uncommitted_row(&mut conn).await;
    let columns = "id VARCHAR(36) PRIMARY KEY DEFAULT (uuid()), at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                   changed TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
                   labels JSON DEFAULT (JSON_OBJECT()), note VARCHAR(9) DEFAULT 'it''s', n INT NOT NULL DEFAULT 0, \
                   t_id INT, KEY by_n (n)";
    run(
        &mut conn,
        &[
            "INSERT INTO dolt_ignore VALUES ('wisp%', true)",
            &format!("CREATE TABLE fresh ({columns})"),
            &format!("CREATE TABLE wisps ({columns})"),
            "INSERT INTO fresh (id, t_id) VALUES ('a', 3)",
            "INSERT INTO wisps (id, t_id) VALUES ('b', 1)",
        ],
    )
    .await;
    let mut control = root(dolt.port()).await;
    fork(&mut control, "f", "polecat-x").await.expect("forked");
    for table in ["fresh", "wisps"] {
        let mut seen = Vec::new();
        for branch in ["main", "polecat-x"] {
            run(&mut conn, &[&format!("USE `f/{branch}`")]).await;
            let (_, create): (String, String) =
                conn.query_first(format!("SHOW CREATE TABLE {table}")).await.expect("asked").expect("a row");
            let at: String =
                one(&mut conn, &format!("SELECT CONCAT(id, at, changed, note, t_id) FROM {table}")).await;
            seen.push((create, at));
        }
        assert_eq!(seen[0], seen[1], "{table}");
        run(&mut conn, &[&format!("INSERT INTO {table} (t_id) VALUES (2)")]).await;
    }
}
