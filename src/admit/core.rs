//! Owns the decisions about write lanes: who holds which, who waits, who may take over from whom.
//! Does no I/O and reads no clock: each call comes with `now`; whom to wake and what to log is left in
//! `Effects` for the shell in `lanes`.
//! Always: a lane has at most one holder, and none only while nobody waits for it; a ticket waits for
//! one lane at a time, and then holds none that comes after it; a lane in use is never taken from a
//! ticket that is busy.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::CommitClock;
use super::counters::{Counters, Totals};
use super::effects::{Effects, Lending, Note};
use super::habits::Habits;
use super::lane::{Holder, Lane, Place, Rank};
use super::lane_key::LaneKey;
use super::record::{Absent, Activity, Held, OwnRowsState, Record, Ticket, Waiting, Who};
use crate::config::OwnRows;

/// Holding a lane for longer while others wait is worth a warning.
const HELD_LONG: Duration = Duration::from_secs(1);
/// The least time between two looks at a holder that is busy.
const RECHECK_MIN: Duration = Duration::from_millis(1);

/// How long a lane is kept for a session of a program that is not believed to Dolt-commit, as long as this session
/// has not shown that it doesn't. Its next statement is there by then.
pub(super) const PROBE: Duration = Duration::from_millis(25);
/// So many SQL commits in a row without a Dolt commit say that none is to come.
pub(super) const COMMITS_PER_MISS: u32 = 4;

/// By what the lanes run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSettings {
    /// Per statement, from its receipt; deadlines are the caller's, this is for messages.
    pub budget: Duration,
    /// A holder that idles for so long may lose the lane to any waiter.
    pub lane_idle: Duration,
    /// And for so long to a waiter of its own process.
    pub same_process_idle: Duration,
    /// How long a lane is kept after a SQL commit for the DOLT_COMMIT to come.
    pub own_rows_hold: Duration,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(8),
            lane_idle: Duration::from_secs(2),
            same_process_idle: Duration::from_millis(40),
            own_rows_hold: Duration::from_secs(1),
        }
    }
}

/// How far `Core::take` came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has them all; `anew` if any of them was not its own all the time since it was last taken.
    Taken { anew: bool },
    /// It waits for one of them; `look` tells until when.
    Wait,
}

/// What a waiter finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It has the lane that it waited for.
    Granted,
    /// Not yet; look again then, or when woken.
    Wait { until: Option<Instant> },
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Core {
    pub settings: LaneSettings,
    pub lanes: HashMap<LaneKey, Lane>,
    pub records: HashMap<Ticket, Record>,
    pub clock: CommitClock,
    pub habits: Habits,
    pub totals: Totals,
    pub effects: Effects,
    last_ticket: u64,
    last_place: u64,
}

impl Core {
    pub(super) fn new(settings: LaneSettings, now: Instant) -> Self {
        Self {
            settings,
            lanes: HashMap::new(),
            records: HashMap::new(),
            clock: CommitClock::default(),
            habits: Habits::default(),
            totals: Totals::new(now),
            last_ticket: Ticket::NOBODY.0,
            last_place: 0,
            effects: Effects::default(),
        }
    }

