//! `branchline branch log`, `branchline branch diff`.

use serde_json::json;

use super::super::output::{ResultTable, printable};
use super::{ConsoleClient, Context, Failure, count, output, quote, short};

/// Of a value in a line for people.
const VALUE_CHARS_MAX: usize = 60;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch log beads polecat-nux
  branchline branch log beads polecat-nux -n 5 --json")]
pub struct LogArgs {
    /// Database
    db: String,
    /// Branch
    name: String,
    /// At most so many commits
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    number: u32,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch diff beads polecat-nux
  branchline branch diff beads polecat-nux --stat
  branchline branch diff beads polecat-nux --table issues --limit 1000

Compared are the branch, with its uncommitted rows, and the commit at which it left main; what main got since then
is no part of it.")]
pub struct DiffArgs {
    /// Database
    db: String,
    /// Branch
    name: String,
    /// This table only
    #[arg(long, value_name = "T")]
    table: Option<String>,
    /// Only count
    #[arg(long)]
    stat: bool,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

pub fn log(context: &Context, args: &LogArgs) -> Result<(), Failure> {
    let sql = format!("SHOW BRANCH LOG {} {} LIMIT {}", quote(&args.db), quote(&args.name), args.number);
    let entries = ConsoleClient::connect(context)?.query(&sql)?;
    if context.json {
        return output::line(&entries.json().to_string());
    }
    for row in &entries.rows {
        output::line(&entry(&entries, row))?;
    }
    Ok(())
}

fn entry(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column).unwrap_or_default();
    let message = get("message");
    let at_most = get("date").split('.').next().unwrap_or_default();
    let text = match get("kind") {
        "uncommitted" => format!("uncommitted   rows of {message}"),
        "fork" => {
            format!("forked        {at_most}  {message} by {} at {}", get("author"), short(get("commit")))
        }
        kind => {
            let first = message.lines().next().unwrap_or_default();
            let mark = if kind == "fork point" { "  (main has it too)" } else { "" };
            format!("{:<12}  {at_most}  {}  {first}{mark}", short(get("commit")), get("author"))
        }
    };
    printable(&text)
}

pub fn diff(context: &Context, args: &DiffArgs) -> Result<(), Failure> {
    let mut client = ConsoleClient::connect(context)?;
    let mut sql = format!("SHOW BRANCH DIFF {} {}", quote(&args.db), quote(&args.name));
    if let Some(table) = &args.table {
        sql += &format!(" TABLE {}", quote(table));
    }
    let stat = client.query(&format!("{sql} STAT"))?;
    let cells = match args.stat {
        true => ResultTable::default(),
        false => client.query(&format!("{sql} LIMIT {}", args.limit))?,
    };
    if context.json {
        let json =
            if args.stat { stat.json() } else { json!({"tables": stat.json(), "cells": cells.json()}) };
        return output::line(&json.to_string());
    }
    if stat.rows.is_empty() {
        let what = args.table.as_deref().map(|table| format!(" of {table}")).unwrap_or_default();
        eprintln!("{} has nothing{what} that main lacks", args.name);
        return Ok(());
    }
    let mut shown = 0;
    for row in &stat.rows {
        let name = stat.cell(row, "table").unwrap_or_default();
        output::line(&printable(&heading(&stat, row)))?;
        if args.stat {
            continue;
        }
        let lines = rows(&cells, name);
        shown += lines.len();
        for line in lines {
            output::line(&printable(&format!("  {line}")))?;
        }
    }
    if shown >= args.limit as usize {
        eprintln!("the first {}; --limit shows more, --table one table", count(shown as u64, "row"));
    }
    Ok(())
}

/// `issues: 1 added, 2 modified`, then changes of the schema.
fn heading(table: &ResultTable, row: &[Option<String>]) -> String {
    let get = |column| table.cell(row, column);
    let mut parts = Vec::new();
    match get("change") {
        Some("added") => parts.push("new table".to_owned()),
        Some("dropped" | "removed") => parts.push("table dropped".to_owned()),
        Some("renamed") => parts.push("table renamed".to_owned()),
        _ => {}
    }
    for column in ["added", "modified", "removed"] {
        match get(column) {
            Some("0") => {}
            Some(number) => parts.push(format!("{number} {column}")),
            None => {}
        }
    }
    if get("added").is_none() && get("problem").is_none() {
        parts.push("rows not counted: it has no primary key, or another one".to_owned());
    }
    if get("ignored") == Some("yes") {
        parts.push("ignored by Dolt, carried by Branchline".to_owned());
    }
    if let Some(problem) = get("problem") {
        parts.push(format!("can't be compared: {problem}"));
    }
    let mut text = format!("{}: {}", get("table").unwrap_or_default(), parts.join(", "));
    for statement in get("schema").unwrap_or_default().lines() {
        text += &format!("\n  {statement}");
    }
    text
}

/// A line per row of one table: `~ id=7  status: open → closed`.
fn rows(cells: &ResultTable, table: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut current = None;
    for row in cells.rows.iter().filter(|row| cells.cell(row, "table") == Some(table)) {
        let get = |column| cells.cell(row, column);
        let change = get("change").unwrap_or_default();
        if current != get("row") {
            current = get("row");
            let mark = match change {
                "added" => '+',
                "removed" => '-',
                _ => '~',
            };
            lines.push(format!("{mark} {}", cut(get("key").unwrap_or("(no key)"))));
        }
        let (Some(column), Some(line)) = (get("column"), lines.last_mut()) else { continue };
        let value = |column| get(column).map_or_else(|| "NULL".to_owned(), cut);
        *line += &match change {
            "added" => format!("  {column}={}", value("after")),
            "removed" => format!("  {column}={}", value("before")),
            _ => format!("  {column}: {} → {}", value("before"), value("after")),
        };
    }
    lines
}

/// On one line.
fn cut(text: &str) -> String {
    let text = text.replace('\n', "⏎");
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_per_row() {
        let row =
            |cells: [&str; 7]| cells.map(|cell| Some(cell.to_owned()).filter(|cell| cell != "NULL")).to_vec();
        let cells = ResultTable {
            columns: ["table", "row", "change", "key", "column", "before", "after"]
                .map(str::to_owned)
                .to_vec(),
            rows: vec![
                row(["issues", "1", "modified", "id=7", "status", "open", "closed"]),
                row(["issues", "1", "modified", "id=7", "title", "NULL", "a\nb"]),
                row(["issues", "2", "added", "id=8", "status", "NULL", "open"]),
                row(["issues", "3", "removed", "id=9", "NULL", "NULL", "NULL"]),
                row(["other", "4", "added", "NULL", "a", "NULL", "1"]),
            ],
            ..ResultTable::default()
        };
        let want = ["~ id=7  status: open → closed  title: NULL → a⏎b", "+ id=8  status=open", "- id=9"];
        assert_eq!(rows(&cells, "issues"), want);
        assert_eq!(rows(&cells, "other"), ["+ (no key)  a=1"]);
    }
}
