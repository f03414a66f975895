//! Owns `branch create`: a fork that somebody asked for by name.
//! Does not copy anything itself. Always: main is exactly as it was, but for the commit that was asked for.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::directory::{sql_identifier, sql_literal};
use super::finish::FinishError;
use super::fork::ForkError;
use super::forks::ForkFailed;
use super::hold::{look, take_lanes};
use crate::session::Context;
use crate::session::route::branch_name;

/// What to fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkRequest {
    /// In which database.
    pub database: String,
    /// The new branch; `base::default_name` makes one up.
    pub name: String,
    /// The branch to fork; the database's default branch if `None`.
    pub from: Option<String>,
    /// Dolt-commit the forked branch's uncommitted rows first, as a commit of their own.
    pub commit_main: bool,
    /// For whom.
    pub worker: Option<String>,
    /// Who asks, for the record.
    pub by: String,
}

/// A new branch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// The database as it was named.
    pub database: String,
    /// The branch that was forked.
    pub from_branch: String,
    /// Its HEAD then.
    pub from_commit: String,
    /// Tables copied because their rows weren't Dolt-committed.
    pub tables_copied: usize,
    /// The commit of the forked branch's uncommitted rows, if one was asked for and there were any.
    pub committed: Option<String>,
}

/// Makes the branch, which must not exist; a tombstone of its name is forgotten. Goes on to its end when the caller
/// is cancelled.
pub async fn create(context: &Arc<Context>, request: ForkRequest) -> Result<Created, ForkFailed> {
    let context = Arc::clone(context);
    let job = tokio::spawn(async move { create_now(&context, request).await });
    job.await.unwrap_or(Err(ForkFailed::Stopping))
}

async fn create_now(context: &Arc<Context>, request: ForkRequest) -> Result<Created, ForkFailed> {
    let ForkRequest { database, name, from, .. } = &request;
    for name in [Some(name), from.as_ref()].into_iter().flatten() {
        branch_name::check(name).map_err(|problem| ForkError::Name { name: name.clone(), problem })?;
    }
    if context.config.routing.is_main_only(database) {
        return Err(FinishError::MainOnly(database.clone()).into());
    }
    let control = context.dolt.control();
    let mut conn = context.forks.idle.take(control).await?;
    let mut found = look(&mut conn, database, name).await?;
    if found.branch.is_some() {
        // A fork that Dolt's end has cut off may have got its name already, and not its rows.
        context.forks.listing(control, &context.branches).await?;
        found = look(&mut conn, database, name).await?;
    }
    if let Some(name) = found.branch {
        return Err(ForkError::Exists { name }.into());
    }
    let from = from.clone().unwrap_or(found.main);
    // Held until the fork is there, so that it is the fork of that commit.
    let mut lanes = None;
    let mut committed = None;
    if request.commit_main {
        let doing = format!("branch create {name} --commit-main");
        let taken = take_lanes(context, database, &[&from], (&request.by, &doing), Duration::ZERO).await;
        let lanes = lanes.insert(taken.map_err(|error| FinishError::Lane(error.to_string()))?);
        let place = sql_identifier(&format!("{database}/{from}"));
        let missing =
            || ForkError::NoFrom { name: name.clone(), database: database.clone(), from: from.clone() };
        conn.query_drop(format!("USE {place}")).await.map_err(|_| missing())?;
        let message = format!("uncommitted rows of {from}, before the fork of {name}");
        let sql = format!("CALL DOLT_COMMIT('-A', '-m', {})", sql_literal(&message));
        match conn.query_first::<String, _>(sql).await {
            Ok(hash) => {
                committed = hash;
                lanes.dolt_committed(database, &from);
            }
            Err(error) if error.to_string().contains("nothing to commit") => {}
            Err(source) => return Err(ForkError::Dolt { name: name.clone(), source }.into()),
        }
    }
    // What an error left on it goes with it.
    drop(conn);
    let touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
    let (name, database) = (name.clone(), database.clone());
    let forked = context.forks.create(control, &context.branches, request).await;
    context.lanes.touched(&database);
    drop((touch, lanes));
    let forked = forked?;
    let book = Arc::clone(&context.book);
    let (of, branch) = (database.clone(), name.clone());
    let exhumed = tokio::task::spawn_blocking(move || book.exhume(&of, &branch)).await;
    if let Ok(Err(error)) = exhumed {
        tracing::warn!(database, branch = name, %error, "the branch is there, but counts as finished");
    }
    Ok(Created {
        name,
        database,
        from_branch: forked.from_branch,
        from_commit: forked.from_commit,
        tables_copied: forked.tables_copied,
        committed,
    })
}
