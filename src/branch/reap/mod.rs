//! Owns reaping: branches that nobody uses any more are deleted if main has all of them, else told or finished;
//! what was kept of ended branches is forgotten in time. Does not decide: `core` does.
//! Always: a branch is deleted by a drop without force, which looks again while nobody can write to it.

pub mod core;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::core::{Action, Rules, decide};
use super::finish::{FinishRequest, finish};
use super::list::{BranchRow, list};
use super::{DropRequest, drop_branch, expire_dropped};
use crate::dolt::ControlError;
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// After a failure, as Dolt may not be up yet.
const RETRY: Duration = Duration::from_secs(10);

/// Who reaps, for records.
const BY: &str = "branchline reap";

/// What was done, or would be, about one branch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reaped {
    /// Its database.
    pub database: String,
    /// Its name.
    pub branch: String,
    /// `delete`, `alert` or `finish`.
    pub action: &'static str,
    /// Whether it was done; not by a dry run.
    pub done: bool,
    /// The alert, or why it was not done.
    pub note: String,
}

/// Looks at all branches once, or those of one database, and does what is to be done; only says it if `dry_run`.
pub async fn reap(
    context: &Arc<Context>,
    only: Option<&str>,
    dry_run: bool,
) -> Result<Vec<Reaped>, ControlError> {
    let rows = list(context, only).await?;
    let branches = &context.config.branches;
    let rules = Rules { pattern: &branches.reap_pattern, orphans: branches.orphans };
    let mut reaped = Vec::new();
    for row in &rows {
        let action = decide(row, rules);
        let (done, note) = match (&action, dry_run) {
            (Action::Nothing, true) => continue,
            (Action::Nothing, false) => {
                tell(context, row, None).await;
                continue;
            }
            (Action::Alert(text), true) => (false, text.clone()),
            (_, true) => (false, String::new()),
            (Action::Alert(text), false) => {
                tell(context, row, Some(text.clone())).await;
                (true, text.clone())
            }
            (Action::Delete, false) => told(row, delete(context, row).await),
            (Action::Finish, false) => {
                let ended = told(row, end(context, row).await);
                if !ended.0 {
                    let text = format!("{} of {} is an orphan, and {}", row.branch, row.database, ended.1);
                    tell(context, row, Some(text)).await;
                }
                ended
            }
        };
        let (database, branch) = (row.database.clone(), row.branch.clone());
        reaped.push(Reaped { database, branch, action: action.as_str(), done, note });
    }
    // What is not listed now counts as gone.
    if !dry_run && only.is_none() {
        forget(context, &rows).await?;
    }
    Ok(reaped)
}

/// Reaps at the start and every few minutes, unless `branches.reap` is off.
pub async fn reap_in_time(context: Arc<Context>, stopping: CancellationToken) {
    // In somebody else's Dolt there may be sessions that are not ours to see.
    if !context.config.branches.reap || !context.branches.are_ours() {
        return;
    }
    loop {
        let reaped = tokio::select! {
            reaped = reap(&context, None, false) => reaped,
            () = stopping.cancelled() => return,
        };
        let pause = match reaped {
            Ok(_) => INTERVAL,
            Err(error) => {
                debug!(%error, "cannot look for orphans now");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
    }
}

async fn delete(context: &Arc<Context>, row: &BranchRow) -> Result<(), String> {
    let request = DropRequest {
        database: row.database.clone(),
        branch: row.branch.clone(),
        force: false,
        wait: Duration::ZERO,
        by: BY.to_owned(),
    };
    drop_branch(context, request, &Progress::default()).await.map(drop).map_err(|error| error.to_string())
}

async fn end(context: &Arc<Context>, row: &BranchRow) -> Result<(), String> {
    let request = FinishRequest {
        database: row.database.clone(),
        branch: row.branch.clone(),
        push: false,
        keep: false,
        wait: Duration::ZERO,
        by: BY.to_owned(),
    };
    finish(context, request, &Progress::default()).await.map(drop).map_err(|error| error.to_string())
}

fn told(row: &BranchRow, ended: Result<(), String>) -> (bool, String) {
    let BranchRow { database, branch, .. } = row;
    match ended {
        Ok(()) => {
            info!(database, branch, "an orphan was reaped");
            (true, String::new())
        }
        Err(error) => {
            info!(database, branch, error, "an orphan was not reaped");
            (false, error)
        }
    }
}

/// Says it once: in the log, and in the status as long as it is so.
async fn tell(context: &Arc<Context>, row: &BranchRow, alert: Option<String>) {
    let (book, text) = (Arc::clone(&context.book), alert.clone());
    let (database, branch) = (row.database.clone(), row.branch.clone());
    let told = tokio::task::spawn_blocking(move || book.tell(&database, &branch, text.as_deref())).await;
    match (told, alert) {
        (Ok(Ok(true)), Some(alert)) => warn!("{alert}"),
        (Ok(Err(error)), _) => warn!(%error, "an alert is not kept"),
        _ => {}
    }
}

/// What was kept of ended branches for long enough.
async fn forget(context: &Arc<Context>, rows: &[BranchRow]) -> Result<(), ControlError> {
    let branches = &context.config.branches;
    for database in context.branches.listing().await?.databases() {
        match expire_dropped(context, database, branches.dropped_keep).await {
            Ok(tags) if tags.is_empty() => {}
            Ok(tags) => info!(database, tags = tags.join(", "), "dropped branches are no longer kept"),
            Err(error) => debug!(%error, database, "tags of dropped branches stay"),
        }
    }
    let before = unix_seconds(SystemTime::now()).saturating_sub(branches.tombstone_keep.as_secs());
    let there: Vec<(String, String)> =
        rows.iter().map(|row| (row.database.to_lowercase(), row.branch.to_lowercase())).collect();
    let book = Arc::clone(&context.book);
    let forgotten = tokio::task::spawn_blocking(move || {
        book.forget_tombstones(before)?;
        book.forget_seen(|database, branch| there.iter().any(|(db, name)| db == database && name == branch))
    });
    if let Ok(Err(error)) = forgotten.await {
        warn!(%error, "what is known of ended branches is kept for longer");
    }
    Ok(())
}
