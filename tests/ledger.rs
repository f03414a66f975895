//! The public ledger: what gets into it, what never does, and what becomes of it when things change. Real Dolt, real git.

mod support;

use std::process::{Command, Stdio};

use branchline::config::LedgerConfig;
use branchline::remote::ledger::state::Noted;
use branchline::remote::ledger::{How, Rule};
use support::ledger::{INSERT, Town};
use support::polecat::Said;
use support::public::{PublicRemote, history_by_dolt};
use support::town;

#[test]
fn no_open_text_and_no_excluded_column_is_in_a_clone_byte_by_byte() {
    let town = Town::start();
    town.commit(&[
        &format!(
            "{INSERT} ('a-1', 'PUBLIC-CLOSED-FIRST', 'closed', 'SECRET-NOTES-OF-CLOSED', 'PRICE-77001122')"
        ),
        &format!("{INSERT} ('a-2', 'SECRET-OPEN-ALWAYS', 'open', 'SECRET-NOTES-OF-OPEN', 1)"),
        &format!("{INSERT} ('a-3', 'SECRET-OPEN-THEN-EDITED', 'open', NULL, 1)"),
        &format!("{INSERT} ('a-4', 'PUBLIC-REOPENED-LATER', 'closed', NULL, 1)"),
        &format!("{INSERT} ('a-5', 'PUBLIC-BEFORE-AN-EDIT', 'closed', NULL, 1)"),
        &format!("{INSERT} ('a-6', 'PUBLIC-DELETED-LATER', 'closed', NULL, 1)"),
        &format!("{INSERT} ('a-7', 'SECRET-DELETED-WHILE-OPEN', 'open', NULL, 1)"),
        &format!("{INSERT} ('a-8', 'SECRET-ITS-OWN-STATE', 'STATE-THAT-IS-SECRET', NULL, 1)"),
    ]);
    // Uncommitted, and rolled back, while it is published.
    let mut main = town.direct();
    main.run(&format!("{INSERT} ('u-1', 'SECRET-UNCOMMITTED', 'closed', NULL, 1)"));
    main.run("START TRANSACTION");
    main.run(&format!("{INSERT} ('u-2', 'SECRET-ROLLED-BACK', 'closed', NULL, 1)"));
    let first = town.publish();
    main.run("ROLLBACK");
    main.run("DELETE FROM issues WHERE id = 'u-1'");
    assert_eq!((first.rows.as_slice(), first.pushed), (&[("issues".to_owned(), 4)][..], 2));

    // Between two publishings, one is closed and reopened, and one passes through an open text.
    town.commit(&[
        "UPDATE issues SET status = 'closed', title = 'SECRET-CLOSED-AND-REOPENED' WHERE id = 'a-2'",
    ]);
    town.commit(&["UPDATE issues SET status = 'open', title = 'SECRET-OPEN-ALWAYS' WHERE id = 'a-2'"]);
    town.commit(&["UPDATE issues SET title = 'SECRET-STILL-OPEN' WHERE id = 'a-3'"]);
    town.commit(&[
        "UPDATE issues SET title = 'PUBLIC-NOW-CLOSED', status = 'closed', remarks = 'SECRET-NOTES-LATER' WHERE id = 'a-3'",
        "UPDATE issues SET title = 'SECRET-AFTER-REOPENING', status = 'open' WHERE id = 'a-4'",
        "UPDATE issues SET title = 'PUBLIC-AFTER-AN-EDIT' WHERE id = 'a-5'",
        "DELETE FROM issues WHERE id IN ('a-6', 'a-7')",
    ]);
    town.publish();
    town.commit(&["UPDATE issues SET title = 'PUBLIC-CLOSED-AGAIN', status = 'closed' WHERE id = 'a-4'"]);
    town.publish();
    // After a garbage collection Dolt's files are compressed in another way.
    town.ledger().run("CALL DOLT_GC()");
    town.commit(&[&format!("{INSERT} ('a-9', 'PUBLIC-AFTER-GC', 'closed', 'SECRET-NOTES-AFTER-GC', 1)")]);
    town.publish();
    assert_eq!(
        town.rows(),
        "a-1=PUBLIC-CLOSED-FIRST,a-3=PUBLIC-NOW-CLOSED,a-4=PUBLIC-CLOSED-AGAIN,a-5=PUBLIC-AFTER-AN-EDIT,\
         a-6=PUBLIC-DELETED-LATER,a-9=PUBLIC-AFTER-GC"
    );

    let secrets = [
        "SECRET",
        "remarks",
        "price_of",
        "77001122",
        "DEFAULT-OF",
        "COMMENT-OF",
        "CHECKED-TEXT",
        "TEXT-OF-ANOTHER",
        "private",
        "COMMIT-MESSAGE",
    ];
    let published = [
        "PUBLIC-CLOSED-FIRST",
        "PUBLIC-REOPENED-LATER",
        "PUBLIC-BEFORE-AN-EDIT",
        "PUBLIC-AFTER-AN-EDIT",
        "PUBLIC-DELETED-LATER",
        "PUBLIC-NOW-CLOSED",
        "PUBLIC-CLOSED-AGAIN",
        "PUBLIC-AFTER-GC",
    ];
    let all = town.public.everything();
    let history = history_by_dolt(&town.public).to_lowercase();
    for secret in secrets {
        assert!(!all.has(secret), "{secret} is in a clone by git");
        assert!(!history.contains(&secret.to_lowercase()), "{secret} is in a clone by Dolt");
    }
    // The search finds what is there.
    assert_eq!(all.found(&published), published);
    assert!(published.iter().all(|text| history.contains(&text.to_lowercase())));
    assert!(all.chunks > 20, "{} chunks", all.chunks);
    // And it finds the secrets where they are: in a push of the source.
    let private = PublicRemote::new();
    main.run(&format!("CALL DOLT_REMOTE('add', 'origin', '{}')", private.url().reveal()));
    main.run("CALL DOLT_PUSH('origin', 'main')");
    let of_source = private.everything();
    let must_be_found =
        ["SECRET-OPEN-ALWAYS", "SECRET-NOTES-LATER", "DEFAULT-OF-NOTES", "COMMENT-OF-A-COLUMN"];
    assert_eq!(of_source.found(&must_be_found), must_be_found);
}

