//! Owns whose turn it is at a remote: one at a time per database and per repository, whatever it does there.
//! Does not know what that is. Always: a turn that is dropped is over; nobody waits for two turns in two orders.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// All turns.
#[derive(Debug, Default)]
pub struct Turns {
    databases: DashMap<String, Arc<Mutex<()>>>,
    repositories: DashMap<String, Arc<Mutex<()>>>,
    held: DashMap<String, usize>,
}

/// Held while something talks to a repository for a database.
#[derive(Debug)]
pub struct Turn {
    _database: OwnedMutexGuard<()>,
    _repository: Option<OwnedMutexGuard<()>>,
}

/// Held while a database is merged or garbage-collected: no push begins.
#[derive(Debug)]
pub struct Held {
    turns: Arc<Turns>,
    database: String,
}

impl Turns {
    /// Waits for both. The database comes first, for everybody.
    pub async fn take(&self, database: &str, repository: Option<&str>) -> Turn {
        let database = lock_of(&self.databases, &database.to_lowercase()).lock_owned().await;
        let repository = match repository {
            Some(repository) => Some(lock_of(&self.repositories, repository).lock_owned().await),
            None => None,
        };
        Turn { _database: database, _repository: repository }
    }

    /// No push of the database begins while this is held.
    pub fn hold(self: &Arc<Self>, database: &str) -> Held {
        let database = database.to_lowercase();
        *self.held.entry(database.clone()).or_default() += 1;
        Held { turns: Arc::clone(self), database }
    }

    /// Whether one is held.
    pub fn is_held(&self, database: &str) -> bool {
        self.held.contains_key(&database.to_lowercase())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut count) = self.turns.held.get_mut(&self.database) {
            *count -= 1;
        }
        self.turns.held.remove_if(&self.database, |_, count| *count == 0);
    }
}

fn lock_of(map: &DashMap<String, Arc<Mutex<()>>>, key: &str) -> Arc<Mutex<()>> {
    Arc::clone(&map.entry(key.to_owned()).or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_per_database_and_per_repository() {
        let turns = Arc::new(Turns::default());
        let waits = |database: &'static str, repository: &'static str| {
            let turns = Arc::clone(&turns);
            async move {
                tokio::time::timeout(Duration::from_secs(1), turns.take(database, Some(repository)))
                    .await
                    .is_err()
            }
        };
        let first = turns.take("A", Some("r")).await;
        assert!(waits("a", "s").await, "the same database");
        assert!(waits("b", "r").await, "the same repository");
        assert!(!waits("b", "s").await);
        drop(first);
        assert!(!waits("a", "r").await);
    }

    #[test]
    fn a_hold_counts() {
        let turns = Arc::new(Turns::default());
        let holds = [turns.hold("A"), turns.hold("a")];
        let [first, second] = holds;
        drop(first);
        assert!(turns.is_held("a"));
        drop(second);
        assert!(!turns.is_held("A"));
    }
}
