//! Owns one writer: its rounds, its retries, and its life in a process of its own.
//! Does not know what the others do.
//! Always: done by its deadline; the 1213 that a promise lets it retry is the only error that it retries.

use std::io::{Write as _, stdin};
use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::fleet::DONE_WITHIN;
use super::outcome::Outcome;
use super::scenario::{Databases, Promise, Scenario, Turn, Wrote};
use super::scenarios;
use super::session::Session;
use super::support::raw::Failure;

/// The test that a writer's process runs.
pub const TEST: &str = "worker::what_a_writer_prints_is_what_its_parent_reads";
/// The environment variable that makes it a writer's process.
pub const JOB: &str = "ANOMALIES_JOB";
/// What begins a line of the writer's, whatever the test harness prints in front of it.
const MARK: &str = "@writer ";

/// What a writer has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub addr: SocketAddr,
    pub scenario: String,
    pub writer: usize,
    pub main: String,
    pub other: String,
    /// Statements until its socket is closed.
    pub vanish_after: Option<u32>,
}

/// A line from a writer's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Connected.
    Ready,
    /// A round's write.
    Acknowledged(u32),
    /// The end.
    Done(Outcome),
}

impl Message {
    /// From a line of output, if it is one.
    pub fn read(line: &str) -> Option<Self> {
        let (_, json) = line.split_once(MARK)?;
        serde_json::from_str(json).ok()
    }

    fn line(&self) -> String {
        format!("\n{MARK}{}\n", serde_json::to_string(self).expect("a message in JSON"))
    }

    fn print(&self) {
        let mut out = std::io::stdout().lock();
        // At once: the process may be killed any time.
        out.write_all(self.line().as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
    }
}

/// Logs in where the scenario puts this writer.
pub fn connect(scenario: &Scenario, job: &Job) -> Result<Session, Failure> {
    let databases = Databases { main: job.main.clone(), other: job.other.clone() };
    let database = databases.at((scenario.place)(job.writer));
    let mut session = Session::connect(job.addr, &database, (scenario.kind)(job.writer))?;
    session.statements_left = job.vanish_after;
    Ok(session)
}

/// All rounds of a writer.
pub fn write(
    scenario: &Scenario,
    job: &Job,
    session: Result<Session, Failure>,
    deadline: Instant,
    mut on_acknowledged: impl FnMut(u32),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut session = match session {
        Ok(session) => session,
        Err(failure) => {
            outcome.failed(&failure);
            return outcome;
        }
    };
    let databases = Databases { main: job.main.clone(), other: job.other.clone() };
    for round in 0..scenario.rounds {
        let mut turn = Turn { writer: job.writer, round, databases: databases.clone(), impossible: false };
        let prepared = scenario.before.map_or(Ok(Wrote::Nothing), |before| before(&mut session, &mut turn));
        let result =
            prepared.and_then(|_| retried(scenario, &mut session, &mut turn, &mut outcome, deadline));
        outcome.impossible += u32::from(turn.impossible);
        match result {
            Ok(Wrote::Yes) => {
                outcome.acknowledged.push(round);
                on_acknowledged(round);
            }
            Ok(Wrote::Nothing) => outcome.passed.push(round),
            Err(Failure::Closed) if session.statements_left == Some(0) => {
                outcome.killed = true;
                break;
            }
            Err(failure) => {
                outcome.failed(&failure);
                if !matches!(failure, Failure::Server(..)) {
                    break;
                }
            }
        }
    }
    outcome.slowest_ms = session.slowest.as_millis() as u64;
    outcome
}

fn retried(
    scenario: &Scenario,
    session: &mut Session,
    turn: &mut Turn,
    outcome: &mut Outcome,
    deadline: Instant,
) -> Result<Wrote, Failure> {
    loop {
        turn.impossible = false;
        match (scenario.write)(session, turn) {
            Err(Failure::Server(1213, ..))
                if scenario.promise == Promise::RetryConflicts && Instant::now() < deadline =>
            {
                outcome.retries += 1;
            }
            other => return other,
        }
    }
}

/// The life of a writer's process, which ends here.
fn live(job: &Job) -> ! {
    let all = scenarios::all();
    let scenario = all.iter().find(|scenario| scenario.name == job.scenario).expect("a scenario");
    let session = connect(scenario, job);
    Message::Ready.print();
    let mut go = String::new();
    stdin().read_line(&mut go).expect("the parent's word");
    // The parent is gone if it said nothing.
    if go == "go\n" {
        let deadline = Instant::now() + DONE_WITHIN;
        let outcome = write(scenario, job, session, deadline, |round| Message::Acknowledged(round).print());
        Message::Done(outcome).print();
    }
    std::process::exit(0);
}

/// Also the entry of a writer's process: the parent runs this test with a job.
#[test]
fn what_a_writer_prints_is_what_its_parent_reads() {
    if let Ok(job) = std::env::var(JOB) {
        live(&serde_json::from_str(&job).expect("a job"));
    }
    let mut outcome = Outcome { acknowledged: vec![0, 2], retries: 3, ..Outcome::default() };
    outcome.failed(&Failure::Server(1213, "40001".to_owned(), "conflict".to_owned()));
    for message in [Message::Ready, Message::Acknowledged(7), Message::Done(outcome)] {
        let line = format!("test worker ... {}", message.line().trim());
        assert_eq!(Message::read(&line), Some(message));
    }
    assert_eq!(Message::read("test result: ok."), None);
}
