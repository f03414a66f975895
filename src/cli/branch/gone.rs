//! `branchline branch drop`, `branchline nuke`, `branchline branch undrop`.

use super::{ConsoleClient, Context, Failure, count, jobs, output, quote, short};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch drop beads polecat-nux
  branchline branch drop beads polecat-nux --force       also with what main doesn't have
  branchline branch undrop beads polecat-nux             within 7 days")]
pub struct DropArgs {
    /// Database
    db: String,
    /// Branch; one that is not there is no error
    name: String,
    /// Also with commits or rows that main doesn't have; they are kept as a tag
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch undrop beads polecat-nux")]
pub struct UndropArgs {
    /// Database
    db: String,
    /// Branch
    name: String,
}

pub fn drop_branch(context: &Context, args: &DropArgs) -> Result<(), Failure> {
    let force = if args.force { " FORCE" } else { "" };
    let sql = format!("BRANCH DROP {} {}{force}", quote(&args.db), quote(&args.name));
    let dropped = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&dropped.json()[0].to_string());
    }
    let get = |column| dropped.first(column);
    let (database, branch) = (get("database").unwrap_or(&args.db), get("branch").unwrap_or(&args.name));
    if get("was_there") == Some("no") {
        return output::line(&format!("{database} has no branch {branch}: nothing to do"));
    }
    output::line(&format!("dropped branch {branch} of {database}"))?;
    if let Some(tag) = get("tag") {
        let commits = get("unmerged_commits").and_then(|commits| commits.parse().ok()).unwrap_or(0);
        let commits = (commits > 0).then(|| count(commits, "commit"));
        let uncommitted = get("uncommitted_tables").map(|tables| format!("uncommitted rows of {tables}"));
        let what: Vec<String> = commits.into_iter().chain(uncommitted).collect();
        output::line(&format!(
            "what main doesn't have is kept as tag {tag} ({}); `branchline branch undrop {database} {branch}` \
             brings the branch back",
            what.join(" and ")
        ))?;
    }
    Ok(())
}

pub fn undrop(context: &Context, args: &UndropArgs) -> Result<(), Failure> {
    let sql = format!("BRANCH UNDROP {} {}", quote(&args.db), quote(&args.name));
    let back = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&back.json()[0].to_string());
    }
    let uncommitted = back.first("uncommitted_tables");
    let uncommitted =
        uncommitted.map(|tables| format!(", with uncommitted rows of {tables}")).unwrap_or_default();
    output::line(&format!(
        "branch {} of {} is back at {}{uncommitted}",
        back.first("branch").unwrap_or(&args.name),
        back.first("database").unwrap_or(&args.db),
        short(back.first("head").unwrap_or_default()),
    ))
}
