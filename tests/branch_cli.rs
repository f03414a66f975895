//! `branchline branch …` as people and scripts use it: the real binary, the real Dolt; what it prints, how it exits,
//! and what is there afterwards.

mod support;

use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use serde_json::Value as Json;
use support::client::{Client, Login};
use support::polecat::{self, Said};
use support::town::Town;

/// A town with database `rig`: issues that are Dolt-committed, a note that isn't, and an ignored table.
struct Rig(Town);

impl Rig {
    fn start() -> Self {
        let rig = Self(Town::start(""));
        let mut main = rig.0.client("");
        for sql in [
            "CREATE DATABASE rig",
            "USE rig",
            "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title VARCHAR(80), status VARCHAR(20), estimated_minutes INT, \
             updated_at DATETIME)",
            "CREATE TABLE notes (id INT PRIMARY KEY, note VARCHAR(40))",
            "CREATE TABLE wisps (id INT PRIMARY KEY, note VARCHAR(40))",
            "INSERT INTO dolt_ignore VALUES ('wisps', true)",
            "INSERT INTO issues VALUES ('bd-1', 'one', 'open', 5, '2026-01-01'), ('bd-2', 'two', 'open', 5, '2026-01-01')",
            "CALL DOLT_COMMIT('-Am', 'start')",
            "INSERT INTO notes VALUES (1, 'of main')",
            "INSERT INTO wisps VALUES (1, 'of main')",
        ] {
            main.run(sql);
        }
        rig
    }

    fn branch(&self, arguments: &[&str]) -> Said {
        polecat::branch(self.0.branchline.state_dir(), arguments)
    }

    /// It succeeds; what it printed.
    fn done(&self, arguments: &[&str]) -> String {
        polecat::done(self.0.branchline.state_dir(), arguments)
    }

