use proptest::prelude::*;

use super::classify::*;
use super::lexer::DoubleQuotes;
use super::lexer_tests::odd_text;

fn of(text: &str) -> Summary {
    summarize(text.as_bytes(), true)
}

/// The one statement of `text`.
fn kind(text: &str) -> Kind {
    let summary = of(text);
    assert!(summary.whole, "{text}");
    assert_eq!(summary.statements.len(), 1, "{text}");
    summary.statements.into_iter().next().unwrap()
}

fn all(texts: &[&str], expected: Kind, may_write: bool, pins: Pins) {
    for text in texts {
        assert_eq!(kind(text), expected, "{text}");
        assert_eq!(of(text).may_write, may_write, "{text}");
        assert_eq!(of(text).pins, pins, "{text}");
    }
}

#[test]
fn reads() {
    all(
        &[
            "SELECT 1",
            "  select\n*\tfrom t where a = ';' -- x;",
            "/* a; */ sElEcT/**/1;",
            "/*!50003 SELECT */ 1",
            "SELECT * FROM t FOR UPDATE",
            "SELECT `into`, 'into outfile' FROM `get_lock`",
            "(SELECT 1) UNION (SELECT 2)",
            "((select 1))",
            "TABLE t",
            "VALUES ROW(1), ROW(2)",
            "WITH a AS (SELECT 1), b (x) AS (SELECT 2) SELECT REPLACE(x, 'a', 'b') FROM a FOR UPDATE",
            "with recursive a as (select 1) select * from a",
            "SHOW TABLES",
            "SHOW CREATE TABLE t",
            "show variables like 'x'",
            "DESCRIBE t",
            "DESC t",
            "EXPLAIN DELETE FROM t",
            "EXPLAIN ANALYZE SELECT * FROM t",
            "explain analyze format=tree with a as (select 1) select 1",
            "HELP 'x'",
            "SELECT @x, @@session.sql_mode",
            "DEALLOCATE PREPARE s",
        ],
        Kind::Read,
        false,
        Pins::NONE,
    );
    all(&["PREPARE s FROM 'SELECT 1'"], Kind::Read, false, Pins::SQL_PREPARE);
    all(
        &["SELECT GET_LOCK('a', 1)", "select `get_lock` ('a', 1), release_lock('b')"],
        Kind::Read,
        false,
        Pins::NAMED_LOCK,
    );
    all(
        &["SELECT @x := 1", "SELECT 1 INTO @x", "select a,b from t limit 1 into @`x`, @y"],
        Kind::Read,
        false,
        Pins::USER_VARIABLE,
    );
}

#[test]
fn writes() {
    all(
        &[
            "INSERT INTO t VALUES (1)",
            "insert t select 1",
            "REPLACE INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "TRUNCATE t",
            "DROP TABLE t",
            "ALTER TABLE t ADD c INT",
            "CREATE TABLE t (a INT)",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "GRANT ALL ON *.* TO u@h",
            "SELECT 1 INTO OUTFILE 'x'",
            "SELECT 1 INTO DUMPFILE 'x'",
            "WITH a AS (SELECT 1) DELETE FROM t",
            "WITH a AS (SELECT 1), b AS (SELECT 2) INSERT INTO t SELECT 1",
            "with a as (select 1) update t set x = 1",
            "EXPLAIN ANALYZE DELETE FROM t",
            "EXPLAIN ANALYZE WITH a AS (SELECT 1) DELETE FROM t",
            "EXECUTE s",
            "/*!50003 DELETE FROM t */",
            "/*!99999 DELETE FROM t */",
            "nonsense",
            "DELIMITER //",
            "'SELECT 1'",
            "(DELETE FROM t)",
            "LOCK INSTANCE FOR BACKUP",
            "START REPLICA",
            "ANALYZE TABLE t",
            "FLUSH TABLES",
            "XA START 'x'",
            "DO SLEEP(1)",
            "DO RELEASE",
            "KILL @x",
            "KILL 1 2",
            "KILL 99999999999999999999",
            "averyveryveryverylongwordthatisnostatement",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
        ],
        Kind::Write,
        true,
        Pins::NONE,
    );
    all(&["CREATE TEMPORARY TABLE t (a INT)"], Kind::Write, true, Pins::TEMPORARY_TABLE);
    all(&["LOAD DATA INFILE 'x' INTO TABLE t (a, @b)"], Kind::Write, true, Pins::USER_VARIABLE);
    all(&["INSERT INTO t SELECT @x := 1"], Kind::Write, true, Pins::USER_VARIABLE);
    all(
        &[
            "SET PASSWORD = 'x' FOR u",
            "SET PASSWORD = 'x'",
            "SET ROLE r",
            "SET DEFAULT ROLE r TO u",
            "SET",
            "SET x",
            "SET a = 1,",
            "SET x = ",
            "USE a-b",
            "USE a b",
        ],
        Kind::Write,
        true,
        Pins::UNKNOWN_SET,
    );
}

