//! Owns the console's part of the seam that is about branches: what may be asked and what comes of it.
//! Does not format: `commands::branches` and `commands::jobs` do.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::Refusal;
use super::answer::Table;
use super::jobs::Jobs;
use crate::branch::finish::Finished;
use crate::branch::history::{DiffQuestion, LogEntry, TableDiff};
use crate::branch::main_tables::{BranchChange, BranchOutcome, Change, MainTable};
use crate::branch::{Created, Dropped, Undropped};

/// What the console asks of branches. What takes long is begun by `start` and runs as a job.
#[async_trait]
pub trait BranchBackend {
    /// `SHOW JOBS`, `SHOW JOB id`
    fn jobs(&self) -> &Jobs;

    /// Begins long work; the job's id. What can be told at once to be wrong is refused here.
    async fn start(&self, work: BranchWork, by: &str) -> Result<u32, Refusal>;

    /// `SHOW BRANCHES`, of one database or all.
    async fn branches(&self, database: Option<&str>) -> Result<Vec<BranchRow>, Refusal>;

    /// `SHOW BRANCH LOG`: at most `limit` commits.
    async fn branch_log(&self, database: &str, branch: &str, limit: usize) -> Result<Vec<LogEntry>, Refusal>;

    /// `SHOW BRANCH DIFF`
    async fn branch_diff(&self, question: DiffQuestion) -> Result<Vec<TableDiff>, Refusal>;

    /// `SHOW MAIN TABLES`
    async fn main_tables(&self, database: &str) -> Result<Vec<MainTable>, Refusal>;
}

/// Long work on branches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchWork {
    /// `BRANCH CREATE`
    Create(CreateBranch),
    /// `BRANCH DONE`
    Finish(FinishBranches),
    /// `BRANCH DROP`
    Drop {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// Also with what main doesn't have.
        force: bool,
    },
    /// `BRANCH UNDROP`
    Undrop {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// `BRANCH REAP`
    Reap {
        /// One database; all if none.
        database: Option<String>,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// `BRANCH CONFLICTS`
    Conflicts {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// This table only.
        table: Option<String>,
        /// Conflicts that are shown.
        limit: usize,
    },
    /// `BRANCH RESOLVE`: remembers a decision for the next `BRANCH DONE`.
    Resolve(ResolveRequest),
    /// `MAIN TABLE ADD`, `MAIN TABLE REMOVE`
    MainTable {
        /// Which of them.
        change: Change,
        /// The database.
        database: String,
        /// A table or a pattern.
        table: String,
    },
}

/// `BRANCH CREATE`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateBranch {
    /// In which database.
    pub database: String,
    /// The new branch; made from the worker and the time if none.
    pub name: Option<String>,
    /// The branch to fork; main if none.
    pub from: Option<String>,
    /// Dolt-commit main's uncommitted rows first.
    pub commit_main: bool,
    /// For whom.
    pub worker: Option<String>,
}

/// `BRANCH DONE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishBranches {
    /// In which database.
    pub database: String,
    /// Which.
    pub which: Which,
    /// Push main afterwards.
    pub push: bool,
    /// The branch stays.
    pub keep: bool,
    /// How long to wait for open transactions; the setting's if none.
    pub wait: Option<Duration>,
}

/// Which branches to finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    One(String),
    /// All that match, or all but main.
    All {
        /// `polecat-*`
        pattern: Option<String>,
    },
}

/// `BRANCH RESOLVE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveRequest {
    /// The database.
    pub database: String,
    /// The branch.
    pub branch: String,
    /// The table.
    pub table: String,
    /// Columns and values of the primary key; the column may be left out where the key has one.
    pub key: Vec<(Option<String>, String)>,
    /// What to do with the row.
    pub choice: Choice,
}

/// What was decided about a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Main's.
    Ours,
    /// The branch's.
    Theirs,
    /// These cells; none is NULL.
    Set(Vec<(String, Option<String>)>),
}

/// A row of `SHOW BRANCHES`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BranchRow {
    /// Its database.
    pub database: String,
    /// Its name as Dolt spells it.
    pub branch: String,
    /// For whom it was forked.
    pub worker: Option<String>,
    /// How long ago it was forked.
    pub age: Option<Duration>,
    /// When it was written last: its last Dolt commit, or a session's last write.
    pub last_write: Option<SystemTime>,
    /// Commits that main doesn't have.
    pub ahead: Option<u64>,
    /// Commits of main that it doesn't have.
    pub behind: Option<u64>,
    /// Tables with uncommitted rows.
    pub uncommitted: Option<u64>,
    /// Sessions that are on it.
    pub sessions: u64,
    /// Whether its worker is gone.
    pub orphan: bool,
}

/// What came of long work.
#[derive(Debug)]
pub enum Outcome {
    /// A new branch.
    Created(Created),
    /// Branches that were to be finished, with what became of each.
    Finished(Vec<(String, Result<Finished, String>)>),
    /// A branch that is gone.
    Dropped(Dropped),
    /// A branch that is back.
    Undropped(Undropped),
    /// Branches whose worker is gone.
    Reaped(Vec<ReapedRow>),
    /// Conflicts between a branch and main.
    Conflicts(Vec<ConflictRow>),
    /// What was decided, in words.
    Resolved(String),
    /// What was done on each branch.
    MainTable(Vec<BranchChange>),
    /// Rows as they are shown, and why the job counts as failed, if it does.
    Table {
        /// What came of it.
        table: Table,
        /// What of it failed.
        failure: Option<String>,
    },
}

/// What was done, or would be, about a branch whose worker is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReapedRow {
    /// Its database.
    pub database: String,
    /// The branch.
    pub branch: String,
    /// `deleted`, `kept`, …
    pub action: String,
    /// Why.
    pub why: String,
    /// Whether it could not be done.
    pub failed: bool,
}

/// One column of a conflict; conflicts on a whole row or table have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRow {
    /// The table.
    pub table: String,
    /// Key of the row, as `id=7`.
    pub key: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// When the branch left main.
    pub base: Option<String>,
    /// On main.
    pub ours: Option<String>,
    /// On the branch.
    pub theirs: Option<String>,
    /// What the rules make of it; none: to be decided.
    pub result: Option<String>,
    /// By which rule, or what to decide.
    pub why: String,
    /// Whether somebody has to decide.
    pub undecided: bool,
}

impl Outcome {
    /// Why the job counts as failed, though something came of it.
    pub fn failure(&self) -> Option<String> {
        let (failed, all, what) = match self {
            Self::Finished(branches) => {
                (branches.iter().filter(|(_, result)| result.is_err()).count(), branches.len(), "finished")
            }
            Self::MainTable(branches) => {
                let failed = |done: &&BranchChange| matches!(done.outcome, BranchOutcome::Failed(_));
                (branches.iter().filter(failed).count(), branches.len(), "changed")
            }
            Self::Reaped(branches) => {
                (branches.iter().filter(|row| row.failed).count(), branches.len(), "reaped")
            }
            Self::Table { failure, .. } => return failure.clone(),
            Self::Created(_)
            | Self::Dropped(_)
            | Self::Undropped(_)
            | Self::Conflicts(_)
            | Self::Resolved(_) => return None,
        };
        let were = if failed == 1 { "was" } else { "were" };
        (failed > 0).then(|| format!("{failed} of {all} branches {were} not {what}"))
    }
}
