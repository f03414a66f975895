//! The conflict engine against the real server: what rules decide, what stops a merge, and that nothing is left of
//! a merge that was stopped.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;

use branchline::config::{CellRule, DeleteRule, Glob, MergePolicy, MergeRule};
use branchline::merge::{
    Choice, ConflictView, Decision, MergeError, MergeRequest, Merged, Wanted, conflicts, merge_into,
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
        self.merge_branch("x", policy, decisions).await
    }

    async fn merge_branch(
        &mut self,
        theirs: &str,
        policy: &MergePolicy,
        decisions: &[Decision],
    ) -> Result<Merged, MergeError> {
        let request = MergeRequest {
            database: "m",
            theirs,
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
        conflicts(
            &mut self.writer,
            &mut self.reader,
            &request,
            &Wanted { table: None, row: &|_| true, limit: 100 },
        )
        .await
        .expect("conflicts")
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
            "bd-1 theirs closed [\"b\", \"c\"] 3 13 2026-01-03 00:00:00",
            "bd-2 changed open 1 10 2026-01-03 00:00:00",
            "bd-3 ours open 1 10 2026-01-03 00:00:00",
            "bd-4 alone open 1 10 2026-01-01 00:00:00",
            "bd-5 ours open [\"x\", \"y\"] 0 2 2026-01-05 00:00:00",
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
    let head = rows(&mut merge.writer, "SELECT dolt_hashof('HEAD')").await.remove(0);
    let parents = format!(
        "SELECT parent_hash FROM dolt_commit_ancestors WHERE CONCAT(commit_hash) = '{head}' ORDER BY parent_index"
    );
    let parents = rows(&mut merge.writer, &parents).await;
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
        (
            vec![two, fill],
            vec!["DROP TABLE p"],
            vec!["UPDATE p SET a = 9 WHERE id = 1"],
            "p (dropped on the branch that is merged into",
        ),
        (
            vec![two, fill],
            vec!["UPDATE p SET a = 9 WHERE id = 1"],
            vec!["DROP TABLE p"],
            "p (dropped on the branch that is merged,",
        ),
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
async fn the_order_of_two_branches_does_not_matter() {
    let mut merge = Fixture::new(
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9), b INT, n INT, l JSON, updated_at DATETIME)",
            "INSERT INTO t VALUES (1, 'x', 0, 5, '[1, 2]', '2026-01-01'), (2, 'x', 0, 5, '[]', '2026-01-01'), \
             (3, 'x', 0, 5, NULL, '2026-01-01'), (4, 'x', 0, 5, NULL, '2026-01-01')",
        ],
        &[],
        &[
            "UPDATE t SET a = 'one', n = n + 1, l = '[2, 3]', updated_at = '2026-01-02' WHERE id = 1",
            "UPDATE t SET a = 'tie', b = 1, l = '[\"p\"]', updated_at = '2026-01-02' WHERE id = 2",
            "DELETE FROM t WHERE id = 3",
            "UPDATE t SET n = 6 WHERE id = 4",
            "INSERT INTO t VALUES (5, 'one', 1, 1, '[1]', '2026-01-02')",
        ],
    )
    .await;
    run(
        &mut merge.writer,
        &[
            "CALL DOLT_CHECKOUT('-b', 'y')",
            "UPDATE t SET a = 'two', n = n + 2, l = '[1, 2, 4]', updated_at = '2026-01-03' WHERE id = 1",
            "UPDATE t SET a = 'same', n = 9, l = '[\"q\"]', updated_at = '2026-01-02' WHERE id = 2",
            "UPDATE t SET b = 3, updated_at = '2026-01-03' WHERE id = 3",
            "UPDATE t SET n = 6 WHERE id = 4",
            "INSERT INTO t VALUES (5, 'two', 2, 1, '[2]', '2026-01-01')",
            "CALL DOLT_COMMIT('-am', 'y')",
            "CALL DOLT_CHECKOUT('main')",
        ],
    )
    .await;
    let start = rows(&mut merge.writer, "SELECT dolt_hashof('HEAD')").await.remove(0);
    let policy = policy([cells("n", CellRule::Sum)]);
    let mut results = Vec::new();
    for order in [["x", "y"], ["y", "x"]] {
        run(&mut merge.writer, &[&format!("CALL DOLT_RESET('--hard', '{start}')")]).await;
        for branch in order {
            merge.merge_branch(branch, &policy, &[]).await.expect("merged");
        }
        results.push(
            rows(&mut merge.writer, "SELECT CONCAT_WS(' ', id, a, b, n, l, updated_at) FROM t ORDER BY id")
                .await,
        );
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0][0], "1 two 0 8 [2, 3, 4] 2026-01-03 00:00:00");
}

