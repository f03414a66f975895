//! Owns one writer's connection: text or prepared statements, transactions, and the ways to vanish in the middle.
//! Does not know what is written, and retries nothing.
//! Always: every value comes back as text; a failed transaction is rolled back as drivers do it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::support::raw::{Client, Failure, Login, Packet};

const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const VAR_STRING: [u8; 2] = [0xfd, 0];

/// How a client talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// COM_QUERY with the values in the text.
    Text,
    /// COM_STMT_PREPARE once per text, COM_STMT_EXECUTE with parameters.
    Prepared,
    /// COM_QUERY after `SET autocommit = 0`, and never a BEGIN: what PyMySQL does unless told otherwise.
    AutocommitOff,
}

/// Text values; SQL's NULL is `NULL`.
pub type Row = Vec<String>;

/// A connection.
pub struct Session {
    client: Client,
    addr: SocketAddr,
    database: String,
    kind: Kind,
    prepared: HashMap<String, u32>,
    /// The longest that one statement took.
    pub slowest: Duration,
    /// When set, the statement after that many more is sent and the socket closed before its answer.
    pub statements_left: Option<u32>,
}

impl Session {
    /// Logs in as root.
    pub fn connect(addr: SocketAddr, database: &str, kind: Kind) -> Result<Self, Failure> {
        let client = Client::tcp(addr, &Login::root().on(database))?;
        let mut session = Self {
            client,
            addr,
            database: database.to_owned(),
            kind,
            prepared: HashMap::new(),
            slowest: Duration::ZERO,
            statements_left: None,
        };
        if kind == Kind::AutocommitOff {
            session.text("SET autocommit = 0")?;
        }
        Ok(session)
    }

    /// A second connection like this one.
    pub fn another(&self) -> Result<Self, Failure> {
        Self::connect(self.addr, &self.database, self.kind)
    }

    /// Sets the longest wait for an answer.
    pub fn patience(&self, limit: Duration) -> Result<(), Failure> {
        self.client.wire.patience(limit)
    }

    /// Runs a statement; each `?` in it stands for a value.
    pub fn run(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Row>, Failure> {
        let begun = Instant::now();
        let rows = match self.kind {
            Kind::Prepared => self.execute(sql, values),
            Kind::Text | Kind::AutocommitOff => self.text(&filled(sql, values)),
        };
        self.slowest = self.slowest.max(begun.elapsed());
        rows
    }

    /// The only value of the only row, a number.
    pub fn number(&mut self, sql: &str, values: &[&str]) -> Result<i64, Failure> {
        let rows = self.run(sql, values)?;
        let value = match rows.as_slice() {
            [row] => row.first().and_then(|value| value.parse().ok()),
            _ => None,
        };
        value.ok_or_else(|| Failure::Protocol(format!("{sql}: not one number: {rows:?}")))
    }

    /// BEGIN, the body, COMMIT. BEGIN and COMMIT are text in every driver.
    pub fn transaction<T>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let begun = if self.kind == Kind::AutocommitOff { Ok(Vec::new()) } else { self.text("BEGIN") };
        let done = begun.and_then(|_| body(self)).and_then(|done| {
            self.text("COMMIT")?;
            Ok(done)
        });
        if let Err(Failure::Server(..)) = &done {
            // Of some errors Dolt has rolled back and of others not: a driver cannot know.
            self.text("ROLLBACK")?;
        }
        done
    }

