//! Owns the cost of clients that are connected and silent.
//! Does not count what the server behind the proxy needs for them.
//! Always: each client has run one statement before it falls silent, as real ones have.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::probe;
use crate::sections::{Column, endpoint};

/// Connections opened and closed first, so that what a proxy allocates once is not charged to its clients.
const WARM_UP_CLIENTS: usize = 16;
const SETTLE_WAIT: Duration = Duration::from_secs(5);
const SETTLE_POLL: Duration = Duration::from_millis(250);
/// Memory has settled when it moves less than this between two looks, four times.
const SETTLED_KIB: u64 = 64;

/// A proxy's memory without and with idle clients.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IdleResult {
    pub column: String,
    pub clients: usize,
    pub before_kib: u64,
    pub after_kib: u64,
    pub error: Option<String>,
}

impl IdleResult {
    /// KiB of resident memory per client.
    pub fn kib_per_client(&self) -> Option<f64> {
        (self.clients > 0)
            .then(|| self.after_kib.saturating_sub(self.before_kib) as f64 / self.clients as f64)
    }
}

/// Opens the clients through one proxy and looks at its memory.
pub fn measure(column: &Column, pid: i32, wanted: usize) -> IdleResult {
    eprintln!("e2e: {wanted} idle clients through {}", column.name);
    let mut result = IdleResult { column: column.name.to_owned(), ..IdleResult::default() };
    let open = |count: usize| {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            let connected = endpoint(column.address).connect().and_then(|mut client| {
                client.query("SELECT id FROM bead WHERE id = 1")?;
                Ok(client)
            });
            match connected {
                Ok(client) => clients.push(client),
                Err(error) => {
                    let reached = clients.len();
                    return (clients, Some(format!("client {} of {count} failed: {error}", reached + 1)));
                }
            }
        }
        (clients, None)
    };
    drop(open(WARM_UP_CLIENTS));
    result.before_kib = settled(pid);
    let (clients, error) = open(wanted);
    result.after_kib = settled(pid);
    result.clients = clients.len();
    result.error = error;
    result
}

/// Resident memory once it has stopped moving.
fn settled(pid: i32) -> u64 {
    let deadline = Instant::now() + SETTLE_WAIT;
    let mut last = probe::resident_kib(pid).unwrap_or(0);
    let mut quiet = 0;
    while quiet < 4 && Instant::now() < deadline {
        thread::sleep(SETTLE_POLL);
        let now = probe::resident_kib(pid).unwrap_or(0);
        quiet = if now.abs_diff(last) < SETTLED_KIB { quiet + 1 } else { 0 };
        last = now;
    }
    last
}
