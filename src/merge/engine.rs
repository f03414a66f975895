//! The steps of a merge, in order.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row as DoltRow};

use super::MergeRequest;
use super::decision::Decision;
use super::error::{MergeError, UndecidedRow};
use super::report::{ConflictView, LISTED_MAX, Merged, TableReport, Wanted};
use super::rules::{RowOutcome, Side, TableRules, resolve_row};
use super::session;
use super::stream::{self, Conflict};
use super::sums;
use super::table::{self, Table, text};
use super::write::Writing;
use crate::branch::{sql_identifier, sql_literal};

/// Violations that an error names, per table.
const VIOLATIONS_LISTED_MAX: usize = 5;

/// Merges in the open transaction (`autocommit = 0`) of `writer`, which is on the branch that is merged into and has
/// no uncommitted rows in tables that the merge changes. Resolves every conflict, checks constraints and stages what
/// was merged; the caller commits. After an error the caller rolls back, and nothing has changed.
/// `reader` is a second connection with the same rights; its current database and settings change. What is set on
/// `writer` meanwhile (sql_mode, time_zone, foreign_key_checks, dolt_dont_merge_json) is the server's default afterwards.
pub async fn merge_into(
    writer: &mut Conn,
    reader: &mut Conn,
    request: &MergeRequest<'_>,
) -> Result<Merged, MergeError> {
    session::apply(writer, reader, request.database).await?;
    let merged = Merge::begin(writer, request).await;
    let merged = match merged {
        Ok(merge) => merge.run(writer, reader).await,
        Err(error) => Err(error),
    };
    let restored = session::restore(writer).await;
    let merged = merged?;
    restored?;
    Ok(merged)
}

/// The conflicts that a merge would have, with what the rules would do: those that are wanted. Merges nothing. The
/// connections are as for `merge_into`, but no transaction is needed.
pub async fn conflicts(
    writer: &mut Conn,
    reader: &mut Conn,
    request: &MergeRequest<'_>,
    wanted: &Wanted<'_>,
) -> Result<Vec<ConflictView>, MergeError> {
    session::apply(writer, reader, request.database).await?;
    let views = match Merge::begin(writer, request).await {
        Ok(merge) => merge.views(writer, reader, wanted).await,
        Err(error) => Err(error),
    };
    let restored = session::restore(writer).await;
    let views = views?;
    restored?;
    Ok(views)
}

struct Merge<'a> {
    request: &'a MergeRequest<'a>,
    merged: Merged,
}

/// Conflicts in a table by what Dolt foresees.
struct Foreseen {
    table: String,
    rows: u64,
    schema: u64,
}

/// One table being resolved.
struct Resolving {
    table: Table,
    rules: TableRules,
    decisions: BTreeMap<String, Decision>,
}

impl<'a> Merge<'a> {
    async fn begin(writer: &mut Conn, request: &'a MergeRequest<'a>) -> Result<Self, MergeError> {
        let theirs = sql_literal(request.theirs);
        let sql =
            format!("SELECT dolt_hashof('HEAD'), dolt_hashof({theirs}), dolt_merge_base('HEAD', {theirs})");
        let strangers = || MergeError::Refused("the two have no commit in common".to_owned());
        let found: Option<(String, String, Option<String>)> = match writer.query_first(sql).await {
            Err(mysql_async::Error::Server(error)) if error.message.contains("no common ancestor") => {
                return Err(strangers());
            }
            found => found?,
        };
        let Some((ours, theirs, Some(base))) = found else { return Err(strangers()) };
        let merged = Merged { up_to_date: base == theirs, base, ours, theirs, ..Merged::default() };
        Ok(Self { request, merged })
    }

