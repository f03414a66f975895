//! Owns what end-to-end tests share: processes that end with their test, a running Branchline, where Dolt is.
//! Does not assert anything about answers.
//! Always: free ports, temporary directories, a private HOME; what was started is stopped, on panic too.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

pub mod branchline;
pub mod client;
pub mod direct;
pub mod embedded;
pub mod git;
pub mod ledger;
pub mod plain;
pub mod polecat;
pub mod process;
pub mod public;
pub mod raw;
pub mod settings;
pub mod town;
pub mod watch;

use std::path::{Path, PathBuf};

/// The Dolt to test against: BRANCHLINE_DOLT, `.tools/bin/dolt` in the repository, or PATH.
pub fn dolt_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BRANCHLINE_DOLT") {
        return PathBuf::from(path);
    }
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/dolt");
    if pinned.exists() {
        return pinned;
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .map(|directory| directory.join("dolt"))
        .find(|candidate| candidate.is_file())
        .expect("no Dolt: set BRANCHLINE_DOLT, or let `make` build the pinned one into .tools/bin/dolt")
}
