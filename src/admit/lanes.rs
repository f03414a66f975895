//! Owns the lock around the core, and the wake-ups.
//! Decides nothing. Always: the lock is held for one short section at a time, never across an await, and
//! wake-ups and log lines come after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::clock::Reads;
use super::core::{Core, LaneSettings};
use super::counters::Totals;
use super::effects::{Effects, Lending, Note};
use super::lane_key::LaneKey;
use super::record::{Ticket, Who};
use super::seat::Seat;
use super::view::{LaneView, NotTaken};

/// Statement text kept for others to see, in characters.
const STATEMENT_CHARS_MAX: usize = 200;

/// All write lanes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Lanes {
    shared: Arc<Mutex<Shared>>,
    on_moved: Arc<OnceLock<OnMoved>>,
}

/// Called for each lane whose branch moved by more than rows: a Dolt commit, a merge, a reset.
struct OnMoved(Box<dyn Fn(&LaneKey) + Send + Sync>);

impl std::fmt::Debug for OnMoved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnMoved")
    }
}

#[derive(Debug)]
struct Shared {
    core: Core,
    stations: HashMap<Ticket, Arc<Station>>,
}

/// What a seat and those who deal with it share outside the core.
#[derive(Debug, Default)]
pub(super) struct Station {
    pub wake: Notify,
    statement: Mutex<String>,
}

impl Station {
    /// Stores the text, cut; its buffer is used again.
    pub(super) fn says(&self, text: &str) {
        let end = text.char_indices().nth(STATEMENT_CHARS_MAX).map_or(text.len(), |(at, _)| at);
        let mut statement = lock(&self.statement);
        statement.clear();
        statement.push_str(&text[..end]);
    }

    fn statement(&self) -> String {
        lock(&self.statement).clone()
    }
}

