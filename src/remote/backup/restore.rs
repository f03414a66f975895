//! Owns making a database from a copy: checked where nobody sees it, then put in place whole.
//! Does not touch the copy. Always: a database of that name that was there is kept under another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::clone::{Head, Room};
use super::make::{Heads, STEP_MAX, blocking, explain, turn};
use super::offline::{self, Link};
use super::place::{self, Found, Marker};
use crate::observe::progress::Progress;
use crate::session::Context;

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
    /// Where what had the name is now: what the database is called, or a directory.
    pub old: Option<String>,
}

/// Makes `database` from the copy in `dir`.
pub async fn restore(
    context: &Arc<Context>,
    dir: &Path,
    database: &str,
    replace: bool,
    by: &str,
    progress: &Progress,
) -> Result<Restored, String> {
    let room = Room::find(context, database, replace).await.map_err(|error| error.to_string())?;
    let copy = dir.to_owned();
    let of = blocking(move || copy_in(&copy)).await??;
    progress.step("wait for its turn", None);
    let name = room.name().to_owned();
    let _turn = turn(context, &name, dir).await;
    progress.step("restore", None);
    let link = Link::to(context, dir)?;
    let made = offline::restore(context, &link, STEP_MAX).await.map_err(|error| {
        explain(&format!("{} can't be restored: {error}", dir.display()), context.remotes.state_dir())
    })?;
    drop(link);
    let heads = &made.heads;
    if let Some(marker) = of.as_ref().filter(|marker| marker.branches != *heads) {
        return Err(format!(
            "{} is not what it was when it was made: its branches should be {}, and are {}; nothing was changed",
            dir.display(),
            shown(&marker.branches),
            shown(heads)
        ));
    }
    progress.step("put in place", None);
    let Some((branch, hash)) = heads.get_key_value("main").or_else(|| heads.first_key_value()) else {
        return Err(format!("{} has no branch", dir.display()));
    };
    let (head, branches) = (Head { branch: branch.clone(), hash: hash.clone() }, heads.len() as u64);
    let hash = head.hash.clone();
    let old = room.place(context, Some(made), head, by).await.map_err(|error| error.to_string())?;
    tracing::info!(database = name, dir = %dir.display(), old, "restored");
    Ok(Restored { database: name, dir: dir.to_owned(), of, head: Some(hash), branches, old })
}

fn shown(heads: &Heads) -> String {
    let heads: Vec<String> = heads.iter().map(|(branch, head)| format!("{branch} {head}")).collect();
    heads.join(", ")
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
