//! Owns what is remembered of ledgers beside their commits: which commit was checked last, and what the last push came to.
//! Does not publish. Always: lost, nothing worse comes of it than that more is checked again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::text::Key;
use crate::state_file::replace;

const FILE: &str = "ledgers.json";
const VERSION: u32 = 1;

/// Of one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Noted {
    /// All up to this commit of the ledger is what it should be.
    pub checked: Option<String>,
    /// The commit that was seen at the public remote last.
    pub pushed: Option<String>,
    /// Where: the repository without credentials.
    pub pushed_to: Option<String>,
    /// When that was, seconds since 1970.
    pub pushed_at: Option<u64>,
    /// Rows that were withdrawn: table in lower case, key as JSON. Kept when the ledger is begun anew.
    #[serde(default)]
    pub withdrawn: BTreeSet<(String, String)>,
    /// Why the last publishing failed, if it did; without credentials.
    pub failure: Option<String>,
}

/// Of all ledgers.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
    by_ledger: Mutex<BTreeMap<String, Noted>>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    ledgers: BTreeMap<String, Noted>,
}

impl Noted {
    /// The keys of a table that were withdrawn.
    pub fn keys(&self, table: &str) -> impl Iterator<Item = Key> {
        let of_table = |(of, _): &&(String, String)| of.eq_ignore_ascii_case(table);
        self.withdrawn.iter().filter(of_table).filter_map(|(_, key)| serde_json::from_str(key).ok())
    }
}

impl Notes {
    /// Reads `ledgers.json` in the state dir. One that can't be read is begun anew.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let stored =
            std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
        let by_ledger = stored.filter(|stored| stored.version == VERSION).map(|stored| stored.ledgers);
        Self { path, by_ledger: Mutex::new(by_ledger.unwrap_or_default()) }
    }

    /// What is noted of a ledger.
    pub fn of(&self, ledger: &str) -> Noted {
        let notes = self.by_ledger.lock().unwrap_or_else(PoisonError::into_inner);
        notes.get(&ledger.to_lowercase()).cloned().unwrap_or_default()
    }

    /// Changes it; whether that is on disk. Blocks for a file write, if anything changed.
    pub fn change(&self, ledger: &str, change: impl FnOnce(&mut Noted)) -> bool {
        let mut notes = self.by_ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = notes.entry(ledger.to_lowercase()).or_default();
        let before = noted.clone();
        change(noted);
        if *noted == before {
            return true;
        }
        let stored = Stored { version: VERSION, ledgers: notes.clone() };
        let written = serde_json::to_vec_pretty(&stored).map_err(std::io::Error::from);
        let written = written.and_then(|bytes| replace(&self.path, &bytes));
        if let Err(error) = &written {
            tracing::warn!(%error, path = %self.path.display(), "what is known of the ledgers is not written");
        }
        written.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_after_a_restart_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::load(dir.path());
        notes.change("A_ledger", |noted| {
            noted.pushed = Some("x".to_owned());
            noted.withdrawn.insert(("issues".to_owned(), r#"["bd-1"]"#.to_owned()));
        });
        let keys: Vec<Key> = Notes::load(dir.path()).of("a_ledger").keys("Issues").collect();
        assert_eq!(keys, [["bd-1"]]);
        assert_eq!(Notes::load(dir.path()).of("a_LEDGER").pushed.as_deref(), Some("x"));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(Notes::load(dir.path()).of("a_ledger"), Noted::default());
    }
}
