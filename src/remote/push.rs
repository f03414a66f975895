//! Owns one push of main: look at the remote, compare, push, look again.
//! Does not decide when. Always: at most one at a time per database and repository; only main, never by force; "pushed"
//! means that the remote was seen to have it; what became of a push that was cut off is seen by the next one's first look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::call::{CallError, RemoteSession};
use super::core::Why;
use super::fetch::{any_branch, is_empty};
use super::git::{self, GitError};
use super::outcome::{Outcome, Record, one_line};
use super::records::Seen;
use super::target::{Target, register};
use crate::branch::sql_literal;
use crate::config::OnBehind;
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// Asking a repository what it has takes no longer than this.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// A running Dolt goes by what it remembers of the remote.
const ANEW: &str = "`branchline restart`, then `branchline remote add` it again";

/// How a push ended, before it is written down.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) outcome: Option<Outcome>,
    text: String,
    pub(super) commits: u64,
    bytes: Option<u64>,
    pub(super) seen: Option<Seen>,
}

/// Why it went no further.
pub(super) struct Stop {
    pub(super) outcome: Outcome,
    pub(super) text: String,
}

/// What is at a remote.
pub(super) struct There {
    refs: git::Refs,
    /// What was seen there before.
    known: Option<Seen>,
    /// Its main.
    pub(super) head: Option<String>,
}

/// A moment's branch for a push of one commit and nothing that came after it.
const EXACTLY: &str = "branchline-push";

impl Stop {
    fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Self { outcome, text: text.into() }
    }
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        Self::new(error.outcome, error.text)
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        // Not cut yet: what hides credentials has to find them whole.
        let text = error.to_string();
        match &error {
            CallError::Refused(said) => Self::new(Outcome::of(said), text),
            CallError::Timeout(_) => Self::new(Outcome::Timeout, text),
            CallError::Lost(_) => Self::new(Outcome::DoltError, text),
        }
    }
}

/// Pushes main if the remote has not got it. What came of it is remembered.
pub async fn push_once(context: &Arc<Context>, target: &Target, why: Why, timeout: Duration) -> Record {
    let repository = target.url.repository();
    let turn = context.remotes.turns.take(&target.database, Some(&repository));
    let Ok(_turn) = tokio::time::timeout(timeout, turn).await else {
        let text = format!("something else has talked to the remote for more than {} s", timeout.as_secs());
        return came_to_nothing(why, Outcome::Busy, text);
    };
    if context.remotes.target(&target.database).as_ref() != Some(target) {
        let text = "its remote was changed or removed before its turn; nothing was pushed";
        return came_to_nothing(why, Outcome::DoltError, text.to_owned());
    }
    let (at, began) = (unix_seconds(SystemTime::now()), Instant::now());
    let mut ended = Ended::default();
    // Tracking branches are refs of the database too.
    let touch = context.bypass.as_ref().map(|bypass| bypass.touch(&target.database));
    let tried = run(context, target, began + timeout, &mut ended).await;
    drop(touch);
    if let Err(Stop { outcome, text }) = tried {
        (ended.outcome, ended.text) = (Some(outcome), one_line(&target.url.hide_in(&text)));
    }
    let record = Record {
        at,
        why: why.as_str().to_owned(),
        outcome: ended.outcome.unwrap_or(Outcome::DoltError),
        commits: ended.commits,
        bytes: ended.bytes,
        took_ms: began.elapsed().as_millis() as u64,
        head: ended.seen.as_ref().map(|seen| seen.head.clone()),
        text: ended.text,
    };
    let (remotes, database, kept, seen) =
        (Arc::clone(&context.remotes), target.database.clone(), record.clone(), ended.seen);
    let written = tokio::task::spawn_blocking(move || remotes.records.add(&database, kept, seen));
    let _ = written.await;
    match record.outcome {
        Outcome::UpToDate => tracing::debug!(database = target.database, remote = %target.url, "up to date"),
        Outcome::Pushed => tracing::info!(database = target.database, remote = %target.url, "{record}"),
        _ => tracing::warn!(database = target.database, remote = %target.url, "not pushed: {record}"),
    }
    record
}

/// A push that did not get as far as the remote.
pub(super) fn came_to_nothing(why: Why, outcome: Outcome, text: String) -> Record {
    Record {
        at: unix_seconds(SystemTime::now()),
        why: why.as_str().to_owned(),
        outcome,
        commits: 0,
        bytes: None,
        took_ms: 0,
        head: None,
        text,
    }
}

async fn run(context: &Arc<Context>, target: &Target, until: Instant, ended: &mut Ended) -> Result<(), Stop> {
    let left = until.saturating_duration_since(Instant::now());
    let refs = git::refs(&target.url, left.min(LOOK_MAX)).await?;
    let mut session = RemoteSession::open(context, &target.database, true).await?;
    let there = look(context, &mut session, target, refs, until).await?;
    let head = main(&mut session).await?;
    reach(context, &mut session, target, there, Want { head: &head, exactly: false, until }, ended).await
}

