//! Owns where a ledger may go, and bringing it there.
//! Does not write rows. Always: a ledger's database has one remote, the public one, and no other database has that one;
//! exactly the commit that was checked is pushed, never by force, and "pushed" means seen there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::LedgerError;
use super::look::text;
use super::rule::Rule;
use super::scratch::Scratch;
use crate::branch::{sql_identifier, sql_literal};
use crate::config::{OnBehind, RemotesConfig};
use crate::remote::call::{CallError, RemoteSession};
use crate::remote::core::Why;
use crate::remote::outcome::Record;
use crate::remote::push::{self, Ended, Stop, There, Want, fetched_head};
use crate::remote::target::Target;
use crate::remote::{Outcome, RemoteUrl, git};
use crate::session::Context;

/// Dolt's name of the public remote: not the one that pushes of other databases look for.
pub const REMOTE: &str = "public";

/// For questions to git.
const ASK_TIMEOUT: Duration = Duration::from_secs(60);

/// Who else uses a repository, or would, in words.
pub fn configured_use(remotes: &RemotesConfig, repository: &str, ledger_of: &str) -> Option<String> {
    let is_it = |url: &RemoteUrl| url.repository() == repository;
    for remote in remotes.databases.values() {
        let database = &remote.database;
        if remote.url.as_ref().is_some_and(is_it) {
            return Some(format!("{database} is pushed there ({})", remote.origin));
        }
        if let Some(peer) = remote.peers.iter().find(|peer| is_it(&peer.url)) {
            return Some(format!("it is the peer {} of {database}", peer.name));
        }
        let is_other = !database.eq_ignore_ascii_case(ledger_of);
        if is_other && remote.ledger.as_ref().is_some_and(|ledger| is_it(&ledger.remote)) {
            return Some(format!("the ledger of {database} is published there"));
        }
    }
    None
}

/// The database whose ledger is published at this repository: nothing else may go there.
pub fn ledger_at(remotes: &RemotesConfig, url: &RemoteUrl) -> Option<String> {
    let repository = url.repository();
    let is_it = |remote: &&crate::config::RemoteOf| {
        remote.ledger.as_ref().is_some_and(|ledger| ledger.remote.repository() == repository)
    };
    remotes.databases.values().find(is_it).map(|remote| remote.database.clone())
}

/// Refuses a public repository that something else goes to, or a ledger that goes anywhere else, unless it `is_to_go`.
pub async fn refuse_mixed(
    session: &mut RemoteSession,
    rule: &Rule,
    remotes: &RemotesConfig,
    is_to_go: bool,
) -> Result<(), LedgerError> {
    let repository = rule.config.remote.repository();
    let refused = |who: String| {
        LedgerError::Mixed(format!(
            "{} is the public remote of the ledger of {}, and {who}; give the ledger a repository of its own",
            rule.config.remote, rule.database
        ))
    };
    if let Some(who) = configured_use(remotes, &repository, &rule.database) {
        return Err(refused(who));
    }
    let step = || LedgerError::at("list remotes");
    let databases = session.rows("SHOW DATABASES").await.map_err(step())?;
    for database in databases.iter().filter_map(|row| text(row, 0)) {
        let is_system = |name: &&str| database.eq_ignore_ascii_case(name);
        if ["information_schema", "mysql", "performance_schema", "sys", "dolt_cluster"].iter().any(is_system)
        {
            continue;
        }
        let is_ledger = database.eq_ignore_ascii_case(&rule.ledger);
        for (name, url) in remotes_of(session, &database).await? {
            let is_public = RemoteUrl::parse(&url).is_ok_and(|url| url.repository() == repository);
            if is_public && !is_ledger {
                return Err(refused(format!("{database} has it as its remote {name}")));
            }
            if is_ledger && !is_to_go && !is_public && name != REMOTE {
                return Err(LedgerError::Mixed(format!(
                    "{database} has another remote, {name}, and a ledger goes to its public remote only; \
                     `CALL DOLT_REMOTE('remove', {})` in {database}, sent to Dolt itself, takes it away",
                    sql_literal(&name)
                )));
            }
        }
    }
    Ok(())
}

async fn remotes_of(
    session: &mut RemoteSession,
    database: &str,
) -> Result<Vec<(String, String)>, LedgerError> {
    let sql = format!("SELECT name, url FROM {}.dolt_remotes", sql_identifier(database));
    match session.rows(&sql).await {
        Ok(rows) => Ok(rows.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?))).collect()),
        // Not one of Dolt's.
        Err(CallError::Refused(_)) => Ok(Vec::new()),
        Err(error) => Err(LedgerError::at("list remotes")(error)),
    }
}