#[test]
fn only_the_condition_keeps_open_rows_out() {
    // The control of the test above: with another condition, and nothing excluded, the same search finds them.
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a-2', 'SECRET-OPEN', 'open', 'SECRET-NOTES', 1)")]);
    let rule = town.with(|config| {
        config.filter = "status <> 'closed'".to_owned();
        config.columns_excluded.clear();
    });
    town.try_publish(&rule, How::default()).unwrap();
    let all = town.public.everything();
    assert_eq!(all.found(&["SECRET-OPEN", "SECRET-NOTES"]), ["SECRET-OPEN", "SECRET-NOTES"]);
    assert!(!all.has("DEFAULT-OF") && !all.has("COMMENT-OF") && !all.has("STATE-THAT-IS-SECRET"));
}

#[test]
fn one_commit_per_batch_and_nothing_without_a_change() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1), ('b', 'two', 'open', NULL, 1)")]);
    let first = town.publish();
    let source = town.direct().row("SELECT DOLT_HASHOF('main')");
    assert_eq!((first.source.as_str(), town.commits().as_str()), (source.as_str(), "2"));
    let message = town.ledger().row("SELECT message FROM dolt_log LIMIT 1");
    assert!(
        message.starts_with("Publish 1 row of issues\n\nBranchline-Source: ") && message.contains(&source),
        "{message}"
    );
    assert_eq!(town.ledger().row("SELECT GROUP_CONCAT(name) FROM dolt_branches"), "main");
    let again = town.publish();
    assert_eq!((again.rows.len(), again.pushed, &again.head), (0, 0, &first.head));
    town.commit(&["UPDATE issues SET title = 'still open' WHERE id = 'b'", "UPDATE private SET text = 'x'"]);
    assert_eq!(town.publish().head, first.head, "nothing of it is published, so there is no commit");
    town.commit(&["UPDATE issues SET status = 'closed' WHERE id = 'b'"]);
    town.commit(&["UPDATE issues SET title = 'one more' WHERE id = 'a'"]);
    let last = town.publish();
    assert_eq!((last.rows.as_slice(), last.pushed), (&[("issues".to_owned(), 2)][..], 1));
    assert_eq!((town.rows().as_str(), town.commits().as_str()), ("a=one more,b=still open", "3"));
    let types = town.ledger().row(
        "SELECT GROUP_CONCAT(CONCAT(column_name, ' ', column_type) ORDER BY ordinal_position) \
         FROM information_schema.columns WHERE table_schema = 'beads_ledger' AND table_name = 'issues'",
    );
    assert_eq!(
        types,
        "id varchar(20),title text,status varchar(255),meta json,closed_at datetime,owner varchar(40)"
    );
}

