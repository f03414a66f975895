//! Owns putting a database in the place of another, while Dolt is stopped for a moment: docs/adr/0016.
//! Does not rename anything itself: `dolt::moves` does. Always: the name is the old one's or the new one's, the other one is
//! where it is told; no write that was acknowledged is lost in any database.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::CloneError;
use super::room::{Old, Work};
use super::swap::Swap;
use crate::admit::Committed;
use crate::branch::incoming::take_every_lane;
use crate::dolt::RestartError;
use crate::dolt::moves::{Move, Moves, REPLACED};
use crate::observe::time::unix_seconds;

/// For open transactions, in all databases.
const LANE_WAIT: Duration = Duration::from_secs(30);

/// Puts it in the place of the old one. Where that is then: the name of a database, or a directory.
pub(super) async fn place(work: &mut Work<'_>, old: Old) -> Result<String, CloneError> {
    let Work { context, data_dir, name, by, .. } = *work;
    let here = CloneError::Place;
    let aside = free_name(data_dir, name);
    let away = format!("{REPLACED}/{aside}");
    let is_database = matches!(old, Old::Database(_));
    if std::fs::symlink_metadata(data_dir.join(name)).is_err() {
        return Err(here(format!("{} is not there, where it should be", data_dir.join(name).display())));
    }
    // No push begins meanwhile: not of what is put aside either, before its remote is forgotten.
    let listing = context.branches.listing().await.map_err(|error| here(error.to_string()))?;
    let all = listing.databases().chain([name, aside.as_str()]);
    let _held: Vec<_> = all.map(|database| context.remotes.turns.hold(database)).collect();
    let doing = format!("replace {name}");
    // Nobody is in the middle of a COMMIT, wherever.
    let mut lanes = take_every_lane(context, name, (by, &doing), LANE_WAIT).await.map_err(here)?;
    if super::room::old(context, name, &data_dir.join(name), true).await? != old {
        return Err(here(format!(
            "somebody has changed or dropped {name} meanwhile; nothing was replaced, run it again"
        )));
    }
    let touch = |name: &str| context.bypass.as_ref().map(|bypass| bypass.touch(name));
    let _touches = [touch(name), touch(&aside)];
    let old = if is_database { aside.clone() } else { away.clone() };
    let moves = vec![Move::new(name, old), Move::new(work.fresh.below(), name)];
    // A damaged journal that Dolt has open shows when it is opened again.
    let doubtful = is_database.then(|| Move::new(&aside, &away));
    let state_dir = context.remotes.state_dir();
    let swap = Swap::replacing(name, is_database.then(|| aside.clone()), work.fresh.database());
    swap.write_down(state_dir).map_err(|error| here(error.to_string()))?;
    work.fresh.is_kept = true;
    let restarted = context.dolt.restart_with(Moves::new(moves, doubtful)).await;
    // Also after a failure: some of it may have happened.
    lanes.moved(context, name, Committed::Other);
    match restarted {
        Ok(()) => work.fresh.is_kept = false,
        Err(error @ RestartError::AsBefore(_)) => {
            work.fresh.is_kept = false;
            Swap::forget(state_dir);
            return Err(here(error.to_string()));
        }
        Err(error @ RestartError::HalfWay(_)) => return Err(here(error.to_string())),
        Err(error @ RestartError::NotBack(_)) => {
            let old = shown(data_dir, &aside);
            return Err(here(format!("{error}; {name} is the new one, and the old one is kept as {old}")));
        }
    }
    let old = shown(data_dir, &aside);
    // A failure is tried again before anything else is put in place, and at the next start.
    if let Err(error) = super::recover::forget_remotes(context, &aside).await {
        tracing::warn!(error, database = aside, "what was replaced still has its remote");
    } else {
        Swap::forget(state_dir);
    }
    match work.has_head().await {
        Ok(true) => Ok(old),
        Ok(false) => {
            Err(here(format!("{name} has another head than it should; the old one is kept as {old}")))
        }
        Err(why) => Err(here(format!("{why}; {name} is the new one, and the old one is kept as {old}"))),
    }
}

/// Where the old one is.
fn shown(data_dir: &Path, aside: &str) -> String {
    let away = data_dir.join(REPLACED).join(aside);
    if away.exists() { away.display().to_string() } else { aside.to_owned() }
}

/// Nothing has this name, neither beside the database nor out of Dolt's sight.
fn free_name(data_dir: &Path, database: &str) -> String {
    let is_free =
        |name: &String| !data_dir.join(name).exists() && !data_dir.join(REPLACED).join(name).exists();
    let mut names = (unix_seconds(SystemTime::now())..).map(|now| format!("{database}_replaced_{now}"));
    names.find(is_free).unwrap_or_default()
}
