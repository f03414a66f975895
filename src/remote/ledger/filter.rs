//! Owns which conditions a ledger may have, and which columns they look at.
//! Does not ask Dolt. Always: a condition that is taken is one expression over columns of one row; it means the same
//! whenever and wherever it is asked, so that a row's own change is the only thing that can make it publishable.

use crate::statement::lexer::{DoubleQuotes, Lexer, TokenKind, name_value};

/// Longest condition.
const BYTES_MAX: usize = 2000;

/// What may be written; part of every refusal.
pub const ALLOWED: &str = "one condition over the columns of a row, as \"status = 'closed'\": columns, numbers, strings, \
     comparisons, AND, OR, NOT, IN, IS NULL, LIKE, BETWEEN, CASE, and functions that only look at their arguments";

/// Keywords of conditions.
const KEYWORDS: &[&str] = &[
    "and", "or", "not", "xor", "in", "is", "null", "like", "escape", "between", "true", "false", "unknown",
    "regexp", "rlike", "case", "when", "then", "else", "end", "div", "mod", "binary",
];

/// Functions whose answer is made of their arguments alone.
const FUNCTIONS: &[&str] = &[
    "lower",
    "upper",
    "lcase",
    "ucase",
    "trim",
    "ltrim",
    "rtrim",
    "length",
    "char_length",
    "coalesce",
    "ifnull",
    "nullif",
    "if",
    "isnull",
    "left",
    "right",
    "substr",
    "substring",
    "concat",
    "replace",
    "locate",
    "instr",
    "find_in_set",
    "field",
    "date",
    "year",
    "month",
    "day",
    "json_extract",
    "json_contains",
    "json_unquote",
    "json_value",
    "json_valid",
    "json_length",
    "greatest",
    "least",
    "abs",
];

/// Words that no column of ours is called without quotes: another query, the clock, the session.
const REFUSED: &[&str] = &[
    "select",
    "from",
    "where",
    "union",
    "intersect",
    "except",
    "exists",
    "any",
    "all",
    "some",
    "with",
    "table",
    "values",
    "limit",
    "order",
    "group",
    "having",
    "into",
    "join",
    "as",
    "of",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "interval",
    "default",
    "collate",
    "cast",
    "convert",
    "row",
    "match",
    "against",
    "over",
    "window",
];

/// The columns that a condition looks at, in lower case, or why it can't be taken.
pub fn columns(filter: &str) -> Result<Vec<String>, String> {
    if filter.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if filter.len() > BYTES_MAX {
        return Err(format!("has {} bytes, at most {BYTES_MAX} are taken", filter.len()));
    }
    let tokens = tokens(filter)?;
    let mut columns: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    for (at, (kind, text)) in tokens.iter().enumerate() {
        let is_call = matches!(tokens.get(at + 1), Some((TokenKind::Open, _)));
        match kind {
            TokenKind::Word => {
                let word = text.to_lowercase();
                if REFUSED.contains(&word.as_str()) {
                    return Err(format!("has {text} in it"));
                }
                if KEYWORDS.contains(&word.as_str()) {
                    continue;
                }
                if is_call && !FUNCTIONS.contains(&word.as_str()) {
                    return Err(format!("calls {text}, which is none of {}", FUNCTIONS.join(", ")));
                }
                if !is_call {
                    columns.push(word);
                }
            }
            TokenKind::QuotedName if is_call => return Err(format!("calls {text}")),
            TokenKind::QuotedName => {
                columns.push(String::from_utf8_lossy(&name_value(text.as_bytes())).to_lowercase());
            }
            TokenKind::Open => depth += 1,
            TokenKind::Close => {
                depth = depth.checked_sub(1).ok_or("closes a parenthesis that it did not open")?;
            }
            TokenKind::Text | TokenKind::Number | TokenKind::Comma | TokenKind::Equals => {}
            TokenKind::Other if "<>!+-*/%&|^~".contains(text.as_str()) => {}
            _ => return Err(format!("has {text} in it")),
        }
    }
    if depth > 0 {
        return Err("opens a parenthesis that it does not close".to_owned());
    }
    if columns.is_empty() {
        return Err("looks at no column: it would publish all rows or none".to_owned());
    }
    columns.sort_unstable();
    columns.dedup();
    Ok(columns)
}

