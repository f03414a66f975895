//! `branchline lanes`.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::Context;
use super::client::ConsoleClient;
use super::failure::Failure;
use super::output::{self, ResultTable};

/// Time between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// What people see; programs get all columns.
const COLUMNS: [&str; 16] = [
    "lane",
    "state",
    "state_for_ms",
    "holder",
    "account",
    "program",
    "waiting",
    "longest_wait_ms",
    "grants",
    "waits",
    "wait_max_ms",
    "reruns",
    "conflicts",
    "sweeps_per_minute",
    "timeouts",
    "statement",
];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline lanes                    who holds which branch, who waits
  branchline lanes --watch            the same every second, until Ctrl-C
  branchline lanes --all --json")]
pub struct LanesArgs {
    /// Also lanes that nobody has used within the last minute
    #[arg(long)]
    all: bool,
    /// Look again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub fn run(context: &Context, args: &LanesArgs) -> Result<(), Failure> {
    let mut console = ConsoleClient::connect(context)?;
    loop {
        let lanes = console.query(if args.all { "SHOW LANES ALL" } else { "SHOW LANES" })?;
        let totals = console.query("SHOW LANE TOTALS")?;
        if context.json {
            output::line(&json(&lanes, &totals).to_string())?;
        } else {
            // To the upper left and clear: only where somebody watches.
            let clear = if args.watch && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
            output::line(&format!("{clear}{}", text(&lanes, &totals)))?;
        }
        if !args.watch {
            return Ok(());
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn json(lanes: &ResultTable, totals: &ResultTable) -> Json {
    let total =
        |row: &Vec<Option<String>>| Some((row[0].clone()?, output::json_value(row[1].as_deref(), true)));
    let totals: Map<_, _> = totals.rows.iter().filter_map(total).collect();
    json!({"lanes": lanes.json(), "totals": totals})
}

fn text(lanes: &ResultTable, totals: &ResultTable) -> String {
    let count = |row: &Vec<Option<String>>| match (&row[0], &row[1]) {
        (Some(name), Some(count)) if count != "0" => Some(format!("{name} {count}")),
        _ => None,
    };
    let totals: Vec<String> = totals.rows.iter().filter_map(count).collect();
    let totals = if totals.is_empty() { "nothing yet".to_owned() } else { totals.join(", ") };
    let lanes = if lanes.rows.is_empty() {
        "no lane is held or waited for, and none was used within the last minute".to_owned()
    } else {
        lanes.select(&COLUMNS).plain()
    };
    format!("{lanes}\n\nall lanes since the start: {totals}")
}
