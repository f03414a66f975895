//! Owns writers that contend: a closed loop each, errors counted, readers beside them.
//! Does not retry: what is refused is an error, and the writer goes on with its next write.
//! Always: an acknowledged write is counted once, whatever came before it.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, ClientError};
use crate::lanes::{CYCLES, Write};
use crate::stats::Sample;
use crate::wire::Fault;
use crate::workload::{Endpoint, Random};

/// Rows that readers read.
pub const PAGES: u64 = 1000;

/// Who writes and reads, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    pub writers: usize,
    pub readers: usize,
    pub write: Write,
    pub warm_up: Duration,
    pub measured: Duration,
}

/// What a crowd did.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Writes acknowledged, at any time.
    pub acknowledged: u64,
    pub errors: BTreeMap<String, u64>,
    /// Those in the measured time.
    pub writes: Sample,
    pub reads: Sample,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.writes.merge(&other.writes);
        self.reads.merge(&other.reads);
    }
}

/// Runs a crowd for its time.
pub fn window(endpoint: &Endpoint, crowd: &Crowd, next_id: &AtomicU64) -> Result<Tally, String> {
    let people = crowd.writers + crowd.readers;
    let mut tally = together(vec![endpoint.clone(); people], |index, client| {
        let begin = Instant::now() + crowd.warm_up;
        let end = begin + crowd.measured;
        let mut tally = Tally::default();
        let mut random = Random::new(index as u64 + 1);
        loop {
            let sent = Instant::now();
            if sent >= end {
                return Ok(tally);
            }
            let done = if index < crowd.writers {
                write(client, crowd.write, next_id)
            } else {
                read(client, random.up_to(PAGES))
            };
            let answered = Instant::now();
            // Also what was sent before: an answer that took long would else count less than a fast one.
            let counts = answered >= begin && answered <= end;
            let nanoseconds = (answered - sent).as_nanos() as u64;
            match done {
                Ok(()) if index >= crowd.writers => {
                    tally.reads.latencies_ns.extend(counts.then_some(nanoseconds));
                }
                Ok(()) => {
                    tally.acknowledged += 1;
                    tally.writes.latencies_ns.extend(counts.then_some(nanoseconds));
                }
                Err(error) => refused(&mut tally, client, &error)?,
            }
        }
    })?;
    tally.writes.seconds = crowd.measured.as_secs_f64();
    tally.reads.seconds = crowd.measured.as_secs_f64();
    Ok(tally)
}

/// Each worker inserts and commits `CYCLES` times; timed from the start of all to the end of the last.
pub fn cycles(places: Vec<Endpoint>, next_id: &AtomicU64) -> Result<Tally, String> {
    let begun = AtomicU64::new(u64::MAX);
    let origin = Instant::now();
    let mut tally = together(places, |_, client| {
        begun.fetch_min(origin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let mut tally = Tally::default();
        for _ in 0..CYCLES {
            let sent = Instant::now();
            match write(client, Write::InsertThenCommit, next_id) {
                Ok(()) => {
                    tally.acknowledged += 1;
                    tally.writes.latencies_ns.push(sent.elapsed().as_nanos() as u64);
                }
                Err(error) => refused(&mut tally, client, &error)?,
            }
        }
        Ok(tally)
    })?;
    let begun = Duration::from_nanos(begun.load(Ordering::Relaxed));
    tally.writes.seconds = (origin.elapsed() - begun).as_secs_f64();
    Ok(tally)
}

/// A thread for each place; all begin when all are connected.
fn together(
    places: Vec<Endpoint>,
    work: impl Fn(usize, &mut Client) -> Result<Tally, String> + Sync,
) -> Result<Tally, String> {
    let ready = Barrier::new(places.len());
    thread::scope(|scope| {
        let (ready, work) = (&ready, &work);
        let one = |(index, endpoint): (usize, Endpoint)| {
            scope.spawn(move || {
                let connected = endpoint.connect();
                ready.wait();
                let mut client = connected.map_err(|error| error.to_string())?;
                let tally = work(index, &mut client)?;
                client.quit().map_err(|error| error.to_string())?;
                Ok::<_, String>(tally)
            })
        };
        let workers: Vec<_> = places.into_iter().enumerate().map(one).collect();
        let mut total = Tally::default();
        let mut failure = None;
        for worker in workers {
            match worker.join() {
                Ok(Ok(tally)) => total.add(tally),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        failure.map_or(Ok(total), Err)
    })
}

fn write(client: &mut Client, write: Write, next_id: &AtomicU64) -> Result<(), ClientError> {
    let id = || next_id.fetch_add(1, Ordering::Relaxed);
    let mut run = |sql: &str| client.query(sql).map(|_| ());
    match write {
        Write::Increment => run("UPDATE counter SET n = n + 1 WHERE id = 'hot'"),
        Write::DoltCommit => {
            run("BEGIN")?;
            run(&format!("INSERT INTO item VALUES ({}, 'an item')", id()))?;
            run("CALL DOLT_COMMIT('-Am', 'an item')")?;
            run("COMMIT")
        }
        Write::InsertThenCommit => {
            run(&format!("INSERT INTO item VALUES ({}, 'an item')", id()))?;
            run("CALL DOLT_COMMIT('-Am', 'an item')")
        }
    }
}

fn read(client: &mut Client, id: u64) -> Result<(), ClientError> {
    let reply = client.query(&format!("SELECT id, body FROM page WHERE id = {id}"))?;
    if reply.rows == 1 { Ok(()) } else { Err(Fault::Protocol("a page that is not there").into()) }
}

/// Counts an ERR and rolls back, as drivers do; anything else ends the run.
fn refused(tally: &mut Tally, client: &mut Client, error: &ClientError) -> Result<(), String> {
    if !matches!(error, ClientError::Fault(Fault::Server { .. })) {
        return Err(error.to_string());
    }
    *tally.errors.entry(error.code()).or_default() += 1;
    client.query("ROLLBACK").map(|_| ()).map_err(|error| error.to_string())
}
