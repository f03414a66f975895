//! Owns proving what a public ledger's remote holds: it is cloned anew, every commit checked against the source, and every
//! byte searched for what is not public. Changes nothing. Always: nothing of the clone is left; what could not be read is
//! a problem, not passed over.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::audit::{self, CHECK_TIMEOUT};
use super::error::{LedgerError, of_text};
use super::look::{self, text};
use super::rule::{Rule, WITHDRAWN_TABLE};
use super::search::Texts;
use super::{Work, chunks, push};
use crate::branch::sql_identifier;
use crate::dolt::beside::{Beside, BesideError};
use crate::observe::progress::Progress;
use crate::remote::call::RemoteSession;
use crate::remote::{Outcome, clone, git};
use crate::session::Context;

/// Texts that are looked for, of each column.
const TEXTS_MAX: usize = 100_000;
/// Texts that are named.
const NAMED_MAX: usize = 5;
/// One object of git's; Dolt writes smaller ones.
const OBJECT_BYTES_MAX: u64 = 1 << 30;
/// A clone may take as much longer than a push.
const TIMEOUT_FACTOR: u32 = 12;
const READ_MAX: Duration = Duration::from_secs(60);

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Head of main at the remote.
    pub head: String,
    /// Commits that were compared with the source.
    pub commits: usize,
    /// Commits that can't be compared: the source's commits that they are of are not there any more.
    pub not_comparable: usize,
    /// Chunks of Dolt's that were searched.
    pub chunks: usize,
    /// Bytes that were searched, decompressed.
    pub bytes: u64,
    /// Texts that are not public and were looked for.
    pub texts: usize,
    /// What is not as it should be.
    pub problems: Vec<String>,
}

