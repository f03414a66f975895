//! `branchline serve`: settings, log, then the server.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Context;
use super::failure::Failure;
use crate::config::Config;
use crate::observe::log;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline serve --data-dir ~/gt/.dolt-data
  branchline serve --listen 127.0.0.1:0 --socket /tmp/branchline-sql.sock

Prints `ready ADDR` on stdout when SQL is served. SIGTERM drains, stops Dolt and exits with 0;
SIGQUIT writes a state dump to the log.")]
pub struct Args {
    #[command(flatten)]
    pub dolt: super::flags::DoltFlag,
    /// Write the log here, rotated by size, instead of to stderr
    #[arg(long, value_name = "PATH", hide = true)]
    log_file: Option<PathBuf>,
    /// Leave the session of whoever started this
    #[arg(long, hide = true)]
    own_session: bool,
}

pub fn run(
    context: &Context,
    args: &Args,
    serve: impl FnOnce(Config) -> ExitCode,
) -> Result<ExitCode, Failure> {
    let config = context.flags.resolve()?;
    if args.own_session {
        // Fails only for a group leader, which has a group of its own already.
        let _ = rustix::process::setsid();
    }
    super::process::private_dir(&config.state_dir)?;
    log::init(&config.log, args.log_file.as_deref()).map_err(|error| {
        let path =
            args.log_file.as_deref().map_or_else(|| "stderr".into(), |path| path.display().to_string());
        Failure::Failed(format!("can't log to {path}: {error}"))
    })?;
    Ok(serve(config))
}
