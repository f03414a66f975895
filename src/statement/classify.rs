//! What a command's text does: its statements, in order, by kind.
//! Owns the lists of what reads, what writes and what leaves session state behind.
//! Does not parse: it looks at the words that decide. Does not know the session it runs in.
//! Always: unknown is a write; linear in the text; bounded by [`STATEMENTS_MAX`].

use super::body;
use super::lexer::{DoubleQuotes, Lexer, TokenKind, name_value, text_value};
use super::reader::Reader;
use super::set;
use super::summary::Pins as P;
use crate::dolt::procedures;

pub use super::summary::{Assignment, Kind, Pins, STATEMENTS_MAX, Scope, Summary};

/// Arguments of a CALL that are kept.
const LITERAL_ARGS_MAX: usize = 64;

/// What `text` does. `complete` is false if it is only the beginning of the client's text.
///
/// For a session without ANSI_QUOTES, or of which that is not known: a text that it would cut differently
/// counts as a write.
pub fn summarize(text: &[u8], complete: bool) -> Summary {
    let (mut summary, depends) = read(text, complete, DoubleQuotes::Text, |_| {});
    summary.may_write |= depends;
    summary
}

/// The same for a session whose `sql_mode` is known.
pub fn summarize_in(text: &[u8], complete: bool, double_quotes: DoubleQuotes) -> Summary {
    read(text, complete, double_quotes, |_| {}).0
}

/// `ended` gets for each statement where it ends: its `;`, or the end of the text. The flag: ANSI_QUOTES would
/// have cut the text differently.
pub(super) fn read(
    text: &[u8],
    complete: bool,
    double_quotes: DoubleQuotes,
    mut ended: impl FnMut(usize),
) -> (Summary, bool) {
    let mut reader = Reader::new(text, double_quotes);
    let mut summary = Summary { statements: Vec::new(), whole: complete, may_write: false, pins: Pins::NONE };
    while let Some(kind) = reader.kind() {
        if kind == TokenKind::Semicolon {
            reader.pass_semicolon(true);
            continue;
        }
        reader.unsure |= reader.after_empty;
        if summary.statements.len() == STATEMENTS_MAX {
            summary.whole = false;
            break;
        }
        let mut kind = statement(&mut reader);
        // Half a name or number is another one.
        let cut = reader.token.is_none() && !complete;
        if reader.failed || (cut && !matches!(kind, Kind::Read | Kind::Diagnostics)) {
            kind = Kind::Write;
        }
        summary.may_write |= reader.writes || writes(&kind);
        summary.pins.insert(reader.pins);
        summary.statements.push(kind);
        ended(reader.token.map_or(text.len(), |token| token.start));
        if reader.failed {
            break;
        }
        reader.pass_semicolon(false);
    }
    summary.whole &= !reader.failed && !reader.unsure;
    summary.may_write |= !summary.whole;
    (summary, reader.depends_on_ansi_quotes())
}

fn writes(kind: &Kind) -> bool {
    match kind {
        Kind::Call { procedure, literal_args } => procedures::writes(procedure, literal_args.as_deref()),
        Kind::LockTables | Kind::UnlockTables | Kind::Write => true,
        Kind::Read
        | Kind::Diagnostics
        | Kind::Use { .. }
        | Kind::Set { .. }
        | Kind::Begin
        | Kind::Commit
        | Kind::Rollback
        | Kind::Savepoint
        | Kind::SetTransaction
        | Kind::Kill { .. }
        | Kind::ReleaseLocks => false,
    }
}

