//! Owns the decisions of the supervisor: when to probe, end, kill and restart Dolt, and what to say meanwhile.
//! Does no I/O and reads no clock: events come with `now`, actions go to the shell in `supervisor`.
//! Always: at most one process at a time, never a kill before `stop_timeout` of SIGTERM, never a
//! second alert for the same trouble.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two probes while Dolt starts.
const START_PROBE_EVERY: Duration = Duration::from_millis(50);
/// Once a probe has failed, the next ones come sooner than the health interval.
const RETRY_PROBE_EVERY: Duration = Duration::from_secs(2);
/// Failed probes in a row that make a running Dolt wedged.
const FAILURES_MAX: u32 = 3;
/// A Dolt that was healthy for this long is restarted at once.
const HEALTHY_FOR: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// This many restarts within the window raise the alert.
const RESTARTS_MAX: usize = 5;
const RESTARTS_WINDOW: Duration = Duration::from_secs(600);

/// What the policy runs by.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Ours to start and stop; otherwise only probed.
    pub private: bool,
    /// Between two probes of a healthy Dolt.
    pub health_interval: Duration,
    /// From the spawn to the first answer; a large journal takes its time.
    pub start_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Begin.
    Start,
    /// The process could not be spawned.
    SpawnFailed(String),
    /// The probe was answered.
    Answered,
    /// The probe was not answered, or wrongly.
    Unanswered(String),
    /// The process has ended; the text says how.
    Exited {
        /// How it ended, with its last words.
        how: String,
        /// Another Dolt holds the data: hurrying is useless.
        locked: bool,
    },
    /// A session saw its backend die.
    Lost,
    /// Stop it for a moment, so that directories can be renamed.
    Hold,
    /// They are renamed, or can't be.
    Moved,
    /// End it for good.
    Stop,
    /// `deadline` has passed.
    Tick,
}

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Start the process.
    Spawn,
    /// Ask it something, bounded; answer with `Answered` or `Unanswered`. One at a time.
    Probe,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// State: starting.
    SayStarting,
    /// State: ready; a new generation.
    SayReady,
    /// State: down, for this reason.
    SayDown(String),
    /// State: down for a moment, as somebody asked.
    SayHeld,
    /// Rename the directories; answer with `Moved`.
    Move,
    /// Tell whoever wants it held that it can't be now.
    RefuseHold,
    /// State: stopping.
    SayStopping,
    /// A person should look.
    Alert(String),
    /// The trouble is over.
    ClearAlert,
    /// The first start failed: give up.
    GiveUp(String),
    /// Stopped as asked; the shell ends.
    Finish,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    New,
    /// Spawned (or looked for), not answered yet.
    Starting {
        until: Instant,
        last: Option<String>,
    },
    Up {
        since: Instant,
        failures: u32,
    },
    /// SIGTERM sent; `next` when it has ended.
    Ending {
        kill_at: Option<Instant>,
        next: Next,
    },
    /// No process, until the directories are renamed.
    Held,
    /// No process until then.
    Pausing {
        until: Instant,
    },
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Restart { why: String, was_up: Option<Duration> },
    GiveUp(String),
    Finish,
    Hold,
}

/// The restart policy.
#[derive(Debug)]
pub(super) struct Policy {
    settings: Settings,
    phase: Phase,
    /// Until the first answer a failure is final: the caller of `start` is told.
    first: bool,
    probing: bool,
    probe_at: Option<Instant>,
    /// Restarts within the window, oldest first.
    restarts: VecDeque<Instant>,
    backoff: Duration,
    alerted: bool,
}

