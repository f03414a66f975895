//! The `branchline` binary: dispatch only.

use std::process::ExitCode;

use branchline::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // To be connected: `dolt-exec` → `branchline::dolt::exec_shim(arguments after it)`, before clap sees anything.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "dolt-exec") {
        eprintln!("branchline: dolt-exec is not connected yet");
        return ExitCode::from(1);
    }
    branchline::cli::main(serve)
}

/// To be connected: `branchline::server::run(config)`.
fn serve(config: Config) -> ExitCode {
    eprintln!("branchline: the server is not connected yet; it would serve {}", config.data_dir.display());
    ExitCode::from(1)
}
