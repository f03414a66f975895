//! `branchline remote …`, `branchline push`, `branchline pull`, `branchline clone`: what goes to and comes from git remotes.

mod add;
mod clone;
mod pull;
mod push;
mod status;

use super::client::ConsoleClient;
use super::failure::Failure;
use super::{Context, jobs, output};
use crate::config::rule::quote;

pub use clone::CloneArgs;
pub use pull::PullArgs;
pub use push::PushArgs;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Push a database's main to a git repository from now on
    Add(add::AddArgs),
    /// Push it no more
    Remove(add::RemoveArgs),
    /// Remotes of each database: where it is pushed, peers, ledger
    List,
    /// How far each remote is behind, the last outcome, the next try
    Status(status::StatusArgs),
    /// The last pushes of a database, newest first
    Log(status::LogArgs),
    /// Whether a remote has every commit of main: it is cloned anew and compared
    Verify(clone::VerifyArgs),
}

pub fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Add(args) => add::add(context, args),
        Command::Remove(args) => add::remove(context, args),
        Command::List => status::remotes(context),
        Command::Status(args) => status::status(context, args),
        Command::Log(args) => status::log(context, args),
        Command::Verify(args) => clone::verify(context, args),
    }
}

/// `branchline push`
pub fn push(context: &Context, args: &PushArgs) -> Result<(), Failure> {
    push::run(context, args)
}

/// `branchline pull`
pub fn pull(context: &Context, args: &PullArgs) -> Result<(), Failure> {
    pull::run(context, args)
}

/// `branchline clone`
pub fn clone(context: &Context, args: &CloneArgs) -> Result<(), Failure> {
    clone::clone(context, args)
}

/// `'a', 'b'` for the console, with a blank before it; nothing if there are none.
fn names(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    if quoted.is_empty() { String::new() } else { format!(" {}", quoted.join(", ")) }
}
