//! Owns the shell of the push schedule: notices commits and changed settings, runs the pushes, tells who waits.
//! Does not decide when (`core` does) and does not push (`push` does). Always: not in a client's path; a push that is cut
//! off by our end has its processes ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::core::{Line, Why};
use super::outcome::{Outcome, Record, one_line};
use super::pull::{PullRequest, pull};
use super::push::{came_to_nothing, push_once, wants_merge};
use super::settings::Signature;
use super::state::Schedule;
use super::target::{Target, targets};
use super::url::RemoteUrl;
use crate::observe::alerts;
use crate::observe::progress::Progress;
use crate::session::Context;

/// Merges of what others pushed, before one push is given up.
const MERGES_MAX: usize = 3;
/// Files and databases are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until `stopping`.
pub async fn run(context: Arc<Context>, stopping: CancellationToken) {
    let mut worker = Worker { signature: None, databases: None, pushes: JoinSet::new() };
    let mut look_at = tokio::time::Instant::now();
    loop {
        if tokio::time::Instant::now() >= look_at {
            look_at = tokio::time::Instant::now() + LOOK_EVERY;
            worker.look(&context).await;
        }
        let next = worker.begin(&context);
        let wake_at = next.map_or(look_at, |next| next.min(look_at));
        tokio::select! {
            () = stopping.cancelled() => break,
            () = context.remotes.wake.notified() => {}
            Some(ended) = worker.pushes.join_next() => {
                if let Ok((line, record)) = ended {
                    end(&context, &line, &record);
                }
            }
            () = tokio::time::sleep_until(wake_at) => {}
        }
    }
    // Each one's call ends what it began.
    worker.pushes.shutdown().await;
}

struct Worker {
    signature: Option<Signature>,
    /// What the schedule was made from.
    databases: Option<(Arc<crate::config::RemotesConfig>, Vec<String>)>,
    pushes: JoinSet<(Line, Record)>,
}

impl Worker {
    /// Takes up changed files, and databases that came or went.
    async fn look(&mut self, context: &Arc<Context>) {
        let remotes = Arc::clone(&context.remotes);
        let before = self.signature.clone();
        let read = tokio::task::spawn_blocking(move || {
            let signature = remotes.files.signature();
            if before.as_ref() != Some(&signature) {
                remotes.read_settings();
            }
            signature
        });
        self.signature = read.await.ok();
        let Ok(listing) = context.branches.listing().await else { return };
        let names = listing.databases().map(str::to_owned).collect();
        let now = (context.remotes.settings(), names);
        let is_same = self
            .databases
            .as_ref()
            .is_some_and(|(settings, names)| Arc::ptr_eq(settings, &now.0) && *names == now.1);
        // A database that can't be pushed may be put right in Dolt, which no file tells.
        let is_complete = context.remotes.schedule().untargeted.is_empty();
        if is_same && is_complete && now.0.discover.is_none() {
            return;
        }
        if take_up(context).await {
            self.databases = Some(now);
        }
    }

    /// Begins what is due; when to look again.
    fn begin(&mut self, context: &Arc<Context>) -> Option<tokio::time::Instant> {
        let now = tokio::time::Instant::now().into_std();
        let timeout = context.remotes.settings().timeout;
        let mut schedule = context.remotes.schedule();
        for database in std::mem::take(&mut schedule.moved) {
            schedule.core.mark(&database, now);
        }
        let turns = &context.remotes.turns;
        let begun = schedule.core.begin(now, |database| turns.is_held(database));
        for (line, why) in begun {
            let Some(target) = schedule.targets.get(&line.database).cloned() else {
                schedule.core.end(&line.database, false, 0.0, now);
                continue;
            };
            let waiting = schedule.waiting.remove(&line.database).unwrap_or_default();
            let context = Arc::clone(context);
            self.pushes.spawn(async move {
                let record = push(&context, &target, why, timeout).await;
                for waits in waiting {
                    let _ = waits.send(record.clone());
                }
                (line, record)
            });
        }
        schedule.core.next(now).map(tokio::time::Instant::from_std)
    }
}

