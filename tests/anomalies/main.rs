//! No acknowledged write is ever lost: each anomaly that plain Dolt shows, and Branchline must not.
//!
//! A scenario runs three ways: against plain Dolt, where the anomaly has to show (or the scenario tests nothing);
//! through Branchline with all clients in one process; and with a process per client. `ANOMALIES_ONLY=TEXT` runs only
//! the scenarios whose names contain it, for work on one of them.

#[path = "../support/mod.rs"]
mod support;

mod outcome;
mod session;
mod scenario;
mod scenarios;
mod worker;
mod fleet;
mod bd;
mod timeouts;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use fleet::{Clients, DONE_WITHIN, Server};
use outcome::{Finding, Run, Table};
use scenario::{Promise, Scenario};
use support::branchline::Branchline;
use support::plain::PlainDolt;

/// Rounds in which an anomaly has to show on plain Dolt: overlapping is a matter of chance there.
const CHANCES: u32 = 5;

/// One at a time: 50 writers need both cores, and times are measured.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wanted() -> Vec<Scenario> {
    let only = std::env::var("ANOMALIES_ONLY").unwrap_or_default();
    let list: Vec<Scenario> =
        scenarios::all().into_iter().filter(|scenario| scenario.name.contains(&only)).collect();
    assert!(!list.is_empty(), "no scenario's name contains ANOMALIES_ONLY={only}");
    list
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let seed = std::env::var("ANOMALIES_SEED")
        .map_or(now.as_nanos() as u64 | 1, |text| text.parse().expect("a number"));
    println!("ANOMALIES_SEED={seed}");
    seed
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn plain_dolt_shows_every_anomaly() {
    let _alone = alone();
    let dolt = PlainDolt::start();
    let server = Server { addr: loopback(dolt.port()), dolt: loopback(dolt.port()) };
    let (seed, mut table, mut hidden) = (seed(), Table::default(), Vec::new());
    for scenario in wanted() {
        let shown = (0..CHANCES).any(|_| {
            let (run, finding) = fleet::run(server, &scenario, Clients::OneProcess, seed);
            table.add(&scenario.name, &run, &finding);
            !finding.right
        });
        if !shown {
            hidden.push(scenario.name);
        }
    }
    println!("{}", table.text("plain Dolt"));
    assert!(hidden.is_empty(), "no anomaly in {CHANCES} runs of: {hidden:?}");
}

/// What is wrong with a run through Branchline.
fn broken_promises(scenario: &Scenario, run: &Run, finding: &Finding) -> Vec<String> {
    let mut problems = Vec::new();
    if !finding.right {
        problems.push(format!("{} acknowledged, but {}", run.acknowledged(), finding.text));
    }
    if !run.errors().is_empty() {
        let first = run.first_error().unwrap_or_default();
        problems.push(format!("errors {:?}, the first: {first}", run.errors()));
    }
    let answered: usize =
        run.writers.iter().map(|writer| writer.acknowledged.len() + writer.passed.len()).sum();
    if !scenario.mortal && answered != scenario.rounds_of_all() {
        problems.push(format!("{answered} of {} rounds were answered", scenario.rounds_of_all()));
    }
    if scenario.promise == Promise::NoErrors
        && !scenario.mortal
        && run.acknowledged() != scenario.rounds_of_all()
    {
        problems.push(format!("{} of {} acknowledged", run.acknowledged(), scenario.rounds_of_all()));
    }
    if run.seconds > DONE_WITHIN.as_secs_f64() {
        problems.push(format!("{:.1} s until the last client was done", run.seconds));
    }
    problems.into_iter().map(|problem| format!("{}: {problem}", scenario.name)).collect()
}

fn branchline_shows_none(clients: Clients, title: &str) {
    let _alone = alone();
    let branchline = Branchline::start();
    let server = Server { addr: branchline.addr(), dolt: loopback(branchline.dolt().port) };
    let (seed, mut table, mut problems) = (seed(), Table::default(), Vec::new());
    for scenario in wanted() {
        let (run, finding) = fleet::run(server, &scenario, clients, seed);
        table.add(&scenario.name, &run, &finding);
        problems.extend(broken_promises(&scenario, &run, &finding));
    }
    println!("{}", table.text(title));
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn connections_of_one_process_lose_nothing() {
    branchline_shows_none(Clients::OneProcess, "Branchline, 50 connections of one process");
}

#[test]
fn fifty_processes_lose_nothing() {
    branchline_shows_none(Clients::Processes, "Branchline, 50 processes");
}
