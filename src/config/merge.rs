//! Owns the policy for merges: which rule decides a cell that both sides changed, and a row that one side deleted.
//! Does not decide anything: `merge::rules` does.
//! Always: the first rule that matches and says something decides, for each setting on its own; the built-in ones come last.

use std::fmt;

use super::Glob;
use super::lanes::one_of;
use super::problem::Problem;
use super::raw::RawMergeRule;
use super::rule::{origin_text, quote};

/// Column that says when a row was changed, where no rule names another.
pub const UPDATED_AT: &str = "updated_at";

/// How conflicts of merges are resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct MergePolicy {
    /// First match wins, for each setting on its own.
    pub rules: Vec<MergeRule>,
}

/// One `[[merge.rules]]` entry; at least one of its settings is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MergeRule {
    /// Which databases; all, if not said.
    pub database: Option<Glob>,
    /// Which tables; all, if not said.
    pub table: Option<Glob>,
    /// Which columns, for `cells`; all, if not said.
    pub column: Option<Glob>,
    /// What happens to a cell that both sides changed.
    pub cells: Option<CellRule>,
    /// What happens to a row that one side deleted and the other changed.
    pub deleted: Option<DeleteRule>,
    /// The column that says when a row was changed.
    pub updated_at: Option<String>,
    /// Where it stands: `branchline.toml:12`.
    pub origin: String,
}

/// What happens to a cell that both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CellRule {
    /// The side whose row was changed last.
    #[default]
    Newest,
    /// Arrays: what either side added, without what either side removed.
    Union,
    /// The larger value.
    Max,
    /// The base and what both sides added to it.
    Sum,
    /// A person decides.
    Manual,
}

/// What happens to a row that one side deleted and the other changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeleteRule {
    /// The changed row stays.
    #[default]
    Keep,
    /// It goes.
    Delete,
    /// A person decides.
    Manual,
}

impl CellRule {
    const ALL: [Self; 5] = [Self::Newest, Self::Union, Self::Max, Self::Sum, Self::Manual];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Union => "union",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Manual => "manual",
        }
    }
}

impl DeleteRule {
    const ALL: [Self; 3] = [Self::Keep, Self::Delete, Self::Manual];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Delete => "delete",
            Self::Manual => "manual",
        }
    }
}

impl Default for MergePolicy {
    /// What holds without a config file.
    fn default() -> Self {
        let built_in = |column: &str, cells| MergeRule {
            column: Some(Glob::new(column)),
            cells: Some(cells),
            origin: "default".to_owned(),
            ..MergeRule::default()
        };
        // Arrays in JSON columns (labels, waiters) need no rule: their type tells.
        Self {
            rules: vec![
                built_in("compaction_level", CellRule::Max),
                built_in("estimated_minutes", CellRule::Manual),
            ],
        }
    }
}

impl MergePolicy {
    /// The rule for a column's cells; `None`: as its type suggests.
    pub fn cells(&self, database: &str, table: &str, column: &str) -> Option<CellRule> {
        let matching = self.matching(database, table);
        matching
            .filter(|rule| rule.column.as_ref().is_none_or(|glob| glob.matches(column)))
            .find_map(|r| r.cells)
    }

    /// The rule for rows that one side deleted.
    pub fn deleted(&self, database: &str, table: &str) -> DeleteRule {
        self.matching(database, table).find_map(|rule| rule.deleted).unwrap_or_default()
    }

    /// The column that says when a row was changed.
    pub fn updated_at(&self, database: &str, table: &str) -> &str {
        self.matching(database, table).find_map(|rule| rule.updated_at.as_deref()).unwrap_or(UPDATED_AT)
    }

    fn matching(&self, database: &str, table: &str) -> impl Iterator<Item = &MergeRule> {
        self.rules.iter().filter(move |rule| {
            rule.database.as_ref().is_none_or(|glob| glob.matches(database))
                && rule.table.as_ref().is_none_or(|glob| glob.matches(table))
        })
    }
}

