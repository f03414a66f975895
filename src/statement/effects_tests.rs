use proptest::prelude::*;

use super::changing::Changing;
use super::classify::{STATEMENTS_MAX, summarize_in};
use super::effects::*;
use super::lexer::{DoubleQuotes, Lexer};
use super::lexer_tests::odd_text;

fn of(text: &str) -> Effects {
    Effects::of(text.as_bytes(), true, DoubleQuotes::Text)
}

/// The one statement of `text`.
fn one(text: &str) -> Effect {
    let effects = of(text);
    assert!(effects.whole, "{text}");
    assert_eq!(effects.statements.len(), 1, "{text}");
    effects.statements.into_iter().next().unwrap()
}

fn class(text: &str) -> Class {
    one(text).class
}

/// `db`, `db/revision`.
fn qualifiers(text: &str) -> Vec<String> {
    let name = |qualifier: Qualifier| match qualifier.revision {
        Some(revision) => format!("{}/{revision}", qualifier.database),
        None => qualifier.database,
    };
    one(text).qualifiers.into_iter().map(name).collect()
}

#[test]
fn what_ends_and_begins_transactions() {
    let begin = |consistent_snapshot, read_only| Class::Begin { consistent_snapshot, read_only };
    for (text, class) in [
        ("BEGIN", begin(false, false)),
        ("begin work", begin(false, false)),
        ("START TRANSACTION", begin(false, false)),
        ("START /* x */ TRANSACTION READ WRITE", begin(false, false)),
        ("start transaction read only", begin(false, true)),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", begin(true, true)),
        ("/*!50003 START TRANSACTION WITH CONSISTENT SNAPSHOT */", begin(true, false)),
        ("COMMIT", Class::Commit { chain: false, release: false }),
        ("COMMIT WORK AND CHAIN", Class::Commit { chain: true, release: false }),
        ("COMMIT AND NO CHAIN RELEASE", Class::Commit { chain: false, release: true }),
        ("ROLLBACK AND CHAIN NO RELEASE", Class::Rollback { chain: true, release: false }),
        ("ROLLBACK TO a", Class::Savepoint),
        ("SAVEPOINT a", Class::Savepoint),
        ("SET TRANSACTION READ ONLY", Class::SetTransaction),
        ("XA START 'x'", Class::Xa),
        ("LOCK TABLES t WRITE", Class::LockTables),
        ("UNLOCK TABLES", Class::LockTables),
        ("USE `a/b`", Class::Use { database: "a/b".to_owned() }),
    ] {
        assert_eq!(one(text).class, class, "{text}");
    }
    for (text, autocommit) in [
        ("SET autocommit = 1", Some(Autocommit::On)),
        ("SET @@session.autocommit = ON, sql_mode = ''", Some(Autocommit::On)),
        ("SET SESSION AUTOCOMMIT := false", Some(Autocommit::Off)),
        ("SET autocommit = DEFAULT", Some(Autocommit::On)),
        ("SET autocommit = 0, autocommit = 1", Some(Autocommit::On)),
        ("SET autocommit = @x", Some(Autocommit::Unclear)),
        ("SET GLOBAL autocommit = 0", None),
        ("SET @autocommit = 0", None),
        ("SET NAMES utf8mb4", None),
        ("SET x", None),
        ("SET sql_mode = '', `autocommit` 1", None),
        ("SET @@x y, autocommit = 0", Some(Autocommit::Unclear)),
        ("SET @@x y, @@`autocommit` = 0", Some(Autocommit::Unclear)),
    ] {
        assert_eq!(class(text), Class::Set { autocommit }, "{text}");
    }
}

