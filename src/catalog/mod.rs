//! What names mean: views, triggers, procedures, defaults, non-local and ignored tables, per database and branch.
//! Owns the cache of it and its loader. Does not decide anything by it: `statement::attribution` does.
//! Always: a schema that is handed out was read after the last invalidation of its branch, or is
//! [`Schema::unknown`], of which everything is to be expected; several who ask at once cause one load.

mod load;
mod schema;
#[cfg(test)]
mod schema_tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::dolt::Control;
use crate::statement::attribution::{self, Attributed, Place};
use crate::statement::effects::Effects;

pub use schema::{Facts, Nonlocal, Object, ObjectKind, Reach, Schema, matches};

/// Schemas that are kept.
const SCHEMAS_MAX: usize = 1024;
/// How long one is believed if somebody else may change it.
const SHARED_DOLT_TTL: Duration = Duration::from_secs(5);
/// How long one that could not be read is not asked for again.
const UNKNOWN_TTL: Duration = Duration::from_secs(1);
/// For one load; a session waits for it.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Schemas may reach others: how often attribution is tried again with what was missing.
const ROUNDS_MAX: usize = 16;

/// What names mean; cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    control: Control,
    /// Nobody but us changes it.
    ours: bool,
    slots: Mutex<HashMap<(String, String), Slot>>,
}

/// Filled by the first who asks. An invalidation throws it away; who waits for it asked before.
type Slot = Arc<OnceCell<Loaded>>;

#[derive(Debug)]
struct Loaded {
    schema: Arc<Schema>,
    expires: Option<Instant>,
}

impl Loaded {
    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

impl Catalog {
    /// Reads through `control`; `ours` if Dolt is private (`Branches::are_ours`).
    pub fn new(control: Control, ours: bool) -> Self {
        let control = control.with_timeout(LOAD_TIMEOUT);
        Self { shared: Arc::new(Shared { control, ours, slots: Mutex::default() }) }
    }

    /// The schema of a branch; read now, if it is not known.
    pub async fn schema(&self, database: &str, branch: &str) -> Arc<Schema> {
        let slot = self.shared.slot(database, branch);
        let loaded = slot.get_or_init(|| self.shared.load(database, branch)).await;
        Arc::clone(&loaded.schema)
    }

    /// The schema of a branch if it is known.
    pub fn known(&self, database: &str, branch: &str) -> Option<Arc<Schema>> {
        let slots = self.shared.lock();
        let loaded = slots.get(&key(database, branch))?.get().filter(|loaded| loaded.is_fresh())?;
        Some(Arc::clone(&loaded.schema))
    }

    /// What a text reads and writes, with whatever schemas that needs. In the usual case all are known and
    /// nothing is awaited.
    pub async fn attribute(&self, text: &[u8], effects: &Effects, place: &Place<'_>) -> Attributed {
        for _ in 0..ROUNDS_MAX {
            let attributed =
                attribution::lanes_of(text, effects, place, &|database, branch| self.known(database, branch));
            if attributed.missing.is_empty() {
                return attributed;
            }
            for (database, branch) in &attributed.missing {
                self.schema(database, branch).await;
            }
        }
        // They were invalidated as fast as they were read.
        Attributed::unknown()
    }

    /// What names mean on this branch may have changed.
    pub fn invalidate(&self, database: &str, branch: &str) {
        self.shared.lock().remove(&key(database, branch));
    }

    /// The same for all branches of a database.
    pub fn invalidate_database(&self, database: &str) {
        let database = database.to_lowercase();
        self.shared.lock().retain(|(known, _), _| *known != database);
    }

    /// The same for everything.
    pub fn invalidate_all(&self) {
        self.shared.lock().clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, database: &str, branch: &str) -> Slot {
        let key = key(database, branch);
        let mut slots = self.lock();
        if let Some(slot) = slots.get(&key)
            && slot.get().is_none_or(Loaded::is_fresh)
        {
            return Arc::clone(slot);
        }
        // Whichever goes is read again when it is needed.
        if slots.len() >= SCHEMAS_MAX
            && let Some(any) = slots.keys().next().cloned()
        {
            slots.remove(&any);
        }
        let slot = Slot::default();
        slots.insert(key, Arc::clone(&slot));
        slot
    }

    async fn load(&self, database: &str, branch: &str) -> Loaded {
        match load::facts(&self.control, database, branch).await {
            Ok(facts) => {
                let expires = (!self.ours).then(|| Instant::now() + SHARED_DOLT_TTL);
                Loaded { schema: Arc::new(Schema::of(facts)), expires }
            }
            Err(error) => {
                tracing::warn!(database, branch, %error, "what names mean can't be read: expecting everything of them");
                Loaded { schema: Arc::new(Schema::unknown()), expires: Some(Instant::now() + UNKNOWN_TTL) }
            }
        }
    }
}

fn key(database: &str, branch: &str) -> (String, String) {
    (database.to_lowercase(), branch.to_lowercase())
}
