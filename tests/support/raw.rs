//! Owns a blocking MySQL client that can also misbehave: raw bytes, wrong numbers, half a packet, silence.
//! Does not use Branchline's own wire code: a mistake there must not hide here.
//! Always: every read and write is bounded, so that a hang is an error with a name.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use sha1::{Digest, Sha1};

/// Longest wait for one read or write.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Longest payload of one frame.
pub const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// What is kept of a long packet.
const KEPT_BYTES_MAX: usize = 64 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PLUGIN_AUTH: u32 = 1 << 19;
/// LONG_PASSWORD, LONG_FLAG, LOCAL_FILES, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_RESULTS, DEPRECATE_EOF.
const FLAGS: u32 = 1 | 1 << 2 | 1 << 7 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 17 | 1 << 24;

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// An ERR packet: code, SQL state (empty if none was sent), text.
    Server(u16, String, String),
    /// The connection was closed or reset.
    Closed,
    /// Nothing came, or nothing was taken, for too long: a hang.
    TimedOut,
    /// Bytes that are not the protocol.
    Protocol(String),
}

impl Failure {
    /// MySQL error code; 0 if it was no ERR.
    pub fn code(&self) -> u16 {
        if let Self::Server(code, ..) = self { *code } else { 0 }
    }

    /// The text of an ERR, else empty.
    pub fn text(&self) -> &str {
        if let Self::Server(_, _, text) = self { text } else { "" }
    }

    fn read(payload: &[u8]) -> Self {
        let Some((code, rest)) = payload.get(1..).and_then(|rest| rest.split_first_chunk::<2>()) else {
            return Self::Protocol("an ERR that is cut".into());
        };
        let (state, text) = match rest {
            [b'#', rest @ ..] if rest.len() >= 5 => rest.split_at(5),
            _ => (&[][..], rest),
        };
        let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self::Server(u16::from_le_bytes(*code), lossy(state), lossy(text))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::NotFound => Self::Closed,
            _ => Self::Protocol(format!("no bytes: {error}")),
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Packets over a socket.
pub struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    used: usize,
}

/// One packet; of a long one the beginning.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Sequence number of its last frame.
    pub seq: u8,
    /// Payload, at most 64 KiB of it.
    pub payload: Vec<u8>,
    /// Its real length.
    pub len: usize,
}

impl Wire {
    /// Connects over TCP.
    pub fn tcp(addr: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        Self::new(Socket::Tcp(stream))
    }

    /// Connects over TCP from an address of this machine's own.
    pub fn tcp_from(from: Ipv4Addr, addr: SocketAddr) -> Result<Self, Failure> {
        let socket =
            rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).map_err(io::Error::from)?;
        rustix::net::bind(&socket, &SocketAddr::from((from, 0))).map_err(io::Error::from)?;
        rustix::net::connect(&socket, &addr).map_err(io::Error::from)?;
        Self::new(Socket::Tcp(socket.into()))
    }

    /// Connects to a Unix socket.
    pub fn unix(path: &Path) -> Result<Self, Failure> {
        Self::new(Socket::Unix(UnixStream::connect(path)?))
    }

    fn new(socket: Socket) -> Result<Self, Failure> {
        let wire = Self { socket, buffer: Vec::new(), used: 0 };
        wire.patience(PATIENCE)?;
        Ok(wire)
    }

    /// Sets the longest wait for one read or write.
    pub fn patience(&self, limit: Duration) -> Result<(), Failure> {
        match &self.socket {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))?;
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))?;
            }
        }
        Ok(())
    }

    /// Closes both directions at once.
    pub fn hang_up(&self) {
        let _already_closed = match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes)?,
            Socket::Unix(stream) => stream.write_all(bytes)?,
        }
        Ok(())
    }

    /// Sends one packet, in frames if it is long.
    pub fn send_packet(&mut self, mut seq: u8, payload: &[u8]) -> Result<(), Failure> {
        let mut rest = payload;
        loop {
            let (now, later) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            self.send(&[&header(now.len(), seq)[..], now].concat())?;
            if now.len() < FRAME_BYTES_MAX {
                return Ok(());
            }
            (rest, seq) = (later, seq.wrapping_add(1));
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.resize(BUFFER_BYTES, 0);
        self.used = 0;
        let count = loop {
            let count = match &mut self.socket {
                Socket::Tcp(stream) => stream.read(&mut self.buffer),
                Socket::Unix(stream) => stream.read(&mut self.buffer),
            };
            // A read with a time limit isn't taken up again by the kernel when something interrupts it.
            if !count.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                break count;
            }
        };
        self.buffer.truncate(*count.as_ref().unwrap_or(&0));
        if count? == 0 { Err(Failure::Closed) } else { Ok(()) }
    }

    /// Hands up to `len` bytes, at least one, to `take`; returns how many.
    fn some(&mut self, len: usize, take: &mut impl FnMut(&[u8])) -> Result<usize, Failure> {
        if self.used == self.buffer.len() {
            self.fill()?;
        }
        let bytes = &self.buffer[self.used..];
        let bytes = &bytes[..bytes.len().min(len)];
        take(bytes);
        self.used += bytes.len();
        Ok(bytes.len())
    }

    /// Reads a packet to its end; `sink` gets every byte, headers too.
    pub fn read_into(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<Packet, Failure> {
        let mut packet = Packet { seq: 0, payload: Vec::new(), len: 0 };
        loop {
            let mut header = Vec::with_capacity(4);
            while header.len() < 4 {
                self.some(4 - header.len(), &mut |bytes| {
                    header.extend_from_slice(bytes);
                    sink(bytes);
                })?;
            }
            let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            packet.seq = header[3];
            packet.len += len;
            let mut left = len;
            while left > 0 {
                left -= self.some(left, &mut |bytes| {
                    sink(bytes);
                    let room = KEPT_BYTES_MAX - packet.payload.len();
                    packet.payload.extend_from_slice(&bytes[..bytes.len().min(room)]);
                })?;
            }
            if len < FRAME_BYTES_MAX {
                return Ok(packet);
            }
        }
    }

    /// Reads a packet; an ERR is an error.
    pub fn read(&mut self) -> Result<Packet, Failure> {
        let packet = self.read_into(&mut |_| {})?;
        if packet.payload.first() == Some(&0xff) { Err(Failure::read(&packet.payload)) } else { Ok(packet) }
    }

    /// Reads whatever comes until the end; the ERR that came last, or how it ended.
    pub fn last_word(&mut self) -> Failure {
        let mut last = None;
        loop {
            match self.read() {
                Ok(_) => {}
                Err(Failure::Closed) => return last.unwrap_or(Failure::Closed),
                Err(server @ Failure::Server(..)) => last = Some(server),
                Err(other) => return other,
            }
        }
    }
}

