//! `branchline branch main-table`.

use super::{ConsoleClient, Context, Failure, count, jobs, output, quote};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  branchline branch main-table add beads config
  branchline branch main-table add beads 'shared_%'
  branchline branch main-table list beads

Every session reads and writes main's rows of such a table, whatever branch it is on; they are in main's commits.
Limits, which are Dolt's: a transaction on a branch that writes such a table and another one is refused with 1105
\"Cannot commit changes on more than one branch / database\"; foreign keys to it are checked on the branch.")]
pub enum Command {
    /// Make a table main's on every branch there is and will be
    Add(TableArgs),
    /// Give every branch its own again
    Remove(TableArgs),
    /// Which tables are main's
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// Database
    db: String,
    /// Table, or a pattern with % or * for any characters and ? for one
    table: String,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Database
    db: String,
}

pub fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let mut client = ConsoleClient::connect(context)?;
    let (args, verb) = match command {
        Command::List(args) => {
            let tables = client.query(&format!("SHOW MAIN TABLES {}", quote(&args.db)))?;
            return output::list(&tables, context.json, "every table is each branch's own");
        }
        Command::Add(args) => (args, "ADD"),
        Command::Remove(args) => (args, "REMOVE"),
    };
    let sql = format!("MAIN TABLE {verb} {} {}", quote(&args.db), quote(&args.table));
    let followed = jobs::run_job(&mut client, &sql)?;
    let Some(changes) = &followed.table else { return followed.end() };
    if context.json {
        output::line(&changes.json().to_string())?;
        return followed.end();
    }
    let adds = verb == "ADD";
    let of = |outcome| {
        changes.rows.iter().filter(|row| changes.cell(row, "outcome") == Some(outcome)).count() as u64
    };
    let (changed, already) = (of("changed"), of("already so"));
    let table = output::printable(&args.table);
    let so = if adds { "always main's" } else { "each branch's own again" };
    let before = if already > 0 { format!(" ({} before)", count(already, "branch")) } else { String::new() };
    output::line(&format!("{table} is {so}: changed on {}{before}", count(changed, "branch")))?;
    for row in &changes.rows {
        let branch = changes.cell(row, "branch").unwrap_or_default();
        if let Some(error) = changes.cell(row, "error") {
            output::line(&format!("  {branch}: not changed: {error}"))?;
        }
        if let Some(tables) = changes.cell(row, "own_rows_in") {
            output::line(&format!("  {branch}: has other rows of its own in {tables}"))?;
        }
    }
    output::line(if adds {
        "Rows that a branch has of its own are hidden while this holds; finishing the branch merges them into main's, \
         and `main-table remove` shows them again.\n\
         A transaction on a branch that writes such a table and another one is refused by Dolt with 1105 \
         \"Cannot commit changes on more than one branch / database\": write them in two transactions."
    } else {
        "Each branch sees its own rows again: those it was forked with, and its own writes from before."
    })?;
    followed.end()
}
