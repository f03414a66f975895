//! Owns noticing branches that come and go past Branchline's own commands: by a client's CALL DOLT_BRANCH, by a
//! `dolt` CLI. Does not move sessions. Always: a branch that Branchline itself is about to end is left to it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::list::OWN_PREFIX;
use crate::admit::LaneKey;
use crate::dolt::ControlError;
use crate::observe::time::unix_seconds;
use crate::session::Context;
use crate::session::route::Existence;

/// What closes the gate of a branch that a client deletes or renames itself.
pub const BY_HAND: &str = "deletion";

/// A listing may be as old as this when it is compared with a tombstone.
const LISTING_SECONDS_MAX: u64 = 5;

/// The branches there were at the last look.
#[derive(Debug, Default)]
pub struct Vanished(Mutex<BTreeSet<LaneKey>>);

impl Vanished {
    /// Those of the last look that are not there now; a database that is gone takes its branches with it in
    /// silence.
    fn since(&self, now: BTreeSet<LaneKey>) -> Vec<LaneKey> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let databases: BTreeSet<_> = now.iter().map(LaneKey::database).collect();
        let gone = last.difference(&now).filter(|branch| databases.contains(branch.database()));
        let gone = gone.cloned().collect();
        *last = now;
        gone
    }
}

/// Looks which branches there are. Sessions on one that went away are on main with their next statement; the
/// tombstone of one that was made again is forgotten. How many went away.
pub async fn notice(context: &Context) -> Result<usize, ControlError> {
    let began = unix_seconds(SystemTime::now());
    let listing = context.branches.listing().await?;
    let mut now = BTreeSet::new();
    for database in listing.databases() {
        let branches = listing.branches(database).filter(|branch| !branch.starts_with(OWN_PREFIX));
        now.extend(branches.map(|branch| LaneKey::new(database, branch)));
    }
    let mut count = 0;
    for branch in context.vanished.since(now) {
        let closed = context.gates.closed(branch.database(), branch.branch());
        if closed.is_some_and(|closed| closed.what != BY_HAND) {
            continue;
        }
        if context.book.tombstone(branch.database(), branch.branch()).is_none() {
            tracing::info!(%branch, "a branch was deleted past Branchline's own commands: its sessions go to main");
        }
        context.gates.gone(branch.database(), branch.branch());
        count += 1;
    }
    for tombstone in context.book.tombstones() {
        let (database, branch) = (tombstone.database, tombstone.branch);
        let is_older = tombstone.at.saturating_add(LISTING_SECONDS_MAX) < began;
        if is_older
            && listing.existence(&database, &branch) != Existence::Missing
            && context.gates.closed(&database, &branch).is_none()
        {
            let book = std::sync::Arc::clone(&context.book);
            let (db, name) = (database.clone(), branch.clone());
            let exhumed = tokio::task::spawn_blocking(move || book.exhume(&db, &name)).await;
            if let Ok(Err(error)) = exhumed {
                tracing::warn!(%error, database, branch, "a branch that was made again is still known as ended");
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_since_the_last_look_went_away() {
        let all = |names: &[(&str, &str)]| {
            names.iter().map(|(database, branch)| LaneKey::new(database, branch)).collect::<BTreeSet<_>>()
        };
        let vanished = Vanished::default();
        assert!(vanished.since(all(&[("a", "main"), ("a", "x"), ("b", "main"), ("b", "y")])).is_empty());
        assert_eq!(vanished.since(all(&[("a", "main"), ("a", "new")])), [LaneKey::new("a", "x")]);
        assert!(vanished.since(all(&[("a", "main"), ("a", "new")])).is_empty(), "once");
    }
}
