//! What each parser must hold to, whatever the bytes. Run by the fuzz targets on made-up input and by
//! `tests/corpus.rs` on every committed seed.

use crate::statement::classify::{Kind, STATEMENTS_MAX, mentions_database, summarize, summarize_in};
use crate::statement::effects::{Effects, mentions_word, scan};
use crate::statement::lexer::{DoubleQuotes, Lexer};
use crate::wire::capability;
use crate::wire::frame::{Header, PacketTail};
use crate::wire::handshake::{FirstPacket, Greeting, read_auth_switch};
use crate::wire::lenenc;
use crate::wire::reply::{Expect, Progress, ReplyTracker};
use crate::wire::response::{ErrInfo, OkInfo, ok_payload};
use crate::wire::rows::read_text_rows;

/// A target's function.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame_tail", frame_tail),
    ("greeting", greeting),
    ("handshake_response", handshake_response),
    ("auth_switch", auth_switch),
    ("response", response),
    ("reply", reply),
    ("text_rows", text_rows),
    ("lenenc", lenenc),
    ("sql", sql),
];

/// Sizes of pieces, from one byte of the input.
fn cuts(seed: u8) -> impl Iterator<Item = usize> {
    let mut state = u32::from(seed);
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(1 + (state >> 24) as usize % (1 + usize::from(seed)))
    })
}

/// `[sequence number, cuts, stream…]`: cut anywhere, the packet ends at the same byte or is refused alike.
pub fn frame_tail(data: &[u8]) {
    let [seq, seed, stream @ ..] = data else { return };
    if let Some(header) = Header::read(stream) {
        assert_eq!(header.bytes(), stream[..4]);
    }
    let mut whole = PacketTail::expecting(*seq);
    let want = whole.feed(stream);
    let mut tail = PacketTail::expecting(*seq);
    let mut at = 0;
    let mut cuts = cuts(*seed);
    let got = loop {
        if tail.is_done() || at == stream.len() {
            break Ok(at);
        }
        let upto = (at + cuts.next().unwrap_or(1)).min(stream.len());
        match tail.feed(&stream[at..upto]) {
            Ok(taken) => at += taken,
            Err(bad) => break Err(bad),
        }
    };
    assert_eq!(got, want);
    if got.is_ok() {
        assert_eq!((tail.is_done(), tail.next_seq()), (whole.is_done(), whole.next_seq()));
    }
}

/// A greeting's payload.
pub fn greeting(data: &[u8]) {
    let Ok(greeting) = Greeting::read(data) else { return };
    let again = greeting.payload();
    if greeting.capabilities & (capability::SECURE_CONNECTION | capability::PLUGIN_AUTH)
        == capability::SECURE_CONNECTION | capability::PLUGIN_AUTH
    {
        assert_eq!(Greeting::read(&again).as_ref(), Ok(&greeting));
    }
}

/// A handshake response's payload.
pub fn handshake_response(data: &[u8]) {
    let Ok(FirstPacket::Response(response)) = FirstPacket::read(data) else { return };
    let again = response.payload();
    // Only what we ask of a backend has to survive: flags that we understand.
    if response.capabilities & !capability::UNDERSTOOD == 0
        && response.capabilities & capability::REQUIRED_OF_CLIENT == capability::REQUIRED_OF_CLIENT
        && response.auth.len() < 251
    {
        let Ok(FirstPacket::Response(again)) = FirstPacket::read(&again) else {
            panic!("our own response is refused: {response:?}");
        };
        assert_eq!((&again.user, &again.auth), (&response.user, &response.auth));
        assert_eq!((again.capabilities, again.charset), (response.capabilities, response.charset));
    }
}

/// The payload of an authentication switch.
pub fn auth_switch(data: &[u8]) {
    if let Some((plugin, challenge)) = read_auth_switch(data) {
        assert!(challenge.len() < data.len() && plugin.len() <= 3 * data.len());
    }
}

/// The payload of OK, EOF or ERR.
pub fn response(data: &[u8]) {
    if let Some(ok) = OkInfo::read_ok(data) {
        assert_eq!(OkInfo::read_ok(&ok_payload(ok)), Some(ok));
    }
    let _ = OkInfo::read_eof(data);
    if let Some(err) = ErrInfo::read(data)
        && err.sqlstate.is_ascii()
    {
        assert_eq!(ErrInfo::read(&err.payload()), Some(err));
    }
}

