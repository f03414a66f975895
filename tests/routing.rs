//! Which branch a connection is on, from login to its end, through a real Branchline with real Dolt.
//!
//! Every branch holds a row that names it, so that a session is asked what it reads, not only where it says it is.

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use branchline::wire::response::ErrInfo;
use support::client::{Client, Login, RESET_CONNECTION};
use support::town::{Town, WHERE, fed};

/// Rules by each condition; tests meet them only by names that nothing else uses.
const CONFIG: &str = r#"
[routing]
user_separator = "+"
env_exclude = ["nobody-has-this-program"]

[[routing.rules]]
account = "acc*"
branch = "by-account"

[[routing.rules]]
database = "db_by_name"
branch = "by-database"

[[routing.rules]]
address = "unix"
database = "rules"
branch = "by-address"

[[routing.rules]]
program = "program-x"
branch = "by-program"

[[routing.rules]]
attributes = { team = "blue*" }
branch = "by-{attribute:team}"

[[routing.rules]]
actor = "*/mayor"
branch = "by-actor"

[[routing.rules]]
polecat = "nux*"
database = "rules"
branch = "by-{polecat}-{database}-{account}"
"#;

/// The town of the tests that run at the same time; the last one that holds it stops it.
fn town() -> Arc<Town> {
    static RUNNING: Mutex<Weak<Town>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(town) = running.upgrade() {
        return town;
    }
    let town = Arc::new(Town::start(CONFIG));
    town.database("hq", &["polecat-x"]);
    town.database("gastown", &["polecat-x", "polecat-y"]);
    town.database("beads", &["polecat-x", "polecat-y"]);
    let mut root = town.direct("");
    for (user, password) in [("agent", "sesame"), ("accountant", "")] {
        root.run(&format!("CREATE USER {user}@'%' IDENTIFIED BY '{password}'"));
        root.run(&format!("GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION"));
    }
    *running = Arc::downgrade(&town);
    town
}

const BD_BRANCH: [(&str, &str); 1] = [("BD_BRANCH", "polecat-x")];

#[test]
fn bd_branch_of_the_clients_environment_decides_in_every_database_but_hq() {
    let town = town();
    let where_now = format!("{WHERE};");
    let script = [
        &where_now,
        "USE hq",
        &where_now,
        "SELECT name FROM here; SELECT name FROM gastown.here; SELECT name FROM beads.here;",
        "USE beads",
        &where_now,
        "SELECT name FROM here; SELECT name FROM gastown.here; SELECT name FROM hq.here;",
        "USE gastown",
        &where_now,
        "SELECT x.name, b.name, h.name FROM here x JOIN beads.here b JOIN hq.here h;",
    ]
    .join("\n");
    let want = [
        "polecat-x|gastown",
        "main|hq",
        "main",
        "polecat-x",
        "polecat-x",
        "polecat-x|beads",
        "polecat-x",
        "polecat-x",
        "main",
        "polecat-x|gastown",
        "polecat-x|polecat-x|main",
    ];
    assert_eq!(town.script(&BD_BRANCH, &["gastown"], &script), want);
    let socket = format!("--socket={}", town.socket().display());
    assert_eq!(town.script(&BD_BRANCH, &[&socket, "gastown"], &script), want, "over the unix socket");
    let without: Vec<String> = want.iter().map(|line| line.replace("polecat-x", "main")).collect();
    assert_eq!(town.script(&[], &["gastown"], &script), without, "without BD_BRANCH");
    assert_eq!(town.script(&[("BD_BRANCH", "")], &["gastown"], &script), without, "with an empty BD_BRANCH");
}

