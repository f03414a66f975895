//! What the console shows of branches and does to them. Formats nothing: `admin` does.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::console::LiveConsole;
use crate::admin::{
    self, BranchBackend, BranchRow, BranchWork, ConflictRow, CreateBranch, FinishBranches, Jobs, Outcome,
    ReapedRow, Refusal, ResolveRequest, Which,
};
use crate::branch::finish::{ConflictedRow, FinishError, FinishRequest, decide, finish, finish_all};
use crate::branch::history::{self, DiffQuestion, LogEntry, TableDiff};
use crate::branch::main_tables::{self, MainTable};
use crate::branch::{DropRequest, ForkRequest, base, create, drop_branch, undrop};
use crate::branch::{list, reap};
use crate::config::Glob;
use crate::merge::{self, ConflictView};
use crate::observe::progress::Progress;
use crate::session::Context;

#[async_trait]
impl BranchBackend for LiveConsole {
    fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    async fn start(&self, work: BranchWork, by: &str) -> Result<u32, Refusal> {
        let (context, who) = (Arc::clone(&self.context), by.to_owned());
        let what = what(&work);
        self.jobs.start(what, by, move |progress| async move { run(&context, work, who, &progress).await })
    }

    async fn branches(&self, database: Option<&str>) -> Result<Vec<BranchRow>, Refusal> {
        check_known(&self.context, database).await.map_err(refused)?;
        let now = unix_now();
        let row = |row: list::BranchRow| BranchRow {
            age: row.created.map(|created| Duration::from_secs(now.saturating_sub(created))),
            last_write: Some(UNIX_EPOCH + Duration::from_secs(row.last_write)),
            ahead: Some(row.ahead),
            behind: Some(row.behind),
            uncommitted: Some(row.uncommitted.len() as u64),
            database: row.database,
            branch: row.branch,
            worker: row.worker,
            sessions: row.sessions,
            orphan: row.orphan,
        };
        Ok(list::list(&self.context, database).await.map_err(refused)?.into_iter().map(row).collect())
    }

    async fn branch_log(&self, database: &str, branch: &str, limit: usize) -> Result<Vec<LogEntry>, Refusal> {
        let (control, branches) = (self.context.dolt.control(), &self.context.branches);
        history::log(control, branches, database, branch, limit).await.map_err(refused)
    }

    async fn branch_diff(&self, question: DiffQuestion) -> Result<Vec<TableDiff>, Refusal> {
        let (control, branches) = (self.context.dolt.control(), &self.context.branches);
        history::diff(control, branches, &question).await.map_err(refused)
    }

    async fn main_tables(&self, database: &str) -> Result<Vec<MainTable>, Refusal> {
        main_tables::list(&self.context, database).await.map_err(refused)
    }
}

fn refused(error: impl std::fmt::Display) -> Refusal {
    Refusal::failed(error.to_string())
}

/// That it is there, if one is named.
async fn check_known(context: &Context, database: Option<&str>) -> Result<(), String> {
    let Some(database) = database else { return Ok(()) };
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    match listing.database(database) {
        Some(_) => Ok(()),
        None => Err(format!("there is no database {database}; SHOW RIGS lists them")),
    }
}

/// As `SHOW JOBS` has it.
fn what(work: &BranchWork) -> String {
    match work {
        BranchWork::Create(CreateBranch { database, name, worker, .. }) => match (name, worker) {
            (Some(name), _) => format!("create {database}/{name}"),
            (None, worker) => {
                format!("create a branch of {database} for {}", worker.as_deref().unwrap_or("?"))
            }
        },
        BranchWork::Finish(FinishBranches { database, which: Which::One(branch), .. }) => {
            format!("finish {database}/{branch}")
        }
        BranchWork::Finish(FinishBranches { database, which: Which::All { pattern }, .. }) => {
            format!("finish {database}/{}", pattern.as_deref().unwrap_or("*"))
        }
        BranchWork::Drop { database, branch, .. } => format!("drop {database}/{branch}"),
        BranchWork::Undrop { database, branch } => format!("undrop {database}/{branch}"),
        BranchWork::Reap { database, dry_run } => {
            let database = database.as_deref().unwrap_or("every database");
            format!("reap {database}{}", if *dry_run { ", dry run" } else { "" })
        }
        BranchWork::Conflicts { database, branch, .. } => format!("conflicts of {database}/{branch}"),
        BranchWork::Resolve(ResolveRequest { database, branch, .. }) => {
            format!("decide about a conflict of {database}/{branch}")
        }
        BranchWork::MainTable { change, database, table } => match change {
            main_tables::Change::Add => format!("make {table} of {database} always main's"),
            main_tables::Change::Remove => format!("give every branch of {database} its own {table}"),
        },
    }
}

