//! What a session keeps to, through a real Branchline with real Dolt: its answers in order, its transactions, its
//! prepared statements and settings when Dolt is killed, and KILL by its ids.

mod support;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use support::client::{Client, EXECUTE, INIT_DB, Login, QUERY};
use support::town::{Town, WHERE, until};

/// The town of the tests that run at the same time; the last one that holds it stops it.
fn town() -> Arc<Town> {
    static RUNNING: Mutex<Weak<Town>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(town) = running.upgrade() {
        return town;
    }
    let town = Arc::new(Town::start(""));
    *running = Arc::downgrade(&town);
    town
}

const INCREMENT: &str = "UPDATE t SET n = n + 1 WHERE id = 1";
const DUPLICATE: &str = "INSERT INTO t VALUES (1, 0, 'duplicate')";

/// What `leave` leaves open in A's session, then B's increment, then A's: the counter.
fn counter(connect: impl Fn() -> Client, leave: fn(&mut Client)) -> String {
    let (mut a, mut b) = (connect(), connect());
    b.run("REPLACE INTO t VALUES (1, 0, '')");
    leave(&mut a);
    b.run(INCREMENT);
    a.run(INCREMENT);
    b.row("SELECT n FROM t WHERE id = 1")
}

#[test]
fn an_update_is_not_lost_to_the_transaction_that_dolt_leaves_open() {
    let town = town();
    town.database("residue", &[]);
    type Way = (&'static str, fn(&mut Client));
    let ways: [Way; 6] = [
        ("a failed INSERT", |a| assert_eq!(a.err(DUPLICATE).code, 1062)),
        ("SHOW WARNINGS", |a| {
            a.rows("SHOW WARNINGS");
        }),
        ("a failed INSERT, SHOW WARNINGS", |a| {
            assert_eq!(a.err(DUPLICATE).code, 1062);
            a.rows("SHOW WARNINGS");
        }),
        ("a PREPARE", |a| {
            a.prepare("UPDATE t SET n = 0 WHERE s = ?").expect("prepared");
        }),
        ("a failed execution", |a| {
            let insert = a.prepare("INSERT INTO t VALUES (1, 0, ?)").expect("prepared");
            assert_eq!(a.execute(insert, &["duplicate"], true).expect_err("it is there").code, 1062);
        }),
        ("a failed statement of several", |a| {
            assert_eq!(a.err(&format!("SELECT 1; {DUPLICATE}")).code, 1062);
        }),
    ];
    let mut anomalies = 0;
    for (way, leave) in ways {
        assert_eq!(counter(|| town.client("residue"), leave), "2", "{way}");
        anomalies += usize::from(counter(|| town.direct("residue"), leave) == "1");
    }
    assert_eq!(anomalies, 6, "the control experiment: Dolt alone loses an update each time");
}

#[test]
fn what_was_left_open_can_be_asked_for_and_is_no_part_of_the_next_transaction() {
    let town = town();
    town.database("warnings", &[]);
    let after_error = |mut client: Client| {
        client.run("REPLACE INTO t VALUES (1, 0, '')");
        client.err(DUPLICATE);
        let shown = client.rows("SHOW WARNINGS");
        (shown.clone(), client.rows("SHOW WARNINGS") == shown)
    };
    assert_eq!(after_error(town.client("warnings")), after_error(town.direct("warnings")));
    let (mut a, mut b) = (town.client("warnings"), town.client("warnings"));
    a.err(DUPLICATE);
    b.run("UPDATE t SET n = 7 WHERE id = 1");
    a.run("BEGIN");
    assert_eq!(a.row("SELECT n FROM t WHERE id = 1"), "7", "BEGIN has a snapshot of its own");
    a.run("COMMIT");
}

#[test]
fn what_failed_is_not_found_by_the_next_begin_or_commit() {
    let town = town();
    town.database("sticky_a", &[]);
    town.database("sticky_b", &[]);
    let trigger =
        "CREATE TRIGGER second AFTER INSERT ON t FOR EACH ROW INSERT INTO sticky_b.here VALUES (NEW.s)";
    town.direct("sticky_a").run(trigger);
    for next in ["BEGIN", "COMMIT"] {
        // One statement in two databases: Dolt can't commit it, and keeps it in the session.
        let fails = |mut client: Client| {
            assert_eq!(client.err("INSERT INTO t VALUES (1, 0, '')").code, 1105);
            client.query(next).is_err()
        };
        assert!(fails(town.direct("sticky_a")), "the control experiment: {next} fails with Dolt alone");
        assert!(!fails(town.client("sticky_a")), "{next}");
    }
    assert_eq!(town.direct("sticky_a").row("SELECT COUNT(*) FROM t"), "0");
}

#[test]
fn an_error_inside_a_transaction_keeps_it() {
    let town = town();
    town.database("kept", &[]);
    let mut other = town.client("kept");
    other.run("INSERT INTO t VALUES (1, 0, '')");
    for begin in ["BEGIN", "SET autocommit = 0"] {
        let mut client = town.client("kept");
        client.run(begin);
        client.run("INSERT INTO t VALUES (2, 0, 'before')");
        assert_eq!(client.err(DUPLICATE).code, 1062);
        client.rows("SHOW WARNINGS");
        client.run("INSERT INTO t VALUES (3, 0, 'after')");
        assert_eq!(other.row("SELECT COUNT(*) FROM t"), "1", "{begin}: not yet");
        client.run("COMMIT");
        assert_eq!(other.row("SELECT COUNT(*) FROM t"), "3", "{begin}");
        other.run("DELETE FROM t WHERE id > 1");
    }
}

#[test]
fn an_error_in_the_middle_of_several_statements_keeps_the_client_in_step() {
    let town = town();
    town.database("several", &[]);
    let mut client = town.client("several");
    client.run("INSERT INTO t VALUES (1, 0, '')");
    let several = format!("SELECT 'one'; {DUPLICATE}; SELECT 'three'; SELECT 'four'");
    for _ in 0..3 {
        let answers = client.all(&several);
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert_eq!(answers[0].as_ref().expect("the first").rows.concat(), [Some("one".to_owned())]);
        assert_eq!(answers[1].as_ref().expect_err("the second").code, 1062);
        assert_eq!(client.row("SELECT 'next'"), "next");
    }
    let next = ["SELECT 'next 0'", "SELECT 'next 1'", "SELECT 'next 2'"];
    let mut commands = Vec::new();
    for text in next {
        commands.extend([(QUERY, several.as_bytes()), (QUERY, text.as_bytes())]);
    }
    client.send_at_once(commands);
    for i in 0..next.len() {
        assert_eq!(client.answers().len(), 2);
        let answer = client.answers().pop().expect("one").expect("a result");
        assert_eq!(answer.rows.concat(), [Some(format!("next {i}"))]);
    }
}

#[test]
fn two_hundred_pipelined_commands_are_answered_in_order() {
    let town = town();
    town.database("pipe_a", &["polecat-p"]);
    town.database("pipe_b", &["polecat-p"]);
    let mut client = town.on("polecat-p", "pipe_a");
    let echo = client
        .prepare("SELECT CAST(CONCAT('echo ', DATABASE(), ' ', ACTIVE_BRANCH()) AS CHAR)")
        .expect("prepared");
    let mut execute = echo.id.to_le_bytes().to_vec();
    execute.extend([0, 1, 0, 0, 0]);
    let texts: Vec<String> = (0..200)
        .map(|i| match i % 5 {
            0 => if i % 10 == 0 { "pipe_b" } else { "pipe_a" }.to_owned(),
            1 => format!("SELECT {i}"),
            2 => format!("SELECT no_such_column_{i}"),
            3 => format!("INSERT INTO t VALUES ({i}, {i}, DATABASE())"),
            _ => "SELECT CONCAT(DATABASE(), ACTIVE_BRANCH())".to_owned(),
        })
        .collect();
    client.send_at_once(texts.iter().enumerate().map(|(i, text)| match i % 5 {
        0 => (INIT_DB, text.as_bytes()),
        _ => (QUERY, text.as_bytes()),
    }));
    let mut database = String::new();
    for (i, text) in texts.iter().enumerate() {
        let answer = client.answers().pop().expect("one");
        match i % 5 {
            0 => {
                answer.expect("used");
                database.clone_from(text);
            }
            1 => assert_eq!(answer.expect("a row").rows.concat(), [Some(i.to_string())]),
            2 => assert!(answer.expect_err("no such column").message.contains(&format!("_{i}")), "{i}"),
            3 => assert_eq!(answer.expect("inserted").ok.affected_rows, 1),
            _ => assert_eq!(answer.expect("a row").rows.concat(), [Some(format!("{database}polecat-p"))]),
        }
    }
    client.send_at_once([(EXECUTE, execute.as_slice())]);
    assert_eq!(client.answers().len(), 1);
    let mut root = town.direct("");
    for name in ["pipe_a", "pipe_b"] {
        let sql = format!("SELECT COUNT(*), SUM(s = '{name}') FROM `{name}/polecat-p`.t");
        assert_eq!(root.row(&sql), "20|20");
        assert_eq!(root.row(&format!("SELECT COUNT(*) FROM {name}.t")), "0");
    }
}

/// A client that sleeps in Dolt, and the answer it will get.
fn sleeper(town: &Arc<Town>) -> (u32, String, thread::JoinHandle<(Client, bool)>) {
    let mut client = town.client("");
    let (id, dolts_id) = (client.id, client.row("SELECT CONNECTION_ID()"));
    let thread = thread::spawn(move || {
        let ended_early = client.is_cut_short("SELECT SLEEP(25)");
        (client, ended_early)
    });
    until("it sleeps", || town.shown(id)["doing"] == "running");
    (id, dolts_id, thread)
}

#[test]
fn kill_takes_the_id_of_our_greeting_and_dolts_own() {
    let town = town();
    let mut killer = town.client("");
    let (id, _, thread) = sleeper(&town);
    killer.run(&format!("KILL QUERY {id}"));
    let (mut client, ended_early) = thread.join().expect("no panic");
    assert!(ended_early, "KILL QUERY {id}");
    assert_eq!(client.row("SELECT 1"), "1", "the session goes on");

    for by_dolts_id in [false, true] {
        let mut idle = town.client("");
        let id = if by_dolts_id { idle.row("SELECT CONNECTION_ID()") } else { idle.id.to_string() };
        killer.run(&format!("KILL {id}"));
        assert!(idle.is_closed(), "KILL {id}");
        let (id, dolts_id, thread) = sleeper(&town);
        killer.run(&format!("KILL CONNECTION {}", if by_dolts_id { dolts_id } else { id.to_string() }));
        assert!(thread.join().expect("no panic").1, "KILL of a running one");
        until("it is gone", || !town.command(&["clients"]).to_string().contains(&id.to_string()));
    }
    for nobody in [987_654, 2_147_483_646] {
        let ask = |mut client: Client| {
            client.query(&format!("KILL {nobody}")).map(|_| ()).map_err(|err| err.to_string())
        };
        assert_eq!(ask(town.client("")), ask(town.direct("")), "{nobody}, which nobody has");
    }
    assert_eq!(killer.row("SELECT 'still here'"), "still here");
}

/// SIGKILL to the private Dolt; returns when the client's session has noticed.
fn kill_dolt(town: &Town, client: &Client) {
    let pid = Pid::from_raw(town.branchline.dolt().pid).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it runs");
    until("the session has noticed", || town.shown(client.id)["backend_id"].is_null());
}

#[test]
fn statements_settings_and_branch_are_the_same_after_dolt_was_killed() {
    let town = Town::start("");
    town.database("gastown", &["polecat-x"]);
    town.database("beads", &["polecat-x"]);
    let mut client = town.login(&Login::root("beads").attribute("branch", "polecat-x"));
    let echo = client
        .prepare("SELECT CAST(CONCAT(ACTIVE_BRANCH(), ' ', DATABASE(), ' ', ?) AS CHAR)")
        .expect("prepared");
    let insert = client.prepare("INSERT INTO gastown.t VALUES (?, 1, ?)").expect("prepared");
    let other = client.prepare("SELECT name FROM here").expect("prepared");
    client.execute(insert, &["1", "before"], true).expect("run");
    client.execute(echo, &["before"], true).expect("run");
    for set in [
        "SET NAMES latin1",
        "SET sql_mode = 'ANSI_QUOTES'",
        "SET time_zone = '+03:00'",
        "USE gastown",
        "SET autocommit = 0",
    ] {
        client.run(set);
    }
    let settings =
        "SELECT @@character_set_client, @@collation_connection, @@sql_mode, @@time_zone, @@autocommit";
    let before = client.row(settings);
    assert!(before.contains("latin1") && before.contains("+03:00|0"), "{before}");
    client.run("COMMIT");
    for round in 0..2 {
        kill_dolt(&town, &client);
        let answer = client.execute(echo, &["after"], false).expect("without types");
        assert_eq!(answer.rows.concat(), [Some("polecat-x gastown after".to_owned())], "{round}");
        assert_eq!(client.row(settings), before);
        client.execute(insert, &[&format!("{}", round + 10), "after"], false).expect("without types");
        assert_eq!(
            client.execute(other, &[], false).expect("run").rows.concat(),
            [Some("polecat-x".to_owned())]
        );
        client.run("COMMIT");
        let fresh = client.prepare("SELECT CAST(ACTIVE_BRANCH() AS CHAR)").expect("prepared");
        assert!(![echo.id, insert.id, other.id].contains(&fresh.id), "ids stay apart");
        client.run("COMMIT");
    }
    let mut root = town.direct("gastown");
    assert_eq!(root.row("SELECT COUNT(*) FROM t"), "0", "main");
    assert_eq!(root.row("SELECT COUNT(*) FROM `gastown/polecat-x`.t"), "3");
}

#[test]
fn what_cannot_be_restored_after_dolt_was_killed_is_told() {
    let town = Town::start("");
    town.database("gastown", &["polecat-x"]);
    let mut in_transaction = town.on("polecat-x", "gastown");
    let mut pinned = town.on("polecat-x", "gastown");
    let mut quiet = town.client("");
    in_transaction.run("BEGIN");
    in_transaction.run("INSERT INTO t VALUES (1, 1, 'run again')");
    pinned.run("SET @x = 5");
    kill_dolt(&town, &in_transaction);
    in_transaction.run("INSERT INTO t VALUES (2, 1, 'in the same transaction')");
    assert_eq!(in_transaction.row(WHERE), "polecat-x|gastown");
    in_transaction.run("COMMIT");
    assert_eq!(in_transaction.row("SELECT COUNT(*) FROM t"), "2", "it went on where it was");
    let err = pinned.err("SELECT @x");
    assert!(err.message.contains("user variable"), "{err}");
    assert!(pinned.is_closed());
    assert_eq!(quiet.row("SELECT DATABASE()"), "NULL");
}
