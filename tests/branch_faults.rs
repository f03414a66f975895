//! Why branch-per-polecat was given up upstream: each test first shows the fault on plain Dolt, with the commands that
//! were used there, and then that it is gone.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use support::client::{Client, Login};
use support::plain::PlainDolt;
use support::polecat;
use support::town::Town;

/// The same databases at a plain Dolt and behind a Branchline.
struct Servers {
    dolt: PlainDolt,
    town: Town,
}

impl Servers {
    fn start() -> Self {
        Self { dolt: PlainDolt::start(), town: Town::start("") }
    }

    fn plain(&self, database: &str) -> Client {
        Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.dolt.port())), &Login::root(database))
    }

    /// `branchline branch ARGUMENTS`, which succeeds.
    fn branch(&self, arguments: &[&str]) -> String {
        polecat::done(self.town.branchline.state_dir(), arguments)
    }

    /// At both, through Branchline here.
    fn both(&self, mut statements: impl FnMut(&mut Client)) {
        statements(&mut self.plain(""));
        statements(&mut self.town.client(""));
    }
}

fn values(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.rows(sql).into_iter();
    rows.map(|row| {
        row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>().join("|")
    })
    .collect()
}

/// Database `name` with a Dolt-committed table of issues.
fn issues(client: &mut Client, name: &str) {
    for sql in [
        &format!("CREATE DATABASE {name}")[..],
        &format!("USE {name}"),
        "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title VARCHAR(80), status VARCHAR(20), updated_at DATETIME(6))",
        "INSERT INTO issues VALUES ('bd-1', 'the first', 'open', '2026-01-01 00:00:00')",
        "CALL DOLT_COMMIT('-Am', 'issues')",
    ] {
        client.run(sql);
    }
}

const IDS: &str = "SELECT id FROM issues ORDER BY id";

/// 1. A row just written to main, which its writer hadn't Dolt-committed yet, was missing on the branch.
#[test]
fn a_fork_has_mains_uncommitted_rows() {
    let servers = Servers::start();
    let insert = "INSERT INTO issues VALUES ('bd-2', 'just written', 'open', NOW(6))";
    servers.both(|client| {
        issues(client, "forked");
        client.run(insert);
    });
    servers.plain("forked").run("CALL DOLT_BRANCH('polecat-a')");
    assert_eq!(values(&mut servers.plain("forked/polecat-a"), IDS), ["bd-1"], "the fault");

    let mut main = servers.town.client("forked");
    let state =
        "SELECT CONCAT_WS('|', dolt_hashof('main'), dolt_hashof_db(), (SELECT COUNT(*) FROM dolt_status))";
    let before = main.row(state);
    servers.branch(&["create", "forked", "polecat-a"]);
    assert_eq!(values(&mut servers.town.on("polecat-a", "forked"), IDS), ["bd-1", "bd-2"]);
    assert_eq!(main.row(state), before, "main is exactly as it was");
    // By a session's first write, without anybody's command.
    let mut session = servers.town.on("polecat-b", "forked");
    session.run("INSERT INTO issues VALUES ('bd-3', 'by polecat-b', 'open', NOW(6))");
    assert_eq!(session.row("SELECT ACTIVE_BRANCH()"), "polecat-b");
    assert_eq!(values(&mut session, IDS), ["bd-1", "bd-2", "bd-3"]);
    assert_eq!(main.row(state), before, "main is exactly as it was");
}