#[test]
fn what_is_part_of_a_transaction_and_what_commits_it() {
    let all = |class: &Class, texts: &[&str]| {
        for text in texts {
            assert_eq!(&one(text).class, class, "{text}");
        }
    };
    all(
        &Class::Dml,
        &[
            "INSERT INTO t VALUES (1)",
            "replace t select 1",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "WITH a AS (SELECT 1) UPDATE t SET b = 1",
            "WITH a (x) AS (SELECT 1 INTO y), b AS (SELECT 2) DELETE FROM t",
            "EXPLAIN ANALYZE DELETE FROM t",
            "EXPLAIN ANALYZE WITH a AS (SELECT 1) UPDATE t SET b = 1",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
            "/*!40000 INSERT */ INTO t VALUES (1)",
        ],
    );
    all(
        &Class::Ddl,
        &[
            "CREATE TABLE t (a INT)",
            "CREATE TABLE `database` (a INT)",
            "CREATE UNIQUE INDEX i ON t (a)",
            "CREATE SPATIAL INDEX i ON t (a)",
            "CREATE OR REPLACE ALGORITHM = MERGE DEFINER = `user`@`database` SQL SECURITY INVOKER VIEW v AS SELECT 1",
            "CREATE DEFINER=user@role TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
            "CREATE DEFINER = database PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
            "ALTER TABLE t ADD c INT",
            "ALTER USER u IDENTIFIED BY 'x'",
            "DROP VIEW v",
            "RENAME TABLE a TO b",
            "TRUNCATE t",
        ],
    );
    all(&Class::DatabaseDdl, &["CREATE DATABASE x", "DROP SCHEMA IF EXISTS x", "ALTER DATABASE COLLATE x"]);
    all(
        &Class::Temporary,
        &[
            "CREATE TEMPORARY TABLE t (a INT)",
            "DROP TEMPORARY TABLE t",
            "create /**/ temporary table t like u",
        ],
    );
    all(
        &Class::Admin,
        &[
            "CREATE USER u",
            "DROP ROLE r",
            "RENAME USER u TO v",
            "CREATE SPATIAL REFERENCE SYSTEM 1 NAME 'x' DEFINITION 'y'",
            "GRANT ALL ON *.* TO u",
            "REVOKE ALL ON *.* FROM u",
            "FLUSH PRIVILEGES",
            "ANALYZE TABLE t",
            "START REPLICA",
        ],
    );
    all(
        &Class::Read,
        &[
            "SELECT 1",
            "(SELECT 1) UNION (SELECT 2)",
            "SHOW TABLES",
            "SHOW WARNINGS",
            "EXPLAIN DELETE FROM t",
            "EXPLAIN ANALYZE SELECT 1",
            "SELECT RELEASE_LOCK('a')",
            "WITH a AS (SELECT 1) SELECT 1",
        ],
    );
    all(&Class::Export, &["SELECT 1 INTO OUTFILE 'x'", "WITH a AS (SELECT 1) SELECT 1 INTO DUMPFILE 'x'"]);
    all(&Class::Prepare, &["PREPARE s FROM 'SELECT 1'"]);
    all(&Class::Execute, &["EXECUTE s", "execute s using @a"]);
    all(
        &Class::Other,
        &["DEALLOCATE PREPARE s", "DROP PREPARE s", "KILL 1", "KILL @x", "SIGNAL SQLSTATE '45000'"],
    );
    all(
        &Class::Unknown,
        &[
            "nonsense",
            "CREATE FUNCTION f() RETURNS INT RETURN 1",
            "CREATE SERVER s",
            "DROP 'x'",
            "DO SLEEP(1)",
            "WITH a",
            "EXPLAIN ANALYZE x",
            "averyveryveryverylongwordthatisnostatement",
        ],
    );
    for text in
        ["CREATE TABLE t (a INT)", "BEGIN", "SET autocommit=1", "CALL dolt_commit()", "CALL p()", "EXECUTE s"]
    {
        assert!(class(text).may_commit_implicitly(), "{text}");
    }
    for text in [
        "DELETE FROM t",
        "SET autocommit=0",
        "CALL dolt_add()",
        "GRANT ALL ON *.* TO u",
        "COMMIT",
        "SELECT 1",
    ] {
        assert!(!class(text).may_commit_implicitly(), "{text}");
    }
}

