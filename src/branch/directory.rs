//! Owns the list of databases and their branches, as fresh as each question needs it.
//! Does not decide anything by it. Always: a listing that is handed out was true at some moment after
//! it was asked for: with a private Dolt the journals' signatures tell when it is stale
//! (facts-dolt.md: every change of a ref changes size or mtime of the journal), else it is read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use mysql_async::Row;
use tokio::sync::Mutex;

use super::fork::UNFINISHED_PREFIX;
use crate::dolt::journal::JOURNAL;
use crate::dolt::{Control, ControlError};
use crate::session::route::Existence;

/// Databases by lower-case name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listing {
    databases: BTreeMap<String, Database>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Database {
    name: String,
    /// As Dolt spells them; two may differ in case only.
    branches: BTreeSet<String>,
}

impl Listing {
    /// Names of all databases.
    pub fn databases(&self) -> impl Iterator<Item = &str> {
        self.databases.values().map(|database| database.name.as_str())
    }

    /// The database's name as Dolt spells it.
    pub fn database(&self, name: &str) -> Option<&str> {
        self.databases.get(&name.to_lowercase()).map(|database| database.name.as_str())
    }

    /// Branches of a database, as Dolt spells them.
    pub fn branches(&self, database: &str) -> impl Iterator<Item = &str> {
        self.databases
            .get(&database.to_lowercase())
            .into_iter()
            .flat_map(|database| database.branches.iter().map(String::as_str))
    }

    /// Whether Dolt has it, in this spelling or, failing that, in another case.
    pub fn existence(&self, database: &str, branch: &str) -> Existence {
        Existence::among(branch, self.branches(database))
    }

    /// Databases and names of branches whose fork is under way, or was cut off.
    pub fn unfinished(&self) -> impl Iterator<Item = (&str, &str)> {
        self.databases.values().flat_map(|database| {
            let unfinished =
                database.branches.iter().filter_map(|branch| branch.strip_prefix(UNFINISHED_PREFIX));
            unfinished.map(|name| (database.name.as_str(), name))
        })
    }

    /// Adds a branch; for tests and for what was just created.
    pub fn insert(&mut self, database: &str, branch: &str) {
        let entry = self.databases.entry(database.to_lowercase()).or_default();
        entry.name = database.to_owned();
        entry.branches.insert(branch.to_owned());
    }
}

/// The list of databases and their branches.
#[derive(Debug)]
pub struct Branches {
    control: Control,
    /// Where the journals are, if they are ours to look at.
    data_dir: Option<PathBuf>,
    cached: Mutex<Option<(Signature, Arc<Listing>)>>,
    /// By lower-case database: the branch that Dolt put sessions on last.
    defaults: dashmap::DashMap<String, String>,
    /// When the data directory was read last, and what is in it, lower case.
    names: std::sync::Mutex<(Option<SystemTime>, BTreeSet<String>)>,
}

/// Where Dolt puts new sessions unless somebody has changed that.
const DEFAULT_BRANCH: &str = "main";

/// Inode, size and mtime of every database's journal.
type Signature = Vec<(PathBuf, u64, u64, SystemTime)>;

impl Branches {
    /// Reads through `control`; `data_dir` if Dolt is ours.
    pub fn new(control: Control, data_dir: Option<PathBuf>) -> Self {
        Self {
            control,
            data_dir,
            cached: Mutex::new(None),
            defaults: dashmap::DashMap::new(),
            names: Default::default(),
        }
    }

    /// Whether Dolt is ours alone: in somebody else's, another Branchline may be making branches too.
    pub fn are_ours(&self) -> bool {
        self.data_dir.is_some()
    }

    /// All databases and branches. One reads while others wait for it.
    pub async fn listing(&self) -> Result<Arc<Listing>, ControlError> {
        let mut cached = self.cached.lock().await;
        let before = self.signature().await;
        if let (Some(now), Some((then, listing))) = (&before, &*cached)
            && now == then
        {
            return Ok(Arc::clone(listing));
        }
        let listing = Arc::new(self.read().await?);
        // What changed while it was read is read again by the next one who asks.
        *cached = match (before, self.signature().await) {
            (Some(before), Some(after)) if before == after => Some((after, Arc::clone(&listing))),
            _ => None,
        };
        Ok(listing)
    }

    /// A session that nothing routes was put on this branch.
    pub fn learn_default(&self, database: &str, branch: &str) {
        let key = database.to_lowercase();
        if self.defaults.get(&key).is_none_or(|known| *known != branch) {
            self.defaults.insert(key, branch.to_owned());
        }
    }

    /// The branch that a session is on that nothing routes, as far as one was seen.
    pub fn default_branch(&self, database: &str) -> String {
        let known = self.defaults.get(&database.to_lowercase());
        known.map_or_else(|| DEFAULT_BRANCH.to_owned(), |known| known.clone())
    }

