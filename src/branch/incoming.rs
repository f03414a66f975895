//! Owns bringing commits from elsewhere into main: moved forward to them, or merged by the rules.
//! Does not fetch, and touches no other branch. Always: nothing or all of it has happened, main's uncommitted rows are
//! still there, and run again after a crash it completes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::directory::sql_literal;
use super::finish::{FinishError, OwnRows, Pair, Sides, Undone, hashes};
use super::fork::revision;
pub use super::hold::LanesHeld;
use super::hold::{look, take_keys, take_lanes};
use crate::admit::{Committed, LaneKey};
use crate::merge::{MergeError, MergeRequest, TableReport};
use crate::observe::audit::MergeEnd;
use crate::observe::progress::Progress;
use crate::session::Context;

/// All lanes are waited for at once so long, and then given up for a moment: longer than an idle transaction keeps one.
const EVERY_LANE_ATTEMPT: Duration = Duration::from_secs(4);
const EVERY_LANE_PAUSE: Duration = Duration::from_millis(100);
/// In a merge commit's message: which commit was merged.
const TRAILER: &str = "Branchline-Pull: ";

/// What is to come into main.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingRequest {
    /// Into main of this database.
    pub database: String,
    /// This commit, which the database has.
    pub commit: String,
    /// What people call it: `origin/main`.
    pub name: String,
    /// Who asks, for the record.
    pub by: String,
    /// How long to wait for main's lane, at least.
    pub wait: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// How main got it.
    pub how: How,
    /// The branch that it came to.
    pub main: String,
    /// Main's HEAD before.
    pub before: String,
    /// Main's HEAD now.
    pub head: String,
    /// Commits that main did not have.
    pub commits: u64,
    /// The merge commit's message.
    pub message: Option<String>,
    /// The commit of main's own uncommitted rows, where they could not be left uncommitted, and why.
    pub swept: Option<(String, String)>,
    /// Conflicts that were resolved.
    pub conflicts: u64,
    /// What was merged, by table.
    pub tables: Vec<TableReport>,
}

/// How main got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It had all of it.
    UpToDate,
    /// It had nothing else, and is at that commit now.
    FastForward,
    /// By a merge commit.
    Merged,
}

impl How {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::FastForward => "fast-forward",
            Self::Merged => "merged",
        }
    }
}

/// Brings a commit into main. Goes on to its end when the caller is cancelled.
pub async fn bring(
    context: &Arc<Context>,
    request: IncomingRequest,
    progress: &Progress,
) -> Result<Incoming, FinishError> {
    let (context, progress) = (Arc::clone(context), progress.clone());
    let job = tokio::spawn(async move {
        // No push begins meanwhile.
        let _held = context.remotes.turns.hold(&request.database);
        let mut pair = Pair::take(&context).await?;
        let come = bring_now(&context, &mut pair, &request, &progress).await;
        if come.is_ok() {
            pair.give_back(&context);
        }
        come
    });
    job.await.unwrap_or(Err(FinishError::Interrupted))
}

async fn bring_now(
    context: &Arc<Context>,
    pair: &mut Pair,
    request: &IncomingRequest,
    progress: &Progress,
) -> Result<Incoming, FinishError> {
    let IncomingRequest { database, name, by, .. } = request;
    let main = look(&mut pair.writer, database, "main").await?.main;
    progress.step("wait for main's lane", None);
    let doing = format!("pull {name}");
    let lanes = take_lanes(context, database, &[&main], (by, &doing), request.wait).await;
    let mut lanes = lanes.map_err(|error| FinishError::Lane(error.to_string()))?;
    let work = Work { context, request, progress, database, main: &main };
    let come = work.bring(pair, &mut lanes).await;
    // Also after a failure: some of it may have happened.
    if !matches!(&come, Ok(Incoming { how: How::UpToDate, .. })) {
        lanes.moved(context, database, Committed::Other);
    }
    come
}

/// Takes the lane of every branch of every database: nobody is in the middle of a COMMIT. Also of `database`'s main, of
/// which it may not be known that it has any.
pub async fn take_every_lane(
    context: &Arc<Context>,
    database: &str,
    who: (&str, &str),
    wait: Duration,
) -> Result<LanesHeld, String> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let wanted = every_lane(context, database).await?;
        // In turns with others: who waits for a busy lane holds those before it.
        let until = deadline.min(tokio::time::Instant::now() + EVERY_LANE_ATTEMPT);
        let taken = take_keys(context, wanted.clone(), who, until).await;
        let is_late = tokio::time::Instant::now() >= deadline;
        match taken {
            // A branch that was forked meanwhile has a lane that nobody took.
            Ok(lanes) if every_lane(context, database).await?.is_subset(&wanted) => return Ok(lanes),
            Ok(_) if is_late => return Err("new branches keep being made; run it again".to_owned()),
            Err(not_taken) if is_late => return Err(not_taken.to_string()),
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(EVERY_LANE_PAUSE).await;
    }
}

