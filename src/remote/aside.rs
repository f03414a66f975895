//! Owns putting a whole new database in a database's place while Dolt runs: the old one is kept aside until the new one
//! answers, and longer, as Dolt keeps a dropped database.
//! Does not make the new one. Always: whenever we are cut off, the name has the old database or the new one, whole, or
//! the next start gives it the old one back.
//!
//! Dolt moves a dropped database to `.dolt_dropped_databases` and takes it from there again with `DOLT_UNDROP`: so a
//! directory that is put there comes up at once, whole, under its name.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::admit::{Committed, LaneKey, Who};
use crate::branch::{sql_identifier, sql_literal};
use crate::dolt::ControlError;
use crate::session::Context;
use crate::state_file::replace;

/// Where Dolt keeps what was dropped, in the data directory.
const DROPPED: &str = ".dolt_dropped_databases";
/// What is under way, in the state directory.
const JOURNAL: &str = "replacing.json";
/// Writers of the old database are waited for so long.
const LANES_WAIT: Duration = Duration::from_secs(30);
/// A Dolt that went away in the middle is waited for so long.
const DOLT_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// A database that is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub database: String,
    /// The name under which `DOLT_UNDROP` gives the old one back.
    pub old: Option<String>,
}

/// Why it is not.
#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    /// Dolt's files are somebody else's.
    #[error("this Dolt is not run by Branchline, so its databases can't be put in place here")]
    NotOurs,
    /// The name is taken.
    #[error("there is a database {0} already; --replace keeps it aside until the new one answers")]
    Exists(String),
    /// Somebody writes to the old one all the time.
    #[error("{0} is being written to: {1}; nothing was changed, try again")]
    Busy(String, String),
    /// The new one does not come up; the old one, if there was one, is back.
    #[error("the new {database} could not be put in place: {why}; {state}")]
    Failed {
        /// The name.
        database: String,
        /// What went wrong.
        why: String,
        /// What is there now.
        state: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    database: String,
    /// As the directory of the old one is called once it is aside.
    old: String,
}

/// Puts the database in the directory `new` (it has a `.dolt`, and is on the data directory's file system) in the place
/// of `name`. The caller has the database's turn. `new` is moved, or left.
pub async fn put_in_place(
    context: &Arc<Context>,
    new: &Path,
    name: &str,
    may_replace: bool,
    by: &str,
) -> Result<Placed, AsideError> {
    let data_dir = data_dir(context).ok_or(AsideError::NotOurs)?;
    let failed = |why: String, state: &str| AsideError::Failed {
        database: name.to_owned(),
        why,
        state: state.to_owned(),
    };
    let unchanged = "nothing was changed";
    let there = spelled(context, name).await.map_err(|error| failed(error.to_string(), unchanged))?;
    if let Some(there) = there.as_ref().filter(|_| !may_replace) {
        return Err(AsideError::Exists(there.clone()));
    }
    let branches = match &there {
        Some(there) => {
            branches(context, there).await.map_err(|error| failed(error.to_string(), unchanged))?
        }
        None => Vec::new(),
    };
    let mut keys: BTreeSet<LaneKey> = branches.iter().map(|branch| LaneKey::new(name, branch)).collect();
    keys.insert(LaneKey::new(name, "main"));
    let mut seat = context.lanes.seat(Who {
        client_id: 0,
        account: by.to_owned(),
        program: "branchline".to_owned(),
        address: "branchline".to_owned(),
        process: None,
    });
    seat.doing("replace the database");
    let deadline = tokio::time::Instant::now() + LANES_WAIT;
    if let Err(error) = seat.take(&keys, deadline).await {
        return Err(AsideError::Busy(name.to_owned(), error.to_string()));
    }
    let touch = context.bypass.as_ref().map(|bypass| bypass.touch(name));
    let old = there.is_some().then(|| format!("{name}.backup.{}", milliseconds()));
    let swap = Swap { context, data_dir: &data_dir, name, old: old.as_deref() };
    let swapped = swap.run(new, there.as_deref()).await;
    drop(touch);
    seat.committed(&keys, Committed::Dolt);
    context.lanes.touched(name);
    context.catalog.invalidate_database(name);
    match swapped {
        Ok(()) => Ok(Placed { database: name.to_owned(), old }),
        Err((why, state)) => Err(failed(why, &state)),
    }
}

/// What a crash left: the old database is given its name back, unless the new one has it.
pub async fn recover(context: &Arc<Context>) {
    let path = context.remotes.state_dir().join(JOURNAL);
    let Ok(bytes) = std::fs::read(&path) else { return };
    let (Ok(journal), Some(data_dir)) = (serde_json::from_slice::<Journal>(&bytes), data_dir(context)) else {
        tracing::warn!(file = %path.display(), "cannot tell which database was being replaced");
        return;
    };
    let swap = Swap { context, data_dir: &data_dir, name: &journal.database, old: Some(&journal.old) };
    match swap.put_back().await {
        Ok(state) => tracing::info!(database = journal.database, "a replacement was cut off: {state}"),
        Err(error) => {
            tracing::warn!(database = journal.database, old = journal.old, %error, "a replacement was cut off; the old database can be had back by CALL DOLT_UNDROP");
        }
    }
}

struct Swap<'a> {
    context: &'a Arc<Context>,
    data_dir: &'a Path,
    name: &'a str,
    /// What the old one is called aside, if there is one.
    old: Option<&'a str>,
}

