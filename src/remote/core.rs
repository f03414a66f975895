//! Owns when which database is pushed. The core: no tokio, no I/O; it takes events and a given `now`.
//! Does not push and does not know what a push is. Always: at most one at a time per database and per repository, and
//! what was committed is due until a push after it has ended well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A database that is being garbage-collected or merged is looked at again after so long.
const HELD_AGAIN: Duration = Duration::from_secs(1);

/// The times it runs by; `config::RemotesConfig` has their meanings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// After the last commit.
    pub quiet: Duration,
    /// After the first commit.
    pub quiet_max: Duration,
    /// Between two looks.
    pub heartbeat: Duration,
    /// After the first failure.
    pub backoff_min: Duration,
    /// After many failures.
    pub backoff_max: Duration,
    /// At once.
    pub running_max: usize,
}

/// What is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// In lower case.
    pub database: String,
    /// The same for two databases with the same repository.
    pub repository: String,
    /// Whether a heartbeat pushes what no commit has announced.
    pub heartbeat: bool,
    /// Changes with anything that somebody configured: then it is tried at once.
    pub configured: u64,
}

/// Why a push was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody asked for it.
    Asked,
    /// Something was committed.
    Commit,
    /// After a failure.
    Retry,
    /// It was time to look.
    Heartbeat,
}

impl Why {
    /// `asked`, `commit`, `retry`, `heartbeat`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Commit => "commit",
            Self::Retry => "retry",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// The schedule.
#[derive(Debug)]
pub struct Core {
    times: Times,
    lines: BTreeMap<String, State>,
}

#[derive(Debug)]
struct State {
    line: Line,
    /// First and last commit that no push has begun after.
    marked: Option<(Instant, Instant)>,
    asked: bool,
    running: bool,
    /// Configured anew while its push runs, which tells nothing of the new configuration.
    outdated: bool,
    /// Not configured any more; goes when its push has ended.
    removed: bool,
    /// When a push last ended well.
    checked: Option<Instant>,
    failures: u32,
    /// After a failure, or while held.
    not_before: Option<Instant>,
    held_until: Option<Instant>,
}

impl State {
    fn new(line: Line) -> Self {
        Self {
            line,
            marked: None,
            asked: false,
            running: false,
            outdated: false,
            removed: false,
            checked: None,
            failures: 0,
            not_before: None,
            held_until: None,
        }
    }

    fn due(&self, times: &Times, now: Instant) -> Option<(Instant, Why)> {
        if self.running || self.removed {
            return None;
        }
        let mut due = if self.asked {
            (now, Why::Asked)
        } else {
            let commit = self.marked.map(|(first, last)| (last + times.quiet).min(first + times.quiet_max));
            // The first look tells what was committed before we were there.
            let heartbeat = match self.checked {
                None => Some(now),
                Some(checked) => self.line.heartbeat.then(|| checked + times.heartbeat),
            };
            match (self.not_before, commit, heartbeat) {
                (Some(retry), ..) => (retry, Why::Retry),
                (None, Some(commit), Some(heartbeat)) if heartbeat < commit => (heartbeat, Why::Heartbeat),
                (None, Some(commit), _) => (commit, Why::Commit),
                (None, None, heartbeat) => (heartbeat?, Why::Heartbeat),
            }
        };
        if let Some(held_until) = self.held_until {
            due.0 = due.0.max(held_until);
        }
        Some(due)
    }
}

impl Core {
    /// Nothing to push.
    pub fn new(times: Times) -> Self {
        Self { times, lines: BTreeMap::new() }
    }

    /// Other times from now on.
    pub fn set_times(&mut self, times: Times) {
        self.times = times;
    }

