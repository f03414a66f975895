//! Owns what is counted, per lane and in all, and the names of causes that log, metrics and `SHOW` share.
//! Decides nothing. Always: counts only grow, but for the rate of the last minute.

use std::time::{Duration, Instant};

/// Why a transaction was run again, refused with 1213, or a statement was tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// What it had read or written moved since its snapshot.
    Moved,
    /// Run again, it got other answers than the client had seen.
    AnswerChanged,
    /// It can't be run again: a changing function fed a write, or an answer was delivered in part.
    NotRepeatable,
    /// Its log was past the limit.
    LogFull,
    /// Dolt answered 1213: somebody wrote who does not come through us.
    DoltConflict,
    /// Dolt's "optimistic lock failed".
    OptimisticLock,
    /// Dolt's "dataset head is not ancestor of commit".
    HeadNotAncestor,
    /// Constraint violations found at COMMIT.
    ConstraintViolation,
    /// The backend was from before a garbage collection.
    GarbageCollection,
    /// The server changed its cluster role.
    RoleTransition,
    /// The connection to Dolt was lost.
    BackendLost,
    /// Dolt was down or restarting.
    DoltDown,
    /// A write whose answer was lost did not happen.
    NotApplied,
    /// It can't be told whether a write whose answer was lost happened.
    FateUnknown,
}

impl Cause {
    /// All of them, in the order of `Totals`.
    pub const ALL: [Self; 14] = [
        Self::Moved,
        Self::AnswerChanged,
        Self::NotRepeatable,
        Self::LogFull,
        Self::DoltConflict,
        Self::OptimisticLock,
        Self::HeadNotAncestor,
        Self::ConstraintViolation,
        Self::GarbageCollection,
        Self::RoleTransition,
        Self::BackendLost,
        Self::DoltDown,
        Self::NotApplied,
        Self::FateUnknown,
    ];

    /// Its name in log, metrics and `SHOW`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::AnswerChanged => "answer_changed",
            Self::NotRepeatable => "not_repeatable",
            Self::LogFull => "log_full",
            Self::DoltConflict => "dolt_conflict",
            Self::OptimisticLock => "optimistic_lock",
            Self::HeadNotAncestor => "head_not_ancestor",
            Self::ConstraintViolation => "constraint_violation",
            Self::GarbageCollection => "garbage_collection",
            Self::RoleTransition => "role_transition",
            Self::BackendLost => "backend_lost",
            Self::DoltDown => "dolt_down",
            Self::NotApplied => "not_applied",
            Self::FateUnknown => "fate_unknown",
        }
    }
}

/// What a session did about a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Ran the whole transaction again, unseen.
    Rerun,
    /// Answered 1213/40001.
    Conflict,
    /// Tried one statement or commit again.
    Retry,
}

impl Outcome {
    /// All of them, in the order of `Totals`.
    pub const ALL: [Self; 3] = [Self::Rerun, Self::Conflict, Self::Retry];

    /// Its name in log, metrics and `SHOW`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rerun => "rerun",
            Self::Conflict => "conflict",
            Self::Retry => "retry",
        }
    }
}

/// Counts of one lane, or of all since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times the lane was given to a session.
    pub grants: u64,
    /// Times a session had to wait for it.
    pub waits: u64,
    /// Time waited, also in vain.
    pub wait_total: Duration,
    /// The longest wait.
    pub wait_max: Duration,
    /// Lent because its holder was idle for `lane_idle`.
    pub lent_idle: u64,
    /// Lent to another session of the holder's process.
    pub lent_same_process: u64,
    /// Kept after a SQL commit, for the DOLT_COMMIT to come.
    pub keeps: u64,
    /// Keeps ended by a waiter.
    pub keeps_taken_over: u64,
    /// Given up because an earlier lane had to be waited for.
    pub yields: u64,
    /// Transactions refused with 1213.
    pub conflicts: u64,
    /// Transactions run again.
    pub reruns: u64,
    /// Statements or commits tried again.
    pub retries: u64,
    /// Dolt commits that took rows of other sessions along.
    pub sweeps: u64,
    /// Waits that ended at their deadline.
    pub timeouts: u64,
    /// Times the branch was seen to have moved without us.
    pub bypasses: u64,
    /// The last of them.
    pub bypassed_at: Option<Instant>,
    sweeps_last_minute: PerMinute,
}

