//! Owns when which peer is fetched. The core: no tokio, no I/O; it takes a given `now`.
//! Does not fetch. Always: each peer one at a time, a few at once; one that was fetched by hand is not put off.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// At once; the rest wait.
pub const RUNNING_MAX: usize = 2;

/// A peer with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// As Dolt spells it.
    pub database: String,
    /// The peer's name.
    pub peer: String,
    /// How often.
    pub every: Duration,
    /// Changes with anything that somebody configured: then it is fetched at once.
    pub configured: u64,
}

/// The schedule.
#[derive(Debug, Default)]
pub struct Core {
    lines: BTreeMap<(String, String), State>,
}

#[derive(Debug)]
struct State {
    line: Line,
    due: Instant,
    running: bool,
    removed: bool,
}

impl Core {
    /// All peers with a schedule from now on. What is new or configured anew is due at once.
    pub fn set(&mut self, lines: Vec<Line>, now: Instant) {
        self.lines.values_mut().for_each(|state| state.removed = true);
        for line in lines {
            let key = (line.database.to_lowercase(), line.peer.to_lowercase());
            match self.lines.get_mut(&key) {
                Some(state) => {
                    state.removed = false;
                    if state.line != line {
                        (state.line, state.due) = (line, now);
                    }
                }
                None => {
                    self.lines.insert(key, State { line, due: now, running: false, removed: false });
                }
            }
        }
        self.lines.retain(|_, state| state.running || !state.removed);
    }

    /// Begins what is due, the longest overdue first: each has to be ended with `end`.
    pub fn begin(&mut self, now: Instant) -> Vec<Line> {
        let running = self.lines.values().filter(|state| state.running).count();
        let mut due: Vec<&mut State> = self
            .lines
            .values_mut()
            .filter(|state| !state.running && !state.removed && state.due <= now)
            .collect();
        due.sort_by_key(|state| state.due);
        let begun = due.into_iter().take(RUNNING_MAX.saturating_sub(running));
        begun
            .map(|state| {
                state.running = true;
                state.line.clone()
            })
            .collect()
    }

    /// A fetch has ended, well or not: the next one is due when its time has passed again.
    pub fn end(&mut self, line: &Line, now: Instant) {
        let key = (line.database.to_lowercase(), line.peer.to_lowercase());
        let Some(state) = self.lines.get_mut(&key) else { return };
        state.running = false;
        if state.removed {
            self.lines.remove(&key);
        } else if state.line == *line {
            state.due = now + state.line.every;
        }
    }

    /// When `begin` should be called next, if nothing else happens.
    pub fn next(&self) -> Option<Instant> {
        let free = self.lines.values().filter(|state| state.running).count() < RUNNING_MAX;
        let waiting = self.lines.values().filter(|state| !state.running && !state.removed);
        waiting.map(|state| state.due).min().filter(|_| free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(peer: &str, minutes: u64) -> Line {
        let every = Duration::from_secs(60 * minutes);
        Line { database: "Beads".to_owned(), peer: peer.to_owned(), every, configured: 0 }
    }

    fn names(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.peer.as_str()).collect()
    }

    #[test]
    fn each_in_its_time() {
        let start = Instant::now();
        let at = |minute: u64| start + Duration::from_secs(60 * minute);
        let mut core = Core::default();
        assert_eq!(core.next(), None);
        let lines = vec![line("a", 10), line("b", 30), line("c", 60)];
        core.set(lines.clone(), at(0));
        // At the start all of them, two at once.
        let begun = core.begin(at(0));
        assert_eq!(names(&begun), ["a", "b"]);
        assert!(core.begin(at(1)).is_empty() && core.next().is_none());
        core.end(&begun[0], at(1));
        assert_eq!(core.next(), Some(at(0)));
        let third = core.begin(at(1));
        assert_eq!(names(&third), ["c"]);
        core.end(&begun[1], at(2));
        core.end(&third[0], at(2));
        for (minute, want) in [(10, vec![]), (11, vec!["a"]), (21, vec!["a"]), (32, vec!["a", "b"])] {
            let begun = core.begin(at(minute));
            assert_eq!(names(&begun), want, "{minute}");
            begun.iter().for_each(|line| core.end(line, at(minute)));
        }
        assert_eq!(core.next(), Some(at(42)));
    }

    #[test]
    fn what_is_configured_anew_is_due_at_once_and_what_is_removed_is_not() {
        let now = Instant::now();
        let mut core = Core::default();
        core.set(vec![line("a", 10), line("b", 10)], now);
        let begun = core.begin(now);
        begun.iter().for_each(|line| core.end(line, now));
        core.set(vec![line("a", 10), Line { configured: 1, ..line("b", 10) }], now);
        let begun = core.begin(now);
        assert_eq!(names(&begun), ["b"]);
        // While it runs.
        core.set(vec![line("a", 10)], now);
        assert!(core.begin(now + Duration::from_secs(600)).len() == 1);
        core.end(&begun[0], now);
        assert_eq!(core.lines.len(), 1);
        // What ends with old settings does not put the new ones off.
        core.set(vec![line("a", 5)], now);
        core.end(&line("a", 10), now);
        assert_eq!(core.next(), Some(now));
    }
}
