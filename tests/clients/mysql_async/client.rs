//! mysql_async: text and binary protocol in Rust, streamed rows, local infile by handler, reset and change user.
//! Writes its transcript into a string: it is part of the runner, so that it needs no binary of its own.

mod sessions;
mod statements;

use std::fmt::{Debug, Write as _};
use std::fs;

use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Error, OptsBuilder, Params, Row, Value};
use sha1::{Digest, Sha1};

use crate::{PASSWORD, Target, USER};

const MIB: usize = 1 << 20;

type Outcome<T> = Result<T, Error>;

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
    statements::query(&mut s, &mut conn).await;
    statements::types(&mut s, &mut conn).await;
    statements::prepared(&mut s, &mut conn).await;
    statements::large(&mut s, &mut conn).await;
    statements::multi(&mut s, &mut conn).await;
    statements::infile(&mut s).await;
    sessions::transaction(&mut s, &mut conn).await;
    sessions::errors(&mut s, &mut conn).await;
    sessions::cancel(&mut s, &mut conn).await;
    sessions::counts(&mut s).await;
    sessions::dolt(&mut s).await;
    sessions::session(&mut s).await;
    sessions::wide_and_stream(&mut s, &mut conn).await;
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

/// A value, or how long it is and its hash.
fn plain(value: Value) -> String {
    match value {
        Value::Bytes(bytes) if bytes.len() > 256 => format!("{} bytes, sha1 {}", bytes.len(), sha1(&bytes)),
        // The driver's own Debug form of bytes is cut short.
        Value::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => format!("text {text}"),
            Err(error) => format!("bytes {}", error.as_bytes().escape_ascii()),
        },
        other => format!("{other:?}"),
    }
}

fn sha1(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Everything that a column definition carries.
fn columns(columns: &[Column]) -> Vec<String> {
    let describe = |c: &Column| {
        format!(
            "{} {} {} {} {} {:?} {:?} charset {} length {} decimals {}",
            c.schema_str(),
            c.table_str(),
            c.org_table_str(),
            c.name_str(),
            c.org_name_str(),
            c.column_type(),
            c.flags(),
            c.character_set(),
            c.column_length(),
            c.decimals()
        )
    };
    columns.iter().map(describe).collect()
}

fn values(rows: Vec<Row>) -> Vec<Vec<String>> {
    rows.into_iter().map(|row| row.unwrap().into_iter().map(plain).collect()).collect()
}

/// All result sets of a text query: columns, rows, counters.
async fn all(
    conn: &mut Conn,
    sql: &str,
) -> Outcome<Vec<(usize, Vec<Vec<String>>, u64, Option<u64>, String, u16)>> {
    let mut result = conn.query_iter(sql).await?;
    let mut sets = Vec::new();
    while !result.is_empty() {
        let width = result.columns_ref().len();
        let (affected, id, info, warnings) =
            (result.affected_rows(), result.last_insert_id(), result.info().into_owned(), result.warnings());
        sets.push((width, values(result.collect().await?), affected, id, info, warnings));
    }
    if sets.is_empty() {
        sets.push((
            0,
            Vec::new(),
            result.affected_rows(),
            result.last_insert_id(),
            result.info().into_owned(),
            result.warnings(),
        ));
    }
    Ok(sets)
}

async fn rows(conn: &mut Conn, sql: &str) -> Outcome<Vec<Vec<String>>> {
    conn.query(sql).await.map(values)
}

async fn exec(conn: &mut Conn, sql: &str, params: impl Into<Params> + Send) -> Outcome<Vec<Vec<String>>> {
    conn.exec(sql, params.into()).await.map(values)
}
