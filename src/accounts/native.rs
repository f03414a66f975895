//! Owns mysql_native_password, from both ends: checks a client's answer and gives ours to Dolt.
//! Does not know accounts or connections.
//! Always: a check takes the same time whatever it compares, and for accounts that don't exist.

use std::fmt;

use sha1::{Digest, Sha1};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The plugin's name.
pub const PLUGIN: &str = "mysql_native_password";

const HASH_BYTES: usize = 20;

type Hash = [u8; HASH_BYTES];

/// SHA1(password), which logs in to Dolt as the same account: as good as the password.
#[derive(Clone)]
pub struct Stage1(Option<Hash>);

impl Stage1 {
    /// Of a password that is known, such as the control connection's.
    pub fn of_password(password: &str) -> Self {
        Self((!password.is_empty()).then(|| sha1(&[password.as_bytes()])))
    }
}

impl fmt::Debug for Stage1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage1(…)")
    }
}

/// What `mysql.user` holds: SHA1(SHA1(password)), or nothing for an empty password.
#[derive(Clone, Copy)]
pub enum StoredHash {
    /// No password.
    Empty,
    /// `*HEX40`.
    Sha1(Hash),
    /// No account, or a hash that can't be read: checked like any other, never right.
    Nobody,
}

impl StoredHash {
    /// Reads an `authentication_string`. Like Dolt, the `*` may be missing.
    pub fn parse(text: &str) -> Result<Self, MalformedHash> {
        if text.is_empty() {
            return Ok(Self::Empty);
        }
        let hex = text.strip_prefix('*').unwrap_or(text).as_bytes();
        if hex.len() != 2 * HASH_BYTES {
            return Err(MalformedHash);
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, digits) in hash.iter_mut().zip(hex.as_chunks::<2>().0) {
            *byte = (hex_digit(digits[0])? << 4) | hex_digit(digits[1])?;
        }
        Ok(Self::Sha1(hash))
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash(…)")
    }
}

/// The answer doesn't prove the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongPassword;

/// Not `*` and 40 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedHash;

/// Checks a client's answer to our nonce.
///
/// The answer is `SHA1(password) XOR SHA1(nonce + stored)`, so undoing the second part yields
/// SHA1(password), whose SHA1 must be what is stored.
pub fn verify(nonce: &[u8; 20], response: &[u8], stored: &StoredHash) -> Result<Stage1, WrongPassword> {
    let (hash, is_empty, is_somebody) = match stored {
        StoredHash::Empty => ([0; HASH_BYTES], 1, 1),
        StoredHash::Sha1(hash) => (*hash, 0, 1),
        StoredHash::Nobody => ([0; HASH_BYTES], 0, 0),
    };
    let response_is_hash = Choice::from(u8::from(response.len() == HASH_BYTES));
    let response_is_empty = Choice::from(u8::from(response.is_empty()));
    let mut padded = [0; HASH_BYTES];
    let take = response.len().min(HASH_BYTES);
    padded[..take].copy_from_slice(&response[..take]);

    let stage1 = xor(padded, sha1(&[nonce, &hash]));
    let proved = sha1(&[&stage1]).ct_eq(&hash) & response_is_hash;
    let right = Choice::conditional_select(&proved, &response_is_empty, Choice::from(is_empty))
        & Choice::from(is_somebody);
    if bool::from(right) { Ok(Stage1((is_empty == 0).then_some(stage1))) } else { Err(WrongPassword) }
}

/// The answer to Dolt's nonce; empty for an empty password.
pub fn answer(nonce: &[u8], stage1: &Stage1) -> Vec<u8> {
    match &stage1.0 {
        Some(stage1) => xor(*stage1, sha1(&[nonce, &sha1(&[stage1])])).to_vec(),
        None => Vec::new(),
    }
}

