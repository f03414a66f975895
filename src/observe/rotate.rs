//! Owns a log file that is rotated by size: `x.log` → `x.log.1` → `x.log.2` …
//! Always: a line is written whole and into one file; if rotating fails, the current file goes on growing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A rotated log file; clones of the `&` write to the same one.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    rotate_bytes: u64,
    rotate_keep: usize,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
}

impl RotatingFile {
    /// Opens it for appending, readable by the owner only.
    pub fn open(path: &Path, rotate_bytes: u64, rotate_keep: usize) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        let current = Mutex::new(Current { file, bytes });
        Ok(Self { path: path.to_path_buf(), rotate_bytes, rotate_keep, current })
    }

    /// The name of the `n`th older file; 0 is the current one.
    pub fn older(path: &Path, n: usize) -> PathBuf {
        if n == 0 {
            return path.to_path_buf();
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        name.into()
    }

    /// Waits until what was written to the current file is on disk.
    pub fn sync(&self) -> io::Result<()> {
        self.lock().file.sync_data()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rotate(&self) -> io::Result<Current> {
        for n in (0..self.rotate_keep).rev() {
            match std::fs::rename(Self::older(&self.path, n), Self::older(&self.path, n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Current { file: append(&self.path)?, bytes: 0 })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Write for &RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut current = self.lock();
        if current.bytes > 0
            && current.bytes + line.len() as u64 > self.rotate_bytes
            && let Ok(next) = self.rotate()
        {
            // What `sync` has not seen yet.
            current.file.sync_data()?;
            *current = next;
        }
        current.file.write_all(line)?;
        current.bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_line_of_the_kept_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let log = RotatingFile::open(&path, 100, 2).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    for i in 0..6 {
                        let mut log = log;
                        log.write_all(format!("line {thread}{i}.\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        // 24 lines of 9 bytes, 11 to a file: 11 + 11 + 2.
        let read = |n| std::fs::read_to_string(RotatingFile::older(&path, n)).unwrap();
        let mut lines: Vec<String> =
            (0..3).rev().flat_map(|n| read(n).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        assert_eq!((read(2).lines().count(), read(1).lines().count(), read(0).lines().count()), (11, 11, 2));
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 24);
        assert!(!RotatingFile::older(&path, 3).exists());
    }

    #[test]
    fn goes_on_when_rotating_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        // A directory that is not empty can't be renamed over.
        std::fs::create_dir_all(dir.path().join("x.log.1/full")).unwrap();
        let log = RotatingFile::open(&path, 10, 1).unwrap();
        for _ in 0..5 {
            (&log).write_all(b"12345678\n").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 5);
    }
}
