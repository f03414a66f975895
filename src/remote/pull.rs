//! Owns pulling: main of a remote is fetched outside of any lane, and comes into main by the rules of `merge`.
//! Does not decide conflicts. Always: what can't be merged changes nothing, and says what to do; run again it completes.

use std::sync::Arc;
use std::time::Duration;

use super::fetch::{FetchError, Source};
use super::ledger;
use super::turns::Turn;
use crate::branch::finish::FinishError;
use crate::branch::incoming::{Incoming, IncomingRequest, bring};
use crate::merge::MergeError;
use crate::observe::progress::Progress;
use crate::session::Context;

/// A pull waits so long for main's lane, at least.
const LANE_WAIT: Duration = Duration::from_secs(30);

/// What to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Into main of this database.
    pub database: String,
    /// From this remote; none: the one that main is pushed to.
    pub remote: Option<String>,
    /// Who asks, for the record.
    pub by: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The database as Dolt spells it.
    pub database: String,
    /// The remote.
    pub remote: String,
    /// Main there.
    pub commit: String,
    /// What became of main here.
    pub come: Incoming,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Nothing came.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What Branchline alone writes.
    #[error(
        "{0} is a public ledger, and nothing is ever merged into it. Where its remote has more than it has, it was restored \
         from an older backup (`branchline clone URL {0} --replace` takes what is there) or somebody else pushed"
    )]
    Ledger(String),
    /// It is another database's.
    #[error(
        "{remote} has no commit in common with main of {database}: it is another database. Nothing was changed. \
         `branchline clone URL NAME` makes a database of its own of it"
    )]
    Unrelated {
        /// The database.
        database: String,
        /// `origin/main`
        remote: String,
    },
    /// Rows that no rule decides.
    #[error(
        "{remote} can't come into main of {database} yet: {rows}. Nothing was changed. Decide on a branch of \
         it: `branchline sql {database} -e \"CALL DOLT_BRANCH('pulled', '{commit}')\"`, `branchline branch conflicts \
         {database} pulled`, `branchline branch resolve {database} pulled --table TABLE --key KEY --ours|--theirs|--set COLUMN=VALUE`, \
         `branchline branch done {database} pulled`"
    )]
    Undecided {
        /// The database.
        database: String,
        /// `origin/main`
        remote: String,
        /// Main there.
        commit: String,
        /// Which rows.
        rows: Box<MergeError>,
    },
    /// It was fetched, but the peer's branch is as it was.
    #[error("branch {branch} of {database} can't be moved to what was fetched: {why}")]
    Branch {
        /// The database.
        database: String,
        /// The peer's branch.
        branch: String,
        /// Why.
        why: String,
    },
    /// It was fetched, and may be in main.
    #[error("{remote} may be only half in main of {database}: {why}")]
    HalfWay {
        /// The database.
        database: String,
        /// `origin/main`
        remote: String,
        /// What went wrong, and what to do.
        why: Box<FinishError>,
    },
    /// It was fetched, but is not in main.
    #[error("{remote} can't come into main of {database}: {why}. Nothing was changed")]
    Merge {
        /// The database.
        database: String,
        /// `origin/main`
        remote: String,
        /// Why.
        why: Box<FinishError>,
    },
}

/// Nothing comes into a public ledger but by its own way.
pub(super) fn refuse_ledger(context: &Context, request: &PullRequest) -> Result<(), PullError> {
    match ledger::is_ledger(context, &request.database) {
        true => Err(PullError::Ledger(request.database.clone())),
        false => Ok(()),
    }
}

/// Waits for the turn, fetches and merges.
pub async fn pull(
    context: &Arc<Context>,
    request: &PullRequest,
    progress: &Progress,
) -> Result<Pulled, PullError> {
    refuse_ledger(context, request)?;
    let source = Source::find(context, &request.database, request.remote.as_deref()).await?;
    progress.step(format!("wait for the turn at {}", source.name), None);
    let turn = source.turn(context).await;
    pull_during(context, &source, &request.by, &turn, progress).await
}

/// The same for one whose turn it is.
pub async fn pull_during(
    context: &Arc<Context>,
    source: &Source,
    by: &str,
    _turn: &Turn,
    progress: &Progress,
) -> Result<Pulled, PullError> {
    let commit = source.fetch(context, progress).await?;
    let request = IncomingRequest {
        database: source.database.clone(),
        commit: commit.clone(),
        name: source.branch(),
        by: by.to_owned(),
        wait: LANE_WAIT,
    };
    match bring(context, request, progress).await {
        Ok(come) => {
            Ok(Pulled { database: source.database.clone(), remote: source.name.clone(), commit, come })
        }
        Err(error) => Err(told(error, source, commit)),
    }
}

fn told(why: FinishError, source: &Source, commit: String) -> PullError {
    let (database, remote) = (source.database.clone(), source.branch());
    match why {
        FinishError::Merge(MergeError::Refused(text)) if text.contains("no commit in common") => {
            PullError::Unrelated { database, remote }
        }
        FinishError::Merge(rows @ MergeError::Undecided { .. }) => {
            PullError::Undecided { database, remote, commit, rows: Box::new(rows) }
        }
        why @ FinishError::HalfWay { .. } => PullError::HalfWay { database, remote, why: Box::new(why) },
        why => PullError::Merge { database, remote, why: Box::new(why) },
    }
}
