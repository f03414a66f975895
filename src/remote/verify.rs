//! Owns proving that a remote is whole: it is cloned anew, where no client sees it, and every commit of main compared.
//! Changes nothing. Always: nothing of the clone is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Outcome;
use super::call::RemoteSession;
use super::clone;
use super::fetch::{FetchError, Source};
use super::outcome::one_line;
use crate::config::remotes::NAME_DEFAULT;
use crate::dolt::beside::{Beside, BesideError};
use crate::observe::progress::Progress;
use crate::session::Context;

/// Hashes that are named.
const NAMED_MAX: usize = 5;
/// Reading all commits, of main and of the clone.
const READ_MAX: Duration = Duration::from_secs(120);
/// As a clone has.
const TIMEOUT_FACTOR: u32 = 12;

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The database as Dolt spells it.
    pub database: String,
    /// The remote.
    pub remote: String,
    /// Where it is, without credentials.
    pub url: String,
    /// Commits of main here.
    pub here: u64,
    /// Commits of main in the clone.
    pub there: u64,
    /// Commits that the remote has not.
    pub missing: u64,
    /// Commits that main has not.
    pub extra: u64,
    /// The first of both, for people.
    pub named: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Why it could not be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Which remote is meant.
    #[error(transparent)]
    Source(#[from] FetchError),
    /// Dolt's program is not ours to run.
    #[error(
        "Dolt is not Branchline's own (--dolt-address): clone {0} by hand and compare `SELECT * FROM dolt_log`"
    )]
    NotOurs(String),
    /// The remote can't be cloned: it is not whole, or not there.
    #[error("{name} of {database} ({url}) can't be cloned: {outcome}: {text}")]
    Clone {
        /// The database.
        database: String,
        /// The remote.
        name: String,
        /// Where it is.
        url: String,
        /// What the text means.
        outcome: Outcome,
        /// What was said.
        text: String,
    },
    /// Main here can't be read.
    #[error("cannot read the commits of {0}: {1}")]
    Here(String, String),
}

impl Verified {
    /// Whether the remote has every commit of main.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

/// Compares main with a fresh clone of its remote, or of the one of this name.
pub async fn verify(
    context: &Arc<Context>,
    database: &str,
    remote: Option<&str>,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let began = SystemTime::now();
    let source = Source::find(context, database, remote).await?;
    let Source { database, name, shown, .. } = &source;
    let Some(url) = source.url.clone().filter(|_| context.remotes.database_dir(database).is_some()) else {
        return Err(VerifyError::NotOurs(database.clone()));
    };
    let failed = |error: BesideError| VerifyError::Clone {
        database: database.clone(),
        name: name.clone(),
        url: shown.clone(),
        outcome: match &error {
            BesideError::Timeout(_) => Outcome::Timeout,
            BesideError::Failed(text) => Outcome::of(text),
            BesideError::Run(_) => Outcome::DoltError,
        },
        text: one_line(&url.hide_in(&error.to_string())),
    };
    let here_failed = |error: &dyn std::fmt::Display| VerifyError::Here(database.clone(), error.to_string());
    progress.step(format!("wait for the turn at {name}"), None);
    let turn = source.turn(context).await;
    // Before the clone: what is committed meanwhile is not missing.
    progress.step("read the commits of main", None);
    let here = here(context, database).await.map_err(|error| here_failed(&error))?;
    let beside = Beside::new(context.remotes.state_dir()).map_err(|error| here_failed(&error))?;
    let dir = beside.work().join("clone");
    let limit = context.remotes.settings().timeout * TIMEOUT_FACTOR;
    clone::fetch(&beside, (&url, NAME_DEFAULT), &dir, limit, progress).await.map_err(failed)?;
    drop(turn);
    progress.step("compare the commits", None);
    let sql = "SELECT commit_hash FROM dolt_log('main')";
    let said = beside.run(&["sql", "-r", "csv", "-q", sql], &dir, READ_MAX, |_| {}).await.map_err(failed)?;
    let there: Vec<String> =
        String::from_utf8_lossy(&said).lines().skip(1).map(|line| line.trim().to_owned()).collect();
    let (all_here, all_there): (BTreeSet<&String>, BTreeSet<&String>) =
        (here.iter().collect(), there.iter().collect());
    // Oldest first: what stands behind it is missing for that reason.
    let missing: Vec<&String> = here.iter().rev().filter(|hash| !all_there.contains(hash)).collect();
    let extra: Vec<&String> = there.iter().rev().filter(|hash| !all_here.contains(hash)).collect();
    let named = |hashes: &[&String], what: &str| {
        hashes.iter().take(NAMED_MAX).map(|hash| format!("{hash} {what}")).collect::<Vec<_>>()
    };
    let mut first = named(&missing, "is not at the remote");
    first.extend(named(&extra, "is at the remote only"));
    let verified = Verified {
        database: database.clone(),
        remote: name.clone(),
        url: shown.clone(),
        here: here.len() as u64,
        there: there.len() as u64,
        missing: missing.len() as u64,
        extra: extra.len() as u64,
        named: first,
        took: began.elapsed().unwrap_or_default(),
    };
    // Many small files: not on one of the runtime's own threads.
    let _ = tokio::task::spawn_blocking(move || drop(beside)).await;
    Ok(verified)
}

/// Newest first.
async fn here(context: &Context, database: &str) -> Result<Vec<String>, super::call::CallError> {
    let mut session = RemoteSession::open(context, database, true).await?;
    let rows = session.call("SELECT commit_hash FROM dolt_log('main')", READ_MAX).await?;
    Ok(rows.into_iter().filter_map(|row| mysql_async::from_row_opt(row).ok()).collect())
}
