//! Queries, types, large values, several results, files.

use std::fs;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value, WhiteListFsHandler};

use super::{MIB, Outcome, Session, all, columns, exec, plain, rows, values};

pub async fn query(s: &mut Session<'_>, conn: &mut Conn) {
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

pub async fn types(s: &mut Session<'_>, conn: &mut Conn) {
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

pub async fn prepared(s: &mut Session<'_>, conn: &mut Conn) {
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
    // The driver closes a connection on which it was given too few parameters.
    let mut own = s.open(|o| o).await.expect("the account logs in");
    let outcome = exec(&mut own, "SELECT ?, ?", (1,)).await.map_err(|error| error.to_string());
    s.say("too_few", outcome);
}

pub async fn large(s: &mut Session<'_>, conn: &mut Conn) {
    s.section = "large";
    let value = "branchline 20 MiB ".repeat(20 * MIB / 18 + 1).into_bytes()[..20 * MIB].to_vec();
    s.say("written", plain(Value::Bytes(value.clone())));
    let literal = String::from_utf8_lossy(&value);
    let outcome = conn.query_drop(format!("INSERT INTO big VALUES (1, '{literal}')")).await;
    s.say("insert", outcome);
    for (name, read) in [
        ("read.text", rows(conn, "SELECT v FROM big WHERE id = 1").await),
        ("read.binary", exec(conn, "SELECT v FROM big WHERE id = ?", (1,)).await),
    ] {
        s.say(name, read);
    }
    let read: Outcome<Option<Vec<u8>>> = conn.query_first("SELECT v FROM big").await;
    s.say("equal", read.map(|read| read.as_ref() == Some(&value)));
    // The driver sends parameters that do not fit one frame by COM_STMT_SEND_LONG_DATA, in commands that are one byte
    // longer than a frame.
    s.section = "long_data";
    let outcome = exec(conn, "INSERT INTO big VALUES (?, ?)", (2, &value)).await;
    s.say("insert", outcome);
    let outcome = exec(conn, "SELECT v FROM big WHERE id = ?", (2,)).await;
    s.say("read", outcome);
    let outcome = exec(conn, "UPDATE big SET v = ? WHERE id = ?", ("small", 2)).await;
    s.say("update", outcome);
    let outcome = rows(conn, "SELECT LENGTH(v) FROM big ORDER BY id").await;
    s.say("after", outcome);
    let outcome = rows(conn, "DROP TABLE big").await;
    s.say("drop", outcome);
}

pub async fn multi(s: &mut Session<'_>, conn: &mut Conn) {
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

pub async fn infile(s: &mut Session<'_>) {
    s.section = "infile";
    let [path, many, missing] =
        ["load.csv", "many.csv", "missing.csv"].map(|name| s.target.scratch.join(name));
    fs::write(&path, "1,one,note 🐬\n2,two,\\N\n").expect("the file can be written");
    let lines: String = (1000..4000).map(|n| format!("{n},name {n},{}\n", "n".repeat(400))).collect();
    fs::write(&many, lines).expect("the file can be written");
    let allowed = WhiteListFsHandler::new([path.clone(), many.clone(), missing.clone()]);
    for (name, file, table) in [
        ("load", &path, "loaded"),
        ("many", &many, "loaded"),
        ("wrong_table", &path, "nope"),
        ("missing", &missing, "loaded"),
        ("not_allowed", &s.target.scratch.join("other.csv"), "loaded"),
    ] {
        // The driver closes a connection on which it could not send the file.
        let handler = allowed.clone();
        let mut conn = s.open(|o| o.local_infile_handler(Some(handler))).await.expect("the account logs in");
        let load = format!(
            "LOAD DATA LOCAL INFILE '{}' INTO TABLE {table} FIELDS TERMINATED BY ','",
            file.display()
        );
        let outcome = all(&mut conn, &load).await.map_err(|error| error.to_string());
        s.say(name, outcome);
        let outcome =
            rows(&mut conn, "SELECT COUNT(*), SUM(id) FROM loaded").await.map_err(|error| error.to_string());
        s.say(&format!("{name}.after"), outcome);
        let _closed_already = conn.disconnect().await;
    }
}
