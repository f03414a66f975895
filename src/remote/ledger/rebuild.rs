//! Owns beginning a ledger anew, in an empty repository. Does not touch the old repository. Always: what was withdrawn
//! stays so; a crash at any point leaves what publishes nothing until it is run again.

use std::sync::Arc;

use super::error::LedgerError;
use super::rule::Rule;
use super::state::Noted;
use super::take_back::keep_withdrawn;
use super::{How, Published, Work, look, not_noted, note, noted, publish, push, settings};
use crate::branch::sql_identifier;
use crate::observe::progress::Progress;
use crate::remote::Outcome;
use crate::session::Context;

/// Takes the ledger's database away, so that the next publishing begins a new history. The public repository has to be
/// another one, without data: what was public stays public.
pub async fn rebuild(
    context: &Arc<Context>,
    mut rule: Rule,
    progress: &Progress,
) -> Result<Published, LedgerError> {
    let mut work = Work::begin(context, &mut rule).await?;
    let before = noted(context, &rule)?;
    push::refuse_mixed(&mut work.session, &rule, &settings(context), true).await?;
    let source = look::main_of(&mut work.session, &rule.database).await?;
    let shapes = look::shapes(&mut work.session, &rule, &source).await?;
    let refs = push::look_there(&rule).await?;
    if refs.dolt_data.is_some() {
        return Err(LedgerError::Refused(format!(
            "{} holds Dolt data: a new ledger is never pushed over an old one. Set `remote` in [remotes.{}.ledger] to an \
             empty repository first",
            rule.config.remote, rule.database
        )));
    }
    if refs.branches == 0 {
        let text = "the repository has no branch, and Dolt's data needs one beside it; nothing was changed";
        return Err(push::failed(&rule, Outcome::NoBranch, text.to_owned()));
    }
    let is_there = work.has_ledger(&rule).await?;
    // Dolt would look for its own copy of the repository, which goes with the old ledger.
    if work
        .was_at(&rule, &before, is_there)
        .await?
        .is_some_and(|(was, _)| was == rule.config.remote.repository())
    {
        return Err(LedgerError::Refused(format!(
            "{} is where the ledger was published until now: set `remote` in [remotes.{}.ledger] to an empty repository with \
             another URL first",
            rule.config.remote, rule.database
        )));
    }
    if is_there {
        keep_withdrawn(context, &mut work.session, &rule).await?;
    }
    // Each key has to find its row in the tables as they are now.
    let kept = context.remotes.ledgers.of(&rule.ledger);
    for shape in &shapes {
        publish::noted_keys(&rule, &kept, shape)?;
    }
    let is_published = |table: &str| shapes.iter().any(|shape| shape.table.eq_ignore_ascii_case(table));
    if let Some((table, key)) = kept.withdrawn.iter().find(|(table, _)| !is_published(table)) {
        return Err(LedgerError::Unplaced {
            database: rule.database.clone(),
            ledger: rule.ledger.clone(),
            key: format!("{key} of {table}, which is not in `tables`"),
        });
    }
    if is_there {
        let sql = format!("DROP DATABASE {}", sql_identifier(&rule.ledger));
        work.session.rows(&sql).await.map_err(LedgerError::at("take the old ledger away"))?;
    }
    // Not before the old one is gone: until then it is known where that was public, and it goes nowhere else.
    let forgotten = note(context, &rule.ledger, |noted| {
        *noted = Noted { withdrawn: std::mem::take(&mut noted.withdrawn), ..Noted::default() };
    });
    if !forgotten.await {
        return Err(not_noted(context, &rule));
    }
    context.remotes.records.forget_seen(&rule.ledger);
    drop(work);
    super::publish(context, rule, How::default(), progress).await
}
