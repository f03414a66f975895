//! Owns the decision about one row with three versions. Pure.
//! Does not read or write rows, and does not know where rules come from: `config::merge` and `table` do.
//! Always: the same three versions give the same row, whichever side is ours, unless one side's commit or a person's
//! choice of a side decides; a cell that one side changed survives.

use std::cmp::Ordering;

use super::decision::Choice;
use super::values::{self, Kind};
use crate::config::{CellRule, DeleteRule};

/// A value as Dolt writes it in the text protocol; NULL is `None`.
pub type Cell = Option<Vec<u8>>;

/// The cells of a row, in the order of `TableRules::columns`.
pub type Row = Vec<Cell>;

/// One of the two branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that is merged into.
    Ours,
    /// The one that is merged.
    Theirs,
}

impl Side {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

/// The rules for one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRules {
    /// All columns but generated ones.
    pub columns: Vec<ColumnRules>,
    /// Which of them says when a row was changed.
    pub updated_at: Option<usize>,
    /// Rows that one side deleted.
    pub deleted: DeleteRule,
    /// Whose commit is newer, for rows that don't say it themselves; `None`: both are as old.
    pub newer: Option<Side>,
}

/// The rules for one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnRules {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// The rule; `None`: arrays and objects in JSON columns are merged, of others the newest wins.
    pub rule: Option<CellRule>,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDecision {
    /// The row.
    pub outcome: RowOutcome,
    /// Why it is there or not, if one side had deleted it.
    pub why: Option<Why>,
    /// Cells that both sides changed, each to something else, or that are summed.
    pub cells: Vec<CellDecision>,
}

/// The row as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    /// With these cells.
    Present(Row),
    /// Deleted.
    Absent,
    /// A person decides: these columns, or whether the row is there if there are none.
    Undecided(Vec<usize>),
}

/// What becomes of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellDecision {
    /// Its column.
    pub column: usize,
    /// What it will be.
    pub value: Cell,
    /// By which rule.
    pub why: Why,
}

/// By which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// This side's row was changed last.
    Newest(Side),
    /// Rows don't say when they were changed; this side's commit is newer.
    NewerCommit(Side),
    /// Both are as new: the larger value.
    Tie,
    /// Arrays were united, objects merged.
    Union,
    /// The larger value.
    Max,
    /// Both sides' changes were added.
    Sum,
    /// One side deleted the row, the other changed it.
    KeptChanged,
    /// The same, decided for the one that deleted it.
    Deleted,
    /// A person chose.
    Decided,
}

impl Why {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest(Side::Ours) => "newest (ours)",
            Self::Newest(Side::Theirs) => "newest (theirs)",
            Self::NewerCommit(Side::Ours) => "newer commit (ours)",
            Self::NewerCommit(Side::Theirs) => "newer commit (theirs)",
            Self::Tie => "as new on both, larger value",
            Self::Union => "union",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::KeptChanged => "changed row kept, the other branch had deleted it",
            Self::Deleted => "deleted, the other branch had changed it",
            Self::Decided => "decided by hand",
        }
    }
}

/// Decides one row. A version is `None` where the row isn't there. `choice` is a person's, if there is one.
pub fn resolve_row(
    rules: &TableRules,
    base: Option<&[Cell]>,
    ours: Option<&[Cell]>,
    theirs: Option<&[Cell]>,
    choice: Option<&Choice>,
) -> RowDecision {
    let (ours, theirs) = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (None, None) => return RowDecision { outcome: RowOutcome::Absent, why: None, cells: Vec::new() },
        (Some(row), None) => return deleted(rules, base, row, Side::Ours, choice),
        (None, Some(row)) => return deleted(rules, base, row, Side::Theirs, choice),
    };
    let versions = Versions { rules, base, ours, theirs, choice };
    let mut row = Row::with_capacity(rules.columns.len());
    let mut cells = Vec::new();
    let mut undecided = Vec::new();
    for column in 0..rules.columns.len() {
        match versions.cell(column) {
            Verdict::Plain(value) => row.push(value),
            Verdict::Decided(value, why) => {
                row.push(value.clone());
                cells.push(CellDecision { column, value, why });
            }
            Verdict::Undecided => {
                row.push(None);
                undecided.push(column);
            }
        }
    }
    let outcome =
        if undecided.is_empty() { RowOutcome::Present(row) } else { RowOutcome::Undecided(undecided) };
    RowDecision { outcome, why: None, cells }
}

/// Only one side has the row.
fn deleted(
    rules: &TableRules,
    base: Option<&[Cell]>,
    row: &[Cell],
    side: Side,
    choice: Option<&Choice>,
) -> RowDecision {
    let present = || RowOutcome::Present(row.to_vec());
    let decision = |outcome, why| RowDecision { outcome, why, cells: Vec::new() };
    match base {
        // Added by one side.
        None => return decision(present(), None),
        // Deleted by one side, not touched by the other.
        Some(base) if base == row => return decision(RowOutcome::Absent, None),
        Some(_) => {}
    }
    let chosen = |chosen: Side| if chosen == side { present() } else { RowOutcome::Absent };
    match choice {
        Some(Choice::Ours) => return decision(chosen(Side::Ours), Some(Why::Decided)),
        Some(Choice::Theirs) => return decision(chosen(Side::Theirs), Some(Why::Decided)),
        Some(Choice::Set(values)) => {
            let mut row = row.to_vec();
            let mut cells = Vec::new();
            for (column, rule) in rules.columns.iter().enumerate() {
                if let Some(value) = set_value(values, &rule.name) {
                    row[column].clone_from(&value);
                    cells.push(CellDecision { column, value, why: Why::Decided });
                }
            }
            return RowDecision { outcome: RowOutcome::Present(row), why: Some(Why::Decided), cells };
        }
        None => {}
    }
    match rules.deleted {
        DeleteRule::Keep => decision(present(), Some(Why::KeptChanged)),
        DeleteRule::Delete => decision(RowOutcome::Absent, Some(Why::Deleted)),
        DeleteRule::Manual => decision(RowOutcome::Undecided(Vec::new()), None),
    }
}

