//! Owns what must be remembered of branches that Dolt can't keep: what became of them, finishes under way,
//! decisions about their conflicts, when somebody was on them. In memory and in `branches.json`.
//! Does not talk to Dolt. Always: what was changed with Ok is on disk, but for when somebody was seen, which
//! `flush` writes; a file that can't be read is left as it is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::directory::Listing;
use crate::observe::time::utc_seconds;
use crate::session::route::Existence;
use crate::state_file::replace;

const FILE: &str = "branches.json";
const VERSION: u32 = 1;

/// How a branch ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Merged to main.
    Finished {
        /// The merge commit; none if there was nothing to merge.
        commit: Option<String>,
    },
    /// Deleted without a merge.
    Dropped {
        /// The tag that keeps it for a while; none if it was deleted past Branchline's own commands.
        tag: Option<String>,
    },
}

/// A branch that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// As Dolt spelled it.
    pub database: String,
    /// As Dolt spelled it.
    pub branch: String,
    /// Finished or dropped.
    pub how: Ended,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who asked for it.
    pub by: String,
}

impl Tombstone {
    /// `finished at 2026-11-23T15:04:05Z (merged to main as hk4v…)`
    pub fn told(&self) -> String {
        let at = utc_seconds(self.at);
        match &self.how {
            Ended::Finished { commit: Some(commit) } => {
                format!("finished at {at} (merged to main as {commit})")
            }
            Ended::Finished { commit: None } => format!("finished at {at} (it had nothing to merge)"),
            Ended::Dropped { tag: Some(tag) } => format!("dropped at {at} (kept as tag {tag})"),
            Ended::Dropped { tag: None } => format!("dropped at {at}"),
        }
    }
}

/// Why the book could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file is there but can't be read.
    #[error("cannot read what is known of branches in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what we write.
    #[error(
        "what is known of branches in {path} is damaged: {problem}; repair the file, or move it away to start \
         without (finished branches are then no longer known as finished)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It could not be written: nothing changed.
    #[error("cannot write what is known of branches to {path}: {source}; nothing was changed")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A decision can't be put into words, or isn't what it should be.
    #[error("a decision about conflicts of {branch} is not understood: {problem}")]
    Decision {
        /// The branch.
        branch: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pages {
    tombstones: BTreeMap<String, Tombstone>,
    /// By branch, then by what is decided.
    decisions: BTreeMap<String, BTreeMap<String, Value>>,
    /// Seconds since 1970, by branch.
    seen: BTreeMap<String, u64>,
    /// What somebody was told about a branch already.
    alerts: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    pages: Value,
}

/// What is known of branches.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    pages: RwLock<Arc<Pages>>,
    /// Held by whoever changes the pages, so that those who read them never wait for the disk.
    changing: Mutex<()>,
    /// Newer than in the pages.
    seen: Mutex<BTreeMap<String, u64>>,
    has_seen: AtomicBool,
}

