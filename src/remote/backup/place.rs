//! Owns where copies are: what a directory holds, the place in which one is made, its name when it is whole, and which
//! old ones go. Blocks: call it from a blocking thread.
//! Always: a directory that is no copy of ours is left alone; a copy has its name only when it is whole and on disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::observe::time::utc_seconds;

/// In each of our copies, beside Dolt's files.
const MARKER: &str = "branchline-backup.json";
/// In each of Dolt's.
const MANIFEST: &str = "manifest";
const VERSION: u32 = 1;
/// Part of the names of what is not whole.
const UNFINISHED: &str = ".branchline-";

/// And of what is being removed.
const GONE: &str = "gone";

/// What a copy of ours says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    version: u32,
    /// Of which database.
    pub database: String,
    /// When it was made.
    pub at: u64,
    /// Heads by branch.
    pub branches: BTreeMap<String, String>,
}

impl Marker {
    /// Of a copy that was checked.
    pub fn new(database: &str, at: u64, branches: BTreeMap<String, String>) -> Self {
        Self { version: VERSION, database: database.to_owned(), at, branches }
    }
}

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is not there.
    Nothing,
    /// Nothing is in it.
    Empty,
    /// A copy of ours.
    Ours(Marker),
    /// A backup of Dolt's that we did not make.
    Dolts,
    /// Something else, as `is a file`.
    Other(String),
}

/// Looks at a directory.
pub fn look(dir: &Path) -> io::Result<Found> {
    match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(found) if !found.is_dir() => return Ok(Found::Other("is not a directory".to_owned())),
        Ok(_) => {}
    }
    let Some(first) = fs::read_dir(dir)?.next() else { return Ok(Found::Empty) };
    let first = first?.file_name();
    if !dir.join(MANIFEST).is_file() {
        return Ok(Found::Other(format!("holds {first:?} and is no Dolt backup")));
    }
    match fs::read(dir.join(MARKER)) {
        Ok(bytes) => Ok(match serde_json::from_slice::<Marker>(&bytes) {
            Ok(marker) if marker.version == VERSION => Found::Ours(marker),
            _ => Found::Other(format!("has a {MARKER} that this Branchline does not understand")),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Dolts),
        Err(error) => Err(error),
    }
}

/// Copies of ours below a directory, by name, oldest first.
pub fn copies(dir: &Path) -> io::Result<Vec<(PathBuf, Marker)>> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Ok(Found::Ours(marker)) = look(&path) {
            copies.push((path, marker));
        }
    }
    copies.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(copies)
}

/// `20261123T150405Z`
pub fn name_of(at: u64) -> String {
    utc_seconds(at).replace(['-', ':'], "")
}

fn is_name(name: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    name.len() == 16
        && digits(&name[..8])
        && &name[8..9] == "T"
        && digits(&name[9..15])
        && name.ends_with('Z')
}

