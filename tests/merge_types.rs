//! Base, ours and theirs at random over every column type, merged by the real server and compared with a small model
//! that knows only what Dolt shows of the three branches.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use branchline::config::MergePolicy;
use branchline::merge::{MergeRequest, merge_into};
use branchline::observe::audit::NoAudit;
use branchline::observe::progress::Progress;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};
use support::direct::{root, run};
use support::plain::PlainDolt;

/// Name, type, values as SQL.
const COLUMNS: [(&str, &str, &[&str]); 30] = [
    ("c_tiny", "TINYINT", &["-128", "0", "127"]),
    ("c_big", "BIGINT UNSIGNED", &["0", "18446744073709551615", "9007199254740993"]),
    ("c_int", "INT", &["1", "-1", "2147483647"]),
    (
        "c_dec",
        "DECIMAL(65,30)",
        &["0.1", "12345678901234567890123456789012345.123456789012345678901234567891", "-1"],
    ),
    ("c_float", "FLOAT", &["0.1", "1.17549435e-38", "16777217", "3.14159274"]),
    ("c_double", "DOUBLE", &["0.1", "1.7976931348623157e308", "0.30000000000000004"]),
    ("c_bit", "BIT(12)", &["b'0'", "b'101010101010'", "b'100111'"]),
    ("c_bool", "BOOLEAN", &["TRUE", "FALSE"]),
    ("c_date", "DATE", &["'2026-01-01'", "'0001-01-01'", "'9999-12-31'"]),
    ("c_time", "TIME", &["'-100:00:00'", "'00:00:01'", "'838:59:59'"]),
    ("c_datetime", "DATETIME(6)", &["'2026-01-01 00:00:00.000001'", "'2026-01-01'", "'1000-01-01'"]),
    ("c_timestamp", "TIMESTAMP(6) NULL", &["'2026-03-29 02:30:00.5'", "'1999-01-01'"]),
    ("c_year", "YEAR", &["1901", "2155"]),
    ("c_char", "CHAR(10)", &["''", "'a'", "'é'"]),
    ("c_text", "TEXT", &["''", "'it''s \\\\ \"q\"\\n'", "'日本 😀'", "'[1, 2]'"]),
    ("c_ci", "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", &["'a'", "'A'", "'á'"]),
    ("c_latin", "VARCHAR(20) CHARACTER SET latin1", &["'é'", "'e'"]),
    ("c_long", "LONGTEXT", &["REPEAT('x', 5000)", "'y'"]),
    ("c_binary", "BINARY(4)", &["x'00ff2700'", "x'5c27225c'"]),
    ("c_varbinary", "VARBINARY(20)", &["''", "x'00'", "x'6162'", "x'ff'"]),
    ("c_blob", "BLOB", &["''", "x'00ff275c0a'", "x'61'"]),
    ("c_enum", "ENUM('a', 'b''c', '')", &["'a'", "'b''c'", "''"]),
    ("c_set", "SET('x', 'y', 'z')", &["''", "'x,z'", "'y'"]),
    ("c_object", "JSON", &["'1'", "'\"a\"'", "'null'", "'12345678901234567890'"]),
    ("c_array", "JSON", &["'[]'", "'[1]'", "'[1, 2]'", "'[\"a\", 2, {\"k\": [1]}]'", "'[2, 3]'"]),
    ("c_geometry", "GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0, 1 1)')"]),
    (
        "c_point",
        "POINT SRID 4326",
        &["ST_GeomFromText('POINT(10 20)', 4326)", "ST_GeomFromText('POINT(-5 7)', 4326)"],
    ),
    ("c_stamped", "INT DEFAULT 7", &["1", "2", "3"]),
    (
        "c_now",
        "TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
        &["'2001-01-01'", "'2002-01-01'", "'2003-01-01'"],
    ),
    ("updated_at", "DATETIME(6)", &[]),
];

const ROWS: u64 = 60;
const SEEDS: u64 = 4;

/// A small generator, so that a failure can be seen again: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("small")
    }
}

type Cell = Option<Vec<u8>>;
type Rows = BTreeMap<Vec<Cell>, Vec<Cell>>;

