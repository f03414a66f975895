//! What the console shows of alerts and backups, as rows. Decides nothing: `observe::alerts` and `remote::backup` do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admin::Table;
use crate::observe::alerts::Alert;
use crate::remote::backup::{BackupRow, Good, Restored};
use crate::session::Context;

pub(super) fn alerts(alerts: Vec<Alert>) -> Table {
    let mut table = Table::new([
        "kind",
        "database",
        "remote",
        "since",
        "cleared",
        "text",
        "advice",
        "told",
        "told_cleared",
    ]);
    for alert in alerts {
        table.row([
            alert.kind.as_str().into(),
            alert.database.into(),
            alert.remote.into(),
            time(alert.since).into(),
            alert.cleared.map(time).into(),
            alert.text.into(),
            Some(alert.advice).filter(|advice| !advice.is_empty()).into(),
            alert.raised_told.into(),
            alert.cleared_told.into(),
        ]);
    }
    table
}

pub(super) fn backups(rows: Vec<BackupRow>) -> Table {
    let mut table = Table::new([
        "database", "at", "path", "bytes", "took_ms", "branches", "head", "next", "failures", "error",
    ]);
    for row in rows {
        let good = row.good.as_ref();
        table.row([
            row.database.into(),
            good.map(|good| time(good.at)).into(),
            good.map(|good| good.path.display().to_string()).into(),
            good.map(|good| good.bytes).into(),
            good.map(|good| good.took_ms).into(),
            good.map(|good| good.branches).into(),
            good.and_then(|good| good.head.clone()).into(),
            row.next.map(time).into(),
            row.failures.into(),
            row.error.into(),
        ]);
    }
    table
}

pub(super) fn backed_up(database: &str, good: &Good) -> Table {
    let mut table = Table::new(["database", "path", "bytes", "took_ms", "branches", "head"]);
    table.row([
        database.into(),
        good.path.display().to_string().into(),
        good.bytes.into(),
        good.took_ms.into(),
        good.branches.into(),
        good.head.clone().into(),
    ]);
    table
}

pub(super) fn restored(context: &Context, restored: Restored) -> Table {
    let settings = context.remotes.settings();
    let of = settings.databases.get(&restored.database.to_lowercase()).filter(|of| of.push);
    // It has no remote of its own, but settings go by the name.
    let text = of.and_then(|of| of.url.as_ref()).map(|url| {
        format!(
            "its main is pushed to {url}, and what is there and not here may come back: if you do not want that, `branchline \
             remote remove {0}`, or push = false in [remotes.{0}]",
            restored.database
        )
    });
    let mut table = Table::new(["database", "dir", "of", "made", "branches", "head", "old", "text"]);
    table.row([
        restored.database.into(),
        restored.dir.display().to_string().into(),
        restored.of.as_ref().map(|of| of.database.clone()).into(),
        restored.of.as_ref().map(|of| time(of.at)).into(),
        restored.branches.into(),
        restored.head.into(),
        restored.old.into(),
        text.into(),
    ]);
    table
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}
