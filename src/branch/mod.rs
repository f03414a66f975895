//! Branches as things of their own: which there are, making new ones, and what became of those that are no more.
//! Does not choose a session's branch: `session::route` does.

pub mod book;
mod directory;
pub mod fork;
mod forks;
pub mod gates;
pub mod recover;
pub mod vanished;

pub use book::{Book, Ended, Intent, Tombstone};
pub use directory::{Branches, Listing, sql_identifier, sql_literal};
pub use forks::{ForkFailed, Forks};
pub use gates::{Gate, Gates, StillOn};