#[test]
fn bd_branch_decides_for_a_session_that_began_without_a_database() {
    let town = town();
    for first in
        ["SELECT name FROM gastown.here", "SHOW TABLES FROM gastown LIKE 'here'", "SELECT DATABASE()"]
    {
        let script =
            format!("{first};\nUSE gastown\n{WHERE};\nUSE hq\n{WHERE};\nSELECT name FROM beads.here;");
        let got = town.script(&BD_BRANCH, &[], &script);
        assert_eq!(got[1..], ["polecat-x|gastown", "main|hq", "polecat-x"], "{first}");
        if first.contains("name") {
            assert_eq!(got[0], "polecat-x");
        }
    }
    let in_hq =
        format!("SELECT name FROM gastown.here;\nINSERT INTO beads.t VALUES (77, 1, 'hq');\n{WHERE};");
    assert_eq!(town.script(&BD_BRANCH, &["hq"], &in_hq), ["polecat-x", "main|hq"]);
    let mut nowhere = town.on("polecat-x", "");
    assert_eq!(nowhere.row("SELECT name FROM gastown.here"), "polecat-x");
    assert_eq!(nowhere.row("SELECT DATABASE()"), "NULL", "setting heads leaves it in no database");
    assert_eq!(nowhere.err("SELECT name FROM here").code, nowhere.err("SHOW TABLES").code);
    let mut direct = town.direct("beads");
    assert_eq!(direct.row("SELECT COUNT(*) FROM t WHERE id = 77"), "0", "main");
    assert_eq!(direct.row("SELECT COUNT(*) FROM `beads/polecat-x`.t WHERE id = 77"), "1");
}

#[test]
fn the_three_connections_of_bd() {
    let town = town();
    // A dial that closes without a byte.
    drop(std::net::TcpStream::connect(town.branchline.addr()).expect("the port is open"));
    // No database: SHOW DATABASES.
    let databases = town.script(&BD_BRANCH, &[], "SHOW DATABASES;");
    assert!(databases.contains(&"gastown".to_owned()), "{databases:?}");
    assert!(!databases.iter().any(|name| name.contains('/')), "no revision shows up: {databases:?}");
    // The database: reads in transactions that are rolled back.
    let reads = format!("START TRANSACTION; {WHERE}; SELECT name FROM here; ROLLBACK;\n").repeat(6);
    let script = format!("SELECT @@max_allowed_packet > 0;\n{reads}");
    let got = town.script(&BD_BRANCH, &["gastown"], &script);
    assert_eq!(got[0], "1");
    assert_eq!(got[1..], ["polecat-x|gastown", "polecat-x"].repeat(6));
}

