//! Owns the settings of a branch's end: how long a finish waits, what happens to orphans, how long what was dropped
//! is kept. Does not decide about branches: `branch` does.

use std::time::Duration;

use super::Glob;
use super::problem::Problem;
use super::raw::Written;

/// How branches end.
#[derive(Debug, Clone)]
pub struct BranchesConfig {
    /// How long a finish or drop waits for sessions that have something open on the branch.
    pub finish_wait: Duration,
    /// Whether orphans are looked for at all.
    pub reap: bool,
    /// Only branches of these names are ever reaped.
    pub reap_pattern: Glob,
    /// A branch is an orphan if nobody was on it and nothing was written to it for so long.
    pub orphan_after: Duration,
    /// What happens to an orphan that has something that main has not.
    pub orphans: Orphans,
    /// How long a dropped branch can be had back.
    pub dropped_keep: Duration,
    /// How long a finished or dropped branch is known as such.
    pub tombstone_keep: Duration,
}

/// What happens to an orphan that has something that main has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orphans {
    /// Somebody is told, once.
    #[default]
    Alert,
    /// It is finished.
    Finish,
}

impl Orphans {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Finish => "finish",
        }
    }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Default for BranchesConfig {
    fn default() -> Self {
        Self {
            finish_wait: Duration::from_secs(10),
            reap: true,
            reap_pattern: Glob::new("polecat-*"),
            orphan_after: Duration::from_secs(24 * HOUR),
            orphans: Orphans::default(),
            dropped_keep: Duration::from_secs(7 * DAY),
            tombstone_keep: Duration::from_secs(30 * DAY),
        }
    }
}

/// Hours of a time, for people.
pub fn hours(time: Duration) -> u64 {
    time.as_secs() / HOUR
}

/// Days of a time, for people.
pub fn days(time: Duration) -> u64 {
    time.as_secs() / DAY
}

pub(super) fn from_hours(hours: u64) -> Duration {
    Duration::from_secs(hours * HOUR)
}

pub(super) fn from_days(days: u64) -> Duration {
    Duration::from_secs(days * DAY)
}

/// Checks `branches.orphans`.
pub(super) fn orphans(written: &Written<String>, problems: &mut Vec<Problem>) -> Orphans {
    match written.value.as_str() {
        "alert" => Orphans::Alert,
        "finish" => Orphans::Finish,
        other => {
            problems.push(Problem {
                origin: written.origin.clone(),
                key: "branches.orphans".to_owned(),
                what: format!("is {other:?}"),
                allowed: "\"alert\", \"finish\"".to_owned(),
            });
            Orphans::default()
        }
    }
}
