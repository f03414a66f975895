//! Owns the few MySQL bytes that the benchmark's own client needs: login, commands, the end of a reply.
//! Does not do I/O and does not decode rows: whatever costs client CPU would show as proxy overhead.
//! Always: a reply may be cut anywhere between two `feed` calls and gives the same result.

/// Longest payload of one packet; a longer message goes on in the next packet.
pub const PAYLOAD_MAX: usize = 0x00ff_ffff;
/// How much of an interesting packet (ERR, OK, first row) is kept.
const KEPT_BYTES_MAX: usize = 512;

const CLIENT_LONG_PASSWORD: u32 = 1;
const CLIENT_LONG_FLAG: u32 = 1 << 2;
const CLIENT_CONNECT_WITH_DB: u32 = 1 << 3;
const CLIENT_PROTOCOL_41: u32 = 1 << 9;
const CLIENT_TRANSACTIONS: u32 = 1 << 13;
const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
const CLIENT_MULTI_RESULTS: u32 = 1 << 17;
const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;
/// Without it a result has two more packets; the benchmark asks for the modern form.
const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
const SERVER_MORE_RESULTS_EXISTS: u16 = 0x0008;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

/// What a server can do to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An ERR packet.
    Server {
        /// MySQL error number.
        code: u16,
        /// Text as sent.
        message: String,
    },
    /// Bytes that are not what the protocol says.
    Protocol(&'static str),
}

/// A complete reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Rows of all its result sets.
    pub rows: u64,
    /// Bytes on the wire, packet headers included.
    pub bytes: u64,
    /// Start of the first row's packet, at most 512 bytes: enough to check that the right row came.
    pub first_row: Vec<u8>,
    /// Start of the last OK packet; a prepare's reply carries the statement id there.
    pub ok: Vec<u8>,
}

/// Reads the server's first packet (protocol 10); hands back the capability flags that it offers.
pub fn parse_greeting(payload: &[u8]) -> Result<u32, Fault> {
    if payload.first() == Some(&0xff) {
        return Err(parse_error(payload));
    }
    if payload.first() != Some(&10) {
        return Err(Fault::Protocol("the greeting is not protocol 10"));
    }
    let short = Fault::Protocol("the greeting is cut short");
    let end = payload.iter().skip(1).position(|byte| *byte == 0).ok_or(short.clone())? + 1;
    // Thread id (4), first part of the nonce (8), a filler byte, then the capabilities in two halves
    // with character set (1) and status (2) between them.
    let rest = payload.get(end + 1..).ok_or(short.clone())?;
    let (Some(low), Some(high)) = (rest.get(13..15), rest.get(18..20)) else { return Err(short) };
    Ok(u32::from_le_bytes([low[0], low[1], high[0], high[1]]))
}

/// Login with mysql_native_password and an empty password, whose scramble is empty too.
pub fn handshake_response(offered: u32, user: &str, database: Option<&str>) -> Result<Vec<u8>, Fault> {
    if offered & CLIENT_DEPRECATE_EOF == 0 {
        return Err(Fault::Protocol(
            "the server does not offer CLIENT_DEPRECATE_EOF, which the benchmark relies on",
        ));
    }
    let mut flags = CLIENT_LONG_PASSWORD
        | CLIENT_LONG_FLAG
        | CLIENT_PROTOCOL_41
        | CLIENT_TRANSACTIONS
        | CLIENT_SECURE_CONNECTION
        | CLIENT_MULTI_RESULTS
        | CLIENT_PLUGIN_AUTH
        | CLIENT_DEPRECATE_EOF;
    if database.is_some() {
        flags |= CLIENT_CONNECT_WITH_DB;
    }
    let mut payload = Vec::with_capacity(128);
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.extend_from_slice(&(1u32 << 30).to_le_bytes());
    payload.push(45); // utf8mb4_general_ci
    payload.extend_from_slice(&[0; 23]);
    payload.extend_from_slice(user.as_bytes());
    payload.extend_from_slice(&[0, 0]); // end of the name, length of the scramble
    if let Some(name) = database {
        payload.extend_from_slice(name.as_bytes());
        payload.push(0);
    }
    payload.extend_from_slice(b"mysql_native_password\0");
    Ok(payload)
}