impl Policy {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            phase: Phase::New,
            first: true,
            probing: false,
            probe_at: None,
            restarts: VecDeque::new(),
            backoff: BACKOFF_MIN,
            alerted: false,
        }
    }

    /// When `Tick` is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let probe = if self.probing { None } else { self.probe_at };
        let phase = match &self.phase {
            Phase::Starting { until, .. } if self.settings.private => Some(*until),
            Phase::Ending { kill_at, .. } => *kill_at,
            Phase::Pausing { until } => Some(*until),
            _ => None,
        };
        match (probe, phase) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Event in, actions out.
    pub(super) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Answered | Event::Unanswered(_) => self.probing = false,
            _ => {}
        }
        match event {
            Event::Start => self.spawn(now),
            Event::SpawnFailed(why) => self.ended(why, false, now),
            Event::Exited { how, locked } => self.ended(how, locked, now),
            Event::Answered => self.answered(now),
            Event::Unanswered(why) => self.unanswered(why, now),
            Event::Lost => {
                if let Phase::Up { .. } = self.phase {
                    self.probe_at = Some(now);
                }
                self.tick(now)
            }
            Event::Hold => self.hold(now),
            Event::Moved if self.phase == Phase::Held => self.spawn(now),
            Event::Moved => vec![],
            Event::Stop => self.stop(now),
            Event::Tick => self.tick(now),
        }
    }

    fn spawn(&mut self, now: Instant) -> Vec<Action> {
        self.phase = Phase::Starting { until: now + self.settings.start_timeout, last: None };
        self.probe_at = Some(now + START_PROBE_EVERY);
        if self.settings.private {
            return vec![Action::SayStarting, Action::Spawn];
        }
        self.probe_at = Some(now);
        let mut actions = vec![Action::SayStarting];
        actions.extend(self.tick(now));
        actions
    }

    fn answered(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.phase {
            Phase::Starting { .. } => {
                self.first = false;
                self.phase = Phase::Up { since: now, failures: 0 };
                self.probe_at = Some(now + self.settings.health_interval);
                vec![Action::SayReady]
            }
            Phase::Up { since, failures } => {
                *failures = 0;
                let healthy = now.saturating_duration_since(*since) >= RESTARTS_WINDOW;
                self.probe_at = Some(now + self.settings.health_interval);
                if healthy {
                    self.restarts.clear();
                    self.backoff = BACKOFF_MIN;
                    if std::mem::take(&mut self.alerted) {
                        return vec![Action::ClearAlert];
                    }
                }
                vec![]
            }
            _ => vec![],
        }
    }

    fn unanswered(&mut self, why: String, now: Instant) -> Vec<Action> {
        match &mut self.phase {
            Phase::Starting { last, .. } if self.settings.private => {
                *last = Some(why);
                self.probe_at = Some(now + START_PROBE_EVERY);
                vec![]
            }
            Phase::Starting { last, .. } => {
                // Somebody else's server: said once per reason, looked for until it is there.
                self.first = false;
                self.probe_at = Some(now + BACKOFF_MIN);
                if last.as_ref() == Some(&why) {
                    return vec![];
                }
                *last = Some(why.clone());
                vec![Action::SayDown(format!("{why}; looking again every second"))]
            }
            Phase::Up { since, failures } => {
                *failures += 1;
                let was_up = now.saturating_duration_since(*since);
                self.probe_at = Some(now + RETRY_PROBE_EVERY.min(self.settings.health_interval));
                if *failures < FAILURES_MAX {
                    return vec![];
                }
                if !self.settings.private {
                    self.probe_at = Some(now + BACKOFF_MIN);
                    self.phase = Phase::Starting { until: now, last: Some(why.clone()) };
                    return vec![Action::SayDown(format!("{why}; looking again every second"))];
                }
                let why = format!("Dolt does not answer SQL ({why})");
                let down = Action::SayDown(format!("{why}; it is being ended and then started again"));
                let mut actions = vec![down];
                actions.extend(self.end(Next::Restart { why, was_up: Some(was_up) }, now));
                actions
            }
            _ => vec![],
        }
    }

    /// The process is gone, expected or not.
    fn ended(&mut self, how: String, locked: bool, now: Instant) -> Vec<Action> {
        // A probe in flight asked the process that is gone: the shell drops it.
        self.probing = false;
        self.probe_at = None;
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => vec![],
            Phase::Ending { next: Next::Finish, .. } => vec![Action::Finish],
            Phase::Ending { next: Next::GiveUp(why), .. } => vec![Action::GiveUp(why)],
            Phase::Ending { next: Next::Restart { why, was_up }, .. } => self.pause(why, was_up, locked, now),
            Phase::Ending { next: Next::Hold, .. } => {
                self.phase = Phase::Held;
                vec![Action::Move]
            }
            _ if self.first => vec![Action::GiveUp(how)],
            Phase::Up { since, .. } => {
                self.pause(how, Some(now.saturating_duration_since(since)), locked, now)
            }
            Phase::Starting { .. } | Phase::New => self.pause(how, None, locked, now),
            waiting @ (Phase::Pausing { .. } | Phase::Held) => {
                self.phase = waiting;
                vec![]
            }
        }
    }

    /// Chooses the delay before the next start.
    fn pause(&mut self, why: String, was_up: Option<Duration>, locked: bool, now: Instant) -> Vec<Action> {
        while self.restarts.front().is_some_and(|at| now.saturating_duration_since(*at) > RESTARTS_WINDOW) {
            self.restarts.pop_front();
        }
        self.restarts.push_back(now);
        let was_healthy = was_up.is_some_and(|up| up > HEALTHY_FOR);
        let mut actions = Vec::new();
        let delay = if self.restarts.len() >= RESTARTS_MAX {
            if !std::mem::replace(&mut self.alerted, true) {
                actions.push(Action::Alert(format!(
                    "Dolt had to be started again {RESTARTS_MAX} times within {} minutes, the last time because: {why}",
                    RESTARTS_WINDOW.as_secs() / 60
                )));
            }
            BACKOFF_MAX
        } else if locked {
            BACKOFF_MAX
        } else if was_healthy {
            self.backoff = BACKOFF_MIN;
            Duration::ZERO
        } else {
            let delay = self.backoff;
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            delay
        };
        if self.restarts.len() > RESTARTS_MAX {
            self.restarts.pop_front();
        }
        let when = if delay.is_zero() { "now".to_string() } else { format!("in {} s", delay.as_secs()) };
        actions.push(Action::SayDown(format!("{why}; it is started again {when}")));
        self.phase = Phase::Pausing { until: now + delay };
        if delay.is_zero() {
            actions.extend(self.tick(now));
        }
        actions
    }

    fn end(&mut self, next: Next, now: Instant) -> Vec<Action> {
        self.probe_at = None;
        self.phase = Phase::Ending { kill_at: Some(now + self.settings.stop_timeout), next };
        vec![Action::Terminate]
    }

    /// Only a Dolt that answers is held: any other one is about to be started or ended already.
    fn hold(&mut self, now: Instant) -> Vec<Action> {
        if !self.settings.private || !matches!(self.phase, Phase::Up { .. }) {
            return vec![Action::RefuseHold];
        }
        let mut actions = vec![Action::SayHeld];
        actions.extend(self.end(Next::Hold, now));
        actions
    }

    fn stop(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.phase {
            Phase::Over => vec![],
            Phase::Ending { next, .. } => {
                *next = Next::Finish;
                vec![Action::SayStopping]
            }
            Phase::Starting { .. } | Phase::Up { .. } if self.settings.private => {
                let mut actions = vec![Action::SayStopping];
                actions.extend(self.end(Next::Finish, now));
                actions
            }
            _ => {
                self.phase = Phase::Over;
                self.probe_at = None;
                vec![Action::SayStopping, Action::Finish]
            }
        }
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.phase {
            Phase::Pausing { until } if *until <= now => return self.spawn(now),
            Phase::Ending { kill_at, .. } if kill_at.is_some_and(|at| at <= now) => {
                *kill_at = None;
                return vec![Action::Kill];
            }
            Phase::Starting { until, last } if self.settings.private && *until <= now => {
                let why = format!(
                    "Dolt did not answer within {} s of its start ({})",
                    self.settings.start_timeout.as_secs(),
                    last.as_deref().unwrap_or("no answer at all")
                );
                let next = if self.first { Next::GiveUp(why) } else { Next::Restart { why, was_up: None } };
                return self.end(next, now);
            }
            _ => {}
        }
        if !self.probing && self.probe_at.is_some_and(|at| at <= now) {
            self.probing = true;
            self.probe_at = None;
            return vec![Action::Probe];
        }
        vec![]
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
