//! SET: its assignments, and how to run each of them again elsewhere.
//! Does not know which variables there are. Always: a replay sets exactly one variable to one literal.

use super::lexer::{Token, TokenKind, name_value, text_value};
use super::reader::Reader;
use super::summary::{Assignment, Kind, Pins, Scope};

/// Assignments of one SET that are read.
const ASSIGNMENTS_MAX: usize = 64;

/// After the word SET.
pub(super) fn read(reader: &mut Reader<'_>) -> Kind {
    if let Some(kind) = set_transaction(reader) {
        reader.skip_rest();
        return kind;
    }
    let mut assignments = Vec::new();
    // SET PASSWORD changes an account, and its value must be kept nowhere.
    let mut known = !reader.at_word("password");
    while known {
        match assignment(reader) {
            Some(assignment) if assignments.len() < ASSIGNMENTS_MAX => {
                if assignment.replay.is_none() && assignment.scope == Scope::Session {
                    reader.pins.insert(Pins::UNKNOWN_SET);
                }
                if assignment.scope == Scope::User {
                    reader.pins.insert(Pins::USER_VARIABLE);
                }
                reader.writes |= matches!(assignment.scope, Scope::Global | Scope::Persist);
                assignments.push(assignment);
            }
            _ => known = false,
        }
        if !known || !reader.pass(TokenKind::Comma) {
            break;
        }
    }
    if known && reader.at_end() {
        return Kind::Set { assignments };
    }
    reader.skip_rest();
    reader.pins.insert(Pins::UNKNOWN_SET);
    Kind::Write
}

/// `SET [GLOBAL | SESSION | LOCAL] TRANSACTION …`; leaves the reader alone if it is none.
fn set_transaction(reader: &mut Reader<'_>) -> Option<Kind> {
    let mut ahead = reader.ahead();
    let mut global = false;
    let mut word = reader.token?;
    for scope in ["session", "local", "global"] {
        if ahead.is_word(word, scope) {
            global = scope == "global";
            word = ahead.next()?;
            break;
        }
    }
    if !ahead.is_word(word, "transaction") {
        return None;
    }
    match ahead.next() {
        // `SET transaction = …` would be a variable.
        Some(Token { kind: TokenKind::Word, .. }) => {}
        _ => return None,
    }
    reader.writes |= global;
    Some(Kind::SetTransaction)
}

fn assignment(reader: &mut Reader<'_>) -> Option<Assignment> {
    if let Some(names) = names(reader) {
        return names;
    }
    let mut scope = Scope::Session;
    for (word, meant) in [
        ("session", Scope::Session),
        ("local", Scope::Session),
        ("global", Scope::Global),
        ("persist", Scope::Persist),
        ("persist_only", Scope::Persist),
    ] {
        if reader.at_word(word)
            && matches!(reader.ahead().next()?.kind, TokenKind::Word | TokenKind::QuotedName)
        {
            reader.advance();
            scope = meant;
            break;
        }
    }
    let target = reader.token?;
    let source = reader.bytes(target);
    let name = match target.kind {
        TokenKind::Word | TokenKind::QuotedName => lower(&name_value(source)),
        TokenKind::SystemVariable => {
            let (meant, name) = system_variable(source);
            scope = meant;
            name
        }
        TokenKind::UserVariable => {
            scope = Scope::User;
            lower(&name_value(&source[1..]))
        }
        _ => return None,
    };
    reader.advance();
    // `NEW.x` of a trigger, `cache.key_buffer_size`: not ours to replay.
    let mut plain_name = !name.is_empty();
    let mut name = name;
    while reader.at(TokenKind::Dot) {
        plain_name = false;
        reader.advance();
        name.push('.');
        name.push_str(&lower(&name_value(reader.bytes(reader.token?))));
        reader.advance();
    }
    if !(reader.pass(TokenKind::Equals) || reader.pass(TokenKind::Assign)) {
        return None;
    }
    let value = value(reader)?;
    let replay = match (&value, scope) {
        (Some(value), Scope::Session) if plain_name && is_plain(&name) => {
            Some(format!("SET SESSION {name} = {}", value.source))
        }
        (Some(value), Scope::User) if plain_name => {
            std::str::from_utf8(source).ok().map(|target| format!("SET {target} = {}", value.source))
        }
        _ => None,
    };
    Some(Assignment { name, scope, replay, value: value.map(|value| value.text) })
}

