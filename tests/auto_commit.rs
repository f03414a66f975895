//! `auto_commit = "dolt"`, `DOLT_PULL` beside writers, and writers that bypass Branchline: end to end, real Dolt.

mod support;

use std::time::Duration;

use support::client::Client;
use support::town::{Town, until};

/// Author and message of main's Dolt commits, newest first, without Dolt's own first one.
fn commits(client: &mut Client) -> Vec<String> {
    let rows = client.rows("SELECT committer, email, message FROM dolt_log");
    rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|")).collect()
}

fn uncommitted(client: &mut Client) -> String {
    client.row("SELECT COUNT(*) FROM dolt_status")
}

#[test]
fn each_sql_transaction_becomes_a_dolt_commit_of_its_client() {
    let town = Town::start("[lanes]\nauto_commit = \"dolt\"\n");
    town.database("gastown", &[]);
    let mut client = town.client("gastown");
    let mut seen = town.direct("gastown");
    let before = commits(&mut seen).len();

    client.run("INSERT INTO t VALUES (1, 1, 'autocommit')");
    // Its own next statement comes after the Dolt commit.
    assert_eq!(uncommitted(&mut client), "0");
    let now = commits(&mut seen);
    assert_eq!(now.len(), before + 1);
    assert!(now[0].starts_with("root|root@") && now[0].contains("auto-commit of root@"), "{}", now[0]);

    for sql in ["BEGIN", "INSERT INTO t VALUES (2, 1, 'a')", "INSERT INTO t VALUES (3, 1, 'b')", "COMMIT"] {
        client.run(sql);
    }
    assert_eq!(uncommitted(&mut client), "0");
    assert_eq!(commits(&mut seen).len(), before + 2, "an explicit transaction is one commit");

    client.run("UPDATE t SET n = n WHERE id = 1");
    client.run("BEGIN");
    client.run("INSERT INTO t VALUES (4, 1, 'taken back')");
    client.run("ROLLBACK");
    client.err("INSERT INTO t VALUES (1, 1, 'duplicate')");
    assert_eq!(uncommitted(&mut client), "0");
    assert_eq!(commits(&mut seen).len(), before + 2, "what changes nothing is no commit");

    let mut own = town.client("gastown");
    own.run("CALL DOLT_COMMIT('--allow-empty', '-m', 'by hand')");
    own.run("INSERT INTO t VALUES (5, 1, 'its own affair')");
    assert_eq!(uncommitted(&mut own), "1", "a client that Dolt-commits is left alone");
    assert_eq!(commits(&mut seen)[0].rsplit('|').next(), Some("by hand"));
}

#[test]
fn sql_commits_stay_sql_commits_unless_told() {
    let town = Town::start("");
    town.database("gastown", &[]);
    let mut client = town.client("gastown");
    client.run("INSERT INTO t VALUES (1, 1, 'autocommit')");
    assert_eq!(uncommitted(&mut client), "1");
}

#[test]
fn a_writer_that_bypasses_branchline_is_noticed_and_ours_are_not() {
    let town = Town::start("");
    town.database("gastown", &["polecat-x"]);
    let mut client = town.client("gastown");
    let bypasses = || town.command(&["status"])["bypasses"].as_array().expect("a list").clone();
    // `gastown was written without Branchline: noticed 2 times, last at …`
    let count = || -> u64 {
        let times = |text: &str| match text.split("noticed ").nth(1).and_then(|rest| rest.split(' ').next()) {
            Some(word) => word.parse().unwrap_or(1),
            None => panic!("no count in {text}"),
        };
        bypasses().iter().map(|one| times(one.as_str().expect("a text"))).sum()
    };
    // What set the databases up went past Branchline too.
    let mut settled = count();
    until("the set-up is behind us", || {
        std::thread::sleep(Duration::from_secs(3));
        std::mem::replace(&mut settled, count()) == count()
    });
    for id in 0..20 {
        client.run(&format!("INSERT INTO t VALUES ({id}, 1, 'ours')"));
    }
    client.run("CALL DOLT_COMMIT('-Am', 'ours')");
    client.run("CALL DOLT_BRANCH('ours')");
    // What goes with a remote are refs of the database too.
    let place = tempfile::tempdir().expect("a temporary directory");
    client.run(&format!("CALL DOLT_REMOTE('add', 'r', 'file://{}/r')", place.path().display()));
    client.run("CALL DOLT_PUSH('r', 'main')");
    client.run("CALL DOLT_REMOTE('remove', 'r')");
    client.run("INSERT INTO t VALUES (50, 1, 'ours')");
    assert_eq!(count(), settled, "{:?}", bypasses());
    town.direct("gastown").run("INSERT INTO t VALUES (100, 1, 'past us')");
    until("the bypass is shown", || count() == settled + 1);
    assert!(
        bypasses()[0].as_str().is_some_and(|text| text.starts_with("gastown was written")),
        "{:?}",
        bypasses()
    );
}

#[test]
fn a_pull_fetches_before_it_takes_the_lane() {
    let town = Town::start("");
    town.database("gastown", &[]);
    let place = tempfile::tempdir().expect("a temporary directory");
    let url = format!("file://{}", place.path().join("remote").display());
    let mut client = town.client("gastown");
    client.run(&format!("CALL DOLT_REMOTE('add', 'origin', '{url}')"));
    client.run("CALL DOLT_PUSH('origin', 'main')");
    let mut other = town.client("");
    other.run(&format!("CALL DOLT_CLONE('{url}', 'rig2')"));
    other.run("USE rig2");
    other.run("INSERT INTO t VALUES (1, 1, 'elsewhere')");
    other.run("CALL DOLT_COMMIT('-Am', 'elsewhere')");
    other.run("CALL DOLT_PUSH('origin', 'main')");
    client.run("CALL DOLT_PULL('origin', 'main')");
    assert_eq!(client.row("SELECT s FROM t WHERE id = 1"), "elsewhere");
}
