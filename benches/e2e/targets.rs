//! Owns the judgement: which targets of the project the numbers reach.
//! Does not measure or print.
//! Always: compares round by round, and says when a difference is not clear of the noise.

use crate::compare::Results;
use crate::idle::IdleResult;
use crate::lanes::{LaneCell, LaneResult, LaneRound, LaneTarget};
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
    let lanes = results.lanes.iter().flat_map(lane_verdicts);
    sections.chain(idle).chain(lanes).collect()
}

/// Whether anything broke, as opposed to being slow.
pub fn broken(results: &Results) -> bool {
    results.sections.iter().flat_map(|section| &section.cells).any(|cell| !cell.errors.is_empty())
        || results.idle.iter().any(|idle| idle.error.is_some())
        || results.lanes.iter().flat_map(|section| &section.cells).any(|cell| !cell.broken.is_empty())
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

/// A figure of a column's by direct's, round by round.
pub fn lane_ratio(
    section: &LaneResult,
    column: &str,
    pick: impl Fn(&LaneRound) -> Option<f64>,
) -> Option<Spread> {
    let figures = |cell: &LaneCell| -> Vec<Option<f64>> {
        cell.rounds.iter().map(|round| round.as_ref().and_then(&pick)).collect()
    };
    let find = |name: &str| section.cells.iter().find(|cell| cell.column == name);
    let (ours, theirs) = (find(column)?, find("direct")?);
    Spread::of(&paired(&figures(ours), &figures(theirs), |ours, theirs| ours / theirs))
}

fn lane_verdicts(section: &LaneResult) -> Vec<Verdict> {
    section.targets.iter().filter_map(|target| lane_verdict(section, *target)).collect()
}

fn lane_verdict(section: &LaneResult, target: LaneTarget) -> Option<Verdict> {
    let rate = |round: &LaneRound| round.writes.map(|summary| summary.per_second);
    let p99 = |round: &LaneRound| round.writes.map(|summary| summary.p99_us);
    let reads = |round: &LaneRound| round.reads.map(|summary| summary.per_second);
    let (what, ratio, limit, is_minimum) = match target {
        LaneTarget::Rate(limit) => {
            ("writes acknowledged per second", lane_ratio(section, "branchline", rate)?, limit, true)
        }
        LaneTarget::P99(limit) => ("p99 of a write", lane_ratio(section, "branchline", p99)?, limit, false),
        LaneTarget::Reads(limit) => {
            ("reads per second", lane_ratio(section, "branchline", reads)?, limit, true)
        }
        LaneTarget::Exact => return exact(section),
    };
    let passed = if is_minimum { ratio.median >= limit } else { ratio.median <= limit };
    let bound = if is_minimum { "least" } else { "most" };
    let noise = if ratio.low <= limit && limit <= ratio.high { ", not clear of the noise" } else { "" };
    Some(Verdict {
        passed,
        text: format!(
            "{}: {what} {:.2} of direct's, wanted at {bound} {limit} (middle half of rounds {:.2} to {:.2}{noise})",
            section.name, ratio.median, ratio.low, ratio.high
        ),
    })
}

fn exact(section: &LaneResult) -> Option<Verdict> {
    let cell = section.cells.iter().find(|cell| cell.column == "branchline")?;
    let rounds = || cell.rounds.iter().flatten();
    let (acknowledged, applied) =
        rounds().fold((0, 0), |sum, round| (sum.0 + round.acknowledged, sum.1 + round.applied));
    let errors: u64 = rounds().flat_map(|round| round.errors.values()).sum();
    Some(Verdict {
        passed: acknowledged == applied && errors == 0,
        text: format!(
            "{}: {applied} of {acknowledged} acknowledged writes are there, {errors} errors",
            section.name
        ),
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
