//! Owns making a database of a remote, into a running Branchline: for new towns, and after a disaster.
//! Does not push or merge. Always: clients see the new database whole or not at all; one that it replaces is kept; a clone
//! that failed or was killed leaves nothing behind.

mod core;
mod swap;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::core::{Step, forward, recover};
use self::swap::{DROPPED, Swap, make_room};
use super::outcome::one_line;
use super::url::RemoteUrl;
use super::{Outcome, ledger};
use crate::admit::Committed;
use crate::branch::incoming::take_all_lanes;
use crate::branch::{database_name, sql_identifier, sql_literal};
use crate::config::remotes::NAME_DEFAULT;
use crate::dolt::beside::{self, Beside, BesideError};
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// Directories of clones under way begin so.
const FRESH_PREFIX: &str = "branchline-clone-";
/// Reading what was cloned.
const READ_MAX: Duration = Duration::from_secs(120);
/// For open transactions on the database that is replaced.
const LANE_WAIT: Duration = Duration::from_secs(30);
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
    /// What the database is called now that had the name.
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
        "{} is there, and Dolt does not take it for a database; with --replace it is moved to {DROPPED} in the data directory",
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
    database_name::check(database).map_err(CloneError::Name)?;
    let dir = context.remotes.database_dir(database);
    let dir = dir.ok_or_else(|| CloneError::NotOurs(database.clone()))?;
    let here = |why: String| CloneError::Here {
        database: database.clone(),
        url: url.to_string(),
        why: url.hide_in(&why),
    };
    let data_dir = dir.parent().unwrap_or(Path::new(".")).to_path_buf();
    let old = old(context, database, &dir, *replace).await?;
    let name = match &old {
        Old::Database(name) => name.clone(),
        Old::None | Old::Directory => database.clone(),
    };
    progress.step("wait for the turn at the repository", None);
    let _turn = context.remotes.turns.take(&name, Some(&url.repository())).await;
    let parent = data_dir.join(DROPPED);
    std::fs::create_dir_all(&parent).map_err(|error| here(error.to_string()))?;
    let now = unix_seconds(SystemTime::now());
    let fresh = Fresh(parent.join(format!("{FRESH_PREFIX}{now}-{name}")));
    let beside = Beside::new(context.remotes.state_dir()).map_err(|error| here(error.to_string()))?;
    let settings = context.remotes.settings();
    // Dolt's copy of the repository knows it by the name that it will be pushed by.
    let remote = match (ledger::is_ledger(context, &name), settings.databases.get(&name.to_lowercase())) {
        (true, _) => ledger::REMOTE,
        (false, Some(of)) => &of.name,
        (false, None) => NAME_DEFAULT,
    };
    fetch(&beside, (url, remote), &fresh.0, settings.timeout * TIMEOUT_FACTOR, progress)
        .await
        .map_err(|error| failed(url, error))?;
    let (head, commits) = look(&beside, &fresh.0).await.map_err(|error| failed(url, error))?;
    progress.step("give it its name", None);
    let (context, by) = (Arc::clone(context), by.clone());
    let job = tokio::spawn(async move {
        let replaced = place(&context, &name, &old, &fresh, (&data_dir, now), &by).await?;
        Ok::<_, String>((name, replaced))
    });
    let placed = job.await.unwrap_or_else(|error| Err(error.to_string()));
    let (database, replaced) = placed.map_err(here)?;
    tracing::info!(database, url = %url, head, commits, replaced, "cloned");
    Ok(Cloned { database, url: url.clone(), head, commits, replaced })
}

/// What has the name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Old {
    None,
    Database(String),
    /// Something that Dolt can't open.
    Directory,
}

async fn old(context: &Context, database: &str, dir: &Path, replace: bool) -> Result<Old, CloneError> {
    let listing = context.branches.listing().await.map_err(|error| CloneError::Name(error.to_string()))?;
    match listing.database(database) {
        Some(name) if replace => Ok(Old::Database(name.to_owned())),
        Some(name) => Err(CloneError::Exists(name.to_owned())),
        None if !dir.exists() => Ok(Old::None),
        None if replace => Ok(Old::Directory),
        None => Err(CloneError::InTheWay(dir.to_path_buf())),
    }
}

