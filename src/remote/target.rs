//! Owns what a push needs to know: which database goes where, under which name.
//! Does not push. Always: the URL is one that `RemoteUrl` takes, also where Dolt's own configuration names it.

use std::os::unix::fs::PermissionsExt;

use super::call::{CallError, RemoteSession};
use super::url::RemoteUrl;
use crate::branch::{sql_identifier, sql_literal};
use crate::config::{OnBehind, RemoteOf, RemotesConfig};
use crate::dolt::ControlError;
use crate::observe::redact;
use crate::session::Context;

/// A database and its remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As Dolt spells it.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// Where it is.
    pub url: RemoteUrl,
    /// What is done when the remote has commits that main has not.
    pub on_behind: OnBehind,
    /// Whether a heartbeat pushes what no commit has announced.
    pub heartbeat: bool,
    /// Who says so.
    pub origin: String,
}

impl Target {
    /// `remotes/origin/main`, as Dolt's functions take it.
    pub fn tracking(&self) -> String {
        format!("{}/main", self.name)
    }
}

/// A database that can't be pushed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untargeted {
    /// As it is configured.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// What to do.
    pub why: String,
    /// Who wants it pushed.
    pub origin: String,
}

/// All that is to be pushed, by the present settings; and what can't be.
pub async fn targets(context: &Context) -> Result<(Vec<Target>, Vec<Untargeted>), String> {
    let settings = context.remotes.settings();
    let listing = context.branches.listing().await.map_err(|error| error.to_string())?;
    let (mut targets, mut untargeted) = (Vec::new(), Vec::new());
    // A section about what is fetched or published does not say that Dolt's own remote, as a clone has one, is pushed to.
    let is_pushed = |remote: &&RemoteOf| {
        let is_elsewhere = remote.ledger.is_some() || !remote.peers.is_empty();
        remote.push && (remote.url.is_some() || !is_elsewhere || settings.discover.is_some())
    };
    for remote in settings.databases.values().filter(is_pushed) {
        let refuse = |why: String| Untargeted {
            database: remote.database.clone(),
            name: remote.name.clone(),
            why,
            origin: remote.origin.clone(),
        };
        let Some(database) = listing.database(&remote.database) else {
            untargeted.push(refuse("there is no such database".to_owned()));
            continue;
        };
        if !listing.branches(database).any(|branch| branch == "main") {
            untargeted.push(refuse("it has no branch main, and no other branch is ever pushed".to_owned()));
            continue;
        }
        let url = match &remote.url {
            Some(url) => Ok(url.clone()),
            None => of_dolt(context, database, &remote.name).await?,
        };
        match url {
            Ok(url) => targets.push(Target {
                database: database.to_owned(),
                name: remote.name.clone(),
                url,
                on_behind: remote.on_behind.unwrap_or(settings.on_behind),
                heartbeat: remote.heartbeat,
                origin: remote.origin.clone(),
            }),
            // Its section is about what is published or fetched.
            Err(_) if remote.url.is_none() && (remote.ledger.is_some() || !remote.peers.is_empty()) => {}
            Err(NoUrl::NoRemote(why) | NoUrl::Unfit(why)) => untargeted.push(refuse(why)),
        }
    }
    if let Some(name) = &settings.discover {
        for database in listing.databases() {
            if settings.databases.contains_key(&database.to_lowercase())
                || !listing.branches(database).any(|branch| branch == "main")
            {
                continue;
            }
            match of_dolt(context, database, name).await? {
                Ok(url) => targets.push(Target {
                    database: database.to_owned(),
                    name: name.clone(),
                    url,
                    on_behind: settings.on_behind,
                    heartbeat: true,
                    origin: crate::town::daemon_json::PATH.to_owned(),
                }),
                // All that have a remote are meant, and this one has none.
                Err(NoUrl::NoRemote(_)) => {}
                Err(NoUrl::Unfit(why)) => untargeted.push(Untargeted {
                    database: database.to_owned(),
                    name: name.clone(),
                    why,
                    origin: crate::town::daemon_json::PATH.to_owned(),
                }),
            }
        }
    }
    // What is private never goes to a public repository, and a ledger goes nowhere but by its own way.
    targets.retain(|target| {
        let why = match not_pushed_to(&settings, &target.database, &target.url) {
            Some(why) => why,
            None if super::ledger::is_ledger(context, &target.database) => {
                "it is a public ledger, which goes to its own remote only".to_owned()
            }
            None => return true,
        };
        let (database, name, origin) = (target.database.clone(), target.name.clone(), target.origin.clone());
        untargeted.push(Untargeted { database, name, why, origin });
        false
    });
    // Whoever comes second would push over the first one's data, if git let it.
    let mut taken = std::collections::BTreeMap::<String, String>::new();
    targets.retain(|target| match taken.get(&target.url.repository()) {
        Some(first) => {
            let why = format!(
                "{} is {first}'s repository already; a repository holds one database: `branchline remote add` with one \
                 of its own",
                target.url
            );
            let (database, name, origin) = (target.database.clone(), target.name.clone(), target.origin.clone());
            untargeted.push(Untargeted { database, name, why, origin });
            false
        }
        None => {
            taken.insert(target.url.repository(), target.database.clone());
            true
        }
    });
    Ok((targets, untargeted))
}

