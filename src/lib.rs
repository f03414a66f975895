//! Branchline: a MySQL-wire-protocol proxy in front of a private Dolt SQL server.
//!
//! The modules are listed in the order in which a connection meets them.

pub mod server;
pub mod net;
pub mod wire;
pub mod session;
pub mod accounts;
pub mod clients;
pub mod statement;
pub mod catalog;
pub mod admit;
pub mod pool;
pub mod branch;
pub mod merge;
pub mod remote;
pub mod state_file;
pub mod town;
pub mod dolt;
pub mod admin;
pub mod cli;
pub mod config;
pub mod observe;
