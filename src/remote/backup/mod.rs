//! Owns copies of whole databases on this machine: by hand, on a schedule, and databases made from them.
//! Does not know remotes. Always: a copy counts only once a database was made from it that has the same heads; the copy
//! before it is there until then; a copy that is cut off leaves nothing for long.

pub mod core;
pub mod make;
pub mod offline;
pub mod place;
pub mod restore;
pub mod state;
pub mod worker;

use std::sync::Arc;
use std::time::SystemTime;

pub use restore::Restored;
pub use state::{Backups, Good};

use crate::observe::time::unix_seconds;
use crate::session::Context;

/// What is shown of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRow {
    /// Its name.
    pub database: String,
    /// The last good one.
    pub good: Option<Good>,
    /// When the schedule makes the next one, in seconds since 1970.
    pub next: Option<u64>,
    /// How many failed since the last good one.
    pub failures: u32,
    /// What went wrong last.
    pub error: Option<String>,
}

/// Every database that has a backup or gets one.
pub async fn rows(context: &Arc<Context>) -> Result<Vec<BackupRow>, String> {
    let settings = context.remotes.settings().backups.clone();
    let schedule = worker::schedule(&settings);
    let wanted = match schedule {
        Some(_) => worker::databases(context, &settings).await?,
        None => Vec::new(),
    };
    let mut names = wanted.clone();
    for entry in context.backups.all() {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&entry.database)) {
            names.push(entry.database);
        }
    }
    names.sort();
    let now = unix_seconds(SystemTime::now());
    Ok(names
        .into_iter()
        .map(|database| {
            let entry = context.backups.of(&database);
            let next = schedule
                .filter(|_| wanted.contains(&database))
                .map(|(_, every_s)| core::due(every_s, entry.past(), now).max(now));
            BackupRow { database, good: entry.good, next, failures: entry.failures, error: entry.error }
        })
        .collect())
}
