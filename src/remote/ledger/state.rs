//! Owns what is remembered of ledgers beside their commits: which rows were withdrawn, which commit was checked last, and
//! what the last push came to. Does not publish. Always: what was withdrawn is not forgotten: a file that can't be
//! understood is kept, and nothing is published until somebody has looked at it; without the rest more is checked again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
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
    /// A table of the ledger was being changed: what is uncommitted there is ours.
    #[serde(default)]
    pub changing: bool,
    /// Why the last publishing failed, if it did; without credentials.
    pub failure: Option<String>,
}

/// Of all ledgers.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    by_ledger: BTreeMap<String, Noted>,
    /// The file could not be understood: nothing is written until it was looked at.
    is_damaged: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    ledgers: BTreeMap<String, Noted>,
}

/// A key as it is kept.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredKey {
    Named(BTreeMap<String, String>),
    /// By the primary key of the table.
    Listed(Vec<String>),
}

/// What is kept of a key.
pub fn stored(key: &Key) -> String {
    let named: BTreeMap<&String, &String> = key.iter().map(|(column, value)| (column, value)).collect();
    serde_json::to_string(&named).unwrap_or_default()
}

/// A key that was kept as names and values, or as the values of these columns.
pub fn key_of(stored: &str, columns: &[String]) -> Option<Key> {
    match serde_json::from_str(stored).ok()? {
        StoredKey::Named(named) => Some(named.into_iter().collect()),
        StoredKey::Listed(values) => {
            (values.len() == columns.len()).then(|| columns.iter().cloned().zip(values).collect())
        }
    }
}

impl Noted {
    /// The keys of a table that were withdrawn. `Err`: the table has not all of their columns, so that nobody can tell
    /// which rows they are.
    pub fn keys(&self, table: &str, key: &[String], columns: &[String]) -> Result<Vec<Key>, String> {
        let has = |name: &String| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        self.marks(table)
            .map(|stored| {
                let known = key_of(stored, key).filter(|key| key.iter().all(|(name, _)| has(name)));
                known.ok_or_else(|| format!("{stored} of {table}"))
            })
            .collect()
    }

    /// The keys of a table that were withdrawn by these columns, whatever else was by others.
    pub fn keys_by(&self, table: &str, key: &[String]) -> Vec<Key> {
        let has = |columns: &Key, name: &String| {
            columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name))
        };
        let is_it = |found: &Key| found.len() == key.len() && key.iter().all(|name| has(found, name));
        self.marks(table).filter_map(|stored| key_of(stored, key)).filter(is_it).collect()
    }

    fn marks(&self, table: &str) -> impl Iterator<Item = &String> {
        let marks = self.withdrawn.iter();
        marks.filter(move |(of, _)| of.eq_ignore_ascii_case(table)).map(|(_, stored)| stored)
    }
}

