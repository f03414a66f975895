//! Owns what is known of each branch: whose it is, how far it is from main, what on it is nowhere else, who is on
//! it. Does not change anything. Always: a few questions per database, however many branches it has.

use std::collections::BTreeMap;
use std::time::SystemTime;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, FromRowError, Row};

use super::base::{BASE_PREFIX, ForkRecord, base_tag};
use super::{sql_identifier, sql_literal};
use crate::admit::LaneKey;
use crate::dolt::ControlError;
use crate::observe::time::unix_seconds;
use crate::session::Context;
use crate::session::route::Requested;

/// Branches that one question asks about: Dolt plans all of it at once.
const QUESTION_BRANCHES_MAX: usize = 100;

/// Branches of our own making begin so: forks under way, and copies that a finish needs for a moment.
pub const OWN_PREFIX: &str = "branchline-";

/// Branches that hold what other towns have begin so: `peer/alice/main`. They are for reading only.
pub const PEER_PREFIX: &str = "peer/";

/// Whether a branch holds what another town has.
pub fn is_peer(branch: &str) -> bool {
    branch.get(..PEER_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PEER_PREFIX))
}

/// One branch. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct BranchRow {
    /// As Dolt spells it.
    pub database: String,
    /// As Dolt spells it.
    pub branch: String,
    /// For whom it was forked, as recorded, or as its name says.
    pub worker: Option<String>,
    /// When it was forked; for one that was made by hand, its first commit.
    pub created: Option<u64>,
    /// Its last commit.
    pub last_write: u64,
    /// Commits that main doesn't have.
    pub ahead: u64,
    /// Main's commits that it doesn't have.
    pub behind: u64,
    /// Tables with uncommitted changes, without ignored ones.
    pub uncommitted: Vec<String>,
    /// Ignored tables whose rows differ from what they were at the fork.
    pub ignored: Vec<String>,
    /// Sessions that are on it now.
    pub sessions: u64,
    /// When a session was last on it.
    pub last_seen: Option<u64>,
    /// Whether nobody was on it, or wrote to it, for `branches.orphan_after_h`.
    pub orphan: bool,
    /// Whether it has anything that main has not.
    pub unmerged: bool,
}

impl BranchRow {
    /// When something was last done with it, as far as that is known.
    pub fn last_used(&self) -> u64 {
        let times = [Some(self.last_write), self.last_seen, self.created];
        times.into_iter().flatten().max().unwrap_or_default()
    }
}

/// All branches but main, by database and name; of one database if it is given.
pub async fn list(context: &Context, only: Option<&str>) -> Result<Vec<BranchRow>, ControlError> {
    let listing = context.branches.listing().await?;
    let mut session = None;
    let mut rows = Vec::new();
    for database in listing.databases() {
        if only.is_some_and(|only| !only.eq_ignore_ascii_case(database)) {
            continue;
        }
        let main = context.branches.default_branch(database);
        let is_ours = |branch: &&str| !branch.eq_ignore_ascii_case(&main) && !branch.starts_with(OWN_PREFIX);
        let names: Vec<&str> = listing.branches(database).filter(is_ours).collect();
        if names.is_empty() {
            continue;
        }
        let conn = match &mut session {
            Some(conn) => conn,
            none => {
                let opened = context.dolt.control().dedicated().await?.into_connection();
                none.insert(opened.ok_or_else(|| ControlError::Io("it was given up".to_owned()))?)
            }
        };
        rows.extend(of_database(conn, database, &main, &names).await?);
    }
    let now = unix_seconds(SystemTime::now());
    let sessions = sessions(context);
    for row in &mut rows {
        let key = LaneKey::new(&row.database, &row.branch);
        row.sessions = sessions.get(&key).copied().unwrap_or_default();
        row.last_seen =
            if row.sessions > 0 { Some(now) } else { context.book.seen(&row.database, &row.branch) };
        let idle = now.saturating_sub(row.last_used());
        row.orphan = row.sessions == 0 && idle >= context.config.branches.orphan_after.as_secs();
        row.unmerged = row.ahead > 0 || !row.uncommitted.is_empty() || !row.ignored.is_empty();
    }
    Ok(rows)
}

/// Sessions on each branch, as they are shown.
fn sessions(context: &Context) -> BTreeMap<LaneKey, u64> {
    let mut counts = BTreeMap::new();
    for client in context.clients.all() {
        let view = client.view();
        if let (Some(database), Some(branch)) = (view.database, view.branch) {
            let key = LaneKey::new(&Requested::parse(&database).database, &branch);
            *counts.entry(key).or_default() += 1;
        }
    }
    counts
}

