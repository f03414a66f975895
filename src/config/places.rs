//! Owns the default directories: where the town is, and what follows from it.
//! Does not create anything.

use std::path::{Path, PathBuf};

/// The town that `cwd` is in: the nearest directory upwards that has `mayor/` or `.dolt-data/`.
///
/// The home directory counts only with `mayor/`: its `.dolt-data` is the default outside any town,
/// and must not move the state directory as soon as it exists.
pub fn town(cwd: &Path, home: Option<&Path>) -> Option<PathBuf> {
    cwd.ancestors()
        .find(|dir| dir.join("mayor").is_dir() || (dir.join(".dolt-data").is_dir() && Some(*dir) != home))
        .map(Path::to_path_buf)
}

/// `<town>/.dolt-data`, else `~/.dolt-data`; none without a town and a home.
pub fn data_dir(cwd: &Path, home: Option<&Path>) -> Option<PathBuf> {
    Some(town(cwd, home).or_else(|| home.map(Path::to_path_buf))?.join(".dolt-data"))
}

/// `<town>/daemon`, else `~/.branchline`; none without a town and a home.
pub fn state_dir(cwd: &Path, home: Option<&Path>) -> Option<PathBuf> {
    town(cwd, home).map(|town| town.join("daemon")).or_else(|| Some(home?.join(".branchline")))
}

/// `path` seen from `cwd`, with a leading `~/` replaced; not resolved further, so that messages show what was written.
pub fn absolute(path: &Path, cwd: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => cwd.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_and_outside_a_town() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        let town_dir = home.join("gt");
        let deep = town_dir.join("gastown/polecats/nux");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir_all(home.join(".dolt-data")).unwrap();
        let (own_state, own_data) = (home.join(".branchline"), home.join(".dolt-data"));
        let home = Some(home.as_path());

        assert_eq!(town(&deep, home), None);
        assert_eq!(state_dir(&deep, home), Some(own_state));
        assert_eq!(data_dir(&deep, home), Some(own_data));

        std::fs::create_dir_all(town_dir.join("mayor")).unwrap();
        assert_eq!(town(&deep, home), Some(town_dir.clone()));
        assert_eq!(state_dir(&deep, home), Some(town_dir.join("daemon")));
        assert_eq!(data_dir(&deep, home), Some(town_dir.join(".dolt-data")));

        assert_eq!(data_dir(root.path(), None), None);
    }

    #[test]
    fn absolute_paths() {
        let (cwd, home) = (Path::new("/w"), Some(Path::new("/h")));
        for (path, want) in [("a/b", "/w/a/b"), ("/a", "/a"), ("~/a", "/h/a"), ("~b/a", "/w/~b/a")] {
            assert_eq!(absolute(Path::new(path), cwd, home), Path::new(want), "{path}");
        }
    }
}
