//! Owns forking: a new branch with all that main holds now, uncommitted rows and ignored tables too.
//! Does not touch main and takes no locks; the caller lets nobody on the branch and forks one name at a time
//! until `fork` is done.
//! Always: the branch gets its name only when Dolt's hash of all its tables equals main's in one snapshot.

use std::collections::BTreeMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use thiserror::Error;

use crate::session::route::branch_name;

const MAIN: &str = "main";

/// Under this name a branch is built; one that is left over was never finished.
pub const UNFINISHED_PREFIX: &str = "branchline-fork/";

/// From the start again: main's schema moved meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// Copies of what differs: more than one if main moved meanwhile, or triggers wrote on the copy.
const PASSES_MAX: u32 = 5;

/// Dolt's own tables that can be written as they are.
const WRITABLE_SYSTEM_TABLES: [&str; 2] = ["dolt_ignore", "dolt_docs"];

/// A new branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// `dolt_hashof_db()` of the branch, and of main when it was forked.
    pub hash: String,
    /// Tables copied because main's rows weren't Dolt-committed.
    pub tables_copied: usize,
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
    /// Main's uncommitted changes can't be copied.
    #[error("cannot fork {name} from main: {why}; Dolt-commit on main first: CALL DOLT_COMMIT('-Am', '…')")]
    NotCopied {
        /// The name.
        name: String,
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
    NotCopied(String),
    UsedTooSoon,
    Dolt(mysql_async::Error),
}

impl From<mysql_async::Error> for Stopped {
    fn from(error: mysql_async::Error) -> Self {
        Self::Dolt(error)
    }
}

/// Forks `name` from main in `database`. `control` is left with other settings and another current database:
/// close it afterwards. Not cancel-safe: a cut-off fork leaves an unfinished branch, which the next one removes.
pub async fn fork(control: &mut Conn, database: &str, name: &str) -> Result<Forked, ForkError> {
    branch_name::check(name).map_err(|problem| ForkError::Name { name: name.to_owned(), problem })?;
    let fork = Fork { database, name, unfinished: format!("{UNFINISHED_PREFIX}{name}") };
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
        if attempt == ATTEMPTS_MAX || matches!(stopped, Stopped::UsedTooSoon) {
            let name = name.to_owned();
            return Err(match stopped {
                Stopped::NotCopied(why) => ForkError::NotCopied { name, why },
                Stopped::UsedTooSoon => ForkError::UsedTooSoon { name },
                Stopped::Dolt(source) => ForkError::Dolt { name, source },
            });
        }
        attempt += 1;
    }
}