/// `[expected reply, DEPRECATE_EOF, cuts, stream…]`: cut anywhere, the same events or refused alike.
pub fn reply(data: &[u8]) {
    let [expect, deprecate_eof, seed, stream @ ..] = data else { return };
    const EXPECT: [Expect; 7] = [
        Expect::Results,
        Expect::Prepare,
        Expect::Rows,
        Expect::FieldList,
        Expect::One,
        Expect::Reset,
        Expect::Endless,
    ];
    let expect = EXPECT[usize::from(*expect) % EXPECT.len()];
    let run = |pieces: &mut dyn Iterator<Item = usize>| {
        let mut tracker = ReplyTracker::new(expect, deprecate_eof & 1 == 1);
        let mut at = 0;
        let mut files = 0;
        let end = loop {
            if at == stream.len() {
                break Ok((at, Progress::More));
            }
            let upto = at.saturating_add(pieces.next().unwrap_or(1)).min(stream.len());
            match tracker.feed(&stream[at..upto]) {
                Ok((taken, progress)) => {
                    assert!(taken <= upto - at);
                    at += taken;
                    match progress {
                        Progress::More => assert_eq!(at, upto, "bytes left without an event"),
                        Progress::LocalInfile => {
                            files += 1;
                            tracker.infile_sent(tracker.next_seq());
                        }
                        Progress::Done => break Ok((at, Progress::Done)),
                    }
                }
                Err(bad) => break Err(bad),
            }
        };
        let events = end.is_ok().then(|| {
            (
                tracker.outcome().cloned(),
                tracker.had_err(),
                tracker.had_warnings(),
                tracker.results(),
                tracker.prepared(),
                tracker.next_seq(),
                tracker.is_done(),
                tracker.at_packet_boundary(),
                tracker.has_begun(),
            )
        });
        (end, files, events)
    };
    assert_eq!(run(&mut cuts(*seed)), run(&mut std::iter::repeat(usize::MAX)));
}

/// `[DEPRECATE_EOF, reply…]`
pub fn text_rows(data: &[u8]) {
    let [deprecate_eof, reply @ ..] = data else { return };
    if let Some(rows) = read_text_rows(reply, deprecate_eof & 1 == 1) {
        assert!(rows.len() < reply.len());
    }
}

/// A length-encoded integer or string.
pub fn lenenc(data: &[u8]) {
    if let Some((value, width)) = lenenc::read_int(data) {
        assert!(width <= data.len() && width <= 9);
        let mut out = Vec::new();
        lenenc::write_int(&mut out, value);
        assert_eq!(lenenc::read_int(&out), Some((value, out.len())));
        assert!(out.len() <= width);
    }
    if let Some((bytes, width)) = lenenc::read_bytes(data) {
        assert!(width <= data.len() && bytes == &data[width - bytes.len()..width]);
    }
}

/// SQL text.
pub fn sql(data: &[u8]) {
    for double_quotes in [DoubleQuotes::Text, DoubleQuotes::Name] {
        let mut lexer = Lexer::new(data, double_quotes);
        let mut end = 0;
        while let Some(token) = lexer.next_token() {
            assert!(token.start >= end && token.end > token.start && token.end <= data.len());
            end = token.end;
        }
        let effects = Effects::of(data, true, double_quotes);
        let summary = summarize_in(data, true, double_quotes);
        assert_eq!(effects.statements.len(), summary.statements.len());
        assert!(summary.may_write || !effects.statements.iter().any(|effect| effect.class.writes()));
        assert!(summary.whole || summary.may_write);
        assert!(summary.statements.len() <= STATEMENTS_MAX);
        for kind in &summary.statements {
            if let Kind::Kill { id, id_span, .. } = kind {
                let digits = std::str::from_utf8(&data[id_span.clone()]).unwrap_or_default();
                assert_eq!(digits.parse(), Ok(*id));
            }
        }
        // What follows a whole text is one more statement.
        if summary.whole && summary.statements.len() < STATEMENTS_MAX {
            let longer = summarize_in(&[data, b"\n;SELECT 1"].concat(), true, double_quotes);
            let mut want = summary.statements;
            want.push(Kind::Read);
            assert_eq!(longer.statements, want);
        }
    }
    let half = summarize(data, false);
    assert!(half.may_write && !half.whole);
    let _ = mentions_database(data, "hq");
    let _ = (scan(data), mentions_word(data, |_| false));
}
