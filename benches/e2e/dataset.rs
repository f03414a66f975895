//! Owns the tables that are queried, and the statements over them.
//! Does not measure.
//! Always: Dolt-committed before the first measurement, so nothing is pending while reading.

use crate::canned;
use crate::workload::{Endpoint, Operation};

/// Database of all tables.
pub const DATABASE: &str = "bench";
/// Rows of the table of beads.
pub const BEADS: u64 = 10_000;
/// A page as a list view reads it.
pub const PAGE_ROWS: u64 = 400;
/// Largest row that Dolt was seen to stream faster than any other form: made by a function, nothing stored.
const LARGE_ROW_BYTES: u64 = 1 << 20;
const INSERT_ROWS: u64 = 1000;

/// Creates everything.
pub fn create(endpoint: &Endpoint, large_bytes: u64) -> Result<(), String> {
    let without_database = Endpoint { database: None, ..endpoint.clone() };
    let mut client = without_database.connect().map_err(|error| format!("setting up: {error}"))?;
    let mut run = |sql: &str| {
        let shown = sql.get(..60).unwrap_or(sql);
        client.query(sql).map(|_| ()).map_err(|error| format!("setting up with `{shown}`: {error}"))
    };
    run(&format!("CREATE DATABASE {DATABASE}"))?;
    run(&format!("USE {DATABASE}"))?;
    run("CREATE TABLE bead (id BIGINT PRIMARY KEY, title VARCHAR(100), status VARCHAR(20), body TEXT)")?;
    for start in (1..=BEADS).step_by(INSERT_ROWS as usize) {
        let rows: Vec<String> = (start..start + INSERT_ROWS)
            .map(|id| format!("({id},'bead number {id}','open','{}')", "text of a bead ".repeat(10)))
            .collect();
        run(&format!("INSERT INTO bead VALUES {}", rows.join(",")))?;
    }
    run("CREATE TABLE number (id BIGINT PRIMARY KEY)")?;
    let numbers: Vec<String> = (1..=large_rows(large_bytes)).map(|id| format!("({id})")).collect();
    run(&format!("INSERT INTO number VALUES {}", numbers.join(",")))?;
    for table in [canned::POINT_TABLE, canned::WIDE_TABLE, canned::NARROW_TABLE] {
        run(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, body LONGBLOB)"))?;
    }
    run("CALL DOLT_COMMIT('-Am', 'tables of the benchmark')")
}

/// One row by its key.
pub fn point() -> Operation {
    let sql = "SELECT id, title, status, body FROM bead WHERE id = {id}".to_owned();
    Operation::Text { sql, ids: BEADS, rows: Some(1) }
}

/// One row by its key, prepared.
pub fn prepared_point() -> Operation {
    Operation::Prepared {
        sql: "SELECT id, title, status, body FROM bead WHERE id = ?".to_owned(),
        ids: BEADS,
    }
}

/// 400 rows, about 80 KiB.
pub fn page() -> Operation {
    let sql =
        format!("SELECT id, title, status, body FROM bead WHERE id >= {{id}} ORDER BY id LIMIT {PAGE_ROWS}");
    Operation::Text { sql, ids: BEADS - PAGE_ROWS + 1, rows: Some(PAGE_ROWS) }
}

/// What a short-lived client costs.
pub fn connect() -> Operation {
    Operation::Connect { sql: "SELECT 1".to_owned(), rows: Some(1) }
}

/// Dolt's large result and its rows.
pub fn large(bytes: u64) -> (String, u64) {
    (format!("SELECT REPEAT('x', {LARGE_ROW_BYTES}) FROM number"), large_rows(bytes))
}

/// One row by its key, from the canned backend.
pub fn canned_point() -> Operation {
    Operation::Text { sql: canned::statement(canned::POINT_TABLE), ids: BEADS, rows: Some(1) }
}

fn large_rows(bytes: u64) -> u64 {
    (bytes / LARGE_ROW_BYTES).max(1)
}
