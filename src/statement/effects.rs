//! What lanes and transactions need to know of a text: per statement what it does to the transaction, which
//! databases it names, what it may read elsewhere, and whether its values change from one run to the next.
//! Does not know the session, nor what names mean: `attribution` puts the catalogue's knowledge to it.
//! Always: cut into statements as [`summarize`](super::classify::summarize) does; linear in the text; what is not
//! known is [`Class::Unknown`].
//!
//! Which statements commit an open transaction in Dolt 1.88.1 (`tests/implicit_commits.rs`):
//!
//! | statement | commits |
//! |---|---|
//! | CREATE, ALTER, DROP, RENAME of tables, indexes, views, triggers, procedures, events; TRUNCATE; `IF [NOT] EXISTS` too | yes, if it succeeds |
//! | CREATE, ALTER, DROP DATABASE; ALTER USER | yes; 1105 if another database or branch has changes |
//! | CREATE INDEX on, DROP TABLE of a temporary table | yes |
//! | PREPARE of a text that is one of these, and its EXECUTE | yes, both |
//! | BEGIN, START TRANSACTION | yes |
//! | `SET autocommit = 1` under autocommit=0 | yes; after BEGIN: no |
//! | CALL of a procedure with DDL in it | no |
//! | CREATE, DROP TEMPORARY TABLE; CREATE, DROP USER or ROLE; GRANT, REVOKE; FLUSH; ANALYZE; LOCK and UNLOCK TABLES; LOAD DATA; USE | no |
//! | XA, CHECK, OPTIMIZE, REPAIR, DO, HANDLER, CREATE FUNCTION | syntax errors |
//!
//! After a BEGIN, an implicit commit does not end what BEGIN began: the next statement is in a transaction of its
//! own snapshot and is not committed before COMMIT or ROLLBACK. `AND CHAIN` and `RELEASE` are parsed and ignored.

use super::changing::{self, Changing};
use super::classify::{self, Kind, Scope};
use super::lexer::{DoubleQuotes, Lexer, Token, TokenKind, name_value};
use crate::dolt::procedures::{self, Reads};

/// What a text does, statement by statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// As many as `Summary::statements`, in order.
    pub statements: Vec<Effect>,
    /// As `Summary::whole`: if false, there may be more than what `statements` say.
    pub whole: bool,
}

/// What one statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What it is to the transaction.
    pub class: Class,
    /// FOR UPDATE, FOR SHARE or LOCK IN SHARE MODE, at any depth: Dolt ignores them.
    pub locking: bool,
    /// Names before a dot, and those of CREATE, ALTER, DROP DATABASE, USE and SHOW … FROM: databases, but also
    /// tables and aliases.
    pub qualifiers: Vec<Qualifier>,
    /// More were named than are kept.
    pub qualifiers_cut: bool,
    /// What it may read besides the session's branches.
    pub elsewhere: Elsewhere,
    /// Changing values in its text.
    pub changing: Changing,
    /// It may change what names mean: DDL, and writes to the tables in which Dolt keeps them.
    pub changes_names: bool,
}

/// A name that qualifies another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Qualifier {
    /// Lower case, without quotes and revision.
    pub database: String,
    /// Of `` `db/revision` `` and `` `db@revision` ``, as written.
    pub revision: Option<String>,
}

/// What a statement may read besides the branches that the session is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Elsewhere {
    /// Other branches or commits of the databases that it names, the current one included; those of its
    /// qualifiers' revisions aside.
    pub branches: bool,
    /// Anything: a query that is kept elsewhere, `information_schema`.
    pub anything: bool,
}

