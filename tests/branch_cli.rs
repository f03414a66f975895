//! `branchline branch …` as people and scripts run it: the real binary against a served town with real Dolt. What
//! it prints, in which shape, and how it exits.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::town::Town;

/// How a command ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// `branchline ARGUMENTS`, not yet started; nothing of this machine's environment names a worker.
fn command(town: &Town, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.args(arguments).arg("--state-dir").arg(town.branchline.state_dir());
    for name in ["BD_BRANCH", "BD_ACTOR", "GT_POLECAT"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(town: &Town, arguments: &[&str]) -> Ran {
    ended(command(town, arguments).output().expect("branchline runs"))
}

/// stdout of a command that works.
fn ok(town: &Town, arguments: &[&str]) -> String {
    let ran = run(town, arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// stderr of a command that fails with this code.
fn fails(town: &Town, code: i32, arguments: &[&str]) -> String {
    let ran = run(town, arguments);
    assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stderr
}

/// `branch resolve` about a row of `issues` of branch `nux`.
fn resolve<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&["branch", "resolve", "d", "nux", "--table", "issues"], rest].concat()
}

/// Database `d`: `issues` with three rows and an ignored table `wisps` with one.
fn start() -> Town {
    let town = Town::start("");
    let mut client = town.client("");
    for sql in [
        "CREATE DATABASE d",
        "USE d",
        "CREATE TABLE issues (id VARCHAR(32) PRIMARY KEY, title VARCHAR(64), status VARCHAR(20),
             estimated_minutes INT, labels JSON, updated_at DATETIME)",
        "INSERT INTO dolt_ignore VALUES ('wisps', true)",
        "INSERT INTO issues VALUES ('bd-1', 'one', 'open', 30, '[\"a\"]', '2026-01-01'),
             ('bd-2', 'two', 'open', 30, NULL, '2026-01-01'), ('bd-3', 'three', 'open', 30, NULL, '2026-01-01')",
        "CALL DOLT_COMMIT('-Am', 'rows')",
        "CREATE TABLE wisps (id INT PRIMARY KEY, s TEXT)",
        "INSERT INTO wisps VALUES (1, 'main')",
    ] {
        client.run(sql);
    }
    town
}

#[test]
fn create_in_every_form() {
    let town = start();
    assert_eq!(ok(&town, &["branch", "create", "d", "polecat-nux"]), "BD_BRANCH=polecat-nux\n");
    let again = fails(&town, 1, &["branch", "create", "d", "polecat-nux"]);
    assert!(again.contains("polecat-nux") && again.contains("exists"), "{again}");

    let made: Value =
        serde_json::from_str(&ok(&town, &["sling", "d", "--worker", "o'neil", "--json"])).unwrap();
    let branch = made["branch"].as_str().unwrap();
    assert!(branch.starts_with("polecat-o-neil-"), "{made}");
    assert_eq!(made["environment"]["BD_BRANCH"], branch);
    assert_eq!(made["from_branch"], "main");

    // What `eval` makes of it, in a real shell; this name is all that a shell could trip over and Dolt takes.
    let name = "a$HOME;b&c|d(e)!";
    let export = ok(&town, &["sling", "d", name, "--export"]);
    let script = format!("{export}printf %s \"$BD_BRANCH\"");
    let shell = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    assert_eq!(String::from_utf8(shell.stdout).unwrap(), name, "{export}");

    town.client("d").run("UPDATE issues SET title = 'uncommitted' WHERE id = 'bd-1'");
    ok(&town, &["branch", "create", "d", "carried"]);
    let title = "SELECT title FROM issues WHERE id = 'bd-1'";
    assert_eq!(town.on("carried", "d").row(title), "uncommitted");
    let status = "SELECT COUNT(*) FROM dolt_status WHERE table_name = 'issues'";
    assert_eq!(town.client("d").row(status), "1", "main is as it was");
    ok(&town, &["branch", "create", "d", "committed", "--commit-main"]);
    assert_eq!(town.client("d").row(status), "0");
    ok(&town, &["branch", "create", "d", "second", "--from", "carried", "--worker", "nux"]);

    for (code, arguments, want) in [
        (2, &["sling", "d"][..], "GT_POLECAT"),
        (2, &["sling", "d", "x", "--export", "--json"], "together"),
        (1, &["sling", "nope", "x"], "no database nope"),
        (1, &["sling", "d", "x", "--from", "nope"], "nope"),
        (1, &["sling", "d", "HEAD"], "HEAD"),
        (1, &["sling", "d", "main"], "exists"),
        (1, &["sling", "d", "POLECAT-NUX"], "exists"),
        (1, &["sling", "d", "it's"], "quotes"),
        (1, &["sling", "d", "a b"], "spaces"),
        (1, &["sling", "d", "abcdefghijklmnopqrstuv0123456789"], "hash"),
        (1, &["sling", "d", &"x".repeat(300)], "255 bytes"),
    ] {
        let stderr = fails(&town, code, arguments);
        assert!(stderr.contains(want), "{arguments:?}: {stderr}");
    }
}

#[test]
fn list_log_and_diff() {
    let town = start();
    assert_eq!(ok(&town, &["branch", "list", "d", "--json"]).trim(), "[]");
    ok(&town, &["sling", "d", "b", "--worker", "nux"]);
    ok(&town, &["sling", "d", "a"]);
    let mut worker = town.on("b", "d");
    worker.run("UPDATE issues SET status = 'closed' WHERE id = 'bd-2'");
    worker.run("CALL DOLT_COMMIT('-am', 'closed bd-2')");
    worker.run("INSERT INTO wisps VALUES (2, 'nux')");
    worker.run("DELETE FROM issues WHERE id = 'bd-3'");

    let listed = town.command(&["branch", "list", "d", "--sort", "ahead", "--reverse"]);
    let [b, a] = listed.as_array().expect("a list").as_slice() else { panic!("{listed}") };
    let of = |row: &Value| ["branch", "worker", "orphan"].map(|column| row[column].clone());
    assert_eq!(of(b), [Value::from("b"), Value::from("nux"), Value::from("no")]);
    assert_eq!(of(a), [Value::from("a"), Value::Null, Value::from("no")]);
    let numbers = |row: &Value| ["ahead", "behind", "uncommitted", "sessions"].map(|name| row[name].clone());
    assert_eq!(numbers(b), [1, 0, 1, 1].map(Value::from));
    assert_eq!(numbers(a), [0, 0, 0, 0].map(Value::from));
    let text = ok(&town, &["branch", "list", "d"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(fails(&town, 2, &["branch", "list", "--sort", "nope"]).contains("age_s"));
    assert!(fails(&town, 1, &["branch", "list", "nope"]).contains("no database nope"));

    let log = town.command(&["branch", "log", "d", "b"]);
    let kinds: Vec<&str> =
        log.as_array().unwrap().iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, ["uncommitted", "commit", "fork point", "fork"]);
    assert_eq!(log[1]["message"], "closed bd-2");
    let diff = ok(&town, &["branch", "diff", "d", "b"]);
    for line in ["~ id=bd-2  status: open → closed", "- id=bd-3", "+ id=2  s=nux"] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
    assert!(!ok(&town, &["branch", "diff", "d", "b", "--stat"]).contains("bd-2"));
    for verb in ["log", "diff", "conflicts", "done"] {
        assert!(fails(&town, 1, &["branch", verb, "d", "nope"]).contains("no branch nope"), "{verb}");
    }
}

#[test]
fn conflicts_are_shown_decided_and_finished_and_one_that_stops_stops_no_other() {
    let town = start();
    for name in ["nux", "toast", "slit"] {
        ok(&town, &["sling", "d", name]);
    }
    // As a finish leaves it for a moment; nobody's to finish.
    town.client("d").run("CALL DOLT_BRANCH('branchline-scratch')");
    let set = |branch: &str, sql: &str| town.on(branch, "d").run(sql);
    set(
        "nux",
        "UPDATE issues SET estimated_minutes = 10, updated_at = '2026-02-01' WHERE id IN ('bd-1', 'bd-2')",
    );
    set("toast", "UPDATE issues SET title = 'toast' WHERE id = 'bd-3'");
    set(
        "main",
        "UPDATE issues SET estimated_minutes = 90, title = 'one!', updated_at = '2026-02-02' WHERE id = 'bd-1'",
    );
    set("main", "UPDATE issues SET estimated_minutes = 20, updated_at = '2026-02-01' WHERE id = 'bd-2'");
    set("main", "CALL DOLT_COMMIT('-am', 'main')");

    let all = run(&town, &["done", "d", "--all", "--json"]);
    assert_eq!(all.code, Some(1), "{}", all.stderr);
    let rows: Value = serde_json::from_str(&all.stdout).expect("JSON");
    let outcomes: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (&row["branch"], row["error"].is_null())).collect();
    let want = ["nux", "slit", "toast"].map(Value::from);
    assert_eq!(outcomes, [(&want[0], false), (&want[1], true), (&want[2], true)], "{rows}");
    assert!(all.stderr.contains("1 of 3 branches was not finished"), "{}", all.stderr);
    assert_eq!(town.client("d").row("SELECT title FROM issues WHERE id = 'bd-3'"), "toast");

    let refused = fails(&town, 1, &["branch", "done", "d", "nux"]);
    for want in
        ["2 rows", "bd-1", "bd-2", "estimated_minutes", "branch conflicts d nux", "branch resolve d nux"]
    {
        assert!(refused.contains(want), "{want}: {refused}");
    }
    let shown = ok(&town, &["branch", "conflicts", "d", "nux"]);
    assert!(shown.contains("2 conflicts, 2 to be decided"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    let json = town.command(&["branch", "conflicts", "d", "nux", "--table", "issues"]);
    let open: Vec<_> = json.as_array().unwrap().iter().filter(|row| row["undecided"] == "yes").collect();
    assert_eq!(open.len(), 2, "{json}");
    let cells = ["table", "key", "column", "base", "main", "branch"].map(|name| open[0][name].clone());
    assert_eq!(cells, ["issues", "bd-1", "estimated_minutes", "30", "90", "10"].map(Value::from));

    fails(&town, 2, &resolve(&["--key", "bd-1"]));
    fails(&town, 2, &resolve(&["--key", "bd-1", "--ours", "--theirs"]));
    assert!(fails(&town, 1, &resolve(&["--key", "bd-7", "--ours"])).contains("branch conflicts d nux"));
    assert!(fails(&town, 1, &resolve(&["--key", "bd-1", "--set", "nope=1"])).contains("no column nope"));
    ok(&town, &resolve(&["--key", "bd-1", "--set", "estimated_minutes=60"]));
    // As `branch diff` writes keys.
    ok(&town, &resolve(&["--key", "id=bd-2", "--theirs"]));
    assert!(ok(&town, &["branch", "conflicts", "d", "nux"]).contains("the rules decide all of them"));
    let done = town.command(&["branch", "done", "d", "nux"]);
    assert_eq!((&done["outcome"], &done["conflicts"]), (&"merged".into(), &2.into()), "{done}");
    let rows = town.client("d").rows("SELECT estimated_minutes, title FROM issues ORDER BY id");
    let rows: Vec<String> = rows.into_iter().flatten().flatten().collect();
    assert_eq!(rows, ["60", "one!", "10", "two", "30", "toast"]);
    assert_eq!(town.client("d").row("SELECT COUNT(*) FROM dolt_branches"), "2", "the scratch branch stays");

    assert!(ok(&town, &["done", "d", "nux"]).contains("was finished before"));
    assert!(fails(&town, 1, &["done", "d", "main"]).contains("main"));
    fails(&town, 2, &["done", "d"]);
    fails(&town, 2, &["done", "d", "nux", "--all"]);
    assert!(fails(&town, 1, &["done", "nope", "--all"]).contains("no database nope"));
    assert!(ok(&town, &["jobs"]).contains("finish d/nux"));
}

#[test]
fn done_keeps_waits_and_pushes() {
    let town = start();
    ok(&town, &["sling", "d", "x"]);
    let mut worker = town.on("x", "d");
    worker.run("BEGIN");
    worker.run("UPDATE issues SET title = 'x' WHERE id = 'bd-1'");
    let refused = fails(&town, 1, &["branch", "done", "d", "x", "--wait", "0"]);
    assert!(refused.contains("transaction") && refused.contains("--wait"), "{refused}");
    worker.run("COMMIT");
    let kept = town.command(&["branch", "done", "d", "x", "--keep", "--push"]);
    assert_eq!(kept["kept"], "yes", "{kept}");
    assert!(kept["pushed"].as_str().is_some_and(|pushed| pushed.contains("remote")), "no remote: {kept}");
    assert_eq!(town.client("d").row("SELECT title FROM issues WHERE id = 'bd-1'"), "x");
    assert_eq!(worker.row("SELECT ACTIVE_BRANCH()"), "x");
    ok(&town, &["branch", "done", "d", "x"]);
    assert_eq!(worker.row("SELECT ACTIVE_BRANCH()"), "main");
    fails(&town, 1, &["branch", "done", "d", "x", "--wait", "999999"]);
}

#[test]
fn drop_and_undrop() {
    let town = start();
    ok(&town, &["sling", "d", "x"]);
    town.on("x", "d").run("INSERT INTO issues (id, title) VALUES ('bd-9', 'nine')");
    let refused = fails(&town, 1, &["branch", "drop", "d", "x"]);
    assert!(refused.contains("--force") && refused.contains("branch done d x"), "{refused}");
    let dropped = ok(&town, &["nuke", "d", "x", "--force"]);
    assert!(dropped.contains("dropped branch x") && dropped.contains("branch undrop d x"), "{dropped}");
    let again = town.command(&["branch", "drop", "d", "x"]);
    assert_eq!(again["was_there"], "no", "{again}");
    let back = ok(&town, &["branch", "undrop", "d", "x"]);
    assert!(back.contains("branch x of d is back") && back.contains("issues"), "{back}");
    assert_eq!(town.on("x", "d").row("SELECT title FROM issues WHERE id = 'bd-9'"), "nine");
    fails(&town, 1, &["branch", "undrop", "d", "x"]);
    fails(&town, 1, &["branch", "undrop", "d", "never"]);
    fails(&town, 1, &["branch", "drop", "d", "main"]);
    fails(&town, 1, &["branch", "drop", "nope", "x"]);
}

#[test]
fn main_tables() {
    let town = start();
    ok(&town, &["sling", "d", "x"]);
    let added = ok(&town, &["branch", "main-table", "add", "d", "issues"]);
    assert!(added.contains("changed on 2 branches") && added.contains("1105"), "{added}");
    town.on("x", "d").run("INSERT INTO issues (id, title) VALUES ('bd-9', 'at once on main')");
    assert_eq!(town.client("d").row("SELECT COUNT(*) FROM issues WHERE id = 'bd-9'"), "1");
    let listed = town.command(&["branch", "main-table", "list", "d"]);
    assert!(listed.to_string().contains("issues"), "{listed}");
    assert!(fails(&town, 1, &["branch", "main-table", "add", "d", "nope"]).contains("no table nope"));
    ok(&town, &["branch", "main-table", "remove", "d", "issues"]);
    assert_eq!(town.on("x", "d").row("SELECT COUNT(*) FROM issues WHERE id = 'bd-9'"), "0");
    assert!(fails(&town, 1, &["branch", "main-table", "remove", "d", "issues"]).contains("not among"));
}

#[test]
fn many_at_once_make_it_once() {
    let town = start();
    let running: Vec<_> = (0..20)
        .map(|_| command(&town, &["branch", "create", "d", "polecat-x"]).spawn().expect("branchline runs"))
        .collect();
    let ran: Vec<Ran> =
        running.into_iter().map(|child| ended(child.wait_with_output().expect("its end"))).collect();
    let made = ran.iter().filter(|ran| ran.code == Some(0)).count();
    assert_eq!(made, 1, "{:?}", ran.iter().map(|ran| &ran.stderr).collect::<Vec<_>>());
    for other in ran.iter().filter(|ran| ran.code != Some(0)) {
        assert_eq!(other.code, Some(1));
        assert!(other.stderr.contains("exists"), "{}", other.stderr);
    }
    let branches = town.client("d").rows("SELECT name FROM dolt_branches ORDER BY name");
    assert_eq!(branches.len(), 2, "{branches:?}");
}
