//! Owns the tables that are always main's: rows of Dolt's `dolt_nonlocal_tables`, on main and on every branch.
//! Does not move any row of such a table. Always: a branch gets its row and the Dolt commit of it in one
//! transaction under its lane, and nothing else goes into that commit; run again, it does what is left.
//!
//! Dolt reads that table on the branch that a session is on, working set and all, so a row on main alone means
//! nothing to branches that are there already; new ones are forked with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::directory::{sql_identifier, sql_literal};
use super::fork::UNFINISHED_PREFIX;
use crate::admit::{Committed, LaneKey, NotTaken, Who};
use crate::dolt::{Control, ControlError, ControlSession};
use crate::observe::progress::Progress;
use crate::session::Context;
use crate::session::route::branch_name::printable;

/// For one statement.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Looks for branches that came to be meanwhile.
const ROUNDS_MAX: usize = 5;
/// A table's name, or a pattern.
const NAME_CHARS_MAX: usize = 64;
/// Written in Dolt's own column.
const OPTIONS: &str = "immediate";

/// What to do with a table or pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Make it main's on every branch.
    Add,
    /// Give each branch its own again.
    Remove,
}

/// A table or pattern that is main's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainTable {
    /// As it stands in `dolt_nonlocal_tables`: a name, or a pattern with `%`, `*` or `?`.
    pub pattern: String,
    /// The branch that has it.
    pub target: String,
    /// Tables of that branch that it stands for now.
    pub tables: Vec<String>,
    /// Branches on which it holds.
    pub branches: Vec<String>,
    /// Branches that have their own instead.
    pub missing_on: Vec<String>,
}

/// What was done on one branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchChange {
    /// Which.
    pub branch: String,
    /// What came of it.
    pub outcome: BranchOutcome,
}

/// What came of it on one branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchOutcome {
    /// Done, in this Dolt commit; on a branch whose own table differed from main's, that is said.
    Changed {
        /// Hash of the commit.
        commit: String,
        /// The tables in which the branch has other rows than main.
        own_rows: Vec<String>,
    },
    /// It was so before.
    AlreadySo,
    /// Not done, why, and what to do.
    Failed(String),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum MainTableError {
    /// No such database.
    #[error("there is no database {}; SHOW RIGS lists them", printable(.0))]
    NoDatabase(String),
    /// Not on main.
    #[error(
        "{main} of {database} has no table {}; make it there first, or give a pattern with % or *", printable(.table)
    )]
    NoTable {
        /// The database.
        database: String,
        /// Its main.
        main: String,
        /// What was asked for.
        table: String,
    },
    /// Nothing to remove.
    #[error("{} is not among the tables of {database} that are always {main}'s", printable(.table))]
    NotThere {
        /// The database.
        database: String,
        /// Its main.
        main: String,
        /// What was asked for.
        table: String,
    },
    /// Dolt's own, or no name.
    #[error("{} can't be made main's: {why}", printable(.table))]
    Name {
        /// What was asked for.
        table: String,
        /// Why not.
        why: &'static str,
    },
    /// It goes elsewhere.
    #[error(
        "{} of {database} stands for a table of {target} already, on branch {branch}; remove that row of \
         dolt_nonlocal_tables first", printable(.table)
    )]
    OtherTarget {
        /// The database.
        database: String,
        /// What was asked for.
        table: String,
        /// Where it goes.
        target: String,
        /// On this branch.
        branch: String,
    },
    /// Dolt did not answer, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// What is main's in a database, on which branches.
pub async fn list(context: &Context, database: &str) -> Result<Vec<MainTable>, MainTableError> {
    let place = Place::find(context, database).await?;
    let tables = place.tables(context.dolt.control()).await?;
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let branches = place.branches(context).await?;
    for branch in &branches {
        let mut session = place.session(context.dolt.control(), branch).await?;
        for (pattern, target) in nonlocal(&mut session).await? {
            found.entry((pattern, target)).or_default().insert(branch.clone());
        }
    }
    let shown = found.into_iter().map(|((pattern, target), on)| MainTable {
        tables: tables.iter().filter(|table| stands_for(&pattern, table)).cloned().collect(),
        missing_on: branches.iter().filter(|branch| !on.contains(*branch)).cloned().collect(),
        branches: on.into_iter().collect(),
        pattern,
        target,
    });
    Ok(shown.collect())
}

