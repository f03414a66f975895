//! Forks under way: each branch is made exactly once, however many sessions want it at the same moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::directory::Branches;
use super::fork;
use crate::dolt::Control;
use crate::session::route::Existence;

/// Forks under way.
#[derive(Debug, Default)]
pub struct Forks {
    by_branch: Mutex<HashMap<(String, String), Arc<tokio::sync::Mutex<()>>>>,
}

impl Forks {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes sure that the branch exists, forking it from main if it doesn't. The name as Dolt spells it.
    pub async fn ensure(
        &self,
        control: &Control,
        branches: &Branches,
        database: &str,
        branch: &str,
    ) -> Result<String, String> {
        let key = (database.to_lowercase(), branch.to_lowercase());
        let turn = {
            let mut by_branch = self.by_branch.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody else holds these: nobody waits for them either.
            by_branch.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(by_branch.entry(key).or_default())
        };
        let _mine = turn.lock().await;
        let listing = branches.listing().await.map_err(|error| error.to_string())?;
        if let Existence::Exists { spelled } = listing.existence(database, branch) {
            return Ok(spelled);
        }
        fork::fork(control, database, branch).await.map_err(|error| error.to_string())?;
        tracing::info!(database, branch, "branch forked from main at a session's first write");
        Ok(branch.to_owned())
    }
}
