//! Owns what is wrong with which remote: when an alert begins and when it is over. The core: no tokio, no I/O; it
//! takes outcomes and a given `now`, and returns what has to be told.
//! Does not tell anybody. Always: between two beginnings of an alert is its end, and what is well has no alert.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::remote::Outcome;

/// How long an alert that is over is shown.
const CLEARED_KEPT_S: u64 = 24 * 3600;
/// Alerts that are over are kept up to this number; the oldest go first.
const CLEARED_MAX: usize = 500;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The remote wants credentials that it was not given.
    Auth,
    /// It has commits that main has not.
    Behind,
    /// Nothing has reached it for longer than `alerts.failing_after_min`.
    Failing,
    /// Its history is not the one that was pushed before.
    Rewritten,
    /// The database could not be backed up.
    Backup,
    /// A public ledger is not published until somebody looks at it.
    Ledger,
}

impl Kind {
    /// `auth`, `behind`, `failing`, `rewritten`, `backup`, `ledger`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Behind => "behind",
            Self::Failing => "failing",
            Self::Rewritten => "rewritten",
            Self::Backup => "backup",
            Self::Ledger => "ledger",
        }
    }
}

/// Which part of an alert's life is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It has begun.
    Raised,
    /// It is over.
    Cleared,
}

impl Event {
    /// `raised`, `cleared`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
        }
    }
}

/// Something that is wrong, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Grows with each alert.
    pub id: u64,
    /// What is wrong.
    pub kind: Kind,
    /// Of which database.
    pub database: String,
    /// With which remote: its masked URL or its name; the directory of a backup.
    pub remote: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When it was over.
    pub cleared: Option<u64>,
    /// What was said last.
    pub text: String,
    /// What a person can do.
    pub advice: String,
    /// How telling of its beginning went; `None`: it has not been told yet.
    pub raised_told: Option<String>,
    /// The same for its end.
    pub cleared_told: Option<String>,
}

impl Alert {
    /// Alerts with the same key are the same thing going wrong.
    pub fn key(&self) -> Key {
        Key::new(self.kind, &self.database, &self.remote)
    }
}

/// Which alert it is, whenever it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    line: Line,
    kind: Kind,
}

impl Key {
    fn new(kind: Kind, database: &str, remote: &str) -> Self {
        Self { line: line(database, remote), kind }
    }
}

/// A database in lower case, and a remote.
type Line = (String, String);

fn line(database: &str, remote: &str) -> Line {
    (database.to_lowercase(), remote.to_owned())
}

/// What has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It has begun.
    Raised(Alert),
    /// It is over.
    Cleared(Alert),
}

/// What was heard of one thing going wrong.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// Of which database.
    pub database: &'a str,
    /// With which remote.
    pub remote: &'a str,
    /// What was said.
    pub text: &'a str,
    /// What a person can do.
    pub advice: &'a str,
}

/// A remote that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unwell {
    pub database: String,
    pub remote: String,
    /// The first failure since it was well.
    pub since: u64,
    pub text: String,
    pub advice: String,
}

/// All that is kept, as it is written to the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub last_id: u64,
    pub raised: Vec<Alert>,
    pub cleared: Vec<Alert>,
    pub unwell: Vec<Unwell>,
}

/// What is wrong.
#[derive(Debug)]
pub struct Core {
    failing_after_s: u64,
    last_id: u64,
    raised: BTreeMap<Key, Alert>,
    /// Oldest first.
    cleared: VecDeque<Alert>,
    unwell: BTreeMap<Line, Unwell>,
}

impl Core {
    /// As it was; `Kept::default()`: nothing is wrong.
    pub(super) fn restore(failing_after_s: u64, kept: Kept) -> Self {
        let ids = kept.raised.iter().chain(&kept.cleared).map(|alert| alert.id);
        let unwell = kept.unwell.into_iter().map(|unwell| (line(&unwell.database, &unwell.remote), unwell));
        Self {
            failing_after_s,
            last_id: ids.max().unwrap_or(0).max(kept.last_id),
            raised: kept.raised.into_iter().map(|alert| (alert.key(), alert)).collect(),
            cleared: kept.cleared.into(),
            unwell: unwell.collect(),
        }
    }

