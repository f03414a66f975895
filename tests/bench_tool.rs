//! The benchmark's arithmetic and its own MySQL client, which nothing else would notice being wrong.

// The modules belong to the benchmark, which uses all of them.
#[allow(dead_code)]
#[path = "../benches/e2e/stats.rs"]
mod stats;
#[allow(dead_code)]
#[path = "../benches/e2e/wire.rs"]
mod wire;

use proptest::prelude::*;
use stats::{Sample, Spread, paired, percentile};
use wire::{Fault, PAYLOAD_MAX, Reply, ReplyTracker};

#[test]
fn percentiles_are_nearest_ranks() {
    let hundred: Vec<u64> = (1..=100).collect();
    for (share, expected) in [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.0, 1)] {
        assert_eq!(percentile(&hundred, share), Some(expected), "{share}");
    }
    assert_eq!(percentile(&[7], 0.99), Some(7));
    assert_eq!(percentile(&[], 0.5), None);
}

#[test]
fn a_summary_has_units() {
    let sample = Sample { latencies_ns: vec![3_000, 1_000, 2_000, 4_000], seconds: 2.0, bytes: 4 << 20 };
    let summary = sample.summary().expect("four operations");
    assert_eq!((summary.count, summary.p50_us, summary.p99_us), (4, 2.0, 4.0));
    assert_eq!(summary.mean_us, 2.5);
    assert_eq!((summary.per_second, summary.mib_per_second), (2.0, 2.0));
    assert_eq!(Sample::default().summary(), None);
}

#[test]
fn merged_samples_keep_their_rates() {
    let mut sample = Sample { latencies_ns: vec![1; 10], seconds: 1.0, bytes: 10 };
    sample.merge(&Sample { latencies_ns: vec![2; 30], seconds: 1.0, bytes: 30 });
    assert_eq!(sample.summary().map(|summary| (summary.count, summary.per_second)), Some((40, 20.0)));
}

#[test]
fn a_spread_is_median_and_quartiles() {
    let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]).expect("five values");
    assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
    assert_eq!(Spread::of(&[1.0, 2.0]).map(|spread| spread.median), Some(1.5));
    assert_eq!(Spread::of(&[]), None);
    assert!(!spread.straddles_zero());
    assert!(Spread::of(&[-1.0, 1.0, -2.0, 2.0]).is_some_and(|spread| spread.straddles_zero()));
}

#[test]
fn rounds_without_a_partner_are_left_out() {
    let differences = paired(&[Some(3.0), None, Some(9.0)], &[Some(1.0), Some(1.0), None], |a, b| a - b);
    assert_eq!(differences, [2.0]);
}

/// Packets as a server sends them, the sequence numbers counting from 1.
fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        bytes.push(index as u8 + 1);
        bytes.extend_from_slice(payload);
    }
    bytes
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const MORE: &[u8] = &[0xfe, 0, 0, 8, 0, 0, 0];
const END: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];
const COLUMN: &[u8] = b"\x03def";

fn two_results() -> Vec<u8> {
    packets(&[&[2], COLUMN, COLUMN, b"\x011\x012", b"\xfb\xfb", MORE, &[1], COLUMN, b"\x01x", END])
}

/// Feeds all bytes, cut at the given place.
fn feed_cut(mut tracker: ReplyTracker, bytes: &[u8], cut: usize) -> Result<Option<Reply>, Fault> {
    assert_eq!(tracker.feed(&bytes[..cut])?, None, "not complete at byte {cut} of {}", bytes.len());
    tracker.feed(&bytes[cut..])
}

#[test]
fn results_end_where_they_end_however_they_are_cut() {
    let bytes = two_results();
    for cut in 0..bytes.len() {
        let reply = feed_cut(ReplyTracker::new(), &bytes, cut).expect("valid").expect("complete");
        assert_eq!((reply.rows, reply.bytes), (3, bytes.len() as u64), "cut at {cut}");
        assert_eq!(reply.first_row, b"\x011\x012", "cut at {cut}");
    }
}

