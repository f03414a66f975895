//! What it would cost if branches saw each other's Dolt commits at once: `cargo bench --bench see_each_other`.
//! Plain Dolt, no Branchline: for deciding whether to build it. Takes six minutes; `-- --quick` one, and its
//! numbers are not worth quoting.

#[path = "../../tests/support/mod.rs"]
mod support;

mod fleet;
mod step;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fleet::{Fleet, Mode};
use support::client::{Client, Login, Row};
use support::plain::PlainDolt;

const WRITERS: u32 = 50;

/// A Dolt with one database `s`: a table of so many rows, and branches `b0`, `b1`, … at main's head.
struct Place {
    dolt: PlainDolt,
    branches: u32,
}

impl Place {
    fn new(rows: u32, branches: u32) -> Self {
        let place = Self { dolt: PlainDolt::start(), branches };
        let mut root = place.client("");
        root.run("CREATE DATABASE s");
        root.run("USE s");
        root.run(
            "CREATE TABLE issues (id BIGINT PRIMARY KEY, title VARCHAR(80), status VARCHAR(16), \
             updated_at DATETIME(6), KEY (status))",
        );
        for from in (0..rows).step_by(10_000) {
            let to = rows.min(from + 10_000);
            root.run(&format!(
                "INSERT INTO issues WITH RECURSIVE s AS (SELECT {from} i UNION ALL SELECT i + 1 FROM s WHERE i + 1 < {to}) \
                 SELECT i, CONCAT('what has to be done, number ', i), 'open', NOW(6) FROM s"
            ));
        }
        root.run("CALL DOLT_COMMIT('-Am', 'all')");
        for branch in 0..branches {
            root.run(&format!("CALL DOLT_BRANCH('b{branch}')"));
        }
        place
    }

    fn client(&self, database: &str) -> Client {
        Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.dolt.port())), &Login::root(database))
    }

    fn branches(&self) -> u32 {
        self.branches
    }
}

/// Whether DOLT_MERGE moved the branch forward, made a merge commit, or found nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    Forward,
    ThreeWay,
    Nothing,
}

impl Merge {
    /// By what DOLT_MERGE answered: hash, fast_forward, conflicts, message.
    fn of(rows: &[Row]) -> Self {
        let row: Vec<&str> = rows[0].iter().map(|value| value.as_deref().unwrap_or_default()).collect();
        assert_eq!(row[2], "0", "{row:?}");
        match (row[1], row[3]) {
            ("1", _) => Self::Forward,
            (_, message) if message.contains("up-to-date") || message.contains("up to date") => Self::Nothing,
            _ => Self::ThreeWay,
        }
    }
}

/// Merges `from` into the branch of `client`.
fn merge(client: &mut Client, from: &str) -> Merge {
    Merge::of(&client.rows(&format!("CALL DOLT_MERGE('{from}')")))
}

/// The middle, and one of a hundred.
fn quantiles(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len().saturating_sub(1)) * share / 100);
    [50, 99].map(|share| at(share).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3))
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    println!("load of the machine before: {}", load());
    step::print(if quick { 10 } else { 60 }, if quick { &[1_000] } else { &[1_000, 100_000] });

    let measured = Duration::from_secs(if quick { 2 } else { 10 });
    println!(
        "\n{WRITERS} writers, each on a branch, {measured:?}; lag: from a branch's Dolt commit to its being on main"
    );
    println!(
        "| rows | pace | mode | commits/s | merges/s | ff | commit ms, median | lag ms, median | p99 | on main at the end | errors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let modes = [
        Mode::Apart,
        Mode::MainMerges,
        Mode::BranchMerges,
        Mode::Every(Duration::from_secs(1)),
        Mode::Every(Duration::from_secs(5)),
    ];
    for rows in if quick { vec![1_000] } else { vec![1_000, 100_000] } {
        for pace in [None, Some(Duration::from_millis(2_500))] {
            for mode in modes {
                // A fresh server each: history and journal of the one before would be measured with it.
                let place = Place::new(rows, WRITERS);
                let fleet = Fleet { place: &place, mode, pace, measured };
                println!("| {rows} {}", fleet.run());
            }
        }
    }
    println!("load of the machine after: {}", load());
}
