//! Owns the claim on a directory: it is usable, and no other Branchline or Dolt works in it.
//! Does not start anything. Always: while a `DirLock` lives, no other can be had for that directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StartError;
use super::process_facts;

/// Stays in the directory; means nothing unless it is locked.
const LOCK_FILE: &str = ".branchline.lock";

/// The directory is ours until this is dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

impl DirLock {
    /// Makes the directory if need be and claims it.
    pub(super) fn take(what: &'static str, dir: &Path, remedy: &str) -> Result<Self, StartError> {
        prepare(what, dir, remedy)?;
        let path = dir.join(LOCK_FILE);
        let unusable = |error| path_error(what, dir, &error, remedy);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Err(StartError::Locked { pid: text.trim().parse().ok(), path: dir.into() });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        write_pid(&mut file).map_err(unusable)?;
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    file.sync_all()
}

/// Makes sure that `path` is a directory that can be written to; a missing one is made, for us alone.
pub(super) fn prepare(what: &'static str, path: &Path, remedy: &str) -> Result<(), StartError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StartError::Path {
            what,
            path: path.into(),
            problem: "is not a directory".into(),
            remedy: format!("move it away or {remedy}"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| path_error(what, path, &error, remedy))?;
            tracing::info!(path = %path.display(), "made a new {what}");
            Ok(())
        }
        Err(error) => Err(path_error(what, path, &error, remedy)),
    }
}

/// An I/O error on one of our directories as something a person can act on.
pub(super) fn path_error(what: &'static str, path: &Path, error: &io::Error, remedy: &str) -> StartError {
    let (problem, remedy) = match error.kind() {
        io::ErrorKind::PermissionDenied => (
            "may not be written to by this user".to_string(),
            format!("change its owner or mode, or {remedy}"),
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            ("is on a read-only file system".to_string(), format!("remount it for writing, or {remedy}"))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ("has no space left".to_string(), format!("free some, or {remedy}"))
        }
        io::ErrorKind::NotADirectory => {
            ("is below something that is not a directory".to_string(), remedy.to_string())
        }
        _ => (format!("cannot be used: {error}"), remedy.to_string()),
    };
    StartError::Path { what, path: path.into(), problem, remedy }
}

/// A running Dolt server on this directory that its own `sql-server.info` names. Dolt itself only
/// notices another one by a database's lock file, so not in a directory without databases.
pub(super) fn foreign_dolt(data_dir: &Path) -> Option<u32> {
    let info = ServerInfo::read(data_dir)?;
    let is_dolt = process_facts::arguments(info.pid)?.iter().any(|argument| argument == "sql-server");
    is_dolt.then_some(info.pid)
}

/// What a running Dolt writes about itself: `PID:PORT:SECRET`, mode 0600.
pub(super) struct ServerInfo {
    pub(super) pid: u32,
    /// Password of its local superuser, new with every start.
    pub(super) secret: String,
}

impl ServerInfo {
    pub(super) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(".dolt").join("sql-server.info")
    }

    pub(super) fn read(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(data_dir)).ok()?;
        let mut parts = text.trim().splitn(3, ':');
        let pid = parts.next()?.parse().ok()?;
        let _port = parts.next()?;
        Some(Self { pid, secret: parts.next()?.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(dir: &Path) -> Result<DirLock, StartError> {
        DirLock::take("data directory", dir, "give another --data-dir")
    }

    #[test]
    fn a_second_claim_is_refused_with_the_first_ones_pid() {
        let dir = tempfile::tempdir().expect("temp dir");
        let data_dir = dir.path().join("new").join("data");
        let first = take(&data_dir).expect("first");
        match take(&data_dir) {
            Err(error @ StartError::Locked { pid, .. }) => {
                assert_eq!(pid, Some(std::process::id()));
                assert_eq!(error.exit_code(), 4);
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        take(&data_dir).expect("free again");
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("write");
        let message = take(&file).expect_err("a file").to_string();
        assert!(message.contains("is not a directory") && message.contains("--data-dir"), "{message}");
        let message = take(&file.join("below")).expect_err("below a file").to_string();
        assert!(message.contains("not a directory") && message.contains("below"), "{message}");
    }

    #[test]
    fn every_kind_of_trouble_has_its_remedy() {
        for (kind, problem, remedy) in [
            (io::ErrorKind::PermissionDenied, "may not be written to", "owner or mode"),
            (io::ErrorKind::ReadOnlyFilesystem, "read-only", "remount"),
            (io::ErrorKind::StorageFull, "no space", "free some"),
        ] {
            let text = path_error("data directory", Path::new("/d"), &kind.into(), "give another --data-dir")
                .to_string();
            for part in ["data directory /d", problem, remedy, "--data-dir"] {
                assert!(text.contains(part), "{part:?} in {text:?}");
            }
        }
    }

    #[test]
    fn a_stale_server_info_is_not_a_running_dolt() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(dir.path().join(".dolt")).expect("mkdir");
        assert_eq!(foreign_dolt(dir.path()), None);
        // This process is alive but no Dolt: a reused pid.
        std::fs::write(ServerInfo::path(dir.path()), format!("{}:3306:secret", std::process::id()))
            .expect("write");
        assert_eq!(foreign_dolt(dir.path()), None);
        let info = ServerInfo::read(dir.path()).expect("read");
        assert_eq!((info.pid, info.secret.as_str()), (std::process::id(), "secret"));
    }
}
