//! End-to-end benchmark and load tool; see docs/benchmarks.md.

mod args;
mod client;
mod load;
mod stats;
mod wire;
mod workload;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let done = match &cli.mode {
        Some(args::Mode::Load(arguments)) => load::run(arguments),
        None => Ok(true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("e2e: {message}");
            ExitCode::FAILURE
        }
    }
}
