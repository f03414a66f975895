//! mysql_async: text and binary protocol in Rust, streamed rows, local infile by handler, reset and change user.
//! Writes its transcript into a string: it is part of the runner, so that it needs no binary of its own.

mod observe;

use std::fmt::{Debug, Write as _};
use std::fs;
use std::time::Duration;

use mysql_async::consts::StatusFlags;
use mysql_async::prelude::Queryable;
use mysql_async::{
    ChangeUserOpts, Conn, IsolationLevel, OptsBuilder, Params, Row, TxOpts, Value, WhiteListFsHandler,
};
use sha1::{Digest, Sha1};

use crate::{PASSWORD, Target, USER};
use observe::{Outcome, all, columns, exec, plain, rows, sha1, values};

const MIB: usize = 1 << 20;

/// The transcript so far.
struct Session<'a> {
    target: &'a Target,
    section: &'static str,
    text: String,
    checks: usize,
}

/// Runs every section and returns the transcript.
pub async fn run(target: &Target) -> String {
    let mut s = Session { target, section: "connect", text: String::new(), checks: 0 };
    let mut conn = s.open(|o| o).await.expect("the account logs in");
    for file in ["schema.sql", "types.sql"] {
        for sql in s.shared(file).lines() {
            let name: String = sql.chars().take(40).collect();
            let outcome = all(&mut conn, sql).await;
            s.say(&name, outcome);
        }
    }
    query(&mut s, &mut conn).await;
    types(&mut s, &mut conn).await;
    prepared(&mut s, &mut conn).await;
    large(&mut s, &mut conn).await;
    multi(&mut s, &mut conn).await;
    infile(&mut s).await;
    transaction(&mut s, &mut conn).await;
    errors(&mut s, &mut conn).await;
    cancel(&mut s, &mut conn).await;
    counts(&mut s).await;
    dolt(&mut s).await;
    session(&mut s).await;
    wide_and_stream(&mut s, &mut conn).await;
    conn.disconnect().await.expect("the client logs out");
    writeln!(s.text, "checks: {}", s.checks).expect("a string can be written to");
    s.text
}

impl Session<'_> {
    fn say(&mut self, name: &str, value: impl Debug) {
        self.checks += 1;
        let line = format!("{}.{name}: {value:?}", self.section).replace('\n', "\\n");
        let scratch = self.target.scratch.to_string_lossy();
        let line = line.replace(scratch.as_ref(), "<scratch>").replace(&self.target.database, "<db>");
        eprintln!("{}", line.chars().take(160).collect::<String>()); // captured; shows how far it came
        writeln!(self.text, "{line}").expect("a string can be written to");
    }

    fn not_offered(&mut self, section: &'static str) {
        writeln!(self.text, "not offered by this client: {section}.all").expect("a string can be written to");
    }

    fn shared(&self, name: &str) -> String {
        fs::read_to_string(self.target.shared.join(name)).expect("the shared file is there")
    }

    async fn open(&self, change: impl FnOnce(OptsBuilder) -> OptsBuilder) -> Outcome<Conn> {
        let builder = OptsBuilder::default()
            .ip_or_hostname(self.target.addr.ip().to_string())
            .tcp_port(self.target.addr.port())
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .db_name(Some(self.target.database.clone()))
            .max_allowed_packet(Some(64 * MIB))
            .prefer_socket(false);
        Conn::new(change(builder)).await
    }
}

async fn query(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "query";
    for sql in [
        "SELECT 1",
        "SELECT NULL, '', ' ', 0",
        "SELECT 1 WHERE FALSE",
        "SET @a = 5",
        "SELECT @a",
        "",
        ";",
        "-- nothing",
        "SELECT * FROM beads",
        "SHOW TABLES",
        "SELECT \"q\" AS `we``ird`",
        "SELECT CURRENT_USER(), DATABASE(), active_branch()",
        "SELECT 1 AS a, 2 AS a",
        "SELECT @@max_allowed_packet",
    ] {
        let outcome = all(conn, sql).await;
        s.say(&format!("{sql:?}"), outcome);
    }
    let outcome = conn.ping().await;
    s.say("ping", outcome);
    s.say("server_version", conn.server_version());
    s.section = "charset";
    for (number, word) in ["naïve", "日本語", "🐬🚀", "", "a\u{300}"].into_iter().enumerate() {
        let outcome = exec(conn, "INSERT INTO words VALUES (?, ?)", (number, word)).await;
        s.say(&format!("{number}.insert"), outcome);
        let read: Outcome<Option<(String, String)>> =
            conn.exec_first("SELECT w, HEX(w) FROM words WHERE id = ?", (number,)).await;
        s.say(&format!("{number}.binary"), read);
        let read: Outcome<Option<String>> =
            conn.query_first(format!("SELECT w FROM words WHERE id = {number}")).await;
        s.say(&format!("{number}.text"), read);
    }
}

