//! Owns what people are shown of a branch: its commits, and what it would bring to main.
//! Does not format it and changes nothing. Always: bounded in rows and in the length of each cell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mysql_async::{Row, Value};

use super::base::{ForkRecord, base_tag};
use super::directory::{Branches, sql_identifier, sql_literal};
use crate::dolt::{Control, ControlError, ControlSession};
use crate::session::route::Existence;
use crate::session::route::branch_name::printable;

/// For one question; the console gives a command 60 s.
const TIMEOUT: Duration = Duration::from_secs(50);
/// Of a cell; what is longer is cut.
const CELL_CHARS_MAX: usize = 4096;
/// Tables that are compared.
const TABLES_MAX: usize = 1000;
/// Changes of the schema that are shown of a table.
const STATEMENTS_MAX: usize = 100;

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// No such database.
    #[error("there is no database {}; SHOW RIGS lists them", printable(.0))]
    NoDatabase(String),
    /// No such branch.
    #[error("database {} has no branch {}; `branchline branch list` lists them", printable(.database), printable(.branch))]
    NoBranch {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// They have no commit in common.
    #[error("{branch} and {main} of {database} have no commit in common, so there is nothing to compare")]
    Unrelated {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// Its main.
        main: String,
    },
    /// Dolt did not answer, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// One line of a branch's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// What it is.
    pub kind: LogKind,
    /// Hash of the commit; none for what isn't committed.
    pub commit: Option<String>,
    /// `name <mail>`
    pub author: Option<String>,
    /// UTC, as `2026-11-23 15:04:05.123`.
    pub date: Option<String>,
    /// Message of the commit; for uncommitted rows, their tables.
    pub message: String,
}

/// What a line of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Tables that are not Dolt-committed; finishing commits them.
    Uncommitted,
    /// A commit that main doesn't have.
    Commit,
    /// The last commit that main has too.
    ForkPoint,
    /// What was recorded of the fork.
    ForkRecord,
}

impl LogKind {
    /// `uncommitted`, `commit`, `fork point`, `fork`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uncommitted => "uncommitted",
            Self::Commit => "commit",
            Self::ForkPoint => "fork point",
            Self::ForkRecord => "fork",
        }
    }
}

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffQuestion {
    /// In which database.
    pub database: String,
    /// Which branch.
    pub branch: String,
    /// This table only.
    pub table: Option<String>,
    /// Rows that are given back, of all tables together; 0 for counts only.
    pub rows_max: usize,
}

/// What a branch would bring to main of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDiff {
    /// Its name on the branch, or on main if the branch dropped it.
    pub table: String,
    /// `added`, `dropped`, `renamed`, `modified`, as Dolt says.
    pub change: String,
    /// Whether it is an ignored table, which Dolt doesn't merge: its rows are carried.
    pub ignored: bool,
    /// Rows; `None` where Dolt does not count them (keyless tables, changed keys).
    pub counts: Option<RowCounts>,
    /// Statements that change its schema.
    pub schema: Vec<String>,
    /// Changed rows, up to the limit.
    pub rows: Vec<RowDiff>,
    /// Why its rows can't be compared.
    pub problem: Option<String>,
}

/// Rows of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Only on the branch.
    pub added: u64,
    /// Gone from the branch.
    pub removed: u64,
    /// Different.
    pub modified: u64,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDiff {
    /// `added`, `removed`, `modified`
    pub change: String,
    /// Column and value; empty for keyless tables.
    pub key: Vec<(String, String)>,
    /// Cells that differ; of an added or removed row, those that aren't NULL.
    pub cells: Vec<CellDiff>,
}

/// A cell that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellDiff {
    /// Its column.
    pub column: String,
    /// On main when the branch left it.
    pub before: Option<String>,
    /// On the branch.
    pub after: Option<String>,
}

/// A session on the branch, and where the branch left main.
struct Visit {
    session: ControlSession,
    database: String,
    branch: String,
    main: String,
}

impl Visit {
    async fn begin(
        control: &Control,
        branches: &Branches,
        database: &str,
        branch: &str,
    ) -> Result<Self, HistoryError> {
        let listing = branches.listing().await?;
        let spelled =
            listing.database(database).ok_or_else(|| HistoryError::NoDatabase(database.to_owned()))?;
        let Existence::Exists { spelled: branch } = listing.existence(spelled, branch) else {
            let (database, branch) = (spelled.to_owned(), branch.to_owned());
            return Err(HistoryError::NoBranch { database, branch });
        };
        let database = spelled.to_owned();
        let mut session = control.with_timeout(TIMEOUT).dedicated().await?;
        session.execute(&format!("USE {}", sql_identifier(&database)), Vec::new()).await?;
        let main = one(&mut session, "SELECT active_branch()").await?.unwrap_or_default();
        session.execute(&format!("USE {}", revision(&database, &branch)), Vec::new()).await?;
        // One snapshot for all that is read.
        session.execute("START TRANSACTION", Vec::new()).await?;
        Ok(Self { session, database, branch, main })
    }