/// 2. Anybody's uncommitted row on main made DOLT_MERGE fail, and the work stayed on the branch.
#[test]
fn a_dirty_main_does_not_strand_a_merge() {
    let servers = Servers::start();
    let work = |branch: &mut Client| {
        branch.run("INSERT INTO issues VALUES ('bd-2', 'the work', 'open', NOW(6))");
        branch.run("CALL DOLT_COMMIT('-Am', 'the work')");
    };
    let dirty = "INSERT INTO issues VALUES ('bd-3', 'of somebody else', 'open', NOW(6))";
    servers.both(|client| issues(client, "dirty"));
    servers.plain("dirty").run("CALL DOLT_BRANCH('polecat-a')");
    work(&mut servers.plain("dirty/polecat-a"));
    let mut main = servers.plain("dirty");
    main.run(dirty);
    let refused = main.err("CALL DOLT_MERGE('polecat-a')").message;
    assert!(refused.contains("stomped by merge"), "the fault: {refused}");
    assert_eq!(values(&mut main, IDS), ["bd-1", "bd-3"], "the fault");

    servers.branch(&["create", "dirty", "polecat-a"]);
    work(&mut servers.town.on("polecat-a", "dirty"));
    let mut main = servers.town.client("dirty");
    main.run(dirty);
    servers.branch(&["done", "dirty", "polecat-a"]);
    assert_eq!(values(&mut main, IDS), ["bd-1", "bd-2", "bd-3"]);
    // The row of somebody else is still theirs to commit.
    assert_eq!(values(&mut main, "SELECT id FROM issues AS OF 'HEAD' ORDER BY id"), ["bd-1", "bd-2"]);
    assert_eq!(values(&mut main, "SELECT table_name, staged FROM dolt_status"), ["issues|0"]);
    assert_eq!(values(&mut main, "SELECT name FROM dolt_branches"), ["main"]);
}

/// 3. The branch was made in every database, the town's too, and merged in the rig's only.
#[test]
fn the_towns_own_database_stays_on_main() {
    let servers = Servers::start();
    let mail = "INSERT INTO issues VALUES ('hq-2', 'mail to the mayor', 'open', NOW(6))";
    let work = "INSERT INTO issues VALUES ('bd-2', 'the work', 'open', NOW(6))";
    let commit = "CALL DOLT_COMMIT('-Am', 'work')";
    servers.both(|client| {
        issues(client, "hq");
        issues(client, "rig");
    });
    for (database, row) in [("hq", mail), ("rig", work)] {
        servers.plain(database).run("CALL DOLT_BRANCH('polecat-a')");
        let mut polecat = servers.plain(database);
        polecat.run("CALL DOLT_CHECKOUT('polecat-a')");
        polecat.run(row);
        polecat.run(commit);
    }
    servers.plain("rig").run("CALL DOLT_MERGE('polecat-a')");
    servers.plain("rig").run("CALL DOLT_BRANCH('-D', 'polecat-a')");
    assert_eq!(values(&mut servers.plain("rig"), IDS), ["bd-1", "bd-2"]);
    assert_eq!(values(&mut servers.plain("hq"), IDS), ["bd-1"], "the fault");

    servers.branch(&["create", "rig", "polecat-a"]);
    for (database, row) in [("hq", mail), ("rig", work)] {
        let script = format!("{row};\n{commit};\nSELECT ACTIVE_BRANCH();");
        let told = servers.town.script(&[("BD_BRANCH", "polecat-a")], &[database], &script);
        let on = if database == "hq" { "main" } else { "polecat-a" };
        assert_eq!(told.last().map(String::as_str), Some(on), "{database}: {told:?}");
    }
    // Nobody had to wait for `done` to read the mail.
    assert_eq!(values(&mut servers.town.client("hq"), IDS), ["bd-1", "hq-2"]);
    servers.branch(&["done", "rig", "polecat-a"]);
    assert_eq!(values(&mut servers.town.client("rig"), IDS), ["bd-1", "bd-2"]);
    for database in ["hq", "rig"] {
        assert_eq!(
            values(&mut servers.town.client(database), "SELECT name FROM dolt_branches"),
            ["main"],
            "{database}"
        );
    }
}