#[test]
fn diagnostics_and_locks() {
    all(
        &[
            "SHOW WARNINGS",
            "show /**/ errors limit 1",
            "SHOW COUNT(*) WARNINGS",
            "SELECT @@warning_count",
            "SELECT @@SESSION.`error_count`",
            "SELECT ROW_COUNT()",
            "select found_rows ()",
        ],
        Kind::Diagnostics,
        false,
        Pins::NONE,
    );
    all(&["GET DIAGNOSTICS @n = NUMBER"], Kind::Diagnostics, false, Pins::USER_VARIABLE);
    all(
        &["SELECT RELEASE_LOCK('a')", "SELECT release_all_locks()", "DO RELEASE_LOCK('a')"],
        Kind::ReleaseLocks,
        false,
        Pins::NONE,
    );
    all(&["LOCK TABLES t READ", "lock table t write"], Kind::LockTables, true, Pins::LOCK_TABLES);
    all(&["UNLOCK TABLES"], Kind::UnlockTables, true, Pins::NONE);
}

#[test]
fn transactions() {
    let none = Pins::NONE;
    all(
        &["BEGIN", "begin work", "START TRANSACTION", "start transaction read only"],
        Kind::Begin,
        false,
        none,
    );
    all(&["COMMIT", "COMMIT WORK", "commit and no chain"], Kind::Commit, false, none);
    all(&["ROLLBACK", "rollback work"], Kind::Rollback, false, none);
    all(
        &["SAVEPOINT a", "ROLLBACK TO a", "rollback work to savepoint a", "RELEASE SAVEPOINT a"],
        Kind::Savepoint,
        false,
        none,
    );
    all(
        &[
            "SET TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "set local transaction read write",
        ],
        Kind::SetTransaction,
        false,
        none,
    );
    all(&["SET GLOBAL TRANSACTION READ ONLY"], Kind::SetTransaction, true, none);
}

#[test]
fn use_names_the_database() {
    for (text, database) in [
        ("USE a", "a"),
        ("use `a b`", "a b"),
        ("USE a/b", "a/b"),
        ("USE `a/polecat-x`", "a/polecat-x"),
        ("USE `a``b` ;", "a`b"),
        ("USE `a`/`b-c`", "a/b-c"),
        ("USE", ""),
    ] {
        all(&[text], Kind::Use { database: database.to_owned() }, false, Pins::NONE);
    }
}

