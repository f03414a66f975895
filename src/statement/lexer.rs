//! SQL text as tokens, cut exactly where Dolt's tokenizer cuts them.
//! Owns what is a comment, a string, a name; and what `/*! … */` hides. Does not know any statement.
//! Always: linear time, no allocation, no recursion; any bytes are tokens or one [`TokenKind::Error`].
//!
//! Source: `Tokenizer.Scan` in Dolt's `vt/sqlparser/token.go`, checked by `tests/lexer_against_dolt.rs`. It differs
//! from MySQL, and where it does we follow Dolt, because Dolt is what executes the text: `--` and `//` begin
//! a comment whatever follows; every `/*! … */` is executed whatever its version; `@@x` goes on over quotes and
//! backticks; `1e-` is a number. Had we read `1e--1; …` as MySQL does, a statement would hide in a comment.

use memchr::{memchr, memchr2};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A keyword or bare identifier; `N` and `_utf8` before a string too.
    Word,
    /// An identifier in backticks (in double quotes under ANSI_QUOTES), the quotes included.
    QuotedName,
    /// A string, its quotes included.
    Text,
    /// A number, also `0x…`, `x'…'` and `b'…'`.
    Number,
    /// `@x`
    UserVariable,
    /// `@@x`, `@@session.x`
    SystemVariable,
    /// `:=`
    Assign,
    /// `;`
    Semicolon,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `:`
    Colon,
    /// `=`
    Equals,
    /// One byte of anything else.
    Other,
    /// What Dolt refuses: an unterminated string or comment, a malformed number, a NUL. Nothing comes after it.
    Error,
}

/// A token: where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
}

/// How double quotes are read, by `sql_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DoubleQuotes {
    /// A string, as without ANSI_QUOTES.
    #[default]
    Text,
    /// An identifier, as under ANSI_QUOTES.
    Name,
}

/// Walks over a text.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// The end of the text, or of the executable comment that is being read.
    limit: usize,
    /// Whether an executable comment is being read; its `*/` stands at `limit`.
    in_comment: bool,
    double_quotes: DoubleQuotes,
    /// The token before may be the user of `user@host`: then `@` stands alone.
    account: bool,
    /// A double-quoted string had an escaped quote: under ANSI_QUOTES it would end elsewhere.
    escaped_double_quote: bool,
    failed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Space,
    Letter,
    Digit,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b' ' | b'\t' | b'\r' | b'\n' => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80..=0xff => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// Go's `unicode.IsSpace` of a single byte, which Dolt's tokenizer uses in two places.
