//! Owns what is done after a clone or a restore was cut off: put right what was about to take its name, remove the rest.
//! Does not decide: what is where does. Always: after it nothing is written down, or it says why.

use std::path::{Path, PathBuf};

use super::room::SCRATCH;
use super::swap::Swap;
use crate::branch::sql_literal;
use crate::dolt::{beside, moves};
use crate::remote::backup::offline;
use crate::remote::call::{CallError, RemoteSession};
use crate::session::Context;

/// At the start: ends and removes what a killed clone left, and completes what was about to take its name.
pub async fn clean_up(context: &Context) {
    beside::clean_up(context.remotes.state_dir()).await;
    offline::clean_up(context.remotes.state_dir());
    let Some(data_dir) = context.remotes.database_dir("x").and_then(|dir| dir.parent().map(PathBuf::from))
    else {
        return;
    };
    if let Err(why) = put_right(context, &data_dir).await {
        tracing::error!(why, "a clone that was cut off can't be put right");
        return;
    }
    let scratch = data_dir.join(SCRATCH);
    if scratch.exists() {
        let removed = std::fs::remove_dir_all(&scratch);
        tracing::info!(dir = %scratch.display(), ?removed, "what a killed clone left was removed");
    }
}

/// Puts right what is written down, if there is anything.
pub(super) async fn put_right(context: &Context, data_dir: &Path) -> Result<(), String> {
    let state_dir = context.remotes.state_dir();
    let Some(swap) = Swap::read(state_dir)? else { return Ok(()) };
    if !swap.replaces {
        swap.recover(context, data_dir).await?;
    } else if moves::is_pending(state_dir) {
        return Err(format!(
            "{} is still to be replaced, by the next start of Dolt: `branchline restart`",
            swap.database
        ));
    } else if swap.fresh.is_dir() {
        // It had not begun.
        std::fs::remove_dir_all(&swap.fresh).map_err(|error| error.to_string())?;
    } else if let Some(aside) = &swap.aside {
        forget_remotes(context, aside).await?;
    }
    tracing::warn!(
        database = swap.database,
        replaces = swap.replaces,
        "a clone that was cut off was put right"
    );
    Swap::forget(state_dir);
    Ok(())
}

/// So that nothing of what was replaced is pushed over its successor.
pub(super) async fn forget_remotes(context: &Context, aside: &str) -> Result<(), String> {
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    if listing.database(aside).is_none() {
        return Ok(());
    }
    let forgotten = async {
        let mut session = RemoteSession::open(context, aside, true).await?;
        let rows = session.rows("SELECT name FROM dolt_remotes").await?;
        for name in rows.into_iter().filter_map(|row| mysql_async::from_row_opt::<String>(row).ok()) {
            session.rows(&format!("CALL DOLT_REMOTE('remove', {})", sql_literal(&name))).await?;
        }
        Ok::<_, CallError>(())
    };
    match forgotten.await {
        // One that can't be read answers nothing, and nothing of it can be pushed.
        Err(CallError::Refused(why)) => {
            tracing::warn!(why, database = aside, "what was replaced keeps its remotes");
            Ok(())
        }
        forgotten => forgotten.map_err(|error| format!("{aside} keeps its remote: {error}")),
    }
}
