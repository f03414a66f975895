//! Owns the shell of the schedule: looks which database is due, makes its copy, removes old ones, tells what failed.
//! Does not decide when (`core` does). Always: one copy of the schedule's at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::core::due;
use super::make::{blocking, make, scheduled_dir};
use super::place;
use crate::config::outside::BackupsConfig;
use crate::observe::alerts::{Kind, Said};
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// Databases and settings are looked at so often.
const LOOK: Duration = Duration::from_secs(5);
const ADVICE: &str = "see what it says, put it right, and run `branchline backup DB DIR` to see that it works; it is tried \
                      again by itself";

/// Runs until `stopping`; first it removes what a crash left.
pub async fn run(context: Arc<Context>, stopping: CancellationToken) {
    clean(&context).await;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = look(&context) => {}
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Where, how often, and how many are kept, if the settings say so.
pub fn schedule(settings: &BackupsConfig) -> Option<(&Path, u64)> {
    Some((settings.dir.as_deref()?, settings.every?.as_secs()))
}

/// The databases that the schedule is for.
pub async fn databases(context: &Context, settings: &BackupsConfig) -> Result<Vec<String>, String> {
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    Ok(match settings.databases.is_empty() {
        true => listing.databases().map(str::to_owned).collect(),
        // One that is not there is a failure to be told.
        false => {
            settings.databases.iter().map(|name| listing.database(name).unwrap_or(name).to_owned()).collect()
        }
    })
}

async fn look(context: &Arc<Context>) {
    let settings = context.remotes.settings().backups.clone();
    let wanted = match schedule(&settings) {
        Some(_) => databases(context, &settings).await,
        None => Ok(Vec::new()),
    };
    let Ok(wanted) = wanted else { return };
    let dir = settings.dir.as_deref().map(|dir| dir.display().to_string()).unwrap_or_default();
    for alert in context.alerts.list(false).iter().filter(|alert| alert.kind == Kind::Backup) {
        let is_wanted = wanted.iter().any(|name| name.eq_ignore_ascii_case(&alert.database));
        if !is_wanted || alert.remote != dir {
            context.alerts.clear(Kind::Backup, &alert.database, &alert.remote);
        }
    }
    let Some((dir, every_s)) = schedule(&settings) else { return };
    for database in wanted {
        let now = unix_seconds(SystemTime::now());
        if due(every_s, context.backups.of(&database).past(), now) <= now {
            one(context, &database, dir, settings.keep).await;
        }
    }
}

async fn one(context: &Arc<Context>, database: &str, dir: &Path, keep: usize) {
    let at = unix_seconds(SystemTime::now());
    let shown = dir.display().to_string();
    match scheduled(context, database, dir, keep, at).await {
        Ok(()) => context.alerts.clear(Kind::Backup, database, &shown),
        Err(error) => {
            tracing::warn!(database, dir = shown, error, "not backed up");
            let (backups, name, text) = (Arc::clone(&context.backups), database.to_owned(), error.clone());
            let _ = blocking(move || backups.failed(&name, at, &text)).await;
            let said = Said { database, remote: &shown, text: &error, advice: ADVICE };
            context.alerts.raise(Kind::Backup, said);
        }
    }
}

async fn scheduled(
    context: &Arc<Context>,
    database: &str,
    dir: &Path,
    keep: usize,
    at: u64,
) -> Result<(), String> {
    let place = scheduled_dir(dir, database);
    let path = place.join(place::name_of(at));
    let of = place.clone();
    // Only the last part: a directory that is not mounted is not to be made.
    let made = blocking(move || match std::fs::create_dir(&of) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    });
    made.await?.map_err(|error| {
        format!(
            "cannot make {}: {error}; backups.dir has to be a directory that Branchline may write to",
            place.display()
        )
    })?;
    make(context, database, &path, true, &Progress::default()).await?;
    let (name, newest): (String, PathBuf) = (database.to_owned(), path);
    let pruned = blocking(move || place::prune(&place, &name, keep, &newest)).await?;
    if let Err(error) = pruned {
        tracing::warn!(database, %error, "old backups could not be removed");
    }
    Ok(())
}

/// What an earlier Branchline did not finish.
async fn clean(context: &Arc<Context>) {
    let backups = Arc::clone(&context.backups);
    let cleaned = blocking(move || {
        let left = backups.left();
        for path in left {
            match place::remove(path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "removed a backup or restore that was cut off");
                    backups.ended(std::slice::from_ref(path));
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what was cut off")
                }
            }
        }
    });
    let _ = cleaned.await;
}