#[test]
fn kill_and_call() {
    let text = "KILL  QUERY /* x */ 12;";
    match kind(text) {
        Kind::Kill { query_only: true, id: 12, id_span } => assert_eq!(&text[id_span], "12"),
        other => panic!("{other:?}"),
    }
    assert_eq!(kind("kill 7"), Kind::Kill { query_only: false, id: 7, id_span: 5..6 });
    assert_eq!(kind("KILL CONNECTION 7"), Kind::Kill { query_only: false, id: 7, id_span: 16..17 });

    let call = |text: &str| match kind(text) {
        Kind::Call { procedure, literal_args } => {
            (procedure, literal_args, of(text).may_write, of(text).pins)
        }
        other => panic!("{text}: {other:?}"),
    };
    let args = |args: &[&str]| Some(args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
    let none = Pins::NONE;
    for (text, name, literals, may_write, pins) in [
        ("CALL DOLT_CHECKOUT('b')", "dolt_checkout", args(&["b"]), false, none),
        ("call `Dolt_Checkout` ( \"b\" ) ;", "dolt_checkout", args(&["b"]), false, none),
        ("CALL db.dolt_checkout('it''s')", "dolt_checkout", args(&["it's"]), false, none),
        ("CALL `db/x`.dolt_checkout('b')", "dolt_checkout", args(&["b"]), false, none),
        ("CALL dolt_checkout('-b', 'x')", "dolt_checkout", args(&["-b", "x"]), true, none),
        ("CALL dolt_checkout(?)", "dolt_checkout", None, true, none),
        ("CALL dolt_checkout(active_branch())", "dolt_checkout", None, true, none),
        ("CALL dolt_checkout('a' 'b')", "dolt_checkout", None, true, none),
        ("CALL dolt_checkout('a',)", "dolt_checkout", None, true, none),
        ("CALL dolt_fetch", "dolt_fetch", args(&[]), false, none),
        ("CALL dolt_fetch()", "dolt_fetch", args(&[]), false, none),
        ("CALL dolt_commit('-Am', 'x')", "dolt_commit", args(&["-Am", "x"]), true, none),
        ("CALL p(1)", "p", None, true, Pins::PROCEDURE),
        ("CALL p(1, @out)", "p", None, true, Pins::PROCEDURE | Pins::USER_VARIABLE),
    ] {
        assert_eq!(call(text), (name.to_owned(), literals, may_write, pins), "{text}");
    }
}

#[test]
fn set_assignments() {
    let set = |text: &str| match kind(text) {
        Kind::Set { assignments } => assignments
            .into_iter()
            .map(|a| (a.name, a.scope, a.value.unwrap_or("?".into()), a.replay.unwrap_or("?".into())))
            .collect::<Vec<_>>(),
        other => panic!("{text}: {other:?}"),
    };
    use Scope::*;
    type Case<'a> = (&'a str, &'a [(&'a str, Scope, &'a str, &'a str)], bool, Pins);
    let cases: &[Case<'_>] = &[
        (
            "SET autocommit=0",
            &[("autocommit", Session, "0", "SET SESSION autocommit = 0")],
            false,
            Pins::NONE,
        ),
        ("SET NAMES utf8mb4", &[("names", Session, "utf8mb4", "SET NAMES utf8mb4")], false, Pins::NONE),
        (
            "set names 'utf8mb4' collate utf8mb4_bin",
            &[("names", Session, "utf8mb4", "SET NAMES 'utf8mb4' COLLATE utf8mb4_bin")],
            false,
            Pins::NONE,
        ),
        (
            "SET CHARACTER SET latin1, charset default",
            &[
                ("character set", Session, "latin1", "SET CHARACTER SET latin1"),
                ("character set", Session, "default", "SET CHARACTER SET default"),
            ],
            false,
            Pins::NONE,
        ),
        (
            "SET @@session.SQL_mode := 'A,''B', LOCAL time_zone = '+00:00', @@x = -1, `Y` = ON",
            &[
                ("sql_mode", Session, "A,'B", "SET SESSION sql_mode = 'A,''B'"),
                ("time_zone", Session, "+00:00", "SET SESSION time_zone = '+00:00'"),
                ("x", Session, "-1", "SET SESSION x = -1"),
                ("y", Session, "ON", "SET SESSION y = ON"),
            ],
            false,
            Pins::NONE,
        ),
        (
            "SET sql_mode = CONCAT(@@sql_mode, ',X'), a = 1",
            &[("sql_mode", Session, "?", "?"), ("a", Session, "1", "SET SESSION a = 1")],
            false,
            Pins::UNKNOWN_SET,
        ),
        ("SET x = 1 + 1", &[("x", Session, "?", "?")], false, Pins::UNKNOWN_SET),
        ("SET x = @@y", &[("x", Session, "?", "?")], false, Pins::UNKNOWN_SET),
        (
            "SET validate_password.length = 1",
            &[("validate_password.length", Session, "1", "?")],
            false,
            Pins::UNKNOWN_SET,
        ),
        ("SET GLOBAL x = 1", &[("x", Global, "1", "?")], true, Pins::NONE),
        ("SET @@PERSIST.x = 1", &[("x", Persist, "1", "?")], true, Pins::NONE),
        ("SET PERSIST_ONLY x = 1", &[("x", Persist, "1", "?")], true, Pins::NONE),
        ("SET @x = 'a'", &[("x", User, "a", "SET @x = 'a'")], false, Pins::USER_VARIABLE),
        (
            "SET @`x y` := (SELECT 1, 2), b = 2",
            &[("x y", User, "?", "?"), ("b", Session, "2", "SET SESSION b = 2")],
            false,
            Pins::USER_VARIABLE,
        ),
        ("SET session = 1", &[("session", Session, "1", "SET SESSION session = 1")], false, Pins::NONE),
        ("/*!40101 SET NAMES utf8 */;", &[("names", Session, "utf8", "SET NAMES utf8")], false, Pins::NONE),
    ];
    for (text, expected, may_write, pins) in cases {
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, s, v, r)| ((*n).to_owned(), *s, (*v).to_owned(), (*r).to_owned()))
            .collect();
        assert_eq!(set(text), expected, "{text}");
        assert_eq!((of(text).may_write, of(text).pins), (*may_write, *pins), "{text}");
    }
}

