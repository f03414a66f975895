//! The core beside a model that does the same naively, over random events. Waiters look only when they
//! were woken or their time has come, as in the shell: a lost wake-up shows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{key, who};
use super::*;
use crate::admit::clock::Reads;
use crate::admit::commits::Committed;

const NAMES: [&str; 5] = ["db/x", "db/y", "other/x", "db/main", "other/main"];
const SEATS: usize = 6;

#[derive(Debug, Clone)]
enum Event {
    Take(usize, BTreeSet<usize>),
    Look(usize),
    Cancel(usize),
    Release(usize),
    Commit(usize, bool),
    Keep(usize),
    ReleaseKept(usize),
    Busy(usize),
    Idle(usize),
    Process(usize, u32),
    Rejoin(usize),
    Snapshot(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let seat = || 0..SEATS;
    let times = prop::sample::select(vec![1, 20, 39, 40, 100, 500, 960, 999, 1000, 1960, 2000]);
    let lanes = prop::collection::btree_set(0..NAMES.len(), 1..4);
    let event = prop_oneof![
        6 => (seat(), lanes).prop_map(|(seat, lanes)| Event::Take(seat, lanes)),
        4 => seat().prop_map(Event::Look),
        1 => seat().prop_map(Event::Cancel),
        2 => seat().prop_map(Event::Release),
        2 => (seat(), any::<bool>()).prop_map(|(seat, dolt)| Event::Commit(seat, dolt)),
        2 => seat().prop_map(Event::Keep),
        1 => seat().prop_map(Event::ReleaseKept),
        1 => seat().prop_map(Event::Busy),
        4 => seat().prop_map(Event::Idle),
        1 => (seat(), 1..3u32).prop_map(|(seat, process)| Event::Process(seat, process)),
        1 => seat().prop_map(Event::Rejoin),
        1 => seat().prop_map(Event::Snapshot),
        4 => times.prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..120)
}

#[derive(Debug, Default, Clone)]
struct ModelLane {
    holder: Option<usize>,
    kept: bool,
    wrote: bool,
    own_rows_since: Option<Instant>,
    /// (comes anew, number, seat)
    queue: Vec<(bool, u64, usize)>,
    /// In which step it moved last.
    moved: Option<usize>,
}

#[derive(Debug, Default, Clone)]
struct ModelSeat {
    process: Option<u32>,
    idle_since: Option<Instant>,
    wanted: Option<BTreeSet<LaneKey>>,
    fresh: BTreeSet<LaneKey>,
    /// Lane, and whether the take that goes on gets it back.
    absent: BTreeMap<LaneKey, bool>,
    woken: bool,
    until: Option<Instant>,
    /// The clock and the step.
    snapshot: (u64, usize),
    /// By database, the last step after which it had a lane of it in use.
    active: BTreeMap<String, usize>,
}

struct Both {
    core: Core,
    tickets: Vec<Ticket>,
    lanes: BTreeMap<LaneKey, ModelLane>,
    seats: Vec<ModelSeat>,
    now: Instant,
    numbers: u64,
    step: usize,
}

impl Both {
    fn new() -> Self {
        let now = Instant::now();
        let mut core = Core::new(LaneSettings::default(), now);
        let seats: Vec<ModelSeat> = (0..SEATS)
            .map(|at| ModelSeat { process: [Some(1), Some(2), None][at % 3], ..ModelSeat::default() })
            .collect();
        let tickets = seats.iter().map(|seat| core.join(who(1, seat.process))).collect();
        let lanes = NAMES.iter().map(|name| (key(name), ModelLane::default())).collect();
        Self { core, tickets, lanes, seats, now, numbers: 0, step: 1 }
    }

    fn uses(&self, seat: usize, key: &LaneKey) -> bool {
        self.lanes[key].holder == Some(seat) && !self.lanes[key].kept
    }

    fn waits_for(&self, seat: usize) -> Option<LaneKey> {
        let waits = |lane: &ModelLane| lane.queue.iter().any(|(_, _, waiter)| *waiter == seat);
        self.lanes.iter().find(|(_, lane)| waits(lane)).map(|(key, _)| key.clone())
    }

    fn lane(&mut self, key: &LaneKey) -> &mut ModelLane {
        self.lanes.get_mut(key).expect("a lane of the test")
    }

    fn first(&self, key: &LaneKey, process: Option<Option<u32>>) -> Option<usize> {
        let queue = self.lanes[key].queue.iter();
        let mut queue: Vec<_> = queue
            .filter(|(_, _, seat)| process.is_none_or(|of| of.is_some() && self.seats[*seat].process == of))
            .collect();
        queue.sort();
        queue.first().map(|(_, _, seat)| *seat)
    }

