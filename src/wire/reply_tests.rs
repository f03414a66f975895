use proptest::prelude::*;

use super::super::frame::{PAYLOAD_BYTES_MAX, write_packet};
use super::super::response::{STATUS_CURSOR_EXISTS, STATUS_MORE_RESULTS, ok_payload};
use super::*;

const AUTOCOMMIT: u16 = response::STATUS_AUTOCOMMIT;

/// Builds replies the way a server would.
struct Server {
    out: Vec<u8>,
    seq: u8,
    deprecate_eof: bool,
}

impl Server {
    fn new(deprecate_eof: bool) -> Self {
        Self { out: Vec::new(), seq: 1, deprecate_eof }
    }

    fn packet(&mut self, payload: &[u8]) -> &mut Self {
        self.seq = write_packet(&mut self.out, self.seq, payload);
        self
    }

    fn ok(&mut self, status: u16) -> &mut Self {
        self.packet(&ok_payload(OkInfo { status, ..OkInfo::default() }))
    }

    fn end(&mut self, status: u16) -> &mut Self {
        if self.deprecate_eof {
            let mut payload = ok_payload(OkInfo { status, ..OkInfo::default() });
            payload[0] = response::EOF;
            self.packet(&payload)
        } else {
            self.eof(status)
        }
    }

    fn eof(&mut self, status: u16) -> &mut Self {
        let [s0, s1] = status.to_le_bytes();
        self.packet(&[response::EOF, 0, 0, s0, s1])
    }

    fn columns(&mut self, count: u8) -> &mut Self {
        self.packet(&[count]);
        for _ in 0..count {
            self.packet(b"\x03def\x00\x00\x00\x01a");
        }
        self
    }

    fn result_set(&mut self, rows: &[Vec<u8>], status: u16) -> &mut Self {
        self.columns(2);
        if !self.deprecate_eof {
            self.eof(AUTOCOMMIT);
        }
        for row in rows {
            self.packet(row);
        }
        self.end(status)
    }

    fn err(&mut self) -> &mut Self {
        self.packet(&ErrInfo::new(1062, "23000", "duplicate").payload())
    }
}

/// Everything a session can learn from a tracker.
fn events(tracker: &ReplyTracker) -> (Option<Outcome>, bool, u32, Option<PrepareInfo>, u8, bool) {
    (
        tracker.outcome().cloned(),
        tracker.had_err(),
        tracker.results(),
        tracker.prepared(),
        tracker.next_seq(),
        tracker.at_packet_boundary(),
    )
}

/// Feeds whole, then cut at every byte, then byte by byte: each must end just at the end of `reply`,
/// whatever follows it, with the same events.
fn ends_exactly(expect: Expect, deprecate_eof: bool, reply: &[u8]) -> ReplyTracker {
    let mut stream = reply.to_vec();
    stream.extend_from_slice(b"the next reply");
    let mut whole = ReplyTracker::new(expect, deprecate_eof);
    assert_eq!(whole.feed(&stream), Ok((reply.len(), Progress::Done)));
    let cuts: Vec<usize> = if reply.len() < 4000 {
        (1..reply.len()).collect()
    } else {
        vec![1, 3, 4, 5, reply.len() / 2, reply.len() - 1]
    };
    for cut in cuts {
        let mut tracker = ReplyTracker::new(expect, deprecate_eof);
        assert_eq!(tracker.feed(&stream[..cut]), Ok((cut, Progress::More)), "cut at {cut}");
        assert_eq!(tracker.feed(&stream[cut..]), Ok((reply.len() - cut, Progress::Done)), "cut at {cut}");
        assert_eq!(events(&tracker), events(&whole), "cut at {cut}");
    }
    if reply.len() < 4000 {
        let mut tracker = ReplyTracker::new(expect, deprecate_eof);
        for (at, byte) in reply.iter().enumerate() {
            let want = if at + 1 == reply.len() { Progress::Done } else { Progress::More };
            assert_eq!(tracker.feed(&[*byte]), Ok((1, want)), "byte {at}");
        }
        assert_eq!(events(&tracker), events(&whole));
    }
    whole
}

