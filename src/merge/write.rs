//! Owns writing decided rows, in batches, so that no trigger fires: what triggers wrote came with the merge.
//! Does not decide. Always: what a batch decides is in the audit log before it is written.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::error::MergeError;
use super::rules::{Row, RowDecision, RowOutcome};
use super::stream::Conflict;
use super::table::{Table, text};
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::audit::{AuditCell, AuditEntry, AuditSink};

const BATCH_ROWS_MAX: usize = 1000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// For names of temporary tables: they hide tables of the same name.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writing the decided rows of one table.
pub(super) struct Writing<'t> {
    table: &'t Table,
    /// A temporary table for rows.
    rows: String,
    /// A temporary table for ids of conflicts.
    ids: String,
    batch: Vec<(Conflict, String, RowDecision)>,
    bytes: usize,
    /// Conflicts in `ids`: those that get their whole row from theirs.
    left_for_theirs: u64,
    /// Columns to write at the end, where a trigger must not fire.
    changed: BTreeSet<usize>,
    /// Rows that theirs brings back, and that a person changed then. Not more than there are decisions.
    changed_after: Vec<(String, Row)>,
}

impl<'t> Writing<'t> {
    pub(super) async fn begin(writer: &mut Conn, table: &'t Table) -> Result<Self, MergeError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [rows, ids] =
            ["rows", "ids"].map(|what| sql_identifier(&format!("branchline merge {what} {number}")));
        let like = sql_identifier(&table.name);
        writer.query_drop(format!("CREATE TEMPORARY TABLE {rows} LIKE {like}")).await?;
        writer
            .query_drop(format!(
                "CREATE TEMPORARY TABLE {ids} (id VARCHAR(64) COLLATE utf8mb4_bin PRIMARY KEY)"
            ))
            .await?;
        Ok(Self {
            table,
            rows,
            ids,
            batch: Vec::new(),
            bytes: 0,
            left_for_theirs: 0,
            changed: BTreeSet::new(),
            changed_after: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, conflict: Conflict, key: String, decision: RowDecision) {
        self.bytes += conflict.bytes();
        self.batch.push((conflict, key, decision));
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.len() >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// Writes the batch; how many rows it had.
    pub(super) async fn flush(
        &mut self,
        writer: &mut Conn,
        audit: &dyn AuditSink,
    ) -> Result<u64, MergeError> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(0);
        }
        let entries = batch.iter().map(|(conflict, key, decision)| self.entry(conflict, key, decision));
        audit.record(entries.collect()).await.map_err(MergeError::Audit)?;
        let rows = batch.len() as u64;
        let mut updates = Vec::new();
        let mut ids = Vec::new();
        for (conflict, key, decision) in batch {
            match (decision.outcome, conflict.ours, conflict.theirs) {
                (RowOutcome::Present(row), Some(ours), _) => updates.push((ours, row)),
                (RowOutcome::Present(row), None, theirs) => {
                    ids.push(conflict.id);
                    if theirs.as_ref() != Some(&row) {
                        self.changed_after.push((key, row));
                    }
                }
                (RowOutcome::Absent, Some(ours), _) => {
                    ids.push(conflict.id);
                    updates.push((ours.clone(), ours));
                }
                (RowOutcome::Absent, None, _) | (RowOutcome::Undecided(_), _, _) => {}
            }
        }
        if self.table.update_trigger {
            // Each row that ours has is in the temporary table at the end, so that one statement writes them all.
            self.changed.extend(changed_columns(&updates));
            self.store(writer, updates.iter().map(|(_, row)| row)).await?;
        } else {
            updates.retain(|(ours, row)| ours != row);
            let changed = changed_columns(&updates);
            let rows: Vec<&Row> = updates.iter().map(|(_, row)| row).collect();
            self.update(writer, &rows, &changed).await?;
        }
        if !ids.is_empty() {
            let values: Vec<String> = ids.iter().map(|id| format!("({})", sql_literal(id))).collect();
            writer.query_drop(format!("INSERT INTO {} VALUES {}", self.ids, values.join(", "))).await?;
            self.left_for_theirs += ids.len() as u64;
        }
        Ok(rows)
    }

    /// After the last batch: no conflict is left.
    pub(super) async fn finish(self, writer: &mut Conn) -> Result<(), MergeError> {
        let conflicts = sql_identifier(&format!("dolt_conflicts_{}", self.table.name));
        if self.table.update_trigger {
            self.update_past_triggers(writer, &conflicts).await?;
        }
        if self.left_for_theirs == 0 {
            writer.query_drop(format!("DELETE FROM {conflicts}")).await?;
        } else {
            let others = format!(
                "DELETE FROM {conflicts} WHERE dolt_conflict_id NOT IN (SELECT id FROM {})",
                self.ids
            );
            writer.query_drop(others).await?;
            // Unlike INSERT and DELETE this fires no trigger.
            writer.exec_drop("CALL DOLT_CONFLICTS_RESOLVE('--theirs', ?)", (&self.table.name,)).await?;
        }
        if !self.changed_after.is_empty() {
            if self.table.update_trigger {
                let keys: Vec<&str> = self.changed_after.iter().map(|(key, _)| key.as_str()).collect();
                let why = format!(
                    "{} was deleted on the branch that is merged into; a trigger would fire if it came back changed: \
                     decide for ours or theirs, and change it afterwards",
                    keys.join(", ")
                );
                return Err(MergeError::Unsupported { table: self.table.name.clone(), why });
            }
            let rows: Vec<&Row> = self.changed_after.iter().map(|(_, row)| row).collect();
            self.update(writer, &rows, &(0..self.table.columns.len()).collect()).await?;
        }
        self.end(writer).await
    }

    /// Leaves no temporary table.
    pub(super) async fn end(self, writer: &mut Conn) -> Result<(), MergeError> {
        for temporary in [&self.rows, &self.ids] {
            writer.query_drop(format!("DROP TEMPORARY TABLE {temporary}")).await?;
        }
        Ok(())
    }

    /// Gives rows that are there their cells.
    async fn update(
        &self,
        writer: &mut Conn,
        rows: &[&Row],
        changed: &BTreeSet<usize>,
    ) -> Result<(), MergeError> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<String> =
            self.table.columns.iter().map(|column| sql_identifier(&column.name)).collect();
        writer.query_drop(format!("DELETE FROM {}", self.rows)).await?;
        self.store(writer, rows.iter().copied()).await?;
        let of = |key: bool| {
            let columns = self.table.columns.iter().enumerate();
            columns.filter(
                move |(at, c)| if key { c.key } else { !c.key && (c.on_update || changed.contains(at)) },
            )
        };
        let on: Vec<String> = of(true).map(|(at, _)| format!("t.{0} = r.{0}", columns[at])).collect();
        let set: Vec<String> = of(false).map(|(at, _)| format!("t.{0} = r.{0}", columns[at])).collect();
        if set.is_empty() {
            return Ok(());
        }
        let table = sql_identifier(&self.table.name);
        let sql =
            format!("UPDATE {table} t JOIN {} r ON {} SET {}", self.rows, on.join(" AND "), set.join(", "));
        writer.query_drop(sql).await.map_err(MergeError::Dolt)
    }

