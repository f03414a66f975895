//! The `branchline` binary: dispatch only.

use std::process::ExitCode;

use branchline::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == branchline::dolt::SHIM_SUBCOMMAND) {
        branchline::dolt::exec_shim(arguments);
    }
    branchline::cli::main(serve)
}

fn serve(config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("branchline: cannot start the runtime: {error}");
            return ExitCode::from(1);
        }
    };
    runtime.block_on(branchline::server::run(config))
}
