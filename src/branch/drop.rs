//! Owns dropping a branch. Does not decide whether it may go with what it has: the caller forces it.
//! Always: what is not on main is tagged before it goes; cut off and run again, it completes.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::base::{self, base_tag, dropped_tag, parse_dropped_tag};
use super::book::{Ended, Tombstone};
use super::directory::sql_literal;
use super::finish::FinishError;
use super::fork::{on_default, revision};
use super::hold::{hold, look, take_lanes};
use crate::admit::Committed;
use crate::observe::progress::Progress;
use crate::session::Context;

/// What to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRequest {
    /// In which database.
    pub database: String,
    /// Which branch.
    pub branch: String,
    /// Also with what main doesn't have: that is tagged first.
    pub force: bool,
    /// How long to wait for open transactions on the branch.
    pub wait: Duration,
    /// Who asks, for the record.
    pub by: String,
}

/// A branch that is gone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// The database as Dolt spells it.
    pub database: String,
    /// The branch as Dolt spelled it.
    pub branch: String,
    /// False: it was not there any more.
    pub was_there: bool,
    /// The tag that keeps what was on it.
    pub tag: Option<String>,
    /// Commits that main didn't have.
    pub unmerged_commits: u64,
    /// Tables with uncommitted changes, ignored ones too.
    pub uncommitted_tables: Vec<String>,
}

