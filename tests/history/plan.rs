//! What each session of a run will do: drawn from a seed before anything runs. Does not run it.
//! Always: a value is appended once; a transaction writes to one database only, as Dolt wants it.

use std::time::Duration;

use super::client::{Param, Statement};
use super::history::{Key, Value};
use super::random::Random;

pub const SESSIONS: usize = 20;
/// Transactions of a session in a round.
pub const TXNS: usize = 25;
pub const DATABASES: [&str; 2] = ["alpha", "beta"];
/// Lists of a round, half of them in each database.
pub const SLOTS: Key = 8;

/// How a session works; the same for all of its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Autocommit, one statement each.
    Single,
    /// BEGIN … COMMIT.
    Begin,
    /// The same with the lock that Dolt ignores, and the client's own value written.
    ForUpdate,
    /// The same with prepared statements.
    Prepared,
    /// Autocommit off, no BEGIN.
    Off,
    /// A Dolt commit at the end of the transaction.
    DoltCommit,
    /// Reads the other database before it writes to its own.
    TwoDatabases,
}

const STYLES: [Style; 7] = [
    Style::Single,
    Style::Begin,
    Style::ForUpdate,
    Style::Prepared,
    Style::Off,
    Style::DoltCommit,
    Style::TwoDatabases,
];

pub fn style(session: usize) -> Style {
    STYLES[session % STYLES.len()]
}

/// The database that a session writes to.
pub fn home(session: usize) -> usize {
    session / STYLES.len() % DATABASES.len()
}

/// One statement to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Read {
        key: Key,
        lock: bool,
    },
    /// By Dolt: CONCAT, or MAX + 1.
    Append {
        key: Key,
        value: Value,
    },
    /// By the client, from what it has read in this transaction.
    AppendRead {
        key: Key,
        value: Value,
    },
    /// The client thinks, longer than a lane waits for it while another session of its process wants it.
    Think,
}

/// For how long.
pub const THINKS: Duration = Duration::from_millis(60);

/// How it ends, if nothing happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last statement is the end.
    Autocommit,
    Commit,
    DoltCommit,
    Rollback,
    /// The client closes instead.
    Close,
    /// The client closes when it has sent the COMMIT.
    CloseAtCommit,
}

/// One transaction to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub end: End,
}

/// The transactions of one session in one round. Keys and values begin at `first_key` and `first_value`, which are
/// the round's: all else depends on the seed alone.
pub fn plans(seed: u64, session: usize, first_key: Key, first_value: Value) -> Vec<Plan> {
    let mut random = Random::of(seed, session as u64);
    let mut value = first_value + (session * TXNS * 10) as Value;
    (0..TXNS).map(|_| plan(&mut random, session, first_key, &mut value)).collect()
}

fn plan(random: &mut Random, session: usize, first_key: Key, value: &mut Value) -> Plan {
    let style = style(session);
    let half = SLOTS / 2;
    let key_in = |random: &mut Random, database: usize| {
        first_key + database as Key * half + random.below(half.into()) as Key
    };
    let mut next = || {
        *value += 1;
        *value
    };
    let (here, there) = (home(session), 1 - home(session));
    let mut steps = Vec::new();
    let lock = style == Style::ForUpdate;
    match style {
        Style::Single => {
            let key = key_in(random, here);
            steps.push(if random.one_in(3) {
                Step::Read { key, lock }
            } else {
                Step::Append { key, value: next() }
            });
            return Plan { steps, end: End::Autocommit };
        }
        Style::TwoDatabases => {
            steps.push(Step::Read { key: key_in(random, there), lock });
            if random.one_in(4) {
                // Both databases at one moment.
                let more =
                    [here, there, here].map(|database| Step::Read { key: key_in(random, database), lock });
                steps.extend(more);
                return Plan { steps, end: End::Commit };
            }
            if random.one_in(2) {
                steps.push(Step::Read { key: key_in(random, here), lock });
            }
            steps.push(Step::Append { key: key_in(random, here), value: next() });
        }
        _ => {
            for _ in 0..1 + random.below(3) {
                let key = key_in(random, here);
                match random.below(4) {
                    0 => steps.push(Step::Read { key, lock }),
                    1 => steps.push(Step::Append { key, value: next() }),
                    _ => steps.extend([Step::Read { key, lock }, Step::AppendRead { key, value: next() }]),
                }
            }
        }
    }
    let writes = steps.iter().any(|step| !matches!(step, Step::Read { .. }));
    if random.one_in(20) {
        let at = 1 + random.below(steps.len() as u64) as usize;
        steps.insert(at, Step::Think);
    }
    let end = match random.below(30) {
        0 | 1 => End::Rollback,
        2 => End::Close,
        3 => End::CloseAtCommit,
        _ if style == Style::DoltCommit && writes => End::DoltCommit,
        _ => End::Commit,
    };
    Plan { steps, end }
}

