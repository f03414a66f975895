//! Owns the choice of a connection's branch: who asked for it, in which order, and why.
//! Does not look anything up and does not talk to Dolt: the caller brings the identity, then the branch's existence.
//! Always: what the client asked for itself wins; databases in `main_only` are never routed by anything else.

pub mod assigned;
pub mod branch_name;
pub mod placement;
pub mod reason;
pub mod requested;

pub use assigned::{AssignedRule, AssignedRules};
pub use placement::{Existence, Placement, Refusal, resolve};
pub use reason::Reason;
pub use requested::Requested;

use super::identity::Identity;
use crate::config::Routing;

/// The branch a connection should be on for one database, before it is known whether it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Which branch.
    pub branch: Wanted,
    /// Who said so.
    pub reason: Reason,
}

/// Which branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The client named a revision itself (`db/branch`): its name goes to Dolt as it is.
    AsAsked,
    /// This branch, if it exists: `CALL DOLT_CHECKOUT`. The name is valid for Dolt.
    Branch(String),
    /// Somebody named a branch that can't be one; `what` is wrong with it.
    Invalid {
        /// The name, cut to a printable length.
        name: String,
        /// What is wrong with it.
        problem: branch_name::Problem,
    },
    /// Whatever Dolt gives new sessions.
    Default,
}

/// The branch for a connection that opens `database`.
pub fn choose(
    _identity: &Identity,
    _database: Option<&Requested>,
    _routing: &Routing,
    _assigned: &[AssignedRule],
) -> Choice {
    todo!()
}

/// Whether knowing the peer's process could change what `choose` says.
pub fn needs_process(
    _identity: &Identity,
    _database: Option<&Requested>,
    _routing: &Routing,
    _assigned: &[AssignedRule],
) -> bool {
    todo!()
}

/// One step of the precedence, for `route explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `1 client asked`, `2 attribute`, …
    pub step: &'static str,
    /// What was looked at.
    pub considered: String,
    /// What came of it.
    pub outcome: String,
}

/// Every step that `choose` takes, in order; the last one decided.
pub fn explain(
    _identity: &Identity,
    _database: Option<&Requested>,
    _routing: &Routing,
    _assigned: &[AssignedRule],
) -> Vec<Step> {
    todo!()
}