/// Why a branch is not dropped, or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// It has what main has not.
    #[error(
        "branch {branch} of {database} has what {main} has not (commits: {commits}, tables with uncommitted changes: \
         {tables}); finish it with `branchline branch done {database} {branch}`, or drop it with --force, which keeps it \
         as a tag"
    )]
    Unmerged {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// Its main.
        main: String,
        /// Not on main.
        commits: u64,
        /// Uncommitted.
        tables: usize,
    },
    /// Nothing to bring back.
    #[error("nothing is kept of a branch {branch} of {database} that was dropped")]
    NotKept {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// There is one of this name.
    #[error("database {database} has a branch {branch} now; rename or drop that first")]
    Exists {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// As for a finish.
    #[error(transparent)]
    Common(#[from] FinishError),
}

/// A branch that is there again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Undropped {
    /// The database as Dolt spells it.
    pub database: String,
    /// The branch.
    pub branch: String,
    /// Its HEAD.
    pub head: String,
    /// Tables whose rows are uncommitted on it again.
    pub uncommitted_tables: Vec<String>,
}

/// Drops a branch; one that is not there is no error. Goes on to its end when the caller is cancelled.
pub async fn drop_branch(
    context: &Arc<Context>,
    request: DropRequest,
    progress: &Progress,
) -> Result<Dropped, DropError> {
    let (context, progress) = (Arc::clone(context), progress.clone());
    let job = tokio::spawn(async move { drop_now(&context, &request, &progress).await });
    job.await.unwrap_or(Err(FinishError::Interrupted.into()))
}

async fn drop_now(
    context: &Arc<Context>,
    request: &DropRequest,
    progress: &Progress,
) -> Result<Dropped, DropError> {
    let at = FinishError::at;
    let (database, asked) = (request.database.as_str(), request.branch.as_str());
    progress.step("wait for open transactions on the branch", None);
    let hold = hold(context, "drop", (database, asked), &request.by, request.wait).await?;
    let mut conn = context.forks.idle.take(context.dolt.control()).await.map_err(FinishError::from)?;
    let found = look(&mut conn, database, asked).await?;
    let Some(branch) = found.branch else {
        // A drop that was cut off may have left its base.
        let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
        base::untag(&mut conn, asked).await.map_err(at("remove its base tag"))?;
        let tombstone = context.book.tombstone(database, asked);
        let (is_known, tag) = match tombstone.map(|tombstone| tombstone.how) {
            Some(Ended::Dropped { tag }) => (true, tag),
            Some(Ended::Finished { .. }) => (true, None),
            None => (false, None),
        };
        if is_known {
            hold.gate.gone();
        }
        context.forks.idle.give_back(conn);
        return Ok(Dropped {
            database: database.to_owned(),
            branch: asked.to_owned(),
            was_there: false,
            tag,
            unmerged_commits: 0,
            uncommitted_tables: Vec::new(),
        });
    };
    if branch.eq_ignore_ascii_case(&found.main) {
        let database = database.to_owned();
        return Err(FinishError::IsMain { database, branch }.into());
    }
    let doing = format!("branch drop {branch}");
    let lanes = take_lanes(context, database, &[&branch], (&request.by, &doing), request.wait).await;
    let mut lanes = lanes.map_err(|error| FinishError::Lane(error.to_string()))?;
    let dropped = drop_held(context, &mut conn, request, (&branch, &found.main), found.is_snapshot).await;
    lanes.moved(context, database, Committed::Other);
    let dropped = dropped?;
    hold.gate.gone();
    context.forks.idle.give_back(conn);
    tracing::info!(database, branch, tag = dropped.tag, by = request.by, "branch dropped");
    Ok(dropped)
}

async fn drop_held(
    context: &Arc<Context>,
    conn: &mut Conn,
    request: &DropRequest,
    (branch, main): (&str, &str),
    is_snapshot: bool,
) -> Result<Dropped, DropError> {
    let at = FinishError::at;
    let database = request.database.as_str();
    let place = revision(database, branch);
    conn.query_drop(format!("USE {place}")).await.map_err(at("go to the branch"))?;
    // A drop that was cut off after it had tagged what is on the branch: twice is once.
    let kept =
        if request.force { tag_of_head(conn, branch).await.map_err(at("look at its tags"))? } else { None };
    if is_snapshot && kept.is_none() {
        base::take_back(conn).await.map_err(at("take back a snapshot that was cut off"))?;
    }
    let (main_literal, branch_literal) = (sql_literal(main), sql_literal(branch));
    let sql = format!("SELECT COUNT(*) FROM dolt_log({branch_literal}, '--not', {main_literal})");
    let commits: Option<u64> = conn.query_first(sql).await.map_err(at("count its commits"))?;
    let mut commits = commits.unwrap_or_default();
    let uncommitted = if kept.is_some() && is_snapshot {
        commits = commits.saturating_sub(1);
        let sql = "SELECT table_name FROM dolt_diff_stat('HEAD~1', 'HEAD')";
        conn.query(sql).await.map_err(at("look at its rows"))?
    } else {
        unmerged_tables(conn, database, branch, main).await.map_err(at("look at its rows"))?
    };
    let tables = uncommitted.len();
    let has_something = commits > 0 || tables > 0;
    if has_something && !request.force {
        let (database, branch, main) = (database.to_owned(), branch.to_owned(), main.to_owned());
        return Err(DropError::Unmerged { database, branch, main, commits, tables });
    }
    let now = base::unix_now();
    let mut tag = kept;
    if has_something && tag.is_none() {
        let name = dropped_tag(branch, now);
        let snapshot = base::snapshot(conn).await.map_err(at("commit what is uncommitted on it"))?;
        let kept = DroppedRecord {
            version: 1,
            by: request.by.clone(),
            at: now,
            is_snapshot: !snapshot.is_empty(),
            base: base_of(conn, branch).await.map_err(at("look for its base"))?,
        };
        let message = serde_json::to_string(&kept).unwrap_or_default();
        let sql = format!("CALL DOLT_TAG({}, 'HEAD', '-m', {})", sql_literal(&name), sql_literal(&message));
        // Dropped twice within one second: the tag of then is of the same branch's earlier end.
        conn.query_drop(sql).await.map_err(at("tag what is on it"))?;
        tag = Some(name);
    }
    let tombstone = Tombstone {
        database: database.to_owned(),
        branch: branch.to_owned(),
        how: Ended::Dropped { tag: tag.clone() },
        at: now,
        by: request.by.clone(),
    };
    let book = Arc::clone(&context.book);
    match tokio::task::spawn_blocking(move || book.bury(tombstone)).await {
        Ok(buried) => buried.map_err(|error| FinishError::Book(error.to_string()))?,
        Err(_) => return Err(FinishError::Interrupted.into()),
    }
    on_default(conn, database).await.map_err(at("leave the branch"))?;
    let delete = format!("CALL DOLT_BRANCH('-D', {branch_literal})");
    conn.query_drop(delete).await.map_err(at("delete the branch"))?;
    base::untag(conn, branch).await.map_err(at("remove its base tag"))?;
    Ok(Dropped {
        database: database.to_owned(),
        branch: branch.to_owned(),
        was_there: true,
        tag,
        unmerged_commits: commits,
        uncommitted_tables: uncommitted,
    })
}

/// What the tag of a dropped branch says of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct DroppedRecord {
    pub version: u32,
    pub by: String,
    pub at: u64,
    /// The tagged commit holds what was uncommitted; its parent was the branch's HEAD.
    pub is_snapshot: bool,
    /// Commit and message of its base tag.
    pub base: Option<(String, String)>,
}

