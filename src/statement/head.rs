//! What a statement is to the transaction, by the words that decide it.
//! Does not cut statements: the classifier has, and its word counts where it has one.
//! Always: one look at each token; what no word decides is [`Class::Unknown`].

use super::classify::Kind;
use super::effects::{Autocommit, Class, autocommit};
use super::lexer::TokenKind;

/// Gets a statement's tokens in order, and then says its class.
pub(super) struct Head<'k, 'a> {
    kind: &'k Kind,
    /// How many tokens were seen outside of leading parentheses.
    tokens: usize,
    depth: usize,
    first: &'a [u8],
    /// The bare word before this token; empty if another token was.
    before: &'a [u8],
    /// Of WITH and EXPLAIN ANALYZE: the verb of the statement they stand before.
    verb: Option<Class>,
    /// What CREATE, ALTER, DROP and RENAME are about.
    object: Object,
    definer: Definer,
    database: DatabaseName,
    flags: Flags,
}

#[derive(Default)]
struct Flags {
    consistent_snapshot: bool,
    read_only: bool,
    chain: bool,
    release: bool,
    analyze: bool,
    autocommit: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    NotSeen,
    /// Tables, indexes, views, triggers, procedures, events.
    InDatabase,
    Database,
    Temporary,
    /// SPATIAL, of an index or a reference system.
    Spatial,
    User,
    Role,
    /// A spatial reference system.
    Server,
    Prepared,
}

/// Where `DEFINER = user@host` is read: its names are no objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Definer {
    No,
    Word,
    Equals,
    User,
    At,
}

/// Where a database stands without a dot behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DatabaseName {
    NotExpected,
    Next,
    Passed,
}

impl<'k, 'a> Head<'k, 'a> {
    pub fn new(kind: &'k Kind) -> Self {
        Self {
            kind,
            tokens: 0,
            depth: 0,
            first: b"",
            before: b"",
            verb: None,
            object: Object::NotSeen,
            definer: Definer::No,
            database: DatabaseName::NotExpected,
            flags: Flags::default(),
        }
    }

    fn is_first(&self, words: &[&str]) -> bool {
        is_one_of(self.first, words)
    }

