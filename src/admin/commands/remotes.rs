//! `REMOTE …`, `PUSH`, `PULL`, `CLONE`, `SHOW REMOTES`, `SHOW REMOTE STATUS`, `SHOW PUSHES`.

use super::Handled;
use super::jobs::job_row;
use crate::admin::answer::{Answer, Refusal};
use crate::admin::backend::Backend;
use crate::admin::remotes::{AddRemote, RemoteView, RemoteWork};
use crate::admin::tokens::Tokens;
use crate::config::remotes::NAME_DEFAULT;
use crate::remote::RemoteUrl;
use crate::remote::url::{NAME_ALLOWED, is_remote_name};

const ADD: &str = "REMOTE ADD 'database' 'url' [NAME 'origin'] [INIT]";
const REMOVE: &str = "REMOTE REMOVE 'database'";
const PUSH: &str = "PUSH ['database'[, 'database' …]]";
const PULL: &str = "PULL ['database'[, 'database' …]] [FROM 'remote']";
const CLONE: &str = "CLONE 'url' AS 'database' [REPLACE]";
const VERIFY: &str = "REMOTE VERIFY ['database'[, 'database' …]] [FROM 'remote']";
const STATUS: &str = "SHOW REMOTE STATUS ['database']";
const PUSHES: &str = "SHOW PUSHES 'database' [LIMIT n]";

/// Pushes that are remembered.
const PUSHES_MAX: u32 = 100;

pub async fn handle(tokens: &mut Tokens, by: &str, backend: &dyn Backend) -> Handled {
    match view(tokens) {
        Some(view) => Some(shown(view, backend).await),
        None => Some(begun(work(tokens)?, by, backend).await),
    }
}

/// What is shown at once.
pub(super) async fn shown(
    view: Result<RemoteView, Refusal>,
    backend: &dyn Backend,
) -> Result<Answer, Refusal> {
    backend.show_remote(view?).await.map(Answer::Rows)
}

/// The job that was begun.
pub(super) async fn begun(
    work: Result<RemoteWork, Refusal>,
    by: &str,
    backend: &dyn Backend,
) -> Result<Answer, Refusal> {
    backend.start_remote(work?, by).await.map(job_row)
}

fn view(tokens: &mut Tokens) -> Option<Result<RemoteView, Refusal>> {
    Some(if tokens.take_words(&["SHOW", "REMOTES"]) {
        tokens.end("SHOW REMOTES").map(|()| RemoteView::Remotes)
    } else if tokens.take_words(&["SHOW", "REMOTE", "STATUS"]) {
        optional(tokens, "SHOW REMOTE STATUS", STATUS).map(|database| RemoteView::Status { database })
    } else if tokens.take_words(&["SHOW", "PUSHES"]) {
        pushes(tokens)
    } else {
        return super::ledger::view(tokens);
    })
}

fn work(tokens: &mut Tokens) -> Option<Result<RemoteWork, Refusal>> {
    Some(if tokens.take_words(&["REMOTE", "ADD"]) {
        add(tokens)
    } else if tokens.take_words(&["REMOTE", "REMOVE"]) {
        remove(tokens)
    } else if tokens.take_words(&["PUSH"]) {
        names(tokens, "PUSH", PUSH).map(|databases| RemoteWork::Push { databases })
    } else if tokens.take_words(&["PULL"]) {
        names_from(tokens, "PULL", PULL).map(|(databases, remote)| RemoteWork::Pull { databases, remote })
    } else if tokens.take_words(&["REMOTE", "VERIFY"]) {
        names_from(tokens, "REMOTE VERIFY", VERIFY)
            .map(|(databases, remote)| RemoteWork::Verify { databases, remote })
    } else if tokens.take_words(&["CLONE"]) {
        clone(tokens)
    } else {
        return super::ledger::work(tokens);
    })
}

