//! Owns telling: which alerts are told now, to whom, how often it is tried, and what is kept of it.
//! Does not decide what is wrong. Always: one thing going wrong is told in its order; each try ends in its time, and
//! there are only so many of them.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::channel::{self, Problem};
use super::core::{Alert, Event};
use super::{Alerts, webhook};
use crate::config::outside::AlertsConfig;
use crate::observe::time::utc_seconds;

/// Alerts that are told at the same time, each about something else.
const AT_ONCE: usize = 4;
/// Waits between tries; so there is one try more.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Settings are looked at so often.
const LOOK: Duration = Duration::from_secs(5);
/// After a file that could not be written.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// Where we are, for those who are told.
#[derive(Debug, Clone)]
pub struct Place {
    /// The town, if it is one.
    pub town: Option<PathBuf>,
    /// The machine.
    pub host: String,
}

impl Place {
    /// On this machine.
    pub fn here(town: Option<PathBuf>) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self { town, host: host.trim().to_owned() }
    }
}

/// What the command and the webhook get.
#[derive(Debug, Serialize)]
struct Message<'a> {
    event: &'a str,
    kind: &'a str,
    database: &'a str,
    remote: &'a str,
    since: String,
    text: &'a str,
    advice: &'a str,
    host: &'a str,
}

/// Tells what is wrong, to whom the present settings say, until Branchline stops. What is not told by then is told
/// after the next start.
pub async fn deliver(
    alerts: Alerts,
    settings: impl Fn() -> AlertsConfig,
    place: Place,
    stopping: CancellationToken,
) {
    let mut telling = JoinSet::new();
    // By task, so that one that panics leaves nothing behind.
    let mut busy = HashMap::new();
    let mut is_save_failing = false;
    loop {
        let config = Arc::new(settings());
        let mut wait = alerts.tick(config.failing_after).map_or(LOOK, |next| next.min(LOOK));
        // First the file: so that a crash repeats rather than forgets.
        match alerts.save().await {
            Ok(()) => is_save_failing = false,
            Err(error) => {
                if !is_save_failing {
                    tracing::warn!(%error, file = %alerts.shared.path.display(), "the alerts can't be written");
                }
                (is_save_failing, wait) = (true, wait.min(SAVE_AGAIN));
            }
        }
        while telling.len() < AT_ONCE {
            let keys: BTreeSet<_> = busy.values().cloned().collect();
            let Some((alert, event)) = alerts.next_waiting(&keys) else { break };
            let key = alert.key();
            let (config, place) = (Arc::clone(&config), place.clone());
            let task = telling.spawn(async move {
                let how = tell(&alert, event, &config, &place).await;
                (alert.id, event, how)
            });
            busy.insert(task.id(), key);
        }
        tokio::select! {
            () = alerts.shared.changed.notified() => {}
            Some(told) = telling.join_next_with_id() => match told {
                Ok((task, (id, event, how))) => {
                    busy.remove(&task);
                    alerts.told(id, event, how);
                }
                Err(error) => {
                    busy.remove(&error.id());
                    tracing::warn!(%error, "an alert was not told");
                }
            },
            () = tokio::time::sleep(wait.max(Duration::from_millis(50))) => {}
            () = stopping.cancelled() => break,
        }
    }
    telling.shutdown().await;
    if let Err(error) = alerts.save().await {
        tracing::warn!(%error, file = %alerts.shared.path.display(), "the alerts can't be written");
    }
}

/// Everybody who is to be told, at the same time; how it went.
async fn tell(alert: &Alert, event: Event, config: &AlertsConfig, place: &Place) -> String {
    let message = Message {
        event: event.as_str(),
        kind: alert.kind.as_str(),
        database: &alert.database,
        remote: &alert.remote,
        since: utc_seconds(alert.since),
        text: &alert.text,
        advice: &alert.advice,
        host: &place.host,
    };
    let json = serde_json::to_vec(&message).unwrap_or_default();
    // A line, for those who collect them.
    let line = [json.as_slice(), b"\n"].concat();
    let command = async {
        let command = config.command.as_deref()?;
        let went = tries("command", alert, || channel::command(command, &line, config.timeout)).await;
        Some(format!("command {went}"))
    };
    let hook = async {
        let url = config.webhook.as_deref()?;
        let name = webhook::shown(url);
        let went = tries(&name, alert, || webhook::post(url, &json, config.timeout)).await;
        Some(format!("{name} {went}"))
    };
    let mail = async {
        let town = place.town.as_deref().filter(|_| config.mail)?;
        let gt = channel::on_path("gt")?;
        let (subject, body) = mail_of(&message);
        let went = tries("mail", alert, || channel::mail(&gt, town, &subject, &body, config.timeout)).await;
        Some(format!("mail {went}"))
    };
    let (command, hook, mail) = tokio::join!(command, hook, mail);
    let went: Vec<String> = [Some("log".to_owned()), command, hook, mail].into_iter().flatten().collect();
    went.join("; ")
}

fn mail_of(message: &Message<'_>) -> (String, String) {
    let Message { event, kind, database, remote, since, text, advice, host } = message;
    let subject = format!("Branchline: {kind} {event}: {database}");
    let advice = if advice.is_empty() { String::new() } else { format!("\n\nWhat to do: {advice}") };
    let body = format!(
        "{kind} {event}\n\ndatabase {database}\nremote {remote}\nsince {since}\nhost {host}\n\n{text}{advice}"
    );
    (subject, body)
}

/// `done`, or why not.
async fn tries<F>(who: &str, alert: &Alert, work: impl Fn() -> F) -> String
where
    F: Future<Output = Result<(), Problem>>,
{
    let mut pauses = PAUSES.iter();
    loop {
        let Err(problem) = work().await else { return "done".to_owned() };
        let Some(pause) = pauses.next().filter(|_| problem.may_pass) else {
            let (kind, database) = (alert.kind.as_str(), &alert.database);
            tracing::warn!(to = who, kind, database, problem = problem.text, "an alert could not be told");
            return format!("failed: {}", problem.text);
        };
        tokio::time::sleep(*pause).await;
    }
}
