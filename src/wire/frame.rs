//! Frames: a three-byte length, a sequence number, a payload. A payload of 16 MiB - 1 is continued in
//! the next frame, so that a packet may be any number of frames.
//! Source: MySQL protocol documentation, "MySQL Packets".

use super::BadFrame;

/// Length and sequence number before each payload.
pub const HEADER_BYTES: usize = 4;
/// Longest payload of one frame; a frame of just this length is continued.
pub const PAYLOAD_BYTES_MAX: usize = 0xff_ffff;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload length in bytes.
    pub len: usize,
    /// Sequence number.
    pub seq: u8,
}

impl Header {
    /// Reads one; `None` while fewer than four bytes are there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, seq] = *bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self { len: u32::from_le_bytes([a, b, c, 0]) as usize, seq })
    }

    /// The four bytes. `len` must fit a frame.
    pub fn bytes(self) -> [u8; HEADER_BYTES] {
        debug_assert!(self.len <= PAYLOAD_BYTES_MAX);
        let [a, b, c, _] = (self.len as u32).to_le_bytes();
        [a, b, c, self.seq]
    }

    /// Whether the packet goes on in the next frame.
    pub fn continues(self) -> bool {
        self.len == PAYLOAD_BYTES_MAX
    }
}

/// Appends a packet as frames that begin with `seq`; returns the next sequence number.
pub fn write_packet(out: &mut Vec<u8>, mut seq: u8, payload: &[u8]) -> u8 {
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
        out.extend_from_slice(&Header { len: now.len(), seq }.bytes());
        out.extend_from_slice(now);
        seq = seq.wrapping_add(1);
        if now.len() < PAYLOAD_BYTES_MAX {
            return seq;
        }
        rest = later;
    }
}

/// Follows a stream of frames that is passed on unread, and tells where its packet ends.
///
/// Used for a command longer than its buffered head and for the client's side of LOAD DATA LOCAL.
#[derive(Debug, Clone)]
pub struct PacketTail {
    /// Payload bytes of the current frame still to come.
    left: usize,
    /// Whether the current frame is continued by another one.
    continues: bool,
    /// The next frame's header, as far as it came.
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// The next frame's sequence number.
    seq: u8,
    done: bool,
}

impl PacketTail {
    /// The tail of a packet whose frame `header` was seen and of whose payload `seen` bytes came.
    pub fn after(header: Header, seen: usize) -> Self {
        let left = header.len.saturating_sub(seen);
        Self {
            left,
            continues: header.continues(),
            header: [0; HEADER_BYTES],
            header_len: 0,
            seq: header.seq.wrapping_add(1),
            done: left == 0 && !header.continues(),
        }
    }

    /// A packet of which nothing came yet; its first frame must have sequence number `seq`.
    pub fn expecting(seq: u8) -> Self {
        Self { left: 0, continues: true, header: [0; HEADER_BYTES], header_len: 0, seq, done: false }
    }

    /// Whether the packet is complete.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The sequence number after the packet's last frame.
    pub fn next_seq(&self) -> u8 {
        self.seq
    }

    /// Takes what belongs to this packet from the front of `bytes`; returns how much that is.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, BadFrame> {
        let mut at = 0;
        while !self.done && at < bytes.len() {
            if self.left > 0 {
                let now = self.left.min(bytes.len() - at);
                self.left -= now;
                at += now;
            } else {
                self.header[self.header_len] = bytes[at];
                self.header_len += 1;
                at += 1;
                if self.header_len == HEADER_BYTES {
                    self.header_len = 0;
                    let header = Header {
                        len: u32::from_le_bytes([self.header[0], self.header[1], self.header[2], 0]) as usize,
                        seq: self.header[3],
                    };
                    if header.seq != self.seq {
                        return Err(BadFrame::SequenceGap { want: self.seq, got: header.seq });
                    }
                    self.seq = self.seq.wrapping_add(1);
                    self.left = header.len;
                    self.continues = header.continues();
                }
            }
            self.done = self.left == 0 && self.header_len == 0 && !self.continues;
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_of_exactly_one_frame_is_followed_by_an_empty_one() {
        let mut out = Vec::new();
        let next = write_packet(&mut out, 254, &vec![7; PAYLOAD_BYTES_MAX]);
        assert_eq!(next, 0);
        assert_eq!(out.len(), PAYLOAD_BYTES_MAX + 2 * HEADER_BYTES);
        assert_eq!(Header::read(&out[PAYLOAD_BYTES_MAX + HEADER_BYTES..]), Some(Header { len: 0, seq: 255 }));
    }

    #[test]
    fn an_empty_packet_is_complete_after_its_header() {
        let mut tail = PacketTail::expecting(3);
        assert_eq!(tail.feed(&[0, 0, 0, 3, 9, 9]), Ok(4));
        assert!(tail.is_done());
        assert_eq!(tail.next_seq(), 4);
    }

    #[test]
    fn a_wrong_sequence_number_is_named() {
        let mut tail = PacketTail::expecting(3);
        assert_eq!(tail.feed(&[0, 0, 0, 4]), Err(BadFrame::SequenceGap { want: 3, got: 4 }));
    }

    proptest! {
        #[test]
        fn cut_anywhere_the_tail_ends_at_the_same_byte(len in 0usize..200, seq: u8, cuts in prop::collection::vec(1usize..9, 0..40), extra in 0usize..9) {
            let mut stream = Vec::new();
            let next = write_packet(&mut stream, seq, &vec![1; len]);
            let end = stream.len();
            stream.extend(vec![0xEE; extra]);
            let mut tail = PacketTail::expecting(seq);
            let (mut at, mut cuts) = (0, cuts.into_iter());
            while !tail.is_done() && at < stream.len() {
                let upto = (at + cuts.next().unwrap_or(13)).min(stream.len());
                at += tail.feed(&stream[at..upto]).unwrap();
            }
            prop_assert!(tail.is_done());
            prop_assert_eq!(at, end);
            prop_assert_eq!(tail.next_seq(), next);
        }
    }
}