    /// Other times from now on, also for those who wait.
    pub(super) fn set_settings(&mut self, settings: LaneSettings) {
        self.settings = settings;
        let contended: Vec<LaneKey> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.queue.is_empty())
            .map(|(key, _)| key.clone())
            .collect();
        for key in contended {
            self.wake_watchers(&key);
        }
    }

    /// A session comes.
    pub(super) fn join(&mut self, who: Who) -> Ticket {
        self.last_ticket += 1;
        self.records.insert(Ticket(self.last_ticket), Record::new(who));
        Ticket(self.last_ticket)
    }

    /// It goes, however it ended.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Instant) {
        self.leave_queue(ticket, now);
        self.release_all(ticket, now);
        self.records.remove(&ticket);
    }

    /// Its process became known.
    pub(super) fn set_process(&mut self, ticket: Ticket, process: u32) {
        let Some(record) = self.records.get_mut(&ticket) else { return };
        let before = Arc::make_mut(&mut record.who).process.replace(process);
        if let Some(Waiting { key, place, .. }) = &record.waiting
            && let Some(lane) = self.lanes.get_mut(key)
        {
            lane.queue.remove(*place, before);
            lane.queue.push(*place, ticket, Some(process));
        }
        let waiting = record.waiting.iter().map(|waiting| waiting.key.clone());
        let keys: Vec<LaneKey> = record.held.iter().map(|held| held.key.clone()).chain(waiting).collect();
        for key in keys {
            self.wake_watchers(&key);
        }
    }

    /// Takes what is free of `keys`, in order, then waits for the first that isn't. After `Wait`, call it
    /// again once `look` says granted.
    pub(super) fn take(&mut self, ticket: Ticket, keys: &BTreeSet<LaneKey>, now: Instant) -> Step {
        self.busy(ticket);
        while let Some(key) = self.next_lacking(ticket, keys) {
            if !self.ask(ticket, &key, now) {
                // Waiting while holding a later one is how deadlocks are made.
                self.yield_later(ticket, &key, now);
                return Step::Wait;
            }
        }
        Step::Taken { anew: self.settle(ticket) }
    }

    /// Takes all of `keys` if nobody else holds any of them; changes nothing otherwise.
    pub(super) fn try_take(
        &mut self,
        ticket: Ticket,
        keys: &BTreeSet<LaneKey>,
        now: Instant,
    ) -> Option<Step> {
        let is_free = |key: &LaneKey| {
            let holder = self.lanes.get(key).and_then(|lane| lane.holder.as_ref());
            holder.is_none_or(|holder| holder.ticket == ticket)
        };
        keys.iter().all(is_free).then(|| self.take(ticket, keys, now))
    }

    /// The first lane of `keys`, or of those just yielded, that it does not use.
    fn next_lacking(&self, ticket: Ticket, keys: &BTreeSet<LaneKey>) -> Option<LaneKey> {
        let record = self.records.get(&ticket)?;
        let lacks = |key: &&LaneKey| !self.uses(ticket, key);
        let asked = keys.iter().find(lacks);
        let yielded = record.absent.iter().filter(|absent| absent.retake).map(|absent| &absent.key);
        asked.into_iter().chain(yielded.filter(lacks)).min().cloned()
    }

    /// Whether it holds this lane and has it in use.
    pub(super) fn uses(&self, ticket: Ticket, key: &LaneKey) -> bool {
        let holder = self.lanes.get(key).and_then(|lane| lane.holder.as_ref());
        holder.is_some_and(|holder| holder.ticket == ticket && !holder.kept)
    }

    /// The take is complete. Tells whether anything in it is new.
    fn settle(&mut self, ticket: Ticket) -> bool {
        let Some(record) = self.records.get_mut(&ticket) else { return false };
        let mut anew = false;
        for held in &mut record.held {
            anew |= std::mem::take(&mut held.fresh);
        }
        let held = &record.held;
        record.absent.retain(|absent| !held.iter().any(|held| held.key == absent.key));
        anew
    }

    /// Asks for one lane: true if it was free or its own, else it waits for it, before all who come anew
    /// if it had the lane in this transaction.
    pub(super) fn ask(&mut self, ticket: Ticket, key: &LaneKey, now: Instant) -> bool {
        if !self.lanes.contains_key(key) {
            self.prune();
            self.lanes.insert(key.clone(), Lane::default());
        }
        let (Some(lane), Some(record)) = (self.lanes.get_mut(key), self.records.get_mut(&ticket)) else {
            return false;
        };
        match &mut lane.holder {
            None => {
                self.grant(ticket, key, now);
                return true;
            }
            Some(holder) if holder.ticket == ticket => {
                if std::mem::take(&mut holder.kept) {
                    self.clock.begins(key.database());
                }
                return true;
            }
            Some(_) => {}
        }
        if record.waiting.is_some() {
            debug_assert!(record.waiting.as_ref().is_some_and(|waiting| waiting.key == *key), "waits twice");
            return false;
        }
        let returns = record.absent.iter().any(|absent| absent.key == *key);
        self.last_place += 1;
        let rank = if returns { Rank::Front } else { Rank::Back };
        let place = Place { rank, number: self.last_place };
        lane.contended_since.get_or_insert(now);
        lane.queue.push(place, ticket, record.who.process);
        record.waiting = Some(Waiting { key: key.clone(), place, since: now });
        lane.counters.waits += 1;
        self.totals.counters.waits += 1;
        self.totals.waiting += 1;
        false
    }

    /// Gives up what it waits for.
    pub(super) fn leave_queue(&mut self, ticket: Ticket, now: Instant) {
        let Some(key) = self.dequeue(ticket, now) else { return };
        // If it was the one to watch the holder, somebody else has to.
        self.wake_watchers(&key);
    }

    fn dequeue(&mut self, ticket: Ticket, now: Instant) -> Option<LaneKey> {
        let record = self.records.get_mut(&ticket)?;
        let Waiting { key, place, since } = record.waiting.take()?;
        let lane = self.lanes.get_mut(&key)?;
        lane.queue.remove(place, record.who.process);
        if lane.queue.is_empty() {
            lane.contended_since = None;
        }
        let waited = now.saturating_duration_since(since);
        lane.counters.waited(waited);
        self.totals.counters.waited(waited);
        self.totals.waiting -= 1;
        Some(key)
    }

    /// Ends a take that did not come to its end: what it got is released, what it had before stays, and
    /// what it had before and yielded counts as lent.
    pub(super) fn give_up(&mut self, ticket: Ticket, now: Instant) {
        self.leave_queue(ticket, now);
        let Some(record) = self.records.get_mut(&ticket) else { return };
        for absent in &mut record.absent {
            absent.retake = false;
        }
        let fresh: Vec<LaneKey> =
            record.held.iter().filter(|held| held.fresh).map(|held| held.key.clone()).collect();
        for key in fresh {
            self.unhold(ticket, &key);
            self.hand_on(&key, now);
        }
    }

    fn yield_later(&mut self, ticket: Ticket, than: &LaneKey, now: Instant) {
        let Some(record) = self.records.get(&ticket) else { return };
        let by = record.who.client_id;
        let later: Vec<LaneKey> =
            record.held.iter().map(|held| held.key.clone()).filter(|key| key > than).collect();
        for key in later {
            let used = self.uses(ticket, &key);
            self.unhold(ticket, &key);
            if used {
                self.lose(ticket, &key, true);
            }
            self.count(&key, |counters| counters.yields += 1);
            self.effects.notes.push(Note::Yielded { key: key.clone(), by, for_: than.clone() });
            self.hand_on(&key, now);
        }
    }

    fn lose(&mut self, ticket: Ticket, key: &LaneKey, retake: bool) {
        let Some(record) = self.records.get_mut(&ticket) else { return };
        match record.absent.iter_mut().find(|absent| absent.key == *key) {
            Some(absent) => absent.retake |= retake,
            None => record.absent.push(Absent { key: key.clone(), retake }),
        }
    }

    /// Its transaction is over for this lane.
    pub(super) fn release(&mut self, ticket: Ticket, key: &LaneKey, now: Instant) {
        if let Some(record) = self.records.get_mut(&ticket) {
            record.absent.retain(|absent| absent.key != *key);
        }
        if self.unhold(ticket, key) {
            self.hand_on(key, now);
        }
    }

    /// And for all.
    pub(super) fn release_all(&mut self, ticket: Ticket, now: Instant) {
        while let Some(key) =
            self.records.get(&ticket).and_then(|record| Some(record.held.last()?.key.clone()))
        {
            self.unhold(ticket, &key);
            self.hand_on(&key, now);
        }
        if let Some(record) = self.records.get_mut(&ticket) {
            record.absent.clear();
        }
    }

    /// Ends its keeps.
    pub(super) fn release_kept(&mut self, ticket: Ticket, now: Instant) {
        for key in self.held(ticket) {
            if !self.uses(ticket, &key) {
                self.release(ticket, &key, now);
            }
        }
    }

    /// After a SQL commit: keeps the lanes that it wrote until its DOLT_COMMIT, releases the others.
    /// Renewing a keep does not prolong it.
    pub(super) fn keep(&mut self, ticket: Ticket, rule: OwnRows, now: Instant) {
        let known = self.records.get(&ticket).is_some_and(|record| self.habits.believes(&record.habit, rule));
        let hold = if known { self.settings.own_rows_hold } else { self.settings.own_rows_hold.min(PROBE) };
        for key in self.held(ticket) {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            let Some(holder) = &mut lane.holder else { continue };
            let since = *holder.own_rows_since.get_or_insert(now);
            holder.keep_for = hold;
            let over = !lane.queue.is_empty() && now >= since + hold;
            if !holder.wrote || over {
                self.release(ticket, &key, now);
            } else if !std::mem::replace(&mut holder.kept, true) {
                self.clock.ends(ticket, key.database());
                self.count(&key, |counters| counters.keeps += 1);
                let by = self.client_id(ticket);
                self.effects.notes.push(Note::Kept { key: key.clone(), by });
                self.wake_watchers(&key);
            }
        }
        if let Some(record) = self.records.get_mut(&ticket) {
            record.absent.clear();
        }
    }

    /// Whether a lane should be kept for it.
    pub(super) fn believes(&self, ticket: Ticket, rule: OwnRows) -> bool {
        self.records.get(&ticket).is_some_and(|record| {
            let may_yet = rule == OwnRows::Learn && record.sql_commits < COMMITS_PER_MISS;
            may_yet || self.habits.believes(&record.habit, rule)
        })
    }

    /// A command of it is served from now on.
    pub(super) fn busy(&mut self, ticket: Ticket) {
        if let Some(record) = self.records.get_mut(&ticket) {
            record.activity = Activity::Busy;
        }
    }

    /// It is its client's turn.
    pub(super) fn idle(&mut self, ticket: Ticket, now: Instant) {
        if let Some(record) = self.records.get_mut(&ticket) {
            record.activity = Activity::Idle { since: now };
        }
    }

    /// Whether it has anything here: lanes, or a claim to come back to some.
    pub(super) fn has_any(&self, ticket: Ticket) -> bool {
        self.records.get(&ticket).is_some_and(|record| !record.held.is_empty() || !record.absent.is_empty())
    }

    /// The lanes that it holds, kept ones too.
    pub(super) fn held(&self, ticket: Ticket) -> Vec<LaneKey> {
        let record = self.records.get(&ticket);
        record.map(|record| record.held.iter().map(|held| held.key.clone()).collect()).unwrap_or_default()
    }

    /// A waiter looks: takes over if it may, and learns when to look again.
    pub(super) fn look(&mut self, ticket: Ticket, now: Instant) -> Look {
        if self.records.get(&ticket).is_none_or(|record| record.waiting.is_none()) {
            return Look::Granted;
        }
        if self.take_over(ticket, now).is_some() {
            return Look::Granted;
        }
        let warn_at = self.warn_if_held_long(ticket, now);
        let until = self.when_may_take_over(ticket, now).into_iter().chain(warn_at).min();
        Look::Wait { until }
    }

    /// When it should look again whether it may take over. Only the first waiter and the first of the
    /// holder's process are told a time: the others can't be next.
    pub(super) fn when_may_take_over(&self, ticket: Ticket, now: Instant) -> Option<Instant> {
        let (at, recheck) = self.chances(ticket, now);
        at.map(|(at, _)| at).into_iter().chain(recheck).min()
    }

    /// When it may take over as things are, and when to look again if the holder is busy: not later than
    /// the holder's idling could matter if it began now.
    pub(super) fn chances(
        &self,
        ticket: Ticket,
        now: Instant,
    ) -> (Option<(Instant, Lending)>, Option<Instant>) {
        let nothing = (None, None);
        let Some(waiting) = self.records.get(&ticket).and_then(|record| record.waiting.as_ref()) else {
            return nothing;
        };
        let Some(lane) = self.lanes.get(&waiting.key) else { return nothing };
        let Some(holder) = &lane.holder else { return nothing };
        let Some(theirs) = self.records.get(&holder.ticket) else { return nothing };
        let is = |place: Option<(Place, Ticket)>| place.is_some_and(|(place, _)| place == waiting.place);
        let is_first = is(lane.queue.first());
        let limits = [
            is_first.then_some((self.settings.lane_idle, Lending::Idle)),
            is(lane.queue.first_of(theirs.who.process))
                .then_some((self.settings.same_process_idle, Lending::SameProcess)),
        ];
        let limits = limits.into_iter().flatten();
        let (idle, recheck) = match theirs.activity {
            Activity::Idle { since } => (limits.map(|(limit, why)| (since + limit, why)).min(), None),
            Activity::Busy => (None, limits.map(|(limit, _)| now + limit.max(RECHECK_MIN)).min()),
        };
        // A kept lane is not in use, so its holder may be busy with something else.
        let keep = holder.own_rows_since.filter(|_| holder.kept && is_first);
        let keep = keep.map(|since| (since + holder.keep_for, Lending::KeepOver));
        (idle.into_iter().chain(keep).min(), recheck)
    }

    /// Takes the lane that it waits for from its holder, if the rules allow it now.
    pub(super) fn take_over(&mut self, ticket: Ticket, now: Instant) -> Option<Lending> {
        let (Some((at, why)), _) = self.chances(ticket, now) else { return None };
        if at > now {
            return None;
        }
        let key = self.records.get(&ticket)?.waiting.as_ref()?.key.clone();
        let holder = self.lanes.get(&key)?.holder.as_ref()?;
        let (from, kept) = (holder.ticket, holder.kept);
        let why = if kept { Lending::KeepOver } else { why };
        self.unhold(from, &key);
        if kept {
            self.count(&key, |counters| counters.keeps_taken_over += 1);
            self.missed(from);
        } else {
            self.lose(from, &key, false);
            self.count(&key, |counters| match why {
                Lending::SameProcess => counters.lent_same_process += 1,
                _ => counters.lent_idle += 1,
            });
        }
        let clients = [from, ticket].map(|ticket| self.client_id(ticket));
        self.effects.notes.push(Note::Lent { key: key.clone(), from: clients[0], to: clients[1], why });
        self.dequeue(ticket, now);
        self.grant(ticket, &key, now);
        self.wake_watchers(&key);
        Some(why)
    }

    pub(super) fn missed(&mut self, ticket: Ticket) {
        let Some(record) = self.records.get_mut(&ticket) else { return };
        if record.own_rows == OwnRowsState::Pending {
            record.own_rows = OwnRowsState::Missed;
            record.sql_commits = record.sql_commits.max(COMMITS_PER_MISS);
            self.habits.miss(&record.habit);
        }
    }

    fn grant(&mut self, ticket: Ticket, key: &LaneKey, now: Instant) {
        let (Some(lane), Some(record)) = (self.lanes.get_mut(key), self.records.get_mut(&ticket)) else {
            return;
        };
        debug_assert!(lane.holder.is_none(), "{key} has a holder");
        lane.holder = Some(Holder::new(ticket, now));
        lane.used_at = self.clock.now();
        lane.active_at = Some(now);
        lane.counters.grants += 1;
        record.held.push(Held { key: key.clone(), fresh: true });
        self.clock.begins(key.database());
        self.totals.counters.grants += 1;
        self.totals.held += 1;
    }

    /// Takes a lane from its holder; false if that isn't `ticket`. `hand_on` or `grant` comes next.
    fn unhold(&mut self, ticket: Ticket, key: &LaneKey) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else { return false };
        let Some(holder) = lane.holder.take_if(|holder| holder.ticket == ticket) else { return false };
        if !holder.kept {
            self.clock.ends(ticket, key.database());
        }
        if let Some(record) = self.records.get_mut(&ticket) {
            record.held.retain(|held| held.key != *key);
        }
        self.totals.held -= 1;
        true
    }

    /// Gives a lane without a holder to the first who waits.
    fn hand_on(&mut self, key: &LaneKey, now: Instant) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.active_at = Some(now);
        let Some((_, next)) = lane.queue.first() else { return };
        let record = self.records.get(&next);
        let since = record.and_then(|record| Some(record.waiting.as_ref()?.since)).unwrap_or(now);
        let to = self.client_id(next);
        self.dequeue(next, now);
        self.grant(next, key, now);
        let waited = now.saturating_duration_since(since);
        self.effects.notes.push(Note::Granted { key: key.clone(), to, waited });
        self.effects.wakes.push(next);
        self.wake_watchers(key);
    }

    /// Wakes those who have to watch the holder with a timer: the others sleep until they are.
    fn wake_watchers(&mut self, key: &LaneKey) {
        let Some(lane) = self.lanes.get(key) else { return };
        let holder = lane.holder.as_ref().and_then(|holder| self.records.get(&holder.ticket));
        let process = holder.and_then(|record| record.who.process);
        let watchers = [lane.queue.first(), lane.queue.first_of(process)];
        self.effects.wakes.extend(watchers.into_iter().flatten().map(|(_, ticket)| ticket));
    }

    /// Warns once per holding; tells the first waiter when to look.
    fn warn_if_held_long(&mut self, ticket: Ticket, now: Instant) -> Option<Instant> {
        let waiting = self.records.get(&ticket)?.waiting.as_ref()?;
        let lane = self.lanes.get_mut(&waiting.key)?;
        let holder = lane.holder.as_mut().filter(|holder| !holder.kept && !holder.warned)?;
        if lane.queue.first()?.0 != waiting.place {
            return None;
        }
        let at = holder.since.max(lane.contended_since?) + HELD_LONG;
        if at > now {
            return Some(at);
        }
        holder.warned = true;
        let held = now.saturating_duration_since(holder.since);
        let by = self.records.get(&holder.ticket).map_or(0, |record| record.who.client_id);
        let (key, waiting) = (waiting.key.clone(), lane.queue.len());
        self.effects.notes.push(Note::HeldLong { key, by, held, waiting });
        None
    }

    pub(super) fn client_id(&self, ticket: Ticket) -> u32 {
        self.records.get(&ticket).map_or(0, |record| record.who.client_id)
    }

    pub(super) fn count(&mut self, key: &LaneKey, add: impl Fn(&mut Counters)) {
        add(&mut self.totals.counters);
        if let Some(lane) = self.lanes.get_mut(key) {
            add(&mut lane.counters);
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "core_model_tests.rs"]
mod model_tests;