#[test]
fn several_statements() {
    let summary = of("SELECT 1; USE a ; -- x;\n SET x = 1;; ; ");
    assert!(summary.whole && !summary.may_write);
    assert_eq!(summary.statements.len(), 3);
    assert!(of("SELECT 1; DELETE FROM t").may_write);
    for text in ["", " ", ";", "-- x", "/* x */", ";;"] {
        let summary = of(text);
        assert_eq!((summary.statements.len(), summary.may_write), (0, false), "{text}");
    }
    let many = "SELECT 1;".repeat(STATEMENTS_MAX + 1);
    assert_eq!(of(&many).statements.len(), STATEMENTS_MAX);
    assert!(!of(&many).whole && of(&many).may_write);
    assert!(of(&many[..9 * STATEMENTS_MAX]).whole);
}

#[test]
fn bodies_are_one_statement() {
    for body in [
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
        "CREATE PROCEDURE p(IN a INT, OUT b VARCHAR(20)) COMMENT 'x' BEGIN SET b = 1; END",
        "create definer = `event`@`%` procedure p() begin end",
        "CREATE DEFINER=user@localhost PROCEDURE p() BEGIN SELECT 1; END",
        "CREATE DEFINER = CURRENT_USER() PROCEDURE p() SELECT 1",
        "CREATE OR REPLACE PROCEDURE p() IF a > 1 THEN SELECT 1; ELSEIF IF(a, b, c) THEN SELECT 2; ELSE SELECT 3; END IF",
        "CREATE PROCEDURE IF NOT EXISTS p() DETERMINISTIC SELECT IF(1, 2, 3)",
        "CREATE PROCEDURE p() BEGIN IF (a) THEN BEGIN SELECT 1; END; END IF; SELECT REPEAT('a', 3); END",
        "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN SELECT 1; ELSE SELECT 2; END CASE; END",
        "CREATE PROCEDURE p() BEGIN SELECT CASE WHEN a THEN IF(b, 1, 2) ELSE IF(b, 3, 4) END; SELECT 1; END",
        "CREATE PROCEDURE p() BEGIN l: LOOP SET a = 1; LEAVE l; END LOOP l; WHILE a DO SET a = 2; END WHILE; REPEAT SET a = 1; UNTIL a END REPEAT; END",
        "CREATE PROCEDURE p() l1: BEGIN SELECT 1; END l1",
        "CREATE PROCEDURE p() BEGIN DECLARE x INT; DECLARE EXIT HANDLER FOR NOT FOUND BEGIN SELECT 1; END; SELECT 2; END",
        "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = IF(NEW.b, 1, 2)",
        "CREATE TRIGGER t AFTER UPDATE ON x FOR EACH ROW FOLLOWS begin_x BEGIN INSERT INTO y VALUES (1); END",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM t; END",
        "CREATE EVENT e ON SCHEDULE AT NOW() DO DELETE FROM t",
        "/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = 1 */",
        "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN IF(a, 1, 2)",
    ] {
        let summary = of(&format!("{body}; SELECT 1"));
        assert!(summary.whole, "{body}");
        assert_eq!(summary.statements, [Kind::Write, Kind::Read], "{body}");
        assert_eq!(summary.pins, Pins::NONE, "{body}");
    }
    let summary = of("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; DELETE FROM t");
    assert_eq!((summary.whole, summary.statements), (false, vec![Kind::Write]));
    assert!(!of("CREATE PROCEDURE p() SELECT 1 END; SELECT 1").whole);
    let deep = format!("CREATE PROCEDURE p() {}", "BEGIN ".repeat(100));
    assert!(!of(&deep).whole);
}

