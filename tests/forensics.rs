//! What was when, from every kind of session: `AS OF`, `dolt_history_*`, `dolt_diff*`, databases of branches, tags and
//! commits answer through Branchline as plain Dolt answers. The same script at both, answers compared.

mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use support::client::{Answer, Client, Login};
use support::plain::PlainDolt;
use support::town::Town;

/// Three commits on main, one on side and a tag between them; rows on both branches that aren't Dolt-committed.
const HISTORY: &[&str] = &[
    "CREATE DATABASE f",
    "USE f",
    "CREATE TABLE t (id INT PRIMARY KEY, n INT, s VARCHAR(20))",
    "CREATE TABLE other (id INT PRIMARY KEY)",
    "CALL DOLT_COMMIT('-Am', 'tables')",
    "INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two')",
    "CALL DOLT_COMMIT('-am', 'rows')",
    "CALL DOLT_TAG('v1')",
    "CALL DOLT_BRANCH('side')",
    "UPDATE t SET n = 11 WHERE id = 1",
    "DELETE FROM t WHERE id = 2",
    "ALTER TABLE t ADD COLUMN late VARCHAR(20)",
    "CALL DOLT_COMMIT('-am', 'changed on main')",
    "INSERT INTO t VALUES (3, 30, 'three', 'uncommitted')",
    "USE `f/side`",
    "INSERT INTO t VALUES (4, 40, 'four')",
    "CALL DOLT_COMMIT('-am', 'side')",
    "INSERT INTO t VALUES (5, 50, 'five')",
];

