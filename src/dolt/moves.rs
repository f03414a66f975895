//! Owns renames in the data directory that may only be done while no Dolt runs: what was written down is completed before
//! a Dolt is started. Does not know why. Always: cut off anywhere, it is completed by the next start, of this Branchline
//! or another; what can't be done is begun only if all of it looks possible, and undone where it turns out not to be.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::errors;
use crate::state_file::replace;

/// In the state directory; there from before the first rename until Dolt answers.
pub const FILE: &str = "dolt-moves.json";
const VERSION: u32 = 1;
/// In the data directory: what made room and is no database that Dolt can open. Dolt neither looks into it nor empties it.
pub const REPLACED: &str = ".branchline_replaced";

/// One rename, below the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// From there; plain names, separated by `/`.
    pub from: String,
    /// To there, where nothing is yet.
    pub to: String,
}

impl Move {
    /// Not done, and not written down.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

/// What is to be renamed, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    version: u32,
    /// Those that are not known to be done.
    moves: Vec<Move>,
    /// The database at `from` may be one that Dolt can't open: if it does not start for that, it goes to `to`.
    #[serde(default)]
    doubtful: Option<Move>,
}

/// Why they were not done.
#[derive(Debug, thiserror::Error)]
pub enum MovesError {
    /// The file is not what was written.
    #[error("{} can't be read: {problem}; it says which directories are to be renamed before Dolt is started: look \
             whether all are where they belong, remove it, and start", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Somebody else has moved something.
    #[error("{} wants {} renamed to {}, but {problem}; put the directories where they belong, remove the file, and start",
            .file.display(), .from.display(), .to.display())]
    Stuck {
        /// Of which file.
        file: PathBuf,
        /// What.
        from: PathBuf,
        /// To where.
        to: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// It can't be renamed.
    #[error("{} wants {} renamed to {}, and that fails: {error}; mend that, and it goes on",
            .file.display(), .from.display(), .to.display())]
    Failed {
        /// Of which file.
        file: PathBuf,
        /// What.
        from: PathBuf,
        /// To where.
        to: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// How far it is can't be written down.
    #[error("cannot write {}: {error}", .file.display())]
    Unwritten {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Why they were not done, and how it is now.
#[derive(Debug)]
pub struct NotMoved {
    /// Why.
    pub why: String,
    /// Nothing is written down and nothing has another name; else the next start goes on with it.
    pub as_before: bool,
}

impl MovesError {
    /// Where the file is gone again.
    fn in_short(&self) -> String {
        match self {
            Self::Stuck { from, to, problem, .. } => {
                format!("{} can't be renamed to {}: {problem}", from.display(), to.display())
            }
            Self::Failed { from, to, error, .. } => {
                format!("{} can't be renamed to {}: {error}", from.display(), to.display())
            }
            other => other.to_string(),
        }
    }
}

impl Moves {
    /// Nothing is done, nothing is written down.
    pub fn new(moves: Vec<Move>, doubtful: Option<Move>) -> Self {
        Self { version: VERSION, moves, doubtful }
    }

    fn read(state_dir: &Path) -> Result<Option<Self>, MovesError> {
        let file = state_dir.join(FILE);
        let unreadable = |problem: String| MovesError::Unreadable { file: file.clone(), problem };
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let moves: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let names = moves
            .moves
            .iter()
            .chain(&moves.doubtful)
            .flat_map(|one| [&one.from, &one.to])
            .all(|name| is_plain(name));
        match (moves.version, names) {
            (VERSION, true) => Ok(Some(moves)),
            (VERSION, false) => {
                Err(unreadable("it names something outside of the data directory".to_owned()))
            }
            (version, _) => Err(unreadable(format!("it is of version {version}"))),
        }
    }

    fn write(&self, state_dir: &Path) -> Result<(), MovesError> {
        let file = state_dir.join(FILE);
        let written = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        let written = written.and_then(|bytes| replace(&file, &bytes));
        written.map_err(|error| MovesError::Unwritten { file, error })
    }

    /// The last one that was done is known by what is there: only the first of the list may be.
    fn check(&self, state_dir: &Path, data_dir: &Path) -> Result<(), MovesError> {
        let mut known = BTreeMap::<&str, bool>::new();
        for (number, one) in self.moves.iter().enumerate() {
            let failed = |error| failed(state_dir, data_dir, one, error);
            let is_there =
                |name: &str| known.get(name).map_or_else(|| exists(&data_dir.join(name)), |known| Ok(*known));
            let problem = match (is_there(&one.from).map_err(failed)?, is_there(&one.to).map_err(failed)?) {
                (true, false) => None,
                (false, true) if number == 0 => None,
                (true, true) => Some("both are there"),
                (false, true) => Some("only the latter is there, and that too soon"),
                (false, false) => Some("neither is there"),
            };
            if let Some(problem) = problem {
                let [from, to] = [&one.from, &one.to].map(|name| data_dir.join(name));
                return Err(MovesError::Stuck { file: state_dir.join(FILE), from, to, problem });
            }
            known.extend([(one.from.as_str(), false), (one.to.as_str(), true)]);
        }
        Ok(())
    }

    /// Does them, and notes each; `done` gets those.
    fn go(&mut self, state_dir: &Path, data_dir: &Path, done: &mut Vec<Move>) -> Result<(), MovesError> {
        self.check(state_dir, data_dir)?;
        while let Some(next) = self.moves.first() {
            let renamed = rename(data_dir, &next.from, &next.to);
            renamed.map_err(|error| failed(state_dir, data_dir, next, error))?;
            tracing::info!(
                from = next.from,
                to = next.to,
                "renamed in the data directory while no Dolt runs"
            );
            done.push(self.moves.remove(0));
            if !self.moves.is_empty() || self.doubtful.is_some() {
                self.write(state_dir)?;
            }
        }
        match self.doubtful {
            Some(_) => Ok(()),
            None => forget(state_dir),
        }
    }
}

fn failed(state_dir: &Path, data_dir: &Path, one: &Move, error: io::Error) -> MovesError {
    let [from, to] = [&one.from, &one.to].map(|name| data_dir.join(name));
    MovesError::Failed { file: state_dir.join(FILE), from, to, error }
}

/// Before Dolt is started: does what was written down and is not done yet. Blocks for files.
pub(super) fn complete(state_dir: &Path, data_dir: &Path) -> Result<(), MovesError> {
    match Moves::read(state_dir)? {
        Some(mut moves) => moves.go(state_dir, data_dir, &mut Vec::new()),
        None => Ok(()),
    }
}

/// While no Dolt runs: writes them down and does them. Blocks for files.
pub(super) fn run(state_dir: &Path, data_dir: &Path, mut moves: Moves) -> Result<(), NotMoved> {
    // One that is not over would be forgotten.
    complete(state_dir, data_dir).map_err(|error| NotMoved { why: error.to_string(), as_before: true })?;
    let mut done = Vec::new();
    let ran = moves.write(state_dir).and_then(|()| moves.go(state_dir, data_dir, &mut done));
    let Err(error) = ran else { return Ok(()) };
    // Written down as well: cut off, the next start goes on with this list or, if it is not written, with the other one.
    let mut back = Moves::new(done.iter().rev().map(|one| Move::new(&one.to, &one.from)).collect(), None);
    let undone = back.write(state_dir).and_then(|()| back.go(state_dir, data_dir, &mut Vec::new()));
    let as_before = undone.is_ok();
    Err(NotMoved { why: if as_before { error.in_short() } else { error.to_string() }, as_before })
}

/// After a Dolt that ended with these words: whether it ended for the database that was in doubt, which is out of its way
/// at the next start. Blocks for files.
pub(super) fn give_up_doubtful(state_dir: &Path, last_words: &[String]) -> bool {
    let Ok(Some(moves)) = Moves::read(state_dir) else { return false };
    let is_it = |one: &Move| match last_words.iter().find_map(|line| errors::unloadable_database(line)) {
        Some(name) => name == one.from,
        // Which one it is is not told; all others could be opened a moment ago.
        None => last_words.iter().any(|line| errors::is_corrupt_journal(line)),
    };
    let Some(doubtful) = moves.doubtful.filter(|one| moves.moves.is_empty() && is_it(one)) else {
        return false;
    };
    tracing::warn!(
        database = doubtful.from,
        "Dolt can't open what was replaced: it is put out of Dolt's sight"
    );
    match Moves::new(vec![doubtful], None).write(state_dir) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!("{error}");
            false
        }
    }
}