fn is_go_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0x85 | 0xa0)
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'.' | b'\'' | b'"' | b'`')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl<'a> Lexer<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a [u8], double_quotes: DoubleQuotes) -> Self {
        Self {
            text,
            at: 0,
            limit: text.len(),
            in_comment: false,
            double_quotes,
            account: false,
            escaped_double_quote: false,
            failed: false,
        }
    }

    /// The bytes of a token.
    pub fn bytes(&self, token: Token) -> &'a [u8] {
        &self.text[token.start..token.end]
    }

    /// The text's byte at `at`.
    pub fn byte_at(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// Whether the last token stands inside an executable comment.
    pub fn in_comment(&self) -> bool {
        self.in_comment
    }

    /// Whether ANSI_QUOTES would have cut the text differently.
    pub fn depends_on_ansi_quotes(&self) -> bool {
        self.escaped_double_quote
    }

    /// The next token; `None` at the end and after an [`TokenKind::Error`].
    #[inline]
    pub fn next_token(&mut self) -> Option<Token> {
        if self.failed {
            return None;
        }
        let account = std::mem::take(&mut self.account);
        loop {
            if self.at >= self.limit {
                if !self.in_comment {
                    return None;
                }
                self.in_comment = false;
                self.at = self.limit + 2;
                self.limit = self.text.len();
                continue;
            }
            let byte = self.text[self.at];
            return Some(match CLASSES[byte as usize] {
                Class::Space => {
                    self.at += 1;
                    continue;
                }
                Class::Letter => self.word(byte),
                Class::Digit => self.number(),
                Class::Other => match byte {
                    b'#' => {
                        self.line_comment();
                        continue;
                    }
                    b'-' if self.peek(1) == Some(b'-') => {
                        self.line_comment();
                        continue;
                    }
                    b'/' if self.peek(1) == Some(b'/') => {
                        self.line_comment();
                        continue;
                    }
                    b'/' if self.peek(1) == Some(b'*') => {
                        if self.block_comment() {
                            continue;
                        }
                        self.fail(self.at)
                    }
                    _ => self.symbol(byte, account),
                },
            });
        }
    }

    fn peek(&self, offset: usize) -> Option<u8> {
        let at = self.at + offset;
        if at < self.limit { Some(self.text[at]) } else { None }
    }

    fn rest(&self, from: usize) -> &'a [u8] {
        &self.text[from.min(self.limit)..self.limit]
    }

    /// The token from where we are to `end`.
    fn take(&mut self, kind: TokenKind, end: usize) -> Token {
        let start = self.at;
        self.at = end;
        Token { kind, start, end }
    }

    /// The same for what may be the user of `user@host`.
    fn take_name(&mut self, kind: TokenKind, end: usize) -> Token {
        self.account = end < self.limit && self.text[end] == b'@';
        self.take(kind, end)
    }

    fn fail(&mut self, start: usize) -> Token {
        self.failed = true;
        Token { kind: TokenKind::Error, start, end: self.limit }
    }

    fn word(&mut self, first: u8) -> Token {
        if matches!(first, b'x' | b'X' | b'b' | b'B') && self.peek(1) == Some(b'\'') {
            return self.quoted_number(first);
        }
        let rest = self.rest(self.at);
        let len = rest
            .iter()
            .position(|&byte| !matches!(CLASSES[byte as usize], Class::Letter | Class::Digit))
            .unwrap_or(rest.len());
        self.take_name(TokenKind::Word, self.at + len)
    }

    /// `x'…'`, `b'…'`
    fn quoted_number(&mut self, first: u8) -> Token {
        let hex = first.eq_ignore_ascii_case(&b'x');
        let digits = self.rest(self.at + 2);
        let is_digit = |byte: &u8| if hex { byte.is_ascii_hexdigit() } else { matches!(byte, b'0' | b'1') };
        let len = digits.iter().take_while(|&byte| is_digit(byte)).count();
        if digits.get(len) != Some(&b'\'') || (hex && len % 2 != 0) {
            return self.fail(self.at);
        }
        self.take(TokenKind::Number, self.at + 2 + len + 1)
    }

    fn number(&mut self) -> Token {
        let bytes = self.rest(self.at);
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
        let (mut at, mut dot) = (0, false);
        if bytes[0] == b'0' && matches!(byte(1), b'x' | b'X') {
            at = 2;
            while byte(at).is_ascii_hexdigit() {
                at += 1;
            }
        } else {
            while byte(at).is_ascii_digit() {
                at += 1;
            }
            if byte(at) == b'.' {
                dot = true;
                at += 1;
                while byte(at).is_ascii_digit() {
                    at += 1;
                }
            }
            if matches!(byte(at), b'e' | b'E') {
                at += 1;
                // The sign belongs to it even if no digit follows, so that `1e--1` holds no comment.
                if matches!(byte(at), b'+' | b'-') {
                    at += 1;
                }
                while byte(at).is_ascii_digit() {
                    at += 1;
                }
            }
        }
        if !(byte(at).is_ascii_alphabetic() || byte(at) == b'_') {
            return self.take(TokenKind::Number, self.at + at);
        }
        // An identifier may begin with digits.
        if dot {
            return self.fail(self.at);
        }
        while is_name(byte(at)) {
            at += 1;
        }
        self.take_name(TokenKind::Word, self.at + at)
    }

    fn symbol(&mut self, byte: u8, account: bool) -> Token {
        let kind = match byte {
            b';' => TokenKind::Semicolon,
            b'(' => TokenKind::Open,
            b')' => TokenKind::Close,
            b',' => TokenKind::Comma,
            b'.' => TokenKind::Dot,
            b'=' => TokenKind::Equals,
            b'\'' => return self.string(byte, TokenKind::Text),
            b'"' if self.double_quotes == DoubleQuotes::Text => return self.string(byte, TokenKind::Text),
            b'`' | b'"' => return self.quoted_name(byte),
            b'@' => return self.variable(account),
            b':' => {
                let colons = if self.peek(1) == Some(b':') { 2 } else { 1 };
                if self.peek(colons) == Some(b'=') {
                    return self.take(TokenKind::Assign, self.at + colons + 1);
                }
                TokenKind::Colon
            }
            // Dolt's tokenizer skips one NUL and takes two for the beginning of a string.
            0 => return self.fail(self.at),
            _ => TokenKind::Other,
        };
        self.take(kind, self.at + 1)
    }

    fn string(&mut self, quote: u8, kind: TokenKind) -> Token {
        let mut at = self.at + 1;
        while let Some(offset) = memchr2(quote, b'\\', self.rest(at)) {
            at += offset;
            let next = if at + 1 < self.limit { Some(self.text[at + 1]) } else { None };
            if self.text[at] == b'\\' {
                self.escaped_double_quote |= quote == b'"' && next == Some(quote);
            } else if next != Some(quote) {
                return self.take_name(kind, at + 1);
            }
            at += 2;
        }
        self.fail(self.at)
    }

    fn quoted_name(&mut self, quote: u8) -> Token {
        let mut at = self.at + 1;
        while let Some(offset) = memchr(quote, self.rest(at)) {
            at += offset + 1;
            if !(at < self.limit && self.text[at] == quote) {
                return self.take_name(TokenKind::QuotedName, at);
            }
            at += 1;
        }
        self.fail(self.at)
    }

    fn variable(&mut self, account: bool) -> Token {
        if account {
            return self.take(TokenKind::Other, self.at + 1);
        }
        let count = |from: usize, allowed: fn(u8) -> bool| {
            self.rest(from).iter().take_while(|&&byte| allowed(byte)).count()
        };
        if self.peek(1) == Some(b'@') {
            let len = count(self.at + 2, |byte| is_name(byte) || is_quote(byte));
            let end = self.at + 2 + len;
            return self.take_name(TokenKind::SystemVariable, end);
        }
        let mut end = self.at + 1 + count(self.at + 1, is_name);
        if end < self.limit && self.text[end] == b'`' {
            end += 1;
            // Dolt reads on up to a backtick or anything that it does not expect in a name.
            end += count(end, |byte| byte != b'`' && (is_name(byte) || is_quote(byte) || is_go_space(byte)));
            if end < self.limit && self.text[end] == b'`' {
                end += 1;
            }
        }
        self.take_name(TokenKind::UserVariable, end)
    }

    fn line_comment(&mut self) {
        self.at = memchr(b'\n', self.rest(self.at)).map_or(self.limit, |offset| self.at + offset + 1);
    }

    /// Passes a comment, or enters it if it is executable; false if it has no end.
    fn block_comment(&mut self) -> bool {
        let executable = match (self.peek(2), self.peek(3)) {
            (Some(b'!'), _) => Some((self.at + 3, false)),
            (Some(b'M'), Some(b'!')) => Some((self.at + 4, true)),
            _ => None,
        };
        let from = executable.map_or(self.at + 2, |(from, _)| from);
        let Some(end) = self.comment_end(from) else {
            return false;
        };
        let entered = executable.and_then(|(from, mariadb)| executable_from(&self.text[from..end], mariadb));
        match entered {
            Some(skip) => {
                self.at = from + skip;
                self.limit = end;
                self.in_comment = true;
            }
            None => self.at = end + 2,
        }
        true
    }

    /// Where the first `*/` from `from` on stands.
    fn comment_end(&self, mut from: usize) -> Option<usize> {
        while let Some(offset) = memchr(b'*', self.rest(from)) {
            from += offset + 1;
            if from < self.limit && self.text[from] == b'/' {
                return Some(from - 1);
            }
        }
        None
    }
}

