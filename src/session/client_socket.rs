//! The client's side of a session: its socket and what came from it.

use std::io;

use crate::net::{Inbox, Stream};
use crate::wire::frame::{HEADER_BYTES, Header, PacketTail, write_packet};
use crate::wire::response::ErrInfo;
use crate::wire::{BadFrame, command::Command};

use super::ending::Ending;

/// As much of a command as is looked at before it goes on its way. What is longer is relayed in pieces.
pub const COMMAND_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The client's side of a session.
#[derive(Debug)]
pub struct ClientSocket {
    /// The socket.
    pub stream: Stream,
    /// What came and was not used yet.
    pub inbox: Inbox,
}

/// A command of which the head is in the inbox, behind its frame header.
#[derive(Debug, Clone, Copy)]
pub struct Incoming {
    /// Header of its first frame.
    pub header: Header,
    /// Which command.
    pub command: Command,
    /// Payload bytes in the inbox: all, or `COMMAND_HEAD_BYTES_MAX`.
    pub head_len: usize,
}

impl Incoming {
    /// Whether the whole command is in the inbox.
    pub fn is_whole(&self) -> bool {
        self.head_len == self.header.len && !self.header.continues()
    }

    /// Bytes of the inbox that are the head with its header.
    pub fn span(&self) -> usize {
        HEADER_BYTES + self.head_len
    }

    /// What follows the head.
    pub fn tail(&self) -> PacketTail {
        PacketTail::after(self.header, self.head_len)
    }
}

impl ClientSocket {
    /// Nothing came yet.
    pub fn new(stream: Stream) -> Self {
        Self { stream, inbox: Inbox::new() }
    }

    /// The next command if enough of it is in the inbox.
    pub fn incoming(&self) -> Result<Option<Incoming>, BadFrame> {
        let Some(header) = Header::read(self.inbox.bytes()) else { return Ok(None) };
        if header.seq != 0 {
            return Err(BadFrame::SequenceGap { want: 0, got: header.seq });
        }
        if header.len == 0 {
            return Err(BadFrame::Empty { what: "command" });
        }
        let head_len = header.len.min(COMMAND_HEAD_BYTES_MAX);
        let payload = &self.inbox.bytes()[HEADER_BYTES..];
        if payload.len() < head_len {
            return Ok(None);
        }
        Ok(Some(Incoming { header, command: Command::from_byte(payload[0]), head_len }))
    }

    /// The head of a command, without its header.
    pub fn head(&self, incoming: &Incoming) -> &[u8] {
        &self.inbox.bytes()[HEADER_BYTES..incoming.span()]
    }

    /// Reads once; a closed connection is an ending.
    pub async fn fill(&mut self) -> Result<(), Ending> {
        if self.inbox.fill(&mut self.stream).await? == 0 {
            return Err(Ending::ClientVanished);
        }
        Ok(())
    }

    /// Takes a command out of the stream without using it; returns what its reply begins with.
    pub async fn skip(&mut self, incoming: &Incoming) -> Result<u8, Ending> {
        self.inbox.consume(incoming.span());
        let mut tail = incoming.tail();
        self.skip_tail(&mut tail).await?;
        Ok(tail.next_seq())
    }

    /// Takes the rest of a packet out of the stream without using it; returns the next sequence number.
    pub async fn skip_tail(&mut self, tail: &mut PacketTail) -> Result<u8, Ending> {
        while !tail.is_done() {
            if self.inbox.is_empty() {
                self.fill().await?;
            }
            let taken = tail.feed(self.inbox.bytes())?;
            self.inbox.consume(taken);
        }
        Ok(tail.next_seq())
    }

    /// Sends one packet.
    pub async fn send_packet(&mut self, seq: u8, payload: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
        write_packet(&mut out, seq, payload);
        self.stream.send(&out).await
    }

    /// Sends an ERR.
    pub async fn send_err(&mut self, seq: u8, err: &ErrInfo) -> io::Result<()> {
        self.send_packet(seq, &err.payload()).await
    }
}
