//! Branchline: a MySQL-wire-protocol proxy in front of a private Dolt SQL server.
//!
//! The modules are listed in the order in which a connection meets them.

pub mod session;
pub mod accounts;
pub mod clients;
pub mod branch;
pub mod config;
