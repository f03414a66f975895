//! `branchline branch done`, `branchline done`.

use super::super::output::{ResultTable, printable};
use super::{ConsoleClient, Context, Failure, count, jobs, output, quote, short};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch done beads polecat-nux
  branchline branch done beads polecat-nux --wait 60      while its sessions end their transactions
  branchline branch done beads --all --pattern 'polecat-*'

Conflicts are resolved by the rules of the configuration; what they can't decide is told, nothing is changed,
and `branchline branch conflicts` and `branch resolve` help. Cut off at any point, run it again.")]
pub struct DoneArgs {
    /// Database
    db: String,
    /// Branch
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<String>,
    /// All branches, one after another; one failure doesn't stop the rest
    #[arg(long)]
    all: bool,
    /// Only branches that match
    #[arg(long, value_name = "GLOB", requires = "all")]
    pattern: Option<String>,
    /// Push main to its remote afterwards
    #[arg(long)]
    push: bool,
    /// Keep the branch
    #[arg(long)]
    keep: bool,
    /// How long to wait for open transactions on the branch, in seconds [default: 10]
    #[arg(long, value_name = "S")]
    wait: Option<u32>,
}

pub fn run(context: &Context, args: &DoneArgs) -> Result<(), Failure> {
    let mut sql = format!("BRANCH DONE {}", quote(&args.db));
    match &args.name {
        Some(name) => sql += &format!(" {}", quote(name)),
        None => sql += " ALL",
    }
    if let Some(pattern) = &args.pattern {
        sql += &format!(" PATTERN {}", quote(pattern));
    }
    for (given, keyword) in [(args.push, " PUSH"), (args.keep, " KEEP")] {
        if given {
            sql += keyword;
        }
    }
    if let Some(seconds) = args.wait {
        sql += &format!(" WAIT {seconds}");
    }
    let followed = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?;
    let Some(table) = &followed.table else { return followed.end() };
    if context.json {
        let json = table.json();
        output::line(&if args.all { json.to_string() } else { json[0].to_string() })?;
        return followed.end();
    }
    for row in &table.rows {
        output::line(&line(table, row))?;
        let message = table.cell(row, "message").filter(|_| !args.all);
        if let Some(message) = message {
            output::line(&indented(message))?;
        }
    }
    if args.all {
        let failed = table.rows.iter().filter(|row| table.cell(row, "error").is_some()).count();
        let done = table.rows.len() - failed;
        output::line(&format!("{} done, {failed} failed", count(done as u64, "branch")))?;
    }
    followed.end()
}

/// `polecat-nux: merged into main as 0123456789ab; 2 conflicts resolved`
fn line(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column);
    let branch = get("branch").unwrap_or_default();
    if let Some(error) = get("error") {
        return printable(&format!("{branch}: not finished: {error}"));
    }
    let main = get("main").unwrap_or("main");
    let as_commit = get("commit").map(|commit| format!(" as {}", short(commit))).unwrap_or_default();
    let mut parts = vec![match get("outcome") {
        Some("nothing to merge") => format!("nothing to bring to {main}"),
        Some("completed") => format!("was merged into {main}{as_commit} before, the rest is done now"),
        Some("already finished") => "was finished before".to_owned(),
        _ => format!("merged into {main}{as_commit}"),
    }];
    let number = |column| get(column).and_then(|text| text.parse::<u64>().ok()).filter(|number| *number > 0);
    if let Some(conflicts) = number("conflicts") {
        parts.push(format!("{} resolved", count(conflicts, "conflict")));
    }
    if let Some(rows) = number("ignored_rows") {
        parts.push(format!("{} of ignored tables carried home", count(rows, "row")));
    }
    if let Some(commit) = get("swept") {
        parts.push(format!("{main}'s own uncommitted rows had to be committed first, as {}", short(commit)));
    }
    if get("kept") == Some("yes") {
        parts.push("the branch is kept".to_owned());
    }
    if let Some(push) = get("pushed") {
        parts.push(format!("pushed: {push}"));
    }
    printable(&format!("{branch}: {}", parts.join("; ")))
}

fn indented(message: &str) -> String {
    let lines: Vec<String> = message.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
    printable(&lines.join("\n"))
}
