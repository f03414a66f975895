//! Owns forking: a new branch with all that main holds now, uncommitted rows and ignored tables too. Main is
//! whatever branch Dolt gives new sessions of the database.
//! Does not touch main and takes no locks; the caller lets nobody on the branch and forks one name at a time
//! until `fork` is done.
//! Always: the branch gets its name only when Dolt's hash of all its tables equals main's in one snapshot.

use std::collections::BTreeMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use thiserror::Error;

use super::base::{self, ForkRecord};
use super::directory::{sql_identifier, sql_literal};
use crate::session::route::branch_name;

/// Under this name a branch is built; one that is left over was never finished.
pub const UNFINISHED_PREFIX: &str = "branchline-fork/";

/// From the start again: main's schema moved meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// Dolt's own tables that can be written as they are.
const WRITABLE_SYSTEM_TABLES: [&str; 2] = ["dolt_ignore", "dolt_docs"];

/// What to fork, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// In which database.
    pub database: &'a str,
    /// The new branch.
    pub name: &'a str,
    /// The branch to fork; what Dolt gives new sessions if `None`.
    pub from: Option<&'a str>,
    /// For whom.
    pub worker: Option<&'a str>,
    /// Who asks.
    pub by: &'a str,
}

/// A new branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// `dolt_hashof_db()` of the branch, and of main when it was forked.
    pub hash: String,
    /// Tables copied because main's rows weren't Dolt-committed.
    pub tables_copied: usize,
    /// Whether anything of it is uncommitted, or in ignored tables.
    pub has_uncommitted: bool,
    /// The branch that was forked, as Dolt spells it.
    pub from_branch: String,
    /// Its HEAD then, and the new branch's.
    pub from_commit: String,
}

/// Why there is no new branch.
#[derive(Debug, Error)]
pub enum ForkError {
    /// Not a branch name.
    #[error("cannot fork {}: {problem}", branch_name::printable(name))]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: branch_name::Problem,
    },
    /// It is there already.
    #[error("cannot fork {name}: the branch exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is nothing to fork.
    #[error(
        "cannot fork {name} from {}: database {database} has no such branch",
        branch_name::printable(from)
    )]
    NoFrom {
        /// The name.
        name: String,
        /// The database.
        database: String,
        /// What was to be forked.
        from: String,
    },
    /// Main's uncommitted changes can't be copied.
    #[error(
        "cannot fork {name} from {main} of {database}: {why}; Dolt-commit there first: USE `{database}/{main}`; \
         CALL DOLT_COMMIT('-Am', '…')"
    )]
    NotCopied {
        /// The name.
        name: String,
        /// The database.
        database: String,
        /// Its main branch.
        main: String,
        /// What stood in the way.
        why: String,
    },
    /// It has its name, but not main's rows: somebody used it before it was complete.
    #[error(
        "branch {name} was forked from main, but something wrote to it before it was complete; look at it, then \
         drop it with CALL DOLT_BRANCH('-D', '{name}')"
    )]
    UsedTooSoon {
        /// The name.
        name: String,
    },
    /// Dolt refused something.
    #[error("cannot fork {name} from main: {source}")]
    Dolt {
        /// The name.
        name: String,
        /// What Dolt said.
        source: mysql_async::Error,
    },
}

/// What stopped a build.
enum Stopped {
    NoFrom(String),
    NotCopied { main: String, why: String },
    UsedTooSoon,
    Dolt(mysql_async::Error),
}

impl From<mysql_async::Error> for Stopped {
    fn from(error: mysql_async::Error) -> Self {
        Self::Dolt(error)
    }
}

/// Forks `name` from main in `database`. See [`fork_as`].
pub async fn fork(control: &mut Conn, database: &str, name: &str) -> Result<Forked, ForkError> {
    fork_as(control, Order { database, name, from: None, worker: None, by: "" }).await
}

