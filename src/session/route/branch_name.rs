//! Owns the rules for branch names.
//! Does not know which branches exist.
//! Always: a name that passes is one Dolt accepts for a new branch, and needs no escape inside `'…'` or `` `…` ``.

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
}

/// Checks a name that a route came up with.
pub fn check(_name: &str) -> Result<(), Problem> {
    todo!()
}
