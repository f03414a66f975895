//! The public ledger when something goes wrong, or is changed: remotes that refuse, settings, crashes, lost and damaged
//! state. Real Dolt, real git.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use branchline::observe::progress::Progress;
use branchline::remote::ledger::{self, How, LedgerError, Rule, verify};
use support::git::{HttpServer, Repository, Rigs};
use support::ledger::{INSERT, Town};
use support::public::PublicRemote;

/// As the settings would have it.
fn at(rule: &Rule, remote: &PublicRemote) -> Rule {
    let mut rule = rule.clone();
    rule.config.remote = remote.url();
    rule
}

#[test]
fn what_is_edited_or_withdrawn_before_it_is_public_never_goes_out() {
    let town = Town::start();
    town.public.refuse_pushes(true);
    town.commit(&[&format!("{INSERT} ('a', 'SECRET-BEFORE-THE-FIRST-PUSH', 'closed', NULL, 1)")]);
    // By another condition, which nothing public was chosen by.
    let other = town.with(|config| config.filter = "status IN ('closed')".to_owned());
    town.refused(&other, &["rejected"]);
    town.commit(&["UPDATE issues SET title = 'PUBLIC-FIRST' WHERE id = 'a'"]);
    town.public.refuse_pushes(false);
    assert_eq!(town.publish().pushed, 2);

    town.public.refuse_pushes(true);
    town.commit(&[
        &format!("{INSERT} ('b', 'SECRET-EDITED-AWAY', 'closed', NULL, 1)"),
        &format!("{INSERT} ('c', 'SECRET-WITHDRAWN', 'closed', NULL, 1)"),
    ]);
    // Dolt tries a push that is refused for 12 s.
    let refused = town.withdraw(&["a"]).unwrap_err().to_string();
    assert!(refused.contains("rejected") && refused.contains("noted as withdrawn"), "{refused}");
    assert_eq!(town.rows(), "b=SECRET-EDITED-AWAY,c=SECRET-WITHDRAWN");
    // While it is away nothing is got ready.
    let aside = town.public.path().with_extension("aside");
    std::fs::rename(town.public.path(), &aside).unwrap();
    let refused = town.withdraw(&["c"]).unwrap_err().to_string();
    assert!(refused.contains("unreachable") && refused.contains("noted as withdrawn"), "{refused}");
    town.commit(&[&format!("{INSERT} ('d', 'SECRET-WHILE-IT-IS-AWAY', 'closed', NULL, 1)")]);
    town.refused(&town.rule, &["unreachable"]);
    assert_eq!(town.rows(), "b=SECRET-EDITED-AWAY,c=SECRET-WITHDRAWN");
    town.commit(&["DELETE FROM issues WHERE id = 'd'"]);
    std::fs::rename(&aside, town.public.path()).unwrap();
    town.commit(&["UPDATE issues SET title = 'PUBLIC-EDITED' WHERE id = 'b'"]);
    town.public.refuse_pushes(false);
    town.publish();
    assert_eq!(town.rows(), "b=PUBLIC-EDITED");
    let all = town.public.everything();
    assert!(all.has("PUBLIC-EDITED") && all.has("PUBLIC-FIRST"));
    assert!(!all.has("SECRET"));
    assert_eq!(town.publish().pushed, 0);
}

#[test]
fn settings_that_changed_before_its_turn_are_not_published_by() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', 'SECRET', 1)")]);
    let all = town.with(|config| config.columns_excluded = vec!["price_of".to_owned()]);
    town.set(&all);
    let context = Arc::clone(&town.branchline.context);
    let published = town.branchline.run(async {
        let turn = context.remotes.turns.take("beads_ledger", None).await;
        let (context, rule) = (Arc::clone(&context), all.clone());
        let waiting = tokio::spawn(async move {
            ledger::publish(&context, rule, How::default(), &Progress::default()).await
        });
        town.set(&town.rule);
        drop(turn);
        waiting.await.expect("no panic")
    });
    let refused = published.unwrap_err();
    assert!(matches!(refused, LedgerError::Stale(_)) && !refused.needs_somebody(), "{refused}");
    assert_eq!(town.public.everything().chunks, 0);
    town.publish();
    assert!(!town.public.everything().has("SECRET"));
}