/// The tag of a drop of this branch that holds all that is on it now.
async fn tag_of_head(conn: &mut Conn, branch: &str) -> Result<Option<String>, mysql_async::Error> {
    let sql = "SELECT tag_name FROM dolt_tags \
               WHERE tag_hash = dolt_hashof('HEAD') AND dolt_hashof_db() = dolt_hashof_db('HEAD')";
    let tags: Vec<String> = conn.query(sql).await?;
    let is_its = |tag: &String| parse_dropped_tag(tag).is_some_and(|(of, _)| of.eq_ignore_ascii_case(branch));
    Ok(tags.into_iter().find(is_its))
}

async fn base_of(conn: &mut Conn, branch: &str) -> Result<Option<(String, String)>, mysql_async::Error> {
    let tag = sql_literal(&base_tag(branch));
    conn.query_first(format!("SELECT tag_hash, message FROM dolt_tags WHERE LOWER(tag_name) = LOWER({tag})"))
        .await
}

/// Tables, ignored ones too, that hold what neither main has nor the fork brought. On the branch, which stays current.
async fn unmerged_tables(
    conn: &mut Conn,
    database: &str,
    branch: &str,
    main: &str,
) -> Result<Vec<String>, mysql_async::Error> {
    let changed = base::uncommitted(conn).await?;
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let base = base_of(conn, branch).await?;
    let mut names: Vec<String> = changed
        .into_iter()
        .map(|table| table.table.rsplit(" -> ").next().unwrap_or_default().to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    let here = table_hashes(conn, &names).await?;
    let mut elsewhere = Vec::new();
    for place in base.map(|(commit, _)| commit).into_iter().chain([main.to_owned()]) {
        conn.query_drop(format!("USE {}", revision(database, &place))).await?;
        elsewhere.push(table_hashes(conn, &names).await?);
    }
    conn.query_drop(format!("USE {}", revision(database, branch))).await?;
    let is_elsewhere = |at: usize| elsewhere.iter().any(|hashes| hashes[at] == here[at]);
    Ok(names.into_iter().enumerate().filter(|(at, _)| !is_elsewhere(*at)).map(|(_, name)| name).collect())
}

/// `None`: there is no such table.
async fn table_hashes(conn: &mut Conn, names: &[String]) -> Result<Vec<Option<String>>, mysql_async::Error> {
    let mut hashes = Vec::with_capacity(names.len());
    for name in names {
        let sql = format!("SELECT dolt_hashof_table({})", sql_literal(name));
        hashes.push(match conn.query_first::<Option<String>, _>(sql).await {
            Ok(hash) => hash.flatten(),
            Err(mysql_async::Error::Server(_)) => None,
            Err(error) => return Err(error),
        });
    }
    Ok(hashes)
}
