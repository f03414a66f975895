//! Owns what people see of a branch's conflicts with main, and what they decide about them. Changes no row: a
//! decision is written down for the next finish. Looks at Dolt commits only: uncommitted rows are none yet.

use std::sync::Arc;

use super::run::{Pair, blocking, go_to};
use super::{FinishError, run::spelled};
use crate::merge::{self, Choice, ConflictView, Decision, MergeRequest, Wanted};
use crate::observe::audit::NoAudit;
use crate::observe::progress::Progress;
use crate::session::Context;

/// Rows that an error names when several are meant.
const NAMED_MAX: usize = 3;

/// A row of a branch's conflicts with main, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictedRow {
    /// The database.
    pub database: String,
    /// The branch.
    pub branch: String,
    /// The table.
    pub table: String,
    /// Columns and values; a value without a column is the whole key as `branch conflicts` shows it.
    pub key: Vec<(Option<String>, String)>,
}

/// The first `limit` conflicts that a finish of the branch would have, all or those of one table, with what the rules
/// and earlier decisions make of them.
pub async fn conflicts(
    context: &Context,
    database: &str,
    branch: &str,
    table: Option<&str>,
    limit: usize,
    progress: &Progress,
) -> Result<Vec<ConflictView>, FinishError> {
    let wanted = Wanted { table, row: &|_| true, limit };
    let mut pair = Pair::take(context).await?;
    let views = Looking::begin(context, &mut pair, database, branch)
        .await?
        .views(&mut pair, &wanted, None, progress)
        .await;
    pair.give_back(context);
    views
}

/// Writes down what `by` decided about a row, for the next finish of the branch; returns the conflict as it is then.
pub async fn decide(
    context: &Arc<Context>,
    row: &ConflictedRow,
    choice: Choice,
    by: &str,
    progress: &Progress,
) -> Result<ConflictView, FinishError> {
    let mut pair = Pair::take(context).await?;
    let looking = Looking::begin(context, &mut pair, &row.database, &row.branch).await?;
    let is_it = |view: &ConflictView| is_row(view, &row.key);
    let wanted = Wanted { table: Some(&row.table), row: &is_it, limit: NAMED_MAX + 1 };
    let found = looking.views(&mut pair, &wanted, None, progress).await?;
    let [view] = found.as_slice() else { return Err(not_one(row, &found)) };
    if let Choice::Set(values) = &choice {
        let is_there = |name: &&String| !view.columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        if let Some(column) = values.keys().find(is_there) {
            return Err(FinishError::Decision(format!(
                "table {} has no column {column}; it has {}",
                view.table,
                view.columns.join(", ")
            )));
        }
    }
    let (fingerprint, by) = (view.fingerprint.clone(), by.to_owned());
    let decision = Decision { table: view.table.clone(), key: view.key.clone(), choice, fingerprint, by };
    // With it, as the finish will: what can't be set is refused now, not then.
    let mut decided = looking.views(&mut pair, &wanted, Some(&decision), progress).await?;
    let Some(decided) = decided.pop() else { return Err(not_one(row, &[])) };
    let (context, database, branch) = (Arc::clone(context), row.database.clone(), looking.branch);
    pair.give_back(&context);
    let what = format!("{}\u{1f}{}", decision.table, decision.key);
    blocking(move || context.book.decide(&database, &branch, &what, &decision)).await?;
    Ok(decided)
}

/// A branch and main, looked at from two connections.
struct Looking<'a> {
    context: &'a Context,
    database: &'a str,
    branch: String,
}

impl<'a> Looking<'a> {
    async fn begin(
        context: &'a Context,
        pair: &mut Pair,
        database: &'a str,
        branch: &str,
    ) -> Result<Self, FinishError> {
        let (branch, main) = spelled(&mut pair.writer, database, branch).await?;
        go_to(&mut pair.writer, database, &main).await?;
        Ok(Self { context, database, branch })
    }

    async fn views(
        &self,
        pair: &mut Pair,
        wanted: &Wanted<'_>,
        also: Option<&Decision>,
        progress: &Progress,
    ) -> Result<Vec<ConflictView>, FinishError> {
        let decisions = self.context.book.decisions(self.database, &self.branch);
        let mut decisions: Vec<Decision> = decisions.map_err(|error| FinishError::Book(error.to_string()))?;
        if let Some(also) = also {
            decisions.retain(|decision| (&decision.table, &decision.key) != (&also.table, &also.key));
            decisions.push(also.clone());
        }
        let request = MergeRequest {
            database: self.database,
            theirs: &self.branch,
            policy: &self.context.config.merge,
            decisions: &decisions,
            progress,
            audit: &NoAudit,
        };
        Ok(merge::conflicts(&mut pair.writer, &mut pair.reader, &request, wanted).await?)
    }
}

/// Whether a person who says this of the key means this row.
fn is_row(view: &ConflictView, key: &[(Option<String>, String)]) -> bool {
    key.iter().all(|(column, value)| {
        let Some(column) = column else { return *value == view.key };
        let Some(at) = view.columns.iter().position(|name| name.eq_ignore_ascii_case(column)) else {
            return false;
        };
        let versions = [&view.base, &view.ours, &view.theirs];
        versions.into_iter().flatten().any(|version| version[at].as_ref() == Some(value))
    })
}

fn not_one(row: &ConflictedRow, found: &[ConflictView]) -> FinishError {
    let ConflictedRow { database, branch, table, .. } = row;
    FinishError::Decision(match found {
        [] => format!(
            "table {table} has no such conflict between {branch} and main; `branchline branch conflicts {database} \
             {branch}` shows what there is to decide"
        ),
        _ => format!(
            "several rows of {table} are meant: {}{}; name one by its whole key",
            found.iter().take(NAMED_MAX).map(|view| view.key.as_str()).collect::<Vec<_>>().join(" and "),
            if found.len() > NAMED_MAX { " and others" } else { "" }
        ),
    })
}
