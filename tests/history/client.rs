//! A client whose every failure is an answer: statements as text or prepared, with values in their places.
//! Does not retry. Always: a statement that was prepared once is only executed after that, as pools do.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::support::raw::{Client, Failure, Login};

const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const TYPE_LONGLONG: u8 = 0x08;
const TYPE_VAR_STRING: u8 = 0xfd;

/// What stands for a `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    Number(u64),
    /// Digits and commas: nothing to be quoted.
    Text(String),
}

/// A statement with `?` for its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    pub params: Vec<Param>,
}

impl Statement {
    pub fn plain(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), params: Vec::new() }
    }

    /// With the values in their places.
    pub fn text(&self) -> String {
        let mut params = self.params.iter();
        let pieces = self.sql.split_inclusive('?').map(|piece| match piece.strip_suffix('?') {
            Some(before) => match params.next().expect("a value for each ?") {
                Param::Number(number) => format!("{before}{number}"),
                Param::Text(text) => format!("{before}'{text}'"),
            },
            None => piece.to_owned(),
        });
        pieces.collect()
    }
}

/// One connection.
pub struct Session {
    client: Client,
    prepared: HashMap<String, u32>,
}

impl Session {
    pub fn connect(addr: SocketAddr, database: &str) -> Result<Self, Failure> {
        let client = Client::tcp(addr, &Login::root().on(database))?;
        Ok(Self { client, prepared: HashMap::new() })
    }

    /// First values of the rows.
    pub fn text(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let rows = self.client.query(sql)?.rows;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next()?).collect())
    }

    /// The same, with COM_STMT_PREPARE and COM_STMT_EXECUTE; the values have to be strings.
    pub fn prepared(&mut self, statement: &Statement) -> Result<Vec<String>, Failure> {
        let id = match self.prepared.get(&statement.sql) {
            Some(id) => *id,
            None => self.prepare(statement)?,
        };
        let mut command = vec![COM_STMT_EXECUTE];
        command.extend(id.to_le_bytes());
        command.extend([0, 1, 0, 0, 0]);
        if !statement.params.is_empty() {
            // No NULLs; the types come with the values.
            command.extend(vec![0; statement.params.len().div_ceil(8)]);
            command.push(1);
            for param in &statement.params {
                command.extend([
                    if matches!(param, Param::Number(_)) { TYPE_LONGLONG } else { TYPE_VAR_STRING },
                    0,
                ]);
            }
            for param in &statement.params {
                match param {
                    Param::Number(number) => command.extend(number.to_le_bytes()),
                    Param::Text(text) => {
                        command.push(0xfd);
                        command.extend(&(text.len() as u32).to_le_bytes()[..3]);
                        command.extend(text.as_bytes());
                    }
                }
            }
        }
        self.client.wire.send_packet(0, &command)?;
        let mut first = Vec::new();
        let columns = self.client.wire.read()?.payload[0];
        if columns == 0 {
            return Ok(first);
        }
        for _ in 0..columns {
            self.client.wire.read()?;
        }
        loop {
            let row = self.client.wire.read()?.payload;
            if row[0] == 0xfe {
                return Ok(first);
            }
            let values = 1 + (usize::from(columns) + 9) / 8;
            first.push(string(&row[values..]).ok_or_else(|| Failure::Protocol(format!("a row: {row:?}")))?);
        }
    }

    fn prepare(&mut self, statement: &Statement) -> Result<u32, Failure> {
        self.client.wire.send_packet(0, &[&[COM_STMT_PREPARE], statement.sql.as_bytes()].concat())?;
        let ok = self.client.wire.read()?.payload;
        let [0, a, b, c, d, columns, 0, params, 0, ..] = ok[..] else {
            return Err(Failure::Protocol(format!("no prepared statement: {ok:?}")));
        };
        for _ in 0..columns + params {
            self.client.wire.read()?;
        }
        let id = u32::from_le_bytes([a, b, c, d]);
        self.prepared.insert(statement.sql.clone(), id);
        Ok(id)
    }

    /// Sends a statement and closes without looking at the answer.
    pub fn send_and_close(mut self, sql: &str) {
        let _gone = self.client.send_query(sql);
        self.client.wire.hang_up();
    }

    /// Closes in the middle of whatever it is in.
    pub fn close(self) {
        self.client.wire.hang_up();
    }
}

/// A length-encoded string of less than 16 MiB.
fn string(bytes: &[u8]) -> Option<String> {
    let (len, rest) = match bytes {
        [0xfc, a, b, rest @ ..] => (usize::from(*a) | usize::from(*b) << 8, rest),
        [0xfd, a, b, c, rest @ ..] => (usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16, rest),
        [len @ 0..=0xfa, rest @ ..] => (usize::from(*len), rest),
        _ => return None,
    };
    rest.get(..len).map(|text| String::from_utf8_lossy(text).into_owned())
}