    /// Adds rows to the temporary table.
    async fn store<'r>(
        &self,
        writer: &mut Conn,
        rows: impl Iterator<Item = &'r Row>,
    ) -> Result<(), MergeError> {
        let values: Vec<String> = rows
            .map(|row| {
                let cells = row.iter().enumerate().map(|(column, cell)| self.table.literal(column, cell));
                format!("({})", cells.collect::<Vec<_>>().join(", "))
            })
            .collect();
        if values.is_empty() {
            return Ok(());
        }
        let columns: Vec<String> =
            self.table.columns.iter().map(|column| sql_identifier(&column.name)).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        let sql = format!("INSERT INTO {} ({columns}) VALUES {values}", self.rows);
        writer.query_drop(sql).await.map_err(MergeError::Dolt)
    }

    /// Through Dolt's table of conflicts, which fires no trigger. It can't be joined, and each statement reads all of
    /// it: one statement for all rows. LIMIT since Dolt finds several rows where there is one.
    async fn update_past_triggers(&self, writer: &mut Conn, conflicts: &str) -> Result<(), MergeError> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let ours = |name: &str| sql_identifier(&format!("our_{name}"));
        let keys = self.table.columns.iter().filter(|column| column.key);
        let on: Vec<String> =
            keys.map(|key| format!("r.{} = {}", sql_identifier(&key.name), ours(&key.name))).collect();
        let set: Vec<String> = self
            .changed
            .iter()
            .map(|column| {
                let name = &self.table.columns[*column].name;
                let (of_ours, column) = (ours(name), sql_identifier(name));
                let (rows, on) = (&self.rows, on.join(" AND "));
                format!("{of_ours} = (SELECT r.{column} FROM {rows} r WHERE {on} LIMIT 1)")
            })
            .collect();
        let sql = format!("UPDATE {conflicts} SET {} WHERE our_diff_type <> 'removed'", set.join(", "));
        writer.query_drop(sql).await.map_err(MergeError::Dolt)
    }

    fn entry(&self, conflict: &Conflict, key: &str, decision: &RowDecision) -> AuditEntry {
        let version = |row: &Option<Row>, column: usize| row.as_ref().and_then(|row| text(&row[column]));
        let cell = |column: usize, result: Option<String>, why: &str| AuditCell {
            column: self.table.columns[column].name.clone(),
            base: version(&conflict.base, column),
            ours: version(&conflict.ours, column),
            theirs: version(&conflict.theirs, column),
            result,
            why: why.to_owned(),
        };
        let both = conflict.ours.is_some() && conflict.theirs.is_some();
        let (row, cells) = match &decision.outcome {
            RowOutcome::Present(_) if both => {
                let cells = decision.cells.iter();
                ("merged", cells.map(|c| cell(c.column, text(&c.value), c.why.as_str())).collect())
            }
            // All of it: one of the versions is gone, or would be.
            RowOutcome::Present(row) => {
                let cells = row.iter().enumerate();
                ("kept", cells.map(|(column, value)| cell(column, text(value), "kept")).collect())
            }
            RowOutcome::Absent | RowOutcome::Undecided(_) => (
                "deleted",
                (0..self.table.columns.len()).map(|column| cell(column, None, "deleted")).collect(),
            ),
        };
        let why = decision.why.map(|why| why.as_str().to_owned());
        AuditEntry { table: self.table.name.clone(), key: key.to_owned(), row, why, cells }
    }
}

/// Of pairs of a row as it is and as it will be.
fn changed_columns(rows: &[(Row, Row)]) -> BTreeSet<usize> {
    let changed = |(ours, row): &(Row, Row)| {
        (0..row.len()).filter(|column| ours[*column] != row[*column]).collect::<Vec<_>>()
    };
    rows.iter().flat_map(changed).collect()
}