/// Where the remote's main is. Its commits are here then. The session is in the database.
pub(super) async fn look(
    context: &Context,
    session: &mut RemoteSession,
    target: &Target,
    refs: git::Refs,
    until: Instant,
) -> Result<There, Stop> {
    if refs.branches == 0 {
        return Err(Stop::new(Outcome::NoBranch, "the repository has no branch"));
    }
    register(session, &target.name, &target.url).await?;
    let known = context.remotes.records.seen(&target.database, &target.url.repository());
    let left = || until.saturating_duration_since(Instant::now());
    // Not in a database that was restored from before it was pushed.
    let has_known = match &known {
        Some(known) => has_commit(session, &known.head).await?,
        None => false,
    };
    let head = match (&refs.dolt_data, &known) {
        (None, None) if fetched_head(session, target).await?.is_none() => None,
        // Dolt would loop for ever over a push to what it thinks is there.
        (None, _) => {
            let text = format!(
                "refs/dolt/data is gone from the repository, which had it before. If it was emptied on purpose: {ANEW}"
            );
            return Err(Stop::new(Outcome::Rewritten, text));
        }
        (Some(data), Some(Seen { head, data: Some(then), .. })) if data == then && has_known => {
            Some(head.clone())
        }
        (Some(_), _) => {
            let fetch = format!("CALL DOLT_FETCH({}, 'main')", sql_literal(&target.name));
            match session.call(&fetch, left()).await {
                // Its data has no main.
                Err(CallError::Refused(text)) if is_empty(&text) => {
                    if let Some(other) = any_branch(session, &target.name, left()).await? {
                        let head = main(session).await?;
                        merge_base(session, &other, &head).await?;
                    }
                    None
                }
                fetched => {
                    fetched?;
                    fetched_head(session, target).await?
                }
            }
        }
    };
    // Dolt would build on files that it sent and that are not there any more: nobody could clone the result.
    if let Some(known) = known.as_ref().filter(|known| head.as_ref() != Some(&known.head)) {
        let is_later = match &head {
            Some(head) if has_commit(session, &known.head).await? => {
                merge_base(session, &known.head, head).await? == known.head
            }
            // Not in this database, though what comes after it was fetched with it: `reach` judges by what main has.
            Some(_) => true,
            None => false,
        };
        if !is_later {
            let at =
                head.map_or_else(|| "its main is gone".to_owned(), |head| format!("its main is at {head}"));
            let text = format!(
                "{at}, which does not come after {}, what was last seen there. If it was set back on purpose: {ANEW}",
                known.head
            );
            return Err(Stop::new(Outcome::Rewritten, text));
        }
    }
    Ok(There { refs, known, head })
}

/// What a remote is to have.
pub(super) struct Want<'a> {
    pub(super) head: &'a str,
    /// This commit, and none that main has got since.
    pub(super) exactly: bool,
    pub(super) until: Instant,
}

/// Brings main of a remote to what is wanted, and looks again.
pub(super) async fn reach(
    context: &Context,
    session: &mut RemoteSession,
    target: &Target,
    there: There,
    want: Want<'_>,
    ended: &mut Ended,
) -> Result<(), Stop> {
    let Want { head, exactly, until } = want;
    let There { refs, known, head: theirs } = there;
    let left = || until.saturating_duration_since(Instant::now());
    let repository = target.url.repository();
    let seen = |head: String, data: Option<String>| Seen {
        repository: repository.clone(),
        head,
        data,
        at: unix_seconds(SystemTime::now()),
    };
    if let Some(theirs) = &theirs {
        let base = merge_base(session, theirs, head).await?;
        if *theirs == head {
            ended.seen = Some(seen(head.to_owned(), refs.dolt_data));
            ended.outcome = Some(Outcome::UpToDate);
            return Ok(());
        }
        if base != *theirs {
            let ahead = count(session, head, theirs).await?;
            ended.commits = ahead;
            // All that comes after it was fetched with it.
            let is_later = match &known {
                Some(known) => has_commit(session, &known.head).await?,
                None => true,
            };
            if !is_later {
                let text = format!(
                    "its main is at {theirs}, which does not come after {}, what was last seen there",
                    known.map(|known| known.head).unwrap_or_default()
                );
                return Err(Stop::new(Outcome::Rewritten, text));
            }
            // What is there now is what later looks are compared with.
            ended.seen = Some(seen(theirs.clone(), refs.dolt_data));
            let commits = if ahead == 1 { "commit" } else { "commits" };
            return Err(Stop::new(Outcome::Behind, format!("it has {ahead} {commits} that main has not")));
        }
    }
    let before = size(context, target).await;
    push(session, target, (head, exactly), left()).await?;
    // Before the fetch: what somebody else pushes between the two is looked at again next time.
    let data = git::refs(&target.url, left().min(LOOK_MAX)).await?.dolt_data;
    // Dolt answers by what it remembers of the remote: only a look there tells.
    let fetch = format!("CALL DOLT_FETCH({}, 'main')", sql_literal(&target.name));
    session.call(&fetch, left()).await?;
    let there = fetched_head(session, target).await?;
    let (Some(there), Some(data)) = (there, data) else {
        return Err(Stop::new(Outcome::DoltError, "Dolt says that it pushed, and the remote has nothing"));
    };
    let has_it = match exactly {
        true => there == head,
        false => merge_base(session, head, &there).await? == head,
    };
    if !has_it {
        let text = format!("Dolt says that it pushed {head}, and the remote is at {there}");
        return Err(Stop::new(Outcome::DoltError, text));
    }
    // More than there was at the beginning, if somebody committed meanwhile.
    ended.commits = match &theirs {
        Some(theirs) => count(session, theirs, &there).await?,
        None => {
            let sql = format!("SELECT COUNT(*) FROM dolt_log({})", sql_literal(&there));
            session.value(&sql).await?.unwrap_or(0)
        }
    };
    ended.bytes = before.zip(size(context, target).await).map(|(before, after)| after.saturating_sub(before));
    ended.seen = Some(seen(there, Some(data)));
    ended.outcome = Some(Outcome::Pushed);
    Ok(())
}

