//! Owns merging one branch into another: every conflict decided by rules, cell by cell against the base.
//! Does not commit, takes no lanes and knows no sessions: `branch` and `remote` do.
//! Always: each decision is in the audit log before the caller can commit; what no rule decides stops the merge and
//! leaves all as it was; memory does not grow with the number of conflicts.

use crate::config::MergePolicy;
use crate::observe::audit::AuditSink;
use crate::observe::progress::Progress;

mod decision;
mod engine;
mod error;
mod report;
pub mod rules;
mod session;
mod stream;
mod sums;
mod table;
mod values;
mod write;

pub use decision::{Choice, Decision};
pub use engine::{conflicts, merge_into};
pub use error::{MergeError, UndecidedRow};
pub use report::{ConflictView, Merged, TableReport, Wanted};
pub use rules::{Cell, CellDecision, Row, RowDecision, RowOutcome, Side, TableRules, Why, resolve_row};
pub use table::{Table, table, text};
pub use values::Kind;

/// What to merge, and by what.
pub struct MergeRequest<'a> {
    /// The database.
    pub database: &'a str,
    /// What is merged: a branch or a commit.
    pub theirs: &'a str,
    /// The rules.
    pub policy: &'a MergePolicy,
    /// What people decided with `branch resolve`.
    pub decisions: &'a [Decision],
    /// Who waits for it.
    pub progress: &'a Progress,
    /// Where each decision is written down.
    pub audit: &'a dyn AuditSink,
}