#[test]
fn fifty_clients_of_fifty_branches_are_never_on_a_wrong_one() {
    const CLIENTS: usize = 50;
    const ROUNDS: usize = 10;
    let town = town();
    let names: Vec<String> = (0..CLIENTS).map(|i| format!("polecat-many-{i}")).collect();
    let branches: Vec<&str> = names.iter().map(String::as_str).collect();
    town.database("many_a", &branches);
    town.database("many_b", &branches);
    let clients: Vec<_> = names
        .iter()
        .cloned()
        .map(|branch| {
            let town = Arc::clone(&town);
            thread::spawn(move || {
                let mut script = String::new();
                let mut want = Vec::new();
                for round in 0..ROUNDS {
                    // Ten statements each: reads, a write in each database, USE there and back, a new connection.
                    let (one, two) = (2 * round, 2 * round + 1);
                    script += &format!(
                        "{WHERE};\nSELECT name FROM here;\nINSERT INTO t VALUES ({one}, 1, '{branch}');\n\
                         USE many_b\n{WHERE};\nSELECT name FROM here;\nSELECT name FROM many_a.here;\n\
                         INSERT INTO t VALUES ({one}, 1, '{branch}');\nBEGIN;\nINSERT INTO many_a.t VALUES ({two}, 1, '{branch}');\n\
                         COMMIT;\nUSE hq\n{WHERE};\nSELECT name FROM many_b.here;\nconnect many_a\n"
                    );
                    want.extend([
                        format!("{branch}|many_a"), branch.clone(), format!("{branch}|many_b"), branch.clone(),
                        branch.clone(), "main|hq".to_owned(), branch.clone(),
                    ]);
                }
                let got = town.script(&[("BD_BRANCH", &branch)], &["--silent", "many_a"], &script);
                assert_eq!(got, want, "{branch}");
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every line from its own branch");
    }
    let mut direct = town.direct("many_a");
    for (database, rows) in [("many_a", 2 * ROUNDS), ("many_b", ROUNDS)] {
        assert_eq!(direct.row(&format!("SELECT COUNT(*) FROM {database}.t")), "0", "main of {database}");
        for branch in &names {
            let sql = format!("SELECT COUNT(*), SUM(s = '{branch}') FROM `{database}/{branch}`.t");
            assert_eq!(direct.row(&sql), format!("{rows}|{rows}"), "{branch} of {database}");
        }
    }
}

#[test]
fn attributes_and_the_user_name_decide_in_their_order() {
    let town = town();
    let root = || Login::root("gastown");
    for (login, want) in [
        (root().attribute("branch", "polecat-x"), "polecat-x|gastown"),
        (root().attribute("bd_branch", "polecat-y"), "polecat-y|gastown"),
        (root().attribute("bd_branch", "polecat-y").attribute("branch", "polecat-x"), "polecat-x|gastown"),
        (root().attribute("branch", ""), "main|gastown"),
        (root().attribute("branch", "POLECAT-X"), "polecat-x|gastown"),
        (root().user("agent+polecat-y", "sesame"), "polecat-y|gastown"),
        (root().user("agent+polecat-y", "sesame").attribute("branch", "polecat-x"), "polecat-x|gastown"),
        (root().user("agent", "sesame"), "main|gastown"),
    ] {
        let mut client = town.login(&login);
        assert_eq!(client.row(WHERE), want, "{login:?}");
        let user = login.user.split('+').next().expect("a first part");
        assert!(client.row("SELECT CURRENT_USER()").starts_with(user), "{login:?}");
        client.use_database("hq").expect("hq may be used");
        assert_eq!(client.row(WHERE), "main|hq", "{login:?}");
    }
    let wrong = Login::root("gastown").user("agent+polecat-y", "wrong");
    let refused = Client::try_connect(town.branchline.addr(), &wrong);
    assert_eq!(refused.err().map(|err| err.code), Some(1045));
}

#[test]
fn rules_of_the_config_file_decide_by_each_of_their_conditions() {
    let town = town();
    let branches =
        ["by-account", "by-address", "by-program", "by-blue1", "by-actor", "by-nux1-rules-root", "polecat-x"];
    town.database("rules", &branches);
    town.database("db_by_name", &["by-database"]);
    let rules = || Login::root("rules");
    assert_eq!(town.login(&rules()).row(WHERE), "main|rules");
    assert_eq!(town.login(&rules().user("accountant", "")).row(WHERE), "by-account|rules");
    assert_eq!(town.client("db_by_name").row(WHERE), "by-database|db_by_name");
    let unix = Client::over_unix;
    assert_eq!(unix(&town.socket(), &rules()).row(WHERE), "by-address|rules");
    let by_attribute = |name: &str, value: &str| town.login(&rules().attribute(name, value)).row(WHERE);
    assert_eq!(by_attribute("program_name", "program-x"), "by-program|rules");
    assert_eq!(by_attribute("team", "blue1"), "by-blue1|rules");
    assert_eq!(by_attribute("team", "red"), "main|rules");
    let script = format!("{WHERE};");
    for (environment, want) in [
        (vec![("BD_ACTOR", "gastown/mayor")], "by-actor|rules"),
        (vec![("BD_ACTOR", "gastown/witness")], "main|rules"),
        (vec![("GT_POLECAT", "nux1")], "by-nux1-rules-root|rules"),
        // A rule comes before BD_BRANCH.
        (vec![("BD_ACTOR", "gastown/mayor"), ("BD_BRANCH", "polecat-x")], "by-actor|rules"),
    ] {
        assert_eq!(town.script(&environment, &["rules"], &script), [want], "{environment:?}");
    }
}

#[test]
fn env_exclude_keeps_a_program_from_speaking_for_others() {
    let program = std::fs::canonicalize("/usr/bin/mariadb").expect("the mariadb CLI");
    let program = program.file_name().and_then(|name| name.to_str()).expect("a name");
    let town = Town::start(&format!("[routing]\nenv_exclude = [\"{program}\"]\n"));
    town.database("gastown", &["polecat-x"]);
    assert_eq!(town.script(&BD_BRANCH, &["gastown"], &format!("{WHERE};")), ["main|gastown"]);
}

#[test]
fn an_assigned_rule_counts_at_once_and_explain_says_what_a_connection_gets() {
    let town = town();
    town.database("assigned", &["by-assignment", "polecat-x"]);
    let explained = |arguments: &[&str]| {
        let mut all = vec!["route", "explain", "--database", "assigned"];
        all.extend(arguments);
        let steps = town.command(&all);
        steps[0]["considered"].as_str().unwrap_or("main").to_owned()
    };
    let team = || Login::root("assigned").attribute("squad", "green");
    assert_eq!(town.login(&team()).row(WHERE), "main|assigned");
    let rule = town.command(&[
        "route",
        "set",
        "by-assignment",
        "--database",
        "assigned",
        "--attribute",
        "squad=gr*",
    ]);
    assert_eq!(town.login(&team()).row(WHERE), "by-assignment|assigned");
    assert_eq!(explained(&["--attribute", "squad=green"]), "by-assignment");
    assert_eq!(town.client("assigned").row(WHERE), "main|assigned");
    assert_eq!(town.login(&team().attribute("branch", "polecat-x")).row(WHERE), "polecat-x|assigned");
    assert_eq!(explained(&["--attribute", "squad=green", "--attribute", "branch=polecat-x"]), "polecat-x");
    let script = format!("{WHERE};");
    assert_eq!(town.script(&BD_BRANCH, &["assigned"], &script), ["polecat-x|assigned"]);
    assert_eq!(explained(&["--bd-branch", "polecat-x"]), "polecat-x");
    let id = rule[0]["id"].to_string();
    town.command(&["route", "unset", id.trim_matches('"')]);
    assert_eq!(town.login(&team()).row(WHERE), "main|assigned");
}

#[test]
fn what_the_client_asks_for_itself_wins_until_it_is_reset() {
    let town = town();
    let mut asked = town.on("polecat-x", "gastown/polecat-y");
    assert_eq!(asked.row(WHERE), "polecat-y|gastown/polecat-y");
    asked.use_database("gastown").expect("used");
    assert_eq!(asked.row("SELECT name FROM here"), asked.row("SELECT ACTIVE_BRANCH()"));
    asked.run("USE `beads/polecat-y`");
    assert_eq!(asked.row(WHERE), "polecat-y|beads/polecat-y");
    assert_eq!(asked.row("SELECT name FROM here"), "polecat-y");

    let mut client = town.on("polecat-x", "gastown");
    client.run("CALL DOLT_CHECKOUT('polecat-y')");
    for moved in ["gastown", "hq", "gastown"] {
        client.use_database(moved).expect("used");
        let want = if moved == "hq" { "main|hq" } else { "polecat-y|gastown" };
        assert_eq!(client.row(WHERE), want);
    }
    assert_eq!(client.row("SELECT name FROM beads.here"), "polecat-x", "other databases keep their route");
    assert_eq!(town.shown(client.id)["branch"], "polecat-y");
    client.command(RESET_CONNECTION, b"").expect("reset");
    assert_eq!(client.row(WHERE), "polecat-x|gastown");
    assert_eq!(client.row("SELECT name FROM here"), "polecat-x");
    assert_eq!(client.row("SELECT name FROM beads.here"), "polecat-x");
    assert_eq!(town.shown(client.id)["branch"], "polecat-x");

    client.run("USE `gastown/polecat-y`");
    client.command(RESET_CONNECTION, b"").expect("reset");
    assert_eq!(client.row(WHERE), "polecat-y|gastown/polecat-y", "as Dolt: db/branch stays");
}

#[test]
fn a_branch_that_is_missing_is_named_with_the_reason() {
    let town = town();
    town.database("lacking", &[]);
    let login = |database: &str| Login::root(database).attribute("branch", "feature-1");
    let named = |err: ErrInfo| {
        assert_eq!((err.code, err.sqlstate.as_str()), (1049, "HY000"), "{err}");
        for word in ["feature-1", "lacking", "connection attribute branch"] {
            assert!(err.message.contains(word), "{word} is not in: {err}");
        }
    };
    let refused = Client::try_connect(town.branchline.addr(), &login("lacking"));
    named(refused.err().expect("a login that is refused"));
    for start in ["", "hq"] {
        let mut client = town.login(&login(start));
        named(client.use_database("lacking").expect_err("COM_INIT_DB"));
        named(client.err("USE lacking"));
        named(client.err("SELECT name FROM lacking.here"));
        named(client.err("INSERT INTO `lacking`.`t` VALUES (1, 1, '')"));
        named(client.prepare("SELECT name FROM lacking.here").expect_err("COM_STMT_PREPARE"));
        assert_eq!(client.row("SELECT 1"), "1", "the session goes on");
        client.use_database("lacking/main").expect("asked for by name");
        assert_eq!(client.row("SELECT name FROM here"), "main");
    }
    assert_eq!(town.direct("lacking").row("SELECT COUNT(*) FROM t"), "0");
}

#[test]
fn sql_in_bd_branch_harms_nothing() {
    let town = town();
    town.database("harm", &[]);
    let mut root = town.direct("harm");
    root.run("CREATE TABLE issues (id INT PRIMARY KEY)");
    root.run("CALL DOLT_COMMIT('-Am', 'issues')");
    root.run("INSERT INTO issues VALUES (1), (2)");
    let hash = "SELECT dolt_hashof_db()";
    let before = root.row(hash);
    for name in [
        "x'; DROP TABLE t; --",
        "x`; DROP TABLE t; --",
        "polecat-'",
        "polecat-`; DROP DATABASE harm",
        "polecat-\"",
        "polecat-\\",
        "polecat-ä' OR 1",
        "issues",
        "--force",
        "-b",
        "HEAD",
        ".",
        "main; DROP TABLE t",
    ] {
        let script = format!("USE harm\n{WHERE};\nINSERT INTO issues VALUES (3);");
        let output = fed(town.mariadb(&[("BD_BRANCH", name)], &[]), &script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("ERROR 1049"), "{name}: {said}{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(root.row(hash), before, "{name}");
    }
    // Dolt takes this one for a name.
    let script = format!("INSERT INTO issues VALUES (3);\n{WHERE};");
    let odd = [("BD_BRANCH", "polecat-x;y")];
    assert_eq!(town.script(&odd, &["harm"], &script), ["polecat-x;y|harm"]);
    assert_eq!(root.row(hash), before);
    root.run("CALL DOLT_BRANCH('-D', 'polecat-x;y')");
    assert_eq!(root.row("SELECT COUNT(*) FROM issues"), "2");
    let branches: BTreeSet<String> =
        root.rows("SELECT name FROM dolt_branches").concat().into_iter().flatten().collect();
    assert_eq!(branches, BTreeSet::from(["main".to_owned()]));
    // One that is called as a table with uncommitted rows: on it, and back.
    root.run("CALL DOLT_BRANCH('issues')");
    let script = format!("{WHERE};\nSELECT COUNT(*) FROM issues;");
    assert_eq!(town.script(&[("BD_BRANCH", "issues")], &["harm"], &script), ["issues|harm", "0"]);
    assert_eq!(root.row("SELECT COUNT(*) FROM issues"), "2", "main's uncommitted rows");
}

#[test]
fn clients_are_shown_with_account_program_process_branch_and_reason() {
    let town = town();
    let mut client =
        town.login(&Login::root("gastown").user("agent", "sesame").attribute("branch", "polecat-x"));
    assert_eq!(client.row("SELECT 1"), "1");
    let row = town.shown(client.id);
    assert_eq!(row["account"], "agent@%", "{row}");
    assert_eq!(row["database"], "gastown", "{row}");
    assert_eq!(row["branch"], "polecat-x", "{row}");
    assert_eq!(row["reason"], "connection attribute branch", "{row}");
    assert!(row["address"].as_str().is_some_and(|text| text.starts_with("127.0.0.1:")), "{row}");

    let mut cli = town.mariadb(&BD_BRANCH, &["gastown"]);
    cli.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut child = cli.spawn().expect("mariadb runs");
    let pid = child.id();
    let mut row = serde_json::Value::Null;
    support::town::until("the CLI is among the clients, on its branch", || {
        let clients = town.command(&["clients"]);
        let found = clients.as_array().and_then(|rows| rows.iter().find(|row| row["pid"] == pid)).cloned();
        row = found.unwrap_or_default();
        row["branch"] == "polecat-x"
    });
    assert!(row["program"].as_str().is_some_and(|name| name.starts_with("mariadb")), "{row}");
    let reason = row["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("BD_BRANCH") && reason.contains(&pid.to_string()), "{row}");
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
}

#[test]
fn a_database_made_after_the_session_began_is_not_written_to_on_main() {
    let town = town();
    let mut client = town.on("feature-9", "hq");
    let mut pending = town.on("polecat-late", "hq");
    assert_eq!(client.row(WHERE), pending.row(WHERE));
    // Both have decided about every database that there was.
    for session in [&mut client, &mut pending] {
        session.run("INSERT INTO hq.t VALUES (CONNECTION_ID(), 1, '')");
    }
    town.database("late", &[]);
    assert_eq!(client.err("INSERT INTO late.t VALUES (1, 1, 'feature-9')").code, 1049);
    pending.run("INSERT INTO late.t VALUES (2, 1, 'polecat-late')");
    let mut direct = town.direct("late");
    assert_eq!(direct.row("SELECT COUNT(*) FROM t"), "0", "main");
    assert_eq!(direct.row("SELECT COUNT(*) FROM `late/polecat-late`.t"), "1");
}