#[test]
fn a_withdrawn_row_stays_out_of_new_ledgers_also_by_another_key() {
    let town = Town::start();
    town.commit(&[&format!(
        "{INSERT} ('a', 'WITHDRAWN-TEXT', 'closed', NULL, 1), ('b', 'PUBLIC-TEXT', 'closed', NULL, 1)"
    )]);
    town.publish();
    town.withdraw(&["a"]).unwrap();
    town.commit(&["ALTER TABLE issues DROP PRIMARY KEY", "ALTER TABLE issues ADD PRIMARY KEY (id, status)"]);
    town.refused(&town.rule, &["the primary key of issues was (id)"]);
    // `rebuild` says this before it takes anything away.
    let empty = PublicRemote::empty();
    let refused = town.rebuild(&at(&town.rule, &empty)).unwrap_err().to_string();
    assert!(refused.contains("no branch") && refused.contains("--init"), "{refused}");
    assert_eq!(town.rows(), "b=PUBLIC-TEXT");
    // As a kill in the middle of it leaves it: nothing goes to the new repository by itself.
    town.branchline.direct("").run("DROP DATABASE beads_ledger");
    let fresh = PublicRemote::new();
    let new = at(&town.rule, &fresh);
    town.refused(&new, &["its remote is another one now", "ledger rebuild beads"]);
    assert_eq!(fresh.everything().chunks, 0);
    let refused = town.try_publish(&new, How { moved: true, ..How::default() }).unwrap_err().to_string();
    assert!(refused.contains("no database beads_ledger whose history could go"), "{refused}");
    let rebuilt = town.rebuild(&new).unwrap();
    assert_eq!((rebuilt.pushed, town.rows().as_str()), (2, "b=PUBLIC-TEXT"));
    town.commit(&["UPDATE issues SET title = 'WITHDRAWN-TEXT-EDITED' WHERE id = 'a'"]);
    town.try_publish(&new, How::default()).unwrap();
    assert!(fresh.everything().has("PUBLIC-TEXT") && !fresh.everything().has("WITHDRAWN-TEXT"));
    // Ledger and notes are lost: the old repository knows what was withdrawn.
    town.lose("beads_ledger");
    let old = town.public.url();
    town.branchline.direct("").run(&format!("CALL DOLT_CLONE('{}', 'beads_ledger')", old.reveal()));
    let second = PublicRemote::new();
    let new = at(&town.rule, &second);
    town.refused(&new, &["beads_ledger has another remote, origin"]);
    town.rebuild(&new).unwrap();
    assert!(second.everything().has("PUBLIC-TEXT") && !second.everything().has("WITHDRAWN-TEXT"));
    // A key that fits no more is named.
    town.commit(&["ALTER TABLE issues RENAME COLUMN id TO name"]);
    let third = PublicRemote::new();
    let refused = town.rebuild(&at(&town.rule, &third)).unwrap_err().to_string();
    assert!(refused.contains(r#"{"id":"a"} of issues"#) && refused.contains("ledgers.json"), "{refused}");
    assert_eq!((town.rows().as_str(), third.everything().chunks), ("b=PUBLIC-TEXT", 0));
}

#[test]
fn tables_whose_types_change_while_rows_are_open_again() {
    let town = Town::start();
    town.commit(&[
        "ALTER TABLE issues ADD COLUMN size INT",
        "ALTER TABLE issues ADD COLUMN extra VARCHAR(20)",
        &format!("{INSERT} ('a', 'one', 'closed', NULL, 1), ('b', 'a longer title', 'closed', NULL, 1)"),
        &format!("{INSERT} ('c', 'three', 'closed', NULL, 1)"),
        "UPDATE issues SET size = 7, extra = 'word'",
    ]);
    town.publish();
    town.commit(&[
        "UPDATE issues SET status = 'open', title = 'changed' WHERE id = 'b'",
        "DELETE FROM issues WHERE id = 'c'",
        "ALTER TABLE issues MODIFY COLUMN size BIGINT",
        "ALTER TABLE issues MODIFY COLUMN title VARCHAR(200)",
    ]);
    town.publish();
    assert_eq!(town.rows(), "a=one,b=a longer title,c=three");
    // Narrower than what the ledger keeps: it stays as it is there.
    town.commit(&[
        "ALTER TABLE issues MODIFY COLUMN title VARCHAR(8)",
        "UPDATE issues SET title = 'uno' WHERE id = 'a'",
    ]);
    town.publish();
    assert_eq!(town.rows(), "a=uno,b=a longer title,c=three");
    // A change that Dolt can't make is told by the column's name.
    town.commit(&["UPDATE issues SET extra = '5'", "ALTER TABLE issues MODIFY COLUMN extra INT"]);
    town.refused(&town.rule, &["the column extra of issues was varchar(20)", "is int now", "ledger rebuild"]);
    town.commit(&["ALTER TABLE issues MODIFY COLUMN extra VARCHAR(20)"]);
    town.publish();
}

#[test]
fn what_a_crash_left_of_a_changed_table_is_taken_back() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('a', 'one', 'closed', NULL, 1)")]);
    town.publish();
    // As if the column had been changed and nothing more: rows that are not as they were committed.
    town.commit(&["ALTER TABLE issues MODIFY COLUMN title VARCHAR(200)"]);
    town.ledger().run("ALTER TABLE issues MODIFY COLUMN title VARCHAR(200)");
    town.refused(&town.rule, &["uncommitted changes of issues", "--discard"]);
    town.branchline.context.remotes.ledgers.change("beads_ledger", |noted| noted.changing = true);
    town.commit(&[
        "ALTER TABLE issues MODIFY COLUMN title TEXT",
        &format!("{INSERT} ('b', 'two', 'closed', NULL, 1)"),
    ]);
    town.publish();
    assert_eq!(town.rows(), "a=one,b=two");
    assert!(!town.branchline.context.remotes.ledgers.of("beads_ledger").changing);
}

#[test]
fn a_lost_ledger_comes_back_by_a_clone_and_a_lost_history_is_no_obstacle() {
    let town = Town::start();
    town.commit(&[&format!("{INSERT} ('o', 'AN-OPEN-TITLE', 'open', NULL, NULL)")]);
    town.commit(&[r#"UPDATE issues SET closed_at = '2026-01-02 03:04:05', meta = '{"n": 1234567890, "k": "A-SECRET-IN-JSON"}'"#]);
    let base = town.direct().row("SELECT DOLT_HASHOF('main')");
    town.commit(&[&format!(
        "{INSERT} ('a', 'one', 'closed', NULL, NULL), ('w', 'two', 'closed', NULL, NULL)"
    )]);
    let gone = town.publish().source;
    town.withdraw(&["w"]).unwrap();
    // Main is reset, and Dolt collects what was there.
    town.direct().run(&format!("CALL DOLT_RESET('--hard', '{base}')"));
    town.commit(&[&format!(
        "{INSERT} ('c', 'three', 'closed', NULL, NULL), ('w', 'two', 'closed', NULL, NULL)"
    )]);
    town.direct().run("CALL DOLT_GC('--full')");
    town.direct().err(&format!("SELECT COUNT(*) FROM `beads/{gone}`.issues"));
    // The ledger is lost, and all that was known of it.
    town.lose("beads_ledger");
    town.refused(&town.rule, &["holds Dolt data", "branchline clone", "beads_ledger"]);
    town.branchline
        .direct("")
        .run(&format!("CALL DOLT_CLONE('{}', 'beads_ledger')", town.public.url().reveal()));
    assert_eq!(town.publish().pushed, 1);
    assert_eq!(town.rows(), "a=one,c=three", "what was withdrawn is known from the ledger itself");
    let (context, rule) = (&town.branchline.context, town.rule.clone());
    let verified = town.branchline.run(verify::verify(context, rule, &Progress::default())).unwrap();
    assert_eq!(verified.problems, Vec::<String>::new());
    assert_eq!((verified.commits, verified.not_comparable), (2, 2));
    assert_eq!(verified.texts, 2, "the title, and the string in JSON");
}

#[test]
fn a_killed_publishing_goes_on_and_a_damaged_file_stops_it() {
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let [public, secured] =
        ["a", "b"].map(|name| Repository::create(&shelf.path().join(format!("{name}.git"))));
    let http = HttpServer::with_password(shelf.path(), "a-password");
    let [reached, hold] = ["reached", "hold"].map(|name| shelf.path().join(name));
    std::fs::write(&hold, "").unwrap();
    let [marks, holds] = [&reached, &hold].map(|path| path.display().to_string());
    public.hook("pre-receive", &format!("touch {marks}; while [ -e {holds} ]; do sleep 0.05; done; exit 1"));
    let of = |database: &str, url: &str| {
        format!("[remotes.{database}.ledger]\nremote = \"{url}\"\ntables = [\"t\"]\nwhere = \"n = 1\"\n")
    };
    let config = [
        "[remotes]\nquiet_s = 0\nbackoff_min_s = 1\nbackoff_max_s = 1\n".to_owned(),
        of("a", &public.file_url()),
        of("b", &http.url_with("a-password", &secured)),
    ];
    let mut rigs = Rigs::start(&config.concat(), Vec::new(), &["a", "b"]);
    for database in ["a", "b"] {
        let mut client = rigs.client(database);
        client.run("INSERT INTO t VALUES (1, 1), (2, 0)");
        client.run("CALL DOLT_COMMIT('-Am', 'rows')");
    }
    // Credentials in the URL: nobody else gets at the file that Dolt keeps them in.
    rigs.until("b is published", || secured.data());
    let kept = rigs.directory().join("data/b_ledger/.dolt");
    let text = std::fs::read_to_string(kept.join("repo_state.json")).unwrap();
    assert!(text.contains("a-password"), "the test looks at the right file: {text}");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);

    rigs.until("a is being pushed", || reached.exists().then_some(()));
    rigs.kill();
    std::fs::remove_file(&hold).unwrap();
    assert_eq!(public.data(), None);
    let state = rigs.directory().join("state");
    let [file, aside] = ["ledgers.json", "ledgers.json.damaged"].map(|name| state.join(name));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    std::fs::create_dir(state.join("ledger-1-0.tmp")).unwrap();
    public.hook("pre-receive", "");
    rigs.start_again();
    let said = |database: &str| {
        let status = rigs.json(&["ledger", "status", database]);
        status[0]["text"].as_str().unwrap_or_default().to_owned()
    };
    rigs.until("it is told", || said("a").contains("ledgers.json.damaged").then_some(()));
    assert_eq!(public.data(), None);
    assert!(!state.join("ledger-1-0.tmp").exists());
    std::fs::write(&file, whole).unwrap();
    std::fs::remove_file(&aside).unwrap();
    rigs.until("a is published", || {
        let status = rigs.json(&["ledger", "status", "a"]);
        (status[0]["rows"] == "t: 1" && status[0]["unpushed"] == 0 && status[0]["text"].is_null())
            .then_some(())
    });
    assert!(public.data().is_some());
    // A ledger that is cloned over one that was pushed from here goes on.
    let url = http.url_with("a-password", &secured);
    let cloned = rigs.json(&["clone", &url, "b_ledger", "--replace"]);
    let mut client = rigs.client("b");
    client.run(&format!("DROP DATABASE {}", cloned[0]["replaced"].as_str().expect("a name")));
    client.run("INSERT INTO t VALUES (3, 1)");
    client.run("CALL DOLT_COMMIT('-Am', 'one more')");
    rigs.until("b is published again", || {
        let status = rigs.json(&["ledger", "status", "b"]);
        (status[0]["rows"] == "t: 2" && status[0]["unpushed"] == 0 && status[0]["text"].is_null())
            .then_some(())
    });
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    let verified = rigs.json(&["ledger", "verify"]);
    assert!(verified.as_array().unwrap().iter().all(|row| row["outcome"] == "verified"), "{verified}");
}
