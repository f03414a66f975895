//! Owns measuring the disk that a data directory uses and has left.
//! Blocks: call it from a blocking thread.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::admin::DiskReport;

/// Used by all files below `dir` (allocated blocks, links not followed), and free to us on its file system.
pub fn usage(dir: &Path) -> io::Result<DiskReport> {
    let stat = rustix::fs::statvfs(dir)?;
    let mut used_bytes = 0;
    let mut pending = vec![dir.to_path_buf()];
    while let Some(next) = pending.pop() {
        // Dolt removes files while we look: what is gone does not count.
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            used_bytes += metadata.blocks() * 512;
        }
    }
    Ok(DiskReport { used_bytes, free_bytes: stat.f_bavail * stat.f_frsize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_files_below() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        std::fs::write(dir.path().join("inner/file"), vec![1; 1 << 20]).unwrap();
        let report = usage(dir.path()).unwrap();
        assert!((1 << 20..1 << 21).contains(&report.used_bytes), "{report:?}");
        assert!(report.free_bytes > 0);
        assert!(usage(&dir.path().join("none")).is_err());
    }
}
