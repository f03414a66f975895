use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::admit::{Committed, HolderState, OwnRows};

const MS: Duration = Duration::from_millis(1);

/// Above all that Linux gives.
const PROCESSES: u32 = 5_000_000;

fn who(client_id: u32, process: Option<u32>) -> Who {
    let [account, program, address] = ["root@localhost", "bd", "127.0.0.1:5000"].map(str::to_owned);
    // No process has such an id, so nothing is known of its threads.
    let process = process.map(|process| PROCESSES + process);
    Who { client_id, account, program, address, process }
}

fn keys(names: &[&str]) -> BTreeSet<LaneKey> {
    names
        .iter()
        .map(|name| name.split_once('/').expect("db/branch"))
        .map(|(d, b)| LaneKey::new(d, b))
        .collect()
}

fn lanes() -> Lanes {
    Lanes::new(LaneSettings::default())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(8)
}

/// Timers tick in milliseconds and never early.
fn assert_took(began: Instant, expected: Duration) {
    let took = began.elapsed();
    assert!(took >= expected && took <= expected + 2 * MS, "took {took:?}, expected {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_vain_says_for_what_and_for_whom() {
    let lanes = lanes();
    let main = keys(&["Beads/Main"]);
    let (mut holder, mut waiter) = (lanes.seat(who(7, None)), lanes.seat(who(8, None)));
    let mut third = lanes.seat(who(9, None));
    holder.doing("UPDATE issues SET n = n + 1");
    holder.take(&main, soon()).await.unwrap();
    tokio::time::advance(1500 * MS).await;
    let began = Instant::now();
    let deadline = began + Duration::from_secs(8);
    let (refused, _) = tokio::join!(waiter.take(&main, deadline), third.take(&main, deadline + MS));
    assert_took(began, Duration::from_secs(8));
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "waited 8.0 s for the write lane of beads/main, which client 7 (bd, root@localhost, 127.0.0.1:5000) \
         has held for 9.5 s, running: UPDATE issues SET n = n + 1; 1 other waits for it \
         (limit: budget 8.0 s per statement)"
    );
    let NotTaken::Timeout(blocked) = refused;
    assert_eq!((&blocked.lane, blocked.waited.as_secs()), (main.first().unwrap(), 8));
    assert_eq!(lanes.totals().counters.timeouts, 2);
    assert_eq!(lanes.totals().waiting, 0, "they left the queue");
}

#[tokio::test(start_paused = true)]
async fn an_idle_holder_loses_the_lane_after_exactly_two_seconds() {
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut holder, mut waiter) = (lanes.seat(who(1, Some(1))), lanes.seat(who(2, Some(2))));
    holder.take(&main, soon()).await.unwrap();
    let waits = tokio::spawn({
        let main = main.clone();
        async move {
            let taken = waiter.take(&main, soon()).await.unwrap();
            (waiter, taken)
        }
    });
    tokio::time::sleep(700 * MS).await;
    holder.idle();
    let began = Instant::now();
    let (mut waiter, taken) = waits.await.unwrap();
    assert_took(began, 2000 * MS);
    assert!(taken.anew);
    holder.busy();
    assert!(!holder.holds_all(&main) && waiter.holds_all(&main));
    let back = tokio::spawn(async move { holder.take(&main, soon()).await.unwrap().anew });
    tokio::task::yield_now().await;
    waiter.release_all();
    assert!(back.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_session_of_the_same_process_gets_it_after_exactly_forty_milliseconds() {
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut holder, mut stranger) = (lanes.seat(who(1, None)), lanes.seat(who(2, Some(2))));
    let mut sibling = lanes.seat(who(3, Some(7)));
    assert!(!holder.knows_process() && sibling.knows_process());
    holder.take(&main, soon()).await.unwrap();
    holder.set_process(PROCESSES + 7);
    holder.idle();
    let began = Instant::now();
    let stranger_waits = stranger.take(&main, soon());
    let sibling_waits = async {
        tokio::time::sleep(10 * MS).await;
        sibling.take(&main, soon()).await.unwrap();
        assert_took(began, 40 * MS);
        sibling.release_all();
    };
    let (taken, ()) = tokio::join!(stranger_waits, sibling_waits);
    assert_took(began, 40 * MS);
    assert!(taken.unwrap().waited >= 40 * MS);
}

