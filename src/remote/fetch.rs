//! Owns fetching main of one remote of a database: which remote is meant, that Dolt knows it by the URL that is
//! configured, and the call. Does not merge. Always: main is as it was; only the remote's tracking refs moved.

use std::time::Duration;

use super::Outcome;
use super::call::{CallError, RemoteSession};
use super::outcome::one_line;
use super::target::register;
use super::turns::Turn;
use super::url::RemoteUrl;
use crate::branch::sql_literal;
use crate::config::remotes::NAME_DEFAULT;
use crate::observe::progress::Progress;
use crate::observe::redact;
use crate::session::Context;

/// A remote of a database, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The database as Dolt spells it.
    pub database: String,
    /// The remote's name.
    pub name: String,
    /// Its URL, as it may be shown.
    pub shown: String,
    /// Its URL, if it is one that we take.
    pub url: Option<RemoteUrl>,
    /// The settings say so: Dolt may know it by another one.
    is_configured: bool,
}

/// Why nothing was fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No such database.
    #[error("there is no database {0:?}; `branchline rig list` shows them")]
    NoDatabase(String),
    /// The database has no such remote.
    #[error(
        "database {database} has no remote {name:?}{}; [[remotes.{database}.peers]] in branchline.toml gives it others to \
         pull from",
        known_text(known)
    )]
    NoRemote {
        /// The database.
        database: String,
        /// What was asked for.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The remote has no Dolt data, or no main.
    #[error(
        "{name} of {database} ({url}) holds no branch main of a Dolt database: nothing was pushed there, or it was emptied"
    )]
    Empty {
        /// The database.
        database: String,
        /// The remote.
        name: String,
        /// Where it is.
        url: String,
    },
    /// It can't be read.
    #[error("cannot fetch {name} of {database} ({url}): {outcome}: {text}; {}", outcome.advice())]
    Failed {
        /// The database.
        database: String,
        /// The remote.
        name: String,
        /// Where it is.
        url: String,
        /// What the text means.
        outcome: Outcome,
        /// What was said.
        text: String,
    },
    /// Dolt is not there.
    #[error("{0}")]
    Lost(String),
}

fn known_text(known: &[String]) -> String {
    match known {
        [] => ", and no other".to_owned(),
        known => format!("; it has {}", known.join(", ")),
    }
}

impl Source {
    /// Finds the remote of this name, or the one that main is pushed to. Changes nothing.
    pub async fn find(context: &Context, database: &str, name: Option<&str>) -> Result<Self, FetchError> {
        let listing =
            context.branches.listing().await.map_err(|error| FetchError::Lost(error.to_string()))?;
        let no_database = || FetchError::NoDatabase(database.to_owned());
        let database = listing.database(database).ok_or_else(no_database)?.to_owned();
        let settings = context.remotes.settings();
        let of = settings.databases.get(&database.to_lowercase());
        let discovered = settings.discover.as_deref().unwrap_or(NAME_DEFAULT);
        let own = of.map_or(discovered, |of| of.name.as_str());
        let name = name.unwrap_or(own);
        let peer = of.and_then(|of| of.peers.iter().find(|peer| peer.name.eq_ignore_ascii_case(name)));
        let configured = match peer {
            Some(peer) => Some(&peer.url),
            None => of.filter(|of| of.name.eq_ignore_ascii_case(name)).and_then(|of| of.url.as_ref()),
        };
        let name = peer.map_or(name, |peer| peer.name.as_str());
        let lost = |error: CallError| FetchError::Lost(redact::urls(&error.to_string()));
        let mut session = RemoteSession::open(context, &database, true).await.map_err(lost)?;
        let there = registered(&mut session).await.map_err(lost)?;
        let found = there.iter().find(|(there, _)| there.eq_ignore_ascii_case(name));
        let source = |name: &str, url: &str, is_configured| {
            let parsed = RemoteUrl::parse(url).ok();
            let shown = parsed.as_ref().map_or_else(|| redact::urls(url), ToString::to_string);
            Self { database: database.clone(), name: name.to_owned(), shown, url: parsed, is_configured }
        };
        let Some(url) = configured else {
            let known = || there.iter().map(|(name, _)| name.clone()).collect();
            return found.map(|(name, url)| source(name, url, false)).ok_or_else(|| FetchError::NoRemote {
                database: database.clone(),
                name: name.to_owned(),
                known: known(),
            });
        };
        let name = found.map_or(name, |(name, _)| name);
        Ok(source(name, url.reveal(), true))
    }

