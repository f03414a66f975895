//! A client vanishes, is killed, or never reads.

use std::time::Duration;

use super::support::branchline::Branchline;
use super::support::raw::{Client, Failure};
use super::support::watch;
use super::{console, direct, running};

/// The promise for a statement whose client is gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

fn await_running(dolt: &mut Client, text: &str, wanted: bool) {
    let what = if wanted { "it runs" } else { "it is gone from Dolt" };
    watch::until(GONE_WITHIN, what, || {
        (running(dolt).iter().any(|row| row.contains(text)) == wanted).then_some(())
    });
}

#[test]
fn the_statement_of_a_vanished_client_ends() {
    let branchline = Branchline::start();
    let mut dolt = Client::root(direct(&branchline));
    for (text, polite) in [("SLEEP(31)", false), ("SLEEP(32)", true)] {
        let mut client = Client::root(branchline.addr());
        client.send_query(&format!("SELECT {text}")).expect("sent");
        await_running(&mut dolt, text, true);
        if polite {
            client.quit();
        } else {
            client.wire.hang_up();
        }
        await_running(&mut dolt, text, false);
    }
}

#[test]
fn kill_ends_idle_and_busy_clients_from_the_console_and_by_sql() {
    let branchline = Branchline::start();
    let mut dolt = Client::root(direct(&branchline));
    let mut console = console(&branchline);
    let mut root = Client::root(branchline.addr());
    for (text, by_sql) in [("SLEEP(41)", false), ("SLEEP(42)", true)] {
        let (mut idle, mut busy) = (Client::root(branchline.addr()), Client::root(branchline.addr()));
        busy.send_query(&format!("SELECT {text}")).expect("sent");
        await_running(&mut dolt, text, true);
        for client in [&mut idle, &mut busy] {
            let kill = format!("KILL {}", client.id);
            if by_sql {
                root.run(&kill)
            } else {
                console.run(&kill)
            };
            let end = client.wire.last_word();
            assert!(matches!(end, Failure::Closed | Failure::Server(1105 | 1317, ..)), "{kill}: {end}");
            let listed = console.run("SHOW CLIENTS").rows;
            let id = Some(client.id.to_string());
            assert!(!listed.iter().any(|row| row[0] == id), "{listed:?}");
        }
        await_running(&mut dolt, text, false);
    }
    let failure = console.query("KILL 99").expect_err("nobody has that id");
    assert!(failure.text().contains("there is no client 99"), "{failure}");
}

#[test]
fn kill_query_ends_the_statement_and_not_the_client() {
    let branchline = Branchline::start();
    let mut dolt = Client::root(direct(&branchline));
    let mut busy = Client::root(branchline.addr());
    busy.send_query("SELECT SLEEP(43)").expect("sent");
    await_running(&mut dolt, "SLEEP(43)", true);
    Client::root(branchline.addr()).run(&format!("KILL QUERY {}", busy.id));
    assert!(busy.reply(true).is_err());
    assert_eq!(busy.value("SELECT 1").as_deref(), Ok("1"));
}

#[test]
fn clients_that_never_read_cost_no_memory_and_can_be_killed() {
    let branchline = Branchline::start();
    let mut dolt = Client::root(direct(&branchline));
    dolt.run("CREATE DATABASE town");
    dolt.run("CREATE TABLE town.number (id INT PRIMARY KEY)");
    let numbers: Vec<String> = (0..400).map(|id| format!("({id})")).collect();
    dolt.run(&format!("INSERT INTO town.number VALUES {}", numbers.join(",")));
    let mut console = console(&branchline);
    let memory = || watch::memory_kib(branchline.pid(), "VmRSS");
    let before = memory();
    let mut deaf: Vec<_> = (0..8).map(|_| Client::root(branchline.addr())).collect();
    for client in &mut deaf {
        client.send_query("SELECT REPEAT('x', 1048576) FROM town.number").expect("sent");
    }
    await_running(&mut dolt, "REPEAT", true);
    // Their sockets' buffers fill, and then nothing moves any more.
    let moved = |pid: u32| {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("/proc/PID/io");
        io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).expect("wchar")
    };
    let mut last = (moved(branchline.pid()), 0);
    watch::until(Duration::from_secs(20), "nothing moves", || {
        let now = moved(branchline.pid());
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        (last.1 >= 25).then_some(())
    });
    let during = memory();
    println!("RSS {before} KiB before, {during} KiB with 8 clients that do not read");
    assert!(during < before + 10 * 1024, "{before} KiB before, {during} KiB during");
    // Others are served meanwhile.
    assert_eq!(Client::root(branchline.addr()).value("SELECT 1").as_deref(), Ok("1"));
    for client in &deaf {
        console.run(&format!("KILL {}", client.id));
    }
    watch::until(GONE_WITHIN, "they are gone", || {
        let listed = console.run("SHOW CLIENTS").rows;
        deaf.iter()
            .all(|client| !listed.iter().any(|row| row[0] == Some(client.id.to_string())))
            .then_some(())
    });
    await_running(&mut dolt, "REPEAT", false);
}
