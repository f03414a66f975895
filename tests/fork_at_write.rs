//! The fork of a session's branch at its first write, through a real Branchline with real Dolt: each way in which
//! a first write comes, what is on the branch then, and that main is as it was.

mod support;

use std::sync::{Arc, Barrier};
use std::thread;

use support::client::Client;
use support::town::{Town, WHERE};

const UNCOMMITTED: usize = 200;
const INSERT: &str = "INSERT INTO t VALUES (-1, 0, 'first write')";

/// A database whose main has rows that are not Dolt-committed, and a table that is ignored.
fn database(town: &Town, name: &str) {
    town.database(name, &[]);
    let mut root = town.direct(name);
    root.run("INSERT INTO dolt_ignore VALUES ('wisps', true)");
    root.run("CREATE TABLE wisps (id INT PRIMARY KEY)");
    root.run("INSERT INTO wisps VALUES (1), (2), (3)");
    let rows: Vec<String> = (0..UNCOMMITTED).map(|id| format!("({id}, 0, 'uncommitted')")).collect();
    root.run(&format!("INSERT INTO t VALUES {}", rows.join(", ")));
}

/// Main's data and its commit.
fn main_of(town: &Town, database: &str) -> String {
    town.direct(database).row("SELECT DOLT_HASHOF_DB(), DOLT_HASHOF('HEAD'), DOLT_HASHOF_DB('STAGED')")
}

fn branches(town: &Town, database: &str) -> Vec<String> {
    let rows = town.direct(database).rows("SELECT name FROM dolt_branches ORDER BY name");
    rows.concat().into_iter().flatten().collect()
}

fn autocommit(client: &mut Client) {
    client.run(INSERT);
}

fn prepared(client: &mut Client) {
    let insert = client.prepare("INSERT INTO t VALUES (-1, 0, ?)").expect("prepared");
    assert_eq!(client.row("SELECT ACTIVE_BRANCH()"), "main", "preparing is no write");
    assert_eq!(client.execute(insert, &["first write"], true).expect("run").ok.affected_rows, 1);
}

fn first_in_a_transaction(client: &mut Client) {
    client.run("BEGIN");
    client.run(INSERT);
    client.run("COMMIT");
}

fn after_reads_in_a_transaction(client: &mut Client) {
    client.run("START TRANSACTION");
    // What it has read of main is the same on the branch: its transaction goes on there.
    assert_eq!(client.rows("SELECT * FROM t").len(), UNCOMMITTED);
    client.run(INSERT);
    assert_eq!(client.rows("SELECT * FROM t").len(), UNCOMMITTED + 1);
    client.run("COMMIT");
}

fn without_autocommit(client: &mut Client) {
    client.run("COMMIT");
    client.run("SET autocommit = 0");
    client.run(INSERT);
    client.run("COMMIT");
    client.run("SET autocommit = 1");
}

fn after_reads_without_autocommit(client: &mut Client) {
    client.run("SET autocommit = 0");
    assert_eq!(client.rows("SELECT * FROM t").len(), UNCOMMITTED);
    client.run(INSERT);
    client.run("COMMIT");
    client.run("SET autocommit = 1");
}

fn in_the_middle_of_several(client: &mut Client) {
    let answers = client.all(&format!("SELECT ACTIVE_BRANCH(); {INSERT}; SELECT COUNT(*) FROM t"));
    let rows: Vec<_> = answers.into_iter().map(|answer| answer.expect("no error").rows.concat()).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0][0].as_deref().is_some_and(|name| name.starts_with("polecat-")), "{rows:?}");
    assert_eq!(rows[2], [Some((UNCOMMITTED + 1).to_string())]);
}