/// What a statement is to the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// A query, SHOW, EXPLAIN.
    Read,
    /// A query whose answer goes into a file of the server.
    Export,
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD DATA, also after WITH and EXPLAIN ANALYZE: part of the transaction.
    Dml,
    /// Commits the transaction, itself included, if it succeeds.
    Ddl,
    /// The same for CREATE, ALTER and DROP DATABASE, whose name is among the qualifiers.
    DatabaseDdl,
    /// CREATE or DROP TEMPORARY TABLE: in no branch, commits nothing.
    Temporary,
    /// Accounts, FLUSH, ANALYZE, replication: in no branch, commits nothing.
    Admin,
    /// BEGIN, START TRANSACTION: commits what is open.
    Begin {
        /// WITH CONSISTENT SNAPSHOT.
        consistent_snapshot: bool,
        /// READ ONLY.
        read_only: bool,
    },
    /// COMMIT.
    Commit {
        /// AND CHAIN, which Dolt ignores.
        chain: bool,
        /// RELEASE, which Dolt ignores.
        release: bool,
    },
    /// ROLLBACK, not to a savepoint.
    Rollback {
        /// AND CHAIN, which Dolt ignores.
        chain: bool,
        /// RELEASE, which Dolt ignores.
        release: bool,
    },
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    Savepoint,
    /// SET TRANSACTION.
    SetTransaction,
    /// SET of variables.
    Set {
        /// What becomes of the session's autocommit.
        autocommit: Option<Autocommit>,
    },
    /// USE.
    Use {
        /// As named, `db/branch` included.
        database: String,
    },
    /// CALL.
    Call {
        /// Last part of its name, lower case.
        procedure: String,
        /// Its arguments if all are string literals.
        literal_args: Option<Vec<String>>,
    },
    /// PREPARE … FROM: if its text is DDL, Dolt commits the transaction already here.
    Prepare,
    /// EXECUTE: whatever the prepared text is.
    Execute,
    /// LOCK TABLES, UNLOCK TABLES: nothing in Dolt.
    LockTables,
    /// What does nothing to data: KILL, DEALLOCATE, SHOW WARNINGS, SIGNAL.
    Other,
    /// XA: Dolt refuses it.
    Xa,
    /// Not known: anything.
    Unknown,
}

/// What a SET makes of autocommit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Autocommit {
    /// On.
    On,
    /// Off.
    Off,
    /// Either.
    Unclear,
}

impl Effects {
    /// Of a command's text; `complete` is false if it is only its beginning.
    pub fn of(text: &[u8], complete: bool, double_quotes: DoubleQuotes) -> Self {
        let mut ends = Vec::new();
        let (summary, depends) = classify::read(text, complete, double_quotes, |end| ends.push(end));
        let mut walk = Walk::new(text, double_quotes);
        let statements =
            summary.statements.iter().zip(ends).map(|(kind, end)| walk.statement(kind, end)).collect();
        // Cut differently, a string may be a statement.
        Self { statements, whole: summary.whole && !(depends && double_quotes == DoubleQuotes::Text) }
    }

    /// Whether any statement's values change from one run to the next.
    pub fn changing(&self) -> Changing {
        self.statements.iter().fold(Changing::NONE, |all, statement| all | statement.changing)
    }
}

impl Class {
    /// Whether it may change data of a branch by itself.
    pub fn writes(&self) -> bool {
        match self {
            Self::Dml | Self::Ddl | Self::DatabaseDdl | Self::Execute | Self::Unknown => true,
            Self::Call { procedure, literal_args } => procedures::writes(procedure, literal_args.as_deref()),
            _ => false,
        }
    }

    /// Whether an open transaction may be committed by it, COMMIT itself aside. What a user's procedure calls
    /// may: that counts as yes.
    pub fn may_commit_implicitly(&self) -> bool {
        match self {
            Self::Ddl
            | Self::DatabaseDdl
            | Self::Begin { .. }
            | Self::Prepare
            | Self::Execute
            | Self::Unknown => true,
            Self::Set { autocommit } => matches!(autocommit, Some(Autocommit::On | Autocommit::Unclear)),
            Self::Call { procedure, literal_args } => {
                procedures::call(procedure, literal_args.as_deref()).is_none_or(|call| call.commits)
            }
            _ => false,
        }
    }
}

/// Whether `is` holds for any name in the text: bare words, quoted names and what ANSI_QUOTES makes one, without
/// quotes and in the case they are written in.
pub fn mentions_word(text: &[u8], mut is: impl FnMut(&str) -> bool) -> bool {
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    while let Some(token) = lexer.next_token() {
        let bytes = lexer.bytes(token);
        let found = match token.kind {
            TokenKind::Word => std::str::from_utf8(bytes).is_ok_and(&mut is),
            TokenKind::QuotedName => std::str::from_utf8(&name_value(bytes)).is_ok_and(&mut is),
            TokenKind::Text if bytes.starts_with(b"\"") => {
                std::str::from_utf8(&name_value(bytes)).is_ok_and(&mut is)
            }
            _ => false,
        };
        if found {
            return true;
        }
    }
    false
}

