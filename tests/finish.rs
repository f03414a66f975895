//! Finishing, dropping and bringing back branches, through Branchline and with real Dolt: what main holds afterwards,
//! row by row.

mod support;

use std::time::Duration;

use branchline::branch::finish::{FinishError, FinishOutcome, FinishRequest, Finished, finish};
use branchline::branch::{DropError, DropRequest, ForkRequest, create, drop_branch, undrop};
use branchline::observe::progress::Progress;
use support::client::Client;
use support::embedded::Embedded;

const WAIT: Duration = Duration::from_secs(5);

fn request(branch: &str) -> FinishRequest {
    FinishRequest {
        database: "f".to_owned(),
        branch: branch.to_owned(),
        push: false,
        keep: false,
        wait: WAIT,
        by: "test".to_owned(),
    }
}

fn done(server: &Embedded, branch: &str) -> Result<Finished, FinishError> {
    server.run(finish(&server.context, request(branch), &Progress::default()))
}

fn fork(server: &Embedded, name: &str) {
    let request = ForkRequest {
        database: "f".to_owned(),
        name: name.to_owned(),
        from: None,
        commit_main: false,
        worker: Some("nux".to_owned()),
        by: "test".to_owned(),
    };
    server.run(create(&server.context, request)).expect("forked");
}

fn dropped(server: &Embedded, branch: &str, force: bool) -> Result<branchline::branch::Dropped, DropError> {
    let (database, branch, by) = ("f".to_owned(), branch.to_owned(), "test".to_owned());
    let request = DropRequest { database, branch, force, wait: WAIT, by };
    server.run(drop_branch(&server.context, request, &Progress::default()))
}

/// Rows of `sql`, each as `a|b`.
fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    let line = |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join("|");
    client.rows(sql).into_iter().map(line).collect()
}

/// Database `f`: `t` with three rows, Dolt-committed, and an ignored table `wisps` with three.
fn start() -> Embedded {
    let server = Embedded::start(|_| {});
    server.database("f", &[]);
    let mut main = server.direct("f");
    for sql in [
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO dolt_ignore VALUES ('wisps', true)",
        "CALL DOLT_COMMIT('-Am', 'rows')",
        "CREATE TABLE wisps (id BIGINT PRIMARY KEY, s VARCHAR(64), updated_at DATETIME)",
        "INSERT INTO wisps VALUES (1, 'a', '2026-01-01'), (2, 'b', '2026-01-01'), (3, 'c', '2026-01-01')",
    ] {
        main.run(sql);
    }
    server
}

fn names(client: &mut Client, table: &str, column: &str) -> Vec<String> {
    rows(client, &format!("SELECT {column} FROM {table} ORDER BY {column}"))
}

const ROWS: &str = "SELECT id, s FROM t ORDER BY id";
const HEAD_ROWS: &str = "SELECT id, s FROM t AS OF 'HEAD' ORDER BY id";

#[test]
fn what_is_on_a_branch_comes_home_and_the_branch_is_gone() {
    let server = start();
    fork(&server, "polecat-x");
    let mut main = server.direct("f");
    assert_eq!(names(&mut main, "dolt_tags", "tag_name"), ["branchline-base/polecat-x"]);
    let mut worker = server.on("polecat-x", "f");
    worker.run("INSERT INTO t VALUES (4, 'd')");
    worker.run("CALL DOLT_COMMIT('-Am', 'work')");
    worker.run("UPDATE t SET s = 'uncommitted' WHERE id = 1");
    worker.run("INSERT INTO wisps VALUES (4, 'd', '2026-01-02')");
    worker.run("UPDATE wisps SET s = 'B' WHERE id = 2");
    worker.run("DELETE FROM wisps WHERE id = 3");
    main.run("INSERT INTO wisps VALUES (5, 'mine', '2026-01-02')");

    let finished = done(&server, "polecat-x").expect("finished");
    assert_eq!(finished.outcome, FinishOutcome::Merged);
    assert_eq!((finished.ignored_rows, finished.conflicts), (3, 0));
    assert!(finished.branch_commit.is_some() && finished.swept.is_none());
    let mut main = server.direct("f");
    assert_eq!(rows(&mut main, ROWS), ["1|uncommitted", "2|b", "3|c", "4|d"]);
    assert_eq!(rows(&mut main, HEAD_ROWS), rows(&mut main, ROWS));
    assert_eq!(rows(&mut main, "SELECT id, s FROM wisps ORDER BY id"), ["1|a", "2|B", "4|d", "5|mine"]);
    assert_eq!(names(&mut main, "dolt_branches", "name"), ["main"]);
    assert!(names(&mut main, "dolt_tags", "tag_name").is_empty());
    let author = rows(&mut main, "SELECT author FROM dolt_log WHERE message LIKE 'uncommitted rows of%'");
    assert_eq!(author, ["nux"]);
    let parents =
        rows(&mut main, "SELECT COUNT(*) FROM dolt_commit_ancestors WHERE commit_hash = dolt_hashof('HEAD')");
    assert_eq!(parents, ["2"]);
    assert_eq!(worker.row("SELECT ACTIVE_BRANCH()"), "main", "its session is on main");

    let again = done(&server, "polecat-x").expect("no error");
    assert_eq!((again.outcome, again.commit), (FinishOutcome::AlreadyFinished, finished.commit));
    assert!(matches!(done(&server, "polecat-y"), Err(FinishError::NoBranch { .. })));
    assert!(matches!(done(&server, "main"), Err(FinishError::IsMain { .. })));
}

