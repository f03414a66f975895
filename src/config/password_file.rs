//! Owns reading a password from a file.
//! Always: a file that others can read is refused, and no message contains its content.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::Secret;

/// Passwords longer than this are a wrong file.
const PASSWORD_FILE_BYTES_MAX: u64 = 4096;

/// The first line of the file.
pub fn read(path: &Path) -> Result<Secret, String> {
    let failed = |error: std::io::Error| format!("can't read {}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!("{} has mode {mode:04o}: others can get at the password", path.display()));
    }
    if metadata.size() > PASSWORD_FILE_BYTES_MAX {
        let (size, max) = (metadata.size(), PASSWORD_FILE_BYTES_MAX);
        return Err(format!("{} has {size} bytes; a password file has at most {max} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(Secret::new(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\nsecond line\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o601, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match read(&path) {
                Ok(secret) => assert!(fine && secret.reveal() == "hunter2", "{mode:o}"),
                Err(what) => {
                    assert!(!fine && !what.contains("hunter2") && what.contains("mode"), "{mode:o}: {what}")
                }
            }
        }
        assert!(read(dir.path()).unwrap_err().contains("not a regular file"));
        assert!(read(&dir.path().join("none")).unwrap_err().contains("can't read"));
    }
}