/// All tokens, with nothing but blanks between them.
fn tokens(filter: &str) -> Result<Vec<(TokenKind, String)>, String> {
    let bytes = filter.as_bytes();
    let mut lexer = Lexer::new(bytes, DoubleQuotes::Text);
    let (mut tokens, mut end) = (Vec::new(), 0);
    while let Some(token) = lexer.next_token() {
        let is_blank = bytes.get(end..token.start).is_some_and(|gap| gap.iter().all(u8::is_ascii_whitespace));
        if !is_blank || lexer.in_comment() {
            return Err("has a comment in it".to_owned());
        }
        if token.kind == TokenKind::Error {
            return Err("has a quote that is not closed".to_owned());
        }
        tokens.push((token.kind, String::from_utf8_lossy(lexer.bytes(token)).into_owned()));
        end = token.end;
    }
    match bytes[end..].iter().all(u8::is_ascii_whitespace) {
        true => Ok(tokens),
        false => Err("has a comment in it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn conditions_and_their_columns() {
        for (filter, want) in [
            ("status = 'closed'", &["status"][..]),
            ("status IN ('closed', 'done') AND NOT (Private <=> 1)", &["private", "status"]),
            ("`Status` <> \"open\" or lower(kind) like 'x%'", &["kind", "status"]),
            ("json_extract(meta, '$.public') = true and n between -1 and 1.5", &["meta", "n"]),
            ("meta->>'$.a' = 'it''s; -- no comment'", &["meta"]),
            ("case when a is null then b else 0 end", &["a", "b"]),
        ] {
            assert_eq!(columns(filter).unwrap_or_else(|error| panic!("{filter}: {error}")), want);
        }
    }

    #[test]
    fn what_is_refused() {
        for (filter, want) in [
            ("", "is empty"),
            ("  ", "is empty"),
            ("status = 'closed' -- x", "comment"),
            ("status = 'closed' # x", "comment"),
            ("status /* x */ = 'closed'", "comment"),
            ("status /*! = 'closed' */", "comment"),
            ("status = 'closed'; DROP TABLE x", "has ; in it"),
            ("status = 'closed", "not closed"),
            ("status = 'closed') OR (1 = 1", "did not open"),
            ("(status = 'closed'", "does not close"),
            ("id IN (SELECT id FROM x)", "has SELECT in it"),
            ("exists(table x)", "has exists in it"),
            ("closed_at < now()", "calls now"),
            ("closed_at < current_timestamp", "has current_timestamp in it"),
            ("a < b + interval 1 day", "has interval in it"),
            ("sleep(1) or a", "calls sleep"),
            ("`sleep`(1) or a", "calls `sleep`"),
            ("load_file('/x') = a", "calls load_file"),
            ("a = @x", "has @x in it"),
            ("a = @@version", "has @@version in it"),
            ("issues.status = 'closed'", "has . in it"),
            ("1 = 1", "no column"),
            ("a = ?", "has ? in it"),
        ] {
            let refused = columns(filter).expect_err(filter);
            assert!(refused.contains(want), "{filter}: {refused}");
        }
        assert!(columns(&format!("a = '{}'", "x".repeat(BYTES_MAX))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_inside_its_parentheses(filter in "[a-c ()'\"`;#/*.,=-]{0,30}") {
            if columns(&filter).is_ok() {
                let whole = format!("({filter}) AND x");
                let tokens = tokens(&whole).unwrap();
                let mut depth = 0;
                let closed_at = tokens.iter().position(|(kind, _)| {
                    depth += i32::from(*kind == TokenKind::Open) - i32::from(*kind == TokenKind::Close);
                    depth == 0
                });
                prop_assert_eq!(closed_at, Some(tokens.len() - 3), "{}", whole);
            }
        }
    }
}