/// Makes the schedule what the settings and databases now ask for. Whether that could be told.
pub(super) async fn take_up(context: &Context) -> bool {
    let _taking_up = context.remotes.taking_up.lock().await;
    let Ok((targets, untargeted)) = targets(context).await else { return false };
    let lines = targets.iter().map(line_of).collect();
    let mut schedule = context.remotes.schedule();
    for refused in untargeted.iter().filter(|refused| !schedule.untargeted.contains(refused)) {
        tracing::warn!(database = refused.database, by = refused.origin, "not pushed: {}", refused.why);
    }
    schedule.core.set_lines(lines);
    for target in &targets {
        let before = schedule.targets.get(&target.database.to_lowercase());
        if before.is_some_and(|before| before.url != target.url) {
            context.remotes.records.begin_anew(&target.database);
        }
    }
    schedule.untargeted = untargeted;
    schedule.targets = targets.into_iter().map(|target| (target.database.to_lowercase(), target)).collect();
    let Schedule { targets, waiting, .. } = &mut *schedule;
    waiting.retain(|database, _| targets.contains_key(database));
    end_alerts(context, targets);
    drop(schedule);
    context.remotes.wake.notify_one();
    true
}

/// Of remotes that are not there any more. Peers are noted by their own URLs.
fn end_alerts(context: &Context, targets: &BTreeMap<String, Target>) {
    let settings = context.remotes.settings();
    context.alerts.keep(|database, remote| {
        let is_it = |url: &RemoteUrl| alerts::shown(&url.to_string()) == remote;
        let is_target = targets.get(database).is_some_and(|target| is_it(&target.url));
        let peers = settings.databases.get(database).map(|of| of.peers.as_slice()).unwrap_or_default();
        is_target
            || super::ledger::is_noted(&settings, database, remote)
            || peers.iter().any(|peer| is_it(&peer.url))
    });
}

/// One push, in a task of its own, so that a fault of ours in it is its failure and no more.
async fn push(context: &Arc<Context>, target: &Target, why: Why, timeout: Duration) -> Record {
    let (task_context, task_target) = (Arc::clone(context), target.clone());
    let task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let mut record = push_once(&task_context, &task_target, why, timeout).await;
        // Others may push between the merge and our push.
        for _ in 0..MERGES_MAX {
            if !wants_merge(&task_target, &record) {
                break;
            }
            let behind = record;
            record = merge_and_push(&task_context, &task_target, behind, why, timeout).await;
        }
        record
    }));
    task.await.unwrap_or_else(|error| {
        tracing::error!(database = target.database, %error, "a push ended by a fault of Branchline's");
        let text = "it ended by a fault of Branchline's, which is in its log";
        came_to_nothing(why, Outcome::DoltError, text.to_owned())
    })
}

/// Somebody else pushed: their commits come into main by the rules of `merge`, and main is pushed again.
async fn merge_and_push(
    context: &Arc<Context>,
    target: &Target,
    behind: Record,
    why: Why,
    timeout: Duration,
) -> Record {
    let request = PullRequest {
        database: target.database.clone(),
        remote: Some(target.name.clone()),
        by: "remotes.on_behind".to_owned(),
    };
    match pull(context, &request, &Progress::default()).await {
        Ok(pulled) => {
            let (database, how) = (&target.database, pulled.come.how.as_str());
            tracing::info!(database, remote = %target.url, how, "what the remote had came into main");
            push_once(context, target, why, timeout).await
        }
        Err(error) => {
            let text = target.url.hide_in(&format!("{}; it can't be merged: {error}", behind.text));
            tracing::warn!(database = target.database, remote = %target.url, "{text}");
            Record { text: one_line(&text), ..behind }
        }
    }
}

