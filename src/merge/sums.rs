//! Owns counters that both sides set to the same value: Dolt takes that for agreement, and one side's change would be
//! lost. Does nothing for columns without the rule `sum`.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::MergeRequest;
use super::error::MergeError;
use super::report::{LISTED_MAX, Merged, TableReport};
use super::rules::{CellDecision, Row, RowDecision, RowOutcome, Why};
use super::stream::{Conflict, cell};
use super::table::{self, Table};
use super::values;
use super::write::Writing;
use crate::branch::{sql_identifier, sql_literal};
use crate::config::CellRule;

/// Rows at once; those that were summed aren't found again.
const PAGE_ROWS_MAX: usize = 1000;

/// After the conflicts were resolved: sums what is left in the tables that theirs changed; whether there was any.
pub(super) async fn add_up(
    writer: &mut Conn,
    request: &MergeRequest<'_>,
    merged: &mut Merged,
    tables: &[String],
) -> Result<bool, MergeError> {
    let mut any = false;
    if !request.policy.rules.iter().any(|rule| rule.cells == Some(CellRule::Sum)) {
        return Ok(any);
    }
    for name in tables.iter().filter(|name| !name.starts_with("dolt_")) {
        let exists: Option<String> =
            writer.query_first(format!("SHOW TABLES LIKE {}", sql_literal(&escaped(name)))).await?;
        if exists.is_none() {
            continue;
        }
        let table = table::table(writer, name).await?;
        let sums = |column: &table::Column| {
            request.policy.cells(request.database, name, &column.name) == Some(CellRule::Sum)
        };
        let columns: Vec<usize> = (0..table.columns.len())
            .filter(|at| !table.columns[*at].key && sums(&table.columns[*at]))
            .collect();
        for column in columns.into_iter().filter(|_| table.is_keyed()) {
            any |= column_of(writer, request, merged, &table, column).await?;
        }
    }
    Ok(any)
}

/// `%` and `_` are signs of LIKE.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

async fn column_of(
    writer: &mut Conn,
    request: &MergeRequest<'_>,
    merged: &mut Merged,
    table: &Table,
    column: usize,
) -> Result<bool, MergeError> {
    let sql = question(table, column, merged);
    let mut last = None;
    loop {
        let rows: Vec<mysql_async::Row> = writer.query(&sql).await?;
        let mut writing = Writing::begin(writer, table).await?;
        let mut any = false;
        for row in rows {
            let mut cells: Row = row.unwrap_raw().into_iter().map(|value| value.and_then(cell)).collect();
            let before = cells.pop().flatten();
            table.normalize(&mut cells);
            let key = table.key_text(&cells);
            let decided = request.decisions.iter();
            if decided.filter(|d| d.table.eq_ignore_ascii_case(&table.name)).any(|d| d.key == key) {
                continue;
            }
            let both = cells[column].clone().unwrap_or_default();
            let Some(sum) = values::sum(table.columns[column].kind, before.as_deref(), &both, &both) else {
                let why =
                    format!("{} of row {key} can't be summed; change the rule", table.columns[column].name);
                return Err(MergeError::Unsupported { table: table.name.clone(), why });
            };
            if table.update_trigger {
                let why = format!(
                    "both branches changed {} of row {key} from the same to the same value, and its sum can't be \
                     written without firing the table's trigger; drop the trigger, or change the rule",
                    table.columns[column].name
                );
                return Err(MergeError::Unsupported { table: table.name.clone(), why });
            }
            if !any && last.as_ref() == Some(&key) {
                let why = format!(
                    "{} of row {key} was summed, and Dolt shows it as it was",
                    table.columns[column].name
                );
                return Err(MergeError::Unsupported { table: table.name.clone(), why });
            }
            if !any {
                last = Some(key.clone());
            }
            any = true;
            let mut old = cells.clone();
            old[column] = before;
            let mut new = cells.clone();
            new[column] = Some(sum.clone());
            let decision = RowDecision {
                outcome: RowOutcome::Present(new),
                why: None,
                cells: vec![CellDecision { column, value: Some(sum), why: Why::Sum }],
            };
            let listed: usize = merged.tables.iter().map(|table| table.listed.len()).sum();
            let conflict = Conflict {
                id: String::new(),
                base: Some(old),
                ours: Some(cells.clone()),
                theirs: Some(cells),
            };
            report(merged, table).add(table, (&conflict, &key), &decision, listed < LISTED_MAX);
            writing.add(conflict, key, decision);
        }
        writing.flush(writer, request.audit).await?;
        writing.end(writer).await?;
        if !any {
            return Ok(last.is_some());
        }
    }
}

fn report<'m>(merged: &'m mut Merged, table: &Table) -> &'m mut TableReport {
    let at = merged.tables.iter().position(|report| report.table == table.name);
    let at = at.unwrap_or_else(|| {
        merged.tables.push(TableReport { table: table.name.clone(), ..TableReport::default() });
        merged.tables.len() - 1
    });
    &mut merged.tables[at]
}

/// Rows whose cell both sides changed to the same and that still have it, and what it was before.
fn question(table: &Table, column: usize, merged: &Merged) -> String {
    let of = |prefix: &str, column: &str| sql_identifier(&format!("{prefix}{column}"));
    let columns: Vec<String> = table.columns.iter().map(|c| format!("t.{}", of("", &c.name))).collect();
    let joined = |alias: &str| {
        let keys = table.columns.iter().filter(|column| column.key);
        let on: Vec<String> =
            keys.map(|key| format!("t.{} = {alias}.{}", of("", &key.name), of("to_", &key.name))).collect();
        on.join(" AND ")
    };
    let name = &table.columns[column].name;
    let (now, from, to) = (of("", name), of("from_", name), of("to_", name));
    let diff = |side: &str| {
        let [base, side, table] = [merged.base.as_str(), side, table.name.as_str()].map(sql_literal);
        format!("dolt_diff({base}, {side}, {table})")
    };
    format!(
        "SELECT {}, o.{from} FROM {} t JOIN {} o ON {} JOIN {} x ON {} \
         WHERE t.{now} = o.{to} AND o.{to} = x.{to} AND COALESCE(o.{from}, 0) <> o.{to} AND o.{from} <=> x.{from} \
         LIMIT {PAGE_ROWS_MAX}",
        columns.join(", "),
        sql_identifier(&table.name),
        diff(&merged.ours),
        joined("o"),
        diff(&merged.theirs),
        joined("x"),
    )
}
