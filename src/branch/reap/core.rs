//! What is to be done about one branch that may be an orphan. Pure: what is known of it in, what to do out.
//! Always: what has anything that main has not is never deleted.

use crate::branch::list::{BranchRow, is_peer};
use crate::config::{Glob, Orphans};
use crate::observe::time::utc_seconds;

/// By which rules.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Only branches of these names.
    pub pattern: &'a Glob,
    /// What happens to those with something that main has not.
    pub orphans: Orphans,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing; an alert about it is over.
    Nothing,
    /// It has nothing of its own.
    Delete,
    /// Somebody should decide.
    Alert(String),
    /// It is merged to main.
    Finish,
}

impl Action {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "keep",
            Self::Delete => "delete",
            Self::Alert(_) => "alert",
            Self::Finish => "finish",
        }
    }
}

/// What to do about a branch.
pub fn decide(row: &BranchRow, rules: Rules<'_>) -> Action {
    if !row.orphan || row.sessions > 0 || !rules.pattern.matches(&row.branch) || is_peer(&row.branch) {
        return Action::Nothing;
    }
    match (row.unmerged, rules.orphans) {
        (false, _) => Action::Delete,
        (true, Orphans::Finish) => Action::Finish,
        (true, Orphans::Alert) => Action::Alert(alert(row)),
    }
}

/// The same text as long as nothing about the branch changes.
fn alert(row: &BranchRow) -> String {
    let BranchRow { database, branch, .. } = row;
    let tables = row.uncommitted.len() + row.ignored.len();
    let count = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    format!(
        "branch {branch} of {database} is an orphan, last used at {}, with {} and {} that main has not: finish it \
         with `branchline branch done {database} {branch}`, or drop it with `branchline branch drop --force {database} \
         {branch}`",
        utc_seconds(row.last_used()),
        count(row.ahead, "commit"),
        count(tables as u64, "table"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl FnOnce(&mut BranchRow)) -> BranchRow {
        let mut row = BranchRow {
            database: "rig".to_owned(),
            branch: "polecat-x".to_owned(),
            last_write: 1_735_689_599,
            orphan: true,
            ..BranchRow::default()
        };
        change(&mut row);
        row
    }

    #[test]
    fn orphans_are_deleted_told_or_finished() {
        let pattern = Glob::new("polecat-*");
        let by = |row: &BranchRow, orphans| decide(row, Rules { pattern: &pattern, orphans }).as_str();
        let commits = row(|row| (row.ahead, row.unmerged) = (1, true));
        for (row, told, finished) in [
            (row(|_| {}), "delete", "delete"),
            (row(|row| row.behind = 9), "delete", "delete"),
            (commits.clone(), "alert", "finish"),
            (row(|row| (row.uncommitted, row.unmerged) = (vec!["t".into()], true)), "alert", "finish"),
            (row(|row| (row.ignored, row.unmerged) = (vec!["w".into()], true)), "alert", "finish"),
            (row(|row| row.orphan = false), "keep", "keep"),
            (row(|row| row.sessions = 1), "keep", "keep"),
            (row(|row| row.branch = "feature".to_owned()), "keep", "keep"),
            (BranchRow { orphan: false, ..commits }, "keep", "keep"),
        ] {
            assert_eq!(by(&row, Orphans::Alert), told, "{row:?}");
            assert_eq!(by(&row, Orphans::Finish), finished, "{row:?}");
        }
    }

    #[test]
    fn an_alert_says_what_is_on_the_branch_and_what_to_do() {
        let row = row(|row| {
            (row.ahead, row.unmerged, row.uncommitted) = (2, true, vec!["t".to_owned()]);
        });
        let rules = Rules { pattern: &Glob::new("*"), orphans: Orphans::Alert };
        let Action::Alert(text) = decide(&row, rules) else { panic!("no alert") };
        assert!(
            text.starts_with(
                "branch polecat-x of rig is an orphan, last used at 2024-12-31T23:59:59Z, with 2 commits and 1 table \
                 that main has not"
            ),
            "{text}"
        );
        assert!(text.contains("branchline branch done rig polecat-x"), "{text}");
    }
}