async fn run(
    context: &Arc<Context>,
    work: BranchWork,
    by: String,
    progress: &Progress,
) -> Result<Outcome, String> {
    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    match work {
        BranchWork::Create(CreateBranch { database, name, from, commit_main, worker }) => {
            progress.step("fork", None);
            let name = match (name, &worker) {
                (Some(name), _) => name,
                (None, worker) => base::default_name(worker.as_deref().unwrap_or_default(), unix_now()),
            };
            let listing = context.branches.listing().await.map_err(text)?;
            let Some(database) = listing.database(&database).map(str::to_owned) else {
                return Err(format!("there is no database {database}; SHOW RIGS lists them"));
            };
            let request = ForkRequest { database, name, from, commit_main, worker, by };
            create(context, request).await.map(Outcome::Created).map_err(text)
        }
        BranchWork::Finish(FinishBranches { database, which, push, keep, wait }) => {
            let wait = wait.unwrap_or(context.config.branches.finish_wait);
            let request =
                |branch: String| FinishRequest { database: database.clone(), branch, push, keep, wait, by };
            match which {
                Which::One(branch) => {
                    let finished = finish(context, request(branch.clone()), progress).await.map_err(text)?;
                    Ok(Outcome::Finished(vec![(branch, Ok(finished))]))
                }
                Which::All { pattern } => {
                    let branches = matching(context, &database, pattern).await?;
                    if branches.is_empty() {
                        return Ok(Outcome::Finished(Vec::new()));
                    }
                    let all = finish_all(context, request(String::new()), branches, progress).await;
                    let all = all.map_err(text)?.into_iter();
                    Ok(Outcome::Finished(
                        all.map(|(branch, result)| (branch, result.map_err(text))).collect(),
                    ))
                }
            }
        }
        BranchWork::Drop { database, branch, force } => {
            let request =
                DropRequest { database, branch, force, wait: context.config.branches.finish_wait, by };
            drop_branch(context, request, progress).await.map(Outcome::Dropped).map_err(text)
        }
        BranchWork::Undrop { database, branch } => {
            progress.step("bring it back", None);
            undrop(context, &database, &branch, &by).await.map(Outcome::Undropped).map_err(text)
        }
        BranchWork::Reap { database, dry_run } => {
            check_known(context, database.as_deref()).await?;
            progress.step("look at all branches", None);
            let reaped = reap::reap(context, database.as_deref(), dry_run).await.map_err(text)?;
            let row = |reaped: reap::Reaped| ReapedRow {
                failed: !dry_run && !reaped.done && reaped.action != "alert",
                action: format!("{}{}", if dry_run { "would be: " } else { "" }, reaped.action),
                database: reaped.database,
                branch: reaped.branch,
                why: reaped.note,
            };
            Ok(Outcome::Reaped(reaped.into_iter().map(row).collect()))
        }
        BranchWork::Conflicts { database, branch, table, limit } => {
            let (table, conflicts) = (table.as_deref(), crate::branch::finish::conflicts);
            let views = conflicts(context, &database, &branch, table, limit, progress).await.map_err(text)?;
            Ok(Outcome::Conflicts(views.iter().flat_map(conflict_rows).collect()))
        }
        BranchWork::Resolve(decision) => {
            let ResolveRequest { database, branch, table, key, choice } = decision;
            let choice = match choice {
                admin::Choice::Ours => merge::Choice::Ours,
                admin::Choice::Theirs => merge::Choice::Theirs,
                admin::Choice::Set(cells) => merge::Choice::Set(cells.into_iter().collect()),
            };
            let chosen = choice.as_str();
            let row = ConflictedRow { database, branch, table, key };
            let decided = decide(context, &row, choice.clone(), &by, progress).await;
            let view = match (decided, named_key(&row)) {
                // `id=bd-7` may be a value, or how `branch diff` writes a key.
                (Err(FinishError::Decision(_)), Some(row)) => {
                    decide(context, &row, choice, &by, progress).await.map_err(text)?
                }
                (decided, _) => decided.map_err(text)?,
            };
            let left = if view.undecided {
                format!(", still to be decided: {}", view.undecided_columns.join(", "))
            } else {
                String::new()
            };
            Ok(Outcome::Resolved(format!("{} {}: {chosen}{left}", view.table, view.key)))
        }
        BranchWork::MainTable { change, database, table } => {
            let changed = main_tables::change(context, change, &database, &table, &by, progress).await;
            changed.map(Outcome::MainTable).map_err(text)
        }
    }
}

