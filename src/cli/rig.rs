//! `branchline rig init`, `rig list`, and their names in `gt dolt`: `init-rig`, `list`.

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, output};
use crate::config::rule::quote;

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  branchline rig init gastown
  branchline rig list --json")]
pub enum Command {
    /// Make a rig: a database that is ready to use
    Init(InitArgs),
    /// List the rigs
    List,
}

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// Name: letters, digits, _ and -, at most 64 bytes
    name: String,
}

pub fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let mut client = ConsoleClient::connect(context)?;
    match command {
        Command::List => output::list(
            &client.query("SHOW RIGS")?,
            context.json,
            "no rigs; make one with `branchline rig init NAME`",
        ),
        Command::Init(args) => {
            let made = client.query(&format!("CREATE RIG {}", quote(&args.name)))?;
            if context.json {
                return output::line(&made.json().to_string());
            }
            output::line(&format!("made the rig {}", args.name))
        }
    }
}