/// This process runs: it looks at itself.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_process_with_a_running_thread_keeps_its_lane_for_ten_times_as_long() {
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut holder, mut sibling) = (lanes.seat(who(1, None)), lanes.seat(who(2, None)));
    holder.set_process(std::process::id());
    sibling.set_process(std::process::id());
    holder.take(&main, soon()).await.unwrap();
    holder.idle();
    let began = Instant::now();
    sibling.take(&main, soon()).await.unwrap();
    assert_took(began, 400 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_kept_lane_is_taken_over_after_exactly_one_second_and_that_is_learned() {
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut keeper, mut waiter) = (lanes.seat(who(1, Some(1))), lanes.seat(who(2, Some(2))));
    keeper.take(&main, soon()).await.unwrap();
    let snapshot = keeper.snapshot();
    keeper.committed(&main, Committed::Sql);
    assert!(keeper.believes(OwnRows::Learn));
    keeper.keep(OwnRows::Always);
    keeper.idle();
    let began = Instant::now();
    assert!(matches!(lanes.view(began)[0].holder.as_ref().unwrap().state, HolderState::Kept(_)));
    waiter.take(&main, soon()).await.unwrap();
    assert_took(began, 1000 * MS);
    assert!(!keeper.believes(OwnRows::Learn) && keeper.believes(OwnRows::Always));
    let mut reads = Reads::default();
    reads.lane(main.first().unwrap());
    assert!(waiter.moved_since(&reads, snapshot) && !waiter.moved_since(&reads, waiter.snapshot()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_take_and_a_dropped_seat_leave_nothing() {
    let lanes = lanes();
    let main = keys(&["db/x", "db/main"]);
    let (mut holder, mut waiter) = (lanes.seat(who(1, None)), lanes.seat(who(2, None)));
    holder.take(&keys(&["db/main"]), soon()).await.unwrap();
    assert!(timeout(MS, waiter.take(&main, soon())).await.is_err());
    assert_eq!((lanes.totals().held, lanes.totals().waiting), (1, 0));
    assert_eq!(waiter.try_take(&main), None);
    drop(holder);
    assert!(waiter.take(&main, soon()).await.unwrap().anew);
    assert_eq!(waiter.held(), main);
    // Given the lane and dropped before it was told.
    let mut late = lanes.seat(who(3, None));
    {
        let mut waits = Box::pin(late.take(&main, soon()));
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        waiter.release_all();
        waiter.take(&keys(&["db/main"]), soon()).await.unwrap();
        assert_eq!(lanes.totals().held, 2);
    }
    assert_eq!((lanes.totals().held, lanes.totals().waiting), (1, 0));
    assert!(late.held().is_empty() && waiter.holds_all(&keys(&["db/main"])));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_comes_at_the_deadline_is_taken() {
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut holder, mut waiter) = (lanes.seat(who(1, None)), lanes.seat(who(2, None)));
    holder.take(&main, soon()).await.unwrap();
    holder.idle();
    let deadline = Instant::now() + 2000 * MS;
    assert!(waiter.take(&main, deadline).await.is_ok());
    assert!(holder.take(&main, Instant::now()).await.is_err(), "a deadline that has passed");
    waiter.release_all();
    assert!(holder.take(&main, Instant::now()).await.is_ok(), "no wait, no deadline");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_wait_in_order_and_may_all_leave_at_once() {
    const MANY: usize = 10_000;
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let mut holder = lanes.seat(who(1, Some(1)));
    holder.take(&main, soon()).await.unwrap();
    let turn = Arc::new(AtomicUsize::new(0));
    let waiter = |at: usize, stays: bool| {
        let mut seat = lanes.seat(who(at as u32, Some(1)));
        let (main, turn) = (main.clone(), Arc::clone(&turn));
        tokio::spawn(async move {
            let deadline = if stays { Instant::now() + Duration::from_secs(3600) } else { soon() };
            if seat.take(&main, deadline).await.is_ok() {
                assert_eq!(turn.fetch_add(1, Ordering::Relaxed), at);
            }
        })
    };
    let tasks: Vec<_> = (0..MANY).map(|at| waiter(at, true)).collect();
    while lanes.totals().waiting < MANY {
        tokio::task::yield_now().await;
    }
    assert_eq!(lanes.view(Instant::now())[0].waiting, MANY);
    let began = std::time::Instant::now();
    holder.release_all();
    for task in tasks {
        task.await.unwrap();
    }
    let served = began.elapsed();
    assert_eq!(turn.load(Ordering::Relaxed), MANY);

    holder.take(&main, soon()).await.unwrap();
    let tasks: Vec<_> = (0..MANY).map(|at| waiter(at, false)).collect();
    while lanes.totals().waiting < MANY {
        tokio::task::yield_now().await;
    }
    let began = std::time::Instant::now();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    for task in tasks {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let left = began.elapsed();
    assert_eq!((lanes.totals().waiting, lanes.totals().held), (0, 1));
    let limit = Duration::from_secs(1);
    println!("10,000 waiters: served in {served:?}, left in {left:?}");
    assert!(served < limit && left < limit, "served in {served:?}, left in {left:?}");
}

#[tokio::test(start_paused = true)]
async fn two_who_want_each_others_lanes_both_get_them() {
    let lanes = lanes();
    let (mut first, mut second) = (lanes.seat(who(1, None)), lanes.seat(who(2, None)));
    let both = keys(&["db/a", "db/b"]);
    first.take(&keys(&["db/a"]), soon()).await.unwrap();
    second.take(&keys(&["db/b"]), soon()).await.unwrap();
    let began = Instant::now();
    let first_ends = async {
        let taken = first.take(&both, soon()).await.unwrap();
        tokio::time::sleep(5 * MS).await;
        first.release_all();
        taken
    };
    let second_ends = async {
        let taken = second.take(&both, soon()).await.unwrap();
        assert_eq!(second.held(), both);
        taken
    };
    let (first_taken, second_taken) = tokio::join!(first_ends, second_ends);
    assert!(first_taken.anew && second_taken.anew);
    assert!(began.elapsed() < 20 * MS, "no timeout was needed: {:?}", began.elapsed());
    assert_eq!(lanes.totals().counters.yields, 1, "the second gave up b when it had to wait for a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_with_several_lanes_never_meet_in_one() {
    const NAMES: [&str; 4] = ["a/x", "b/x", "a/main", "b/main"];
    let lanes = lanes();
    let inside: Arc<[AtomicU32; 4]> = Arc::default();
    let tasks: Vec<_> = (0..12_usize)
        .map(|task| {
            let mut seat = lanes.seat(who(task as u32, Some(task as u32 % 3)));
            let inside = Arc::clone(&inside);
            tokio::spawn(async move {
                let mut done = 0;
                for round in 0..300_usize {
                    let picks = [(task + round) % 4, (task * round + 1) % 4];
                    let wanted = keys(&picks.map(|at| NAMES[at]));
                    seat.take(&keys(&[NAMES[picks[0]]]), soon()).await.unwrap();
                    let impatient = (task + round) % 5 == 0;
                    let taken = if impatient {
                        timeout(Duration::from_micros(200), seat.take(&wanted, soon())).await.ok()
                    } else {
                        Some(seat.take(&wanted, soon()).await)
                    };
                    if let Some(taken) = taken {
                        taken.unwrap();
                        let picks = BTreeSet::from(picks);
                        for at in &picks {
                            assert_eq!(inside[*at].fetch_add(1, Ordering::SeqCst), 0, "two in one lane");
                        }
                        tokio::task::yield_now().await;
                        for at in &picks {
                            inside[*at].fetch_sub(1, Ordering::SeqCst);
                        }
                        done += 1;
                    }
                    seat.release_all();
                }
                done
            })
        })
        .collect();
    for task in tasks {
        let done = timeout(Duration::from_secs(30), task).await.expect("nobody waits for ever").unwrap();
        assert!(done >= 240, "only the impatient may go without: {done}");
    }
    assert_eq!((lanes.totals().held, lanes.totals().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_shown() {
    let lanes = lanes();
    let (mut holder, mut waiter) = (lanes.seat(who(1, Some(1))), lanes.seat(who(2, Some(2))));
    holder.doing("SELECT 1");
    holder.doing(&"é".repeat(500));
    waiter.doing("INSERT INTO t VALUES (1)");
    holder.take(&keys(&["db/main", "db/x"]), soon()).await.unwrap();
    let main = keys(&["db/main"]);
    let waits = waiter.take(&main, soon());
    tokio::pin!(waits);
    assert!(timeout(300 * MS, &mut waits).await.is_err());
    holder.idle();
    tokio::time::advance(200 * MS).await;
    let view = lanes.view(Instant::now());
    assert_eq!(view.iter().map(|lane| lane.key.to_string()).collect::<Vec<_>>(), ["db/x", "db/main"]);
    let shown = view[1].holder.as_ref().unwrap();
    assert_eq!((shown.who.client_id, shown.statement.as_str()), (1, "é".repeat(200).as_str()));
    let HolderState::Idle(idle) = shown.state else { panic!("{shown:?}") };
    assert!(idle >= 199 * MS && idle <= 201 * MS && shown.held_for >= 499 * MS, "{idle:?}");
    assert_eq!((view[1].waiting, view[1].waiters.len(), view[0].waiting), (1, 1, 0));
    let waiting = &view[1].waiters[0];
    assert_eq!((waiting.who.client_id, waiting.statement.as_str()), (2, "INSERT INTO t VALUES (1)"));
    assert!(waiting.waited >= 499 * MS && !waiting.returns);
}

/// What was logged, line by line.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lent_quiet_or_bypassed_is_shown() {
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut holder, mut waiter) = (lanes.seat(who(7, Some(1))), lanes.seat(who(8, Some(1))));
    holder.take(&main, soon()).await.unwrap();
    holder.idle();
    waiter.take(&main, soon()).await.unwrap();
    let shown = || lanes.view(Instant::now()).remove(0);
    let lent_by = || shown().lent_by.iter().map(|who| who.client_id).collect::<Vec<_>>();
    assert_eq!((lent_by(), shown().holder.unwrap().who.client_id), (vec![7], 8));
    tokio::time::advance(5000 * MS).await;
    waiter.release_all();
    tokio::time::advance(300 * MS).await;
    assert_eq!((lent_by(), shown().quiet_for), (vec![7], Some(300 * MS)), "until its transaction ends");
    holder.release_all();
    assert!(lent_by().is_empty() && shown().holder.is_none());

    assert_eq!(shown().counters.bypassed_at, None);
    let before = Instant::now().into_std();
    lanes.bypassed(main.first().unwrap());
    assert_eq!((shown().counters.bypasses, shown().counters.bypassed_at), (1, Some(before)));
    assert_eq!(lanes.totals().counters.bypassed_at, Some(before));
}

#[tokio::test(start_paused = true)]
async fn a_lane_held_for_long_while_others_wait_is_warned_of_once() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let lanes = lanes();
    let main = keys(&["db/main"]);
    let (mut holder, mut waiter) = (lanes.seat(who(1, None)), lanes.seat(who(2, None)));
    holder.take(&main, soon()).await.unwrap();
    assert!(waiter.take(&main, Instant::now() + 5000 * MS).await.is_err());
    let text = String::from_utf8(lock(&logged.0).clone()).unwrap();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    let warning = warnings[0];
    assert!(
        warning.contains("lane=db/main client=1 held_ms=100") && warning.contains("waiting=1"),
        "{warning}"
    );
}