impl Counters {
    /// Sweeps within the last minute.
    pub fn sweeps_per_minute(&self, uptime: Duration) -> u32 {
        self.sweeps_last_minute.count(uptime)
    }

    pub(super) fn waited(&mut self, waited: Duration) {
        self.wait_total += waited;
        self.wait_max = self.wait_max.max(waited);
    }

    pub(super) fn swept(&mut self, uptime: Duration) {
        self.sweeps += 1;
        self.sweeps_last_minute.add(uptime);
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Rerun => self.reruns += 1,
            Outcome::Conflict => self.conflicts += 1,
            Outcome::Retry => self.retries += 1,
        }
    }
}

/// Counts of all lanes since the start, also of those forgotten since.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Since when it is counted.
    pub since: Instant,
    /// Sums over all lanes.
    pub counters: Counters,
    /// The commit clock.
    pub clock: u64,
    /// Lanes held now.
    pub held: usize,
    /// Sessions that wait now.
    pub waiting: usize,
    pub(super) by_cause: [[u64; Cause::ALL.len()]; Outcome::ALL.len()],
}

impl Totals {
    pub(super) fn new(since: Instant) -> Self {
        let counters = Counters::default();
        Self { since, counters, clock: 0, held: 0, waiting: 0, by_cause: Default::default() }
    }

    /// How often `outcome` had this cause.
    pub fn by_cause(&self, outcome: Outcome, cause: Cause) -> u64 {
        self.by_cause[outcome as usize][cause as usize]
    }
}

/// Counts by tenths of a minute, of which the last ten are a minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PerMinute {
    /// Of the newest bucket.
    slot: u64,
    buckets: [u32; Self::BUCKETS],
}

impl PerMinute {
    const BUCKETS: usize = 10;

    fn slot_of(uptime: Duration) -> u64 {
        uptime.as_secs() * Self::BUCKETS as u64 / 60
    }

    fn add(&mut self, uptime: Duration) {
        let slot = Self::slot_of(uptime).max(self.slot);
        for passed in (self.slot + 1..=slot).take(Self::BUCKETS) {
            self.buckets[passed as usize % Self::BUCKETS] = 0;
        }
        if slot - self.slot >= Self::BUCKETS as u64 {
            self.buckets = Default::default();
        }
        self.slot = slot;
        let bucket = &mut self.buckets[slot as usize % Self::BUCKETS];
        *bucket = bucket.saturating_add(1);
    }

    fn count(&self, uptime: Duration) -> u32 {
        let now = Self::slot_of(uptime).max(self.slot);
        let oldest = (now + 1).saturating_sub(Self::BUCKETS as u64);
        (oldest..=self.slot).map(|slot| self.buckets[slot as usize % Self::BUCKETS]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_forgotten_by_tenths() {
        let at = Duration::from_secs;
        let mut rate = PerMinute::default();
        assert_eq!(rate.count(at(0)), 0);
        for second in [0, 1, 30, 59] {
            rate.add(at(second));
        }
        assert_eq!(rate.count(at(59)), 4);
        assert_eq!(rate.count(at(61)), 2, "those of the first six seconds are over a minute old");
        assert_eq!(rate.count(at(113)), 1);
        assert_eq!(rate.count(at(114)), 0);
        rate.add(at(118));
        assert_eq!(rate.count(at(118)), 1, "an old bucket is not counted again");
        rate.add(at(4000));
        assert_eq!((rate.count(at(4000)), rate.count(at(5000))), (1, 0));
    }

    #[test]
    fn names_and_places_of_causes_are_distinct() {
        let mut names: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::ALL.len());
        for (at, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, at);
        }
        for (at, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
        }
    }
}