#[test]
fn the_sources_tables_may_change() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1), ('b', 'two', 'closed', NULL, 1)")]);
    town.publish();
    town.commit(&[
        "ALTER TABLE issues ADD COLUMN size INT DEFAULT 5",
        "UPDATE issues SET size = 7 WHERE id = 'a'",
    ]);
    town.publish();
    assert_eq!(town.ledger().row("SELECT GROUP_CONCAT(size ORDER BY id) FROM issues"), "7,5");
    town.commit(&[
        "ALTER TABLE issues DROP COLUMN size",
        "ALTER TABLE issues MODIFY COLUMN owner VARCHAR(99)",
        "UPDATE issues SET title = 'new' WHERE id = 'b'",
        &format!("{INSERT} ('c', 'three', 'closed', NULL, 1)"),
    ]);
    town.publish();
    let mut ledger = town.ledger();
    assert_eq!(ledger.row("SELECT GROUP_CONCAT(COALESCE(size, 'none') ORDER BY id) FROM issues"), "7,5,none");
    assert_eq!(ledger.row("SELECT GROUP_CONCAT(title ORDER BY id) FROM issues"), "one,new,three");
    town.commit(&["ALTER TABLE issues DROP PRIMARY KEY", "ALTER TABLE issues ADD PRIMARY KEY (id, status)"]);
    town.refused(&town.rule, &["the primary key of issues was (id)", "begin a new ledger", "rebuild beads"]);
}

#[test]
fn a_rewritten_main_is_compared_as_a_whole() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1)")]);
    let base = town.direct().row("SELECT DOLT_HASHOF('main')");
    town.commit(&[&format!("{INSERT} ('b', 'two', 'closed', NULL, 1)")]);
    town.publish();
    town.direct().run(&format!("CALL DOLT_RESET('--hard', '{base}')"));
    town.commit(&[
        &format!("{INSERT} ('c', 'three', 'closed', NULL, 1)"),
        "UPDATE issues SET title = 'uno' WHERE id = 'a'",
    ]);
    town.publish();
    assert_eq!(town.rows(), "a=uno,b=two,c=three", "what was published stays");
}