#[test]
fn what_dolt_reads_otherwise_is_not_whole() {
    for text in [
        // Dolt passes one byte too many after an empty statement.
        ";#DELETE FROM t\n",
        "/* x */;#DELETE FROM t\n",
        "SELECT 1;;#DELETE FROM t",
        "SELECT 1; ; SELECT 2",
        "/* x */; SELECT 2",
        // The rest of the comment is executed as plain text.
        "/*! SELECT 1; DELETE FROM t -- */",
        "SELECT 'a",
        "SELECT 1 /* x",
        "SELECT 1; 'a",
        "SELECT 1 \0\0; DELETE FROM t",
        "'",
    ] {
        let summary = of(text);
        assert!(!summary.whole && summary.may_write, "{text}");
    }
    let text = br#"SELECT "a\"; DELETE FROM t; -- ""#;
    let unknown = summarize(text, true);
    assert!(unknown.may_write && unknown.statements.len() == 1);
    assert!(!summarize_in(text, true, DoubleQuotes::Text).may_write);
    let ansi = summarize_in(text, true, DoubleQuotes::Name);
    assert_eq!(ansi.statements, [Kind::Read, Kind::Write]);
    assert_eq!(of("SELECT @@x'; DELETE FROM t; -- '").statements, [Kind::Read, Kind::Write]);
    assert_eq!(of("SELECT 1e--1; DELETE FROM t").statements, [Kind::Read, Kind::Write]);
}

#[test]
fn half_a_text_is_never_harmless() {
    for text in ["USE ab", "KILL 12", "SET x = 1", "CALL dolt_checkout('a')", "COMMIT"] {
        let half = summarize(text.as_bytes(), false);
        assert_eq!((half.statements, half.whole, half.may_write), (vec![Kind::Write], false, true), "{text}");
    }
    let half = summarize(b"USE ab; SELECT 1", false);
    assert_eq!(half.statements, [Kind::Use { database: "ab".into() }, Kind::Read]);
    assert!(half.may_write && !half.whole);
}

#[test]
fn databases_that_are_mentioned() {
    for text in [
        "SELECT * FROM hq.t",
        "select * from `HQ`.`t`",
        "select * from `hq/main`.t",
        "select * from Hq . t",
        "INSERT INTO a SELECT 1 FROM \"hq\".t",
        "SELECT /*! hq.t.a */ 1",
    ] {
        assert!(mentions_database(text.as_bytes(), "hq"), "{text}");
    }
    for text in [
        "SELECT 'hq.t'",
        "SELECT hqx.a",
        "SELECT x.hq",
        "SELECT hq",
        "SELECT `hqx/main`.t",
        "-- hq.t",
        "SELECT `hq.t`",
    ] {
        assert!(!mentions_database(text.as_bytes(), "hq"), "{text}");
    }
    assert!(mentions_database(b"select * from `a``b`.t", "a`b"));
}

#[test]
fn pins_name_their_reasons() {
    let pins = Pins::NAMED_LOCK | Pins::TEMPORARY_TABLE;
    assert_eq!(pins.to_string(), "GET_LOCK, temporary table");
    assert_eq!(Pins::NONE.to_string(), "");
    assert!(pins.contains(Pins::NAMED_LOCK) && !pins.contains(Pins::NAMED_LOCK | Pins::LOCK_TABLES));
}