impl Swap<'_> {
    fn dropped(&self, name: &str) -> PathBuf {
        self.data_dir.join(DROPPED).join(name)
    }

    fn journal(&self) -> PathBuf {
        self.context.remotes.state_dir().join(JOURNAL)
    }

    /// `Err`: why, and what is there now.
    async fn run(&self, new: &Path, there: Option<&str>) -> Result<(), (String, String)> {
        if let Err(error) = self.forward(new, there).await {
            let state = match self.put_back().await {
                Ok(state) => state,
                Err(problem) => format!(
                    "the old one is kept as {}, which CALL DOLT_UNDROP gives back, but that failed now: {problem}",
                    self.old.unwrap_or("nothing")
                ),
            };
            return Err((error, state));
        }
        let _ = std::fs::remove_file(self.journal());
        Ok(())
    }

    async fn forward(&self, new: &Path, there: Option<&str>) -> Result<(), String> {
        let text = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("{what}: {error}")
        };
        std::fs::create_dir_all(self.data_dir.join(DROPPED))
            .map_err(text("make the place for dropped ones"))?;
        // One of the name that somebody dropped before makes room, as Dolt itself does it.
        let before = self.dropped(self.name);
        if before.exists() {
            let room = self.dropped(&format!("{}.backup.{}", self.name, milliseconds()));
            std::fs::rename(&before, room).map_err(text("make room"))?;
        }
        if let (Some(there), Some(old)) = (there, self.old) {
            let journal = Journal { database: self.name.to_owned(), old: old.to_owned() };
            let bytes = serde_json::to_vec(&journal).map_err(|error| error.to_string())?;
            replace(&self.journal(), &bytes).map_err(text("write down what is done"))?;
            let sql = format!("DROP DATABASE {}", sql_identifier(there));
            self.execute(&sql).await.map_err(|error| error.to_string())?;
            std::fs::rename(self.dropped(there), self.dropped(old))
                .map_err(text("keep the old one aside"))?;
        }
        std::fs::rename(new, self.dropped(self.name)).map_err(text("move it to its place"))?;
        self.undrop(self.name).await.map_err(|error| error.to_string())?;
        match branches(self.context, self.name).await {
            Ok(branches) if branches.is_empty() => Err("it has no branch".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The old one has its name again, if it is aside and the name is free or has a new one that does not answer; what is
    /// there then.
    async fn put_back(&self) -> Result<String, String> {
        let until = tokio::time::Instant::now() + DOLT_WAIT;
        let there = loop {
            match spelled(self.context, self.name).await {
                Ok(there) => break there,
                Err(error) if tokio::time::Instant::now() > until => return Err(error.to_string()),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        };
        if let Some(there) = &there {
            let answers = branches(self.context, there).await.is_ok_and(|branches| !branches.is_empty());
            if answers {
                let _ = std::fs::remove_file(self.journal());
                return Ok(match self.old.is_some_and(|old| self.dropped(old).exists()) {
                    true => "the new one is in place".to_owned(),
                    false => "the old one is in place".to_owned(),
                });
            }
            let sql = format!("DROP DATABASE {}", sql_identifier(there));
            self.execute(&sql).await.map_err(|error| error.to_string())?;
        }
        let text = |error: io::Error| error.to_string();
        // Dropped, but not yet called otherwise: that is the old one, for what is there before is moved away first.
        let named = self.dropped(self.name);
        let Some(old) = self.old else {
            if named.exists() {
                std::fs::remove_dir_all(&named).map_err(text)?;
            }
            return Ok("there is no database of that name, as before".to_owned());
        };
        if self.dropped(old).exists() {
            if named.exists() {
                std::fs::remove_dir_all(&named).map_err(text)?;
            }
            std::fs::rename(self.dropped(old), &named).map_err(text)?;
        }
        self.undrop(self.name).await.map_err(|error| error.to_string())?;
        let _ = std::fs::remove_file(self.journal());
        Ok("the old one is in place again".to_owned())
    }

    async fn undrop(&self, name: &str) -> Result<(), ControlError> {
        self.execute(&format!("CALL DOLT_UNDROP({})", sql_literal(name))).await
    }

    async fn execute(&self, sql: &str) -> Result<(), ControlError> {
        let control = self.context.dolt.control().with_timeout(DOLT_WAIT);
        control.rows(sql, Vec::new()).await.map(drop)
    }
}

/// Where Dolt's databases are, if they are ours.
pub fn data_dir(context: &Context) -> Option<PathBuf> {
    context.remotes.database_dir("x").and_then(|dir| dir.parent().map(Path::to_path_buf))
}

/// The database of this name as Dolt spells it, as of now.
pub async fn spelled(context: &Context, name: &str) -> Result<Option<String>, ControlError> {
    let rows = context.dolt.control().rows("SHOW DATABASES", Vec::new()).await?;
    let names = rows.into_iter().filter_map(|mut row| row.take_opt::<String, _>(0)?.ok());
    Ok(names.into_iter().find(|there| there.eq_ignore_ascii_case(name)))
}

async fn branches(context: &Context, database: &str) -> Result<Vec<String>, ControlError> {
    let sql = format!("SELECT name FROM {}.dolt_branches", sql_identifier(database));
    let rows = context.dolt.control().rows(&sql, Vec::new()).await?;
    Ok(rows.into_iter().filter_map(|mut row| row.take_opt::<String, _>(0)?.ok()).collect())
}

fn milliseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