#[test]
fn every_first_write_goes_to_the_branch_and_main_stays_as_it_was() {
    let town = Town::start("");
    type Way = (&'static str, fn(&mut Client));
    let ways: [Way; 7] = [
        ("autocommit", autocommit),
        ("prepared", prepared),
        ("begin", first_in_a_transaction),
        ("begin-read", after_reads_in_a_transaction),
        ("no-autocommit", without_autocommit),
        ("no-autocommit-read", after_reads_without_autocommit),
        ("several", in_the_middle_of_several),
    ];
    database(&town, "gastown");
    town.database("hq", &[]);
    let before = main_of(&town, "gastown");
    let check = |branch: &str, client: &mut Client| {
        let count = "SELECT COUNT(*), SUM(s = 'uncommitted'), SUM(s = 'first write') FROM gastown.t";
        assert_eq!(client.row(count), format!("{}|{UNCOMMITTED}|1", UNCOMMITTED + 1), "{branch}");
        assert_eq!(client.row("SELECT COUNT(*) FROM gastown.wisps"), "3", "{branch}: the ignored table");
        let mut direct = town.direct(&format!("gastown/{branch}"));
        assert_eq!(
            direct.row(count.replace("gastown.", "").as_str()),
            format!("{}|{UNCOMMITTED}|1", UNCOMMITTED + 1)
        );
        assert_eq!(main_of(&town, "gastown"), before, "{branch}: main");
    };
    for (way, write) in ways {
        let branch = format!("polecat-{way}");
        let mut client = town.on(&branch, "gastown");
        assert_eq!(client.row(WHERE), "main|gastown", "{way}: before the first write");
        assert_eq!(client.rows("SELECT * FROM t").len(), UNCOMMITTED);
        assert!(!branches(&town, "gastown").contains(&branch), "{way}: a reader");
        write(&mut client);
        assert_eq!(client.row(WHERE), format!("{branch}|gastown"), "{way}: after it");
        check(&branch, &mut client);
        assert_eq!(
            town.on(&branch, "gastown").row(WHERE),
            format!("{branch}|gastown"),
            "{way}: the next one"
        );
    }
    let mut client = town.on("polecat-from-hq", "hq");
    client.run("INSERT INTO gastown.t VALUES (-1, 0, 'first write')");
    assert_eq!(client.row(WHERE), "main|hq", "the session stays in its database");
    check("polecat-from-hq", &mut client);
    assert_eq!(branches(&town, "hq"), ["main"]);
}

#[test]
fn readers_leave_no_branch_behind() {
    let town = Town::start("");
    database(&town, "gastown");
    let mut client = town.on("polecat-reader", "gastown");
    for read in [
        "SELECT * FROM t",
        "SHOW TABLES",
        "SHOW CREATE TABLE t",
        "DESCRIBE t",
        "EXPLAIN SELECT * FROM t",
        "SET NAMES utf8mb4",
        "BEGIN",
        "SELECT COUNT(*) FROM t",
        "COMMIT",
        "START TRANSACTION",
        "SELECT * FROM wisps",
        "ROLLBACK",
        "SELECT id, n, s FROM t WHERE s = 'INSERT INTO t'",
        "SHOW WARNINGS",
        "SELECT * FROM dolt_log",
        "USE gastown",
        "(SELECT 1) UNION (SELECT 2)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SELECT @@autocommit",
    ] {
        client.run(read);
    }
    let select = client.prepare("SELECT s FROM t WHERE s = ?").expect("prepared");
    assert_eq!(client.execute(select, &["uncommitted"], true).expect("run").rows.len(), UNCOMMITTED);
    client.prepare("INSERT INTO t VALUES (?, 1, '')").expect("prepared, not executed");
    assert_eq!(branches(&town, "gastown"), ["main"]);
    assert_eq!(town.shown(client.id)["branch"], serde_json::Value::Null);
    let reason = town.shown(client.id)["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("polecat-reader") && reason.contains("first write"), "{reason}");
}

#[test]
fn twenty_first_writers_of_one_branch_fork_it_once_and_nobody_sees_it_half_made() {
    const WRITERS: usize = 20;
    const READERS: usize = 4;
    let town = Arc::new(Town::start(""));
    database(&town, "gastown");
    let before = main_of(&town, "gastown");
    let start = Arc::new(Barrier::new(WRITERS + READERS));
    let spawn = |work: Box<dyn FnOnce(&Town) + Send>| {
        let (town, start) = (Arc::clone(&town), Arc::clone(&start));
        thread::spawn(move || {
            start.wait();
            work(&town);
        })
    };
    let seen = "SELECT SUM(s = 'uncommitted'), (SELECT COUNT(*) FROM wisps) FROM t";
    let mut threads = Vec::new();
    for id in 1000..1000 + WRITERS {
        threads.push(spawn(Box::new(move |town| {
            let mut client = town.on("polecat-crowd", "gastown");
            client.run(&format!("INSERT INTO t VALUES ({id}, 0, 'writer')"));
            assert_eq!(client.row(WHERE), "polecat-crowd|gastown");
            assert_eq!(client.row(seen), format!("{UNCOMMITTED}|3"));
        })));
    }
    for _ in 0..READERS {
        threads.push(spawn(Box::new(move |town| {
            let mut is_there = false;
            while !is_there {
                let mut client = town.on("polecat-crowd", "gastown");
                assert_eq!(client.row(seen), format!("{UNCOMMITTED}|3"), "{}", client.row(WHERE));
                is_there = client.row("SELECT ACTIVE_BRANCH()") == "polecat-crowd";
            }
        })));
    }
    for thread in threads {
        thread.join().expect("nobody saw it half-made");
    }
    let mut root = town.direct("gastown/polecat-crowd");
    assert_eq!(root.row("SELECT COUNT(*) FROM t WHERE s = 'writer'"), WRITERS.to_string());
    assert_eq!(branches(&town, "gastown"), ["main", "polecat-crowd"]);
    assert_eq!(main_of(&town, "gastown"), before);
}
