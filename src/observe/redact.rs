//! Owns what of a statement may be shown: on the console, in errors to other clients, in the log.
//! Does not parse SQL: it hides too much rather than too little.
//! Always: one line, bounded; no password that stands behind a word that announces it, no user info of a URL.

/// Characters shown at most.
const CHARS_MAX: usize = 200;
/// Bytes looked at. What announces a secret stands before it, so what is past this can't change what is shown.
const LOOKED_AT_BYTES_MAX: usize = 4096;
/// Words shown of a statement that may hold a secret.
const WORDS_MAX: usize = 3;
/// Parts of words that announce a secret, in lower case: `IDENTIFIED BY`, `SET PASSWORD`, `MASTER_PASSWORD`,
/// `mysql.user`'s column, and what people call the columns and options that hold one.
const ANNOUNCERS: [&str; 9] = [
    "identified",
    "password",
    "passwd",
    "passphrase",
    "authentication_string",
    "secret",
    "credential",
    "token",
    "private_key",
];

/// A statement's text, fit to be shown. Cheap also for a text of megabytes.
pub fn statement(text: &(impl AsRef<[u8]> + ?Sized)) -> String {
    let bytes = text.as_ref();
    let looked_at = &bytes[..bytes.len().min(LOOKED_AT_BYTES_MAX)];
    let is_cut = looked_at.len() < bytes.len();
    let text = String::from_utf8_lossy(looked_at);
    if announcer_in(&text) {
        return first_words(&text);
    }
    shorten(&without_user_info(&text, is_cut), CHARS_MAX, is_cut)
}

/// One line of at most `chars_max` characters; what is missing at the end is a `…`.
pub fn cut(text: &str, chars_max: usize) -> String {
    shorten(text, chars_max, false)
}

/// A message of any length with `***` for the user info of each URL in it.
pub fn urls(text: &str) -> String {
    without_user_info(text, false)
}

fn announcer_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let starts = |at: usize, word: &str| {
        bytes.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
    };
    (0..bytes.len())
        .any(|at| bytes[at].is_ascii_alphabetic() && ANNOUNCERS.iter().any(|word| starts(at, word)))
}

/// `CREATE USER …`: bare words up to the first that announces a secret.
fn first_words(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::new();
    for _ in 0..WORDS_MAX {
        rest = skip_blank(rest);
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '`');
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        shown.push_str(&cut(word, 64));
        shown.push(' ');
        if announcer_in(word) {
            break;
        }
        rest = &rest[end..];
    }
    shown.push('…');
    shown
}

/// Blanks, comments that are none of a version, and parentheses in front of a statement.
fn skip_blank(text: &str) -> &str {
    let mut rest = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    while rest.starts_with("/*") {
        let Some(end) = rest.find("*/") else { return "" };
        rest = rest[end + 2..].trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    }
    rest
}

/// `https://user:password@host` with `***` for what is before the last `@` of the word. An `@` that may come
/// after what was looked at counts.
fn without_user_info(text: &str, is_cut: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let word_end = after.find(char::is_whitespace);
        let word = &after[..word_end.unwrap_or(after.len())];
        rest = &after[word.len()..];
        match word.rfind('@') {
            Some(at) => {
                shown.push_str("***");
                shown.push_str(&word[at..]);
            }
            None if is_cut && word_end.is_none() => shown.push_str("***"),
            None => shown.push_str(word),
        }
    }
    shown.push_str(rest);
    shown
}

fn shorten(text: &str, chars_max: usize, is_cut: bool) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut shown = String::with_capacity(text.len().min(chars_max * 4));
    let mut chars = 0;
    for word in words {
        let blank = if shown.is_empty() { "" } else { " " };
        for c in blank.chars().chain(word.chars()) {
            if chars == chars_max {
                return marked(shown);
            }
            shown.push(c);
            chars += 1;
        }
    }
    match is_cut {
        true if chars == chars_max => marked(shown),
        true => shown + "…",
        false => shown,
    }
}

