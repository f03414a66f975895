//! Owns a backend without a database's noise: it relays to the real Dolt, but answers the benchmark's own two
//! statements itself, from memory. Logins and whatever a proxy asks on its own behalf are thus always answered for real.
//! Does not parse SQL: a statement is ours if it names the marker.
//! Always: a canned answer is sent only when nothing relayed is outstanding, which holds for clients that do not pipeline.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Names the point select; its table exists in Dolt as well.
pub const POINT_TABLE: &str = "canned_point";
/// Names the large result with rows of 16 KiB.
pub const WIDE_TABLE: &str = "canned_wide";
/// Names the large result with rows of 128 bytes, where a proxy has far more packets to follow.
pub const NARROW_TABLE: &str = "canned_narrow";
/// Row payloads, chosen so that all 256 sequence numbers fit into a block that stays in the CPU's cache.
pub const WIDE_ROW_BYTES: usize = 16 << 10;
pub const NARROW_ROW_BYTES: usize = 128;

const COM_QUERY: u8 = 3;
const RELAY_BUFFER_BYTES: usize = 64 << 10;
const TYPE_BLOB: u8 = 0xfc;

/// Rows that make up `bytes` of row payloads; whole blocks only.
pub fn rows_for(bytes: u64, row_bytes: usize) -> u64 {
    (bytes / row_bytes as u64 / 256).max(1) * 256
}

/// Pre-made bytes.
struct Answers {
    point: Vec<u8>,
    wide: Stream,
    narrow: Stream,
}

/// A result set: head, the same block of 256 rows again and again, tail.
struct Stream {
    head: Vec<u8>,
    block: Vec<u8>,
    blocks: u64,
    tail: Vec<u8>,
}

impl Stream {
    fn new(bytes: u64, row_bytes: usize) -> Self {
        let head = result_head();
        let first = head.1;
        let row = text_row(row_bytes);
        let mut block = Vec::with_capacity(256 * (row_bytes + 4));
        (0..=255u8).for_each(|offset| push_packet(&mut block, first.wrapping_add(offset), &row));
        let mut tail = Vec::new();
        push_packet(&mut tail, first, &END_OF_RESULT);
        Self { head: head.0, block, blocks: rows_for(bytes, row_bytes) / 256, tail }
    }

    fn send(&self, client: &mut TcpStream) -> io::Result<()> {
        client.write_all(&self.head)?;
        (0..self.blocks).try_for_each(|_| client.write_all(&self.block))?;
        client.write_all(&self.tail)
    }
}

/// OK in the place of EOF: nothing affected, autocommit, no warnings.
const END_OF_RESULT: [u8; 7] = [0xfe, 0, 0, 2, 0, 0, 0];

/// Starts the backend; it serves until the process ends.
pub fn start(dolt: SocketAddr, large_bytes: u64) -> Result<SocketAddr, String> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("canned backend: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("canned backend: {error}"))?;
    let answers = Arc::new(Answers {
        point: point_answer(),
        wide: Stream::new(large_bytes, WIDE_ROW_BYTES),
        narrow: Stream::new(large_bytes, NARROW_ROW_BYTES),
    });
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let answers = Arc::clone(&answers);
            // Its peer sees the connection close; there is nobody else to tell.
            thread::spawn(move || drop(serve(client, dolt, &answers)));
        }
    });
    Ok(address)
}

fn serve(mut client: TcpStream, dolt: SocketAddr, answers: &Answers) -> io::Result<()> {
    let mut server = TcpStream::connect(dolt)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        drop(copy(&mut from_server, &mut to_client));
        drop(to_client.shutdown(Shutdown::Both));
    });
    let done = commands(&mut client, &mut server, answers);
    drop(server.shutdown(Shutdown::Both));
    done
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; RELAY_BUFFER_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

/// Packet by packet from the client: ours are answered, the others go on.
fn commands(client: &mut TcpStream, server: &mut TcpStream, answers: &Answers) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(RELAY_BUFFER_BYTES);
    let mut chunk = vec![0; RELAY_BUFFER_BYTES];
    loop {
        while let Some(length) = packet_length(&buffer).filter(|length| buffer.len() >= *length) {
            let packet = &buffer[..length];
            // Only a command begins with sequence number 0; the login's packets do not.
            match ours(packet) {
                Some(Canned::Point) => client.write_all(&answers.point)?,
                Some(Canned::Wide) => answers.wide.send(client)?,
                Some(Canned::Narrow) => answers.narrow.send(client)?,
                None => server.write_all(packet)?,
            }
            buffer.drain(..length);
        }
        match client.read(&mut chunk)? {
            0 => return Ok(()),
            length => buffer.extend_from_slice(&chunk[..length]),
        }
    }
}

fn packet_length(buffer: &[u8]) -> Option<usize> {
    let header = buffer.get(..4)?;
    Some(4 + u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize)
}

enum Canned {
    Point,
    Wide,
    Narrow,
}

fn ours(packet: &[u8]) -> Option<Canned> {
    let (&[_, _, _, 0, COM_QUERY], sql) = packet.split_first_chunk::<5>()? else { return None };
    let names = |marker: &str| sql.windows(marker.len()).any(|window| window == marker.as_bytes());
    // Only the statements proper, not what a proxy may ask about their tables.
    if !sql.starts_with(b"SELECT body FROM canned_") {
        None
    } else if names(POINT_TABLE) {
        Some(Canned::Point)
    } else if names(WIDE_TABLE) {
        Some(Canned::Wide)
    } else {
        names(NARROW_TABLE).then_some(Canned::Narrow)
    }
}

/// The statement that gets the canned answer of this table.
pub fn statement(table: &str) -> String {
    format!("SELECT body FROM {table} WHERE id = {{id}}")
}

fn point_answer() -> Vec<u8> {
    let (mut answer, sequence) = result_head();
    push_packet(&mut answer, sequence, &text_row(100));
    push_packet(&mut answer, sequence.wrapping_add(1), &END_OF_RESULT);
    answer
}

/// Column count and one definition; also the next sequence number.
fn result_head() -> (Vec<u8>, u8) {
    let mut definition = Vec::new();
    for name in ["def", "bench", POINT_TABLE, POINT_TABLE, "body", "body"] {
        definition.push(name.len() as u8);
        definition.extend_from_slice(name.as_bytes());
    }
    // Length of what follows, character set binary, length, type, flags, decimals, filler.
    definition.extend_from_slice(&[0x0c, 63, 0, 0xff, 0xff, 0xff, 0, TYPE_BLOB, 0x80, 0, 0, 0, 0]);
    let mut head = Vec::new();
    push_packet(&mut head, 1, &[1]);
    push_packet(&mut head, 2, &definition);
    (head, 3)
}

/// A row of one value whose packet's payload is `bytes` long.
fn text_row(bytes: usize) -> Vec<u8> {
    let mut row = Vec::with_capacity(bytes);
    if bytes <= 251 {
        row.push((bytes - 1) as u8);
    } else {
        row.push(0xfc);
        row.extend_from_slice(&((bytes - 3) as u16).to_le_bytes());
    }
    row.resize(bytes, b'x');
    row
}

fn push_packet(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
    out.push(sequence);
    out.extend_from_slice(payload);
}