    /// Whether there may be a database of this name: a look, much cheaper than a listing. Says yes when in doubt.
    pub fn may_have(&self, name: &str) -> bool {
        let Some(data_dir) = &self.data_dir else { return true };
        let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        is_name
            && (data_dir.join(name).join(".dolt").is_dir() || self.is_known_in_another_case(data_dir, name))
    }

    /// Dolt finds a database in any case; a directory is found in one.
    fn is_known_in_another_case(&self, data_dir: &Path, name: &str) -> bool {
        let modified = std::fs::metadata(data_dir).and_then(|meta| meta.modified()).ok();
        let mut names = self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if modified.is_none() || names.0 != modified {
            let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
            names.1 = entries
                .filter_map(|entry| entry.file_name().into_string().ok())
                .map(|n| n.to_lowercase())
                .collect();
            names.0 = modified;
        }
        names.1.contains(&name.to_lowercase())
    }

    async fn signature(&self) -> Option<Signature> {
        let data_dir = self.data_dir.clone()?;
        tokio::task::spawn_blocking(move || journals(&data_dir).ok()).await.ok()?
    }

    async fn read(&self) -> Result<Listing, ControlError> {
        let rows = self.control.rows("SHOW DATABASES", Vec::new()).await?;
        let names: Vec<String> = rows
            .into_iter()
            .filter_map(|row| mysql_async::from_row_opt::<String>(row).ok())
            .filter(|name| {
                !matches!(name.to_lowercase().as_str(), "information_schema" | "mysql" | "dolt_cluster")
            })
            // Sessions that named a revision make Dolt list `db/branch` too.
            .filter(|name| !name.contains(['/', '@']))
            .collect();
        if names.is_empty() {
            return Ok(Listing::default());
        }
        let questions: Vec<String> = names
            .iter()
            .map(|name| {
                let (literal, quoted) = (sql_literal(name), sql_identifier(name));
                format!("SELECT {literal} AS db, name FROM {quoted}.dolt_branches")
            })
            .collect();
        let mut listing = Listing::default();
        let rows = match self.control.rows(&questions.join(" UNION ALL "), Vec::new()).await {
            // One that is broken must not take the others with it.
            Err(ControlError::Server { .. }) => self.one_by_one(&names, &questions, &mut listing).await?,
            rows => rows?,
        };
        for row in rows {
            if let Ok((database, branch)) = mysql_async::from_row_opt::<(String, String)>(row) {
                listing.insert(&database, &branch);
            }
        }
        Ok(listing)
    }

    /// Those that can't be read are listed without branches.
    async fn one_by_one(
        &self,
        names: &[String],
        questions: &[String],
        listing: &mut Listing,
    ) -> Result<Vec<Row>, ControlError> {
        let mut all = Vec::new();
        for (name, question) in names.iter().zip(questions) {
            match self.control.rows(question, Vec::new()).await {
                Ok(rows) => all.extend(rows),
                Err(ControlError::Server { message, .. }) => {
                    tracing::warn!(database = name, "its branches can't be read: {message}");
                    listing.databases.entry(name.to_lowercase()).or_default().name.clone_from(name);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

fn journals(data_dir: &Path) -> std::io::Result<Signature> {
    use std::os::unix::fs::MetadataExt;
    let mut signature = Signature::new();
    for entry in std::fs::read_dir(data_dir)? {
        let path = entry?.path();
        let noms = path.join(".dolt/noms");
        if !noms.is_dir() {
            continue;
        }
        // A database whose journal is not there (in the middle of a GC) has a signature never seen again.
        let (inode, size, mtime) = match std::fs::metadata(noms.join(JOURNAL)) {
            Ok(meta) => (meta.ino(), meta.size(), meta.modified()?),
            Err(_) => (0, 0, SystemTime::now()),
        };
        signature.push((path, inode, size, mtime));
    }
    signature.sort();
    Ok(signature)
}

/// A string literal for Dolt.
pub fn sql_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A quoted identifier for Dolt.
pub fn sql_identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_given_as_dolt_spells_them() {
        let mut listing = Listing::default();
        listing.insert("Gastown", "Polecat-Nux");
        assert_eq!(listing.database("gasTOWN"), Some("Gastown"));
        let there = Existence::Exists { spelled: "Polecat-Nux".to_owned() };
        assert_eq!(listing.existence("gastown", "polecat-nux"), there);
        assert_eq!(listing.existence("gastown", "polecat"), Existence::Missing);
        assert_eq!(listing.existence("other", "polecat-nux"), Existence::Missing);
    }

    #[test]
    fn quotes_do_not_end_a_literal() {
        assert_eq!(sql_literal(r"a'b\"), r"'a''b\\'");
        assert_eq!(sql_identifier("a`b"), "`a``b`");
    }
}