async fn read(conn: &mut Conn, branch: &str) -> Rows {
    run(conn, &format!("USE `p/{branch}`")).await;
    run(conn, "SET time_zone = '+00:00'").await;
    let columns: Vec<&str> = COLUMNS.iter().map(|(name, _, _)| *name).collect();
    let rows: Vec<mysql_async::Row> =
        conn.query(format!("SELECT k1, k2, {} FROM t", columns.join(", "))).await.expect("rows");
    let split = |row: mysql_async::Row| {
        let cell = |value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let mut key: Vec<Cell> = row.unwrap().into_iter().map(cell).collect();
        let mut cells = key.split_off(2);
        for (cell, _) in cells.iter_mut().zip(COLUMNS).filter(|(_, (_, kind, _))| *kind == "JSON") {
            // Dolt writes one document with spaces or without.
            let parsed =
                cell.as_ref().map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON"));
            *cell = parsed.map(|parsed| parsed.to_string().into_bytes());
        }
        (key, cells)
    };
    rows.into_iter().map(split).collect()
}

/// One branch's changes: rows deleted, added, and cells written.
async fn change(conn: &mut Conn, random: &mut Random, from: u64, minute: u64) {
    for id in 0..ROWS {
        let key = format!("k1 = UNHEX('{:04X}27') AND k2 = 'Ké{id}'", id * 997);
        match random.below(6) {
            0 => run(conn, &format!("DELETE FROM t WHERE {key}")).await,
            1 => insert(conn, random, from + id).await,
            _ => {
                let mut set =
                    vec![format!("updated_at = '2026-02-01 {minute:02}:{:02}:00.{id:06}'", random.below(60))];
                for (name, _, values) in COLUMNS.iter().filter(|(_, _, values)| !values.is_empty()) {
                    match random.below(4) {
                        0 => set.push(format!("{name} = {}", values[random.below(values.len())])),
                        1 if random.below(4) == 0 => set.push(format!("{name} = NULL")),
                        _ => set.push(format!("{name} = {name}")),
                    }
                }
                run(conn, &format!("UPDATE t SET {} WHERE {key}", set.join(", "))).await;
            }
        }
    }
}

async fn insert(conn: &mut Conn, random: &mut Random, id: u64) {
    let cells: Vec<String> = COLUMNS
        .iter()
        .map(|(_, _, values)| match values.len() {
            0 => format!("'2026-01-01 00:00:{:02}'", random.below(60)),
            _ if random.below(8) == 0 => "NULL".to_owned(),
            count => values[random.below(count)].to_owned(),
        })
        .collect();
    let key = format!("UNHEX('{:04X}27'), 'Ké{id}'", id * 997);
    run(conn, &format!("REPLACE INTO t VALUES ({key}, {})", cells.join(", "))).await;
}

fn model(base: &Rows, ours: &Rows, theirs: &Rows) -> Rows {
    let keys: BTreeSet<&Vec<Cell>> = base.keys().chain(ours.keys()).chain(theirs.keys()).collect();
    let mut merged = Rows::new();
    for key in keys {
        let row = match (base.get(key), ours.get(key), theirs.get(key)) {
            (_, None, None) => None,
            (None, Some(row), None) | (None, None, Some(row)) => Some(row.clone()),
            (Some(before), Some(row), None) | (Some(before), None, Some(row)) => {
                (before != row).then(|| row.clone())
            }
            (before, Some(our), Some(their)) => {
                let cells = (0..our.len()).map(|at| model_cell(before.map(|b| &b[at]), our, their, at));
                Some(cells.collect())
            }
        };
        if let Some(row) = row {
            merged.insert(key.clone(), row);
        }
    }
    merged
}

fn model_cell(before: Option<&Cell>, our: &[Cell], their: &[Cell], at: usize) -> Cell {
    let (a, b) = (&our[at], &their[at]);
    if a == b || before == Some(b) {
        return a.clone();
    }
    if before == Some(a) {
        return b.clone();
    }
    if COLUMNS[at].1 == "JSON"
        && let Some(united) = model_union(before, a, b)
    {
        return united;
    }
    let last = COLUMNS.len() - 1;
    match our[last].cmp(&their[last]) {
        std::cmp::Ordering::Greater => a.clone(),
        std::cmp::Ordering::Less => b.clone(),
        std::cmp::Ordering::Equal => panic!("a tie, which the values here don't have"),
    }
}

fn text(cell: &Cell) -> Option<&str> {
    std::str::from_utf8(cell.as_deref()?).ok()
}

