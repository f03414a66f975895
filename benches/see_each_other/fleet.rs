//! Owns a fleet of writers, each on a branch of its own, and how what they commit reaches main and the others.
//! Always: no two writers touch the same row, so that nothing here is a conflict.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::support::client::Client;
use super::{Merge, Place, WRITERS, quantiles, step};

/// When commits of a branch reach main.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Never, as now: until `done`.
    Apart,
    /// At once: main merges the branch, which follows it then.
    MainMerges,
    /// At once: the branch merges main, which then follows the branch.
    BranchMerges,
    /// By one worker that merges each branch that is ahead, so often.
    Every(Duration),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apart => f.write_str("apart, as now"),
            Self::MainMerges => f.write_str("at once: main merges"),
            Self::BranchMerges => f.write_str("at once: branch merges, main follows"),
            Self::Every(time) => write!(f, "every {time:?}"),
        }
    }
}

/// One measurement.
pub struct Fleet<'a> {
    pub place: &'a Place,
    pub mode: Mode,
    /// Between the begins of two commits of a writer; None: as fast as it can.
    pub pace: Option<Duration>,
    pub measured: Duration,
}

/// What all of them share.
struct Shared {
    stop: AtomicBool,
    /// The writers have ended.
    written: AtomicBool,
    /// Stands for main's write lane.
    main: Mutex<Client>,
    /// Main's generation: whether a branch has to be brought forward.
    generation: AtomicU64,
    /// Commits of each branch that are not on main yet.
    pending: Vec<Mutex<Vec<Instant>>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    commits: Vec<Duration>,
    lags: Vec<Duration>,
    merges: u64,
    forward: u64,
}

impl Fleet<'_> {
    /// The rest of a table's row.
    pub fn run(&self) -> String {
        let shared = Shared {
            stop: AtomicBool::new(false),
            written: AtomicBool::new(false),
            main: Mutex::new(self.place.client("s/main")),
            generation: AtomicU64::new(0),
            pending: (0..WRITERS).map(|_| Mutex::default()).collect(),
            seen: Mutex::default(),
        };
        let begun = Instant::now();
        let (errors, elapsed): (u64, f64) = thread::scope(|scope| {
            let shared = &shared;
            let merger = match self.mode {
                Mode::Every(period) => Some(scope.spawn(move || merge_every(period, shared))),
                _ => None,
            };
            let writers: Vec<_> =
                (0..WRITERS).map(|number| scope.spawn(move || self.write(number, shared))).collect();
            thread::sleep(self.measured);
            shared.stop.store(true, Ordering::Relaxed);
            let errors = writers.into_iter().map(|writer| writer.join().expect("no panic")).sum();
            let elapsed = begun.elapsed().as_secs_f64();
            shared.written.store(true, Ordering::Release);
            if let Some(merger) = merger {
                merger.join().expect("no panic");
            }
            (errors, elapsed)
        });
        let on_main = lock(&shared.main).row("SELECT COUNT(*) FROM issues WHERE title = 'new'");
        let mut seen = lock(&shared.seen);
        let Seen { commits, lags, merges, forward } = &mut *seen;
        let count = commits.len();
        let [commit, _] = quantiles(commits);
        let [lag, lag_p99] = quantiles(lags);
        let pace = self
            .pace
            .map_or("none".to_owned(), |pace| format!("{:.0}/s", f64::from(WRITERS) / pace.as_secs_f64()));
        let share = if *merges == 0 { 0.0 } else { *forward as f64 / *merges as f64 * 100.0 };
        format!(
            "| {pace} | {} | {:.0} | {:.0} | {share:.0} % | {commit:.0} | {lag:.0} | {lag_p99:.0} | {on_main} of {count} | {errors} |",
            self.mode,
            count as f64 / elapsed,
            *merges as f64 / elapsed,
        )
    }

    /// Until it is told to stop; how often Dolt refused something that was then done again.
    fn write(&self, number: u32, shared: &Shared) -> u64 {
        let branch = format!("b{number}");
        let mut client = self.place.client(&format!("s/{branch}"));
        let (mut seen, mut generation, mut errors) = (Seen::default(), 0, 0);
        if let Some(pace) = self.pace {
            shared.sleep_until(Instant::now() + pace * number / WRITERS);
        }
        for round in 0.. {
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let now = shared.generation.load(Ordering::Acquire);
            // As the branch is brought forward before its next transaction.
            if now != generation && matches!(self.mode, Mode::MainMerges | Mode::Every(_)) {
                seen.count(again(&mut client, &mut errors, "main"));
                generation = now;
            }
            seen.commits.push(step::commit(&mut client, u64::from(number) * 1_000_000 + round));
            let committed = Instant::now();
            match self.mode {
                Mode::Apart => {}
                Mode::Every(_) => lock(&shared.pending[number as usize]).push(committed),
                Mode::MainMerges => {
                    let mut main = lock(&shared.main);
                    seen.count(again(&mut main, &mut errors, &branch));
                    shared.generation.fetch_add(1, Ordering::AcqRel);
                    seen.lags.push(committed.elapsed());
                }
                Mode::BranchMerges => {
                    let mut main = lock(&shared.main);
                    seen.count(again(&mut client, &mut errors, "main"));
                    seen.count(again(&mut main, &mut errors, &branch));
                    seen.lags.push(committed.elapsed());
                }
            }
            if let Some(pace) = self.pace {
                shared.sleep_until(begun + pace);
            }
        }
        lock(&shared.seen).add(seen);
        errors
    }
}

impl Shared {
    /// Or until it is told to stop.
    fn sleep_until(&self, then: Instant) {
        while Instant::now() < then && !self.stop.load(Ordering::Relaxed) {
            thread::sleep(then.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
        }
    }
}

impl Seen {
    fn count(&mut self, kind: Merge) {
        self.merges += u64::from(kind != Merge::Nothing);
        self.forward += u64::from(kind == Merge::Forward);
    }

    fn add(&mut self, other: Self) {
        self.commits.extend(other.commits);
        self.lags.extend(other.lags);
        self.merges += other.merges;
        self.forward += other.forward;
    }
}

fn merge_every(period: Duration, shared: &Shared) {
    let mut seen = Seen::default();
    let mut last = false;
    while !last {
        let begun = Instant::now();
        // One round after the end, for what was committed last.
        last = shared.written.load(Ordering::Acquire);
        for (number, pending) in shared.pending.iter().enumerate() {
            let commits = std::mem::take(&mut *lock(pending));
            if commits.is_empty() {
                continue;
            }
            let mut errors = 0;
            seen.count(again(&mut lock(&shared.main), &mut errors, &format!("b{number}")));
            seen.lags.extend(commits.iter().map(Instant::elapsed));
        }
        shared.generation.fetch_add(1, Ordering::AcqRel);
        shared.sleep_until(begun + period);
    }
    lock(&shared.seen).add(seen);
}

/// A merge, again where Dolt found that another had moved something.
fn again(client: &mut Client, errors: &mut u64, from: &str) -> Merge {
    loop {
        match client.query(&format!("CALL DOLT_MERGE('{from}')")) {
            Ok(answer) => return Merge::of(&answer.rows),
            Err(moved) => {
                *errors += 1;
                assert!(*errors < 1_000, "it does not get better: {moved}");
                client.run("ROLLBACK");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
