//! The run: 20 sessions do random transactions, things break meanwhile, and the checker looks at everything that was
//! said. In rounds, each with lists of its own, until the time is up.
//! `BRANCHLINE_SEED` runs a round's operations again (interleaving and timing are the machine's); `BRANCHLINE_SOAK_S`
//! says for how long.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::checker::{Anomaly, Kind, check};
use super::client::{Session, Statement};
use super::history::{History, Key, Outcome, Value};
use super::plan::{self, DATABASES, End, SESSIONS, SLOTS, TABLES, TXNS};
use super::proxy::{Direction, Wrapper};
use super::random::Random;
use super::support::plain::PlainDolt;
use super::support::raw::{Client, Login};
use super::support::watch;
use super::work::{Log, Worker};

const SOAK: Duration = Duration::from_secs(30);
/// For a statement of the run itself to be answered, while things may be broken.
const DEADLINE: Duration = Duration::from_secs(40);
/// No call of a client may take longer: below the 10 s after which `bd` gives up.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Rounds in which plain Dolt must have been found out; the first is enough, as a rule.
const PLAIN_ROUNDS_MAX: u64 = 10;
/// Transactions in percent that must have been acknowledged: some roll back by plan, and 20 sessions that read before
/// they write to the same four lists are told 1213 often.
const ACKNOWLEDGED_PERCENT_MIN: usize = 40;
/// Anomalies that are printed.
const SHOWN_MAX: usize = 5;

/// What is broken in the middle of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// After this many more bytes, whichever connection that is.
    Cut {
        from_dolt: bool,
        bytes: u64,
    },
    /// Every connection at once.
    CutAll,
    KillDolt,
    /// `CALL DOLT_GC()` in a database.
    Gc(usize),
}

/// What breaks in a round, and after how many transactions.
fn faults(seed: u64) -> BTreeMap<u64, Fault> {
    let mut random = Random::of(seed, 1 << 32);
    let count = (SESSIONS * TXNS) as u64;
    let mut faults = BTreeMap::new();
    for _ in 0..15 {
        let cut = Fault::Cut { from_dolt: random.one_in(2), bytes: random.below(3000) };
        faults.insert(random.below(count * 9 / 10), cut);
    }
    if random.one_in(3) {
        faults.insert(random.below(count / 4), Fault::CutAll);
    }
    if random.one_in(2) {
        let database = random.below(DATABASES.len() as u64) as usize;
        faults.insert(count / 4 + random.below(count / 4), Fault::Gc(database));
    }
    if random.one_in(2) {
        faults.insert(count / 2 + random.below(count / 4), Fault::KillDolt);
    }
    faults
}

/// What happened in a round.
struct Round {
    history: History,
    wrong: Vec<String>,
    errors: BTreeMap<String, usize>,
    slowest: Duration,
    gcs: u64,
}

/// How the sessions' transactions lie in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Together,
    /// Each alone; clients wait for their answers.
    OneByOne,
}

