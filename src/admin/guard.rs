//! Owns what may reach opensrv-mysql 0.7: at most one whole client packet per read, well-formed and in order.
//!
//! opensrv replaces its read buffer while a packet still borrows it when a read brought more than one packet
//! (a use-after-free), panics on sequence number 255, accepts any password by default, answers commands that it
//! doesn't know with OK and drops the connection on text that is not UTF-8. None of that can be reached behind this.
//!
//! Does not run commands. Always: bytes of the next packet stay in the socket until this one was handed over.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mysql_common::constants::CapabilityFlags;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Longest client packet; commands are short, and nobody may make the console hold more.
pub const PACKET_BYTES_MAX: usize = 256 * 1024;
/// From the greeting to the end of authentication, and from the first byte of a packet to its last.
pub const PACKET_TIMEOUT: Duration = Duration::from_secs(10);
/// A query that begins so was put there by the guard; what follows says what the client really sent.
pub const REFUSED_PREFIX: &str = "\0refused: ";

const COM_QUIT: u8 = 0x01;
const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_FIELD_LIST: u8 = 0x04;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_RESET: u8 = 0x1a;
const COM_RESET_CONNECTION: u8 = 0x1f;

/// Why the guard ended a connection; inside an `io::Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A password was sent: `seq` is the sequence number for the answer.
    PasswordSent {
        /// Sequence number of the ERR packet.
        seq: u8,
    },
    /// The client broke the protocol.
    Protocol(String),
    /// Half a packet, or no handshake response, and then silence.
    TimedOut,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::PasswordSent { .. } => f.write_str("a password was sent"),
            Ended::Protocol(what) => f.write_str(what),
            Ended::TimedOut => write!(f, "no whole packet within {} s", PACKET_TIMEOUT.as_secs()),
        }
    }
}

impl std::error::Error for Ended {}

/// Where the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshake,
    /// The next packet is the first command, or the answer to an auth switch.
    AfterHandshake,
    Commands,
}

/// An `AsyncRead` that hands on one checked packet at a time.
pub struct Guard<R> {
    inner: R,
    phase: Phase,
    /// Set by the shim: from then on a silent client is only idle.
    authenticated: Arc<AtomicBool>,
    /// Header and payload of the packet being read.
    packet: Vec<u8>,
    filled: usize,
    /// How much of a complete packet was handed on; `None` while it is being read.
    handed: Option<usize>,
    deadline: Pin<Box<Sleep>>,
    deadline_set: bool,
}