/// One statement; leaves the reader at its `;` or the end.
fn statement(reader: &mut Reader<'_>) -> Kind {
    let mut parentheses = false;
    while reader.pass(TokenKind::Open) {
        parentheses = true;
    }
    let Some(word) = reader.word() else {
        reader.skip_rest();
        return Kind::Write;
    };
    let mut upper = [0; 12];
    let Some(upper) = upper.get_mut(..word.len()) else {
        reader.skip_rest();
        return Kind::Write;
    };
    upper.copy_from_slice(word);
    upper.make_ascii_uppercase();
    if parentheses && !matches!(&*upper, b"SELECT" | b"TABLE" | b"VALUES" | b"WITH") {
        reader.skip_rest();
        return Kind::Write;
    }
    reader.advance();
    let kind = match &*upper {
        b"SELECT" | b"TABLE" | b"VALUES" => query(reader),
        b"WITH" => with(reader),
        b"SHOW" => show(reader),
        b"EXPLAIN" | b"DESCRIBE" | b"DESC" => explain(reader),
        b"HELP" => Kind::Read,
        b"USE" => use_database(reader),
        b"SET" => set::read(reader),
        b"BEGIN" => Kind::Begin,
        b"START" if reader.at_word("transaction") => Kind::Begin,
        b"COMMIT" => Kind::Commit,
        b"ROLLBACK" => {
            reader.pass_word("work");
            if reader.at_word("to") { Kind::Savepoint } else { Kind::Rollback }
        }
        b"SAVEPOINT" => Kind::Savepoint,
        b"RELEASE" if reader.at_word("savepoint") => Kind::Savepoint,
        b"CALL" => call(reader),
        b"KILL" => kill(reader),
        b"LOCK" if reader.at_word("tables") || reader.at_word("table") => {
            reader.pins.insert(P::LOCK_TABLES);
            Kind::LockTables
        }
        b"UNLOCK" if reader.at_word("tables") || reader.at_word("table") => Kind::UnlockTables,
        b"GET" => get_diagnostics(reader),
        b"DO" => do_expressions(reader),
        b"PREPARE" => {
            reader.pins.insert(P::SQL_PREPARE);
            Kind::Read
        }
        b"DEALLOCATE" => Kind::Read,
        b"CREATE" => create(reader),
        b"LOAD" => load(reader),
        _ => Kind::Write,
    };
    reader.skip_rest();
    kind
}

/// After SELECT, TABLE or VALUES.
fn query(reader: &mut Reader<'_>) -> Kind {
    let mut kind = Kind::Read;
    while !reader.at_end() {
        if reader.at_word("into") {
            reader.advance();
            match reader.kind() {
                Some(TokenKind::UserVariable) => reader.pins.insert(P::USER_VARIABLE),
                // OUTFILE, DUMPFILE and what is no query at all.
                _ => kind = Kind::Write,
            }
        }
        if !reader.at_end() {
            reader.advance();
        }
    }
    match kind {
        Kind::Read if reader.diagnostics => Kind::Diagnostics,
        Kind::Read if reader.releases_lock && !reader.pins.contains(P::NAMED_LOCK) => Kind::ReleaseLocks,
        kind => kind,
    }
}

/// After WITH: what the first word outside of parentheses begins.
fn with(reader: &mut Reader<'_>) -> Kind {
    let mut depth = 0usize;
    while !reader.at_end() {
        match reader.kind() {
            Some(TokenKind::Open) => depth += 1,
            Some(TokenKind::Close) => depth = depth.saturating_sub(1),
            Some(TokenKind::Word) if depth == 0 => {
                if ["select", "table", "values"].iter().any(|word| reader.at_word(word)) {
                    return query(reader);
                }
                if ["insert", "replace", "update", "delete"].iter().any(|word| reader.at_word(word)) {
                    return Kind::Write;
                }
            }
            _ => {}
        }
        reader.advance();
    }
    Kind::Write
}

fn show(reader: &mut Reader<'_>) -> Kind {
    if ["warnings", "errors", "count"].iter().any(|word| reader.at_word(word)) {
        return Kind::Diagnostics;
    }
    Kind::Read
}

fn explain(reader: &mut Reader<'_>) -> Kind {
    if !reader.pass_word("analyze") {
        return Kind::Read;
    }
    // EXPLAIN ANALYZE executes.
    while reader.at_word("format") || reader.at_word("plan") {
        reader.advance();
        if reader.pass(TokenKind::Equals) {
            reader.advance();
        }
    }
    while reader.pass(TokenKind::Open) {}
    if reader.pass_word("with") {
        return with(reader);
    }
    if ["select", "table", "values"].iter().any(|word| reader.pass_word(word)) {
        return query(reader);
    }
    Kind::Write
}

