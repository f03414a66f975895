//! Owns the check of the ledger's commits before they are pushed: each row is the source's, matched, and nothing is lost.
//! Does not write. Always: a commit that passes holds of each row exactly the published columns of the source's row at
//! the commit named in its stamp.

use std::time::Duration;

use super::error::LedgerError;
use super::look::{self, Commit};
use super::rule::{Rule, WITHDRAWN_TABLE};
use super::text::{Checked, count_wrong};
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::progress::Progress;
use crate::remote::call::{CallError, RemoteSession};

/// For the check of one table of one commit.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(120);

/// Commits in one go; more are a ledger that somebody else filled.
pub(super) const COMMITS_MAX: usize = 100_000;

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audited {
    /// Commits that are as they should be.
    pub commits: usize,
    /// Those that can't be compared any more: the source's commits that they name are gone. Each in words.
    pub gone: Vec<String>,
}

/// What is wrong with a table of a commit.
enum Wrong {
    Rows(u64),
    All(String),
    Gone(String),
}

/// Checks what `to` has and `from` has not.
pub async fn check(
    session: &mut RemoteSession,
    rule: &Rule,
    from: Option<&str>,
    to: &str,
    progress: &Progress,
) -> Result<Audited, LedgerError> {
    let commits = look::commits(session, &rule.ledger, from, to, COMMITS_MAX).await?;
    progress.step(format!("check commits of {}", rule.ledger), Some(commits.len() as u64));
    let mut audited = Audited::default();
    for commit in &commits {
        match check_commit(session, rule, commit).await? {
            None => audited.commits += 1,
            Some(gone) => audited.gone.push(format!("commit {}: {gone}", commit.hash)),
        }
        progress.advance(1);
    }
    Ok(audited)
}

pub(super) fn foreign(rule: &Rule, what: String) -> LedgerError {
    LedgerError::Foreign { database: rule.database.clone(), ledger: rule.ledger.clone(), what }
}

/// `Some`: it can't be compared, and why.
async fn check_commit(
    session: &mut RemoteSession,
    rule: &Rule,
    commit: &Commit,
) -> Result<Option<String>, LedgerError> {
    let foreign = |what: String| foreign(rule, what);
    let mut gone = None;
    let hash = &commit.hash;
    let tables = look::tables(session, &rule.ledger, hash).await?;
    if commit.parents.is_empty() {
        return match tables.first() {
            None => Ok(None),
            Some(table) => Err(foreign(format!("the first commit, {hash}, has a table {table}"))),
        };
    }
    let (Some(stamp), [parent]) = (commit.stamp(), commit.parents.as_slice()) else {
        return Err(foreign(format!("commit {hash} by {}", commit.author)));
    };
    if stamp.rule != rule.fingerprint() {
        return Err(changed(rule));
    }
    let before = look::tables(session, &rule.ledger, parent).await?;
    if let Some(lost) = before.iter().find(|table| !tables.contains(table)) {
        return Err(foreign(format!("commit {hash} takes the table {lost} away")));
    }
    for table in &tables {
        if table == WITHDRAWN_TABLE {
            let lost = format!(
                "SELECT COUNT(*) FROM dolt_diff({}, {}, '{WITHDRAWN_TABLE}') WHERE diff_type <> 'added'",
                sql_literal(parent),
                sql_literal(hash)
            );
            if before.contains(table) && count(session, rule, &lost).await? > 0 {
                return Err(foreign(format!("commit {hash} changes what was withdrawn")));
            }
            continue;
        }
        if !rule.has_table(table) {
            return Err(foreign(format!("commit {hash} has a table {table}, which is not published")));
        }
        match wrong_rows(session, rule, table, (parent, hash, &stamp.source)).await? {
            Wrong::Rows(0) => {}
            Wrong::Rows(count) => {
                let rows = if count == 1 { "row" } else { "rows" };
                return Err(foreign(format!(
                    "commit {hash} has {count} {rows} of {table} that are not as {} has them at {}, or lost them",
                    rule.database, stamp.source
                )));
            }
            Wrong::All(what) => return Err(foreign(format!("commit {hash}: {what}"))),
            Wrong::Gone(what) => gone = Some(what),
        }
    }
    Ok(gone)
}

/// How many rows of a table are not as they should be, or what is wrong with all of it.
async fn wrong_rows(
    session: &mut RemoteSession,
    rule: &Rule,
    table: &str,
    (parent, commit, source): (&str, &str, &str),
) -> Result<Wrong, LedgerError> {
    let here = look::table(session, &rule.ledger, commit, table).await?;
    let before = look::table(session, &rule.ledger, parent, table).await?;
    let there = match look::table(session, &rule.database, source, table).await {
        Ok(there) => there,
        // What was published before main was rewritten can't be compared any more once Dolt has collected it.
        Err(LedgerError::Dolt { error: CallError::Refused(said), .. }) => {
            return Ok(Wrong::Gone(format!(
                "the commit {source} of {} that it came from is not there any more ({said})",
                rule.database
            )));
        }
        Err(error) => return Err(error),
    };
    let (Some(here), Some(there)) = (here, there) else {
        return Ok(Wrong::All(format!("{} had no table {table} at {source}", rule.database)));
    };
    if let Some(secret) = here.columns.iter().find(|column| rule.excludes(&column.name)) {
        return Ok(Wrong::All(format!(
            "{table} has the column {}, which is in columns_excluded",
            secret.name
        )));
    }
    let mut shape = match super::shape::Shape::of(rule, &there.name, &there.columns, there.key) {
        Ok(shape) => shape,
        Err(what) => return Ok(Wrong::All(what)),
    };
    let has = |columns: &[super::shape::Shown], name: &str| {
        columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))
    };
    let is_lost = shape.key.iter().find(|name| !has(&here.columns, name)).cloned();
    if let Some(lost) = is_lost {
        return Ok(Wrong::All(format!("{table} has no column {lost}")));
    }
    shape.columns.retain(|column| has(&here.columns, &column.name));
    let kept = shape.kept(&here.columns);
    let withdrawn = look::withdrawn(session, rule, commit, (table, &shape.key)).await?;
    let before = before.map(|before| before.columns).unwrap_or_default();
    let of = Checked { parent, commit, source, before: &before, here: &here.columns };
    let sql = count_wrong(rule, &shape, &kept, of, &withdrawn);
    count(session, rule, &sql).await.map(Wrong::Rows)
}

async fn count(session: &mut RemoteSession, rule: &Rule, sql: &str) -> Result<u64, LedgerError> {
    let step = || LedgerError::at("check a commit of the ledger");
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    let rows = session.call(sql, CHECK_TIMEOUT).await.map_err(step())?;
    let count = rows.first().and_then(|row| look::text(row, 0)).and_then(|count| count.parse().ok());
    count.ok_or_else(|| step()(CallError::Refused("no count".to_owned())))
}

/// Other rows were published by another condition.
pub(super) fn changed(rule: &Rule) -> LedgerError {
    LedgerError::Changed {
        database: rule.database.clone(),
        what: "what is published there was chosen by another `where`".to_owned(),
    }
}
