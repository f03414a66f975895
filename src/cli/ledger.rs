//! `branchline ledger …`: what of a database is public.

use super::client::ConsoleClient;
use super::failure::Failure;
use super::output::{ResultTable, printable};
use super::{Context, jobs, output};
use crate::config::rule::quote;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// What each ledger holds, how far it is behind main, when it was pushed
    Status(StatusArgs),
    /// Bring ledgers up to main's last commit now, and push them
    Publish(PublishArgs),
    /// Clone the public remote and check everything that is in it
    Verify(VerifyArgs),
    /// Take a published row back from now on; the public history keeps it
    Withdraw(WithdrawArgs),
    /// Begin a ledger anew, in an empty repository
    Rebuild(RebuildArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline ledger status
  branchline ledger status beads --json

Columns: database, ledger, remote, rows, withdrawn, source, lag_commits, unpushed, pushed_at, text")]
pub struct StatusArgs {
    /// Database [default: all that have a ledger]
    db: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline ledger publish
  branchline ledger publish beads --init     makes a first branch in an empty repository
  branchline ledger publish beads --move     after `remote` was changed: brings all of its history there

Branchline publishes by itself after commits on main: this is for when you want to wait for it.")]
pub struct PublishArgs {
    /// Databases [default: all that have a ledger]
    db: Vec<String>,
    /// Make a first branch with an empty commit if the repository has none
    #[arg(long)]
    init: bool,
    /// Take back uncommitted changes that somebody made in the ledger's database
    #[arg(long)]
    discard: bool,
    /// Bring all of its history to another `remote` than before, also what was withdrawn since
    #[arg(long = "move")]
    moved: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline ledger verify beads

Checks every row of every commit against the source, that no excluded column is there, and that no text or JSON string of a row
that is not published, nor of an excluded column, is anywhere in the clone, byte by byte.")]
pub struct VerifyArgs {
    /// Database [default: all that have a ledger]
    db: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline ledger withdraw beads issues bd-17

The row is not published again. Earlier commits of the ledger, and every clone of them, keep it: what was public can't be
called back.")]
pub struct WithdrawArgs {
    /// Database
    db: String,
    /// Table
    table: String,
    /// Values of the primary key, in its order
    #[arg(required = true)]
    key: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline ledger rebuild beads

For when `where`, `tables` or `columns_excluded` changed so that the public history holds what should not be seen. Set `remote`
in [remotes.DB.ledger] to an empty repository first; the old one stays as it is until you take it away.")]
pub struct RebuildArgs {
    /// Database
    db: String,
}

pub fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Status(args) => status(context, args),
        Command::Publish(args) => publish(context, args),
        Command::Verify(args) => verify(context, args),
        Command::Withdraw(args) => withdraw(context, args),
        Command::Rebuild(args) => {
            followed(context, &format!("LEDGER REBUILD {}", quote(&args.db)), published_line)
        }
    }
}

fn status(context: &Context, args: &StatusArgs) -> Result<(), Failure> {
    let database = args.db.as_deref().map(|db| format!(" {}", quote(db))).unwrap_or_default();
    let table = ConsoleClient::connect(context)?.query(&format!("SHOW LEDGERS{database}"))?;
    if context.json {
        return output::line(&table.json().to_string());
    }
    let short = ["database", "remote", "rows", "withdrawn", "lag_commits", "unpushed", "pushed_at"];
    output::list(
        &table.select(&short),
        false,
        "no ledgers; [remotes.DB.ledger] in branchline.toml makes one",
    )?;
    for row in &table.rows {
        if let (Some(database), Some(text)) = (table.cell(row, "database"), table.cell(row, "text")) {
            output::line(&printable(&format!("{database}: {text}")))?;
        }
    }
    Ok(())
}

fn publish(context: &Context, args: &PublishArgs) -> Result<(), Failure> {
    let names: Vec<String> = args.db.iter().map(|name| quote(name)).collect();
    let init = if args.init { " INIT" } else { "" };
    let discard = if args.discard { " DISCARD" } else { "" };
    let moved = if args.moved { " MOVE" } else { "" };
    let sql = format!("LEDGER PUBLISH{init}{discard}{moved} {}", names.join(", "));
    followed(context, sql.trim_end(), published_line)
}

fn verify(context: &Context, args: &VerifyArgs) -> Result<(), Failure> {
    let database = args.db.as_deref().map(|db| format!(" {}", quote(db))).unwrap_or_default();
    followed(context, &format!("LEDGER VERIFY{database}"), |table, row| {
        let get = |column| table.cell(row, column).unwrap_or("?");
        let database = get("database");
        let gone = match get("not_comparable") {
            "0" | "?" => String::new(),
            count => format!(
                " ({count} more can't be compared: main's commits that they are of are not there any more)"
            ),
        };
        match table.cell(row, "text") {
            None => format!(
                "{database}: verified {} commits{gone}, {} chunks ({} bytes); {} texts that are not public were looked for, none found",
                get("commits"),
                get("chunks"),
                get("bytes"),
                get("texts")
            ),
            Some(text) => format!("{database}: not verified: {text}"),
        }
    })
}

fn withdraw(context: &Context, args: &WithdrawArgs) -> Result<(), Failure> {
    let key: Vec<String> = args.key.iter().map(|value| quote(value)).collect();
    let sql = format!("LEDGER WITHDRAW {} {} KEY {}", quote(&args.db), quote(&args.table), key.join(", "));
    followed(context, &sql, |table, row| {
        let get = |column| table.cell(row, column).unwrap_or_default();
        format!("{}: withdrew {} of {}; {}", get("database"), get("key"), get("table"), get("note"))
    })
}

/// `beads: published issues: 3 (1 commit)`
fn published_line(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column).unwrap_or_default();
    let database = get("database");
    match get("outcome") {
        "published" if get("rows").is_empty() => format!("{database}: pushed, commits: {}", get("commits")),
        "published" => format!("{database}: published {}; commits pushed: {}", get("rows"), get("commits")),
        "up to date" => format!("{database}: up to date"),
        _ => format!("{database}: {}", get("text")),
    }
}

fn followed(
    context: &Context,
    sql: &str,
    line: impl Fn(&ResultTable, &[Option<String>]) -> String,
) -> Result<(), Failure> {
    jobs::line_by_line(context, sql, |table, row| printable(&line(table, row)))
}
