//! Owns how results look: tables for people, JSON for programs.

use std::io::{IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Protocol;
use mysql_async::{QueryResult, Row, Value};
use serde_json::{Map, Value as Json};

use super::failure::Failure;

/// A result set as text.
#[derive(Debug, Clone, Default)]
pub struct ResultTable {
    /// Column names.
    pub columns: Vec<String>,
    /// Columns that hold numbers: right-aligned, and bare in JSON.
    pub numeric: Vec<bool>,
    /// Values; none is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Text of the OK packet, or rows affected, when there are no columns.
    pub info: String,
    /// Rows that a write changed.
    pub affected: u64,
}

impl ResultTable {
    /// Reads one result set; more of them are dropped.
    pub async fn collect<P: Protocol>(
        mut result: QueryResult<'_, '_, P>,
    ) -> Result<Self, mysql_async::Error> {
        let table = Self::next(&mut result).await?;
        result.drop_result().await?;
        Ok(table)
    }

    /// Reads the next result set.
    pub async fn next<P: Protocol>(result: &mut QueryResult<'_, '_, P>) -> Result<Self, mysql_async::Error> {
        let columns = result.columns();
        let columns = columns.as_deref().unwrap_or_default();
        let mut table = Self {
            columns: columns.iter().map(|column| column.name_str().into_owned()).collect(),
            numeric: columns.iter().map(|column| is_numeric(column.column_type())).collect(),
            rows: Vec::new(),
            info: result.info().into_owned(),
            affected: result.affected_rows(),
        };
        let rows: Vec<Row> = result.collect().await?;
        table.rows = rows
            .into_iter()
            .map(|row| row.unwrap_raw().into_iter().map(|value| value.and_then(text)).collect())
            .collect();
        Ok(table)
    }

    /// Only these columns, in this order; those that are not there are left out.
    pub fn select(&self, columns: &[&str]) -> Self {
        let at = |name: &&str| self.columns.iter().position(|column| column == *name);
        let kept: Vec<usize> = columns.iter().filter_map(at).collect();
        Self {
            columns: kept.iter().map(|&at| self.columns[at].clone()).collect(),
            numeric: kept.iter().map(|&at| self.numeric[at]).collect(),
            rows: self.rows.iter().map(|row| kept.iter().map(|&at| row[at].clone()).collect()).collect(),
            info: self.info.clone(),
            affected: self.affected,
        }
    }

    /// A cell of a row by its column's name; none if NULL or not there.
    pub fn cell<'a>(&self, row: &'a [Option<String>], column: &str) -> Option<&'a str> {
        row.get(self.columns.iter().position(|name| name == column)?)?.as_deref()
    }

    /// A cell of the first row.
    pub fn first(&self, column: &str) -> Option<&str> {
        self.cell(self.rows.first()?, column)
    }

    /// As a table with borders, for results of SQL.
    pub fn bordered(&self) -> String {
        let mut table = self.table("NULL");
        table.load_style(presets::ASCII_FULL_CONDENSED);
        table.set_header(&self.columns);
        table.to_string()
    }

    /// As columns without borders, for lists of our own; what is not known is `-`.
    pub fn plain(&self) -> String {
        let mut table = self.table("-");
        table.load_style(presets::NOTHING);
        table.set_header(self.columns.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>());
        table.trim_fmt()
    }

    fn table(&self, null: &str) -> Table {
        let mut table = Table::new();
        if std::io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        for row in &self.rows {
            table
                .add_row(row.iter().map(|value| value.as_deref().map_or_else(|| null.to_owned(), printable)));
        }
        for (index, numeric) in self.numeric.iter().enumerate() {
            if *numeric && let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// As a list of objects.
    pub fn json(&self) -> Json {
        let object = |row: &Vec<Option<String>>| {
            let values =
                row.iter().zip(&self.numeric).map(|(value, numeric)| json_value(value.as_deref(), *numeric));
            Json::Object(self.columns.iter().cloned().zip(values).collect::<Map<_, _>>())
        };
        Json::Array(self.rows.iter().map(object).collect())
    }
}

/// Prints a list: columns, or JSON.
pub fn list(table: &ResultTable, json: bool, when_empty: &str) -> Result<(), Failure> {
    if json {
        return line(&table.json().to_string());
    }
    if table.rows.is_empty() {
        eprintln!("{when_empty}");
        return Ok(());
    }
    line(&table.plain())
}

/// Prints a line on stdout; a closed pipe ends the command quietly.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// A number stays one if JSON can hold it exactly; what is not UTF-8 was replaced when it was read.
pub fn json_value(value: Option<&str>, numeric: bool) -> Json {
    match value {
        None => Json::Null,
        Some(text) if numeric => match serde_json::from_str::<serde_json::Number>(text) {
            Ok(number) if number.to_string() == text => Json::Number(number),
            _ => Json::String(text.to_owned()),
        },
        Some(text) => Json::String(text.to_owned()),
    }
}

/// What a terminal may get: data must not be able to move the cursor or set its title.
pub fn printable(text: &str) -> String {
    let harmless = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

fn is_numeric(kind: ColumnType) -> bool {
    use ColumnType::{
        MYSQL_TYPE_DOUBLE, MYSQL_TYPE_FLOAT, MYSQL_TYPE_INT24, MYSQL_TYPE_LONG, MYSQL_TYPE_LONGLONG,
        MYSQL_TYPE_NEWDECIMAL, MYSQL_TYPE_SHORT, MYSQL_TYPE_TINY, MYSQL_TYPE_YEAR,
    };
    matches!(
        kind,
        MYSQL_TYPE_TINY
            | MYSQL_TYPE_SHORT
            | MYSQL_TYPE_INT24
            | MYSQL_TYPE_LONG
            | MYSQL_TYPE_LONGLONG
            | MYSQL_TYPE_FLOAT
            | MYSQL_TYPE_DOUBLE
            | MYSQL_TYPE_NEWDECIMAL
            | MYSQL_TYPE_YEAR
    )
}

/// The text protocol brings every value as bytes.
fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => hex(error.as_bytes()),
        }),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

/// `0x…`, as MySQL writes binary literals.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text
}