/// Forks a branch. `control` is left with other settings and another current database:
/// close it afterwards. Not cancel-safe: a cut-off fork leaves an unfinished branch, which the next one removes.
pub async fn fork_as(control: &mut Conn, order: Order<'_>) -> Result<Forked, ForkError> {
    let Order { database, name, .. } = order;
    for name in [Some(name), order.from].into_iter().flatten() {
        branch_name::check(name).map_err(|problem| ForkError::Name { name: name.to_owned(), problem })?;
    }
    let fork = Fork { order, database, name, unfinished: format!("{UNFINISHED_PREFIX}{name}") };
    // Else there would be room for the branch and none for what is kept of it.
    if fork.unfinished.len() > branch_name::BRANCH_NAME_BYTES_MAX {
        let problem = branch_name::Problem::TooLong;
        return Err(ForkError::Name { name: name.to_owned(), problem });
    }
    let mut attempt = 1;
    loop {
        let stopped = match fork.build(control).await {
            Ok(Some(forked)) => return Ok(forked),
            Ok(None) => return Err(ForkError::Exists { name: name.to_owned() }),
            Err(stopped) => stopped,
        };
        if let Err(error) = fork.remove_unfinished(control).await {
            tracing::warn!(database, branch = fork.unfinished, %error, "unfinished branch not removed");
        }
        if attempt == ATTEMPTS_MAX || matches!(stopped, Stopped::UsedTooSoon | Stopped::NoFrom(_)) {
            let name = name.to_owned();
            return Err(match stopped {
                Stopped::NoFrom(from) => ForkError::NoFrom { name, database: database.to_owned(), from },
                Stopped::NotCopied { main, why } => {
                    ForkError::NotCopied { name, database: database.to_owned(), main, why }
                }
                Stopped::UsedTooSoon => ForkError::UsedTooSoon { name },
                Stopped::Dolt(source) => ForkError::Dolt { name, source },
            });
        }
        attempt += 1;
    }
}

struct Fork<'a> {
    order: Order<'a>,
    database: &'a str,
    name: &'a str,
    unfinished: String,
}

/// A copy being made.
struct Copy<'a> {
    fork: &'a Fork<'a>,
    /// The branch that is forked.
    main: String,
    /// Its HEAD.
    commit: String,
}

/// All tables by hash, and the hash of everything, in one snapshot.
struct Hashes {
    everything: String,
    tables: BTreeMap<String, String>,
}

impl Fork<'_> {
    /// None: the branch exists.
    async fn build(&self, control: &mut Conn) -> Result<Option<Forked>, Stopped> {
        control.query_drop("ROLLBACK").await?;
        control.query_drop("SET foreign_key_checks = 0, unique_checks = 0, autocommit = 1").await?;
        on_default(control, self.database).await?;
        let is_from = match self.order.from {
            Some(from) => format!("LOWER(name) = LOWER({})", sql_literal(from)),
            None => "name = active_branch()".to_owned(),
        };
        let sql = format!(
            "SELECT name, hash, {is_from} FROM dolt_branches WHERE {is_from} OR LOWER(name) IN (LOWER({}), LOWER({}))",
            sql_literal(self.name),
            sql_literal(&self.unfinished)
        );
        let there: Vec<(String, String, bool)> = control.query(sql).await?;
        if there.iter().any(|(name, ..)| name.eq_ignore_ascii_case(&self.unfinished)) {
            self.remove_unfinished(control).await?;
        }
        if there.iter().any(|(name, ..)| name.eq_ignore_ascii_case(self.name)) {
            return Ok(None);
        }
        let is_spelled = |name: &str| self.order.from == Some(name);
        let mut from: Vec<_> = there.into_iter().filter(|(.., is_from)| *is_from).collect();
        from.sort_by_key(|(name, ..)| !is_spelled(name));
        let Some((main, commit, _)) = from.into_iter().next() else {
            return Err(Stopped::NoFrom(self.order.from.unwrap_or_default().to_owned()));
        };
        let copy = Copy { fork: self, main, commit };
        control.exec_drop("CALL DOLT_BRANCH(?, ?)", (&self.unfinished, &copy.commit)).await?;
        let forked = copy.tables(control).await?;
        copy.tag_base(control, forked.has_uncommitted).await?;
        on_default(control, self.database).await?;
        control.exec_drop("CALL DOLT_BRANCH('-m', ?, ?)", (&self.unfinished, self.name)).await?;
        on(control, self.database, self.name).await?;
        let published = hash_of_everything(control).await?;
        if published != forked.hash {
            // The rename makes the branch first and gives it its rows after that.
            return Err(Stopped::UsedTooSoon);
        }
        Ok(Some(forked))
    }

    async fn remove_unfinished(&self, control: &mut Conn) -> Result<(), mysql_async::Error> {
        control.query_drop("ROLLBACK").await?;
        on_default(control, self.database).await?;
        if exists(control, &self.unfinished).await? {
            control.exec_drop("CALL DOLT_BRANCH('-D', ?)", (&self.unfinished,)).await?;
            if !exists(control, self.name).await? {
                base::untag(control, self.name).await?;
            }
        }
        Ok(())
    }
}