/// `USE db`, `USE db/branch`, with or without backticks. What is more than that could still change the
/// database, so it is not called harmless.
fn use_database(reader: &mut Reader<'_>) -> Kind {
    let mut database = Vec::new();
    if !reader.at_end() {
        if !name(reader, &mut database) {
            return unknown_set(reader);
        }
        if reader.at(TokenKind::Other) && reader.token.is_some_and(|token| reader.bytes(token) == b"/") {
            reader.advance();
            database.push(b'/');
            if !name(reader, &mut database) {
                return unknown_set(reader);
            }
        }
    }
    match String::from_utf8(database) {
        Ok(database) if reader.at_end() => Kind::Use { database },
        _ => unknown_set(reader),
    }
}

fn unknown_set(reader: &mut Reader<'_>) -> Kind {
    reader.pins.insert(P::UNKNOWN_SET);
    Kind::Write
}

/// Appends an identifier and passes it.
fn name(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> bool {
    match reader.token {
        Some(token) if matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) => {
            out.extend(name_value(reader.bytes(token)));
            reader.advance();
            true
        }
        _ => false,
    }
}

fn call(reader: &mut Reader<'_>) -> Kind {
    let mut procedure = Vec::new();
    if !name(reader, &mut procedure) {
        return Kind::Write;
    }
    while reader.pass(TokenKind::Dot) {
        procedure.clear();
        if !name(reader, &mut procedure) {
            return Kind::Write;
        }
    }
    let Ok(mut procedure) = String::from_utf8(procedure) else {
        return Kind::Write;
    };
    procedure.make_ascii_lowercase();
    if !procedure.starts_with("dolt_") {
        reader.pins.insert(P::PROCEDURE);
    }
    let literal_args = literal_args(reader);
    while !reader.at_end() {
        if reader.at(TokenKind::UserVariable) {
            // It may be an OUT parameter.
            reader.pins.insert(P::USER_VARIABLE);
        }
        reader.advance();
    }
    Kind::Call { procedure, literal_args }
}

/// The arguments, if they are string literals and nothing follows them.
fn literal_args(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut args = Vec::new();
    if reader.at_end() {
        return Some(args);
    }
    if !reader.pass(TokenKind::Open) {
        return None;
    }
    while !reader.at(TokenKind::Close) {
        if !args.is_empty() && !reader.pass(TokenKind::Comma) {
            return None;
        }
        let token = reader.token.filter(|token| token.kind == TokenKind::Text)?;
        if args.len() == LITERAL_ARGS_MAX {
            return None;
        }
        args.push(String::from_utf8(text_value(reader.bytes(token))).ok()?);
        reader.advance();
    }
    reader.advance();
    reader.at_end().then_some(args)
}

fn kill(reader: &mut Reader<'_>) -> Kind {
    let query_only = reader.pass_word("query");
    if !query_only {
        reader.pass_word("connection");
    }
    let Some(token) = reader.token.filter(|token| token.kind == TokenKind::Number) else {
        return Kind::Write;
    };
    let id = std::str::from_utf8(reader.bytes(token)).ok().and_then(|digits| digits.parse().ok());
    reader.advance();
    match id {
        Some(id) if reader.at_end() => Kind::Kill { query_only, id, id_span: token.start..token.end },
        _ => Kind::Write,
    }
}

fn get_diagnostics(reader: &mut Reader<'_>) -> Kind {
    if !reader.pass_word("current") {
        reader.pass_word("stacked");
    }
    if !reader.at_word("diagnostics") {
        return Kind::Write;
    }
    // It stores into user variables, outside of procedures into nothing else.
    reader.pins.insert(P::USER_VARIABLE);
    Kind::Diagnostics
}

fn do_expressions(reader: &mut Reader<'_>) -> Kind {
    reader.skip_rest();
    if reader.releases_lock && !reader.pins.contains(P::NAMED_LOCK) {
        Kind::ReleaseLocks
    } else {
        Kind::Write
    }
}

