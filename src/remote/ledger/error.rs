//! Why a ledger was not published, checked or changed.

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
    #[error("the ledger {ledger} was not pushed to {remote}: {outcome}: {text}; {}", advice(*.outcome))]
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
    #[error("Dolt could not {step}: {error}; nothing of it was published, it is tried again by itself")]
    Dolt {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        error: CallError,
    },
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
            Self::Dolt { .. } => false,
            _ => true,
        }
    }
}

/// What can be done about it at a public remote, which is never merged from.
fn advice(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Behind | Outcome::Rewritten => {
            "only Branchline pushes there, and it pushes over nothing: find out who else does"
        }
        Outcome::NoBranch => "`branchline ledger publish DB --init` makes one",
        other => other.advice(),
    }
}

/// Of what git or Dolt said about a remote.
pub(super) fn of_text(text: &str) -> (Outcome, String) {
    (Outcome::of(text), one_line(text))
}
