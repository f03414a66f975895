//! Owns one session's dealings with the lanes: taking, waiting, keeping, leaving.
//! Does not decide who is next. Always: a dropped seat holds nothing and waits for nothing; a dropped
//! `take` leaves the seat with what it had before, but for what it had to yield.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Reads;
use super::commits::Committed;
use super::core::{Look, Step};
use super::counters::{Cause, Outcome};
use super::lane_key::LaneKey;
use super::lanes::{Lanes, Station, now};
use super::record::Ticket;
use super::stall;
use super::view::NotTaken;
use crate::config::OwnRows;

/// One session's handle.
#[derive(Debug)]
pub struct Seat {
    lanes: Lanes,
    ticket: Ticket,
    station: Arc<Station>,
    knows_process: bool,
    /// Whether the core may have anything of this session: never false when it has.
    has_any: bool,
}

/// A take that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether any lane is new to this transaction, or was with others in between: what was read under it
    /// has to be checked.
    pub anew: bool,
    /// How long that took.
    pub waited: Duration,
}

impl Seat {
    pub(super) fn new(lanes: Lanes, ticket: Ticket, station: Arc<Station>, knows_process: bool) -> Self {
        Self { lanes, ticket, station, knows_process, has_any: false }
    }

    /// All lanes.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Whether `set_process` is still to be called: before a wait, and before idling with lanes held.
    pub fn knows_process(&self) -> bool {
        self.knows_process
    }

    /// The client's process became known. Sessions of one process get lanes from each other sooner.
    pub fn set_process(&mut self, process: u32) {
        self.knows_process = true;
        self.lanes.with(|core| core.set_process(self.ticket, process));
    }

    /// The statement that is served, for others to see: no secrets.
    pub fn doing(&self, statement: &str) {
        self.station.says(statement);
    }

    /// A command came: from now on no lane in use is lent. Those lent before are found by `holds_all`.
    pub fn busy(&mut self) {
        if self.has_any {
            self.lanes.with(|core| core.busy(self.ticket));
        }
    }

    /// It is the client's turn: from now on lanes may be lent.
    pub fn idle(&mut self) {
        if self.has_any {
            self.has_any = self.lanes.with(|core| {
                core.idle(self.ticket, now());
                core.has_any(self.ticket)
            });
        }
    }

    /// Takes all these lanes, waiting in turn until `deadline`. Lanes held beyond them stay held; but when
    /// it has to wait for one, all that come after that one are given up and taken again, at the front.
    /// Cancel-safe: dropped, it leaves the queue and what it took; what it gave up counts as lent.
    pub async fn take(
        &mut self,
        keys: &BTreeSet<LaneKey>,
        deadline: tokio::time::Instant,
    ) -> Result<Taken, NotTaken> {
        if let Some(taken) = self.try_now(keys) {
            return Ok(taken);
        }
        self.wait(keys, deadline).await
    }

    /// Takes all these lanes if that needs no wait; changes nothing otherwise.
    pub fn try_take(&mut self, keys: &BTreeSet<LaneKey>) -> Option<Taken> {
        let step = self.lanes.with(|core| core.try_take(self.ticket, keys, now()))?;
        self.has_any |= !keys.is_empty();
        match step {
            Step::Taken { anew } => Some(Taken { anew, waited: Duration::ZERO }),
            Step::Wait => None,
        }
    }

    fn try_now(&mut self, keys: &BTreeSet<LaneKey>) -> Option<Taken> {
        if keys.is_empty() {
            return Some(Taken { anew: false, waited: Duration::ZERO });
        }
        self.has_any = true;
        match self.lanes.with(|core| core.take(self.ticket, keys, now())) {
            Step::Taken { anew } => Some(Taken { anew, waited: Duration::ZERO }),
            Step::Wait => None,
        }
    }