    async fn fork_point(&mut self) -> Result<String, HistoryError> {
        let sql =
            format!("SELECT dolt_merge_base({}, {})", sql_literal(&self.main), sql_literal(&self.branch));
        one(&mut self.session, &sql).await?.ok_or_else(|| HistoryError::Unrelated {
            database: self.database.clone(),
            branch: self.branch.clone(),
            main: self.main.clone(),
        })
    }

    /// Tables with uncommitted changes, and whether they are ignored.
    async fn uncommitted(&mut self) -> Result<BTreeMap<String, bool>, HistoryError> {
        // Older ones than 1.88 may not have the first.
        let with_ignored = "SELECT table_name, CAST(ignored AS CHAR) FROM dolt_status_ignored";
        let rows = match self.session.rows(with_ignored, Vec::new()).await {
            Err(ControlError::Server { .. }) => {
                self.session.rows("SELECT table_name, '0' FROM dolt_status", Vec::new()).await?
            }
            rows => rows?,
        };
        let table = |row: &Row| {
            Some((text(row, "table_name")?, row.as_ref(1).and_then(value).as_deref() == Some("1")))
        };
        Ok(rows.iter().filter_map(table).collect())
    }

    /// The base tag's name and record.
    async fn record(&mut self) -> Result<Option<(String, Option<ForkRecord>)>, HistoryError> {
        let tag = base_tag(&self.branch);
        let sql = format!("SELECT message FROM dolt_tags WHERE tag_name = {}", sql_literal(&tag));
        let message = one(&mut self.session, &sql).await?;
        Ok(message.map(|message| (tag, ForkRecord::parse(&message))))
    }
}

/// The commits of a branch that main doesn't have, newest first, then where it left main. At most `limit` commits.
pub async fn log(
    control: &Control,
    branches: &Branches,
    database: &str,
    branch: &str,
    limit: usize,
) -> Result<Vec<LogEntry>, HistoryError> {
    let mut visit = Visit::begin(control, branches, database, branch).await?;
    let mut entries = Vec::new();
    let uncommitted: Vec<String> = visit
        .uncommitted()
        .await?
        .into_iter()
        .filter(|(_, ignored)| !ignored)
        .map(|(table, _)| table)
        .collect();
    if !uncommitted.is_empty() {
        let message = uncommitted.join(", ");
        let kind = LogKind::Uncommitted;
        entries.push(LogEntry { kind, commit: None, author: None, date: None, message });
    }
    let (branch, main) = (sql_literal(&visit.branch), sql_literal(&visit.main));
    let sql = format!("SELECT * FROM dolt_log({branch}, '--not', {main}) LIMIT {limit}");
    let rows = visit.session.rows(&sql, Vec::new()).await?;
    entries.extend(rows.iter().map(|row| entry(row, LogKind::Commit)));
    let fork_point = visit.fork_point().await?;
    let sql = format!("SELECT * FROM dolt_log({}) LIMIT 1", sql_literal(&fork_point));
    let rows = visit.session.rows(&sql, Vec::new()).await?;
    entries.extend(rows.iter().map(|row| entry(row, LogKind::ForkPoint)));
    if let Some((_, Some(record))) = visit.record().await? {
        entries.push(fork_entry(record));
    }
    Ok(entries)
}

fn entry(row: &Row, kind: LogKind) -> LogEntry {
    // Before 1.88 the committer is all there is.
    let author = text(row, "author").or_else(|| text(row, "committer"));
    let mail = text(row, "author_email").or_else(|| text(row, "email"));
    let author = match (author, mail) {
        (Some(name), Some(mail)) if !mail.is_empty() => Some(format!("{name} <{mail}>")),
        (name, _) => name,
    };
    let date = text(row, "author_date").or_else(|| text(row, "date"));
    let message = text(row, "message").unwrap_or_default();
    LogEntry { kind, commit: text(row, "commit_hash"), author, date, message }
}

