//! Owns the rules assigned at run time (`route set`), in memory and in `routes.json`.
//! Does not match them: `choose` does.
//! Always: what `assign` or `unassign` returned Ok for is on disk; a file that can't be read is left as it is.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Rule;

/// A rule that somebody assigned while Branchline ran.
#[derive(Debug, Clone)]
pub struct AssignedRule {
    /// For `route unset`.
    pub id: u32,
    /// What it matches and which branch.
    pub rule: Rule,
    /// Who: the account, or the uid on the console's socket.
    pub by: String,
    /// When.
    pub at: SystemTime,
}

/// All assigned rules.
#[derive(Debug)]
pub struct AssignedRules {}

/// Why the rules could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AssignedError {}

impl AssignedRules {
    /// Reads `routes.json` in the state dir; none there means no rules.
    pub fn load(_state_dir: &Path) -> Result<Self, AssignedError> {
        todo!()
    }

    /// The rules, first match first.
    pub fn all(&self) -> Arc<[AssignedRule]> {
        todo!()
    }

    /// Adds a rule, or gives the one with the same conditions a new branch. Blocks for a file write.
    pub fn assign(&self, _rule: Rule, _by: &str, _at: SystemTime) -> Result<AssignedRule, AssignedError> {
        todo!()
    }

    /// Removes a rule; None if there is no such id.
    pub fn unassign(&self, _id: u32) -> Result<Option<AssignedRule>, AssignedError> {
        todo!()
    }
}