/// How many bytes of an executable comment are its version; `None` if nothing in it is executed.
fn executable_from(content: &[u8], mariadb: bool) -> Option<usize> {
    let digits = content.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let version = match digits {
        6 if mariadb && content.get(6).is_some_and(|&byte| is_go_space(byte)) => 6,
        5 | 6 => 5,
        0 => 0,
        _ => return None,
    };
    let spaces = content[version..].iter().take_while(|&&byte| is_go_space(byte)).count();
    (version + spaces < content.len()).then_some(version + spaces)
}

/// The characters of a string literal: without quotes, escapes resolved as Dolt does.
pub fn text_value(literal: &[u8]) -> Vec<u8> {
    let [quote, inner @ .., _] = literal else {
        return Vec::new();
    };
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            let Some(escaped) = bytes.next() else { break };
            match escaped {
                b'0' => value.push(0),
                b'b' => value.push(8),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'Z' => value.push(26),
                other => value.push(other),
            }
        } else {
            if byte == *quote {
                bytes.next();
            }
            value.push(byte);
        }
    }
    value
}

/// The characters of a name: without quotes, doubled ones single.
pub fn name_value(name: &[u8]) -> Vec<u8> {
    match name {
        [quote @ (b'`' | b'"'), inner @ .., _] => {
            let mut value = Vec::with_capacity(inner.len());
            let mut bytes = inner.iter().copied();
            while let Some(byte) = bytes.next() {
                if byte == *quote {
                    bytes.next();
                }
                value.push(byte);
            }
            value
        }
        _ => name.to_vec(),
    }
}
