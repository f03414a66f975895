//! Owns making a database from a copy: checked where nobody sees it, then put in place whole.
//! Does not touch the copy. Always: a database of that name that was there is kept aside until the new one answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::aside::{self, AsideError, Placed, put_in_place};
use super::make::{Heads, STEP_MAX, begin, blocking, end, explain, turn};
use super::offline::{self, Link};
use super::place::{self, Found, Marker, Unfinished};
use crate::observe::progress::Progress;
use crate::session::Context;

/// Bytes of a name; Dolt's limit.
const NAME_BYTES_MAX: usize = 64;
/// Names that are Dolt's own.
const RESERVED: [&str; 5] = ["information_schema", "mysql", "dolt", "performance_schema", "sys"];

/// A database that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub database: String,
    /// From where.
    pub dir: PathBuf,
    /// Of which database, and when the copy was made, if it says so.
    pub of: Option<Marker>,
    /// Head of main.
    pub head: Option<String>,
    /// How many branches it has.
    pub branches: u64,
    /// The name under which `DOLT_UNDROP` gives the old one back.
    pub old: Option<String>,
}

/// Makes `database` from the copy in `dir`.
pub async fn restore(
    context: &Arc<Context>,
    dir: &Path,
    database: &str,
    may_replace: bool,
    by: &str,
    progress: &Progress,
) -> Result<Restored, String> {
    check_name(database)?;
    let Some(data_dir) = aside::data_dir(context) else { return Err(AsideError::NotOurs.to_string()) };
    let copy = dir.to_owned();
    let of = blocking(move || copy_in(&copy)).await??;
    progress.step("wait for its turn", None);
    let _turn = turn(context, database, dir).await;
    let there = aside::spelled(context, database).await.map_err(|error| error.to_string())?;
    if let Some(there) = there.filter(|_| !may_replace) {
        return Err(AsideError::Exists(there).to_string());
    }
    // On the file system of the databases, to be moved to its place.
    let unfinished = begin(context, Unfinished::below(&data_dir)).await?;
    let work = Work { context, dir, database, may_replace, by, progress, of: of.as_ref() };
    let done = match unfinished.paths() {
        [scratch] => work.run(scratch).await,
        _ => Err("there is no place for it".to_owned()),
    };
    end(context, unfinished).await;
    let (heads, placed) = done?;
    tracing::info!(database, dir = %dir.display(), old = placed.old, "restored");
    let main = heads.get("main").or_else(|| heads.values().next()).cloned();
    Ok(Restored {
        database: placed.database,
        dir: dir.to_owned(),
        of,
        head: main,
        branches: heads.len() as u64,
        old: placed.old,
    })
}

/// What is asked.
struct Work<'a> {
    context: &'a Arc<Context>,
    dir: &'a Path,
    database: &'a str,
    may_replace: bool,
    by: &'a str,
    progress: &'a Progress,
    of: Option<&'a Marker>,
}

impl Work<'_> {
    async fn run(&self, scratch: &Path) -> Result<(Heads, Placed), String> {
        let shown_dir = self.dir.display();
        self.progress.step("restore", None);
        let link = Link::to(self.context, self.dir)?;
        let heads = offline::restore(self.context, &link, scratch, STEP_MAX)
            .await
            .map_err(|error| explain(&format!("{shown_dir} can't be restored: {error}"), scratch))?;
        drop(link);
        if let Some(marker) = self.of.filter(|marker| marker.branches != heads) {
            return Err(format!(
                "{shown_dir} is not what it was when it was made: its branches should be {}, and are {}; nothing was changed",
                shown(&marker.branches),
                shown(&heads)
            ));
        }
        self.progress.step("put in place", None);
        let made = scratch.join(offline::MADE);
        let placed = put_in_place(self.context, &made, self.database, self.may_replace, self.by).await;
        Ok((heads, placed.map_err(|error| error.to_string())?))
    }
}

fn shown(heads: &Heads) -> String {
    let heads: Vec<String> = heads.iter().map(|(branch, head)| format!("{branch} {head}")).collect();
    heads.join(", ")
}

/// The name becomes a database and a directory.
fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || !name.chars().all(fine) || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "{:?} can't be a database's name: letters, digits, _ and -, a letter or digit first, at most {NAME_BYTES_MAX} \
             bytes",
            crate::observe::redact::cut(name, NAME_BYTES_MAX)
        ));
    }
    if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("{name} is reserved; choose another name"));
    }
    Ok(())
}

/// What the copy says of itself, if it is ours.
fn copy_in(dir: &Path) -> Result<Option<Marker>, String> {
    let shown = dir.display();
    match place::look(dir).map_err(|error| format!("cannot look at {shown}: {error}"))? {
        Found::Ours(marker) => Ok(Some(marker)),
        Found::Dolts => Ok(None),
        Found::Nothing => Err(format!("{shown} is not there")),
        Found::Empty => Err(format!("{shown} is empty")),
        Found::Other(why) => {
            Err(match place::copies(dir).ok().and_then(|copies| copies.into_iter().last()) {
                Some((newest, _)) => {
                    format!(
                        "{shown} holds several backups; name one of them, the newest is {}",
                        newest.display()
                    )
                }
                None => format!("{shown} {why}"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, fine) in [
            ("beads", true),
            ("beads-2_old", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("it's", false),
            ("a b", false),
            ("a`b", false),
            ("MySQL", false),
            ("x\0", false),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(check_name(name).is_ok(), fine, "{name:?}");
        }
    }
}
