//! Branchline: a MySQL-wire-protocol proxy in front of a private Dolt SQL server.
//!
//! The modules are listed in the order in which a connection meets them.

pub mod wire;
pub mod session;
pub mod statement;
pub mod clients;
pub mod config;