async fn types(s: &mut Session<'_>, conn: &mut Conn) {
    for (section, binary) in [("types_text", false), ("types_binary", true)] {
        s.section = section;
        for table in ["types", "bits", "shapes", "vectors"] {
            let sql = format!("SELECT * FROM {table} ORDER BY id");
            let found: Outcome<Vec<Row>> =
                if binary { conn.exec(&sql, ()).await } else { conn.query(&sql).await };
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    s.say(&format!("{table}.error"), error.to_string());
                    *conn = s.open(|o| o).await.expect("the account logs in");
                    continue;
                }
            };
            let names: Vec<String> =
                found[0].columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
            for (name, column) in names.iter().zip(columns(found[0].columns_ref())) {
                s.say(&format!("{table}.column.{name}"), column);
            }
            for (number, row) in found.into_iter().enumerate() {
                for (name, value) in names.iter().zip(row.unwrap()) {
                    s.say(&format!("{table}.{number}.{name}"), plain(value));
                }
            }
        }
    }
}

async fn prepared(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "prepared";
    for value in [
        Value::from(1),
        Value::from(-1_i64),
        Value::from(i64::MIN),
        Value::from(u64::MAX),
        Value::from(1.5_f64),
        Value::from(0.1_f32),
        Value::from("text 🐬"),
        Value::from(""),
        Value::Bytes(vec![0, 255]),
        Value::NULL,
        Value::from(true),
        Value::Date(2024, 2, 29, 12, 34, 56, 789_012),
        Value::Date(2024, 2, 29, 0, 0, 0, 0),
        Value::Time(true, 34, 22, 59, 59, 5),
        Value::Time(false, 0, 0, 0, 0, 0),
    ] {
        let outcome: Outcome<Vec<Row>> = conn.exec("SELECT ?", (&value,)).await;
        s.say(&format!("{value:?}"), outcome.map(|found| (columns(found[0].columns_ref()), values(found))));
    }
    let statement = conn.prep("SELECT ? + 1, d FROM digits WHERE d = ?").await.expect("it can be prepared");
    s.say("statement", (columns(statement.params()), columns(&statement.columns())));
    let mut total = 0;
    for number in 0..100 {
        let found: Option<(i64, i64)> =
            conn.exec_first(&statement, (number, number % 10)).await.expect("it can be executed");
        total += found.map_or(0, |(sum, digit)| sum + digit);
    }
    s.say("hundred", total);
    let outcome = conn.close(statement.clone()).await;
    s.say("close", outcome);
    for round in 0..2 {
        let again =
            conn.prep("SELECT d FROM digits WHERE d > ? ORDER BY d").await.expect("it can be prepared");
        let found: Outcome<Vec<i32>> = conn.exec(&again, (6,)).await;
        s.say(&format!("again.{round}"), found);
        conn.close(again).await.expect("it can be closed");
    }
    for (name, sql) in [
        ("wrong", "SELECT * FROM nope WHERE id = ?"),
        ("syntax", "SELEC ?"),
        ("insert", "INSERT INTO beads (title) VALUES (CONCAT('p-', ?))"),
        ("duplicate", "INSERT INTO beads (title) VALUES (CONCAT('p-', ?))"),
        ("rollback", "ROLLBACK /* ? */"),
        ("update", "UPDATE beads SET points = ?"),
        ("zero_rows", "SELECT * FROM beads WHERE id < 0 * ?"),
        ("call", "CALL one_set(?)"),
    ] {
        let params = if name == "rollback" { Params::Empty } else { Params::from((2,)) };
        let outcome = exec(conn, sql, params).await;
        s.say(name, outcome);
        s.say(&format!("{name}.counts"), (conn.affected_rows(), conn.last_insert_id(), conn.get_warnings()));
    }
    let outcome = conn
        .exec_batch(
            "INSERT INTO loaded (id, name) VALUES (?, ?)",
            (100..150).map(|n| (n, format!("batch {n}"))),
        )
        .await;
    s.say("batch", outcome);
    let outcome = rows(conn, "SELECT COUNT(*), MAX(name) FROM loaded").await;
    s.say("batch.rows", outcome);
    let outcome = exec(conn, "SELECT ?, ?", (1,)).await.map_err(|error| error.to_string());
    s.say("too_few", outcome);
}

