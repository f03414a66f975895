//! Owns what the engine must know of a table: columns, key, triggers; and its rows as text and as SQL.
//! Does not decide: `rules` does.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row as DoltRow};
use xxhash_rust::xxh3::Xxh3;

use super::rules::{Cell, ColumnRules, Side, TableRules};
use super::values::{Kind, canonical_json, with_four_digits_of_year};
use crate::branch::{sql_identifier, sql_literal};
use crate::config::MergePolicy;

/// A table as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in order, without generated ones: Dolt computes those.
    pub columns: Vec<Column>,
    /// Dolt 1.88 ends with a panic when it merges two versions of a row of this table that don't go together.
    pub(super) crashes_dolt: bool,
    /// Has a trigger on UPDATE.
    pub(super) update_trigger: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// Part of the primary key.
    pub key: bool,
    /// Its values are no text.
    pub(super) binary: bool,
    /// Dolt writes the time into it when another column of the row is written.
    pub(super) on_update: bool,
}

/// Describes a table of the connection's current database. Generated columns are left out.
pub async fn table(conn: &mut Conn, name: &str) -> Result<Table, mysql_async::Error> {
    let quoted = sql_identifier(name);
    let create: Option<DoltRow> = conn.query_first(format!("SHOW CREATE TABLE {quoted}")).await?;
    let create = create.and_then(|row| row.get::<String, _>(1)).unwrap_or_default();
    let rows: Vec<DoltRow> = conn.query(format!("SHOW COLUMNS FROM {quoted}")).await?;
    let text = |row: &DoltRow, name: &str| row.get::<Option<String>, _>(name).flatten().unwrap_or_default();
    let mut columns = Vec::new();
    let (mut stored_generated, mut not_null) = (false, false);
    for row in &rows {
        let name = text(row, "Field");
        let key = text(row, "Key") == "PRI";
        not_null |= !key && text(row, "Null") == "NO";
        if let Some(stored) = generated(&name, &create) {
            stored_generated |= stored;
            continue;
        }
        let (kind, binary) = kind(&text(row, "Type"));
        let on_update = text(row, "Extra").to_lowercase().contains("on update");
        columns.push(Column { name, kind, key, binary, on_update });
    }
    let indexed = create.lines().any(|line| {
        let line = line.trim_start();
        ["KEY ", "UNIQUE KEY ", "CONSTRAINT ", "CHECK ", "FULLTEXT KEY ", "SPATIAL KEY ", "VECTOR KEY "]
            .iter()
            .any(|start| line.starts_with(start))
    });
    let triggers: Vec<DoltRow> =
        conn.query(format!("SHOW TRIGGERS WHERE `Table` = {}", sql_literal(name))).await?;
    let update_trigger = triggers.iter().any(|row| text(row, "Event").eq_ignore_ascii_case("UPDATE"));
    Ok(Table {
        name: name.to_owned(),
        columns,
        crashes_dolt: stored_generated && !not_null && !indexed,
        update_trigger,
    })
}

/// Whether a column is generated, and if so, whether it is stored. Dolt tells it in SHOW CREATE TABLE only.
fn generated(column: &str, create: &str) -> Option<bool> {
    let quoted = sql_identifier(column);
    let line = create.lines().find_map(|line| line.trim_start().strip_prefix(&quoted))?;
    line.contains(" GENERATED ALWAYS AS (").then(|| line.contains(" STORED"))
}

fn kind(written: &str) -> (Kind, bool) {
    let name = written.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_lowercase();
    match name.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "decimal" | "numeric"
        | "year" => (Kind::Exact, false),
        "float" | "double" | "real" => (Kind::Float, false),
        "json" => (Kind::Json, false),
        "date" | "datetime" | "timestamp" => (Kind::Date, false),
        "time" => (Kind::Time, false),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "bit" | "geometry"
        | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" | "vector" => (Kind::Bytes, true),
        _ => (Kind::Bytes, false),
    }
}

impl Table {
    /// Whether rows can be told apart.
    pub fn is_keyed(&self) -> bool {
        self.columns.iter().any(|column| column.key)
    }

    /// The rules for it. `newer` is the side whose commit is newer.
    pub fn rules(&self, database: &str, policy: &MergePolicy, newer: Option<Side>) -> TableRules {
        let updated_at = policy.updated_at(database, &self.name);
        TableRules {
            columns: self
                .columns
                .iter()
                .map(|column| ColumnRules {
                    name: column.name.clone(),
                    kind: column.kind,
                    rule: policy.cells(database, &self.name, &column.name),
                })
                .collect(),
            updated_at: self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(updated_at)),
            deleted: policy.deleted(database, &self.name),
            newer,
        }
    }

    /// Brings a row as the text protocol gives it to the form that `rules` compare: Dolt writes some values in several
    /// ways.
    pub fn normalize(&self, row: &mut [Cell]) {
        for (column, cell) in self.columns.iter().zip(row) {
            match column.kind {
                Kind::Date => *cell = cell.take().map(with_four_digits_of_year),
                Kind::Json => *cell = cell.take().map(canonical_json),
                _ => {}
            }
        }
    }

    /// The key of a row as people see and type it: its values, with commas between them (`\,` for a comma in one).
    pub fn key_text(&self, row: &[Cell]) -> String {
        let keys: Vec<_> = self.columns.iter().zip(row).filter(|(column, _)| column.key).collect();
        if let [(_, cell)] = keys.as_slice() {
            return text(cell).unwrap_or_default();
        }
        let escaped = |cell: &Cell| text(cell).unwrap_or_default().replace('\\', "\\\\").replace(',', "\\,");
        keys.iter().map(|(_, cell)| escaped(cell)).collect::<Vec<_>>().join(",")
    }

    /// A cell of the column as an SQL literal.
    pub(super) fn literal(&self, column: usize, cell: &Cell) -> String {
        let Some(bytes) = cell else { return "NULL".to_owned() };
        match std::str::from_utf8(bytes) {
            Ok(text) if !self.columns[column].binary => sql_literal(text),
            _ if bytes.is_empty() => "''".to_owned(),
            _ => format!("x'{}'", hex(bytes)),
        }
    }
}

/// Of three versions of a row: what a decision was about.
pub(super) fn fingerprint(versions: [Option<&[Cell]>; 3]) -> String {
    let mut hash = Xxh3::new();
    for version in versions {
        let Some(row) = version else {
            hash.update(&[0]);
            continue;
        };
        hash.update(&[1]);
        for cell in row {
            match cell {
                None => hash.update(&[0]),
                Some(bytes) => {
                    hash.update(&[1]);
                    hash.update(&(bytes.len() as u64).to_le_bytes());
                    hash.update(bytes);
                }
            }
        }
    }
    format!("{:032x}", hash.digest128())
}

/// A cell for people and the audit log: what is no UTF-8 is hex with 0x.
pub fn text(cell: &Cell) -> Option<String> {
    let bytes = cell.as_ref()?;
    Some(match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => format!("0x{}", hex(bytes)),
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
