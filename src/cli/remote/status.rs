//! `branchline remote list`, `branchline remote status`, `branchline remote log`.

use super::{ConsoleClient, Context, Failure, output, quote};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline remote status
  branchline remote status beads --json

Columns: database, remote, url, state, lag_commits, lag_s, outcome, at, failing_s, next_s, text, advice")]
pub struct StatusArgs {
    /// Database [default: all]
    db: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline remote log beads -n 20")]
pub struct LogArgs {
    /// Database
    db: String,
    /// How many, 100 at most
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    limit: u32,
}

pub fn remotes(context: &Context) -> Result<(), Failure> {
    let table = ConsoleClient::connect(context)?.query("SHOW REMOTES")?;
    output::list(&table, context.json, "no remotes; `branchline remote add DB URL` gives a database one")
}

pub fn status(context: &Context, args: &StatusArgs) -> Result<(), Failure> {
    let database = args.db.as_deref().map(|db| format!(" {}", quote(db))).unwrap_or_default();
    let table = ConsoleClient::connect(context)?.query(&format!("SHOW REMOTE STATUS{database}"))?;
    if context.json {
        return output::line(&table.json().to_string());
    }
    let short =
        ["database", "remote", "state", "lag_commits", "lag_s", "outcome", "at", "failing_s", "next_s"];
    output::list(
        &table.select(&short),
        false,
        "nothing is pushed; `branchline remote add DB URL` gives a database a remote",
    )?;
    for row in &table.rows {
        let get = |column| table.cell(row, column);
        if let (Some(database), Some(text)) = (get("database"), get("text")) {
            output::line(&output::printable(&format!("{database}: {text}")))?;
            if let Some(advice) = get("advice") {
                output::line(&output::printable(&format!("  {advice}")))?;
            }
        }
    }
    Ok(())
}

pub fn log(context: &Context, args: &LogArgs) -> Result<(), Failure> {
    let sql = format!("SHOW PUSHES {} LIMIT {}", quote(&args.db), args.limit);
    let table = ConsoleClient::connect(context)?.query(&sql)?;
    output::list(&table, context.json, "no push yet")
}
