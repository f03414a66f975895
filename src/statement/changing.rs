//! Functions and variables whose value is another one at another time or on another backend.
//! Owns their list. Does not know what names of a catalogue hide. Always: no allocation.

use std::fmt;

/// Kinds of changing values that a text uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Changing(u8);

impl Changing {
    /// None.
    pub const NONE: Self = Self(0);
    /// The time: NOW(), CURDATE(), UNIX_TIMESTAMP(), `@@timestamp`.
    pub const CLOCK: Self = Self(1);
    /// UUID(), RAND(), RANDOM_BYTES().
    pub const RANDOM: Self = Self(1 << 1);
    /// What the backend's session has: LAST_INSERT_ID(), ROW_COUNT(), CONNECTION_ID(), `@@pseudo_thread_id`.
    pub const SESSION: Self = Self(1 << 2);
    /// GET_LOCK() and its like.
    pub const LOCK: Self = Self(1 << 3);
    /// Hashes of commits and roots: DOLT_HASHOF(), `@@db_head`.
    pub const HASH: Self = Self(1 << 4);
    /// `@x`: the same again only where the session set it.
    pub const USER_VARIABLE: Self = Self(1 << 5);

    /// None at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::ops::BitOr for Changing {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Changing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::CLOCK, "time"),
            (Self::RANDOM, "random values"),
            (Self::SESSION, "session values"),
            (Self::LOCK, "named locks"),
            (Self::HASH, "hashes"),
            (Self::USER_VARIABLE, "user variables"),
        ];
        let mut first = true;
        for (_, name) in names.iter().filter(|(kind, _)| self.contains(*kind)) {
            f.write_str(if first { "" } else { ", " })?;
            f.write_str(name)?;
            first = false;
        }
        Ok(())
    }
}

/// Longest name in the lists.
const NAME_BYTES_MAX: usize = 20;

/// Of the function `name`, in any case, without its quotes. `empty`: whether it has no arguments.
pub(super) fn function(name: &[u8], empty: impl FnOnce() -> bool) -> Changing {
    let mut buffer = [0; NAME_BYTES_MAX];
    match lower(name, &mut buffer) {
        b"now" | b"sysdate" | b"curdate" | b"curtime" => Changing::CLOCK,
        b"unix_timestamp" if empty() => Changing::CLOCK,
        b"rand" | b"random_bytes" | b"uuid" | b"uuid_short" => Changing::RANDOM,
        b"last_insert_id"
        | b"last_insert_uuid"
        | b"connection_id"
        | b"row_count"
        | b"found_rows"
        | b"ps_current_thread_id" => Changing::SESSION,
        b"get_lock" | b"release_lock" | b"release_all_locks" | b"is_free_lock" | b"is_used_lock" => {
            Changing::LOCK
        }
        b"dolt_hashof" | b"hashof" | b"dolt_hashof_db" | b"dolt_hashof_table" | b"dolt_merge_base" => {
            Changing::HASH
        }
        _ => bare(name),
    }
}

/// Of the bare word `name`, which may be a function without parentheses.
pub(super) fn bare(name: &[u8]) -> Changing {
    let mut buffer = [0; NAME_BYTES_MAX];
    match lower(name, &mut buffer) {
        b"current_timestamp" | b"current_date" | b"current_time" | b"localtime" | b"localtimestamp"
        | b"utc_timestamp" | b"utc_date" | b"utc_time" => Changing::CLOCK,
        _ => Changing::NONE,
    }
}

/// Of `@@name`, the scope and quotes included.
pub(super) fn system_variable(token: &[u8]) -> Changing {
    let name =
        token.iter().rposition(|byte| matches!(byte, b'.' | b'@')).map_or(token, |at| &token[at + 1..]);
    let quotes: &[u8] = b"`'\"";
    let name = match name {
        [first, inner @ .., last] if first == last && quotes.contains(first) => inner,
        name => name,
    };
    let ends =
        |end: &[u8]| name.len().checked_sub(end.len()).is_some_and(|at| name[at..].eq_ignore_ascii_case(end));
    if [&b"_head"[..], b"_working", b"_staged"].iter().any(|end| ends(end)) {
        return Changing::HASH;
    }
    let mut buffer = [0; NAME_BYTES_MAX];
    match lower(name, &mut buffer) {
        b"timestamp" => Changing::CLOCK,
        b"rand_seed1" | b"rand_seed2" => Changing::RANDOM,
        b"last_insert_id" | b"identity" | b"insert_id" | b"pseudo_thread_id" | b"warning_count"
        | b"error_count" => Changing::SESSION,
        _ => Changing::NONE,
    }
}

/// `name` in lower case; nothing if it is longer than any in the lists.
fn lower<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> &'a [u8] {
    let Some(lower) = buffer.get_mut(..name.len()) else { return &[] };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    lower
}
