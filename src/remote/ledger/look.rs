//! Owns what is read of the source and of its ledger: tables as committed, the last commits, what was withdrawn.
//! Writes nothing.

use mysql_async::Row;

use super::error::LedgerError;
use super::rule::{Rule, Stamp, WITHDRAWN_TABLE};
use super::shape::{Shape, Shown};
use super::state::{key_of, stored};
use super::text::{Key, at};
use crate::branch::{sql_identifier, sql_literal};
use crate::remote::call::{CallError, RemoteSession};

/// A table as it is somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// As it is spelled there.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Shown>,
    /// Its primary key, in order.
    pub key: Vec<String>,
}

/// The last commit of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its hash.
    pub commit: String,
    /// None: nothing was published yet.
    pub stamp: Option<Stamp>,
}

pub(super) fn text(row: &Row, column: usize) -> Option<String> {
    let bytes: Option<Vec<u8>> = row.get_opt(column)?.ok()?;
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn first(rows: &[Row]) -> Option<String> {
    rows.first().and_then(|row| text(row, 0))
}

/// Whether there is a database of this name, as Dolt spells it.
pub async fn database(session: &mut RemoteSession, name: &str) -> Result<Option<String>, LedgerError> {
    let rows = session.rows("SHOW DATABASES").await.map_err(LedgerError::at("list databases"))?;
    Ok(rows.iter().filter_map(|row| text(row, 0)).find(|known| known.eq_ignore_ascii_case(name)))
}

/// Head of main.
pub async fn main_of(session: &mut RemoteSession, database: &str) -> Result<String, LedgerError> {
    let sql = format!("SELECT hash FROM {}.dolt_branches WHERE name = 'main'", sql_identifier(database));
    let rows = session.rows(&sql).await.map_err(LedgerError::at("read the head of main"))?;
    first(&rows).ok_or_else(|| LedgerError::Refused(format!("{database} has no branch main")))
}

/// The names of the tables of a commit.
pub async fn tables(
    session: &mut RemoteSession,
    database: &str,
    commit: &str,
) -> Result<Vec<String>, LedgerError> {
    let rows = session.rows(&format!("SHOW TABLES FROM {}", at(database, commit))).await;
    let rows = rows.map_err(LedgerError::at("list the tables of a commit"))?;
    Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
}

/// One table of a commit, or of the working set if `commit` is a branch.
pub async fn table(
    session: &mut RemoteSession,
    database: &str,
    commit: &str,
    name: &str,
) -> Result<Option<Table>, LedgerError> {
    let known = tables(session, database, commit).await?;
    let Some(name) = known.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        return Ok(None);
    };
    let whole = format!("{}.{}", at(database, commit), sql_identifier(&name));
    let step = || LedgerError::at("read the columns of a table");
    let rows = session.rows(&format!("SHOW FULL COLUMNS FROM {whole}")).await.map_err(step())?;
    let columns = rows
        .iter()
        .filter_map(|row| Some(Shown { name: text(row, 0)?, kind: text(row, 1)?, collation: text(row, 2) }))
        .collect();
    let rows =
        session.rows(&format!("SHOW INDEX FROM {whole} WHERE Key_name = 'PRIMARY'")).await.map_err(step())?;
    let mut key: Vec<(u32, String)> =
        rows.iter().filter_map(|row| Some((text(row, 3)?.parse().ok()?, text(row, 4)?))).collect();
    key.sort();
    Ok(Some(Table { name, columns, key: key.into_iter().map(|(_, name)| name).collect() }))
}

/// The tables to publish as the source's commit has them, checked against the rule.
pub async fn shapes(
    session: &mut RemoteSession,
    rule: &Rule,
    commit: &str,
) -> Result<Vec<Shape>, LedgerError> {
    let unfit = |what: String| LedgerError::Unfit { database: rule.database.clone(), what };
    let looked_at =
        super::filter::columns(&rule.config.filter).map_err(|what| unfit(format!("`where` {what}")))?;
    let mut shapes: Vec<Shape> = Vec::new();
    for name in &rule.config.tables {
        if name.eq_ignore_ascii_case(WITHDRAWN_TABLE) {
            return Err(unfit(format!("{WITHDRAWN_TABLE} is Branchline's own table")));
        }
        let Some(table) = table(session, &rule.database, commit, name).await? else {
            return Err(unfit(format!("the last commit on main has no table {name}")));
        };
        if shapes.iter().any(|known| known.table == table.name) {
            continue;
        }
        let has = |column: &str| table.columns.iter().any(|known| known.name.eq_ignore_ascii_case(column));
        if let Some(missing) = looked_at.iter().find(|column| !has(column)) {
            return Err(unfit(format!(
                "`where` looks at {missing}, which {name} has not; only tables that have all of its columns can be published"
            )));
        }
        shapes.push(Shape::of(rule, &table.name, &table.columns, table.key).map_err(unfit)?);
    }
    // A name that is misspelled would publish the column that was meant.
    let is_nowhere = |excluded: &&String| {
        !shapes.iter().any(|shape| shape.all.iter().any(|known| known.eq_ignore_ascii_case(excluded)))
    };
    match rule.config.columns_excluded.iter().find(is_nowhere) {
        Some(nowhere) => {
            Err(unfit(format!("none of its tables has the column {nowhere} of columns_excluded")))
        }
        None => Ok(shapes),
    }
}