/// Whether anything is written down.
pub fn is_pending(state_dir: &Path) -> bool {
    state_dir.join(FILE).exists()
}

/// Dolt answers: nothing is in doubt any more. Blocks for files.
pub(super) fn settle(state_dir: &Path) {
    if let Ok(Some(Moves { moves, .. })) = Moves::read(state_dir)
        && moves.is_empty()
        && let Err(error) = forget(state_dir)
    {
        tracing::warn!("{error}");
    }
}

fn forget(state_dir: &Path) -> Result<(), MovesError> {
    let file = state_dir.join(FILE);
    let removed = match std::fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(state_dir).and_then(|dir| dir.sync_all()),
    };
    removed.map_err(|error| MovesError::Unwritten { file, error })
}

/// One that was done is well.
fn rename(data_dir: &Path, from: &str, to: &str) -> io::Result<()> {
    let [from, to] = [from, to].map(|name| data_dir.join(name));
    let parents = [&from, &to].map(|path| path.parent().unwrap_or(data_dir));
    if exists(&to)? && !exists(&from)? {
        return Ok(());
    }
    match DirBuilder::new().mode(0o700).create(parents[1]) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
        Ok(()) => File::open(parents[1].parent().unwrap_or(data_dir))?.sync_all()?,
    }
    std::fs::rename(&from, &to)?;
    parents.into_iter().try_for_each(|parent| File::open(parent)?.sync_all())
}

/// Links are what they are.
fn exists(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
