//! Owns giving a database a remote, and taking it away: with all checks that can be made beforehand.
//! Does not push: the schedule does as soon as it is added. Always: nothing is changed unless every check passed; nothing
//! at the remote is changed but for a first branch that was asked for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::assigned::{AddedRemote, AddedRemotes};
use super::call::{CallError, RemoteSession};
use super::fetch::{any_branch, is_empty};
use super::git::{self, GitError};
use super::ledger::{self, scratch::Scratch};
use super::outcome::{Outcome, one_line};
use super::settings::ADDED;
use super::target::{not_pushed_to, other_at, register};
use super::url::RemoteUrl;
use super::worker::{take_up, try_again};
use crate::admin::AddRemote;
use crate::branch::sql_literal;
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::session::Context;
use crate::town::daemon_json;

/// Each look at the repository.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Fetching what is there, to tell whose it is.
const FETCH_MAX: Duration = Duration::from_secs(300);

/// A remote that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The database as Dolt spells it.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// Where it is.
    pub url: RemoteUrl,
    /// What was there: `no Dolt data yet`, `this database's data`.
    pub found: &'static str,
    /// Where it was pushed until now, if that is another repository.
    pub instead: Option<RemoteUrl>,
}

/// A remote that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The database as it was named.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// Where it was.
    pub url: RemoteUrl,
    /// Where it is pushed instead, and who says so.
    pub now: Option<(RemoteUrl, String)>,
}

/// Checks the repository, registers it with Dolt and remembers it; the first push is due at once.
pub async fn add(
    context: &Arc<Context>,
    request: AddRemote,
    by: &str,
    progress: &Progress,
) -> Result<Added, String> {
    let AddRemote { database, url, mut name, init } = request;
    if ledger::is_ledger(context, &database) {
        return Err(format!(
            "{database} is a public ledger: where it goes is `remote` in its [remotes.DATABASE.ledger]"
        ));
    }
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    let Some(database) = listing.database(&database).map(str::to_owned) else {
        return Err(format!("there is no database {database}; `branchline rig list` shows them"));
    };
    if !listing.branches(&database).any(|branch| branch == "main") {
        return Err(format!("{database} has no branch main, and no other branch is ever pushed"));
    }
    let added = added(context)?;
    let settings = context.remotes.settings();
    let of = settings.databases.get(&database.to_lowercase());
    let mut is_configured = false;
    if let Some(configured) = of
        && configured.url.is_some()
        && ![ADDED, daemon_json::PATH].iter().any(|weaker| configured.origin.contains(weaker))
    {
        // The same again: it is looked at as if for the first time.
        is_configured = configured.url.as_ref() == Some(&url);
        name.clone_from(&configured.name);
        if !is_configured {
            return Err(format!("where {database} goes is set by {}: change it there", configured.origin));
        }
    }
    if let Some(why) = not_pushed_to(&settings, &database, &url) {
        return Err(why);
    }
    let peers = of.map(|of| of.peers.as_slice());
    if let Some(peer) = peers.unwrap_or_default().iter().find(|peer| peer.name.eq_ignore_ascii_case(&name)) {
        return Err(format!("{name} is the name of a peer of {database}, {}: give another --name", peer.url));
    }
    if let Some(other) = other_user(context, &database, &url) {
        return Err(format!(
            "{url} is the remote of {other} already; a repository holds one database: use one of its own for {database}"
        ));
    }
    let until_now = context.remotes.target(&database);
    let _turn = context.remotes.turns.take(&database, Some(&url.repository())).await;
    progress.step("look at the repository", None);
    let mut refs = git::refs(&url, LOOK_MAX).await.map_err(|error| unfit(&url, &error))?;
    if refs.branches == 0 {
        if !init {
            return Err(format!(
                "{url} has no branch, and Dolt's data needs one beside it; add it with --init to make one with an empty \
                 commit, or push one yourself"
            ));
        }
        progress.step("make a first branch", None);
        first_branch(context, &url).await?;
        refs = git::refs(&url, LOOK_MAX).await.map_err(|error| unfit(&url, &error))?;
    }
    let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(&database));
    let said = |error: CallError| format!("{url}: {}", one_line(&url.hide_in(&error.to_string())));
    let mut session = RemoteSession::open(context, &database, true).await.map_err(said)?;
    let sql = format!("SELECT url FROM dolt_remotes WHERE name = {}", sql_literal(&name));
    let before: Option<String> = session.value(&sql).await.map_err(said)?;
    // The tracking branches of one that is known are proof of an earlier push, and whoever adds it says that it is meant.
    let is_gone = refs.dolt_data.is_none() && before.is_some();
    if is_gone {
        let forget = format!("CALL DOLT_REMOTE('remove', {})", sql_literal(&name));
        session.rows(&forget).await.map_err(said)?;
    }
    register(&mut session, &name, &url).await.map_err(said)?;
    let mut found = match is_gone {
        true => {
            "no Dolt data, though it was known; `branchline restart` if the push fails, as Dolt goes by what it remembers"
        }
        false => "no Dolt data yet",
    };
    if refs.dolt_data.is_some() {
        progress.step("see whose data is there", None);
        found = "this database's data";
        let fetch = format!("CALL DOLT_FETCH({}, 'main')", sql_literal(&name));
        let whose = match session.call(&fetch, FETCH_MAX).await {
            Ok(_) => Ok(Some(format!("{name}/main"))),
            // Its data has no main.
            Err(CallError::Refused(text)) if is_empty(&text) => {
                any_branch(&mut session, &name, FETCH_MAX).await
            }
            Err(error) => Err(error),
        };
        let whose = match whose {
            Ok(Some(theirs)) => {
                let sql = format!("SELECT dolt_merge_base('main', {})", sql_literal(&theirs));
                session.value::<String>(&sql).await.map(drop)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = whose {
            put_back(&mut session, &name, before.as_deref()).await;
            return Err(match &error {
                CallError::Refused(text) if Outcome::of(text) == Outcome::OtherData => format!(
                    "{url} has the data of another database; use an empty repository for {database}, or bring that data \
                     here with `branchline clone`"
                ),
                _ => said(error),
            });
        }
    }
    let remote = AddedRemote {
        database: database.clone(),
        name: name.clone(),
        url: url.clone(),
        by: by.to_owned(),
        at: unix_seconds(SystemTime::now()),
    };
    let remotes = Arc::clone(&context.remotes);
    let kept = tokio::task::spawn_blocking(move || {
        if let (Ok(added), false) = (&remotes.added, is_configured) {
            added.add(remote).map_err(|error| error.to_string())?;
        }
        // Whoever adds it has looked at what is there.
        remotes.records.forget_seen(&database);
        remotes.read_settings();
        Ok::<_, String>(database)
    });
    let _ = added;
    let database = kept.await.map_err(|error| error.to_string())??;
    take_up(context).await;
    tracing::info!(database, remote = name, %url, by, "main is pushed there from now on");
    // Also if nothing changed: somebody wants to see it.
    try_again(context, &database);
    let instead = until_now.map(|target| target.url).filter(|before| *before != url);
    Ok(Added { database, name, url, found, instead })
}

/// Ends the pushes of a database that was given its remote at run time.
pub async fn remove(context: &Arc<Context>, database: &str) -> Result<Removed, String> {
    let all = added(context)?.all();
    let Some(remote) = all.into_iter().find(|remote| remote.database.eq_ignore_ascii_case(database)) else {
        return Err(match context.remotes.settings().databases.get(&database.to_lowercase()) {
            Some(configured) if configured.url.is_some() => {
                format!("where {database} goes is set by {}: remove it there", configured.origin)
            }
            _ => format!("{database} has no remote that was added; `branchline remote list` shows them"),
        });
    };
    let remotes = Arc::clone(&context.remotes);
    let of = remote.database.clone();
    let forgotten = tokio::task::spawn_blocking(move || {
        if let Ok(added) = &remotes.added {
            added.remove(&of).map_err(|error| error.to_string())?;
        }
        remotes.read_settings();
        Ok::<_, String>(())
    });
    forgotten.await.map_err(|error| error.to_string())??;
    take_up(context).await;
    // Not while it is being pushed; and without it Dolt would push there only if somebody asks it to.
    let _turn = context.remotes.turns.take(&remote.database, Some(&remote.url.repository())).await;
    let unregistered = async {
        let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(&remote.database));
        let mut session = RemoteSession::open(context, &remote.database, true).await?;
        session.rows(&format!("CALL DOLT_REMOTE('remove', {})", sql_literal(&remote.name))).await
    };
    if let Err(error) = unregistered.await {
        let error = remote.url.hide_in(&error.to_string());
        tracing::warn!(database = remote.database, remote = remote.name, error, "Dolt still has the remote");
    }
    let now = context.remotes.target(&remote.database).map(|target| (target.url, target.origin));
    Ok(Removed { database: remote.database, name: remote.name, url: remote.url, now })
}

