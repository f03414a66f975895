//! Owns the closed loop: N connections, each sending its next operation when it has the reply to the last.
//! Does not know which server it talks to or what the numbers are for.
//! Always: every reply's row count is checked, and a run ends within its window plus one operation.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, ClientError, LARGE_BUFFER_BYTES, SMALL_BUFFER_BYTES, Statement};
use crate::stats::Sample;
use crate::wire::Reply;

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Address of the server.
    pub address: SocketAddr,
    /// Account; it has no password.
    pub user: String,
    /// Database named in the handshake.
    pub database: Option<String>,
}

impl Endpoint {
    /// A connection for short replies.
    pub fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(self.address, &self.user, self.database.as_deref(), SMALL_BUFFER_BYTES)
    }

    /// A connection for large results.
    pub fn connect_for_bulk(&self) -> Result<Client, ClientError> {
        Client::connect(self.address, &self.user, self.database.as_deref(), LARGE_BUFFER_BYTES)
    }
}

/// One operation; in SQL `{id}` stands for a number from 1 to `ids`.
#[derive(Debug, Clone)]
pub enum Operation {
    /// COM_QUERY on an open connection.
    Text {
        /// The statement.
        sql: String,
        /// Largest id.
        ids: u64,
        /// Rows it must return; `None` where that is not known.
        rows: Option<u64>,
    },
    /// COM_STMT_EXECUTE of a statement prepared once per connection, with `?` for the id.
    Prepared {
        /// The statement.
        sql: String,
        /// Largest id.
        ids: u64,
    },
    /// Connect, one statement, close.
    Connect {
        /// The statement.
        sql: String,
        /// Rows it must return; `None` where that is not known.
        rows: Option<u64>,
    },
}

/// Loop settings.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Connections, a thread each.
    pub connections: usize,
    /// Run before measuring, not counted.
    pub warm_up: Duration,
    /// Measured time.
    pub measured: Duration,
}

/// What goes wrong inside a loop.
pub type LoopError = String;

/// Runs the loop until its window is over; fails with the first thing that any connection sees go wrong.
/// `at_edges` is called when the measured window begins and when it ends.
pub fn run(
    endpoint: &Endpoint,
    operation: &Operation,
    window: Window,
    mut at_edges: impl FnMut(),
) -> Result<Sample, LoopError> {
    let ready = Barrier::new(window.connections + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..window.connections)
            .map(|index| {
                let ready = &ready;
                scope.spawn(move || {
                    let worker = Worker::new(endpoint, operation, index as u64 + 1);
                    ready.wait();
                    worker?.run(window)
                })
            })
            .collect();
        ready.wait();
        thread::sleep(window.warm_up);
        at_edges();
        thread::sleep(window.measured);
        at_edges();
        let mut total = Sample::default();
        let mut failure = None;
        for worker in workers {
            match worker.join() {
                Ok(Ok(sample)) => total.merge(&sample),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        total.seconds = window.measured.as_secs_f64();
        if total.latencies_ns.is_empty() {
            failure.get_or_insert(format!(
                "no operation began and ended within the measured {} s; --seconds makes it longer",
                total.seconds
            ));
        }
        failure.map_or(Ok(total), Err)
    })
}

/// One connection's share of a loop.
struct Worker<'a> {
    endpoint: &'a Endpoint,
    operation: &'a Operation,
    open: Option<(Client, Option<Statement>)>,
    random: Random,
}

impl<'a> Worker<'a> {
    fn new(endpoint: &'a Endpoint, operation: &'a Operation, seed: u64) -> Result<Self, LoopError> {
        let open = match operation {
            Operation::Connect { .. } => None,
            Operation::Text { .. } => Some((endpoint.connect().map_err(describe)?, None)),
            Operation::Prepared { sql, .. } => {
                let mut client = endpoint.connect().map_err(describe)?;
                let statement = client.prepare(sql).map_err(describe)?;
                Some((client, Some(statement)))
            }
        };
        Ok(Self { endpoint, operation, open, random: Random::new(seed) })
    }

    fn run(mut self, window: Window) -> Result<Sample, LoopError> {
        let begin = Instant::now() + window.warm_up;
        let end = begin + window.measured;
        let mut sample = Sample::default();
        loop {
            // The statement's text is made before the clock starts.
            let sql = self.next_sql();
            let sent = Instant::now();
            if sent >= end {
                break;
            }
            let reply = self.once(&sql)?;
            let answered = Instant::now();
            if sent >= begin && answered <= end {
                sample.latencies_ns.push((answered - sent).as_nanos() as u64);
                sample.bytes += reply.bytes;
            }
        }
        if let Some((client, _)) = self.open {
            client.quit().map_err(describe)?;
        }
        Ok(sample)
    }

    fn next_sql(&mut self) -> String {
        match self.operation {
            Operation::Text { sql, ids, .. } => sql.replace("{id}", &self.random.up_to(*ids).to_string()),
            Operation::Prepared { .. } => String::new(),
            Operation::Connect { sql, .. } => sql.clone(),
        }
    }

    fn once(&mut self, sql: &str) -> Result<Reply, LoopError> {
        let (reply, rows) = match (self.operation, &mut self.open) {
            (Operation::Text { rows, .. }, Some((client, _))) => (client.query(sql), *rows),
            (Operation::Prepared { ids, .. }, Some((client, Some(statement)))) => {
                let id = self.random.up_to(*ids) as i64;
                (client.execute(*statement, id), Some(1))
            }
            (Operation::Connect { rows, .. }, _) => (self.connect_once(sql), *rows),
            _ => return Err("a loop without its connection".to_owned()),
        };
        let reply = reply.map_err(describe)?;
        match rows {
            Some(expected) if reply.rows != expected => {
                Err(format!("{} rows instead of {expected} for: {sql}", reply.rows))
            }
            _ => Ok(reply),
        }
    }

    fn connect_once(&self, sql: &str) -> Result<Reply, ClientError> {
        let mut client = self.endpoint.connect()?;
        let reply = client.query(sql)?;
        client.quit()?;
        Ok(reply)
    }
}

fn describe(error: ClientError) -> LoopError {
    error.to_string()
}

/// xorshift64: ids need to differ, not to be unpredictable.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Equal seeds give equal sequences, so each server gets the same questions.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from 1 to `largest`.
    pub fn up_to(&mut self, largest: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % largest.max(1) + 1
    }
}

/// Reads one large result to its end and checks its size.
pub fn large(endpoint: &Endpoint, sql: &str, rows: u64, bytes_min: u64) -> Result<Sample, LoopError> {
    let mut client = endpoint.connect_for_bulk().map_err(describe)?;
    // The first statement of a session costs the server extra; it is not what is measured.
    client.query("SELECT 1").map_err(describe)?;
    let sent = Instant::now();
    let reply = client.query(sql).map_err(describe)?;
    let took = sent.elapsed();
    client.quit().map_err(describe)?;
    if reply.rows != rows || reply.bytes < bytes_min {
        return Err(format!(
            "{} rows and {} bytes instead of {rows} rows and at least {bytes_min} bytes for: {sql}",
            reply.rows, reply.bytes
        ));
    }
    Ok(Sample { latencies_ns: vec![took.as_nanos() as u64], seconds: took.as_secs_f64(), bytes: reply.bytes })
}
