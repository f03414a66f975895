//! `branchline branch list`, `branchline branch reap`.

use std::cmp::Ordering;

use super::super::output::ResultTable;
use super::{ConsoleClient, Context, Failure, jobs, output, quote};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch list
  branchline branch list beads --sort ahead --reverse
  branchline branch list --json

Columns: database, branch, worker, age_s, last_write, ahead, behind, uncommitted, sessions, orphan")]
pub struct ListArgs {
    /// Database [default: all]
    db: Option<String>,
    /// Order by this column, lowest first
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Highest first
    #[arg(long)]
    reverse: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch reap --dry-run
  branchline branch reap beads")]
pub struct ReapArgs {
    /// Database [default: all]
    db: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub fn list(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let database = args.db.as_deref().map(|db| format!(" {}", quote(db))).unwrap_or_default();
    let mut branches = ConsoleClient::connect(context)?.query(&format!("SHOW BRANCHES{database}"))?;
    if let Some(column) = &args.sort {
        sort(&mut branches, column)?;
    }
    if args.reverse {
        branches.rows.reverse();
    }
    if context.json {
        return output::line(&branches.json().to_string());
    }
    let one_database = args.db.is_some();
    if let Some(at) = branches.columns.iter().position(|column| column == "age_s") {
        branches.columns[at] = "age".to_owned();
        for row in &mut branches.rows {
            row[at] = row[at].take().map(|seconds| seconds.parse().map(age).unwrap_or(seconds));
        }
    }
    let wanted: Vec<String> =
        branches.columns.iter().filter(|column| !(one_database && *column == "database")).cloned().collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    output::list(&branches.select(&wanted), false, "no branches but main")
}

pub fn reap(context: &Context, args: &ReapArgs) -> Result<(), Failure> {
    let database = args.db.as_deref().map(|db| format!(" {}", quote(db))).unwrap_or_default();
    let dry_run = if args.dry_run { " DRY RUN" } else { "" };
    let sql = format!("BRANCH REAP{database}{dry_run}");
    let followed = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?;
    if let Some(table) = &followed.table {
        output::list(table, context.json, "no branch whose worker is gone")?;
    }
    followed.end()
}

/// Numbers as numbers; what is not known comes last.
fn sort(table: &mut ResultTable, column: &str) -> Result<(), Failure> {
    let known = |name: &String| name.eq_ignore_ascii_case(column) || name.strip_suffix("_s") == Some(column);
    let Some(at) = table.columns.iter().position(known) else {
        return Err(Failure::Usage(format!(
            "no column {column:?} to sort by; there are: {}",
            table.columns.join(", ")
        )));
    };
    table.rows.sort_by(|a, b| match (&a[at], &b[at]) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
    });
    Ok(())
}

/// `45s`, `12m`, `3h05m`, `2d4h`
fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let all = [0, 59, 60, 3599, 3900, 86_400, 187_200].map(age);
        assert_eq!(all, ["0s", "59s", "1m", "59m", "1h05m", "1d0h", "2d4h"]);
    }

    #[test]
    fn numbers_sort_as_numbers_and_the_unknown_last() {
        let rows = [Some("10"), None, Some("9"), Some("0")];
        let mut table = ResultTable {
            columns: vec!["ahead".to_owned()],
            rows: rows.iter().map(|cell| vec![cell.map(str::to_owned)]).collect(),
            ..ResultTable::default()
        };
        sort(&mut table, "AHEAD").unwrap();
        let sorted: Vec<_> = table.rows.iter().map(|row| row[0].as_deref()).collect();
        assert_eq!(sorted, [Some("0"), Some("9"), Some("10"), None]);
        assert!(sort(&mut table, "behind").unwrap_err().to_string().contains("there are: ahead"));
    }
}