    /// The statement's next token; whether it names a database.
    pub fn token(&mut self, kind: TokenKind, bytes: &'a [u8]) -> bool {
        match kind {
            TokenKind::Open => self.depth += 1,
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.tokens == 0 {
            if kind == TokenKind::Open {
                return false;
            }
            self.depth = 0;
            if kind == TokenKind::Word {
                self.first = bytes;
                if self.is_first(&["use"]) {
                    self.database = DatabaseName::Next;
                }
            }
        } else {
            match kind {
                TokenKind::Word => self.word(bytes),
                TokenKind::SystemVariable => self.flags.autocommit |= ends_with(bytes, b"autocommit"),
                _ => {}
            }
        }
        let names = self.names_database(kind, bytes);
        self.pass_definer(kind, bytes);
        self.tokens += 1;
        self.before = if kind == TokenKind::Word { bytes } else { b"" };
        names
    }

    fn word(&mut self, word: &'a [u8]) {
        let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
        if self.is_first(&["create", "alter", "drop", "rename"]) {
            let in_definer = matches!(self.definer, Definer::Equals | Definer::At);
            if matches!(self.object, Object::NotSeen | Object::Spatial) && !in_definer {
                self.object = object(word).unwrap_or(self.object);
                if self.object == Object::Database {
                    self.database = DatabaseName::Next;
                }
            }
        } else if self.is_first(&["with", "explain", "describe", "desc"]) {
            self.flags.analyze |= self.tokens == 1 && is("analyze");
            if self.depth == 0 && self.verb.is_none() {
                self.verb = verb(word);
            }
        } else if self.is_first(&["begin", "start", "commit", "rollback"]) {
            let no = self.before.eq_ignore_ascii_case(b"no");
            self.flags.consistent_snapshot |= is("snapshot");
            self.flags.read_only |= is("only");
            self.flags.chain |= is("chain") && !no;
            self.flags.release |= is("release") && !no;
        } else if self.is_first(&["set"]) {
            self.flags.autocommit |= is("autocommit");
        }
    }

    /// `DEFINER = user@host`; the host may be one token with the `@`.
    fn pass_definer(&mut self, kind: TokenKind, bytes: &[u8]) {
        self.definer = match (self.definer, kind) {
            (Definer::No, TokenKind::Word) if bytes.eq_ignore_ascii_case(b"definer") => Definer::Word,
            (Definer::Word, TokenKind::Equals) => Definer::Equals,
            (Definer::Equals, _) => Definer::User,
            (Definer::User, TokenKind::Other) if bytes == b"@" => Definer::At,
            _ => Definer::No,
        };
    }

    fn names_database(&mut self, kind: TokenKind, bytes: &[u8]) -> bool {
        if !matches!(kind, TokenKind::Word | TokenKind::QuotedName) {
            return false;
        }
        if self.is_first(&["show"]) {
            return self.tokens > 0 && is_one_of(self.before, &["from", "in"]);
        }
        if self.database != DatabaseName::Next || self.tokens == 0 {
            return false;
        }
        if kind == TokenKind::Word && is_one_of(bytes, &["database", "schema", "if", "not", "exists"]) {
            return false;
        }
        self.database = DatabaseName::Passed;
        true
    }

    /// After the last token.
    pub fn class(self) -> Class {
        let Flags { consistent_snapshot, read_only, chain, release, analyze, .. } = self.flags;
        match self.kind {
            Kind::Read if self.is_first(&["prepare"]) => Class::Prepare,
            Kind::Read if self.is_first(&["deallocate"]) => Class::Other,
            Kind::Read | Kind::Diagnostics | Kind::ReleaseLocks => Class::Read,
            Kind::Use { database } => Class::Use { database: database.clone() },
            Kind::Set { .. } => Class::Set { autocommit: autocommit(self.kind) },
            Kind::Begin => Class::Begin { consistent_snapshot, read_only },
            Kind::Commit => Class::Commit { chain, release },
            Kind::Rollback => Class::Rollback { chain, release },
            Kind::Savepoint => Class::Savepoint,
            Kind::SetTransaction => Class::SetTransaction,
            Kind::Call { procedure, literal_args } => {
                Class::Call { procedure: procedure.clone(), literal_args: literal_args.clone() }
            }
            Kind::Kill { .. } => Class::Other,
            Kind::LockTables | Kind::UnlockTables => Class::LockTables,
            Kind::Write if self.is_first(&["with"]) => self.verb.unwrap_or(Class::Unknown),
            Kind::Write if analyze => self.verb.unwrap_or(Class::Unknown),
            Kind::Write => self.write(),
        }
    }

    fn write(&self) -> Class {
        let mut first = [0; 12];
        let Some(first) = first.get_mut(..self.first.len()) else { return Class::Unknown };
        first.copy_from_slice(self.first);
        first.make_ascii_lowercase();
        match (&*first, self.object) {
            (b"insert" | b"replace" | b"update" | b"delete" | b"load", _) => Class::Dml,
            (b"truncate", _) => Class::Ddl,
            (b"create" | b"alter" | b"drop", Object::Database) => Class::DatabaseDdl,
            (b"create" | b"drop", Object::Temporary) => Class::Temporary,
            (b"create" | b"alter" | b"drop" | b"rename", Object::InDatabase | Object::Spatial)
            | (b"alter", Object::User) => Class::Ddl,
            (b"create" | b"drop" | b"rename", Object::User | Object::Role | Object::Server) => Class::Admin,
            (b"drop", Object::Prepared) => Class::Other,
            (b"select" | b"table" | b"values", _) => Class::Export,
            (b"set", _) => Class::Set { autocommit: self.flags.autocommit.then_some(Autocommit::Unclear) },
            (b"execute", _) => Class::Execute,
            (
                b"grant" | b"revoke" | b"flush" | b"analyze" | b"change" | b"start" | b"stop" | b"reset"
                | b"purge" | b"binlog",
                _,
            ) => Class::Admin,
            (b"signal" | b"resignal" | b"kill", _) => Class::Other,
            (b"xa", _) => Class::Xa,
            _ => Class::Unknown,
        }
    }
}

fn is_one_of(bytes: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| bytes.eq_ignore_ascii_case(word.as_bytes()))
}

fn ends_with(bytes: &[u8], end: &[u8]) -> bool {
    let quotes = |byte: &u8| matches!(byte, b'`' | b'\'' | b'"');
    let bytes = if bytes.last().is_some_and(quotes) { &bytes[..bytes.len() - 1] } else { bytes };
    bytes.len().checked_sub(end.len()).is_some_and(|at| bytes[at..].eq_ignore_ascii_case(end))
}

fn object(word: &[u8]) -> Option<Object> {
    let mut lower = [0; 10];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"table" | b"index" | b"view" | b"trigger" | b"procedure" | b"event" => Object::InDatabase,
        b"database" | b"schema" => Object::Database,
        b"temporary" => Object::Temporary,
        b"spatial" => Object::Spatial,
        b"reference" => Object::Server,
        b"user" => Object::User,
        b"role" => Object::Role,
        b"prepare" => Object::Prepared,
        _ => return None,
    })
}

fn verb(word: &[u8]) -> Option<Class> {
    if is_one_of(word, &["insert", "replace", "update", "delete"]) {
        return Some(Class::Dml);
    }
    is_one_of(word, &["select", "table", "values"]).then_some(Class::Export)
}