/// What is behind these locks is whole between any two calls, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tokio's, so that tests can stop it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Lanes {
    /// No lanes yet: they come as they are asked for.
    pub fn new(settings: LaneSettings) -> Self {
        let shared = Shared { core: Core::new(settings, now()), stations: HashMap::new() };
        Self { shared: Arc::new(Mutex::new(shared)), on_moved: Arc::default() }
    }

    /// Who is told of lanes whose branch moved by more than rows. Once; it must not block.
    pub fn on_moved(&self, listener: impl Fn(&LaneKey) + Send + Sync + 'static) {
        let _only_the_first = self.on_moved.set(OnMoved(Box::new(listener)));
    }

    /// A session's handle.
    pub fn seat(&self, who: Who) -> Seat {
        let station = Arc::new(Station::default());
        let knows_process = who.process.is_some();
        let mut shared = lock(&self.shared);
        let ticket = shared.core.join(who);
        shared.stations.insert(ticket, Arc::clone(&station));
        drop(shared);
        Seat::new(self.clone(), ticket, station, knows_process)
    }

    /// Other times from now on, also for those who wait.
    pub fn set_settings(&self, settings: LaneSettings) {
        self.with(|core| core.set_settings(settings));
    }

    /// The times it runs by.
    pub fn settings(&self) -> LaneSettings {
        self.with(|core| core.settings.clone())
    }

    /// What the commit clock shows.
    pub fn clock(&self) -> u64 {
        self.with(|core| core.clock.now())
    }

    /// Whether anything of `reads` moved since the clock showed `snapshot`. An answer of "no" lasts only
    /// while the lanes of `reads` are held.
    pub fn moved_since(&self, reads: &Reads, snapshot: u64) -> bool {
        self.with(|core| core.moved_since(reads, snapshot))
    }

    /// Something of ours moved this database without a lane, as a fork does.
    pub fn touched(&self, database: &str) {
        self.with(|core| core.touched(database));
    }

    /// This branch was seen to have moved without us: counted, and whoever read it has to check.
    pub fn bypassed(&self, key: &LaneKey) {
        self.with(|core| core.bypassed(key, now()));
        tracing::warn!(lane = %key, "a branch moved by a writer that does not come through Branchline");
    }

    /// All lanes, in the order in which they are taken.
    pub fn view(&self, now: tokio::time::Instant) -> Vec<LaneView> {
        let (mut lanes, stations) = {
            let shared = lock(&self.shared);
            let lanes = shared.core.view(now.into_std());
            let waiters = lanes.iter().flat_map(|lane| lane.waiters.iter().map(|waiter| waiter.ticket));
            let holders = lanes.iter().filter_map(|lane| lane.holder.as_ref()).map(|holder| holder.ticket);
            let tickets = waiters.chain(holders);
            let stations: HashMap<Ticket, Arc<Station>> = tickets
                .filter_map(|ticket| Some((ticket, Arc::clone(shared.stations.get(&ticket)?))))
                .collect();
            (lanes, stations)
        };
        let statement = |ticket| stations.get(&ticket).map(|station| station.statement()).unwrap_or_default();
        for lane in &mut lanes {
            if let Some(holder) = &mut lane.holder {
                holder.statement = statement(holder.ticket);
            }
            for waiter in &mut lane.waiters {
                waiter.statement = statement(waiter.ticket);
            }
        }
        lanes
    }

    /// What is counted over all lanes.
    pub fn totals(&self) -> Totals {
        self.with(|core| core.totals())
    }

    /// Runs one short section, then performs what it left to do.
    pub(super) fn with<T>(&self, section: impl FnOnce(&mut Core) -> T) -> T {
        let mut shared = lock(&self.shared);
        let result = section(&mut shared.core);
        let Effects { wakes, notes, moved } = shared.core.take_effects();
        let woken: Vec<_> = wakes.iter().filter_map(|ticket| shared.stations.get(ticket).cloned()).collect();
        drop(shared);
        for station in woken {
            station.wake.notify_one();
        }
        for note in notes {
            log(note);
        }
        if let Some(OnMoved(listener)) = self.on_moved.get() {
            moved.iter().for_each(listener);
        }
        result
    }

    /// The session is over.
    pub(super) fn leave(&self, ticket: Ticket) {
        self.with(|core| core.leave(ticket, now()));
        lock(&self.shared).stations.remove(&ticket);
    }

    /// Ends a wait at its deadline; `None` if the lane came at the last moment.
    pub(super) fn time_out(&self, ticket: Ticket, since: Instant) -> Option<NotTaken> {
        let now = now();
        let mut blocked = self.with(|core| {
            let blocked = core.blocked(ticket, now.saturating_duration_since(since), now)?;
            core.timed_out(&blocked.lane);
            Some(blocked)
        })?;
        if let Some(holder) = &mut blocked.holder {
            let station = lock(&self.shared).stations.get(&holder.ticket).cloned();
            holder.statement = station.map(|station| station.statement()).unwrap_or_default();
        }
        Some(NotTaken::Timeout(Box::new(blocked)))
    }
}

fn log(note: Note) {
    match note {
        Note::Granted { key, to, waited } => {
            tracing::debug!(lane = %key, client = to, waited_ms = waited.as_millis(), "lane granted");
        }
        Note::Lent { key, from, to, why: Lending::KeepOver } => {
            tracing::debug!(lane = %key, from, client = to, "keep taken over");
        }
        Note::Lent { key, from, to, why } => {
            tracing::debug!(lane = %key, from, client = to, why = why.as_str(), "lane lent");
        }
        Note::Kept { key, by } => {
            tracing::debug!(lane = %key, client = by, "lane kept for a DOLT_COMMIT");
        }
        Note::Yielded { key, by, for_ } => {
            tracing::debug!(lane = %key, client = by, earlier = %for_, "lane yielded for an earlier one");
        }
        Note::Swept { key, by } => {
            tracing::info!(lane = %key, client = by, "a Dolt commit took other sessions' rows along");
        }
        Note::HeldLong { key, by, held, waiting } => {
            let held_ms = held.as_millis();
            tracing::warn!(lane = %key, client = by, held_ms, waiting, "a lane is held while others wait");
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
