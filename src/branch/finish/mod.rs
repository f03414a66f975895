//! Owns finishing a branch: what is on it comes to main, in one transaction, and the branch is gone.
//! Does not decide conflicts: `merge` does. Always: nothing or all of it has happened, and run again it completes.

mod error;

use std::sync::Arc;
use std::time::Duration;

pub use error::FinishError;

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

/// Finishes one branch.
pub async fn finish(
    context: &Arc<Context>,
    request: FinishRequest,
    progress: &Progress,
) -> Result<Finished, FinishError> {
    let _ = (context, request, progress);
    Err(FinishError::Interrupted)
}

/// Finishes these branches of `request.database`, or all but main if there are none; `request.branch` isn't read.
/// One after another; one failure doesn't stop the rest.
pub async fn finish_all(
    context: &Arc<Context>,
    request: FinishRequest,
    branches: Vec<String>,
    progress: &Progress,
) -> Result<Vec<(String, Result<Finished, FinishError>)>, FinishError> {
    let _ = (context, request, branches, progress);
    Err(FinishError::Interrupted)
}