/// Qualifiers and words of a stored text, a view's or a trigger's, whatever statements it is made of.
pub fn scan(text: &[u8]) -> Effect {
    Walk::new(text, DoubleQuotes::Text).statement(&Kind::Write, usize::MAX)
}

/// Qualifiers of one statement that are kept.
pub const QUALIFIERS_MAX: usize = 64;
/// Words that are looked back at.
const BEFORE_MAX: usize = 3;

/// Walks over the tokens of a text once.
struct Walk<'a> {
    lexer: Lexer<'a>,
    /// Read ahead.
    next: Option<Token>,
}

/// What stands before a token in its statement.
#[derive(Default)]
struct Before<'a> {
    /// The token before.
    token: Option<(TokenKind, &'a [u8])>,
    /// The token before that is a dot.
    dot: bool,
    /// The bare words that follow each other up to here, the last one first.
    words: [&'a [u8]; BEFORE_MAX],
}

impl<'a> Before<'a> {
    fn push(&mut self, kind: TokenKind, bytes: &'a [u8]) {
        self.dot = kind == TokenKind::Dot;
        self.token = Some((kind, bytes));
        self.words =
            if kind == TokenKind::Word { [bytes, self.words[0], self.words[1]] } else { Default::default() };
    }

    /// Whether the word before, and so on, are these; the last one first.
    fn is(&self, words: &[&str]) -> bool {
        words.iter().zip(self.words).all(|(word, bytes)| bytes.eq_ignore_ascii_case(word.as_bytes()))
    }
}

impl<'a> Walk<'a> {
    fn new(text: &'a [u8], double_quotes: DoubleQuotes) -> Self {
        let mut lexer = Lexer::new(text, double_quotes);
        let next = lexer.next_token();
        Self { lexer, next }
    }

    /// The next token before `end`.
    fn take(&mut self, end: usize) -> Option<Token> {
        let token = self.next.filter(|token| token.start < end)?;
        self.next = self.lexer.next_token();
        Some(token)
    }

    fn next_is(&self, kind: TokenKind) -> bool {
        self.next.is_some_and(|token| token.kind == kind)
    }

    /// The statement that ends at `end`.
    fn statement(&mut self, kind: &Kind, end: usize) -> Effect {
        // The `;` that ended the one before, and empty statements.
        while self.next_is(TokenKind::Semicolon) {
            self.next = self.lexer.next_token();
        }
        let mut effect = Effect {
            class: Class::Unknown,
            locking: false,
            qualifiers: Vec::new(),
            qualifiers_cut: false,
            elsewhere: Elsewhere::default(),
            changing: Changing::NONE,
            changes_names: false,
        };
        let mut head = super::head::Head::new(kind);
        let mut before = Before::default();
        while let Some(token) = self.take(end) {
            let bytes = self.lexer.bytes(token);
            let names_database = head.token(token.kind, bytes);
            match token.kind {
                TokenKind::Word => self.word(&mut effect, &before, bytes),
                TokenKind::QuotedName | TokenKind::Text => self.quoted(&mut effect, bytes),
                TokenKind::SystemVariable => effect.changing.insert(changing::system_variable(bytes)),
                TokenKind::UserVariable => effect.changing.insert(Changing::USER_VARIABLE),
                TokenKind::Dot => {
                    if let Some((TokenKind::Word | TokenKind::QuotedName | TokenKind::Text, name)) =
                        before.token
                    {
                        effect.qualify(name);
                    }
                }
                _ => {}
            }
            if names_database {
                effect.qualify(bytes);
            }
            before.push(token.kind, bytes);
        }
        effect.class = head.class();
        effect.changes_names |= matches!(effect.class, Class::Ddl | Class::DatabaseDdl | Class::Unknown);
        if let Class::Call { procedure, literal_args } = &effect.class {
            effect.changes_names |=
                procedures::call(procedure, literal_args.as_deref()).is_none_or(|call| call.changes_names);
        }
        effect
    }

    fn word(&mut self, effect: &mut Effect, before: &Before<'a>, bytes: &'a [u8]) {
        let is = |word: &[u8]| bytes.eq_ignore_ascii_case(word);
        match bytes.len() {
            2 if is(b"of") && before.is(&["as"]) => effect.elsewhere.branches = true,
            4 if is(b"mode") && before.is(&["share", "in", "lock"]) => effect.locking = true,
            5 if is(b"share") && before.is(&["for"]) => effect.locking = true,
            6 if is(b"update") && before.is(&["for"]) => effect.locking = true,
            11 if is(b"system_time") => effect.elsewhere.branches = true,
            _ => {}
        }
        if !before.dot && !self.next_is(TokenKind::Dot) {
            effect.changing.insert(changing::bare(bytes));
        }
        // A procedure is no function.
        if !before.is(&["call"]) {
            self.name(effect, bytes);
        }
    }

    fn quoted(&mut self, effect: &mut Effect, bytes: &'a [u8]) {
        // A string is a name under ANSI_QUOTES only.
        if !bytes.starts_with(b"'") {
            let inner = bytes.get(1..bytes.len() - 1).unwrap_or_default();
            self.name(effect, inner);
        }
    }

    /// A word or the inside of a quoted name.
    fn name(&mut self, effect: &mut Effect, name: &'a [u8]) {
        let called = self.next_is(TokenKind::Open);
        if called {
            let empty =
                || self.lexer.clone().next_token().is_some_and(|token| token.kind == TokenKind::Close);
            effect.changing.insert(changing::function(name, empty));
        }
        // Nothing else of Dolt's own has another beginning.
        let dolts = [&b"dolt_"[..], b"has_", b"hash", b"active_", b"information_schema"];
        if !dolts.iter().any(|own| name.get(..own.len()).is_some_and(|start| start.eq_ignore_ascii_case(own)))
        {
            return;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let reads = if called { procedures::function(&name) } else { procedures::system_table(&name) };
        match reads {
            Some(Reads::Database) => effect.elsewhere.branches = true,
            Some(Reads::Query) => effect.elsewhere.anything = true,
            Some(Reads::Branch | Reads::Nothing) | None => {}
        }
        effect.elsewhere.anything |= name == "information_schema";
        effect.changes_names |= procedures::keeps_names(&name);
    }
}

impl Effect {
    fn qualify(&mut self, name: &[u8]) {
        let known = |qualifier: &Qualifier| {
            qualifier.revision.is_none() && qualifier.database.as_bytes().eq_ignore_ascii_case(name)
        };
        if self.qualifiers_cut || self.qualifiers.iter().any(known) {
            return;
        }
        let value = match name {
            [b'`' | b'"' | b'\'', ..] => name_value(name),
            bare => bare.to_vec(),
        };
        // A name that is no UTF-8 is no database's.
        let Ok(name) = String::from_utf8(value) else { return };
        let (database, revision) = match name.split_once(['/', '@']) {
            Some((database, revision)) => (database, Some(revision.to_owned())),
            None => (name.as_str(), None),
        };
        let qualifier = Qualifier { database: database.to_lowercase(), revision };
        if self.qualifiers.contains(&qualifier) {
            return;
        }
        self.qualifiers_cut = self.qualifiers.len() == QUALIFIERS_MAX;
        if !self.qualifiers_cut {
            self.qualifiers.push(qualifier);
        }
    }
}

/// What a SET in the classifier's words makes of autocommit.
pub(super) fn autocommit(kind: &Kind) -> Option<Autocommit> {
    let Kind::Set { assignments } = kind else { return None };
    let last = assignments
        .iter()
        .rfind(|assignment| assignment.scope == Scope::Session && assignment.name == "autocommit")?;
    Some(match last.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("1" | "on" | "true" | "default") => Autocommit::On,
        Some("0" | "off" | "false") => Autocommit::Off,
        _ => Autocommit::Unclear,
    })
}
