//! Owns making a database of a remote, into a running Branchline: for new towns, and after a disaster.
//! Does not push or merge. Always: clients see the new database whole or not at all; one that it replaces is kept; a clone
//! that failed or was killed leaves nothing behind.

mod core;
mod recover;
mod replace;
mod room;
mod swap;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::recover::clean_up;
pub use self::room::{Head, Room};
use super::outcome::one_line;
use super::url::RemoteUrl;
use super::{Outcome, ledger};
use crate::config::remotes::NAME_DEFAULT;
use crate::dolt::beside::{Beside, BesideError};
use crate::dolt::moves::REPLACED;
use crate::observe::progress::Progress;
use crate::session::Context;

/// Reading what was cloned.
const READ_MAX: Duration = Duration::from_secs(120);
/// A clone has this many times `remotes.timeout`: a first one brings all there ever was.
const TIMEOUT_FACTOR: u32 = 12;

/// What to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneRequest {
    /// From where.
    pub url: RemoteUrl,
    /// What it is called here.
    pub database: String,
    /// A database of that name is kept under another.
    pub replace: bool,
    /// Who asks, for the record.
    pub by: String,
}

/// A database that was cloned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloned {
    /// The database.
    pub database: String,
    /// From where.
    pub url: RemoteUrl,
    /// Its main.
    pub head: String,
    /// Commits of main.
    pub commits: u64,
    /// Where what had the name is now: what the database is called, or a directory.
    pub replaced: Option<String>,
}

/// Why nothing was cloned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloneError {
    /// It can't be called so.
    #[error("{0}")]
    Name(String),
    /// There is one.
    #[error(
        "there is a database {0} already; with --replace it is kept as {0}_replaced_… and the new one takes its name"
    )]
    Exists(String),
    /// A directory is in the way that Dolt doesn't take for a database.
    #[error(
        "{} is there, and Dolt does not take it for a database; with --replace it is moved to {REPLACED} in the data directory",
        .0.display()
    )]
    InTheWay(PathBuf),
    /// Dolt's files are not ours.
    #[error(
        "Dolt is not Branchline's own (--dolt-address): CALL DOLT_CLONE('URL', '{0}') there makes the database"
    )]
    NotOurs(String),
    /// The remote can't be cloned.
    #[error("cannot clone {url}: {outcome}: {text}; {}. Nothing was changed", advice(*outcome))]
    Remote {
        /// From where.
        url: String,
        /// What the text means.
        outcome: Outcome,
        /// What was said.
        text: String,
    },
    /// It is whole, but has not got its name.
    #[error("{0}")]
    Place(String),
    /// Something here went wrong.
    #[error("cannot make {database} of {url}: {why}")]
    Here {
        /// What it is called.
        database: String,
        /// From where.
        url: String,
        /// What went wrong, and how it is now.
        why: String,
    },
}

fn advice(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Timeout => "a clone may take twelve times remotes.timeout_s; run it again with more",
        Outcome::NoBranch | Outcome::DoltError => {
            "the repository has to hold a Dolt database: look with `git ls-remote URL refs/dolt/data`"
        }
        Outcome::Unreachable => "check the URL with `git ls-remote`",
        other => other.advice(),
    }
}