    fn give(&mut self, key: &LaneKey, seat: usize) {
        let now_moved = self.lanes[key].moved;
        let mut queue = std::mem::take(&mut self.lane(key).queue);
        queue.retain(|(_, _, waiter)| *waiter != seat);
        *self.lane(key) = ModelLane { holder: Some(seat), queue, moved: now_moved, ..ModelLane::default() };
        self.seats[seat].fresh.insert(key.clone());
    }

    fn pass_on(&mut self, key: &LaneKey) {
        self.lane(key).holder = None;
        self.lane(key).kept = false;
        if let Some(next) = self.first(key, None) {
            self.give(key, next);
        }
    }

    fn held(&self, seat: usize) -> Vec<LaneKey> {
        let mine = |(key, lane): (&LaneKey, &ModelLane)| (lane.holder == Some(seat)).then(|| key.clone());
        self.lanes.iter().filter_map(mine).collect()
    }

    /// As `Core::take`, with the model; true when it has all.
    fn model_take(&mut self, seat: usize, wanted: &BTreeSet<LaneKey>) -> bool {
        self.seats[seat].idle_since = None;
        loop {
            let back = self.seats[seat].absent.iter().filter(|(_, retake)| **retake).map(|(key, _)| key);
            let lacking = wanted.iter().chain(back).filter(|key| !self.uses(seat, key)).min().cloned();
            let Some(lacking) = lacking else { break };
            match self.lanes[&lacking].holder {
                None => self.give(&lacking, seat),
                Some(holder) if holder == seat => self.lane(&lacking).kept = false,
                Some(_) => {
                    self.numbers += 1;
                    let place = (!self.seats[seat].absent.contains_key(&lacking), self.numbers, seat);
                    self.lane(&lacking).queue.push(place);
                    for later in self.held(seat).into_iter().filter(|key| *key > lacking) {
                        if self.uses(seat, &later) {
                            self.seats[seat].absent.insert(later.clone(), true);
                        }
                        self.pass_on(&later);
                    }
                    return false;
                }
            }
        }
        self.seats[seat].fresh.clear();
        for key in self.held(seat) {
            self.seats[seat].absent.remove(&key);
        }
        true
    }

    fn model_release_all(&mut self, seat: usize) {
        for key in self.held(seat) {
            self.pass_on(&key);
        }
        self.seats[seat].absent.clear();
    }

    fn model_leave_queue(&mut self, seat: usize) {
        for lane in self.lanes.values_mut() {
            lane.queue.retain(|(_, _, waiter)| *waiter != seat);
        }
    }

    fn take(&mut self, seat: usize, wanted: BTreeSet<LaneKey>) {
        let step = self.core.take(self.tickets[seat], &wanted, self.now);
        let had: BTreeSet<_> = wanted.iter().filter(|key| self.uses(seat, key)).cloned().collect();
        let has_all = self.model_take(seat, &wanted);
        assert_eq!(step != Step::Wait, has_all);
        if step == HELD {
            assert!(wanted.is_subset(&had) || self.seats[seat].fresh.is_empty(), "nothing new");
        }
        // The shell looks at once after a take that waits.
        self.seats[seat].woken = !has_all;
        self.seats[seat].wanted = (!has_all).then_some(wanted);
        self.seats[seat].until = None;
    }

    /// When the model lets this waiter take over if nothing else happens.
    fn may_take_over_at(&self, seat: usize) -> Option<Instant> {
        let key = self.waits_for(seat)?;
        let lane = &self.lanes[&key];
        let holder = &self.seats[lane.holder.expect("a lane with a queue has a holder")];
        let is_first = self.first(&key, None) == Some(seat);
        let is_same = self.first(&key, Some(holder.process)) == Some(seat);
        let after = |since: Option<Instant>, ms| Some(since? + Duration::from_millis(ms));
        let times = [
            after(holder.idle_since, 2000).filter(|_| is_first),
            after(holder.idle_since, 40).filter(|_| is_same),
            after(lane.own_rows_since, 1000).filter(|_| is_first && lane.kept),
        ];
        times.into_iter().flatten().min()
    }

