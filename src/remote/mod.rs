//! Owns what goes to and comes from git remotes: which URLs may be used, pushing main, pulling, cloning.
//! Does not decide conflicts (`merge` does) and does not touch branches other than main.
//! Always: nothing here is in a client's path; no password is asked for; no credential of a URL is shown.

pub mod add;
pub mod assigned;
pub mod backup;
pub mod call;
pub mod clone;
pub mod core;
pub mod fetch;
pub mod git;
pub mod ledger;
pub mod outcome;
pub mod peers;
pub mod pull;
pub mod push;
pub mod records;
pub mod settings;
mod state;
pub mod status;
pub mod target;
pub mod turns;
pub mod url;
pub mod verify;
pub mod worker;

pub use outcome::Outcome;
pub use state::Remotes;
pub use url::{RemoteUrl, UrlError};
