//! What MySQL clients send by themselves: variables, SET, SHOW WARNINGS, transactions.

use super::Handled;
use crate::admin::answer::{Answer, Cell, Table};
use crate::admin::guard;
use crate::admin::tokens::Tokens;

pub fn handle(tokens: &mut Tokens) -> Handled {
    if tokens.take_words(&["SELECT"]) {
        return select(tokens);
    }
    if tokens.take_words(&["SHOW", "WARNINGS"]) || tokens.take_words(&["SHOW", "ERRORS"]) {
        return Some(Ok(Answer::Rows(Table::new(["Level", "Code", "Message"]))));
    }
    if tokens.take_words(&["SHOW", "DATABASES"]) {
        return Some(Ok(Answer::Rows(Table::new(["Database"]))));
    }
    if tokens.take_words(&["SHOW", "TABLES"]) {
        return Some(Ok(Answer::Rows(Table::new(["Tables"]))));
    }
    // There is nothing that these could change here.
    for nothing in ["SET", "BEGIN", "START", "COMMIT", "ROLLBACK"] {
        if tokens.take_words(&[nothing]) {
            return Some(Ok(Answer::Done(String::new())));
        }
    }
    None
}

/// `SELECT @@a, @@b`, `SELECT DATABASE()`, `SELECT 1`: the columns are named as they were written.
fn select(tokens: &mut Tokens) -> Handled {
    let mut columns = Vec::new();
    let mut row = Vec::new();
    loop {
        let word = tokens.word()?;
        row.push(value(&word)?);
        columns.push(word);
        if !tokens.take_mark(',') {
            break;
        }
    }
    tokens.take_words(&["LIMIT", "1"]);
    tokens.is_empty().then(|| Ok(Answer::Rows(Table { columns, rows: vec![row] })))
}

/// Unknown variables are NULL: clients ask for many, and none matters here.
fn value(word: &str) -> Option<Cell> {
    let lower = word.to_lowercase();
    if lower.bytes().all(|b| b.is_ascii_digit()) {
        return lower.parse::<u64>().ok().map(Cell::from);
    }
    if matches!(lower.as_str(), "database()" | "schema()") {
        return Some(Cell::Null);
    }
    if matches!(lower.as_str(), "user()" | "current_user()") {
        return Some("console".into());
    }
    if lower == "version()" {
        return Some(version());
    }
    let name = lower.strip_prefix("@@")?;
    let name = name.strip_prefix("session.").or(name.strip_prefix("global.")).unwrap_or(name);
    Some(match name {
        "version" => version(),
        "version_comment" => "Branchline console".into(),
        "max_allowed_packet" => guard::PACKET_BYTES_MAX.into(),
        "wait_timeout" | "interactive_timeout" => 28_800_u64.into(),
        "autocommit" | "auto_increment_increment" => 1_u64.into(),
        "lower_case_table_names" => 0_u64.into(),
        "tx_isolation" | "transaction_isolation" => "READ-COMMITTED".into(),
        "time_zone" => "SYSTEM".into(),
        "system_time_zone" => "UTC".into(),
        "sql_mode" => "".into(),
        _ if name.starts_with("character_set") => "utf8mb4".into(),
        _ if name.starts_with("collation") => "utf8mb4_general_ci".into(),
        _ => Cell::Null,
    })
}

fn version() -> Cell {
    format!("8.0.33-branchline-{}", env!("CARGO_PKG_VERSION")).into()
}