    async fn wait(
        &mut self,
        keys: &BTreeSet<LaneKey>,
        deadline: tokio::time::Instant,
    ) -> Result<Taken, NotTaken> {
        let began = now();
        let mut attempt = Attempt { seat: self, unfinished: true };
        loop {
            let seat = &*attempt.seat;
            let doubt = seat.lanes.with(|core| core.doubt(seat.ticket, now()));
            let look = match doubt {
                Some(process) if stall::is_running(process).await => {
                    Look::Wait { until: Some(now() + stall::LOOK_AGAIN) }
                }
                _ => seat.lanes.with(|core| core.look(seat.ticket, now())),
            };
            let Look::Wait { until } = look else {
                let step = seat.lanes.with(|core| core.take(seat.ticket, keys, now()));
                if let Step::Taken { anew } = step {
                    attempt.unfinished = false;
                    return Ok(Taken { anew, waited: now().saturating_duration_since(began) });
                }
                continue;
            };
            if tokio::time::Instant::now() >= deadline {
                match seat.lanes.time_out(seat.ticket, began) {
                    Some(not_taken) => return Err(not_taken),
                    None => continue,
                }
            }
            let until = until.map_or(deadline, |until| deadline.min(until.into()));
            tokio::select! {
                () = seat.station.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Whether it holds all these lanes, in use. Call `busy` first, or it may be untrue a moment later.
    /// A kept lane is not in use until it is taken.
    pub fn holds_all(&self, keys: &BTreeSet<LaneKey>) -> bool {
        let holds = |key| self.lanes.with(|core| core.uses(self.ticket, key));
        keys.is_empty() || self.has_any && keys.iter().all(holds)
    }

    /// The lanes that it holds, kept ones too.
    pub fn held(&self) -> BTreeSet<LaneKey> {
        if !self.has_any {
            return BTreeSet::new();
        }
        self.lanes.with(|core| core.held(self.ticket)).into_iter().collect()
    }

    /// What the clock shows: noted before BEGIN is sent.
    pub fn snapshot(&self) -> u64 {
        self.lanes.clock()
    }

    /// Whether anything of `reads` moved since the snapshot. "No" lasts while their lanes are held.
    pub fn moved_since(&self, reads: &Reads, snapshot: u64) -> bool {
        self.lanes.moved_since(reads, snapshot)
    }

    /// Dolt has applied a commit to these lanes, or may have. Before they are released.
    pub fn committed<'k>(&mut self, keys: impl IntoIterator<Item = &'k LaneKey> + Clone, kind: Committed) {
        self.lanes.with(|core| core.committed(self.ticket, keys, kind, now()));
    }

    /// Whether anybody else used a lane of this database, or moved it, since the clock showed `since`,
    /// which was read while this session held its lanes.
    pub fn others_active_since(&self, database: &str, since: u64) -> bool {
        self.lanes.with(|core| core.others_active_since(database, self.ticket, since))
    }

    /// Whether its lanes should be kept after a SQL commit.
    pub fn believes(&self, rule: OwnRows) -> bool {
        self.lanes.with(|core| core.believes(self.ticket, rule))
    }

    /// The transaction is over, its DOLT_COMMIT to come: keeps the lanes it wrote, releases the others.
    pub fn keep(&mut self, rule: OwnRows) {
        if self.has_any {
            self.lanes.with(|core| core.keep(self.ticket, rule, now()));
        }
    }

    /// The transaction is over.
    pub fn release_all(&mut self) {
        if std::mem::take(&mut self.has_any) {
            self.lanes.with(|core| core.release_all(self.ticket, now()));
        }
    }

    /// No DOLT_COMMIT will come.
    pub fn release_kept(&mut self) {
        if self.has_any {
            self.lanes.with(|core| core.release_kept(self.ticket, now()));
        }
    }

    /// Counts what it did about a cause, on these lanes.
    pub fn count<'k>(&self, outcome: Outcome, cause: Cause, keys: impl IntoIterator<Item = &'k LaneKey>) {
        tracing::debug!(outcome = outcome.as_str(), cause = cause.as_str(), "transaction");
        self.lanes.with(|core| core.outcome(outcome, cause, keys));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lanes.leave(self.ticket);
    }
}

/// A take that waits; dropped unfinished, it leaves the queue.
struct Attempt<'s> {
    seat: &'s mut Seat,
    unfinished: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.unfinished {
            self.seat.lanes.with(|core| core.give_up(self.seat.ticket, now()));
        }
    }
}
