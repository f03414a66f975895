//! Owns the lexer of the console: words, quoted texts, comments.
//! Does not know commands.
//! Always: total; a text in quotes is never taken for a keyword.

use super::Refusal;

/// One piece of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Bare: keyword, number, `@@name`.
    Word(String),
    /// In quotes, unescaped.
    Quoted(String),
    /// `,` or `=`.
    Mark(char),
}

/// The rest of a command.
#[derive(Debug, Clone)]
pub struct Tokens {
    all: Vec<Token>,
    next: usize,
}

impl Tokens {
    /// Splits one command; comments and trailing semicolons are dropped.
    pub fn new(sql: &str) -> Result<Self, Refusal> {
        let mut all = Vec::new();
        let mut ended = false;
        let mut rest = sql;
        while let Some(c) = rest.chars().next() {
            if c.is_whitespace() || c == ';' {
                ended |= c == ';' && !all.is_empty();
                rest = &rest[c.len_utf8()..];
                continue;
            }
            if let Some(after) = comment(rest)? {
                rest = after;
                continue;
            }
            if ended {
                return Err(Refusal::syntax(
                    "the console takes one command at a time; send what follows `;` on its own",
                ));
            }
            match c {
                '\'' | '"' | '`' => {
                    let (text, after) = quoted(rest, c)?;
                    all.push(Token::Quoted(text));
                    rest = after;
                }
                ',' | '=' => {
                    all.push(Token::Mark(c));
                    rest = &rest[1..];
                }
                _ => {
                    let is_end = |c: char| c.is_whitespace() || ";,='\"`".contains(c);
                    let end = rest.find(is_end).unwrap_or(rest.len());
                    all.push(Token::Word(rest[..end].to_owned()));
                    rest = &rest[end..];
                }
            }
        }
        Ok(Self { all, next: 0 })
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.next >= self.all.len()
    }

    /// Takes these keywords if they are next, whatever their case.
    pub fn take_words(&mut self, words: &[&str]) -> bool {
        let matches = words.iter().enumerate().all(|(i, word)| match self.all.get(self.next + i) {
            Some(Token::Word(written)) => written.eq_ignore_ascii_case(word),
            _ => false,
        });
        if matches {
            self.next += words.len();
        }
        matches
    }

    /// Takes the mark if it is next.
    pub fn take_mark(&mut self, mark: char) -> bool {
        let matches = self.all.get(self.next) == Some(&Token::Mark(mark));
        self.next += usize::from(matches);
        matches
    }

    /// Takes a bare word.
    pub fn word(&mut self) -> Option<String> {
        match self.all.get(self.next) {
            Some(Token::Word(word)) => {
                self.next += 1;
                Some(word.clone())
            }
            _ => None,
        }
    }

    /// Takes a value, in quotes or bare, with an optional `=` before it.
    pub fn value(&mut self, after: &str) -> Result<String, Refusal> {
        self.take_mark('=');
        match self.all.get(self.next) {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                self.next += 1;
                Ok(text.clone())
            }
            _ => Err(Refusal::syntax(format!("a value is missing after {after}"))),
        }
    }

    /// Takes a number that fits into 32 bits.
    pub fn id(&mut self, after: &str) -> Result<u32, Refusal> {
        let text = self.value(after)?;
        text.parse()
            .map_err(|_| Refusal::bad_value(format!("{after} takes an id, a number; this is {text:?}")))
    }

    /// Nothing may follow.
    pub fn end(&self, usage: &str) -> Result<(), Refusal> {
        match self.all.get(self.next) {
            None => Ok(()),
            Some(token) => {
                let near = match token {
                    Token::Word(text) => text.clone(),
                    Token::Quoted(text) => format!("'{text}'"),
                    Token::Mark(mark) => mark.to_string(),
                };
                Err(Refusal::syntax(format!("unexpected {near}; usage: {usage}")))
            }
        }
    }
}

/// What follows a comment, if there is one.
fn comment(text: &str) -> Result<Option<&str>, Refusal> {
    if text.starts_with('#') || text.starts_with("-- ") || text == "--" || text.starts_with("--\n") {
        return Ok(Some(text.find('\n').map_or("", |end| &text[end + 1..])));
    }
    match text.strip_prefix("/*") {
        None => Ok(None),
        Some(inner) => match inner.find("*/") {
            Some(end) => Ok(Some(&inner[end + 2..])),
            None => Err(Refusal::syntax("a comment /* is not closed")),
        },
    }
}

/// A quoted text and what follows it. Quotes are doubled or, except in backticks, escaped with a backslash.
fn quoted(text: &str, quote: char) -> Result<(String, &str), Refusal> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, '0')) => value.push('\0'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            _ if c == quote => {
                if chars.peek().is_some_and(|(_, next)| *next == quote) {
                    chars.next();
                    value.push(quote);
                } else {
                    return Ok((value, &text[at + 1..]));
                }
            }
            _ => value.push(c),
        }
    }
    Err(Refusal::syntax(format!("a text that begins with {quote} is not closed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lex(sql: &str) -> Result<Vec<Token>, String> {
        Tokens::new(sql).map(|tokens| tokens.all).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn pieces() {
        let word = |text: &str| Token::Word(text.to_owned());
        let quoted = |text: &str| Token::Quoted(text.to_owned());
        assert_eq!(
            lex("/* hi */ ROUTE account='o''x\\'y', database `b``c` -- end\n TO \"z\" ; ; # bye"),
            Ok(vec![
                word("ROUTE"),
                word("account"),
                Token::Mark('='),
                quoted("o'x'y"),
                Token::Mark(','),
                word("database"),
                quoted("b`c"),
                word("TO"),
                quoted("z"),
            ])
        );
        assert_eq!(lex(" ;; "), Ok(vec![]));
        assert_eq!(lex("select @@version_comment limit 1").map(|all| all.len()), Ok(4));
        for (sql, want) in [
            ("SHOW STATUS; SHOW CLIENTS", "one command at a time"),
            ("ROUTE 'x", "not closed"),
            ("ROUTE 'x\\", "not closed"),
            ("/* x", "not closed"),
        ] {
            assert!(lex(sql).unwrap_err().contains(want), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_quoting_round_trips(garbage in ".{0,64}", text in ".{0,32}") {
            let _ = lex(&garbage);
            let quoted = crate::config::rule::quote(&text);
            prop_assert_eq!(lex(&quoted), Ok(vec![Token::Quoted(text)]));
        }
    }
}
