//! Owns bringing a ledger up to date: its tables, the rows that match now, one commit for them.
//! Does not push. Always: rows and the source's commit that they are of are one Dolt commit; run again after a crash it
//! goes on, or does nothing; only what main has Dolt-committed is read.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Row;

use super::audit::changed;
use super::error::LedgerError;
use super::look::{self, Head};
use super::rule::{AUTHOR, Rule, WITHDRAWN_TABLE};
use super::shape::Shape;
use super::state::Noted;
use super::text::{Has, Key, copy_all, copy_changed};
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::progress::Progress;
use crate::remote::call::{CallError, RemoteSession};
use crate::session::Context;

/// For one statement that copies rows, or their commit.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Head of the ledger.
    pub head: String,
    /// Head of the source that it is up to.
    pub source: String,
    /// Rows that are new or newer, by table.
    pub rows: Vec<(String, u64)>,
}

/// How the rows of a table are found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    All,
    ChangedSince(String),
}

/// Brings the ledger's database up to the head of main. It has to be there.
pub async fn write(
    context: &Arc<Context>,
    session: &mut RemoteSession,
    rule: &Rule,
    progress: &Progress,
) -> Result<Written, LedgerError> {
    let source = look::main_of(session, &rule.database).await?;
    let shapes = look::shapes(session, rule, &source).await?;
    let head = look::head(session, rule).await?;
    if head.stamp.as_ref().is_some_and(|stamp| stamp.rule != rule.fingerprint()) {
        return Err(changed(rule));
    }
    refuse_foreign_rows(session, rule).await?;
    for published in look::tables(session, &rule.ledger, &head.commit).await? {
        if published != WITHDRAWN_TABLE && !rule.has_table(&published) {
            let what = format!("the table {published} was published before, and is not in `tables` any more");
            return Err(LedgerError::Changed { database: rule.database.clone(), what });
        }
    }
    let noted = context.remotes.ledgers.of(&rule.ledger);
    for shape in &shapes {
        noted_keys(rule, &noted, shape)?;
    }
    let ways = ways(context, session, rule, &head, &shapes, &source).await?;
    let done = || Written { head: head.commit.clone(), source: source.clone(), rows: Vec::new() };
    if ways.iter().all(|(_, way)| matches!(way, Way::ChangedSince(since) if *since == source)) {
        return Ok(done());
    }
    progress.step(format!("copy rows into {}", rule.ledger), Some(ways.len() as u64));
    let copied = copy(session, rule, (&source, &noted), &ways, progress).await;
    match copied {
        Ok(rows) => {
            super::note(context, &rule.ledger, |noted| noted.changing = false).await;
            let Some(rows) = rows else { return Ok(done()) };
            let head = look::main_of(session, &rule.ledger).await?;
            Ok(Written { head, source, rows })
        }
        Err(error) => {
            // Nothing of it may stay for a later commit; a lost session is rolled back by Dolt.
            let _ = session.rows("ROLLBACK").await;
            Err(error)
        }
    }
}

/// The keys of a table that were withdrawn, from this ledger and from those before it.
pub(super) fn noted_keys(rule: &Rule, noted: &Noted, shape: &Shape) -> Result<Vec<Key>, LedgerError> {
    noted.keys(&shape.table, &shape.key, &shape.all).map_err(|key| LedgerError::Unplaced {
        database: rule.database.clone(),
        ledger: rule.ledger.clone(),
        key: format!("{key}, which has other columns now"),
    })
}

/// Each table, brought to its shape, and how its rows are found.
async fn ways<'a>(
    context: &Arc<Context>,
    session: &mut RemoteSession,
    rule: &Rule,
    head: &Head,
    shapes: &'a [Shape],
    source: &str,
) -> Result<Vec<(&'a Shape, Way)>, LedgerError> {
    let since = match &head.stamp {
        Some(stamp) if look::is_ancestor(session, &rule.database, &stamp.source, source).await? => {
            Some(stamp.source.clone())
        }
        _ => None,
    };
    let mut ways = Vec::new();
    for shape in shapes {
        let there = look::table(session, &rule.ledger, "main", &shape.table).await?;
        // A crash may have left the working set a step ahead.
        let committed = look::table(session, &rule.ledger, &head.commit, &shape.table).await?;
        let change = |table: &look::Table| {
            let change = shape.change(rule, &table.columns, &table.key);
            change.map_err(|what| LedgerError::Changed { database: rule.database.clone(), what })
        };
        let compare = committed.as_ref().map(change).transpose()?.is_none_or(|change| change.compare);
        let statements = match &there {
            None => vec![(shape.create(&rule.ledger), format!("the table {} is new", shape.table))],
            Some(there) => change(there)?.statements,
        };
        for (statement, what) in statements {
            // What a crash leaves uncommitted is ours then.
            if !super::note(context, &rule.ledger, |noted| noted.changing = true).await {
                return Err(super::not_noted(context, rule));
            }
            match session.call(&statement, WRITE_TIMEOUT).await {
                Err(CallError::Refused(said)) => {
                    let what = format!("{what}, and Dolt can't do the same in the ledger ({said})");
                    return Err(LedgerError::Changed { database: rule.database.clone(), what });
                }
                called => drop(called.map_err(LedgerError::at("change a table of the ledger"))?),
            }
        }
        let was_there = match &since {
            Some(since) => look::table(session, &rule.database, since, &shape.table).await?,
            None => None,
        };
        // A diff can't tell rows of one key from those of another.
        let is_comparable = was_there.is_some_and(|was| was.key == shape.key && was.name == shape.table);
        let way = match &since {
            Some(since) if is_comparable && !compare => Way::ChangedSince(since.clone()),
            _ => Way::All,
        };
        ways.push((shape, way));
    }
    Ok(ways)
}

