//! Owns `bd`'s way of writing: a transaction on one connection, and another on a second connection of the same
//! process before the first commits. Whatever makes the second wait for the first makes `bd` wait for itself.

use std::time::Duration;

use super::fleet::Server;
use super::outcome::Finding;
use super::scenario::Promise::NoErrors;
use super::scenario::{Judge, Scenario, Turn, Wrote};
use super::session::{Kind, Session};
use super::support::branchline::Branchline;
use super::support::plain::PlainDolt;
use super::support::raw::{Client, Failure};
use super::{alone, loopback};

/// The longest that `bd` may wait for itself.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Flows of one process, one after the other.
const FLOWS: u32 = 20;

const TABLES: &[&str] = &[
    "CREATE TABLE issues (id VARCHAR(40) PRIMARY KEY)",
    "CREATE TABLE events (id VARCHAR(40) PRIMARY KEY)",
    "CREATE TABLE wisps (id VARCHAR(40) PRIMARY KEY)",
    "CREATE TABLE counter (id VARCHAR(20) PRIMARY KEY, n INT)",
    "INSERT INTO counter VALUES ('hot', 0)",
];
const INCREMENT: &str = "UPDATE counter SET n = n + 1 WHERE id = 'hot'";

/// When the second connection does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// While the first holds its transaction.
    Within,
    /// Before the first begins: the control, in which nobody waits for anybody.
    Before,
}

/// 50 processes that work like `bd`.
pub fn scenario() -> Scenario {
    let write = |session: &mut Session, turn: &mut Turn| {
        let mut second = session.another()?;
        flow(session, &mut second, &format!("{}-{}", turn.writer, turn.round), Second::Within)
    };
    Scenario { rounds: 1, ..Scenario::new("bd's two connections", NoErrors, TABLES, write, both) }
}

fn flow(first: &mut Session, second: &mut Session, id: &str, when: Second) -> Result<Wrote, Failure> {
    let mut wisp = || {
        second.run("CALL DOLT_CHECKOUT(?)", &["main"])?;
        second.transaction(|second| {
            second.run(INCREMENT, &[])?;
            second.run("INSERT INTO wisps VALUES (?)", &[id])
        })
    };
    if when == Second::Before {
        wisp()?;
    }
    first.transaction(|first| {
        first.number("SELECT COUNT(*) FROM issues WHERE id = ?", &[id])?;
        first.run("INSERT INTO issues VALUES (?)", &[id])?;
        first.run(INCREMENT, &[])?;
        if when == Second::Within {
            wisp()?;
        }
        first.run("INSERT INTO events VALUES (?)", &[id])
    })?;
    Ok(Wrote::Yes)
}

/// Each issue and each wisp came with an increment, and all that was acknowledged is there; a flow that was not may
/// have got as far as its wisp.
fn both(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    let wanted = judge.run.acknowledged() as i64;
    let n = judge.number(&format!("SELECT n FROM `{main}`.counter"));
    let [issues, events, wisps] = ["issues", "events", "wisps"]
        .map(|table| judge.number(&format!("SELECT COUNT(*) FROM `{main}`.{table}")));
    let right = n == issues + wisps && (issues, events) == (wanted, wanted) && wisps >= wanted;
    Finding::of(right, format!("the counter reads {n}; {issues} issues, {events} events, {wisps} wisps"))
}

/// The slowest statement of each flow, and what the counter reads after all.
fn flows(server: Server, database: &str, when: Second) -> (Vec<Duration>, i64) {
    let mut root = Client::root(server.addr);
    root.run(&format!("CREATE DATABASE `{database}`"));
    root.run(&format!("USE `{database}`"));
    TABLES.iter().for_each(|sql| drop(root.run(sql)));
    root.run("CALL DOLT_COMMIT('-Am', 'tables')");
    let connect = || Session::connect(server.addr, database, Kind::Prepared).expect("logged in");
    let (mut first, mut second) = (connect(), connect());
    let slowest = (0..FLOWS).map(|number| {
        (first.slowest, second.slowest) = (Duration::ZERO, Duration::ZERO);
        let flow = flow(&mut first, &mut second, &number.to_string(), when);
        assert_eq!(flow, Ok(Wrote::Yes), "flow {number}");
        first.slowest.max(second.slowest)
    });
    let slowest = slowest.collect();
    let n = Client::root(server.dolt).value(&format!("SELECT n FROM `{database}`.counter"));
    (slowest, n.expect("the counter").parse().expect("a number"))
}

#[test]
fn bd_does_not_wait_for_itself() {
    let _alone = alone();
    let dolt = PlainDolt::start();
    let plain = Server { addr: loopback(dolt.port()), dolt: loopback(dolt.port()) };
    let (_, lost) = flows(plain, "within", Second::Within);
    assert!(lost < i64::from(2 * FLOWS), "plain Dolt lost nothing: {lost}");

    let branchline = Branchline::start();
    let server = Server { addr: branchline.addr(), dolt: loopback(branchline.dolt().port) };
    let (control, _) = flows(server, "before", Second::Before);
    let (within, n) = flows(server, "within", Second::Within);
    println!("plain Dolt: {lost} of {}; Branchline: {n}", 2 * FLOWS);
    println!("slowest statement of a flow, alone: {control:?}\nwithin the other transaction: {within:?}");
    assert_eq!(n, i64::from(2 * FLOWS));
    // What a statement takes where nobody waits is no wait.
    let limit = WAIT_MAX + control.iter().max().copied().unwrap_or_default();
    assert!(within.iter().all(|slowest| *slowest <= limit), "longer than {limit:?}: {within:?}");
}
