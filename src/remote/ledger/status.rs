//! Owns what a ledger is told to be: rows, how far behind main, what the last push came to. Changes nothing.

use std::sync::Arc;

use super::error::LedgerError;
use super::rule::{Rule, WITHDRAWN_TABLE};
use super::{SQL_MODE, look};
use crate::branch::sql_identifier;
use crate::remote::call::RemoteSession;
use crate::session::Context;

/// What a ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerStatus {
    /// The source.
    pub database: String,
    /// Its ledger.
    pub ledger: String,
    /// The public remote, without credentials.
    pub remote: String,
    /// Rows published, by table; none before the first publishing.
    pub rows: Vec<(String, u64)>,
    /// Rows withdrawn.
    pub withdrawn: u64,
    /// The source's commit of the last published rows.
    pub source: Option<String>,
    /// Commits that main has had since; none if that can't be told.
    pub lag: Option<u64>,
    /// Commits of the ledger that were not seen at the remote yet.
    pub unpushed: Option<u64>,
    /// When it was last seen there, seconds since 1970.
    pub pushed_at: Option<u64>,
    /// Why the last publishing failed.
    pub failure: Option<String>,
}

impl LedgerStatus {
    /// Of a ledger that can't be looked at.
    pub fn failed(rule: &Rule, failure: String) -> Self {
        Self { failure: Some(failure), ..Self::of(rule) }
    }

    /// Of a ledger of which nothing more is known.
    fn of(rule: &Rule) -> Self {
        Self {
            database: rule.database.clone(),
            ledger: rule.ledger.clone(),
            remote: rule.config.remote.to_string(),
            rows: Vec::new(),
            withdrawn: 0,
            source: None,
            lag: None,
            unpushed: None,
            pushed_at: None,
            failure: None,
        }
    }
}

/// Asks Dolt.
pub async fn status(context: &Arc<Context>, rule: &Rule) -> Result<LedgerStatus, LedgerError> {
    let opened = RemoteSession::open(context, &rule.database, false).await;
    let mut session = opened.map_err(LedgerError::at("open a connection"))?;
    session.rows(SQL_MODE).await.map_err(LedgerError::at("open a connection"))?;
    let noted = context.remotes.ledgers.of(&rule.ledger);
    let withdrawn = noted.withdrawn.len() as u64;
    let mut status = LedgerStatus {
        withdrawn,
        pushed_at: noted.pushed_at,
        failure: noted.failure,
        ..LedgerStatus::of(rule)
    };
    if look::database(&mut session, &rule.ledger).await?.is_none() {
        return Ok(status);
    }
    let head = look::head(&mut session, rule).await?;
    for table in look::tables(&mut session, &rule.ledger, &head.commit).await? {
        let count = count(&mut session, rule, &head.commit, &table).await?;
        match table == WITHDRAWN_TABLE {
            true => status.withdrawn = count.max(withdrawn),
            false => status.rows.push((table, count)),
        }
    }
    if let Some(stamp) = head.stamp {
        let main = look::main_of(&mut session, &rule.database).await?;
        if look::is_ancestor(&mut session, &rule.database, &stamp.source, &main).await? {
            status.lag = Some(between(&mut session, &rule.database, &stamp.source, &main).await?);
        }
        status.source = Some(stamp.source);
        status.unpushed = match &noted.pushed {
            Some(pushed) if look::is_ancestor(&mut session, &rule.ledger, pushed, &head.commit).await? => {
                Some(between(&mut session, &rule.ledger, pushed, &head.commit).await?)
            }
            _ => None,
        };
    }
    Ok(status)
}

async fn count(
    session: &mut RemoteSession,
    rule: &Rule,
    commit: &str,
    table: &str,
) -> Result<u64, LedgerError> {
    let from = super::text::at(&rule.ledger, commit);
    number(session, &format!("SELECT COUNT(*) FROM {from}.{}", sql_identifier(table))).await
}

async fn between(
    session: &mut RemoteSession,
    database: &str,
    old: &str,
    new: &str,
) -> Result<u64, LedgerError> {
    let step = || LedgerError::at("count commits");
    session.rows(&format!("USE {}", sql_identifier(database))).await.map_err(step())?;
    number(session, &format!("SELECT COUNT(*) FROM dolt_log('{old}..{new}')")).await
}

async fn number(session: &mut RemoteSession, sql: &str) -> Result<u64, LedgerError> {
    let rows = session.rows(sql).await.map_err(LedgerError::at("count rows"))?;
    Ok(rows.first().and_then(|row| look::text(row, 0)).and_then(|count| count.parse().ok()).unwrap_or(0))
}