fn row(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[test]
fn every_kind_of_reply_ends_where_it_ends() {
    for eof in [true, false] {
        let s = || Server::new(eof);
        ends_exactly(Expect::Results, eof, &s().ok(AUTOCOMMIT).out);
        ends_exactly(Expect::Results, eof, &s().err().out);
        ends_exactly(Expect::Results, eof, &s().result_set(&[], AUTOCOMMIT).out);
        ends_exactly(
            Expect::Results,
            eof,
            &s().result_set(&[row(b"\x01a\x01b"), row(b"\xfb\xfb")], AUTOCOMMIT).out,
        );
        // A row may begin with 0xFE or be empty, and must not be taken for EOF.
        let mut long = vec![0xfe, 0, 0, 0, 1, 0, 0, 0, 0];
        long.extend([b'x'; 40]);
        if !eof {
            ends_exactly(Expect::Results, eof, &s().result_set(&[long, row(b"")], AUTOCOMMIT).out);
        }
        // Several results.
        let more = AUTOCOMMIT | STATUS_MORE_RESULTS;
        let multi = ends_exactly(
            Expect::Results,
            eof,
            &s().ok(more).result_set(&[row(b"\x01a\x01b")], more).result_set(&[], more).err().out,
        );
        assert_eq!(multi.results(), 4);
        assert!(multi.had_err());
        // ERR after rows.
        let mut server = s();
        server.columns(1);
        if !eof {
            server.eof(AUTOCOMMIT);
        }
        ends_exactly(Expect::Results, eof, &server.packet(b"\x01a").err().out);
        // A cursor: no rows in the reply.
        let mut server = s();
        server.columns(2);
        ends_exactly(Expect::Results, eof, &server.end(AUTOCOMMIT | STATUS_CURSOR_EXISTS).out);
        // Rows of a cursor.
        ends_exactly(Expect::Rows, eof, &s().packet(b"\x00\x00\x01a").end(AUTOCOMMIT).out);
        // One packet.
        ends_exactly(Expect::One, eof, &s().ok(0).out);
        ends_exactly(Expect::One, eof, &s().err().out);
        ends_exactly(Expect::One, eof, &s().end(0).out);
        ends_exactly(Expect::Reset, eof, &s().ok(0).out);
        let reset = ends_exactly(Expect::Reset, eof, &s().err().ok(0).out);
        assert!(reset.had_err());
        let mut fields = s();
        fields.packet(b"\x03def\x01a").packet(b"\x03def\x01b");
        ends_exactly(Expect::FieldList, eof, &fields.end(AUTOCOMMIT).out);
        ends_exactly(Expect::FieldList, eof, &s().err().out);
    }
}

#[test]
fn prepared_statements_have_two_blocks() {
    for eof in [true, false] {
        for (params, columns) in [(0u16, 0u16), (2, 0), (0, 3), (2, 3)] {
            let mut server = Server::new(eof);
            let [p0, p1] = params.to_le_bytes();
            let [c0, c1] = columns.to_le_bytes();
            server.packet(&[0, 7, 0, 0, 0, c0, c1, p0, p1, 0, 0, 0]);
            for count in [params, columns] {
                for _ in 0..count {
                    server.packet(b"\x03def\x01?");
                }
                if count > 0 && !eof {
                    server.eof(AUTOCOMMIT);
                }
            }
            let tracker = ends_exactly(Expect::Prepare, eof, &server.out);
            assert_eq!(tracker.prepared(), Some(PrepareInfo { id: 7, columns, params }));
        }
        ends_exactly(Expect::Prepare, eof, &Server::new(eof).err().out);
    }
}

#[test]
fn a_reply_is_numbered_on_from_the_last_frame_of_its_command() {
    for seq in [1, 2, 3, 255, 0] {
        let mut tracker = ReplyTracker::new(Expect::Results, true);
        tracker.begins_with(seq);
        assert_eq!(tracker.next_seq(), seq);
        let mut server = Server::new(true);
        server.seq = seq;
        server.ok(AUTOCOMMIT);
        assert_eq!(tracker.feed(&server.out), Ok((server.out.len(), Progress::Done)));
        let mut other = ReplyTracker::new(Expect::Results, true);
        other.begins_with(seq.wrapping_add(1));
        assert!(other.feed(&server.out).is_err(), "{seq}");
    }
}

#[test]
fn local_infile_hands_over_to_the_client_and_back() {
    for more in [0, STATUS_MORE_RESULTS] {
        let mut tracker = ReplyTracker::new(Expect::Results, true);
        let mut server = Server::new(true);
        server.packet(b"\xfb/tmp/file");
        let request = server.out.len();
        assert_eq!(tracker.feed(&server.out), Ok((request, Progress::LocalInfile)));
        assert_eq!(tracker.next_seq(), 2);
        tracker.infile_sent(5);
        assert_eq!(tracker.next_seq(), 5);
        let mut answer = Server::new(true);
        answer.seq = 5;
        answer.ok(AUTOCOMMIT | more);
        if more != 0 {
            answer.ok(AUTOCOMMIT);
        }
        assert_eq!(tracker.feed(&answer.out), Ok((answer.out.len(), Progress::Done)));
    }
}

#[test]
fn a_row_longer_than_a_frame_is_one_row() {
    for eof in [true, false] {
        // Its continuation begins with bytes that look like EOF and ERR.
        let mut value = vec![0xfe, 0, 0, 0, 1, 0, 0, 0, 0];
        value.resize(PAYLOAD_BYTES_MAX, b'x');
        value.extend([0xfe, 0, 0, 2, 0]);
        let exact = vec![0xfd; PAYLOAD_BYTES_MAX];
        let mut server = Server::new(eof);
        server.result_set(&[value, exact, row(b"\x01a\x01b")], AUTOCOMMIT);
        ends_exactly(Expect::Results, eof, &server.out);
    }
}

#[test]
fn an_endless_reply_does_not_end() {
    let mut tracker = ReplyTracker::new(Expect::Endless, true);
    let mut server = Server::new(true);
    server.ok(0).err().eof(0);
    assert_eq!(tracker.feed(&server.out), Ok((server.out.len(), Progress::More)));
}

#[test]
fn nonsense_is_refused() {
    for (expect, payload) in [
        (Expect::Results, &b""[..]),
        (Expect::Results, b"\x00"),
        (Expect::Results, b"\xff\x00"),
        (Expect::Results, b"\xfc\x00"),
        (Expect::Prepare, b"\x00\x01"),
        (Expect::Prepare, b"\x05"),
        (Expect::One, b"\x05abc"),
        (Expect::One, b""),
    ] {
        let mut out = Vec::new();
        write_packet(&mut out, 1, payload);
        assert!(ReplyTracker::new(expect, true).feed(&out).is_err(), "{expect:?} {payload:?}");
    }
}

fn any_expect() -> impl Strategy<Value = Expect> {
    prop::sample::select(vec![
        Expect::Results,
        Expect::Prepare,
        Expect::Rows,
        Expect::FieldList,
        Expect::One,
        Expect::Reset,
        Expect::Endless,
    ])
}

proptest! {
    #[test]
    fn any_bytes_are_followed_or_refused_alike_however_cut(
        expect in any_expect(), deprecate_eof: bool,
        packets in prop::collection::vec((prop::sample::select(vec![0u8, 1, 2, 0xfb, 0xfe, 0xff]), prop::collection::vec(any::<u8>(), 0..24)), 0..12),
        cuts in prop::collection::vec(1usize..20, 1..60),
    ) {
        let mut stream = Vec::new();
        let mut seq = 1;
        for (first, rest) in packets {
            let mut payload = vec![first];
            payload.extend(rest);
            seq = write_packet(&mut stream, seq, &payload);
        }
        let mut whole = ReplyTracker::new(expect, deprecate_eof);
        let want = whole.feed(&stream);
        let mut tracker = ReplyTracker::new(expect, deprecate_eof);
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        let got = loop {
            let upto = (at + cuts.next().unwrap()).min(stream.len());
            match tracker.feed(&stream[at..upto]) {
                Ok((taken, Progress::More)) => at += taken,
                Ok((taken, end)) => break Ok((at + taken, end)),
                Err(bad) => break Err(bad),
            }
            if at == stream.len() {
                break Ok((at, Progress::More));
            }
        };
        prop_assert_eq!(&got, &want);
        if got.is_ok() {
            prop_assert_eq!(events(&tracker), events(&whole));
        }
    }
}
