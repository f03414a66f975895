//! Owns taking a published row back from now on. Does not touch history: what was public stays in it, and whoever asks
//! is told. Always: a withdrawn row is not published again, as its key is on disk before anything else is done; its
//! removal and its mark are one commit.

use std::sync::Arc;

use super::error::LedgerError;
use super::rule::{Rule, WITHDRAWN_TABLE};
use super::state::{Noted, stored};
use super::text::{Key, is_any_of, is_key};
use super::{How, Published, Work, look, not_noted, note, noted, publish};
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::progress::Progress;
use crate::remote::call::RemoteSession;
use crate::session::Context;

/// Characters of a key in the ledger's own table.
const KEY_CHARS_MAX: usize = 700;

/// What a withdrawal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The table as the ledger spells it.
    pub table: String,
    /// The key's values.
    pub key: Vec<String>,
    /// The ledger as it is now, without the row.
    pub published: Published,
}

/// What has to be said to whoever withdraws a row.
pub const STAYS_IN_HISTORY: &str =
    "the row is in no later state of the ledger, but its earlier commits, and every clone of them, keep it";

/// Withdraws a row, and publishes.
pub async fn withdraw(
    context: &Arc<Context>,
    mut rule: Rule,
    table: &str,
    key: &[String],
    progress: &Progress,
) -> Result<Withdrawn, LedgerError> {
    let mut work = Work::begin(context, &mut rule).await?;
    noted(context, &rule)?;
    if !work.has_ledger(&rule).await? {
        return Err(LedgerError::Refused(format!("nothing of {} was published yet", rule.database)));
    }
    let (table, named) = find(&mut work.session, &rule, table, key).await?;
    let mark = (table.to_lowercase(), stored(&named));
    let is_noted = note(context, &rule.ledger, |noted| {
        noted.withdrawn.insert(mark);
    });
    if !is_noted.await {
        return Err(not_noted(context, &rule));
    }
    drop(work);
    let published = super::publish(context, rule, How::default(), progress).await;
    let published = published.map_err(|error| LedgerError::Withdrawn(Box::new(error)))?;
    Ok(Withdrawn { table, key: key.to_vec(), published })
}

/// The table and the key by name, of a row that is in the ledger.
async fn find(
    session: &mut RemoteSession,
    rule: &Rule,
    table: &str,
    key: &[String],
) -> Result<(String, Key), LedgerError> {
    let head = look::head(session, rule).await?;
    let there = look::table(session, &rule.ledger, &head.commit, table).await?;
    let published = there.filter(|there| there.name != WITHDRAWN_TABLE).zip(head.stamp);
    let Some((there, stamp)) = published else {
        return Err(LedgerError::Refused(format!("the ledger of {} has no table {table}", rule.database)));
    };
    if stamp.rule != rule.fingerprint() {
        return Err(super::audit::changed(rule));
    }
    if there.key.len() != key.len() {
        return Err(LedgerError::Refused(format!(
            "the primary key of {table} is ({}): {} values were given",
            there.key.join(", "),
            key.len()
        )));
    }
    if row_key(key).chars().count() > KEY_CHARS_MAX {
        return Err(LedgerError::Refused(format!("the key has more than {KEY_CHARS_MAX} characters")));
    }
    publish::refuse_foreign_rows(session, rule).await?;
    let named: Key = there.key.iter().cloned().zip(key.iter().cloned()).collect();
    if count(session, rule, &there.name, &is_key(&named, "")).await? != 1 {
        return Err(LedgerError::Refused(format!(
            "{} of {table} is not in the ledger of {}: there is nothing to withdraw",
            key.join(", "),
            rule.database
        )));
    }
    Ok((there.name, named))
}

/// As the ledger's own table has it: the key cannot change while the ledger is the same.
fn row_key(values: &[String]) -> String {
    serde_json::to_string(values).unwrap_or_default()
}

/// Rows of the ledger's main.
async fn count(
    session: &mut RemoteSession,
    rule: &Rule,
    table: &str,
    which: &str,
) -> Result<u64, LedgerError> {
    let step = || LedgerError::at("look for a withdrawn row");
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    let sql = format!("SELECT COUNT(*) FROM {} WHERE {which}", sql_identifier(table));
    let rows = session.rows(&sql).await.map_err(step())?;
    Ok(rows.first().and_then(|row| look::text(row, 0)).and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// Removes the rows that are noted as withdrawn and in the ledger still.
pub(super) async fn apply(
    session: &mut RemoteSession,
    rule: &Rule,
    noted: &Noted,
) -> Result<(), LedgerError> {
    let head = look::head(session, rule).await?;
    let Some(stamp) = head.stamp.filter(|stamp| stamp.rule == rule.fingerprint()) else { return Ok(()) };
    for table in look::tables(session, &rule.ledger, &head.commit).await? {
        if table == WITHDRAWN_TABLE || !noted.withdrawn.iter().any(|(of, _)| of.eq_ignore_ascii_case(&table))
        {
            continue;
        }
        let Some(there) = look::table(session, &rule.ledger, &head.commit, &table).await? else { continue };
        // Those of other columns are of a ledger before this one, and never came into it.
        let keys = noted.keys_by(&table, &there.key);
        if keys.is_empty() || count(session, rule, &table, &is_any_of(&keys, "")).await? == 0 {
            continue;
        }
        publish::refuse_foreign_rows(session, rule).await?;
        for key in keys {
            if count(session, rule, &table, &is_key(&key, "")).await? > 0 {
                remove(session, rule, &there, &key, &stamp.source).await?;
            }
        }
    }
    Ok(())
}

async fn remove(
    session: &mut RemoteSession,
    rule: &Rule,
    there: &look::Table,
    key: &Key,
    source: &str,
) -> Result<(), LedgerError> {
    let step = || LedgerError::at("withdraw a row");
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {WITHDRAWN_TABLE} (table_name VARCHAR(64) NOT NULL, row_key VARCHAR({KEY_CHARS_MAX}) NOT NULL, \
         PRIMARY KEY (table_name, row_key))"
    );
    session.rows(&make).await.map_err(step())?;
    session.rows("START TRANSACTION").await.map_err(step())?;
    let value = |column: &String| key.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
    let values: Vec<String> = there.key.iter().filter_map(value).map(|(_, value)| value.clone()).collect();
    let mark = format!(
        "INSERT IGNORE INTO {WITHDRAWN_TABLE} VALUES ({}, {})",
        sql_literal(&there.name),
        sql_literal(&row_key(&values))
    );
    let delete = format!("DELETE FROM {} WHERE {}", sql_identifier(&there.name), is_key(key, ""));
    for sql in [delete, mark] {
        if let Err(error) = session.rows(&sql).await {
            let _ = session.rows("ROLLBACK").await;
            return Err(step()(error));
        }
    }
    let message = rule.message(&format!("Withdraw 1 row of {}", there.name), source);
    publish::commit(session, &message).await
}