/// Clones the public remote, and checks all of it.
pub async fn verify(
    context: &Arc<Context>,
    mut rule: Rule,
    progress: &Progress,
) -> Result<Verified, LedgerError> {
    progress.step(format!("wait for the turn at {}", rule.ledger), None);
    let mut work = Work::begin(context, &mut rule).await?;
    if !work.has_ledger(&rule).await? {
        return Err(LedgerError::Refused(format!("nothing of {} was published yet", rule.database)));
    }
    if context.remotes.database_dir(&rule.ledger).is_none() {
        return Err(LedgerError::Refused(
            "Dolt is not Branchline's own (--dolt-address): clone the public remote by hand".to_owned(),
        ));
    }
    let limit = super::settings(context).timeout * TIMEOUT_FACTOR;
    let run_failed =
        |error: std::io::Error| LedgerError::Refused(format!("cannot work in the state directory: {error}"));
    let beside = Beside::new(context.remotes.state_dir()).map_err(run_failed)?;
    let mut verified =
        Verified { head: head_there(&rule, &beside, limit, progress).await?, ..Verified::default() };

    let session = &mut work.session;
    let here = look::main_of(session, &rule.ledger).await?;
    if look::is_ancestor(session, &rule.ledger, &verified.head, &here).await? {
        match audit::check(session, &rule, None, &verified.head, progress).await {
            Ok(audited) => {
                (verified.commits, verified.not_comparable) = (audited.commits, audited.gone.len());
            }
            Err(error @ (LedgerError::Foreign { .. } | LedgerError::Changed { .. })) => {
                verified.problems.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    } else {
        let what = format!("its main is {}, which {} does not have", verified.head, rule.ledger);
        verified.problems.push(what);
    }

    progress.step("read what is not public", None);
    let mut texts = private_texts(session, &rule).await?;
    forget_public(session, &rule, &mut texts).await?;
    verified.texts = texts.len();
    drop(work);

    progress.step(format!("clone {} with git", rule.config.remote), None);
    let objects = objects(&rule, &beside.work(), limit).await?;
    progress.step("search every byte", None);
    let searched = tokio::task::spawn_blocking(move || {
        let searched = search(&objects, &texts);
        drop(beside);
        searched
    });
    let Searched { chunks, bytes, found, unread } = match searched.await {
        Ok(Ok(searched)) => searched,
        Ok(Err(error)) => return Err(run_failed(error)),
        Err(error) => return Err(LedgerError::Refused(format!("the search was given up: {error}"))),
    };
    (verified.chunks, verified.bytes) = (chunks, bytes);
    verified.problems.extend(unread);
    if !found.is_empty() {
        let named: Vec<&str> = found.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = found.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        verified.problems.push(format!("texts that are not public are in it: {}{more}", named.join(", ")));
    }
    if chunks == 0 {
        verified.problems.push("no data of Dolt's was found in it".to_owned());
    }
    Ok(verified)
}

/// By Dolt's own program, in a clone of its own.
async fn head_there(
    rule: &Rule,
    beside: &Beside,
    limit: Duration,
    progress: &Progress,
) -> Result<String, LedgerError> {
    let failed = |error: BesideError| {
        let (outcome, text) = of_text(&error.to_string());
        let outcome = if matches!(error, BesideError::Timeout(_)) { Outcome::Timeout } else { outcome };
        push::failed(rule, outcome, text)
    };
    let dir = beside.work().join("clone");
    clone::fetch(beside, (&rule.config.remote, push::REMOTE), &dir, limit, progress).await.map_err(failed)?;
    let sql = "SELECT dolt_hashof('main')";
    let said = beside.run(&["sql", "-r", "csv", "-q", sql], &dir, READ_MAX, |_| {}).await.map_err(failed)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let head = said.lines().nth(1).map(str::trim).unwrap_or_default();
    match head.len() {
        32 => Ok(head.to_owned()),
        _ => Err(push::failed(rule, Outcome::DoltError, "the clone has no main".to_owned())),
    }
}

/// All objects of all refs, as `git cat-file --batch` writes them.
async fn objects(rule: &Rule, work: &Path, limit: Duration) -> Result<std::path::PathBuf, LedgerError> {
    let url = &rule.config.remote;
    let failed = |error: git::GitError| push::failed(rule, error.outcome, error.text);
    let (bare, list) = (work.join("bare.git"), work.join("objects"));
    let io_failed = |error: std::io::Error| push::failed(rule, Outcome::DoltError, error.to_string());
    std::fs::create_dir(&bare).map_err(io_failed)?;
    let address = url.for_git();
    for arguments in [
        &["init", "-q", "--bare"][..],
        &["fetch", "-q", "--no-tags", "--", &address, "+refs/*:refs/fetched/*"],
    ] {
        git::run(arguments, Some(&bare), url, limit).await.map_err(failed)?;
    }
    let file = File::create(&list).map_err(io_failed)?;
    let arguments = ["cat-file", "--batch-all-objects", "--batch"];
    git::run_into(&arguments, Some(&bare), url, limit, file).await.map_err(failed)?;
    Ok(list)
}

struct Searched {
    chunks: usize,
    bytes: u64,
    found: BTreeSet<String>,
    unread: Option<String>,
}

/// Takes the objects apart. Blocks.
fn search(objects: &Path, texts: &Texts) -> std::io::Result<Searched> {
    let mut reader = BufReader::new(File::open(objects)?);
    let mut searched = Searched { chunks: 0, bytes: 0, found: BTreeSet::new(), unread: None };
    let mut header = Vec::new();
    loop {
        header.clear();
        if reader.read_until(b'\n', &mut header)? == 0 {
            return Ok(searched);
        }
        // `HASH KIND SIZE`
        let said = String::from_utf8_lossy(&header).into_owned();
        let size: Option<u64> = said.trim().rsplit(' ').next().and_then(|size| size.parse().ok());
        let Some(size) = size.filter(|size| *size <= OBJECT_BYTES_MAX) else {
            return Err(std::io::Error::other(format!(
                "an object of git's that can't be read: {}",
                said.trim()
            )));
        };
        let mut object = Vec::new();
        reader.by_ref().take(size).read_to_end(&mut object)?;
        reader.read_until(b'\n', &mut Vec::new())?;
        let Searched { bytes, found, .. } = &mut searched;
        let mut look = |piece: &[u8]| {
            *bytes += piece.len() as u64;
            found.extend(texts.pieces_in(piece).into_iter().map(|piece| texts.name(piece).to_owned()));
        };
        look(&object);
        match chunks::each(&object, &mut look) {
            Ok(count) => searched.chunks += count,
            Err(what) => searched.unread = Some(format!("{what} is in it and was not searched")),
        }
    }
}

/// All texts of excluded columns, and those of rows that do not match now. Numbers and dates are stored in another form
/// than they are shown in, and are not looked for.
async fn private_texts(session: &mut RemoteSession, rule: &Rule) -> Result<Texts, LedgerError> {
    let head = look::main_of(session, &rule.database).await?;
    let shapes = look::shapes(session, rule, &head).await?;
    let mut texts = Texts::default();
    for shape in shapes {
        let Some(there) = look::table(session, &rule.database, &head, &shape.table).await? else { continue };
        let table = format!("{}.{}", super::text::at(&rule.database, "main"), sql_identifier(&shape.table));
        for column in &there.columns {
            let is_json = column.kind.eq_ignore_ascii_case("json");
            if !is_json && column.collation.is_none() {
                continue;
            }
            let name = sql_identifier(&column.name);
            let rows = match rule.excludes(&column.name) {
                true => "TRUE".to_owned(),
                false => format!("({}) IS NOT TRUE", rule.config.filter),
            };
            let sql =
                format!("SELECT DISTINCT CAST({name} AS CHAR) FROM {table} WHERE {rows} LIMIT {TEXTS_MAX}");
            let rows = session.call(&sql, CHECK_TIMEOUT).await;
            let rows = rows.map_err(LedgerError::at("read what is not public"))?;
            let called = format!("{} of {}", column.name, shape.table);
            for value in rows.iter().filter_map(|row| text(row, 0)) {
                match is_json {
                    true => strings(&value, &mut |string| texts.add(plain(string).as_bytes(), &called)),
                    false => texts.add(value.as_bytes(), &called),
                }
            }
        }
    }
    Ok(texts)
}

/// Each string of a JSON document; Dolt stores it without the blanks with which it is shown.
fn strings(json: &str, found: &mut dyn FnMut(&str)) {
    fn walk(value: &serde_json::Value, found: &mut dyn FnMut(&str)) {
        match value {
            serde_json::Value::String(string) => found(string),
            serde_json::Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    found(name);
                    walk(value, found);
                }
            }
            _ => {}
        }
    }
    if let Ok(value) = serde_json::from_str(json) {
        walk(&value, found);
    }
}