fn add(tokens: &mut Tokens) -> Result<RemoteWork, Refusal> {
    let database = required(tokens, "REMOTE ADD")?;
    let url = required(tokens, "REMOTE ADD 'database'")?;
    let url = RemoteUrl::parse(&url).map_err(|error| Refusal::bad_value(error.to_string()))?;
    let mut add = AddRemote { database, url, name: NAME_DEFAULT.to_owned(), init: false };
    while !tokens.is_empty() {
        if tokens.take_words(&["NAME"]) {
            add.name = remote_name(tokens, "NAME")?;
        } else if tokens.take_words(&["INIT"]) {
            add.init = true;
        } else {
            tokens.end(ADD)?;
        }
    }
    Ok(RemoteWork::Add(add))
}

fn clone(tokens: &mut Tokens) -> Result<RemoteWork, Refusal> {
    let url = required(tokens, "CLONE")?;
    let url = RemoteUrl::parse(&url).map_err(|error| Refusal::bad_value(error.to_string()))?;
    if !tokens.take_words(&["AS"]) {
        return Err(Refusal::syntax(format!("AS 'database' is missing; usage: {CLONE}")));
    }
    let database = required(tokens, "AS")?;
    let replace = tokens.take_words(&["REPLACE"]);
    tokens.end(CLONE)?;
    Ok(RemoteWork::Clone { url, database, replace })
}

/// Any number of names, then perhaps `FROM 'remote'`.
fn names_from(
    tokens: &mut Tokens,
    after: &str,
    usage: &str,
) -> Result<(Vec<String>, Option<String>), Refusal> {
    let mut names = Vec::new();
    while !tokens.is_empty() {
        if tokens.take_words(&["FROM"]) {
            let remote = remote_name(tokens, "FROM")?;
            tokens.end(usage)?;
            return Ok((names, Some(remote)));
        }
        names.push(required(tokens, after)?);
        if tokens.take_mark(',') && tokens.is_empty() {
            return Err(Refusal::syntax(format!("a value is missing after the last comma; usage: {usage}")));
        }
    }
    Ok((names, None))
}

fn remove(tokens: &mut Tokens) -> Result<RemoteWork, Refusal> {
    let database = required(tokens, "REMOTE REMOVE")?;
    tokens.end(REMOVE)?;
    Ok(RemoteWork::Remove { database })
}

fn pushes(tokens: &mut Tokens) -> Result<RemoteView, Refusal> {
    let database = required(tokens, "SHOW PUSHES")?;
    let limit = if tokens.take_words(&["LIMIT"]) { tokens.id("LIMIT")? } else { PUSHES_MAX };
    tokens.end(PUSHES)?;
    Ok(RemoteView::Pushes { database, limit: limit.min(PUSHES_MAX) as usize })
}

/// The name of a remote.
pub(super) fn remote_name(tokens: &mut Tokens, after: &str) -> Result<String, Refusal> {
    let name = required(tokens, after)?;
    if !is_remote_name(&name) {
        return Err(Refusal::bad_value(format!("{name:?} is no name for a remote; allowed: {NAME_ALLOWED}")));
    }
    Ok(name)
}

/// A value that is not empty.
pub(super) fn required(tokens: &mut Tokens, after: &str) -> Result<String, Refusal> {
    let value = tokens.value(after)?;
    if value.is_empty() {
        return Err(Refusal::bad_value(format!("the value after {after} is empty")));
    }
    Ok(value)
}

/// One value or none, and nothing else.
pub(super) fn optional(tokens: &mut Tokens, after: &str, usage: &str) -> Result<Option<String>, Refusal> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let value = required(tokens, after)?;
    tokens.end(usage)?;
    Ok(Some(value))
}

/// Any number of values, with or without commas, and nothing else.
pub(super) fn names(tokens: &mut Tokens, after: &str, usage: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    while !tokens.is_empty() {
        names.push(required(tokens, after)?);
        if tokens.take_mark(',') && tokens.is_empty() {
            return Err(Refusal::syntax(format!("a value is missing after the last comma; usage: {usage}")));
        }
    }
    Ok(names)
}
