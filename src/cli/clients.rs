//! `branchline clients`, `branchline kill`.

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  branchline kill 1073741825          an id from `branchline clients`")]
pub struct KillArgs {
    /// Id from `branchline clients`
    id: u32,
}

pub fn list(context: &Context) -> Result<(), Failure> {
    let clients = ConsoleClient::connect(context)?.query("SHOW CLIENTS")?;
    output::list(&clients, context.json, "no clients")
}

pub fn kill(context: &Context, args: &KillArgs) -> Result<(), Failure> {
    ConsoleClient::connect(context)?.query(&format!("KILL {}", args.id))?;
    if context.json {
        return output::line(&serde_json::json!({"killed": args.id}).to_string());
    }
    output::line(&format!("client {} is told to end", args.id))
}
