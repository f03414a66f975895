//! Forks under way: each branch is made exactly once, however many sessions want it at the same moment,
//! and nobody is put on one before it is complete.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::directory::Branches;
use super::fork::{ForkError, fork};
use crate::dolt::{Control, ControlError};
use crate::session::route::Existence;

/// A fork copies main's uncommitted rows: seconds for large tables. `bd` waits 10 s for an answer.
const FORK_TIMEOUT: Duration = Duration::from_secs(60);

/// Forks under way.
#[derive(Debug, Default)]
pub struct Forks {
    by_branch: Mutex<HashMap<(String, String), Turn>>,
}

/// Held by the one who forks.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// Why a branch could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ForkFailed {
    /// The control connection.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Dolt or its data did not allow it.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// It took too long.
    #[error("it took longer than {} s", FORK_TIMEOUT.as_secs())]
    Timeout,
    /// Branchline is stopping.
    #[error("Branchline is stopping")]
    Stopping,
}

impl Forks {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    fn turn(&self, database: &str, branch: &str) -> Turn {
        let mut by_branch = self.by_branch.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody else holds, nobody waits for.
        by_branch.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(by_branch.entry((database.to_lowercase(), branch.to_lowercase())).or_default())
    }

    /// Waits for a fork of this branch, if one is under way: Dolt lists the branch before its rows are there.
    pub async fn settled(&self, database: &str, branch: &str) {
        let key = (database.to_lowercase(), branch.to_lowercase());
        let turn = self.by_branch.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(turn) = turn {
            let _settled = turn.lock().await;
        }
    }

    /// Makes sure that the branch exists, forking it from main if it doesn't. The name as Dolt spells it.
    /// Goes on to its end when the caller is cancelled: a fork must not be left half done.
    pub async fn ensure(
        &self,
        control: &Control,
        branches: &Arc<Branches>,
        database: &str,
        branch: &str,
    ) -> Result<String, ForkFailed> {
        let turn = self.turn(database, branch);
        let (control, branches) = (control.clone(), Arc::clone(branches));
        let (database, branch) = (database.to_owned(), branch.to_owned());
        let job = tokio::spawn(async move {
            let _mine = turn.lock().await;
            let listing = branches.listing().await?;
            if let Existence::Exists { spelled } = listing.existence(&database, &branch) {
                return Ok(spelled);
            }
            let session = control.dedicated().await?;
            let mut connection = session.into_connection().ok_or(ForkFailed::Timeout)?;
            let forked = tokio::time::timeout(FORK_TIMEOUT, fork(&mut connection, &database, &branch))
                .await
                .map_err(|_| ForkFailed::Timeout)?;
            match forked {
                Ok(forked) => {
                    tracing::info!(
                        database,
                        branch,
                        tables_copied = forked.tables_copied,
                        "branch forked from main"
                    );
                    Ok(branch)
                }
                // Somebody made it by hand just now.
                Err(ForkError::Exists { name }) => Ok(name),
                Err(error) => Err(error.into()),
            }
        });
        job.await.unwrap_or(Err(ForkFailed::Stopping))
    }
}
