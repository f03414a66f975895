//! Where packets and replies begin in the bytes between Dolt and its client, and so where a trap closes.
//! Does not read, write or wait. Always: a packet passes when its header is whole; a request, when it is whole.

use std::sync::Mutex;

use super::{At, Orders, Passed, lock};

const HEADER_BYTES: usize = 4;
const COM_QUIT: u8 = 0x01;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;

/// Which reply of a connection is to be cut, counted from 1, and before which of its bytes.
type Mark = Option<(u64, usize)>;

/// The client's side of a connection.
pub struct Requests<'a> {
    orders: &'a Mutex<Orders>,
    mark: &'a Mutex<Mark>,
    pending: Vec<u8>,
    /// Requests so far that get a reply.
    answered: u64,
}

impl<'a> Requests<'a> {
    pub fn new(orders: &'a Mutex<Orders>, mark: &'a Mutex<Mark>) -> Self {
        Self { orders, mark, pending: Vec::new(), answered: 0 }
    }

    /// Takes what was read; hands on whole packets.
    pub fn on(&mut self, bytes: &[u8]) -> Passed {
        self.pending.extend_from_slice(bytes);
        let mut passed = Passed::default();
        while let Some(len) = frame_bytes(&self.pending).filter(|len| self.pending.len() >= *len) {
            let frame: Vec<u8> = self.pending.drain(..len).collect();
            let pass = self.on_frame(&frame);
            passed.bytes.extend_from_slice(&frame[..pass.unwrap_or(len)]);
            if pass.is_some() {
                passed.cut = true;
                break;
            }
        }
        passed
    }

    /// How much of it passes, if the connection is cut there.
    fn on_frame(&mut self, frame: &[u8]) -> Option<usize> {
        let (header, payload) = frame.split_at(HEADER_BYTES);
        // Commands begin at 0; what follows the greeting, and the rest of a long packet, does not.
        if header[3] != 0 {
            return None;
        }
        let unanswered = [COM_QUIT, COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE];
        let is_answered = payload.first().is_some_and(|command| !unanswered.contains(command));
        self.answered += u64::from(is_answered);
        let mut orders = lock(self.orders);
        let trap = orders.trap.as_mut()?;
        if !is_answered || !payload.windows(trap.text.len()).any(|part| part == trap.text) {
            return None;
        }
        let at = trap.at;
        trap.times -= 1;
        if trap.times == 0 {
            orders.trap = None;
        }
        orders.matched += 1;
        orders.request_bytes = frame.len();
        match at {
            At::Request(before) => {
                orders.cuts += 1;
                Some(before.min(frame.len()))
            }
            At::Reply(before) => {
                *lock(self.mark) = Some((self.answered, before));
                None
            }
        }
    }
}

/// Dolt's side of a connection.
pub struct Replies<'a> {
    orders: &'a Mutex<Orders>,
    mark: &'a Mutex<Mark>,
    /// A header that is not whole yet.
    header: Vec<u8>,
    /// Of the packet that is passing.
    left: usize,
    last_seq: Option<u8>,
    /// Replies that have begun.
    replies: u64,
    /// Of the last one, passed.
    reply_bytes: usize,
}

impl<'a> Replies<'a> {
    pub fn new(orders: &'a Mutex<Orders>, mark: &'a Mutex<Mark>) -> Self {
        Self { orders, mark, header: Vec::new(), left: 0, last_seq: None, replies: 0, reply_bytes: 0 }
    }

