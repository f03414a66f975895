//! What the console shows of public ledgers and does with them, as rows. Decides nothing: `remote::ledger` does.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::remotes::Done;
use crate::admin::{LedgerWork, Table};
use crate::observe::progress::Progress;
use crate::remote::ledger::{self, How, LedgerStatus, Published, Rule, verify};
use crate::session::Context;

/// As `SHOW JOBS` has it.
pub(super) fn what(work: &LedgerWork) -> String {
    match work {
        LedgerWork::Publish { databases, .. } if databases.is_empty() => "publish every ledger".to_owned(),
        LedgerWork::Publish { databases, .. } => format!("publish the ledger of {}", databases.join(", ")),
        LedgerWork::Verify { database: None } => "verify every ledger".to_owned(),
        LedgerWork::Verify { database: Some(database) } => format!("verify the ledger of {database}"),
        LedgerWork::Withdraw { database, table, .. } => {
            format!("withdraw a row of {table} from the ledger of {database}")
        }
        LedgerWork::Rebuild { database } => format!("begin the ledger of {database} anew"),
    }
}

pub(super) async fn run(
    context: &Arc<Context>,
    work: LedgerWork,
    progress: &Progress,
) -> Result<Done, String> {
    match work {
        LedgerWork::Publish { databases, init, discard, moved } => {
            publish(context, databases, How { init, discard, moved }, progress).await
        }
        LedgerWork::Verify { database } => verified(context, database, progress).await,
        LedgerWork::Withdraw { database, table, key } => {
            let rule = rule(context, &database)?;
            let done = ledger::withdraw(context, rule, &table, &key, progress).await;
            let done = done.map_err(|error| error.to_string())?;
            let mut rows = Table::new(["database", "table", "key", "head", "note"]);
            rows.row([
                done.published.database.into(),
                done.table.into(),
                done.key.join(", ").into(),
                done.published.head.into(),
                ledger::STAYS_IN_HISTORY.into(),
            ]);
            Ok((rows, None))
        }
        LedgerWork::Rebuild { database } => {
            let rebuilt = ledger::rebuild(context, rule(context, &database)?, progress).await;
            let mut table = publish_table();
            published(&mut table, &rebuilt.map_err(|error| error.to_string())?);
            Ok((table, None))
        }
    }
}

fn rule(context: &Context, database: &str) -> Result<Rule, String> {
    ledger::rule_of(context, database).map_err(|error| error.to_string())
}

/// Those of these databases, or all.
fn rules(context: &Context, databases: &[String]) -> Result<Vec<Rule>, String> {
    let rules: Vec<Rule> = match databases {
        [] => ledger::all(context),
        named => named.iter().map(|database| rule(context, database)).collect::<Result<_, _>>()?,
    };
    match rules.is_empty() {
        true => {
            Err("no database has a ledger; [remotes.DB.ledger] in branchline.toml gives it one".to_owned())
        }
        false => Ok(rules),
    }
}

fn publish_table() -> Table {
    Table::new(["database", "outcome", "rows", "commits", "source", "head", "text"])
}

fn published(table: &mut Table, published: &Published) {
    let rows: Vec<String> = published.rows.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    table.row([
        published.database.as_str().into(),
        if published.pushed > 0 { "published" } else { "up to date" }.into(),
        rows.join(", ").into(),
        published.pushed.into(),
        published.source.as_str().into(),
        published.head.as_str().into(),
        crate::admin::Cell::Null,
    ]);
}

async fn publish(
    context: &Arc<Context>,
    databases: Vec<String>,
    how: How,
    progress: &Progress,
) -> Result<Done, String> {
    let rules = rules(context, &databases)?;
    let (mut table, mut failed, count) = (publish_table(), 0, rules.len());
    for rule in rules {
        let database = rule.database.clone();
        match ledger::publish(context, rule, how, progress).await {
            Ok(done) => published(&mut table, &done),
            Err(error) => {
                failed += 1;
                let null = || crate::admin::Cell::Null;
                let text = error.to_string();
                table.row([database.into(), "failed".into(), null(), null(), null(), null(), text.into()]);
            }
        }
    }
    let were = if failed == 1 { "was" } else { "were" };
    Ok((table, (failed > 0).then(|| format!("{failed} of {count} ledgers {were} not published"))))
}

async fn verified(
    context: &Arc<Context>,
    database: Option<String>,
    progress: &Progress,
) -> Result<Done, String> {
    let named: Vec<String> = database.into_iter().collect();
    let mut table = Table::new([
        "database",
        "outcome",
        "commits",
        "not_comparable",
        "chunks",
        "bytes",
        "texts",
        "head",
        "text",
    ]);
    let (mut failed, rules) = (0, rules(context, &named)?);
    let count = rules.len();
    for rule in rules {
        let database = rule.database.clone();
        let verified = verify::verify(context, rule, progress).await;
        let (seen, problems) = match verified {
            Ok(verified) => {
                let problems = verified.problems.join("; ");
                (Some(verified), problems)
            }
            Err(error) => (None, error.to_string()),
        };
        failed += usize::from(!problems.is_empty());
        table.row([
            database.into(),
            if problems.is_empty() { "verified" } else { "failed" }.into(),
            seen.as_ref().map(|seen| seen.commits as u64).into(),
            seen.as_ref().map(|seen| seen.not_comparable as u64).into(),
            seen.as_ref().map(|seen| seen.chunks as u64).into(),
            seen.as_ref().map(|seen| seen.bytes).into(),
            seen.as_ref().map(|seen| seen.texts as u64).into(),
            seen.map(|seen| seen.head).into(),
            Some(problems).filter(|problems| !problems.is_empty()).into(),
        ]);
    }
    let were = if failed == 1 { "was" } else { "were" };
    Ok((table, (failed > 0).then(|| format!("{failed} of {count} ledgers {were} not verified"))))
}

pub(super) async fn show(context: &Arc<Context>, database: Option<String>) -> Result<Table, String> {
    let mut table = Table::new([
        "database",
        "ledger",
        "remote",
        "rows",
        "withdrawn",
        "source",
        "lag_commits",
        "unpushed",
        "pushed_at",
        "text",
    ]);
    let rules: Vec<Rule> = match database {
        Some(database) => vec![rule(context, &database)?],
        None => ledger::all(context),
    };
    for rule in rules {
        let seen = ledger::status(context, &rule).await;
        let LedgerStatus { rows, withdrawn, source, lag, unpushed, pushed_at, failure, .. } = match seen {
            Ok(status) => status,
            Err(error) => LedgerStatus::failed(&rule, error.to_string()),
        };
        let rows: Vec<String> = rows.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        table.row([
            rule.database.clone().into(),
            rule.ledger.clone().into(),
            rule.config.remote.to_string().into(),
            rows.join(", ").into(),
            withdrawn.into(),
            source.into(),
            lag.into(),
            unpushed.into(),
            pushed_at.map(|at| UNIX_EPOCH + Duration::from_secs(at)).into(),
            failure.into(),
        ]);
    }
    Ok(table)
}