async fn of_database(
    conn: &mut Conn,
    database: &str,
    main: &str,
    names: &[&str],
) -> Result<Vec<BranchRow>, ControlError> {
    conn.query_drop(format!("USE {}", sql_identifier(&format!("{database}/{main}")))).await?;
    let records = records(conn).await?;
    let last_writes: BTreeMap<String, u64> = read(
        conn.query("SELECT name, UNIX_TIMESTAMP(latest_commit_date) FROM dolt_branches").await?,
        |(name, at): (String, Option<f64>)| (name, at.unwrap_or_default() as u64),
    )?;
    let mut rows = Vec::new();
    for some in names.chunks(QUESTION_BRANCHES_MAX) {
        let questions: Vec<String> = some.iter().map(|name| question(database, main, name)).collect();
        for row in conn.query::<Row, _>(questions.join(" UNION ALL ")).await? {
            let (branch, ahead, first, behind, tables): (String, u64, Option<f64>, u64, Option<String>) =
                mysql_async::from_row_opt(row).map_err(unexpected)?;
            let record = records.get(&branch);
            let (ignored, uncommitted) = tables_of(&tables.unwrap_or_default());
            rows.push(BranchRow {
                database: database.to_owned(),
                worker: record.map_or_else(|| worker_in(&branch), |record| record.worker.clone()),
                created: record.map(|record| record.at).or(first.map(|first| first as u64)),
                last_write: last_writes.get(&branch).copied().unwrap_or_default(),
                ahead,
                behind,
                uncommitted,
                ignored,
                branch,
                ..BranchRow::default()
            });
        }
    }
    for row in &mut rows {
        if !row.ignored.is_empty() {
            let base =
                if records.contains_key(&row.branch) { base_tag(&row.branch) } else { main.to_owned() };
            row.ignored = changed(conn, row, &base).await?;
        }
    }
    Ok(rows)
}

/// One row: name, commits ahead, the first of them, commits behind, tables with uncommitted changes.
fn question(database: &str, main: &str, name: &str) -> String {
    let (ours, theirs) = (sql_literal(&format!("{main}..{name}")), sql_literal(&format!("{name}..{main}")));
    let (literal, place) = (sql_literal(name), sql_identifier(&format!("{database}/{name}")));
    // 1 in front of a table's name: ignored. Names are apart by a character that none has.
    format!(
        "SELECT {literal}, log.n, log.first, (SELECT COUNT(*) FROM dolt_log({theirs})), (SELECT \
         GROUP_CONCAT(CONCAT(ignored, table_name) SEPARATOR '\u{1f}') FROM {place}.dolt_status_ignored) FROM (SELECT \
         COUNT(*) AS n, UNIX_TIMESTAMP(MIN(date)) AS first FROM dolt_log({ours})) log"
    )
}

/// Ignored tables, and the others, of what `question` says.
fn tables_of(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut ignored, mut others) = (Vec::new(), Vec::new());
    for table in text.split('\u{1f}').filter(|table| !table.is_empty()) {
        match (table.strip_prefix('1'), table.strip_prefix('0')) {
            (Some(name), _) => ignored.push(name.to_owned()),
            (None, name) => others.push(name.unwrap_or(table).to_owned()),
        }
    }
    for tables in [&mut ignored, &mut others] {
        tables.sort();
        tables.dedup();
    }
    (ignored, others)
}

/// Of a branch's ignored tables those whose rows are not what they were at its base.
async fn changed(conn: &mut Conn, row: &BranchRow, base: &str) -> Result<Vec<String>, ControlError> {
    let place = sql_identifier(&format!("{}/{}", row.database, row.branch));
    conn.query_drop(format!("USE {place}")).await?;
    let mut changed = Vec::new();
    for table in &row.ignored {
        let (base, name) = (sql_literal(base), sql_literal(table));
        let sql = format!("SELECT COUNT(*) FROM dolt_diff_stat({base}, 'WORKING', {name})");
        // What can't be compared has changed: nothing is deleted that is not known to be elsewhere.
        if !matches!(conn.query_first::<u64, _>(sql).await, Ok(Some(0))) {
            changed.push(table.clone());
        }
    }
    Ok(changed)
}

/// Records of forks by branch.
async fn records(conn: &mut Conn) -> Result<BTreeMap<String, ForkRecord>, ControlError> {
    let rows = conn.query("SELECT tag_name, message FROM dolt_tags").await?;
    let tags: Vec<(String, String)> = read(rows, |tag| tag)?;
    let ours = tags.into_iter().filter_map(|(tag, message)| {
        Some((tag.strip_prefix(BASE_PREFIX)?.to_owned(), ForkRecord::parse(&message)?))
    });
    Ok(ours.collect())
}

fn read<T: mysql_async::prelude::FromRow, U, C: FromIterator<U>>(
    rows: Vec<Row>,
    of: impl Fn(T) -> U,
) -> Result<C, ControlError> {
    rows.into_iter().map(|row| mysql_async::from_row_opt::<T>(row).map(&of).map_err(unexpected)).collect()
}

fn unexpected(error: FromRowError) -> ControlError {
    ControlError::Io(format!("Dolt's list of branches is not what it should be: {error}"))
}

/// `nux` of `polecat-nux` and of `polecat-nux-1764000000`.
fn worker_in(branch: &str) -> Option<String> {
    let rest = branch.strip_prefix("polecat-")?;
    let worker = match rest.rsplit_once('-') {
        Some((worker, seconds)) if !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit()) => {
            worker
        }
        _ => rest,
    };
    (!worker.is_empty()).then(|| worker.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_in_the_name() {
        for (branch, want) in [
            ("polecat-nux", Some("nux")),
            ("polecat-nux-1764000000", Some("nux")),
            ("polecat-big-rig-7", Some("big-rig")),
            ("polecat-", None),
            ("feature", None),
        ] {
            assert_eq!(worker_in(branch).as_deref(), want, "{branch}");
        }
    }

    #[test]
    fn tables_are_ignored_or_not() {
        let (ignored, others) = tables_of("0b\u{1f}1w\u{1f}0a\u{1f}0a");
        assert_eq!((ignored, others), (vec!["w".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(tables_of(""), (vec![], vec![]));
    }
}