/// In the words of the config file: `TABLE 'issues' COLUMN 'n' CELLS sum (branchline.toml:12)`.
impl fmt::Display for MergeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, glob) in [("DATABASE", &self.database), ("TABLE", &self.table), ("COLUMN", &self.column)] {
            if let Some(glob) = glob {
                write!(f, "{name} {} ", quote(glob.as_str()))?;
            }
        }
        if let Some(cells) = self.cells {
            write!(f, "CELLS {} ", cells.as_str())?;
        }
        if let Some(deleted) = self.deleted {
            write!(f, "DELETED {} ", deleted.as_str())?;
        }
        if let Some(column) = &self.updated_at {
            write!(f, "UPDATED_AT {} ", quote(column))?;
        }
        write!(f, "({})", self.origin)
    }
}

/// Checks a rule; all its problems are added to `problems`.
pub(super) fn resolve(raw: &RawMergeRule, problems: &mut Vec<Problem>) -> Option<MergeRule> {
    let before = problems.len();
    let cells = raw.cells.as_ref().and_then(|written| {
        one_of(written, &raw.key, "cells", &CellRule::ALL.map(|value| (value.as_str(), value)), problems)
    });
    let deleted = raw.deleted.as_ref().and_then(|written| {
        one_of(written, &raw.key, "deleted", &DeleteRule::ALL.map(|value| (value.as_str(), value)), problems)
    });
    let mut wrong = |key: String, what: &str, allowed: &str| {
        let (what, allowed) = (what.to_owned(), allowed.to_owned());
        problems.push(Problem { origin: raw.origin.clone(), key, what, allowed });
    };
    if !raw.setting_given {
        wrong(raw.key.clone(), "sets nothing", "cells, deleted, updated_at, or several of them");
    }
    if raw.column.is_some() && raw.setting_given && !raw.cells_given {
        wrong(
            format!("{}.column", raw.key),
            "is only for cells, and there is none",
            "no column, or cells too",
        );
    }
    if raw.updated_at.as_ref().is_some_and(|written| written.value.is_empty()) {
        wrong(format!("{}.updated_at", raw.key), "is empty", "the name of a column");
    }
    let glob = |written: &Option<super::raw::Written<String>>| {
        written.as_ref().map(|written| Glob::new(written.value.clone()))
    };
    (problems.len() == before && raw.setting_given).then(|| MergeRule {
        database: glob(&raw.database),
        table: glob(&raw.table),
        column: glob(&raw.column),
        cells,
        deleted,
        updated_at: raw.updated_at.as_ref().map(|written| written.value.clone()),
        origin: origin_text(&raw.origin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(table: Option<&str>, column: Option<&str>, cells: Option<CellRule>) -> MergeRule {
        MergeRule {
            table: table.map(Glob::new),
            column: column.map(Glob::new),
            cells,
            ..MergeRule::default()
        }
    }

    #[test]
    fn the_first_rule_that_says_something_decides() {
        let mut policy = MergePolicy::default();
        let mut first = rule(Some("iss*"), None, None);
        first.deleted = Some(DeleteRule::Manual);
        first.updated_at = Some("changed".to_owned());
        policy.rules.insert(0, first);
        policy.rules.insert(1, rule(Some("issues"), Some("n*"), Some(CellRule::Sum)));
        policy.rules.insert(2, rule(None, Some("notes"), Some(CellRule::Manual)));
        for (table, column, want) in [
            ("issues", "n", Some(CellRule::Sum)),
            ("issues", "notes", Some(CellRule::Sum)),
            ("other", "notes", Some(CellRule::Manual)),
            ("other", "n", None),
            ("other", "Compaction_Level", Some(CellRule::Max)),
            ("issues", "estimated_minutes", Some(CellRule::Manual)),
        ] {
            assert_eq!(policy.cells("db", table, column), want, "{table}.{column}");
        }
        assert_eq!(policy.deleted("db", "issues"), DeleteRule::Manual);
        assert_eq!(policy.deleted("db", "other"), DeleteRule::Keep);
        assert_eq!(
            (policy.updated_at("db", "issues"), policy.updated_at("db", "o")),
            ("changed", UPDATED_AT)
        );
    }
}
