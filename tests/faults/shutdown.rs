//! Branchline is told to end, is killed, or is asked for its state.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::branchline::Branchline;
use super::support::raw::{Client, Failure, Greeting, Login, Wire};
use super::support::watch;
use super::{counters, direct, running, with_config};

const DRAIN: Duration = Duration::from_secs(4);
/// Dolt with nothing to do ends in well under a second; this is for a busy machine.
const DOLT_STOP: Duration = Duration::from_secs(10);

/// SIGTERM; how long it took to exit with 0, Dolt gone.
fn terminate(branchline: &mut Branchline) -> Duration {
    let dolt = branchline.dolt().pid.unsigned_abs();
    let begun = Instant::now();
    branchline.signal(Signal::TERM);
    let status = branchline.wait(DRAIN + DOLT_STOP + Duration::from_secs(30)).expect("it ends");
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0), "{}", branchline.stderr());
    assert!(!watch::is_running(dolt), "Dolt is left");
    assert!(!branchline.stderr().contains("panicked"), "{}", branchline.stderr());
    took
}

fn draining(directory: &std::path::Path) -> Branchline {
    with_config(directory, &format!("[limits]\ndrain_timeout_s = {}\n", DRAIN.as_secs()))
}

#[test]
fn idle_and_silent_clients_do_not_hold_it_up() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut branchline = draining(place.path());
    let mut idle: Vec<_> = (0..5).map(|_| Client::root(branchline.addr())).collect();
    let mut silent = Wire::tcp(branchline.addr()).expect("a connection");
    Greeting::read(&mut silent).expect("a greeting");
    let took = terminate(&mut branchline);
    assert!(took < DRAIN, "{took:?}");
    for client in &mut idle {
        assert_eq!(client.wire.last_word(), Failure::Closed);
    }
}

#[test]
fn busy_clients_get_their_answers_and_transactions_may_end() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut branchline = draining(place.path());
    counters(branchline.addr(), 1);
    let addr = branchline.addr();
    let on_town = || Client::tcp(addr, &Login::root().on("town")).expect("logged in");
    let (mut busy, mut open) = (on_town(), on_town());
    busy.send_query("SELECT SLEEP(2)").expect("sent");
    open.run("BEGIN");
    open.run("UPDATE counter SET n = 1 WHERE id = 0");
    let mut dolt = Client::root(direct(&branchline));
    watch::until(Duration::from_secs(5), "it sleeps", || {
        running(&mut dolt).iter().any(|row| row.contains("SLEEP(2)")).then_some(())
    });
    let worker = std::thread::spawn(move || {
        // Accepting has ended when new connections are refused.
        watch::until(DRAIN, "new clients are refused", || Wire::tcp(addr).is_err().then_some(()));
        let committed = open.query("COMMIT").map(|_| ());
        let answered = busy.reply(true).map(|reply| reply.rows);
        (committed, answered)
    });
    let took = terminate(&mut branchline);
    assert!(took < DRAIN + DOLT_STOP, "{took:?}");
    let (committed, answered) = worker.join().expect("no panic");
    assert_eq!(committed, Ok(()));
    assert_eq!(answered, Ok(vec![vec![Some("0".to_owned())]]));
    drop(branchline);
    let again = Branchline::start_in(place.path(), |_| {});
    assert_eq!(Client::root(again.addr()).value("SELECT n FROM town.counter").as_deref(), Ok("1"));
}

#[test]
fn what_is_not_over_within_the_limit_is_ended() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut branchline = draining(place.path());
    counters(branchline.addr(), 1);
    let on_town = || Client::tcp(branchline.addr(), &Login::root().on("town")).expect("logged in");
    let (mut busy, mut open) = (on_town(), on_town());
    busy.send_query("SELECT SLEEP(100)").expect("sent");
    open.run("BEGIN");
    open.run("UPDATE counter SET n = 1 WHERE id = 0");
    let took = terminate(&mut branchline);
    assert!(took >= DRAIN && took < DRAIN + DOLT_STOP, "{took:?}");
    for client in [&mut busy, &mut open] {
        assert_ne!(client.wire.last_word(), Failure::TimedOut);
    }
}

#[test]
fn killed_its_dolt_ends_too_and_the_next_one_starts_on_the_same_data() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut branchline = Branchline::start_in(place.path(), |_| {});
    counters(branchline.addr(), 1);
    let mut busy = Client::tcp(branchline.addr(), &Login::root().on("town")).expect("logged in");
    busy.run("UPDATE counter SET n = 7 WHERE id = 0");
    busy.send_query("SELECT SLEEP(100)").expect("sent");
    let dolt = branchline.dolt().pid.unsigned_abs();
    let begun = Instant::now();
    branchline.signal(Signal::KILL);
    branchline.wait(Duration::from_secs(5)).expect("it is dead");
    assert_eq!(busy.wire.last_word(), Failure::Closed);
    // At once, while the old Dolt may still be there: it is waited for.
    let next = Branchline::start_in(place.path(), |_| {});
    assert!(!watch::is_running(dolt), "two Dolts");
    println!("from SIGKILL to the next one serving: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(Client::root(next.addr()).value("SELECT n FROM town.counter").as_deref(), Ok("7"));
    // The guard of the first one looks for leftovers: not while the next one runs.
    drop(next);
    drop(branchline);
}

#[test]
fn sigquit_dumps_the_state_and_dolt_never_hears_of_it() {
    let mut branchline = Branchline::start();
    counters(branchline.addr(), 1);
    let mut client = Client::tcp(branchline.addr(), &Login::root().on("town")).expect("logged in");
    client.run("BEGIN");
    let dolt = branchline.dolt().pid;
    branchline.signal(Signal::QUIT);
    let line = format!("client {} ", client.id);
    watch::until(Duration::from_secs(5), "the dump names the client", || {
        branchline.stderr().contains(&line).then_some(())
    });
    let said = branchline.stderr();
    let line = said.lines().find(|text| text.starts_with(&line)).expect("its line");
    assert!(
        line.contains("root@") && line.contains("town") && line.ends_with("in transaction: true"),
        "{line}"
    );
    assert_eq!(client.value("SELECT n FROM counter").as_deref(), Ok("0"), "the transaction goes on");
    assert_eq!(branchline.dolt().pid, dolt);
    assert!(watch::is_running(dolt.unsigned_abs()));
    Client::root(branchline.addr()).quit();
}
