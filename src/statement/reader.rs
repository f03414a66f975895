//! One statement after another out of a lexer.
//! Owns the look-ahead of one token and what has to be noticed wherever it stands: assignments to user
//! variables, functions that hold locks or tell about the statement before. Does not know statements.

use super::lexer::{DoubleQuotes, Lexer, Token, TokenKind};
use super::summary::Pins;

/// The current token, and what was noticed since the statement began.
pub(super) struct Reader<'a> {
    lexer: Lexer<'a>,
    /// The current token; `None` at the end of the text.
    pub token: Option<Token>,
    pub pins: Pins,
    /// RELEASE_LOCK() or RELEASE_ALL_LOCKS() was called.
    pub releases_lock: bool,
    /// Something tells about the statement before.
    pub diagnostics: bool,
    /// It writes although its kind does not say so.
    pub writes: bool,
    /// Dolt refuses the text here and executes nothing after it.
    pub failed: bool,
    /// The statement before was empty.
    pub after_empty: bool,
    /// Dolt may cut the statements elsewhere.
    pub unsure: bool,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8], double_quotes: DoubleQuotes) -> Self {
        let mut reader = Self {
            lexer: Lexer::new(text, double_quotes),
            token: None,
            pins: Pins::NONE,
            releases_lock: false,
            diagnostics: false,
            writes: false,
            failed: false,
            after_empty: false,
            unsure: false,
        };
        reader.advance();
        reader
    }

    pub fn bytes(&self, token: Token) -> &'a [u8] {
        self.lexer.bytes(token)
    }

    pub fn depends_on_ansi_quotes(&self) -> bool {
        self.lexer.depends_on_ansi_quotes()
    }

    /// To the next token.
    #[inline]
    pub fn advance(&mut self) {
        let before = self.token;
        self.token = self.lexer.next_token();
        let (Some(token), Some(before)) = (self.token, before) else {
            self.failed |= self.token.is_some_and(|token| token.kind == TokenKind::Error);
            return;
        };
        match token.kind {
            TokenKind::Open if matches!(before.kind, TokenKind::Word | TokenKind::QuotedName) => {
                self.function(before);
            }
            TokenKind::Assign if before.kind == TokenKind::UserVariable => {
                self.pins.insert(Pins::USER_VARIABLE);
            }
            TokenKind::SystemVariable => self.system_variable(token),
            TokenKind::Error => self.failed = true,
            _ => {}
        }
    }

    fn function(&mut self, name: Token) {
        let name = match self.bytes(name) {
            [b'`', inner @ .., b'`'] => inner,
            bare => bare,
        };
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            8 if is(b"get_lock") => self.pins.insert(Pins::NAMED_LOCK),
            12 if is(b"release_lock") => self.releases_lock = true,
            17 if is(b"release_all_locks") => self.releases_lock = true,
            9 if is(b"row_count") => self.diagnostics = true,
            10 if is(b"found_rows") => self.diagnostics = true,
            _ => {}
        }
    }

    fn system_variable(&mut self, token: Token) {
        let name = self.bytes(token);
        let name =
            name.iter().rposition(|&byte| byte == b'.' || byte == b'@').map_or(name, |at| &name[at + 1..]);
        let name = name.strip_prefix(b"`").and_then(|name| name.strip_suffix(b"`")).unwrap_or(name);
        self.diagnostics |=
            name.eq_ignore_ascii_case(b"warning_count") || name.eq_ignore_ascii_case(b"error_count");
    }

    /// What follows the current token, without going there.
    pub fn ahead(&self) -> Ahead<'a> {
        Ahead(self.lexer.clone())
    }

    pub fn kind(&self) -> Option<TokenKind> {
        self.token.map(|token| token.kind)
    }

    pub fn at(&self, kind: TokenKind) -> bool {
        self.kind() == Some(kind)
    }

    /// Passes a token of `kind`.
    pub fn pass(&mut self, kind: TokenKind) -> bool {
        let is = self.at(kind);
        if is {
            self.advance();
        }
        is
    }

    /// The current token's bytes if it is a bare word.
    pub fn word(&self) -> Option<&'a [u8]> {
        self.token.filter(|token| token.kind == TokenKind::Word).map(|token| self.bytes(token))
    }

    pub fn at_word(&self, word: &str) -> bool {
        self.word().is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Passes the bare word `word`.
    pub fn pass_word(&mut self, word: &str) -> bool {
        let is = self.at_word(word);
        if is {
            self.advance();
        }
        is
    }

    /// The statement has no more tokens.
    pub fn at_end(&self) -> bool {
        matches!(self.kind(), None | Some(TokenKind::Semicolon | TokenKind::Error))
    }

    /// To the statement's end.
    pub fn skip_rest(&mut self) {
        while !self.at_end() {
            self.advance();
        }
    }

    /// Passes a statement's `;`. `empty`: nothing stood before it.
    pub fn pass_semicolon(&mut self, empty: bool) {
        let Some(token) = self.token else { return };
        // Dolt goes on inside the comment, and reads its rest as plain text.
        self.unsure |= self.lexer.in_comment();
        // Dolt passes one byte too many after an empty statement (in `;#DELETE …` it sees no comment), and
        // may answer it with an error. At the end of a text it is harmless.
        self.after_empty = empty;
        let next = self.lexer.byte_at(token.end);
        self.unsure |= empty && next.is_some_and(|byte| !matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n'));
        self.pins = Pins::NONE;
        self.releases_lock = false;
        self.diagnostics = false;
        self.writes = false;
        self.advance();
    }
}

/// A look at the tokens to come. Each look reads them again: for a few at most.
pub(super) struct Ahead<'a>(Lexer<'a>);

impl Ahead<'_> {
    pub fn next(&mut self) -> Option<Token> {
        self.0.next_token()
    }

    pub fn is_word(&self, token: Token, word: &str) -> bool {
        token.kind == TokenKind::Word && self.0.bytes(token).eq_ignore_ascii_case(word.as_bytes())
    }
}
