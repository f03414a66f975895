//! Owns giving a database a name that nobody has, under a running Dolt; and what is written down while a database takes
//! its name, in this way or in the other.
//! Does not decide the order: `core` does. Always: what is written down is enough to go on after a crash.
//!
//! Dolt keeps a dropped database's directory and takes it back by its name, so a directory that is put there becomes a
//! database at once: its files are never open meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::CloneError;
use super::core::{Found, Step, forward, recover};
use super::room::Work;
use crate::branch::incoming::take_branch_lane;
use crate::branch::sql_literal;
use crate::dolt::State;
use crate::observe::time::unix_seconds;
use crate::session::Context;
use crate::state_file::replace;

/// Where Dolt keeps dropped databases, in the data directory.
const DROPPED: &str = ".dolt_dropped_databases";
const FILE: &str = "clone.json";
const VERSION: u32 = 2;
/// One of Dolt's steps: it reads the whole journal.
const STEP_MAX: Duration = Duration::from_secs(600);
/// For a Dolt that is started again meanwhile.
const READY_WAIT: Duration = Duration::from_secs(120);
/// For whoever writes to a database of that name, which is not there yet.
const LANE_WAIT: Duration = Duration::from_secs(10);

/// A database that is about to take its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swap {
    version: u32,
    pub database: String,
    /// While Dolt is stopped, in the place of something.
    #[serde(default)]
    pub replaces: bool,
    /// What the old one is called afterwards, if that is a database.
    pub aside: Option<String>,
    /// Where the new one was made.
    pub fresh: PathBuf,
}

impl Swap {
    fn new(database: &str, fresh: PathBuf) -> Self {
        Self { version: VERSION, database: database.to_owned(), replaces: false, aside: None, fresh }
    }

    pub fn replacing(database: &str, aside: Option<String>, fresh: PathBuf) -> Self {
        Self { replaces: true, aside, ..Self::new(database, fresh) }
    }

    /// Before its first step.
    pub fn write_down(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        replace(&state_dir.join(FILE), &bytes)
    }

    /// One that was cut off.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, String> {
        let file = state_dir.join(FILE);
        let unreadable =
            |why: String| format!("{} can't be read: {why}; look at it, and remove it", file.display());
        let swap: Self = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        match (swap.version, &swap.aside) {
            (VERSION, _) | (1, None) => Ok(Some(swap)),
            // It replaced by dropping.
            (1, Some(aside)) => Err(format!(
                "{} is of an earlier version, which was cut off while it replaced {1}: what {1} was is in {DROPPED} in the data \
                 directory, as {1} or {aside}. If {1} is missing, CALL DOLT_UNDROP('{1}') or DOLT_UNDROP('{aside}') brings it \
                 back; then remove the file",
                file.display(),
                swap.database
            )),
            (version, _) => Err(unreadable(format!("it is of version {version}"))),
        }
    }

    /// After its last step.
    pub fn forget(state_dir: &Path) {
        match std::fs::remove_file(state_dir.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "{FILE} stays; the next start looks at it again");
            }
            _ => {}
        }
    }

    fn dropped(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(DROPPED).join(&self.database)
    }

    async fn found(&self, context: &Context, data_dir: &Path) -> Result<Found, String> {
        let rows = context.dolt.control().rows("SHOW DATABASES", Vec::new()).await;
        let rows = rows.map_err(|error| error.to_string())?;
        let names = rows.into_iter().filter_map(|row| mysql_async::from_row_opt::<String>(row).ok());
        Ok(Found {
            live: names.into_iter().any(|live| live.eq_ignore_ascii_case(&self.database)),
            dropped: self.dropped(data_dir).is_dir(),
            fresh: self.fresh.is_dir(),
        })
    }

    async fn step(&self, context: &Context, data_dir: &Path, step: Step) -> Result<(), String> {
        match step {
            Step::PlaceFresh => renamed(&self.fresh, &self.dropped(data_dir)),
            Step::TakeBack => {
                let sql = format!("CALL DOLT_UNDROP({})", sql_literal(&self.database));
                let taken = context.dolt.control().with_timeout(STEP_MAX).execute(&sql, Vec::new()).await;
                taken.map(drop).map_err(|error| error.to_string())
            }
            Step::RemoveFresh => std::fs::remove_dir_all(&self.fresh).map_err(|error| error.to_string()),
            Step::End => Ok(()),
        }
    }

    async fn run(
        &self,
        context: &Context,
        data_dir: &Path,
        next: fn(Found) -> Step,
    ) -> Result<Found, String> {
        // Each step takes it further; more than that many are a fault of ours.
        for _ in 0..5 {
            let found = self.found(context, data_dir).await?;
            match next(found) {
                Step::End => return Ok(found),
                step => self.step(context, data_dir, step).await?,
            }
        }
        Err("it does not come to an end".to_owned())
    }

    /// After a new one was cut off. Whether it is there.
    pub async fn recover(&self, context: &Context, data_dir: &Path) -> Result<bool, String> {
        Ok(self.run(context, data_dir, recover).await?.live)
    }
}

