//! Why a ledger was not published, checked or changed.

use super::rule::SUFFIX;
use crate::remote::Outcome;
use crate::remote::call::CallError;
use crate::remote::outcome::one_line;

/// Why a ledger was not published, checked or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// There is no such setting.
    #[error(
        "{0} has no ledger; [remotes.{0}.ledger] in branchline.toml gives it one: remote, tables, where, columns_excluded"
    )]
    NotConfigured(String),
    /// The setting does not fit the tables.
    #[error("the ledger of {database} is not published: {what}; change [remotes.{database}.ledger]")]
    Unfit {
        /// The source.
        database: String,
        /// What does not fit.
        what: String,
    },
    /// What was published before was published by another rule.
    #[error(
        "the ledger of {database} is not published: {what}. What is in its history can't be taken back. Set it back as it was; \
         or begin a new ledger: make an empty git repository, set `remote` in [remotes.{database}.ledger] to it, run \
         `branchline ledger rebuild {database}`, and take the old repository away where it is if nobody should see it any more"
    )]
    Changed {
        /// The source.
        database: String,
        /// What is different.
        what: String,
    },
    /// The ledger has another remote now, and nobody said what is to go there.
    #[error(
        "the ledger of {database} is not published: its remote is another one now ({remote}; it was {was}). \
         `branchline ledger publish {database} --move` brings all of its history there, also what was withdrawn since; \
         `branchline ledger rebuild {database}` begins anew there, without it"
    )]
    Moved {
        /// The source.
        database: String,
        /// Where it was published.
        was: String,
        /// Where it would go, without credentials.
        remote: String,
    },
    /// A key of a row that was withdrawn fits no table.
    #[error(
        "the ledger of {database} is not published, as a row that was withdrawn could come back: nobody can tell any more \
         which row this is: {key}. Put it right under {ledger} in ledgers.json in the state directory, while Branchline is \
         stopped, or take it out there"
    )]
    Unplaced {
        /// The source.
        database: String,
        /// The ledger.
        ledger: String,
        /// The key and its table.
        key: String,
    },
    /// Somebody else wrote to the ledger.
    #[error(
        "nothing is pushed: {ledger} holds what Branchline did not write there: {what}. Look at it (`branchline sql {ledger}`); \
         to begin anew: `branchline ledger rebuild {database}` with an empty git repository as its `remote`"
    )]
    Foreign {
        /// The source.
        database: String,
        /// The ledger.
        ledger: String,
        /// What was found.
        what: String,
    },
    /// The public repository is used for something else, or the ledger has another remote.
    #[error("nothing is pushed: {0}")]
    Mixed(String),
    /// The public repository could not be used.
    #[error("the ledger {ledger} was not pushed to {remote}: {outcome}: {text}; {}", advice(*.outcome, ledger))]
    Remote {
        /// The ledger.
        ledger: String,
        /// Where to, without credentials.
        remote: String,
        /// What it came to.
        outcome: Outcome,
        /// What was said.
        text: String,
    },
    /// Dolt refused a step, or was not there.
    #[error("Dolt could not {step}: {error}")]
    Dolt {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        error: CallError,
    },
    /// The same of a publishing.
    #[error("Dolt could not {step}: {error}; nothing was pushed, and it is tried again by itself")]
    Later {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        error: CallError,
    },
    /// What was asked for is not what is wanted now.
    #[error("{0}")]
    Stale(String),
    /// A row is withdrawn, but what is public has it still.
    #[error(
        "{0}. The row is noted as withdrawn: its removal reaches the remote with the next publishing that succeeds"
    )]
    Withdrawn(Box<LedgerError>),
    /// A wish that can't be fulfilled.
    #[error("{0}")]
    Refused(String),
}

impl LedgerError {
    /// For `map_err`.
    pub(super) fn at(step: &'static str) -> impl FnOnce(CallError) -> Self {
        move |error| Self::Dolt { step, error }
    }

    /// Whether it stays so until somebody does something.
    pub fn needs_somebody(&self) -> bool {
        match self {
            Self::Remote { outcome, .. } => {
                !matches!(outcome, Outcome::Unreachable | Outcome::Timeout | Outcome::DoltError)
            }
            Self::Dolt { .. } | Self::Later { .. } | Self::Stale(_) => false,
            Self::Withdrawn(why) => why.needs_somebody(),
            _ => true,
        }
    }
}

/// What can be done about it at a public remote, which is never merged from.
pub(super) fn advice(outcome: Outcome, ledger: &str) -> String {
    let source = ledger.strip_suffix(SUFFIX).unwrap_or(ledger);
    match outcome {
        Outcome::Behind => format!(
            "only Branchline pushes there, and it pushes over nothing: find out who else does. If {ledger} was restored from an \
             older backup: `branchline clone URL {ledger} --replace` takes what is there, and what it replaces is to be dropped"
        ),
        Outcome::Rewritten => {
            "only Branchline pushes there, and it pushes over nothing: find out who else does. \
             `branchline ledger rebuild DB` begins anew, in an empty repository with another URL"
                .replace("DB", source)
        }
        Outcome::OtherData => "give the ledger a repository of its own".to_owned(),
        Outcome::NoBranch => format!("`branchline ledger publish {source} --init` makes one"),
        other => other.advice().to_owned(),
    }
}

/// Of what git or Dolt said about a remote.
pub(super) fn of_text(text: &str) -> (Outcome, String) {
    (Outcome::of(text), one_line(text))
}
