//! Branchline and, separately, Dolt are killed at random points of fork, finish and drop: run again, they complete, and
//! what is there then is what an undisturbed run leaves. BRANCHLINE_CRASH_POINTS sets how many points (100 by hand; by
//! default as many as fit a bounded time), BRANCHLINE_SEED repeats them.

mod place;
mod state;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use place::{Operation, Place, Victim};
use state::State;

/// Of each test, unless a number of points is asked for.
const TIME_MAX: Duration = Duration::from_secs(35);
const POINTS_MAX: u64 = 30;
/// Points lie between the start of the command and a little after its end.
const SPREAD: f64 = 1.1;
/// Undisturbed runs of each operation.
const UNDISTURBED: usize = 2;

/// What an operation does when nothing goes wrong.
struct Undisturbed {
    before: State,
    after: State,
    takes: Duration,
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn undisturbed(place: &mut Place, operation: Operation) -> Undisturbed {
    let mut runs = (0..UNDISTURBED).map(|_| {
        let database = place.prepare(operation);
        let before = State::of(place, &database);
        let begun = Instant::now();
        place.again(operation, &database);
        let takes = begun.elapsed();
        Undisturbed { before, after: State::with_sessions(place, &database), takes }
    });
    let first = runs.next().expect("at least one");
    runs.fold(first, |first, next| {
        first.after.assert_is(&next.after, &format!("{operation:?} does not end the same each time"));
        Undisturbed { takes: first.takes.min(next.takes), ..next }
    })
}

fn crash(victim: Victim) {
    let seed = number("BRANCHLINE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("BRANCHLINE_SEED={seed}");
    let mut random = Random(seed);
    let points = number("BRANCHLINE_CRASH_POINTS");
    let mut place = Place::new();
    let begun = Instant::now();
    let operations = [Operation::Fork, Operation::Done, Operation::Drop];
    let known: Vec<Undisturbed> =
        operations.iter().map(|operation| undisturbed(&mut place, *operation)).collect();
    for (operation, known) in operations.iter().zip(&known) {
        println!("{operation:?} undisturbed takes {:?}", known.takes);
    }
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut cut_short = 0;
    for point in 0.. {
        let is_over = points.map_or_else(
            || point >= POINTS_MAX || (point >= 6 && begun.elapsed() > TIME_MAX),
            |points| point >= points,
        );
        if is_over {
            break;
        }
        let at = (point % 3) as usize;
        let (operation, known) = (operations[at], &known[at]);
        let delay = known.takes.mul_f64(random.share() * SPREAD);
        let what = format!(
            "seed {seed}, point {point}: {victim:?} killed {delay:?} after the start of {operation:?}"
        );
        let database = place.prepare(operation);
        let was_running = place.kill_during(victim, operation, &database, delay);
        cut_short += u64::from(was_running);
        // Before anything is run again: main has nothing of it, or all.
        let main = State::of(&mut place, &database).main;
        let (nothing, all) = (&known.before.main, &known.after.main);
        let found = if main == *nothing { "nothing" } else { "all" };
        if main != *nothing && main != *all {
            panic!(
                "{what}: main has neither nothing nor all of it\n{}\n{}",
                main.differing(nothing),
                main.differing(all)
            );
        }
        let said = place.again(operation, &database);
        println!(
            "{what}: it was {}, main has {found}; again: {said}",
            if was_running { "running" } else { "over" }
        );
        State::with_sessions(&mut place, &database).assert_is(&known.after, &what);
        *ends.entry(format!("{operation:?}, {found} on main")).or_default() += 1;
        place.forget(&database);
    }
    println!("{cut_short} cut short; {ends:?}; {:?}", begun.elapsed());
    assert!(cut_short > 0, "nothing was killed in time: this proves nothing");
}

#[test]
fn branchline_killed_anywhere_completes_when_run_again() {
    crash(Victim::Branchline);
}

#[test]
fn dolt_killed_anywhere_completes_when_run_again() {
    crash(Victim::Dolt);
}
