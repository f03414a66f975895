//! What a person decided about one row, as `branch resolve` stores it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a person decided about one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The table.
    pub table: String,
    /// The row's key as `branch conflicts` shows it: see `Table::key_text`.
    pub key: String,
    /// What was decided.
    pub choice: Choice,
    /// `ConflictView::fingerprint` of the three versions that were seen; one of others is not used.
    pub fingerprint: String,
    /// Who.
    pub by: String,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Where both sides differ, what the branch that is merged into has.
    Ours,
    /// Where both sides differ, what the branch that is merged has.
    Theirs,
    /// These columns get these values (NULL is `None`); the others are decided by the rules.
    Set(BTreeMap<String, Option<String>>),
}

impl Choice {
    /// For people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
            Self::Set(_) => "set",
        }
    }
}