#[test]
fn main_s_own_rows_stay_uncommitted_beside_the_merge() {
    let server = start();
    let mut main = server.direct("f");
    main.run("CREATE TABLE other (id INT PRIMARY KEY)");
    main.run("CALL DOLT_COMMIT('-Am', 'other')");
    fork(&server, "x");
    let mut worker = server.on("x", "f");
    worker.run("INSERT INTO t VALUES (4, 'x')");
    worker.run("UPDATE t SET s = 'x' WHERE id = 1");
    worker.run("CALL DOLT_COMMIT('-Am', 'work')");
    // Dolt refuses to merge over a table that is not on the branch too.
    main.run("CREATE TABLE later (id INT PRIMARY KEY)");
    main.run("CALL DOLT_COMMIT('-Am', 'later')");
    for sql in [
        "INSERT INTO t VALUES (9, 'own')",
        "UPDATE t SET s = 'own' WHERE id = 2",
        "DELETE FROM t WHERE id = 3",
        "INSERT INTO other VALUES (1)",
        "INSERT INTO later VALUES (1)",
    ] {
        main.run(sql);
    }
    let refused = main.err("CALL DOLT_MERGE('x')");
    assert!(refused.to_string().contains("stomped"), "Dolt alone refuses: {refused}");
    let finished = done(&server, "x").expect("finished");
    assert!(finished.swept.is_none(), "{finished:?}");
    let mut main = server.direct("f");
    assert_eq!(rows(&mut main, ROWS), ["1|x", "2|own", "4|x", "9|own"]);
    assert_eq!(rows(&mut main, HEAD_ROWS), ["1|x", "2|b", "3|c", "4|x"]);
    assert_eq!(names(&mut main, "dolt_status", "table_name"), ["later", "other", "t"]);

    // A new table can't be put aside: it is committed on its own, never within the merge.
    main.run("CREATE TABLE fresh (id INT PRIMARY KEY)");
    fork(&server, "y");
    server.on("y", "f").run("INSERT INTO t VALUES (5, 'y')");
    let finished = done(&server, "y").expect("finished");
    let swept = finished.swept.expect("committed on its own");
    let tables =
        format!("SELECT table_name FROM dolt_diff WHERE commit_hash = '{swept}' ORDER BY table_name");
    assert_eq!(rows(&mut main, &tables), ["fresh", "later", "other", "t"]);
    assert!(names(&mut main, "dolt_status", "table_name").is_empty());
}

#[test]
fn rows_with_which_it_was_forked_are_the_branch_s_and_others_are_committed_first() {
    let server = start();
    let mut main = server.direct("f");
    main.run("UPDATE t SET s = 'dirty' WHERE id = 1");
    fork(&server, "x");
    server.on("x", "f").run("UPDATE t SET s = 'went on' WHERE id = 1");
    let finished = done(&server, "x").expect("finished");
    assert!(finished.swept.is_none(), "{finished:?}");
    assert_eq!(rows(&mut server.direct("f"), HEAD_ROWS), ["1|went on", "2|b", "3|c"]);
    assert!(names(&mut server.direct("f"), "dolt_status", "table_name").is_empty());

    fork(&server, "y");
    server.on("y", "f").run("UPDATE t SET s = 'y' WHERE id = 2");
    server.direct("f").run("UPDATE t SET s = 'mine' WHERE id = 2");
    let finished = done(&server, "y").expect("finished");
    assert!(finished.swept.is_some() && finished.conflicts == 1, "{finished:?}");
    let mut main = server.direct("f");
    let messages =
        rows(&mut main, "SELECT message FROM dolt_log WHERE message LIKE 'uncommitted rows of main%'");
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("changed on the branch too"), "{messages:?}");
    assert!(names(&mut main, "dolt_status", "table_name").is_empty());
}

