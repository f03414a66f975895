//! Owns one blocking connection: login, one command at a time, its reply to the end.
//! Does not decode rows, retry or reconnect.
//! Always: no read or write waits longer than the I/O timeout.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{self, Fault, Reply, ReplyTracker};

/// Nothing measured here is silent for longer than this unless it hangs.
pub const IO_TIMEOUT: Duration = Duration::from_secs(60);
/// Enough for a point select; what a client library would use.
pub const SMALL_BUFFER_BYTES: usize = 16 << 10;
/// For large results, so that the client is not what limits them.
pub const LARGE_BUFFER_BYTES: usize = 256 << 10;

/// Why a command or a login has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// The connection failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's words.
        reason: String,
    },
    /// The server's ERR, or bytes that are not the protocol.
    Fault(Fault),
}

impl ClientError {
    fn io(doing: &'static str, error: &std::io::Error) -> Self {
        let timed_out = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        let reason =
            if timed_out { format!("nothing for {} s", IO_TIMEOUT.as_secs()) } else { error.to_string() };
        Self::Io { doing, reason }
    }

    /// Errors are counted by this: the MySQL number, or what failed.
    pub fn code(&self) -> String {
        match self {
            Self::Io { doing, reason } => format!("{doing}: {reason}"),
            Self::Fault(Fault::Server { code, .. }) => code.to_string(),
            Self::Fault(Fault::Protocol(what)) => format!("protocol: {what}"),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(Fault::Server { code, message }) => write!(formatter, "error {code}: {message}"),
            other => formatter.write_str(&other.code()),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<Fault> for ClientError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A prepared statement's id on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement(u32);

/// One logged-in connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Box<[u8]>,
    out: Vec<u8>,
}

impl Client {
    /// Connects and logs in without a password.
    pub fn connect(
        address: SocketAddr,
        user: &str,
        database: Option<&str>,
        buffer_bytes: usize,
    ) -> Result<Self, ClientError> {
        let stream = TcpStream::connect_timeout(&address, IO_TIMEOUT)
            .map_err(|error| ClientError::io("connecting", &error))?;
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(IO_TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(IO_TIMEOUT)));
        prepared.map_err(|error| ClientError::io("setting socket options", &error))?;
        let mut client =
            Self { stream, buffer: vec![0; buffer_bytes].into_boxed_slice(), out: Vec::with_capacity(256) };
        client.login(user, database)?;
        Ok(client)
    }

    /// Runs a statement and reads its reply to the end.
    pub fn query(&mut self, sql: &str) -> Result<Reply, ClientError> {
        wire::query(&mut self.out, sql.as_bytes());
        self.exchange(ReplyTracker::new())
    }

    /// Prepares a statement.
    pub fn prepare(&mut self, sql: &str) -> Result<Statement, ClientError> {
        wire::prepare(&mut self.out, sql.as_bytes());
        let reply = self.exchange(ReplyTracker::for_prepare())?;
        let id = reply.ok.get(1..5).ok_or(Fault::Protocol("a prepare without a statement id"))?;
        Ok(Statement(u32::from_le_bytes([id[0], id[1], id[2], id[3]])))
    }

    /// Executes a statement that has one BIGINT parameter.
    pub fn execute(&mut self, statement: Statement, parameter: i64) -> Result<Reply, ClientError> {
        wire::execute(&mut self.out, statement.0, parameter);
        self.exchange(ReplyTracker::new())
    }

    /// Says goodbye and closes.
    pub fn quit(mut self) -> Result<(), ClientError> {
        wire::quit(&mut self.out);
        self.send()
    }

    fn login(&mut self, user: &str, database: Option<&str>) -> Result<(), ClientError> {
        let (sequence, payload) = self.read_packet()?;
        let offered = wire::parse_greeting(&payload)?;
        let response = wire::handshake_response(offered, user, database)?;
        wire::packet(&mut self.out, sequence.wrapping_add(1), &[&response]);
        self.send()?;
        loop {
            let (sequence, payload) = self.read_packet()?;
            match payload.first() {
                Some(0) => return Ok(()),
                // A switch to another plugin: an empty password has an empty answer in each we can meet.
                Some(0xfe) => {
                    wire::packet(&mut self.out, sequence.wrapping_add(1), &[]);
                    self.send()?;
                }
                Some(0xff) => return Err(wire::parse_error(&payload).into()),
                _ => return Err(Fault::Protocol("the login's answer is not understood").into()),
            }
        }
    }

    /// One packet by exact reads: before the first command the server says nothing unasked.
    fn read_packet(&mut self) -> Result<(u8, Vec<u8>), ClientError> {
        let failed = |error: std::io::Error| ClientError::io("logging in", &error);
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).map_err(failed)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        if length > SMALL_BUFFER_BYTES {
            return Err(Fault::Protocol("a login packet of more than 16 KiB").into());
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).map_err(failed)?;
        Ok((header[3], payload))
    }

    fn send(&mut self) -> Result<(), ClientError> {
        self.stream.write_all(&self.out).map_err(|error| ClientError::io("sending", &error))
    }

    fn exchange(&mut self, mut tracker: ReplyTracker) -> Result<Reply, ClientError> {
        self.send()?;
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => {
                    let reason = "the server closed the connection before its reply was complete".to_owned();
                    return Err(ClientError::Io { doing: "reading", reason });
                }
                Ok(length) => {
                    if let Some(reply) = tracker.feed(&self.buffer[..length])? {
                        return Ok(reply);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::io("reading", &error)),
            }
        }
    }
}