fn end(context: &Context, line: &Line, record: &Record) {
    let mut schedule = context.remotes.schedule();
    // Not of one that was removed or configured anew meanwhile.
    if let Some(target) = schedule.targets.get(&line.database).filter(|target| line_of(target) == *line) {
        let (remote, advice) = (target.url.to_string(), record.outcome.advice());
        context.alerts.note(&target.database, &remote, record.outcome, &record.text, advice);
    }
    let now = tokio::time::Instant::now().into_std();
    schedule.core.end(&line.database, record.outcome.is_well(), jitter(), now);
}

fn line_of(target: &Target) -> Line {
    // Any change of what is configured is tried at once.
    let configured =
        format!("{}\n{}\n{:?}\n{}", target.name, target.url.reveal(), target.on_behind, target.origin);
    Line {
        database: target.database.to_lowercase(),
        repository: target.url.repository(),
        heartbeat: target.heartbeat,
        configured: xxhash_rust::xxh3::xxh3_64(configured.as_bytes()),
    }
}

/// 0 to 1.
fn jitter() -> f64 {
    let mut bytes = [0; 2];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(_) => f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 0.5,
    }
}

/// Pushes a database as soon as possible, whatever failed before; `None` if it is pushed nowhere.
pub async fn push_now(context: &Context, database: &str) -> Option<Record> {
    let is_known = context.remotes.target(database).is_some();
    // A database that is new, or was put right in Dolt, is known only after the next look.
    if !is_known && !take_up(context).await {
        return None;
    }
    let (sender, pushed) = oneshot::channel();
    {
        let mut schedule = context.remotes.schedule();
        let database = database.to_lowercase();
        if !schedule.core.ask(&database) {
            return None;
        }
        schedule.waiting.entry(database).or_default().push(sender);
    }
    context.remotes.wake.notify_one();
    pushed.await.ok()
}

/// Pushes these databases, or all that have a remote; what became of each.
pub async fn push_all(
    context: &Arc<Context>,
    databases: Vec<String>,
    progress: &Progress,
) -> Result<Vec<(String, Record)>, String> {
    let mut all = Vec::new();
    let failed = |why: String| came_to_nothing(Why::Asked, Outcome::DoltError, why);
    let wanted: Vec<String> = if databases.is_empty() {
        let schedule = context.remotes.schedule();
        for refused in &schedule.untargeted {
            let why = format!("{} ({})", refused.why, refused.origin);
            all.push((usize::MAX, refused.database.clone(), failed(why)));
        }
        schedule.targets.values().map(|target| target.database.clone()).collect()
    } else {
        databases
    };
    if wanted.is_empty() && all.is_empty() {
        return Err("no database has a remote; `branchline remote add DB URL` gives it one".to_owned());
    }
    for database in &wanted {
        if context.remotes.target(database).is_none() {
            return Err(no_remote(context, database));
        }
    }
    progress.step("push", Some(wanted.len() as u64));
    let mut pushes = JoinSet::new();
    for (at, database) in wanted.into_iter().enumerate() {
        let context = Arc::clone(context);
        pushes.spawn(async move { (at, push_now(&context, &database).await, database) });
    }
    while let Some(pushed) = pushes.join_next().await {
        let (at, record, database) = pushed.map_err(|error| error.to_string())?;
        progress.advance(1);
        let lost = || failed("it lost its remote meanwhile; nothing was pushed".to_owned());
        all.push((at, database, record.unwrap_or_else(lost)));
    }
    all.sort_by_key(|(at, ..)| *at);
    Ok(all.into_iter().map(|(_, database, record)| (database, record)).collect())
}

/// What failed may go well now: it is tried at once, if the database is pushed at all.
pub fn try_again(context: &Context, database: &str) {
    context.remotes.schedule().core.ask(&database.to_lowercase());
    context.remotes.wake.notify_one();
}

/// Why a database isn't pushed.
pub fn no_remote(context: &Context, database: &str) -> String {
    context.remotes.refusal(database).unwrap_or_else(|| {
        format!(
            "{database} has no remote that it is pushed to; `branchline remote list` shows them, `branchline remote add \
             {database} URL` gives it one"
        )
    })
}