#[tokio::test]
async fn counters_that_both_set_to_the_same_are_summed_all_the_same() {
    let mut merge = Fixture::new(
        &[
            "CREATE TABLE hits (id INT PRIMARY KEY, n INT, d DECIMAL(9, 2), o INT)",
            "INSERT INTO hits VALUES (1, 5, 1.5, 0), (2, 5, 1.5, 0), (3, 5, 0, 0)",
        ],
        &[
            "UPDATE hits SET n = n + 1 WHERE id < 3",
            "UPDATE hits SET d = 2.25 WHERE id = 1",
            "INSERT INTO hits VALUES (4, 1, 0, 0)",
            "UPDATE hits SET o = 1 WHERE id = 2",
        ],
        &[
            "UPDATE hits SET n = n + 1",
            "UPDATE hits SET d = 2.25 WHERE id = 1",
            "INSERT INTO hits VALUES (4, 1, 0, 0)",
            "UPDATE hits SET o = 2 WHERE id = 2",
        ],
    )
    .await;
    let merged = merge.merge(&policy([cells("n", CellRule::Sum), cells("d", CellRule::Sum)]), &[]).await;
    let merged = merged.expect("merged");
    let got = rows(&mut merge.writer, "SELECT CONCAT_WS(' ', id, n, d) FROM hits ORDER BY id").await;
    assert_eq!(got, ["1 7 3.00", "2 7 1.50", "3 6 0.00", "4 2 0.00"]);
    let audited: Vec<_> =
        merge.audit.0.lock().expect("not poisoned").iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(audited, ["2", "1", "4", "1"], "each once, the conflict first");
    assert_eq!(merged.conflicts(), 4);
    assert_eq!(rows(&mut merge.writer, "SELECT table_name FROM dolt_status").await, Vec::<String>::new());
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

/// 100,000 with BRANCHLINE_MERGE_ROWS=100000; fewer in each run.
#[tokio::test]
async fn many_conflicts_take_little_memory_and_time() {
    let count: u32 =
        std::env::var("BRANCHLINE_MERGE_ROWS").map_or(20_000, |text| text.parse().expect("a number"));
    let note = "x".repeat(200);
    let inserts: Vec<String> = (0..count)
        .step_by(5000)
        .map(|from| {
            let rows =
                (from..count.min(from + 5000)).map(|id| format!("({id}, 0, 0, '{note}', '2026-01-01')"));
            format!("INSERT INTO t VALUES {}", rows.collect::<Vec<_>>().join(","))
        })
        .collect();
    let mut base = vec!["CREATE TABLE t (id INT PRIMARY KEY, n INT, m INT, note TEXT, updated_at DATETIME)"];
    base.extend(inserts.iter().map(String::as_str));
    let ours = ["UPDATE t SET n = 1, m = id, updated_at = '2026-01-02'"];
    let theirs = ["UPDATE t SET n = 2, updated_at = '2026-01-03'"];
    let mut merge = Fixture::new(&base, &ours, &theirs).await;
    drop(base);
    drop(inserts);
    let me = std::process::id();
    support::watch::reset_peak(me);
    let before = support::watch::memory_kib(me, "VmRSS");
    let started = std::time::Instant::now();
    // The audit goes where it does in earnest: memory is for the engine.
    let directory = tempfile::tempdir().expect("a directory");
    let log = branchline::observe::audit::AuditLog::open(directory.path(), 1 << 30, 1).expect("opened");
    let sink = log.merge("id", "m", "x");
    let policy = MergePolicy::default();
    let request = MergeRequest {
        database: "m",
        theirs: "x",
        policy: &policy,
        decisions: &[],
        progress: &merge.progress,
        audit: &sink,
    };
    run(&mut merge.writer, &["SET autocommit = 0"]).await;
    let merged = merge_into(&mut merge.writer, &mut merge.reader, &request).await.expect("merged");
    run(&mut merge.writer, &["CALL DOLT_COMMIT('-m', 'merged')", "COMMIT"]).await;
    let took = started.elapsed();
    let peak = support::watch::memory_kib(me, "VmHWM");
    println!("{count} conflicts in {took:?}, from {before} KiB to {peak} KiB at most");
    assert_eq!(merged.conflicts(), u64::from(count));
    assert!(merged.message().lines().count() < 70, "the message is bounded");
    let right = rows(
        &mut merge.writer,
        "SELECT COUNT(*) FROM t WHERE n = 2 AND m = id AND updated_at = '2026-01-03'",
    )
    .await;
    assert_eq!(right, [count.to_string()]);
    let audited = std::fs::read_to_string(directory.path().join("audit.log")).expect("audited");
    assert_eq!(audited.lines().count(), count as usize);
    assert!(took.as_secs() < 60, "{took:?}");
    assert!(peak.saturating_sub(before) < 64 * 1024, "from {before} KiB to {peak} KiB");
}
