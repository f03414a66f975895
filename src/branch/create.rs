//! Owns `branch create`: a fork that somebody asked for by name.
//! Does not copy anything itself. Always: main is exactly as it was, but for the commit that was asked for.

use std::sync::Arc;

use super::forks::ForkFailed;
use crate::session::Context;

/// What to fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkRequest {
    /// In which database.
    pub database: String,
    /// The new branch; `base::default_name` makes one up.
    pub name: String,
    /// The branch to fork; the database's default branch if `None`.
    pub from: Option<String>,
    /// Dolt-commit the forked branch's uncommitted rows first, as a commit of their own.
    pub commit_main: bool,
    /// For whom.
    pub worker: Option<String>,
    /// Who asks, for the record.
    pub by: String,
}

/// A new branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// The database as Dolt spells it.
    pub database: String,
    /// The branch that was forked.
    pub from_branch: String,
    /// Its HEAD then.
    pub from_commit: String,
    /// Tables copied because their rows weren't Dolt-committed.
    pub tables_copied: usize,
    /// The commit of the forked branch's uncommitted rows, if one was asked for and there were any.
    pub committed: Option<String>,
}

/// Makes the branch; it must not exist.
pub async fn create(context: &Arc<Context>, request: ForkRequest) -> Result<Created, ForkFailed> {
    let _ = (context, request);
    Err(ForkFailed::Stopping)
}
