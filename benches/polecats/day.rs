//! Owns a polecat's day, fifty at once: fork, five commits, done; through Branchline, and with naive commands at plain
//! Dolt, which checks nothing. Always: an error anywhere is a panic.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use super::support::branchline::Branchline;
use super::support::client::{Client, Login};
use super::support::plain::PlainDolt;
use super::support::polecat;

pub const DATABASE: &str = "rig";
pub const POLECATS: u32 = 50;
pub const COMMITS: u32 = 5;

/// How long each part took, for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub forks: Duration,
    pub commits: Duration,
    /// One after another, as `branch done --all` finishes them.
    pub merges: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { forks, commits, merges } = self;
        write!(
            f,
            "{POLECATS} forks {forks:.0?}, {} commits {commits:.0?}, {POLECATS} merges {merges:.0?} ({:.1?} each)",
            POLECATS * COMMITS,
            *merges / POLECATS
        )
    }
}

fn prepare(root: &mut Client) {
    for sql in [
        "CREATE DATABASE rig",
        "USE rig",
        "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title VARCHAR(80), status VARCHAR(20), updated_at DATETIME(6))",
        "CALL DOLT_COMMIT('-Am', 'issues')",
    ] {
        root.run(sql);
    }
}

fn work(mut client: Client, number: u32) {
    for round in 0..COMMITS {
        client.run(&format!("INSERT INTO issues VALUES ('bd-{number}-{round}', 'work', 'closed', NOW(6))"));
        client.run(&format!("CALL DOLT_COMMIT('-Am', 'work of polecat {number}, {round}')"));
    }
}

/// All at once; the time until the last one is over.
fn together(each: impl Fn(u32) + Sync) -> Duration {
    let begun = Instant::now();
    thread::scope(|scope| {
        let each = &each;
        for number in 0..POLECATS {
            scope.spawn(move || each(number));
        }
    });
    begun.elapsed()
}

fn name(number: u32) -> String {
    format!("polecat-{number}")
}

/// Forked and finished with the command line, worked in sessions that the attribute `branch` routes.
pub fn through_branchline(branchline: &Branchline) -> Times {
    let login = |login: &Login| Client::connect(branchline.addr(), login);
    prepare(&mut login(&Login::root("")));
    let state = branchline.state_dir();
    let forks = together(|number| drop(polecat::done(state, &["create", DATABASE, &name(number)])));
    let commits = together(|number| {
        let on = Login::root(DATABASE).attribute("branch", &name(number));
        work(login(&on), number);
    });
    let begun = Instant::now();
    polecat::done(state, &["done", DATABASE, "--all"]);
    Times { forks, commits, merges: begun.elapsed() }
}

/// DOLT_BRANCH, DOLT_MERGE and the branch's removal, by one session.
pub fn naively(dolt: &PlainDolt) -> Times {
    let login = |database: &str| {
        Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, dolt.port())), &Login::root(database))
    };
    prepare(&mut login(""));
    let mut main = login(DATABASE);
    let begun = Instant::now();
    for number in 0..POLECATS {
        main.run(&format!("CALL DOLT_BRANCH('{}')", name(number)));
    }
    let forks = begun.elapsed();
    let commits = together(|number| work(login(&format!("{DATABASE}/{}", name(number))), number));
    let begun = Instant::now();
    for number in 0..POLECATS {
        main.run(&format!("CALL DOLT_MERGE('--no-ff', '{}')", name(number)));
        main.run(&format!("CALL DOLT_BRANCH('-D', '-f', '{}')", name(number)));
    }
    Times { forks, commits, merges: begun.elapsed() }
}
