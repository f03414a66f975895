//! Sessions of every kind while their branch is closed, deleted and gone: nobody meets an error, and every row that
//! was acknowledged is on the branch that the session was on. Real Dolt; the gates are closed by the test.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use branchline::branch::{Book, Ended, Tombstone};
use support::client::{Client, Login, Statement};
use support::embedded::Embedded;
use support::town::{WHERE, until};
use tokio::time::Instant;

const BRANCH: &str = "polecat-x";

fn finished(database: &str, branch: &str) -> Tombstone {
    Tombstone {
        database: database.to_owned(),
        branch: branch.to_owned(),
        how: Ended::Finished { commit: Some("abc".to_owned()) },
        at: 1_735_689_599,
        by: "a test".to_owned(),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A session that stands still while its branch goes, and what must be so afterwards.
struct Still {
    kind: &'static str,
    client: Client,
    prepared: Option<Statement>,
}

fn ids(client: &mut Client, table: &str) -> BTreeSet<i64> {
    let rows = client.rows(&format!("SELECT CAST(id AS CHAR) FROM {table}"));
    rows.into_iter().flatten().flatten().map(|id| id.parse().expect("a number")).collect()
}

#[test]
fn forty_sessions_of_every_kind_go_to_main() {
    let branchline = Embedded::start(|_| {});
    branchline.database("rig", &[BRANCH]);
    branchline.database("other", &[BRANCH]);
    let next = Arc::new(AtomicI64::new(1));
    let insert = |next: &AtomicI64| {
        let id = next.fetch_add(1, Ordering::Relaxed);
        (id, format!("INSERT INTO t VALUES ({id}, 'x')"))
    };
    let mut still = Vec::new();
    let mut add = |kind, client, prepared| still.push(Still { kind, client, prepared });
    for _ in 0..6 {
        add("idle", branchline.on(BRANCH, "rig"), None);
    }
    for _ in 0..5 {
        let mut client = branchline.on(BRANCH, "rig");
        let statement = client.prepare("SELECT ACTIVE_BRANCH(), DATABASE()").expect("prepared");
        let row = client.execute(statement, &[], false).expect("run").rows.concat();
        assert_eq!(row, [Some(BRANCH.to_owned()), Some("rig".to_owned())]);
        add("prepared", client, Some(statement));
    }
    for _ in 0..5 {
        let mut client = branchline.on(BRANCH, "rig");
        client.run("CREATE TEMPORARY TABLE mine (id INT PRIMARY KEY)");
        client.run("INSERT INTO mine VALUES (7)");
        add("pinned", client, None);
    }
    for _ in 0..5 {
        add("named", branchline.login(&Login::root(&format!("rig/{BRANCH}"))), None);
    }
    for _ in 0..4 {
        let mut client = branchline.login(&Login::root("rig"));
        client.run(&format!("CALL DOLT_CHECKOUT('{BRANCH}')"));
        add("chosen", client, None);
    }
    for _ in 0..2 {
        let mut client = branchline.login(&Login::root("rig"));
        client.run(&format!("SET rig_head_ref = '{BRANCH}'"));
        client.run("USE rig");
        add("set", client, None);
    }
    for _ in 0..2 {
        let mut client = branchline.on(BRANCH, "rig");
        client.run("USE other");
        assert_eq!(client.row(WHERE), format!("{BRANCH}|other"));
        add("elsewhere", client, None);
    }
    let mut in_transaction = Vec::new();
    for _ in 0..5 {
        let mut client = branchline.on(BRANCH, "rig");
        client.run("BEGIN");
        // A lane is one session's: the others read.
        client.run("SELECT * FROM t");
        in_transaction.push(client);
    }
    // They write without a pause, and never hear of any of it.
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let mut client = branchline.on(BRANCH, "rig");
            let (next, stop, told) = (Arc::clone(&next), Arc::clone(&stop), Arc::clone(&told));
            thread::spawn(move || {
                let mut acknowledged = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match client.query(&format!("INSERT INTO t VALUES ({id}, 'x')")) {
                        Ok(_) => acknowledged.push(id),
                        Err(err) => told.lock().expect("not poisoned").push(err.to_string()),
                    }
                }
                acknowledged
            })
        })
        .collect();
    assert_eq!(still.len() + in_transaction.len() + writers.len(), 40);
    let mut main = branchline.direct("rig");
    let mut on_branch = branchline.direct(&format!("rig/{BRANCH}"));
    until("the writers write", || ids(&mut on_branch, "t").len() > 20);

    let gate = branchline.context.gates.close("rig", BRANCH, "finish", "a test").expect("it is open");
    let early = branchline.run(gate.emptied(&branchline.context.clients, Instant::now()));
    let early = early.expect_err("transactions are open");
    assert!(early.iter().filter(|open| open.in_transaction).count() >= in_transaction.len(), "{early:?}");
    for client in &mut in_transaction {
        // What is open goes on to its end, however long others wait.
        assert_eq!(client.row(WHERE), format!("{BRANCH}|rig"));
        client.run("COMMIT");
    }
    branchline.run(gate.emptied(&branchline.context.clients, soon())).expect("all leave");
    let landed = ids(&mut on_branch, "t");
    // Others are not disturbed meanwhile.
    let mut elsewhere = branchline.login(&Login::root("other"));
    for _ in 0..50 {
        assert_eq!(elsewhere.row(WHERE), "main|other");
    }
    assert_eq!(ids(&mut on_branch, "t"), landed, "nothing lands on a branch that is closed and empty");
    drop(on_branch);
    branchline.end(gate, finished("rig", BRANCH));

    for Still { kind, client, prepared } in &mut still {
        let (here, database) = match *kind {
            "elsewhere" => (BRANCH, "other"),
            _ => ("main", "rig"),
        };
        if let Some(statement) = prepared {
            let row = client.execute(*statement, &[], false).unwrap_or_else(|err| panic!("{kind}: {err}"));
            assert_eq!(row.rows.concat(), [Some("main".to_owned()), Some("rig".to_owned())]);
        }
        assert_eq!(client.row(WHERE), format!("{here}|{database}"), "{kind}");
        if *kind == "pinned" {
            assert_eq!(client.row("SELECT CAST(id AS CHAR) FROM mine"), "7", "its temporary table stays");
        }
        if *kind == "elsewhere" {
            assert_eq!(
                client.row("SELECT COUNT(*) FROM rig.t WHERE id < 0"),
                "0",
                "main of the other database"
            );
            client.run("USE rig");
            assert_eq!(client.row(WHERE), "main|rig");
        }
        let view = branchline.context.clients.get(client.id).expect("it lives").view();
        assert_eq!(view.branch, None, "{kind}");
        let says =
            format!("was on {BRANCH}, which was finished at 2024-12-31T23:59:59Z (merged to main as abc)");
        assert_eq!(view.reason, says, "{kind}");
        let (id, sql) = insert(&next);
        client.run(&sql);
        assert!(ids(&mut main, "t").contains(&id), "{kind}: written to main");
    }
    for client in &mut in_transaction {
        assert_eq!(client.row(WHERE), "main|rig");
    }
    let before = ids(&mut main, "t").len();
    until("the writers write to main", || ids(&mut main, "t").len() > before + 20);
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.join().expect("no panic"));
    }
    assert_eq!(*told.lock().expect("not poisoned"), Vec::<String>::new(), "what the writers were told");
    let on_main = ids(&mut main, "t");
    let lost: Vec<_> = acknowledged.difference(&landed).filter(|id| !on_main.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged, and nowhere: {lost:?}");
    assert!(landed.is_disjoint(&on_main), "each is where its session was");
}

