//! Owns taking a published row back from now on. Does not touch history: what was public stays in it, and whoever asks
//! is told. Always: a withdrawn row is not published again; its removal and its mark are one commit.

use std::sync::Arc;

use super::error::LedgerError;
use super::rule::{Rule, WITHDRAWN_TABLE};
use super::text::{Key, is_key};
use super::{How, Published, Work, look, publish};
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::progress::Progress;
use crate::remote::call::RemoteSession;
use crate::session::Context;

/// What a withdrawal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The table as the ledger spells it.
    pub table: String,
    /// The key.
    pub key: Key,
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
    key: &Key,
    progress: &Progress,
) -> Result<Withdrawn, LedgerError> {
    let mut work = Work::begin(context, &mut rule).await?;
    if !work.has_ledger(&rule).await? {
        return Err(LedgerError::Refused(format!("nothing of {} was published yet", rule.database)));
    }
    let table = remove(&mut work.session, &rule, table, key).await?;
    let mark = (table.to_lowercase(), serde_json::to_string(key).unwrap_or_default());
    super::note(context, &rule.ledger, |noted| {
        noted.withdrawn.insert(mark);
    })
    .await;
    drop(work);
    let published = super::publish(context, rule, How::default(), progress).await?;
    Ok(Withdrawn { table, key: key.clone(), published })
}

async fn remove(
    session: &mut RemoteSession,
    rule: &Rule,
    table: &str,
    key: &Key,
) -> Result<String, LedgerError> {
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
    publish::refuse_foreign_rows(session, rule).await?;
    let step = || LedgerError::at("withdraw a row");
    let name = sql_identifier(&there.name);
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {WITHDRAWN_TABLE} (table_name VARCHAR(64) NOT NULL, row_key VARCHAR(700) NOT NULL, \
         PRIMARY KEY (table_name, row_key))"
    );
    let row_key = serde_json::to_string(key).unwrap_or_default();
    if row_key.chars().count() > 700 {
        return Err(LedgerError::Refused("the key has more than 700 characters".to_owned()));
    }
    let is_row = is_key(&there.key, key, "");
    let sql = format!("SELECT COUNT(*) FROM {name} WHERE {is_row}");
    let rows = session.rows(&sql).await.map_err(step())?;
    if rows.first().and_then(|row| look::text(row, 0)).as_deref() != Some("1") {
        return Err(LedgerError::Refused(format!(
            "{} of {table} is not in the ledger of {}: there is nothing to withdraw",
            key.join(", "),
            rule.database
        )));
    }
    session.rows(&make).await.map_err(step())?;
    session.rows("START TRANSACTION").await.map_err(step())?;
    let mark = format!(
        "INSERT INTO {WITHDRAWN_TABLE} VALUES ({}, {})",
        sql_literal(&there.name),
        sql_literal(&row_key)
    );
    for sql in [format!("DELETE FROM {name} WHERE {is_row}"), mark] {
        if let Err(error) = session.rows(&sql).await {
            let _ = session.rows("ROLLBACK").await;
            return Err(step()(error));
        }
    }
    let message = rule.message(&format!("Withdraw 1 row of {}", there.name), &stamp.source);
    publish::commit(session, &message).await?;
    Ok(there.name)
}
