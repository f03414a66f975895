//! Owns the push of main after a finish, when one was asked for. Does not decide anything by its outcome: the branch is
//! finished all the same. Always: waits no longer than `remotes.timeout_s` for the push itself.

use std::sync::Arc;

use super::Pushed;
use crate::branch::directory::sql_literal;
use crate::remote::call::{CallError, RemoteSession};
use crate::remote::outcome::{Outcome, one_line};
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
    match to_origin(context, database, main).await {
        Ok(pushed) => pushed,
        Err(error) => Pushed::Failed(one_line(&crate::observe::redact::urls(&error.to_string()))),
    }
}

async fn to_origin(context: &Arc<Context>, database: &str, main: &str) -> Result<Pushed, CallError> {
    let _turn = context.remotes.turns.take(database, None).await;
    let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
    let mut session = RemoteSession::open(context, database, true).await?;
    let remotes: Option<u64> =
        session.value("SELECT COUNT(*) FROM dolt_remotes WHERE name = 'origin'").await?;
    if remotes == Some(0) {
        return Ok(Pushed::NoRemote);
    }
    let sql = format!("CALL DOLT_PUSH('origin', {})", sql_literal(main));
    let rows = session.call(&sql, context.remotes.settings().timeout).await?;
    let message = rows.into_iter().next().and_then(|row| row.get::<Option<String>, _>(1)).flatten();
    Ok(Pushed::Done(message.unwrap_or_default()))
}
