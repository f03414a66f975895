//! The client's prepared statements: our ids, what they were prepared from, and Dolt's ids on the
//! backend of the moment.
//! Does not prepare. Always: an id the client knows stays valid over a change of backend, or the
//! statement is known to be gone and says why.

use std::collections::HashMap;
use std::sync::Arc;

use crate::statement::classify::Summary;
use crate::statement::lexer::{DoubleQuotes, Lexer};
use crate::wire::lenenc;

/// MySQL's own default for max_prepared_stmt_count.
pub const PREPARED_MAX: usize = 16_382;
/// Texts kept for preparing again, per session; past it a statement is lost with its backend.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// All prepared statements of a session.
#[derive(Debug, Default)]
pub struct PreparedStatements {
    by_id: HashMap<u32, Prepared>,
    last_id: u32,
    text_bytes: usize,
}

/// One prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its text; `None` if it was too long to keep.
    pub text: Option<Arc<[u8]>>,
    /// What it does.
    pub summary: Arc<Summary>,
    /// Parameters.
    pub params: u16,
    /// Parameter types as last bound, two bytes each.
    pub types: Vec<u8>,
    /// Long data was sent since the last execution.
    pub long_data: bool,
    /// Dolt's id, on the backend with this connection id.
    pub backend: Option<BackendStatement>,
}

/// A statement as one backend knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendStatement {
    /// Dolt's connection id, with its generation.
    pub connection: (u64, u32),
    /// Dolt's statement id.
    pub id: u32,
}

impl PreparedStatements {
    /// Whether another one may be prepared.
    pub fn is_full(&self) -> bool {
        self.by_id.len() >= PREPARED_MAX
    }

    /// The id that the next statement will have.
    pub fn next_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.by_id.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Remembers a statement under an id from `next_id`.
    pub fn insert(&mut self, id: u32, mut prepared: Prepared) {
        if let Some(text) = &prepared.text {
            if self.text_bytes + text.len() > TEXT_BYTES_MAX {
                prepared.text = None;
            } else {
                self.text_bytes += text.len();
            }
        }
        self.by_id.insert(id, prepared);
    }

    /// The statement with this id of ours.
    pub fn get(&self, id: u32) -> Option<&Prepared> {
        self.by_id.get(&id)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Prepared> {
        self.by_id.get_mut(&id)
    }

    /// Forgets one.
    pub fn remove(&mut self, id: u32) -> Option<Prepared> {
        let removed = self.by_id.remove(&id)?;
        self.text_bytes -= removed.text.as_ref().map_or(0, |text| text.len());
        Some(removed)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_id.clear();
        self.text_bytes = 0;
    }
}

/// The fixed part of a COM_STMT_EXECUTE.
#[derive(Debug, PartialEq, Eq)]
pub struct Execute {
    /// Statement id.
    pub id: u32,
    /// Where the flag "new parameters bound" stands in the payload; `None` without parameters, or if the
    /// payload's head ends before it.
    pub bound_flag_at: Option<usize>,
    /// Whether types follow the flag.
    pub has_types: bool,
}

impl Execute {
    /// Reads it from the head of a payload; the command byte included.
    pub fn read(head: &[u8], params: u16) -> Option<Self> {
        let id = statement_id(head)?;
        let bitmap_bytes = usize::from(params).div_ceil(8);
        // Command 1, id 4, flags 1, iterations 4, NULL bitmap.
        let at = 10 + bitmap_bytes;
        let bound_flag_at = (params > 0 && head.len() > at).then_some(at);
        let has_types = bound_flag_at.is_some_and(|at| head[at] == 1);
        Some(Self { id, bound_flag_at, has_types })
    }

    /// The types, if they are there.
    pub fn types<'a>(&self, head: &'a [u8], params: u16) -> Option<&'a [u8]> {
        let at = self.bound_flag_at.filter(|_| self.has_types)? + 1;
        head.get(at..at + 2 * usize::from(params))
    }
}