/// `NAMES x [COLLATE y]`, `CHARACTER SET x`, `CHARSET x`; outer `None`: it is neither.
fn names(reader: &mut Reader<'_>) -> Option<Option<Assignment>> {
    let mut ahead = reader.ahead();
    let next = ahead.next()?;
    let name = if reader.at_word("names") && matches!(next.kind, TokenKind::Word | TokenKind::Text) {
        reader.advance();
        "names"
    } else if reader.at_word("charset") && matches!(next.kind, TokenKind::Word | TokenKind::Text) {
        reader.advance();
        "character set"
    } else if reader.at_word("character") && ahead.is_word(next, "set") {
        reader.advance();
        reader.advance();
        "character set"
    } else {
        return None;
    };
    Some((|| {
        let charset = literal(reader)?;
        let mut replay = format!("SET {} {}", name.to_ascii_uppercase(), charset.source);
        if reader.pass_word("collate") {
            replay.push_str(" COLLATE ");
            replay.push_str(&literal(reader)?.source);
        }
        let (name, value) = (name.to_owned(), Some(charset.text));
        Some(Assignment { name, scope: Scope::Session, replay: Some(replay), value })
    })())
}

/// One literal: as written, and what it says.
struct Literal {
    source: String,
    text: String,
}

/// A value up to the next comma; the inner `None`: not one plain literal. Outer: none at all.
fn value(reader: &mut Reader<'_>) -> Option<Option<Literal>> {
    if reader.at_end() {
        return None;
    }
    let literal = literal(reader);
    if reader.at_end() || reader.at(TokenKind::Comma) {
        return Some(literal);
    }
    let mut depth = 0usize;
    while !(reader.at_end() || depth == 0 && reader.at(TokenKind::Comma)) {
        match reader.kind() {
            Some(TokenKind::Open) => depth += 1,
            Some(TokenKind::Close) => depth = depth.saturating_sub(1),
            _ => {}
        }
        reader.advance();
    }
    Some(None)
}

/// A string, number (with a sign) or bare word; passes at most what it read.
fn literal(reader: &mut Reader<'_>) -> Option<Literal> {
    let mut sign = "";
    if reader.at(TokenKind::Other) && matches!(reader.bytes(reader.token?), b"-" | b"+") {
        sign = if reader.bytes(reader.token?) == b"-" { "-" } else { "" };
        reader.advance();
        if !reader.at(TokenKind::Number) {
            return None;
        }
    }
    let token = reader.token?;
    let bytes = reader.bytes(token);
    let text = match token.kind {
        TokenKind::Text => text_value(bytes),
        TokenKind::Number | TokenKind::Word => bytes.to_vec(),
        _ => return None,
    };
    let literal = Literal {
        source: format!("{sign}{}", std::str::from_utf8(bytes).ok()?),
        text: format!("{sign}{}", String::from_utf8(text).ok()?),
    };
    reader.advance();
    Some(literal)
}

/// Scope and name of `@@x`, `@@global.x`.
fn system_variable(source: &[u8]) -> (Scope, String) {
    let name = lower(&source[2..]);
    let (scope, name) = match name.split_once('.') {
        Some(("session" | "local", name)) => (Scope::Session, name),
        Some(("global", name)) => (Scope::Global, name),
        Some(("persist" | "persist_only", name)) => (Scope::Persist, name),
        _ => (Scope::Session, name.as_str()),
    };
    let bare = [b'`', b'\'', b'"'].iter().find_map(|&quote| {
        let quote = quote as char;
        name.strip_prefix(quote)?.strip_suffix(quote)
    });
    (scope, bare.unwrap_or(name).to_owned())
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}