/// The longest piece of a string that stands in JSON as it is.
fn plain(string: &str) -> &str {
    let is_escaped =
        |c: char| c.is_control() || matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    string.split(is_escaped).max_by_key(|piece| piece.len()).unwrap_or_default()
}

/// What was published once is no secret, wherever else it stands. Each of these rows was checked against the source.
async fn forget_public(
    session: &mut RemoteSession,
    rule: &Rule,
    texts: &mut Texts,
) -> Result<(), LedgerError> {
    let step = || LedgerError::at("read what was published");
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    let mut public = BTreeSet::new();
    for table in look::tables(session, &rule.ledger, "main").await? {
        let Some(there) = look::table(session, &rule.ledger, "main", &table).await? else { continue };
        if table == WITHDRAWN_TABLE {
            continue;
        }
        for column in there.columns {
            let name = sql_identifier(&format!("to_{}", column.name));
            let history = sql_identifier(&format!("dolt_diff_{table}"));
            let sql = format!("SELECT DISTINCT CAST({name} AS CHAR) FROM {history} WHERE {name} IS NOT NULL");
            let rows = session.call(&sql, CHECK_TIMEOUT).await.map_err(step())?;
            for value in rows.iter().filter_map(|row| text(row, 0)) {
                public.extend(texts.pieces_in(value.as_bytes()));
            }
        }
    }
    texts.forget(&public);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_json_are_looked_for_one_by_one() {
        let mut found = Vec::new();
        let json = r#"{"name": ["one text", {"b": "say \"hello there\" to"}], "n": 123456789}"#;
        strings(json, &mut |string| found.push(plain(string).to_owned()));
        found.sort();
        assert_eq!(found, ["b", "hello there", "n", "name", "one text"]);
    }
}