/// What the public repository holds.
pub async fn look_there(rule: &Rule) -> Result<git::Refs, LedgerError> {
    let url = &rule.config.remote;
    git::refs(url, ASK_TIMEOUT).await.map_err(|error| failed(rule, error.outcome, error.text))
}

/// Makes the first branch of an empty repository.
pub async fn init(rule: &Rule, state_dir: &Path) -> Result<(), LedgerError> {
    let dir = Scratch::new(state_dir).map_err(|error| failed(rule, Outcome::DoltError, error.to_string()))?;
    let made = git::init(&rule.config.remote, dir.path(), ASK_TIMEOUT).await;
    made.map_err(|error| failed(rule, error.outcome, error.text))
}

pub(super) fn failed(rule: &Rule, outcome: Outcome, text: String) -> LedgerError {
    LedgerError::Remote {
        ledger: rule.ledger.clone(),
        remote: rule.config.remote.to_string(),
        outcome,
        text: rule.config.remote.hide_in(&text),
    }
}

fn stopped(rule: &Rule, stop: Stop) -> LedgerError {
    failed(rule, stop.outcome, stop.text)
}

/// The ledger as one that is pushed.
fn target(rule: &Rule) -> Target {
    Target {
        database: rule.ledger.clone(),
        name: REMOTE.to_owned(),
        url: rule.config.remote.clone(),
        on_behind: OnBehind::Alert,
        heartbeat: true,
        origin: format!("remotes.{}.ledger", rule.database),
    }
}

/// Where the ledger's remote was, and its head there, as Dolt remembers it.
pub async fn remembered(
    session: &mut RemoteSession,
    rule: &Rule,
) -> Result<Option<(String, String)>, LedgerError> {
    let there = remotes_of(session, &rule.ledger).await?;
    let Some((_, url)) = there.into_iter().find(|(name, _)| name == REMOTE) else { return Ok(None) };
    session
        .rows(&format!("USE {}", sql_identifier(&rule.ledger)))
        .await
        .map_err(LedgerError::at("open the ledger"))?;
    let head =
        fetched_head(session, &target(rule)).await.map_err(LedgerError::at("read the remote's head"))?;
    let repository =
        RemoteUrl::parse(&url).map_or_else(|_| "another repository".to_owned(), |url| url.repository());
    Ok(head.map(|head| (repository, head)))
}

/// Sees where the public main is. The ledger has the public remote then, and no other.
pub async fn look(
    context: &Context,
    session: &mut RemoteSession,
    rule: &Rule,
    refs: git::Refs,
    timeout: Duration,
) -> Result<There, LedgerError> {
    let step = || LedgerError::at("set the remote of the ledger");
    let others = remotes_of(session, &rule.ledger).await?;
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    for (name, _) in others.into_iter().filter(|(name, _)| name != REMOTE) {
        let sql = format!("CALL DOLT_REMOTE('remove', {})", sql_literal(&name));
        session.rows(&sql).await.map_err(step())?;
    }
    let looked = push::look(context, session, &target(rule), refs, Instant::now() + timeout).await;
    looked.map_err(|stop| stopped(rule, stop))
}

/// Pushes this commit of the ledger, and nothing that came after it; the commits that the remote did not have.
pub async fn push(
    context: &Arc<Context>,
    session: &mut RemoteSession,
    rule: &Rule,
    there: There,
    head: &str,
    timeout: Duration,
) -> Result<u64, LedgerError> {
    let (mut ended, began) = (Ended::default(), Instant::now());
    session
        .rows(&format!("USE {}", sql_identifier(&rule.ledger)))
        .await
        .map_err(LedgerError::at("open the ledger"))?;
    let want = Want { head, exactly: true, until: began + timeout };
    let reached = push::reach(context, session, &target(rule), there, want, &mut ended).await;
    let reached = reached.map_err(|stop| stopped(rule, stop));
    let (outcome, text) = match &reached {
        Ok(()) => (ended.outcome.unwrap_or(Outcome::DoltError), String::new()),
        Err(LedgerError::Remote { outcome, text, .. }) => (*outcome, text.clone()),
        Err(error) => (Outcome::DoltError, error.to_string()),
    };
    let record = Record {
        commits: ended.commits,
        took_ms: began.elapsed().as_millis() as u64,
        head: ended.seen.as_ref().map(|seen| seen.head.clone()),
        ..push::came_to_nothing(Why::Commit, outcome, text)
    };
    // What is there by now spares a fetch at the next look.
    let (context, ledger, seen) = (Arc::clone(context), rule.ledger.clone(), ended.seen);
    let _ = tokio::task::spawn_blocking(move || context.remotes.records.add(&ledger, record, seen)).await;
    reached?;
    Ok(if outcome == Outcome::Pushed { ended.commits } else { 0 })
}