/// Where it is cloned to; gone when dropped, unless it has got its name.
struct Fresh(PathBuf);

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
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

/// The clone gets the name. What the old one is called then.
async fn place(
    context: &Arc<Context>,
    database: &str,
    old: &Old,
    fresh: &Fresh,
    (data_dir, now): (&Path, u64),
    by: &str,
) -> Result<Option<String>, String> {
    let io = |error: std::io::Error| error.to_string();
    let _held = context.remotes.turns.hold(database);
    let aside_name = format!("{database}_replaced_{now}");
    let aside = matches!(old, Old::Database(_)).then(|| aside_name.clone());
    // Nobody is in the middle of a write.
    let mut lanes = match &aside {
        Some(_) => Some(take_all_lanes(context, database, (by, "clone --replace"), LANE_WAIT).await?),
        None => None,
    };
    let _touches = [Some(database), aside.as_deref()]
        .into_iter()
        .flatten()
        .map(|name| context.bypass.as_ref().map(|bypass| bypass.touch(name)))
        .collect::<Vec<_>>();
    make_room(data_dir, database, now).map_err(io)?;
    if *old == Old::Directory {
        let kept = data_dir.join(DROPPED).join(&aside_name);
        std::fs::rename(data_dir.join(database), kept).map_err(io)?;
    }
    let swap = Swap::new(database, aside.clone(), fresh.0.clone());
    let state_dir = context.remotes.state_dir();
    swap.write_down(state_dir).map_err(io)?;
    let placed = run(context, data_dir, &swap, forward).await;
    if let Err(why) = placed {
        let now = match put_back(context, data_dir, &swap).await {
            Ok(()) => {
                Swap::forget(state_dir).map_err(io)?;
                "all is as before"
            }
            Err(_) => "the next start of Branchline puts it right",
        };
        return Err(format!("{why}; {now}"));
    }
    if let Some(aside) = &aside {
        forget_remotes(context, aside).await;
    }
    Swap::forget(state_dir).map_err(io)?;
    if let Some(lanes) = &mut lanes {
        lanes.moved(context, database, Committed::Other);
    }
    context.lanes.touched(database);
    context.catalog.invalidate_database(database);
    Ok(match old {
        Old::None => None,
        Old::Database(_) => aside,
        Old::Directory => Some(format!("{DROPPED}/{aside_name}")),
    })
}

async fn run(
    context: &Context,
    data_dir: &Path,
    swap: &Swap,
    next: fn(core::Found, bool) -> Step,
) -> Result<(), String> {
    // Each step takes it further; more than that many are a fault of ours.
    for _ in 0..10 {
        let found = swap.found(context, data_dir).await?;
        match next(found, swap.aside.is_some()) {
            Step::End => {
                let sql = format!("SELECT 1 FROM {}.dolt_branches LIMIT 1", sql_identifier(&swap.database));
                let answered = context.dolt.control().rows(&sql, Vec::new()).await;
                return match answered {
                    Err(error) if found.live => Err(error.to_string()),
                    _ => Ok(()),
                };
            }
            step => swap.step(context, data_dir, step).await?,
        }
    }
    Err("it does not come to an end".to_owned())
}

/// After a step that failed: the old one has its name again.
async fn put_back(context: &Context, data_dir: &Path, swap: &Swap) -> Result<(), String> {
    let found = swap.found(context, data_dir).await?;
    let Some(aside) = swap.aside.as_deref().filter(|_| found.aside_live || found.aside_dropped) else {
        return run(context, data_dir, swap, recover).await;
    };
    if found.live {
        swap.step(context, data_dir, Step::Drop).await?;
    }
    let place = data_dir.join(DROPPED).join(&swap.database);
    match std::fs::remove_dir_all(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.to_string()),
        _ => {}
    }
    if found.aside_live {
        let drop = format!("DROP DATABASE {}", sql_identifier(aside));
        context.dolt.control().execute(&drop, Vec::new()).await.map_err(|error| error.to_string())?;
    }
    std::fs::rename(data_dir.join(DROPPED).join(aside), place).map_err(|error| error.to_string())?;
    swap.step(context, data_dir, Step::TakeBack).await
}