#[test]
fn locking_reads_at_any_depth() {
    for text in [
        "SELECT * FROM t FOR UPDATE",
        "select * from t for /* x */ share",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "(SELECT * FROM t FOR UPDATE)",
        "SELECT * FROM (SELECT * FROM t FOR UPDATE SKIP LOCKED) x",
        "WITH a AS (SELECT * FROM t FOR SHARE) SELECT * FROM a",
        "SELECT /*!50003 1 FROM t FOR */ UPDATE",
        "SET @x = (SELECT 1 FROM t FOR UPDATE)",
    ] {
        assert!(one(text).locking, "{text}");
    }
    for text in
        ["SELECT 'FOR UPDATE'", "SELECT 1 -- FOR UPDATE", "SELECT `for` update", "SELECT 1 FOR/* UPDATE */"]
    {
        assert!(!one(text).locking, "{text}");
    }
}

#[test]
fn qualifiers_are_databases_tables_and_aliases() {
    for (text, names) in [
        ("SELECT t.a, T.b FROM d.t JOIN `e f`.u", &["t", "d", "e f"][..]),
        ("UPDATE `d/Branch`.t, `d@v1`.t, d.t SET a = 1", &["d/Branch", "d/v1", "d"]),
        ("SELECT 'a.b', \"c.d\", 1.5, `e.f` -- g.h\n", &[]),
        ("SELECT * FROM `a``b`.t", &["a`b"]),
        ("SELECT * FROM \"d\".t", &["d"]),
        ("SELECT /*! d.x */", &["d"]),
        ("SELECT @@session.x, @a.b", &[]),
        ("CREATE DATABASE IF NOT EXISTS d", &["d"]),
        ("DROP SCHEMA `d`", &["d"]),
        ("ALTER DATABASE d COLLATE x", &["d"]),
        ("USE d", &["d"]),
        ("USE `d/b`", &["d/b"]),
        ("SHOW TABLES FROM d", &["d"]),
        ("SHOW INDEX IN t IN d", &["t", "d"]),
        ("CREATE TABLE x (a INT)", &[]),
        ("CALL d.p('x.y')", &["d"]),
    ] {
        assert_eq!(qualifiers(text), names, "{text}");
    }
    let many: Vec<String> = (0..2 * QUALIFIERS_MAX).map(|at| format!("d{at}.t")).collect();
    let many = one(&format!("SELECT * FROM {}", many.join(",")));
    assert!(many.qualifiers_cut && many.qualifiers.len() == QUALIFIERS_MAX);
    assert!(!one("SELECT * FROM a.t").qualifiers_cut);
}

#[test]
fn what_is_read_elsewhere() {
    let branches = |text: &str| one(text).elsewhere;
    for text in [
        "SELECT * FROM t AS OF 'x'",
        "SELECT * FROM t FOR SYSTEM_TIME AS OF 'x'",
        "INSERT INTO t SELECT * FROM u AS /**/ OF 'x'",
        "SELECT * FROM dolt_branches",
        "SELECT * FROM `dolt_commit_diff_t`",
        "SELECT * FROM dolt_log('x')",
        "SELECT HASHOF('x'), has_ancestor('a', 'b')",
        "SHOW TABLES AS OF 'x'",
    ] {
        assert_eq!(branches(text), Elsewhere { branches: true, anything: false }, "{text}");
    }
    for text in [
        "SELECT * FROM dolt_query_diff('a', 'b')",
        "SELECT * FROM DOLT_TEST_RUN()",
        "SELECT dolt_of_tomorrow()",
        "SELECT * FROM information_schema.tables",
    ] {
        assert!(branches(text).anything, "{text}");
    }
    for text in [
        "SELECT * FROM t",
        "SELECT 'AS OF', `as` of FROM t",
        "SELECT active_branch(), DOLT_VERSION()",
        "SELECT * FROM dolt_log",
        "SELECT * FROM dolt_status, dolt_conflicts_t",
        "SELECT dolt, hashofx('x')",
        "CALL dolt_commit('-m', 'x')",
    ] {
        assert_eq!(branches(text), Elsewhere::default(), "{text}");
    }
}

