//! Owns the command line: arguments, output, exit codes; one file per subcommand.
//! Does not own anything that runs: every command but `serve` sends to the console of the running process.
//! Always: exit codes as in the contract (`Failure`), results on stdout, all else on stderr.

mod branch;
mod alerts;
mod backup;
mod client;
mod clients;
mod failure;
mod flags;
mod generate;
mod jobs;
mod lanes;
mod ledger;
mod logs;
mod output;
mod process;
mod remote;
mod rig;
mod route;
mod serve;
mod sql;
mod start;
mod status;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use flags::{DoltFlag, Flags};

/// A MySQL-wire-protocol proxy that puts every agent on its own Dolt branch.
#[derive(Debug, Parser)]
#[command(name = "branchline", version, arg_required_else_help = true, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  branchline start                        serve the town you are in, in the background
  branchline status                       what is running, and how it is
  branchline sql gastown -e 'SELECT active_branch()'
  branchline route explain --database gastown --bd-branch polecat-nux
  branchline lanes --watch                who writes, who waits
  branchline sling gastown polecat-nux    a branch of its own for a polecat
  branchline done gastown polecat-nux     what is on it comes to main
  branchline remote add gastown git@example.org:town/gastown.git
  branchline logs -f

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not running, 4 already running.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground; prints `ready ADDR` once SQL is served
    Serve(serve::Args),
    /// Serve in the background; returns once SQL is served
    Start(start::Args),
    /// Drain, stop Dolt and end
    Stop(stop::Args),
    /// Stop and start again, with the flags of the last start where none are given
    Restart(start::RestartArgs),
    /// What is running: addresses, Dolt, databases, clients, disk
    Status(DoltFlag),
    /// The log of Branchline, or of its Dolt
    Logs(logs::Args),
    /// SQL through Branchline: interactive, one command, or a script on stdin
    Sql(sql::Args),
    /// Make and list rigs, each a database
    Rig {
        #[command(subcommand)]
        command: rig::Command,
    },
    /// The same as `rig init`
    #[command(name = "init-rig", hide = true)]
    InitRig(rig::InitArgs),
    /// The same as `rig list`
    #[command(hide = true)]
    List,
    /// Who is connected, on which branch and why
    Clients,
    /// Write lanes: who holds which branch, who waits, what was run again
    Lanes(lanes::LanesArgs),
    /// Which connections get which branch
    Route {
        #[command(subcommand)]
        command: route::Command,
    },
    /// Branches: make, finish, drop, look at them
    Branch {
        #[command(subcommand)]
        command: Box<branch::Command>,
    },
    /// The same as `branch create`
    Sling(branch::CreateArgs),
    /// The same as `branch done`
    Done(branch::DoneArgs),
    /// The same as `branch drop`
    Nuke(branch::DropArgs),
    /// Git remotes: where main is pushed, and how that goes
    Remote {
        #[command(subcommand)]
        command: remote::Command,
    },
    /// Push main to its git remote now, and wait for it
    Push(remote::PushArgs),
    /// Bring what its git remote, or a peer, has into main
    Pull(remote::PullArgs),
    /// Make a database of a git remote
    Clone(remote::CloneArgs),
    /// Public ledgers: completed rows in a database and a remote of their own
    Ledger {
        #[command(subcommand)]
        command: ledger::Command,
    },
    /// What is wrong with remotes and backups, and who was told
    Alerts(alerts::AlertsArgs),
    /// Copy a whole database to a directory
    Backup(backup::BackupArgs),
    /// The last backup of each database, and the next one
    Backups,
    /// Make a database from a backup
    Restore(backup::RestoreArgs),
    /// Long work that runs, or ended a short while ago
    Jobs(jobs::JobsArgs),
    /// End a client
    Kill(clients::KillArgs),
    /// Print shell completions
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write all of them to a directory
    Man(generate::ManArgs),
}

impl Command {
    fn dolt_flag(&self) -> Option<&DoltFlag> {
        match self {
            Command::Serve(args) => Some(&args.dolt),
            Command::Start(args) => Some(&args.dolt),
            Command::Stop(args) => Some(&args.dolt),
            Command::Restart(args) => Some(&args.stop.dolt),
            Command::Status(dolt) => Some(dolt),
            Command::Sql(args) => Some(&args.dolt),
            _ => None,
        }
    }
}

/// Everything a subcommand works with.
struct Context {
    flags: Flags,
    json: bool,
}

/// Runs the command line. `serve` runs the server by the settings given, until it is told to stop.
pub fn main(serve: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed stdout is not ours to complain about.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let mut context = Context { flags: cli.flags, json: cli.json };
    context.flags.dolt = cli.command.dolt_flag().and_then(|flag| flag.dolt.clone());
    let result = match cli.command {
        Command::Serve(args) => {
            return serve::run(&context, &args, serve).unwrap_or_else(|failure| failure.report());
        }
        Command::Start(args) => start::run(&context, &args),
        Command::Stop(args) => stop::run(&context, &args),
        Command::Restart(args) => start::restart(&context, &args),
        Command::Status(_) => status::run(&context),
        Command::Logs(args) => logs::run(&context, &args),
        Command::Sql(args) => sql::run(&context, &args),
        Command::Rig { command } => rig::run(&context, &command),
        Command::InitRig(args) => rig::run(&context, &rig::Command::Init(args)),
        Command::List => rig::run(&context, &rig::Command::List),
        Command::Clients => clients::list(&context),
        Command::Lanes(args) => lanes::run(&context, &args),
        Command::Branch { command } => branch::run(&context, &command),
        Command::Sling(args) => branch::sling(&context, &args),
        Command::Done(args) => branch::done(&context, &args),
        Command::Nuke(args) => branch::nuke(&context, &args),
        Command::Remote { command } => remote::run(&context, &command),
        Command::Push(args) => remote::push(&context, &args),
        Command::Pull(args) => remote::pull(&context, &args),
        Command::Clone(args) => remote::clone(&context, &args),
        Command::Ledger { command } => ledger::run(&context, &command),
        Command::Alerts(args) => alerts::run(&context, &args),
        Command::Backup(args) => backup::backup(&context, &args),
        Command::Backups => backup::backups(&context),
        Command::Restore(args) => backup::restore(&context, &args),
        Command::Jobs(args) => jobs::run(&context, &args),
        Command::Kill(args) => clients::kill(&context, &args),
        Command::Route { command } => route::run(&context, command),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