impl Book {
    /// Reads `branches.json` in the state dir; none there means that nothing is known.
    pub fn load(state_dir: &Path) -> Result<Self, BookError> {
        let path = state_dir.join(FILE);
        let pages = match std::fs::read(&path) {
            Ok(bytes) => {
                parse(&bytes).map_err(|problem| BookError::Damaged { path: path.clone(), problem })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Pages::default(),
            Err(source) => return Err(BookError::Read { path, source }),
        };
        Ok(Self {
            path,
            pages: RwLock::new(Arc::new(pages)),
            changing: Mutex::default(),
            seen: Mutex::default(),
            has_seen: AtomicBool::new(false),
        })
    }

    /// What became of a branch that is no more.
    pub fn tombstone(&self, database: &str, branch: &str) -> Option<Tombstone> {
        self.pages().tombstones.get(&key(database, branch)).cloned()
    }

    /// Whether a branch exists; one that doesn't may have ended. A branch that was made again wins over its
    /// tombstone.
    pub fn existence(&self, listing: &Listing, database: &str, branch: &str) -> Existence {
        match (listing.existence(database, branch), self.tombstone(database, branch)) {
            (Existence::Missing, Some(tombstone)) => Existence::Ended { told: tombstone.told() },
            (existence, _) => existence,
        }
    }

    /// All of them, by database and branch.
    pub fn tombstones(&self) -> Vec<Tombstone> {
        self.pages().tombstones.values().cloned().collect()
    }

    /// The branch is no more: its decisions, alerts and the time when it was last seen are forgotten with it. Blocks for a file write.
    pub fn bury(&self, tombstone: Tombstone) -> Result<(), BookError> {
        self.change(|pages| {
            let key = key(&tombstone.database, &tombstone.branch);
            pages.decisions.remove(&key);
            pages.alerts.remove(&key);
            pages.seen.remove(&key);
            self.seen_lately().remove(&key);
            pages.tombstones.insert(key, tombstone);
        })
    }

    /// There is such a branch again. Blocks for a file write if there was a tombstone.
    pub fn exhume(&self, database: &str, branch: &str) -> Result<Option<Tombstone>, BookError> {
        self.change(|pages| pages.tombstones.remove(&key(database, branch)))
    }

    /// Forgets tombstones from before `before`, in seconds since 1970; how many. Blocks for a file write.
    pub fn forget_tombstones(&self, before: u64) -> Result<usize, BookError> {
        self.change(|pages| {
            let were = pages.tombstones.len();
            pages.tombstones.retain(|_, tombstone| tombstone.at >= before);
            were - pages.tombstones.len()
        })
    }

    /// What was decided about a branch's conflicts, in the order of what is decided.
    pub fn decisions<T: DeserializeOwned>(&self, database: &str, branch: &str) -> Result<Vec<T>, BookError> {
        let pages = self.pages();
        let Some(decided) = pages.decisions.get(&key(database, branch)) else { return Ok(Vec::new()) };
        let read = |value: &Value| {
            serde_json::from_value(value.clone()).map_err(|error| BookError::Decision {
                branch: branch.to_owned(),
                problem: error.to_string(),
            })
        };
        decided.values().map(read).collect()
    }

    /// Decides `what` (one text for one conflict: table, key, column); an earlier decision of it is replaced. Blocks for a file write.
    pub fn decide<T: Serialize>(
        &self,
        database: &str,
        branch: &str,
        what: &str,
        decision: &T,
    ) -> Result<(), BookError> {
        let value = serde_json::to_value(decision)
            .map_err(|error| BookError::Decision { branch: branch.to_owned(), problem: error.to_string() })?;
        self.change(|pages| {
            pages.decisions.entry(key(database, branch)).or_default().insert(what.to_owned(), value);
        })
    }

    /// Forgets what was decided about a branch; how much it was. Blocks for a file write if there was any.
    pub fn forget_decisions(&self, database: &str, branch: &str) -> Result<usize, BookError> {
        self.change(|pages| pages.decisions.remove(&key(database, branch)).map_or(0, |decided| decided.len()))
    }

    /// When a session was last on a branch, in seconds since 1970.
    pub fn seen(&self, database: &str, branch: &str) -> Option<u64> {
        let key = key(database, branch);
        let lately = self.seen_lately().get(&key).copied();
        lately.or_else(|| self.pages().seen.get(&key).copied())
    }

    /// A session is on a branch at `at`. In memory until the next `flush`.
    pub fn saw(&self, database: &str, branch: &str, at: u64) {
        let mut seen = self.seen_lately();
        let last = seen.entry(key(database, branch)).or_default();
        *last = (*last).max(at);
        self.has_seen.store(true, Ordering::Relaxed);
    }

    /// Writes when somebody was seen, if that is newer than what is written. Blocks for a file write.
    pub fn flush(&self) -> Result<(), BookError> {
        if !self.has_seen.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let seen = self.seen_lately().clone();
        let flushed = self.change(|pages| {
            for (key, at) in &seen {
                let last = pages.seen.entry(key.clone()).or_default();
                *last = (*last).max(*at);
            }
        });
        match &flushed {
            Ok(()) => self.seen_lately().retain(|key, at| seen.get(key) != Some(at)),
            Err(_) => self.has_seen.store(true, Ordering::Relaxed),
        }
        flushed
    }

    /// Forgets when branches were seen that are not there any more. Blocks for a file write if there are such.
    pub fn forget_seen(&self, is_there: impl Fn(&str, &str) -> bool) -> Result<(), BookError> {
        self.change(|pages| {
            let is_known = |key: &str| key.split_once('/').is_some_and(|(db, branch)| is_there(db, branch));
            pages.seen.retain(|key, _| is_known(key));
            pages.alerts.retain(|key, _| is_known(key));
        })
    }

    /// What somebody was told about a branch.
    pub fn alert(&self, database: &str, branch: &str) -> Option<String> {
        self.pages().alerts.get(&key(database, branch)).cloned()
    }

    /// All alerts: `database/branch` in lower case, and what was told.
    pub fn alerts(&self) -> BTreeMap<String, String> {
        self.pages().alerts.clone()
    }

    /// What somebody is told about a branch from now on; whether that is new. Blocks for a file write if it is.
    pub fn tell(&self, database: &str, branch: &str, alert: Option<&str>) -> Result<bool, BookError> {
        if self.alert(database, branch).as_deref() == alert {
            return Ok(false);
        }
        self.change(|pages| match alert {
            Some(alert) => pages.alerts.insert(key(database, branch), alert.to_owned()),
            None => pages.alerts.remove(&key(database, branch)),
        })?;
        Ok(true)
    }

    fn pages(&self) -> Arc<Pages> {
        Arc::clone(&self.pages.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn seen_lately(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Disk first, then memory; neither if nothing is changed.
    fn change<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> Result<T, BookError> {
        let _one_by_one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.pages();
        let mut pages = Pages::clone(&before);
        let result = change(&mut pages);
        if pages != *before {
            serde_json::to_value(&pages)
                .and_then(|pages| serde_json::to_vec_pretty(&Stored { version: VERSION, pages }))
                .map_err(io::Error::from)
                .and_then(|bytes| replace(&self.path, &bytes))
                .map_err(|source| BookError::Write { path: self.path.clone(), source })?;
            *self.pages.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pages);
        }
        Ok(result)
    }
}

/// Dolt takes both names without regard to case; a database's name has no slash.
fn key(database: &str, branch: &str) -> String {
    format!("{}/{}", database.to_lowercase(), branch.to_lowercase())
}

fn parse(bytes: &[u8]) -> Result<Pages, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.version != VERSION {
        return Err(format!(
            "version {} is not {VERSION}, which is all this Branchline knows",
            stored.version
        ));
    }
    serde_json::from_value(stored.pages).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tombstone(branch: &str, at: u64) -> Tombstone {
        let how = Ended::Finished { commit: Some("abc".to_owned()) };
        Tombstone { database: "Rig".to_owned(), branch: branch.to_owned(), how, at, by: "uid 0".to_owned() }
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let book = Book::load(dir.path()).expect("nothing yet");
        book.bury(tombstone("Polecat-X", 1_735_689_599)).expect("written");
        book.decide("rig", "polecat-y", "t/1/c", &"theirs").expect("written");
        book.decide("rig", "polecat-y", "t/1/c", &"ours").expect("replaced");
        book.saw("rig", "polecat-y", 7);
        book.flush().expect("written");
        assert!(book.tell("rig", "polecat-y", Some("orphan")).expect("written"));
        assert!(!book.tell("rig", "POLECAT-y", Some("orphan")).expect("not new"));

        let again = Book::load(dir.path()).expect("loads");
        let found = again.tombstone("RIG", "polecat-x").expect("buried");
        assert_eq!(found.told(), "finished at 2024-12-31T23:59:59Z (merged to main as abc)");
        assert_eq!(again.decisions::<String>("rig", "polecat-y").expect("read"), ["ours"]);
        assert_eq!(again.seen("rig", "polecat-y"), Some(7));
        assert_eq!(again.alert("rig", "polecat-y").as_deref(), Some("orphan"));
        let mode = std::fs::metadata(dir.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        assert!(again.exhume("rig", "Polecat-x").expect("written").is_some());
        assert!(again.exhume("rig", "polecat-x").expect("nothing to write").is_none());
        assert_eq!(again.forget_decisions("rig", "polecat-y").expect("written"), 1);
        again.bury(tombstone("polecat-y", 9)).expect("written");
        assert_eq!(again.alert("rig", "polecat-y"), None, "it went with the branch");
        assert_eq!(again.forget_tombstones(10).expect("written"), 1);
        let last = Book::load(dir.path()).expect("loads");
        assert_eq!(*last.pages(), Pages::default());
    }

    #[test]
    fn seeing_costs_no_write_until_it_is_flushed() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let book = Book::load(dir.path()).expect("nothing yet");
        book.saw("rig", "a", 3);
        book.saw("rig", "a", 2);
        assert_eq!(book.seen("rig", "a"), Some(3), "the later one");
        assert!(!dir.path().join(FILE).exists());
        book.flush().expect("written");
        book.saw("rig", "gone", 4);
        book.flush().expect("written");
        book.forget_seen(|_, branch| branch == "a").expect("written");
        assert_eq!((book.seen("rig", "a"), book.seen("rig", "gone")), (Some(3), None));
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        for (text, says) in [
            ("{", "EOF"),
            ("", "EOF"),
            (r#"{"version":2}"#, "version 2"),
            (r#"{"version":1,"graves":{}}"#, "graves"),
            (r#"{"version":1,"tombstones":{"a/b":{"database":"a"}}}"#, "branch"),
        ] {
            let dir = tempfile::tempdir().expect("a temp dir");
            let path = dir.path().join(FILE);
            std::fs::write(&path, text).expect("written");
            let error = Book::load(dir.path()).expect_err("damaged").to_string();
            assert!(error.contains(says) && error.contains("branches.json"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).expect("still there"), text);
        }
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let book = Book::load(&dir.path().join("gone")).expect("nothing yet");
        let error = book.bury(tombstone("a", 1)).expect_err("no such dir");
        assert!(matches!(error, BookError::Write { .. }), "{error}");
        assert_eq!(book.tombstone("rig", "a"), None);
    }
}