/// 3. A process that still had BD_BRANCH set after `done` made the branch anew, and nobody merged that one.
#[test]
fn a_late_process_of_a_finished_polecat_writes_to_main() {
    let servers = Servers::start();
    let early = "INSERT INTO issues VALUES ('bd-2', 'the work', 'open', NOW(6))";
    let late = "INSERT INTO issues VALUES ('bd-3', 'after done', 'closed', NOW(6))";
    servers.both(|client| issues(client, "late"));
    // What the old client did at its start: check the branch out, or make it.
    let at_start = |client: &mut Client| {
        if client.query("CALL DOLT_CHECKOUT('polecat-a')").is_err() {
            client.run("CALL DOLT_CHECKOUT('-b', 'polecat-a')");
        }
    };
    let mut polecat = servers.plain("late");
    at_start(&mut polecat);
    polecat.run(early);
    polecat.run("CALL DOLT_COMMIT('-Am', 'work')");
    servers.plain("late").run("CALL DOLT_MERGE('polecat-a')");
    servers.plain("late").run("CALL DOLT_BRANCH('-D', '-f', 'polecat-a')");
    let stranded = polecat.err(late).message;
    assert!(stranded.contains("not found"), "the fault: {stranded}");
    let mut process = servers.plain("late");
    at_start(&mut process);
    process.run(late);
    process.run("CALL DOLT_COMMIT('-Am', 'late work')");
    assert_eq!(values(&mut servers.plain("late"), IDS), ["bd-1", "bd-2"], "the fault");

    let environment = [("BD_BRANCH", "polecat-a")];
    let mut open = servers.town.on("polecat-a", "late");
    open.run(early);
    assert_eq!(open.row("SELECT ACTIVE_BRANCH()"), "polecat-a");
    servers.branch(&["done", "late", "polecat-a"]);
    // The session that was open, and a process that starts now.
    open.run("UPDATE issues SET title = 'also after done' WHERE id = 'bd-1'");
    assert_eq!(open.row("SELECT ACTIVE_BRANCH()"), "main");
    let told = servers.town.script(&environment, &["late"], &format!("{late};\nSELECT ACTIVE_BRANCH();"));
    assert_eq!(told, ["main"]);
    let mut main = servers.town.client("late");
    assert_eq!(values(&mut main, IDS), ["bd-1", "bd-2", "bd-3"]);
    assert_eq!(values(&mut main, "SELECT title FROM issues WHERE id = 'bd-1'"), ["also after done"]);
    assert_eq!(values(&mut main, "SELECT name FROM dolt_branches"), ["main"]);
    // Who wants the name again says so.
    servers.branch(&["create", "late", "polecat-a"]);
    let told = servers.town.script(&environment, &["late"], "SELECT ACTIVE_BRANCH();");
    assert_eq!(told, ["polecat-a"]);
}

/// 4. Tables that `dolt_ignore` names are in a working set only: not on a new branch, and gone with it.
#[test]
fn ignored_tables_come_along_and_come_home() {
    let servers = Servers::start();
    let wisps = "SELECT id, note FROM wisps ORDER BY id";
    servers.both(|client| {
        issues(client, "ignoring");
        for sql in [
            "INSERT INTO dolt_ignore VALUES ('wisps', true)",
            "CREATE TABLE wisps (id INT PRIMARY KEY, note VARCHAR(40))",
            "INSERT INTO wisps VALUES (1, 'from main'), (2, 'done with'), (3, 'to be changed')",
            "CALL DOLT_COMMIT('-Am', 'ignore')",
        ] {
            client.run(sql);
        }
    });
    servers.plain("ignoring").run("CALL DOLT_BRANCH('polecat-a')");
    let mut polecat = servers.plain("ignoring/polecat-a");
    let missing = polecat.err(wisps);
    assert_eq!(missing.code, 1146, "the fault: {missing}");
    polecat.run("CREATE TABLE wisps (id INT PRIMARY KEY, note VARCHAR(40))");
    polecat.run("INSERT INTO wisps VALUES (4, 'from the branch')");
    polecat.run("INSERT INTO issues VALUES ('bd-2', 'the work', 'open', NOW(6))");
    polecat.run("CALL DOLT_COMMIT('-Am', 'work')");
    drop(polecat);
    let mut main = servers.plain("ignoring");
    main.run("CALL DOLT_MERGE('polecat-a')");
    main.run("CALL DOLT_BRANCH('-D', '-f', 'polecat-a')");
    assert_eq!(values(&mut main, IDS), ["bd-1", "bd-2"]);
    assert!(!values(&mut main, wisps).contains(&"4|from the branch".to_owned()), "the fault");

    servers.branch(&["create", "ignoring", "polecat-a"]);
    let mut polecat = servers.town.on("polecat-a", "ignoring");
    assert_eq!(values(&mut polecat, wisps), ["1|from main", "2|done with", "3|to be changed"]);
    polecat.run("INSERT INTO wisps VALUES (4, 'from the branch')");
    polecat.run("DELETE FROM wisps WHERE id = 2");
    polecat.run("UPDATE wisps SET note = 'changed' WHERE id = 3");
    polecat.run("INSERT INTO issues VALUES ('bd-2', 'the work', 'open', NOW(6))");
    polecat.run("CALL DOLT_COMMIT('-Am', 'work')");
    let mut main = servers.town.client("ignoring");
    main.run("INSERT INTO wisps VALUES (5, 'meanwhile on main')");
    servers.branch(&["done", "ignoring", "polecat-a"]);
    assert_eq!(
        values(&mut main, wisps),
        ["1|from main", "3|changed", "4|from the branch", "5|meanwhile on main"]
    );
    assert_eq!(values(&mut main, IDS), ["bd-1", "bd-2"]);
    assert_eq!(
        values(&mut main, "SELECT COUNT(*) FROM dolt_status WHERE table_name = 'wisps' AND staged"),
        ["0"]
    );
    let in_head = main.err("SELECT COUNT(*) FROM wisps AS OF 'HEAD'");
    assert_eq!(in_head.code, 1146, "still ignored: {in_head}");
}

