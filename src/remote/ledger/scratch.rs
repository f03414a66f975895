//! Owns a directory for a moment's work. Does not know what is in it. Always: only our own account reads it, and it is
//! gone when dropped.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A directory, gone when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one in `parent`.
    pub fn new(parent: &Path) -> io::Result<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("ledger-{}-{count}.tmp", std::process::id()));
        // Left over by a process of the same number.
        let _ = std::fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