#[test]
fn a_setting_that_does_not_fit_is_refused_and_says_why() {
    let town = Town::start();
    town.commit(&[
        &format!("{INSERT} ('a', 'one', 'closed', NULL, 1)"),
        "CREATE TABLE keyless (a INT, status INT)",
        "CREATE TABLE odd (id INT PRIMARY KEY, status INT, commit INT)",
    ]);
    let tables = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        town.with(|config| config.tables = names)
    };
    let excluding = |name: &str| town.with(|config| config.columns_excluded.push(name.to_owned()));
    town.refused(&tables(&["issue"]), &["no table issue"]);
    town.refused(&tables(&["issues", "private"]), &["`where` looks at status, which private has not"]);
    town.refused(&tables(&["keyless"]), &["keyless has no primary key"]);
    town.refused(&tables(&["odd"]), &["the column commit of odd", "columns_excluded"]);
    town.refused(&excluding("ID"), &["id is in columns_excluded and in the primary key", "issues"]);
    town.refused(&excluding("nots"), &["none of its tables has the column nots"]);
    town.refused(&town.with(|config| config.filter = "state = 1".to_owned()), &["`where` looks at state"]);
    town.refused(
        &town.with(|config| config.filter = "id = 1; DROP TABLE issues".to_owned()),
        &["has ; in it"],
    );
    assert_eq!(
        town.branchline
            .direct("")
            .row("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'beads_ledger'"),
        "0"
    );
}

#[test]
fn a_changed_setting_never_leaves_old_rows_behind_unsaid() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', 'SECRET', 1)")]);
    town.publish();
    let [narrow, hidden, other] = [
        town.with(|config| config.filter = "status = 'closed' AND owner IS NULL".to_owned()),
        town.with(|config| config.columns_excluded.push("owner".to_owned())),
        town.with(|config| config.tables = vec!["private".to_owned()]),
    ];
    town.refused(&narrow, &["another `where`", "can't be taken back", "branchline ledger rebuild beads"]);
    town.refused(&hidden, &["owner of issues is in columns_excluded, and was published before"]);
    let other = Rule::new("beads", LedgerConfig { filter: town.rule.config.filter.clone(), ..other.config });
    town.refused(&other, &["private has not"]);
    let alerts = || {
        let raised = town.branchline.context.alerts.list(false);
        raised.iter().map(|alert| format!("{} {}", alert.kind.as_str(), alert.database)).collect::<Vec<_>>()
    };
    assert_eq!(alerts(), ["ledger beads_ledger"]);
    // More columns, and more tables, hide nothing that was published.
    let more = town.with(|config| config.columns_excluded = vec!["price_of".to_owned()]);
    town.try_publish(&more, How::default()).unwrap();
    assert_eq!(alerts(), Vec::<String>::new());
    assert_eq!(town.ledger().row("SELECT remarks FROM issues"), "SECRET");
    // A new ledger needs a repository without data.
    let refused = town.rebuild(&narrow).unwrap_err().to_string();
    assert!(refused.contains("never pushed over an old one"), "{refused}");
    let fresh = PublicRemote::new();
    let narrow = Rule::new("beads", LedgerConfig { remote: fresh.url(), ..narrow.config });
    let rebuilt = town.rebuild(&narrow).unwrap();
    assert_eq!((rebuilt.rows.as_slice(), rebuilt.pushed), (&[("issues".to_owned(), 1)][..], 2));
    assert!(!fresh.everything().has("SECRET"));
}

#[test]
fn a_withdrawn_row_is_not_published_again_and_its_history_stays() {
    let town = Town::start();
    town.commit(&[&format!(
        "{INSERT} ('a', 'WITHDRAWN-TEXT', 'closed', NULL, 1), ('b', 'two', 'closed', NULL, 1)"
    )]);
    town.publish();
    assert_eq!(town.withdraw(&["a"]).unwrap().published.pushed, 1);
    assert_eq!(town.rows(), "b=two");
    town.commit(&["UPDATE issues SET title = 'EDITED-AFTER-WITHDRAWAL' WHERE id = 'a'"]);
    town.publish();
    town.commit(&[
        "ALTER TABLE issues ADD COLUMN more INT",
        "UPDATE issues SET title = 'zwei' WHERE id = 'b'",
    ]);
    town.publish();
    assert_eq!(town.rows(), "b=zwei", "not by a comparison of all rows either");
    let all = town.public.everything();
    assert!(all.has("WITHDRAWN-TEXT") && !all.has("EDITED-AFTER"), "history keeps it, nothing is added");
    for (key, text) in
        [(&["a"][..], "nothing to withdraw"), (&["b", "c"], "the primary key of issues is (id)")]
    {
        let refused = town.withdraw(key).unwrap_err().to_string();
        assert!(refused.contains(text), "{refused}");
    }
}