    fn look(&mut self, seat: usize) {
        let Some(wanted) = self.seats[seat].wanted.clone() else { return };
        self.seats[seat].woken = false;
        let look = self.core.look(self.tickets[seat], self.now);
        if let Some(key) = self.waits_for(seat) {
            let may = self.may_take_over_at(seat).is_some_and(|at| at <= self.now);
            assert_eq!(look == Look::Granted, may, "seat {seat} for {key}");
            if may {
                let from = self.lanes[&key].holder.expect("from a holder");
                if !self.lanes[&key].kept {
                    self.seats[from].absent.entry(key.clone()).or_insert(false);
                }
                self.lane(&key).holder = None;
                self.give(&key, seat);
            }
        } else {
            assert_eq!(look, Look::Granted);
        }
        match look {
            Look::Granted => self.take(seat, wanted),
            Look::Wait { until } => {
                assert!(until.is_none_or(|until| until > self.now), "a time to look again is to come");
                self.seats[seat].until = until;
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let now = self.now;
        // A session that waits can do nothing but look, cancel or vanish.
        let free = |both: &Self, seat: usize| both.seats[seat].wanted.is_none();
        match event {
            Event::Take(seat, lanes) if free(self, seat) => {
                self.take(seat, lanes.into_iter().map(|at| key(NAMES[at])).collect());
            }
            Event::Look(seat) if self.attends(seat) => self.look(seat),
            Event::Cancel(seat) if !free(self, seat) => {
                self.core.give_up(self.tickets[seat], now);
                self.model_leave_queue(seat);
                for key in std::mem::take(&mut self.seats[seat].fresh) {
                    self.pass_on(&key);
                }
                self.seats[seat].absent.values_mut().for_each(|retake| *retake = false);
                self.seats[seat].wanted = None;
            }
            Event::Release(seat) if free(self, seat) => {
                self.core.release_all(self.tickets[seat], now);
                self.model_release_all(seat);
            }
            Event::Commit(seat, dolt) if free(self, seat) => {
                let kind = if dolt { Committed::Dolt } else { Committed::Sql };
                let keys: Vec<_> = self.held(seat).into_iter().filter(|key| self.uses(seat, key)).collect();
                self.core.committed(self.tickets[seat], &keys, kind, now);
                for key in keys {
                    let step = self.step;
                    let lane = self.lane(&key);
                    lane.moved = Some(step);
                    lane.wrote = !dolt;
                    lane.own_rows_since = lane.own_rows_since.filter(|_| !dolt);
                }
            }
            Event::Keep(seat) if free(self, seat) => {
                self.core.keep(self.tickets[seat], OwnRows::Always, now);
                for key in self.held(seat) {
                    let lane = self.lane(&key);
                    let since = *lane.own_rows_since.get_or_insert(now);
                    lane.kept = true;
                    if !lane.wrote || !lane.queue.is_empty() && now >= since + Duration::from_secs(1) {
                        self.pass_on(&key);
                    }
                }
                self.seats[seat].absent.clear();
            }
            Event::ReleaseKept(seat) if free(self, seat) => {
                self.core.release_kept(self.tickets[seat], now);
                for key in self.held(seat).into_iter().filter(|key| !self.uses(seat, key)).collect::<Vec<_>>()
                {
                    self.pass_on(&key);
                }
            }
            Event::Busy(seat) if free(self, seat) => {
                self.core.busy(self.tickets[seat]);
                self.seats[seat].idle_since = None;
            }
            Event::Idle(seat) if free(self, seat) => {
                self.core.idle(self.tickets[seat], now);
                self.seats[seat].idle_since = Some(now);
            }
            Event::Process(seat, process) => {
                self.core.set_process(self.tickets[seat], process);
                self.seats[seat].process = Some(process);
            }
            Event::Rejoin(seat) => {
                self.core.leave(self.tickets[seat], now);
                self.model_leave_queue(seat);
                self.model_release_all(seat);
                let process = self.seats[seat].process;
                self.tickets[seat] = self.core.join(who(1, process));
                let active = std::mem::take(&mut self.seats[seat].active);
                self.seats[seat] = ModelSeat { process, active, ..ModelSeat::default() };
                self.snapshot(seat);
            }
            Event::Snapshot(seat) => self.snapshot(seat),
            Event::Pass(ms) => self.now += Duration::from_millis(ms),
            _ => {}
        }
        self.check();
    }

    fn snapshot(&mut self, seat: usize) {
        self.seats[seat].snapshot = (self.core.clock.now(), self.step);
    }

    /// Whether the shell would look now.
    fn attends(&self, seat: usize) -> bool {
        let model = &self.seats[seat];
        model.wanted.is_some() && (model.woken || model.until.is_some_and(|until| until <= self.now))
    }

    fn check(&mut self) {
        for ticket in self.core.take_effects().wakes {
            let seat = self.tickets.iter().position(|other| *other == ticket);
            self.seats[seat.expect("nobody who left is woken")].woken = true;
        }
        for (key, lane) in &self.lanes {
            let real = self.core.lanes.get(key);
            let holder = real.and_then(|real| real.holder.as_ref());
            assert_eq!(
                holder.map(|holder| holder.ticket),
                lane.holder.map(|seat| self.tickets[seat]),
                "{key}"
            );
            assert_eq!(holder.is_some_and(|holder| holder.kept), lane.holder.is_some() && lane.kept, "{key}");
            let mut queue = lane.queue.clone();
            queue.sort();
            let queue: Vec<_> = queue.into_iter().map(|(_, _, seat)| self.tickets[seat]).collect();
            let real: Vec<_> = real.into_iter().flat_map(|real| real.queue.iter()).map(|(_, t)| t).collect();
            assert_eq!(real, queue, "the queue of {key}");
            assert!(lane.holder.is_some() || lane.queue.is_empty(), "{key} is free and waited for");
        }
        for seat in 0..SEATS {
            self.check_seat(seat);
        }
        self.check_clock();
        let totals = self.core.totals();
        let waiting = (0..SEATS).filter(|seat| self.waits_for(*seat).is_some()).count();
        let held = self.lanes.values().filter(|lane| lane.holder.is_some()).count();
        assert_eq!((totals.held, totals.waiting), (held, waiting));
        self.step += 1;
    }

    fn check_seat(&self, seat: usize) {
        let model = &self.seats[seat];
        if model.wanted.is_none() {
            return;
        }
        match self.waits_for(seat) {
            None => assert!(model.woken, "seat {seat} was given its lane and not woken"),
            Some(key) => {
                let held = self.held(seat);
                assert!(held.iter().all(|held| *held < key), "waits for {key}, holds {held:?}");
                let Some(at) = self.may_take_over_at(seat) else { return };
                let looks_at = if model.woken { Some(self.now) } else { model.until };
                assert!(
                    looks_at.is_some_and(|looks| looks <= at.max(self.now)),
                    "seat {seat} may take {key} over in {:?} and does not look then",
                    at.saturating_duration_since(self.now)
                );
            }
        }
    }

    fn check_clock(&mut self) {
        let step = self.step;
        for seat in 0..SEATS {
            for key in self.held(seat).into_iter().filter(|key| self.uses(seat, key)).collect::<Vec<_>>() {
                self.seats[seat].active.insert(key.database().to_string(), step);
            }
        }
        for seat in 0..SEATS {
            let (clock, since) = self.seats[seat].snapshot;
            for (key, lane) in &self.lanes {
                let mut reads = Reads::default();
                reads.lane(key);
                let moved = lane.moved.is_some_and(|moved| moved > since);
                // A snapshot is taken within its own step, in which nothing is committed.
                assert_eq!(self.core.moved_since(&reads, clock), moved, "{key} for seat {seat}");
            }
            for database in ["db", "other"] {
                let others = (0..SEATS).filter(|other| *other != seat);
                let active = others.filter_map(|other| self.seats[other].active.get(database)).max();
                let active = active.is_some_and(|active| *active >= since);
                let real = self.core.others_active_since(database, self.tickets[seat], clock);
                assert_eq!(real, active, "{database} for seat {seat}");
            }
        }
    }

    /// Everybody who waits gets what it waits for, by wake-ups alone, once holders go.
    fn finish_by_release(&mut self) {
        for _ in 0..200 {
            let Some(seat) = (0..SEATS).find(|seat| self.attends(*seat)) else {
                let holder = (0..SEATS)
                    .find(|seat| self.seats[*seat].wanted.is_none() && !self.held(*seat).is_empty());
                let Some(holder) = holder else { break };
                self.apply(Event::Release(holder));
                continue;
            };
            self.apply(Event::Look(seat));
        }
        assert!(self.seats.iter().all(|seat| seat.wanted.is_none()), "somebody waits for ever");
    }

    /// And by its own timers alone, when holders only idle. Those who wait for a busy holder look every
    /// 40 ms, so it is the time that is bounded: each lane idles away at most once for each seat.
    fn finish_by_idling(&mut self) {
        let limit = self.now + Duration::from_secs(2) * (SEATS * NAMES.len()) as u32;
        while self.now < limit {
            for seat in 0..SEATS {
                if self.seats[seat].wanted.is_none() && self.seats[seat].idle_since.is_none() {
                    self.apply(Event::Idle(seat));
                }
            }
            if let Some(seat) = (0..SEATS).find(|seat| self.attends(*seat)) {
                self.apply(Event::Look(seat));
                continue;
            }
            let waiting = self.seats.iter().filter(|seat| seat.wanted.is_some());
            let Some(next) = waiting.filter_map(|seat| seat.until).min() else { break };
            assert!(next > self.now, "a time to look that has passed makes a seat attend");
            self.now = next;
            self.check();
        }
        assert!(self.seats.iter().all(|seat| seat.wanted.is_none()), "somebody waits for ever");
    }
}

const HELD: Step = Step::Taken { anew: false };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_core_does_what_the_model_does(events in events(), by_release in any::<bool>()) {
        let mut both = Both::new();
        for event in events {
            both.apply(event);
        }
        if by_release {
            both.finish_by_release();
        } else {
            both.finish_by_idling();
        }
    }
}
