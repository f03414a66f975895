//! Owns cutting a script into statements: quotes, comments, `DELIMITER`.
//! Does not run anything and does not know SQL beyond that. Always: total.

/// Cuts statements from text that arrives in pieces.
#[derive(Debug)]
pub struct Splitter {
    pending: String,
    delimiter: String,
}

impl Splitter {
    /// Nothing pending, `;` between statements.
    pub fn new() -> Self {
        Self { pending: String::new(), delimiter: ";".to_owned() }
    }

    /// Adds text; `next` cuts it.
    pub fn push(&mut self, text: &str) {
        self.pending.push_str(text);
    }

    /// Drops what was not finished.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// Whether a statement was begun.
    pub fn is_pending(&self) -> bool {
        !without_comments(&self.pending).is_empty()
    }

    /// The next statement that has its delimiter.
    pub fn next_statement(&mut self) -> Option<String> {
        loop {
            self.take_delimiter_commands();
            let end = find_end(&self.pending, &self.delimiter)?;
            let statement = self.pending[..end].trim().to_owned();
            self.pending.drain(..end + self.delimiter.len());
            if !without_comments(&statement).is_empty() {
                return Some(statement);
            }
        }
    }

    /// What is left without its delimiter, at the end of the input.
    pub fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        let rest = rest.trim();
        (!without_comments(rest).is_empty()).then(|| rest.to_owned())
    }

    /// `DELIMITER x` is a line of its own and for the client, not for the server.
    fn take_delimiter_commands(&mut self) {
        loop {
            let trimmed = self.pending.trim_start();
            let Some((line, after)) = trimmed.split_once('\n') else { return };
            let Some((word, delimiter)) = line.trim().split_once(char::is_whitespace) else { return };
            if !word.eq_ignore_ascii_case("delimiter") || delimiter.trim().is_empty() {
                return;
            }
            self.delimiter = delimiter.trim().to_owned();
            self.pending = after.to_owned();
        }
    }
}

/// Where the delimiter stands outside of quotes and comments.
fn find_end(text: &str, delimiter: &str) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(delimiter) {
            return Some(at);
        }
        at += skip(rest)?;
    }
    None
}

/// Length of the comment, quoted text or character that `text` begins with; none if it is not closed.
fn skip(text: &str) -> Option<usize> {
    if let Some(len) = comment_len(text) {
        return len;
    }
    let quote = text.chars().next()?;
    if !matches!(quote, '\'' | '"' | '`') {
        return Some(quote.len_utf8());
    }
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote {
            // A doubled quote is seen as the beginning of the next quoted text, which comes to the same.
            return Some(at + 1);
        }
    }
    None
}

/// `Some(None)` is a comment that is not closed.
fn comment_len(text: &str) -> Option<Option<usize>> {
    let line = text.starts_with('#')
        || text
            .strip_prefix("--")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
    if line {
        return Some(Some(text.find('\n').map_or(text.len(), |end| end + 1)));
    }
    text.starts_with("/*").then(|| text[2..].find("*/").map(|end| end + 4))
}

/// What is left of the text without its leading comments; `/*!` and `/*+` are for the server.
fn without_comments(text: &str) -> &str {
    let mut rest = text.trim_start();
    while !rest.starts_with("/*!") && !rest.starts_with("/*+") {
        match comment_len(rest) {
            Some(Some(len)) => rest = rest[len..].trim_start(),
            Some(None) | None => break,
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(script: &str) -> (Vec<String>, Option<String>) {
        let mut splitter = Splitter::new();
        splitter.push(script);
        let all = std::iter::from_fn(|| splitter.next_statement()).collect();
        (all, splitter.rest())
    }

    #[test]
    fn scripts() {
        for (script, want, rest) in [
            ("SELECT 1; SELECT 2;", vec!["SELECT 1", "SELECT 2"], None),
            ("SELECT 1", vec![], Some("SELECT 1")),
            (
                "SELECT ';', \";\", `;`, 'it''s;', 'a\\';';",
                vec!["SELECT ';', \";\", `;`, 'it''s;', 'a\\';'"],
                None,
            ),
            ("-- a;\n# b;\n/* c; */ SELECT 1 -- d;\n;", vec!["-- a;\n# b;\n/* c; */ SELECT 1 -- d;"], None),
            ("SELECT 1--2;", vec!["SELECT 1--2"], None),
            (";;-- only a comment\n;", vec![], None),
            ("/*!40101 SET x=1 */;", vec!["/*!40101 SET x=1 */"], None),
            (
                "DELIMITER //\nCREATE TRIGGER t BEGIN SELECT 1; END//\ndelimiter ;\nSELECT 2;",
                vec!["CREATE TRIGGER t BEGIN SELECT 1; END", "SELECT 2"],
                None,
            ),
            ("SELECT 'open; SELECT 2;", vec![], Some("SELECT 'open; SELECT 2;")),
        ] {
            let (statements, left) = split(script);
            assert_eq!(
                (statements, left.as_deref()),
                (want.iter().map(|s| (*s).to_owned()).collect(), rest),
                "{script}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_pieces_do_not_matter(script in "[a ;'\"`/*#\\\\\n-]{0,40}", cut in 0_usize..40) {
            let whole = split(&script);
            let cut = cut.min(script.len());
            let mut splitter = Splitter::new();
            let mut all = Vec::new();
            // A delimiter inside what may become a comment or a doubled quote is only known with the next piece,
            // so pieces are lines, as they are read.
            let cut = script[..cut].rfind('\n').map_or(0, |at| at + 1);
            for piece in [&script[..cut], &script[cut..]] {
                splitter.push(piece);
                all.extend(std::iter::from_fn(|| splitter.next_statement()));
            }
            prop_assert_eq!((all, splitter.rest()), whole);
        }
    }
}
