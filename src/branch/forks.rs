//! Forks under way: each branch is made exactly once, however many sessions want it at the same moment,
//! and nobody is put on one before it is complete.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::create::ForkRequest;
use super::directory::{Branches, Listing};
use super::finish::FinishError;
use super::fork::{ForkError, Forked, Order, fork_as};
use super::hold::Idle;
use super::recover::recover;
use crate::dolt::{Control, ControlError};
use crate::session::route::Existence;

/// A fork copies main's uncommitted rows: seconds for large tables. `bd` waits 10 s for an answer.
const FORK_TIMEOUT: Duration = Duration::from_secs(60);

/// Forks under way.
#[derive(Debug, Default)]
pub struct Forks {
    by_branch: Mutex<HashMap<(String, String), Turn>>,
    pub(super) idle: Idle,
}

/// Held by the one who forks.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// Why a branch could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ForkFailed {
    /// The control connection.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Dolt or its data did not allow it.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// What an earlier fork left behind could not be cleaned up.
    #[error("what an earlier fork left behind cannot be cleaned up: {0}")]
    NotRecovered(#[from] mysql_async::Error),
    /// It took too long.
    #[error("it took longer than {} s", FORK_TIMEOUT.as_secs())]
    Timeout,
    /// As for a finish.
    #[error(transparent)]
    NotReady(Box<FinishError>),
    /// Branchline is stopping.
    #[error("Branchline is stopping")]
    Stopping,
}

impl Forks {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nobody else forks this branch while it is held.
    pub(super) fn turn(&self, database: &str, branch: &str) -> Turn {
        let mut by_branch = self.by_branch.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody else holds, nobody waits for.
        by_branch.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(by_branch.entry((database.to_lowercase(), branch.to_lowercase())).or_default())
    }

    /// The list of branches, of which none is half made: Dolt lists a new branch before its rows are there,
    /// and a crash can leave it so. Waits for the forks under way that have come so far.
    pub async fn listing(&self, control: &Control, branches: &Branches) -> Result<Arc<Listing>, ForkFailed> {
        let listing = branches.listing().await?;
        if !branches.are_ours() {
            return Ok(listing);
        }
        let half_made =
            |(database, name): &(&str, &str)| listing.existence(database, name) != Existence::Missing;
        let mut any = false;
        for (database, name) in listing.unfinished().filter(half_made) {
            any = true;
            let turn = self.turn(database, name);
            let _mine = turn.lock().await;
            recover_one(control, database, name).await?;
        }
        if any { Ok(branches.listing().await?) } else { Ok(listing) }
    }

    /// Cleans up after forks that were cut off, all of them: for the start, when none is under way. Only in a
    /// Dolt of our own.
    pub async fn recover(&self, control: &Control, branches: &Branches) -> Result<(), ForkFailed> {
        if !branches.are_ours() {
            return Ok(());
        }
        for (database, name) in branches.listing().await?.unfinished() {
            let turn = self.turn(database, name);
            let _mine = turn.lock().await;
            recover_one(control, database, name).await?;
        }
        Ok(())
    }

    /// Makes sure that the branch exists, forking it from main if it doesn't. The name as Dolt spells it.
    /// Goes on to its end when the caller is cancelled: a fork must not be left half done.
    pub async fn ensure(
        &self,
        control: &Control,
        branches: &Arc<Branches>,
        request: ForkRequest,
    ) -> Result<String, ForkFailed> {
        let branch = request.name.clone();
        match self.create(control, branches, request).await {
            Ok(_) => Ok(branch),
            // It was there, or somebody made it by hand just now.
            Err(ForkFailed::Fork(ForkError::Exists { name })) => Ok(name),
            Err(error) => Err(error),
        }
    }

    /// Forks a branch that must not exist.
    /// Goes on to its end when the caller is cancelled: a fork must not be left half done.
    pub async fn create(
        &self,
        control: &Control,
        branches: &Arc<Branches>,
        request: ForkRequest,
    ) -> Result<Forked, ForkFailed> {
        let turn = self.turn(&request.database, &request.name);
        let (control, branches, idle) = (control.clone(), Arc::clone(branches), self.idle.clone());
        let ForkRequest { database, name: branch, from, worker, by, .. } = request;
        let job = tokio::spawn(async move {
            let _mine = turn.lock().await;
            let mut listing = branches.listing().await?;
            let cut_off = listing.unfinished().find(|found| is(found, &database, &branch));
            if let Some(name) = cut_off.map(|(_, name)| name.to_owned()).filter(|_| branches.are_ours()) {
                recover_one(&control, &database, &name).await?;
                listing = branches.listing().await?;
            }
            if let Existence::Exists { spelled } = listing.existence(&database, &branch) {
                return Err(ForkError::Exists { name: spelled }.into());
            }
            let mut connection = idle.take(&control).await?;
            let order = Order {
                database: &database,
                name: &branch,
                from: from.as_deref(),
                worker: worker.as_deref(),
                by: &by,
            };
            let forked = tokio::time::timeout(FORK_TIMEOUT, fork_as(&mut connection, order))
                .await
                .map_err(|_| ForkFailed::Timeout)??;
            idle.give_back(connection);
            let (from, tables_copied) = (&forked.from_branch, forked.tables_copied);
            tracing::info!(database, branch, from, worker, by, tables_copied, "branch forked");
            Ok(forked)
        });
        job.await.unwrap_or(Err(ForkFailed::Stopping))
    }
}

/// Whether it is this branch: names are case-insensitive.
fn is((database, name): &(&str, &str), wanted_database: &str, wanted: &str) -> bool {
    database.eq_ignore_ascii_case(wanted_database) && name.eq_ignore_ascii_case(wanted)
}

/// The caller has its turn.
async fn recover_one(control: &Control, database: &str, name: &str) -> Result<(), ForkFailed> {
    let session = control.dedicated().await?;
    let mut connection = session.into_connection().ok_or(ForkFailed::Timeout)?;
    let recovered = tokio::time::timeout(FORK_TIMEOUT, recover(&mut connection, database, name)).await;
    recovered.map_err(|_| ForkFailed::Timeout)??;
    Ok(())
}