/// The rows and their commit, in one transaction. `None`: there was nothing new.
async fn copy(
    session: &mut RemoteSession,
    rule: &Rule,
    (source, noted): (&str, &Noted),
    ways: &[(&Shape, Way)],
    progress: &Progress,
) -> Result<Option<Vec<(String, u64)>>, LedgerError> {
    let step = || LedgerError::at("copy rows into the ledger");
    session.rows(&format!("USE {}", sql_identifier(&rule.database))).await.map_err(step())?;
    session.rows("START TRANSACTION").await.map_err(step())?;
    for (shape, way) in ways {
        let mut withdrawn = look::withdrawn(session, rule, "main", (&shape.table, &shape.key)).await?;
        withdrawn.extend(noted_keys(rule, noted, shape)?);
        let there = look::table(session, &rule.ledger, "main", &shape.table).await?;
        let kept = there.map(|there| shape.kept(&there.columns)).unwrap_or_default();
        let has = Has { withdrawn: &withdrawn, kept: &kept };
        let changed = match way {
            Way::ChangedSince(since) => copy_changed(rule, shape, since, source, has),
            Way::All => None,
        };
        let sql = changed.unwrap_or_else(|| copy_all(rule, shape, source, has));
        session.call(&sql, WRITE_TIMEOUT).await.map_err(step())?;
        progress.advance(1);
    }
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    let mut rows = Vec::new();
    let mut is_changed = false;
    for (table, _) in status(session).await? {
        is_changed = true;
        let count = changed_rows(session, &table).await?;
        rows.push((table, count));
    }
    if !is_changed {
        session.rows("ROLLBACK").await.map_err(step())?;
        return Ok(None);
    }
    commit(session, &rule.message(&subject(&rows), source)).await?;
    Ok(Some(rows))
}

/// Commits what the session's transaction did in the ledger.
pub(super) async fn commit(session: &mut RemoteSession, message: &str) -> Result<(), LedgerError> {
    let sql = format!("CALL DOLT_COMMIT('-A', '-m', {}, '--author', '{AUTHOR}')", sql_literal(message));
    let step = || LedgerError::at("commit in the ledger");
    session.call(&sql, WRITE_TIMEOUT).await.map_err(step())?;
    // Dolt leaves the session in the transaction's snapshot until it is told.
    session.rows("COMMIT").await.map_err(step())?;
    Ok(())
}

fn subject(rows: &[(String, u64)]) -> String {
    let parts: Vec<String> = rows
        .iter()
        .map(|(table, count)| format!("{count} {} of {table}", if *count == 1 { "row" } else { "rows" }))
        .collect();
    format!("Publish {}", parts.join(", "))
}

/// Tables of the current database that are not as they were committed, and how not.
async fn status(session: &mut RemoteSession) -> Result<Vec<(String, String)>, LedgerError> {
    let rows = session.rows("SELECT DISTINCT table_name, status FROM dolt_status").await;
    let rows: Vec<Row> = rows.map_err(LedgerError::at("look at the ledger's uncommitted rows"))?;
    Ok(rows.iter().filter_map(|row| Some((look::text(row, 0)?, look::text(row, 1)?))).collect())
}

async fn changed_rows(session: &mut RemoteSession, table: &str) -> Result<u64, LedgerError> {
    let sql = format!("SELECT COUNT(*) FROM dolt_diff('HEAD', 'WORKING', {})", sql_literal(table));
    let rows = session.call(&sql, WRITE_TIMEOUT).await;
    let rows = rows.map_err(LedgerError::at("look at the ledger's uncommitted rows"))?;
    Ok(rows.first().and_then(|row| look::text(row, 0)).and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// Takes back what is uncommitted in the ledger, whosever it is.
pub async fn discard(session: &mut RemoteSession, rule: &Rule) -> Result<(), LedgerError> {
    for sql in [
        format!("USE {}", sql_identifier(&rule.ledger)),
        "CALL DOLT_RESET('--hard')".to_owned(),
        "CALL DOLT_CLEAN()".to_owned(),
    ] {
        session.rows(&sql).await.map_err(LedgerError::at("take back uncommitted changes of the ledger"))?;
    }
    Ok(())
}

/// What a crash leaves are empty tables and new columns; anything else in the working set is somebody else's.
pub(super) async fn refuse_foreign_rows(session: &mut RemoteSession, rule: &Rule) -> Result<(), LedgerError> {
    let step = || LedgerError::at("look at the ledger's uncommitted rows");
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    for (table, how) in status(session).await? {
        let is_ours = rule.has_table(&table) || table == WITHDRAWN_TABLE;
        if !is_ours || how == "deleted" || changed_rows(session, &table).await? > 0 {
            return Err(LedgerError::Foreign {
                database: rule.database.clone(),
                ledger: rule.ledger.clone(),
                what: format!(
                    "uncommitted changes of {table} (`branchline ledger publish {} --discard` takes them back)",
                    rule.database
                ),
            });
        }
    }
    Ok(())
}