/// Makes a table main's on main and on every branch, or gives each its own again. One branch that can't be done
/// doesn't stop the rest.
pub async fn change(
    context: &Arc<Context>,
    change: Change,
    database: &str,
    table: &str,
    by: &str,
    progress: &Progress,
) -> Result<Vec<BranchChange>, MainTableError> {
    check_name(table)?;
    let place = Place::find(context, database).await?;
    let control = context.dolt.control();
    let table = match change {
        Change::Add => place.table_to_add(control, table).await?,
        Change::Remove => table.to_owned(),
    };
    let mut all: Vec<BranchChange> = Vec::new();
    // A branch that is forked meanwhile was forked from what main was then. Main comes first.
    for _ in 0..ROUNDS_MAX {
        let seen: BTreeSet<String> = all.iter().map(|done| done.branch.clone()).collect();
        let mut todo: Vec<String> = place.branches(context).await?;
        todo.retain(|branch| !seen.contains(branch));
        todo.sort_by_key(|branch| *branch != place.main);
        if todo.is_empty() {
            break;
        }
        let step = if change == Change::Add { "tell every branch" } else { "give each branch its own" };
        progress.step(step, Some((all.len() + todo.len()) as u64));
        progress.advance(all.len() as u64);
        for branch in todo {
            let on_branch = OnBranch { place: &place, branch: &branch, table: &table, change, by };
            let outcome = match on_branch.apply(context).await {
                Ok(outcome) => outcome,
                // On main it is a refusal of the whole, before anything was done.
                Err(NotDone::Refused(refused)) if branch == place.main => return Err(refused),
                Err(NotDone::Refused(error)) => BranchOutcome::Failed(error.to_string()),
                Err(NotDone::Lane(error)) => BranchOutcome::Failed(format!("{error}; run it again")),
                Err(NotDone::Staged(tables)) => BranchOutcome::Failed(format!(
                    "{tables} are staged there and would go into the same Dolt commit; commit them \
                     (CALL DOLT_COMMIT) or unstage them (CALL DOLT_RESET()), then run it again"
                )),
                Err(NotDone::Control(error)) => BranchOutcome::Failed(error.to_string()),
            };
            all.push(BranchChange { branch, outcome });
            progress.advance(1);
        }
    }
    let nowhere = all.iter().all(|done| done.outcome == BranchOutcome::AlreadySo);
    if change == Change::Remove && nowhere {
        return Err(MainTableError::NotThere { database: place.database, main: place.main, table });
    }
    Ok(all)
}

/// A database as Dolt spells it, and the branch that is its main.
struct Place {
    database: String,
    main: String,
}

impl Place {
    async fn find(context: &Context, database: &str) -> Result<Self, MainTableError> {
        let listing = context.branches.listing().await?;
        let spelled = listing.database(database);
        let database = spelled.ok_or_else(|| MainTableError::NoDatabase(database.to_owned()))?.to_owned();
        let mut session = context.dolt.control().with_timeout(TIMEOUT).dedicated().await?;
        session.execute(&format!("USE {}", sql_identifier(&database)), Vec::new()).await?;
        let rows = session.rows("SELECT active_branch()", Vec::new()).await?;
        let main = rows.into_iter().next().and_then(|row| mysql_async::from_row_opt::<String>(row).ok());
        let main = main.unwrap_or_else(|| context.branches.default_branch(&database));
        Ok(Self { database, main })
    }

    /// As Dolt spells them, without forks under way.
    async fn branches(&self, context: &Context) -> Result<Vec<String>, MainTableError> {
        let listing = context.branches.listing().await?;
        let finished = listing.branches(&self.database).filter(|name| !name.starts_with(UNFINISHED_PREFIX));
        Ok(finished.map(str::to_owned).collect())
    }

    async fn session(&self, control: &Control, branch: &str) -> Result<ControlSession, ControlError> {
        let mut session = control.with_timeout(TIMEOUT).dedicated().await?;
        let revision = sql_identifier(&format!("{}/{branch}", self.database));
        session.execute(&format!("USE {revision}"), Vec::new()).await?;
        Ok(session)
    }

