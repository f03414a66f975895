//! Owns what Branchline knows of Dolt's accounts: who a login is and whether it may.
//! Does not talk to clients or to Dolt: nonces and answers come in, verdicts go out.
//! Always: an account's hash, and what is recovered from a client's answer, is in no log.

pub mod denied;
pub mod directory;
pub mod matching;
pub mod native;

pub use denied::Denied;
pub use directory::{AccountSource, Directory, Login, Verified};
pub use matching::{Account, Accounts, BackendHost, ClientHost};
pub use native::{Stage1, StoredHash};