    /// All that is to be pushed from now on. What is new or configured anew is due at once.
    pub fn set_lines(&mut self, lines: Vec<Line>) {
        self.lines.values_mut().for_each(|state| state.removed = true);
        for line in lines {
            match self.lines.get_mut(&line.database) {
                Some(state) => {
                    state.removed = false;
                    if state.line != line {
                        (state.failures, state.not_before, state.checked) = (0, None, None);
                        state.outdated = state.running;
                        state.line = line;
                    }
                }
                None => {
                    self.lines.insert(line.database.clone(), State::new(line));
                }
            }
        }
        self.lines.retain(|_, state| !state.removed || state.running);
    }

    /// Something was committed on main, or main was moved.
    pub fn mark(&mut self, database: &str, now: Instant) {
        if let Some(state) = self.lines.get_mut(database) {
            let first = state.marked.map_or(now, |(first, _)| first);
            state.marked = Some((first, now));
        }
    }

    /// Somebody wants it now, whatever failed before. Whether it is pushed at all.
    pub fn ask(&mut self, database: &str) -> bool {
        let Some(state) = self.lines.get_mut(database).filter(|state| !state.removed) else { return false };
        state.asked = true;
        true
    }

    /// Begins what is due: each has to be ended with `end`. `held` tells which databases must not be touched now.
    pub fn begin(&mut self, now: Instant, held: impl Fn(&str) -> bool) -> Vec<(Line, Why)> {
        let mut due: Vec<(Instant, Why, String)> = self
            .lines
            .iter()
            .filter_map(|(name, state)| {
                state
                    .due(&self.times, now)
                    .filter(|(at, _)| *at <= now)
                    .map(|(at, why)| (at, why, name.clone()))
            })
            .collect();
        // Asked for first, then who has waited longest.
        due.sort_by_key(|(at, why, _)| (*why != Why::Asked, *at));
        let mut begun = Vec::new();
        for (_, why, name) in due {
            let running = || self.lines.values().filter(|state| state.running);
            if running().count() >= self.times.running_max {
                break;
            }
            let Some(repository) = self.lines.get(&name).map(|state| state.line.repository.clone()) else {
                continue;
            };
            if running().any(|state| state.line.repository == repository) {
                continue;
            }
            let is_held = held(&name);
            let Some(state) = self.lines.get_mut(&name) else { continue };
            if is_held {
                state.held_until = Some(now + HELD_AGAIN);
                continue;
            }
            (state.running, state.asked, state.marked, state.held_until) = (true, false, None, None);
            begun.push((state.line.clone(), why));
        }
        begun
    }

    /// A push has ended. `jitter`: 0 to 1, so that those that failed together don't come back together.
    pub fn end(&mut self, database: &str, is_well: bool, jitter: f64, now: Instant) {
        let Some(state) = self.lines.get_mut(database) else { return };
        state.running = false;
        if std::mem::take(&mut state.outdated) {
            (state.failures, state.not_before, state.checked) = (0, None, None);
        } else if is_well {
            (state.failures, state.not_before, state.checked) = (0, None, Some(now));
        } else {
            let doubled = 2_u32.saturating_pow(state.failures.min(16));
            let wait = self.times.backoff_min.saturating_mul(doubled);
            let wait = wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 4.0).min(self.times.backoff_max);
            state.failures = state.failures.saturating_add(1);
            state.not_before = Some(now + wait);
        }
        if state.removed {
            self.lines.remove(database);
        }
    }

    /// When `begin` should be called next, if nothing else happens.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let running: Vec<&str> = self
            .lines
            .values()
            .filter(|state| state.running)
            .map(|state| state.line.repository.as_str())
            .collect();
        if running.len() >= self.times.running_max {
            return None;
        }
        let free = |state: &&State| !running.contains(&state.line.repository.as_str());
        self.lines.values().filter(free).filter_map(|state| Some(state.due(&self.times, now)?.0)).min()
    }

    /// When this database is pushed next, and whether it is being pushed now.
    pub fn outlook(&self, database: &str, now: Instant) -> Option<(Option<Instant>, bool)> {
        let state = self.lines.get(database)?;
        Some((state.due(&self.times, now).map(|(at, _)| at), state.running))
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