fn fork_entry(record: ForkRecord) -> LogEntry {
    let ForkRecord { worker, by, at, from_branch, from_commit, .. } = record;
    let worker = worker.map(|worker| format!(" for {worker}")).unwrap_or_default();
    let at = crate::observe::time::utc(std::time::UNIX_EPOCH + Duration::from_secs(at));
    let message = format!("forked from {from_branch}{worker}");
    LogEntry {
        kind: LogKind::ForkRecord,
        commit: Some(from_commit),
        author: Some(by),
        date: Some(at),
        message,
    }
}

/// What finishing the branch would bring to main, with its uncommitted rows: table by table, against the commit
/// where it left main.
pub async fn diff(
    control: &Control,
    branches: &Branches,
    question: &DiffQuestion,
) -> Result<Vec<TableDiff>, HistoryError> {
    let mut visit = Visit::begin(control, branches, &question.database, &question.branch).await?;
    let fork_point = visit.fork_point().await?;
    let mut tables = changed_tables(&mut visit, &fork_point).await?;
    if let Some(wanted) = &question.table {
        tables.retain(|table| table.table.eq_ignore_ascii_case(wanted));
    }
    let base_of_ignored = visit.record().await?.map_or_else(|| fork_point.clone(), |(tag, _)| tag);
    let mut left = question.rows_max;
    for table in tables.iter_mut().take(TABLES_MAX) {
        let base = if table.ignored { &base_of_ignored } else { &fork_point };
        compare(&mut visit, base, table, left).await?;
        left = left.saturating_sub(table.rows.len());
    }
    // An ignored table is looked at even where nothing in it changed.
    tables.retain(|table| {
        !table.ignored || table.counts != Some(RowCounts::default()) || table.problem.is_some()
    });
    Ok(tables)
}

async fn changed_tables(visit: &mut Visit, fork_point: &str) -> Result<Vec<TableDiff>, HistoryError> {
    let sql = format!("SELECT * FROM dolt_diff_summary({}, 'WORKING')", sql_literal(fork_point));
    let rows = visit.session.rows(&sql, Vec::new()).await?;
    let mut tables: Vec<TableDiff> = rows
        .iter()
        .filter_map(|row| {
            let name = |column| text(row, column).filter(|name| !name.is_empty());
            let table = name("to_table_name").or_else(|| name("from_table_name"))?;
            let has_schema = text(row, "schema_change").as_deref() == Some("1");
            let mut table = TableDiff::new(table, text(row, "diff_type").unwrap_or_default(), false);
            if has_schema {
                table.schema.push(String::new());
            }
            Some(table)
        })
        .collect();
    let known: BTreeSet<String> = tables.iter().map(|table| table.table.clone()).collect();
    let ignored =
        visit.uncommitted().await?.into_iter().filter(|(table, ignored)| *ignored && !known.contains(table));
    tables.extend(ignored.map(|(table, _)| TableDiff::new(table, "modified".to_owned(), true)));
    for table in tables.iter_mut().filter(|table| !table.schema.is_empty()) {
        let sql = format!(
            "SELECT statement FROM dolt_patch({}, 'WORKING', {}) WHERE diff_type = 'schema' \
             ORDER BY statement_order LIMIT {STATEMENTS_MAX}",
            sql_literal(fork_point),
            sql_literal(&table.table)
        );
        table.schema = match visit.session.rows(&sql, Vec::new()).await {
            Ok(rows) => rows.iter().filter_map(|row| text(row, "statement")).collect(),
            Err(ControlError::Server { message, .. }) => vec![format!("-- not known: {message}")],
            Err(error) => return Err(error.into()),
        };
    }
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(tables)
}

impl TableDiff {
    fn new(table: String, change: String, ignored: bool) -> Self {
        let (schema, rows) = (Vec::new(), Vec::new());
        Self { table, change, ignored, counts: None, schema, rows, problem: None }
    }
}

