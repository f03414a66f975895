//! Small text results, read whole: the answers to our own questions on a backend.
//! Does not: relay. Always: bounded by what the caller buffered.

use super::frame::{HEADER_BYTES, Header};
use super::lenenc;
use super::response;

/// The rows of the first result set in `reply`, which must hold it whole; `None` if it doesn't or if it
/// isn't a result set. NULL is `None`.
pub fn read_text_rows(reply: &[u8], deprecate_eof: bool) -> Option<Vec<Vec<Option<String>>>> {
    let mut packets = Packets(reply);
    let (columns, _) = lenenc::read_int(packets.next()?)?;
    if columns == 0 {
        return None;
    }
    for _ in 0..columns {
        packets.next()?;
    }
    if !deprecate_eof {
        packets.next()?;
    }
    let mut rows = Vec::new();
    loop {
        let packet = packets.next()?;
        match *packet.first()? {
            response::EOF if packet.len() < 9 => return Some(rows),
            response::ERR => return None,
            _ => rows.push(read_row(packet, columns)?),
        }
    }
}

fn read_row(mut packet: &[u8], columns: u64) -> Option<Vec<Option<String>>> {
    let mut row = Vec::new();
    for _ in 0..columns {
        if let [0xfb, rest @ ..] = packet {
            row.push(None);
            packet = rest;
        } else {
            let (value, width) = lenenc::read_bytes(packet)?;
            row.push(Some(String::from_utf8_lossy(value).into_owned()));
            packet = &packet[width..];
        }
    }
    Some(row)
}

struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let header = Header::read(self.0)?;
        let end = HEADER_BYTES + header.len;
        let payload = self.0.get(HEADER_BYTES..end)?;
        self.0 = &self.0[end..];
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::write_packet;
    use proptest::prelude::*;

    #[test]
    fn two_rows_with_a_null() {
        for deprecate_eof in [true, false] {
            let mut reply = Vec::new();
            let mut seq = 1;
            let mut packet = |payload: &[u8]| seq = write_packet(&mut reply, seq, payload);
            packet(&[2]);
            packet(b"\x03def column 1");
            packet(b"\x03def column 2");
            if !deprecate_eof {
                packet(&[0xfe, 0, 0, 2, 0]);
            }
            packet(b"\x01a\xfb");
            packet(b"\x00\x02bc");
            packet(&[0xfe, 0, 0, 2, 0]);
            let text = |s: &str| Some(s.to_owned());
            assert_eq!(
                read_text_rows(&reply, deprecate_eof),
                Some(vec![vec![text("a"), None], vec![text(""), text("bc")]])
            );
            assert_eq!(read_text_rows(&reply[..reply.len() - 1], deprecate_eof), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, deprecate_eof: bool) {
            let _ = read_text_rows(&bytes, deprecate_eof);
        }
    }
}