#[test]
fn a_tombstone_outlives_a_restart_and_a_branch_that_is_made_again_wins() {
    let branchline = Embedded::start(|_| {});
    branchline.database("rig", &[BRANCH]);
    let gate = branchline.context.gates.close("rig", BRANCH, "finish", "a test").expect("it is open");
    branchline.end(gate, finished("rig", BRANCH));
    let again = Book::load(&branchline.context.config.state_dir).expect("it loads");
    assert_eq!(again.tombstone("rig", BRANCH), Some(finished("rig", BRANCH)));

    let mut routed = branchline.on(BRANCH, "rig");
    routed.run("INSERT INTO t VALUES (1, 'create_pattern does not fork it anew')");
    assert_eq!(routed.row(WHERE), "main|rig");
    let reason = branchline.context.clients.get(routed.id).expect("it lives").view().reason;
    assert_eq!(
        reason,
        "connection attribute branch, but polecat-x was finished at 2024-12-31T23:59:59Z (merged to main as abc)"
    );
    let named = branchline.try_login(&Login::root(&format!("rig/{BRANCH}"))).err().expect("it is no more");
    assert!(named.contains("branch polecat-x was finished at 2024-12-31T23:59:59Z"), "{named}");
    for err in [
        routed.err(&format!("USE `rig/{BRANCH}`")),
        routed.use_database(&format!("rig/{BRANCH}")).expect_err("it is no more"),
    ] {
        assert!(err.code == 1049 && err.message.contains("was finished at"), "{err}");
    }
    assert_eq!(routed.row(WHERE), "main|rig");
    let never = routed.err("USE `rig/never`");
    assert!(never.code == 1049 && !never.message.contains("finished"), "{never}");
    let checkout = routed.err(&format!("CALL DOLT_CHECKOUT('{BRANCH}')"));
    assert!(!checkout.message.contains("finished at"), "Dolt's own words: {checkout}");

    branchline.direct("rig").run(&format!("CALL DOLT_BRANCH('{BRANCH}')"));
    assert_eq!(branchline.on(BRANCH, "rig").row(WHERE), format!("{BRANCH}|rig"));
    assert_eq!(
        branchline.login(&Login::root(&format!("rig/{BRANCH}"))).row(WHERE),
        format!("{BRANCH}|rig/{BRANCH}")
    );
    branchline.run(branchline::branch::vanished::notice(&branchline.context)).expect("a look");
    assert_eq!(branchline.context.book.tombstone("rig", BRANCH), None, "forgotten");
}

