//! Owns what everything about remotes shares: settings in force, turns, the schedule's entrance, what is remembered.
//! Does not do anything by itself: `worker` does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use super::assigned::AddedRemotes;
use super::core::{Core, Times};
use super::ledger::state::Notes;
use super::outcome::Record;
use super::records::Records;
use super::settings::Files;
use super::target::{Target, Untargeted};
use super::turns::Turns;
use crate::admit::LaneKey;
use crate::config::{Config, RemotesConfig};

/// What everything about remotes shares.
#[derive(Debug)]
pub struct Remotes {
    /// Who may talk to which repository now.
    pub turns: Arc<Turns>,
    /// Databases that are about to take their names.
    pub placing: TaskTracker,
    /// One at a time: what is written down of it is one file.
    pub(super) placing_turn: tokio::sync::Mutex<()>,
    /// What was added at run time, or why that can't be read.
    pub added: Result<AddedRemotes, String>,
    /// What became of pushes.
    pub records: Records,
    /// What is remembered of public ledgers.
    pub ledgers: Notes,
    pub(super) files: Files,
    pub(super) schedule: Mutex<Schedule>,
    /// Something that the worker should look at.
    pub(super) wake: Notify,
    state_dir: PathBuf,
    data_dir: Option<PathBuf>,
    settings: RwLock<Arc<RemotesConfig>>,
    /// Held while the files are read, so that what was read last is what is in force.
    reading: Mutex<()>,
    /// The same for the schedule.
    pub(super) taking_up: tokio::sync::Mutex<()>,
    /// What is wrong with the files.
    problems: Mutex<Vec<String>>,
}

/// The core, and what it does not know.
#[derive(Debug)]
pub(super) struct Schedule {
    pub core: Core,
    /// By database in lower case.
    pub targets: BTreeMap<String, Target>,
    pub untargeted: Vec<Untargeted>,
    /// Who asked for a push that has not begun.
    pub waiting: BTreeMap<String, Vec<oneshot::Sender<Record>>>,
    /// Databases whose main moved since the worker looked.
    pub moved: BTreeSet<String>,
}

impl Remotes {
    /// `data_dir` if Dolt is ours.
    pub fn new(config: &Config, data_dir: Option<&Path>) -> Self {
        let added = AddedRemotes::load(&config.state_dir).map_err(|error| error.to_string());
        let config_file = config.config_file.clone();
        let files = Files {
            config: config_file.unwrap_or_else(|| config.state_dir.join(crate::config::resolve::CONFIG_FILE)),
            town: crate::town::root(&config.data_dir, &config.state_dir),
        };
        let schedule = Schedule {
            core: Core::new(times(&config.remotes)),
            targets: BTreeMap::new(),
            untargeted: Vec::new(),
            waiting: BTreeMap::new(),
            moved: BTreeSet::new(),
        };
        let remotes = Self {
            turns: Arc::default(),
            placing: TaskTracker::new(),
            placing_turn: tokio::sync::Mutex::default(),
            added,
            records: Records::load(&config.state_dir),
            ledgers: Notes::load(&config.state_dir),
            files,
            schedule: Mutex::new(schedule),
            wake: Notify::new(),
            state_dir: config.state_dir.clone(),
            data_dir: data_dir.map(Path::to_path_buf),
            settings: RwLock::new(Arc::new(config.remotes.clone())),
            reading: Mutex::default(),
            taking_up: tokio::sync::Mutex::default(),
            problems: Mutex::default(),
        };
        // Only the start's settings were given, without what was added or the town wants.
        super::ledger::sweep(&config.state_dir);
        let told = remotes.added.as_ref().err().cloned();
        let added = remotes.added.as_ref().map(AddedRemotes::all).unwrap_or_default();
        let (settings, mut problems) = remotes.files.read(&added, &config.remotes);
        problems.extend(told);
        // Settings that came from elsewhere than a file, as in tests, stay.
        let settings = if remotes.files.config.exists() || settings != RemotesConfig::default() {
            settings
        } else {
            config.remotes.clone()
        };
        remotes.set_settings(settings, problems);
        remotes
    }

    /// What is in force now.
    pub fn settings(&self) -> Arc<RemotesConfig> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong with the files that say which remotes there are.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings from now on, until the files change; whether anything changed.
    pub fn set_settings(&self, settings: RemotesConfig, problems: Vec<String>) -> bool {
        let mut told = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        for problem in problems.iter().filter(|problem| !told.contains(problem)) {
            tracing::warn!("remotes: {problem}");
        }
        *told = problems;
        drop(told);
        let times = times(&settings);
        let mut now = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let is_changed = **now != settings;
        if is_changed {
            *now = Arc::new(settings);
        }
        // Whoever has the schedule may ask for the settings.
        drop(now);
        if is_changed {
            self.schedule().core.set_times(times);
        }
        is_changed
    }

    /// Reads the files again; whether anything changed. Blocks for the files.
    pub(super) fn read_settings(&self) -> bool {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let added = self.added.as_ref().map(AddedRemotes::all).unwrap_or_default();
        let (settings, mut problems) = self.files.read(&added, &self.settings());
        problems.extend(self.added.as_ref().err().cloned());
        self.set_settings(settings, problems)
    }

    /// A branch moved: main of a database is pushed some time after.
    pub fn moved(&self, key: &LaneKey) {
        if key.branch().eq_ignore_ascii_case("main") {
            self.schedule().moved.insert(key.database().to_lowercase());
            self.wake.notify_one();
        }
    }

    /// Where Dolt keeps a database of this name, if Dolt is ours. It may not be there.
    pub fn database_dir(&self, database: &str) -> Option<PathBuf> {
        let is_name = !database.is_empty() && !database.starts_with('.') && !database.contains(['/', '\0']);
        self.data_dir.as_ref().filter(|_| is_name).map(|dir| dir.join(database))
    }

    /// Where our own files are.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The town that we are in.
    pub fn town(&self) -> Option<&Path> {
        self.files.town.as_deref()
    }

    /// Where a database is pushed, as of the worker's last look.
    pub fn target(&self, database: &str) -> Option<Target> {
        self.schedule().targets.get(&database.to_lowercase()).cloned()
    }

    /// Why a database that is configured to be pushed can't be, as of the worker's last look.
    pub fn refusal(&self, database: &str) -> Option<String> {
        let schedule = self.schedule();
        let mut refused = schedule.untargeted.iter();
        let refused = refused.find(|refused| refused.database.eq_ignore_ascii_case(database))?;
        Some(format!("{database} can't be pushed: {} ({})", refused.why, refused.origin))
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn times(config: &RemotesConfig) -> Times {
    Times {
        quiet: config.quiet,
        quiet_max: config.quiet_max,
        heartbeat: config.heartbeat,
        backoff_min: config.backoff_min,
        backoff_max: config.backoff_max,
        running_max: config.running_max,
    }
}
