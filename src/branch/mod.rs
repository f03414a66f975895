//! Branches as things of their own: which there are, making new ones, their end, and what became of those that are
//! no more.
//! Does not choose a session's branch: `session::route` does.

pub mod base;
pub mod book;
mod create;
pub mod database_name;
mod directory;
mod drop;
pub mod finish;
pub mod fork;
mod forks;
pub mod history;
pub mod incoming;
pub mod main_tables;
pub mod gates;
mod hold;
pub mod list;
pub mod reap;
pub mod recover;
mod undrop;
pub mod vanished;

pub use book::{Book, Ended, Tombstone};
pub use create::{Created, ForkRequest, create};
pub use directory::{Branches, Listing, sql_identifier, sql_literal};
pub use drop::{DropError, DropRequest, Dropped, Undropped, drop_branch};
pub use forks::{ForkFailed, Forks};
pub use gates::{Gate, Gates, StillOn};
pub use undrop::{expire_dropped, undrop};
