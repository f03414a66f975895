//! Owns telling people what is wrong: which alerts there are, in memory and in `alerts.json`, and who is told of them.
//! Does not find out what is wrong. Always: whoever notes something never waits; what was raised before a restart is
//! not raised again by it; what nobody was told of before a restart is told after it.

mod channel;
mod core;
mod deliver;
mod file;
mod webhook;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use self::core::{Action, Core};
pub use self::core::{Alert, Event, Key, Kind, Said};
pub use self::deliver::{Place, deliver};
use super::redact;
use super::time::{unix_seconds, utc_seconds};
use crate::config::outside::AlertsConfig;
use crate::remote::Outcome;

/// Alerts that wait to be told. What comes on top is in the log and in the list only.
const WAITING_MAX: usize = 256;
/// Characters of a text that are kept.
const TEXT_CHARS_MAX: usize = 500;

/// What is wrong; cheap to clone.
#[derive(Debug, Clone)]
pub struct Alerts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    /// Something has to be told or written.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    core: Core,
    waiting: Vec<(Alert, Event)>,
    is_dirty: bool,
}

impl Alerts {
    /// Takes up what `alerts.json` in the state directory says. A file that can't be read or understood is told in the
    /// log, put aside as `alerts.json.damaged`, and done without.
    pub fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(file::NAME);
        let core = Core::restore(AlertsConfig::default().failing_after.as_secs(), file::read(&path));
        let waiting = core.untold();
        let state = State { core, waiting, is_dirty: false };
        Self { shared: Arc::new(Shared { path, state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// A remote was tried. `remote`: its masked URL or its name, the same each time.
    pub fn note(&self, database: &str, remote: &str, outcome: Outcome, text: &str, advice: &str) {
        let (remote, text) = (shown(remote), shown(text));
        let said = Said { database, remote: &remote, text: &text, advice };
        self.change(|core, now| core.remote_outcome(outcome, said, now));
    }

    /// The database has no remote any more, or other ones.
    pub fn forget(&self, database: &str) {
        self.change(|core, now| core.forget(database, now));
    }

    /// Only these remotes are there now: a database in lower case, and the remote as `shown` has it.
    pub fn keep(&self, there: impl Fn(&str, &str) -> bool) {
        self.change(|core, now| core.keep(there, now));
    }

    /// Something else is wrong.
    pub fn raise(&self, kind: Kind, said: Said<'_>) {
        let (remote, text) = (shown(said.remote), shown(said.text));
        let said = Said { remote: &remote, text: &text, ..said };
        self.change(|core, now| core.raise(kind, said, now).into_iter().collect());
    }

    /// It is not wrong any more, if it was.
    pub fn clear(&self, kind: Kind, database: &str, remote: &str) {
        let remote = shown(remote);
        self.change(|core, now| core.clear(kind, database, &remote, now).into_iter().collect());
    }

    /// What is wrong, oldest first; with `all`, then what was over within the last 24 hours, latest first.
    pub fn list(&self, all: bool) -> Vec<Alert> {
        let state = self.lock();
        let mut list = state.core.raised();
        if all {
            list.extend(state.core.cleared());
        }
        list
    }

    /// What is wrong, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.list(false).iter().map(line).collect()
    }

    /// Takes note of the time: how long until there is something to do again.
    fn tick(&self, failing_after: Duration) -> Option<Duration> {
        self.change(|core, now| {
            core.set_failing_after(failing_after.as_secs());
            core.tick(now)
        });
        let next = self.lock().core.next()?;
        Some(Duration::from_secs(next.saturating_sub(unix_seconds(SystemTime::now()))))
    }

    fn told(&self, id: u64, event: Event, how: String) {
        let mut state = self.lock();
        state.core.told(id, event, how);
        state.is_dirty = true;
    }

    /// The first that waits and is not about the same as one that is being told.
    fn next_waiting(&self, busy: &BTreeSet<Key>) -> Option<(Alert, Event)> {
        let mut state = self.lock();
        let at = state.waiting.iter().position(|(alert, _)| !busy.contains(&alert.key()))?;
        Some(state.waiting.remove(at))
    }

    fn change(&self, change: impl FnOnce(&mut Core, u64) -> Vec<Action>) {
        let mut state = self.lock();
        let before = state.core.kept();
        let actions = change(&mut state.core, unix_seconds(SystemTime::now()));
        for action in actions {
            let (alert, event) = match action {
                Action::Raised(alert) => (alert, Event::Raised),
                Action::Cleared(alert) => (alert, Event::Cleared),
            };
            let Alert { database, remote, text, advice, .. } = &alert;
            let kind = alert.kind.as_str();
            match event {
                Event::Raised => tracing::warn!(kind, database, remote, text, advice, "alert"),
                Event::Cleared => tracing::info!(kind, database, remote, "the alert is over"),
            }
            if state.waiting.len() < WAITING_MAX {
                state.waiting.push((alert, event));
            } else {
                let how = format!("log only: {WAITING_MAX} other alerts were waiting to be told");
                state.core.told(alert.id, event, how);
            }
        }
        if state.core.kept() != before {
            state.is_dirty = true;
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Writes the file if there is something new. `Err`: it could not be written, and is written later.
    async fn save(&self) -> std::io::Result<()> {
        let kept = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.is_dirty) {
                return Ok(());
            }
            state.core.kept()
        };
        let path = self.shared.path.clone();
        let written = tokio::task::spawn_blocking(move || file::write(&path, &kept)).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        if written.is_err() {
            self.lock().is_dirty = true;
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `behind: beads, https://***@host/r since 2026-11-23T15:04:05Z: …`
fn line(alert: &Alert) -> String {
    let Alert { database, remote, text, .. } = alert;
    let kind = alert.kind.as_str();
    format!("{kind}: {database}, {remote}, since {}: {text}", utc_seconds(alert.since))
}

/// One line without credentials: what a remote is known by in alerts.
pub fn shown(text: &str) -> String {
    redact::cut(&redact::urls(text), TEXT_CHARS_MAX)
}
