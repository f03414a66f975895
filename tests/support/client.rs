//! Owns a MySQL client of bytes: whatever a test wants to send, when it wants to, and the answers as they came.
//! Does not share code with what it tests but the handshake's structures: it finds the end of a reply by itself.
//! Always: a read waits no longer than a deadline.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use branchline::accounts::native::{Stage1, answer};
use branchline::wire::handshake::{Greeting, NATIVE_PASSWORD, Response};
use branchline::wire::lenenc;
use branchline::wire::response::{ErrInfo, OkInfo, STATUS_MORE_RESULTS};
use branchline::wire::{capability, frame::write_packet};

/// Longer than anything takes, a restart of Dolt included.
const READ_DEADLINE: Duration = Duration::from_secs(30);

pub const QUIT: u8 = 0x01;
pub const INIT_DB: u8 = 0x02;
pub const QUERY: u8 = 0x03;
pub const PREPARE: u8 = 0x16;
pub const EXECUTE: u8 = 0x17;
pub const RESET_CONNECTION: u8 = 0x1f;

trait Socket: Read + Write + Send {}
impl Socket for TcpStream {}
impl Socket for UnixStream {}

/// One row: text, or NULL.
pub type Row = Vec<Option<String>>;

/// One result of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub rows: Vec<Row>,
    pub ok: OkInfo,
}

/// Who logs in, and how.
#[derive(Debug, Clone, Default)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub database: Option<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Login {
    /// root without a password, with `database` if it is not empty.
    pub fn root(database: &str) -> Self {
        let database = (!database.is_empty()).then(|| database.to_owned());
        Self { user: "root".to_owned(), database, ..Self::default() }
    }

    pub fn user(mut self, user: &str, password: &str) -> Self {
        (self.user, self.password) = (user.to_owned(), password.to_owned());
        self
    }

    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    pub id: u32,
    pub params: u16,
}

/// A connection.
pub struct Client {
    socket: Box<dyn Socket>,
    /// The id in the greeting.
    pub id: u32,
}

impl Client {
    /// Over TCP; the ERR of the login is a panic.
    pub fn connect(addr: SocketAddr, login: &Login) -> Self {
        Self::try_connect(addr, login).unwrap_or_else(|err| panic!("login of {login:?}: {err}"))
    }

    pub fn try_connect(addr: SocketAddr, login: &Login) -> Result<Self, ErrInfo> {
        let socket = TcpStream::connect(addr).expect("the port is open");
        socket.set_nodelay(true).expect("set");
        socket.set_read_timeout(Some(READ_DEADLINE)).expect("set");
        Self::log_in(Box::new(socket), login)
    }

    pub fn over_unix(path: &Path, login: &Login) -> Self {
        let socket = UnixStream::connect(path).expect("the socket is there");
        socket.set_read_timeout(Some(READ_DEADLINE)).expect("set");
        Self::log_in(Box::new(socket), login).unwrap_or_else(|err| panic!("login of {login:?}: {err}"))
    }

    fn log_in(socket: Box<dyn Socket>, login: &Login) -> Result<Self, ErrInfo> {
        let mut client = Self { socket, id: 0 };
        let (_, greeting) = client.packet();
        if let Some(err) = as_err(&greeting) {
            return Err(err);
        }
        let greeting = Greeting::read(&greeting).expect("a greeting");
        client.id = greeting.connection_id;
        let mut capabilities = capability::UNDERSTOOD
            & !capability::FOUND_ROWS
            & !capability::LOCAL_FILES
            & greeting.capabilities;
        if login.database.is_none() {
            capabilities &= !capability::CONNECT_WITH_DB;
        }
        let auth = match login.password.as_str() {
            "" => Vec::new(),
            password => answer(&greeting.nonce, &Stage1::of_password(password)).to_vec(),
        };
        let response = Response {
            capabilities,
            max_packet_bytes: 1 << 30,
            charset: 45,
            user: login.user.clone(),
            auth,
            database: login.database.clone(),
            plugin: Some(NATIVE_PASSWORD.to_owned()),
            attributes: login.attributes.clone(),
        };
        client.write(1, &response.payload());
        let (_, end) = client.packet();
        match end.first() {
            Some(0) => Ok(client),
            _ => Err(as_err(&end).unwrap_or_else(|| panic!("neither OK nor ERR: {end:?}"))),
        }
    }