/// Why a database is never pushed to this repository, if it isn't.
pub fn not_pushed_to(settings: &RemotesConfig, database: &str, url: &RemoteUrl) -> Option<String> {
    if let Some(source) = super::ledger::ledger_at(settings, url) {
        return Some(format!(
            "{url} is where the public ledger of {source} goes, and nothing else is ever pushed there: give it another \
             repository"
        ));
    }
    let repository = url.repository();
    let peers = &settings.databases.get(&database.to_lowercase())?.peers;
    let peer = peers.iter().find(|peer| peer.url.repository() == repository)?;
    Some(format!("{url} is its peer {}, which is only read: give it a repository of its own", peer.name))
}

/// Why a client may not push a database there: it is a repository that something else belongs in.
pub fn not_pushed_by_clients(context: &Context, database: &str, url: &RemoteUrl) -> Option<String> {
    if let Some(why) = not_pushed_to(&context.remotes.settings(), database, url) {
        return Some(why);
    }
    let other = other_at(context, database, &url.repository())?;
    Some(format!("{url} is the repository of {other}, and a repository holds one database"))
}

/// The other database that is pushed to this repository.
pub fn other_at(context: &Context, database: &str, repository: &str) -> Option<String> {
    // Whoever commits wants the schedule, and telling a repository may ask the file system.
    let targets = context.remotes.schedule().targets.clone();
    let other = targets.into_values().find(|target| {
        !target.database.eq_ignore_ascii_case(database) && target.url.repository() == repository
    });
    other.map(|target| target.database)
}

/// Name and URL of each remote that Dolt has for a database.
pub async fn of_database(
    context: &Context,
    database: &str,
) -> Result<Vec<(String, RemoteUrl)>, ControlError> {
    let sql = format!("SELECT name, url FROM {}.dolt_remotes", sql_identifier(database));
    let rows = context.dolt.control().rows(&sql, Vec::new()).await?;
    let rows = rows.into_iter().filter_map(|row| mysql_async::from_row_opt::<(String, String)>(row).ok());
    Ok(rows.filter_map(|(name, url)| Some((name, RemoteUrl::parse(&url).ok()?))).collect())
}

/// Why Dolt's configuration tells no URL.
enum NoUrl {
    NoRemote(String),
    Unfit(String),
}

/// What Dolt's `dolt_remotes` says of a name. The outer error: Dolt can't be asked.
async fn of_dolt(context: &Context, database: &str, name: &str) -> Result<Result<RemoteUrl, NoUrl>, String> {
    let sql = format!(
        "SELECT url FROM {}.dolt_remotes WHERE name = {}",
        sql_identifier(database),
        sql_literal(name)
    );
    let rows = match context.dolt.control().rows(&sql, Vec::new()).await {
        Ok(rows) => rows,
        // A database that can't be read.
        Err(error @ ControlError::Server { .. }) => {
            return Ok(Err(NoUrl::Unfit(redact::urls(&error.to_string()))));
        }
        Err(error) => return Err(error.to_string()),
    };
    let url = rows.into_iter().next().and_then(|mut row| row.take_opt::<String, _>(0)?.ok());
    let Some(url) = url else {
        let why = format!("Dolt has no remote {name} for it: `branchline remote add {database} URL`");
        return Ok(Err(NoUrl::NoRemote(why)));
    };
    // Dolt writes those of git so, whatever was given to it.
    if !url.starts_with("git+") {
        let why = format!(
            "Dolt's remote {name}, {}, is no git repository, and only those are pushed: `branchline remote add {database} \
             URL` gives it one",
            redact::urls(&url)
        );
        return Ok(Err(NoUrl::Unfit(why)));
    }
    Ok(RemoteUrl::parse(&url).map_err(|error| NoUrl::Unfit(format!("Dolt's remote {name}: {error}"))))
}

/// Sees to it that Dolt knows the remote by this name and URL.
pub async fn register(session: &mut RemoteSession, name: &str, url: &RemoteUrl) -> Result<(), CallError> {
    // Also of one that is there already, as after a clone.
    if url.has_credentials() {
        protect(session);
    }
    let literal = sql_literal(name);
    let sql = format!("SELECT url FROM dolt_remotes WHERE name = {literal}");
    let there: Option<String> = session.value(&sql).await?;
    match there {
        Some(there) if there == url.reveal() => return Ok(()),
        // Takes its tracking branches with it: they are another repository's.
        Some(_) => {
            session.rows(&format!("CALL DOLT_REMOTE('remove', {literal})")).await?;
        }
        None => {}
    }
    session.rows(&format!("CALL DOLT_REMOTE('add', {literal}, {})", sql_literal(url.reveal()))).await?;
    Ok(())
}

/// Dolt writes a remote's URL into files that everybody may read. Nobody else gets into the directory that they are in.
fn protect(session: &RemoteSession) {
    let Some(dir) = session.database_dir().map(|dir| dir.join(".dolt")) else { return };
    if let Err(error) = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)) {
        tracing::warn!(%error, dir = %dir.display(), "others may read the credentials of a remote's URL");
    }
}
