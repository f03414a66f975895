//! Bad input against a real Dolt: each ends in a clear error or a closed connection within the handshake timeout;
//! never in a hang, a panic, a harmed neighbour or a Dolt left running (the guard looks for that at every end).

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod start;
mod wire;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use support::branchline::Branchline;
use support::raw::{Client, Greeting, Login, Packet, Wire};
use tempfile::TempDir;

/// Configured in the tests; the default is a value that is asserted.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// A Branchline with a short handshake timeout, and the directory of its config file.
fn impatient(limits: &str) -> (Branchline, TempDir) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let config = place.path().join("branchline.toml");
    let text = format!("[limits]\nhandshake_timeout_s = {}\n{limits}", HANDSHAKE_TIMEOUT.as_secs());
    std::fs::write(&config, text).expect("the config can be written");
    let branchline = Branchline::start_with(|command: &mut Command| {
        command.arg("--config").arg(&config);
    });
    (branchline, place)
}

/// Where its private Dolt can be asked without it.
fn direct(branchline: &Branchline) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], branchline.dolt().port))
}

/// Others are served, and nothing panicked.
fn assert_well(branchline: &Branchline, after: &str) {
    let mut client = Client::root(branchline.addr());
    assert_eq!(client.value("SELECT 1 + 1").as_deref(), Ok("2"), "after {after}");
    client.quit();
    let said = branchline.stderr();
    assert!(!said.contains("panicked"), "after {after}: {said}");
}

fn greeted(addr: SocketAddr) -> (Wire, Greeting) {
    let mut wire = Wire::tcp(addr).expect("a connection");
    let greeting = Greeting::read(&mut wire).expect("a greeting");
    (wire, greeting)
}

/// The server's answer to a login, as it is on the wire.
fn login_reply(addr: SocketAddr, login: &Login) -> Packet {
    let (mut wire, greeting) = greeted(addr);
    wire.send_packet(1, &login.response(&greeting.nonce)).expect("sent");
    wire.read_into(&mut |_| {}).expect("an answer to the login")
}
