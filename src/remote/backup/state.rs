//! Owns what is known of backups, in memory and in `backups.json`: the last good one of each database, the last failure,
//! and directories that are not whole. Does not make any.
//! Always: a file that can't be read is told and done without; the copies themselves are not touched by that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::core::Past;
use crate::state_file::replace;

const FILE: &str = "backups.json";
const VERSION: u32 = 1;

/// A copy that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// When it was begun, seconds since 1970.
    pub at: u64,
    /// Where it is.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// How long it took.
    pub took_ms: u64,
    /// Head of main in it.
    pub head: Option<String>,
    /// How many branches are in it.
    pub branches: u64,
}

/// What is known of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As it was spelled last.
    pub database: String,
    /// The last good one, whoever asked for it.
    pub good: Option<Good>,
    /// The last good one that the schedule made.
    pub scheduled: Option<u64>,
    /// When the schedule tried last.
    pub tried: Option<u64>,
    /// How many of the schedule's failed since the last good one.
    pub failures: u32,
    /// What went wrong last, if the schedule's last one failed.
    pub error: Option<String>,
}

impl Entry {
    /// For the schedule.
    pub fn past(&self) -> Past {
        Past { good: self.scheduled, tried: self.tried, failures: self.failures }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// By database in lower case.
    databases: BTreeMap<String, Entry>,
    /// Directories that are not whole.
    unfinished: BTreeSet<PathBuf>,
}

/// What is known of backups.
#[derive(Debug)]
pub struct Backups {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// What an earlier Branchline left behind.
    left: Vec<PathBuf>,
}

impl Backups {
    /// Reads `backups.json` in the state directory.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let kept = match std::fs::read(&path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
            Err(error) => Err(error.to_string()),
        };
        let kept = kept.unwrap_or_else(|problem| {
            tracing::warn!(file = %path.display(), problem, "what is known of backups can't be read; it begins anew");
            Kept::default()
        });
        let left = kept.unfinished.iter().cloned().collect();
        Self { path, kept: Mutex::new(kept), left }
    }

    /// Directories that an earlier Branchline did not finish. They are none of this one's.
    pub fn left(&self) -> &[PathBuf] {
        &self.left
    }

    /// Of all databases that anything is known of.
    pub fn all(&self) -> Vec<Entry> {
        self.lock().databases.values().cloned().collect()
    }

    /// Of one.
    pub fn of(&self, database: &str) -> Entry {
        self.lock().databases.get(&database.to_lowercase()).cloned().unwrap_or_default()
    }

    /// Before they are made. Blocks for a file write.
    pub fn begun(&self, unfinished: &[PathBuf]) -> Result<(), String> {
        let mut kept = self.lock();
        kept.unfinished.extend(unfinished.iter().cloned());
        self.write(&kept)
            .map_err(|error| format!("{} can't be written: {error}; nothing was begun", self.path.display()))
    }

    /// They are gone, or have another name. Blocks for a file write.
    pub fn ended(&self, unfinished: &[PathBuf]) {
        self.change(|kept| kept.unfinished.retain(|path| !unfinished.contains(path)));
    }

    /// A copy was made and checked. Blocks for a file write.
    pub fn made(&self, database: &str, good: Good, by_schedule: bool) {
        self.entry(database, |entry| {
            if by_schedule {
                (entry.scheduled, entry.tried) = (Some(good.at), Some(good.at));
                (entry.failures, entry.error) = (0, None);
            }
            entry.good = Some(good);
        });
    }

    /// The schedule's copy could not be made. Blocks for a file write.
    pub fn failed(&self, database: &str, at: u64, error: &str) {
        self.entry(database, |entry| {
            entry.tried = Some(at);
            entry.failures = entry.failures.saturating_add(1);
            entry.error = Some(error.to_owned());
        });
    }

    fn entry(&self, database: &str, change: impl FnOnce(&mut Entry)) {
        self.change(|kept| {
            let entry = kept.databases.entry(database.to_lowercase()).or_default();
            database.clone_into(&mut entry.database);
            change(entry);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.lock();
        change(&mut kept);
        if let Err(error) = self.write(&kept) {
            tracing::warn!(file = %self.path.display(), %error, "what is known of backups can't be written");
        }
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let kept = serde_json::to_vec_pretty(&Stored {
            version: VERSION,
            databases: &kept.databases,
            unfinished: &kept.unfinished,
        });
        replace(&self.path, &kept.map_err(io::Error::from)?)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Serialize)]
struct Stored<'a> {
    version: u32,
    databases: &'a BTreeMap<String, Entry>,
    unfinished: &'a BTreeSet<PathBuf>,
}

fn parse(bytes: &[u8]) -> Result<Kept, String> {
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if kept.version == VERSION { Ok(kept) } else { Err(format!("version {} is not {VERSION}", kept.version)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let backups = Backups::load(dir.path());
        let paths = ["/x/.branchline-new-1-0-y", "/x/.branchline-check-1-1-y"].map(PathBuf::from);
        backups.begun(&paths).unwrap();
        backups.failed("Beads", 5, "disk full");
        backups.failed("beads", 6, "disk full");
        let good = Good {
            at: 7,
            path: "/x/y".into(),
            bytes: 10,
            took_ms: 3,
            head: Some("abc".to_owned()),
            branches: 2,
        };
        backups.made("BEADS", good.clone(), false);
        backups.ended(&paths[1..]);
        let again = Backups::load(dir.path());
        assert_eq!(again.left(), &paths[..1]);
        let entry = again.of("beads");
        assert_eq!(entry.past(), Past { good: None, tried: Some(6), failures: 2 });
        assert_eq!((entry.error.as_deref(), entry.good.as_ref()), (Some("disk full"), Some(&good)));
        again.made("beads", good, true);
        assert_eq!(again.of("beads").past(), Past { good: Some(7), tried: Some(7), failures: 0 });
        assert_eq!(again.of("beads").error, None);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Backups::load(dir.path()).all().is_empty());
    }
}
