//! Pulling from git remotes, with real Dolt and git: towns that pull from each other, and what can't be pulled.

mod support;

use branchline::branch::incoming::How;
use branchline::config::{CellRule, Glob, MergeRule, PeerInto, PeerOf, RemoteOf};
use branchline::observe::progress::Progress;
use branchline::remote::RemoteUrl;
use branchline::remote::fetch::{FetchError, Source};
use branchline::remote::peers::{Fetched, Got, get, run};
use branchline::remote::pull::{PullError, PullRequest, Pulled, pull};
use support::client::Client;
use support::embedded::Embedded;
use support::git::Repository;

/// As settings have it.
fn remote_url(repository: &Repository) -> RemoteUrl {
    RemoteUrl::parse(&repository.file_url()).expect("a URL")
}

fn pulled_from(server: &Embedded, remote: Option<&str>) -> Result<Pulled, PullError> {
    let request =
        PullRequest { database: "p".to_owned(), remote: remote.map(str::to_owned), by: "test".to_owned() };
    server.run(pull(&server.context, &request, &Progress::default()))
}

fn pulled(server: &Embedded) -> Pulled {
    pulled_from(server, None).expect("pulled")
}

fn push(server: &Embedded) {
    server.direct("p").run("CALL DOLT_PUSH('origin', 'main')");
}

fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let cell = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".to_owned());
    let line = |row: Vec<Option<String>>| row.into_iter().map(cell).collect::<Vec<_>>().join("|");
    client.rows(sql).into_iter().map(line).collect()
}

fn head(server: &Embedded) -> String {
    server.direct("p").row("SELECT dolt_hashof('main')")
}

fn has_bypass(server: &Embedded) -> bool {
    let bypass = server.context.bypass.as_ref().expect("a Dolt of our own");
    bypass.look(["p"]);
    !bypass.report().is_empty()
}

const ROWS: &str = "SELECT id, s FROM t ORDER BY id";
const HEAD_ROWS: &str = "SELECT id, s FROM t AS OF 'HEAD' ORDER BY id";

/// A town with database `p`, pushed to the repository.
fn first(bare: &Repository, change: impl FnOnce(&mut branchline::config::Config)) -> Embedded {
    let server = Embedded::start(change);
    server.database("p", &[]);
    let mut client = server.direct("p");
    client.run("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    client.run("CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title VARCHAR(64), updated_at DATETIME)");
    client.run("INSERT INTO issues VALUES ('x-1', 'first', '2026-01-01 00:00:00')");
    client.run("CALL DOLT_COMMIT('-Am', 'rows')");
    client.run(&format!("CALL DOLT_REMOTE('add', 'origin', '{}')", bare.file_url()));
    push(&server);
    server
}

/// Another town, with the same database.
fn second(bare: &Repository, change: impl FnOnce(&mut branchline::config::Config)) -> Embedded {
    let server = Embedded::start(change);
    server.direct("").run(&format!("CALL DOLT_CLONE('{}', 'p')", bare.file_url()));
    server
}

/// Settings for `p` that say nothing new.
fn plain() -> RemoteOf {
    RemoteOf {
        database: "p".to_owned(),
        url: None,
        name: "origin".to_owned(),
        push: true,
        heartbeat: true,
        on_behind: None,
        peers: vec![],
        ledger: None,
        origin: "test".to_owned(),
    }
}

