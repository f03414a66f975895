//! `SHOW LANES`, `SHOW LANE TOTALS`.

use std::time::Duration;

use super::Handled;
use crate::admin::answer::{Answer, Cell, Table};
use crate::admin::backend::{Backend, LaneRow, LaneTotals};
use crate::admin::tokens::Tokens;
use crate::admit::Counters;
use crate::observe::bypass::Bypassed;
use crate::observe::{redact, time};

/// Of a statement, in a table.
const STATEMENT_CHARS_MAX: usize = 80;

pub fn handle(tokens: &mut Tokens, backend: &dyn Backend) -> Handled {
    if tokens.take_words(&["SHOW", "LANES"]) {
        let all = tokens.take_words(&["ALL"]);
        let lanes = || backend.lanes().lanes.into_iter().filter(|lane| all || lane.is_active);
        return Some(tokens.end("SHOW LANES [ALL]").map(|()| Answer::Rows(rows(lanes()))));
    }
    if tokens.take_words(&["SHOW", "LANE", "TOTALS"]) {
        let totals = || Answer::Rows(total_rows(&backend.lanes().totals));
        return Some(tokens.end("SHOW LANE TOTALS").map(|()| totals()));
    }
    None
}

/// `beads was written without Branchline: noticed 3 times, last at 2026-11-23T15:04:05Z`
pub fn bypass_text(bypass: &Bypassed) -> String {
    let Bypassed { database, count, last } = bypass;
    let times = if *count == 1 { "once" } else { &format!("{count} times") };
    format!("{database} was written without Branchline: noticed {times}, last at {}", time::utc(*last))
}

fn rows(lanes: impl Iterator<Item = LaneRow>) -> Table {
    let now =
        ["lane", "state", "state_for_ms", "holder", "account", "program", "held_ms", "statement", "lent_by"];
    let mut table = Table::new(now);
    table.columns.extend(["waiting", "longest_wait_ms"].map(str::to_owned));
    table.columns.extend(counts(&Counters::default(), 0).map(|(name, _)| name.to_owned()));
    for lane in lanes {
        let holder = lane.holder.as_ref();
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let statement = holder.map(|holder| redact::cut(&holder.statement, STATEMENT_CHARS_MAX));
        let lent_by: Vec<String> = lane.lent_by.iter().map(u32::to_string).collect();
        let mut row: Vec<Cell> = vec![
            lane.lane.into(),
            lane.state.into(),
            holder.map(|holder| millis(holder.state_for)).into(),
            holder.map(|holder| holder.client_id).into(),
            holder.and_then(|holder| text(&holder.account)).into(),
            holder.and_then(|holder| text(&holder.program)).into(),
            holder.map(|holder| millis(holder.held_for)).into(),
            statement.filter(|text| !text.is_empty()).into(),
            text(&lent_by.join(", ")).into(),
            lane.waiting.into(),
            lane.longest_wait.map(millis).into(),
        ];
        row.extend(counts(&lane.counters, lane.sweeps_per_minute).map(|(_, count)| Cell::from(count)));
        table.rows.push(row);
    }
    table
}

/// Every row a number.
fn total_rows(totals: &LaneTotals) -> Table {
    let mut table = Table::new(["name", "value"]);
    table.row(["held".into(), totals.held.into()]);
    table.row(["waiting".into(), totals.waiting.into()]);
    for (name, count) in counts(&totals.counters, totals.sweeps_per_minute) {
        table.row([name.into(), count.into()]);
    }
    for each in &totals.causes {
        let name = format!("{}.{}", each.outcome.as_str(), each.cause.as_str());
        table.row([name.into(), each.count.into()]);
    }
    table
}

/// The columns of a lane's counts, which are rows of the totals.
fn counts(counters: &Counters, sweeps_per_minute: u32) -> [(&'static str, u64); 16] {
    [
        ("grants", counters.grants),
        ("waits", counters.waits),
        ("wait_total_ms", millis(counters.wait_total)),
        ("wait_max_ms", millis(counters.wait_max)),
        ("lent_idle", counters.lent_idle),
        ("lent_same_process", counters.lent_same_process),
        ("keeps", counters.keeps),
        ("keeps_taken_over", counters.keeps_taken_over),
        ("yields", counters.yields),
        ("reruns", counters.reruns),
        ("conflicts", counters.conflicts),
        ("retries", counters.retries),
        ("sweeps", counters.sweeps),
        ("sweeps_per_minute", sweeps_per_minute.into()),
        ("timeouts", counters.timeouts),
        ("bypasses", counters.bypasses),
    ]
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