#[test]
fn what_somebody_else_wrote_there_is_not_pushed() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1)")]);
    town.publish();
    let mut ledger = town.ledger();
    ledger.run("INSERT INTO issues (id, title) VALUES ('x', 'FOREIGN-ROW')");
    town.refused(&town.rule, &["uncommitted changes of issues", "--discard"]);
    town.try_publish(&town.rule, How { discard: true, ..How::default() }).unwrap();
    assert_eq!(town.rows(), "a=one");
    ledger.run("INSERT INTO issues (id, title) VALUES ('x', 'FOREIGN-ROW')");
    ledger.run("CALL DOLT_COMMIT('-Am', 'mine')");
    town.refused(&town.rule, &["beads_ledger holds what Branchline did not write", "by root"]);
    // A commit that looks like one of ours, but holds what the source does not have.
    let message = town.ledger().row("SELECT message FROM dolt_log LIMIT 1 OFFSET 1");
    ledger.run(&format!("CALL DOLT_COMMIT('--amend', '-m', '{message}', '--author', 'Branchline <x@x>')"));
    town.refused(&town.rule, &["1 row of issues that are not as beads has them"]);
    town.commit(&[&format!("{INSERT} ('b', 'two', 'closed', NULL, 1)")]);
    town.refused(&town.rule, &["1 row of issues that are not as beads has them"]);
    assert!(!town.public.everything().has("FOREIGN-ROW"));
}

#[test]
fn the_public_repository_is_no_other_databases_and_the_ledger_has_no_other() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1)")]);
    let url = town.public.url();
    town.direct().run(&format!("CALL DOLT_REMOTE('add', 'origin', '{}')", url.reveal()));
    town.refused(&town.rule, &["beads has it as its remote origin", "a repository of its own"]);
    town.direct().run("CALL DOLT_REMOTE('remove', 'origin')");
    town.publish();
    let elsewhere = PublicRemote::new();
    town.ledger().run(&format!("CALL DOLT_REMOTE('add', 'other', '{}')", elsewhere.url().reveal()));
    town.refused(&town.rule, &["beads_ledger has another remote, other", "DOLT_REMOTE('remove', 'other')"]);
}

#[test]
fn remotes_that_fail_lose_nothing() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1)")]);
    let empty = PublicRemote::empty();
    let rule = town.with(|config| config.remote = empty.url());
    town.refused(&rule, &["no branch", "ledger publish beads --init"]);
    let published = town.try_publish(&rule, How { init: true, ..How::default() }).unwrap();
    assert_eq!(published.pushed, 2);
    // Gone: it is neither waited for nor pushed anew, and nothing is got ready for it.
    empty.git(&["-C", empty.path().to_str().unwrap(), "update-ref", "-d", "refs/dolt/data"]);
    town.commit(&[&format!("{INSERT} ('b', 'two', 'closed', NULL, 1)")]);
    town.refused(&rule, &["rewritten", "what was pushed there before is gone"]);
    assert_eq!(town.rows(), "a=one");
    let refused = town.rebuild(&rule).unwrap_err().to_string();
    assert!(refused.contains("an empty repository with another URL"), "{refused}");
    // Not even if nothing is known of it any more.
    for file in ["ledgers.json", "pushes.json"] {
        std::fs::remove_file(town.notes().with_file_name(file)).unwrap();
    }
    town.branchline.context.remotes.records.forget_seen("beads_ledger");
    town.branchline.context.remotes.ledgers.change("beads_ledger", |noted| *noted = Noted::default());
    town.refused(&rule, &["rewritten", "what was pushed there before is gone"]);
    // To another repository goes all of it, but only if that is wanted.
    town.refused(&town.rule, &["its remote is another one now", "--move", "ledger rebuild beads"]);
    assert_eq!(town.public.everything().chunks, 0);
    let moved = town.try_publish(&town.rule, How { moved: true, ..How::default() }).unwrap();
    assert_eq!((moved.pushed, moved.rows.as_slice()), (3, &[("issues".to_owned(), 1)][..]));
    assert_eq!(town.publish().pushed, 0, "it is known to be there now");
}

