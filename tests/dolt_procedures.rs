//! Whether `dolt::procedures` has every procedure of the real Dolt, and knows which of them commit.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use branchline::dolt::procedures;
use support::client::{Client, Login};
use support::plain::PlainDolt;

/// Procedures that only a Dolt of a cluster has.
const OF_A_CLUSTER: [&str; 2] = ["dolt_assume_cluster_role", "dolt_cluster_transition_to_standby"];

fn is_there(client: &mut Client, procedure: &str) -> bool {
    // Statistics aside, not one of them takes this.
    let call = format!("CALL {procedure}('--no-such-flag', '', '', '', '', '', '')");
    client.query(&call).map_or_else(|err| !err.message.contains("does not exist"), |_| true)
}

/// All `dolt_…` in the binary that could be a procedure's name. Go keeps its strings without ends, one behind the
/// other: every beginning of each counts.
fn candidates() -> BTreeSet<String> {
    let binary = std::fs::read(support::dolt_binary()).unwrap();
    let mut names = BTreeSet::new();
    for at in memchr::memmem::find_iter(&binary, "dolt_") {
        let bytes = &binary[at..binary.len().min(at + 40)];
        let len = bytes.iter().position(|byte| !matches!(byte, b'a'..=b'z' | b'_')).unwrap_or(bytes.len());
        for end in "dolt_x".len()..=len {
            names.insert(String::from_utf8(bytes[..end].to_vec()).unwrap());
        }
    }
    names
}

#[test]
fn the_table_has_every_procedure_of_dolt() {
    let dolt = PlainDolt::start();
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], dolt.port())), &Login::root(""));
    client.run("CREATE DATABASE d");
    client.run("USE d");
    let known: BTreeSet<&str> = procedures::names().collect();
    // Both lists are Dolt's: what it documents, and what its binary can name.
    let documented = client.rows("SELECT name FROM dolt_help WHERE type = 'procedure'");
    assert!(documented.len() > 10, "{documented:?}");
    for row in documented {
        let name = row[0].as_deref().unwrap();
        assert!(known.contains(name), "{name} is not in the table");
    }
    let candidates = candidates();
    for name in known.iter().filter(|name| !OF_A_CLUSTER.contains(name)) {
        assert!(candidates.contains(*name), "{name} is not found in the binary: nor would an unknown one");
        assert!(is_there(&mut client, name), "Dolt has no {name}");
    }
    let unknown: Vec<&String> = candidates
        .iter()
        .filter(|name| !known.contains(name.as_str()) && is_there(&mut client, name))
        .collect();
    assert!(unknown.is_empty(), "not in the table: {unknown:?}");
    for alias in ["dcommit", "dadd", "dcheckout", "dbranch", "dmerge", "dreset"] {
        assert!(!is_there(&mut client, alias), "Dolt knows {alias}");
    }
}

#[test]
fn the_table_knows_what_commits() {
    let dolt = PlainDolt::start();
    let addr = SocketAddr::from(([127, 0, 0, 1], dolt.port()));
    let mut client = Client::connect(addr, &Login::root(""));
    for sql in [
        "CREATE DATABASE d",
        "USE d",
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "CREATE TABLE other (a INT PRIMARY KEY)",
        "CALL DOLT_COMMIT('-Am', 'tables')",
        "CALL DOLT_BRANCH('b')",
    ] {
        client.run(sql);
    }
    let mut witness = Client::connect(addr, &Login::root("d"));
    let remote = tempfile::tempdir().unwrap();
    let url = format!("file://{}/remote", remote.path().display());
    let backup = format!("file://{}/backup", remote.path().display());
    let mut row = 0;
    for (procedure, args) in [
        ("dolt_add", vec!["-A"]),
        ("dolt_branch", vec!["new"]),
        ("dolt_branch", vec!["-D", "new"]),
        ("dolt_tag", vec!["v1"]),
        ("dolt_remote", vec!["add", "o", &url]),
        ("dolt_push", vec!["o", "main"]),
        ("dolt_fetch", vec!["o"]),
        ("dolt_count_commits", vec!["--from", "HEAD", "--to", "main"]),
        ("dolt_backup", vec!["add", "k", &backup]),
        ("dolt_backup", vec!["sync", "k"]),
        ("dolt_backup", vec!["sync-url", &backup]),
        ("dolt_backup", vec!["rm", "k"]),
        ("dolt_reset", vec![]),
        ("dolt_checkout", vec!["--", "other"]),
        ("dolt_clean", vec!["--dry-run"]),
        ("dolt_conflicts_resolve", vec!["--ours", "."]),
        ("dolt_verify_constraints", vec!["--all"]),
        ("dolt_stash", vec!["push", "s"]),
        ("dolt_stash", vec!["pop", "s"]),
        ("dolt_update_column_tag", vec!["other", "a", "77"]),
        ("dolt_commit", vec!["-Am", "x"]),
        ("dolt_commit", vec!["--skip-empty", "-m", "x"]),
        ("dolt_rm", vec!["other"]),
        ("dolt_purge_dropped_databases", vec![]),
        ("dolt_stats_info", vec![]),
        ("dolt_gc", vec!["--shallow"]),
    ] {
        client.run("BEGIN");
        row += 1;
        client.run(&format!("INSERT INTO t VALUES ({row})"));
        let literals: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        client.run(&format!("CALL {procedure}({})", literals.join(", ")));
        let committed = witness.row(&format!("SELECT COUNT(*) FROM t WHERE a = {row}")) == "1";
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let known = procedures::call(procedure, Some(&args)).unwrap();
        assert_eq!(committed, known.commits, "{procedure} {args:?}");
        client.run("ROLLBACK");
    }
    // DOLT_COMMIT commits the transaction although it fails.
    client.run("CALL DOLT_COMMIT('-Am', 'all')");
    client.run("BEGIN");
    client.run("INSERT INTO t VALUES (1000)");
    let err = client.err("CALL DOLT_COMMIT('-m', 'nothing is staged')");
    assert!(err.message.contains("nothing to commit"), "{err:?}");
    assert_eq!(witness.row("SELECT COUNT(*) FROM t WHERE a = 1000"), "1");
    // These need a clean working set, and commit what they did.
    client.run("ROLLBACK");
    client.run("CALL DOLT_COMMIT('-Am', 'all')");
    client.run("CALL DOLT_CHECKOUT('b')");
    client.run("INSERT INTO other VALUES (1)");
    client.run("CALL DOLT_COMMIT('-am', 'on b')");
    client.run("CALL DOLT_CHECKOUT('main')");
    for sql in ["CALL DOLT_REVERT('HEAD')", "CALL DOLT_RESET('--hard', 'HEAD~1')"] {
        let before = witness.row("SELECT DOLT_HASHOF('main')");
        client.run("BEGIN");
        client.run(sql);
        assert_ne!(witness.row("SELECT DOLT_HASHOF('main')"), before, "{sql}");
        client.run("ROLLBACK");
    }
}
