//! Owns clients that lose patience: they send a write again on a new connection when its answer is late, as `bd` does
//! after 10 s. What they sent first must not happen, too.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::session::{Kind, Session};
use super::support::branchline::Branchline;
use super::support::plain::PlainDolt;
use super::support::raw::{Client, Failure};
use super::support::watch;
use super::{alone, loopback};

/// What `bd` waits for an answer.
const BD_PATIENCE: Duration = Duration::from_secs(10);
/// Longer than a client waits, and than Branchline lets it.
const HOLDER_SECONDS: u32 = 11;
const IMPATIENT_CLIENTS: usize = 5;
/// Everything that was sent has happened by then, or never will.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

const INCREMENT: &str = "UPDATE counter SET n = n + 1 WHERE id = 'hot'";

/// What an impatient client met.
#[derive(Debug, Default)]
struct Endured {
    timed_out: u32,
    refused: Vec<String>,
    longest: Duration,
}

fn set_up(addr: SocketAddr) {
    let mut root = Client::root(addr);
    root.run("CREATE DATABASE town");
    root.run("CREATE TABLE town.counter (id VARCHAR(20) PRIMARY KEY, n INT)");
    root.run("INSERT INTO town.counter VALUES ('hot', 0)");
    root.run("CREATE TABLE town.operation (id VARCHAR(40) PRIMARY KEY, client INT)");
}

/// Sends `sql` until it is acknowledged: again on 1205 and 1213, and on a new connection after a timeout.
fn insist(addr: SocketAddr, patience: Duration, mut sql: impl FnMut(u32) -> String) -> Endured {
    let mut endured = Endured::default();
    let connect = || {
        let session = Session::connect(addr, "town", Kind::Text)?;
        session.patience(patience)?;
        Ok::<_, Failure>(session)
    };
    let mut session = connect().expect("logged in");
    for number in 0..100 {
        let begun = Instant::now();
        let answer = session.run(&sql(number), &[]);
        endured.longest = endured.longest.max(begun.elapsed());
        match answer {
            Ok(_) => return endured,
            Err(Failure::Server(1205 | 1213, _, text)) => endured.refused.push(text),
            Err(Failure::TimedOut) => {
                endured.timed_out += 1;
                // The old connection is closed first: nobody waits for its answer any more.
                drop(session);
                session = connect().expect("logged in again");
            }
            Err(other) => panic!("{}: {other}", sql(number)),
        }
    }
    panic!("not acknowledged in 100 tries: {endured:?}");
}

/// Waits until no statement of the test's runs in Dolt.
fn settle(dolt: SocketAddr) {
    let mut dolt = Client::root(dolt);
    watch::until(SETTLED_WITHIN, "no statement runs in Dolt", || {
        let rows = dolt.run("SHOW FULL PROCESSLIST").rows;
        let sleeps = |row: &Vec<Option<String>>| {
            row.iter().flatten().any(|value| value.contains("SLEEP(") && !value.contains("PROCESSLIST"))
        };
        (!rows.iter().any(sleeps)).then_some(())
    });
}

/// A write that takes longer than its client waits, sent again: how often it happened.
fn executions_of_a_slow_write(addr: SocketAddr, dolt: SocketAddr) -> String {
    set_up(addr);
    let endured = insist(addr, Duration::from_secs(1), |number| {
        let seconds = if number == 0 { 3 } else { 0 };
        format!("INSERT INTO operation SELECT UUID(), 1 FROM counter WHERE SLEEP({seconds}) = 0")
    });
    assert_eq!(endured.timed_out, 1, "{endured:?}");
    settle(dolt);
    Client::root(dolt).value("SELECT COUNT(*) FROM town.operation").expect("a count")
}

#[test]
fn a_write_that_its_client_gave_up_is_not_executed_twice() {
    let _alone = alone();
    let plain = PlainDolt::start();
    let addr = loopback(plain.port());
    assert_eq!(executions_of_a_slow_write(addr, addr), "2", "plain Dolt shows it");
    let branchline = Branchline::start();
    let dolt = loopback(branchline.dolt().port);
    assert_eq!(executions_of_a_slow_write(branchline.addr(), dolt), "1");
}

/// Writers behind a write that runs for `seconds`; what they met, and the counter after all.
fn behind_a_long_write(addr: SocketAddr, dolt: SocketAddr, seconds: u32) -> (Vec<Endured>, String, String) {
    set_up(addr);
    let met = thread::scope(|scope| {
        let holder = scope.spawn(move || {
            let mut session = Session::connect(addr, "town", Kind::Text).expect("logged in");
            session.run(&format!("{INCREMENT} AND SLEEP({seconds}) = 0"), &[])
        });
        let mut looker = Client::root(dolt);
        watch::until(SETTLED_WITHIN, "the long write runs", || {
            let rows = looker.run("SHOW FULL PROCESSLIST").rows;
            rows.iter().flatten().flatten().any(|value| value.contains("AND SLEEP(")).then_some(())
        });
        let impatient: Vec<_> = (0..IMPATIENT_CLIENTS)
            .map(|client| {
                let insert = format!("INSERT INTO operation VALUES (UUID(), {client})");
                scope.spawn(move || {
                    let mut met = insist(addr, BD_PATIENCE, |_| insert.clone());
                    let increment = insist(addr, BD_PATIENCE, |_| INCREMENT.to_owned());
                    met.timed_out += increment.timed_out;
                    met
                })
            })
            .collect();
        let met = impatient.into_iter().map(|client| client.join().expect("no panic")).collect();
        // Plain Dolt may refuse it; then it was not acknowledged, and is not expected in the counter.
        let acknowledged = holder.join().expect("no panic").is_ok();
        (met, acknowledged)
    });
    settle(dolt);
    let wanted = IMPATIENT_CLIENTS + usize::from(met.1);
    let mut looker = Client::root(dolt);
    let n = looker.value("SELECT n FROM town.counter").expect("the counter");
    let counted = format!("{n} of {wanted}");
    let executions = "SELECT COUNT(*), COUNT(DISTINCT client) FROM town.operation";
    let rows = looker.run(executions).rows;
    let operations = rows[0].iter().flatten().cloned().collect::<Vec<_>>().join(" of ");
    (met.0, counted, operations)
}

#[test]
fn a_client_that_waits_for_a_lane_is_answered_before_it_loses_patience() {
    let starting = alone();
    let plain = PlainDolt::start();
    let addr = loopback(plain.port());
    let (_, counted, _) = behind_a_long_write(addr, addr, 1);
    println!("plain Dolt: the counter reads {counted}");
    assert!(!["5 of 5", "6 of 6"].contains(&counted.as_str()), "plain Dolt lost nothing: {counted}");

    let branchline = Branchline::start();
    // From here on it waits, and disturbs nobody.
    drop(starting);
    let dolt = loopback(branchline.dolt().port);
    let (met, counted, operations) = behind_a_long_write(branchline.addr(), dolt, HOLDER_SECONDS);
    println!("Branchline: the counter reads {counted}; {met:#?}");
    assert_eq!((counted.as_str(), operations.as_str()), ("6 of 6", "5 of 5"));
    for client in met {
        assert_eq!(client.timed_out, 0, "{client:?}");
        assert!(client.longest < BD_PATIENCE, "{client:?}");
        // The wait was longer than the budget, so it was refused, with a reason that can be acted on.
        let [text] = &client.refused[..] else { panic!("not refused once: {client:?}") };
        assert!(text.contains("lane"), "{text}");
    }
}
