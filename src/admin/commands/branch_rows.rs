//! Turns what is known of branches, and what came of work on them, into rows.

use std::time::Duration;

use crate::admin::answer::{Cell, Table};
use crate::admin::branches::{BranchRow, ConflictRow, Outcome, ReapedRow};
use crate::branch::finish::{FinishOutcome, Finished, Pushed};
use crate::branch::history::{LogEntry, TableDiff};
use crate::branch::main_tables::{BranchChange, BranchOutcome, MainTable};
use crate::branch::{Created, Dropped, Undropped};

/// What came of a job.
pub fn outcome(outcome: &Outcome) -> Table {
    match outcome {
        Outcome::Created(created) => created_row(created),
        Outcome::Finished(branches) => finished(branches),
        Outcome::Dropped(dropped) => dropped_row(dropped),
        Outcome::Undropped(undropped) => undropped_row(undropped),
        Outcome::Reaped(branches) => reaped(branches),
        Outcome::Conflicts(conflicts) => conflict_rows(conflicts),
        Outcome::Resolved(decided) => {
            let mut table = Table::new(["decided"]);
            table.row([decided.as_str().into()]);
            table
        }
        Outcome::MainTable(branches) => main_table_changes(branches),
        Outcome::Table { table, .. } => table.clone(),
    }
}

fn created_row(created: &Created) -> Table {
    let mut table =
        Table::new(["database", "branch", "from_branch", "from_commit", "tables_copied", "committed"]);
    table.row([
        created.database.as_str().into(),
        created.name.as_str().into(),
        created.from_branch.as_str().into(),
        created.from_commit.as_str().into(),
        created.tables_copied.into(),
        created.committed.clone().into(),
    ]);
    table
}

fn finished(branches: &[(String, Result<Finished, String>)]) -> Table {
    let mut table = Table::new([
        "branch",
        "outcome",
        "main",
        "commit",
        "conflicts",
        "ignored_rows",
        "kept",
        "swept",
        "pushed",
        "message",
        "error",
    ]);
    for (branch, result) in branches {
        match result {
            Ok(done) => table.row([
                done.branch.as_str().into(),
                finish_outcome(done.outcome).into(),
                done.main.as_str().into(),
                done.commit.clone().into(),
                done.conflicts.into(),
                done.ignored_rows.into(),
                yes_no(done.kept),
                done.swept.clone().into(),
                done.push.as_ref().map(pushed).into(),
                done.message.clone().into(),
                Cell::Null,
            ]),
            Err(error) => {
                let mut row = vec![branch.as_str().into(), "failed".into()];
                row.resize(table.columns.len() - 1, Cell::Null);
                row.push(error.as_str().into());
                table.rows.push(row);
            }
        }
    }
    table
}

fn finish_outcome(outcome: FinishOutcome) -> &'static str {
    match outcome {
        FinishOutcome::Merged => "merged",
        FinishOutcome::NothingToMerge => "nothing to merge",
        FinishOutcome::Completed => "completed",
        FinishOutcome::AlreadyFinished => "already finished",
    }
}

fn pushed(pushed: &Pushed) -> String {
    match pushed {
        Pushed::Done(said) => format!("yes: {said}"),
        Pushed::NoRemote => "no: the database has no remote origin".to_owned(),
        Pushed::Failed(why) => format!("no: {why}"),
    }
}

fn dropped_row(dropped: &Dropped) -> Table {
    let mut table =
        Table::new(["database", "branch", "was_there", "tag", "unmerged_commits", "uncommitted_tables"]);
    table.row([
        dropped.database.as_str().into(),
        dropped.branch.as_str().into(),
        yes_no(dropped.was_there),
        dropped.tag.clone().into(),
        dropped.unmerged_commits.into(),
        list(&dropped.uncommitted_tables),
    ]);
    table
}

fn undropped_row(undropped: &Undropped) -> Table {
    let mut table = Table::new(["database", "branch", "head", "uncommitted_tables"]);
    table.row([
        undropped.database.as_str().into(),
        undropped.branch.as_str().into(),
        undropped.head.as_str().into(),
        list(&undropped.uncommitted_tables),
    ]);
    table
}

fn reaped(branches: &[ReapedRow]) -> Table {
    let mut table = Table::new(["database", "branch", "action", "why"]);
    for row in branches {
        table.row([
            row.database.as_str().into(),
            row.branch.as_str().into(),
            row.action.as_str().into(),
            row.why.as_str().into(),
        ]);
    }
    table
}

