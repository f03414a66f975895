//! Owns the place of a database that is made beside the server: who has its name, where it is made, and that it gets the
//! name when it is whole and on disk. Does not make it.
//! Always: what is made is gone when it does not get its name; who has the name is looked at again when nothing can
//! come in between any more.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::{CloneError, recover, replace, swap};
use crate::branch::{database_name, sql_identifier, sql_literal};
use crate::dolt::ControlError;
use crate::observe::time::unix_seconds;
use crate::remote::backup::offline::Made;
use crate::remote::backup::place::sync;
use crate::session::Context;

/// In the data directory: what is being made. Dolt does not look into it, nor is it purged with the dropped databases.
pub(super) const SCRATCH: &str = ".branchline_clones";
/// In a directory of its own there.
const CHILD: &str = "database";

/// What the new database has to have when it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `main`
    pub branch: String,
    /// Its commit.
    pub hash: String,
}

/// What has the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Old {
    None,
    Database(String),
    /// A database that answers nothing.
    Broken(String),
    /// Something that Dolt takes for no database.
    Directory,
}

/// Looks who has the name.
pub(super) async fn old(
    context: &Context,
    database: &str,
    dir: &Path,
    replace: bool,
) -> Result<Old, CloneError> {
    let lost = |error: ControlError| CloneError::Place(error.to_string());
    let listing = context.branches.listing().await.map_err(lost)?;
    match listing.database(database) {
        Some(name) if replace => {
            let sql = format!("SELECT 1 FROM {}.dolt_branches LIMIT 1", sql_identifier(name));
            match context.dolt.control().rows(&sql, Vec::new()).await {
                Ok(rows) if !rows.is_empty() => Ok(Old::Database(name.to_owned())),
                Ok(_) | Err(ControlError::Server { .. }) => Ok(Old::Broken(name.to_owned())),
                Err(error) => Err(lost(error)),
            }
        }
        Some(name) => Err(CloneError::Exists(name.to_owned())),
        None if std::fs::symlink_metadata(dir).is_err() => Ok(Old::None),
        None if replace => Ok(Old::Directory),
        None => Err(CloneError::InTheWay(dir.to_path_buf())),
    }
}

/// Where it is made: nobody else gets in. Gone when dropped, unless something counts on it.
#[derive(Debug)]
pub(super) struct Fresh {
    data_dir: PathBuf,
    name: String,
    pub is_kept: bool,
}

impl Fresh {
    fn new(data_dir: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{count}", unix_seconds(SystemTime::now()), std::process::id());
        Self { data_dir: data_dir.to_path_buf(), name, is_kept: false }
    }

    fn dir(&self) -> PathBuf {
        self.data_dir.join(SCRATCH).join(&self.name)
    }

    /// Below the data directory.
    pub fn below(&self) -> String {
        format!("{SCRATCH}/{}/{CHILD}", self.name)
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join(self.below())
    }

    fn make(&self) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.dir())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_dir_all(self.dir());
            // If it is the last one.
            let _ = std::fs::remove_dir(self.data_dir.join(SCRATCH));
        }
    }
}

/// Room for a database that is made beside the server, under a name that is free or makes room.
#[derive(Debug)]
pub struct Room {
    name: String,
    replace: bool,
    fresh: Fresh,
    data_dir: PathBuf,
}

/// One that is about to take its name.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub context: &'a Arc<Context>,
    pub data_dir: &'a Path,
    pub name: &'a str,
    pub fresh: &'a mut Fresh,
    pub head: &'a Head,
    pub by: &'a str,
}

impl Room {
    /// `Err`: there can't be a database of that name, or there is one.
    pub async fn find(context: &Context, database: &str, replace: bool) -> Result<Self, CloneError> {
        database_name::check(database).map_err(CloneError::Name)?;
        let dir = context.remotes.database_dir(database);
        let dir = dir.ok_or_else(|| CloneError::NotOurs(database.to_owned()))?;
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let data_dir = dir.parent().unwrap_or(Path::new(".")).to_path_buf();
        let name = match old(context, database, &dir, replace).await? {
            Old::Database(name) | Old::Broken(name) => name,
            Old::None | Old::Directory => database.to_owned(),
        };
        Ok(Self { name, replace, fresh: Fresh::new(&data_dir), data_dir })
    }

    /// What it will be called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory that is not there yet, in one that nobody else gets into: here it can be made.
    pub fn make(&self) -> io::Result<PathBuf> {
        self.fresh.make()?;
        Ok(self.fresh.database())
    }