/// The same with the ledger in the settings, so that it is published by itself and asked for by commands.
struct Served {
    town: town::Town,
    public: PublicRemote,
}

impl Served {
    fn start() -> Self {
        let public = PublicRemote::new();
        let town = town::Town::start(&format!(
            "[remotes]\nquiet_s = 0\n[remotes.beads.ledger]\nremote = \"{}\"\ntables = [\"issues\"]\ncolumns_excluded = [\"notes\"]\n",
            public.url().reveal()
        ));
        let mut client = town.client("");
        for sql in [
            "CREATE DATABASE beads",
            "USE beads",
            "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title TEXT, status VARCHAR(20), notes TEXT)",
            "INSERT INTO issues VALUES ('a', 'PUBLIC-AND-CLOSED', 'closed', 'A-SECRET-NOTE')",
            "INSERT INTO issues VALUES ('b', 'A-SECRET-OPEN-TITLE', 'open', NULL)",
            "CALL DOLT_COMMIT('-Am', 'two')",
        ] {
            client.run(sql);
        }
        Self { town, public }
    }

    /// `branchline ledger ARGUMENTS`
    fn ledger(&self, arguments: &[&str]) -> Said {
        self.command(&[&["ledger"], arguments].concat())
    }

    /// `branchline ARGUMENTS`
    fn command(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
        command.args(arguments).arg("--state-dir").arg(self.town.branchline.state_dir());
        let output = command.stdin(Stdio::null()).output().expect("branchline runs");
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Said { code: output.status.code(), text: stdout + &stderr }
    }
}

