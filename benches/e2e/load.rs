//! Owns the `load` mode: a bounded load on one loopback address, for testers.
//! Does not start or stop servers, and does not stop at errors: it counts them.
//! Always: ends by itself; never leaves this machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::args::LoadArgs;
use crate::client::{Client, ClientError};
use crate::stats::Sample;
use crate::workload::Endpoint;

/// After an error a connection waits this long, so that a dead server is not dialled in a tight loop.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// What one connection did.
#[derive(Default)]
struct Outcome {
    sample: Sample,
    rows: u64,
    errors: BTreeMap<String, u64>,
    example: Option<String>,
}

/// Runs the load and prints what came of it; false if nothing succeeded.
pub fn run(arguments: &LoadArgs) -> Result<bool, String> {
    let address = loopback(arguments.addr)?;
    let endpoint = Endpoint { address, user: arguments.user.clone(), database: arguments.database.clone() };
    let length = Duration::from_secs_f64(arguments.seconds);
    eprintln!("{} connections to {address} for {} s", arguments.connections, arguments.seconds);
    let started = Instant::now();
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.connections)
            .map(|_| scope.spawn(|| one_connection(&endpoint, arguments, started + length)))
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    let mut total = Outcome::default();
    for outcome in outcomes {
        total.sample.merge(&outcome.sample);
        total.rows += outcome.rows;
        total.example = total.example.or(outcome.example);
        for (code, count) in outcome.errors {
            *total.errors.entry(code).or_default() += count;
        }
    }
    total.sample.seconds = started.elapsed().as_secs_f64();
    print(&total);
    Ok(!total.sample.latencies_ns.is_empty())
}

/// Only this machine: a load tool that takes any address is a weapon.
pub fn loopback(address: SocketAddr) -> Result<SocketAddr, String> {
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(format!(
        "--addr {address} is not a loopback address; this tool loads only servers on this machine (127.0.0.0/8 or [::1])"
    ))
}

fn one_connection(endpoint: &Endpoint, arguments: &LoadArgs, end: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let mut open: Option<Client> = None;
    while Instant::now() < end {
        let sent = Instant::now();
        match operate(endpoint, arguments, &mut open) {
            Ok((rows, bytes)) => {
                outcome.sample.latencies_ns.push(sent.elapsed().as_nanos() as u64);
                outcome.sample.bytes += bytes;
                outcome.rows += rows;
            }
            Err(error) => {
                *outcome.errors.entry(error.code()).or_default() += 1;
                outcome.example.get_or_insert_with(|| error.to_string());
                // An ERR leaves the connection usable; anything else does not.
                if !matches!(error, ClientError::Fault(crate::wire::Fault::Server { .. })) {
                    open = None;
                }
                thread::sleep(AFTER_ERROR);
            }
        }
    }
    if let Some(client) = open {
        // The server may be gone by now, and that is no finding of its own.
        drop(client.quit());
    }
    outcome
}

fn operate(
    endpoint: &Endpoint,
    arguments: &LoadArgs,
    open: &mut Option<Client>,
) -> Result<(u64, u64), ClientError> {
    let mut client = match open.take() {
        Some(client) => client,
        None => endpoint.connect_for_bulk()?,
    };
    let reply = client.query(&arguments.query);
    if arguments.reconnect {
        client.quit()?;
    } else {
        *open = Some(client);
    }
    reply.map(|reply| (reply.rows, reply.bytes))
}

fn print(total: &Outcome) {
    match total.sample.summary() {
        None => println!("no operation succeeded"),
        Some(summary) => {
            println!("operations   {} ({} rows)", summary.count, total.rows);
            println!(
                "throughput   {:.0} operations/s, {:.1} MiB/s",
                summary.per_second, summary.mib_per_second
            );
            println!(
                "latency      p50 {:.0} µs, p95 {:.0} µs, p99 {:.0} µs",
                summary.p50_us, summary.p95_us, summary.p99_us
            );
        }
    }
    let count: u64 = total.errors.values().sum();
    println!("errors       {count}");
    for (code, count) in &total.errors {
        println!("  {code}: {count}");
    }
    if let Some(example) = &total.example {
        println!("  for example: {example}");
    }
}
