//! Owns what a commit means to the core: the clock, whose rows a Dolt commit took along, what is learned
//! of its program, what is counted.

use std::time::Instant;

use super::clock::Reads;
use super::core::{COMMITS_PER_MISS, Core};
use super::counters::{Cause, Outcome, Totals};
use super::effects::{Effects, Note};
use super::lane::{Lane, Writers};
use super::lane_key::LaneKey;
use super::record::{OwnRowsState, Ticket};

/// Lanes remembered; past it the idle ones used least recently are forgotten, with their counters.
const LANES_MAX: usize = 10_000;

/// What kind of commit it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Rows, without a Dolt commit.
    Sql,
    /// A Dolt commit of what was SQL-committed before.
    Dolt,
    /// Both at once, as DOLT_COMMIT inside a transaction.
    SqlAndDolt,
    /// Neither, but the branch moved: DOLT_ADD, DOLT_RESET, a merge.
    Other,
}

impl Core {
    /// These lanes moved by a commit of `ticket` that Dolt has applied, or may have.
    pub(super) fn committed<'k>(
        &mut self,
        ticket: Ticket,
        keys: impl IntoIterator<Item = &'k LaneKey> + Clone,
        kind: Committed,
        now: Instant,
    ) {
        self.clock.committed(Some(ticket), keys.clone());
        if kind != Committed::Sql {
            self.effects.moved.extend(keys.clone().into_iter().cloned());
        }
        for key in keys {
            let Some(lane) = self.lanes.get_mut(key) else { continue };
            let holder = lane.holder.as_mut().filter(|holder| holder.ticket == ticket);
            match kind {
                Committed::Sql => {
                    lane.writers.add(ticket);
                    if let Some(holder) = holder {
                        holder.wrote = true;
                    }
                }
                Committed::Dolt | Committed::SqlAndDolt => {
                    if let Some(holder) = holder {
                        (holder.wrote, holder.own_rows_since) = (false, None);
                    }
                    if std::mem::replace(&mut lane.writers, Writers::None).others(ticket) {
                        self.swept(ticket, key, now);
                    }
                }
                Committed::Other => {}
            }
        }
        self.learn(ticket, kind);
    }

    fn swept(&mut self, ticket: Ticket, key: &LaneKey, now: Instant) {
        let uptime = now.saturating_duration_since(self.totals.since);
        self.count(key, |counters| counters.swept(uptime));
        let by = self.client_id(ticket);
        self.effects.notes.push(Note::Swept { key: key.clone(), by });
    }

    fn learn(&mut self, ticket: Ticket, kind: Committed) {
        let Some(record) = self.records.get_mut(&ticket) else { return };
        match kind {
            Committed::Sql => {
                record.sql_commits = record.sql_commits.saturating_add(1);
                if record.own_rows == OwnRowsState::Pending && record.sql_commits % COMMITS_PER_MISS == 0 {
                    self.habits.miss(&record.habit);
                }
                record.own_rows = OwnRowsState::Pending;
            }
            Committed::Dolt if record.own_rows == OwnRowsState::None => {}
            Committed::Dolt | Committed::SqlAndDolt => {
                record.own_rows = OwnRowsState::None;
                record.sql_commits = 0;
                self.habits.hit(&record.habit);
            }
            Committed::Other => {}
        }
    }

    /// Something of ours moved the database without a lane.
    pub(super) fn touched(&mut self, database: &str) {
        self.clock.touched(database);
    }

    /// The branch moved without us.
    pub(super) fn bypassed(&mut self, key: &LaneKey, now: Instant) {
        self.clock.committed(None, [key]);
        self.effects.moved.push(key.clone());
        self.count(key, |counters| {
            counters.bypasses += 1;
            counters.bypassed_at = Some(now);
        });
    }

    /// Whether anything of `reads` moved since the clock showed `snapshot`.
    pub(super) fn moved_since(&self, reads: &Reads, snapshot: u64) -> bool {
        self.clock.moved_since(reads, snapshot)
    }

    /// Whether anybody else used a lane of this database, or moved it, since the clock showed `since`.
    pub(super) fn others_active_since(&self, database: &str, ticket: Ticket, since: u64) -> bool {
        let own = self.records.get(&ticket).map_or(0, |record| {
            let of_it = |key: &&LaneKey| key.database().eq_ignore_ascii_case(database);
            record
                .held
                .iter()
                .map(|held| &held.key)
                .filter(of_it)
                .filter(|key| self.uses(ticket, key))
                .count()
        });
        self.clock.others_active_since(database, ticket, own, since)
    }

    /// Counts what a session did about a cause, on the lanes concerned.
    pub(super) fn outcome<'k>(
        &mut self,
        outcome: Outcome,
        cause: Cause,
        keys: impl IntoIterator<Item = &'k LaneKey>,
    ) {
        self.totals.by_cause[outcome as usize][cause as usize] += 1;
        self.totals.counters.outcome(outcome);
        for key in keys {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.counters.outcome(outcome);
            }
        }
    }

    /// A wait ended at its deadline.
    pub(super) fn timed_out(&mut self, key: &LaneKey) {
        self.count(key, |counters| counters.timeouts += 1);
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { clock: self.clock.now(), ..self.totals.clone() }
    }

    pub(super) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Makes room for one lane more.
    pub(super) fn prune(&mut self) {
        if self.lanes.len() < LANES_MAX {
            return;
        }
        let is_idle = |lane: &Lane| lane.holder.is_none() && lane.queue.is_empty();
        let mut used: Vec<u64> =
            self.lanes.values().filter(|lane| is_idle(lane)).map(|lane| lane.used_at).collect();
        if used.is_empty() {
            return;
        }
        let middle = used.len() / 2;
        let middle = *used.select_nth_unstable(middle).1;
        self.lanes.retain(|_, lane| !is_idle(lane) || lane.used_at > middle);
    }
}
