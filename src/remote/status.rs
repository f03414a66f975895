//! Owns what is shown of remotes: which there are, how far each is behind, what became of pushes.
//! Changes nothing. Always: no credential; asks Dolt, never a remote.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::outcome::{Outcome, Record};
use super::target::Target;
use super::worker::no_remote;
use crate::branch::{sql_identifier, sql_literal};
use crate::observe::time::unix_seconds;
use crate::session::Context;

/// A row of `SHOW REMOTES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRow {
    /// Its database.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// Without credentials; none: as Dolt has it, and Dolt has none.
    pub url: Option<String>,
    /// `push`, `not pushed`, `peer`, `ledger`
    pub purpose: String,
    /// Who says so.
    pub origin: String,
}

/// A row of `SHOW REMOTE STATUS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRow {
    /// Its database.
    pub database: String,
    /// Name of the remote.
    pub name: String,
    /// Without credentials.
    pub url: Option<String>,
    /// `up to date`, `waiting`, `pushing`, `failing`, `never pushed`, `not pushed`
    pub state: &'static str,
    /// Commits of main that the remote was not seen to have.
    pub lag_commits: Option<u64>,
    /// Age of the oldest of them, in seconds.
    pub lag_s: Option<u64>,
    /// Of the last push or look.
    pub outcome: Option<Outcome>,
    /// When that was.
    pub at: Option<SystemTime>,
    /// For how long no push has ended well, in seconds.
    pub failing_s: Option<u64>,
    /// Until the next push or look, in seconds.
    pub next_s: Option<u64>,
    /// What was said.
    pub text: Option<String>,
    /// What to do.
    pub advice: Option<String>,
}

/// All remotes of the present settings.
pub async fn remotes(context: &Context) -> Vec<RemoteRow> {
    let settings = context.remotes.settings();
    let targets: Vec<Target> = context.remotes.schedule().targets.values().cloned().collect();
    let mut rows = Vec::new();
    for remote in settings.databases.values() {
        let target = targets.iter().find(|target| target.database.eq_ignore_ascii_case(&remote.database));
        let url = remote.url.as_ref().or(target.map(|target| &target.url));
        let row = |name: &str, url: Option<String>, purpose: String| RemoteRow {
            database: remote.database.clone(),
            name: name.to_owned(),
            url,
            purpose,
            origin: remote.origin.clone(),
        };
        let purpose = if remote.push { "push" } else { "not pushed" };
        if url.is_some() || remote.peers.is_empty() && remote.ledger.is_none() {
            rows.push(row(&remote.name, url.map(ToString::to_string), purpose.to_owned()));
        }
        for peer in &remote.peers {
            let purpose = format!("peer, into {}", peer.into.as_str());
            rows.push(row(&peer.name, Some(peer.url.to_string()), purpose));
        }
        if let Some(ledger) = &remote.ledger {
            rows.push(row(super::ledger::REMOTE, Some(ledger.remote.to_string()), "ledger".to_owned()));
        }
    }
    for target in targets {
        if !settings.databases.contains_key(&target.database.to_lowercase()) {
            rows.push(RemoteRow {
                url: Some(target.url.to_string()),
                database: target.database,
                name: target.name,
                purpose: "push".to_owned(),
                origin: target.origin,
            });
        }
    }
    rows
}

/// How far each remote is behind.
pub async fn status(context: &Context, database: Option<&str>) -> Result<Vec<StatusRow>, String> {
    let is_wanted = |name: &str| database.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
    let (targets, untargeted) = {
        let schedule = context.remotes.schedule();
        let targets: Vec<Target> =
            schedule.targets.values().filter(|target| is_wanted(&target.database)).cloned().collect();
        (targets, schedule.untargeted.clone())
    };
    let mut rows = Vec::new();
    for target in targets {
        rows.push(row(context, target).await);
    }
    for refused in untargeted.into_iter().filter(|refused| is_wanted(&refused.database)) {
        rows.push(StatusRow {
            database: refused.database,
            name: refused.name,
            url: None,
            state: "not pushed",
            lag_commits: None,
            lag_s: None,
            outcome: None,
            at: None,
            failing_s: None,
            next_s: None,
            text: Some(refused.why),
            advice: Some(format!("see {}", refused.origin)),
        });
    }
    match (database, rows.is_empty()) {
        (Some(database), true) => Err(no_remote(context, database)),
        _ => Ok(rows),
    }
}