    pub(super) fn kept(&self) -> Kept {
        Kept {
            last_id: self.last_id,
            raised: self.raised.values().cloned().collect(),
            cleared: self.cleared.iter().cloned().collect(),
            unwell: self.unwell.values().cloned().collect(),
        }
    }

    /// Another limit from now on.
    pub fn set_failing_after(&mut self, seconds: u64) {
        self.failing_after_s = seconds;
    }

    /// A remote was tried.
    ///
    /// Whatever is well ends all of its alerts. A failure ends only what it proves wrong: a remote that can't be reached
    /// says nothing about credentials, and one that was only read says nothing about those that a push needs.
    pub fn remote_outcome(&mut self, outcome: Outcome, said: Said<'_>, now: u64) -> Vec<Action> {
        let Said { database, remote, text, advice } = said;
        let mut actions = Vec::new();
        if outcome.is_well() {
            self.unwell.remove(&line(database, remote));
            for kind in [Kind::Auth, Kind::Behind, Kind::Rewritten, Kind::Failing] {
                actions.extend(self.clear(kind, database, remote, now));
            }
            return actions;
        }
        let (raised, proven_wrong): (Option<Kind>, &[Kind]) = match outcome {
            Outcome::Auth => (Some(Kind::Auth), &[]),
            // Its history holds ours: it was not rewritten.
            Outcome::Behind => (Some(Kind::Behind), &[Kind::Rewritten]),
            Outcome::Rewritten => (Some(Kind::Rewritten), &[Kind::Behind]),
            // Who is refused by a rule of the remote has been let in.
            Outcome::Rejected => (None, &[Kind::Auth]),
            // It holds nothing at all, or nothing that has to do with ours.
            Outcome::NoBranch | Outcome::OtherData => (None, &[Kind::Behind]),
            Outcome::Unreachable | Outcome::Timeout | Outcome::Busy | Outcome::DoltError => (None, &[]),
            Outcome::UpToDate | Outcome::Pushed => (None, &[]),
        };
        for kind in proven_wrong {
            actions.extend(self.clear(*kind, database, remote, now));
        }
        if let Some(kind) = raised {
            actions.extend(self.raise(kind, said, now));
        }
        let unwell = self.unwell.entry(line(database, remote)).or_insert_with(|| Unwell {
            database: database.to_owned(),
            remote: remote.to_owned(),
            since: now,
            text: String::new(),
            advice: String::new(),
        });
        // A clock that was set back.
        unwell.since = unwell.since.min(now);
        unwell.text = format!("{outcome}: {text}");
        advice.clone_into(&mut unwell.advice);
        actions.extend(self.tick(now));
        actions
    }

    /// Something of any kind is wrong. If it was before, what is said of it is kept, and nothing has to be told.
    pub fn raise(&mut self, kind: Kind, said: Said<'_>, now: u64) -> Option<Action> {
        let key = Key::new(kind, said.database, said.remote);
        if let Some(alert) = self.raised.get_mut(&key) {
            said.text.clone_into(&mut alert.text);
            said.advice.clone_into(&mut alert.advice);
            return None;
        }
        self.last_id += 1;
        let alert = Alert {
            id: self.last_id,
            kind,
            database: said.database.to_owned(),
            remote: said.remote.to_owned(),
            since: now,
            cleared: None,
            text: said.text.to_owned(),
            advice: said.advice.to_owned(),
            raised_told: None,
            cleared_told: None,
        };
        self.raised.insert(key, alert.clone());
        Some(Action::Raised(alert))
    }

    /// It is well again, if it was not.
    pub fn clear(&mut self, kind: Kind, database: &str, remote: &str, now: u64) -> Option<Action> {
        self.end(&Key::new(kind, database, remote), now)
    }

