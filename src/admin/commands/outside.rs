//! `SHOW ALERTS`, `SHOW BACKUPS`, `BACKUP`, `RESTORE`.

use std::path::PathBuf;

use super::Handled;
use super::remotes::{begun, required, shown};
use crate::admin::answer::Refusal;
use crate::admin::backend::Backend;
use crate::admin::remotes::{RemoteView, RemoteWork};
use crate::admin::tokens::Tokens;

const BACKUP: &str = "BACKUP 'database' 'dir'";
const RESTORE: &str = "RESTORE 'dir' 'database' [REPLACE]";

pub async fn handle(tokens: &mut Tokens, by: &str, backend: &dyn Backend) -> Handled {
    match view(tokens) {
        Some(view) => Some(shown(view, backend).await),
        None => Some(begun(work(tokens)?, by, backend).await),
    }
}

fn view(tokens: &mut Tokens) -> Option<Result<RemoteView, Refusal>> {
    Some(if tokens.take_words(&["SHOW", "ALERTS"]) {
        let all = tokens.take_words(&["ALL"]);
        tokens.end("SHOW ALERTS [ALL]").map(|()| RemoteView::Alerts { all })
    } else if tokens.take_words(&["SHOW", "BACKUPS"]) {
        tokens.end("SHOW BACKUPS").map(|()| RemoteView::Backups)
    } else {
        return None;
    })
}

fn work(tokens: &mut Tokens) -> Option<Result<RemoteWork, Refusal>> {
    Some(if tokens.take_words(&["BACKUP"]) {
        backup(tokens)
    } else if tokens.take_words(&["RESTORE"]) {
        restore(tokens)
    } else {
        return None;
    })
}

fn backup(tokens: &mut Tokens) -> Result<RemoteWork, Refusal> {
    let database = required(tokens, "BACKUP")?;
    let dir = dir(tokens, "BACKUP 'database'")?;
    tokens.end(BACKUP)?;
    Ok(RemoteWork::Backup { database, dir })
}

fn restore(tokens: &mut Tokens) -> Result<RemoteWork, Refusal> {
    let dir = dir(tokens, "RESTORE")?;
    let database = required(tokens, "RESTORE 'dir'")?;
    let replace = tokens.take_words(&["REPLACE"]);
    tokens.end(RESTORE)?;
    Ok(RemoteWork::Restore { dir, database, replace })
}

/// Branchline's working directory means nothing to whoever asks.
fn dir(tokens: &mut Tokens, after: &str) -> Result<PathBuf, Refusal> {
    let dir = PathBuf::from(required(tokens, after)?);
    if !dir.is_absolute() {
        return Err(Refusal::bad_value(format!("{} is no absolute path", dir.display())));
    }
    Ok(dir)
}
