//! Conflicts as Dolt foresees them between two commits, one after the other.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, QueryResult, TextProtocol, Value};

use super::rules::{Cell, Row};
use super::table::{self, Table};
use crate::branch::sql_literal;

/// A row with three versions.
pub(super) struct Conflict {
    /// Dolt's id of it.
    pub(super) id: String,
    pub(super) base: Option<Row>,
    pub(super) ours: Option<Row>,
    pub(super) theirs: Option<Row>,
}

impl Conflict {
    pub(super) fn versions(&self) -> [Option<&[Cell]>; 3] {
        [&self.base, &self.ours, &self.theirs].map(Option::as_deref)
    }

    pub(super) fn key(&self, table: &Table) -> String {
        let row = self.ours.as_ref().or(self.theirs.as_ref()).or(self.base.as_ref());
        row.map(|row| table.key_text(row)).unwrap_or_default()
    }

    pub(super) fn fingerprint(&self) -> String {
        table::fingerprint(self.versions())
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let rows = self.versions().into_iter().flatten().flatten();
        rows.map(|cell| 32 + cell.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// The conflicts of one table.
pub(super) struct Conflicts<'a> {
    result: QueryResult<'a, 'static, TextProtocol>,
    id: usize,
    /// Where the cells of each version are; a column that a version doesn't have is NULL there.
    cells: [Vec<Option<usize>>; 3],
    key: Vec<usize>,
    table: &'a Table,
}

/// Begins to read the conflicts between two commits.
pub(super) async fn conflicts<'a>(
    reader: &'a mut Conn,
    table: &'a Table,
    ours: &str,
    theirs: &str,
) -> Result<Conflicts<'a>, mysql_async::Error> {
    let [ours, theirs, name] = [ours, theirs, &table.name].map(sql_literal);
    let sql = format!("SELECT * FROM DOLT_PREVIEW_MERGE_CONFLICTS({ours}, {theirs}, {name})");
    let result = reader.query_iter(sql).await?;
    let columns = result.columns_ref();
    let position =
        |name: String| columns.iter().position(|column| column.name_str().eq_ignore_ascii_case(&name));
    let cells = ["base_", "our_", "their_"]
        .map(|side| table.columns.iter().map(|column| position(format!("{side}{}", column.name))).collect());
    let key = table.columns.iter().enumerate().filter(|(_, column)| column.key).map(|(at, _)| at).collect();
    let id = position("dolt_conflict_id".to_owned()).unwrap_or_default();
    Ok(Conflicts { id, cells, key, table, result })
}

impl Conflicts<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Conflict>, mysql_async::Error> {
        let Some(row) = self.result.next().await? else { return Ok(None) };
        let mut values: Vec<Option<Vec<u8>>> =
            row.unwrap_raw().into_iter().map(|value| value.and_then(cell)).collect();
        let id = values.get_mut(self.id).and_then(Option::take).unwrap_or_default();
        let mut versions = self.cells.iter().map(|places| {
            let mut row: Row = places
                .iter()
                .map(|place| place.and_then(|place| values.get_mut(place)).and_then(Option::take))
                .collect();
            self.table.normalize(&mut row);
            // A key has no NULL.
            self.key.iter().all(|key| row[*key].is_some()).then_some(row)
        });
        let (base, ours, theirs) =
            (versions.next().flatten(), versions.next().flatten(), versions.next().flatten());
        drop(versions);
        Ok(Some(Conflict { id: String::from_utf8_lossy(&id).into_owned(), base, ours, theirs }))
    }

    /// Reads over the rest.
    pub(super) async fn end(self) -> Result<(), mysql_async::Error> {
        self.result.drop_result().await
    }
}

/// In the text protocol all values are bytes.
pub(super) fn cell(value: Value) -> Cell {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).into_bytes()),
    }
}
