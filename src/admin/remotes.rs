//! Owns the console's part of the seam that is about remotes: what may be asked.
//! Does not format: `server::remotes` makes rows of what comes of it.

use std::path::PathBuf;

use async_trait::async_trait;

use super::Refusal;
use super::answer::Table;
use super::ledger::LedgerWork;
use crate::remote::RemoteUrl;

/// What the console asks of remotes. What takes long is begun by `start_remote` and runs as a job, whose outcome is a table.
#[async_trait]
pub trait RemoteBackend {
    /// Begins long work; the job's id.
    async fn start_remote(&self, work: RemoteWork, by: &str) -> Result<u32, Refusal>;

    /// What can be shown at once.
    async fn show_remote(&self, view: RemoteView) -> Result<Table, Refusal>;
}

/// Long work with remotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteWork {
    /// `REMOTE ADD`
    Add(AddRemote),
    /// `REMOTE REMOVE`
    Remove {
        /// The database.
        database: String,
    },
    /// `BACKUP`
    Backup {
        /// The database.
        database: String,
        /// Where the copy is made: an absolute path.
        dir: PathBuf,
    },
    /// `RESTORE`
    Restore {
        /// The copy: an absolute path.
        dir: PathBuf,
        /// What the database is called.
        database: String,
        /// Whether one of that name makes room.
        replace: bool,
    },
    /// `PUSH`
    Push {
        /// All that have a remote, if empty.
        databases: Vec<String>,
    },
    /// `PULL`
    Pull {
        /// All that have a remote, if empty.
        databases: Vec<String>,
        /// From this remote; none: the one that main is pushed to.
        remote: Option<String>,
    },
    /// `CLONE`
    Clone {
        /// From where.
        url: RemoteUrl,
        /// What it is called.
        database: String,
        /// A database of that name is kept under another.
        replace: bool,
    },
    /// `REMOTE VERIFY`
    Verify {
        /// All that have a remote, if empty.
        databases: Vec<String>,
        /// This remote; none: the one that main is pushed to.
        remote: Option<String>,
    },
    /// `LEDGER …`
    Ledger(LedgerWork),
}

/// `REMOTE ADD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRemote {
    /// The database.
    pub database: String,
    /// Where it goes.
    pub url: RemoteUrl,
    /// What the remote is called.
    pub name: String,
    /// Make a first branch if the repository has none.
    pub init: bool,
}

/// What can be shown at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteView {
    /// `SHOW REMOTES`
    Remotes,
    /// `SHOW REMOTE STATUS`
    Status {
        /// One database; all if none.
        database: Option<String>,
    },
    /// `SHOW LEDGERS`
    Ledgers {
        /// One database; all that have one if none.
        database: Option<String>,
    },
    /// `SHOW ALERTS`
    Alerts {
        /// Also those that were over within the last 24 hours.
        all: bool,
    },
    /// `SHOW BACKUPS`
    Backups,
    /// `SHOW PUSHES`
    Pushes {
        /// The database.
        database: String,
        /// At most so many, the newest.
        limit: usize,
    },
}
