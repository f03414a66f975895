//! Branches as things of their own: which there are, and making new ones.
//! Does not choose a session's branch: `session::route` does.

mod directory;
pub mod fork;
mod forks;
pub mod recover;

pub use directory::{Branches, Listing, sql_identifier, sql_literal};
pub use forks::{ForkFailed, Forks};
