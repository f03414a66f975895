//! Owns the commit clock: what moved when, and who was active in a database.
//! Does not know who waits, nor time: its only clock counts.
//! Always: a lane or database that moved after a value was read from the clock counts as moved since
//! then, also when its entry was pruned (an older reader then sees more as moved, never less).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::lane_key::{LaneKey, lower};
use super::record::Ticket;

/// Lanes and databases remembered; past it the longest unmoved half is forgotten.
const ENTRIES_MAX: usize = 10_000;
/// Names in one read set; past it the transaction counts as having read everything.
const READS_MAX: usize = 256;

/// What a transaction read or wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    lanes: BTreeSet<LaneKey>,
    databases: BTreeSet<Arc<str>>,
    everything: bool,
}

impl Reads {
    /// A branch was read.
    pub fn lane(&mut self, key: &LaneKey) {
        if !self.everything && !self.lanes.contains(key) {
            self.lanes.insert(key.clone());
            self.bound();
        }
    }

    /// Any branch of this database may have been read, or what belongs to none, as its list of branches.
    pub fn database(&mut self, name: &str) {
        if !self.everything {
            self.databases.insert(lower(name));
            self.bound();
        }
    }

    /// It can't be told what was read.
    pub fn everything(&mut self) {
        *self = Self { everything: true, ..Self::default() };
    }

    /// Nothing was read.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.lanes.is_empty() && self.databases.is_empty()
    }

    /// The branches read, as far as they are known by name.
    pub fn lanes(&self) -> &BTreeSet<LaneKey> {
        &self.lanes
    }

    /// Databases of which any branch may have been read.
    pub fn databases(&self) -> &BTreeSet<Arc<str>> {
        &self.databases
    }

    /// Whether it can't be told what was read.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// All that the other one has, too.
    pub fn extend(&mut self, other: &Self) {
        if other.everything {
            self.everything();
        }
        if !self.everything {
            self.lanes.extend(other.lanes.iter().cloned());
            self.databases.extend(other.databases.iter().cloned());
            self.bound();
        }
    }

    /// For the next transaction.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn bound(&mut self) {
        if self.lanes.len() + self.databases.len() > READS_MAX {
            self.everything();
        }
    }
}

/// The commit clock.
#[derive(Debug, Default)]
pub(super) struct CommitClock {
    /// Counts commits, and also ends of holding, so that "active since" is exact.
    now: u64,
    moved_at: u64,
    /// What is not remembered may have moved as late as this.
    floor: u64,
    lanes: HashMap<LaneKey, u64>,
    databases: HashMap<Arc<str>, Database>,
}

#[derive(Debug, Default)]
struct Database {
    moved_at: u64,
    /// Lanes of it that are held and in use.
    held: usize,
    /// The last activity that has ended, and the last one by anybody but that ticket.
    latest: (Ticket, u64),
    latest_of_others: u64,
}

impl Database {
    fn active(&mut self, ticket: Ticket, at: u64) {
        if self.latest.0 != ticket {
            self.latest_of_others = self.latest.1;
        }
        self.latest = (ticket, at);
    }
}

impl CommitClock {
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// These lanes were committed to by `ticket`; `None` when it was somebody who has none.
    pub(super) fn committed<'k>(
        &mut self,
        ticket: Option<Ticket>,
        keys: impl IntoIterator<Item = &'k LaneKey>,
    ) {
        self.tick_moved();
        for key in keys {
            match self.lanes.get_mut(key) {
                Some(moved_at) => *moved_at = self.now,
                None => {
                    self.prune_lanes();
                    self.lanes.insert(key.clone(), self.now);
                }
            }
            self.stamp_database(ticket, key.database());
        }
    }

    /// Something of ours moved this database without a lane, as a fork does.
    pub(super) fn touched(&mut self, database: &str) {
        self.tick_moved();
        self.stamp_database(None, &lower(database));
    }

    fn tick_moved(&mut self) {
        self.now += 1;
        self.moved_at = self.now;
    }

    fn stamp_database(&mut self, ticket: Option<Ticket>, name: &Arc<str>) {
        let now = self.now;
        let database = self.entry(name);
        database.moved_at = now;
        database.active(ticket.unwrap_or(Ticket::NOBODY), now);
    }

    /// A lane of this database begins to be in use.
    pub(super) fn begins(&mut self, name: &Arc<str>) {
        self.entry(name).held += 1;
    }

    /// It no longer is.
    pub(super) fn ends(&mut self, ticket: Ticket, name: &Arc<str>) {
        self.now += 1;
        let now = self.now;
        let database = self.entry(name);
        debug_assert!(database.held > 0, "{name}: more ends than begins");
        database.held = database.held.saturating_sub(1);
        database.active(ticket, now);
    }

    /// Whether anything of `reads` moved after the clock showed `snapshot`.
    pub(super) fn moved_since(&self, reads: &Reads, snapshot: u64) -> bool {
        reads.everything && self.moved_at > snapshot
            || reads.lanes.iter().any(|key| self.lane_moved_at(key) > snapshot)
            || reads.databases.iter().any(|name| {
                self.databases.get(name).map_or(self.floor, |database| database.moved_at) > snapshot
            })
    }

    pub(super) fn lane_moved_at(&self, key: &LaneKey) -> u64 {
        self.lanes.get(key).copied().unwrap_or(self.floor)
    }

    /// Whether anybody but `ticket`, which uses `own` lanes of it now, used a lane of this database or
    /// moved it after the clock showed `since`.
    pub(super) fn others_active_since(&self, name: &str, ticket: Ticket, own: usize, since: u64) -> bool {
        let Some(database) = self.databases.get(&*lower(name)) else { return self.floor > since };
        let (latest, at) = database.latest;
        let others = if latest == ticket { database.latest_of_others } else { at };
        database.held > own || others > since
    }

    fn entry(&mut self, name: &Arc<str>) -> &mut Database {
        if !self.databases.contains_key(name) {
            self.prune_databases();
            // What was pruned may have been this one.
            let floor = self.floor;
            let latest = (Ticket::NOBODY, floor);
            let new = Database { moved_at: floor, held: 0, latest, latest_of_others: floor };
            self.databases.insert(Arc::clone(name), new);
        }
        self.databases.entry(Arc::clone(name)).or_default()
    }

    fn prune_lanes(&mut self) {
        if self.lanes.len() >= ENTRIES_MAX {
            let middle = median(self.lanes.values().copied());
            self.lanes.retain(|_, moved_at| *moved_at > middle);
            self.floor = self.floor.max(middle);
        }
    }

    fn prune_databases(&mut self) {
        if self.databases.len() >= ENTRIES_MAX {
            let middle = median(self.databases.values().map(|database| database.latest.1));
            self.databases.retain(|_, database| database.held > 0 || database.latest.1 > middle);
            self.floor = self.floor.max(middle);
        }
    }
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    let middle = values.len() / 2;
    if values.is_empty() { 0 } else { *values.select_nth_unstable(middle).1 }
}