/// So that nothing of what was replaced is pushed over its successor.
async fn forget_remotes(context: &Context, aside: &str) {
    let forgotten = async {
        let mut session = super::call::RemoteSession::open(context, aside, true).await?;
        let rows = session.rows("SELECT name FROM dolt_remotes").await?;
        for name in rows.into_iter().filter_map(|row| mysql_async::from_row_opt::<String>(row).ok()) {
            session.rows(&format!("CALL DOLT_REMOTE('remove', {})", sql_literal(&name))).await?;
        }
        Ok::<_, super::call::CallError>(())
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, database = aside, "what was replaced keeps its remotes");
    }
}

/// At the start: ends and removes what a killed clone left, and completes a change of names that was cut off.
pub async fn clean_up(context: &Context) {
    let state_dir = context.remotes.state_dir();
    beside::clean_up(state_dir).await;
    let Some(data_dir) = context.remotes.database_dir("x").and_then(|dir| dir.parent().map(PathBuf::from))
    else {
        return;
    };
    match Swap::read(state_dir) {
        Ok(None) => {}
        Ok(Some(swap)) => match run(context, &data_dir, &swap, recover).await {
            Ok(()) => {
                tracing::warn!(database = swap.database, "a clone that was cut off was put right");
                if let Err(error) = Swap::forget(state_dir) {
                    tracing::warn!(%error, "clone.json stays");
                }
            }
            Err(why) => {
                tracing::error!(database = swap.database, why, "a clone that was cut off can't be put right");
                return;
            }
        },
        Err(error) => {
            tracing::error!(%error, "clone.json can't be read: a clone that was cut off stays as it is");
            return;
        }
    }
    for entry in std::fs::read_dir(data_dir.join(DROPPED)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(FRESH_PREFIX) {
            let removed = std::fs::remove_dir_all(entry.path());
            tracing::info!(dir = %entry.path().display(), ?removed, "what a killed clone left was removed");
        }
    }
}

/// Room for a database that is made beside the server in another way, under a name that is free or makes room.
pub struct Room {
    name: String,
    old: Old,
    fresh: Fresh,
    data_dir: PathBuf,
    now: u64,
}

impl Room {
    /// `Err`: there can't be a database of that name, or there is one.
    pub async fn find(context: &Context, database: &str, replace: bool) -> Result<Self, CloneError> {
        database_name::check(database).map_err(CloneError::Name)?;
        let dir = context.remotes.database_dir(database);
        let dir = dir.ok_or_else(|| CloneError::NotOurs(database.to_owned()))?;
        let data_dir = dir.parent().unwrap_or(Path::new(".")).to_path_buf();
        let old = old(context, database, &dir, replace).await?;
        let name = match &old {
            Old::Database(name) => name.clone(),
            Old::None | Old::Directory => database.to_owned(),
        };
        let now = unix_seconds(SystemTime::now());
        let fresh = data_dir.join(DROPPED).join(format!("{FRESH_PREFIX}{now}-{name}"));
        Ok(Self { name, old, fresh: Fresh(fresh), data_dir, now })
    }

    /// What it will be called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It is whole, in this directory: it gets its name. What the old one is called then. Goes on to its end, also when the
    /// caller is cancelled.
    pub async fn place(
        self,
        context: &Arc<Context>,
        made: PathBuf,
        by: &str,
    ) -> Result<Option<String>, String> {
        let (context, by) = (Arc::clone(context), by.to_owned());
        let job = tokio::spawn(async move {
            let fresh = self.fresh.0.clone();
            let moved = tokio::task::spawn_blocking(move || {
                std::fs::create_dir_all(fresh.parent().unwrap_or(Path::new(".")))?;
                move_dir(&made, &fresh)
            });
            let moved = moved.await.map_err(|error| error.to_string())?;
            moved.map_err(|error| format!("cannot be moved to the data directory: {error}"))?;
            place(&context, &self.name, &self.old, &self.fresh, (&self.data_dir, self.now), &by).await
        });
        job.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// Also to another file system.
fn move_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => copy_dir(from, to),
        moved => moved,
    }
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let to = to.join(name);
        if from.is_dir() { copy_dir(&from, &to)? } else { std::fs::copy(&from, &to).map(drop)? }
    }
    std::fs::File::open(to)?.sync_all()
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
