//! What a merge did, for commit messages and for people. Bounded: a few rows by name, the rest counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::decision::Choice;
use super::rules::{Cell, RowDecision, RowOutcome, Why};
use super::stream::Conflict;
use super::table::{Table, text};

/// Rows that a message names.
pub const LISTED_MAX: usize = 50;
/// Characters of a key in a message.
const KEY_CHARS_MAX: usize = 80;
/// Characters of a value in a message.
const VALUE_CHARS_MAX: usize = 40;

/// What was merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// There was nothing to merge: ours has it all.
    pub up_to_date: bool,
    /// The commit that both come from.
    pub base: String,
    /// The commit that was merged into.
    pub ours: String,
    /// The commit that was merged.
    pub theirs: String,
    /// Tables that the merged branch changed, or that had conflicts.
    pub tables: Vec<TableReport>,
    /// Decisions by hand that weren't used since they were about other values: table and key.
    pub stale_decisions: Vec<(String, String)>,
}

/// What was merged in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// Rows that both sides changed in ways that don't go together.
    pub conflicts: u64,
    /// How often each rule decided a cell or a row.
    pub decided: BTreeMap<Why, u64>,
    /// The first rows, as text: key, the values of both sides, what they became, and by which rule.
    pub listed: Vec<String>,
}

/// Which conflicts are asked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Of this table only, however it is spelled.
    pub table: Option<&'a str>,
    /// Only those.
    pub row: &'a (dyn Fn(&ConflictView) -> bool + Sync),
    /// At most so many.
    pub limit: usize,
}

/// One conflict, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictView {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// The columns; the versions have one value for each.
    pub columns: Vec<String>,
    /// Before both; `None`: there was no such row.
    pub base: Option<Vec<Option<String>>>,
    /// On the branch that is merged into.
    pub ours: Option<Vec<Option<String>>>,
    /// On the branch that is merged.
    pub theirs: Option<Vec<Option<String>>>,
    /// What it would become; `None`: deleted, or undecided.
    pub result: Option<Vec<Option<String>>>,
    /// Column (none: the whole row) and by which rule.
    pub decided: Vec<(Option<String>, &'static str)>,
    /// Nobody has decided yet.
    pub undecided: bool,
    /// Columns to decide; none, and `undecided`: whether the row stays.
    pub undecided_columns: Vec<String>,
    /// Of the three versions: goes into the `Decision`.
    pub fingerprint: String,
    /// What was decided by hand, if it was and still holds.
    pub choice: Option<Choice>,
}

impl TableReport {
    pub(super) fn add(
        &mut self,
        table: &Table,
        (conflict, key): (&Conflict, &str),
        decision: &RowDecision,
        list: bool,
    ) {
        self.conflicts += 1;
        let whys = decision.why.iter().chain(decision.cells.iter().map(|cell| &cell.why));
        for why in whys {
            *self.decided.entry(*why).or_default() += 1;
        }
        if !list {
            return;
        }
        let mut parts: Vec<String> = decision.why.iter().map(|why| why.as_str().to_owned()).collect();
        let [_, ours, theirs] = conflict.versions();
        parts.extend(decision.cells.iter().map(|cell| {
            let of = |row: Option<&[Cell]>| {
                row.map_or_else(|| "no row".to_owned(), |row| value(&row[cell.column]))
            };
            format!(
                "{}: {} | {} -> {}, {}",
                table.columns[cell.column].name,
                of(ours),
                of(theirs),
                value(&cell.value),
                cell.why.as_str()
            )
        }));
        if parts.is_empty() {
            let what = if decision.outcome == RowOutcome::Absent { "deleted" } else { "merged cell by cell" };
            parts.push(what.to_owned());
        }
        self.listed.push(format!("{} {}: {}", self.table, short(key, KEY_CHARS_MAX), parts.join("; ")));
    }
}

/// On one line, and not too long.
fn short(text: &str, chars_max: usize) -> String {
    let mut shown: String =
        text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn value(cell: &Cell) -> String {
    text(cell).map_or_else(|| "NULL".to_owned(), |text| format!("'{}'", short(&text, VALUE_CHARS_MAX)))
}

impl Merged {
    /// All conflicts.
    pub fn conflicts(&self) -> u64 {
        self.tables.iter().map(|table| table.conflicts).sum()
    }

    /// For the commit's message: which tables were merged, and what was resolved how.
    pub fn message(&self) -> String {
        let mut text = String::new();
        let names: Vec<&str> = self.tables.iter().map(|table| table.table.as_str()).collect();
        let shown = names.len().min(LISTED_MAX);
        let more =
            if names.len() > shown { format!(" and {} more", names.len() - shown) } else { String::new() };
        let _ = writeln!(
            text,
            "Tables: {}{more}",
            if names.is_empty() { "none".to_owned() } else { names[..shown].join(", ") }
        );
        let conflicts = self.conflicts();
        if conflicts > 0 {
            let listed: Vec<&String> = self.tables.iter().flat_map(|table| &table.listed).collect();
            let _ = writeln!(text, "\nConflicts resolved: {conflicts} (ours | theirs -> result, by rule)");
            for line in &listed {
                let _ = writeln!(text, "  {line}");
            }
            if conflicts > listed.len() as u64 {
                let _ = writeln!(
                    text,
                    "  and {} more; the audit log has them all",
                    conflicts - listed.len() as u64
                );
            }
            for table in self.tables.iter().filter(|table| table.conflicts > 0) {
                let counts: Vec<String> =
                    table.decided.iter().map(|(why, count)| format!("{}: {count}", why.as_str())).collect();
                let _ = writeln!(
                    text,
                    "By rule in {} (rows: {}): {}",
                    table.table,
                    table.conflicts,
                    counts.join("; ")
                );
            }
        }
        for (table, key) in self.stale_decisions.iter().take(LISTED_MAX) {
            let _ = writeln!(
                text,
                "Not used, since it was about other values: what was decided about {table} {key}"
            );
        }
        text
    }
}
