//! Owns the report: Markdown on stdout, raw numbers in a file.
//! Does not judge: `targets` does.
//! Always: what failed or was left out is printed, too.

use std::fmt::Write;

use crate::compare::Results;
use crate::idle::IdleResult;
use crate::lanes::{LaneCell, LaneResult, LaneRound};
use crate::sections::{Cell, SectionResult};
use crate::stats::{Spread, Summary, ratio};
use crate::targets::{self, Verdict};

/// More than this and the numbers are about the neighbours.
const FOREIGN_CPU_SHARE_MAX: f64 = 0.05;

/// The whole report.
pub fn markdown(results: &Results, verdicts: &[Verdict]) -> String {
    let mut parts = vec![machine(results)];
    if !results.idle.is_empty() {
        parts.push(idle(&results.idle));
    }
    parts.extend(results.sections.iter().map(section));
    parts.extend(results.lanes.iter().map(lanes));
    parts.push(targets(results, verdicts));
    parts.join("\n")
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = String::from("# Branchline end-to-end benchmark\n\n| machine | |\n|---|---|\n");
    for (name, value) in [
        ("CPU", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("memory", format!("{:.1} GiB", machine.memory_gib)),
        ("kernel", machine.kernel.clone()),
        ("Dolt", machine.dolt.clone()),
        ("HAProxy", machine.haproxy.clone()),
        ("rustc", machine.rustc.clone()),
        ("Branchline", machine.branchline.clone()),
        ("rounds", format!("{} of {} s per server", results.rounds, results.seconds_per_round)),
        ("load average before", machine.load_before.clone()),
        ("CPU used by others meanwhile", percent(results.foreign_cpu_share)),
        ("CPU stolen by the hypervisor", percent(results.stolen_cpu_share)),
    ] {
        line(&mut text, &[name.to_owned(), value]);
    }
    if results.foreign_cpu_share + results.stolen_cpu_share > FOREIGN_CPU_SHARE_MAX {
        text += "\n**The machine was not quiet: these numbers are not worth quoting.**\n";
    }
    if results.quick {
        text += "\n**A smoke test (`--quick`): these numbers are not worth quoting.**\n";
    }
    for remark in &results.remarks {
        text += &format!("\n- {remark}\n");
    }
    text
}

fn idle(list: &[IdleResult]) -> String {
    let mut text = heading("idle clients", list.iter().map(|idle| idle.column.as_str()));
    let mut row = |name: &str, value: &dyn Fn(&IdleResult) -> String| {
        let values = list.iter().map(value);
        line(&mut text, &std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>());
    };
    row("clients", &|idle| idle.clients.to_string());
    row("RSS without them, MiB", &|idle| mib(idle.before_kib));
    row("RSS with them, MiB", &|idle| mib(idle.after_kib));
    row("RSS per client, KiB", &|idle| number(idle.kib_per_client(), 1));
    for idle in list {
        if let Some(error) = &idle.error {
            text += &format!("\n- {}: {error}\n", idle.column);
        }
    }
    text
}

fn section(section: &SectionResult) -> String {
    let mut text = heading(&section.name, section.cells.iter().map(|cell| cell.column.as_str()));
    let mut row = |name: &str, value: &dyn Fn(&Cell) -> String| {
        let values = section.cells.iter().map(value);
        line(&mut text, &std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>());
    };
    if section.large {
        row("throughput, MiB/s (median of rounds)", &|cell| spread(targets::mib_per_second(cell), 0));
        row("proxy CPU, s per GiB", &|cell| {
            number(
                cell.cpu_seconds.zip(cell.total).map(|(seconds, total)| {
                    let gib = total.mib_per_second * seconds_measured(cell) / 1024.0;
                    ratio(seconds, gib)
                }),
                2,
            )
        });
    } else {
        row("median, µs", &|cell| number(cell.total.map(|total| total.p50_us), 1));
        row("mean, µs", &|cell| number(cell.total.map(|total| total.mean_us), 1));
        row("p95, µs", &|cell| number(cell.total.map(|total| total.p95_us), 1));
        row("p99, µs", &|cell| number(cell.total.map(|total| total.p99_us), 1));
        row("added median, µs (median of rounds)", &|cell| {
            if cell.column == "direct" {
                "–".to_owned()
            } else {
                spread(targets::added_us(section, cell), 1)
            }
        });
        row("operations per second", &|cell| number(cell.total.map(|total| total.per_second), 0));
        row("proxy CPU, µs per operation", &|cell| {
            number(
                cell.cpu_seconds
                    .zip(cell.total)
                    .map(|(seconds, total)| ratio(seconds * 1e6, total.count as f64)),
                1,
            )
        });
    }
    row("proxy CPU, s", &|cell| number(cell.cpu_seconds, 2));
    row("proxy peak RSS, MiB", &|cell| cell.peak_kib.map_or_else(|| "–".to_owned(), mib));
    for cell in &section.cells {
        if let Some(first) = cell.errors.first() {
            text +=
                &format!("\n- **{} failed in {} rounds**, first: {first}\n", cell.column, cell.errors.len());
        }
    }
    text
}

fn lanes(section: &LaneResult) -> String {
    let mut text = heading(&section.name, section.cells.iter().map(|cell| cell.column.as_str()));
    let mut row = |name: &str, value: &dyn Fn(&LaneCell) -> String| {
        let values = section.cells.iter().map(value);
        line(&mut text, &std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>());
    };
    let sum = |cell: &LaneCell, pick: &dyn Fn(&LaneRound) -> u64| -> u64 {
        cell.rounds.iter().flatten().map(pick).sum()
    };
    row("writes acknowledged", &|cell| sum(cell, &|round| round.acknowledged).to_string());
    row("writes that are there", &|cell| sum(cell, &|round| round.applied).to_string());
    row("errors", &|cell| {
        let mut errors = std::collections::BTreeMap::new();
        for (code, count) in cell.rounds.iter().flatten().flat_map(|round| &round.errors) {
            *errors.entry(code).or_insert(0) += count;
        }
        let errors: Vec<String> = errors.iter().map(|(code, count)| format!("{count} × {code}")).collect();
        if errors.is_empty() { "none".to_owned() } else { errors.join(", ") }
    });
    type Figure = (&'static str, fn(&LaneRound) -> Option<Summary>, fn(&Summary) -> f64);
    row("acknowledged at the first try", &|cell| {
        let acknowledged = sum(cell, &|round| round.acknowledged) as f64;
        let errors = sum(cell, &|round| round.errors.values().sum());
        percent(ratio(acknowledged, acknowledged + errors as f64))
    });
    let figures: [Figure; 5] = [
        ("writes acknowledged per second", |round| round.writes, |summary| summary.per_second),
        ("median of a write, ms", |round| round.writes, |summary| summary.p50_us / 1e3),
        ("p99 of a write, ms", |round| round.writes, |summary| summary.p99_us / 1e3),
        ("reads per second", |round| round.reads, |summary| summary.per_second),
        ("p99 of a read, ms", |round| round.reads, |summary| summary.p99_us / 1e3),
    ];
    for (name, what, pick) in figures {
        let values = |cell: &LaneCell| -> Vec<f64> {
            cell.rounds.iter().flatten().filter_map(|round| Some(pick(&what(round)?))).collect()
        };
        if section.cells.iter().any(|cell| !values(cell).is_empty()) {
            row(&format!("{name} (median of rounds)"), &|cell| spread(Spread::of(&values(cell)), 1));
        }
    }
    row("seconds of a round", &|cell| {
        let seconds: Vec<f64> = cell.rounds.iter().flatten().map(|round| round.seconds).collect();
        spread(Spread::of(&seconds), 2)
    });
    row("writes per second by direct's, paired", &|cell| {
        let rate = |round: &LaneRound| round.writes.map(|summary| summary.per_second);
        spread(targets::lane_ratio(section, &cell.column, rate), 2)
    });
    for cell in &section.cells {
        if let Some(first) = cell.broken.first() {
            text +=
                &format!("\n- **{} failed in {} rounds**, first: {first}\n", cell.column, cell.broken.len());
        }
    }
    text
}

fn targets(results: &Results, verdicts: &[Verdict]) -> String {
    let mut text = String::from("\n## Targets\n\n");
    if verdicts.is_empty() {
        text += "Nothing to judge: no section has numbers of both HAProxy and Branchline.\n";
    }
    for verdict in verdicts {
        text += &format!("- {} {}\n", if verdict.passed { "PASS" } else { "FALLS SHORT" }, verdict.text);
    }
    if targets::broken(results) {
        text += "\nSomething broke; see the sections above.\n";
    }
    text
}

/// All rounds' seconds of a large section, from its per-round figures.
fn seconds_measured(cell: &Cell) -> f64 {
    cell.rounds.iter().flatten().map(|round| ratio(round.count as f64, round.per_second)).sum()
}

fn heading<'a>(name: &str, columns: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut text = format!("\n## {name}\n\n");
    line(
        &mut text,
        &std::iter::once(String::new()).chain(columns.clone().map(str::to_owned)).collect::<Vec<_>>(),
    );
    text += "|---|";
    columns.for_each(|_| text += "---:|");
    text.push('\n');
    text
}

fn line(text: &mut String, cells: &[String]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn spread(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |spread| format!("{:.digits$} ({:.digits$} to {:.digits$})", spread.median, spread.low, spread.high),
    )
}

fn number(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.digits$}"))
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
