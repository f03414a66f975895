//! Transactions as a client sees them: random statements, straight at Dolt and through Branchline, must get the
//! same answers, flags included, and leave the same rows for others to see after every one of them.
//!
//! BRANCHLINE_SEED=n repeats a run.

mod support;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use branchline::wire::response::ErrInfo;
use support::client::{Answer, Client, Login};
use support::plain::PlainDolt;
use support::town::Town;

/// Statements of one run, and runs.
const STEPS: u32 = 60;
const RUNS: u64 = 10;

/// xorshift64*: reproducible from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32 % bound
    }
}

/// A statement, often one that begins, ends or writes.
fn statement(random: &mut Random, step: u32) -> String {
    let id = random.next(4);
    let new = 100 + step;
    match random.next(40) {
        0..=3 => "BEGIN".into(),
        4 => "START TRANSACTION".into(),
        5 => "BEGIN".into(),
        6 => "START TRANSACTION WITH CONSISTENT SNAPSHOT".into(),
        7..=9 => "COMMIT".into(),
        10..=11 => "ROLLBACK".into(),
        12 => "COMMIT AND CHAIN".into(),
        13 => "SAVEPOINT s".into(),
        14 => "ROLLBACK TO s".into(),
        15 => "RELEASE SAVEPOINT s".into(),
        16 => "SET autocommit = 0".into(),
        17..=18 => "SET autocommit = 1".into(),
        19..=20 => format!("SELECT id, n FROM t WHERE id = {id}"),
        21 => format!("SELECT n FROM t WHERE id = {id} FOR UPDATE"),
        22..=25 => format!("UPDATE t SET n = n + 1 WHERE id = {id}"),
        26..=27 => format!("INSERT INTO t VALUES ({new}, 0)"),
        28 => format!("INSERT INTO t VALUES ({id}, 0)"),
        29 => format!("DELETE FROM t WHERE id = {}", 100 + random.next(step + 1)),
        30 => format!("CREATE TABLE x{new} (i INT PRIMARY KEY)"),
        31 => "CALL DOLT_COMMIT('-A', '-m', 'all', '--skip-empty')".into(),
        32 => "CALL DOLT_ADD('-A')".into(),
        33 => "SHOW WARNINGS".into(),
        34 => "SET @x = 1".into(),
        35 => format!("SELECT n FROM t WHERE id = {id}; UPDATE t SET n = n + 10 WHERE id = {id}"),
        36 => format!("BEGIN; UPDATE t SET n = n + 100 WHERE id = {id}; COMMIT"),
        37 => "CALL add_one()".into(),
        38 => "SELECT nothing FROM nowhere".into(),
        _ => "USE model".into(),
    }
}

fn set_up(client: &mut Client) {
    for sql in [
        "CREATE DATABASE model",
        "USE model",
        "CREATE TABLE t (id INT PRIMARY KEY, n INT)",
        "INSERT INTO t VALUES (0, 0), (1, 0), (2, 0), (3, 0)",
        "CREATE PROCEDURE add_one() UPDATE t SET n = n + 1000 WHERE id = 0",
        "CALL DOLT_COMMIT('-Am', 'tables')",
    ] {
        client.run(sql);
    }
}

/// What can be compared of an answer: hashes of commits differ by their time.
fn shown(sql: &str, answers: Vec<Result<Answer, ErrInfo>>) -> String {
    let hides_rows = sql.contains("DOLT_COMMIT");
    let one = |answer: Result<Answer, ErrInfo>| match answer {
        Ok(answer) if hides_rows => format!("{} rows, {:?}", answer.rows.len(), answer.ok),
        Ok(answer) => format!("{:?}, {:?}", answer.rows, answer.ok),
        Err(err) => format!("{} {}: {}", err.code, err.sqlstate, err.message),
    };
    answers.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

struct Side {
    name: &'static str,
    client: Client,
    observer: Client,
}

impl Side {
    fn step(&mut self, sql: &str) -> (String, String) {
        let answers = shown(sql, self.client.all(sql));
        // A new snapshot each time.
        self.observer.run("ROLLBACK");
        let seen = self.observer.rows("SELECT id, n FROM t ORDER BY id");
        let tables = self.observer.rows("SHOW TABLES");
        (answers, format!("{seen:?} {tables:?}"))
    }
}

fn seed() -> u64 {
    match std::env::var("BRANCHLINE_SEED") {
        Ok(seed) => seed.parse().expect("BRANCHLINE_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish() | 1,
    }
}

#[test]
fn random_transactions_get_the_answers_of_dolt() {
    let seed = seed();
    println!("BRANCHLINE_SEED={seed}");
    for run in 0..RUNS {
        // A server of their own for each run: what the last one left must not matter.
        let plain = PlainDolt::start();
        let town = Town::start("");
        let plain_at = std::net::SocketAddr::from(([127, 0, 0, 1], plain.port()));
        let connect = |name, address, database: &str| {
            let login = Login::root(database);
            let side = Side {
                name,
                client: Client::connect(address, &login),
                observer: Client::connect(address, &login),
            };
            println!("run {run}: {}", side.name);
            side
        };
        set_up(&mut Client::connect(plain_at, &Login::root("")));
        set_up(&mut town.direct(""));
        let mut sides =
            [connect("Dolt", plain_at, "model"), connect("Branchline", town.branchline.addr(), "model")];
        let mut random = Random(seed.wrapping_add(run.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        let mut history = Vec::new();
        for step in 0..STEPS {
            let sql = statement(&mut random, step);
            history.push(sql.clone());
            let [direct, through] = sides.each_mut().map(|side| side.step(&sql));
            assert_eq!(
                through,
                direct,
                "Branchline (left) and Dolt differ in the last of (BRANCHLINE_SEED={seed}, run {run}):\n{}",
                history.join(";\n")
            );
        }
    }
}