/// Main as it is now, or exactly this commit.
async fn push(
    session: &mut RemoteSession,
    target: &Target,
    (head, exactly): (&str, bool),
    limit: Duration,
) -> Result<(), Stop> {
    let name = sql_literal(&target.name);
    if !exactly {
        session.call(&format!("CALL DOLT_PUSH({name}, 'main')"), limit).await?;
        return Ok(());
    }
    // One that a crash left is moved.
    session.rows(&format!("CALL DOLT_BRANCH('-f', '{EXACTLY}', {})", sql_literal(head))).await?;
    let pushed = session.call(&format!("CALL DOLT_PUSH({name}, '{EXACTLY}:main')"), limit).await;
    let dropped = session.rows(&format!("CALL DOLT_BRANCH('-D', '{EXACTLY}')")).await;
    pushed?;
    dropped?;
    Ok(())
}

async fn main(session: &mut RemoteSession) -> Result<String, Stop> {
    let head: Option<String> = session.value("SELECT dolt_hashof('main')").await?;
    head.ok_or_else(|| Stop::new(Outcome::DoltError, "the database has no branch main"))
}

/// Where the remote's main was at the last fetch.
pub(super) async fn fetched_head(
    session: &mut RemoteSession,
    target: &Target,
) -> Result<Option<String>, CallError> {
    let name = sql_literal(&format!("remotes/{}", target.tracking()));
    session.value(&format!("SELECT hash FROM dolt_remote_branches WHERE name = {name}")).await
}

async fn has_commit(session: &mut RemoteSession, hash: &str) -> Result<bool, CallError> {
    match session.value::<String>(&format!("SELECT dolt_hashof({})", sql_literal(hash))).await {
        Ok(found) => Ok(found.is_some()),
        Err(CallError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn merge_base(session: &mut RemoteSession, one: &str, other: &str) -> Result<String, Stop> {
    let sql = format!("SELECT dolt_merge_base({}, {})", sql_literal(one), sql_literal(other));
    let other_data = || Stop::new(Outcome::OtherData, "the repository has the data of another database");
    match session.value(&sql).await {
        Ok(Some(base)) => Ok(base),
        Ok(None) => Err(other_data()),
        Err(CallError::Refused(text)) if text.contains("no common ancestor") => Err(other_data()),
        Err(error) => Err(error.into()),
    }
}

/// Commits of `to` that `from` has not.
pub(super) async fn count(session: &mut RemoteSession, from: &str, to: &str) -> Result<u64, CallError> {
    let sql = format!("SELECT COUNT(*) FROM dolt_log({})", sql_literal(&format!("{from}..{to}")));
    Ok(session.value(&sql).await?.unwrap_or(0))
}

/// Bytes of Dolt's copies of the database's git repositories.
async fn size(context: &Context, target: &Target) -> Option<u64> {
    let dir = context.remotes.database_dir(&target.database)?.join(".dolt/git-remote-cache");
    tokio::task::spawn_blocking(move || tree_bytes(dir)).await.ok()
}

fn tree_bytes(root: PathBuf) -> u64 {
    let (mut bytes, mut dirs) = (0, vec![root]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => dirs.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Whether the outcome asks for a merge of what the remote has.
pub fn wants_merge(target: &Target, record: &Record) -> bool {
    record.outcome == Outcome::Behind && target.on_behind == OnBehind::Merge
}