/// Clones. Goes on to its end once the names are changed, also when the caller is cancelled.
pub async fn clone(
    context: &Arc<Context>,
    request: &CloneRequest,
    progress: &Progress,
) -> Result<Cloned, CloneError> {
    let CloneRequest { url, database, replace, by } = request;
    let here = |why: String| CloneError::Here {
        database: database.clone(),
        url: url.to_string(),
        why: url.hide_in(&why),
    };
    let room = Room::find(context, database, *replace).await?;
    let name = room.name().to_owned();
    progress.step("wait for the turn at the repository", None);
    let _turn = context.remotes.turns.take(&name, Some(&url.repository())).await;
    let fresh = room.make().map_err(|error| here(error.to_string()))?;
    let beside = Beside::new(context.remotes.state_dir()).map_err(|error| here(error.to_string()))?;
    let settings = context.remotes.settings();
    // Dolt's copy of the repository knows it by the name that it will be pushed by.
    let remote = match (ledger::is_ledger(context, &name), settings.databases.get(&name.to_lowercase())) {
        (true, _) => ledger::REMOTE,
        (false, Some(of)) => &of.name,
        (false, None) => NAME_DEFAULT,
    };
    fetch(&beside, (url, remote), &fresh, settings.timeout * TIMEOUT_FACTOR, progress)
        .await
        .map_err(|error| failed(url, error))?;
    let (head, commits) = look(&beside, &fresh).await.map_err(|error| failed(url, error))?;
    if url.has_credentials() {
        // Dolt writes the URL into files that everybody may read.
        let protected = std::fs::set_permissions(fresh.join(".dolt"), PermissionsExt::from_mode(0o700));
        protected.map_err(|error| here(error.to_string()))?;
    }
    progress.step("give it its name", None);
    let main = Head { branch: "main".to_owned(), hash: head.clone() };
    let replaced = room.place(context, None, main, by).await.map_err(|error| match error {
        CloneError::Place(why) => here(why),
        other => other,
    })?;
    tracing::info!(database = name, url = %url, head, commits, replaced, "cloned");
    Ok(Cloned { database: name, url: url.clone(), head, commits, replaced })
}

/// `dolt clone`, beside the server: so its end leaves the server alone.
pub(super) async fn fetch(
    beside: &Beside,
    (url, remote): (&RemoteUrl, &str),
    into: &Path,
    limit: Duration,
    progress: &Progress,
) -> Result<(), BesideError> {
    progress.step(format!("clone {url}"), None);
    let (mut all, mut shown) = (None, 0);
    let into = into.to_string_lossy();
    let seen = |said: &[u8]| {
        let Some((done, total)) = chunks(&String::from_utf8_lossy(said)) else { return };
        if all != Some(total) {
            progress.step(format!("clone {url}: chunks"), Some(total));
            (all, shown) = (Some(total), 0);
        }
        progress.advance(done.saturating_sub(shown));
        shown = shown.max(done);
    };
    let arguments = ["clone", "--remote", remote, url.reveal(), &into];
    beside.run(&arguments, &beside.work(), limit, seen).await.map(drop)
}

/// The last of `3 of 9 chunks complete`.
fn chunks(said: &str) -> Option<(u64, u64)> {
    let before = said.rsplit_once(" chunks complete")?.0;
    let (before, total) = before.rsplit_once(" of ")?;
    let done = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// Opens it: head of main, and how many commits it has.
async fn look(beside: &Beside, dir: &Path) -> Result<(String, u64), BesideError> {
    let sql = "SELECT dolt_hashof('main'), COUNT(*) FROM dolt_log('main')";
    let said = beside.run(&["sql", "-r", "csv", "-q", sql], dir, READ_MAX, |_| {}).await?;
    let said = String::from_utf8_lossy(&said);
    let row = said.lines().nth(1).and_then(|row| row.split_once(','));
    let row = row.and_then(|(head, count)| Some((head.to_owned(), count.trim().parse().ok()?)));
    row.ok_or_else(|| BesideError::Failed("the clone has no branch main".to_owned()))
}

fn failed(url: &RemoteUrl, error: BesideError) -> CloneError {
    let text = one_line(&url.hide_in(&error.to_string()));
    let outcome = match &error {
        BesideError::Timeout(_) => Outcome::Timeout,
        BesideError::Failed(text) => Outcome::of(text),
        BesideError::Run(_) => Outcome::DoltError,
    };
    CloneError::Remote { url: url.to_string(), outcome, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_what_dolt_prints() {
        let said = "\u{1b}[1A\u{1b}[J2 of 9 chunks complete. 7 chunks being downloaded currently.\n\u{1b}[1A\u{1b}[J9 of 9 \
                    chunks complete.";
        assert_eq!(chunks(said), Some((9, 9)));
        assert_eq!(chunks("2 of 9 chunks complete. 7 chunks being"), Some((2, 9)));
        assert_eq!(chunks("Retrieving remote information."), None);
    }
}
