//! Owns what a scenario is: tables, what one writer does in a round, what must be found afterwards.
//! Does not know whether plain Dolt or Branchline is written to, or whether a writer is a thread or a process.
//! Always: a scenario is found by its name, so that a writer's process can be told which it is.

use super::outcome::{Finding, Run};
use super::session::{Kind, Session};
use super::support::raw::{Client, Failure};

/// Clients at once.
pub const WRITERS: usize = 50;
/// Writes of each.
pub const ROUNDS: u32 = 10;

/// What clients may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Every write is acknowledged at the first try.
    NoErrors,
    /// A client that tries again after 1213 gets through.
    RetryConflicts,
}

/// Where a writer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The scenario's database, on main.
    Main,
    /// The scenario's database, on branch `side`.
    Branch,
    /// The other database, on main.
    Other,
}

/// One writer's round.
#[derive(Debug)]
pub struct Turn {
    /// From 0.
    pub writer: usize,
    /// From 0.
    pub round: u32,
    /// The scenario's databases.
    pub databases: Databases,
    /// Set by the writer when it read what no serial order allows.
    pub impossible: bool,
}

/// Names of a scenario's two databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Databases {
    /// Where most happens.
    pub main: String,
    /// A second one with the same tables.
    pub other: String,
}

impl Databases {
    /// The database that a writer names in its handshake.
    pub fn at(&self, place: Place) -> String {
        match place {
            Place::Main => self.main.clone(),
            Place::Branch => format!("{}/side", self.main),
            Place::Other => self.other.clone(),
        }
    }
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// Acknowledged.
    Yes,
    /// The state left nothing to do.
    Nothing,
}

/// What a writer does.
pub type Write = fn(&mut Session, &mut Turn) -> Result<Wrote, Failure>;

/// Whether the data are right.
pub type Verdict = fn(&mut Judge<'_>) -> Finding;

/// A scenario.
#[derive(Clone)]
pub struct Scenario {
    pub name: String,
    pub promise: Promise,
    /// Tables, made in both databases.
    pub setup: &'static [&'static str],
    pub kind: fn(usize) -> Kind,
    pub place: fn(usize) -> Place,
    pub rounds: u32,
    /// Before each write, outside its transaction.
    pub before: Option<Write>,
    pub write: Write,
    pub judge: Verdict,
    /// Whether half the writers vanish in the middle.
    pub mortal: bool,
}

impl Scenario {
    /// 50 writers × 10 on main over text.
    pub fn new(
        name: &str,
        promise: Promise,
        setup: &'static [&'static str],
        write: Write,
        judge: Verdict,
    ) -> Self {
        Self {
            name: name.to_owned(),
            promise,
            setup,
            kind: |_| Kind::Text,
            place: |_| Place::Main,
            rounds: ROUNDS,
            before: None,
            write,
            judge,
            mortal: false,
        }
    }

    /// The same under another name.
    pub fn but(&self, suffix: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        other.name = format!("{}{suffix}", self.name);
        change(&mut other);
        other
    }

    /// Writes that are acknowledged if each writer does all its rounds.
    pub fn rounds_of_all(&self) -> usize {
        WRITERS * self.rounds as usize
    }
}

/// Looks at the data afterwards, with a connection to Dolt itself.
pub struct Judge<'a> {
    pub dolt: Client,
    pub databases: Databases,
    pub scenario: &'a Scenario,
    pub run: &'a Run,
}

impl Judge<'_> {
    /// The only value of a statement, a number; NULL is 0.
    pub fn number(&mut self, sql: &str) -> i64 {
        let value = self.dolt.value(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
        if value == "NULL" {
            return 0;
        }
        value.parse().unwrap_or_else(|_| panic!("{sql}: {value} is not a number"))
    }

    /// Rows as text.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.dolt.run(sql).rows;
        rows.into_iter()
            .map(|row| row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect())
            .collect()
    }

    /// Writes acknowledged to the writers at a place.
    pub fn acknowledged_at(&self, place: Place) -> usize {
        let writers = self.run.writers.iter().enumerate();
        let there = writers.filter(|(writer, _)| (self.scenario.place)(*writer) == place);
        there.map(|(_, outcome)| outcome.acknowledged.len()).sum()
    }
}
