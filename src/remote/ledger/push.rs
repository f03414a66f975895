//! Owns where a ledger may go, and bringing it there.
//! Does not write rows. Always: a ledger's database has one remote, the public one, and no other database has that one;
//! only main is pushed, never by force, and "pushed" means seen there.

use std::path::Path;
use std::time::Duration;

use super::error::{LedgerError, of_text};
use super::look::{self, text};
use super::rule::Rule;
use super::scratch::Scratch;
use crate::branch::{sql_identifier, sql_literal};
use crate::config::RemotesConfig;
use crate::remote::call::{CallError, RemoteSession};
use crate::remote::{Outcome, RemoteUrl, git};

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

/// Refuses a public repository that something else goes to, or a ledger that goes anywhere else.
pub async fn refuse_mixed(
    session: &mut RemoteSession,
    rule: &Rule,
    remotes: &RemotesConfig,
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
            if is_ledger && !is_public && name != REMOTE {
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

/// Pushes main of the ledger; the commits that the remote did not have.
pub async fn push(
    session: &mut RemoteSession,
    rule: &Rule,
    pushed_before: bool,
    timeout: Duration,
) -> Result<u64, LedgerError> {
    let failed = |outcome, text: &str| failed(rule, outcome, text.to_owned());
    let there = look_there(rule).await?;
    if there.branches == 0 {
        return Err(failed(
            Outcome::NoBranch,
            "the repository has no branch, and Dolt's data needs one beside it",
        ));
    }
    // Dolt would wait for ever for what it pushed before.
    if there.dolt_data.is_none() && pushed_before {
        return Err(failed(Outcome::Rewritten, "what was pushed there before is gone"));
    }
    register(session, rule).await?;
    let head = look::main_of(session, &rule.ledger).await?;
    session
        .rows(&format!("USE {}", sql_identifier(&rule.ledger)))
        .await
        .map_err(LedgerError::at("open the ledger"))?;
    let seen = match there.dolt_data {
        Some(_) => fetch(session, rule, timeout).await?,
        None => None,
    };
    if seen.as_deref() == Some(head.as_str()) {
        return Ok(0);
    }
    if let Some(seen) = &seen
        && !look::is_ancestor(session, &rule.ledger, seen, &head).await?
    {
        return Err(failed(
            Outcome::Behind,
            &format!("its main is {seen}, which {} does not have", rule.ledger),
        ));
    }
    let commits = look::commits(session, &rule.ledger, seen.as_deref(), &head, usize::MAX >> 1).await?.len();
    let pushed = session.call(&format!("CALL DOLT_PUSH('{REMOTE}', 'main')"), timeout).await;
    if let Err(error) = pushed {
        return Err(of_call(rule, &error));
    }
    match fetch(session, rule, timeout).await? {
        Some(seen) if seen == head => Ok(commits as u64),
        seen => {
            let seen = seen.unwrap_or_else(|| "nothing".to_owned());
            Err(failed(Outcome::DoltError, &format!("{head} was pushed, and {seen} is seen there")))
        }
    }
}

/// The remote's main as it is now.
async fn fetch(
    session: &mut RemoteSession,
    rule: &Rule,
    timeout: Duration,
) -> Result<Option<String>, LedgerError> {
    let fetched = session.call(&format!("CALL DOLT_FETCH('{REMOTE}', 'main')"), timeout).await;
    fetched.map_err(|error| of_call(rule, &error))?;
    let sql = format!("SELECT hash FROM dolt_remote_branches WHERE name = 'remotes/{REMOTE}/main'");
    let rows = session.rows(&sql).await.map_err(LedgerError::at("read the remote's head"))?;
    Ok(rows.first().and_then(|row| text(row, 0)))
}

fn of_call(rule: &Rule, error: &CallError) -> LedgerError {
    match error {
        CallError::Timeout(_) => failed(rule, Outcome::Timeout, error.to_string()),
        _ => {
            let (outcome, text) = of_text(&error.to_string());
            failed(rule, outcome, text)
        }
    }
}

/// The ledger has the public remote, where the setting says, and no other.
async fn register(session: &mut RemoteSession, rule: &Rule) -> Result<(), LedgerError> {
    let step = || LedgerError::at("set the remote of the ledger");
    let url = rule.config.remote.reveal();
    let there = remotes_of(session, &rule.ledger).await?;
    if matches!(there.as_slice(), [(name, known)] if name == REMOTE && known == url) {
        return Ok(());
    }
    session.rows(&format!("USE {}", sql_identifier(&rule.ledger))).await.map_err(step())?;
    for (name, _) in there {
        let sql = format!("CALL DOLT_REMOTE('remove', {})", sql_literal(&name));
        session.rows(&sql).await.map_err(step())?;
    }
    let sql = format!("CALL DOLT_REMOTE('add', '{REMOTE}', {})", sql_literal(url));
    session.rows(&sql).await.map_err(|error| step()(error.hiding(&rule.config.remote)))?;
    Ok(())
}