/// The same row, if its key without a column can be read as `column=value`.
fn named_key(row: &ConflictedRow) -> Option<ConflictedRow> {
    let [(None, text)] = row.key.as_slice() else { return None };
    let (column, value) = text.split_once('=').filter(|(column, _)| !column.is_empty())?;
    let key = vec![(Some(column.to_owned()), value.to_owned())];
    let (database, branch) = (row.database.clone(), row.branch.clone());
    Some(ConflictedRow { database, branch, table: row.table.clone(), key })
}

/// A row for each column that differs; one for the whole row if it is there on one side only.
fn conflict_rows(view: &ConflictView) -> Vec<ConflictRow> {
    let of =
        |version: &Option<Vec<Option<String>>>, at: usize| version.as_ref().and_then(|row| row[at].clone());
    let is_open = |column: &str| view.undecided_columns.iter().any(|open| open == column);
    let whole = view.decided.iter().filter(|(column, _)| column.is_none()).map(|(_, why)| *why);
    let whole: Vec<&str> = whole.collect();
    let row = |column: Option<usize>, why: String, undecided: bool| ConflictRow {
        table: view.table.clone(),
        key: Some(view.key.clone()),
        column: column.map(|at| view.columns[at].clone()),
        base: column.and_then(|at| of(&view.base, at)),
        ours: column.and_then(|at| of(&view.ours, at)),
        theirs: column.and_then(|at| of(&view.theirs, at)),
        result: column.and_then(|at| of(&view.result, at)),
        why,
        undecided,
    };
    let mut rows = Vec::new();
    for (at, column) in view.columns.iter().enumerate() {
        let (base, ours, theirs) = (of(&view.base, at), of(&view.ours, at), of(&view.theirs, at));
        if base == ours && ours == theirs {
            continue;
        }
        let decided =
            view.decided.iter().find(|(name, _)| name.as_ref() == Some(column)).map(|(_, why)| *why);
        let why = match decided {
            _ if is_open(column) => "to be decided".to_owned(),
            Some(why) => why.to_owned(),
            None if !whole.is_empty() => whole.join(", "),
            None if base == theirs => "changed on main only".to_owned(),
            None if base == ours => "changed on the branch only".to_owned(),
            None => "the same on both".to_owned(),
        };
        rows.push(row(Some(at), why, is_open(column)));
    }
    // Whether the row stays is no column's matter.
    let missing =
        [("main", &view.ours), ("the branch", &view.theirs)].into_iter().find(|(_, row)| row.is_none());
    if view.undecided && view.undecided_columns.is_empty() || rows.is_empty() {
        let why = match missing {
            Some((side, _)) if view.undecided => format!("deleted on {side}: decide whether it stays"),
            _ => whole.join(", "),
        };
        rows.push(row(None, why, view.undecided));
    }
    rows
}

/// Branches that a pattern stands for, all without one; main and branches of our own making are none of them.
async fn matching(context: &Context, database: &str, pattern: Option<String>) -> Result<Vec<String>, String> {
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    let Some(database) = listing.database(database) else {
        return Err(format!("there is no database {database}; SHOW RIGS lists them"));
    };
    let main = context.branches.default_branch(database);
    let pattern = pattern.as_deref().map(Glob::new);
    let wanted = |name: &&str| {
        !name.eq_ignore_ascii_case(&main)
            && !name.eq_ignore_ascii_case("main")
            && !name.starts_with(list::OWN_PREFIX)
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    };
    Ok(listing.branches(database).filter(wanted).map(str::to_owned).collect())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