/// A frame's header.
pub fn header(len: usize, seq: u8) -> [u8; 4] {
    let [a, b, c, _] = (len as u32).to_le_bytes();
    [a, b, c, seq]
}

/// As whom to log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Name, any bytes but NUL.
    pub user: Vec<u8>,
    /// Password.
    pub password: Vec<u8>,
    /// Database, any bytes but NUL.
    pub database: Option<Vec<u8>>,
    /// What the client begins with; empty for none named.
    pub plugin: &'static str,
}

impl Login {
    /// root without a password.
    pub fn root() -> Self {
        Self::account("root", "")
    }

    /// An account with a password.
    pub fn account(user: impl AsRef<[u8]>, password: &str) -> Self {
        let (user, password) = (user.as_ref().to_vec(), password.as_bytes().to_vec());
        Self { user, password, database: None, plugin: "mysql_native_password" }
    }

    /// With a database named in the handshake.
    pub fn on(mut self, database: impl AsRef<[u8]>) -> Self {
        self.database = Some(database.as_ref().to_vec());
        self
    }

    /// The handshake response.
    pub fn response(&self, nonce: &[u8]) -> Vec<u8> {
        let mut flags = FLAGS;
        flags |= if self.database.is_some() { CONNECT_WITH_DB } else { 0 };
        flags |= if self.plugin.is_empty() { 0 } else { PLUGIN_AUTH };
        let auth = match self.plugin {
            "mysql_native_password" | "" => scramble(&self.password, nonce),
            _ => vec![7; 32],
        };
        let mut out = flags.to_le_bytes().to_vec();
        out.extend_from_slice(&(1_u32 << 30).to_le_bytes());
        out.push(45);
        out.extend_from_slice(&[0; 23]);
        out.extend_from_slice(&self.user);
        out.extend_from_slice(&[0, auth.len() as u8]);
        out.extend_from_slice(&auth);
        if let Some(database) = &self.database {
            out.extend_from_slice(database);
            out.push(0);
        }
        if !self.plugin.is_empty() {
            out.extend_from_slice(self.plugin.as_bytes());
            out.push(0);
        }
        out
    }
}

/// mysql_native_password's answer; none for an empty password.
fn scramble(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = Sha1::digest(password);
    let stage2 = Sha1::new().chain_update(nonce).chain_update(Sha1::digest(stage1)).finalize();
    stage1.iter().zip(stage2).map(|(a, b)| a ^ b).collect()
}

/// What a server's greeting says.
pub struct Greeting {
    /// Connection id.
    pub id: u32,
    /// Challenge.
    pub nonce: Vec<u8>,
}

impl Greeting {
    /// Reads it.
    pub fn read(wire: &mut Wire) -> Result<Self, Failure> {
        let payload = wire.read()?.payload;
        let bad = || Failure::Protocol(format!("no greeting: {payload:?}"));
        let version_end = payload.iter().position(|byte| *byte == 0).ok_or_else(bad)? + 1;
        let fixed = payload.get(version_end..version_end + 43).ok_or_else(bad)?;
        let id = u32::from_le_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        Ok(Self { id, nonce: [&fixed[4..12], &fixed[31..43]].concat() })
    }
}

/// A logged-in client.
pub struct Client {
    /// Its packets.
    pub wire: Wire,
    /// Its connection id.
    pub id: u32,
}