#[test]
fn a_statement_waits_at_a_closed_gate_for_its_budget_and_no_longer() {
    let branchline = Embedded::start(|config| config.lanes.budget = Duration::from_secs(1));
    branchline.database("rig", &[BRANCH]);
    let (mut waits, mut goes_on) = (branchline.on(BRANCH, "rig"), branchline.on(BRANCH, "rig"));
    let mut from_main = branchline.login(&Login::root("rig"));
    goes_on.run("BEGIN");
    goes_on.run("INSERT INTO t VALUES (1, 'x')");
    let gate = branchline.context.gates.close("rig", BRANCH, "finish", "uid 0").expect("it is open");
    let err = waits.err("SELECT 1");
    assert_eq!(err.code, 1205, "{err}");
    assert!(err.message.contains("a finish of rig/polecat-x by uid 0 is under way since"), "{err}");
    assert!(err.message.contains("1 s (lanes.budget_s)"), "{err}");
    // A name with a revision is on that branch too, wherever the session is.
    assert_eq!(from_main.err(&format!("SELECT * FROM `rig/{BRANCH}`.t")).code, 1205);
    from_main.run("INSERT INTO t VALUES (2, 'main is not closed')");
    goes_on.run("COMMIT");
    drop(gate);
    assert_eq!(waits.row("SELECT s FROM t WHERE id = 1"), "x", "nothing was finished: it is where it was");
    assert_eq!(waits.row(WHERE), format!("{BRANCH}|rig"));
}

#[test]
fn after_a_gate_is_closed_and_empty_no_write_lands() {
    let branchline = Embedded::start(|_| {});
    branchline.database("rig", &[BRANCH]);
    let (next, stop) = (Arc::new(AtomicI64::new(1)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let mut client = branchline.on(BRANCH, "rig");
            let (next, stop) = (Arc::clone(&next), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let sql = format!("INSERT INTO t VALUES ({id}, 'x')");
                    if writer % 2 == 0 {
                        client.run(&sql);
                    } else {
                        client.run("BEGIN");
                        client.run(&sql);
                        client.run("COMMIT");
                    }
                }
            })
        })
        .collect();
    let mut direct = branchline.direct(&format!("rig/{BRANCH}"));
    for _ in 0..20 {
        let before = ids(&mut direct, "t").len();
        until("the writers write", || ids(&mut direct, "t").len() > before + 5);
        let gate = branchline.context.gates.close("rig", BRANCH, "finish", "a test").expect("it is open");
        branchline.run(gate.emptied(&branchline.context.clients, soon())).expect("all leave");
        let closed = direct.row("SELECT DOLT_HASHOF_DB()");
        for _ in 0..30 {
            assert_eq!(direct.row("SELECT DOLT_HASHOF_DB()"), closed);
        }
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().expect("nobody was told an error"));
}

#[test]
fn a_branch_that_is_deleted_by_hand_leaves_nobody_stuck() {
    let branchline = Embedded::start(|_| {});
    branchline.database("rig", &[BRANCH, "by-dolt"]);
    let (mut routed, mut deletes) = (branchline.on(BRANCH, "rig"), branchline.login(&Login::root("rig")));
    assert_eq!(routed.row(WHERE), format!("{BRANCH}|rig"));
    branchline.run(branchline::branch::vanished::notice(&branchline.context)).expect("a look");
    deletes.run(&format!("CALL DOLT_BRANCH('-D', '{BRANCH}')"));
    assert_eq!(routed.row(WHERE), "main|rig", "through Branchline: not even an error");
    let reason = branchline.context.clients.get(routed.id).expect("it lives").view().reason;
    assert_eq!(reason, "was on polecat-x, which is no more");
    // It is no tombstone: who comes later gets the branch anew, as before.
    let mut later = branchline.on(BRANCH, "rig");
    later.run("INSERT INTO t VALUES (1, 'x')");
    assert_eq!(later.row(WHERE), format!("{BRANCH}|rig"));

    let mut other = branchline.on("by-dolt", "rig");
    assert_eq!(other.row(WHERE), "by-dolt|rig");
    branchline.direct("rig").run("CALL DOLT_BRANCH('-D', 'by-dolt')");
    let told = other.err("INSERT INTO t VALUES (2, 'x')");
    assert!(told.message.contains("was on by-dolt, which is no more: it is on main now"), "{told}");
    assert_ne!(told.code, 1049, "{told}");
    assert_eq!(other.row(WHERE), "main|rig");
    assert_eq!(other.row("SELECT COUNT(*) FROM t WHERE id = 2"), "0", "as it was told");
}
