//! Transactions, errors, cancelling, counters, Dolt's branches, streams.

use std::time::Duration;

use mysql_async::consts::StatusFlags;
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, IsolationLevel, OptsBuilder, Row, TxOpts, Value};
use sha1::{Digest, Sha1};

use super::{Outcome, Session, all, exec, rows, sha1, values};
use crate::{PASSWORD, USER};

pub async fn transaction(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "transaction";
    let mut other = s.open(|o| o).await.expect("the account logs in");
    let count = "SELECT COUNT(*) FROM beads WHERE title LIKE 't-%'";
    let mut options = TxOpts::default();
    options.with_isolation_level(IsolationLevel::RepeatableRead).with_consistent_snapshot(true);
    for commit in [false, true] {
        let mut transaction = conn.start_transaction(options.clone()).await.expect("it starts");
        for sql in [
            "INSERT INTO beads (title) VALUES ('t-1')",
            "SAVEPOINT s",
            "INSERT INTO beads (title) VALUES ('t-2')",
            "ROLLBACK TO SAVEPOINT s",
            "INSERT INTO beads (title) VALUES ('t-1')",
        ] {
            let outcome = transaction.query_drop(sql).await;
            s.say(&format!("{commit}.{sql}"), outcome);
        }
        let inside: Outcome<Option<i64>> = transaction.query_first(count).await;
        let outside: Outcome<Option<i64>> = other.query_first(count).await;
        s.say(&format!("{commit}.open"), (inside, outside));
        let outcome = if commit { transaction.commit().await } else { transaction.rollback().await };
        s.say(&format!("{commit}.end"), outcome);
        let outside: Outcome<Option<i64>> = other.query_first(count).await;
        s.say(&format!("{commit}.after"), outside);
    }
    let mut transaction =
        conn.start_transaction(TxOpts::default().with_readonly(Some(true)).clone()).await.expect("it starts");
    let outcome = transaction.query_drop("INSERT INTO beads (title) VALUES ('t-3')").await;
    s.say("read_only", outcome);
    transaction.rollback().await.expect("it rolls back");
    for sql in
        ["SET autocommit = 0", "INSERT INTO beads (title) VALUES ('t-4')", "ROLLBACK", "SET autocommit = 1"]
    {
        let outcome = all(conn, sql).await;
        let status = conn.last_ok_packet().map(|ok| {
            ok.status_flags() & (StatusFlags::SERVER_STATUS_IN_TRANS | StatusFlags::SERVER_STATUS_AUTOCOMMIT)
        });
        s.say(sql, (outcome, status));
    }
    let mut transaction = conn.start_transaction(TxOpts::default()).await.expect("it starts");
    transaction.query_drop("UPDATE beads SET points = 71 WHERE title = 't-1'").await.expect("it updates");
    other.query_drop("UPDATE beads SET points = 72 WHERE title = 't-1'").await.expect("it updates");
    let outcome = transaction.commit().await;
    s.say("conflict", outcome);
    let _outcome = other.disconnect().await;
}

pub async fn errors(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "error";
    conn.query_drop("INSERT INTO beads (title) VALUES ('unique')").await.expect("it inserts");
    for sql in [
        "INSERT INTO beads (title) VALUES ('unique')",
        "SELECT * FROM nope",
        "SELEC 1",
        "USE nope",
        "SELECT nope FROM beads",
        "INSERT INTO beads (title) VALUES (NULL)",
        "INSERT INTO types (id, c_tinyint) VALUES (99, 1000)",
    ] {
        let outcome = all(conn, sql).await;
        s.say(sql, outcome);
        conn.query_drop("ROLLBACK").await.expect("it rolls back");
    }
    let branch = format!("{}/nope", s.target.database);
    let logins = [
        ("password", s.open(|o| o.pass(Some("wrong"))).await),
        ("no_password", s.open(|o| o.pass(None::<String>)).await),
        ("user", s.open(|o| o.user(Some("nobody_here"))).await),
        ("database", s.open(|o| o.db_name(Some("nope"))).await),
        ("branch", s.open(|o| o.db_name(Some(branch))).await),
    ];
    for (name, outcome) in logins {
        s.say(&format!("login.{name}"), outcome.map(|_| "logged in"));
    }
    let outcome = rows(conn, "SELECT 1").await;
    s.say("after", outcome);
}