fn is_column(key: Key) -> bool {
    key.is_multiple_of(2)
}

/// Where a list is.
fn table(key: Key, from: usize) -> String {
    let database = (key % SLOTS / (SLOTS / 2)) as usize;
    let table = if is_column(key) { "lists" } else { "items" };
    if database == from { table.to_owned() } else { format!("{}.{table}", DATABASES[database]) }
}

/// What makes the tables of one database.
pub const TABLES: [&str; 2] = [
    "CREATE TABLE lists (k INT PRIMARY KEY, v LONGTEXT)",
    "CREATE TABLE items (v BIGINT PRIMARY KEY, k INT, seq INT, KEY (k))",
];

/// What makes a list that is there before it has values.
pub fn create(key: Key, from: usize) -> Option<Statement> {
    let sql = format!("INSERT INTO {} VALUES ({key}, '')", table(key, from));
    is_column(key).then(|| Statement::plain(sql))
}

/// The statement that reads a list in the database `from`: strings.
pub fn read(key: Key, lock: bool, from: usize) -> Statement {
    let lock = if lock { " FOR UPDATE" } else { "" };
    let table = table(key, from);
    let sql = if is_column(key) {
        format!("SELECT v FROM {table} WHERE k = ?{lock}")
    } else {
        format!("SELECT CAST(v AS CHAR) FROM {table} WHERE k = ? ORDER BY seq, v{lock}")
    };
    Statement { sql, params: vec![Param::Number(key.into())] }
}

/// Its answer as a list.
pub fn list(key: Key, answer: &[String]) -> Vec<Value> {
    let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{key} holds {answer:?}"));
    if is_column(key) {
        answer.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()).map(parse).collect()
    } else {
        answer.iter().map(|text| parse(text)).collect()
    }
}

/// The statement that appends a value; `seen` is what the client takes the list to be, if it is to say so.
pub fn append(key: Key, value: Value, seen: Option<&[Value]>, from: usize) -> Statement {
    let table = table(key, from);
    let (key_param, value_param) = (Param::Number(key.into()), Param::Number(value));
    match (is_column(key), seen) {
        (true, None) => Statement {
            sql: format!("UPDATE {table} SET v = CONCAT(v, ?) WHERE k = ?"),
            params: vec![Param::Text(format!(",{value}")), key_param],
        },
        (true, Some(seen)) => {
            let all = seen.iter().chain([&value]).map(|value| format!(",{value}")).collect();
            let params = vec![Param::Text(all), key_param];
            Statement { sql: format!("UPDATE {table} SET v = ? WHERE k = ?"), params }
        }
        (false, None) => Statement {
            sql: format!(
                "INSERT INTO {table} (v, k, seq) SELECT ?, ?, COALESCE(MAX(seq), 0) + 1 FROM {table} WHERE k = ?"
            ),
            params: vec![value_param, key_param.clone(), key_param],
        },
        (false, Some(seen)) => Statement {
            sql: format!("INSERT INTO {table} (v, k, seq) VALUES (?, ?, ?)"),
            params: vec![value_param, key_param, Param::Number(seen.len() as u64 + 1)],
        },
    }
}

#[test]
fn a_seed_is_a_run() {
    let drawn = |seed| (0..SESSIONS).map(|session| plans(seed, session, 8, 1000)).collect::<Vec<_>>();
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let values = |plans: &[Vec<Plan>]| {
        let steps = plans.iter().flatten().flat_map(|plan| plan.steps.clone());
        let values = steps.filter_map(|step| match step {
            Step::Append { value, .. } | Step::AppendRead { value, .. } => Some(value),
            Step::Read { .. } | Step::Think => None,
        });
        values.collect::<Vec<_>>()
    };
    let mut all = values(&drawn(1));
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert!(count == all.len() && count > 300, "{count} values, {} of them different", all.len());
}
