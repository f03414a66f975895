//! Owns what everything about remotes shares. Does not do anything by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::turns::Turns;

/// What everything about remotes shares.
#[derive(Debug)]
pub struct Remotes {
    /// Who may talk to which repository now.
    pub turns: Arc<Turns>,
    data_dir: Option<PathBuf>,
}

impl Remotes {
    /// `data_dir` if Dolt is ours.
    pub fn new(data_dir: Option<&Path>) -> Self {
        Self { turns: Arc::default(), data_dir: data_dir.map(Path::to_path_buf) }
    }

    /// Where Dolt keeps a database of this name, if Dolt is ours. It may not be there.
    pub fn database_dir(&self, database: &str) -> Option<PathBuf> {
        let is_name = !database.is_empty() && !database.starts_with('.') && !database.contains(['/', '\0']);
        self.data_dir.as_ref().filter(|_| is_name).map(|dir| dir.join(database))
    }
}