    /// It is whole, where `make` said, or where it was made: it gets its name, and has to have this head then. Where the old
    /// one is now. Goes on to its end, also when the caller is cancelled.
    pub async fn place(
        self,
        context: &Arc<Context>,
        made: Option<Made>,
        head: Head,
        by: &str,
    ) -> Result<Option<String>, CloneError> {
        let (context, by) = (Arc::clone(context), by.to_owned());
        let tracker = context.remotes.placing.clone();
        let job = tracker.spawn(async move { self.place_now(&context, made, &head, &by).await });
        job.await.unwrap_or_else(|error| Err(CloneError::Place(format!("a fault of Branchline's: {error}"))))
    }

    async fn place_now(
        self,
        context: &Arc<Context>,
        made: Option<Made>,
        head: &Head,
        by: &str,
    ) -> Result<Option<String>, CloneError> {
        let Self { name, replace, mut fresh, data_dir } = self;
        fresh = on_disk(fresh, made).await.map_err(CloneError::Place)?;
        let _turn = context.remotes.placing_turn.lock().await;
        recover::put_right(context, &data_dir).await.map_err(CloneError::Place)?;
        let mut work = Work { context, data_dir: &data_dir, name: &name, fresh: &mut fresh, head, by };
        match old(context, &name, &data_dir.join(&name), replace).await? {
            Old::None => swap::place(&mut work).await.map(|()| None),
            old => replace::place(&mut work, old).await.map(Some),
        }
    }
}

impl Work<'_> {
    /// Whether the database that has the name is the new one.
    pub async fn has_head(&self) -> Result<bool, String> {
        let sql = format!(
            "SELECT hash FROM {}.dolt_branches WHERE name = {}",
            sql_identifier(self.name),
            sql_literal(&self.head.branch)
        );
        match self.context.dolt.control().rows(&sql, Vec::new()).await {
            Ok(rows) => {
                let hash =
                    rows.into_iter().next().and_then(|row| mysql_async::from_row_opt::<String>(row).ok());
                Ok(hash.as_ref() == Some(&self.head.hash))
            }
            // It is not there.
            Err(ControlError::Server { code: 1049, .. }) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Moved where it is taken from, and on disk. What it was made in is gone only then.
async fn on_disk(fresh: Fresh, made: Option<Made>) -> Result<Fresh, String> {
    let moved = tokio::task::spawn_blocking(move || {
        let to = fresh.database();
        if let Some(made) = made {
            fresh.make()?;
            move_dir(&made.dir(), &to)?;
        }
        sync(&to)?;
        // And that it is there: what is written down counts on it.
        let above = to.ancestors().skip(1).take_while(|dir| dir.starts_with(&fresh.data_dir));
        for dir in above {
            std::fs::File::open(dir)?.sync_all()?;
        }
        Ok(fresh)
    });
    let moved = moved.await.map_err(|error| format!("a fault of Branchline's: {error}"))?;
    moved.map_err(|error: io::Error| format!("cannot be written to the data directory: {error}"))
}

/// Also to another file system.
fn move_dir(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_dir(from, to),
        moved => moved,
    }
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let (from, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let to = to.join(name);
        if from.is_dir() { copy_dir(&from, &to)? } else { std::fs::copy(&from, &to).map(drop)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_gets_into_where_it_is_made_and_it_is_gone_unless_kept() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let (one, mut kept) = (Fresh::new(dir.path()), Fresh::new(dir.path()));
        for fresh in [&one, &kept] {
            fresh.make().expect("made");
            std::fs::create_dir(fresh.database()).expect("made");
            for path in [fresh.dir(), dir.path().join(SCRATCH)] {
                let mode = std::fs::metadata(path).expect("there").permissions().mode();
                assert_eq!(mode & 0o777, 0o700);
            }
        }
        assert_ne!(one.database(), kept.database());
        kept.is_kept = true;
        let path = kept.database();
        drop((one, kept));
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(dir.path().join(SCRATCH)).expect("there").count(), 1);
    }

    #[test]
    fn a_copy_to_another_file_system_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("a/b/c")).expect("made");
        std::fs::write(dir.path().join("a/b/file"), "text").expect("written");
        copy_dir(&dir.path().join("a"), &dir.path().join("z")).expect("copied");
        assert!(dir.path().join("z/b/c").is_dir());
        assert_eq!(std::fs::read_to_string(dir.path().join("z/b/file")).expect("read"), "text");
    }
}