/// Runs one round; `breaks` breaks something.
fn round(
    addr: SocketAddr,
    seed: u64,
    number: u64,
    faults: &BTreeMap<u64, Fault>,
    breaks: &(dyn Fn(Fault) + Sync),
    order: Order,
) -> Round {
    // Numbers of lists and values that no other round has.
    let (first_key, first_value) = (number as Key * SLOTS, number * 1_000_000);
    let keys: Vec<Key> = (first_key..first_key + SLOTS).collect();
    for statement in keys.iter().filter_map(|key| plan::create(*key, 0)) {
        persist(addr, &statement);
    }
    let turn = Mutex::new(());
    let (clock, done, gcs) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let logs: Vec<Log> = thread::scope(|scope| {
        let workers: Vec<_> = (0..SESSIONS)
            .map(|session| {
                let (done, gcs, turn) = (&done, &gcs, &turn);
                scope.spawn(move || {
                    let mut worker = Worker::new(addr, session, clock);
                    for mut plan in plan::plans(seed, session, first_key, first_value) {
                        let alone = (order == Order::OneByOne).then(|| turn.lock().expect("not poisoned"));
                        if alone.is_some() && plan.end == End::CloseAtCommit {
                            plan.end = End::Commit;
                        }
                        worker.run(&plan);
                        drop(alone);
                        match faults.get(&done.fetch_add(1, Ordering::Relaxed)) {
                            Some(Fault::Gc(database)) => {
                                // Beside the sessions, as a person would.
                                scope.spawn(move || {
                                    gcs.fetch_add(u64::from(gc(addr, *database)), Ordering::Relaxed);
                                });
                            }
                            Some(fault) => breaks(*fault),
                            None => {}
                        }
                    }
                    worker.into_log()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a session's thread")).collect()
    });
    let mut round = Round {
        history: History::default(),
        wrong: Vec::new(),
        errors: BTreeMap::new(),
        slowest: Duration::ZERO,
        gcs: gcs.into_inner(),
    };
    for log in logs {
        round.history.txns.extend(log.txns);
        round.wrong.extend(log.wrong);
        round.slowest = round.slowest.max(log.slowest);
        for error in log.errors {
            *round.errors.entry(error).or_default() += 1;
        }
    }
    round.history.finals = keys.into_iter().map(|key| (key, read(addr, key))).collect();
    round
}

/// Whether it was done: it may also be what is broken next.
fn gc(addr: SocketAddr, database: usize) -> bool {
    let session = Session::connect(addr, DATABASES[database]);
    session.and_then(|mut session| session.text("CALL DOLT_GC()")).is_ok()
}

/// Runs a statement of the run's own, which may be run twice, until it has happened.
fn persist(addr: SocketAddr, statement: &Statement) {
    watch::until(DEADLINE, "a list is made", || {
        match Client::tcp(addr, &Login::root().on(DATABASES[0]))
            .and_then(|mut client| client.query(&statement.text()))
        {
            Ok(_) => Some(()),
            Err(failure) => (failure.code() == 1062).then_some(()),
        }
    });
}

fn read(addr: SocketAddr, key: Key) -> Vec<Value> {
    watch::until(DEADLINE, "a list is read", || {
        let mut session = Session::connect(addr, DATABASES[0]).ok()?;
        Some(plan::list(key, &session.text(&plan::read(key, false, 0).text()).ok()?))
    })
}

fn make_tables(addr: SocketAddr) {
    let mut root = Client::root(addr);
    for database in DATABASES {
        root.run(&format!("CREATE DATABASE {database}"));
        let mut client = Client::tcp(addr, &Login::root().on(database)).expect("logged in");
        for table in TABLES {
            client.run(table);
        }
        client.run("CALL DOLT_COMMIT('-Am', 'tables')");
    }
}

fn seed() -> u64 {
    match std::env::var("BRANCHLINE_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("BRANCHLINE_SEED is a number, not {text:?}")),
        Err(_) => {
            SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
                % 1_000_000_007
        }
    }
}

fn soak() -> Duration {
    match std::env::var("BRANCHLINE_SOAK_S") {
        Ok(text) => Duration::from_secs(
            text.parse().unwrap_or_else(|_| panic!("BRANCHLINE_SOAK_S is a number of seconds, not {text:?}")),
        ),
        Err(_) => SOAK,
    }
}

fn by_kind(anomalies: &[Anomaly]) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for anomaly in anomalies {
        *counts.entry(anomaly.kind).or_default() += 1;
    }
    counts
}

fn count(history: &History, outcome: Outcome) -> usize {
    history.txns.iter().filter(|txn| txn.outcome == outcome).count()
}

fn tell(seed: u64, round: &Round, anomalies: &[Anomaly]) {
    let outcomes = [Outcome::Ok, Outcome::Fail, Outcome::Info].map(|outcome| count(&round.history, outcome));
    println!(
        "seed {seed}: ok, failed, unknown {outcomes:?}, slowest {:?}, {:?}",
        round.slowest,
        by_kind(anomalies)
    );
    for (error, count) in &round.errors {
        println!("    {count} x {error}");
    }
}

#[test]
fn histories_under_faults_are_strictly_serialisable_and_exact() {
    let wrapper = Wrapper::start(|_| {});
    let addr = wrapper.addr();
    make_tables(addr);
    let killed: Mutex<Vec<Instant>> = Mutex::default();
    let started = Instant::now();
    // The fifth restart within ten minutes waits a minute, which is as it should be but no fault for this test.
    let may_kill = |killed: &[Instant]| {
        let recently = killed.iter().filter(|at| at.elapsed() < Duration::from_secs(610)).count() as u64;
        recently < 4.min(3 + started.elapsed().as_secs() / 310)
    };
    let breaks = |fault| match fault {
        Fault::Cut { from_dolt, bytes } => {
            let direction = if from_dolt { Direction::FromDolt } else { Direction::ToDolt };
            wrapper.proxy.cut_after(direction, bytes);
        }
        Fault::CutAll => wrapper.proxy.cut_all(),
        Fault::KillDolt => {
            let mut killed = killed.lock().expect("not poisoned");
            if may_kill(&killed) && wrapper.kill_dolt().is_some() {
                killed.push(Instant::now());
            }
        }
        Fault::Gc(_) => unreachable!("a session's thread does it"),
    };
    let (mut next_seed, soak, begun) = (Random::new(seed()), soak(), Instant::now());
    let mut seed = seed_of_first(&mut next_seed);
    let (mut finals, mut acknowledged, mut gcs, mut number) = (BTreeMap::new(), 0, 0, 0);
    let (mut kills_planned, mut gcs_planned) = (0, 0);
    while number == 0 || begun.elapsed() < soak {
        number += 1;
        let faults = faults(seed);
        let round = round(addr, seed, number, &faults, &breaks, Order::Together);
        let anomalies = check(&round.history);
        tell(seed, &round, &anomalies);
        let again = format!("BRANCHLINE_SEED={seed} runs these operations again");
        assert!(anomalies.is_empty(), "{again}\n{}", shown(&anomalies));
        assert!(round.wrong.is_empty(), "{again}\n{}", round.wrong.join("\n"));
        assert!(round.slowest < CALL_MAX, "{again}: an answer took {:?}", round.slowest);
        acknowledged += count(&round.history, Outcome::Ok);
        gcs += round.gcs;
        kills_planned += faults.values().filter(|fault| **fault == Fault::KillDolt).count() as u64;
        gcs_planned += faults.values().filter(|fault| matches!(fault, Fault::Gc(_))).count() as u64;
        let infos = round.history.txns.iter().filter(|txn| txn.outcome == Outcome::Info);
        finals.extend(round.history.finals.iter().map(|(key, list)| {
            let late: Vec<Value> = infos.clone().flat_map(|txn| txn.appends(*key)).collect();
            (*key, (list.clone(), late))
        }));
        seed = next_seed.next();
    }
    // What was there stays there, in spite of all that came after it.
    for (key, (list, late)) in finals {
        let now = read(addr, key);
        let more = now.strip_prefix(list.as_slice());
        let is_right = more.is_some_and(|more| more.iter().all(|value| late.contains(value)));
        assert!(is_right, "{key} was {list:?} and is {now:?}");
    }
    let (cuts, killed) = (wrapper.proxy.cuts(), killed.into_inner().expect("not poisoned").len() as u64);
    println!(
        "{number} rounds, {acknowledged} acknowledged, {cuts} cuts, {killed} kills, {gcs} garbage collections"
    );
    // It would show nothing if most of it failed, or if nothing broke.
    let percent = acknowledged * 100 / (number as usize * SESSIONS * TXNS);
    assert!(percent >= ACKNOWLEDGED_PERCENT_MIN, "only {percent} % were acknowledged");
    assert!(cuts >= number, "{cuts} cuts in {number} rounds");
    let kills_planned = kills_planned.min(3);
    assert!(killed * 2 >= kills_planned, "{killed} kills of {kills_planned}");
    assert!(gcs * 4 >= gcs_planned, "{gcs} garbage collections of {gcs_planned}");
    assert!(!wrapper.branchline.stderr().contains("panicked"), "{}", wrapper.branchline.stderr_tail());
}

/// The first round's seed is the one that is given, so that a failing round's can be.
fn seed_of_first(random: &mut Random) -> u64 {
    let seed = seed();
    *random = Random::new(seed);
    seed
}

fn shown(anomalies: &[Anomaly]) -> String {
    let mut texts: Vec<String> = anomalies.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    texts.push(format!("{:?}", by_kind(anomalies)));
    texts.join("\n")
}

#[test]
fn plain_dolt_is_found_out_without_any_fault() {
    let dolt = PlainDolt::start();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, dolt.port()));
    make_tables(addr);
    let mut random = Random::new(seed());
    let mut kinds = BTreeMap::new();
    // Texts that differ conflict in Dolt: what it loses here are updates of rows that do not.
    let wanted = [Kind::IncompatibleOrder, Kind::LostUpdate];
    for number in 1..=PLAIN_ROUNDS_MAX {
        let seed = random.next();
        let round = round(addr, seed, number, &BTreeMap::new(), &|_| {}, Order::Together);
        let anomalies = check(&round.history);
        tell(seed, &round, &anomalies);
        println!("{}", shown(&anomalies));
        for (kind, count) in by_kind(&anomalies) {
            *kinds.entry(kind).or_insert(0) += count;
        }
        if wanted.iter().all(|kind| kinds.contains_key(kind)) {
            return;
        }
    }
    panic!("the run does not show what plain Dolt does wrong, only {kinds:?}");
}

/// Also the checker, the plans and what they write must be right: without concurrency Dolt is.
#[test]
fn plain_dolt_with_one_transaction_at_a_time_is_strictly_serialisable() {
    let dolt = PlainDolt::start();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, dolt.port()));
    make_tables(addr);
    let seed = seed();
    let round = round(addr, seed, 1, &BTreeMap::new(), &|_| {}, Order::OneByOne);
    let anomalies = check(&round.history);
    tell(seed, &round, &anomalies);
    assert!(
        anomalies.is_empty() && round.wrong.is_empty(),
        "{}\n{}",
        shown(&anomalies),
        round.wrong.join("\n")
    );
    assert!(count(&round.history, Outcome::Ok) > SESSIONS * TXNS * 3 / 4);
}