/// Fills in counts and up to `rows_max` rows. What Dolt can't compare is said, and no error.
async fn compare(
    visit: &mut Visit,
    base: &str,
    table: &mut TableDiff,
    rows_max: usize,
) -> Result<(), HistoryError> {
    let arguments = format!("{}, 'WORKING', {}", sql_literal(base), sql_literal(&table.table));
    let stat = visit.session.rows(&format!("SELECT * FROM dolt_diff_stat({arguments})"), Vec::new()).await;
    table.counts = match stat {
        Ok(rows) => match rows.first() {
            None => Some(RowCounts::default()),
            Some(row) => counts(row),
        },
        Err(ControlError::Server { message, .. }) => {
            table.problem = Some(message);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if rows_max == 0 {
        return Ok(());
    }
    let keys = key_columns(visit, base, &table.table).await?;
    let sql = format!("SELECT * FROM dolt_diff({arguments}) LIMIT {rows_max}");
    match visit.session.rows(&sql, Vec::new()).await {
        Ok(rows) => table.rows = rows.iter().map(|row| row_diff(row, &keys)).collect(),
        Err(ControlError::Server { message, .. }) => table.problem = Some(message),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn counts(row: &Row) -> Option<RowCounts> {
    let count = |column| text(row, column)?.parse().ok();
    Some(RowCounts {
        added: count("rows_added")?,
        removed: count("rows_deleted")?,
        modified: count("rows_modified")?,
    })
}

/// In lower case. On the branch, or where it was forked if the branch has dropped the table.
async fn key_columns(visit: &mut Visit, base: &str, table: &str) -> Result<BTreeSet<String>, HistoryError> {
    let here = format!("SHOW COLUMNS FROM {}", sql_identifier(table));
    let rows = match visit.session.rows(&here, Vec::new()).await {
        Err(ControlError::Server { .. }) => {
            let there =
                format!("SHOW COLUMNS FROM {}.{}", revision(&visit.database, base), sql_identifier(table));
            match visit.session.rows(&there, Vec::new()).await {
                Err(ControlError::Server { .. }) => Vec::new(),
                rows => rows?,
            }
        }
        rows => rows?,
    };
    let is_key = |row: &&Row| text(row, "Key").as_deref() == Some("PRI");
    Ok(rows
        .iter()
        .filter(is_key)
        .filter_map(|row| text(row, "Field"))
        .map(|name| name.to_lowercase())
        .collect())
}

/// `to_x` and `from_x` of each column, then what the commits were.
fn row_diff(row: &Row, keys: &BTreeSet<String>) -> RowDiff {
    let mut cells: Vec<CellDiff> = Vec::new();
    let mut change = String::new();
    for (at, column) in row.columns_ref().iter().enumerate() {
        let name = column.name_str();
        let cell = row.as_ref(at).and_then(value);
        if name == "diff_type" {
            change = cell.unwrap_or_default();
            continue;
        }
        // After the columns of the table come those of the commits, which it may have of its own too.
        let Some((is_after, name)) = name
            .strip_prefix("to_")
            .map(|name| (true, name))
            .or(name.strip_prefix("from_").map(|name| (false, name)))
        else {
            continue;
        };
        let place = match cells.iter_mut().position(|known| known.column == name) {
            Some(at) => &mut cells[at],
            None => {
                cells.push(CellDiff { column: name.to_owned(), before: None, after: None });
                let last = cells.len() - 1;
                &mut cells[last]
            }
        };
        *(if is_after { &mut place.after } else { &mut place.before }) = cell;
    }
    cells.retain(|cell| !matches!(cell.column.as_str(), "commit" | "commit_date"));
    let removed = change == "removed";
    let key = cells
        .iter()
        .filter(|cell| keys.contains(&cell.column.to_lowercase()))
        .map(|cell| {
            let side = if removed { &cell.before } else { &cell.after };
            (cell.column.clone(), side.clone().unwrap_or_else(|| "NULL".to_owned()))
        })
        .collect();
    cells.retain(|cell| cell.before != cell.after && !keys.contains(&cell.column.to_lowercase()));
    RowDiff { change, key, cells }
}

async fn one(session: &mut ControlSession, sql: &str) -> Result<Option<String>, ControlError> {
    Ok(session.rows(sql, Vec::new()).await?.first().and_then(|row| row.as_ref(0).and_then(value)))
}

fn text(row: &Row, column: &str) -> Option<String> {
    let at = row.columns_ref().iter().position(|known| known.name_str().eq_ignore_ascii_case(column))?;
    row.as_ref(at).and_then(value)
}

/// As people can read it: bytes that aren't text as `0x…`, and cut.
fn value(value: &Value) -> Option<String> {
    let Value::Bytes(bytes) = value else {
        return match value {
            Value::NULL => None,
            other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
        };
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let shown = &bytes[..bytes.len().min(CELL_CHARS_MAX)];
            shown.iter().fold("0x".to_owned(), |mut text, byte| {
                use std::fmt::Write;
                let _ = write!(text, "{byte:02X}");
                text
            })
        }
    };
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => Some(format!("{}… ({} bytes)", &text[..end], bytes.len())),
        None => Some(text),
    }
}

fn revision(database: &str, revision: &str) -> String {
    sql_identifier(&format!("{database}/{revision}"))
}
