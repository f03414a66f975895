use proptest::prelude::*;

use super::lexer::*;

fn kinds(text: &[u8]) -> Vec<(TokenKind, String)> {
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    let mut out = Vec::new();
    while let Some(token) = lexer.next_token() {
        out.push((token.kind, String::from_utf8_lossy(lexer.bytes(token)).into_owned()));
    }
    out
}

fn is(text: &str, expected: &[(TokenKind, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
    assert_eq!(kinds(text.as_bytes()), expected, "{text}");
}

use TokenKind::*;

#[test]
fn comments_are_what_dolt_takes_for_comments() {
    for text in [
        "1 -- x",
        "1 --x",
        "1 # x",
        "1 // x",
        "1 /* x */",
        "1 /**/",
        "1/*x**/",
        "1 /*!5 x */",
        "1 /*!50003*/",
        "1 /*M x*/",
    ] {
        is(text, &[(Number, "1")]);
    }
    is("1 --x\n2 #y\n3", &[(Number, "1"), (Number, "2"), (Number, "3")]);
    is("1 --x\r2", &[(Number, "1")]);
    is("1 - -2", &[(Number, "1"), (Other, "-"), (Other, "-"), (Number, "2")]);
    is("1 /* x", &[(Number, "1"), (Error, "/* x")]);
    is("/*/", &[(Error, "/*/")]);
    is("a/b", &[(Word, "a"), (Other, "/"), (Word, "b")]);
}

#[test]
fn executable_comments_are_code() {
    for text in [
        "/*!a*/b",
        "/*! a */ b",
        "/*!50003a*/b",
        "/*!50003 a*/ b",
        "/*!99999 a */b",
        "/*M!100100 a*/b",
        "/*M! a*/b",
    ] {
        is(text, &[(Word, "a"), (Word, "b")]);
    }
    is("/*!500031 a*/", &[(Number, "1"), (Word, "a")]);
    // The first `*/` ends it, whatever it stands in.
    is("/*! 'a*/ b", &[(Error, "'a")]);
    is("/*! a /* x */ b", &[(Word, "a"), (Error, "/* x ")]);
    is("/*! a -- x */ b", &[(Word, "a"), (Word, "b")]);
    is("/*! a", &[(Error, "/*! a")]);
}

#[test]
fn strings_and_names() {
    is(r"'a\'b' 'c''d' '' '\\'", &[(Text, r"'a\'b'"), (Text, "'c''d'"), (Text, "''"), (Text, r"'\\'")]);
    is(r#""a\"b" "c""d" "'""#, &[(Text, r#""a\"b""#), (Text, r#""c""d""#), (Text, r#""'""#)]);
    is(r"`a\` `c``d`", &[(QuotedName, r"`a\`"), (QuotedName, "`c``d`")]);
    is("N'a' _utf8'b'", &[(Word, "N"), (Text, "'a'"), (Word, "_utf8"), (Text, "'b'")]);
    is("naïve 表", &[(Word, "naïve"), (Word, "表")]);
    for text in ["'a", r"'a\'", "\"a", "`a", "'''", "x'0", "x'0'", "x'zz'", "b'2'", "1.5a", "\0"] {
        is(text, &[(Error, text)]);
    }
    let mut ansi = Lexer::new(br#""a\" b"#, DoubleQuotes::Name);
    assert_eq!(ansi.next_token().map(|t| (t.kind, t.end)), Some((QuotedName, 4)));
    assert_eq!(ansi.next_token().map(|t| (t.kind, t.end)), Some((Word, 6)));
}

#[test]
fn numbers() {
    for text in ["1", "1.", "1.5", "1e5", "1.5e-5", "1e-", "1e", "0x1F", "x'00ff'", "X'00'", "b'01'", "B''"] {
        is(text, &[(Number, text)]);
    }
    is(".5", &[(Dot, "."), (Number, "5")]);
    is("1e--1", &[(Number, "1e-"), (Other, "-"), (Number, "1")]);
    is("1a 0xg 5e", &[(Word, "1a"), (Word, "0xg"), (Number, "5e")]);
}

#[test]
fn variables() {
    is(
        "@a @`b c` @a.b @",
        &[
            (UserVariable, "@a"),
            (UserVariable, "@`b c`"),
            (UserVariable, "@a"),
            (Dot, "."),
            (Word, "b"),
            (UserVariable, "@"),
        ],
    );
    is("@'x'", &[(UserVariable, "@"), (Text, "'x'")]);
    is("@@a @@session.`b`", &[(SystemVariable, "@@a"), (SystemVariable, "@@session.`b`")]);
    // Dolt reads quotes as part of the name, and stops a quoted user variable at what it does not expect.
    is("@@x'; y", &[(SystemVariable, "@@x'"), (Semicolon, ";"), (Word, "y")]);
    is("@`a-b`;c`", &[(UserVariable, "@`a"), (Other, "-"), (Word, "b"), (QuotedName, "`;c`")]);
    is(
        "u@h 'u'@`h` a@@b",
        &[
            (Word, "u"),
            (Other, "@"),
            (Word, "h"),
            (Text, "'u'"),
            (Other, "@"),
            (QuotedName, "`h`"),
            (Word, "a"),
            (Other, "@"),
            (UserVariable, "@b"),
        ],
    );
    is(
        "@a:=1,@b::=2 : =",
        &[
            (UserVariable, "@a"),
            (Assign, ":="),
            (Number, "1"),
            (Comma, ","),
            (UserVariable, "@b"),
            (Assign, "::="),
            (Number, "2"),
            (Colon, ":"),
            (Equals, "="),
        ],
    );
}

#[test]
fn values() {
    assert_eq!(text_value(br"'a\'b''c\n\0\Zd\%'"), b"a'b'c\n\0\x1ad%");
    assert_eq!(text_value(b"\"a'b\"\"c\""), b"a'b\"c");
    assert_eq!(name_value(b"`a``b`"), b"a`b");
    assert_eq!(name_value(b"ab"), b"ab");
}

/// Bytes that mean something to a lexer, in any order.
pub(super) fn odd_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "'",
        "\"",
        "`",
        "\\",
        ";",
        "/*",
        "*/",
        "/*!",
        "/*!50003",
        "/*M!",
        "--",
        "//",
        "#",
        "\n",
        " ",
        "@",
        "@@",
        ":=",
        ".",
        ",",
        "(",
        ")",
        "=",
        "-",
        "1",
        "1e",
        "0x",
        "x'",
        "select",
        "set",
        "begin",
        "end",
        "create",
        "procedure",
        "if",
        "case",
        "\0",
        "é",
        "into",
        "use",
        "call",
        "kill",
        "a",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn tokens_are_in_order_and_in_range(text in odd_text(), ansi: bool) {
        let mut lexer = Lexer::new(&text, if ansi { DoubleQuotes::Name } else { DoubleQuotes::Text });
        let mut end = 0;
        while let Some(token) = lexer.next_token() {
            prop_assert!(token.start >= end && token.end > token.start && token.end <= text.len());
            end = token.end;
        }
        prop_assert_eq!(lexer.next_token(), None);
    }
}
