//! Owns the step between our process and Dolt's: `branchline dolt-exec PARENT PROGRAM ARGUMENT…` ties itself
//! to its parent's life and then becomes Dolt. A process of its own because it has to happen
//! between fork and exec, which safe code cannot reach.
//! Always: when Branchline dies, however it dies, Dolt gets SIGTERM and can still write its log.

use std::ffi::OsString;
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The hidden subcommand that `main` hands to [`exec_shim`].
pub const SHIM_SUBCOMMAND: &str = "dolt-exec";

/// For `main`, with what follows the subcommand: becomes Dolt; never returns.
pub fn exec_shim(arguments: impl IntoIterator<Item = OsString>) -> ! {
    let problem = become_dolt(arguments.into_iter());
    eprintln!("branchline {SHIM_SUBCOMMAND}: {problem}");
    std::process::exit(1)
}

/// Returns only when it failed.
fn become_dolt(mut arguments: impl Iterator<Item = OsString>) -> String {
    let parent = arguments.next().and_then(|text| text.to_str()?.parse::<i32>().ok());
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return "is started by `branchline serve`, not by hand".into();
    };
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
    {
        return format!("cannot tie Dolt to its parent's life: {error}");
    }
    // It may have died before the line above.
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return "the parent has ended already".into();
    }
    // Standard input is the reading end of the pipe that Dolt's output goes to. Kept open, a parent that
    // died does not turn Dolt's last words into SIGPIPE, which would end it in the middle of its shutdown.
    match rustix::io::dup(std::io::stdin()) {
        Ok(kept) => {
            let _ = kept.into_raw_fd();
        }
        Err(error) => return format!("cannot keep the log pipe open: {error}"),
    }
    let error = Command::new(&program).args(arguments).stdin(Stdio::null()).exec();
    format!("cannot run {}: {error}", program.display())
}