impl<R: AsyncRead + Unpin> Guard<R> {
    /// The time for the handshake response starts now.
    pub fn new(inner: R, authenticated: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            phase: Phase::Handshake,
            authenticated,
            packet: vec![0; 4],
            filled: 0,
            handed: None,
            deadline: Box::pin(tokio::time::sleep(PACKET_TIMEOUT)),
            deadline_set: true,
        }
    }

    /// Reads until `packet` is full; `Ready(false)` is the end of the stream between packets.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // One deadline covers the whole handshake; after it, each packet has its own.
        if self.filled == 0 && self.authenticated.load(Ordering::Relaxed) {
            self.deadline_set = false;
        }
        loop {
            if self.filled == self.packet.len() {
                if self.filled > 4 || self.payload_len() == 0 {
                    return Poll::Ready(Ok(true));
                }
                let len = self.payload_len();
                if len > PACKET_BYTES_MAX {
                    let what = format!(
                        "a packet of {len} bytes; the console takes at most {PACKET_BYTES_MAX} bytes"
                    );
                    return Poll::Ready(Err(ended(Ended::Protocol(what))));
                }
                self.packet.resize(4 + len, 0);
            }
            // The target ends where the packet ends, so no byte of the next one is ever taken.
            let mut target = ReadBuf::new(&mut self.packet[self.filled..]);
            match Pin::new(&mut self.inner).poll_read(cx, &mut target) {
                Poll::Pending => {
                    ready!(self.poll_deadline(cx));
                    return Poll::Ready(Err(ended(Ended::TimedOut)));
                }
                Poll::Ready(result) => result?,
            }
            let read = target.filled().len();
            if read == 0 {
                return Poll::Ready(if self.filled == 0 {
                    Ok(false)
                } else {
                    Err(ended(Ended::Protocol("the connection ended inside a packet".to_owned())))
                });
            }
            self.filled += read;
        }
    }

    /// Ready when time is up; a clock runs only for the handshake and inside a packet.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.authenticated.load(Ordering::Relaxed) && self.filled == 0 {
            return Poll::Pending;
        }
        if !self.deadline_set {
            self.deadline.as_mut().reset(Instant::now() + PACKET_TIMEOUT);
            self.deadline_set = true;
        }
        self.deadline.as_mut().poll(cx)
    }

    fn payload_len(&self) -> usize {
        u32::from_le_bytes([self.packet[0], self.packet[1], self.packet[2], 0]) as usize
    }

    /// Checks the packet that was read; may replace it.
    fn check(&mut self) -> Result<(), Ended> {
        let seq = self.packet[3];
        match self.phase {
            Phase::Handshake => {
                expect_seq(seq, 1)?;
                check_handshake(&self.packet[4..])?;
                self.phase = Phase::AfterHandshake;
            }
            Phase::AfterHandshake if seq == 3 => {
                check_password(&self.packet[4..], seq)?;
                self.phase = Phase::Commands;
            }
            Phase::AfterHandshake | Phase::Commands => {
                expect_seq(seq, 0)?;
                self.phase = Phase::Commands;
                if let Some(what) = refused(&self.packet[4..])? {
                    self.replace(&what);
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self, what: &str) {
        let text = format!("{REFUSED_PREFIX}{what}");
        let len = (text.len() + 1) as u32;
        self.packet.clear();
        self.packet.extend_from_slice(&len.to_le_bytes()[..3]);
        self.packet.extend_from_slice(&[0, COM_QUERY]);
        self.packet.extend_from_slice(text.as_bytes());
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Guard<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.handed.is_none() {
            if !ready!(this.poll_packet(cx))? {
                return Poll::Ready(Ok(()));
            }
            this.check().map_err(ended)?;
            this.handed = Some(0);
        }
        let handed = this.handed.unwrap_or_default();
        let part = &this.packet[handed..];
        let part = &part[..part.len().min(buf.remaining())];
        buf.put_slice(part);
        let handed = handed + part.len();
        if handed == this.packet.len() {
            this.packet.clear();
            this.packet.resize(4, 0);
            this.packet.shrink_to(4096);
            this.filled = 0;
            this.handed = None;
        } else {
            this.handed = Some(handed);
        }
        Poll::Ready(Ok(()))
    }
}

fn ended(why: Ended) -> io::Error {
    io::Error::other(why)
}

fn expect_seq(got: u8, want: u8) -> Result<(), Ended> {
    if got == want {
        return Ok(());
    }
    Err(Ended::Protocol(format!("packet with sequence number {got} where {want} was due")))
}

/// The password must be empty: nobody shall believe that one is checked.
fn check_handshake(payload: &[u8]) -> Result<(), Ended> {
    let broken = || Ended::Protocol("a handshake response that can't be read".to_owned());
    check_password(auth_response(payload).ok_or_else(broken)?, 1)
}

/// The authentication data of a handshake response (protocol 4.1).
///
/// Not by mysql_common's parser: that one wants the attributes which MariaDB's client announces, but does not send
/// to a server that did not offer CLIENT_CONNECT_ATTRS.
fn auth_response(payload: &[u8]) -> Option<&[u8]> {
    let capabilities = u32::from_le_bytes(*payload.first_chunk()?);
    let has = |flag: CapabilityFlags| capabilities & flag.bits() != 0;
    if !has(CapabilityFlags::CLIENT_PROTOCOL_41) || has(CapabilityFlags::CLIENT_SSL) {
        return None;
    }
    // Capabilities, packet size, collation, filler; then the user, which ends with a NUL.
    let user = payload.get(4 + 4 + 1 + 23..)?;
    let rest = &user[user.iter().position(|byte| *byte == 0)? + 1..];
    if !has(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)
        && !has(CapabilityFlags::CLIENT_SECURE_CONNECTION)
    {
        return rest.iter().position(|byte| *byte == 0).map(|end| &rest[..end]);
    }
    // A length of 251 and more takes more bytes, and no plugin's answer is as long.
    let (len, rest) = rest.split_first().filter(|(len, _)| **len < 0xfb)?;
    rest.get(..usize::from(*len))
}

/// Some plugins send an empty password as a single NUL.
fn check_password(data: &[u8], seq: u8) -> Result<(), Ended> {
    if data.is_empty() || data == [0] { Ok(()) } else { Err(Ended::PasswordSent { seq: seq + 1 }) }
}

/// What is wrong with a command that gets an error for an answer; `Err` where none can be given.
fn refused(payload: &[u8]) -> Result<Option<String>, Ended> {
    let Some((command, rest)) = payload.split_first() else {
        return Ok(Some("an empty command".to_owned()));
    };
    let unknown = || Ok(Some(format!("unknown command 0x{command:02x}; the console takes queries")));
    match *command {
        COM_QUIT | COM_PING | COM_FIELD_LIST | COM_RESET_CONNECTION => Ok(None),
        COM_QUERY | COM_INIT_DB | COM_STMT_PREPARE => {
            Ok(std::str::from_utf8(rest).is_err().then(|| "text that is not UTF-8".to_owned()))
        }
        COM_STMT_EXECUTE if rest.len() >= 9 => Ok(None),
        COM_STMT_CLOSE if rest.len() == 4 => Ok(None),
        COM_STMT_RESET if rest.len() == 4 => Ok(None),
        COM_STMT_CLOSE => Err(Ended::Protocol("COM_STMT_CLOSE of a wrong length".to_owned())),
        // Long data has no answer, so it can't get an error either.
        0x18 => Err(Ended::Protocol("long data, but the console's statements have no parameters".to_owned())),
        _ => unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// A guard past the handshake, and the client's end.
    async fn logged_in() -> (Guard<DuplexStream>, DuplexStream) {
        let (mut client, server) = duplex(1 << 20);
        let mut guard = Guard::new(server, Arc::new(AtomicBool::new(false)));
        let mut response = vec![37, 0, 0, 1, 0, 0x82, 0, 0];
        response.extend_from_slice(&[0; 28]);
        response.extend_from_slice(b"a\0\0\0\0");
        client.write_all(&response).await.unwrap();
        let mut buffer = vec![0; 4096];
        assert_eq!(guard.read(&mut buffer).await.unwrap(), response.len());
        guard.authenticated.store(true, Ordering::Relaxed);
        (guard, client)
    }

    fn ended_by(result: io::Result<usize>) -> Ended {
        result.unwrap_err().get_ref().unwrap().downcast_ref::<Ended>().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_bounded_before_authentication_and_inside_a_packet_only() {
        let (_client, server) = duplex(64);
        let begun = Instant::now();
        let mut buffer = vec![0; 4096];
        let silent = Guard::new(server, Arc::new(AtomicBool::new(false))).read(&mut buffer).await;
        assert_eq!(ended_by(silent), Ended::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PACKET_TIMEOUT.as_secs());

        let (mut guard, mut client) = logged_in().await;
        let hour = Duration::from_secs(3600);
        assert!(
            tokio::time::timeout(hour, guard.read(&mut buffer)).await.is_err(),
            "an idle client was ended"
        );
        client.write_all(&[1, 0, 0]).await.unwrap();
        let begun = Instant::now();
        assert_eq!(ended_by(guard.read(&mut buffer).await), Ended::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PACKET_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn a_read_brings_one_packet_at_most() {
        let (mut guard, mut client) = logged_in().await;
        let packets: [&[u8]; 3] = [b"\x02\0\0\0\x03a", b"\x01\0\0\0\x0e", b"\x05\0\0\0\x03bcde"];
        client.write_all(&packets.concat()).await.unwrap();
        drop(client);
        let mut buffer = vec![0; 4096];
        for packet in packets {
            let read = guard.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], packet);
        }
        assert_eq!(guard.read(&mut buffer).await.unwrap(), 0, "the end");
    }

    #[tokio::test]
    async fn a_small_buffer_gets_a_packet_in_parts() {
        let (mut guard, mut client) = logged_in().await;
        client.write_all(b"\x02\0\0\0\x03a\x01\0\0\0\x0e").await.unwrap();
        let mut parts = Vec::new();
        let mut buffer = [0; 4];
        for _ in 0..4 {
            let read = guard.read(&mut buffer).await.unwrap();
            parts.push(buffer[..read].to_vec());
        }
        assert_eq!(parts, [&b"\x02\0\0\0"[..], b"\x03a", b"\x01\0\0\0", b"\x0e"]);
    }
}
