//! Branches as things of their own: which there are, making new ones, and their end.
//! Does not choose a session's branch: `session::route` does.

pub mod base;
mod create;
//! Branches as things of their own: which there are, making new ones, and what became of those that are no more.
//! Does not choose a session's branch: `session::route` does.

pub mod book;
mod directory;
mod drop;
pub mod finish;
pub mod fork;
mod forks;
pub mod history;
pub mod main_tables;
pub mod gates;
pub mod recover;
mod undrop;

pub use create::{Created, ForkRequest, create};
pub use book::{Book, Ended, Intent, Tombstone};
pub use directory::{Branches, Listing, sql_identifier, sql_literal};
pub use drop::{DropError, DropRequest, Dropped, Undropped, drop_branch};
pub use forks::{ForkFailed, Forks};
pub use undrop::{expire_dropped, undrop};
pub use gates::{Gate, Gates, StillOn};
