//! Owns which database and revision a statement names where it names the table that it writes: `` INSERT INTO `db/branch`.t ``.
//! Does not find every such statement (attribution finds every lane): only those that say it at their beginning.

use super::lexer::{DoubleQuotes, Lexer, Token, TokenKind, name_value};

/// Statements that begin so write to the table whose name comes next.
const VERBS: [&str; 8] = ["INSERT", "REPLACE", "UPDATE", "DELETE", "TRUNCATE", "CREATE", "ALTER", "DROP"];
/// What may stand between.
const BETWEEN: [&str; 15] = [
    "INTO",
    "FROM",
    "IGNORE",
    "LOW_PRIORITY",
    "HIGH_PRIORITY",
    "DELAYED",
    "QUICK",
    "TABLE",
    "VIEW",
    "TRIGGER",
    "OR",
    "REPLACE",
    "IF",
    "NOT",
    "EXISTS",
];

/// Database and revision in front of the first statement's table.
pub fn written(text: &[u8]) -> Option<(String, String)> {
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    let first = lexer.next_token()?;
    let is_one_of =
        |word: &[u8], words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    if first.kind != TokenKind::Word || !is_one_of(&text[first.start..first.end], &VERBS) {
        return None;
    }
    let name = loop {
        let token = lexer.next_token()?;
        let word = &text[token.start..token.end];
        if token.kind != TokenKind::Word || !is_one_of(word, &BETWEEN) {
            break token;
        }
    };
    if name.kind != TokenKind::QuotedName || lexer.next_token()?.kind != TokenKind::Dot {
        return None;
    }
    let name = String::from_utf8(name_value(&text[name.start..name.end])).ok()?;
    let (database, revision) = name.split_once(['/', '@'])?;
    Some((database.to_owned(), revision.to_owned()))
}

/// The database of the one table or view that a statement writes, while it may read any others: INSERT, REPLACE, CREATE
/// TABLE, CREATE VIEW. `Some(None)`: it is in the current one. `None`: another statement.
pub fn target(text: &[u8]) -> Option<Option<String>> {
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    let first = lexer.next_token().filter(|token| token.kind == TokenKind::Word)?;
    let word = |token: Token| text[token.start..token.end].to_ascii_uppercase();
    let between: &[&str] = match word(first).as_slice() {
        b"INSERT" | b"REPLACE" => &["INTO", "IGNORE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED"],
        b"CREATE" => &["OR", "REPLACE", "TABLE", "VIEW", "IF", "NOT", "EXISTS"],
        _ => return None,
    };
    let mut is_table = !between.contains(&"TABLE");
    let name = loop {
        let token = lexer.next_token()?;
        let word = word(token);
        if token.kind != TokenKind::Word || !between.iter().any(|known| known.as_bytes() == word) {
            break token;
        }
        is_table |= word == b"TABLE" || word == b"VIEW";
    };
    let database = match name.kind {
        _ if !is_table => return None,
        TokenKind::Word => text[name.start..name.end].to_vec(),
        TokenKind::QuotedName => name_value(&text[name.start..name.end]),
        _ => return None,
    };
    if lexer.next_token().is_none_or(|token| token.kind != TokenKind::Dot) {
        return Some(None);
    }
    let database = String::from_utf8(database).ok()?;
    Some(database.split(['/', '@']).next().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_of_what_is_written() {
        let there = Some(("p".to_owned(), "peer/alice/main".to_owned()));
        for text in [
            "INSERT INTO `p/peer/alice/main`.t VALUES (1)",
            "/* x */ insert ignore `p/peer/alice/main`.t SELECT * FROM t",
            "UPDATE `p@peer/alice/main`.t SET a = 1",
            "DELETE FROM `p/peer/alice/main`.`t`",
            "TRUNCATE TABLE `p/peer/alice/main`.t",
            "CREATE TABLE IF NOT EXISTS `p/peer/alice/main`.t (a INT)",
        ] {
            assert_eq!(written(text.as_bytes()), there, "{text}");
        }
        for text in [
            "INSERT INTO t SELECT * FROM `p/peer/alice/main`.t",
            "UPDATE t JOIN `p/peer/alice/main`.t x SET t.a = x.a",
            "SELECT * FROM `p/peer/alice/main`.t",
            "INSERT INTO p.t VALUES (1)",
            "INSERT INTO `p/peer/alice/main`",
            "",
        ] {
            assert_eq!(written(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_while_others_are_read() {
        for (text, want) in [
            ("INSERT INTO own SELECT * FROM p_ledger.t", Some(None)),
            ("insert ignore own (a) SELECT a FROM p_ledger.t", Some(None)),
            ("/* x */ REPLACE INTO p.own SELECT * FROM p_ledger.t", Some(Some("p"))),
            ("INSERT INTO p_ledger.t SELECT * FROM own", Some(Some("p_ledger"))),
            ("INSERT INTO `p_ledger/main` . `t` VALUES (1)", Some(Some("p_ledger"))),
            ("CREATE TABLE IF NOT EXISTS own AS SELECT * FROM p_ledger.t", Some(None)),
            ("CREATE OR REPLACE VIEW p.v AS SELECT * FROM p_ledger.t", Some(Some("p"))),
            ("CREATE INDEX i ON p_ledger.t (a)", None),
            ("CREATE TRIGGER x BEFORE INSERT ON p_ledger.t FOR EACH ROW SET @a = 1", None),
            ("UPDATE own SET a = 1", None),
            ("DELETE FROM p_ledger.t", None),
            ("INSERT", None),
        ] {
            let want = want.map(|database: Option<&str>| database.map(str::to_owned));
            assert_eq!(target(text.as_bytes()), want, "{text}");
        }
    }
}
