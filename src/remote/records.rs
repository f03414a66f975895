//! Owns what is remembered of pushes: the last ones of each database, and what was last seen at its remote.
//! Does not push. Always: in `pushes.json`, which survives a crash whole; a damaged one is told and begun anew.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, Record};
use crate::state_file::replace;

const FILE: &str = "pushes.json";
const VERSION: u32 = 1;

/// Records kept of each database.
const RECORDS_MAX: usize = 100;

/// What was last seen at a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The repository, as `RemoteUrl::repository` has it.
    pub repository: String,
    /// Head of its main.
    pub head: String,
    /// The commit of its `refs/dolt/data` then.
    pub data: Option<String>,
    /// When, seconds since 1970.
    pub at: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    /// By database in lower case.
    databases: Mutex<BTreeMap<String, Database>>,
    /// Held while the file is written, so that what is newest is written last. Taken before `databases`.
    writing: Mutex<()>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Database {
    seen: Option<Seen>,
    /// Since when it does not end well, seconds since 1970.
    failing_since: Option<u64>,
    /// Oldest first.
    records: VecDeque<Record>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    databases: BTreeMap<String, Database>,
}

impl Records {
    /// Reads them.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let stored = match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice::<Stored>(&bytes).ok().filter(|stored| stored.version == VERSION)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(Stored { version: VERSION, databases: BTreeMap::new() })
            }
            Err(_) => None,
        };
        if stored.is_none() {
            tracing::warn!(file = %path.display(), "what was remembered of pushes can't be read and is begun anew");
        }
        let databases = Mutex::new(stored.map(|stored| stored.databases).unwrap_or_default());
        Self { path, databases, writing: Mutex::default() }
    }

    /// What was last seen at this repository.
    pub fn seen(&self, database: &str, repository: &str) -> Option<Seen> {
        let seen = self.lock().get(&database.to_lowercase())?.seen.clone()?;
        (seen.repository == repository).then_some(seen)
    }

    /// The remote is looked at as if for the first time. Blocks for a file write.
    pub fn forget_seen(&self, database: &str) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut databases = self.lock();
        let seen = databases.get_mut(&database.to_lowercase()).and_then(|kept| kept.seen.take());
        if seen.is_some() {
            self.write(databases);
        }
    }

    /// It is another repository: since when it fails is begun anew.
    pub fn begin_anew(&self, database: &str) {
        if let Some(kept) = self.lock().get_mut(&database.to_lowercase()) {
            kept.failing_since = None;
        }
    }

    /// Takes note; a look that found nothing to do takes the place of the one before. Blocks for a file write, unless
    /// nothing but the time changed.
    pub fn add(&self, database: &str, record: Record, seen: Option<Seen>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut databases = self.lock();
        let kept = databases.entry(database.to_lowercase()).or_default();
        kept.failing_since = match record.outcome.is_well() {
            true => None,
            false => kept.failing_since.or(Some(record.at)),
        };
        let is_look = |record: &Record| record.outcome == Outcome::UpToDate;
        let is_seen_anew = match (&seen, &kept.seen) {
            (Some(new), Some(old)) => {
                (&new.head, &new.data, &new.repository) != (&old.head, &old.data, &old.repository)
            }
            (new, _) => new.is_some(),
        };
        let is_again = is_look(&record) && kept.records.back().is_some_and(is_look);
        if is_again {
            kept.records.pop_back();
        }
        kept.records.push_back(record);
        while kept.records.len() > RECORDS_MAX {
            kept.records.pop_front();
        }
        if seen.is_some() {
            kept.seen = seen;
        }
        if is_again && !is_seen_anew {
            return;
        }
        self.write(databases);
    }

    fn write(&self, databases: MutexGuard<'_, BTreeMap<String, Database>>) {
        let stored = Stored { version: VERSION, databases: databases.clone() };
        drop(databases);
        let written = serde_json::to_vec(&stored)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(&self.path, &bytes));
        if let Err(error) = written {
            tracing::warn!(%error, file = %self.path.display(), "what became of a push is not written");
        }
    }

    /// The last ones, newest first.
    pub fn last(&self, database: &str, limit: usize) -> Vec<Record> {
        let databases = self.lock();
        let records = databases.get(&database.to_lowercase()).map(|kept| &kept.records);
        records.into_iter().flat_map(|records| records.iter().rev().take(limit).cloned()).collect()
    }

    /// Since when it does not end well, seconds since 1970.
    pub fn failing_since(&self, database: &str) -> Option<u64> {
        self.lock().get(&database.to_lowercase())?.failing_since
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Database>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, outcome: Outcome) -> Record {
        Record {
            at,
            why: "commit".into(),
            outcome,
            commits: 1,
            bytes: None,
            took_ms: 5,
            head: None,
            text: String::new(),
        }
    }

    #[test]
    fn the_last_hundred_are_kept_and_looks_don_t_push_them_out() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::load(dir.path());
        for at in 0..150 {
            records.add("A", record(at, Outcome::Pushed), None);
        }
        let seen = Seen { repository: "r".into(), head: "h".into(), data: Some("d".into()), at: 200 };
        for at in 200..300 {
            records.add("a", record(at, Outcome::UpToDate), Some(seen.clone()));
        }
        records.add("a", record(300, Outcome::Auth), None);
        records.add("a", record(301, Outcome::Unreachable), None);
        let again = Records::load(dir.path());
        let kept = again.last("A", 1000);
        assert_eq!((kept.len(), kept[0].at, kept[2].at, kept[3].at), (100, 301, 299, 149));
        assert_eq!((again.seen("a", "r"), again.seen("a", "s")), (Some(seen), None));
        assert_eq!(again.failing_since("a"), Some(300));
        again.add("a", record(302, Outcome::Pushed), None);
        assert_eq!(again.failing_since("a"), None);
        again.forget_seen("A");
        assert_eq!(Records::load(dir.path()).seen("a", "r"), None, "also after a restart");
    }

    #[test]
    fn what_ends_at_once_is_all_written() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::load(dir.path());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let records = &records;
                scope.spawn(move || {
                    for at in 0..50 {
                        records.add(&format!("d{thread}"), record(at, Outcome::Pushed), None);
                    }
                });
            }
        });
        let again = Records::load(dir.path());
        for thread in 0..4 {
            assert_eq!(again.last(&format!("d{thread}"), 99).len(), 50);
        }
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let records = Records::load(dir.path());
        assert!(records.last("a", 9).is_empty());
        records.add("a", record(1, Outcome::Pushed), None);
        assert_eq!(Records::load(dir.path()).last("a", 9).len(), 1);
    }
}
