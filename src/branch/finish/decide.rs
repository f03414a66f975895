//! Owns the rows of ignored tables that both sides changed: the rules of `merge` for each, and what is to be written.
//! Does not know where the rows come from. Always: each decision is in the audit log before the rows are committed.

use std::collections::HashMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::FinishError;
use super::columns::Table;
use crate::branch::directory::{sql_identifier, sql_literal};
use crate::config::MergePolicy;
use crate::merge::{Cell, Row, RowOutcome, Side, TableRules, resolve_row, text};
use crate::observe::audit::{AuditCell, AuditEntry, AuditSink};

/// Decides rows, one after another.
pub(super) struct Decider<'a> {
    pub database: &'a str,
    pub branch: &'a str,
    pub main: &'a str,
    pub policy: &'a MergePolicy,
    pub audit: &'a dyn AuditSink,
    rules: HashMap<String, (crate::merge::Table, TableRules)>,
    /// Statements that write single cells, for the table at hand.
    cells: Vec<String>,
    /// Decided so far.
    pub conflicts: u64,
}

/// One row as the three have it.
pub(super) struct Versions {
    base: Option<Row>,
    ours: Option<Row>,
    theirs: Option<Row>,
}

impl Versions {
    /// From ours, theirs and, if there is one, base beside each other; `width` columns each.
    pub fn split(row: mysql_async::Row, width: usize, table: &Table) -> Self {
        let cells: Vec<Cell> = row.unwrap_raw().into_iter().flatten().map(cell).collect();
        let key = table.columns.iter().position(|column| table.key.contains(column)).unwrap_or_default();
        let mut versions = cells.chunks(width.max(1)).map(|version| {
            // Of an outer join: without its key it is not there.
            version.get(key).is_some_and(Option::is_some).then(|| version.to_vec())
        });
        let (ours, theirs) = (versions.next().flatten(), versions.next().flatten());
        Self { base: versions.next().flatten(), ours, theirs }
    }
}

fn cell(value: mysql_async::Value) -> Cell {
    match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).trim_matches('\'').as_bytes().to_vec()),
    }
}

impl<'a> Decider<'a> {
    /// Nothing decided yet.
    pub fn new(
        (database, branch, main): (&'a str, &'a str, &'a str),
        policy: &'a MergePolicy,
        audit: &'a dyn AuditSink,
    ) -> Self {
        let (rules, cells) = (HashMap::new(), Vec::new());
        Self { database, branch, main, policy, audit, rules, cells, conflicts: 0 }
    }

    /// A transaction begins, maybe once more.
    pub fn begin(&mut self) {
        self.cells.clear();
        self.conflicts = 0;
    }

    /// The rules of this table, for rows that both changed.
    pub async fn prepare(&mut self, writer: &mut Conn, name: &str) -> Result<(), FinishError> {
        if !self.rules.contains_key(name) {
            let table = crate::merge::table(writer, name).await.map_err(FinishError::at("read its rules"))?;
            // Uncommitted rows have no time; the one who finishes is who wrote last.
            let rules = table.rules(self.database, self.policy, Some(Side::Theirs));
            self.rules.insert(name.to_owned(), (table, rules));
        }
        Ok(())
    }

    /// A condition for the row if it is to be as on the branch; what else is to be written is kept for
    /// `write_cells`.
    pub async fn decide(&mut self, table: &Table, versions: Versions) -> Result<Option<String>, FinishError> {
        let Some((described, rules)) = self.rules.get(&table.name) else { return Ok(None) };
        let Versions { mut base, mut ours, mut theirs } = versions;
        for row in [&mut base, &mut ours, &mut theirs].into_iter().flatten() {
            described.normalize(row);
        }
        let some = ours.as_deref().or(theirs.as_deref()).unwrap_or_default();
        let key = described.key_text(some);
        let decision = resolve_row(rules, base.as_deref(), ours.as_deref(), theirs.as_deref(), None);
        let condition = key_condition(table, some);
        let (result, row) = match decision.outcome {
            RowOutcome::Undecided(columns) => {
                let columns: Vec<&str> = columns.iter().map(|at| rules.columns[*at].name.as_str()).collect();
                let what =
                    if columns.is_empty() { "whether it stays".to_owned() } else { columns.join(", ") };
                // `branch resolve` decides about Dolt commits, and these rows are in none.
                return Err(FinishError::Ignored {
                    database: self.database.to_owned(),
                    main: self.main.to_owned(),
                    table: table.name.clone(),
                    why: format!(
                        "row {key} was changed on both, and a person decides: {what}; make it the same on {} and {}, or \
                         give the table a rule in [[merge.rules]], and run it again",
                        self.main, self.branch
                    ),
                });
            }
            RowOutcome::Present(row) => (Some(row), "merged"),
            RowOutcome::Absent => (None, "deleted"),
        };
        let mut cells = Vec::new();
        for decided in &decision.cells {
            let at = |row: &Option<Row>| row.as_ref().and_then(|row| row.get(decided.column)).and_then(text);
            cells.push(AuditCell {
                column: rules.columns[decided.column].name.clone(),
                base: at(&base),
                ours: at(&ours),
                theirs: at(&theirs),
                result: text(&decided.value),
                why: decided.why.as_str().to_owned(),
            });
        }
        let why = decision.why.map(|why| why.as_str().to_owned());
        let entry = AuditEntry { table: table.name.clone(), key, row, why, cells };
        self.conflicts += 1;
        self.audit.record(vec![entry]).await.map_err(FinishError::Audit)?;
        if result == ours {
            return Ok(None);
        }
        let (Some(result), Some(ours)) = (&result, &ours) else { return Ok(Some(condition)) };
        if Some(result) == theirs.as_ref() {
            return Ok(Some(condition));
        }
        let changed = table.columns.iter().zip(result).zip(ours).filter(|((_, new), old)| new != old);
        let set: Vec<String> =
            changed.map(|((column, new), _)| format!("{column} = {}", literal(new))).collect();
        self.cells.push(format!(
            "UPDATE {} SET {} WHERE {condition}",
            sql_identifier(&table.name),
            set.join(", ")
        ));
        Ok(None)
    }

    /// Writes single cells that were decided.
    pub async fn write_cells(&mut self, writer: &mut Conn) -> Result<(), mysql_async::Error> {
        for sql in std::mem::take(&mut self.cells) {
            writer.query_drop(sql).await?;
        }
        Ok(())
    }
}

fn key_condition(table: &Table, row: &[Cell]) -> String {
    let cells = table.columns.iter().zip(row).filter(|(column, _)| table.key.contains(column));
    let parts: Vec<String> = cells.map(|(column, cell)| format!("{column} = {}", literal(cell))).collect();
    format!("({})", parts.join(" AND "))
}

fn literal(cell: &Cell) -> String {
    let Some(bytes) = cell else { return "NULL".to_owned() };
    match std::str::from_utf8(bytes) {
        Ok(text) => sql_literal(text),
        Err(_) => format!("x'{}'", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