#[test]
fn two_towns_pull_from_each_other_until_they_are_equal() {
    let bare = Repository::new();
    let left = first(&bare, |_| {});
    let right = second(&bare, |_| {});
    assert_eq!(pulled(&right).come.how, How::UpToDate);

    // The same cell of the same row, and rows of their own.
    let mut here = left.direct("p");
    here.run("UPDATE issues SET title = 'of left', updated_at = '2026-02-01 00:00:00'");
    here.run("INSERT INTO t VALUES (10, 'left')");
    here.run("CALL DOLT_COMMIT('-Am', 'left')");
    let mut there = right.direct("p");
    there.run("UPDATE issues SET title = 'of right', updated_at = '2026-02-02 00:00:00'");
    there.run("INSERT INTO t VALUES (20, 'right')");
    there.run("CALL DOLT_COMMIT('-Am', 'right')");
    // What both have not Dolt-committed stays so.
    here.run("INSERT INTO t VALUES (11, 'uncommitted')");
    there.run("INSERT INTO t VALUES (21, 'uncommitted')");

    push(&right);
    let come = pulled(&left);
    assert_eq!((come.come.how, come.come.commits, come.come.conflicts), (How::Merged, 1, 1));
    let message = come.come.message.as_deref().expect("a message");
    assert!(message.starts_with("merge origin/main into main\n"), "{message}");
    assert!(message.contains("Conflicts resolved: 1") && message.contains("'of right'"), "{message}");
    assert!(come.come.swept.is_none());
    assert_eq!(rows(&mut left.direct("p"), "SELECT title FROM issues"), ["of right"], "the newer one");

    push(&left);
    let come = pulled(&right);
    assert_eq!((come.come.how, come.come.commits), (How::FastForward, 2));
    assert_eq!(come.come.head, head(&left));
    for server in [&left, &right] {
        assert_eq!(pulled(server).come.how, How::UpToDate);
    }
    assert_eq!(head(&left), head(&right));
    let hash = "SELECT dolt_hashof_db('HEAD')";
    assert_eq!(left.direct("p").row(hash), right.direct("p").row(hash));
    assert_eq!(rows(&mut left.direct("p"), HEAD_ROWS), ["1|a", "2|b", "3|c", "10|left", "20|right"]);
    let mut client = left.direct("p");
    assert_eq!(rows(&mut client, ROWS), ["1|a", "2|b", "3|c", "10|left", "11|uncommitted", "20|right"]);
    let mut client = right.direct("p");
    assert_eq!(rows(&mut client, ROWS), ["1|a", "2|b", "3|c", "10|left", "20|right", "21|uncommitted"]);
    assert_eq!(rows(&mut client, "SELECT table_name, staged FROM dolt_status"), ["t|0"]);
    let decided =
        std::fs::read_to_string(left.context.config.state_dir.join("audit.log")).expect("an audit log");
    assert!(decided.contains("\"branch\":\"origin/main\"") && decided.contains("of right"), "{decided}");
}

#[test]
fn a_session_reads_what_was_pulled_and_writes_on() {
    let bare = Repository::new();
    let left = first(&bare, |_| {});
    let right = second(&bare, |_| {});
    let mut session = right.login(&support::client::Login::root("p"));
    assert_eq!(session.row("SELECT COUNT(*) FROM t"), "3");
    session.run("BEGIN");
    assert_eq!(session.row("SELECT COUNT(*) FROM t"), "3");
    left.direct("p").run("INSERT INTO t VALUES (4, 'd')");
    left.direct("p").run("CALL DOLT_COMMIT('-Am', 'd')");
    push(&left);
    assert_eq!(pulled(&right).come.how, How::FastForward);
    // It decided by what it had read.
    let error = session.err("INSERT INTO t SELECT MAX(id) + 1, 'mine' FROM t");
    assert_eq!(error.code, 1213, "{error:?}");
    session.run("INSERT INTO t SELECT MAX(id) + 1, 'mine' FROM t");
    assert_eq!(rows(&mut session, ROWS), ["1|a", "2|b", "3|c", "4|d", "5|mine"]);
    assert!(!has_bypass(&right));
}

#[test]
fn a_fast_forward_that_was_cut_off_is_completed() {
    let bare = Repository::new();
    let left = first(&bare, |_| {});
    let right = second(&bare, |_| {});
    let mut here = left.direct("p");
    here.run("UPDATE t SET s = 'A' WHERE id = 1");
    here.run("CREATE TABLE n (id BIGINT PRIMARY KEY)");
    here.run("CALL DOLT_COMMIT('-Am', 'A')");
    push(&left);
    // Its first step.
    let mut there = right.direct("p");
    there.run("INSERT INTO t VALUES (9, 'mine')");
    there.run("CALL DOLT_FETCH('origin', 'main')");
    for sql in [
        "SET autocommit = 0",
        "DELETE FROM t WHERE id = 9",
        "CALL DOLT_MERGE('--squash', 'remotes/origin/main')",
        "INSERT INTO t VALUES (9, 'mine')",
        "COMMIT",
    ] {
        there.run(sql);
    }
    assert_ne!(head(&left), head(&right));
    assert_eq!(pulled(&right).come.how, How::FastForward);
    assert_eq!(head(&left), head(&right));
    let mut client = right.direct("p");
    assert_eq!(rows(&mut client, ROWS), ["1|A", "2|b", "3|c", "9|mine"]);
    assert_eq!(rows(&mut client, "SELECT table_name, staged FROM dolt_status"), ["t|0"]);
}