struct Fork<'a> {
    database: &'a str,
    name: &'a str,
    unfinished: String,
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
        self.remove_unfinished(control).await?;
        if self.exists(control, self.name).await? {
            return Ok(None);
        }
        control.exec_drop("CALL DOLT_BRANCH(?, ?)", (&self.unfinished, MAIN)).await?;
        let forked = self.copy(control).await?;
        self.on(control, MAIN).await?;
        control.exec_drop("CALL DOLT_BRANCH('-m', ?, ?)", (&self.unfinished, self.name)).await?;
        self.on(control, self.name).await?;
        let published = hash_of_everything(control).await?;
        if published != forked.hash {
            // The rename makes the branch first and gives it its rows after that.
            return Err(Stopped::UsedTooSoon);
        }
        Ok(Some(forked))
    }

    async fn copy(&self, control: &mut Conn) -> Result<Forked, Stopped> {
        let mut tables_copied = 0;
        let mut prepared = false;
        for _ in 0..PASSES_MAX {
            control.query_drop("BEGIN").await?;
            self.on(control, MAIN).await?;
            let main = hashes(control).await?;
            self.on(control, &self.unfinished).await?;
            let copy = hashes(control).await?;
            control.query_drop("COMMIT").await?;
            if main.everything == copy.everything {
                return Ok(Forked { hash: main.everything, tables_copied });
            }
            if !prepared {
                self.prepare(control).await?;
                prepared = true;
                continue;
            }
            let differing: Vec<&String> = main
                .tables
                .iter()
                .filter(|(table, hash)| copy.tables.get(*table) != Some(hash))
                .map(|(t, _)| t)
                .collect();
            if differing.is_empty() {
                return Err(Stopped::NotCopied(
                    "main has uncommitted triggers, procedures, or settings of Dolt's own tables".to_owned(),
                ));
            }
            for table in differing {
                self.copy_rows(control, table).await?;
                tables_copied += 1;
            }
        }
        Err(Stopped::NotCopied("main was written to all the time".to_owned()))
    }

    /// Schemas, views and Dolt's own tables, of which the copy has those of main's HEAD.
    async fn prepare(&self, control: &mut Conn) -> Result<(), Stopped> {
        self.on(control, MAIN).await?;
        // On the copy such a table is main's own: writing to it would write to main.
        let nonlocal: Option<u64> = control.query_first("SELECT COUNT(*) FROM dolt_nonlocal_tables").await?;
        if nonlocal != Some(0) {
            return Err(Stopped::NotCopied(
                "it has tables in dolt_nonlocal_tables and uncommitted rows".to_owned(),
            ));
        }
        let schema: Vec<(String, String)> = control
            .query(
                "SELECT table_name, statement FROM dolt_patch('HEAD', 'WORKING') \
                 WHERE diff_type = 'schema' ORDER BY statement_order",
            )
            .await?;
        let changed: Vec<String> = control.query("SELECT table_name FROM dolt_status").await?;
        let wanted = views(control).await?;
        self.on(control, &self.unfinished).await?;
        for (_, statement) in schema.iter().filter(|(table, _)| !table.starts_with("dolt_")) {
            control.query_drop(statement).await?;
        }
        for table in WRITABLE_SYSTEM_TABLES {
            if changed.iter().any(|changed| changed == table) {
                self.copy_rows(control, table).await?;
            }
        }
        let old = views(control).await?;
        for name in old.keys().filter(|name| wanted.get(*name) != old.get(*name)) {
            control.query_drop(format!("DROP VIEW {}", quoted(name))).await?;
        }
        for (_, statement) in wanted.iter().filter(|(name, statement)| old.get(*name) != Some(statement)) {
            control.query_drop(statement).await?;
        }
        Ok(())
    }

    /// On the copy: replaces a table's rows by main's.
    async fn copy_rows(&self, control: &mut Conn, table: &str) -> Result<(), Stopped> {
        let table = quoted(table);
        let create: Option<(String, String)> =
            control.query_first(format!("SHOW CREATE TABLE {table}")).await?;
        let create = create.map(|(_, create)| create).unwrap_or_default();
        let columns: Vec<mysql_async::Row> = control.query(format!("SHOW COLUMNS FROM {table}")).await?;
        let columns = columns.iter().filter_map(|column| column.get::<String, _>("Field"));
        let columns: Vec<String> =
            columns.map(|name| quoted(&name)).filter(|name| !is_generated(name, &create)).collect();
        let columns = columns.join(", ");
        let from = self.revision(MAIN);
        control.query_drop(format!("DELETE FROM {table}")).await?;
        let insert = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM {from}.{table}");
        control.query_drop(insert).await?;
        Ok(())
    }

    async fn remove_unfinished(&self, control: &mut Conn) -> Result<(), mysql_async::Error> {
        control.query_drop("ROLLBACK").await?;
        self.on(control, MAIN).await?;
        if self.exists(control, &self.unfinished).await? {
            control.exec_drop("CALL DOLT_BRANCH('-D', ?)", (&self.unfinished,)).await?;
        }
        Ok(())
    }

    async fn exists(&self, control: &mut Conn, branch: &str) -> Result<bool, mysql_async::Error> {
        let sql = "SELECT COUNT(*) FROM dolt_branches WHERE LOWER(name) = LOWER(?)";
        let count: Option<u64> = control.exec_first(sql, (branch,)).await?;
        Ok(count != Some(0))
    }

    async fn on(&self, control: &mut Conn, branch: &str) -> Result<(), mysql_async::Error> {
        control.query_drop(format!("USE {}", self.revision(branch))).await
    }

    fn revision(&self, branch: &str) -> String {
        quoted(&format!("{}/{branch}", self.database))
    }
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

async fn hash_of_everything(control: &mut Conn) -> Result<String, mysql_async::Error> {
    let hash: Option<String> = control.query_first("SELECT dolt_hashof_db()").await?;
    Ok(hash.unwrap_or_default())
}

async fn views(control: &mut Conn) -> Result<BTreeMap<String, String>, mysql_async::Error> {
    let rows: Vec<(String, String)> =
        control.query("SELECT name, fragment FROM dolt_schemas WHERE type = 'view'").await?;
    Ok(rows.into_iter().collect())
}

/// Generated columns refuse values, and Dolt tells which they are in SHOW CREATE TABLE only. Where a comment
/// misleads this, the copy's hash will differ.
fn is_generated(quoted_column: &str, create: &str) -> bool {
    create.lines().any(|line| {
        let definition = line.trim_start().strip_prefix(quoted_column);
        definition.is_some_and(|definition| definition.contains(" GENERATED ALWAYS AS ("))
    })
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
