//! Owns other towns, whose main is only read: into main by the rules of `merge`, or into a branch of its own for queries.
//! Does not push anything. Always: a peer's branch is what was fetched last; what somebody else has put on it is kept
//! under another name, and told.

pub mod core;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::core::{Core, Line};
use super::fetch::{FetchError, Source};
use super::outcome::Outcome;
use super::pull::{PullError, PullRequest, Pulled, pull_during, refuse_ledger};
use crate::admit::Committed;
use crate::branch::finish::FinishError;
use crate::branch::incoming::take_branch_lane;
use crate::branch::list::PEER_PREFIX;
use crate::branch::sql_literal;
use crate::config::{PeerInto, PeerOf};
use crate::dolt::ControlError;
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// The settings are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Readers of a peer's branch hold no lane.
const LANE_WAIT: Duration = Duration::from_secs(10);

/// What came of a pull or a peer's fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// Into main.
    Main(Pulled),
    /// Into the peer's branch.
    Branch(Fetched),
}

/// A peer's branch that was brought up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The database as Dolt spells it.
    pub database: String,
    /// The peer.
    pub peer: String,
    /// Its branch here.
    pub branch: String,
    /// The peer's main.
    pub commit: String,
    /// Whether it is another one than before.
    pub moved: bool,
    /// What was on the branch and not from the peer is on this one now.
    pub kept: Option<String>,
}

/// A peer's branch here: `peer/alice/main`
pub fn branch_of(peer: &str) -> String {
    format!("{PEER_PREFIX}{peer}/main")
}

/// Pulls from a remote: a peer's goes where its settings say, all others into main.
pub async fn get(
    context: &Arc<Context>,
    request: &PullRequest,
    progress: &Progress,
) -> Result<Got, PullError> {
    refuse_ledger(context, request)?;
    let source = Source::find(context, &request.database, request.remote.as_deref()).await?;
    progress.step(format!("wait for the turn at {}", source.name), None);
    let turn = source.turn(context).await;
    let got = match into(context, &source) {
        PeerInto::Main => pull_during(context, &source, &request.by, &turn, progress).await.map(Got::Main),
        PeerInto::Branch => into_branch(context, &source, &request.by, progress).await.map(Got::Branch),
    };
    note(context, &source, &got);
    got
}

/// For alerts: what came of it, if it is a peer and still configured. By hand or by the schedule, it is the same.
fn note(context: &Context, source: &Source, got: &Result<Got, PullError>) {
    let mut of = peers(context, &source.database).into_iter();
    let Some(peer) = of.find(|of| of.name.eq_ignore_ascii_case(&source.name)) else { return };
    let (outcome, text) = match got {
        Ok(_) => (Outcome::UpToDate, String::new()),
        Err(PullError::Fetch(FetchError::Lost(_))) => return,
        Err(error @ PullError::Fetch(FetchError::Failed { outcome, .. })) => (*outcome, error.to_string()),
        Err(error) => (Outcome::of(&error.to_string()), error.to_string()),
    };
    context.alerts.note(&source.database, &peer.url.to_string(), outcome, &text, outcome.advice());
}

fn into(context: &Context, source: &Source) -> PeerInto {
    let settings = context.remotes.settings();
    let of = settings.databases.get(&source.database.to_lowercase());
    let peer = of.and_then(|of| of.peers.iter().find(|peer| peer.name.eq_ignore_ascii_case(&source.name)));
    peer.map_or(PeerInto::Main, |peer| peer.into)
}

/// During the turn.
async fn into_branch(
    context: &Arc<Context>,
    source: &Source,
    by: &str,
    progress: &Progress,
) -> Result<Fetched, PullError> {
    let (database, branch) = (source.database.clone(), branch_of(&source.name));
    let before = source.fetched(context).await?;
    let commit = source.fetch(context, progress).await?;
    progress.step(format!("move {branch}"), None);
    let failed = |why: FinishError| PullError::Branch {
        database: database.clone(),
        branch: branch.clone(),
        why: why.to_string(),
    };
    let lane = take_branch_lane(context, &database, &branch, (by, "pull"), LANE_WAIT).await;
    let mut lane = lane.map_err(failed)?;
    let opened = context.dolt.control().dedicated().await.map(|session| session.into_connection());
    let lost = || ControlError::Io("it was given up".to_owned());
    let mut conn = opened.and_then(|conn| conn.ok_or_else(lost)).map_err(|error| failed(error.into()))?;
    let placed = place(&mut conn, &database, &branch, before.as_deref(), &commit).await;
    // Also after a failure: some of it may have happened.
    lane.moved(context, &database, Committed::Other);
    let (moved, kept) =
        placed.map_err(|source| failed(FinishError::Dolt { step: "move the branch", source }))?;
    if let Some(kept) = &kept {
        tracing::warn!(
            database,
            branch,
            kept,
            "somebody had put something on a peer's branch: it is kept on another one"
        );
    }
    Ok(Fetched { database, peer: source.name.clone(), branch, commit, moved, kept })
}