fn set_value(values: &std::collections::BTreeMap<String, Option<String>>, column: &str) -> Option<Cell> {
    let (_, value) = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(column))?;
    Some(value.as_ref().map(|text| text.clone().into_bytes()))
}

/// Three versions of a row that both sides have.
struct Versions<'a> {
    rules: &'a TableRules,
    base: Option<&'a [Cell]>,
    ours: &'a [Cell],
    theirs: &'a [Cell],
    choice: Option<&'a Choice>,
}

enum Verdict {
    /// Nothing to decide: both have it, or one side changed it.
    Plain(Cell),
    Decided(Cell, Why),
    Undecided,
}

impl Versions<'_> {
    fn cell(&self, column: usize) -> Verdict {
        let rules = &self.rules.columns[column];
        let (ours, theirs) = (&self.ours[column], &self.theirs[column]);
        let base = self.base.map(|base| &base[column]);
        if let Some(Choice::Set(values)) = self.choice
            && let Some(value) = set_value(values, &rules.name)
        {
            return Verdict::Decided(value, Why::Decided);
        }
        let is_sum = rules.rule == Some(CellRule::Sum);
        if base == Some(ours) {
            return Verdict::Plain(theirs.clone());
        }
        if base == Some(theirs) || (ours == theirs && !is_sum) {
            return Verdict::Plain(ours.clone());
        }
        match self.choice {
            Some(Choice::Ours) => return Verdict::Decided(ours.clone(), Why::Decided),
            Some(Choice::Theirs) => return Verdict::Decided(theirs.clone(), Why::Decided),
            _ => {}
        }
        if self.rules.updated_at == Some(column) {
            return Verdict::Decided(values::larger(rules.kind, ours, theirs), Why::Max);
        }
        self.by_rule(rules, base.and_then(Option::as_deref), ours, theirs)
    }

    fn by_rule(&self, rules: &ColumnRules, base: Option<&[u8]>, ours: &Cell, theirs: &Cell) -> Verdict {
        let newest = || {
            let (side, why) = self.newest(rules.kind, ours, theirs);
            Verdict::Decided(if side == Side::Ours { ours.clone() } else { theirs.clone() }, why)
        };
        let (Some(our), Some(their)) = (ours, theirs) else {
            return match rules.rule {
                Some(CellRule::Manual) => Verdict::Undecided,
                Some(CellRule::Max) => Verdict::Decided(values::larger(rules.kind, ours, theirs), Why::Max),
                // Nothing can be added to NULL, or united with it.
                _ => newest(),
            };
        };
        match rules.rule {
            Some(CellRule::Manual) => Verdict::Undecided,
            Some(CellRule::Newest) => newest(),
            Some(CellRule::Max) => Verdict::Decided(values::larger(rules.kind, ours, theirs), Why::Max),
            Some(CellRule::Sum) => match values::sum(rules.kind, base, our, their) {
                Some(sum) => Verdict::Decided(Some(sum), Why::Sum),
                None => Verdict::Undecided,
            },
            Some(CellRule::Union) => self.united(rules, base, our, their).unwrap_or_else(newest),
            None if rules.kind == Kind::Json => self.united(rules, base, our, their).unwrap_or_else(newest),
            None => newest(),
        }
    }

    fn united(
        &self,
        rules: &ColumnRules,
        base: Option<&[u8]>,
        ours: &[u8],
        theirs: &[u8],
    ) -> Option<Verdict> {
        let pick = |ours: &str, theirs: &str| {
            let cell = |text: &str| Some(text.as_bytes().to_vec());
            self.newest(rules.kind, &cell(ours), &cell(theirs)).0
        };
        let united = values::merge_json(base, ours, theirs, &pick)?;
        Some(Verdict::Decided(Some(united), Why::Union))
    }

    /// Whose cell wins.
    fn newest(&self, kind: Kind, ours: &Cell, theirs: &Cell) -> (Side, Why) {
        let times = self.rules.updated_at.map(|column| {
            let kind = self.rules.columns[column].kind;
            (kind, &self.ours[column], &self.theirs[column])
        });
        match times {
            Some((kind, our, their)) if our.is_some() || their.is_some() => {
                match values::compare(kind, our, their) {
                    Ordering::Greater => return (Side::Ours, Why::Newest(Side::Ours)),
                    Ordering::Less => return (Side::Theirs, Why::Newest(Side::Theirs)),
                    Ordering::Equal => {}
                }
            }
            _ => {
                if let Some(side) = self.rules.newer {
                    return (side, Why::NewerCommit(side));
                }
            }
        }
        let larger =
            if values::compare(kind, ours, theirs) == Ordering::Less { Side::Theirs } else { Side::Ours };
        (larger, Why::Tie)
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