/// By sets of values.
fn model_union(before: Option<&Cell>, our: &Cell, their: &Cell) -> Option<Cell> {
    let array = |cell: &Cell| match serde_json::from_str(text(cell)?) {
        Ok(serde_json::Value::Array(items)) => Some(items),
        _ => None,
    };
    let (our, their) = (array(our)?, array(their)?);
    let before = before.and_then(array).unwrap_or_default();
    let kept = before.iter().filter(|item| our.contains(item) && their.contains(item));
    let added: BTreeSet<String> =
        our.iter().chain(&their).filter(|item| !before.contains(item)).map(ToString::to_string).collect();
    let united: Vec<String> = kept.map(ToString::to_string).chain(added).collect();
    Some(Some(format!("[{}]", united.join(",")).into_bytes()))
}

#[tokio::test]
async fn every_type_is_merged_as_the_model_says() {
    let dolt = PlainDolt::start();
    let mut conflicts = 0;
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut writer = root(dolt.port()).await;
        let mut reader = root(dolt.port()).await;
        run(&mut writer, "CREATE DATABASE p").await;
        run(&mut writer, "USE p").await;
        run(&mut writer, "SET time_zone = '+00:00'").await;
        let columns: Vec<String> = COLUMNS.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
        run(
            &mut writer,
            &format!(
                "CREATE TABLE t (k1 VARBINARY(8), k2 VARCHAR(20), {}, PRIMARY KEY (k1, k2))",
                columns.join(", ")
            ),
        )
        .await;
        for id in 0..ROWS {
            insert(&mut writer, &mut random, id).await;
        }
        if seed % 2 == 0 {
            // Rows are written another way then.
            run(&mut writer, "CREATE TRIGGER tr AFTER UPDATE ON t FOR EACH ROW SET @fired = 1").await;
        }
        run(&mut writer, "CALL DOLT_COMMIT('-Am', 'base')").await;
        run(&mut writer, "CALL DOLT_BRANCH('x')").await;
        run(&mut writer, "CALL DOLT_BRANCH('base')").await;
        change(&mut writer, &mut random, ROWS / 2 + 30, 1).await;
        run(&mut writer, "CALL DOLT_COMMIT('-am', 'ours')").await;
        run(&mut writer, "CALL DOLT_BRANCH('ours')").await;
        run(&mut writer, "CALL DOLT_CHECKOUT('x')").await;
        let minute = 1 + u64::from(seed % 2 == 0) * 2;
        change(&mut writer, &mut random, ROWS / 2 + 30, if minute == 1 { 0 } else { 2 }).await;
        run(&mut writer, "CALL DOLT_COMMIT('-am', 'theirs')").await;
        run(&mut writer, "CALL DOLT_CHECKOUT('main')").await;
        let base = read(&mut reader, "base").await;
        let (ours, theirs) = (read(&mut reader, "ours").await, read(&mut reader, "x").await);
        // Rows that both added or replaced with the same time would tie.
        let want = match std::panic::catch_unwind(|| model(&base, &ours, &theirs)) {
            Ok(want) => want,
            Err(_) => panic!("seed {seed}: the values tie"),
        };
        let policy = MergePolicy::default();
        let progress = Progress::default();
        let request = MergeRequest {
            database: "p",
            theirs: "x",
            policy: &policy,
            decisions: &[],
            progress: &progress,
            audit: &NoAudit,
        };
        run(&mut writer, "SET autocommit = 0").await;
        let merged = merge_into(&mut writer, &mut reader, &request).await.expect("merged");
        run(&mut writer, "CALL DOLT_COMMIT('-m', 'merged')").await;
        run(&mut writer, "COMMIT").await;
        conflicts += merged.conflicts();
        let got = read(&mut reader, "main").await;
        for key in want.keys().chain(got.keys()) {
            let (want, got) = (want.get(key), got.get(key));
            let names = COLUMNS.iter().map(|(name, _, _)| *name);
            let cells = names.enumerate().filter(|(at, _)| want.map(|r| &r[*at]) != got.map(|r| &r[*at]));
            let differ: Vec<_> =
                cells.map(|(at, name)| (name, want.map(|r| &r[at]), got.map(|r| &r[at]))).collect();
            assert!(differ.is_empty(), "seed {seed} row {key:?}: column, model, merged: {differ:?}");
        }
        run(&mut writer, "ROLLBACK").await;
        drop((writer, reader));
        let mut admin = root(dolt.port()).await;
        run(&mut admin, "DROP DATABASE p").await;
    }
    assert!(conflicts > 50, "{conflicts} conflicts are too few to mean something");
}
