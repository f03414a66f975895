//! Owns what is shown of lanes, and what a session is told that waited in vain.
//! Decides nothing: copies, so that nobody holds the lock while printing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::counters::Counters;
use super::lane::{Holder, Rank};
use super::lane_key::LaneKey;
use super::record::{Activity, Ticket, Who};

/// Waiters listed per lane; `waiting` counts them all.
const WAITERS_SHOWN_MAX: usize = 100;

/// One lane.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// Its name.
    pub key: LaneKey,
    /// Who holds it.
    pub holder: Option<HolderView>,
    /// How many wait.
    pub waiting: usize,
    /// The first of them, in order.
    pub waiters: Vec<WaiterView>,
    /// Sessions that lost it within their transaction and take it again at COMMIT.
    pub lent_by: Vec<Arc<Who>>,
    /// How long ago it was last given to somebody or given back; `None` if never.
    pub quiet_for: Option<Duration>,
    /// The commit clock when it last moved; 0 if not since the start.
    pub moved_at: u64,
    /// Its counts.
    pub counters: Counters,
}

/// Who holds a lane.
#[derive(Debug, Clone)]
pub struct HolderView {
    /// Whose session it is.
    pub who: Arc<Who>,
    /// The statement that it runs, or ran last.
    pub statement: String,
    /// How long it holds the lane.
    pub held_for: Duration,
    /// What it does with it.
    pub state: HolderState,
    pub(super) ticket: Ticket,
}

/// What a holder does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderState {
    /// Runs a statement.
    Busy,
    /// Inside a transaction, its client's turn since so long.
    Idle(Duration),
    /// Between a SQL commit and its DOLT_COMMIT, since so long.
    Kept(Duration),
}

impl HolderState {
    /// Its name in log and `SHOW`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle(_) => "idle",
            Self::Kept(_) => "kept",
        }
    }
}

/// Who waits for a lane.
#[derive(Debug, Clone)]
pub struct WaiterView {
    /// Whose session it is.
    pub who: Arc<Who>,
    /// The statement that waits.
    pub statement: String,
    /// Since when.
    pub waited: Duration,
    /// Whether it comes before others because it had the lane in its transaction.
    pub returns: bool,
    pub(super) ticket: Ticket,
}

/// Why a session did not get its lanes.
#[derive(Debug, Clone)]
pub enum NotTaken {
    /// The deadline passed; shown, it is the text for error 1205.
    Timeout(Box<Blocked>),
}

/// Behind whom a session waited in vain.
#[derive(Debug, Clone)]
pub struct Blocked {
    /// For which lane.
    pub lane: LaneKey,
    /// Who holds it.
    pub holder: Option<HolderView>,
    /// How long we waited for it and for those before it.
    pub waited: Duration,
    /// How many wait for it, this session too.
    pub waiting: usize,
    /// The limit for a statement.
    pub budget: Duration,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(blocked) => blocked.fmt(f),
        }
    }
}

impl std::error::Error for NotTaken {}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waited, budget) = (self.waited.as_secs_f64(), self.budget.as_secs_f64());
        write!(f, "waited {waited:.1} s for the write lane of {}", self.lane)?;
        if let Some(holder) = &self.holder {
            write!(f, ", which {holder}")?;
        }
        let others = self.waiting.saturating_sub(1);
        if others > 0 {
            write!(f, "; {others} other{} for it", if others == 1 { " waits" } else { "s wait" })?;
        }
        write!(f, " (limit: budget {budget:.1} s per statement)")
    }
}

impl fmt::Display for HolderView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Who { client_id, account, program, address, .. } = &*self.who;
        write!(f, "client {client_id} ({program}, {account}, {address})")?;
        write!(f, " has held for {:.1} s", self.held_for.as_secs_f64())?;
        match self.state {
            HolderState::Busy if self.statement.is_empty() => f.write_str(", running a statement"),
            HolderState::Busy => write!(f, ", running: {}", self.statement),
            HolderState::Idle(idle) => {
                write!(f, ", idle in a transaction for {:.1} s", idle.as_secs_f64())
            }
            HolderState::Kept(kept) => {
                write!(f, ", kept for its DOLT_COMMIT for {:.1} s", kept.as_secs_f64())
            }
        }
    }
}

impl Core {
    /// All lanes in the order in which they are taken. Statements are the shell's to fill in.
    pub(super) fn view(&self, now: Instant) -> Vec<LaneView> {
        let mut lanes: Vec<LaneView> = Vec::with_capacity(self.lanes.len());
        let mut lent: HashMap<&LaneKey, Vec<Arc<Who>>> = HashMap::new();
        for record in self.records.values() {
            for absent in &record.absent {
                lent.entry(&absent.key).or_default().push(Arc::clone(&record.who));
            }
        }
        for (key, lane) in &self.lanes {
            let waiters = lane.queue.iter().take(WAITERS_SHOWN_MAX).filter_map(|(place, ticket)| {
                let record = self.records.get(&ticket)?;
                let since = record.waiting.as_ref()?.since;
                Some(WaiterView {
                    who: Arc::clone(&record.who),
                    statement: String::new(),
                    waited: now.saturating_duration_since(since),
                    returns: place.rank == Rank::Front,
                    ticket,
                })
            });
            lanes.push(LaneView {
                key: key.clone(),
                holder: lane.holder.as_ref().and_then(|holder| self.holder_view(holder, now)),
                waiting: lane.queue.len(),
                waiters: waiters.collect(),
                lent_by: lent.remove(key).unwrap_or_default(),
                quiet_for: lane.active_at.map(|at| now.saturating_duration_since(at)),
                moved_at: self.clock.lane_moved_at(key),
                counters: lane.counters.clone(),
            });
        }
        lanes.sort_by(|a, b| a.key.cmp(&b.key));
        lanes
    }

    /// What stands between this waiter and its lane.
    pub(super) fn blocked(&self, ticket: Ticket, waited: Duration, now: Instant) -> Option<Blocked> {
        let waiting = self.records.get(&ticket)?.waiting.as_ref()?;
        let lane = self.lanes.get(&waiting.key)?;
        Some(Blocked {
            lane: waiting.key.clone(),
            holder: lane.holder.as_ref().and_then(|holder| self.holder_view(holder, now)),
            waited,
            waiting: lane.queue.len(),
            budget: self.settings.budget,
        })
    }

    fn holder_view(&self, holder: &Holder, now: Instant) -> Option<HolderView> {
        let record = self.records.get(&holder.ticket)?;
        let since = |at: Instant| now.saturating_duration_since(at);
        let state = match (holder.kept, holder.own_rows_since, record.activity) {
            (true, Some(kept), _) => HolderState::Kept(since(kept)),
            (_, _, Activity::Busy) => HolderState::Busy,
            (_, _, Activity::Idle { since: idle }) => HolderState::Idle(since(idle)),
        };
        Some(HolderView {
            who: Arc::clone(&record.who),
            statement: String::new(),
            held_for: since(holder.since),
            state,
            ticket: holder.ticket,
        })
    }
}
