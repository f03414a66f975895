//! `branchline stop`: SIGTERM, then wait until the process is gone. Never SIGKILL: Dolt's journal would pay for it.

use std::time::Duration;

use super::client::ConsoleClient;
use super::failure::Failure;
use super::process::Process;
use super::{Context, output};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  branchline stop
  branchline stop --state-dir ~/gt/daemon")]
pub struct Args {
    #[command(flatten)]
    pub dolt: super::flags::DoltFlag,
    /// How long to wait until it has drained and stopped Dolt; it goes on stopping after that
    #[arg(long = "stop-timeout-s", value_name = "SECONDS", default_value_t = 90)]
    timeout_s: u64,
}

impl Args {
    /// How long to wait.
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

pub fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let pid = stop(ConsoleClient::connect(context)?, args.limit())?;
    if context.json {
        return output::line(&serde_json::json!({"stopped": true, "pid": pid}).to_string());
    }
    output::line(&format!("stopped (pid {pid})"))
}

/// Returns the pid of what was stopped.
pub fn stop(mut client: ConsoleClient, limit: Duration) -> Result<i32, Failure> {
    let pid = client.status()?.pid()?;
    // Opened while the console is connected, so this is the process that answered.
    let Some(process) = Process::open(pid)? else { return Ok(pid) };
    process.terminate()?;
    drop(client);
    if process.wait(limit, "stopping")? {
        return Ok(pid);
    }
    Err(Failure::Failed(format!(
        "pid {pid} has not ended within {} s; it is still draining or stopping Dolt, see `branchline logs`. \
         Do not kill it: that may damage Dolt's journal. Wait longer with --stop-timeout-s",
        limit.as_secs()
    )))
}