/// A whole reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Text rows, each value at most 64 KiB; NULL is `None`. Empty after `measure`.
    pub rows: Vec<Vec<Option<String>>>,
    /// Number of rows.
    pub row_count: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// SHA-1 of them, after `measure`.
    pub hash: Vec<u8>,
}

impl Client {
    /// Connects over TCP and logs in.
    pub fn tcp(addr: SocketAddr, login: &Login) -> Result<Self, Failure> {
        Self::log_in(Wire::tcp(addr)?, login)
    }

    /// root over TCP without a database; for set-up, where a failure is the test's.
    pub fn root(addr: SocketAddr) -> Self {
        Self::tcp(addr, &Login::root()).unwrap_or_else(|failure| panic!("root at {addr}: {failure}"))
    }

    /// Logs in on a connection.
    pub fn log_in(mut wire: Wire, login: &Login) -> Result<Self, Failure> {
        let Greeting { id, nonce } = Greeting::read(&mut wire)?;
        wire.send_packet(1, &login.response(&nonce))?;
        loop {
            let Packet { seq, payload, .. } = wire.read()?;
            match payload.split_first() {
                Some((0, _)) => return Ok(Self { wire, id }),
                Some((0xfe, rest)) => {
                    let switch: Vec<&[u8]> = rest.splitn(2, |byte| *byte == 0).collect();
                    let [b"mysql_native_password", nonce] = switch[..] else {
                        return Err(Failure::Protocol(format!("a switch to {rest:?}")));
                    };
                    let nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce);
                    let answer = scramble(&login.password, nonce);
                    wire.send_packet(seq.wrapping_add(1), &answer)?;
                }
                _ => return Err(Failure::Protocol(format!("no login reply: {payload:?}"))),
            }
        }
    }

    /// Sends COM_QUERY without waiting for the reply.
    pub fn send_query(&mut self, sql: &str) -> Result<(), Failure> {
        self.wire.send_packet(0, &[&[COM_QUERY], sql.as_bytes()].concat())
    }

    /// Runs a statement and reads its rows.
    pub fn query(&mut self, sql: &str) -> Result<Reply, Failure> {
        self.send_query(sql)?;
        self.reply(true)
    }

    /// The same for set-up, where a failure is the test's.
    pub fn run(&mut self, sql: &str) -> Reply {
        let shown = sql.get(..120).unwrap_or(sql);
        self.query(sql).unwrap_or_else(|failure| panic!("{shown}: {failure}"))
    }

    /// The only value of a statement's only row.
    pub fn value(&mut self, sql: &str) -> Result<String, Failure> {
        let reply = self.query(sql)?;
        match reply.rows.as_slice() {
            [row] if row.len() == 1 => Ok(row[0].clone().unwrap_or_else(|| "NULL".into())),
            rows => Err(Failure::Protocol(format!("{sql}: {} rows", rows.len()))),
        }
    }

    /// Runs a statement; counts and hashes its reply without keeping it.
    pub fn measure(&mut self, sql: &str) -> Result<Reply, Failure> {
        self.send_query(sql)?;
        self.reply(false)
    }

    /// Reads one reply to its end.
    pub fn reply(&mut self, keep: bool) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        let mut hash = Sha1::new();
        let mut next = |wire: &mut Wire, reply: &mut Reply| {
            let packet = wire.read_into(&mut |bytes| {
                reply.bytes += bytes.len() as u64;
                if !keep {
                    hash.update(bytes);
                }
            })?;
            match packet.payload.first() {
                Some(0xff) => Err(Failure::read(&packet.payload)),
                Some(_) => Ok(packet),
                None => Err(Failure::Protocol("an empty packet".into())),
            }
        };
        let first = next(&mut self.wire, &mut reply)?;
        if first.payload[0] != 0 {
            for _ in 0..first.payload[0] {
                next(&mut self.wire, &mut reply)?;
            }
            loop {
                let row = next(&mut self.wire, &mut reply)?;
                if row.payload[0] == 0xfe && row.len < FRAME_BYTES_MAX {
                    break;
                }
                reply.row_count += 1;
                if keep {
                    reply.rows.push(text_row(&row.payload));
                }
            }
        }
        reply.hash = hash.finalize().to_vec();
        Ok(reply)
    }

    /// COM_QUIT.
    pub fn quit(mut self) {
        let _already_gone = self.wire.send_packet(0, &[COM_QUIT]);
    }
}

/// The values of a text row, as far as they were kept.
fn text_row(mut bytes: &[u8]) -> Vec<Option<String>> {
    let mut row = Vec::new();
    while let [first, rest @ ..] = bytes {
        let width = match first {
            0xfb => {
                row.push(None);
                bytes = rest;
                continue;
            }
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            _ => 0,
        };
        let mut len = [0; 8];
        len[..width].copy_from_slice(&rest[..width]);
        let len = if width == 0 { *first as usize } else { u64::from_le_bytes(len) as usize };
        let value = &rest[width..];
        let len = len.min(value.len());
        row.push(Some(String::from_utf8_lossy(&value[..len]).into_owned()));
        bytes = &value[len..];
    }
    row
}