    fn json(&self, arguments: &[&str]) -> Json {
        let text = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Exit code 1, and all of these texts.
    fn refused(&self, arguments: &[&str], texts: &[&str]) {
        let said = self.branch(arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {}", said.text);
        for text in texts {
            assert!(said.text.contains(text), "{arguments:?} doesn't say {text:?}: {}", said.text);
        }
    }

    fn main(&self) -> Client {
        self.0.client("rig")
    }

    fn on(&self, branch: &str) -> Client {
        self.0.on(branch, "rig")
    }

    /// Head of main, what is uncommitted there, all branches and tags.
    fn state(&self) -> Vec<String> {
        let mut main = self.main();
        let mut state = vec![main.row("SELECT CONCAT(dolt_hashof('main'), dolt_hashof_db())")];
        for (table, column) in [("dolt_branches", "name"), ("dolt_tags", "tag_name")] {
            let sql = format!("SELECT CONCAT({column}) FROM {table} ORDER BY {column}");
            state.extend(main.rows(&sql).into_iter().flatten().flatten());
        }
        state
    }
}

fn text<'a>(object: &'a Json, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_else(|| panic!("no text {field} in {object}"))
}

#[test]
fn a_day_of_a_polecat() {
    let rig = Rig::start();
    let made = rig.done(&["create", "rig", "polecat-nux", "--worker", "nux"]);
    assert!(made.contains("made branch polecat-nux of rig from main at "), "{made}");
    assert!(made.lines().any(|line| line == "BD_BRANCH=polecat-nux"), "{made}");
    let mut nux = rig.on("polecat-nux");
    assert_eq!(nux.row("SELECT note FROM notes"), "of main", "main's uncommitted row came along");
    nux.run("UPDATE issues SET status = 'closed', updated_at = '2026-01-02' WHERE id = 'bd-1'");
    nux.run("CALL DOLT_COMMIT('-Am', 'closed the first')");
    nux.run("INSERT INTO issues VALUES ('bd-3', 'uncommitted', 'open', 1, '2026-01-02')");
    nux.run("INSERT INTO wisps VALUES (2, 'of nux')");

    let list = rig.json(&["list"]);
    let [branch] = list.as_array().expect("a list").as_slice() else { panic!("one branch: {list}") };
    assert_eq!(
        (text(branch, "branch"), text(branch, "worker"), text(branch, "orphan")),
        ("polecat-nux", "nux", "no")
    );
    assert_eq!((&branch["ahead"], &branch["behind"]), (&1.into(), &0.into()), "{branch}");
    assert_eq!(branch["sessions"], 1, "{branch}");
    let log = rig.done(&["log", "rig", "polecat-nux"]);
    for told in ["uncommitted", "closed the first", "start", "for nux"] {
        assert!(log.contains(told), "no {told:?} in {log}");
    }
    let diff = rig.done(&["diff", "rig", "polecat-nux"]);
    for told in ["~ id=bd-1  status: open → closed", "+ id=bd-3", "+ id=2  note=of nux", "ignored by Dolt"]
    {
        assert!(diff.contains(told), "no {told:?} in {diff}");
    }

    let done = rig.done(&["done", "rig", "polecat-nux"]);
    for told in
        ["polecat-nux: merged into main as ", "1 row of ignored tables carried home", "Tables: issues"]
    {
        assert!(done.contains(told), "no {told:?} in {done}");
    }
    let mut main = rig.main();
    assert_eq!(
        main.row("SELECT GROUP_CONCAT(CONCAT(id, status) ORDER BY id) FROM issues"),
        "bd-1closed,bd-2open,bd-3open"
    );
    assert_eq!(main.row("SELECT GROUP_CONCAT(note ORDER BY id) FROM wisps"), "of main,of nux");
    assert_eq!(main.row("SELECT COUNT(*) FROM dolt_branches"), "1");
    assert_eq!(main.row("SELECT COUNT(*) FROM dolt_tags"), "0");
    assert_eq!(nux.row("SELECT active_branch()"), "main", "a session that is still there goes on, on main");
    assert!(rig.done(&["done", "rig", "polecat-nux"]).contains("polecat-nux: was finished before"));
    assert_eq!(rig.json(&["list"]), Json::Array(Vec::new()));
    assert_eq!(rig.done(&["list"]), "no branches but main\n");
}

#[test]
fn a_shell_takes_the_environment_as_it_is_printed() {
    let rig = Rig::start();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("BL", env!("CARGO_BIN_EXE_branchline")).env_remove("BD_ACTOR");
        command.env("STATE", rig.0.branchline.state_dir()).env("GT_POLECAT", "it's nux").stdin(Stdio::null());
        let output = command.output().expect("sh runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    };
    let name = shell("eval \"$($BL sling rig --export --state-dir $STATE)\"; sh -c 'echo \"$BD_BRANCH\"'");
    let seconds = name.strip_prefix("polecat-it-s-nux-").unwrap_or_else(|| panic!("{name}"));
    assert!(seconds.parse::<u64>().expect("a time") > 1_700_000_000, "{name}");
    assert_eq!(rig.on(&name).row("SELECT active_branch()"), name);
    let made = rig.json(&["create", "rig", "polecat-json", "--from", &name, "--worker", "w"]);
    assert_eq!((text(&made, "branch"), text(&made, "from_branch")), ("polecat-json", &name[..]));
    assert_eq!(text(&made["environment"], "BD_BRANCH"), "polecat-json");
    let usage = rig.branch(&["create", "rig"]);
    assert_eq!(usage.code, Some(2), "{}", usage.text);
    assert!(usage.text.contains("GT_POLECAT"), "{}", usage.text);
}

#[test]
fn main_is_committed_first_if_that_is_asked_for() {
    let rig = Rig::start();
    let mut main = rig.main();
    let before = main.row("SELECT dolt_hashof('main')");
    let made = rig.json(&["create", "rig", "polecat-a", "--commit-main"]);
    assert_eq!(text(&made, "committed"), main.row("SELECT dolt_hashof('main')"));
    assert_ne!(before, main.row("SELECT dolt_hashof('main')"));
    assert_eq!(main.row("SELECT COUNT(*) FROM dolt_status"), "0");
    assert_eq!(rig.on("polecat-a").row("SELECT note FROM notes AS OF 'HEAD'"), "of main");
}

#[test]
fn a_conflict_for_people_is_shown_decided_and_done() {
    let rig = Rig::start();
    rig.done(&["create", "rig", "polecat-a"]);
    let (mut main, mut polecat) = (rig.main(), rig.on("polecat-a"));
    for (client, minutes, status) in [(&mut main, 10, "hooked"), (&mut polecat, 20, "closed")] {
        client.run(&format!(
            "UPDATE issues SET estimated_minutes = {minutes}, status = '{status}', updated_at = '2026-01-02' WHERE id = 'bd-1'"
        ));
        client.run("CALL DOLT_COMMIT('-am', 'estimated', '--skip-empty')");
    }
    let before = rig.state();
    let wanted = ["issues", "bd-1", "estimated_minutes", "branchline branch conflicts"];
    rig.refused(&["done", "rig", "polecat-a"], &wanted);
    assert_eq!(rig.state(), before, "a refusal leaves all as it was");

    let shown = rig.json(&["conflicts", "rig", "polecat-a"]);
    let minutes = shown.as_array().expect("a list").iter().find(|cell| cell["column"] == "estimated_minutes");
    let minutes = minutes.unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(
        ["base", "main", "branch", "undecided"].map(|field| text(minutes, field)),
        ["5", "10", "20", "yes"]
    );
    assert!(minutes["result"].is_null(), "{minutes}");

    fn resolve<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["resolve", "rig", "polecat-a", "--table", "issues"][..], more].concat()
    }
    rig.refused(&resolve(&["--key", "bd-2", "--ours"]), &["no such conflict"]);
    rig.refused(
        &resolve(&["--key", "bd-1", "--set", "minutes=1"]),
        &["no column minutes", "estimated_minutes"],
    );
    rig.refused(&resolve(&["--key", "bd-1", "--set", "id=bd-7"]), &["primary key"]);
    assert_eq!(rig.branch(&resolve(&["--key", "bd-1"])).code, Some(2), "nothing was decided");
    rig.done(&resolve(&["--key", "bd-1", "--theirs"]));