#[test]
fn cut_off_after_the_merge_and_run_again_it_completes_without_a_second_one() {
    let server = start();
    fork(&server, "x");
    let mut worker = server.on("x", "f");
    worker.run("INSERT INTO wisps VALUES (4, 'd', '2026-01-02')");
    let mut direct = server.direct("f");
    // As if it had been killed before the branch was deleted: the branch and its base are as they were.
    let head = direct.row("SELECT hash FROM dolt_branches WHERE name = 'x'");
    let base = direct.row("SELECT tag_hash FROM dolt_tags");
    let kept = FinishRequest { keep: true, ..request("x") };
    let first = server.run(finish(&server.context, kept, &Progress::default())).expect("finished");
    assert_eq!((first.outcome, first.kept), (FinishOutcome::Merged, true));
    assert_eq!(direct.row("SELECT hash FROM dolt_branches WHERE name = 'x'"), head);
    direct.run("CALL DOLT_TAG('-d', 'branchline-base/x')");
    direct.run(&format!("CALL DOLT_TAG('branchline-base/x', '{base}')"));
    direct.run("UPDATE wisps SET s = 'newer' WHERE id = 4");
    let second = done(&server, "x").expect("finished");
    assert_eq!((second.outcome, &second.commit), (FinishOutcome::Completed, &first.commit));
    let mut main = server.direct("f");
    assert_eq!(rows(&mut main, "SELECT s FROM wisps WHERE id = 4"), ["newer"]);
    assert_eq!(names(&mut main, "dolt_branches", "name"), ["main"]);
}

#[test]
fn a_drop_loses_nothing() {
    let server = start();
    fork(&server, "empty");
    let gone = dropped(&server, "empty", false).expect("nothing on it");
    assert!(gone.was_there && gone.tag.is_none(), "{gone:?}");
    assert!(!dropped(&server, "empty", false).expect("idempotent").was_there);

    fork(&server, "x");
    let mut worker = server.on("x", "f");
    worker.run("INSERT INTO t VALUES (4, 'd')");
    worker.run("CALL DOLT_COMMIT('-Am', 'work')");
    worker.run("INSERT INTO t VALUES (5, 'e')");
    worker.run("INSERT INTO wisps VALUES (4, 'd', NULL)");
    let mut branch = server.direct("f/x");
    let before = branch.row("SELECT dolt_hashof_db(), dolt_hashof('HEAD')");
    let Err(DropError::Unmerged { commits, tables, .. }) = dropped(&server, "x", false) else {
        panic!("not dropped without force")
    };
    assert_eq!((commits, tables), (1, 2));
    let gone = dropped(&server, "x", true).expect("forced");
    assert_eq!(gone.uncommitted_tables, ["t", "wisps"]);
    assert!(gone.tag.is_some());
    assert_eq!(names(&mut server.direct("f"), "dolt_branches", "name"), ["main"]);
    assert_eq!(worker.row("SELECT ACTIVE_BRANCH()"), "main");
    assert!(matches!(done(&server, "x"), Err(FinishError::Dropped { .. })));
    let back = server.run(undrop(&server.context, "f", "x", "test")).expect("brought back");
    assert_eq!(back.uncommitted_tables, ["t", "wisps"]);
    let mut branch = server.direct("f/x");
    assert_eq!(branch.row("SELECT dolt_hashof_db(), dolt_hashof('HEAD')"), before);
    assert_eq!(names(&mut server.direct("f"), "dolt_tags", "tag_name"), ["branchline-base/x"]);
    assert_eq!(done(&server, "x").expect("finished").outcome, FinishOutcome::Merged);
    assert_eq!(rows(&mut server.direct("f"), ROWS), ["1|a", "2|b", "3|c", "4|d", "5|e"]);
}
