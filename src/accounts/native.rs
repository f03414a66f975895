//! Owns mysql_native_password, from both ends: checks a client's answer and gives ours to Dolt.
//! Does not know accounts or connections.
//! Always: comparisons take the same time whatever they compare.

use std::fmt;

/// SHA1(password), which logs in to Dolt as the same account: as good as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Stage1(Option<[u8; 20]>);

impl fmt::Debug for Stage1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage1(…)")
    }
}

/// What `mysql.user` holds: SHA1(SHA1(password)), or nothing for an empty password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredHash {
    /// No password.
    Empty,
    /// `*HEX40`.
    Sha1([u8; 20]),
}

/// The answer doesn't prove the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongPassword;

/// Not `*` and 40 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedHash;

/// Checks a client's answer to our nonce.
pub fn verify(_nonce: &[u8; 20], _response: &[u8], _stored: &StoredHash) -> Result<Stage1, WrongPassword> {
    todo!()
}

/// The answer to Dolt's nonce; empty for an empty password.
pub fn answer(_nonce: &[u8], _stage1: &Stage1) -> Vec<u8> {
    todo!()
}