/// The branch is at the commit. Whether it was elsewhere, and where what was somebody else's is.
async fn place(
    conn: &mut Conn,
    database: &str,
    branch: &str,
    before: Option<&str>,
    commit: &str,
) -> Result<(bool, Option<String>), mysql_async::Error> {
    let (name, to) = (sql_literal(branch), sql_literal(commit));
    conn.query_drop(format!("USE {}", crate::branch::sql_identifier(database))).await?;
    let there: Option<(String, String)> = conn
        .query_first(format!("SELECT name, hash FROM dolt_branches WHERE LOWER(name) = LOWER({name})"))
        .await?;
    let Some((spelled, head)) = there else {
        conn.query_drop(format!("CALL DOLT_BRANCH({name}, {to})")).await?;
        return Ok((true, None));
    };
    let place = crate::branch::sql_identifier(&format!("{database}/{spelled}"));
    let dirty: Option<u64> = conn.query_first(format!("SELECT COUNT(*) FROM {place}.dolt_status")).await?;
    let is_dirty = dirty.unwrap_or_default() > 0;
    let is_theirs = head == commit || before == Some(head.as_str()) || {
        let from = format!("SELECT COUNT(*) FROM dolt_log({}, '--not', {to}", sql_literal(&head));
        let from =
            before.map_or_else(|| format!("{from})"), |before| format!("{from}, {})", sql_literal(before)));
        let own: Option<u64> = conn.query_first(from).await?;
        own == Some(0)
    };
    let mut kept = None;
    if is_dirty || !is_theirs {
        let now = unix_seconds(SystemTime::now());
        let copy = format!("kept-from-{}-{now}", branch.replace('/', "-"));
        if is_dirty {
            conn.query_drop(format!("USE {place}")).await?;
            let message = sql_literal(&format!("what somebody had written to {branch}"));
            conn.query_drop(format!("CALL DOLT_COMMIT('-A', '-m', {message})")).await?;
            conn.query_drop(format!("USE {}", crate::branch::sql_identifier(database))).await?;
        }
        conn.query_drop(format!("CALL DOLT_BRANCH({}, {})", sql_literal(&copy), sql_literal(&spelled)))
            .await?;
        kept = Some(copy);
    }
    if head == commit && !is_dirty {
        return Ok((false, kept));
    }
    // Moves what is on it too.
    conn.query_drop(format!("CALL DOLT_BRANCH('-f', {}, {to})", sql_literal(&spelled))).await?;
    Ok((head != commit, kept))
}

/// Fetches peers in their time, until `stopping`.
pub async fn run(context: Arc<Context>, stopping: CancellationToken) {
    let (mut core, mut fetches) = (Core::default(), JoinSet::new());
    loop {
        let now = tokio::time::Instant::now();
        core.set(lines(&context).await, now.into_std());
        for line in core.begin(now.into_std()) {
            let context = Arc::clone(&context);
            fetches.spawn(async move {
                fetch_one(&context, &line).await;
                line
            });
        }
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(ended) = fetches.join_next() => {
                if let Ok(line) = ended {
                    core.end(&line, tokio::time::Instant::now().into_std());
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    // Each one's call ends what it began.
    fetches.shutdown().await;
}

/// Peers with a schedule, of databases that are there.
async fn lines(context: &Context) -> Vec<Line> {
    let settings = context.remotes.settings();
    let has_any = settings.databases.values().any(|of| of.peers.iter().any(|peer| peer.every.is_some()));
    if !has_any {
        return Vec::new();
    }
    let Ok(listing) = context.branches.listing().await else { return Vec::new() };
    let mut lines = Vec::new();
    for of in settings.databases.values() {
        let Some(database) = listing.database(&of.database) else { continue };
        for peer in &of.peers {
            let Some(every) = peer.every else { continue };
            let configured = format!("{}\n{:?}", peer.url.reveal(), peer.into);
            lines.push(Line {
                database: database.to_owned(),
                peer: peer.name.clone(),
                every,
                configured: xxhash_rust::xxh3::xxh3_64(configured.as_bytes()),
            });
        }
    }
    lines
}

async fn fetch_one(context: &Arc<Context>, line: &Line) {
    let request = PullRequest {
        database: line.database.clone(),
        remote: Some(line.peer.clone()),
        by: "branchline peers".to_owned(),
    };
    match get(context, &request, &Progress::default()).await {
        Ok(got) => tracing::debug!(database = line.database, peer = line.peer, ?got, "peer fetched"),
        Err(error @ PullError::Fetch(FetchError::Lost(_))) => {
            tracing::debug!(database = line.database, peer = line.peer, %error, "peer not fetched");
        }
        Err(error) => {
            tracing::warn!(database = line.database, peer = line.peer, "peer not fetched: {error}");
        }
    }
}

/// Peers of a database.
pub fn peers(context: &Context, database: &str) -> Vec<PeerOf> {
    let settings = context.remotes.settings();
    settings.databases.get(&database.to_lowercase()).map(|of| of.peers.clone()).unwrap_or_default()
}
