//! Who writes past Branchline, against the real server: ours are never counted, others' are.

mod support;

use std::net::SocketAddr;
use std::thread;

use branchline::dolt::journal::Journals;
use branchline::observe::bypass::Bypass;
use support::plain::PlainDolt;
use support::raw::{Client, Login};

const WRITERS: u32 = 4;
const ROUNDS: u32 = 100;

#[test]
fn others_are_noticed_and_ours_are_not() {
    let dolt = PlainDolt::start();
    let addr = SocketAddr::from(([127, 0, 0, 1], dolt.port()));
    let mut root = Client::root(addr);
    for sql in
        ["CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, n INT)", "CREATE DATABASE e"]
    {
        root.run(sql);
    }
    root.run("CALL DOLT_COMMIT('-Am', 'tables')");
    for number in 0..WRITERS {
        root.run(&format!("CALL DOLT_BRANCH('b{number}')"));
    }
    let bypass = Bypass::new(Journals::new(&dolt.data_dir()));
    bypass.look(["d", "e"]);
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let bypass = bypass.clone();
            thread::spawn(move || {
                let mut client =
                    Client::tcp(addr, &Login::root().on(format!("d/b{number}"))).expect("root logs in");
                for round in 0..ROUNDS {
                    let touch = bypass.touch("d");
                    assert!(touch.root_before().is_some());
                    client.run(&format!("INSERT INTO t VALUES ({round}, 0)"));
                    drop(touch);
                    client.run("SELECT COUNT(*) FROM t");
                    bypass.look(["D"]);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("no panic");
    }
    root.run("CALL DOLT_GC()");
    bypass.look(["d", "e"]);
    assert_eq!(bypass.report(), [], "nobody else has written");

    let mut other = Client::tcp(addr, &Login::root().on("d")).expect("root logs in");
    other.run("INSERT INTO t VALUES (1000, 0)");
    drop(bypass.touch("d"));
    other.run("CALL DOLT_COMMIT('-Am', 'past Branchline')");
    bypass.look(["d", "e"]);
    bypass.look(["d", "e"]);
    let seen = bypass.report();
    assert_eq!(seen.iter().map(|seen| (seen.database.as_str(), seen.count)).collect::<Vec<_>>(), [("d", 2)]);

    // A statement of ours that may still be running could be the one that writes.
    bypass.touch("d").abandon();
    other.run("INSERT INTO t VALUES (1001, 0)");
    drop(bypass.touch("d"));
    bypass.look(["d"]);
    assert_eq!(bypass.report(), seen);
}
