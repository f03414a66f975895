//! Owns making one copy of a database: beside its place, checked by making a database from it, and then named.
//! Does not decide when. Always: what had the name before keeps it until the new one is whole, checked and on disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mysql_async::Value;

use super::super::call::{CallError, RemoteSession};
use super::super::outcome::one_line;
use super::super::turns::Turn;
use super::offline::{self, Link};
use super::place::{self, Found, Marker, Unfinished};
use super::state::Good;
use crate::branch::sql_literal;
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// One of Dolt's steps takes no longer than this.
pub const STEP_MAX: Duration = Duration::from_secs(3600);
/// Between two looks whether a merge of the database is over.
const HELD_POLL: Duration = Duration::from_millis(200);

/// Makes a copy of a database that will be at `path`, whose parent is there.
pub async fn make(
    context: &Arc<Context>,
    database: &str,
    path: &Path,
    by_schedule: bool,
    progress: &Progress,
) -> Result<Good, String> {
    let began = tokio::time::Instant::now();
    if context.dolt.home().is_none() {
        return Err(
            "this Dolt is not run by Branchline: make its backups where it runs, with CALL DOLT_BACKUP"
                .to_owned(),
        );
    }
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    let Some(database) = listing.database(database) else {
        return Err(format!("there is no database {database}; `branchline rig list` shows them"));
    };
    let (target, data_dir) = (path.to_owned(), context.remotes.database_dir("x"));
    let path = &blocking(move || resolved(&target, data_dir.as_deref().and_then(Path::parent))).await??;
    progress.step("wait for its turn", None);
    let _turn = turn(context, database, path).await;
    let at = unix_seconds(SystemTime::now());
    let (target, of) = (path.clone(), database.to_owned());
    blocking(move || may_be_made(&target, &of)).await??;
    let unfinished = begin(context, Unfinished::copy(path)).await?;
    let main = context.branches.default_branch(database);
    let made = match unfinished.paths() {
        [new] => Work { context, database, path, main: &main, at, progress }.run(new).await,
        _ => Err("there is no place for it".to_owned()),
    };
    end(context, unfinished).await;
    let (restored, bytes) = made?;
    let good = Good {
        at,
        path: path.to_owned(),
        bytes,
        took_ms: began.elapsed().as_millis() as u64,
        head: restored.get(&main).cloned(),
        branches: restored.len() as u64,
    };
    let (backups, name, made) = (Arc::clone(&context.backups), database.to_owned(), good.clone());
    blocking(move || backups.made(&name, made, by_schedule)).await?;
    tracing::info!(database, path = %path.display(), bytes, took_ms = good.took_ms, "backed up");
    Ok(good)
}

/// Heads by branch.
pub type Heads = BTreeMap<String, String>;

/// What is asked.
struct Work<'a> {
    context: &'a Arc<Context>,
    database: &'a str,
    path: &'a Path,
    main: &'a str,
    at: u64,
    progress: &'a Progress,
}

impl Work<'_> {
    /// Heads in the copy, and its bytes.
    async fn run(&self, new: &Path) -> Result<(Heads, u64), String> {
        let Self { context, database, path, .. } = *self;
        self.progress.step("copy", None);
        let (before, after) = copy(context, database, new).await.map_err(|error| explain(&error, path))?;
        self.progress.step("check", None);
        let link = Link::to(context, new)?;
        let made = offline::restore(context, &link, STEP_MAX)
            .await
            .map_err(|error| explain(&format!("the copy is not good: {error}"), path))?;
        let restored = made.heads.clone();
        drop(made);
        drop(link);
        compare(context, database, self.main, &restored, (&before, &after)).await?;
        self.progress.step("name", None);
        let marker = Marker::new(database, self.at, restored.clone());
        let (from, to) = (new.to_owned(), path.to_owned());
        let bytes = blocking(move || {
            place::finish(&from, &to, &marker)?;
            Ok(crate::observe::disk::usage(&to)?.used_bytes)
        });
        let bytes = bytes.await?.map_err(|error: io::Error| finish_error(&error, path))?;
        Ok((restored, bytes))
    }
}

/// Whose turn it is at a database and at a directory; not while the database is merged.
pub async fn turn(context: &Context, database: &str, path: &Path) -> Turn {
    let place = format!("backup:{}", path.display());
    loop {
        let turn = context.remotes.turns.take(database, Some(&place)).await;
        if !context.remotes.turns.is_held(database) {
            return turn;
        }
        drop(turn);
        tokio::time::sleep(HELD_POLL).await;
    }
}

/// Writes down what will have to be removed after a crash, and makes it.
pub async fn begin(context: &Context, unfinished: Unfinished) -> Result<Unfinished, String> {
    let backups = Arc::clone(&context.backups);
    blocking(move || {
        backups.begun(unfinished.paths())?;
        match unfinished.make() {
            Ok(()) => Ok(unfinished),
            Err(error) => {
                let place = unfinished.paths().first().and_then(|path| path.parent()).map(Path::to_path_buf);
                backups.ended(unfinished.paths());
                let place = place.unwrap_or_default();
                Err(format!(
                    "cannot make a directory in {}: {error}; let the account that runs Branchline write there",
                    place.display()
                ))
            }
        }
    })
    .await?
}