async fn large(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "large";
    let value = b"branchline 20 MiB ".repeat(20 * MIB / 18 + 1)[..20 * MIB].to_vec();
    let outcome = exec(conn, "INSERT INTO big VALUES (?, ?)", (1, &value)).await;
    s.say("insert", outcome);
    let outcome = exec(conn, "SELECT v FROM big WHERE id = ?", (1,)).await;
    s.say("read.binary", outcome);
    let outcome = rows(conn, "SELECT v FROM big").await;
    s.say("read.text", outcome);
    let read: Outcome<Option<Vec<u8>>> = conn.query_first("SELECT v FROM big").await;
    s.say("equal", read.map(|read| read.as_ref() == Some(&value)));
    // Parameters past the packet limit go by COM_STMT_SEND_LONG_DATA.
    s.section = "long_data";
    let mut split = s.open(|o| o.max_allowed_packet(Some(MIB))).await.expect("the account logs in");
    let outcome = exec(&mut split, "INSERT INTO big VALUES (?, ?)", (2, &value)).await;
    s.say("insert", outcome);
    let outcome = rows(conn, "SELECT COUNT(*) FROM big a JOIN big b ON a.v = b.v").await;
    s.say("equal", outcome);
    let outcome = exec(&mut split, "UPDATE big SET v = ? WHERE id = ?", ("small", 2)).await;
    s.say("update", outcome);
    let outcome = rows(&mut split, "SELECT LENGTH(v) FROM big ORDER BY id").await;
    s.say("after", outcome);
    let _outcome = split.disconnect().await;
    let outcome = rows(conn, "DROP TABLE big").await;
    s.say("drop", outcome);
    *conn = s.open(|o| o).await.expect("the account logs in");
}

async fn multi(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "multi";
    for batch in [
        "SELECT 1; SELECT 2, 'b'; SELECT 3 WHERE FALSE",
        "SELECT 1;",
        "INSERT INTO beads (title) VALUES ('m1'); SELECT 5; DELETE FROM beads WHERE title = 'm1'",
        "SELECT 1; SELECT * FROM nope",
        "SET @m = 1; SELECT @m",
    ] {
        let mut own = s.open(|o| o).await.expect("the account logs in");
        let outcome = all(&mut own, batch).await;
        s.say(batch, outcome);
        let outcome = rows(&mut own, "SELECT 'alive'").await;
        s.say(&format!("{batch}.after"), outcome);
        let _outcome = own.disconnect().await;
    }
    // A result that is dropped half read: the driver reads the rest away before the next command.
    let mut own = s.open(|o| o).await.expect("the account logs in");
    let mut result =
        own.query_iter("SELECT d FROM digits ORDER BY d; SELECT 2; SELECT 3").await.expect("it runs");
    let first = result.next().await.map(|row| row.map(|row| values(vec![row])));
    drop(result);
    s.say("abandoned", first);
    let outcome = rows(&mut own, "SELECT 'alive'").await;
    s.say("abandoned.after", outcome);
    let _outcome = own.disconnect().await;
    s.section = "call";
    for sql in [
        "CALL one_set(3)",
        "CALL two_sets(3)",
        "CALL out_value(4, @o)",
        "SELECT @o",
        "CALL no_set()",
        "CALL nope()",
        "CALL one_set()",
    ] {
        let outcome = all(conn, sql).await;
        s.say(sql, outcome);
        let outcome = exec(conn, sql, ()).await;
        s.say(&format!("{sql}.prepared"), outcome);
    }
}

async fn infile(s: &mut Session<'_>) {
    s.section = "infile";
    let [path, many, missing] =
        ["load.csv", "many.csv", "missing.csv"].map(|name| s.target.scratch.join(name));
    fs::write(&path, "1,one,note 🐬\n2,two,\\N\n").expect("the file can be written");
    let lines: String = (1000..4000).map(|n| format!("{n},name {n},{}\n", "n".repeat(400))).collect();
    fs::write(&many, lines).expect("the file can be written");
    let allowed = WhiteListFsHandler::new([path.clone(), many.clone(), missing.clone()]);
    let mut conn = s.open(|o| o.local_infile_handler(Some(allowed))).await.expect("the account logs in");
    for (name, file, table) in [
        ("load", &path, "loaded"),
        ("many", &many, "loaded"),
        ("wrong_table", &path, "nope"),
        ("missing", &missing, "loaded"),
        ("not_allowed", &s.target.scratch.join("other.csv"), "loaded"),
    ] {
        let load = format!(
            "LOAD DATA LOCAL INFILE '{}' INTO TABLE {table} FIELDS TERMINATED BY ','",
            file.display()
        );
        let outcome = all(&mut conn, &load).await.map_err(|error| error.to_string());
        s.say(name, outcome);
        let outcome =
            rows(&mut conn, "SELECT COUNT(*), SUM(id) FROM loaded").await.map_err(|error| error.to_string());
        s.say(&format!("{name}.after"), outcome);
    }
    let _outcome = conn.disconnect().await;
}

async fn transaction(s: &mut Session<'_>, conn: &mut Conn) {
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

async fn errors(s: &mut Session<'_>, conn: &mut Conn) {
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

async fn cancel(s: &mut Session<'_>, conn: &mut Conn) {
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

async fn counts(s: &mut Session<'_>) {
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

async fn dolt(s: &mut Session<'_>) {
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

async fn session(s: &mut Session<'_>) {
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

async fn wide_and_stream(s: &mut Session<'_>, conn: &mut Conn) {
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
