//! Why there is no merge, in words that say what to decide.

use std::fmt;

use thiserror::Error;

/// Why nothing was merged. The caller rolls back.
#[derive(Debug, Error)]
pub enum MergeError {
    /// Rows that no rule decides.
    #[error("{}", undecided_text(rows, *total))]
    Undecided {
        /// The first of them.
        rows: Vec<UndecidedRow>,
        /// All of them.
        total: u64,
    },
    /// Both sides changed a table's schema in ways that don't go together.
    #[error(
        "{}; make the schemas equal on one of the branches, Dolt-commit there, and merge again",
        tables_text("the schema conflicts: both branches changed", tables)
    )]
    SchemaConflicts {
        /// Table and what differs.
        tables: Vec<(String, String)>,
    },
    /// The merged rows break a constraint.
    #[error(
        "{}; change the rows on the branch so that they fit, Dolt-commit there, and merge again",
        tables_text("constraints would be violated:", violations)
    )]
    ConstraintViolations {
        /// Table and what is violated, with the keys of some rows.
        violations: Vec<(String, String)>,
    },
    /// A conflict in a table without a primary key.
    #[error(
        "table {table} has no primary key and both branches changed {rows} of its rows differently: no rule can tell which \
         rows belong together; make the rows equal on both branches, or give the table a primary key on both"
    )]
    Keyless {
        /// The table.
        table: String,
        /// How many.
        rows: u64,
    },
    /// A conflict that can't be written down.
    #[error("table {table}: {why}")]
    Unsupported {
        /// The table.
        table: String,
        /// What stands in the way, and what to do.
        why: String,
    },
    /// The merge isn't one: uncommitted rows in the way, unrelated histories, …
    #[error("Dolt refused to merge: {0}")]
    Refused(String),
    /// The audit log can't be written.
    #[error("cannot write the audit log: {0}; nothing was merged")]
    Audit(#[source] std::io::Error),
    /// Dolt refused something.
    #[error("cannot merge: {0}")]
    Dolt(#[from] mysql_async::Error),
}

/// A row that no rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecidedRow {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// Columns to decide; none if the row was deleted on one side and changed on the other.
    pub columns: Vec<String>,
    /// There was a decision, about other versions of the row.
    pub stale_decision: bool,
}

impl fmt::Display for UndecidedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.table, self.key)?;
        match self.columns.as_slice() {
            [] => f.write_str("deleted on one branch, changed on the other")?,
            columns => f.write_str(&columns.join(", "))?,
        }
        if self.stale_decision {
            f.write_str(" (what was decided was about other values)")?;
        }
        Ok(())
    }
}

fn undecided_text(rows: &[UndecidedRow], total: u64) -> String {
    let listed: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let more = total.saturating_sub(rows.len() as u64);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let rows = if total == 1 { "1 row is".to_owned() } else { format!("{total} rows are") };
    format!("{rows} for you to decide: {}{more}", listed.join("; "))
}

fn tables_text(what: &str, tables: &[(String, String)]) -> String {
    let listed: Vec<String> = tables.iter().map(|(table, what)| format!("{table} ({what})")).collect();
    format!("{what} {}", listed.join(", "))
}