fn conflict_rows(conflicts: &[ConflictRow]) -> Table {
    let mut table =
        Table::new(["table", "key", "column", "base", "main", "branch", "result", "why", "undecided"]);
    for row in conflicts {
        table.row([
            row.table.as_str().into(),
            row.key.clone().into(),
            row.column.clone().into(),
            row.base.clone().into(),
            row.ours.clone().into(),
            row.theirs.clone().into(),
            row.result.clone().into(),
            row.why.as_str().into(),
            yes_no(row.undecided),
        ]);
    }
    table
}

fn main_table_changes(branches: &[BranchChange]) -> Table {
    let mut table = Table::new(["branch", "outcome", "commit", "own_rows_in", "error"]);
    for done in branches {
        let branch = done.branch.as_str().into();
        table.row(match &done.outcome {
            BranchOutcome::Changed { commit, own_rows } => {
                [branch, "changed".into(), commit.as_str().into(), list(own_rows), Cell::Null]
            }
            BranchOutcome::AlreadySo => [branch, "already so".into(), Cell::Null, Cell::Null, Cell::Null],
            BranchOutcome::Failed(why) => {
                [branch, "failed".into(), Cell::Null, Cell::Null, why.as_str().into()]
            }
        });
    }
    table
}

/// `SHOW BRANCHES`
pub fn branches(rows: Vec<BranchRow>) -> Table {
    let mut table = Table::new([
        "database",
        "branch",
        "worker",
        "age_s",
        "last_write",
        "ahead",
        "behind",
        "uncommitted",
        "sessions",
        "orphan",
    ]);
    for row in rows {
        table.row([
            row.database.into(),
            row.branch.into(),
            row.worker.into(),
            row.age.as_ref().map(Duration::as_secs).into(),
            row.last_write.into(),
            row.ahead.into(),
            row.behind.into(),
            row.uncommitted.into(),
            row.sessions.into(),
            yes_no(row.orphan),
        ]);
    }
    table
}

/// `SHOW BRANCH LOG`
pub fn log(entries: Vec<LogEntry>) -> Table {
    let mut table = Table::new(["kind", "commit", "author", "date", "message"]);
    for entry in entries {
        table.row([
            entry.kind.as_str().into(),
            entry.commit.into(),
            entry.author.into(),
            entry.date.into(),
            entry.message.into(),
        ]);
    }
    table
}

/// `SHOW BRANCH DIFF … STAT`
pub fn diff_stat(tables: Vec<TableDiff>) -> Table {
    let mut table =
        Table::new(["table", "change", "ignored", "added", "removed", "modified", "schema", "problem"]);
    for diff in tables {
        table.row([
            diff.table.into(),
            diff.change.into(),
            yes_no(diff.ignored),
            diff.counts.map(|counts| counts.added).into(),
            diff.counts.map(|counts| counts.removed).into(),
            diff.counts.map(|counts| counts.modified).into(),
            Some(diff.schema.join("\n")).filter(|text| !text.is_empty()).into(),
            diff.problem.into(),
        ]);
    }
    table
}

/// `SHOW BRANCH DIFF`: a line per changed cell; `row` tells which belong together.
pub fn diff(tables: Vec<TableDiff>) -> Table {
    let mut table = Table::new(["table", "row", "change", "key", "column", "before", "after"]);
    let mut number = 0_u64;
    for diff in tables {
        for row in diff.rows {
            number += 1;
            let key: Vec<String> =
                row.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
            let head: [Cell; 4] = [
                diff.table.as_str().into(),
                number.into(),
                row.change.as_str().into(),
                Some(key.join(", ")).filter(|key| !key.is_empty()).into(),
            ];
            let mut line = |cells: [Cell; 3]| table.rows.push(head.iter().cloned().chain(cells).collect());
            if row.cells.is_empty() {
                line([Cell::Null, Cell::Null, Cell::Null]);
            }
            for cell in row.cells {
                line([cell.column.into(), cell.before.into(), cell.after.into()]);
            }
        }
    }
    table
}

/// `SHOW MAIN TABLES`
pub fn main_tables(rows: Vec<MainTable>) -> Table {
    let mut table = Table::new(["table", "target", "stands_for", "branches", "missing_on"]);
    for row in rows {
        table.row([
            row.pattern.into(),
            row.target.into(),
            list(&row.tables),
            row.branches.len().into(),
            list(&row.missing_on),
        ]);
    }
    table
}

fn list(names: &[String]) -> Cell {
    Some(names.join(", ")).filter(|text| !text.is_empty()).into()
}

fn yes_no(is_so: bool) -> Cell {
    if is_so { "yes" } else { "no" }.into()
}