/// Dolt leaves uncommitted rows of tables that the other side has not changed where they are.
#[test]
fn a_fast_forward_does_not_leave_rows_whose_parents_are_gone() {
    let bare = Repository::new();
    let left = first(&bare, |_| {});
    let mut here = left.direct("p");
    here.run(
        "CREATE TABLE child (id BIGINT PRIMARY KEY, parent BIGINT, FOREIGN KEY (parent) REFERENCES t (id))",
    );
    here.run("CALL DOLT_COMMIT('-Am', 'child')");
    push(&left);
    let right = second(&bare, |_| {});
    here.run("DELETE FROM t WHERE id = 2");
    here.run("CALL DOLT_COMMIT('-Am', 'without 2')");
    push(&left);
    let mut there = right.direct("p");
    there.run("INSERT INTO child VALUES (1, 2)");
    let before = head(&right);
    let error = pulled_from(&right, None).expect_err("its parent is gone").to_string();
    assert!(error.contains("child") && error.contains("Nothing was changed"), "{error}");
    let mut client = right.direct("p");
    assert_eq!(head(&right), before);
    assert_eq!(rows(&mut client, ROWS), ["1|a", "2|b", "3|c"]);
    assert_eq!(rows(&mut client, "SELECT id, parent FROM child"), ["1|2"]);
    assert_eq!(rows(&mut client, "SELECT table_name, staged FROM dolt_status"), ["child|0"]);
    assert!(rows(&mut client, "SELECT * FROM dolt_constraint_violations").is_empty());
    // Nor is anybody else's next write disturbed by it.
    there.run("INSERT INTO issues VALUES ('x-2', 'next', '2026-01-02 00:00:00')");
    there.run("DELETE FROM issues WHERE id = 'x-2'");
    assert!(rows(&mut client, "SELECT * FROM dolt_tags").is_empty());
    // With one that is there it comes, and the row stays uncommitted.
    client.run("UPDATE child SET parent = 3");
    let come = pulled(&right).come;
    assert_eq!((come.how, come.swept), (How::FastForward, None));
    let mut client = right.direct("p");
    assert_eq!(rows(&mut client, ROWS), ["1|a", "3|c"]);
    assert_eq!(rows(&mut client, "SELECT table_name, staged FROM dolt_status"), ["child|0"]);
    client.run("CALL DOLT_VERIFY_CONSTRAINTS('--all')");
    assert!(rows(&mut client, "SELECT * FROM dolt_constraint_violations").is_empty());
}

#[test]
fn what_may_be_half_done_says_so_and_names_the_commit() {
    use branchline::branch::finish::FinishError;
    let why = FinishError::HalfWay { why: "lost".to_owned(), swept: Some("abc".to_owned()) };
    let error =
        PullError::HalfWay { database: "p".to_owned(), remote: "origin/main".to_owned(), why: Box::new(why) };
    let text = error.to_string();
    assert!(text.contains("run it again: it completes") && text.contains("as abc"), "{text}");
    assert!(!text.contains("Nothing was changed"), "{text}");
}

#[test]
fn a_remote_is_registered_during_its_turn_and_not_when_it_is_looked_for() {
    let (bare, other) = (Repository::new(), Repository::new());
    let elsewhere = remote_url(&other);
    let server = first(&bare, |config| {
        config.remotes.databases.insert("p".to_owned(), RemoteOf { url: Some(elsewhere), ..plain() });
    });
    let mut client = server.direct("p");
    client.run(&format!("CALL DOLT_REMOTE('add', 'other', '{}')", other.file_url()));
    client.run("CALL DOLT_PUSH('other', 'main')");
    let url = "SELECT url FROM dolt_remotes WHERE name = 'origin'";
    let source = server.run(Source::find(&server.context, "p", None)).expect("found");
    assert_eq!(source.url, Some(remote_url(&other)));
    assert_eq!(client.row(url), bare.file_url(), "somebody may be pushing there");
    assert_eq!(pulled(&server).come.how, How::UpToDate);
    assert_eq!(client.row(url), other.file_url());
}

