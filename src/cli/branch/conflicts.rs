//! `branchline branch conflicts`, `branchline branch resolve`.

use std::collections::HashSet;

use super::super::output::{ResultTable, printable};
use super::{ConsoleClient, Context, Failure, count, jobs, output, quote};

/// Of a value: four of them, the column's name and what is between fit on 100 columns.
const VALUE_WIDTH: usize = 18;
const COLUMN_WIDTH: usize = 17;
/// Where a rule's words are continued.
const WHY_WIDTH: usize = 94;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline branch conflicts beads polecat-nux
  branchline branch conflicts beads polecat-nux --table issues --json

Nothing is changed: the merge is tried and rolled back.")]
pub struct ConflictsArgs {
    /// Database
    db: String,
    /// Branch
    name: String,
    /// This table only
    #[arg(long, value_name = "T")]
    table: Option<String>,
    /// At most so many conflicted rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("choice").required(true).multiple(true).args(["ours", "theirs", "set", "set_null"]),
    after_help = "\
Examples:
  branchline branch resolve beads polecat-nux --table issues --key bd-7 --theirs
  branchline branch resolve beads polecat-nux --table issues --key bd-7 --set status=closed
  branchline branch resolve beads polecat-nux --table deps --key issue=bd-7 --key on=bd-9 --ours
  branchline branch done beads polecat-nux")]
pub struct ResolveArgs {
    /// Database
    db: String,
    /// Branch
    name: String,
    /// Table
    #[arg(long, value_name = "T")]
    table: String,
    /// Value of the primary key; of one with several columns, COLUMN=VALUE for each
    #[arg(long, value_name = "K", required = true)]
    key: Vec<String>,
    /// Take main's row
    #[arg(long, conflicts_with_all = ["theirs", "set", "set_null"])]
    ours: bool,
    /// Take the branch's row
    #[arg(long, conflicts_with_all = ["set", "set_null"])]
    theirs: bool,
    /// Set this cell; may be repeated, the others are up to the rules
    #[arg(long, value_name = "COL=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Set this cell to NULL; may be repeated
    #[arg(long, value_name = "COL")]
    set_null: Vec<String>,
}

pub fn show(context: &Context, args: &ConflictsArgs) -> Result<(), Failure> {
    let mut sql = format!("BRANCH CONFLICTS {} {}", quote(&args.db), quote(&args.name));
    if let Some(table) = &args.table {
        sql += &format!(" TABLE {}", quote(table));
    }
    sql += &format!(" LIMIT {}", args.limit);
    let followed = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?;
    let Some(table) = &followed.table else { return followed.end() };
    if context.json {
        output::line(&table.json().to_string())?;
        return followed.end();
    }
    if table.rows.is_empty() {
        match &args.table {
            Some(table) => eprintln!("no conflicts in table {}", printable(table)),
            None => eprintln!("no conflicts: {} can be finished", printable(&args.name)),
        }
        return followed.end();
    }
    let (text, conflicts, undecided) = side_by_side(table);
    output::line(&text)?;
    let to_do = match undecided {
        0 => "the rules decide all of them".to_owned(),
        _ => format!(
            "{undecided} to be decided: `branchline branch resolve {} {} --table T --key K …`",
            args.db, args.name
        ),
    };
    output::line(&format!("{}, {to_do}", count(conflicts, "conflict")))?;
    if conflicts >= u64::from(args.limit) {
        eprintln!("the first {}; --limit shows more, --table one table", args.limit);
    }
    followed.end()
}

pub fn resolve(context: &Context, args: &ResolveArgs) -> Result<(), Failure> {
    let mut sql =
        format!("BRANCH RESOLVE {} {} TABLE {} KEY ", quote(&args.db), quote(&args.name), quote(&args.table));
    sql += &key(&args.key)?;
    if args.ours {
        sql += " OURS";
    } else if args.theirs {
        sql += " THEIRS";
    } else {
        let set = args.set.iter().map(|(column, value)| format!("{} = {}", quote(column), quote(value)));
        let nulls = args.set_null.iter().map(|column| format!("{} = NULL", quote(column)));
        sql += &format!(" SET {}", set.chain(nulls).collect::<Vec<_>>().join(", "));
    }
    let answer = jobs::run_job(&mut ConsoleClient::connect(context)?, &sql)?.row()?;
    if context.json {
        return output::line(&answer.json()[0].to_string());
    }
    output::line(&printable(answer.first("decided").unwrap_or_default()))
}

/// One value, whatever it holds; or `column=value` for each column.
fn key(keys: &[String]) -> Result<String, Failure> {
    if let [one] = keys {
        return Ok(quote(one));
    }
    let pairs = keys.iter().map(|text| match assignment(text) {
        Ok((column, value)) => Ok(format!("{} = {}", quote(&column), quote(&value))),
        Err(_) => Err(Failure::Usage(format!(
            "a key of several columns is --key COLUMN=VALUE for each; this is {text:?}"
        ))),
    });
    Ok(pairs.collect::<Result<Vec<_>, _>>()?.join(", "))
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        _ => Err("wanted COL=VALUE".to_owned()),
    }
}