    /// `origin/main`
    pub fn branch(&self) -> String {
        format!("{}/main", self.name)
    }

    /// Waits for the turn at it.
    pub async fn turn(&self, context: &Context) -> Turn {
        let repository = self.url.as_ref().map(RemoteUrl::repository);
        context.remotes.turns.take(&self.database, repository.as_deref()).await
    }

    /// Fetches its main: the commit. To be called during the turn.
    pub async fn fetch(&self, context: &Context, progress: &Progress) -> Result<String, FetchError> {
        progress.step(format!("fetch {}", self.branch()), None);
        let _touch = context.bypass.as_ref().map(|bypass| bypass.touch(&self.database));
        let limit = context.remotes.settings().timeout;
        let mut session =
            RemoteSession::open(context, &self.database, true).await.map_err(|error| self.failed(error))?;
        // During the turn: it takes the tracking branches of another URL away.
        if let Some(url) = self.url.as_ref().filter(|_| self.is_configured) {
            let registered = register(&mut session, &self.name, url).await;
            registered.map_err(|error| self.failed(error.hiding(url)))?;
        }
        let sql = format!("CALL DOLT_FETCH({}, 'main')", sql_literal(&self.name));
        match session.call(&sql, limit).await {
            Err(CallError::Refused(text)) if is_empty(&text) => return Err(self.empty()),
            answer => drop(answer.map_err(|error| self.failed(error))?),
        }
        let hash = self.tracked(&mut session).await.map_err(|error| self.failed(error))?;
        hash.ok_or_else(|| self.empty())
    }

    /// What was fetched last.
    pub async fn fetched(&self, context: &Context) -> Result<Option<String>, FetchError> {
        let tracked = async {
            let mut session = RemoteSession::open(context, &self.database, true).await?;
            self.tracked(&mut session).await
        };
        tracked.await.map_err(|error| self.failed(error))
    }

    async fn tracked(&self, session: &mut RemoteSession) -> Result<Option<String>, CallError> {
        let name = sql_literal(&format!("remotes/{}/main", self.name));
        session.value(&format!("SELECT hash FROM dolt_remote_branches WHERE name = {name}")).await
    }

    fn empty(&self) -> FetchError {
        let Self { database, name, shown: url, .. } = self.clone();
        FetchError::Empty { database, name, url }
    }

    fn failed(&self, error: CallError) -> FetchError {
        let Self { database, name, shown: url, .. } = self.clone();
        let outcome = match &error {
            CallError::Refused(text) => Outcome::of(text),
            CallError::Timeout(_) => Outcome::Timeout,
            CallError::Lost(_) => return FetchError::Lost(redact::urls(&error.to_string())),
        };
        let text = match &self.url {
            Some(url) => url.hide_in(&error.to_string()),
            None => redact::urls(&error.to_string()),
        };
        FetchError::Failed { database, name, url, outcome, text: one_line(&text) }
    }
}

/// Whether a refused DOLT_FETCH says that the remote has no such branch, or none at all.
pub(super) fn is_empty(text: &str) -> bool {
    let text = text.to_lowercase();
    ["no branches found in remote", "ref spec", "invalid ref spec", "branch not found"]
        .iter()
        .any(|known| text.contains(known))
}

/// A commit of some branch of a remote whose data have no main, if they have any: it tells whose data these are.
pub(super) async fn any_branch(
    session: &mut RemoteSession,
    name: &str,
    limit: Duration,
) -> Result<Option<String>, CallError> {
    match session.call(&format!("CALL DOLT_FETCH({})", sql_literal(name)), limit).await {
        Err(CallError::Refused(text)) if is_empty(&text) => return Ok(None),
        fetched => drop(fetched?),
    }
    let prefix = format!("remotes/{name}/");
    let (length, prefix) = (prefix.len(), sql_literal(&prefix));
    let sql = format!("SELECT hash FROM dolt_remote_branches WHERE LEFT(name, {length}) = {prefix} LIMIT 1");
    session.value(&sql).await
}

/// Name and URL of each.
async fn registered(session: &mut RemoteSession) -> Result<Vec<(String, String)>, CallError> {
    let rows = session.rows("SELECT name, url FROM dolt_remotes ORDER BY name").await?;
    Ok(rows.into_iter().filter_map(|row| mysql_async::from_row_opt(row).ok()).collect())
}
