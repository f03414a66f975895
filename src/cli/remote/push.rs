//! `branchline push`

use super::super::output::{ResultTable, printable};
use super::{Context, Failure, jobs, names};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline push                 every database that has a remote
  branchline push beads hq

Waits until each is pushed and seen at its remote, and exits with 1 if any was not. Branchline pushes by itself after each
commit on main: this is for when you want to wait for it, or not for the next try.")]
pub struct PushArgs {
    /// Databases [default: all that have a remote]
    db: Vec<String>,
}

pub fn run(context: &Context, args: &PushArgs) -> Result<(), Failure> {
    let sql = format!("PUSH{}", names(&args.db));
    jobs::line_by_line(context, &sql, line)
}

/// `beads: pushed 3 commits (18422 bytes) in 0.4 s`
fn line(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column);
    let database = get("database").unwrap_or_default();
    let outcome = get("outcome").unwrap_or_default();
    let told = match outcome {
        "pushed" => {
            let commits = match get("commits") {
                Some("1") => "1 commit".to_owned(),
                Some(commits) => format!("{commits} commits"),
                None => "main".to_owned(),
            };
            let bytes = get("bytes").map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
            let milliseconds: u64 = get("took_ms").and_then(|took| took.parse().ok()).unwrap_or(0);
            format!("pushed {commits}{bytes} in {:.1} s", milliseconds as f64 / 1000.0)
        }
        "up to date" => "up to date".to_owned(),
        _ => {
            let text = get("text").map(|text| format!(": {text}")).unwrap_or_default();
            let advice = get("advice").map(|advice| format!("\n  {advice}")).unwrap_or_default();
            format!("not pushed: {outcome}{text}{advice}")
        }
    };
    told.lines().map(printable).enumerate().fold(String::new(), |all, (at, line)| match at {
        0 => format!("{database}: {line}"),
        _ => format!("{all}\n{line}"),
    })
}
