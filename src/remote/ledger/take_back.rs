//! Owns what a ledger has here and the public remote has not: commits that a publishing before this one could not push.
//! Does not publish. Always: they are taken back and made anew, so that a text that was edited away or withdrawn
//! meanwhile never goes out; what was withdrawn is noted first; what somebody else wrote there is not taken back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::LedgerError;
use super::rule::Rule;
use super::{audit, look, not_noted, note, publish};
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::progress::Progress;
use crate::remote::call::RemoteSession;
use crate::session::Context;

/// Makes main of the ledger what is public: this commit, or none. `false`: main does not come after that commit.
pub async fn to_public(
    context: &Arc<Context>,
    session: &mut RemoteSession,
    rule: &Rule,
    public: Option<&str>,
    progress: &Progress,
) -> Result<bool, LedgerError> {
    let head = look::main_of(session, &rule.ledger).await?;
    let to = match public {
        Some(public) if public == head => return Ok(true),
        Some(public) if !look::is_ancestor(session, &rule.ledger, public, &head).await? => return Ok(false),
        Some(public) => public.to_owned(),
        None => first(session, rule, &head).await?,
    };
    if to == head {
        return Ok(true);
    }
    publish::refuse_foreign_rows(session, rule).await?;
    look::head(session, rule).await?;
    if context.remotes.ledgers.of(&rule.ledger).checked.as_deref() != Some(head.as_str()) {
        match audit::check(session, rule, public, &head, progress).await {
            // By another condition: ours, and never public.
            Ok(_) | Err(LedgerError::Changed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    keep_withdrawn(context, session, rule).await?;
    let step = || LedgerError::at("take back what was not published yet");
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    session.rows(&format!("CALL DOLT_RESET('--hard', {})", sql_literal(&to))).await.map_err(step())?;
    Ok(true)
}

/// The commit that CREATE DATABASE made.
async fn first(session: &mut RemoteSession, rule: &Rule, head: &str) -> Result<String, LedgerError> {
    let commits = look::commits(session, &rule.ledger, None, head, audit::COMMITS_MAX).await?;
    let first = commits.into_iter().find(|commit| commit.parents.is_empty());
    first.map(|commit| commit.hash).ok_or_else(|| audit::foreign(rule, "no first commit".to_owned()))
}

/// What the ledger's own table says of withdrawn rows is noted beside it.
pub async fn keep_withdrawn(
    context: &Arc<Context>,
    session: &mut RemoteSession,
    rule: &Rule,
) -> Result<(), LedgerError> {
    let mut kept: BTreeSet<(String, String)> =
        look::all_withdrawn(session, rule).await?.into_iter().collect();
    // Older files have values only: this ledger still knows of which columns.
    for (table, key) in context.remotes.ledgers.of(&rule.ledger).withdrawn {
        let key = look::named(session, rule, &table, key).await?;
        kept.insert((table, key));
    }
    match note(context, &rule.ledger, |noted| noted.withdrawn = kept).await {
        true => Ok(()),
        false => Err(not_noted(context, rule)),
    }
}
