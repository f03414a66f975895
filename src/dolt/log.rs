//! Owns Dolt's output: every line goes to a log file that is rotated by size, the last ones are kept in memory.
//! Does not interpret lines. Always: whoever writes is never blocked or lost by a rotation that fails.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::observe::redact;

/// Lines kept for error messages.
const TAIL_LINES: usize = 20;
/// A longer line is written in pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A file that is renamed to `NAME.1` (and `.1` to `.2`, …) before it would pass its size.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    rotate_bytes: u64,
    keep: usize,
}

impl RotatingFile {
    /// Appends to `path`, which is created with mode 0600.
    pub fn open(path: &Path, rotate_bytes: u64, keep: usize) -> io::Result<Self> {
        let file = append(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { path: path.into(), file, size_bytes, rotate_bytes, keep })
    }

    /// Writes all of `bytes` to one file.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.size_bytes > 0 && self.size_bytes + length > self.rotate_bytes {
            // When rotation fails (a full disk, a directory gone) the current file goes on.
            if let Ok(file) = self.rotate() {
                self.file = file;
                self.size_bytes = 0;
            }
        }
        self.file.write_all(bytes)?;
        self.size_bytes += length;
        Ok(())
    }

    fn rotate(&self) -> io::Result<File> {
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
            return append(&self.path);
        }
        for n in (1..self.keep).rev() {
            let from = self.numbered(n);
            if from.exists() {
                std::fs::rename(from, self.numbered(n + 1))?;
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        append(&self.path)
    }

    fn numbered(&self, n: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        name.into()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The last lines that Dolt wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Forgets what the process before wrote.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        let text = String::from_utf8_lossy(line);
        lines.push_back(text.trim_end().chars().take(500).collect());
    }
}

/// Copies `from` to the file until its end. A line that cannot be written is dropped rather than
/// letting Dolt block on a full pipe, and the log says how many were.
pub(super) fn copy_lines(from: impl Read, file: &mut RotatingFile, tail: &Tail) {
    let mut from = io::BufReader::new(from);
    let mut line = Vec::new();
    let mut lost = 0u64;
    loop {
        line.clear();
        match (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        hide_credentials(&mut line);
        tail.push(&line);
        if lost > 0
            && file.write_all(format!("({lost} lines could not be written here)\n").as_bytes()).is_ok()
        {
            lost = 0;
        }
        if let Err(error) = file.write_all(&line) {
            if lost == 0 {
                tracing::warn!(%error, path = %file.path.display(), "cannot write Dolt's output");
            }
            lost += 1;
        }
    }
}

/// Dolt's errors about remotes show the whole URL.
fn hide_credentials(line: &mut Vec<u8>) {
    if memchr::memmem::find(line, b"://").is_some() && line.contains(&b'@') {
        *line = redact::urls(&String::from_utf8_lossy(line)).into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_by_size_and_loses_no_line() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("dolt.log");
        let mut file = RotatingFile::open(&path, 100, 50).expect("open");
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let tail = Tail::default();
        copy_lines(text.as_bytes(), &mut file, &tail);

        let mut all = String::new();
        let rotated = (1..=50).rev().map(|n| file.numbered(n)).filter(|p| p.exists());
        for part in rotated.chain([path.clone()]) {
            let part = std::fs::read_to_string(part).expect("part");
            assert!(part.len() <= 100, "{} bytes", part.len());
            all.push_str(&part);
        }
        assert_eq!(all, text);
        assert_eq!(tail.lines().len(), TAIL_LINES);
        assert_eq!(tail.lines()[TAIL_LINES - 1], "line 99");
    }

    #[test]
    fn keeps_only_so_many() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("dolt.log");
        let mut file = RotatingFile::open(&path, 10, 2).expect("open");
        for n in 0..9 {
            file.write_all(format!("line {n}..\n").as_bytes()).expect("write");
        }
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).expect("list").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["dolt.log", "dolt.log.1", "dolt.log.2"]);
    }

    #[test]
    fn appends_after_a_restart_and_counts_what_is_there() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("dolt.log");
        std::fs::write(&path, "older\n").expect("write");
        let mut file = RotatingFile::open(&path, 10, 1).expect("open");
        file.write_all(b"newer\n").expect("write");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "newer\n");
        assert_eq!(std::fs::read_to_string(dir.path().join("dolt.log.1")).expect("read"), "older\n");
    }

    #[test]
    fn a_failed_rotation_goes_on_in_the_same_file() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("dolt.log");
        let mut file = RotatingFile::open(&path, 10, 1).expect("open");
        file.write_all(b"one one one\n").expect("write");
        std::fs::create_dir(dir.path().join("dolt.log.1")).expect("block the rename");
        file.write_all(b"two\n").expect("write");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "one one one\ntwo\n");
    }

    #[test]
    fn credentials_of_urls_are_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dolt.log");
        let mut file = RotatingFile::open(&path, 1 << 20, 1).unwrap();
        let tail = Tail::default();
        let said = "remote: origin 'git+http://bob:hunter2@h/r.git' could not be accessed\nplain @ line\n";
        copy_lines(said.as_bytes(), &mut file, &tail);
        let want = "remote: origin 'git+http://***@h/r.git' could not be accessed\nplain @ line\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
        assert_eq!(tail.lines().join("\n") + "\n", want);
    }
}
