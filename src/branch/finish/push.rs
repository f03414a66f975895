//! Owns the push of main after a finish, when one was asked for. Does not decide anything by its outcome: the branch is
//! finished all the same. Always: waits no longer than `remotes.timeout_s` for the push itself.

use std::sync::Arc;

use super::Pushed;
use crate::branch::directory::sql_literal;
use crate::remote::RemoteUrl;
use crate::remote::call::{CallError, RemoteSession};
use crate::remote::ledger::is_ledger;
use crate::remote::outcome::{Outcome, one_line};
use crate::remote::target::not_pushed_to;
use crate::remote::worker::push_now;
use crate::session::Context;

/// Pushes main where it is always pushed; of a database that isn't, to the remote `origin` that Dolt has.
pub(super) async fn push(context: &Arc<Context>, database: &str, main: &str) -> Pushed {
    if main == "main"
        && let Some(record) = push_now(context, database).await
    {
        return match record.outcome {
            Outcome::UpToDate | Outcome::Pushed => Pushed::Done(record.to_string()),
            _ => Pushed::Failed(record.to_string()),
        };
    }
    if let Some(why) = refused(context, database) {
        return Pushed::Failed(why);
    }
    match to_origin(context, database, main).await {
        Ok(pushed) => pushed,
        Err(error) => Pushed::Failed(one_line(&crate::observe::redact::urls(&error.to_string()))),
    }
}

/// Why a database that no push is scheduled for isn't pushed here either.
fn refused(context: &Context, database: &str) -> Option<String> {
    if is_ledger(context, database) {
        return Some(format!("{database} is a public ledger, which goes to its own remote only"));
    }
    let settings = context.remotes.settings();
    match settings.databases.get(&database.to_lowercase()) {
        Some(configured) if !configured.push => {
            Some(format!("{database} is not pushed, as {} says", configured.origin))
        }
        _ => context.remotes.refusal(database),
    }
}

async fn to_origin(context: &Arc<Context>, database: &str, main: &str) -> Result<Pushed, CallError> {
    let origin = {
        let mut session = RemoteSession::open(context, database, true).await?;
        session.value::<String>("SELECT url FROM dolt_remotes WHERE name = 'origin'").await?
    };
    let Some(origin) = origin else { return Ok(Pushed::NoRemote) };
    let origin = RemoteUrl::parse(&origin).ok();
    let settings = context.remotes.settings();
    if let Some(why) = origin.as_ref().and_then(|url| not_pushed_to(&settings, database, url)) {
        return Ok(Pushed::Failed(why));
    }
    let repository = origin.as_ref().map(RemoteUrl::repository);
    let _turn = context.remotes.turns.take(database, repository.as_deref()).await;
    let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
    let mut session = RemoteSession::open(context, database, true).await?;
    let sql = format!("CALL DOLT_PUSH('origin', {})", sql_literal(main));
    let rows = session.call(&sql, context.remotes.settings().timeout).await?;
    let message = rows.into_iter().next().and_then(|row| row.get::<Option<String>, _>(1)).flatten();
    Ok(Pushed::Done(message.unwrap_or_default()))
}
