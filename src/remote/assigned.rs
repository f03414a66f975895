//! Owns the remotes that somebody added at run time (`remote add`), in memory and in `remotes.json`.
//! Does not push. Always: what `add` or `remove` returned Ok for is on disk, in a file only our own account reads: a
//! URL may hold a credential; a file that can't be read is left as it is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::url::RemoteUrl;
use crate::state_file::replace;

const FILE: &str = "remotes.json";
const VERSION: u32 = 1;

/// A remote that somebody added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedRemote {
    /// The database as Dolt spells it.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// Where it is.
    pub url: RemoteUrl,
    /// Who added it.
    pub by: String,
    /// When, seconds since 1970.
    pub at: u64,
}

/// All of them.
#[derive(Debug)]
pub struct AddedRemotes {
    path: PathBuf,
    /// By database in lower case.
    remotes: Mutex<BTreeMap<String, AddedRemote>>,
}

/// Why they could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AddedError {
    /// The file is there but can't be read.
    #[error("cannot read the remotes in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what we write.
    #[error("the remotes in {} are damaged: {problem}; repair the file, or move it away to start without", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It could not be written: nothing changed.
    #[error("cannot write the remotes to {}: {source}; nothing was changed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    remotes: Vec<StoredRemote>,
}

#[derive(Serialize, Deserialize)]
struct StoredRemote {
    database: String,
    name: String,
    url: String,
    by: String,
    at_unix_seconds: u64,
}

impl AddedRemotes {
    /// Reads `remotes.json` in the state dir; none there means none.
    pub fn load(state_dir: &Path) -> Result<Self, AddedError> {
        let path = state_dir.join(FILE);
        let remotes = match std::fs::read(&path) {
            Ok(bytes) => {
                parse(&bytes).map_err(|problem| AddedError::Damaged { path: path.clone(), problem })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(AddedError::Read { path, source }),
        };
        Ok(Self { path, remotes: Mutex::new(remotes) })
    }

    /// By database.
    pub fn all(&self) -> Vec<AddedRemote> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Puts it in the place of the one that the database had. Blocks for a file write.
    pub fn add(&self, remote: AddedRemote) -> Result<(), AddedError> {
        self.change(|remotes| {
            remotes.insert(remote.database.to_lowercase(), remote);
        })
    }

    /// Whether there was one. Blocks for a file write.
    pub fn remove(&self, database: &str) -> Result<bool, AddedError> {
        let mut was_there = false;
        self.change(|remotes| was_there = remotes.remove(&database.to_lowercase()).is_some())?;
        Ok(was_there)
    }

    /// Disk first, then memory.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, AddedRemote>)) -> Result<(), AddedError> {
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = remotes.clone();
        change(&mut changed);
        if changed == *remotes {
            return Ok(());
        }
        let stored = Stored {
            version: VERSION,
            remotes: changed
                .values()
                .map(|remote| StoredRemote {
                    database: remote.database.clone(),
                    name: remote.name.clone(),
                    url: remote.url.reveal().to_owned(),
                    by: remote.by.clone(),
                    at_unix_seconds: remote.at,
                })
                .collect(),
        };
        serde_json::to_vec_pretty(&stored)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(&self.path, &bytes))
            .map_err(|source| AddedError::Write { path: self.path.clone(), source })?;
        *remotes = changed;
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, AddedRemote>, String> {
    // Nothing of the text: it may hold a credential.
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| {
        format!("line {}, column {} is not what is written here", error.line(), error.column())
    })?;
    if stored.version != VERSION {
        return Err(format!(
            "version {} is not {VERSION}, which is all this Branchline knows",
            stored.version
        ));
    }
    let mut remotes = BTreeMap::new();
    for remote in stored.remotes {
        let url = RemoteUrl::parse(&remote.url)
            .map_err(|error| format!("the URL of {}: {}", remote.database, error.what()))?;
        let StoredRemote { database, name, by, at_unix_seconds: at, .. } = remote;
        remotes.insert(database.to_lowercase(), AddedRemote { database, name, url, by, at });
    }
    Ok(remotes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn remote(database: &str) -> AddedRemote {
        AddedRemote {
            database: database.to_owned(),
            name: "origin".to_owned(),
            url: RemoteUrl::parse("https://bob:hunter2@h/a").unwrap(),
            by: "uid 0".to_owned(),
            at: 7,
        }
    }

    #[test]
    fn what_was_added_is_there_after_a_restart_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let remotes = AddedRemotes::load(dir.path()).unwrap();
        remotes.add(remote("Beads")).unwrap();
        remotes.add(remote("hq")).unwrap();
        assert!(remotes.remove("HQ").unwrap() && !remotes.remove("hq").unwrap());
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(AddedRemotes::load(dir.path()).unwrap().all(), [remote("Beads")]);
    }

    #[test]
    fn a_damaged_file_is_left_and_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for text in [
            r#"{"version": 1, "remotes": [{"url": "https://bob:hunter2@h/a"#,
            r#"{"version": 2, "remotes": []}"#,
            r#"{"version": 1, "remotes": [{"database": "a", "name": "o", "url": "ssh://bob:hunter2@h/a", "by": "x", "at_unix_seconds": 1}]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let error = AddedRemotes::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains("damaged") && !error.contains("hunter2"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
