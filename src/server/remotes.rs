//! What the console shows of remotes and does with them, as rows. Decides nothing: `remote` does.

use std::sync::Arc;

use async_trait::async_trait;

use super::console::LiveConsole;
use super::incoming;
use super::outside;
use crate::admin::{AddRemote, Outcome, Refusal, RemoteBackend, RemoteView, RemoteWork, Table};
use crate::observe::progress::Progress;
use crate::remote;
use crate::session::Context;

/// Rows, and why the job counts as failed, if it does.
pub(super) type Done = (Table, Option<String>);

#[async_trait]
impl RemoteBackend for LiveConsole {
    async fn start_remote(&self, work: RemoteWork, by: &str) -> Result<u32, Refusal> {
        let (context, who) = (Arc::clone(&self.context), by.to_owned());
        self.jobs.start(what(&work), by, move |progress| async move {
            let (table, failure) = run(&context, work, &who, &progress).await?;
            Ok(Outcome::Table { table, failure })
        })
    }

    async fn show_remote(&self, view: RemoteView) -> Result<Table, Refusal> {
        show(&self.context, view).await.map_err(Refusal::failed)
    }
}

/// As `SHOW JOBS` has it.
fn what(work: &RemoteWork) -> String {
    match work {
        RemoteWork::Add(AddRemote { database, url, .. }) => format!("push {database} to {url} from now on"),
        RemoteWork::Remove { database } => format!("push {database} no more"),
        RemoteWork::Backup { database, dir } => format!("back up {database} to {}", dir.display()),
        RemoteWork::Restore { dir, database, .. } => format!("restore {database} from {}", dir.display()),
        RemoteWork::Push { databases } if databases.is_empty() => "push every database".to_owned(),
        RemoteWork::Push { databases } => format!("push {}", databases.join(", ")),
        RemoteWork::Pull { databases, .. } if databases.is_empty() => "pull every database".to_owned(),
        RemoteWork::Pull { databases, .. } => format!("pull {}", databases.join(", ")),
        RemoteWork::Clone { url, database, .. } => format!("clone {url} as {database}"),
        RemoteWork::Verify { databases, .. } if databases.is_empty() => "verify every remote".to_owned(),
        RemoteWork::Verify { databases, .. } => format!("verify the remote of {}", databases.join(", ")),
        RemoteWork::Ledger(work) => super::ledger::what(work),
    }
}

async fn run(
    context: &Arc<Context>,
    work: RemoteWork,
    by: &str,
    progress: &Progress,
) -> Result<Done, String> {
    match work {
        RemoteWork::Add(request) => remote::add::add(context, request, by, progress).await.map(added),
        RemoteWork::Remove { database } => remote::add::remove(context, &database).await.map(removed),
        RemoteWork::Backup { database, dir } => {
            let good = remote::backup::make::make(context, &database, &dir, false, progress).await?;
            Ok((outside::backed_up(&database, &good), None))
        }
        RemoteWork::Restore { dir, database, replace } => {
            let work = remote::backup::restore::restore(context, &dir, &database, replace, by, progress);
            Ok((outside::restored(context, work.await?), None))
        }
        RemoteWork::Push { databases } => {
            Ok(pushed(remote::worker::push_all(context, databases, progress).await?))
        }
        RemoteWork::Pull { databases, remote } => {
            incoming::pull(context, databases, remote, by, progress).await
        }
        RemoteWork::Clone { url, database, replace } => {
            incoming::clone(context, url, database, replace, by, progress).await
        }
        RemoteWork::Verify { databases, remote } => {
            incoming::verify(context, databases, remote, progress).await
        }
        RemoteWork::Ledger(work) => super::ledger::run(context, work, progress).await,
    }
}

async fn show(context: &Arc<Context>, view: RemoteView) -> Result<Table, String> {
    match view {
        RemoteView::Remotes => Ok(remotes(remote::status::remotes(context).await)),
        RemoteView::Status { database } => {
            let rows = remote::status::status(context, database.as_deref()).await?;
            Ok(status(rows))
        }
        RemoteView::Ledgers { database } => super::ledger::show(context, database).await,
        RemoteView::Alerts { all } => Ok(outside::alerts(context.alerts.list(all))),
        RemoteView::Backups => Ok(outside::backups(remote::backup::rows(context).await?)),
        RemoteView::Pushes { database, limit } => {
            Ok(pushes(remote::status::pushes(context, &database, limit).await?))
        }
    }
}

fn added(added: remote::add::Added) -> Done {
    let mut table = Table::new(["database", "remote", "url", "found", "instead"]);
    table.row([
        added.database.into(),
        added.name.into(),
        added.url.to_string().into(),
        added.found.into(),
        added.instead.map(|url| url.to_string()).into(),
    ]);
    (table, None)
}

fn removed(removed: remote::add::Removed) -> Done {
    let mut table = Table::new(["database", "remote", "url", "now", "now_by"]);
    let (now, by) = removed.now.map(|(url, by)| (url.to_string(), by)).unzip();
    table.row([
        removed.database.into(),
        removed.name.into(),
        removed.url.to_string().into(),
        now.into(),
        by.into(),
    ]);
    (table, None)
}

fn pushed(all: Vec<(String, remote::outcome::Record)>) -> Done {
    let mut table =
        Table::new(["database", "outcome", "commits", "bytes", "took_ms", "head", "text", "advice"]);
    let (mut failed, count) = (0, all.len());
    for (database, record) in all {
        failed += usize::from(!record.outcome.is_well());
        let advice = Some(record.outcome.advice()).filter(|advice| !advice.is_empty());
        table.row([
            database.into(),
            record.outcome.as_str().into(),
            record.commits.into(),
            record.bytes.into(),
            record.took_ms.into(),
            record.head.into(),
            Some(record.text).filter(|text| !text.is_empty()).into(),
            advice.into(),
        ]);
    }
    let were = if failed == 1 { "was" } else { "were" };
    (table, (failed > 0).then(|| format!("{failed} of {count} databases {were} not pushed")))
}

fn remotes(rows: Vec<remote::status::RemoteRow>) -> Table {
    let mut table = Table::new(["database", "remote", "url", "use", "by"]);
    for row in rows {
        table.row([
            row.database.into(),
            row.name.into(),
            row.url.into(),
            row.purpose.into(),
            row.origin.into(),
        ]);
    }
    table
}

fn status(rows: Vec<remote::status::StatusRow>) -> Table {
    let mut table = Table::new([
        "database",
        "remote",
        "url",
        "state",
        "lag_commits",
        "lag_s",
        "outcome",
        "at",
        "failing_s",
        "next_s",
        "text",
        "advice",
    ]);
    for row in rows {
        table.row([
            row.database.into(),
            row.name.into(),
            row.url.into(),
            row.state.into(),
            row.lag_commits.into(),
            row.lag_s.into(),
            row.outcome.map(|outcome| outcome.as_str()).into(),
            row.at.into(),
            row.failing_s.into(),
            row.next_s.into(),
            row.text.into(),
            row.advice.into(),
        ]);
    }
    table
}

fn pushes(records: Vec<remote::outcome::Record>) -> Table {
    let mut table = Table::new(["at", "why", "outcome", "commits", "bytes", "took_ms", "head", "text"]);
    for record in records {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(record.at);
        table.row([
            at.into(),
            record.why.into(),
            record.outcome.as_str().into(),
            record.commits.into(),
            record.bytes.into(),
            record.took_ms.into(),
            record.head.into(),
            Some(record.text).filter(|text| !text.is_empty()).into(),
        ]);
    }
    table
}