async fn every_lane(context: &Context, database: &str) -> Result<BTreeSet<LaneKey>, String> {
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    let lanes = listing
        .databases()
        .flat_map(|database| listing.branches(database).map(|branch| LaneKey::new(database, branch)));
    Ok(lanes.chain([LaneKey::new(database, "main")]).collect())
}

/// Takes the lane of one branch.
pub async fn take_branch_lane(
    context: &Arc<Context>,
    database: &str,
    branch: &str,
    who: (&str, &str),
    wait: Duration,
) -> Result<LanesHeld, FinishError> {
    let lanes = take_lanes(context, database, &[branch], who, wait).await;
    lanes.map_err(|error| FinishError::Lane(error.to_string()))
}

/// Main's lane is held.
struct Work<'a> {
    context: &'a Arc<Context>,
    request: &'a IncomingRequest,
    progress: &'a Progress,
    database: &'a str,
    main: &'a str,
}

/// How the two stand.
struct Stand {
    before: String,
    how: How,
    commits: u64,
    is_dirty: bool,
}

impl Work<'_> {
    async fn bring(&self, pair: &mut Pair, lanes: &mut LanesHeld) -> Result<Incoming, FinishError> {
        let mut come = Incoming {
            how: How::UpToDate,
            main: self.main.to_owned(),
            before: String::new(),
            head: String::new(),
            commits: 0,
            message: None,
            swept: None,
            conflicts: 0,
            tables: Vec::new(),
        };
        let stand = self.stand(&mut pair.writer).await?;
        (come.how, come.commits, come.before) = (stand.how, stand.commits, stand.before);
        if come.how == How::UpToDate {
            come.head.clone_from(&come.before);
            return Ok(come);
        }
        if come.how == How::FastForward && stand.is_dirty && self.is_half_way(&mut pair.writer).await? {
            self.move_head(&mut pair.writer).await?;
            come.head.clone_from(&self.request.commit);
            return Ok(come);
        }
        let sides = Sides {
            database: self.database,
            main: self.main,
            branch: &self.request.commit,
            base: None,
            is_fast_forward: come.how == How::FastForward,
        };
        let mut own = OwnRows::plan(&mut pair.writer, sides, stand.is_dirty).await?;
        let audit = self.context.audit.merge(&self.request.commit, self.database, &self.request.name);
        let done = loop {
            own.settle(&mut pair.writer, lanes, &self.request.name).await?;
            if own.swept().is_some() {
                come.how = How::Merged;
            }
            self.progress.step("merge", None);
            let tried = match come.how {
                How::FastForward => self.fast_forward(&mut pair.writer, &own, stand.is_dirty).await,
                How::UpToDate | How::Merged => self.merge(pair, &own, &audit, &mut come).await,
            };
            match tried {
                Ok(()) => break Ok(()),
                // There is nothing to undo, or nobody to do it.
                Err(Undone::Failed(error @ FinishError::HalfWay { .. })) => break Err(error),
                Err(undone) => {
                    if let Some(error) = own.undone(&mut pair.writer, undone).await? {
                        break Err(error);
                    }
                }
            }
        };
        if let Err(error @ FinishError::HalfWay { .. }) = done {
            if let Err(error) = audit.ended(MergeEnd::RolledBack(error.to_string())).await {
                tracing::warn!(%error, "the audit log does not have how the pull ended");
            }
            return Err(error);
        }
        own.forget(&mut pair.writer).await?;
        let head = pair.writer.query_first("SELECT dolt_hashof('HEAD')").await;
        let head: Option<String> = head.map_err(FinishError::at("look at main"))?;
        come.head = head.unwrap_or_default();
        let end = match &done {
            Ok(()) => MergeEnd::Committed(come.head.clone()),
            Err(error) => MergeEnd::RolledBack(error.to_string()),
        };
        if let Err(error) = audit.ended(end).await {
            tracing::warn!(%error, "the audit log does not have how the pull ended");
        }
        done?;
        come.swept = own.swept().map(str::to_owned).zip(own.why().map(str::to_owned));
        tracing::info!(
            database = self.database,
            from = self.request.name,
            how = come.how.as_str(),
            head = come.head,
            commits = come.commits,
            conflicts = come.conflicts,
            swept = own.swept(),
            by = self.request.by,
            "pulled into main"
        );
        Ok(come)
    }

    async fn stand(&self, writer: &mut Conn) -> Result<Stand, FinishError> {
        let at = FinishError::at;
        let place = revision(self.database, self.main);
        let (before, working, committed) = hashes(writer, &place).await.map_err(at("look at main"))?;
        let theirs = sql_literal(&self.request.commit);
        let base: Option<Option<String>> = match writer
            .query_first(format!("SELECT dolt_merge_base('HEAD', {theirs})"))
            .await
        {
            Err(mysql_async::Error::Server(error)) if error.message.contains("no common ancestor") => None,
            found => found.map_err(at("look for a commit in common"))?,
        };
        let base = base.flatten().ok_or_else(|| {
            FinishError::Merge(MergeError::Refused("the two have no commit in common".to_owned()))
        })?;
        let how = match base {
            base if base == self.request.commit => How::UpToDate,
            base if base == before => How::FastForward,
            _ => How::Merged,
        };
        let count = format!("SELECT COUNT(*) FROM dolt_log({theirs}, '--not', {})", sql_literal(&before));
        let commits: Option<u64> = match how {
            How::UpToDate => None,
            _ => writer.query_first(count).await.map_err(at("count the commits"))?,
        };
        Ok(Stand { before, how, commits: commits.unwrap_or_default(), is_dirty: working != committed })
    }

    /// In two steps, since Dolt moves HEAD outside of transactions: first the rows, then HEAD. The other way round a
    /// crash in between would leave rows that undo what came.
    async fn fast_forward(&self, writer: &mut Conn, own: &OwnRows<'_>, is_dirty: bool) -> Result<(), Undone> {
        let at = FinishError::at;
        let theirs = sql_literal(&self.request.commit);
        own.begin(writer).await?;
        if let Err(error) = writer.query_drop(format!("CALL DOLT_MERGE('--squash', {theirs})")).await {
            let stomped = own.stomped(&error);
            return Err(stomped.unwrap_or_else(|| at("move main's rows forward")(error).into()));
        }
        own.put_back(writer).await?;
        if is_dirty {
            own.check(writer).await?;
        }
        let committed = writer.query_drop("SET autocommit = 1").await;
        committed.map_err(FinishError::half_way("commit", own.swept()))?;
        self.move_head(writer).await?;
        Ok(())
    }

    async fn move_head(&self, writer: &mut Conn) -> Result<(), FinishError> {
        let forward = format!("CALL DOLT_RESET('--soft', {})", sql_literal(&self.request.commit));
        writer.query_drop(forward).await.map_err(FinishError::half_way("move main forward", None))
    }

    /// Whether an earlier run was cut off between its two steps: what is staged is just what that commit holds.
    async fn is_half_way(&self, writer: &mut Conn) -> Result<bool, FinishError> {
        let theirs = sql_literal(&self.request.commit);
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM dolt_diff_summary('STAGED', {theirs})) = 0 AND (SELECT COUNT(*) FROM \
             dolt_diff_summary('HEAD', {theirs})) > 0"
        );
        let found: Option<Option<bool>> =
            writer.query_first(sql).await.map_err(FinishError::at("look at what is staged"))?;
        Ok(found.flatten() == Some(true))
    }

    async fn merge(
        &self,
        pair: &mut Pair,
        own: &OwnRows<'_>,
        audit: &dyn crate::observe::audit::AuditSink,
        come: &mut Incoming,
    ) -> Result<(), Undone> {
        let at = FinishError::at;
        let request = MergeRequest {
            database: self.database,
            theirs: &self.request.commit,
            policy: &self.context.config.merge,
            decisions: &[],
            progress: self.progress,
            audit,
        };
        let merged = own.merge(pair, &request).await?;
        let writer = &mut pair.writer;
        own.put_back(writer).await?;
        let message = format!(
            "merge {} into {}\n\n{}\n{TRAILER}{}\n",
            self.request.name,
            self.main,
            merged.message(),
            self.request.commit
        );
        let sql = format!("CALL DOLT_COMMIT('-m', {})", sql_literal(&message));
        writer.query_drop(sql).await.map_err(at("commit the merge"))?;
        let committed = writer.query_drop("SET autocommit = 1").await;
        committed.map_err(FinishError::half_way("commit", own.swept()))?;
        (come.conflicts, come.tables, come.message) = (merged.conflicts(), merged.tables, Some(message));
        Ok(())
    }
}
