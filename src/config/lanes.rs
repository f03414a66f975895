//! Owns the settings of write lanes: times, and rules about who keeps a lane and who Dolt-commits.
//! Does not match rules (`session::route` does) and does not wait (`admit` does).

use std::fmt;
use std::time::Duration;

use super::Conditions;
use super::problem::Problem;
use super::raw::{RawLaneRule, Written};
use super::rule::{conditions, conditions_text, origin_text, problem};

/// How writes wait for each other.
#[derive(Debug, Clone)]
pub struct LanesConfig {
    /// How long one statement may take to get its lanes and to be tried again, from its receipt.
    pub budget: Duration,
    /// A holder with no statement in flight for this long loses the lane to whoever waits.
    pub lane_idle: Duration,
    /// The same, when the one who waits is a session of the holder's client process.
    pub same_process_idle: Duration,
    /// How long a lane is kept after a SQL commit for the DOLT_COMMIT that is expected.
    pub own_rows_hold: Duration,
    /// What a commit is, where no rule says.
    pub auto_commit: AutoCommit,
    /// First match wins, for each setting on its own.
    pub rules: Vec<LaneRule>,
    /// `routing.env_exclude`: whose environment no rule looks at.
    pub env_exclude: Vec<String>,
}

impl Default for LanesConfig {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(8),
            lane_idle: Duration::from_millis(2000),
            same_process_idle: Duration::from_millis(40),
            own_rows_hold: Duration::from_millis(1000),
            auto_commit: AutoCommit::default(),
            rules: Vec::new(),
            env_exclude: Vec::new(),
        }
    }
}

/// What the SQL commits of a session become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoCommit {
    /// SQL commits: rows in the branch's working set, until somebody Dolt-commits them.
    #[default]
    Sql,
    /// Dolt commits, with the account as author.
    Dolt,
}

/// Whether a session keeps the lane from its SQL commit until its DOLT_COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnRows {
    /// As sessions of this program and account have behaved so far.
    #[default]
    Learn,
    /// It does.
    Always,
    /// It doesn't.
    Never,
}

/// One `[[lanes.rules]]` entry; at least one of its settings is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRule {
    /// Which connections it is for.
    pub conditions: Conditions,
    /// `own_rows`
    pub own_rows: Option<OwnRows>,
    /// `auto_commit`
    pub auto_commit: Option<AutoCommit>,
    /// Where it stands: `branchline.toml:12`.
    pub origin: String,
}

/// What holds for one connection in one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneRules {
    /// Whether it keeps its lane for a DOLT_COMMIT.
    pub own_rows: OwnRows,
    /// What its commits become.
    pub auto_commit: AutoCommit,
}

impl AutoCommit {
    const ALL: [Self; 2] = [Self::Sql, Self::Dolt];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Dolt => "dolt",
        }
    }
}

impl OwnRows {
    const ALL: [Self; 3] = [Self::Learn, Self::Always, Self::Never];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Learn => "learn",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// In the words of the console: `PROGRAM 'bd' OWN_ROWS always (branchline.toml:12)`.
impl fmt::Display for LaneRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&conditions_text(&self.conditions))?;
        if let Some(own_rows) = self.own_rows {
            write!(f, " OWN_ROWS {}", own_rows.as_str())?;
        }
        if let Some(auto_commit) = self.auto_commit {
            write!(f, " AUTO_COMMIT {}", auto_commit.as_str())?;
        }
        write!(f, " ({})", self.origin)
    }
}

/// Checks a rule; all its problems are added to `problems`.
pub(super) fn resolve(raw: &RawLaneRule, problems: &mut Vec<Problem>) -> Option<LaneRule> {
    let before = problems.len();
    let conditions = conditions(&raw.conditions, &raw.key, problems);
    let own_rows = raw.own_rows.as_ref().and_then(|written| {
        one_of(written, &raw.key, "own_rows", &OwnRows::ALL.map(|value| (value.as_str(), value)), problems)
    });
    let auto_commit = raw.auto_commit.as_ref().and_then(|written| auto_commit(written, &raw.key, problems));
    if !raw.setting_given {
        problems.push(Problem {
            origin: raw.origin.clone(),
            key: raw.key.clone(),
            what: "sets nothing".to_owned(),
            allowed: "own_rows, auto_commit, or both".to_owned(),
        });
    }
    let complete = problems.len() == before && (own_rows.is_some() || auto_commit.is_some());
    complete.then(|| LaneRule { conditions, own_rows, auto_commit, origin: origin_text(&raw.origin) })
}

/// Checks an `auto_commit` of the table `table`.
pub(super) fn auto_commit(
    written: &Written<String>,
    table: &str,
    problems: &mut Vec<Problem>,
) -> Option<AutoCommit> {
    one_of(written, table, "auto_commit", &AutoCommit::ALL.map(|value| (value.as_str(), value)), problems)
}

/// Finds the value that a word stands for; an unknown word is a problem.
pub(super) fn one_of<T: Copy>(
    written: &Written<String>,
    table: &str,
    name: &str,
    values: &[(&str, T)],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let value = values.iter().find(|(word, _)| *word == written.value).map(|(_, value)| *value);
    if value.is_none() {
        let words: Vec<String> = values.iter().map(|(word, _)| format!("{word:?}")).collect();
        let what = format!("is {:?}", written.value);
        problems.push(problem(written, table, name, what, &words.join(", ")));
    }
    value
}