    /// COM_QUERY.
    pub fn text(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.client.send_query(sql)?;
        self.vanish_if_due()?;
        let rows = self.client.reply(true)?.rows;
        let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    fn execute(&mut self, sql: &str, values: &[&str]) -> Result<Vec<Row>, Failure> {
        let id = match self.prepared.get(sql) {
            Some(id) => *id,
            None => {
                let id = self.prepare(sql)?;
                self.prepared.insert(sql.to_owned(), id);
                id
            }
        };
        let mut payload = vec![COM_STMT_EXECUTE];
        payload.extend(id.to_le_bytes());
        payload.extend([0, 1, 0, 0, 0]);
        if !values.is_empty() {
            payload.extend(vec![0; values.len().div_ceil(8)]);
            payload.push(1);
            payload.extend(VAR_STRING.repeat(values.len()));
            for value in values {
                payload.push(u8::try_from(value.len()).expect("a short value"));
                payload.extend(value.as_bytes());
            }
        }
        self.client.wire.send_packet(0, &payload)?;
        self.vanish_if_due()?;
        self.binary_rows()
    }

    fn prepare(&mut self, sql: &str) -> Result<u32, Failure> {
        self.client.wire.send_packet(0, &[&[COM_STMT_PREPARE], sql.as_bytes()].concat())?;
        let head = self.client.wire.read()?.payload;
        let [0, a, b, c, d, columns, more_columns, params, more_params, ..] = head[..] else {
            return Err(Failure::Protocol(format!("no answer to a PREPARE: {head:?}")));
        };
        let definitions =
            u16::from_le_bytes([columns, more_columns]) + u16::from_le_bytes([params, more_params]);
        for _ in 0..definitions {
            self.client.wire.read()?;
        }
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn binary_rows(&mut self) -> Result<Vec<Row>, Failure> {
        let first = self.client.wire.read()?.payload;
        let columns = usize::from(first[0]);
        let mut types = Vec::new();
        for _ in 0..columns {
            types.push(column_type(&self.client.wire.read()?)?);
        }
        let mut rows = Vec::new();
        if columns == 0 {
            return Ok(rows);
        }
        loop {
            let packet = self.client.wire.read()?;
            if packet.payload[0] == 0xfe {
                return Ok(rows);
            }
            rows.push(binary_row(&packet.payload, &types)?);
        }
    }

    fn vanish_if_due(&mut self) -> Result<(), Failure> {
        match &mut self.statements_left {
            Some(0) => {
                self.client.wire.hang_up();
                Err(Failure::Closed)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The text with values for its question marks: numbers bare, all else quoted.
fn filled(sql: &str, values: &[&str]) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        match value.parse::<i64>() {
            Ok(_) => text += value,
            Err(_) => text += &format!("'{value}'"),
        }
        text += part;
    }
    text
}

/// The type in a column definition: behind it are the flags (2 bytes), the decimals (1) and a filler (2).
fn column_type(definition: &Packet) -> Result<u8, Failure> {
    let payload = &definition.payload;
    let at = payload.len().checked_sub(6);
    at.and_then(|at| payload.get(at).copied())
        .ok_or_else(|| Failure::Protocol(format!("a short column definition: {payload:?}")))
}

/// A row of integers and text.
fn binary_row(packet: &[u8], types: &[u8]) -> Result<Row, Failure> {
    let bad = || Failure::Protocol(format!("a binary row of types {types:?}: {packet:?}"));
    let bitmap_bytes = (types.len() + 9) / 8;
    let mut rest = packet.get(1 + bitmap_bytes..).ok_or_else(bad)?;
    let mut row = Row::new();
    for (column, kind) in types.iter().enumerate() {
        let bit = column + 2;
        if packet[1 + bit / 8] & (1 << (bit % 8)) != 0 {
            row.push("NULL".to_owned());
            continue;
        }
        let integer_bytes = match kind {
            1 => Some(1),
            2 | 13 => Some(2),
            3 | 9 => Some(4),
            8 => Some(8),
            _ => None,
        };
        match integer_bytes {
            Some(width) => {
                let bytes = rest.get(..width).ok_or_else(bad)?;
                let negative = bytes[width - 1] & 0x80 != 0;
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                wide[..width].copy_from_slice(bytes);
                row.push(i64::from_le_bytes(wide).to_string());
                rest = &rest[width..];
            }
            None => {
                let len = usize::from(*rest.first().ok_or_else(bad)?);
                let bytes = rest.get(1..1 + len).ok_or_else(bad)?;
                row.push(String::from_utf8_lossy(bytes).into_owned());
                rest = &rest[1 + len..];
            }
        }
    }
    Ok(row)
}