fn sha1(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn xor(mut a: Hash, b: Hash) -> Hash {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
    a
}

fn hex_digit(digit: u8) -> Result<u8, MalformedHash> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(MalformedHash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Dolt stores for `pw`.
    const PW: &str = "*D821809F681A40A6E379B50D0463EFAE20BDD122";
    const NONCE: &[u8; 20] = b"0123456789abcdefghij";

    fn scramble(password: &str, nonce: &[u8]) -> Vec<u8> {
        mysql_common::scramble::scramble_native(nonce, password.as_bytes())
            .map(|hash| hash.to_vec())
            .unwrap_or_default()
    }

    #[test]
    fn a_right_password_yields_what_dolt_accepts() {
        let stored = StoredHash::parse(PW).expect("a hash");
        let stage1 = verify(NONCE, &scramble("pw", NONCE), &stored).expect("the right password");
        let dolts_nonce = b"another nonce of 20b";
        assert_eq!(answer(dolts_nonce, &stage1), scramble("pw", dolts_nonce));
    }

    #[test]
    fn empty_passwords() {
        let stored = StoredHash::parse("").expect("a hash");
        let stage1 = verify(NONCE, b"", &stored).expect("no password needed");
        assert_eq!(answer(NONCE, &stage1), b"");
        assert_eq!(verify(NONCE, &scramble("pw", NONCE), &stored).err(), Some(WrongPassword));
        assert_eq!(verify(NONCE, &[0; 20], &stored).err(), Some(WrongPassword));
        let stored = StoredHash::parse(PW).expect("a hash");
        assert_eq!(verify(NONCE, b"", &stored).err(), Some(WrongPassword));
    }

    #[test]
    fn wrong_answers() {
        let stored = StoredHash::parse(PW).expect("a hash");
        let right = scramble("pw", NONCE);
        for wrong in [scramble("Pw", NONCE), scramble("pw", b"9123456789abcdefghij"), right[..19].to_vec(), {
            let mut longer = right.clone();
            longer.push(0);
            longer
        }] {
            assert_eq!(verify(NONCE, &wrong, &stored).err(), Some(WrongPassword), "{wrong:?}");
        }
    }

    #[test]
    fn nobody_has_no_password() {
        // The answer that would fit an all-zero hash, had it a preimage, and the empty one.
        for response in [&b""[..], &[0; 20], &sha1(&[NONCE, &[0; 20]])] {
            assert_eq!(verify(NONCE, response, &StoredHash::Nobody).err(), Some(WrongPassword));
        }
    }

    #[test]
    fn hashes_that_cannot_be_read() {
        for text in ["*", "*12", &PW[..40], &format!("{PW}0"), &PW.replace('D', "G"), "$A$005$xyz", "*é"] {
            assert!(StoredHash::parse(text).is_err(), "{text}");
        }
        assert!(matches!(StoredHash::parse(&PW[1..]), Ok(StoredHash::Sha1(_))));
    }

    #[test]
    fn secrets_do_not_print() {
        let stored = StoredHash::parse(PW).expect("a hash");
        assert_eq!(format!("{stored:?} {:?}", Stage1::of_password("pw")), "StoredHash(…) Stage1(…)");
    }

    proptest! {
        #[test]
        fn any_password_verifies_and_logs_in(password in ".{0,40}", nonce: [u8; 20], dolts: [u8; 20]) {
            let stored = match Stage1::of_password(&password).0 {
                Some(stage1) => StoredHash::Sha1(sha1(&[&stage1])),
                None => StoredHash::Empty,
            };
            let stage1 = verify(&nonce, &scramble(&password, &nonce), &stored).expect("the right password");
            prop_assert_eq!(answer(&dolts, &stage1), scramble(&password, &dolts));
        }

        #[test]
        fn no_answer_panics_or_passes(response: Vec<u8>, nonce: [u8; 20]) {
            let stored = StoredHash::parse(PW).expect("a hash");
            prop_assert!(verify(&nonce, &response, &stored).is_err());
        }
    }
}