    // It was about the values as they were.
    main.run("UPDATE issues SET estimated_minutes = 11 WHERE id = 'bd-1'");
    main.run("CALL DOLT_COMMIT('-am', 'estimated again')");
    rig.refused(&["done", "rig", "polecat-a"], &["bd-1", "estimated_minutes"]);
    rig.done(&resolve(&["--key", "id=bd-1", "--set", "estimated_minutes=15"]));
    let done = rig.done(&["done", "rig", "polecat-a"]);
    assert!(done.contains("estimated_minutes: '11' | '20' -> '15', decided by hand"), "{done}");
    assert_eq!(
        main.row("SELECT CONCAT(estimated_minutes, ' ', title) FROM issues WHERE id = 'bd-1'"),
        "15 one"
    );
    let message = main.row("SELECT message FROM dolt_log LIMIT 1");
    assert!(message.contains("'11' | '20' -> '15'"), "{message}");
    let audit = std::fs::read_to_string(rig.0.branchline.state_dir().join("audit.log")).expect("it is there");
    assert!(
        audit.lines().any(|line| line.contains("decided by hand") && line.contains("\"result\":\"15\"")),
        "{audit}"
    );
}

#[test]
fn all_are_done_but_the_one_that_stops() {
    let rig = Rig::start();
    for name in ["polecat-a", "polecat-b", "polecat-c", "other"] {
        rig.done(&["create", "rig", name]);
        let mut client = rig.on(name);
        client.run(&format!("INSERT INTO issues VALUES ('{name}', 'new', 'open', 1, NOW())"));
        if name == "polecat-b" {
            client.run("UPDATE issues SET estimated_minutes = 20 WHERE id = 'bd-1'");
        }
        client.run("CALL DOLT_COMMIT('-Am', 'work')");
    }
    let mut main = rig.main();
    main.run("UPDATE issues SET estimated_minutes = 10 WHERE id = 'bd-1'");
    main.run("CALL DOLT_COMMIT('-am', 'estimated')");
    rig.refused(
        &["done", "rig", "--all", "--pattern", "polecat-*"],
        &[
            "polecat-a: merged into main",
            "polecat-b: not finished: ",
            "polecat-c: merged into main",
            "2 branches done, 1 failed",
        ],
    );
    assert_eq!(
        main.row("SELECT GROUP_CONCAT(name ORDER BY name) FROM dolt_branches"),
        "main,other,polecat-b"
    );
    assert_eq!(main.row("SELECT GROUP_CONCAT(id ORDER BY id) FROM issues"), "bd-1,bd-2,polecat-a,polecat-c");
    rig.done(&["resolve", "rig", "polecat-b", "--table", "issues", "--key", "bd-1", "--ours"]);
    let all = rig.json(&["done", "rig", "--all"]);
    let mut outcomes: Vec<_> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (text(one, "branch"), text(one, "outcome")))
        .collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [("other", "merged"), ("polecat-b", "merged")]);
    assert_eq!(main.row("SELECT estimated_minutes FROM issues WHERE id = 'bd-1'"), "10");
}

