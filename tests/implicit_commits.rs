//! Which statements commit an open transaction in Dolt, and whether `Class::may_commit_implicitly` knows: the
//! table in `src/statement/effects.rs`.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

mod support;

use std::net::SocketAddr;

use branchline::statement::effects::{Effects, scan};
use branchline::statement::lexer::DoubleQuotes;
use support::client::{Client, Login};
use support::plain::PlainDolt;

/// A Dolt with two sessions: one has the transaction, the other looks.
struct Bench {
    _dolt: PlainDolt,
    subject: Client,
    witness: Client,
    next: u32,
}

/// What became of a transaction with one row in it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    committed: bool,
    /// A row inserted next is seen by others before COMMIT.
    autocommits_then: bool,
    failed: bool,
}

impl Bench {
    fn start() -> Self {
        let dolt = PlainDolt::start();
        let addr = SocketAddr::from(([127, 0, 0, 1], dolt.port()));
        let mut subject = Client::connect(addr, &Login::root(""));
        for sql in [
            "CREATE DATABASE d",
            "USE d",
            "CREATE TABLE t (a INT PRIMARY KEY)",
            "CREATE TABLE u (a INT PRIMARY KEY, b INT)",
            "CREATE TABLE clean (a INT PRIMARY KEY)",
            "CREATE PROCEDURE only_reads() SELECT 1",
            "CREATE PROCEDURE creates() CREATE TABLE by_procedure (a INT)",
            "CREATE USER app@localhost",
            "CALL DOLT_COMMIT('-Am', 'tables')",
        ] {
            subject.run(sql);
        }
        let witness = Client::connect(addr, &Login::root("d"));
        Self { _dolt: dolt, subject, witness, next: 0 }
    }

    fn insert(&mut self) -> u32 {
        self.next += 1;
        self.subject.run(&format!("INSERT INTO d.t VALUES ({})", self.next));
        self.next
    }

    fn seen(&mut self, row: u32) -> bool {
        self.witness.row(&format!("SELECT COUNT(*) FROM d.t WHERE a = {row}")) == "1"
    }

    /// Runs `sql` in a transaction that `begin` opened and that has one row in it.
    fn within(&mut self, begin: &str, set_up: &[&str], sql: &str) -> Outcome {
        self.subject.run("ROLLBACK");
        self.subject.run("SET autocommit = 1");
        for sql in set_up.iter().chain([&begin]) {
            self.subject.run(sql);
        }
        let row = self.insert();
        let failed = self.subject.query(sql).is_err();
        let committed = self.seen(row);
        let row = self.insert();
        let autocommits_then = self.seen(row);
        self.subject.run("COMMIT");
        assert!(self.seen(row), "{sql}: COMMIT");
        Outcome { committed, autocommits_then, failed }
    }
}

fn may_commit(sql: &str) -> bool {
    let effects = Effects::of(sql.as_bytes(), true, DoubleQuotes::Text);
    assert!(effects.whole && effects.statements.len() == 1, "{sql}");
    effects.statements[0].class.may_commit_implicitly()
}

/// Commit; and what BEGIN began goes on.
const COMMIT: &[&str] = &[
    "BEGIN",
    "START TRANSACTION READ WRITE",
    "CREATE TABLE c1 (a INT)",
    "CREATE TABLE IF NOT EXISTS c1 (a INT)",
    "CREATE TABLE c2 LIKE t",
    "CREATE TABLE c3 AS SELECT * FROM u",
    "ALTER TABLE u ADD c INT",
    "ALTER TABLE u RENAME COLUMN c TO d",
    "RENAME TABLE c1 TO c4",
    "TRUNCATE u",
    "DROP TABLE c4",
    "DROP TABLE IF EXISTS nosuch",
    "CREATE INDEX i ON u (b)",
    "DROP INDEX i ON u",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "DROP VIEW v",
    "CREATE TRIGGER r BEFORE INSERT ON c2 FOR EACH ROW SET NEW.a = NEW.a",
    "DROP TRIGGER r",
    "CREATE PROCEDURE p() SELECT 1",
    "DROP PROCEDURE p",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    "ALTER EVENT e DISABLE",
    "DROP EVENT e",
    "CREATE DATABASE x",
    "DROP DATABASE x",
    "ALTER USER app@localhost IDENTIFIED BY 'x'",
];

/// Leave the transaction as it is.
const KEEP: &[&str] = &[
    "SELECT 1",
    "USE d",
    "USE `d/main`",
    "SAVEPOINT s",
    "SET TRANSACTION READ ONLY",
    "SET autocommit = 0",
    "SET GLOBAL max_connections = 100",
    "CREATE TEMPORARY TABLE tmp (a INT)",
    "DROP TEMPORARY TABLE tmp",
    "CREATE USER other@localhost",
    "DROP USER other@localhost",
    "CREATE ROLE r",
    "DROP ROLE r",
    "GRANT SELECT ON *.* TO app@localhost",
    "REVOKE SELECT ON *.* FROM app@localhost",
    "FLUSH PRIVILEGES",
    "ANALYZE TABLE u",
    "LOCK TABLES u WRITE",
    "UNLOCK TABLES",
    "SHOW WARNINGS",
    "KILL QUERY 99999",
    "EXPLAIN DELETE FROM u",
    "CALL DOLT_ADD('-A')",
    "CALL DOLT_TAG('v1')",
    "CALL DOLT_COUNT_COMMITS('--from', 'HEAD', '--to', 'main')",
];