pub async fn cancel(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "cancel";
    for name in ["greeting_id", "connection_id"] {
        let mut victim = s.open(|o| o).await.expect("the account logs in");
        let id = match name {
            "greeting_id" => u64::from(victim.id()),
            _ => victim.query_first("SELECT CONNECTION_ID()").await.expect("it runs").expect("one row"),
        };
        let marker = format!("{} {name}", s.target.database);
        let sql = format!("SELECT SLEEP(20) /* {marker} */");
        let sleeping = tokio::spawn(async move { (victim.query::<Row, _>(sql).await.map(values), victim) });
        let listed = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(20) /* {marker}%' AND info NOT LIKE '%processlist%'"
        );
        while conn.query_first::<i64, _>(&listed).await.expect("it runs") != Some(1) {
            tokio::task::yield_now().await;
        }
        let outcome = all(conn, &format!("KILL QUERY {id}")).await;
        s.say(&format!("{name}.kill"), outcome);
        let (outcome, mut victim) = sleeping.await.expect("the task ends");
        s.say(&format!("{name}.outcome"), outcome);
        let outcome = rows(&mut victim, "SELECT 'alive'").await;
        s.say(&format!("{name}.after"), outcome);
        let _outcome = victim.disconnect().await;
    }
}

pub async fn counts(s: &mut Session<'_>) {
    s.section = "counts";
    for found in [false, true] {
        let mut conn = s.open(|o| o.client_found_rows(found)).await.expect("the account logs in");
        for sql in [
            format!("INSERT INTO beads (title) VALUES ('{found}-a'), ('{found}-b')"),
            format!("UPDATE beads SET points = 1 WHERE title LIKE '{found}%'"),
            format!("UPDATE beads SET points = 1 WHERE title LIKE '{found}%'"),
            format!("REPLACE INTO beads (title, points) VALUES ('{found}-a', 8)"),
            "DELETE FROM beads WHERE id < 0".into(),
            "SELECT FOUND_ROWS()".into(),
            "SELECT ROW_COUNT()".into(),
            "SELECT LAST_INSERT_ID()".into(),
            "DROP TABLE IF EXISTS nope".into(),
            "SHOW WARNINGS".into(),
            "ROLLBACK".into(),
            "SELECT 1 / 0".into(),
            "SHOW WARNINGS".into(),
            "ROLLBACK".into(),
        ] {
            let outcome = all(&mut conn, &sql).await;
            s.say(&format!("{found}.{sql}"), outcome);
        }
        let _outcome = conn.disconnect().await;
    }
}

pub async fn dolt(s: &mut Session<'_>) {
    s.section = "dolt";
    let mut conn = s.open(|o| o).await.expect("the account logs in");
    for sql in [
        "CALL DOLT_BRANCH('work')",
        "CALL DOLT_CHECKOUT('work')",
        "SELECT DATABASE(), active_branch()",
        "SELECT name FROM dolt_branches ORDER BY name",
        "CALL DOLT_COMMIT('-m', 'nothing')",
        "CALL DOLT_CHECKOUT('main')",
        "CALL DOLT_ADD('-A')",
    ] {
        let outcome = rows(&mut conn, sql).await;
        s.say(sql, outcome);
    }
    for round in 0..2 {
        let hash: Outcome<Option<String>> = conn.exec_first("CALL DOLT_COMMIT('-m', ?)", ("tables",)).await;
        s.say(&format!("commit.{round}"), hash.map(|hash| hash.map(|hash| hash.len())));
    }
    let outcome = exec(&mut conn, "CALL DOLT_CHECKOUT(?)", ("work",)).await;
    s.say("checkout", outcome);
    let outcome = rows(&mut conn, "SELECT COUNT(*) FROM beads").await;
    s.say("not_on_work", outcome);
    let _outcome = conn.disconnect().await;
}

pub async fn session(s: &mut Session<'_>) {
    s.section = "session";
    let place = "SELECT DATABASE(), active_branch(), @v";
    let database = s.target.database.clone();
    let mut conn = s.open(|o| o).await.expect("the account logs in");
    conn.query_drop("CALL DOLT_BRANCH('side')").await.expect("it branches");
    for sql in [
        format!("USE `{database}/side`"),
        format!("USE `{database}`"),
        "USE information_schema".into(),
        format!("USE `{database}/main`"),
        "SET @v = 'kept'".into(),
    ] {
        let outcome = all(&mut conn, &sql).await;
        let after = rows(&mut conn, place).await;
        s.say(&sql, (outcome, after));
    }
    let outcome = conn.reset().await;
    s.say("reset", outcome);
    let outcome = rows(&mut conn, place).await;
    s.say("reset.after", outcome);
    let outcome = conn.change_user(ChangeUserOpts::default()).await;
    s.say("change_user", outcome);
    drop(conn);
    let setup = vec!["SET @v = 'from setup'"];
    let mut branch = s
        .open(|o| o.db_name(Some(format!("{database}/side"))).setup(setup))
        .await
        .expect("the account logs in");
    let outcome = rows(&mut branch, place).await;
    s.say("handshake.branch", outcome);
    let _outcome = branch.disconnect().await;
    let mut none = s.open(|o| o.db_name(None::<String>)).await.expect("the account logs in");
    let outcome = rows(&mut none, place).await;
    s.say("handshake.none", outcome);
    let outcome = rows(&mut none, "SELECT * FROM beads").await;
    s.say("no_database", outcome);
    let _outcome = none.disconnect().await;
    // A pool resets its connections between uses.
    let options = mysql_async::Opts::from(
        OptsBuilder::default()
            .ip_or_hostname(s.target.addr.ip().to_string())
            .tcp_port(s.target.addr.port())
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(Some(database))
            .prefer_socket(false),
    );
    let pool = mysql_async::Pool::new(options);
    for round in 0..3 {
        let mut pooled = pool.get_conn().await.expect("the pool gives a connection");
        let outcome = rows(&mut pooled, place).await;
        s.say(&format!("pool.{round}"), outcome);
        pooled.query_drop("SET @v = 'left behind'").await.expect("it sets");
    }
    let closed = tokio::time::timeout(Duration::from_secs(30), pool.disconnect()).await.is_ok();
    s.say("pool.closed", closed);
}

pub async fn wide_and_stream(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "wide";
    let parts: Vec<String> = (0..500)
        .map(|n| [format!("NULL AS c{n}"), format!("{n} AS c{n}"), format!("'v{n}' AS c{n}")][n % 3].clone())
        .collect();
    let select = format!("SELECT {}", parts.join(", "));
    let outcome = rows(conn, &select).await;
    s.say("text", outcome);
    let outcome = exec(conn, &select, ()).await;
    s.say("binary", outcome);
    let numbers: Vec<Value> = (0..500).map(Value::from).collect();
    let outcome = exec(conn, &format!("SELECT {}", vec!["?"; 500].join(", ")), numbers).await;
    s.say("parameters", outcome);
    s.section = "stream";
    let sql = s.shared("stream.sql");
    let (mut total, mut hash) = (0, Sha1::new());
    let mut result = conn.query_iter(sql.trim()).await.expect("it runs");
    while let Some(row) = result.next().await.expect("the next row") {
        total += 1;
        hash.update(format!("{row:?}"));
    }
    drop(result);
    s.say("text", (total, sha1(&hash.finalize())));
    let (mut total, mut hash) = (0, Sha1::new());
    let mut result = conn.exec_iter(sql.trim(), ()).await.expect("it runs");
    while let Some(row) = result.next().await.expect("the next row") {
        total += 1;
        hash.update(format!("{row:?}"));
    }
    drop(result);
    s.say("binary", (total, sha1(&hash.finalize())));
    s.not_offered("cursor");
    s.not_offered("pipeline");
}
