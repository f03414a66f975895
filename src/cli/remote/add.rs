//! `branchline remote add`, `branchline remote remove`.

use super::{ConsoleClient, Context, Failure, jobs, output, quote};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline remote add beads git@example.org:town/beads.git
  branchline remote add hq file:///srv/git/hq.git --init      makes a first branch in an empty repository

Taken are git+ssh://, git+https://, git+file://, git+http:// to this machine, ssh://, https://, file:///, user@host:path.
Everything is checked first: that the repository can be reached and read without a question on a terminal, that it has a
branch, and that no other database's data is in it. The first push follows at once. Nothing is ever forced, and no other
branch than main is pushed.")]
pub struct AddArgs {
    /// Database
    db: String,
    /// The git repository
    url: String,
    /// What the remote is called
    #[arg(long, default_value = "origin")]
    name: String,
    /// Make a first branch with an empty commit if the repository has none
    #[arg(long)]
    init: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline remote remove beads")]
pub struct RemoveArgs {
    /// Database
    db: String,
}

pub fn add(context: &Context, args: &AddArgs) -> Result<(), Failure> {
    let init = if args.init { " INIT" } else { "" };
    let sql = format!("REMOTE ADD {} {} NAME {}{init}", quote(&args.db), quote(&args.url), quote(&args.name));
    let added = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&added.json()[0].to_string());
    }
    let get = |column| added.first(column).unwrap_or_default();
    output::line(&format!(
        "main of {} is pushed to {} from now on, as {}",
        get("database"),
        get("url"),
        get("remote")
    ))?;
    if let Some(instead) = added.first("instead") {
        output::line(&format!("and no more to {instead}"))?;
    }
    output::line(&format!("there now: {}", get("found")))
}

pub fn remove(context: &Context, args: &RemoveArgs) -> Result<(), Failure> {
    let sql = format!("REMOTE REMOVE {}", quote(&args.db));
    let removed = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&removed.json()[0].to_string());
    }
    let get = |column| removed.first(column).unwrap_or_default();
    let (database, url) = (get("database"), get("url"));
    match removed.first("now") {
        Some(now) => output::line(&format!(
            "{database} is pushed to {now} now, as {} says, and not by what was added ({url})",
            get("now_by")
        )),
        None => output::line(&format!("{database} is pushed to {url} no more; what is there stays")),
    }
}