#[test]
fn changing_values() {
    for (text, changing) in [
        ("SELECT NOW(), SysDate (6)", Changing::CLOCK),
        ("SELECT CURRENT_TIMESTAMP, a", Changing::CLOCK),
        ("SELECT current_date()", Changing::CLOCK),
        ("SELECT utc_time", Changing::CLOCK),
        ("SELECT UNIX_TIMESTAMP()", Changing::CLOCK),
        ("SELECT UNIX_TIMESTAMP( /* x */ )", Changing::CLOCK),
        ("SELECT UNIX_TIMESTAMP(a)", Changing::NONE),
        ("SELECT `now`()", Changing::CLOCK),
        ("SELECT /*! NOW() */", Changing::CLOCK),
        ("SELECT @@timestamp", Changing::CLOCK),
        ("SELECT UUID(), RAND(1), RANDOM_BYTES(4), uuid_short()", Changing::RANDOM),
        ("SELECT LAST_INSERT_ID(), connection_id()", Changing::SESSION),
        ("SELECT @@identity", Changing::SESSION),
        ("SELECT @@session.`last_insert_id`", Changing::SESSION),
        ("SELECT GET_LOCK('a', 1)", Changing::LOCK),
        ("SELECT dolt_hashof('x')", Changing::HASH),
        ("SELECT @@d_head, @@`d_working`", Changing::HASH),
        ("SELECT @x", Changing::USER_VARIABLE),
        ("SELECT NOW(), @x := UUID()", Changing::CLOCK | Changing::RANDOM | Changing::USER_VARIABLE),
        ("SELECT now, uuid, t.current_timestamp, `current_timestamp`", Changing::NONE),
        ("SELECT 'NOW()', \"UUID()\" -- RAND()\n", Changing::NONE),
        ("SELECT USER(), DATABASE(), VERSION(), SLEEP(0)", Changing::NONE),
        ("SELECT @@sql_mode, @@d_head_ref", Changing::NONE),
    ] {
        assert_eq!(one(text).changing, changing, "{text}");
    }
    let both = Changing::CLOCK | Changing::LOCK;
    assert!(both.contains(Changing::CLOCK) && !both.contains(Changing::RANDOM) && !both.is_empty());
    assert_eq!(both.to_string(), "time, named locks");
    assert_eq!(of("SELECT NOW(); SELECT UUID()").changing(), Changing::CLOCK | Changing::RANDOM);
}

#[test]
fn what_changes_the_meaning_of_names() {
    for text in [
        "CREATE VIEW v AS SELECT 1",
        "DROP DATABASE d",
        "INSERT INTO dolt_ignore VALUES ('x', 1)",
        "DELETE FROM `dolt_nonlocal_tables`",
        "CALL dolt_merge('b')",
        "CALL dolt_checkout('-b', 'b')",
        "CALL mine()",
        "nonsense",
    ] {
        assert!(one(text).changes_names, "{text}");
    }
    for text in
        ["INSERT INTO t VALUES ('dolt_ignore')", "SELECT 1", "CALL dolt_commit('-m', 'x')", "CREATE USER u"]
    {
        assert!(!one(text).changes_names, "{text}");
    }
}

