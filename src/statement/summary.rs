//! What the classifier says of a text: shapes only.
//! Always: what is missing here is not known, never assumed.

use std::fmt;
use std::ops::Range;

/// Statements of one text that are told apart; past it [`Summary::whole`] is false.
pub const STATEMENTS_MAX: usize = 256;

/// What a text does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Top-level statements that are not empty, in order.
    pub statements: Vec<Kind>,
    /// False: the text was longer than what was given, went past a bound, or the end of a body could not
    /// be told for sure. Then `statements` may lack some, and the last one may be less than it looks.
    pub whole: bool,
    /// Anything in it is not proven to be a read.
    pub may_write: bool,
    /// Session state it leaves that cannot be rebuilt on another backend.
    pub pins: Pins,
}

/// Reasons why a session must keep its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Pins(u16);

impl Pins {
    /// None.
    pub const NONE: Self = Self(0);
    /// `SET @x`, `@x :=`, `SELECT … INTO @x`.
    pub const USER_VARIABLE: Self = Self(1);
    /// `GET_LOCK()`.
    pub const NAMED_LOCK: Self = Self(1 << 1);
    /// `CREATE TEMPORARY TABLE`.
    pub const TEMPORARY_TABLE: Self = Self(1 << 2);
    /// `LOCK TABLES`.
    pub const LOCK_TABLES: Self = Self(1 << 3);
    /// `PREPARE … FROM`.
    pub const SQL_PREPARE: Self = Self(1 << 4);
    /// A SET that is not understood, or of a value that is not a literal.
    pub const UNKNOWN_SET: Self = Self(1 << 5);
    /// CALL of a procedure that is not Dolt's own: it may leave any of the above.
    pub const PROCEDURE: Self = Self(1 << 6);

    /// No reason.
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

    /// Takes away.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl std::ops::BitOr for Pins {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::USER_VARIABLE, "user variable"),
            (Self::NAMED_LOCK, "GET_LOCK"),
            (Self::TEMPORARY_TABLE, "temporary table"),
            (Self::LOCK_TABLES, "LOCK TABLES"),
            (Self::SQL_PREPARE, "PREPARE"),
            (Self::UNKNOWN_SET, "SET that cannot be replayed"),
            (Self::PROCEDURE, "CALL of a user's procedure"),
        ];
        let mut first = true;
        for (_, name) in names.iter().filter(|(pin, _)| self.contains(*pin)) {
            if !first {
                f.write_str(", ")?;
            }
            first = false;
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Reads only.
    Read,
    /// Reads what the statement before left: SHOW WARNINGS, SHOW ERRORS, SHOW COUNT(*) …, GET DIAGNOSTICS,
    /// SELECT @@warning_count, @@error_count, ROW_COUNT(), FOUND_ROWS().
    Diagnostics,
    /// USE.
    Use {
        /// As named, `db/branch` included; without quotes.
        database: String,
    },
    /// SET of variables.
    Set {
        /// In order.
        assignments: Vec<Assignment>,
    },
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK, not to a savepoint.
    Rollback,
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    Savepoint,
    /// SET TRANSACTION of any scope.
    SetTransaction,
    /// CALL.
    Call {
        /// Last part of its name, lower case.
        procedure: String,
        /// Its arguments if all are plain string literals.
        literal_args: Option<Vec<String>>,
    },
    /// KILL with a plain number.
    Kill {
        /// KILL QUERY.
        query_only: bool,
        /// Which connection.
        id: u64,
        /// Where the number stands in the text.
        id_span: Range<usize>,
    },
    /// LOCK TABLES.
    LockTables,
    /// UNLOCK TABLES.
    UnlockTables,
    /// A SELECT or DO of RELEASE_LOCK() or RELEASE_ALL_LOCKS().
    ReleaseLocks,
    /// DML, DDL, everything else and whatever is unknown.
    Write,
}

/// One assignment of a SET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Lower case, without `@@session.`; `names` and `character set` for those two forms.
    pub name: String,
    /// Whose variable.
    pub scope: Scope,
    /// The text `SET …` that gives another backend the same state; only if the value is a literal, DEFAULT
    /// or a bare word. `None`: can't be replayed.
    pub replay: Option<String>,
    /// The value's text, a string literal without its quotes; `None` if it is not one plain value.
    pub value: Option<String>,
}

/// Whose variable a SET changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The session's.
    Session,
    /// The server's.
    Global,
    /// The server's, kept over restarts.
    Persist,
    /// `@x`.
    User,
}