fn added(context: &Context) -> Result<&AddedRemotes, String> {
    context.remotes.added.as_ref().map_err(Clone::clone)
}

/// Whose repository it is already.
fn other_user(context: &Context, database: &str, url: &RemoteUrl) -> Option<String> {
    let repository = url.repository();
    let settings = context.remotes.settings();
    let configured = settings.databases.values().find(|remote| {
        !remote.database.eq_ignore_ascii_case(database)
            && remote.url.as_ref().is_some_and(|url| url.repository() == repository)
    });
    configured.map(|remote| remote.database.clone()).or_else(|| other_at(context, database, &repository))
}

async fn first_branch(context: &Context, url: &RemoteUrl) -> Result<(), String> {
    let state_dir = context.remotes.state_dir();
    let scratch = Scratch::new(state_dir).map_err(|error| format!("{}: {error}", state_dir.display()))?;
    git::init(url, scratch.path(), LOOK_MAX).await.map_err(|error| unfit(url, &error))
}

/// As Dolt had it.
async fn put_back(session: &mut RemoteSession, name: &str, before: Option<&str>) {
    let name = sql_literal(name);
    let _ = session.rows(&format!("CALL DOLT_REMOTE('remove', {name})")).await;
    if let Some(url) = before {
        let _ = session.rows(&format!("CALL DOLT_REMOTE('add', {name}, {})", sql_literal(url))).await;
    }
}

fn unfit(url: &RemoteUrl, error: &GitError) -> String {
    let advice = match error.outcome {
        Outcome::Unreachable | Outcome::Timeout | Outcome::DoltError => {
            "the repository must exist and be reachable from this machine: try `git ls-remote URL`"
        }
        other => other.advice(),
    };
    format!("{url} can't be used: {}; {advice}", error.text)
}
