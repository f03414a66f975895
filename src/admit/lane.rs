//! Owns one lane's state: who holds it, who waits in which order, whose rows await a Dolt commit.
//! Decides nothing. Always: the index by process holds exactly the waiters whose process is known.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::record::Ticket;

/// Where a waiter stands: those who had the lane before those who come anew, each in order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub rank: Rank,
    pub number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It held the lane in its transaction and lost it.
    Front,
    Back,
}

/// Everything about one lane but when it moved.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub holder: Option<Holder>,
    pub queue: Queue,
    /// Since when somebody waits without a break.
    pub contended_since: Option<Instant>,
    pub writers: Writers,
    pub counters: Counters,
    /// The commit clock when it was last given to somebody.
    pub used_at: u64,
    /// When it was last given to somebody, or given back; for views.
    pub active_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Holder {
    pub ticket: Ticket,
    pub since: Instant,
    /// Between a SQL commit and the DOLT_COMMIT; not in use until it is taken again.
    pub kept: bool,
    /// Since when its own rows await a Dolt commit: of the first keep, however often it was renewed.
    pub own_rows_since: Option<Instant>,
    /// How long it may be kept since then.
    pub keep_for: Duration,
    /// It SQL-committed in this lane.
    pub wrote: bool,
    /// The warning was given.
    pub warned: bool,
}

impl Holder {
    pub(super) fn new(ticket: Ticket, since: Instant) -> Self {
        Self {
            ticket,
            since,
            kept: false,
            own_rows_since: None,
            keep_for: Duration::ZERO,
            wrote: false,
            warned: false,
        }
    }
}

/// Those who wait for one lane. Everything costs O(log n): ten thousand may leave at once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: BTreeMap<Place, Ticket>,
    by_process: HashMap<u32, BTreeSet<Place>>,
}

impl Queue {
    pub(super) fn push(&mut self, place: Place, ticket: Ticket, process: Option<u32>) {
        self.waiters.insert(place, ticket);
        self.index(place, process);
    }

    /// Its process became known.
    pub(super) fn index(&mut self, place: Place, process: Option<u32>) {
        if let Some(process) = process {
            self.by_process.entry(process).or_default().insert(place);
        }
    }

    pub(super) fn remove(&mut self, place: Place, process: Option<u32>) {
        self.waiters.remove(&place);
        if let Some(process) = process
            && let Some(places) = self.by_process.get_mut(&process)
        {
            places.remove(&place);
            if places.is_empty() {
                self.by_process.remove(&process);
            }
        }
    }

    pub(super) fn first(&self) -> Option<(Place, Ticket)> {
        self.waiters.first_key_value().map(|(place, ticket)| (*place, *ticket))
    }

    /// The first of the waiters that belong to this process.
    pub(super) fn first_of(&self, process: Option<u32>) -> Option<(Place, Ticket)> {
        let place = *self.by_process.get(&process?)?.first()?;
        Some((place, *self.waiters.get(&place)?))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, Ticket)> {
        self.waiters.iter().map(|(place, ticket)| (*place, *ticket))
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

/// Who SQL-committed since the last Dolt commit. To tell whether a Dolt commit takes foreign rows
/// along, the first writer and whether there was another are enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Writers {
    #[default]
    None,
    One(Ticket),
    Several,
}

impl Writers {
    pub(super) fn add(&mut self, ticket: Ticket) {
        *self = match *self {
            Self::None => Self::One(ticket),
            Self::One(first) if first == ticket => Self::One(first),
            _ => Self::Several,
        };
    }

    /// Whether anybody but `ticket` is among them.
    pub(super) fn others(self, ticket: Ticket) -> bool {
        match self {
            Self::None => false,
            Self::One(first) => first != ticket,
            Self::Several => true,
        }
    }
}
