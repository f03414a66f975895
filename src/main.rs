//! The `branchline` binary.

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == branchline::dolt::SHIM_SUBCOMMAND) {
        branchline::dolt::exec_shim(arguments);
    }
}
