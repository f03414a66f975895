//! `branchline sql`: interactive, one command, or a script; through the address that the running process serves.

mod repl;
mod session;
mod split;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use super::Context;
use super::client::ConsoleClient;
use super::failure::Failure;
use session::{Look, Session, Target};
use split::Splitter;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline sql gastown
  branchline sql gastown/polecat-nux -e 'SELECT active_branch(); SELECT COUNT(*) FROM issues'
  branchline sql hq --json < script.sql

In the interactive shell a statement ends with `;`. Ctrl-C drops what was typed or ends the running
statement, \\q or Ctrl-D leaves. A script ends at its first error.")]
pub struct Args {
    #[command(flatten)]
    pub dolt: super::flags::DoltFlag,
    /// Database, or DATABASE/BRANCH
    #[arg(value_name = "DB")]
    database: Option<String>,
    /// Run these statements and leave
    #[arg(short, long, value_name = "SQL")]
    execute: Option<String>,
    /// Account
    #[arg(short, long, default_value = "root")]
    user: String,
    /// File with its password, mode 0600
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let mut client = ConsoleClient::connect(context)?;
    let state_dir = client.state_dir().to_path_buf();
    let status = client.status()?;
    let target = Target::from_status(&status, args)?;
    let stdin = std::io::stdin();
    let interactive = args.execute.is_none() && stdin.is_terminal();
    let look = match (context.json, interactive) {
        (true, _) => Look::Json,
        (false, true) => Look::Interactive,
        (false, false) => Look::Plain,
    };
    let mut session = Session::connect(target, look)?;
    match &args.execute {
        Some(sql) => script(&mut session, sql),
        None if interactive => repl::run(&mut session, &state_dir),
        None => {
            let mut text = String::new();
            stdin.lock().read_to_string(&mut text)?;
            script(&mut session, &text)
        }
    }
}

/// Runs statements up to the first error.
fn script(session: &mut Session, text: &str) -> Result<(), Failure> {
    let mut splitter = Splitter::new();
    splitter.push(text);
    while let Some(statement) = splitter.next_statement().or_else(|| splitter.rest()) {
        session.run(&statement)?;
    }
    Ok(())
}
