//! Owns the command line of the benchmark.
//! Does not run anything.
//! Always: a `Plan` is complete; what `--quick` changes is decided here and nowhere else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Branchline's end-to-end benchmark: direct, through HAProxy and through Branchline, in interleaved rounds.
#[derive(Debug, Parser)]
#[command(
    name = "e2e",
    after_help = "Examples:\n  cargo bench --bench e2e\n  cargo bench --bench e2e -- --quick\n  \
    cargo bench --bench e2e -- load --addr 127.0.0.1:3307 --connections 40 --seconds 10 --query 'SELECT 1'"
)]
pub struct Cli {
    #[command(subcommand)]
    pub mode: Option<Mode>,
    #[command(flatten)]
    pub compare: CompareArgs,
    /// Passed by `cargo bench`; absent when `cargo test` runs the target.
    #[arg(long, hide = true, global = true)]
    pub bench: bool,
}

/// What to do other than comparing.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Load one server on this machine for a bounded time.
    Load(LoadArgs),
}

/// Options of `load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Server to load; must be a loopback address.
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: SocketAddr,
    /// Connections, each with one statement in flight.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4000))]
    pub connections: u16,
    /// How long.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Statement to repeat.
    #[arg(long, default_value = "SELECT 1")]
    pub query: String,
    /// A new connection for every statement.
    #[arg(long)]
    pub reconnect: bool,
    /// Account, without a password.
    #[arg(long, default_value = "root")]
    pub user: String,
    /// Database named in the handshake.
    #[arg(long)]
    pub database: Option<String>,
}

/// Options of the comparison.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A smoke test in under a minute; its numbers are not worth quoting.
    #[arg(long)]
    quick: bool,
    /// Only direct and HAProxy, on a Dolt started by the benchmark itself.
    #[arg(long)]
    without_branchline: bool,
    /// Measure direct a second time as a column of its own, which shows the noise.
    #[arg(long)]
    control: bool,
    /// Rounds; six give each order of the three servers once.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=600))]
    rounds: Option<u16>,
    /// Measured seconds per round, section and server.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Size of the large results in MiB.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    large_mib: Option<u64>,
    /// Idle clients for the memory section; 0 leaves it out.
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=8000))]
    idle: Option<u16>,
    /// Only sections whose name contains this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Branchline's binary; by default the one cargo built with the benchmark.
    #[arg(long, value_name = "PATH")]
    branchline: Option<PathBuf>,
    /// Dolt's binary; by default BRANCHLINE_DOLT, .tools/bin/dolt, then PATH.
    #[arg(long, value_name = "PATH")]
    dolt: Option<PathBuf>,
    /// Write all raw numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when a target is missed.
    #[arg(long)]
    strict: bool,
}

/// The comparison to run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub quick: bool,
    pub with_branchline: bool,
    pub control: bool,
    pub rounds: usize,
    /// Rounds of the sections with large results, which have no fixed length, and of those with contended writes.
    pub long_rounds: usize,
    pub warm_up: Duration,
    pub measured: Duration,
    /// Measured time of contended writes: one alone may take a tenth of the time of a short section.
    pub contended: Duration,
    pub large_bytes: u64,
    pub idle_clients: usize,
    pub only: Option<String>,
    pub branchline: Option<PathBuf>,
    pub dolt: Option<PathBuf>,
    pub json: Option<PathBuf>,
    pub strict: bool,
}

impl CompareArgs {
    /// Fills in the defaults.
    pub fn resolve(self) -> Plan {
        let (rounds, seconds, large_mib, idle) =
            if self.quick { (2, 0.25, 64, 100) } else { (12, 0.5, 1024, 1000) };
        let rounds = usize::from(self.rounds.unwrap_or(rounds));
        let measured = Duration::from_secs_f64(self.seconds.unwrap_or(seconds));
        Plan {
            quick: self.quick,
            with_branchline: !self.without_branchline,
            control: self.control,
            rounds,
            long_rounds: rounds.div_ceil(2),
            warm_up: measured / 5,
            measured,
            contended: measured * 3,
            large_bytes: self.large_mib.unwrap_or(large_mib) << 20,
            idle_clients: usize::from(self.idle.unwrap_or(idle)),
            only: self.only,
            branchline: self.branchline,
            dolt: self.dolt,
            json: self.json,
            strict: self.strict,
        }
    }
}

/// A bounded, positive number of seconds.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.01..=3600.0).contains(&number) => Ok(number),
        _ => Err(format!("`{text}` is not a number of seconds from 0.01 to 3600")),
    }
}