fn known() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "SELECT 1",
        "select ';', \";\", `;` from t -- ;\n",
        "INSERT INTO t VALUES ('it''s', 'a\\';b', 0x3b)",
        "USE `a/b`",
        "SET @x = 1, NAMES utf8 , autocommit = 0",
        "BEGIN",
        "CREATE PROCEDURE p ( ) BEGIN SELECT 1 ; IF a THEN SELECT 2 ; END IF ; END",
        "CALL dolt_checkout ( 'a;b' )",
        "SHOW WARNINGS",
        "SELECT GET_LOCK ( 'a' , 1 )",
        "COMMIT",
        "/*!40101 SET NAMES utf8 */",
        "ROLLBACK TO a",
    ])
}

proptest! {
    #[test]
    fn any_bytes_are_summarized(text in odd_text(), complete: bool) {
        let summary = summarize(&text, complete);
        prop_assert!(summary.whole || summary.may_write);
        prop_assert!(summary.statements.len() <= STATEMENTS_MAX);
        for kind in &summary.statements {
            if let Kind::Kill { id, id_span, .. } = kind {
                let digits = std::str::from_utf8(&text[id_span.clone()]).unwrap();
                prop_assert_eq!(digits.parse::<u64>().unwrap(), *id);
            }
        }
        let _ = mentions_database(&text, "a");
    }

    #[test]
    fn a_concatenation_is_its_statements(texts in prop::collection::vec(known(), 0..12)) {
        let whole = of(&texts.join(" ; "));
        let each: Vec<_> = texts.iter().map(|text| of(text)).collect();
        prop_assert_eq!(whole.statements, each.iter().flat_map(|one| one.statements.clone()).collect::<Vec<_>>());
        prop_assert_eq!(whole.may_write, each.iter().any(|one| one.may_write));
        prop_assert_eq!(whole.pins, each.iter().fold(Pins::NONE, |pins, one| pins | one.pins));
    }

    #[test]
    fn comments_between_tokens_change_nothing(
        text in known(),
        comments in prop::collection::vec(prop::sample::select(vec![" ", "/* ; */", "-- ;'\n", "#\"\n", "/**/ /*!*/", "\t// `\n "]), 40),
    ) {
        let mut lexer = super::lexer::Lexer::new(text.as_bytes(), DoubleQuotes::Text);
        let (mut odd, mut comments) = (String::new(), comments.into_iter().cycle());
        while let Some(token) = lexer.next_token() {
            odd.push_str(comments.next().unwrap());
            odd.push_str(std::str::from_utf8(lexer.bytes(token)).unwrap());
        }
        odd.push_str(comments.next().unwrap());
        prop_assert_eq!(of(&odd), of(text));
    }
}

#[test]
fn qualifiers_are_named_without_quotes_and_revisions() {
    let all = |text: &str| {
        let mut names = Vec::new();
        assert!(!mentions_qualifier(text.as_bytes(), |name| {
            names.push(name.to_owned());
            false
        }));
        names
    };
    assert_eq!(all("SELECT i.id FROM late.t i JOIN `a b`.u, `c/branch`.v"), ["i", "late", "a b", "c"]);
    assert_eq!(all("SELECT 1.5, 'x.y', now()"), Vec::<String>::new());
    assert!(mentions_qualifier(b"select * from x.y", |name| name == "x"));
}

#[test]
fn revisions_are_found_in_quoted_names_only() {
    let of = |text: &str| {
        let found = revisions(text.as_bytes());
        found.into_iter().map(|(database, branch)| format!("{database}={branch}")).collect::<Vec<_>>()
    };
    assert_eq!(of("SELECT * FROM `a/x`.t JOIN \"b@y/z\".u"), ["a=x", "b=y/z"]);
    assert_eq!(of("USE `a/feature/x`"), ["a=feature/x"]);
    assert_eq!(of("INSERT INTO `t` VALUES ('http://x', 4/2, 'a@b')"), Vec::<String>::new());
    assert_eq!(of("SELECT 4/2"), Vec::<String>::new());
}