/// 6. The polecat closed its bead on the branch while main said that it is hooked to it.
#[test]
fn closed_against_hooked_is_decided_and_told() {
    let servers = Servers::start();
    let close = "UPDATE issues SET status = 'closed', updated_at = '2026-01-03 00:00:00' WHERE id = 'bd-1'";
    // Hooked before it was closed.
    let hook = "UPDATE issues SET status = 'hooked', updated_at = '2026-01-02 00:00:00' WHERE id = 'bd-1'";
    let commit = "CALL DOLT_COMMIT('-am', 'status')";
    servers.both(|client| issues(client, "decided"));
    servers.plain("decided").run("CALL DOLT_BRANCH('polecat-a')");
    for (database, sql) in [("decided", hook), ("decided/polecat-a", close)] {
        let mut client = servers.plain(database);
        client.run(sql);
        client.run(commit);
    }
    let refused = servers.plain("decided").err("CALL DOLT_MERGE('polecat-a')").message;
    assert!(refused.contains("Merge conflict detected"), "the fault: {refused}");
    assert_eq!(servers.plain("decided").row("SELECT status FROM issues"), "hooked", "the fault");

    servers.branch(&["create", "decided", "polecat-a"]);
    let mut polecat = servers.town.on("polecat-a", "decided");
    let mut main = servers.town.client("decided");
    for (client, sql) in [(&mut main, hook), (&mut polecat, close)] {
        client.run(sql);
        client.run(commit);
    }
    servers.branch(&["done", "decided", "polecat-a"]);
    assert_eq!(main.row("SELECT status, updated_at FROM issues"), "closed|2026-01-03 00:00:00.000000");
    let message = main.row("SELECT message FROM dolt_log LIMIT 1");
    for told in ["polecat-a", "issues", "bd-1", "status", "closed", "hooked"] {
        assert!(message.contains(told), "the merge commit doesn't say {told}: {message}");
    }
    let parents = "SELECT COUNT(*) FROM dolt_commit_ancestors WHERE commit_hash = dolt_hashof('HEAD')";
    assert_eq!(main.row(parents), "2");
}

/// 6. The other way round: main's change is newer, and what only the branch changed survives beside it.
#[test]
fn the_newer_status_wins_and_other_columns_survive() {
    let servers = Servers::start();
    let close = "UPDATE issues SET status = 'closed', title = 'renamed', updated_at = '2026-01-02 00:00:00'";
    let hook = "UPDATE issues SET status = 'hooked', updated_at = '2026-01-03 00:00:00'";
    servers.both(|client| issues(client, "newer"));
    servers.plain("newer").run("CALL DOLT_BRANCH('polecat-a')");
    for (database, sql) in [("newer", hook), ("newer/polecat-a", close)] {
        let mut client = servers.plain(database);
        client.run(sql);
        client.run("CALL DOLT_COMMIT('-am', 'status')");
    }
    assert!(servers.plain("newer").query("CALL DOLT_MERGE('polecat-a')").is_err(), "the fault");

    servers.branch(&["create", "newer", "polecat-a"]);
    let mut polecat = servers.town.on("polecat-a", "newer");
    let mut main = servers.town.client("newer");
    polecat.run(close);
    polecat.run("CALL DOLT_COMMIT('-am', 'status')");
    main.run(hook);
    main.run("CALL DOLT_COMMIT('-am', 'status')");
    servers.branch(&["done", "newer", "polecat-a"]);
    let row = "SELECT title, status, updated_at FROM issues";
    assert_eq!(main.row(row), "renamed|hooked|2026-01-03 00:00:00.000000");
}