/// A block per conflicted row; how many there are, and how many of them are to be decided.
fn side_by_side(table: &ResultTable) -> (String, u64, u64) {
    let mut text = String::new();
    let (mut conflicts, mut undecided) = (0, 0);
    let mut current = None;
    let mut is_open = false;
    let place = |row| (table.cell(row, "table"), table.cell(row, "key"));
    let open = |row: &&Vec<Option<String>>| table.cell(row, "undecided") == Some("yes");
    let open: HashSet<_> = table.rows.iter().filter(open).map(|row| place(row)).collect();
    for row in &table.rows {
        let get = |column| table.cell(row, column);
        let place = place(row);
        if current != Some(place) {
            current = Some(place);
            (conflicts, is_open) = (conflicts + 1, false);
            let key = get("key").map(|key| format!("  {key}")).unwrap_or_default();
            text += &format!(
                "{}{}\n",
                if conflicts > 1 { "\n" } else { "" },
                printable(&format!("{}{key}", get("table").unwrap_or_default()))
            );
            if get("column").is_some() {
                text += &line(["COLUMN", "BASE", "MAIN", "BRANCH", "RESULT"]);
            }
        }
        if get("undecided") == Some("yes") && !is_open {
            (undecided, is_open) = (undecided + 1, true);
        }
        if let Some(column) = get("column") {
            let value = |column| get(column).unwrap_or("NULL");
            // The rules' result is made once all of the row is decided.
            let result = match (get("undecided"), open.contains(&place)) {
                (Some("yes"), _) => "?",
                (_, true) => "",
                (_, false) => value("result"),
            };
            text += &line([column, value("base"), value("main"), value("branch"), result]);
        }
        for part in wrapped(get("why").unwrap_or_default()) {
            text += &format!("    {part}\n");
        }
    }
    (text, conflicts, undecided)
}

fn line(cells: [&str; 5]) -> String {
    let width = |at| if at == 0 { COLUMN_WIDTH } else { VALUE_WIDTH };
    let padded: Vec<String> = cells.iter().enumerate().map(|(at, cell)| fit(cell, width(at))).collect();
    format!("  {}\n", padded.join("  ").trim_end())
}

/// Exactly so many characters, on one line.
fn fit(text: &str, width: usize) -> String {
    let text = printable(text).replace('\n', "⏎").replace('\t', " ");
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// In lines of at most `WHY_WIDTH`, broken at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in printable(text).split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WHY_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_versions_fit_on_100_columns() {
        let columns = ["table", "key", "column", "base", "main", "branch", "result", "why", "undecided"];
        let row =
            |cells: [&str; 9]| cells.map(|cell| Some(cell.to_owned()).filter(|cell| cell != "NULL")).to_vec();
        let long = "x".repeat(300);
        let table = ResultTable {
            columns: columns.map(str::to_owned).to_vec(),
            rows: vec![
                row([
                    "issues",
                    "id=bd-7",
                    "status",
                    "open",
                    "hooked",
                    "closed",
                    "closed",
                    "newest updated_at",
                    "no",
                ]),
                row(["issues", "id=bd-7", "title", &long, "a\nb", &long, "NULL", "equal times", "yes"]),
                row(["issues", "id=bd-8", "title", "NULL", "a", "b", "NULL", "equal times", "yes"]),
                row([
                    "k",
                    "NULL",
                    "NULL",
                    "NULL",
                    "NULL",
                    "NULL",
                    "NULL",
                    "a keyless table: decide by hand",
                    "yes",
                ]),
            ],
            ..ResultTable::default()
        };
        let (text, conflicts, undecided) = side_by_side(&table);
        assert_eq!((conflicts, undecided), (3, 3));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let status = text.lines().find(|line| line.trim_start().starts_with("status")).unwrap();
        let cells: Vec<&str> = status.split_whitespace().collect();
        // What the rules make of it is said once all of the row is decided.
        assert_eq!(cells, ["status", "open", "hooked", "closed"]);
        assert!(text.contains("a⏎b") && text.contains("a keyless table"), "{text}");
    }

    #[test]
    fn keys() {
        let of = |keys: &[&str]| key(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["it's=x"]).unwrap(), "'it''s=x'");
        assert_eq!(of(&["a=1", "b=x=y"]).unwrap(), "'a' = '1', 'b' = 'x=y'");
        assert!(matches!(of(&["a=1", "2"]), Err(Failure::Usage(_))));
    }
}
