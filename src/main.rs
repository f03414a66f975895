//! The `branchline` binary.

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == branchline::dolt::SHIM_SUBCOMMAND) {
        branchline::dolt::exec_shim(arguments);
    }
    let args: Vec<String> = std::env::args().skip(2).collect();
    let mut flags = branchline::config::raw::Flags::default();
    for pair in args.chunks(2) {
        match pair[0].as_str() {
            "--data-dir" => flags.data_dir = Some(pair[1].clone().into()),
            "--state-dir" => flags.state_dir = Some(pair[1].clone().into()),
            "--listen" => flags.listen.push(pair[1].clone()),
            "--socket" => flags.socket = Some(pair[1].clone().into()),
            "--dolt" => flags.dolt = Some(pair[1].clone().into()),
            "--config" => flags.config = Some(pair[1].clone().into()),
            "--dolt-address" => flags.dolt_address = Some(pair[1].clone()),
            _ => panic!(),
        }
    }
    let sources = branchline::config::resolve::Sources { flags, environment: &|n| std::env::var(n).ok(), cwd: std::env::current_dir().unwrap(), home: None };
    let config = match sources.resolve() { Ok(c) => c, Err(e) => { eprintln!("{e}"); return 2.into(); } };
    branchline::observe::log::init(&config.log, None).unwrap();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(branchline::server::run(config))
}
