//! Owns the rules for branch names.
//! Does not know which branches exist.
//! Always: a name that passes is one that Dolt accepts for a new branch, and stands as it is inside `'…'` or `` `…` ``.

/// Longest name that a route may come up with.
pub const BRANCH_NAME_BYTES_MAX: usize = 255;

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Over `BRANCH_NAME_BYTES_MAX`.
    #[error("it is longer than 255 bytes")]
    TooLong,
    /// `HEAD` or `@`.
    #[error("HEAD and @ mean something else to Dolt")]
    Reserved,
    /// `-x`: `DOLT_CHECKOUT` would take it for an option.
    #[error("Dolt would take a name that begins with - for an option")]
    LeadingDash,
    /// 32 characters of 0-9 and a-v.
    #[error("Dolt would take it for a commit hash")]
    LooksLikeHash,
    /// Not ASCII, a control character, or one that Dolt refuses.
    #[error("branch names have no spaces, control or non-ASCII characters and none of : ? [ \\ ^ ~ *")]
    Character,
    /// A quote, which Dolt would accept; we don't, since names end up in statements.
    #[error("a routed branch name has no quotes or backticks")]
    Quote,
    /// `/x`, `x/`, `x//y`.
    #[error("it has an empty part before, between or after slashes")]
    EmptyComponent,
    /// `.x`, `x..y`, `x.`, `x.lock`, `x@{`.
    #[error(
        "its parts may not begin with a dot, contain .. or @{{ or end with .lock, nor the name with a dot"
    )]
    Component,
}

/// Checks a name that a route came up with, by the rules of Dolt's `IsValidUserBranchName` and
/// `ValidateDatasetId`.
pub fn check(name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::Empty);
    }
    if name.len() > BRANCH_NAME_BYTES_MAX {
        return Err(Problem::TooLong);
    }
    for byte in name.bytes() {
        match byte {
            b'\'' | b'"' | b'`' => return Err(Problem::Quote),
            0..=b' ' | 0x7f.. | b'*' | b':' | b'?' | b'[' | b'\\' | b'^' | b'~' => {
                return Err(Problem::Character);
            }
            _ => {}
        }
    }
    // Dolt refuses `HEAD` and `head` only, but matches names case-insensitively.
    if name.eq_ignore_ascii_case("head") || name == "@" {
        return Err(Problem::Reserved);
    }
    if name.starts_with('-') {
        return Err(Problem::LeadingDash);
    }
    if name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v')) {
        return Err(Problem::LooksLikeHash);
    }
    if name.split('/').any(str::is_empty) {
        return Err(Problem::EmptyComponent);
    }
    let bad_component = |part: &str| part.starts_with('.') || part.ends_with(".lock");
    if name.ends_with('.') || name.contains("..") || name.contains("@{") || name.split('/').any(bad_component)
    {
        return Err(Problem::Component);
    }
    Ok(())
}

/// A name that may hold anything, for a message: control characters escaped, cut at 64 characters.
pub fn printable(name: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    let mut text: String = name.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARACTERS_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        use Problem::*;
        let long = "a".repeat(256);
        for (name, want) in [
            ("main", Ok(())),
            ("polecat-nux", Ok(())),
            ("Polecat_1.2", Ok(())),
            ("feature/a/b", Ok(())),
            ("a@b", Ok(())),
            ("a/-b", Ok(())),
            ("", Err(Empty)),
            (&long, Err(TooLong)),
            (&long[..255], Ok(())),
            ("HEAD", Err(Reserved)),
            ("head", Err(Reserved)),
            ("-", Err(LeadingDash)),
            ("-b", Err(LeadingDash)),
            ("--force", Err(LeadingDash)),
            ("@", Err(Reserved)),
            ("0123456789abcdefghijklmnopqrstuv", Err(LooksLikeHash)),
            ("0123456789abcdefghijklmnopqrstuw", Ok(())),
            ("x y", Err(Character)),
            ("x\ty", Err(Character)),
            ("x\0y", Err(Character)),
            ("é", Err(Character)),
            ("a*", Err(Character)),
            ("a~1", Err(Character)),
            ("a^", Err(Character)),
            ("a\\", Err(Character)),
            ("x'); DROP TABLE t; --", Err(Quote)),
            ("x`", Err(Quote)),
            ("x\"", Err(Quote)),
            ("/x", Err(EmptyComponent)),
            ("x/", Err(EmptyComponent)),
            ("x//y", Err(EmptyComponent)),
            (".x", Err(Component)),
            ("a/.x", Err(Component)),
            ("a..b", Err(Component)),
            ("a.", Err(Component)),
            ("a.lock", Err(Component)),
            ("a.lock/b", Err(Component)),
            ("a@{1}", Err(Component)),
        ] {
            assert_eq!(check(name), want, "{name:?}");
        }
    }

    #[test]
    fn messages_stay_printable_and_short() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(printable(&"é".repeat(65)).chars().count(), 65);
    }

    proptest! {
        #[test]
        fn what_passes_needs_no_escape(name in r#"[a-z'"`;\\/\x00-\x20.@-]{0,12}"#) {
            if check(&name).is_ok() {
                prop_assert!(!name.starts_with('-'));
                prop_assert!(!name.contains(['\'', '"', '`', '\\', ' ', '\0']));
            }
            let _ = printable(&name);
        }
    }
}