    async fn run(mut self, writer: &mut Conn, reader: &mut Conn) -> Result<Merged, MergeError> {
        if self.merged.up_to_date {
            return Ok(self.merged);
        }
        let progress = self.request.progress;
        progress.step("compare the branches", None);
        let (changed, foreseen) = tokio::join!(self.changed_tables(reader), self.foreseen(writer));
        let (changed, foreseen) = (changed?, foreseen?);
        self.merged.tables = changed
            .iter()
            .map(|table| TableReport { table: table.clone(), ..TableReport::default() })
            .collect();
        for conflict in &foreseen {
            self.refuse_what_ends_dolt(writer, conflict).await?;
        }
        progress.step("merge", None);
        let is_whole = self.merge(writer).await?;
        if !is_whole {
            schema_conflicts(writer).await?;
            violations(writer).await?;
            self.resolve(writer, reader).await?;
        }
        let is_summed = sums::add_up(writer, self.request, &mut self.merged, &changed).await?;
        // Else Dolt has checked and staged what it merged.
        if !is_whole || is_summed {
            progress.step("check constraints", None);
            writer.query_drop("CALL DOLT_VERIFY_CONSTRAINTS()").await?;
            violations(writer).await?;
            stage(writer, &changed).await?;
        }
        Ok(self.merged)
    }

