//! Replies that a real Dolt gave to real clients (`scripts/capture-corpus.py`), cut at every byte: the tracker must
//! tell the same events wherever they are cut, and end each reply exactly where the next command's begins.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::path::Path;

use branchline::wire::command::Command;
use branchline::wire::reply::{Outcome, PrepareInfo, Progress, ReplyTracker};

/// `[DEPRECATE_EOF]`, then for each command: its byte, the length of its reply (u32, little endian), the reply.
struct Recorded {
    deprecate_eof: bool,
    exchanges: Vec<(Command, Vec<u8>)>,
}

fn read(path: &Path) -> Recorded {
    let bytes = std::fs::read(path).unwrap();
    let (deprecate_eof, mut rest) = (bytes[0] == 1, &bytes[1..]);
    let mut exchanges = Vec::new();
    while let [command, a, b, c, d, tail @ ..] = rest {
        let (reply, tail) = tail.split_at(u32::from_le_bytes([*a, *b, *c, *d]) as usize);
        exchanges.push((Command::from_byte(*command), reply.to_vec()));
        rest = tail;
    }
    assert!(rest.is_empty(), "{} is cut off", path.display());
    Recorded { deprecate_eof, exchanges }
}

/// What a session learns from one reply, and how many bytes it took.
#[derive(Debug, PartialEq, Eq)]
struct Events {
    taken: usize,
    files: u32,
    done: bool,
    outcome: Option<Outcome>,
    had_err: bool,
    warnings: bool,
    results: u32,
    prepared: Option<PrepareInfo>,
    next_seq: u8,
}

/// Feeds `stream` in two pieces that meet at `cut`; what lies after the reply is not taken.
fn events(command: Command, deprecate_eof: bool, stream: &[u8], cut: usize) -> Events {
    let mut tracker = ReplyTracker::new(command.expects().unwrap(), deprecate_eof);
    // A reply is numbered on from its command, and a few of the recorded commands took several frames.
    tracker.begins_with(stream[3]);
    let (mut at, mut files) = (0, 0);
    for end in [cut, stream.len()] {
        while at < end && !tracker.is_done() {
            let (taken, progress) =
                tracker.feed(&stream[at..end]).unwrap_or_else(|bad| panic!("{}: {bad}", command.name()));
            at += taken;
            if progress == Progress::LocalInfile {
                files += 1;
                tracker.infile_sent(tracker.next_seq());
            }
        }
    }
    Events {
        taken: at,
        files,
        done: tracker.is_done(),
        outcome: tracker.outcome().cloned(),
        had_err: tracker.had_err(),
        warnings: tracker.had_warnings(),
        results: tracker.results(),
        prepared: tracker.prepared(),
        next_seq: tracker.next_seq(),
    }
}

#[test]
fn a_recorded_stream_cut_at_every_byte_tells_the_same_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let (mut replies, mut kinds, mut files) = (0, std::collections::BTreeSet::new(), 0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let recorded = read(&path);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for (number, (command, reply)) in recorded.exchanges.iter().enumerate() {
            // The next reply follows at once, as it does on the socket.
            let next = recorded.exchanges.get(number + 1).map_or(&[][..], |(_, next)| next);
            let stream = [reply, next].concat();
            let whole = events(*command, recorded.deprecate_eof, &stream, 0);
            let what = format!("{name}, command {number}, {}", command.name());
            assert!(whole.done, "{what}: {whole:?}");
            assert_eq!(whole.taken, reply.len(), "{what}: the next reply begins elsewhere");
            for cut in 1..=reply.len() {
                assert_eq!(
                    events(*command, recorded.deprecate_eof, &stream, cut),
                    whole,
                    "{what}, cut at {cut}"
                );
            }
            replies += 1;
            kinds.insert(command.name());
            files += whole.files;
        }
    }
    // So that a capture that lost most of its contents is noticed.
    assert!(replies >= 500, "only {replies} replies are recorded");
    for kind in
        ["COM_QUERY", "COM_STMT_PREPARE", "COM_STMT_EXECUTE", "COM_STMT_FETCH", "COM_STMT_RESET", "COM_PING"]
    {
        assert!(kinds.contains(kind), "no {kind} is recorded: {kinds:?}");
    }
    println!("{replies} replies of {kinds:?}, {files} with a file");
}
