//! End-to-end benchmark and load tool; docs/benchmarks.md says how to read its numbers.
//!
//! The modules are listed in the order in which a run meets them.

mod args;
mod compare;
mod processes;
mod servers;
mod dataset;
mod canned;
mod sections;
mod idle;
mod lanes;
mod contend;
mod workload;
mod client;
mod wire;
mod probe;
mod stats;
mod targets;
mod report;
mod load;

use std::fs;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Mode, Plan};

fn main() -> ExitCode {
    if std::env::args_os().len() == 1 {
        // `cargo test --all-targets` runs benchmarks without arguments; the tests are in tests/bench_tool.rs.
        println!("a benchmark, not a test: run it with `cargo bench --bench e2e`");
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    let done = match cli.mode {
        Some(Mode::Load(arguments)) => load::run(&arguments),
        None => compare(&cli.compare.resolve()),
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

/// Measures, prints, and tells whether nothing broke and, if strict, no target was missed.
fn compare(plan: &Plan) -> Result<bool, String> {
    let results = compare::run(plan)?;
    let verdicts = targets::judge(&results);
    println!("{}", report::markdown(&results, &verdicts));
    if let Some(path) = &plan.json {
        serde_json::to_vec_pretty(&results)
            .map_err(|error| error.to_string())
            .and_then(|json| fs::write(path, json).map_err(|error| error.to_string()))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let reached = verdicts.iter().all(|verdict| verdict.passed);
    Ok(!targets::broken(&results) && (reached || !plan.strict))
}
