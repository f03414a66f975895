//! Owns the judgement: which targets of the project the numbers reach.
//! Does not measure or print.
//! Always: compares round by round, and says when a difference is not clear of the noise.

use crate::compare::Results;
use crate::idle::IdleResult;
use crate::sections::{Cell, SectionResult, Target};
use crate::stats::{Spread, Summary, paired};

/// Large results: at least this share of HAProxy's throughput.
const THROUGHPUT_SHARE_MIN: f64 = 0.95;
/// Idle clients: at most this much memory each.
const IDLE_KIB_MAX: f64 = 40.0;

/// One target's judgement.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub passed: bool,
    pub text: String,
}

/// Judges all sections that have both proxies' numbers.
pub fn judge(results: &Results) -> Vec<Verdict> {
    let sections = results.sections.iter().filter_map(|section| match section.target {
        Target::AddedLatency => added_latency(section),
        Target::Throughput => throughput(section),
        Target::None => None,
    });
    let idle = results.idle.iter().filter(|idle| idle.column == "branchline").filter_map(idle_memory);
    sections.chain(idle).collect()
}

/// Whether anything broke, as opposed to being slow.
pub fn broken(results: &Results) -> bool {
    results.sections.iter().flat_map(|section| &section.cells).any(|cell| !cell.errors.is_empty())
        || results.idle.iter().any(|idle| idle.error.is_some())
}

/// Median latency added to direct's, over the rounds.
pub fn added_us(section: &SectionResult, cell: &Cell) -> Option<Spread> {
    let direct = column(section, "direct")?;
    Spread::of(&paired(&medians(cell), &medians(direct), |ours, theirs| ours - theirs))
}

/// MiB/s over the rounds.
pub fn mib_per_second(cell: &Cell) -> Option<Spread> {
    let values: Vec<f64> = throughputs(cell).into_iter().flatten().collect();
    Spread::of(&values)
}

fn added_latency(section: &SectionResult) -> Option<Verdict> {
    let (haproxy, branchline) = (column(section, "haproxy")?, column(section, "branchline")?);
    let (theirs, ours) = (added_us(section, haproxy)?, added_us(section, branchline)?);
    let difference =
        Spread::of(&paired(&medians(branchline), &medians(haproxy), |ours, theirs| ours - theirs))?;
    let means = Spread::of(&paired(
        &figures(branchline, |summary| summary.mean_us),
        &figures(haproxy, |summary| summary.mean_us),
        |ours, theirs| ours - theirs,
    ))?;
    let noise = if difference.straddles_zero() { ", not clear of the noise" } else { "" };
    Some(Verdict {
        passed: difference.median <= 0.0,
        text: format!(
            "{}: {:+.1} µs added, HAProxy {:+.1} µs (difference {:+.1} µs, middle half of rounds {:+.1} to {:+.1}{noise}; mean {:+.1} µs)",
            section.name,
            ours.median,
            theirs.median,
            difference.median,
            difference.low,
            difference.high,
            means.median
        ),
    })
}

fn throughput(section: &SectionResult) -> Option<Verdict> {
    let (haproxy, branchline) = (column(section, "haproxy")?, column(section, "branchline")?);
    let share =
        Spread::of(&paired(&throughputs(branchline), &throughputs(haproxy), |ours, theirs| ours / theirs))?;
    Some(Verdict {
        passed: share.median >= THROUGHPUT_SHARE_MIN,
        text: format!(
            "{}: {:.2} of HAProxy's throughput, wanted {THROUGHPUT_SHARE_MIN} (middle half of rounds {:.2} to {:.2})",
            section.name, share.median, share.low, share.high
        ),
    })
}

fn idle_memory(idle: &IdleResult) -> Option<Verdict> {
    let kib = idle.kib_per_client()?;
    Some(Verdict {
        passed: kib <= IDLE_KIB_MAX,
        text: format!("{} idle clients: {kib:.1} KiB each, wanted at most {IDLE_KIB_MAX} KiB", idle.clients),
    })
}

fn column<'a>(section: &'a SectionResult, name: &str) -> Option<&'a Cell> {
    section.cells.iter().find(|cell| cell.column == name)
}

fn medians(cell: &Cell) -> Vec<Option<f64>> {
    figures(cell, |summary| summary.p50_us)
}

fn throughputs(cell: &Cell) -> Vec<Option<f64>> {
    figures(cell, |summary| summary.mib_per_second)
}

fn figures(cell: &Cell, pick: impl Fn(&Summary) -> f64) -> Vec<Option<f64>> {
    cell.rounds.iter().map(|round| round.as_ref().map(&pick)).collect()
}
