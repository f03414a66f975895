//! Owns the files of a town that gt and bd read or write. Does not know what is done with what they say.
//! Always: a file that can't be understood is a problem to tell, never a reason to stop.

pub mod daemon_json;

use std::path::{Path, PathBuf};

/// The town of this data or state directory, if it is in one: a directory with `mayor` in it.
pub fn root(data_dir: &Path, state_dir: &Path) -> Option<PathBuf> {
    let parents = [data_dir.parent(), state_dir.parent()];
    parents.into_iter().flatten().find(|dir| dir.join("mayor").is_dir()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_town_has_a_mayor() {
        let dir = tempfile::tempdir().unwrap();
        let (data, state) = (dir.path().join(".dolt-data"), dir.path().join("daemon"));
        assert_eq!(root(&data, &state), None);
        std::fs::create_dir(dir.path().join("mayor")).unwrap();
        assert_eq!(root(&data, Path::new("/elsewhere/state")).as_deref(), Some(dir.path()));
        assert_eq!(root(Path::new("/elsewhere/data"), &state).as_deref(), Some(dir.path()));
    }
}
