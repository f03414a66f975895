//! Owns finishing a branch: what is on it comes to main, in one transaction, and the branch is gone.
//! Does not decide conflicts: `merge` does. Always: nothing or all of it has happened, and run again it completes.

mod columns;
mod conflicts;
mod decide;
mod dirty;
mod error;
mod ignored;
mod own;
mod push;
mod run;

use std::sync::Arc;
use std::time::Duration;

pub use conflicts::{ConflictedRow, conflicts, decide};
pub(super) use dirty::Sides;
pub use error::FinishError;
pub(super) use own::{OwnRows, Undone, hashes};
pub(super) use run::Pair;

use self::run::run;
use super::list::{OWN_PREFIX, is_peer};

use crate::observe::progress::Progress;
use crate::session::Context;

/// What to finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishRequest {
    /// In which database.
    pub database: String,
    /// Which branch.
    pub branch: String,
    /// Push main afterwards.
    pub push: bool,
    /// The branch stays.
    pub keep: bool,
    /// How long to wait for open transactions on the branch.
    pub wait: Duration,
    /// Who asks, for the record.
    pub by: String,
}

/// A branch that is finished.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finished {
    /// The database as Dolt spells it.
    pub database: String,
    /// The branch as Dolt spelled it.
    pub branch: String,
    /// What was done.
    pub outcome: FinishOutcome,
    /// The branch that it was merged into.
    pub main: String,
    /// The merge commit; `None` if there was nothing to carry.
    pub commit: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// The commit of the branch's uncommitted rows, if there were any.
    pub branch_commit: Option<String>,
    /// The commit of main's own uncommitted rows, where they could not be left uncommitted.
    pub swept: Option<String>,
    /// Whether the branch is still there.
    pub kept: bool,
    /// Rows of ignored tables that came home.
    pub ignored_rows: u64,
    /// Conflicts that were resolved.
    pub conflicts: u64,
    /// What came of the push, if one was asked for.
    pub push: Option<Pushed>,
}

/// What a finish came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishOutcome {
    /// It was merged.
    Merged,
    /// It had nothing that main lacked.
    NothingToMerge,
    /// An earlier finish had merged it; the rest of that is done now.
    Completed,
    /// It was finished before.
    AlreadyFinished,
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "result", content = "message", rename_all = "snake_case")]
pub enum Pushed {
    /// What Dolt said.
    Done(String),
    /// The database has no remote `origin`.
    NoRemote,
    /// Why not; the branch is finished all the same.
    Failed(String),
}

/// Finishes one branch. Goes on to its end when the caller is cancelled.
pub async fn finish(
    context: &Arc<Context>,
    request: FinishRequest,
    progress: &Progress,
) -> Result<Finished, FinishError> {
    let (context, progress) = (Arc::clone(context), progress.clone());
    let job = tokio::spawn(async move {
        let mut pair = Pair::take(&context).await?;
        let finished = run(&context, &mut pair, &request, &progress).await;
        if finished.as_ref().is_ok_and(|finished| !matches!(finished.push, Some(Pushed::Failed(_)))) {
            pair.give_back(&context);
        }
        finished
    });
    job.await.unwrap_or(Err(FinishError::Interrupted))
}

/// What came of each branch.
pub type FinishedAll = Vec<(String, Result<Finished, FinishError>)>;

/// Finishes these branches of `request.database`, or all but main if there are none; `request.branch` isn't read.
/// One after another; one failure doesn't stop the rest. Goes on to its end when the caller is cancelled.
pub async fn finish_all(
    context: &Arc<Context>,
    request: FinishRequest,
    branches: Vec<String>,
    progress: &Progress,
) -> Result<FinishedAll, FinishError> {
    let (context, progress) = (Arc::clone(context), progress.clone());
    let job = tokio::spawn(async move { all(&context, request, branches, &progress).await });
    job.await.unwrap_or(Err(FinishError::Interrupted))
}

async fn all(
    context: &Arc<Context>,
    request: FinishRequest,
    mut branches: Vec<String>,
    progress: &Progress,
) -> Result<FinishedAll, FinishError> {
    let database = request.database.clone();
    if context.config.routing.is_main_only(&database) {
        return Err(FinishError::MainOnly(database));
    }
    if branches.is_empty() {
        let listing = context.forks.listing(context.dolt.control(), &context.branches).await;
        let listing = listing.map_err(|error| FinishError::Listing(error.to_string()))?;
        if listing.database(&database).is_none() {
            return Err(FinishError::NoDatabase(database));
        }
        let main = context.branches.default_branch(&database);
        let is_theirs = |branch: &&str| {
            !branch.eq_ignore_ascii_case(&main)
                && !branch.eq_ignore_ascii_case("main")
                && !branch.starts_with(OWN_PREFIX)
                && !is_peer(branch)
        };
        branches = listing.branches(&database).filter(is_theirs).map(str::to_owned).collect();
    }
    let total = branches.len() as u64;
    let mut all = Vec::with_capacity(branches.len());
    progress.step(format!("finish {total} branches"), Some(total));
    for branch in branches {
        // Pushed once, after the last.
        let request = FinishRequest { branch: branch.clone(), push: false, ..request.clone() };
        let finished = finish(context, request, &Progress::default()).await;
        progress.advance(1);
        all.push((branch, finished));
    }
    if request.push
        && let Some(last) = all.iter_mut().rev().find_map(|(_, finished)| finished.as_mut().ok())
    {
        progress.step("push", None);
        last.push = Some(push::push(context, &database, &last.main).await);
    }
    Ok(all)
}