/// The text of a prepared statement with its parameters in the places of the `?`, to be looked at, never sent: `None`
/// if they can't all be read, as they are neither text nor NULL.
pub fn with_values(
    text: &[u8],
    execute: &Execute,
    payload: &[u8],
    params: u16,
    types: &[u8],
) -> Option<Vec<u8>> {
    let flag = execute.bound_flag_at?;
    let bitmap = payload.get(10..flag)?;
    let mut at = flag + 1 + if execute.has_types { 2 * usize::from(params) } else { 0 };
    let mut out = Vec::with_capacity(payload.len() + text.len());
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    let (mut param, mut copied) = (0, 0);
    while let Some(token) = lexer.next_token() {
        if lexer.bytes(token) != b"?" {
            continue;
        }
        out.extend_from_slice(&text[copied..token.start]);
        copied = token.end;
        if bitmap.get(param / 8)? >> (param % 8) & 1 == 1 {
            out.extend_from_slice(b"NULL");
        } else {
            if !TEXT_TYPES.contains(types.get(2 * param)?) {
                return None;
            }
            let (value, width) = lenenc::read_bytes(payload.get(at..)?)?;
            at += width;
            out.push(b'\'');
            for byte in value {
                if matches!(byte, b'\'' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            out.push(b'\'');
        }
        param += 1;
    }
    out.extend_from_slice(&text[copied..]);
    (param == usize::from(params)).then_some(out)
}

/// MYSQL_TYPE_VARCHAR, _BLOB, _VAR_STRING, _STRING.
const TEXT_TYPES: [u8; 4] = [0x0f, 0xfc, 0xfd, 0xfe];

/// The statement id of a COM_STMT_… payload.
pub fn statement_id(head: &[u8]) -> Option<u32> {
    let [_, a, b, c, d] = *head.first_chunk::<5>()?;
    Some(u32::from_le_bytes([a, b, c, d]))
}

/// An execution's payload with the types put in that an earlier one bound.
pub fn with_types(payload: &[u8], bound_flag_at: usize, types: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + types.len());
    out.extend_from_slice(&payload[..bound_flag_at]);
    out.push(1);
    out.extend_from_slice(types);
    out.extend_from_slice(&payload[bound_flag_at + 1..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::classify::summarize;

    fn prepared(text_bytes: usize) -> Prepared {
        Prepared {
            text: Some(vec![b'x'; text_bytes].into()),
            summary: Arc::new(summarize(b"select 1", true)),
            params: 0,
            types: Vec::new(),
            long_data: false,
            backend: None,
        }
    }

    #[test]
    fn ids_are_not_used_twice_and_texts_are_bounded() {
        let mut statements = PreparedStatements { last_id: u32::MAX - 1, ..Default::default() };
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = statements.next_id();
            statements.insert(id, prepared(TEXT_BYTES_MAX / 2));
            ids.push(id);
        }
        assert_eq!(ids, [u32::MAX, 1, 2]);
        assert!(statements.get(1).unwrap().text.is_some());
        assert!(statements.get(2).unwrap().text.is_none());
        statements.remove(1);
        statements.insert(7, prepared(TEXT_BYTES_MAX / 2));
        assert!(statements.get(7).unwrap().text.is_some());
    }

    #[test]
    fn types_are_found_and_put_in() {
        // Two parameters: bitmap of one byte, then the flag.
        let mut head = vec![0x17, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0b00, 1, 3, 0, 253, 0];
        head.extend(b"values");
        let execute = Execute::read(&head, 2).unwrap();
        assert_eq!(execute, Execute { id: 9, bound_flag_at: Some(11), has_types: true });
        assert_eq!(execute.types(&head, 2), Some(&[3, 0, 253, 0][..]));
        let mut short = head[..11].to_vec();
        short.push(0);
        short.extend(b"values");
        let execute = Execute::read(&short, 2).unwrap();
        assert!(!execute.has_types);
        assert_eq!(with_types(&short, 11, &[3, 0, 253, 0]), head);
        let values = [b"\x04-Am'\x01\\".as_slice()].concat();
        let mut call = head[..16].to_vec();
        call[12..16].copy_from_slice(&[253, 0, 253, 0]);
        call.extend(&values);
        let execute = Execute::read(&call, 2).unwrap();
        let text = b"CALL p('?', ?, `?`, ?)";
        let seen = with_values(text, &execute, &call, 2, &[253, 0, 253, 0]);
        assert_eq!(seen.as_deref(), Some(&br"CALL p('?', '-Am\'', `?`, '\\')"[..]));
        call[10] = 0b10;
        let execute = Execute::read(&call, 2).unwrap();
        let seen = with_values(text, &execute, &call, 2, &[253, 0, 253, 0]);
        assert_eq!(seen.as_deref(), Some(&br"CALL p('?', '-Am\'', `?`, NULL)"[..]));
        assert_eq!(with_values(text, &execute, &call, 2, &[3, 0, 253, 0]), None, "a number");
        assert_eq!(with_values(b"CALL p(?)", &execute, &call, 2, &[253, 0, 253, 0]), None, "another count");
        assert_eq!(with_values(text, &execute, &call[..17], 2, &[253, 0, 253, 0]), None, "cut");
        assert_eq!(Execute::read(&[0x17, 1], 2), None);
        assert_eq!(Execute::read(&[0x17, 1, 0, 0, 0], 2).unwrap().bound_flag_at, None);
    }
}