    fn write(&mut self, seq: u8, payload: &[u8]) {
        let mut out = Vec::new();
        write_packet(&mut out, seq, payload);
        self.socket.write_all(&out).expect("written");
    }

    /// Sends a command and does not wait.
    pub fn send(&mut self, command: u8, payload: &[u8]) {
        self.write(0, &packet_of(command, payload));
    }

    /// Sends several commands in one write.
    pub fn send_at_once<'a>(&mut self, commands: impl IntoIterator<Item = (u8, &'a [u8])>) {
        let mut out = Vec::new();
        for (command, payload) in commands {
            write_packet(&mut out, 0, &packet_of(command, payload));
        }
        self.socket.write_all(&out).expect("written");
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        self.try_packet().expect("a packet within the deadline")
    }

    fn try_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 4];
        self.socket.read_exact(&mut header)?;
        let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload)?;
        Ok((header[3], payload))
    }

    /// The reply to a command that was sent, every result of it, up to the first ERR.
    pub fn answers(&mut self) -> Vec<Result<Answer, ErrInfo>> {
        self.results(read_text_row)
    }

    fn results(&mut self, read_row: fn(&[u8], u64) -> Row) -> Vec<Result<Answer, ErrInfo>> {
        let mut answers = Vec::new();
        let mut next_seq = 1;
        let mut packet = |client: &mut Self| {
            let (seq, payload) = client.packet();
            assert_eq!(seq, next_seq, "the reply's sequence numbers");
            next_seq = next_seq.wrapping_add(1);
            payload
        };
        loop {
            let first = packet(self);
            if let Some(err) = as_err(&first) {
                answers.push(Err(err));
                return answers;
            }
            let mut answer = Answer::default();
            if first[0] == 0 {
                answer.ok = OkInfo::read_ok(&first).expect("an OK");
            } else {
                let (columns, _) = lenenc::read_int(&first).expect("a column count");
                for _ in 0..columns {
                    packet(self);
                }
                loop {
                    let row = packet(self);
                    if let Some(err) = as_err(&row) {
                        answers.push(Err(err));
                        return answers;
                    }
                    if row[0] == 0xfe && row.len() < 0xff_ffff {
                        answer.ok = OkInfo::read_ok(&row).expect("an OK in the EOF's place");
                        break;
                    }
                    answer.rows.push(read_row(&row, columns));
                }
            }
            let more = answer.ok.status & STATUS_MORE_RESULTS != 0;
            answers.push(Ok(answer));
            if !more {
                return answers;
            }
        }
    }

    /// Every result of a text.
    pub fn all(&mut self, sql: &str) -> Vec<Result<Answer, ErrInfo>> {
        self.send(QUERY, sql.as_bytes());
        self.answers()
    }

    /// The last result of a text.
    pub fn query(&mut self, sql: &str) -> Result<Answer, ErrInfo> {
        self.all(sql).pop().expect("at least one result")
    }

    /// Rows of a query that succeeds.
    pub fn rows(&mut self, sql: &str) -> Vec<Row> {
        self.query(sql).unwrap_or_else(|err| panic!("{sql}: {err}")).rows
    }

    /// The first row, as `a|b|NULL`.
    pub fn row(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        let row = rows.first().unwrap_or_else(|| panic!("{sql}: no row"));
        row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")
    }

    /// A statement that succeeds.
    pub fn run(&mut self, sql: &str) -> Answer {
        self.query(sql).unwrap_or_else(|err| panic!("{sql}: {err}"))
    }

    /// A statement that fails.
    pub fn err(&mut self, sql: &str) -> ErrInfo {
        self.query(sql).expect_err(sql)
    }

    /// A command of one OK or ERR.
    pub fn command(&mut self, command: u8, payload: &[u8]) -> Result<Answer, ErrInfo> {
        self.send(command, payload);
        self.answers().pop().expect("one result")
    }

    /// COM_INIT_DB.
    pub fn use_database(&mut self, database: &str) -> Result<Answer, ErrInfo> {
        self.command(INIT_DB, database.as_bytes())
    }

    pub fn prepare(&mut self, sql: &str) -> Result<Statement, ErrInfo> {
        self.send(PREPARE, sql.as_bytes());
        let (_, head) = self.packet();
        if let Some(err) = as_err(&head) {
            return Err(err);
        }
        let id = u32::from_le_bytes(head[1..5].try_into().expect("four bytes"));
        let columns = u16::from_le_bytes([head[5], head[6]]);
        let params = u16::from_le_bytes([head[7], head[8]]);
        for _ in 0..columns + params {
            self.packet();
        }
        Ok(Statement { id, params })
    }

    /// Executes with text parameters; a later execution need not send the types again. Columns must be text.
    pub fn execute(
        &mut self,
        statement: Statement,
        values: &[&str],
        with_types: bool,
    ) -> Result<Answer, ErrInfo> {
        assert_eq!(values.len(), usize::from(statement.params));
        let mut payload = statement.id.to_le_bytes().to_vec();
        payload.extend([0, 1, 0, 0, 0]);
        if !values.is_empty() {
            payload.extend(vec![0; values.len().div_ceil(8)]);
            payload.push(u8::from(with_types));
            if with_types {
                payload.extend([0xfd, 0].repeat(values.len()));
            }
            for value in values {
                lenenc::write_int(&mut payload, value.len() as u64);
                payload.extend(value.as_bytes());
            }
        }
        self.send(EXECUTE, &payload);
        self.results(read_binary_row).pop().expect("one result")
    }

    /// Whether a query is cut short: by an ERR in the place of its result, or by a closed connection.
    pub fn is_cut_short(&mut self, sql: &str) -> bool {
        self.send(QUERY, sql.as_bytes());
        self.try_packet().map_or(true, |(_, first)| as_err(&first).is_some())
    }

    /// Whether the server has closed the connection, after at most one ERR that nobody asked for.
    pub fn is_closed(&mut self) -> bool {
        self.try_packet().and_then(|_| self.try_packet()).is_err_and(|error| {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        })
    }
}

fn packet_of(command: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![command];
    packet.extend_from_slice(payload);
    packet
}

fn as_err(payload: &[u8]) -> Option<ErrInfo> {
    (payload.first() == Some(&0xff)).then(|| ErrInfo::read(payload).expect("an ERR"))
}

fn read_text_row(mut packet: &[u8], columns: u64) -> Row {
    let mut row = Row::new();
    for _ in 0..columns {
        if packet[0] == 0xfb {
            row.push(None);
            packet = &packet[1..];
        } else {
            let (value, width) = lenenc::read_bytes(packet).expect("a value");
            row.push(Some(String::from_utf8_lossy(value).into_owned()));
            packet = &packet[width..];
        }
    }
    row
}

fn read_binary_row(packet: &[u8], columns: u64) -> Row {
    let columns = columns as usize;
    let bitmap_bytes = (columns + 2).div_ceil(8);
    let mut rest = &packet[1 + bitmap_bytes..];
    let mut row = Row::new();
    for column in 0..columns {
        let bit = column + 2;
        if packet[1 + bit / 8] & (1 << (bit % 8)) != 0 {
            row.push(None);
            continue;
        }
        let (value, width) = lenenc::read_bytes(rest).expect("a text value");
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = &rest[width..];
    }
    row
}