#[test]
fn each_statement_has_its_own() {
    let effects = of(
        ";USE a;; UPDATE b.t SET x = NOW(); SELECT 1; CREATE PROCEDURE p() BEGIN SELECT 1; SELECT c.d; END; COMMIT",
    );
    assert!(!effects.whole, "an empty statement before another is not cut for sure");
    let effects = of(
        "USE a; UPDATE b.t SET x = NOW(); SELECT 1; CREATE PROCEDURE p() BEGIN SELECT 1; SELECT c.d; END; COMMIT",
    );
    let classes: Vec<_> = effects.statements.iter().map(|effect| effect.class.clone()).collect();
    let use_a = Class::Use { database: "a".to_owned() };
    let commit = Class::Commit { chain: false, release: false };
    assert_eq!(classes, [use_a, Class::Dml, Class::Read, Class::Ddl, commit]);
    let names: Vec<usize> = effects.statements.iter().map(|effect| effect.qualifiers.len()).collect();
    assert_eq!(names, [1, 1, 0, 1, 0]);
    assert_eq!(effects.statements[1].changing, Changing::CLOCK);
    assert!(effects.statements[2].changing.is_empty());
}

#[test]
fn words_are_found_without_quotes() {
    let mentions = |text: &str, word: &str| mentions_word(text.as_bytes(), |name| name == word);
    assert!(
        mentions("SELECT * FROM `a b`", "a b") && mentions("SELECT a", "a") && mentions("SELECT \"x\"", "x")
    );
    assert!(mentions("SELECT `a``b`", "a`b") && mentions("/*! DROP TABLE t */", "t"));
    assert!(!mentions("SELECT 'a', 1 -- a\n/* a */", "a") && !mentions("SELECT ab", "a"));
}

fn known() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "COMMIT AND CHAIN",
        "SELECT `d/b`.t.a FROM t AS OF 'x' FOR UPDATE",
        "WITH a AS (SELECT NOW()) UPDATE d.t SET a = @x",
        "CREATE DEFINER = u VIEW v AS SELECT UNIX_TIMESTAMP()",
        "CREATE DATABASE IF NOT EXISTS d",
        "SHOW TABLES FROM d",
        "CALL dolt_commit('-Am', 'x')",
        "SET autocommit = 0",
        "SELECT * FROM dolt_diff('a', 'b', 't') LOCK IN SHARE MODE",
        "EXECUTE s USING @a",
    ])
}

proptest! {
    #[test]
    fn any_bytes_have_effects(text in odd_text(), complete: bool, ansi: bool) {
        let quotes = if ansi { DoubleQuotes::Name } else { DoubleQuotes::Text };
        let effects = Effects::of(&text, complete, quotes);
        let summary = summarize_in(&text, complete, quotes);
        prop_assert_eq!(effects.statements.len(), summary.statements.len());
        prop_assert!(effects.statements.len() <= STATEMENTS_MAX);
        prop_assert!(summary.whole || !effects.whole);
        // What writes to a branch is a write to both.
        let writes = effects.statements.iter().any(|effect| effect.class.writes());
        prop_assert!(!writes || summary.may_write);
        let _ = (mentions_word(&text, |_| false), scan(&text));
    }

    #[test]
    fn comments_change_nothing(
        text in known(),
        comments in prop::collection::vec(prop::sample::select(vec![" ", "/* ; */", "-- ;'\n", "#\"\n", "/**/ /*!*/"]), 40),
    ) {
        let mut lexer = Lexer::new(text.as_bytes(), DoubleQuotes::Text);
        let (mut odd, mut comments) = (String::new(), comments.into_iter().cycle());
        while let Some(token) = lexer.next_token() {
            odd.push_str(comments.next().unwrap());
            odd.push_str(std::str::from_utf8(lexer.bytes(token)).unwrap());
        }
        odd.push_str(comments.next().unwrap());
        prop_assert_eq!(of(&odd), of(text));
        prop_assert_eq!(of(&format!("/*!50003 {text} */")), of(text));
    }

    #[test]
    fn a_concatenation_has_the_effects_of_each(texts in prop::collection::vec(known(), 0..8)) {
        let each: Vec<_> = texts.iter().flat_map(|text| of(text).statements).collect();
        prop_assert_eq!(of(&texts.join(" ; ")).statements, each);
    }
}