#[test]
fn ddl_commits_and_what_begin_began_goes_on() {
    let mut bench = Bench::start();
    for sql in COMMIT {
        let outcome = bench.within("BEGIN", &[], sql);
        assert_eq!(outcome, Outcome { committed: true, autocommits_then: false, failed: false }, "{sql}");
        assert!(may_commit(sql), "{sql}");
    }
    for sql in KEEP {
        let outcome = bench.within("BEGIN", &[], sql);
        assert_eq!(outcome, Outcome { committed: false, autocommits_then: false, failed: false }, "{sql}");
        assert!(!may_commit(sql), "{sql}");
    }
    bench.subject.run("SET autocommit = 1");
    // DDL that fails commits nothing.
    for sql in ["CREATE TABLE t (a INT)", "DROP TABLE nosuch"] {
        let outcome = bench.within("BEGIN", &[], sql);
        assert_eq!(outcome, Outcome { committed: false, autocommits_then: false, failed: true }, "{sql}");
    }
    // A procedure's DDL commits nothing. That we don't know: what a user's procedure calls may.
    for sql in ["CALL only_reads()", "CALL creates()"] {
        let outcome = bench.within("BEGIN", &[], sql);
        assert_eq!(outcome, Outcome { committed: false, autocommits_then: false, failed: false }, "{sql}");
        assert!(may_commit(sql), "{sql}");
    }
    // AND CHAIN does not chain.
    let outcome = bench.within("BEGIN", &[], "COMMIT AND CHAIN");
    assert_eq!(outcome, Outcome { committed: true, autocommits_then: true, failed: false });
}

#[test]
fn what_prepared_ddl_and_autocommit_commit() {
    let mut bench = Bench::start();
    let committed = Outcome { committed: true, autocommits_then: false, failed: false };
    let kept = Outcome { committed: false, autocommits_then: false, failed: false };
    // Already the PREPARE commits, if the text is DDL.
    for sql in ["PREPARE s FROM 'CREATE TABLE IF NOT EXISTS by_execute (a INT)'", "EXECUTE s"] {
        assert_eq!(bench.within("BEGIN", &[], sql), committed, "{sql}");
        assert!(may_commit(sql), "{sql}");
    }
    assert_eq!(bench.within("BEGIN", &[], "PREPARE s FROM 'SELECT 1'"), kept);
    // The same over the prepared-statement protocol.
    bench.subject.run("BEGIN");
    let row = bench.insert();
    let statement = bench.subject.prepare("CREATE TABLE IF NOT EXISTS by_protocol (a INT)").unwrap();
    let by_prepare = bench.seen(row);
    let row = bench.insert();
    bench.subject.execute(statement, &[], false).unwrap();
    assert_eq!((by_prepare, bench.seen(row)), (PREPARE_COMMITS, true));
    bench.subject.run("COMMIT");
    // autocommit = 1 commits what autocommit = 0 has open, and not what BEGIN began.
    let on = Outcome { committed: true, autocommits_then: true, failed: false };
    for sql in ["SET autocommit = 1", "SET @@session.autocommit = ON", "SET autocommit = DEFAULT"] {
        assert_eq!(bench.within("SET autocommit = 0", &[], sql), on, "{sql}");
        assert_eq!(bench.within("BEGIN", &[], sql), kept, "{sql}");
        assert!(may_commit(sql), "{sql}");
    }
    // Temporary tables: only CREATE and DROP with the word TEMPORARY leave the transaction alone.
    let set_up = ["CREATE TEMPORARY TABLE tmp (a INT PRIMARY KEY)"];
    for sql in ["CREATE INDEX i ON tmp (a)", "DROP TABLE tmp"] {
        let set_up = if sql.starts_with("CREATE") { &set_up[..] } else { &[] };
        assert_eq!(bench.within("BEGIN", set_up, sql), committed, "{sql}");
        assert!(may_commit(sql), "{sql}");
    }
    // ALTER DATABASE has its change in another branch state.
    bench.subject.run("CREATE DATABASE y");
    bench.subject.run("BEGIN");
    bench.insert();
    let err = bench.subject.err("ALTER DATABASE y COLLATE utf8mb4_bin");
    assert!(err.message.contains("more than one branch / database"), "{err:?}");
    bench.subject.run("ROLLBACK");
}

/// Whether COM_STMT_PREPARE of DDL commits.
const PREPARE_COMMITS: bool = false;

#[test]
fn dolt_refuses_these_as_syntax_errors() {
    let mut bench = Bench::start();
    for sql in ["XA START 'x'", "DO SLEEP(0)", "CHECK TABLE t", "CREATE FUNCTION f() RETURNS INT RETURN 1"] {
        let err = bench.subject.err(sql);
        assert!(err.message.contains("syntax error"), "{sql}: {err:?}");
        assert!(scan(sql.as_bytes()).qualifiers.is_empty(), "{sql}");
    }
}