/// The ledger's last commit.
pub async fn head(session: &mut RemoteSession, rule: &Rule) -> Result<Head, LedgerError> {
    let commit = main_of(session, &rule.ledger).await?;
    let commits = commits(session, &rule.ledger, None, &commit, 2).await?;
    let foreign = |what: String| LedgerError::Foreign {
        database: rule.database.clone(),
        ledger: rule.ledger.clone(),
        what,
    };
    match commits.first() {
        None => Err(foreign("no commit".to_owned())),
        // The one that CREATE DATABASE makes.
        Some(only) if commits.len() == 1 && only.parents.is_empty() => Ok(Head { commit, stamp: None }),
        Some(last) => match last.stamp() {
            Some(stamp) => Ok(Head { commit, stamp: Some(stamp) }),
            None => Err(foreign(format!("commit {} by {}", last.hash, last.author))),
        },
    }
}

/// A commit of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its hash.
    pub hash: String,
    /// Of which it was made.
    pub parents: Vec<String>,
    /// Who made it.
    pub author: String,
    /// Its message.
    pub message: String,
}

impl Commit {
    /// None: not one of ours.
    pub fn stamp(&self) -> Option<Stamp> {
        Stamp::of(&self.message)
            .filter(|_| self.author == super::rule::AUTHOR_NAME && self.parents.len() == 1)
    }
}

/// The commits that `to` has and `from` has not, the newest first, at most `limit`.
pub async fn commits(
    session: &mut RemoteSession,
    database: &str,
    from: Option<&str>,
    to: &str,
    limit: usize,
) -> Result<Vec<Commit>, LedgerError> {
    let step = || LedgerError::at("read the history of the ledger");
    session.rows(&format!("USE {}", sql_identifier(database))).await.map_err(step())?;
    let range = from.map_or_else(|| to.to_owned(), |from| format!("{from}..{to}"));
    let sql = format!(
        "SELECT commit_hash, parents, author, message FROM dolt_log({}, '--parents') LIMIT {limit}",
        sql_literal(&range)
    );
    let rows = session.rows(&sql).await.map_err(step())?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let parents = text(row, 1).unwrap_or_default();
            Some(Commit {
                hash: text(row, 0)?,
                parents: parents
                    .split([',', ' '])
                    .filter(|hash| !hash.is_empty())
                    .map(str::to_owned)
                    .collect(),
                author: text(row, 2)?,
                message: text(row, 3).unwrap_or_default(),
            })
        })
        .collect())
}

/// Whether `old` is `new` or an ancestor of it; not if it is not there at all.
pub async fn is_ancestor(
    session: &mut RemoteSession,
    database: &str,
    old: &str,
    new: &str,
) -> Result<bool, LedgerError> {
    let step = || LedgerError::at("compare two commits");
    session.rows(&format!("USE {}", sql_identifier(database))).await.map_err(step())?;
    let sql = format!("SELECT dolt_merge_base({}, {})", sql_literal(old), sql_literal(new));
    match session.rows(&sql).await {
        Ok(rows) => Ok(first(&rows).as_deref() == Some(old)),
        Err(CallError::Refused(_)) => Ok(false),
        Err(error) => Err(step()(error)),
    }
}

/// All that was withdrawn: tables in lower case, keys as they are noted. For a ledger that may be broken in any other way.
pub async fn all_withdrawn(
    session: &mut RemoteSession,
    rule: &Rule,
) -> Result<Vec<(String, String)>, LedgerError> {
    let known = tables(session, &rule.ledger, "main").await?;
    if !known.iter().any(|known| known == WITHDRAWN_TABLE) {
        return Ok(Vec::new());
    }
    let sql =
        format!("SELECT LOWER(table_name), row_key FROM {}.{WITHDRAWN_TABLE}", at(&rule.ledger, "main"));
    let rows = session.rows(&sql).await.map_err(LedgerError::at("read what was withdrawn"))?;
    let mut all = Vec::new();
    for (name, row_key) in rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?))) {
        let key = named(session, rule, &name, row_key).await?;
        all.push((name, key));
    }
    Ok(all)
}

/// A key with the names of its columns, if it is one of a table of the ledger.
pub async fn named(
    session: &mut RemoteSession,
    rule: &Rule,
    of: &str,
    row_key: String,
) -> Result<String, LedgerError> {
    let there = table(session, &rule.ledger, "main", of).await?;
    let key = there.and_then(|there| key_of(&row_key, &there.key));
    Ok(key.map_or(row_key, |key| stored(&key)))
}

fn no_key(rule: &Rule, table: &str, row_key: &str) -> LedgerError {
    LedgerError::Foreign {
        database: rule.database.clone(),
        ledger: rule.ledger.clone(),
        what: format!("a row of {WITHDRAWN_TABLE} that is no key of {table}: {row_key}"),
    }
}

/// The keys of a table that were withdrawn, as a commit of the ledger (or its branch) has them.
pub async fn withdrawn(
    session: &mut RemoteSession,
    rule: &Rule,
    commit: &str,
    (table, key): (&str, &[String]),
) -> Result<Vec<Key>, LedgerError> {
    let known = tables(session, &rule.ledger, commit).await?;
    if !known.iter().any(|known| known == WITHDRAWN_TABLE) {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT row_key FROM {}.{WITHDRAWN_TABLE} WHERE LOWER(table_name) = LOWER({})",
        at(&rule.ledger, commit),
        sql_literal(table)
    );
    let rows = session.rows(&sql).await.map_err(LedgerError::at("read what was withdrawn"))?;
    let keys = rows.iter().filter_map(|row| text(row, 0));
    keys.map(|row_key| key_of(&row_key, key).ok_or_else(|| no_key(rule, table, &row_key))).collect()
}
