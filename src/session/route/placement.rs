//! Owns what is done about a chosen branch once it is known whether it exists.
//! Does not ask Dolt and does not fork.
//! Always: a branch that isn't there is forked only if `create_pattern` says so, else refused by name.

use super::Choice;
use crate::config::Routing;

/// Whether the wanted branch exists in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Existence {
    /// Dolt has it, spelled so (names are case-insensitive).
    Exists {
        /// Dolt's spelling.
        spelled: String,
    },
    /// Dolt doesn't have it.
    Missing,
}

/// Where the session is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// The client's own `db/branch` goes to Dolt as it is.
    AsAsked,
    /// `CALL DOLT_CHECKOUT` this branch, as Dolt spells it.
    OnBranch(String),
    /// Stay where Dolt puts new sessions.
    Default,
    /// Read main; fork this branch at the first write.
    ForkAtFirstWrite(String),
    /// Tell the client.
    Refused(Refusal),
}

/// An ERR for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Always 1049 with HY000, as Dolt does.
    pub code: u16,
    /// Names the branch, why it was chosen and what to do.
    pub text: String,
}

/// What to do about `choice`. `existence` matters only for `Wanted::Branch`.
pub fn resolve(_choice: &Choice, _database: &str, _existence: &Existence, _routing: &Routing) -> Placement {
    todo!()
}