/// Writes one packet into `out`, replacing what was there.
pub fn packet(out: &mut Vec<u8>, sequence: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!(length < PAYLOAD_MAX, "the benchmark's own commands are short");
    out.clear();
    out.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
    out.push(sequence);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// COM_QUERY.
pub fn query(out: &mut Vec<u8>, sql: &[u8]) {
    packet(out, 0, &[&[COM_QUERY], sql]);
}

/// COM_STMT_PREPARE.
pub fn prepare(out: &mut Vec<u8>, sql: &[u8]) {
    packet(out, 0, &[&[COM_STMT_PREPARE], sql]);
}

/// COM_STMT_EXECUTE with one BIGINT parameter.
pub fn execute(out: &mut Vec<u8>, statement: u32, parameter: i64) {
    // No cursor, iteration count 1, nothing NULL, types follow, type LONGLONG signed.
    let fixed = [0, 1, 0, 0, 0, 0, 1, 8, 0];
    packet(out, 0, &[&[COM_STMT_EXECUTE], &statement.to_le_bytes(), &fixed, &parameter.to_le_bytes()]);
}

/// COM_QUIT.
pub fn quit(out: &mut Vec<u8>) {
    packet(out, 0, &[&[COM_QUIT]]);
}

/// Reads an ERR packet.
pub fn parse_error(payload: &[u8]) -> Fault {
    let Some(code) = payload.get(1..3) else { return Fault::Protocol("an ERR packet is cut short") };
    let text = &payload[3..];
    // `#` and five characters of SQLSTATE, absent before the login.
    let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    Fault::Server {
        code: u16::from_le_bytes([code[0], code[1]]),
        message: String::from_utf8_lossy(text).into_owned(),
    }
}

/// A length-encoded integer and the bytes after it.
pub fn length_encoded(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => return Some((u64::from(*first), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(width)?;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(number);
    Some((u64::from_le_bytes(wide), rest))
}

/// Which reply is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// OK, ERR or the column count.
    First,
    /// As `First`, in answer to a prepare.
    FirstOfPrepare,
    /// Definitions left, then rows.
    Columns(u64),
    /// Definitions left, then the end.
    PrepareBlocks(u32),
    Rows,
    Done,
}

/// Finds the end of one reply.
#[derive(Debug)]
pub struct ReplyTracker {
    stage: Stage,
    reply: Reply,
    header: [u8; 4],
    header_bytes: usize,
    payload_left: usize,
    /// The packet being read continues a message of more than 16 MiB.
    continues: bool,
    /// Start of the message being read, when it is one that matters.
    kept: Vec<u8>,
    keep: bool,
    /// A row, told apart by its first byte.
    is_row: bool,
}

impl ReplyTracker {
    /// Awaits the reply to COM_QUERY or COM_STMT_EXECUTE.
    pub fn new() -> Self {
        Self {
            stage: Stage::First,
            reply: Reply::default(),
            header: [0; 4],
            header_bytes: 0,
            payload_left: 0,
            continues: false,
            kept: Vec::new(),
            keep: false,
            is_row: false,
        }
    }

    /// Awaits the reply to COM_STMT_PREPARE.
    pub fn for_prepare() -> Self {
        Self { stage: Stage::FirstOfPrepare, ..Self::new() }
    }

    /// Takes the next bytes; the reply, once its last byte was among them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Reply>, Fault> {
        self.reply.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.stage == Stage::Done {
                return Err(Fault::Protocol("bytes after the end of the reply"));
            }
            if self.header_bytes < 4 {
                let take = bytes.len().min(4 - self.header_bytes);
                self.header[self.header_bytes..self.header_bytes + take].copy_from_slice(&bytes[..take]);
                self.header_bytes += take;
                bytes = &bytes[take..];
                if self.header_bytes < 4 {
                    break;
                }
                self.payload_left = self.length();
                if self.payload_left == 0 {
                    if !self.continues {
                        self.kept.clear();
                    }
                    self.end_of_packet()?;
                }
                continue;
            }
            let length = self.length();
            if self.payload_left == length && !self.continues {
                self.begin_message(bytes[0], length);
            }
            let take = bytes.len().min(self.payload_left);
            if self.keep {
                let room = KEPT_BYTES_MAX - self.kept.len();
                self.kept.extend_from_slice(&bytes[..take.min(room)]);
            }
            self.payload_left -= take;
            bytes = &bytes[take..];
            if self.payload_left == 0 {
                self.end_of_packet()?;
            }
        }
        Ok((self.stage == Stage::Done).then(|| std::mem::take(&mut self.reply)))
    }

    fn length(&self) -> usize {
        u32::from_le_bytes([self.header[0], self.header[1], self.header[2], 0]) as usize
    }

    fn begin_message(&mut self, first: u8, length: usize) {
        // A row may begin with 0xfe too, but only when its first value needs an eight-byte length.
        let ends = first == 0xff || (first == 0xfe && length < PAYLOAD_MAX);
        self.is_row = self.stage == Stage::Rows && !ends;
        self.keep = match self.stage {
            Stage::Columns(_) | Stage::PrepareBlocks(_) => false,
            Stage::Rows => ends || self.reply.rows == 0,
            _ => true,
        };
        self.kept.clear();
    }

    fn end_of_packet(&mut self) -> Result<(), Fault> {
        self.header_bytes = 0;
        self.continues = self.length() == PAYLOAD_MAX;
        if self.continues {
            return Ok(());
        }
        if self.is_row {
            if self.reply.rows == 0 {
                self.reply.first_row = std::mem::take(&mut self.kept);
            }
            self.reply.rows += 1;
            self.is_row = false;
            return Ok(());
        }
        self.stage = self.next_stage()?;
        Ok(())
    }

    fn next_stage(&mut self) -> Result<Stage, Fault> {
        let first = self.kept.first().copied();
        match self.stage {
            Stage::Columns(1) => Ok(Stage::Rows),
            Stage::Columns(left) => Ok(Stage::Columns(left - 1)),
            Stage::PrepareBlocks(1) => Ok(Stage::Done),
            Stage::PrepareBlocks(left) => Ok(Stage::PrepareBlocks(left - 1)),
            Stage::Done => Err(Fault::Protocol("bytes after the end of the reply")),
            _ if first == Some(0xff) => Err(parse_error(&self.kept)),
            Stage::FirstOfPrepare => self.prepared(),
            Stage::First if first == Some(0) => self.end_of_result(),
            Stage::First => match length_encoded(&self.kept) {
                Some((columns, _)) if columns > 0 => Ok(Stage::Columns(columns)),
                _ => Err(Fault::Protocol("neither OK, ERR nor a column count")),
            },
            Stage::Rows => self.end_of_result(),
        }
    }

    /// After OK: the end, unless the status flags promise another result.
    fn end_of_result(&mut self) -> Result<Stage, Fault> {
        let status = length_encoded(self.kept.get(1..).unwrap_or_default())
            .and_then(|(_, rest)| length_encoded(rest))
            .and_then(|(_, rest)| rest.get(..2))
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .ok_or(Fault::Protocol("an OK packet is cut short"))?;
        self.reply.ok = std::mem::take(&mut self.kept);
        Ok(if status & SERVER_MORE_RESULTS_EXISTS != 0 { Stage::First } else { Stage::Done })
    }

    fn prepared(&mut self) -> Result<Stage, Fault> {
        let [0, _, _, _, _, columns_low, columns_high, parameters_low, parameters_high, ..] = self.kept[..]
        else {
            return Err(Fault::Protocol("the answer to a prepare is not understood"));
        };
        let columns = u16::from_le_bytes([columns_low, columns_high]);
        let parameters = u16::from_le_bytes([parameters_low, parameters_high]);
        self.reply.ok = std::mem::take(&mut self.kept);
        let blocks = u32::from(columns) + u32::from(parameters);
        Ok(if blocks == 0 { Stage::Done } else { Stage::PrepareBlocks(blocks) })
    }
}