fn renamed(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::rename(from, to)
        .map_err(|error| format!("cannot rename {} to {}: {error}", from.display(), to.display()))
}

/// Gives it the name, which nobody has.
pub(super) async fn place(work: &mut Work<'_>) -> Result<(), CloneError> {
    let Work { context, data_dir, name, head, by, .. } = *work;
    let _held = context.remotes.turns.hold(name);
    // Nobody writes to it before it was looked at.
    let lane = take_branch_lane(context, name, &head.branch, (by, "a new database"), LANE_WAIT).await;
    let _lane = lane.map_err(|error| CloneError::Place(error.to_string()))?;
    let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(name));
    let io = |error: io::Error| CloneError::Place(error.to_string());
    let swap = Swap::new(name, work.fresh.database());
    make_room(&swap.dropped(data_dir)).map_err(io)?;
    let state_dir = context.remotes.state_dir();
    swap.write_down(state_dir).map_err(io)?;
    work.fresh.is_kept = true;
    let placed = swap.run(context, data_dir, forward).await.and_then(|found| match found.live {
        true => Ok(()),
        false => Err(format!("{name} is not there any more: somebody has dropped it, or what was dropped")),
    });
    // Also after a failure: some of it may have happened.
    context.lanes.touched(name);
    context.catalog.invalidate_database(name);
    if let Err(why) = placed {
        is_ready(context).await;
        match swap.recover(context, data_dir).await {
            // It came to its end all the same.
            Ok(true) => {}
            Ok(false) => {
                work.fresh.is_kept = false;
                Swap::forget(state_dir);
                return Err(CloneError::Place(format!("{why}; nothing is left of it, run it again")));
            }
            Err(_) => {
                return Err(CloneError::Place(format!("{why}; the next start of Branchline puts it right")));
            }
        }
    }
    work.fresh.is_kept = false;
    let is_ours = work.has_head().await;
    let dropped = swap.dropped(data_dir);
    // Somebody made a database of that name in the last moment.
    let is_late = matches!(is_ours, Ok(false)) && dropped.is_dir();
    if is_late {
        let _ = std::fs::remove_dir_all(&dropped);
    }
    Swap::forget(state_dir);
    match is_ours
        .map_err(|why| CloneError::Place(format!("{name} is there, but can't be looked at: {why}")))?
    {
        true => Ok(()),
        false => Err(CloneError::Exists(name.to_owned())),
    }
}

/// Waits until Dolt answers, or will not.
async fn is_ready(context: &Context) {
    let mut states = context.dolt.watch();
    let is_it = |state: &State| matches!(state, State::Ready(_) | State::Stopping);
    let _ = tokio::time::timeout(READY_WAIT, states.wait_for(is_it)).await;
}

/// Makes room among the dropped databases: one of this name from before gets another, as Dolt does it.
fn make_room(place: &Path) -> io::Result<()> {
    std::fs::create_dir_all(place.parent().unwrap_or(place))?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let now = unix_seconds(SystemTime::now());
    let free =
        (now..).map(|now| place.with_file_name(format!("{name}.backup.{now}"))).find(|other| !other.exists());
    match std::fs::rename(place, free.unwrap_or_default()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