/// Its last character gives way to the mark.
fn marked(mut shown: String) -> String {
    shown.pop();
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_without_secrets_are_shown_in_one_line() {
        for (text, want) in [
            ("UPDATE t SET n = n + 1", "UPDATE t SET n = n + 1"),
            ("  INSERT INTO t\n\tVALUES (1,\r\n 'é')  ", "INSERT INTO t VALUES (1, 'é')"),
            ("SELECT '\u{1b}[2J\u{0}x'", "SELECT ' [2J x'"),
            ("SELECT a@b, 'http://host/x'", "SELECT a@b, 'http://host/x'"),
            ("", ""),
        ] {
            assert_eq!(statement(text), want);
        }
        assert_eq!(statement(b"SELECT '\xff'"), "SELECT '\u{fffd}'", "bytes that are not UTF-8");
    }

    #[test]
    fn statements_that_announce_a_secret_show_their_first_words() {
        for (text, want) in [
            ("CREATE USER 'bob'@'%' IDENTIFIED BY 'hunter2'", "CREATE USER …"),
            ("create user bob identified with caching_sha2_password by 'hunter2'", "create user bob …"),
            ("ALTER USER IF EXISTS bob IDENTIFIED BY 'hunter2'", "ALTER USER IF …"),
            ("/* by ops */ GRANT ALL ON *.* TO bob IDENTIFIED BY 'hunter2'", "GRANT ALL ON …"),
            ("SET PASSWORD = 'hunter2'", "SET PASSWORD …"),
            ("SET PASSWORD FOR 'bob' = 'hunter2'", "SET PASSWORD …"),
            ("set @old_password='hunter2'", "set …"),
            ("/*!50000 SET PASSWORD = 'hunter2' */", "…"),
            ("UPDATE mysql.user SET authentication_string='hunter2'", "UPDATE mysql.user SET …"),
            ("UPDATE users SET Passwd='hunter2'", "UPDATE users SET …"),
            ("CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='hunter2'", "CHANGE REPLICATION SOURCE …"),
            ("SELECT 1; CREATE USER bob IDENTIFIED BY 'hunter2'", "SELECT …"),
            ("PREPARE s FROM 'CREATE USER bob IDENTIFIED BY ''hunter2'''", "PREPARE s FROM …"),
            ("(SELECT PASSWORD('hunter2'))", "SELECT PASSWORD …"),
            ("CALL DOLT_REMOTE('add','o','https://h/x?token=hunter2')", "CALL DOLT_REMOTE …"),
            ("'hunter2' IDENTIFIED", "…"),
        ] {
            assert_eq!(statement(text), want, "{text}");
        }
    }

    #[test]
    fn user_info_of_urls_is_masked() {
        for (text, want) in [
            (
                "CALL DOLT_REMOTE('add', 'origin', 'https://bob:hunter2@host:443/db')",
                "CALL DOLT_REMOTE('add', 'origin', 'https://***@host:443/db')",
            ),
            ("CALL DOLT_CLONE('http://hunter2@host/db')", "CALL DOLT_CLONE('http://***@host/db')"),
            ("CALL DOLT_CLONE('http://bob:hun/te@r2@host/db')", "CALL DOLT_CLONE('http://***@host/db')"),
            ("CALL DOLT_CLONE('http://bob:hun''ter2@host/db')", "CALL DOLT_CLONE('http://***@host/db')"),
            ("'git+ssh://git:hunter2@a/b' 'x://c:hunter2@d'", "'git+ssh://***@a/b' 'x://***@d'"),
            ("x://", "x://"),
        ] {
            assert_eq!(statement(text), want);
        }
    }

    #[test]
    fn long_texts_are_cut_and_marked() {
        let long = statement(&"é".repeat(5000));
        assert_eq!((long.chars().count(), long.ends_with("é…")), (CHARS_MAX, true));
        assert_eq!(cut("abcde", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("a  b\nc", 80), "a b c");
        // The end of the URL's first part is past what is looked at.
        let url = format!("CALL DOLT_CLONE('https://hunter2{}@host')", "x".repeat(LOOKED_AT_BYTES_MAX));
        assert_eq!(statement(&url), "CALL DOLT_CLONE('https://***…");
        let blank = format!("SELECT{}1", " ".repeat(LOOKED_AT_BYTES_MAX));
        assert_eq!(statement(&blank), "SELECT…");
    }

    proptest! {
        #[test]
        fn anything_gives_one_short_line(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let shown = statement(&bytes);
            prop_assert!(shown.chars().count() <= CHARS_MAX && !shown.contains(char::is_control));
        }

        #[test]
        fn a_password_is_never_shown(before in "[ -~]{0,60}", by in 0..ANNOUNCERS.len(), blank in "[ =('\"]{1,4}") {
            let text = format!("{before} {}{blank}hunter2", ANNOUNCERS[by].to_uppercase());
            prop_assert!(!statement(&text).contains("hunter2"), "{}", statement(&text));
        }

        #[test]
        fn user_info_is_never_shown(before in "[ -~]{0,60}", scheme in "[a-z+]{1,8}", user in "[a-z:/?#'@]{0,9}") {
            let text = format!("{before} '{scheme}://{user}hunter2@host/db'");
            prop_assert!(!statement(&text).contains("hunter2"), "{}", statement(&text));
        }
    }
}