    async fn tables(&self, control: &Control) -> Result<Vec<String>, ControlError> {
        let mut session = self.session(control, &self.main).await?;
        let rows = session.rows("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'", Vec::new()).await?;
        let name = |row| mysql_async::from_row_opt::<(String, String)>(row).ok().map(|(name, _)| name);
        Ok(rows.into_iter().filter_map(name).collect())
    }

    /// A pattern as it is, a name as the table spells it.
    async fn table_to_add(&self, control: &Control, table: &str) -> Result<String, MainTableError> {
        if is_pattern(table) {
            return Ok(table.to_owned());
        }
        let tables = self.tables(control).await?;
        let spelled = tables.into_iter().find(|known| known.eq_ignore_ascii_case(table));
        spelled.ok_or_else(|| {
            let (database, main) = (self.database.clone(), self.main.clone());
            MainTableError::NoTable { database, main, table: table.to_owned() }
        })
    }
}

/// One branch's part of it.
struct OnBranch<'a> {
    place: &'a Place,
    branch: &'a str,
    table: &'a str,
    change: Change,
    by: &'a str,
}

enum NotDone {
    Refused(MainTableError),
    Lane(NotTaken),
    Staged(String),
    Control(ControlError),
}

impl From<ControlError> for NotDone {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl OnBranch<'_> {
    async fn apply(&self, context: &Context) -> Result<BranchOutcome, NotDone> {
        let database = &self.place.database;
        let lane = LaneKey::new(database, self.branch);
        let mut seat = context.lanes.seat(Who {
            client_id: 0,
            account: self.by.to_owned(),
            program: "branchline".to_owned(),
            address: "console".to_owned(),
            process: None,
        });
        seat.doing("change of the tables that are always main's");
        let deadline = tokio::time::Instant::now() + context.config.lanes.budget;
        seat.take(&BTreeSet::from([lane.clone()]), deadline).await.map_err(NotDone::Lane)?;
        let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
        let mut session = self.place.session(context.dolt.control(), self.branch).await?;
        let done = self.in_transaction(&mut session).await;
        if !matches!(done, Ok(BranchOutcome::AlreadySo)) {
            // Also after an error: the answer may be what was lost.
            seat.committed([&lane], Committed::Other);
            context.catalog.invalidate(database, self.branch);
        }
        seat.release_all();
        done
    }

    async fn in_transaction(&self, session: &mut ControlSession) -> Result<BranchOutcome, NotDone> {
        session.execute("START TRANSACTION", Vec::new()).await?;
        let known = nonlocal(session).await?;
        let target = known.iter().find(|(pattern, _)| pattern.eq_ignore_ascii_case(self.table));
        let target = target.map(|(_, target)| target);
        match (self.change, target) {
            (Change::Add, Some(target)) if target.eq_ignore_ascii_case(&self.place.main) => {
                return Ok(BranchOutcome::AlreadySo);
            }
            (Change::Add, Some(target)) => {
                return Err(NotDone::Refused(MainTableError::OtherTarget {
                    database: self.place.database.clone(),
                    table: self.table.to_owned(),
                    target: target.clone(),
                    branch: self.branch.to_owned(),
                }));
            }
            (Change::Remove, None) => return Ok(BranchOutcome::AlreadySo),
            (Change::Add, None) | (Change::Remove, Some(_)) => {}
        }
        let staged =
            "SELECT table_name FROM dolt_status WHERE staged = 1 AND table_name <> 'dolt_nonlocal_tables'";
        let staged: BTreeSet<String> =
            session.rows(staged, Vec::new()).await?.into_iter().filter_map(first).collect();
        if !staged.is_empty() {
            return Err(NotDone::Staged(staged.into_iter().collect::<Vec<_>>().join(", ")));
        }
        let own_rows = match self.change {
            Change::Add if self.branch != self.place.main => self.own_rows(session).await?,
            _ => Vec::new(),
        };
        let (table, main) = (sql_literal(self.table), &self.place.main);
        let (sql, message) = match self.change {
            Change::Add => (
                format!(
                    "INSERT INTO dolt_nonlocal_tables (table_name, target_ref, options) VALUES ({table}, {}, '{OPTIONS}')",
                    sql_literal(main)
                ),
                format!("Branchline: {} is always {main}'s", self.table),
            ),
            Change::Remove => (
                format!("DELETE FROM dolt_nonlocal_tables WHERE LOWER(table_name) = LOWER({table})"),
                format!("Branchline: {} is each branch's own again", self.table),
            ),
        };
        session.execute(&sql, Vec::new()).await?;
        session.rows("CALL DOLT_ADD('dolt_nonlocal_tables')", Vec::new()).await?;
        let commit = format!("CALL DOLT_COMMIT('-m', {})", sql_literal(&message));
        let commit = session.rows(&commit, Vec::new()).await?.into_iter().next().and_then(first);
        session.execute("COMMIT", Vec::new()).await?;
        Ok(BranchOutcome::Changed { commit: commit.unwrap_or_default(), own_rows })
    }