#[test]
fn an_ok_is_a_whole_reply() {
    let reply = ReplyTracker::new().feed(&packets(&[OK])).expect("valid").expect("complete");
    assert_eq!((reply.rows, reply.ok.as_slice()), (0, OK));
}

#[test]
fn errors_are_told_at_the_start_and_amid_rows() {
    let error: &[u8] = b"\xff\x28\x04#42000no good";
    let expected = Err(Fault::Server { code: 1064, message: "no good".to_owned() });
    assert_eq!(ReplyTracker::new().feed(&packets(&[error])), expected);
    assert_eq!(ReplyTracker::new().feed(&packets(&[&[1], COLUMN, b"\x01x", error])), expected);
    assert_eq!(wire::parse_error(b"\xff\x15"), Fault::Protocol("an ERR packet is cut short"));
}

#[test]
fn a_row_of_more_than_16_mib_is_one_row() {
    let mut row = vec![0xfe];
    row.extend_from_slice(&(PAYLOAD_MAX as u64).to_le_bytes());
    row.resize(PAYLOAD_MAX + 9, b'x');
    let parts: [&[u8]; 5] = [&[1], COLUMN, &row[..PAYLOAD_MAX], &row[PAYLOAD_MAX..], END];
    let reply = ReplyTracker::new().feed(&packets(&parts)).expect("valid").expect("complete");
    assert_eq!(reply.rows, 1);
    // Exactly 16 MiB less one byte needs an empty packet after it.
    let parts: [&[u8]; 6] = [&[1], COLUMN, &row[..PAYLOAD_MAX], &[], b"\x01x", END];
    let reply = ReplyTracker::new().feed(&packets(&parts)).expect("valid").expect("complete");
    assert_eq!(reply.rows, 2);
}

#[test]
fn a_prepare_is_answered_with_its_blocks() {
    // OK, statement 7, one column, two parameters.
    let first: &[u8] = &[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0];
    let bytes = packets(&[first, COLUMN, COLUMN, COLUMN]);
    for cut in 0..bytes.len() {
        let reply = feed_cut(ReplyTracker::for_prepare(), &bytes, cut).expect("valid").expect("complete");
        assert_eq!(reply.ok[1..5], [7, 0, 0, 0], "cut at {cut}");
    }
    let none = packets(&[&[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
    assert!(ReplyTracker::for_prepare().feed(&none).expect("valid").is_some());
}

#[test]
fn bytes_after_the_end_are_refused() {
    let bytes = packets(&[OK, OK]);
    assert_eq!(ReplyTracker::new().feed(&bytes), Err(Fault::Protocol("bytes after the end of the reply")));
}

#[test]
fn an_execute_has_the_parameter_last() {
    let mut out = Vec::new();
    wire::execute(&mut out, 7, 258);
    assert_eq!(out[..4], [22, 0, 0, 0]);
    assert_eq!(out[4..], [0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_greeting_gives_its_capabilities() {
    let mut greeting = b"\x0a8.0.33\0\x01\0\0\0saltsalt\0".to_vec();
    greeting.extend_from_slice(&[0x34, 0x12, 45, 2, 0, 0x78, 0x56]);
    assert_eq!(wire::parse_greeting(&greeting), Ok(0x5678_1234));
    for length in 0..greeting.len() {
        assert!(wire::parse_greeting(&greeting[..length]).is_err(), "{length} bytes");
    }
    assert!(wire::handshake_response(0, "root", None).is_err(), "needs CLIENT_DEPRECATE_EOF");
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_unfinished_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        // What is checked is that each call returns.
        let _ = ReplyTracker::new().feed(&bytes);
        let _ = ReplyTracker::for_prepare().feed(&bytes);
        let _ = wire::parse_greeting(&bytes);
    }

    #[test]
    fn any_cutting_gives_the_same_reply(cuts in proptest::collection::vec(1usize..9, 1..100)) {
        let bytes = two_results();
        let whole = ReplyTracker::new().feed(&bytes).expect("valid").expect("complete");
        let (mut tracker, mut rest, mut last) = (ReplyTracker::new(), bytes.as_slice(), None);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            last = tracker.feed(now).expect("valid");
            rest = later;
        }
        prop_assert_eq!(last, Some(whole));
    }
}