    async fn changed_tables(&self, reader: &mut Conn) -> Result<Vec<String>, MergeError> {
        let (base, theirs) = (sql_literal(&self.merged.base), sql_literal(&self.merged.theirs));
        let sql = format!("SELECT from_table_name, to_table_name FROM dolt_diff_summary({base}, {theirs})");
        let rows: Vec<(Option<String>, Option<String>)> = reader.query(sql).await?;
        let mut names: Vec<String> = rows.into_iter().flat_map(|(from, to)| [from, to]).flatten().collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn foreseen(&self, reader: &mut Conn) -> Result<Vec<Foreseen>, MergeError> {
        let (ours, theirs) = (sql_literal(&self.merged.ours), sql_literal(&self.merged.theirs));
        let sql = format!(
            "SELECT `table`, num_data_conflicts, num_schema_conflicts \
             FROM DOLT_PREVIEW_MERGE_CONFLICTS_SUMMARY({ours}, {theirs})"
        );
        let rows: Vec<(String, Option<u64>, Option<u64>)> = match reader.query(sql).await {
            Err(mysql_async::Error::Server(error)) => {
                return Err(self.dropped(reader, error.message).await?);
            }
            rows => rows?,
        };
        let foreseen = |(table, rows, schema): (String, Option<u64>, Option<u64>)| Foreseen {
            table,
            rows: rows.unwrap_or_default(),
            schema: schema.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(foreseen).collect())
    }

    /// Dolt refuses to look at a table that one side dropped and the other changed, and doesn't say which it is.
    async fn dropped(&self, reader: &mut Conn, refusal: String) -> Result<MergeError, MergeError> {
        let mut sides = Vec::new();
        for side in [&self.merged.ours, &self.merged.theirs] {
            let (base, side) = (sql_literal(&self.merged.base), sql_literal(side));
            let sql = format!("SELECT from_table_name, diff_type FROM dolt_diff_summary({base}, {side})");
            let rows: Vec<(Option<String>, String)> = reader.query(sql).await?;
            sides.push(rows);
        }
        let mut tables = Vec::new();
        for (dropping, changing, what) in [
            (0, 1, "dropped on the branch that is merged into, changed on the one that is merged"),
            (1, 0, "dropped on the branch that is merged, changed on the one that is merged into"),
        ] {
            let dropped = sides[dropping].iter().filter(|(_, what)| what == "dropped");
            let changed = |table: &Option<String>| {
                sides[changing].iter().any(|(name, what)| name == table && what != "dropped")
            };
            let both = dropped.filter(|(table, _)| changed(table)).filter_map(|(table, _)| table.clone());
            tables.extend(both.map(|table| (table, what.to_owned())));
        }
        Ok(if tables.is_empty() {
            MergeError::Refused(refusal)
        } else {
            MergeError::SchemaConflicts { tables }
        })
    }

    async fn refuse_what_ends_dolt(&self, writer: &mut Conn, conflict: &Foreseen) -> Result<(), MergeError> {
        if conflict.rows > 0
            && conflict.schema == 0
            && table::table(writer, &conflict.table).await?.crashes_dolt
        {
            let why = format!(
                "both branches changed {} of its rows differently, and this Dolt would crash when it merges them, since \
                 the table has a STORED generated column and no index; CREATE INDEX on the table on both \
                 branches, Dolt-commit there, and merge again",
                conflict.rows
            );
            return Err(MergeError::Unsupported { table: conflict.table.clone(), why });
        }
        Ok(())
    }

    /// Whether Dolt merged all of it: no conflicts, and no constraint is violated.
    async fn merge(&self, writer: &mut Conn) -> Result<bool, MergeError> {
        let sql = format!("CALL DOLT_MERGE('--no-ff', '--no-commit', {})", sql_literal(&self.merged.theirs));
        let row: Option<DoltRow> = match writer.query_first(sql).await {
            Err(mysql_async::Error::Server(error)) => return Err(MergeError::Refused(error.message)),
            row => row?,
        };
        let conflicts = row.and_then(|row| row.get::<Option<i64>, _>("conflicts")).flatten();
        Ok(conflicts == Some(0))
    }

    /// What Dolt couldn't merge by itself, table by table.
    async fn resolve(&mut self, writer: &mut Conn, reader: &mut Conn) -> Result<(), MergeError> {
        let conflicted: Vec<(String, u64)> =
            writer.query("SELECT `table`, num_conflicts FROM dolt_conflicts ORDER BY `table`").await?;
        let mut undecided = Undecided::default();
        for (name, rows) in conflicted {
            let resolving = self.resolving(writer, reader, &name).await?;
            if !resolving.table.is_keyed() {
                return Err(MergeError::Keyless { table: name, rows });
            }
            self.request.progress.step(format!("resolve conflicts in {name}"), Some(rows));
            let report = self.resolve_table(writer, reader, &resolving, &mut undecided).await?;
            if undecided.total == 0 && report.conflicts != rows {
                let what =
                    format!("{name} has {rows} conflicts, of which {} were foreseen", report.conflicts);
                return Err(MergeError::Refused(what));
            }
            match self.merged.tables.iter_mut().find(|table| table.table == name) {
                Some(table) => *table = report,
                None => self.merged.tables.push(report),
            }
        }
        undecided.into_result()
    }

    async fn resolving(
        &self,
        writer: &mut Conn,
        reader: &mut Conn,
        name: &str,
    ) -> Result<Resolving, MergeError> {
        let table = table::table(writer, name).await?;
        let newer = self.newer(reader, name).await?;
        let rules = table.rules(self.request.database, self.request.policy, newer);
        let of_table =
            self.request.decisions.iter().filter(|decision| decision.table.eq_ignore_ascii_case(name));
        let decisions = of_table.map(|decision| (decision.key.clone(), decision.clone())).collect();
        Ok(Resolving { table, rules, decisions })
    }

    /// Whose last commit that touched the table is newer.
    async fn newer(&self, reader: &mut Conn, table: &str) -> Result<Option<Side>, MergeError> {
        let mut last = Vec::new();
        for side in [&self.merged.ours, &self.merged.theirs] {
            let range = sql_literal(&format!("{}..{side}", self.merged.base));
            let sql = format!(
                "SELECT CAST(date AS CHAR) FROM dolt_log({range}, '--tables', {}) ORDER BY date DESC LIMIT 1",
                sql_literal(table)
            );
            let date: Option<String> = reader.query_first(sql).await?;
            last.push(date);
        }
        Ok(match last[0].cmp(&last[1]) {
            std::cmp::Ordering::Greater => Some(Side::Ours),
            std::cmp::Ordering::Less => Some(Side::Theirs),
            std::cmp::Ordering::Equal => None,
        })
    }

    async fn resolve_table(
        &mut self,
        writer: &mut Conn,
        reader: &mut Conn,
        resolving: &Resolving,
        undecided: &mut Undecided,
    ) -> Result<TableReport, MergeError> {
        let table = &resolving.table;
        let mut report = TableReport { table: table.name.clone(), ..TableReport::default() };
        let mut listed = self.merged.tables.iter().map(|table| table.listed.len()).sum::<usize>();
        let mut writing = Writing::begin(writer, table).await?;
        let mut conflicts = stream::conflicts(reader, table, &self.merged.ours, &self.merged.theirs).await?;
        while let Some(conflict) = conflicts.next().await? {
            let key = conflict.key(table);
            let (decision, stale) = resolving.decide(&conflict, &key)?;
            if stale {
                self.merged.stale_decisions.push((table.name.clone(), key.clone()));
            }
            if let RowOutcome::Undecided(columns) = &decision.outcome {
                undecided.add(table, key, columns, stale);
                continue;
            }
            // Nothing is written any more that will be rolled back.
            if undecided.total > 0 {
                continue;
            }
            report.add(table, (&conflict, &key), &decision, listed < LISTED_MAX);
            listed += 1;
            writing.add(conflict, key, decision);
            if writing.is_full() {
                let rows = writing.flush(writer, self.request.audit).await?;
                self.request.progress.advance(rows);
            }
        }
        drop(conflicts);
        if undecided.total == 0 {
            let rows = writing.flush(writer, self.request.audit).await?;
            self.request.progress.advance(rows);
            writing.finish(writer).await?;
        }
        Ok(report)
    }

    async fn views(
        &self,
        writer: &mut Conn,
        reader: &mut Conn,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<ConflictView>, MergeError> {
        let limit = wanted.limit;
        let is_wanted = |table: &str| wanted.table.is_none_or(|name| name.eq_ignore_ascii_case(table));
        let mut views = Vec::new();
        if self.merged.up_to_date {
            return Ok(views);
        }
        let foreseen = self.foreseen(reader).await?;
        let schema: Vec<(String, String)> = foreseen
            .iter()
            .filter(|conflict| conflict.schema > 0)
            .map(|conflict| (conflict.table.clone(), format!("{} differences", conflict.schema)))
            .collect();
        if !schema.is_empty() {
            return Err(MergeError::SchemaConflicts { tables: schema });
        }
        for conflict in foreseen.iter().filter(|conflict| conflict.rows > 0 && is_wanted(&conflict.table)) {
            let resolving = self.resolving(writer, reader, &conflict.table).await?;
            if !resolving.table.is_keyed() {
                return Err(MergeError::Keyless { table: conflict.table.clone(), rows: conflict.rows });
            }
            if views.len() >= limit {
                break;
            }
            let mut conflicts =
                stream::conflicts(reader, &resolving.table, &self.merged.ours, &self.merged.theirs).await?;
            while views.len() < limit {
                let Some(conflict) = conflicts.next().await? else { break };
                let view = resolving.view(&conflict)?;
                if (wanted.row)(&view) {
                    views.push(view);
                }
            }
            conflicts.end().await?;
        }
        Ok(views)
    }
}

impl Resolving {
    /// What becomes of the row, and whether there was a decision about other versions of it.
    fn decide(&self, conflict: &Conflict, key: &str) -> Result<(super::RowDecision, bool), MergeError> {
        let decision = self.decisions.get(key);
        let fresh = decision.filter(|decision| decision.fingerprint == conflict.fingerprint());
        if let Some(super::Choice::Set(values)) = fresh.map(|decision| &decision.choice) {
            for name in values.keys() {
                let column = self.table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
                let what = match column {
                    None => "has no such column that could be set",
                    Some(column) if column.key => "is part of the primary key, which can't be set",
                    Some(_) => continue,
                };
                let why = format!("{name} {what}: decide {key} again");
                return Err(MergeError::Unsupported { table: self.table.name.clone(), why });
            }
        }
        let [base, ours, theirs] = conflict.versions();
        let choice = fresh.map(|decision| &decision.choice);
        Ok((resolve_row(&self.rules, base, ours, theirs, choice), decision.is_some() && fresh.is_none()))
    }

    fn view(&self, conflict: &Conflict) -> Result<ConflictView, MergeError> {
        let key = conflict.key(&self.table);
        let (decision, stale) = self.decide(conflict, &key)?;
        let texts = |row: &[super::Cell]| row.iter().map(text).collect::<Vec<_>>();
        let name = |column: usize| self.table.columns[column].name.clone();
        let [base, ours, theirs] = conflict.versions().map(|version| version.map(texts));
        let rows = decision.why.iter().map(|why| (None, why.as_str()));
        let cells = decision.cells.iter().map(|cell| (Some(name(cell.column)), cell.why.as_str()));
        let (result, undecided) = match &decision.outcome {
            RowOutcome::Present(row) => (Some(texts(row)), None),
            RowOutcome::Absent => (None, None),
            RowOutcome::Undecided(columns) => {
                (None, Some(columns.iter().map(|column| name(*column)).collect()))
            }
        };
        let choice = self.decisions.get(&key).filter(|_| !stale).map(|decision| decision.choice.clone());
        Ok(ConflictView {
            table: self.table.name.clone(),
            columns: self.table.columns.iter().map(|column| column.name.clone()).collect(),
            base,
            ours,
            theirs,
            result,
            decided: rows.chain(cells).collect(),
            undecided: undecided.is_some(),
            undecided_columns: undecided.unwrap_or_default(),
            fingerprint: conflict.fingerprint(),
            choice,
            key,
        })
    }
}

#[derive(Default)]
struct Undecided {
    rows: Vec<UndecidedRow>,
    total: u64,
}

impl Undecided {
    fn add(&mut self, table: &Table, key: String, columns: &[usize], stale_decision: bool) {
        self.total += 1;
        if self.rows.len() < LISTED_MAX {
            let columns = columns.iter().map(|column| table.columns[*column].name.clone()).collect();
            self.rows.push(UndecidedRow { table: table.name.clone(), key, columns, stale_decision });
        }
    }

    fn into_result(self) -> Result<(), MergeError> {
        if self.total == 0 {
            Ok(())
        } else {
            Err(MergeError::Undecided { rows: self.rows, total: self.total })
        }
    }
}

async fn schema_conflicts(writer: &mut Conn) -> Result<(), MergeError> {
    let tables: Vec<(String, Option<String>)> =
        writer.query("SELECT table_name, description FROM dolt_schema_conflicts").await?;
    if tables.is_empty() {
        return Ok(());
    }
    let tables = tables.into_iter().map(|(table, what)| (table, what.unwrap_or_default())).collect();
    Err(MergeError::SchemaConflicts { tables })
}

async fn violations(writer: &mut Conn) -> Result<(), MergeError> {
    let tables: Vec<(String, u64)> = writer
        .query("SELECT `table`, num_violations FROM dolt_constraint_violations ORDER BY `table`")
        .await?;
    if tables.is_empty() {
        return Ok(());
    }
    let mut violations = Vec::new();
    for (name, count) in tables {
        let table = table::table(writer, &name).await?;
        let keys: Vec<_> =
            table.columns.iter().filter(|column| column.key).map(|c| sql_identifier(&c.name)).collect();
        let keys = if keys.is_empty() { "''".to_owned() } else { keys.join(", ") };
        let sql = format!(
            "SELECT violation_type, CAST(violation_info AS CHAR), CONCAT_WS(',', {keys}) FROM {} LIMIT {VIOLATIONS_LISTED_MAX}",
            sql_identifier(&format!("dolt_constraint_violations_{name}"))
        );
        let rows: Vec<DoltRow> = writer.query(sql).await?;
        let text = |row: &DoltRow, at: usize| {
            row.get::<Option<Vec<u8>>, _>(at)
                .flatten()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let mut what: Vec<String> = rows
            .iter()
            .map(|row| {
                let [kind, info, key] = [0, 1, 2].map(|at| text(row, at).unwrap_or_default());
                format!("{kind} {} in row {key}", constraint_name(&info))
            })
            .collect();
        if count > what.len() as u64 {
            what.push(format!("and {} more", count - what.len() as u64));
        }
        violations.push((name, what.join(", ")));
    }
    Err(MergeError::ConstraintViolations { violations })
}

/// Out of Dolt's description of it.
fn constraint_name(info: &str) -> String {
    let info: serde_json::Value = serde_json::from_str(info).unwrap_or_default();
    let name = ["ForeignKey", "Name"].iter().find_map(|key| info[key].as_str());
    let columns =
        || Some(info["Columns"].as_array()?.iter().filter_map(|c| c.as_str()).collect::<Vec<_>>().join(", "));
    name.map(str::to_owned).or_else(columns).unwrap_or_default()
}

/// What the merge changed, and nothing else.
async fn stage(writer: &mut Conn, changed: &[String]) -> Result<(), MergeError> {
    let unstaged: Vec<String> = writer.query("SELECT table_name FROM dolt_status WHERE NOT staged").await?;
    for table in unstaged.iter().filter(|table| changed.contains(table)) {
        writer.exec_drop("CALL DOLT_ADD(?)", (table,)).await?;
    }
    Ok(())
}
