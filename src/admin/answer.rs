//! Owns the shape of an answer: rows, done, or refused with code and text.
//! Does not write bytes: `shim` does.

use std::time::SystemTime;

use opensrv_mysql::ErrorKind;

/// What a command came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A result set.
    Rows(Table),
    /// An OK with text.
    Done(String),
}

/// A result set.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL
    Null,
    /// A text.
    Text(String),
    /// A whole number.
    Number(u64),
}

impl Table {
    /// An empty result set.
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self { columns: columns.map(str::to_owned).into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// Whether a column has only numbers (and NULLs), so that it may be declared as such.
    pub fn is_numeric(&self, column: usize) -> bool {
        let mut cells =
            self.rows.iter().map(|row| &row[column]).filter(|cell| **cell != Cell::Null).peekable();
        cells.peek().is_some() && cells.all(|cell| matches!(cell, Cell::Number(_)))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Cell::Number(number.into())
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Cell::Number(number as u64)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

impl From<SystemTime> for Cell {
    fn from(time: SystemTime) -> Self {
        Cell::Text(crate::observe::time::utc(time))
    }
}

/// Why a command was not done, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    kind: RefusalKind,
    text: String,
}

/// Only kinds that opensrv knows: its conversion from a number panics on others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefusalKind {
    Syntax,
    BadValue,
    NoSuchClient,
    Exists,
    UnknownCommand,
    Failed,
}

impl Refusal {
    /// 1064: not a command.
    pub fn syntax(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Syntax, text: text.into() }
    }

    /// 1525: a command with a value that can't be.
    pub fn bad_value(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::BadValue, text: text.into() }
    }

    /// 1094: no client with this id.
    pub fn no_such_client(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::NoSuchClient, text: text.into() }
    }

    /// 1007: it is there already.
    pub fn exists(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Exists, text: text.into() }
    }

    /// 1047: a protocol command that the console does not have.
    pub fn unknown_command(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::UnknownCommand, text: text.into() }
    }

    /// 1105: it could not be done now.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Failed, text: text.into() }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self.kind {
            RefusalKind::Syntax => ErrorKind::ER_PARSE_ERROR,
            RefusalKind::BadValue => ErrorKind::ER_WRONG_VALUE,
            RefusalKind::NoSuchClient => ErrorKind::ER_NO_SUCH_THREAD,
            RefusalKind::Exists => ErrorKind::ER_DB_CREATE_EXISTS,
            RefusalKind::UnknownCommand => ErrorKind::ER_UNKNOWN_COM_ERROR,
            RefusalKind::Failed => ErrorKind::ER_UNKNOWN_ERROR,
        }
    }
}
