//! What the mysql_async client sees of columns, values and result sets, as lines of its transcript.

use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Error, Params, Row, Value};
use sha1::{Digest, Sha1};

pub type Outcome<T> = Result<T, Error>;

/// A value, or how long it is and its hash.
pub fn plain(value: Value) -> String {
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

pub fn sha1(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Everything that a column definition carries.
pub fn columns(columns: &[Column]) -> Vec<String> {
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

pub fn values(rows: Vec<Row>) -> Vec<Vec<String>> {
    rows.into_iter().map(|row| row.unwrap().into_iter().map(plain).collect()).collect()
}

/// All result sets of a text query: columns, rows, counters.
pub async fn all(
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

pub async fn rows(conn: &mut Conn, sql: &str) -> Outcome<Vec<Vec<String>>> {
    conn.query(sql).await.map(values)
}

pub async fn exec(conn: &mut Conn, sql: &str, params: impl Into<Params> + Send) -> Outcome<Vec<Vec<String>>> {
    conn.exec(sql, params.into()).await.map(values)
}
