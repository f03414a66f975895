//! What clients see when something dies: Dolt, Branchline, a client; and that nothing is left behind (the guard
//! looks for processes at every end).

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod dolt;
mod external;
mod shutdown;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use support::branchline::Branchline;
use support::raw::{Client, Login, Wire};

/// A Branchline with this config file, written below `directory`.
fn with_config(directory: &Path, text: &str) -> Branchline {
    let config = directory.join("branchline.toml");
    std::fs::write(&config, text).expect("the config can be written");
    Branchline::start_in(directory, |command: &mut Command| {
        command.arg("--config").arg(&config);
    })
}

/// Where its private Dolt can be asked without it.
fn direct(branchline: &Branchline) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], branchline.dolt().port))
}

/// Its console.
fn console(branchline: &Branchline) -> Client {
    let wire = Wire::unix(&branchline.state_dir().join("branchline.sock")).expect("the console");
    Client::log_in(wire, &Login::root()).expect("the console lets us in")
}

/// The statements that run in a Dolt, asked directly.
fn running(dolt: &mut Client) -> Vec<String> {
    let rows = dolt.run("SHOW FULL PROCESSLIST").rows;
    rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect()
}

/// A database with a table of `rows` counters at zero.
fn counters(addr: SocketAddr, rows: usize) {
    let mut root = Client::root(addr);
    root.run("CREATE DATABASE town");
    root.run("CREATE TABLE town.counter (id INT PRIMARY KEY, n INT)");
    let values: Vec<String> = (0..rows).map(|id| format!("({id},0)")).collect();
    root.run(&format!("INSERT INTO town.counter VALUES {}", values.join(",")));
}