    /// Takes what was read; holds nothing back but the beginning of a header.
    pub fn on(&mut self, mut bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        while !bytes.is_empty() {
            if self.left == 0 {
                let (now, later) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header.len()));
                self.header.extend_from_slice(now);
                bytes = later;
                if let Some(len) = frame_bytes(&self.header) {
                    let header = std::mem::take(&mut self.header);
                    self.begin(header[3]);
                    self.left = len - HEADER_BYTES;
                    if self.pass(&header, &mut passed) {
                        return passed;
                    }
                }
            } else {
                let (now, later) = bytes.split_at(bytes.len().min(self.left));
                (bytes, self.left) = (later, self.left - now.len());
                if self.pass(now, &mut passed) {
                    return passed;
                }
            }
        }
        passed
    }

    fn begin(&mut self, seq: u8) {
        // A reply begins at 1; one of 256 packets comes by there again, after 0.
        if seq == 1 && self.last_seq != Some(0) {
            self.replies += 1;
            self.reply_bytes = 0;
        }
        self.last_seq = Some(seq);
    }

    fn pass(&mut self, bytes: &[u8], to: &mut Passed) -> bool {
        let mark = lock(self.mark).filter(|(reply, _)| *reply == self.replies);
        let room = mark.map_or(usize::MAX, |(_, before)| before - self.reply_bytes.min(before));
        let count = bytes.len().min(room);
        to.bytes.extend_from_slice(&bytes[..count]);
        self.reply_bytes += count;
        to.cut = count < bytes.len();
        if to.cut {
            lock(self.orders).cuts += 1;
        }
        to.cut
    }
}

/// Of the frame that `bytes` begins with, header included.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, _] = *bytes.first_chunk::<HEADER_BYTES>()?;
    Some(HEADER_BYTES + u32::from_le_bytes([a, b, c, 0]) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::Trap;
    use super::*;

    fn frame(seq: u8, payload: &[u8]) -> Vec<u8> {
        [&[payload.len() as u8, 0, 0, seq], payload].concat()
    }

    fn orders(at: At) -> Mutex<Orders> {
        Mutex::new(Orders {
            trap: Some(Trap { text: b"COMMIT".to_vec(), at, times: 1 }),
            ..Orders::default()
        })
    }

    #[test]
    fn a_request_is_cut_at_its_byte_however_it_comes() {
        let (login, first, commit) =
            (frame(1, b"\x03COMMIT"), frame(0, b"\x03SELECT"), frame(0, b"\x03COMMIT"));
        let sent = [login.clone(), first.clone(), commit.clone(), frame(0, b"\x03COMMIT")].concat();
        for (before, step) in (0..=commit.len()).flat_map(|before| [1, 5, 100].map(|step| (before, step))) {
            let (orders, mark) = (orders(At::Request(before)), Mutex::new(None));
            let mut requests = Requests::new(&orders, &mark);
            let mut through = Vec::new();
            let cut = sent.chunks(step).any(|chunk| {
                let passed = requests.on(chunk);
                through.extend(passed.bytes);
                passed.cut
            });
            assert!(cut);
            assert_eq!(through, sent[..login.len() + first.len() + before], "{before} {step}");
            assert_eq!(lock(&orders).request_bytes, commit.len());
        }
    }

    #[test]
    fn the_reply_that_belongs_to_the_request_is_cut() {
        // Two in one write, and one that gets no reply before them.
        let sent = [frame(0, b"\x19\x01\0\0\0"), frame(0, b"\x03BEGIN"), frame(0, b"\x03COMMIT")].concat();
        let mut rows = frame(1, b"\x01");
        // As many packets as make the numbers begin again.
        rows.extend((2..=256_u16).flat_map(|seq| frame(seq as u8, b"row")));
        rows.extend((1..=5).flat_map(|seq| frame(seq, b"row")));
        let wanted = frame(1, b"\0\0\0\x02\0\0\0");
        let before = [frame(0, b"greeting"), frame(2, b"\0"), rows].concat();
        let answered = [before.clone(), wanted.clone(), frame(1, b"more")].concat();
        for (at, step) in (0..wanted.len()).flat_map(|at| [1, 3, 10_000].map(|step| (at, step))) {
            let (orders, mark) = (orders(At::Reply(at)), Mutex::new(None));
            let passed = Requests::new(&orders, &mark).on(&sent);
            assert!(!passed.cut && passed.bytes == sent);
            let mut replies = Replies::new(&orders, &mark);
            let mut through = Vec::new();
            let cut = answered.chunks(step).any(|chunk| {
                let passed = replies.on(chunk);
                through.extend(passed.bytes);
                passed.cut
            });
            assert!(cut);
            assert_eq!(through, answered[..before.len() + at], "{at} {step}");
        }
    }
}
