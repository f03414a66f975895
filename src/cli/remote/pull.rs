//! `branchline pull`

use super::super::output::{ResultTable, printable};
use super::{Context, Failure, jobs, names};
use crate::config::rule::quote;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline pull                           every database, from the remote that it is pushed to
  branchline pull beads --remote alice      a peer's: into main, or into its branch peer/alice/main

What the remote's main has comes into main: main is moved forward, or the two are merged and conflicts decided by the
rules of [merge]. Rows that nobody has Dolt-committed stay as they are. What no rule decides changes nothing, and the
command says how to decide it. Exits with 1 if any database was not pulled.")]
pub struct PullArgs {
    /// Databases [default: all that have a remote]
    db: Vec<String>,
    /// From this remote [default: the one that main is pushed to]
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,
}

pub fn run(context: &Context, args: &PullArgs) -> Result<(), Failure> {
    let from = args.remote.as_deref().map(|name| format!(" FROM {}", quote(name))).unwrap_or_default();
    let sql = format!("PULL{}{from}", names(&args.db));
    jobs::line_by_line(context, &sql, line)
}

/// `beads: merged 3 commits of origin/main, 1 conflict resolved: issues (1 conflict resolved)`
fn line(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column).unwrap_or_default();
    let (remote, branch) = (get("remote"), get("branch"));
    let count = |column, one: &str| match get(column) {
        "1" => format!("1 {one}"),
        number => format!("{number} {one}s"),
    };
    let head = get("head").get(..8).unwrap_or_default();
    let told = match (get("outcome"), get("commits")) {
        ("up to date", "") => format!("{branch} has all of {remote}/main"),
        ("up to date", _) => format!("up to date with {remote}/main"),
        ("fetched", _) => format!("{branch} is at {head} now"),
        ("fast-forward", _) => {
            format!("{} of {remote}/main, moved forward to {head}", count("commits", "commit"))
        }
        ("merged", _) => format!(
            "{} of {remote}/main merged as {head}, {} resolved: {}",
            count("commits", "commit"),
            count("conflicts", "conflict"),
            get("merged")
        ),
        (_, _) => "not pulled".to_owned(),
    };
    let mut told = format!("{}: {}", get("database"), printable(&told));
    if !get("text").is_empty() {
        told.push_str(&format!("\n  {}", printable(get("text"))));
    }
    told
}