#[test]
fn what_cannot_be_is_told_and_changes_nothing() {
    let rig = Rig::start();
    rig.done(&["create", "rig", "Polecat-A"]);
    rig.main().run("CREATE DATABASE hq");
    let before = rig.state();
    let long = "x".repeat(300);
    for (arguments, texts) in [
        (&["create", "rig", "polecat-a"][..], &["exists"][..]),
        (&["create", "rig", "it's"], &["quotes"]),
        (&["create", "rig", "HEAD"], &["HEAD"]),
        (&["create", "rig", "a..b"], &["cannot fork"]),
        (&["create", "rig", &long], &["cannot fork"]),
        (&["create", "rig", "0123456789abcdefghijklmnopqrstuv"], &["cannot fork"]),
        (&["create", "rig", ""], &["is empty"]),
        (&["create", "rig", "main"], &["exists"]),
        (&["create", "nosuch", "polecat-b"], &["no database nosuch"]),
        (&["create", "rig", "polecat-b", "--from", "nosuch"], &["no such branch", "nosuch"]),
        (&["create", "hq", "polecat-b"], &["main_only"]),
        (&["done", "rig", "nosuch"], &["no branch nosuch"]),
        (&["done", "nosuch", "polecat-a"], &["no database nosuch"]),
        (&["done", "rig", "main"], &["main is the branch"]),
        (&["done", "rig", "it's"], &["no branch"]),
        (&["drop", "rig", "main", "--force"], &["main"]),
        (&["drop", "nosuch", "x"], &["no database nosuch"]),
        (&["undrop", "rig", "nosuch"], &["nosuch"]),
        (&["conflicts", "rig", "nosuch"], &["no branch nosuch"]),
        (&["log", "rig", "nosuch"], &["no branch nosuch"]),
        (&["diff", "rig", "it's"], &["no branch"]),
        (&["main-table", "add", "rig", "nosuch"], &["no table nosuch"]),
        (&["reap", "nosuch"], &["nosuch"]),
    ] {
        rig.refused(arguments, texts);
        assert_eq!(rig.state(), before, "{arguments:?}");
    }
    for arguments in [&["create"][..], &["done", "rig"], &["done", "rig", "x", "--all"], &["drop", "rig"]] {
        assert_eq!(rig.branch(arguments).code, Some(2), "{arguments:?}");
    }
    // Names with signs that only shells and SQL care about.
    for name in ["feature/a", "a;b", "$(x)", "a%b_c"] {
        let said = rig.branch(&["create", "rig", name]);
        if said.code == Some(0) {
            rig.on(name).run("INSERT INTO notes VALUES (7, 'named')");
            rig.done(&["done", "rig", name]);
            assert_eq!(rig.main().row("SELECT COUNT(*) FROM notes WHERE id = 7"), "1", "{name}");
            rig.main().run("DELETE FROM notes WHERE id = 7");
            rig.main().run("CALL DOLT_COMMIT('-am', 'again')");
        } else {
            assert!(said.text.contains("cannot fork"), "{name}: {}", said.text);
        }
    }
}

