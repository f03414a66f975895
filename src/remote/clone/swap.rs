//! Owns giving a cloned database its name under a running Dolt, and what is written down meanwhile.
//! Does not decide the order: `core` does. Always: what is written down is enough to go on after a crash.
//!
//! Dolt keeps a dropped database's directory and takes it back by its name, so a directory that is put there, or named
//! anew there, becomes a database at once: its files are never open meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::core::{Found, Step};
use crate::branch::{sql_identifier, sql_literal};
use crate::session::Context;
use crate::state_file::replace;

/// Where Dolt keeps dropped databases, in the data directory.
pub(super) const DROPPED: &str = ".dolt_dropped_databases";
const FILE: &str = "clone.json";
const VERSION: u32 = 1;

/// A swap that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swap {
    version: u32,
    pub database: String,
    /// What the old one is called afterwards; none: there is no old one.
    pub aside: Option<String>,
    /// Where the new one was cloned to.
    pub fresh: PathBuf,
}

impl Swap {
    pub fn new(database: &str, aside: Option<String>, fresh: PathBuf) -> Self {
        Self { version: VERSION, database: database.to_owned(), aside, fresh }
    }

    /// Before its first step.
    pub fn write_down(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        replace(&state_dir.join(FILE), &bytes)
    }

    /// One that was cut off.
    pub fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(state_dir.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// After its last step.
    pub fn forget(state_dir: &Path) -> io::Result<()> {
        std::fs::remove_file(state_dir.join(FILE))
    }

    fn dropped(&self, data_dir: &Path, name: &str) -> PathBuf {
        data_dir.join(DROPPED).join(name)
    }

    pub async fn found(&self, context: &Context, data_dir: &Path) -> Result<Found, String> {
        let sql = "SHOW DATABASES";
        let rows = context.dolt.control().rows(sql, Vec::new()).await.map_err(|error| error.to_string())?;
        let names: Vec<String> =
            rows.into_iter().filter_map(|row| mysql_async::from_row_opt(row).ok()).collect();
        let is_live = |name: &str| names.iter().any(|live| live.eq_ignore_ascii_case(name));
        let is_dropped = |name: &str| self.dropped(data_dir, name).is_dir();
        Ok(Found {
            live: is_live(&self.database),
            dropped: is_dropped(&self.database),
            aside_live: self.aside.as_deref().is_some_and(is_live),
            aside_dropped: self.aside.as_deref().is_some_and(is_dropped),
            fresh: self.fresh.is_dir(),
        })
    }

    pub async fn step(&self, context: &Context, data_dir: &Path, step: Step) -> Result<(), String> {
        let place = self.dropped(data_dir, &self.database);
        let aside = self.aside.as_deref().unwrap_or_default();
        let sql = match step {
            Step::Drop => format!("DROP DATABASE {}", sql_identifier(&self.database)),
            Step::TakeAsideBack => format!("CALL DOLT_UNDROP({})", sql_literal(aside)),
            Step::TakeBack => format!("CALL DOLT_UNDROP({})", sql_literal(&self.database)),
            Step::NameAside => return renamed(&place, &self.dropped(data_dir, aside)),
            Step::PlaceFresh => return renamed(&self.fresh, &place),
            Step::RemoveFresh => {
                return std::fs::remove_dir_all(&self.fresh).map_err(|error| error.to_string());
            }
            Step::End => return Ok(()),
        };
        context.dolt.control().execute(&sql, Vec::new()).await.map(drop).map_err(|error| error.to_string())
    }
}

fn renamed(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::rename(from, to)
        .map_err(|error| format!("cannot rename {} to {}: {error}", from.display(), to.display()))
}

/// Makes room among the dropped databases: one of this name from before gets another, as Dolt does it.
pub(super) fn make_room(data_dir: &Path, database: &str, now: u64) -> io::Result<()> {
    let place = data_dir.join(DROPPED).join(database);
    match std::fs::rename(&place, place.with_file_name(format!("{database}.backup.{now}"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