/// Removes what is left of it.
pub async fn end(context: &Context, unfinished: Unfinished) {
    let backups = Arc::clone(&context.backups);
    let _ = blocking(move || {
        let paths = unfinished.paths().to_vec();
        drop(unfinished);
        backups.ended(&paths);
    })
    .await;
}

/// The path without links and dots, below a directory that is there.
fn resolved(path: &Path, data_dir: Option<&Path>) -> Result<PathBuf, String> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
        return Err(format!("{} does not name a directory of its own; name it without ..", path.display()));
    };
    let parent = parent.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{} is not there; make it first, or mount what should be there", parent.display())
        }
        _ => format!("cannot look at {}: {error}", parent.display()),
    })?;
    if !parent.is_dir() {
        return Err(format!("{} is not a directory", parent.display()));
    }
    let path = parent.join(name);
    match data_dir.and_then(|dir| dir.canonicalize().ok()) {
        Some(dir) if path.starts_with(&dir) => {
            Err(format!("{} is in the data directory, which is Dolt's; name another one", path.display()))
        }
        _ => Ok(path),
    }
}

/// Whether a copy of this database may be made that will have this name.
fn may_be_made(path: &Path, database: &str) -> Result<(), String> {
    let shown = path.display();
    let why = match place::look(path).map_err(|error| format!("cannot look at {shown}: {error}"))? {
        Found::Nothing | Found::Empty => return Ok(()),
        Found::Ours(marker) if marker.database.eq_ignore_ascii_case(database) => return Ok(()),
        Found::Ours(marker) => format!("holds a backup of {}, not of {database}", marker.database),
        Found::Dolts => "holds a backup that Branchline did not make".to_owned(),
        Found::Other(why) => why,
    };
    Err(format!(
        "{shown} {why}; name a directory that is not there, is empty, or holds a backup that `branchline backup` made of \
         this database"
    ))
}

/// Copies; heads before and after.
async fn copy(context: &Context, database: &str, new: &Path) -> Result<(Heads, Heads), String> {
    let said = |error: CallError| one_line(&error.to_string());
    let link = Link::to(context, new)?;
    let mut session = RemoteSession::open(context, database, true).await.map_err(said)?;
    // It writes to the database's journal.
    let touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
    let before = heads(&mut session).await.map_err(said)?;
    let sql = format!("CALL DOLT_BACKUP('sync-url', {})", sql_literal(&link.url()));
    session.call(&sql, STEP_MAX).await.map_err(said)?;
    let after = heads(&mut session).await.map_err(said)?;
    drop(touch);
    Ok((before, after))
}

async fn heads(session: &mut RemoteSession) -> Result<Heads, CallError> {
    let rows = session.rows("SELECT name, hash FROM dolt_branches").await?;
    let pairs = rows.into_iter().filter_map(|row| mysql_async::from_row_opt::<(String, String)>(row).ok());
    Ok(pairs.collect())
}

/// A branch that stood still is in the copy as it is; main is in it with a commit that it has or had.
async fn compare(
    context: &Context,
    database: &str,
    main: &str,
    copied: &Heads,
    (before, after): (&Heads, &Heads),
) -> Result<(), String> {
    for (branch, head) in before {
        if after.get(branch) == Some(head) && copied.get(branch) != Some(head) {
            let there = copied.get(branch).map_or("is not there", String::as_str);
            return Err(format!("the copy is not good: {branch} is {head}, and in the copy {there}"));
        }
    }
    let Some(head) = copied.get(main) else { return Err(format!("the copy is not good: it has no {main}")) };
    if [before, after].iter().any(|heads| heads.get(main) == Some(head)) {
        return Ok(());
    }
    let sql = format!(
        "SELECT COUNT(*) FROM {}.dolt_commits WHERE commit_hash = ?",
        crate::branch::sql_identifier(database)
    );
    let rows = context.dolt.control().rows(&sql, vec![Value::from(head.as_str())]).await;
    let mut rows = rows.map_err(|error| error.to_string())?;
    match rows.pop().and_then(|mut row| row.take_opt::<u64, _>(0)?.ok()) {
        Some(count) if count > 0 => Ok(()),
        _ => Err(format!("the copy is not good: its {main} is {head}, which {database} does not have")),
    }
}

/// What to do about a disk.
pub fn explain(error: &str, path: &Path) -> String {
    let lower = error.to_lowercase();
    let parent = path.parent().unwrap_or(path).display();
    let advice = if lower.contains("no space left") || lower.contains("disk quota") {
        format!("; make room at {parent}: while a copy is made and checked, there are two of it")
    } else if lower.contains("permission denied") || lower.contains("read-only file system") {
        format!("; let the account that runs Branchline write to {parent}")
    } else {
        String::new()
    };
    format!("{error}{advice}")
}

fn finish_error(error: &io::Error, path: &Path) -> String {
    if error.kind() == io::ErrorKind::InvalidInput {
        return format!(
            "the file system of {} can't put a new backup in an older one's place; name a new directory",
            path.display()
        );
    }
    explain(&format!("cannot put the backup at {}: {error}", path.display()), path)
}

/// Runs what blocks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("a fault of Branchline's: {error}"))
}

/// Where the schedule's copies of a database are.
pub fn scheduled_dir(dir: &Path, database: &str) -> PathBuf {
    dir.join(database.to_lowercase())
}