#[test]
fn rows_that_can_t_stay_uncommitted_are_committed_first_and_it_is_told() {
    let bare = Repository::new();
    let left = first(&bare, |_| {});
    let right = second(&bare, |_| {});
    left.direct("p").run("UPDATE t SET s = 'A' WHERE id = 1");
    left.direct("p").run("CALL DOLT_COMMIT('-Am', 'A')");
    push(&left);
    // The same row, and a table of its own.
    right.direct("p").run("UPDATE t SET s = 'mine' WHERE id = 1");
    right.direct("p").run("CREATE TABLE own (id BIGINT PRIMARY KEY)");
    let come = pulled(&right).come;
    assert_eq!((come.how, come.conflicts), (How::Merged, 1));
    let (_, why) = come.swept.expect("a commit of its own");
    assert!(why.contains("1 of its rows in t were changed"), "{why}");
    let log = rows(&mut right.direct("p"), "SELECT message FROM dolt_log LIMIT 2");
    assert!(log[1].starts_with("uncommitted rows of main, before the merge of origin/main"), "{log:?}");
}

#[test]
fn what_can_t_be_merged_changes_nothing_and_says_what_to_do() {
    let bare = Repository::new();
    let left = first(&bare, |_| {});
    let right = second(&bare, |config| {
        config.merge.rules = vec![MergeRule {
            database: None,
            table: Some(Glob::new("t")),
            column: Some(Glob::new("s")),
            cells: Some(CellRule::Manual),
            deleted: None,
            updated_at: None,
            origin: "test".to_owned(),
        }];
    });
    left.direct("p").run("UPDATE t SET s = 'A' WHERE id = 1");
    left.direct("p").run("CALL DOLT_COMMIT('-Am', 'A')");
    push(&left);
    let mut there = right.direct("p");
    there.run("UPDATE t SET s = 'mine' WHERE id = 1");
    there.run("CALL DOLT_COMMIT('-Am', 'mine')");
    there.run("INSERT INTO t VALUES (9, 'uncommitted')");
    let before = (head(&right), rows(&mut there, ROWS));
    let error = pulled_from(&right, None).expect_err("undecided");
    let PullError::Undecided { commit, .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    assert!(text.contains("Nothing was changed") && text.contains("branch resolve p pulled"), "{text}");
    assert_eq!((head(&right), rows(&mut right.direct("p"), ROWS)), before);

    // What it says, done.
    let mut person = right.login(&support::client::Login::root("p"));
    person.run(&format!("CALL DOLT_BRANCH('pulled', '{commit}')"));
    let row = branchline::branch::finish::ConflictedRow {
        database: "p".to_owned(),
        branch: "pulled".to_owned(),
        table: "t".to_owned(),
        key: vec![(Some("id".to_owned()), "1".to_owned())],
    };
    let progress = Progress::default();
    let decided = branchline::branch::finish::decide(
        &right.context,
        &row,
        branchline::merge::Choice::Theirs,
        "test",
        &progress,
    );
    right.run(decided).expect("decided");
    let request = branchline::branch::finish::FinishRequest {
        database: "p".to_owned(),
        branch: "pulled".to_owned(),
        push: false,
        keep: false,
        wait: std::time::Duration::from_secs(5),
        by: "test".to_owned(),
    };
    right.run(branchline::branch::finish::finish(&right.context, request, &progress)).expect("finished");
    assert_eq!(rows(&mut right.direct("p"), ROWS), ["1|A", "2|b", "3|c", "9|uncommitted"]);
    assert_eq!(pulled(&right).come.how, How::UpToDate);

    // Both changed a table's definition.
    push(&right);
    assert_eq!(pulled(&left).come.how, How::FastForward);
    left.direct("p").run("ALTER TABLE t MODIFY s VARCHAR(100)");
    left.direct("p").run("CALL DOLT_COMMIT('-Am', 'wider')");
    push(&left);
    right.direct("p").run("CALL DOLT_COMMIT('-Am', 'all')");
    right.direct("p").run("ALTER TABLE t MODIFY s TEXT");
    right.direct("p").run("CALL DOLT_COMMIT('-Am', 'longer')");
    let before = head(&right);
    let text = pulled_from(&right, None).expect_err("a schema conflict").to_string();
    assert!(text.contains("make the schemas equal") && text.contains("Nothing was changed"), "{text}");
    assert_eq!(head(&right), before);
}

#[test]
fn remotes_that_can_t_be_pulled_from_say_why() {
    let (bare, other, empty) = (Repository::new(), Repository::new(), Repository::new());
    let left = first(&bare, |config| {
        config.remotes.databases.insert("p".to_owned(), plain());
    });
    let stranger = Embedded::start(|_| {});
    stranger.database("p", &[]);
    stranger.direct("p").run(&format!("CALL DOLT_REMOTE('add', 'origin', '{}')", other.file_url()));
    push(&stranger);
    let mut client = left.direct("p");
    client.run(&format!("CALL DOLT_REMOTE('add', 'other', '{}')", other.file_url()));
    client.run(&format!("CALL DOLT_REMOTE('add', 'empty', '{}')", empty.file_url()));
    client.run("CALL DOLT_REMOTE('add', 'gone', 'git+file:///nowhere/r.git')");
    let before = head(&left);
    let error = pulled_from(&left, Some("other")).expect_err("unrelated");
    assert!(matches!(error, PullError::Unrelated { .. }), "{error}");
    let error = pulled_from(&left, Some("empty")).expect_err("no data");
    assert!(matches!(error, PullError::Fetch(FetchError::Empty { .. })), "{error}");
    let error = pulled_from(&left, Some("gone")).expect_err("no repository");
    assert!(error.to_string().contains("unreachable: "), "{error}");
    let error = pulled_from(&left, Some("nobody")).expect_err("no remote").to_string();
    assert!(error.contains("no remote \"nobody\"; it has empty, gone, origin, other"), "{error}");
    let request = PullRequest { database: "q".to_owned(), remote: None, by: "test".to_owned() };
    let error = left.run(pull(&left.context, &request, &Progress::default())).expect_err("no database");
    assert!(matches!(error, PullError::Fetch(FetchError::NoDatabase(_))), "{error}");
    assert_eq!(head(&left), before);
    assert!(!left.context.remotes.turns.is_held("p"));
}

/// `p` with a peer.
fn with_peer(bare: &Repository, into: PeerInto) -> impl FnOnce(&mut branchline::config::Config) {
    let peer = PeerOf { name: "alice".to_owned(), url: remote_url(bare), into, every: None };
    move |config| {
        let remote = RemoteOf { peers: vec![peer], ..plain() };
        config.remotes.databases.insert("p".to_owned(), remote);
    }
}

fn got(server: &Embedded) -> Got {
    let request =
        PullRequest { database: "p".to_owned(), remote: Some("alice".to_owned()), by: "test".to_owned() };
    server.run(get(&server.context, &request, &Progress::default())).expect("fetched")
}

fn fetched(server: &Embedded) -> Fetched {
    match got(server) {
        Got::Branch(fetched) => fetched,
        Got::Main(pulled) => panic!("{pulled:?}"),
    }
}

#[test]
fn a_peer_s_branch_is_for_queries_only_and_loses_nothing() {
    let bare = Repository::new();
    let alice = first(&bare, |_| {});
    let server = second(&bare, with_peer(&bare, PeerInto::Branch));
    // What the schedule could not fetch is told; by hand it is fetched, and the alert is over.
    let alerts = &server.context.alerts;
    let shown = remote_url(&bare).to_string();
    alerts.note("p", &shown, branchline::remote::Outcome::Auth, "a token that has run out", "");
    assert_eq!(alerts.list(false).len(), 1);
    let first = fetched(&server);
    assert!(alerts.list(false).is_empty(), "{:?}", alerts.list(false));
    assert_eq!((first.branch.as_str(), first.moved, first.kept.as_deref()), ("peer/alice/main", true, None));
    alice.direct("p").run("INSERT INTO t VALUES (4, 'of alice')");
    alice.direct("p").run("CALL DOLT_COMMIT('-Am', 'of alice')");
    push(&alice);
    assert!(fetched(&server).moved);
    assert!(!fetched(&server).moved);

    let mut client = server.login(&support::client::Login::root("p"));
    assert_eq!(rows(&mut client, ROWS), ["1|a", "2|b", "3|c"]);
    assert_eq!(client.row("SELECT s FROM t AS OF 'peer/alice/main' WHERE id = 4"), "of alice");
    let join = "SELECT theirs.s FROM `p/peer/alice/main`.t theirs LEFT JOIN t ours ON ours.id = theirs.id \
                WHERE ours.id IS NULL";
    assert_eq!(rows(&mut client, join), ["of alice"]);
    let error = client.err("INSERT INTO `p/peer/alice/main`.t VALUES (5, 'x')");
    assert_eq!(error.code, 1290, "{error:?}");
    client.use_database("p/peer/alice/main").expect("used");
    assert_eq!(client.row("SELECT COUNT(*) FROM t"), "4");
    for sql in [
        "DELETE FROM t",
        "CREATE TABLE n (id INT PRIMARY KEY)",
        "CALL DOLT_COMMIT('-Am', 'x', '--allow-empty')",
    ] {
        let error = client.err(sql);
        assert!(error.code == 1290 && error.message.contains("only read"), "{sql}: {error:?}");
    }
    client.run("CALL DOLT_BRANCH('mine', 'peer/alice/main')");
    client.run("CALL DOLT_CHECKOUT('mine')");
    client.run("INSERT INTO t VALUES (5, 'mine')");

    // Past Branchline, it can be written to.
    let mut past = server.direct("p/peer/alice/main");
    past.run("INSERT INTO t VALUES (6, 'past')");
    let kept = fetched(&server).kept.expect("kept");
    assert_eq!(client.row(&format!("SELECT s FROM t AS OF '{kept}' WHERE id = 6")), "past");
    assert_eq!(server.direct("p").row("SELECT COUNT(*) FROM t AS OF 'peer/alice/main'"), "4");
    assert_eq!(fetched(&server).kept, None);

    // What ends all branches leaves it.
    let request = branchline::branch::finish::FinishRequest {
        database: "p".to_owned(),
        branch: String::new(),
        push: false,
        keep: false,
        wait: std::time::Duration::from_secs(5),
        by: "test".to_owned(),
    };
    let progress = Progress::default();
    let all = branchline::branch::finish::finish_all(&server.context, request, vec![], &progress);
    let all = server.run(all).expect("finished");
    assert!(all.iter().all(|(branch, _)| !branch.starts_with("peer/")), "{all:?}");
    let branches = rows(&mut server.direct("p"), "SELECT name FROM dolt_branches ORDER BY name");
    assert_eq!(branches, ["main", "peer/alice/main"]);
}

#[test]
fn a_peer_into_main_is_pulled_and_on_a_schedule() {
    let bare = Repository::new();
    let alice = first(&bare, |_| {});
    let server = second(&bare, |config| {
        with_peer(&bare, PeerInto::Main)(config);
        let remote = config.remotes.databases.get_mut("p").expect("p");
        remote.peers[0].every = Some(std::time::Duration::from_secs(60));
    });
    alice.direct("p").run("INSERT INTO t VALUES (4, 'of alice')");
    alice.direct("p").run("CALL DOLT_COMMIT('-Am', 'of alice')");
    push(&alice);
    let stopping = tokio_util::sync::CancellationToken::new();
    let running = run(std::sync::Arc::clone(&server.context), stopping.clone());
    server.run(async {
        let running = tokio::spawn(running);
        let deadline = std::time::Duration::from_secs(20);
        tokio::time::timeout(deadline, async {
            while head_async(&server).await != head_async(&alice).await {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("pulled by itself");
        stopping.cancel();
        running.await.expect("ended");
    });
    assert!(matches!(got(&server), Got::Main(Pulled { come, .. }) if come.how == How::UpToDate));
    assert_eq!(
        rows(&mut server.direct("p"), "SELECT name FROM dolt_remotes ORDER BY name"),
        ["alice", "origin"]
    );
}

async fn head_async(server: &Embedded) -> String {
    let sql = "SELECT dolt_hashof('main') FROM p.dolt_branches LIMIT 1";
    let control = server.context.dolt.control();
    let mut session = control.dedicated().await.expect("a connection");
    session.rows("USE p", Vec::new()).await.expect("used");
    let rows = session.rows(sql, Vec::new()).await.expect("a hash");
    mysql_async::from_row::<String>(rows.into_iter().next().expect("a row"))
}