#[test]
fn of_twenty_at_once_one_does_it() {
    let rig = Rig::start();
    let at_once = |arguments: &[&str]| -> Vec<Said> {
        let barrier = Barrier::new(20);
        thread::scope(|scope| {
            let run = || {
                barrier.wait();
                rig.branch(arguments)
            };
            let all: Vec<_> = (0..20).map(|_| scope.spawn(run)).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).collect()
        })
    };
    let made = at_once(&["create", "rig", "polecat-a"]);
    let (ours, others): (Vec<_>, Vec<_>) = made.iter().partition(|said| said.code == Some(0));
    assert_eq!(ours.len(), 1, "{made:?}");
    assert!(others.iter().all(|said| said.code == Some(1) && said.text.contains("exists")), "{others:?}");
    let mut polecat = rig.on("polecat-a");
    polecat.run("INSERT INTO issues VALUES ('bd-9', 'once', 'open', 1, NOW())");
    polecat.run("CALL DOLT_COMMIT('-Am', 'once')");
    let done = at_once(&["done", "rig", "polecat-a"]);
    let merged = done.iter().filter(|said| said.text.contains("merged into main as")).count();
    assert_eq!(merged, 1, "{done:?}");
    for said in &done {
        let is_told = match said.code {
            Some(0) => said.text.contains("merged into main") || said.text.contains("was finished before"),
            _ => said.code == Some(1) && said.text.contains("is being finished or dropped already"),
        };
        assert!(is_told, "{said:?}");
    }
    let mut main = rig.main();
    assert_eq!(main.row("SELECT COUNT(*) FROM dolt_log WHERE message LIKE 'merge polecat-a%'"), "1");
    assert_eq!(main.row("SELECT COUNT(*) FROM issues WHERE id = 'bd-9'"), "1");
}

#[test]
fn a_branch_in_use_is_waited_for_and_then_left_alone() {
    let rig = Rig::start();
    rig.done(&["create", "rig", "polecat-a"]);
    let mut polecat = rig.on("polecat-a");
    polecat.run("BEGIN");
    polecat.run("INSERT INTO issues VALUES ('bd-9', 'open', 'open', 1, NOW())");
    let before = rig.state();
    rig.refused(&["done", "rig", "polecat-a", "--wait", "1"], &["in use", "root", "transaction", "--wait"]);
    assert_eq!(rig.state(), before);
    thread::scope(|scope| {
        let done = scope.spawn(|| rig.done(&["done", "rig", "polecat-a", "--wait", "30"]));
        polecat.run("INSERT INTO issues VALUES ('bd-10', 'goes on', 'open', 1, NOW())");
        polecat.run("COMMIT");
        assert!(done.join().expect("no panic").contains("merged into main"));
    });
    assert_eq!(rig.main().row("SELECT COUNT(*) FROM issues"), "4");
    assert_eq!(polecat.row("SELECT active_branch()"), "main");
}

#[test]
fn a_drop_can_be_taken_back() {
    let rig = Rig::start();
    rig.done(&["create", "rig", "polecat-a", "--worker", "a"]);
    let mut polecat = rig.on("polecat-a");
    polecat.run("INSERT INTO issues VALUES ('bd-9', 'committed', 'open', 1, NOW())");
    polecat.run("CALL DOLT_COMMIT('-Am', 'work')");
    polecat.run("INSERT INTO issues VALUES ('bd-10', 'uncommitted', 'open', 1, NOW())");
    polecat.run("INSERT INTO wisps VALUES (9, 'ignored')");
    let state = "SELECT CONCAT(dolt_hashof('HEAD'), dolt_hashof_db())";
    let before = polecat.row(state);
    rig.refused(&["drop", "rig", "polecat-a"], &["commits: 1", "branch done", "--force"]);
    assert_eq!(polecat.row(state), before);
    let dropped = rig.json(&["drop", "rig", "polecat-a", "--force"]);
    assert!(text(&dropped, "tag").starts_with("branchline-dropped/polecat-a/"), "{dropped}");
    assert_eq!(polecat.row("SELECT CONCAT(active_branch(), COUNT(*)) FROM issues"), "main2");
    assert!(rig.done(&["drop", "rig", "polecat-a", "--force"]).contains("nothing to do"), "twice is once");
    assert!(rig.branch(&["done", "rig", "polecat-a"]).text.contains("branch undrop rig polecat-a"));
    rig.done(&["undrop", "rig", "polecat-a"]);
    let mut back = rig.on("polecat-a");
    assert_eq!(back.row(state), before, "with all that was on it");
    rig.refused(&["undrop", "rig", "polecat-a"], &["polecat-a"]);
    rig.done(&["done", "rig", "polecat-a"]);
    let mut main = rig.main();
    assert_eq!(main.row("SELECT GROUP_CONCAT(id ORDER BY id) FROM issues"), "bd-1,bd-10,bd-2,bd-9");
    assert_eq!(main.row("SELECT COUNT(*) FROM wisps"), "2");
}

