//! Why a branch is not finished.

use thiserror::Error;

use crate::dolt::ControlError;
use crate::merge::MergeError;
use crate::session::route::branch_name::printable;

/// Why a branch is not finished. Main and the branch are as they were, but that the branch's rows may be Dolt-committed on it.
#[derive(Debug, Error)]
pub enum FinishError {
    /// No such database.
    #[error("there is no database {}", printable(.0))]
    NoDatabase(String),
    /// No such branch, and none of this name was ever finished.
    #[error("database {} has no branch {}", printable(database), printable(branch))]
    NoBranch {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// It was dropped.
    #[error(
        "branch {branch} of {database} was dropped; `branchline branch undrop {database} {branch}` brings it back"
    )]
    Dropped {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// It is what others are merged into.
    #[error(
        "{branch} is the branch of {database} that others are finished into: it can't be finished itself"
    )]
    IsMain {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
    },
    /// The database has no other branches by configuration.
    #[error("{0} is in routing.main_only: nothing in it is finished or dropped")]
    MainOnly(String),
    /// Somebody is at it.
    #[error("branch {branch} of {database} is being finished or dropped already, since {seconds} s")]
    Closed {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// Since then.
        seconds: u64,
    },
    /// Sessions have transactions open on it.
    #[error(
        "branch {branch} of {database} is in use after a wait of {waited_seconds} s by {sessions}; let them end \
         their transactions, or wait longer with --wait"
    )]
    InUse {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// How long it was waited.
        waited_seconds: u64,
        /// Who.
        sessions: String,
    },
    /// Which branches there are is not known.
    #[error("{0}")]
    Listing(String),
    /// A lane was not free in time.
    #[error("{0}")]
    Lane(String),
    /// Rows that no rule decides.
    #[error(
        "{rows}. `branchline branch conflicts {database} {branch}` shows them, `branchline branch resolve {database} \
         {branch} --table TABLE --key KEY --ours|--theirs|--set COLUMN=VALUE` decides; then run it again"
    )]
    Undecided {
        /// The database.
        database: String,
        /// The branch.
        branch: String,
        /// Which, and what of them.
        rows: MergeError,
    },
    /// What is on both sides can't be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The audit log could not be written.
    #[error("cannot write the audit log: {0}; nothing was merged")]
    Audit(#[source] std::io::Error),
    /// An ignored table can't be carried to main.
    #[error("the rows of ignored table {table} can't be carried to {main} of {database}: {why}")]
    Ignored {
        /// The database.
        database: String,
        /// Its main branch.
        main: String,
        /// The table.
        table: String,
        /// What stood in the way, and what to do.
        why: String,
    },
    /// `branches.json` could not be written.
    #[error("{0}")]
    Book(String),
    /// A person's decision about a conflict that can't be taken.
    #[error("{0}")]
    Decision(String),
    /// No connection to Dolt.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Dolt refused a step.
    #[error("while it was to {step}: {source}")]
    Dolt {
        /// Which.
        step: &'static str,
        /// What Dolt said.
        source: mysql_async::Error,
    },
    /// Dolt went away, or refused, when some of it was done already.
    #[error(
        "{why}. Some of it may have happened; run it again: it completes{}",
        swept.as_deref().map(|commit| format!(". Main's uncommitted rows are Dolt-committed, as {commit}")).unwrap_or_default()
    )]
    HalfWay {
        /// What went wrong.
        why: String,
        /// The commit of main's own rows that was made for it.
        swept: Option<String>,
    },
    /// Branchline is stopping.
    #[error("Branchline is stopping; run it again")]
    Interrupted,
}

impl FinishError {
    /// Dolt refused this step.
    pub(in crate::branch) fn at(step: &'static str) -> impl FnOnce(mysql_async::Error) -> Self {
        move |source| Self::Dolt { step, source }
    }

    /// The same, from where on it is not known what has happened.
    pub(in crate::branch) fn half_way(
        step: &'static str,
        swept: Option<&str>,
    ) -> impl FnOnce(mysql_async::Error) -> Self {
        let swept = swept.map(str::to_owned);
        move |error| Self::HalfWay { why: format!("while it was to {step}: {error}"), swept }
    }
}
