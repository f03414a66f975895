//! Owns runs of the dolt program beside the server: making a database from a copy, with every chunk's checksum, where no
//! client sees it; and the link by which Dolt is told of a directory.
//! Does not run anything itself: `dolt::beside` does. Always: a link is gone when it is dropped.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use super::super::outcome::one_line;
use crate::dolt::beside::{Beside, BesideError};
use crate::session::Context;

/// Of the database that is made.
const NAME: &str = "database";
/// Of the names of links in the state directory.
const LINK_PREFIX: &str = "backup-";
const LINK_SUFFIX: &str = ".link";

/// A database that was made from a copy; gone when dropped.
#[derive(Debug)]
pub struct Made {
    beside: Beside,
    /// Heads by branch.
    pub heads: BTreeMap<String, String>,
}

impl Made {
    /// Where it is.
    pub fn dir(&self) -> PathBuf {
        self.beside.work().join(NAME)
    }
}

/// Dolt takes directories as URLs and decodes those more than once: a link with a plain name stands for any directory.
#[derive(Debug)]
pub struct Link(PathBuf);

impl Link {
    /// To a directory, as long as this lives.
    pub fn to(context: &Context, dir: &Path) -> Result<Self, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let state_dir = std::path::absolute(context.remotes.state_dir())
            .map_err(|error| format!("cannot tell where the state directory is: {error}"))?;
        let is_plain = |text: &str| !text.contains(['%', '?', '#']);
        if !state_dir.to_str().is_some_and(is_plain) {
            return Err(format!(
                "Dolt can't be told of a path like {} (with %, ? or #, or not UTF-8): give another --state-dir",
                state_dir.display()
            ));
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let link = state_dir.join(format!("{LINK_PREFIX}{count}{LINK_SUFFIX}"));
        let made = match std::fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(dir, &link),
        };
        made.map_err(|error| format!("cannot make {}: {error}", link.display()))?;
        Ok(Self(link))
    }

    /// For Dolt.
    pub fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// At the start: removes links that a killed Branchline left.
pub fn clean_up(state_dir: &Path) {
    for entry in std::fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.starts_with(LINK_PREFIX) && name.ends_with(LINK_SUFFIX);
        if is_ours && entry.path().is_symlink() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Makes a database from a copy. In the state directory: Dolt looks for a running server in all directories above its own,
/// and would have that do the work; and its own must be one with a plain name.
pub async fn restore(context: &Context, link: &Link, limit: Duration) -> Result<Made, String> {
    let said = |error: BesideError| one_line(&error.to_string());
    let beside = Beside::new(context.remotes.state_dir()).map_err(|error| error.to_string())?;
    let work = beside.work();
    beside.run(&["backup", "restore", &link.url(), NAME], &work, limit, |_| {}).await.map_err(said)?;
    let sql = "SELECT name, hash FROM dolt_branches";
    let listed = beside.run(&["sql", "-r", "json", "-q", sql], &work.join(NAME), limit, |_| {}).await;
    let listed = listed.map_err(said)?;
    let listed: Listed =
        serde_json::from_slice(&listed).map_err(|error| format!("its branches can't be read: {error}"))?;
    let heads = listed.rows.into_iter().map(|row| (row.name, row.hash)).collect();
    Ok(Made { beside, heads })
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    rows: Vec<BranchRow>,
}

#[derive(Deserialize)]
struct BranchRow {
    name: String,
    hash: String,
}