fn create(reader: &mut Reader<'_>) -> Kind {
    if reader.at_word("temporary") {
        reader.pins.insert(P::TEMPORARY_TABLE);
        return Kind::Write;
    }
    const ROUTINES: [&str; 4] = ["procedure", "trigger", "event", "function"];
    if reader.pass_word("or") {
        reader.pass_word("replace");
    }
    reader.pass_word("aggregate");
    if reader.pass_word("definer") {
        // `= user@host`: neither may be taken for the word that decides.
        reader.advance();
        reader.advance();
        if reader.at(TokenKind::Other) || reader.at(TokenKind::UserVariable) {
            if reader.at(TokenKind::Other) {
                reader.advance();
            }
            reader.advance();
        }
        while !reader.at_end() && !ROUTINES.iter().any(|word| reader.at_word(word)) {
            reader.advance();
        }
    }
    if ROUTINES.iter().any(|word| reader.at_word(word)) {
        let pins = reader.pins;
        body::skip(reader);
        // What is in the body happens when it is called.
        reader.pins = pins;
    }
    Kind::Write
}

fn load(reader: &mut Reader<'_>) -> Kind {
    while !reader.at_end() {
        if reader.at(TokenKind::UserVariable) {
            reader.pins.insert(P::USER_VARIABLE);
        }
        reader.advance();
    }
    Kind::Write
}

/// Whether an identifier equal to `database` or `database/branch` (case-insensitive, bare or in backticks)
/// is followed by a dot.
pub fn mentions_database(text: &[u8], database: &str) -> bool {
    any_qualifier(text, |name| names_database(name, database.as_bytes()))
}

/// Whether `is` holds for any identifier that is followed by a dot: a database, a table or an alias. Without
/// its quotes, and without the revision of `database/branch`.
pub fn mentions_qualifier(text: &[u8], mut is: impl FnMut(&str) -> bool) -> bool {
    any_qualifier(text, |name| {
        let value = match name {
            [b'`' | b'"' | b'\'', ..] => name_value(name),
            bare => bare.into(),
        };
        let database = value.split(|byte| matches!(byte, b'/' | b'@')).next().unwrap_or_default();
        std::str::from_utf8(database).is_ok_and(&mut is)
    })
}

/// Databases that are named with a revision (`database/branch`, `database@branch`), and which.
pub fn revisions(text: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Such a name stands in quotes; most texts have neither of the two.
    let has = |wanted: [u8; 2]| text.iter().any(|byte| wanted.contains(byte));
    if !has(*b"/@") || !has(*b"`\"") {
        return found;
    }
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    while let Some(token) = lexer.next_token() {
        if !matches!(token.kind, TokenKind::QuotedName | TokenKind::Text) {
            continue;
        }
        let bytes = lexer.bytes(token);
        if bytes.starts_with(b"'") {
            continue;
        }
        let value = name_value(bytes);
        let Ok(name) = std::str::from_utf8(&value) else { continue };
        if let Some((database, revision)) = name.split_once(['/', '@'])
            && !database.is_empty()
            && !revision.is_empty()
        {
            found.push((database.to_owned(), revision.to_owned()));
        }
    }
    found
}

fn any_qualifier(text: &[u8], mut is: impl FnMut(&[u8]) -> bool) -> bool {
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    let mut name = None;
    while let Some(token) = lexer.next_token() {
        match token.kind {
            TokenKind::Dot if name.is_some_and(&mut is) => return true,
            // A string is a name under ANSI_QUOTES; before a dot it is nothing else.
            TokenKind::Word | TokenKind::QuotedName | TokenKind::Text => name = Some(lexer.bytes(token)),
            _ => name = None,
        }
    }
    false
}

fn names_database(name: &[u8], database: &[u8]) -> bool {
    let is = |name: &[u8]| {
        name.get(..database.len()).is_some_and(|start| start.eq_ignore_ascii_case(database))
            && matches!(name.get(database.len()), None | Some(b'/' | b'@'))
    };
    match name {
        [b'`' | b'"' | b'\'', inner @ .., _] if !inner.contains(&name[0]) => is(inner),
        [b'`' | b'"', ..] => is(&name_value(name)),
        bare => is(bare),
    }
}
