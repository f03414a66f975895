//! The conflict engine against the real server: what rules decide, what stops a merge, and that nothing is left of
//! a merge that was stopped.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;

use branchline::config::{CellRule, DeleteRule, Glob, MergePolicy, MergeRule};
use branchline::merge::{
    Choice, ConflictView, Decision, MergeError, MergeRequest, Merged, conflicts, merge_into,
};
use branchline::observe::audit::{AuditEntry, AuditSink};
use branchline::observe::progress::Progress;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use support::plain::PlainDolt;

#[derive(Default)]
struct Kept(Mutex<Vec<AuditEntry>>);

#[async_trait::async_trait]
impl AuditSink for Kept {
    async fn record(&self, entries: Vec<AuditEntry>) -> std::io::Result<()> {
        self.0.lock().expect("not poisoned").extend(entries);
        Ok(())
    }
}

/// A database `m` with the branches `main` and `x`, and the connections of a merge.
struct Fixture {
    dolt: PlainDolt,
    writer: Conn,
    reader: Conn,
    audit: Kept,
    progress: Progress,
}

async fn root(port: u16) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some("root"));
    Conn::new(options).await.expect("root logs in")
}

async fn run(conn: &mut Conn, statements: &[&str]) {
    for sql in statements {
        conn.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn rows(conn: &mut Conn, sql: &str) -> Vec<String> {
    conn.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

impl Fixture {
    /// The base, then what each branch does; each is Dolt-committed.
    async fn new(base: &[&str], ours: &[&str], theirs: &[&str]) -> Self {
        let dolt = PlainDolt::start();
        let mut writer = root(dolt.port()).await;
        let reader = root(dolt.port()).await;
        run(&mut writer, &["CREATE DATABASE m", "USE m"]).await;
        run(&mut writer, base).await;
        run(&mut writer, &["CALL DOLT_COMMIT('-Am', 'base')", "CALL DOLT_BRANCH('x')"]).await;
        run(&mut writer, ours).await;
        run(
            &mut writer,
            &["CALL DOLT_COMMIT('-A', '--skip-empty', '-m', 'ours')", "CALL DOLT_CHECKOUT('x')"],
        )
        .await;
        run(&mut writer, theirs).await;
        run(
            &mut writer,
            &["CALL DOLT_COMMIT('-A', '--skip-empty', '-m', 'theirs')", "CALL DOLT_CHECKOUT('main')"],
        )
        .await;
        Self { dolt, writer, reader, audit: Kept::default(), progress: Progress::default() }
    }

    async fn merge(&mut self, policy: &MergePolicy, decisions: &[Decision]) -> Result<Merged, MergeError> {
        let request = MergeRequest {
            database: "m",
            theirs: "x",
            policy,
            decisions,
            progress: &self.progress,
            audit: &self.audit,
        };
        run(&mut self.writer, &["SET autocommit = 0"]).await;
        let merged = merge_into(&mut self.writer, &mut self.reader, &request).await;
        match &merged {
            Ok(merged) if !merged.up_to_date => {
                let message = merged.message();
                self.writer.exec_drop("CALL DOLT_COMMIT('-m', ?)", (message,)).await.expect("Dolt-committed");
                run(&mut self.writer, &["COMMIT"]).await;
            }
            _ => run(&mut self.writer, &["ROLLBACK"]).await,
        }
        run(&mut self.writer, &["SET autocommit = 1"]).await;
        merged
    }

    async fn views(&mut self, policy: &MergePolicy, decisions: &[Decision]) -> Vec<ConflictView> {
        let request = MergeRequest {
            database: "m",
            theirs: "x",
            policy,
            decisions,
            progress: &self.progress,
            audit: &self.audit,
        };
        conflicts(&mut self.writer, &mut self.reader, &request, 100).await.expect("conflicts")
    }

    /// All that a merge could change.
    async fn state(&mut self) -> Vec<String> {
        let sql = "SELECT CONCAT_WS(' ', dolt_hashof_db('HEAD'), dolt_hashof_db('STAGED'), dolt_hashof_db('WORKING'), \
                   dolt_hashof('HEAD'), (SELECT COUNT(*) FROM dolt_status), (SELECT COUNT(*) FROM dolt_conflicts))";
        let mut other = root(self.dolt.port()).await;
        run(&mut other, &["USE m"]).await;
        let mut state = rows(&mut self.writer, sql).await;
        state.extend(rows(&mut other, sql).await);
        state
    }

    async fn refused(&mut self, policy: &MergePolicy) -> MergeError {
        let before = self.state().await;
        let error = self.merge(policy, &[]).await.expect_err("refused");
        assert_eq!(self.state().await, before, "nothing has changed: {error}");
        error
    }
}

fn policy(rules: impl IntoIterator<Item = MergeRule>) -> MergePolicy {
    MergePolicy { rules: rules.into_iter().collect() }
}

fn cells(column: &str, rule: CellRule) -> MergeRule {
    MergeRule { column: Some(Glob::new(column)), cells: Some(rule), ..MergeRule::default() }
}

#[tokio::test]
async fn conflicts_are_decided_cell_by_cell_and_written_down() {
    let mut merge = Fixture::new(
        &[
            "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title VARCHAR(50), status VARCHAR(20), labels JSON, \
             compaction_level INT, hits INT, updated_at DATETIME(6))",
            "INSERT INTO issues VALUES ('bd-1', 't', 'open', '[\"a\", \"b\"]', 1, 10, '2026-01-01'), \
             ('bd-2', 't', 'open', NULL, 1, 10, '2026-01-01'), ('bd-3', 't', 'open', NULL, 1, 10, '2026-01-01'), \
             ('bd-4', 't', 'open', NULL, 1, 10, '2026-01-01')",
        ],
        &[
            "UPDATE issues SET title = 'ours', labels = '[\"b\"]', compaction_level = 3, hits = 12, \
             updated_at = '2026-01-02' WHERE id = 'bd-1'",
            "DELETE FROM issues WHERE id = 'bd-2'",
            "UPDATE issues SET title = 'ours', updated_at = '2026-01-03' WHERE id = 'bd-3'",
            "INSERT INTO issues VALUES ('bd-5', 'ours', 'open', '[\"x\"]', 0, 1, '2026-01-05')",
        ],
        &[
            "UPDATE issues SET title = 'theirs', status = 'closed', labels = '[\"a\", \"b\", \"c\"]', \
             compaction_level = 2, hits = 11, updated_at = '2026-01-03' WHERE id = 'bd-1'",
            "UPDATE issues SET title = 'changed', updated_at = '2026-01-03' WHERE id = 'bd-2'",
            "DELETE FROM issues WHERE id = 'bd-3'",
            "UPDATE issues SET title = 'alone' WHERE id = 'bd-4'",
            "INSERT INTO issues VALUES ('bd-5', 'theirs', 'open', '[\"y\"]', 0, 1, '2026-01-04')",
        ],
    )
    .await;
    let mut policy = MergePolicy::default();
    policy.rules.insert(0, cells("hits", CellRule::Sum));
    let views = merge.views(&policy, &[]).await;
    assert_eq!(
        views.iter().map(|view| view.key.as_str()).collect::<Vec<_>>(),
        ["bd-1", "bd-2", "bd-3", "bd-5"]
    );
    assert!(views[1].ours.is_none() && views[1].result.is_some() && !views[1].undecided, "{:?}", views[1]);
    let merged = merge.merge(&policy, &[]).await.expect("merged");
    assert_eq!(
        rows(
            &mut merge.writer,
            "SELECT CONCAT_WS(' ', id, title, status, labels, compaction_level, hits, updated_at) FROM issues ORDER BY id"
        )
        .await,
        [
            "bd-1 theirs closed [\"b\", \"c\"] 3 13 2026-01-03 00:00:00.000000",
            "bd-2 changed open 1 10 2026-01-03 00:00:00.000000",
            "bd-3 ours open 1 10 2026-01-03 00:00:00.000000",
            "bd-4 alone open 1 10 2026-01-01 00:00:00.000000",
            "bd-5 ours open [\"x\", \"y\"] 0 2 2026-01-05 00:00:00.000000",
        ]
    );
    assert_eq!(merged.conflicts(), 4);
    let message = rows(&mut merge.writer, "SELECT message FROM dolt_log LIMIT 1").await.remove(0);
    for part in [
        "issues bd-1: title: newest (theirs), labels: union, compaction_level: max, hits: sum",
        "issues bd-2: changed row kept",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let parents = rows(
        &mut merge.writer,
        "SELECT parent_hash FROM dolt_commit_ancestors WHERE commit_hash = dolt_hashof('HEAD')",
    )
    .await;
    assert_eq!(parents, [merged.ours.clone(), merged.theirs.clone()]);
    let audited = std::mem::take(&mut *merge.audit.0.lock().expect("not poisoned"));
    assert_eq!(
        audited.iter().map(|entry| (entry.key.as_str(), entry.row)).collect::<Vec<_>>(),
        [("bd-1", "merged"), ("bd-2", "kept"), ("bd-3", "kept"), ("bd-5", "merged")]
    );
    let labels = audited[0].cells.iter().find(|cell| cell.column == "labels").expect("decided");
    assert_eq!((labels.base.as_deref(), labels.ours.as_deref()), (Some("[\"a\", \"b\"]"), Some("[\"b\"]")));
    assert_eq!(rows(&mut merge.writer, "SELECT table_name FROM dolt_status").await, Vec::<String>::new());
    assert!(merge.merge(&policy, &[]).await.expect("nothing to do").up_to_date);
}

#[tokio::test]
async fn what_no_rule_decides_stops_it_until_somebody_decided() {
    let mut merge = Fixture::new(
        &[
            "CREATE TABLE t (a INT, b VARCHAR(9), n INT, m INT, PRIMARY KEY (a, b))",
            "INSERT INTO t VALUES (1, 'x,y', 0, 0), (2, 'z', 0, 0), (3, 'w', 0, 0)",
        ],
        &["UPDATE t SET n = 1, m = 1 WHERE a < 3", "DELETE FROM t WHERE a = 3"],
        &["UPDATE t SET n = 2 WHERE a < 3", "UPDATE t SET n = 2 WHERE a = 3"],
    )
    .await;
    let mut manual = cells("n", CellRule::Manual);
    manual.deleted = Some(DeleteRule::Manual);
    let policy = policy([manual]);
    let error = merge.refused(&policy).await.to_string();
    assert_eq!(
        error,
        "3 rows are for you to decide: t 1,x\\,y: n; t 2,z: n; t 3,w: deleted on one branch, changed on the other"
    );
    let views = merge.views(&policy, &[]).await;
    assert!(views.iter().all(|view| view.undecided));
    let decision = |at: usize, choice| Decision {
        table: "t".to_owned(),
        key: views[at].key.clone(),
        choice,
        fingerprint: views[at].fingerprint.clone(),
        by: "me".to_owned(),
    };
    let set = Choice::Set(BTreeMap::from([("n".to_owned(), Some("7".to_owned()))]));
    let mut decisions = [decision(0, set.clone()), decision(1, Choice::Theirs), decision(2, set)];
    // Somebody else's change makes a decision one about other values.
    run(&mut merge.writer, &["UPDATE t SET n = 5 WHERE a = 2", "CALL DOLT_COMMIT('-am', 'moved')"]).await;
    let error = merge.merge(&policy, &decisions).await.expect_err("stale").to_string();
    assert_eq!(error, "1 row is for you to decide: t 2,z: n (what was decided was about other values)");
    decisions[1].fingerprint = merge.views(&policy, &[]).await[1].fingerprint.clone();
    merge.merge(&policy, &decisions).await.expect("decided");
    assert_eq!(
        rows(&mut merge.writer, "SELECT CONCAT_WS(' ', a, b, n, m) FROM t ORDER BY a").await,
        ["1 x,y 7 1", "2 z 2 1", "3 w 7 0"]
    );
}

#[tokio::test]
async fn what_cannot_be_merged_is_refused_and_leaves_all_as_it_was() {
    let two = "CREATE TABLE p (id INT PRIMARY KEY, a INT UNIQUE)";
    let child = "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))";
    let generated = "CREATE TABLE g (id INT PRIMARY KEY, a INT, b INT GENERATED ALWAYS AS (a + 1) STORED)";
    let fill = "INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)";
    for (base, ours, theirs, says) in [
        (
            vec![two, child, fill],
            vec!["DELETE FROM p WHERE id = 2"],
            vec!["INSERT INTO c VALUES (1, 2)"],
            "foreign key",
        ),
        (
            vec![two, fill],
            vec!["INSERT INTO p VALUES (4, 9)"],
            vec!["INSERT INTO p VALUES (5, 9)"],
            "p (unique index a in row 4, unique index a in row 5)",
        ),
        // Only resolving makes these two the same.
        (
            vec![two, fill],
            vec!["DELETE FROM p WHERE id = 1", "UPDATE p SET a = 9 WHERE id = 2"],
            vec!["UPDATE p SET a = 9 WHERE id = 1"],
            "unique index a",
        ),
        (
            vec!["CREATE TABLE k (a INT)", "INSERT INTO k VALUES (1), (1)"],
            vec!["DELETE FROM k LIMIT 1"],
            vec!["DELETE FROM k"],
            "table k has no primary key",
        ),
        (
            vec![two, fill],
            vec!["ALTER TABLE p MODIFY a BIGINT"],
            vec!["ALTER TABLE p MODIFY a VARCHAR(20)"],
            "the schema conflicts",
        ),
        (vec![two, fill], vec!["DROP TABLE p"], vec!["UPDATE p SET a = 9 WHERE id = 1"], "p"),
        (vec![two, fill], vec!["UPDATE p SET a = 9 WHERE id = 1"], vec!["DROP TABLE p"], "p"),
        (
            vec![generated, "INSERT INTO g (id, a) VALUES (1, 1)"],
            vec!["UPDATE g SET a = 2"],
            vec!["UPDATE g SET a = 3"],
            "CREATE INDEX on the table on both",
        ),
    ] {
        let mut merge = Fixture::new(&base, &ours, &theirs).await;
        let error = merge.refused(&MergePolicy::default()).await.to_string();
        assert!(error.contains(says), "{says} in {error}");
    }
}

#[tokio::test]
async fn triggers_do_not_write_again_what_came_with_the_merge() {
    let mut merge = Fixture::new(
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, n INT, m INT, updated_at DATETIME)",
            "CREATE TABLE log (id VARCHAR(36) PRIMARY KEY DEFAULT (UUID()), what VARCHAR(20))",
            "INSERT INTO t VALUES (1, 0, 0, '2026-01-01'), (2, 0, 0, '2026-01-01'), (3, 0, 0, '2026-01-01')",
            "CREATE TRIGGER ti AFTER INSERT ON t FOR EACH ROW INSERT INTO log (what) VALUES ('insert')",
            "CREATE TRIGGER tu AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (what) VALUES ('update')",
            "CREATE TRIGGER td AFTER DELETE ON t FOR EACH ROW INSERT INTO log (what) VALUES ('delete')",
        ],
        &["UPDATE t SET n = 1, m = 1, updated_at = '2026-01-02' WHERE id = 1", "DELETE FROM t WHERE id = 2"],
        &["UPDATE t SET n = 2, updated_at = '2026-01-03' WHERE id < 3"],
    )
    .await;
    merge.merge(&MergePolicy::default(), &[]).await.expect("merged");
    let t = rows(&mut merge.writer, "SELECT CONCAT_WS(' ', id, n, m, updated_at) FROM t ORDER BY id").await;
    assert_eq!(t, ["1 2 1 2026-01-03 00:00:00", "2 2 0 2026-01-03 00:00:00", "3 0 0 2026-01-01 00:00:00"]);
    let log = rows(&mut merge.writer, "SELECT what FROM log ORDER BY what").await;
    assert_eq!(log, ["delete", "update", "update", "update"], "what the branches' own writes fired");
}

#[tokio::test]
async fn rows_without_a_time_come_from_the_newer_commit() {
    let mut merge = Fixture::new(
        &["CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 0)"],
        &["UPDATE t SET n = 9"],
        &["UPDATE t SET n = 2", "CALL DOLT_COMMIT('-am', 'later', '--date', '2099-01-01T00:00:00')"],
    )
    .await;
    let merged = merge.merge(&MergePolicy::default(), &[]).await.expect("merged");
    assert_eq!(rows(&mut merge.writer, "SELECT n FROM t").await, ["2"]);
    assert!(merged.message().contains("t 1: n: newer commit (theirs)"), "{}", merged.message());
}

#[tokio::test]
async fn uncommitted_rows_of_other_tables_stay_as_they_are() {
    let mut merge = Fixture::new(
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, n INT)",
            "CREATE TABLE o (id INT PRIMARY KEY)",
            "INSERT INTO t VALUES (1, 0)",
        ],
        &["UPDATE t SET n = 9"],
        &["UPDATE t SET n = 2"],
    )
    .await;
    run(&mut merge.writer, &["INSERT INTO o VALUES (1)"]).await;
    merge.merge(&MergePolicy::default(), &[]).await.expect("merged");
    let status = rows(&mut merge.writer, "SELECT CONCAT_WS(' ', table_name, staged) FROM dolt_status").await;
    assert_eq!(status, ["o 0"]);
    let mode =
        rows(&mut merge.writer, "SELECT CONCAT_WS(' ', @@foreign_key_checks, @@dolt_dont_merge_json)").await;
    assert_eq!(mode, ["1 0"], "the session's settings are back");
}