    /// The database has no remote any more, or other ones: whatever was wrong with them is over.
    pub fn forget(&mut self, database: &str, now: u64) -> Vec<Action> {
        let database = database.to_lowercase();
        self.unwell.retain(|(name, _), _| *name != database);
        let is_it = |key: &&Key| key.line.0 == database && key.kind != Kind::Backup;
        let keys: Vec<Key> = self.raised.keys().filter(is_it).cloned().collect();
        keys.iter().filter_map(|key| self.end(key, now)).collect()
    }

    /// Whatever was wrong with a remote that is not `there` any more is over. `there` gets the database in lower case.
    pub fn keep(&mut self, there: impl Fn(&str, &str) -> bool, now: u64) -> Vec<Action> {
        self.unwell.retain(|(database, remote), _| there(database, remote));
        let is_gone =
            |key: &&Key| key.kind != Kind::Backup && !there(key.line.0.as_str(), key.line.1.as_str());
        let keys: Vec<Key> = self.raised.keys().filter(is_gone).cloned().collect();
        keys.iter().filter_map(|key| self.end(key, now)).collect()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) -> Vec<Action> {
        self.cleared.retain(|alert| {
            now.saturating_sub(alert.cleared.unwrap_or(now)) < CLEARED_KEPT_S || alert.cleared_told.is_none()
        });
        let after = self.failing_after_s;
        let due: Vec<Unwell> = self
            .unwell
            .values()
            .filter(|unwell| now >= unwell.since.saturating_add(after))
            .cloned()
            .collect();
        let mut actions = Vec::new();
        for Unwell { database, remote, since, text, advice } in due {
            let said = Said { database: &database, remote: &remote, text: &text, advice: &advice };
            // Its age is that of the first failure.
            if let Some(Action::Raised(mut alert)) = self.raise(Kind::Failing, said, now) {
                alert.since = since;
                self.raised.insert(alert.key(), alert.clone());
                actions.push(Action::Raised(alert));
            }
        }
        actions
    }

    /// When `tick` has something to do, if nothing else happens.
    pub fn next(&self) -> Option<u64> {
        let is_failing = |unwell: &Unwell| {
            self.raised.contains_key(&Key::new(Kind::Failing, &unwell.database, &unwell.remote))
        };
        let waiting = self.unwell.values().filter(|unwell| !is_failing(unwell));
        waiting.map(|unwell| unwell.since.saturating_add(self.failing_after_s)).min()
    }

    /// How telling of an alert went.
    pub fn told(&mut self, id: u64, event: Event, how: String) {
        let Some(alert) = self.raised.values_mut().chain(&mut self.cleared).find(|alert| alert.id == id)
        else {
            return;
        };
        match event {
            Event::Raised => alert.raised_told = Some(how),
            Event::Cleared => alert.cleared_told = Some(how),
        }
    }

    /// What nobody has been told yet, in the order in which it happened.
    pub fn untold(&self) -> Vec<(Alert, Event)> {
        let of = |alert: &Alert| {
            let raised = alert.raised_told.is_none().then(|| (alert.clone(), Event::Raised));
            let is_untold = alert.cleared.is_some() && alert.cleared_told.is_none();
            [raised, is_untold.then(|| (alert.clone(), Event::Cleared))]
        };
        let mut untold: Vec<(Alert, Event)> =
            self.cleared.iter().chain(self.raised.values()).flat_map(of).flatten().collect();
        untold.sort_by_key(|(alert, event)| (alert.id, *event));
        untold
    }

    /// What is wrong now, oldest first.
    pub fn raised(&self) -> Vec<Alert> {
        let mut raised: Vec<Alert> = self.raised.values().cloned().collect();
        raised.sort_by_key(|alert| (alert.since, alert.id));
        raised
    }

    /// What was over within the last 24 hours, latest first.
    pub fn cleared(&self) -> Vec<Alert> {
        self.cleared.iter().rev().cloned().collect()
    }

    fn end(&mut self, key: &Key, now: u64) -> Option<Action> {
        let mut alert = self.raised.remove(key)?;
        alert.cleared = Some(now);
        self.cleared.push_back(alert.clone());
        while self.cleared.len() > CLEARED_MAX {
            self.cleared.pop_front();
        }
        Some(Action::Cleared(alert))
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