impl Copy<'_> {
    fn forked(&self, hash: String, tables_copied: usize) -> Forked {
        let (from_branch, from_commit) = (self.main.clone(), self.commit.clone());
        Forked { hash, tables_copied, has_uncommitted: false, from_branch, from_commit }
    }

    /// Before the branch gets its name: there is none without its base.
    async fn tag_base(&self, control: &mut Conn, has_uncommitted: bool) -> Result<(), Stopped> {
        let order = &self.fork.order;
        let record = ForkRecord {
            version: ForkRecord::VERSION,
            worker: order.worker.map(str::to_owned),
            by: order.by.to_owned(),
            at: base::unix_now(),
            from_branch: self.main.clone(),
            from_commit: self.commit.clone(),
        };
        on(control, self.fork.database, &self.fork.unfinished).await?;
        base::untag(control, self.fork.name).await?;
        base::tag(control, self.fork.name, &record, has_uncommitted).await?;
        Ok(())
    }

    async fn tables(&self, control: &mut Conn) -> Result<Forked, Stopped> {
        control.query_drop("BEGIN").await?;
        let main = self.hashes_of(control, &self.main).await?;
        let copy = self.hashes_of(control, &self.fork.unfinished).await?;
        // Also because DDL would end the transaction.
        control.query_drop("COMMIT").await?;
        if main.everything == copy.everything {
            return Ok(self.forked(main.everything, 0));
        }
        let views = self.prepare(control).await?;
        let triggers = self.drop_triggers(control).await?;
        // The transaction's snapshot is what is forked, whatever is written to main meanwhile.
        control.query_drop("BEGIN").await?;
        let main = self.hashes_of(control, &self.main).await?;
        let copy = self.hashes_of(control, &self.fork.unfinished).await?;
        let differs = |(table, hash): &(&String, &String)| copy.tables.get(*table) != Some(*hash);
        let differing: Vec<&String> = main.tables.iter().filter(differs).map(|(table, _)| table).collect();
        for table in &differing {
            self.copy_rows(control, table).await?;
        }
        control.query_drop("COMMIT").await?;
        if triggers {
            // With the time that each was created, which CREATE TRIGGER would set anew.
            control.query_drop("CALL DOLT_CHECKOUT('HEAD', '--', 'dolt_schemas')").await?;
        }
        replace_views(control, &views).await?;
        if hash_of_everything(control).await? != main.everything {
            return Err(self.not_copied(
                "it has uncommitted triggers, procedures, or settings of Dolt's own tables, or its schema was \
                 changed meanwhile",
            ));
        }
        Ok(Forked { has_uncommitted: true, ..self.forked(main.everything, differing.len()) })
    }

    /// On the copy, where they would write to other tables what main has already. Whether there were any.
    async fn drop_triggers(&self, control: &mut Conn) -> Result<bool, mysql_async::Error> {
        on(control, self.fork.database, &self.fork.unfinished).await?;
        let names: Vec<String> =
            control.query("SELECT name FROM dolt_schemas WHERE type = 'trigger'").await?;
        for name in &names {
            control.query_drop(format!("DROP TRIGGER {}", sql_identifier(name))).await?;
        }
        Ok(!names.is_empty())
    }

    async fn hashes_of(&self, control: &mut Conn, branch: &str) -> Result<Hashes, mysql_async::Error> {
        on(control, self.fork.database, branch).await?;
        hashes(control).await
    }

    /// Schemas and Dolt's own tables, of which the copy has those of main's HEAD. Main's views.
    async fn prepare(&self, control: &mut Conn) -> Result<BTreeMap<String, String>, Stopped> {
        on(control, self.fork.database, &self.main).await?;
        // On the copy such a table is main's own: writing to it would write to main.
        let nonlocal: Option<u64> = control.query_first("SELECT COUNT(*) FROM dolt_nonlocal_tables").await?;
        if nonlocal != Some(0) {
            return Err(self.not_copied("it has tables in dolt_nonlocal_tables and uncommitted rows"));
        }
        let mut schema: Vec<(String, String)> = control
            .query(
                "SELECT table_name, statement FROM dolt_patch('HEAD', 'WORKING') \
                 WHERE diff_type = 'schema' ORDER BY statement_order",
            )
            .await?;
        // Dolt's patch quotes DEFAULT CURRENT_TIMESTAMP, and then refuses it itself.
        for (table, statement) in &mut schema {
            if statement.starts_with("CREATE TABLE") && statement.contains("'CURRENT_TIMESTAMP") {
                let create: Option<(String, String)> =
                    control.query_first(format!("SHOW CREATE TABLE {}", sql_identifier(table))).await?;
                *statement = create.map(|(_, create)| create).unwrap_or_else(|| std::mem::take(statement));
            }
        }
        let changed: Vec<String> = control.query("SELECT table_name FROM dolt_status").await?;
        let wanted = views(control).await?;
        on(control, self.fork.database, &self.fork.unfinished).await?;
        for (_, statement) in schema.iter().filter(|(table, _)| !table.starts_with("dolt_")) {
            control.query_drop(statement).await?;
        }
        for table in WRITABLE_SYSTEM_TABLES {
            if changed.iter().any(|changed| changed == table) {
                self.copy_rows(control, table).await?;
            }
        }
        Ok(wanted)
    }

    /// On the copy: replaces a table's rows by main's.
    async fn copy_rows(&self, control: &mut Conn, table: &str) -> Result<(), Stopped> {
        let table = sql_identifier(table);
        let create: Option<(String, String)> =
            control.query_first(format!("SHOW CREATE TABLE {table}")).await?;
        let create = create.map(|(_, create)| create).unwrap_or_default();
        let columns: Vec<mysql_async::Row> = control.query(format!("SHOW COLUMNS FROM {table}")).await?;
        let columns = columns.iter().filter_map(|column| column.get::<String, _>("Field"));
        let columns: Vec<String> =
            columns.map(|name| sql_identifier(&name)).filter(|name| !is_generated(name, &create)).collect();
        let columns = columns.join(", ");
        let from = revision(self.fork.database, &self.main);
        control.query_drop(format!("DELETE FROM {table}")).await?;
        let insert = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {from}.{table}");
        control.query_drop(insert).await?;
        Ok(())
    }

    fn not_copied(&self, why: &str) -> Stopped {
        Stopped::NotCopied { main: self.main.clone(), why: why.to_owned() }
    }
}

