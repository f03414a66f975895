//! What the console does with what comes from remotes, as rows. Decides nothing: `remote` does.

use std::sync::Arc;

use super::remotes::Done;
use crate::admin::{Cell, Table};
use crate::branch::incoming::How;
use crate::observe::progress::Progress;
use crate::remote::clone::CloneRequest;
use crate::remote::peers::{Fetched, Got, get};
use crate::remote::pull::{PullRequest, Pulled};
use crate::remote::worker::try_again;
use crate::remote::{self, RemoteUrl};
use crate::session::Context;

/// Those that were named, or all that have this remote; without one, all that have a remote of their own.
async fn wanted(
    context: &Context,
    databases: Vec<String>,
    remote: Option<&str>,
) -> Result<Vec<String>, String> {
    if !databases.is_empty() {
        return Ok(databases);
    }
    let rows = remote::status::remotes(context).await.into_iter();
    let mut all: Vec<String> = match remote {
        Some(remote) => {
            rows.filter(|row| row.name.eq_ignore_ascii_case(remote)).map(|row| row.database).collect()
        }
        None => rows
            .filter(|row| matches!(row.purpose.as_str(), "push" | "not pushed"))
            .map(|row| row.database)
            .collect(),
    };
    all.sort();
    all.dedup();
    match (all.is_empty(), remote) {
        (false, _) => Ok(all),
        (true, Some(remote)) => {
            Err(format!("no database has a remote {remote:?}; `branchline remote list` shows them"))
        }
        (true, None) => {
            Err("no database has a remote; `branchline remote add DB URL` gives it one".to_owned())
        }
    }
}

fn failure(failed: usize, count: usize, what: &str) -> Option<String> {
    let were = if failed == 1 { "was" } else { "were" };
    (failed > 0).then(|| format!("{failed} of {count} databases {were} not {what}"))
}

pub(super) async fn pull(
    context: &Arc<Context>,
    databases: Vec<String>,
    remote: Option<String>,
    by: &str,
    progress: &Progress,
) -> Result<Done, String> {
    let databases = wanted(context, databases, remote.as_deref()).await?;
    let mut table = Table::new([
        "database",
        "remote",
        "outcome",
        "commits",
        "conflicts",
        "head",
        "branch",
        "merged",
        "text",
    ]);
    let (mut failed, count) = (0, databases.len());
    for database in databases {
        let request = PullRequest { database: database.clone(), remote: remote.clone(), by: by.to_owned() };
        match get(context, &request, progress).await {
            Ok(Got::Main(pulled)) => {
                // It may have been behind.
                try_again(context, &pulled.database);
                into_main(&mut table, pulled);
            }
            Ok(Got::Branch(fetched)) => into_branch(&mut table, fetched),
            Err(error) => {
                failed += 1;
                failed_row(&mut table, database, remote.clone(), error.to_string());
            }
        }
    }
    Ok((table, failure(failed, count, "pulled")))
}

fn into_main(table: &mut Table, pulled: Pulled) {
    let Pulled { database, remote, come, .. } = pulled;
    let tables: Vec<String> = come
        .tables
        .iter()
        .map(|table| match table.conflicts {
            0 => table.table.clone(),
            1 => format!("{} (1 conflict resolved)", table.table),
            count => format!("{} ({count} conflicts resolved)", table.table),
        })
        .collect();
    let merged = (come.how == How::Merged).then(|| tables.join(", "));
    let text = come.swept.map(|(commit, why)| {
        format!("main's uncommitted rows were Dolt-committed first, as {commit}: {why}")
    });
    table.row([
        database.into(),
        remote.into(),
        come.how.as_str().into(),
        come.commits.into(),
        come.conflicts.into(),
        come.head.into(),
        come.main.into(),
        merged.into(),
        text.into(),
    ]);
}

fn into_branch(table: &mut Table, fetched: Fetched) {
    let Fetched { database, peer, branch, commit, moved, kept } = fetched;
    let text = kept.map(|kept| format!("what was on it and not from {peer} is on branch {kept} now"));
    table.row([
        database.into(),
        peer.into(),
        if moved { "fetched" } else { "up to date" }.into(),
        None::<String>.into(),
        None::<String>.into(),
        commit.into(),
        branch.into(),
        None::<String>.into(),
        text.into(),
    ]);
}

pub(super) async fn clone(
    context: &Arc<Context>,
    url: RemoteUrl,
    database: String,
    replace: bool,
    by: &str,
    progress: &Progress,
) -> Result<Done, String> {
    let request = CloneRequest { url, database, replace, by: by.to_owned() };
    let cloned = remote::clone::clone(context, &request, progress).await;
    let cloned = cloned.map_err(|error| error.to_string())?;
    let settings = context.remotes.settings();
    let is_pushed = settings.databases.get(&cloned.database.to_lowercase()).is_some_and(|of| of.push)
        || settings.discover.is_some()
        || remote::ledger::is_ledger(context, &cloned.database);
    let text = (!is_pushed).then(|| {
        format!("it is pushed nowhere; `branchline remote add {} URL` changes that", cloned.database)
    });
    let mut table = Table::new(["database", "url", "commits", "head", "replaced", "text"]);
    table.row([
        cloned.database.into(),
        cloned.url.to_string().into(),
        cloned.commits.into(),
        cloned.head.into(),
        cloned.replaced.into(),
        text.into(),
    ]);
    Ok((table, None))
}

pub(super) async fn verify(
    context: &Arc<Context>,
    databases: Vec<String>,
    remote: Option<String>,
    progress: &Progress,
) -> Result<Done, String> {
    let databases = wanted(context, databases, remote.as_deref()).await?;
    let mut table =
        Table::new(["database", "remote", "outcome", "here", "there", "missing", "extra", "took_ms", "text"]);
    let (mut failed, count) = (0, databases.len());
    for database in databases {
        match remote::verify::verify(context, &database, remote.as_deref(), progress).await {
            Ok(verified) => {
                failed += usize::from(!verified.is_whole());
                let outcome = if verified.is_whole() { "whole" } else { "commits are missing" };
                let text = verified.named.join("; ");
                table.row([
                    verified.database.into(),
                    verified.remote.into(),
                    outcome.into(),
                    verified.here.into(),
                    verified.there.into(),
                    verified.missing.into(),
                    verified.extra.into(),
                    (verified.took.as_millis() as u64).into(),
                    Some(text).filter(|text| !text.is_empty()).into(),
                ]);
            }
            Err(error) => {
                failed += 1;
                failed_row(&mut table, database, remote.clone(), error.to_string());
            }
        }
    }
    Ok((table, failure(failed, count, "whole at its remote")))
}

/// Database, remote, outcome; the last column says why.
fn failed_row(table: &mut Table, database: String, remote: Option<String>, why: String) {
    let mut row = vec![database.into(), remote.into(), "failed".into()];
    row.resize(table.columns.len() - 1, Cell::Null);
    row.push(why.into());
    table.rows.push(row);
}
