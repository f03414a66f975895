//! `branchline clone`, `branchline remote verify`

use super::super::output::{ResultTable, printable};
use super::{ConsoleClient, Context, Failure, jobs, names, output};
use crate::config::rule::quote;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline clone git@example.org:town/beads.git beads
  branchline clone git@example.org:town/beads.git beads --replace

Clients see the new database whole or not at all. With --replace the old one is kept, with all its branches and rows, as
DB_replaced_TIME; `DROP DATABASE` removes it when nobody wants it any more. Dolt is stopped for a moment for that, and clients
wait.")]
pub struct CloneArgs {
    /// The git repository that holds the database
    url: String,
    /// What it is called here
    db: String,
    /// A database of that name is kept under another, and the clone takes its place
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline remote verify                every database that has a remote
  branchline remote verify beads

Clones the remote anew, where no client sees it, and compares every commit of main with it. Exits with 1 if the remote lacks
any: `branchline push` brings there what was committed since the last push.")]
pub struct VerifyArgs {
    /// Databases [default: all that have a remote]
    db: Vec<String>,
    /// This remote [default: the one that main is pushed to]
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,
}

pub fn clone(context: &Context, args: &CloneArgs) -> Result<(), Failure> {
    let replace = if args.replace { " REPLACE" } else { "" };
    let sql = format!("CLONE {} AS {}{replace}", quote(&args.url), quote(&args.db));
    let table = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&table.json().to_string());
    }
    let row = &table.rows[0];
    let get = |column| table.cell(row, column).unwrap_or_default();
    let commits = if get("commits") == "1" { "commit" } else { "commits" };
    output::line(&printable(&format!(
        "{} has {} {commits} of {}, main is at {}",
        get("database"),
        get("commits"),
        get("url"),
        get("head")
    )))?;
    if !get("replaced").is_empty() {
        output::line(&printable(&format!("the old one is kept as {}", get("replaced"))))?;
    }
    if !get("text").is_empty() {
        output::line(&printable(get("text")))?;
    }
    Ok(())
}

pub fn verify(context: &Context, args: &VerifyArgs) -> Result<(), Failure> {
    let from = args.remote.as_deref().map(|name| format!(" FROM {}", quote(name))).unwrap_or_default();
    let sql = format!("REMOTE VERIFY{}{from}", names(&args.db));
    jobs::line_by_line(context, &sql, line)
}

fn line(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column).unwrap_or_default();
    let (database, remote) = (get("database"), get("remote"));
    let told = match get("outcome") {
        "whole" => {
            let extra = match get("extra") {
                "0" => String::new(),
                extra => format!("; it has {extra} more, which `branchline pull` brings here"),
            };
            format!("{remote} has all {} commits of main{extra}", get("here"))
        }
        "failed" => "could not be compared".to_owned(),
        _ => format!("{remote} lacks {} of {} commits of main", get("missing"), get("here")),
    };
    let mut told = printable(&format!("{database}: {told}"));
    for part in get("text").split("; ").filter(|part| !part.is_empty()) {
        told.push_str(&format!("\n  {}", printable(part)));
    }
    told
}
