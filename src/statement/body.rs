//! Where the body of CREATE PROCEDURE, TRIGGER, EVENT or FUNCTION ends: its inner `;` end no statement.
//! Does not parse the statements in it. Always: a nesting that is not understood makes the reader unsure.

use super::lexer::TokenKind;
use super::reader::Reader;

/// Deepest nesting that is followed.
const DEPTH_MAX: usize = 64;

/// What `END` closes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// BEGIN, IF, LOOP, REPEAT, WHILE, CASE as a statement.
    Statements,
    /// CASE as an expression: what follows its THEN and ELSE are values.
    CaseExpression,
}

/// From the word PROCEDURE, FUNCTION, TRIGGER or EVENT to the statement's end.
pub(super) fn skip(reader: &mut Reader<'_>) {
    let known = if reader.pass_word("trigger") {
        skip_past_word(reader, "row") && {
            if reader.pass_word("follows") || reader.pass_word("precedes") {
                reader.advance();
            }
            true
        }
    } else if reader.pass_word("event") {
        skip_past_word(reader, "do")
    } else {
        reader.advance();
        skip_routine_header(reader)
    };
    if known {
        skip_body(reader);
    }
    reader.skip_rest();
}

fn skip_past_word(reader: &mut Reader<'_>, word: &str) -> bool {
    while !reader.at_end() {
        if reader.pass_word(word) {
            return true;
        }
        reader.advance();
    }
    false
}

/// To the first word of a routine's body; false if there is none.
fn skip_routine_header(reader: &mut Reader<'_>) -> bool {
    let (mut depth, mut parameters) = (0usize, false);
    while !reader.at_end() {
        match reader.kind() {
            Some(TokenKind::Open) => depth += 1,
            Some(TokenKind::Close) => {
                depth = depth.saturating_sub(1);
                parameters |= depth == 0;
            }
            Some(TokenKind::Word) if parameters && depth == 0 && !is_characteristic(reader) => return true,
            Some(TokenKind::QuotedName) if parameters && depth == 0 => return true,
            _ => {}
        }
        reader.advance();
    }
    false
}

fn is_characteristic(reader: &Reader<'_>) -> bool {
    const WORDS: [&str; 21] = [
        "comment",
        "language",
        "sql",
        "not",
        "deterministic",
        "contains",
        "no",
        "reads",
        "data",
        "modifies",
        "security",
        "definer",
        "invoker",
        "returns",
        "charset",
        "character",
        "collate",
        "unsigned",
        "int",
        "varchar",
        "text",
    ];
    WORDS.iter().any(|word| reader.at_word(word))
}

/// From the first word of the body.
fn skip_body(reader: &mut Reader<'_>) {
    let mut blocks = [Block::Statements; DEPTH_MAX];
    let mut depth = 0;
    // Whether a statement begins here: only there IF, REPEAT and WHILE are not functions or options.
    let mut begins = true;
    while let Some(kind) = reader.kind() {
        if kind == TokenKind::Error || (kind == TokenKind::Semicolon && depth == 0) {
            break;
        }
        let began = begins;
        begins = match kind {
            TokenKind::Semicolon => true,
            // `label: BEGIN`
            TokenKind::Colon => true,
            TokenKind::Word => {
                let case_expression = depth > 0 && blocks[depth - 1] == Block::CaseExpression;
                let open = if reader.at_word("begin") {
                    Some((Block::Statements, true))
                } else if reader.at_word("case") {
                    Some((if began { Block::Statements } else { Block::CaseExpression }, false))
                } else if began && (reader.at_word("loop") || reader.at_word("repeat")) {
                    Some((Block::Statements, true))
                } else if began && (reader.at_word("if") || reader.at_word("while")) {
                    Some((Block::Statements, false))
                } else {
                    None
                };
                if let Some((block, begins)) = open {
                    if depth == DEPTH_MAX {
                        reader.unsure = true;
                        break;
                    }
                    blocks[depth] = block;
                    depth += 1;
                    begins
                } else if reader.at_word("end") {
                    if depth == 0 {
                        reader.unsure = true;
                        break;
                    }
                    depth -= 1;
                    reader.advance();
                    if ["if", "case", "loop", "repeat", "while"].iter().any(|word| reader.at_word(word)) {
                        reader.advance();
                    }
                    begins = false;
                    continue;
                } else {
                    !case_expression
                        && (reader.at_word("then") || reader.at_word("else") || reader.at_word("do"))
                }
            }
            _ => false,
        };
        reader.advance();
    }
    // The text ended inside the body.
    reader.unsure |= depth > 0;
}