#[test]
fn commits_are_published_by_themselves_and_clients_only_read_the_ledger() {
    let served = Served::start();
    town::until("the ledger is published", || served.public.everything().has("PUBLIC-AND-CLOSED"));
    let mut client = served.town.client("beads_ledger");
    assert_eq!(client.row("SELECT GROUP_CONCAT(title) FROM issues"), "PUBLIC-AND-CLOSED");
    for sql in [
        "INSERT INTO issues (id) VALUES ('x')",
        "UPDATE beads_ledger.issues SET title = 'x'",
        "DROP TABLE issues",
        "CALL DOLT_COMMIT('-Am', 'x')",
        "DROP DATABASE beads_ledger",
    ] {
        let refused = client.err(sql).message;
        assert!(refused.contains("a public ledger, which only Branchline writes"), "{sql}: {refused}");
    }
    let mut main = served.town.client("beads");
    for sql in [
        "INSERT INTO beads_ledger.issues (id) SELECT id FROM issues",
        "REPLACE INTO `beads_ledger`.`issues` (id) VALUES ('x')",
        "UPDATE beads_ledger.issues SET title = 'x'",
        "DELETE FROM beads_ledger.issues",
        "TRUNCATE TABLE `beads_ledger/main`.issues",
        "CREATE TABLE beads_ledger.x AS SELECT id FROM issues",
        "ALTER TABLE beads_ledger.issues ADD COLUMN x INT",
        "CREATE INDEX i ON beads_ledger.issues (title)",
        "DROP TABLE beads_ledger.issues",
        "DROP DATABASE beads_ledger",
    ] {
        let refused = main.err(sql).message;
        assert!(refused.contains("beads_ledger is a public ledger"), "{sql}: {refused}");
    }
    for sql in [
        "CREATE TABLE copied AS SELECT id, title FROM beads_ledger.issues",
        "INSERT IGNORE INTO beads.copied SELECT id, title FROM beads_ledger.issues",
        "REPLACE INTO copied SELECT i.id, l.title FROM issues i JOIN beads_ledger.issues l ON l.id = i.id",
        "CREATE VIEW published AS SELECT id FROM beads_ledger.issues",
        "UPDATE issues SET notes = 'x' WHERE id = 'nothing'",
        "DROP VIEW published",
        "DROP TABLE copied",
    ] {
        main.run(sql);
    }
    let both = "SELECT COUNT(*) FROM issues i JOIN beads_ledger.issues l ON l.id = i.id";
    assert_eq!(main.row(both), "1");
    client.run("INSERT INTO beads.issues (id, status) SELECT 'from the ledger', 'open' FROM issues");
    client.run("CREATE DATABASE another");
    main.run("DELETE FROM issues WHERE id = 'from the ledger'");
    main.run("INSERT INTO issues VALUES ('c', 'PUBLIC-TOO', 'closed', NULL)");
    main.run("CALL DOLT_COMMIT('-Am', 'three')");
    town::until("the commit is published", || served.public.everything().has("PUBLIC-TOO"));
    let status = served.town.command(&["ledger", "status", "beads"]);
    assert_eq!((&status[0]["rows"], &status[0]["lag_commits"]), (&"issues: 2".into(), &0.into()), "{status}");

    let verified = served.ledger(&["verify", "beads"]);
    assert_eq!(verified.code, Some(0), "{}", verified.text);
    assert!(
        verified.text.contains("2 texts that are not public were looked for, none found"),
        "{}",
        verified.text
    );
    let published = served.ledger(&["publish"]);
    assert_eq!((published.code, published.text.trim()), (Some(0), "beads: up to date"));
    let withdrawn = served.ledger(&["withdraw", "beads", "issues", "c"]);
    assert_eq!(withdrawn.code, Some(0), "{}", withdrawn.text);
    assert!(withdrawn.text.contains("every clone of them, keep it"), "{}", withdrawn.text);
    assert_eq!(client.row("SELECT GROUP_CONCAT(id) FROM issues"), "a");
    assert_eq!(served.ledger(&["verify"]).code, Some(0));
    let url = served.public.url();
    for (arguments, text) in [
        (&["ledger", "publish", "hq"][..], "hq has no ledger"),
        (&["remote", "add", "beads_ledger", url.reveal()], "beads_ledger is a public ledger"),
        (&["pull", "beads_ledger"], "nothing is ever merged into it"),
        (&["jobs", "99"], "there is no job 99"),
    ] {
        let refused = served.command(arguments);
        assert!(refused.code == Some(1) && refused.text.contains(text), "{arguments:?}: {}", refused.text);
        assert!(!refused.text.contains("may still run"), "{}", refused.text);
    }
}

#[test]
fn verify_finds_what_should_not_be_there() {
    let served = Served::start();
    // Not while Branchline is still at it: two pushes at once leave dangling chunks.
    town::until("the ledger was published", || {
        !served.town.command(&["ledger", "status"])[0]["pushed_at"].is_null()
    });
    // Somebody pushes an open row past Branchline: a commit on top, by Dolt itself.
    let mut direct = served.town.direct("beads_ledger");
    direct.run("INSERT INTO issues (id, title, status) VALUES ('b', 'A-SECRET-OPEN-TITLE', 'open')");
    direct.run("CALL DOLT_COMMIT('-Am', 'by hand')");
    direct.run("CALL DOLT_PUSH('public', 'main')");
    // And takes it back: the history has it.
    direct.run("CALL DOLT_RESET('--hard', 'HEAD~1')");
    let verified = served.ledger(&["verify", "beads"]);
    assert_eq!(verified.code, Some(1), "{}", verified.text);
    for text in ["which beads_ledger does not have", "texts that are not public are in it: title of issues"] {
        assert!(verified.text.contains(text), "{text}: {}", verified.text);
    }
}