#[test]
fn tables_that_main_dropped_or_altered_meanwhile() {
    let rig = Rig::start();
    for name in ["dropped", "altered"] {
        rig.done(&["create", "rig", name]);
        let mut polecat = rig.on(name);
        polecat.run(&format!("INSERT INTO issues VALUES ('{name}', 'of {name}', 'open', 1, NOW())"));
        polecat.run("CALL DOLT_COMMIT('-Am', 'work')");
    }
    let mut main = rig.main();
    main.run("ALTER TABLE issues ADD COLUMN priority INT DEFAULT 2");
    main.run("CALL DOLT_COMMIT('-Am', 'priorities')");
    rig.done(&["done", "rig", "altered"]);
    assert_eq!(main.row("SELECT CONCAT(title, priority) FROM issues WHERE id = 'altered'"), "of altered2");
    main.run("DROP TABLE issues");
    main.run("CALL DOLT_COMMIT('-Am', 'no issues')");
    let before = rig.state();
    rig.refused(&["done", "rig", "dropped"], &["issues", "dropped"]);
    assert_eq!(rig.state(), before);
    assert_eq!(rig.on("dropped").row("SELECT title FROM issues WHERE id = 'dropped'"), "of dropped");
    main.run("DROP DATABASE rig");
    rig.refused(&["done", "rig", "dropped"], &["no database rig"]);
}

#[test]
fn tables_that_are_always_mains() {
    let rig = Rig::start();
    rig.done(&["create", "rig", "polecat-a"]);
    let added = rig.done(&["main-table", "add", "rig", "notes"]);
    assert!(added.contains("1105"), "its limits are told: {added}");
    let list = rig.json(&["main-table", "list", "rig"]);
    assert_eq!(text(&list[0], "table"), "notes", "{list}");
    rig.on("polecat-a").run("INSERT INTO notes VALUES (2, 'of the polecat')");
    assert_eq!(rig.main().row("SELECT COUNT(*) FROM notes"), "2");
    let mut both = rig.on("polecat-a");
    both.run("BEGIN");
    both.run("INSERT INTO notes VALUES (3, 'both')");
    both.run("UPDATE issues SET title = 'both'");
    assert_eq!(both.err("COMMIT").code, 1105, "as it was told");
    rig.done(&["main-table", "remove", "rig", "notes"]);
    assert_eq!(rig.json(&["main-table", "list", "rig"]), Json::Array(Vec::new()));
    let login = Login::root("rig").attribute("branch", "polecat-a");
    assert_eq!(rig.0.login(&login).row("SELECT COUNT(*) FROM notes"), "1", "its own again");
}

#[test]
fn a_branch_is_kept_and_main_is_pushed() {
    let rig = Rig::start();
    rig.done(&["create", "rig", "polecat-a"]);
    let mut polecat = rig.on("polecat-a");
    polecat.run("UPDATE issues SET title = 'of the polecat' WHERE id = 'bd-1'");
    let kept = rig.json(&["done", "rig", "polecat-a", "--keep", "--push"]);
    assert_eq!(text(&kept, "kept"), "yes");
    assert!(text(&kept, "pushed").contains("no remote"), "{kept}");
    assert_eq!(polecat.row("SELECT active_branch()"), "polecat-a");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(directory.path()).env("HOME", directory.path());
        for (name, value) in [("NAME", "t"), ("EMAIL", "t@example.invalid")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    git(&["init", "-q", "-b", "main", "work"]);
    git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "start"]);
    git(&["clone", "-q", "--bare", "work", "origin.git"]);
    let mut main = rig.main();
    main.run(&format!(
        "CALL DOLT_REMOTE('add', 'origin', 'git+file://{}/origin.git')",
        directory.path().display()
    ));
    polecat.run("UPDATE issues SET title = 'again' WHERE id = 'bd-2'");
    let pushed = rig.json(&["done", "rig", "polecat-a", "--push"]);
    assert!(text(&pushed, "pushed").starts_with("yes"), "{pushed}");
    assert!(git(&["-C", "origin.git", "for-each-ref"]).contains("refs/dolt/data"));
    main.run("CALL DOLT_FETCH('origin')");
    assert_eq!(main.row("SELECT dolt_hashof('main') = dolt_hashof('origin/main')"), "1");
}
