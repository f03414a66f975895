//! Owns the running of a scenario: databases, 50 threads or 50 processes, kills, the look at the data.
//! Does not know what is right.
//! Always: writers begin together when all are connected; processes that were started are ended and reaped.

use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::outcome::{Finding, Outcome, Run};
use super::scenario::{Databases, Judge, Place, Scenario, WRITERS};
use super::support::raw::Client;
use super::worker::{self, Job, Message};

/// Every client has to be done by then.
pub const DONE_WITHIN: Duration = Duration::from_secs(30);
/// Processes are killed within this time of their start.
const KILLED_WITHIN: Duration = Duration::from_millis(1500);

/// Where a scenario runs.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// What the writers talk to.
    pub addr: SocketAddr,
    /// Dolt itself, for the look at the data.
    pub dolt: SocketAddr,
}

/// What the writers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Connections of this process.
    OneProcess,
    /// A process each.
    Processes,
}

/// Runs a scenario in databases of its own.
pub fn run(server: Server, scenario: &Scenario, clients: Clients, seed: u64) -> (Run, Finding) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let databases = Databases { main: format!("town{number}"), other: format!("other{number}") };
    set_up(server.addr, scenario, &databases);
    let jobs = (0..WRITERS).map(|writer| Job {
        addr: server.addr,
        scenario: scenario.name.clone(),
        writer,
        main: databases.main.clone(),
        other: databases.other.clone(),
        vanish_after: None,
    });
    let jobs: Vec<Job> = jobs.collect();
    let run = match clients {
        Clients::OneProcess => threads(scenario, jobs, seed),
        Clients::Processes => processes(scenario, &jobs, seed),
    };
    let mut judge = Judge { dolt: Client::root(server.dolt), databases, scenario, run: &run };
    // One snapshot of all databases: the last statement of a writer that vanished may still run.
    judge.dolt.run("START TRANSACTION");
    let finding = (scenario.judge)(&mut judge);
    (run, finding)
}

fn set_up(addr: SocketAddr, scenario: &Scenario, databases: &Databases) {
    let mut root = Client::root(addr);
    for database in [&databases.main, &databases.other] {
        root.run(&format!("CREATE DATABASE `{database}`"));
        root.run(&format!("USE `{database}`"));
        scenario.setup.iter().for_each(|sql| drop(root.run(sql)));
        root.run("CALL DOLT_COMMIT('-Am', 'tables')");
    }
    if (0..WRITERS).any(|writer| (scenario.place)(writer) == Place::Branch) {
        root.run(&format!("USE `{}`", databases.main));
        root.run("CALL DOLT_BRANCH('side')");
    }
    root.quit();
}

fn threads(scenario: &Scenario, mut jobs: Vec<Job>, seed: u64) -> Run {
    let mut random = Random(seed);
    for job in jobs.iter_mut().filter(|job| is_mortal(scenario, job.writer)) {
        // A round has four statements.
        job.vanish_after = Some(random.below(u64::from(scenario.rounds) * 4) as u32);
    }
    let ready = Barrier::new(WRITERS + 1);
    thread::scope(|scope| {
        let ready = &ready;
        let spawn = |job| {
            scope.spawn(move || {
                let session = worker::connect(scenario, &job);
                ready.wait();
                worker::write(scenario, &job, session, Instant::now() + DONE_WITHIN, |_| {})
            })
        };
        let writers: Vec<_> = jobs.into_iter().map(spawn).collect();
        ready.wait();
        let begun = Instant::now();
        let writers = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
        Run { writers, seconds: begun.elapsed().as_secs_f64() }
    })
}

/// A writer's process, ended with its owner.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn processes(scenario: &Scenario, jobs: &[Job], seed: u64) -> Run {
    let mut writers: Vec<Writer> = jobs.iter().map(start).collect();
    let mut outputs: Vec<_> = writers
        .iter_mut()
        .map(|writer| BufReader::new(writer.0.stdout.take().expect("stdout is piped")).lines())
        .collect();
    let mut next = |writer: usize| {
        // Bounded: a writer's every wait is, and its end closes the pipe.
        outputs[writer].by_ref().map_while(Result::ok).find_map(|line| Message::read(&line))
    };
    for writer in 0..jobs.len() {
        let first = next(writer);
        assert_eq!(first, Some(Message::Ready), "writer {writer} of `{}`", scenario.name);
    }
    let begun = Instant::now();
    for writer in &mut writers {
        let mut input = writer.0.stdin.take().expect("stdin is piped");
        input.write_all(b"go\n").expect("the writer waits for it");
    }
    let mut random = Random(seed);
    let killed = if scenario.mortal { kill(scenario, &mut writers, &mut random) } else { Vec::new() };
    let outcomes = (0..jobs.len()).map(|writer| {
        let mut outcome = Outcome { killed: killed.contains(&writer), ..Outcome::default() };
        loop {
            match next(writer) {
                Some(Message::Acknowledged(round)) => outcome.acknowledged.push(round),
                // Done before its SIGKILL came.
                Some(Message::Done(done)) => return done,
                Some(Message::Ready) => {}
                None if outcome.killed => return outcome,
                None => panic!("writer {writer} of `{}` ended without a result", scenario.name),
            }
        }
    });
    let writers = outcomes.collect();
    Run { writers, seconds: begun.elapsed().as_secs_f64() }
}

fn start(job: &Job) -> Writer {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", worker::TEST, "--nocapture", "--test-threads=1"]);
    command.env(worker::JOB, serde_json::to_string(job).expect("a job in JSON"));
    for routed_by in ["BD_BRANCH", "BD_ACTOR", "GT_POLECAT"] {
        command.env_remove(routed_by);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    Writer(command.spawn().expect("a process for the writer"))
}

/// SIGKILL for half of them, one after the other at random moments.
fn kill(scenario: &Scenario, writers: &mut [Writer], random: &mut Random) -> Vec<usize> {
    let mortal: Vec<usize> = (0..writers.len()).filter(|writer| is_mortal(scenario, *writer)).collect();
    let pause = KILLED_WITHIN.as_micros() as u64 / mortal.len() as u64;
    for writer in &mortal {
        thread::sleep(Duration::from_micros(random.below(2 * pause)));
        let _already_done = writers[*writer].0.kill();
    }
    mortal
}

fn is_mortal(scenario: &Scenario, writer: usize) -> bool {
    scenario.mortal && writer % 2 == 1
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