impl Notes {
    /// Reads `ledgers.json` in the state dir.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let state = read(&path);
        Self { path, state: Mutex::new(state) }
    }

    /// Whether it can be told which rows were withdrawn. A file that was repaired or taken away is taken up. Blocks for
    /// the file if it was damaged.
    pub fn check(&self) -> Result<(), String> {
        let mut state = self.lock();
        if state.is_damaged {
            *state = read(&self.path);
        }
        match state.is_damaged {
            false => Ok(()),
            true => Err(format!(
                "{} says which rows were withdrawn and can't be read: repair it and put it back as {FILE}, or take it \
                 away if no row of any ledger was ever withdrawn. Nothing is published until then",
                damaged(&self.path).display()
            )),
        }
    }

    /// What is noted of a ledger.
    pub fn of(&self, ledger: &str) -> Noted {
        self.lock().by_ledger.get(&ledger.to_lowercase()).cloned().unwrap_or_default()
    }

    /// Changes it; whether that is on disk. Blocks for a file write, if anything changed.
    pub fn change(&self, ledger: &str, change: impl FnOnce(&mut Noted)) -> bool {
        let mut state = self.lock();
        let key = ledger.to_lowercase();
        let before = state.by_ledger.get(&key).cloned().unwrap_or_default();
        let mut noted = before.clone();
        change(&mut noted);
        if noted == before {
            return !state.is_damaged;
        }
        if state.is_damaged {
            state.by_ledger.insert(key, noted);
            return false;
        }
        // Disk first, then memory: what is not written was not done.
        let mut all = state.by_ledger.clone();
        all.insert(key, noted);
        let stored = Stored { version: VERSION, ledgers: all };
        let written = serde_json::to_vec_pretty(&stored).map_err(io::Error::from);
        let written = written.and_then(|bytes| replace(&self.path, &bytes));
        match written {
            Ok(()) => {
                state.by_ledger = stored.ledgers;
                true
            }
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%error, %path, "what is known of the ledgers is not written");
                false
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn damaged(path: &Path) -> PathBuf {
    path.with_extension("json.damaged")
}

/// One that can't be understood is put aside, and stays damaged as long as it is there.
fn read(path: &Path) -> State {
    let aside = damaged(path);
    let is_aside = aside.try_exists().unwrap_or(true);
    let by_ledger =
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice::<Stored>(&bytes)
                .map_err(|error| error.to_string())
                .and_then(|stored| match stored.version {
                    VERSION => Ok(stored.ledgers),
                    other => Err(format!("it is of version {other}, which this Branchline does not know")),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error.to_string()),
        };
    match by_ledger {
        Ok(by_ledger) => State { by_ledger, is_damaged: is_aside },
        Err(error) => {
            if !is_aside {
                let _ = std::fs::rename(path, &aside);
            }
            tracing::warn!(error, path = %path.display(), "what was withdrawn from the ledgers can't be read");
            State { by_ledger: BTreeMap::new(), is_damaged: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn it_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::load(dir.path());
        let key = vec![("id".to_owned(), "bd-1".to_owned())];
        notes.change("A_ledger", |noted| {
            noted.pushed = Some("x".to_owned());
            noted.withdrawn.insert(("issues".to_owned(), stored(&key)));
        });
        let again = Notes::load(dir.path()).of("a_LEDGER");
        assert_eq!(again.pushed.as_deref(), Some("x"));
        assert_eq!(again.keys("Issues", &names(&["n"]), &names(&["ID", "n"])), Ok(vec![key]));
        let unknown = again.keys("issues", &names(&["n"]), &names(&["n"])).unwrap_err();
        assert_eq!(unknown, r#"{"id":"bd-1"} of issues"#);
        // As older files have them.
        assert_eq!(key_of(r#"["1","2"]"#, &names(&["a", "b"])).unwrap()[1], ("b".to_owned(), "2".to_owned()));
        assert_eq!(key_of(r#"["1"]"#, &names(&["a", "b"])), None);
    }

    #[test]
    fn a_damaged_file_is_kept_until_somebody_has_looked_at_it() {
        for broken in ["{", r#"{"version": 2, "ledgers": {}}"#] {
            let dir = tempfile::tempdir().unwrap();
            let [file, aside] = [FILE, "ledgers.json.damaged"].map(|name| dir.path().join(name));
            std::fs::write(&file, broken).unwrap();
            let notes = Notes::load(dir.path());
            assert!(notes.check().unwrap_err().contains("ledgers.json.damaged"));
            assert!(!notes.change("a_ledger", |noted| noted.failure = Some("x".to_owned())));
            assert_eq!((std::fs::read_to_string(&aside).unwrap().as_str(), file.exists()), (broken, false));
            assert!(Notes::load(dir.path()).check().is_err(), "also after a restart");
            std::fs::remove_file(&aside).unwrap();
            let repaired = Stored {
                version: VERSION,
                ledgers: BTreeMap::from([(
                    "a_ledger".to_owned(),
                    Noted { pushed_at: Some(1), ..Noted::default() },
                )]),
            };
            std::fs::write(&file, serde_json::to_vec(&repaired).unwrap()).unwrap();
            assert_eq!((notes.check(), notes.of("a_ledger").pushed_at), (Ok(()), Some(1)));
        }
    }
}
