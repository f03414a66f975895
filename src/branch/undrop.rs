//! Owns bringing a dropped branch back, and forgetting those that were kept long enough.
//! Does not drop. Always: the branch gets its name only when all that was on it is there; its tag goes last.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::base::{self, DROPPED_PREFIX, base_tag, parse_dropped_tag};
use super::directory::{sql_identifier, sql_literal};
use super::drop::{DropError, DroppedRecord, Undropped};
use super::finish::FinishError;
use super::fork::{UNFINISHED_PREFIX, exists, on, on_default};
use super::hold::{hold, look};
use crate::session::Context;

/// Brings back the branch of this name that was dropped last. Goes on to its end when the caller is cancelled.
pub async fn undrop(
    context: &Arc<Context>,
    database: &str,
    branch: &str,
    by: &str,
) -> Result<Undropped, DropError> {
    let context = Arc::clone(context);
    let (database, branch, by) = (database.to_owned(), branch.to_owned(), by.to_owned());
    let job = tokio::spawn(async move { undrop_now(&context, &database, &branch, &by).await });
    job.await.unwrap_or(Err(FinishError::Interrupted.into()))
}

async fn undrop_now(
    context: &Arc<Context>,
    database: &str,
    branch: &str,
    by: &str,
) -> Result<Undropped, DropError> {
    // Nobody is on it, but somebody may be about to fork it.
    let hold = hold(context, "undrop", (database, branch), by, Duration::ZERO).await?;
    let mut conn = context.forks.idle.take(context.dolt.control()).await.map_err(FinishError::from)?;
    let found = look(&mut conn, database, branch).await?;
    let (of, name) = (database.to_owned(), branch.to_owned());
    let kept = last_kept(&mut conn, branch).await.map_err(FinishError::at("look for its tag"))?;
    if found.branch.is_some() {
        return Err(DropError::Exists { database: of, branch: name });
    }
    let Some((tag, message)) = kept else {
        return Err(DropError::NotKept { database: of, branch: name });
    };
    let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
    let (spelled, _) = parse_dropped_tag(&tag).unwrap_or((branch, 0));
    let rebuilt = rebuild(&mut conn, database, spelled, (&tag, &message)).await;
    context.lanes.touched(database);
    context.catalog.invalidate_database(database);
    let undropped = rebuilt.map_err(FinishError::at("bring it back"))?;
    let book = Arc::clone(&context.book);
    match tokio::task::spawn_blocking(move || book.exhume(&of, &name)).await {
        Ok(exhumed) => exhumed.map(|_| ()).map_err(|error| FinishError::Book(error.to_string()))?,
        Err(_) => return Err(FinishError::Interrupted.into()),
    }
    let untag = format!("CALL DOLT_TAG('-d', {})", sql_literal(&tag));
    conn.query_drop(untag).await.map_err(FinishError::at("remove its tag"))?;
    drop(hold);
    context.forks.idle.give_back(conn);
    tracing::info!(database, branch, by, "dropped branch brought back");
    Ok(undropped)
}

/// The tag of the last drop, and its message. In the current database.
async fn last_kept(conn: &mut Conn, branch: &str) -> Result<Option<(String, String)>, mysql_async::Error> {
    let kept: Vec<(String, String)> = dropped_tags(conn).await?;
    let of_it = kept.into_iter().filter_map(|(tag, message)| {
        let (of, at) = parse_dropped_tag(&tag)?;
        of.eq_ignore_ascii_case(branch).then(|| (at, tag.clone(), message))
    });
    Ok(of_it.max_by_key(|(at, ..)| *at).map(|(_, tag, message)| (tag, message)))
}

async fn dropped_tags(conn: &mut Conn) -> Result<Vec<(String, String)>, mysql_async::Error> {
    let sql = format!(
        "SELECT tag_name, message FROM dolt_tags WHERE LEFT(tag_name, {}) = {}",
        DROPPED_PREFIX.len(),
        sql_literal(DROPPED_PREFIX)
    );
    conn.query(sql).await
}

/// Under another name first, as a fork: what is cut off is removed by the next start.
async fn rebuild(
    conn: &mut Conn,
    database: &str,
    branch: &str,
    (tag, message): (&str, &str),
) -> Result<Undropped, mysql_async::Error> {
    let record: Option<DroppedRecord> = serde_json::from_str(message).ok();
    let unfinished = format!("{UNFINISHED_PREFIX}{branch}");
    if exists(conn, &unfinished).await? {
        conn.query_drop(format!("CALL DOLT_BRANCH('-D', {})", sql_literal(&unfinished))).await?;
    }
    let (from, to) = (sql_literal(tag), sql_literal(&unfinished));
    conn.query_drop(format!("CALL DOLT_BRANCH({to}, {from})")).await?;
    on(conn, database, &unfinished).await?;
    let mut uncommitted_tables = Vec::new();
    if record.as_ref().is_some_and(|record| record.is_snapshot) {
        base::take_back(conn).await?;
        uncommitted_tables = base::uncommitted(conn).await?.into_iter().map(|table| table.table).collect();
    }
    let head: Option<String> = conn.query_first("SELECT dolt_hashof('HEAD')").await?;
    on_default(conn, database).await?;
    base::untag(conn, branch).await?;
    if let Some((commit, message)) = record.and_then(|record| record.base) {
        let (name, commit, message) =
            (sql_literal(&base_tag(branch)), sql_literal(&commit), sql_literal(&message));
        conn.query_drop(format!("CALL DOLT_TAG({name}, {commit}, '-m', {message})")).await?;
    }
    conn.query_drop(format!("CALL DOLT_BRANCH('-m', {to}, {})", sql_literal(branch))).await?;
    Ok(Undropped {
        database: database.to_owned(),
        branch: branch.to_owned(),
        head: head.unwrap_or_default(),
        uncommitted_tables,
    })
}

/// Removes the tags of branches of this database that were dropped longer than `keep` ago. The tags.
pub async fn expire_dropped(
    context: &Arc<Context>,
    database: &str,
    keep: Duration,
) -> Result<Vec<String>, DropError> {
    let at = FinishError::at;
    let mut conn = context.forks.idle.take(context.dolt.control()).await.map_err(FinishError::from)?;
    let place = format!("USE {}", sql_identifier(database));
    conn.query_drop(place).await.map_err(at("open the database"))?;
    let oldest = base::unix_now().saturating_sub(keep.as_secs());
    let kept = dropped_tags(&mut conn).await.map_err(at("look for dropped branches"))?;
    let is_old = |tag: &String| parse_dropped_tag(tag).is_some_and(|(_, dropped_at)| dropped_at < oldest);
    let expired: Vec<String> = kept.into_iter().map(|(tag, _)| tag).filter(is_old).collect();
    if !expired.is_empty() {
        let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
        for tag in &expired {
            let untag = format!("CALL DOLT_TAG('-d', {})", sql_literal(tag));
            conn.query_drop(untag).await.map_err(at("remove a dropped branch's tag"))?;
        }
    }
    context.forks.idle.give_back(conn);
    Ok(expired)
}