/// In the current database.
pub(super) async fn exists(control: &mut Conn, branch: &str) -> Result<bool, mysql_async::Error> {
    let sql = "SELECT COUNT(*) FROM dolt_branches WHERE LOWER(name) = LOWER(?)";
    let count: Option<u64> = control.exec_first(sql, (branch,)).await?;
    Ok(count != Some(0))
}

pub(super) async fn on(control: &mut Conn, database: &str, branch: &str) -> Result<(), mysql_async::Error> {
    control.query_drop(format!("USE {}", revision(database, branch))).await
}

/// Where Dolt puts new sessions.
pub(super) async fn on_default(control: &mut Conn, database: &str) -> Result<(), mysql_async::Error> {
    control.query_drop(format!("USE {}", sql_identifier(database))).await
}

pub(super) fn revision(database: &str, branch: &str) -> String {
    sql_identifier(&format!("{database}/{branch}"))
}

async fn hashes(control: &mut Conn) -> Result<Hashes, mysql_async::Error> {
    let tables: Vec<String> = control
        .query_map("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'", |(name, _): (String, String)| name)
        .await?;
    let mut by_name = BTreeMap::new();
    for table in tables {
        let hash: Option<String> = control.exec_first("SELECT dolt_hashof_table(?)", (&table,)).await?;
        by_name.insert(table, hash.unwrap_or_default());
    }
    Ok(Hashes { everything: hash_of_everything(control).await?, tables: by_name })
}

pub(super) async fn hash_of_everything(control: &mut Conn) -> Result<String, mysql_async::Error> {
    let hash: Option<String> = control.query_first("SELECT dolt_hashof_db()").await?;
    Ok(hash.unwrap_or_default())
}

async fn views(control: &mut Conn) -> Result<BTreeMap<String, String>, mysql_async::Error> {
    let rows: Vec<(String, String)> =
        control.query("SELECT name, fragment FROM dolt_schemas WHERE type = 'view'").await?;
    Ok(rows.into_iter().collect())
}

async fn replace_views(
    control: &mut Conn,
    wanted: &BTreeMap<String, String>,
) -> Result<(), mysql_async::Error> {
    let old = views(control).await?;
    for name in old.keys().filter(|name| wanted.get(*name) != old.get(*name)) {
        control.query_drop(format!("DROP VIEW {}", sql_identifier(name))).await?;
    }
    for (_, statement) in wanted.iter().filter(|(name, statement)| old.get(*name) != Some(statement)) {
        control.query_drop(statement).await?;
    }
    Ok(())
}

/// Generated columns refuse values, and Dolt tells which they are in SHOW CREATE TABLE only. Where a comment
/// misleads this, the copy's hash will differ.
pub(super) fn is_generated(quoted_column: &str, create: &str) -> bool {
    create.lines().any(|line| {
        let definition = line.trim_start().strip_prefix(quoted_column);
        definition.is_some_and(|definition| definition.contains(" GENERATED ALWAYS AS ("))
    })
}