/// A name for something beside `path` that is not whole.
fn beside(path: &Path, what: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(UNFINISHED);
    name.push(format!("{what}-{}-{count}-", std::process::id()));
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Whether a path is one that [`Unfinished`] makes.
fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

/// Directories of something that is not whole; gone when dropped.
#[derive(Debug)]
pub struct Unfinished(Vec<PathBuf>);

impl Unfinished {
    /// Where a copy is made that will be called `path`. Nothing is made yet.
    pub fn copy(path: &Path) -> Self {
        Self(vec![beside(path, "new")])
    }

    /// All of them.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Makes them, for our own account only.
    pub fn make(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|path| DirBuilder::new().mode(0o700).create(path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = remove(path);
        }
    }
}

/// Removes what a crash left; only what has such a name.
pub fn remove(path: &Path) -> io::Result<()> {
    if !is_unfinished(path) {
        return Ok(());
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The copy in `new` is whole: it gets its marker and its name, in the place of an older one or of nothing. On an error
/// the older one is there as it was.
pub fn finish(new: &Path, path: &Path, marker: &Marker) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(marker).map_err(io::Error::from)?;
    fs::write(new.join(MARKER), bytes)?;
    sync(new)?;
    match look(path)? {
        Found::Ours(_) => renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE)?,
        // Also on an empty one; on anything else the kernel refuses.
        _ => fs::rename(new, path)?,
    }
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// All that is below is on disk.
pub fn sync(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { sync(&path)? } else { File::open(&path)?.sync_all()? }
    }
    File::open(dir)?.sync_all()
}

/// Removes the oldest copies of this database that the schedule made, until `keep` are left; never `newest`. How many
/// went.
pub fn prune(dir: &Path, database: &str, keep: usize, newest: &Path) -> io::Result<usize> {
    // Of one that was cut off: nobody knows of them any more.
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.strip_prefix(UNFINISHED).is_some_and(|rest| rest.starts_with(GONE)) {
            fs::remove_dir_all(&path)?;
        }
    }
    let mut copies = copies(dir)?;
    copies.retain(|(path, marker)| {
        let has_name = path.file_name().is_some_and(|name| is_name(&name.to_string_lossy()));
        has_name && marker.database.eq_ignore_ascii_case(database) && path != newest
    });
    let excess = copies.len().saturating_sub(keep.saturating_sub(1));
    for (path, _) in copies.iter().take(excess) {
        // Renamed first: what is half removed has no copy's name.
        let gone = beside(path, GONE);
        fs::rename(path, &gone)?;
        fs::remove_dir_all(&gone)?;
    }
    Ok(excess)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(database: &str, at: u64) -> Marker {
        Marker::new(database, at, BTreeMap::from([("main".to_owned(), "abc".to_owned())]))
    }

    fn copy(path: &Path, database: &str, at: u64) {
        let unfinished = Unfinished::copy(path);
        unfinished.make().unwrap();
        fs::write(unfinished.paths()[0].join(MANIFEST), format!("{database} {at}")).unwrap();
        finish(&unfinished.paths()[0], path, &marker(database, at)).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_directory_holds() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(look(&at("none")).unwrap(), Found::Nothing);
        fs::create_dir(at("empty")).unwrap();
        assert_eq!(look(&at("empty")).unwrap(), Found::Empty);
        fs::write(at("file"), "").unwrap();
        assert_eq!(look(&at("file")).unwrap(), Found::Other("is not a directory".to_owned()));
        assert!(look(&at("file/below")).is_err());
        assert!(matches!(look(dir.path()).unwrap(), Found::Other(_)));
        fs::write(at("empty").join(MANIFEST), "").unwrap();
        assert_eq!(look(&at("empty")).unwrap(), Found::Dolts);
        fs::write(at("empty").join(MARKER), "{}").unwrap();
        assert!(matches!(look(&at("empty")).unwrap(), Found::Other(_)));
    }

    #[test]
    fn a_copy_takes_an_older_ones_place_whole_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's % ? a copy");
        copy(&path, "a", 1);
        copy(&path, "a", 2);
        assert_eq!(look(&path).unwrap(), Found::Ours(marker("a", 2)));
        assert_eq!(names(dir.path()), ["it's % ? a copy"], "nothing is left beside it");
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        copy(&other, "a", 3);
        fs::create_dir(dir.path().join("mine")).unwrap();
        fs::write(dir.path().join("mine/notes"), "mine").unwrap();
        let unfinished = Unfinished::copy(&dir.path().join("mine"));
        unfinished.make().unwrap();
        assert!(finish(&unfinished.paths()[0], &dir.path().join("mine"), &marker("a", 4)).is_err());
        drop(unfinished);
        assert_eq!(fs::read_to_string(dir.path().join("mine/notes")).unwrap(), "mine");
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn old_copies_go_but_nothing_that_is_not_one() {
        let dir = tempfile::tempdir().unwrap();
        for at in 1..=5_u64 {
            copy(&dir.path().join(name_of(at * 86_400)), "a", at);
        }
        copy(&dir.path().join(name_of(86_401)), "b", 1);
        copy(&dir.path().join("by hand"), "a", 1);
        fs::create_dir(dir.path().join(name_of(86_402))).unwrap();
        // A clock that was set back gives the newest the oldest name.
        let newest = dir.path().join(name_of(1));
        copy(&newest, "A", 1);
        assert_eq!(prune(dir.path(), "a", 3, &newest).unwrap(), 3);
        let mut want =
            vec![name_of(1), name_of(4 * 86_400), name_of(5 * 86_400), name_of(86_401), name_of(86_402)];
        want.push("by hand".to_owned());
        want.sort();
        assert_eq!(names(dir.path()), want);
        // One that was cut off is gone the next time; what is being made stays.
        let (gone, new) = (beside(&newest, GONE), beside(&newest, "new"));
        for path in [&gone, &new] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("half"), "").unwrap();
        }
        assert_eq!(prune(dir.path(), "a", 1, &newest).unwrap(), 2);
        assert!(!gone.exists() && new.exists());
        assert_eq!(prune(dir.path(), "a", 1, &newest).unwrap(), 0);
        assert!(newest.exists());
    }

    #[test]
    fn names_are_times() {
        assert_eq!(name_of(951_782_400), "20000229T000000Z");
        assert!(is_name("20000229T000000Z"));
        for name in ["", "20000229T000000", "2000022xT000000Z", "20000229T0000000Z", "é000229T000000Z"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn only_what_is_not_whole_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = Unfinished::copy(&dir.path().join("x"));
        let paths = unfinished.paths().to_vec();
        unfinished.make().unwrap();
        assert!(paths.iter().all(|path| path.is_dir()));
        remove(dir.path()).unwrap();
        assert!(dir.path().exists());
        drop(unfinished);
        assert!(names(dir.path()).is_empty());
    }
}