    /// The tables of the branch that are about to be hidden by main's and hold something else.
    async fn own_rows(&self, session: &mut ControlSession) -> Result<Vec<String>, ControlError> {
        let rows = session.rows("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'", Vec::new()).await?;
        let mut differing = Vec::new();
        for table in rows.into_iter().filter_map(first).filter(|table| stands_for(self.table, table)) {
            let hash = format!("SELECT dolt_hashof_table({})", sql_literal(&table));
            let here = session.rows(&hash, Vec::new()).await?.into_iter().next().and_then(first);
            let revision = |branch: &str| sql_identifier(&format!("{}/{branch}", self.place.database));
            session.execute(&format!("USE {}", revision(&self.place.main)), Vec::new()).await?;
            // A table that main doesn't have has no hash: that differs too.
            let there = match session.rows(&hash, Vec::new()).await {
                Err(ControlError::Server { .. }) => None,
                rows => rows?.into_iter().next().and_then(first),
            };
            session.execute(&format!("USE {}", revision(self.branch)), Vec::new()).await?;
            if here != there {
                differing.push(table);
            }
        }
        Ok(differing)
    }
}

/// Patterns and their targets on the session's branch.
async fn nonlocal(session: &mut ControlSession) -> Result<Vec<(String, String)>, ControlError> {
    let sql = "SELECT table_name, COALESCE(target_ref, '') FROM dolt_nonlocal_tables";
    let rows = session.rows(sql, Vec::new()).await?;
    Ok(rows.into_iter().filter_map(|row| mysql_async::from_row_opt(row).ok()).collect())
}

fn first(row: mysql_async::Row) -> Option<String> {
    match row.unwrap_raw().into_iter().next()?? {
        mysql_async::Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn is_pattern(table: &str) -> bool {
    table.contains(['%', '*', '?'])
}

fn stands_for(pattern: &str, table: &str) -> bool {
    crate::catalog::matches(&pattern.to_lowercase(), &table.to_lowercase())
}

fn check_name(table: &str) -> Result<(), MainTableError> {
    let refuse = |why| Err(MainTableError::Name { table: table.to_owned(), why });
    if table.is_empty() {
        return refuse("it is empty");
    }
    if table.chars().count() > NAME_CHARS_MAX {
        return refuse("it is longer than 64 characters");
    }
    if table.chars().any(char::is_control) {
        return refuse("it has control characters");
    }
    if table.to_lowercase().starts_with("dolt_") {
        return refuse("Dolt's own tables belong to each branch");
    }
    if table.chars().all(|c| matches!(c, '%' | '*' | '?')) {
        return refuse("that would be every table; use main itself instead of a branch");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, fine) in [
            ("config", true),
            ("cfg_%", true),
            ("o'neil `x`", true),
            ("", false),
            ("%", false),
            ("*?", false),
            ("dolt_ignore", false),
            ("Dolt_x%", false),
            ("a\nb", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(check_name(name).is_ok(), fine, "{name}");
        }
    }

    #[test]
    fn patterns_stand_for_tables_as_dolt_reads_them() {
        assert!(stands_for("Cfg_%", "cfg_a") && stands_for("config", "CONFIG") && stands_for("c?", "cx"));
        assert!(!stands_for("config", "configs"));
    }
}