async fn row(context: &Context, target: Target) -> StatusRow {
    let remotes = &context.remotes;
    let now = unix_seconds(SystemTime::now());
    let last = remotes.records.last(&target.database, 1).pop();
    let seen = remotes.records.seen(&target.database, &target.url.repository());
    let (lag_commits, lag_s) = match lag(context, &target, seen.as_ref().map(|seen| seen.head.as_str())).await
    {
        Some((commits, oldest)) => (Some(commits), oldest.map(|oldest| now.saturating_sub(oldest))),
        None => (None, None),
    };
    let clock = tokio::time::Instant::now().into_std();
    let outlook = remotes.schedule().core.outlook(&target.database.to_lowercase(), clock);
    let (next, is_running) = outlook.unwrap_or((None, false));
    let is_failing = last.as_ref().is_some_and(|last| !last.outcome.is_well());
    let state = match (is_running, is_failing, &seen, lag_commits) {
        (true, ..) => "pushing",
        (_, true, ..) => "failing",
        (_, _, None, _) => "never pushed",
        (.., Some(0)) => "up to date",
        _ => "waiting",
    };
    let failing_since = remotes.records.failing_since(&target.database);
    let (outcome, text) = last.as_ref().map(|last| (last.outcome, last.text.clone())).unzip();
    StatusRow {
        state,
        lag_commits,
        lag_s,
        outcome,
        at: last.as_ref().map(|last| UNIX_EPOCH + Duration::from_secs(last.at)),
        failing_s: failing_since.map(|since| now.saturating_sub(since)),
        next_s: next.map(|next| next.saturating_duration_since(clock).as_secs()).filter(|_| !is_running),
        text: text.filter(|text| !text.is_empty()),
        advice: outcome.map(|outcome| outcome.advice().to_owned()).filter(|advice| !advice.is_empty()),
        url: Some(target.url.to_string()),
        name: target.name,
        database: target.database,
    }
}

/// Commits of main that `seen` has not, and when the oldest was made.
async fn lag(context: &Context, target: &Target, seen: Option<&str>) -> Option<(u64, Option<u64>)> {
    let control = context.dolt.control();
    let place = sql_identifier(&format!("{}/main", target.database));
    let range = match seen {
        Some(seen) => format!("'main', '--not', {}", sql_literal(seen)),
        None => "'main'".to_owned(),
    };
    let mut session = control.dedicated().await.ok()?;
    session.execute(&format!("USE {place}"), Vec::new()).await.ok()?;
    let sql = format!("SELECT COUNT(*), CAST(UNIX_TIMESTAMP(MIN(date)) AS UNSIGNED) FROM dolt_log({range})");
    let mut rows = session.rows(&sql, Vec::new()).await.ok()?;
    let mut row = rows.pop()?;
    let count = row.take_opt::<u64, _>(0)?.ok()?;
    let oldest = row.take_opt::<Option<u64>, _>(1).and_then(Result::ok).flatten();
    Some((count, oldest.filter(|_| count > 0)))
}

/// The last pushes of a database, newest first.
pub async fn pushes(context: &Context, database: &str, limit: usize) -> Result<Vec<Record>, String> {
    let records = context.remotes.records.last(database, limit);
    if records.is_empty() && context.remotes.target(database).is_none() {
        return Err(no_remote(context, database));
    }
    Ok(records)
}