/// Each answers with one column of text, so that it can be prepared too; `{message}` is that commit's hash.
const QUESTIONS: &[&str] = &[
    "SELECT CONCAT_WS('|', IFNULL(ACTIVE_BRANCH(), 'none'), DATABASE())",
    "SELECT CONCAT_WS('|', id, n, s) FROM t",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'v1'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF '{tables}'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF '{rows}'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF '{changed on main}'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'main'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'side'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'HEAD'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'HEAD~1'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'WORKING'",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF TIMESTAMP('2099-01-01')",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF TIMESTAMP('2001-01-01')",
    "SELECT CONCAT_WS('|', id, n, s) FROM t AS OF 'no-such'",
    "SELECT CONCAT_WS('|', late, id) FROM t AS OF 'main'",
    "SELECT CONCAT_WS('|', late, id) FROM t AS OF 'v1'",
    "SELECT CONCAT_WS('|', a.id, a.n, b.n) FROM t AS OF 'v1' a JOIN t AS OF 'main' b USING (id)",
    "SELECT CONCAT_WS('|', id, n, commit_hash, committer) FROM dolt_history_t",
    "SELECT CONCAT_WS('|', id, n) FROM dolt_history_t WHERE commit_hash = '{rows}'",
    "SELECT CONCAT_WS('|', IFNULL(from_id, '-'), IFNULL(from_n, '-'), IFNULL(to_id, '-'), IFNULL(to_n, '-'), \
     from_commit, to_commit, diff_type) FROM dolt_diff_t",
    "SELECT CONCAT_WS('|', IFNULL(from_n, '-'), IFNULL(to_n, '-'), diff_type) FROM dolt_commit_diff_t \
     WHERE from_commit = '{rows}' AND to_commit = '{changed on main}'",
    "SELECT CONCAT_WS('|', IFNULL(from_n, '-'), IFNULL(to_n, '-'), diff_type) FROM dolt_diff('v1', 'main', 't')",
    "SELECT CONCAT_WS('|', IFNULL(from_n, '-'), IFNULL(to_n, '-'), diff_type) FROM dolt_diff('{rows}', '{side}', 't')",
    "SELECT CONCAT_WS('|', IFNULL(from_n, '-'), IFNULL(to_n, '-'), diff_type) FROM dolt_diff('HEAD', 'WORKING', 't')",
    "SELECT CONCAT_WS('|', IFNULL(from_n, '-'), IFNULL(to_n, '-'), diff_type) FROM dolt_diff('main...side', 't')",
    "SELECT CONCAT_WS('|', to_table_name, diff_type, data_change, schema_change) FROM dolt_diff_summary('v1', 'HEAD')",
    "SELECT CONCAT_WS('|', table_name, rows_added, rows_deleted, rows_modified) FROM dolt_diff_stat('v1', 'main')",
    "SELECT CONCAT_WS('|', commit_hash, table_name, data_change, schema_change) FROM dolt_diff",
    "SELECT CONCAT_WS('|', statement_order, statement) FROM dolt_patch('{rows}', '{changed on main}')",
    "SELECT CONCAT_WS('|', commit_hash, message) FROM dolt_log",
    "SELECT CONCAT_WS('|', commit_hash, message) FROM dolt_log('main..side')",
    "SELECT CONCAT_WS('|', commit_hash, message) FROM dolt_log('v1')",
    "SELECT CONCAT_WS('|', commit_hash, IFNULL(parent_hash, '-'), parent_index) FROM dolt_commit_ancestors",
    "SELECT CONCAT_WS('|', id, commit, message) FROM dolt_blame_t",
    "SELECT CONCAT_WS('|', tag_name, tag_hash) FROM dolt_tags",
    "SELECT CONCAT_WS('|', name, hash) FROM dolt_branches",
    "SELECT CONCAT_WS('|', table_name, staged, status) FROM dolt_status",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/main`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/side`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/v1`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/{rows}`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/{changed on main}`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/main~1`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/no-such`.t",
    "SELECT CONCAT_WS('|', id, n, s) FROM `f/side`.t AS OF 'v1'",
    "SELECT CONCAT_WS('|', commit_hash, message) FROM `f/side`.dolt_log",
    "SELECT CONCAT_WS('|', id, n, commit_hash) FROM `f/side`.dolt_history_t",
    "SELECT CONCAT_WS('|', a.id, a.n, b.n) FROM `f/v1`.t a JOIN `f/side`.t b USING (id)",
    "SELECT dolt_hashof('v1')",
    "SELECT dolt_hashof('side')",
    "SELECT dolt_hashof('HEAD')",
    "SELECT dolt_hashof_table('t')",
    "SELECT dolt_merge_base('main', 'side')",
];

/// Not prepared: of several columns, or none. They move the session about, so each begins where the last one ended.
const STATEMENTS: &[&str] = &[
    "SHOW TABLES AS OF 'v1'",
    "SHOW CREATE TABLE t AS OF 'v1'",
    "SHOW CREATE TABLE t",
    "USE `f/v1`",
    "SELECT ACTIVE_BRANCH(), DATABASE()",
    "SELECT id, n FROM t",
    "SELECT id, n FROM t AS OF 'main'",
    "INSERT INTO t VALUES (9, 9, 'nine')",
    "SELECT id, n, commit_hash FROM dolt_history_t",
    "USE `f/{changed on main}`",
    "SELECT ACTIVE_BRANCH(), DATABASE()",
    "SELECT id, n, late FROM t",
    "UPDATE t SET n = 0",
    "USE `f/side`",
    "SELECT ACTIVE_BRANCH(), DATABASE()",
    "SELECT id, n FROM t",
    "SELECT to_id, diff_type FROM dolt_diff_t WHERE to_commit = 'WORKING'",
    "USE `f/no-such`",
    "SELECT ACTIVE_BRANCH(), DATABASE()",
    "USE `f/main`",
    "SELECT id, n FROM t",
    "CALL DOLT_CHECKOUT('side')",
    "SELECT ACTIVE_BRANCH()",
    "SELECT id, n FROM t AS OF 'HEAD'",
    "CALL DOLT_CHECKOUT('main')",
    "SELECT id, n FROM t AS OF 'HEAD'",
];

/// A server with this history, and what each commit of it is called.
struct Side<'a> {
    open: &'a dyn Fn(&Login) -> Client,
    messages: BTreeMap<String, String>,
}

/// How a session comes to be where it is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// On the default branch.
    Default,
    /// Connected to `f/REVISION`.
    Named(&'static str),
    /// With a branch that the client chose in the session.
    CheckedOut(&'static str),
    /// By Branchline, for the connection's attribute; plain Dolt: checked out.
    Routed(&'static str),
}

/// How it asks.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Text,
    /// With a row of its own that nobody else sees.
    InTransaction,
    Prepared,
}

impl<'a> Side<'a> {
    fn new(open: &'a dyn Fn(&Login) -> Client) -> Self {
        let mut root = open(&Login::root(""));
        for sql in HISTORY {
            root.run(sql);
        }
        let mut messages = BTreeMap::new();
        for branch in ["main", "side"] {
            for row in root.rows(&format!("SELECT commit_hash, message FROM `f/{branch}`.dolt_log")) {
                let [Some(hash), Some(message)] = &row[..] else { panic!("{row:?}") };
                messages.insert(hash.clone(), message.clone());
            }
        }
        Self { open, messages }
    }

    /// With this side's hash for each `{message}`.
    fn sql(&self, text: &str) -> String {
        let named =
            |text: String, (hash, message): (&String, &String)| text.replace(&format!("{{{message}}}"), hash);
        self.messages.iter().fold(text.to_owned(), named)
    }

    /// An answer as far as it is the same on every server: commits by their messages, rows in order.
    fn told(&self, answer: Result<Answer, branchline::wire::response::ErrInfo>) -> Vec<String> {
        let named = |text: String| {
            self.messages
                .iter()
                .fold(text, |text, (hash, message)| text.replace(hash, &format!("{{{message}}}")))
        };
        match answer {
            Ok(answer) => {
                let row = |row: &Vec<Option<String>>| {
                    row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")
                };
                let mut rows: Vec<String> = answer.rows.iter().map(row).map(named).collect();
                rows.sort();
                rows
            }
            Err(error) => vec![named(format!("{error}"))],
        }
    }

    fn session(&self, kind: Kind, by_attribute: bool) -> Client {
        let root = Login::root("f");
        match kind {
            Kind::Default => (self.open)(&root),
            Kind::Named(revision) => (self.open)(&Login::root(&self.sql(&format!("f/{revision}")))),
            Kind::Routed(branch) if by_attribute => (self.open)(&root.attribute("branch", branch)),
            Kind::CheckedOut(branch) | Kind::Routed(branch) => {
                let mut client = (self.open)(&root);
                client.run(&format!("CALL DOLT_CHECKOUT('{branch}')"));
                client
            }
        }
    }

    /// Every question in turn, with its answer.
    fn ask(&self, client: &mut Client, mode: Mode) -> Vec<(String, Vec<String>)> {
        if let Mode::InTransaction = mode {
            client.run("BEGIN");
            // Refused on a tag or a commit, by both.
            drop(client.query("INSERT INTO t (id, n, s) VALUES (6, 60, 'six')"));
        }
        let mut told = Vec::new();
        for question in QUESTIONS {
            let sql = self.sql(question);
            let answer = match mode {
                Mode::Text | Mode::InTransaction => client.query(&sql),
                Mode::Prepared => {
                    client.prepare(&sql).and_then(|statement| client.execute(statement, &[], false))
                }
            };
            told.push(((*question).to_owned(), self.told(answer)));
        }
        if let Mode::InTransaction = mode {
            client.run("ROLLBACK");
            let after = client.query("SELECT CONCAT_WS('|', id, n, s) FROM t");
            told.push(("after ROLLBACK".to_owned(), self.told(after)));
        }
        told
    }
}

fn at(dolt: &PlainDolt, login: &Login) -> Client {
    Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, dolt.port())), login)
}

#[test]
fn every_kind_of_session_gets_plain_dolts_answers() {
    let (dolt, town) = (PlainDolt::start(), Town::start(""));
    let (at_dolt, here) = (|login: &Login| at(&dolt, login), |login: &Login| town.login(login));
    let (plain, proxied) = (Side::new(&at_dolt), Side::new(&here));
    let kinds = [
        Kind::Default,
        Kind::Named("main"),
        Kind::Named("side"),
        Kind::Named("v1"),
        Kind::Named("{rows}"),
        Kind::Named("{changed on main}"),
        Kind::CheckedOut("side"),
        Kind::Routed("side"),
    ];
    let mut compared = 0;
    for kind in kinds {
        for mode in [Mode::Text, Mode::InTransaction, Mode::Prepared] {
            let expected = plain.ask(&mut plain.session(kind, false), mode);
            let answers = proxied.ask(&mut proxied.session(kind, true), mode);
            assert_eq!(expected.len(), answers.len());
            for ((question, expected), (_, answer)) in expected.iter().zip(&answers) {
                assert_eq!(answer, expected, "{kind:?}, {mode:?}: {question}");
                compared += 1;
            }
            // What it compares is not a list of refusals.
            let rows =
                answers.iter().filter(|(_, rows)| rows.iter().any(|row| !row.starts_with("ERROR"))).count();
            assert!(
                rows * 5 >= answers.len() * 4,
                "{kind:?}, {mode:?}: only {rows} of {} answered",
                answers.len()
            );
        }
    }
    assert_eq!(compared, kinds.len() * (3 * QUESTIONS.len() + 1));
}

#[test]
fn a_session_that_moves_about_in_time_gets_plain_dolts_answers() {
    let (dolt, town) = (PlainDolt::start(), Town::start(""));
    let (at_dolt, here) = (|login: &Login| at(&dolt, login), |login: &Login| town.login(login));
    let (plain, proxied) = (Side::new(&at_dolt), Side::new(&here));
    for kind in [
        Kind::Default,
        Kind::Named("side"),
        Kind::Named("v1"),
        Kind::CheckedOut("side"),
        Kind::Routed("side"),
    ] {
        let (mut at_dolt, mut here) = (plain.session(kind, false), proxied.session(kind, true));
        for statement in STATEMENTS {
            let expected = plain.told(at_dolt.query(&plain.sql(statement)));
            let answer = proxied.told(here.query(&proxied.sql(statement)));
            assert_eq!(answer, expected, "{kind:?}: {statement}");
        }
    }
}

/// A process with BD_BRANCH in its environment, as a polecat has it.
#[test]
fn a_process_with_bd_branch_asks_about_its_branch_s_past() {
    let town = Town::start("");
    let here = |login: &Login| town.login(login);
    let side = Side::new(&here);
    let script = [
        "SELECT ACTIVE_BRANCH(), DATABASE();",
        "SELECT id, n FROM t ORDER BY id;",
        "SELECT id, n FROM t AS OF 'HEAD' ORDER BY id;",
        "SELECT id, n FROM t AS OF 'v1' ORDER BY id;",
        "SELECT id, n FROM t AS OF '{changed on main}' ORDER BY id;",
        "SELECT to_id, diff_type FROM dolt_diff('main...side', 't');",
        "SELECT message FROM dolt_log LIMIT 2;",
        "SELECT id, n FROM `f/main`.t ORDER BY id;",
        "SELECT id, n FROM `f/{rows}`.t ORDER BY id;",
    ];
    let lines = town.script(&[("BD_BRANCH", "side")], &["f"], &side.sql(&script.join("\n")));
    let expected = [
        &["side|f"][..],
        &["1|10", "2|20", "4|40", "5|50"],
        &["1|10", "2|20", "4|40"],
        &["1|10", "2|20"],
        &["1|11"],
        &["4|added"],
        &["side", "rows"],
        &["1|11", "3|30"],
        &["1|10", "2|20"],
    ];
    assert_eq!(lines, expected.concat());
}
