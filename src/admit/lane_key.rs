//! Owns the name of a lane: one branch of one database, and the one order in which several are taken.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// One branch of one database, in lower case: Dolt takes both names without regard to case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    database: Arc<str>,
    branch: Arc<str>,
}

impl LaneKey {
    /// The lane of this branch, however its names are written.
    pub fn new(database: &str, branch: &str) -> Self {
        Self { database: lower(database), branch: lower(branch) }
    }

    /// Its database.
    pub fn database(&self) -> &Arc<str> {
        &self.database
    }

    /// Its branch.
    pub fn branch(&self) -> &Arc<str> {
        &self.branch
    }

    fn is_main(&self) -> bool {
        matches!(&*self.branch, "main" | "master")
    }
}

/// Rune by rune, as Go folds names (`str::to_lowercase` looks at the context of a sigma).
pub(super) fn lower(name: &str) -> Arc<str> {
    if name.is_ascii() && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Arc::from(name);
    }
    name.chars().flat_map(char::to_lowercase).collect::<String>().into()
}

/// Branches come before main, so that finishing one never waits for its branch while it holds main.
impl Ord for LaneKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = self.is_main().cmp(&other.is_main());
        rank.then_with(|| self.database.cmp(&other.database)).then_with(|| self.branch.cmp(&other.branch))
    }
}

impl PartialOrd for LaneKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.database, self.branch)
    }
}

impl fmt::Debug for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_however_it_is_written() {
        assert_eq!(LaneKey::new("Beads", "Polecat-A"), LaneKey::new("beads", "polecat-a"));
        assert_eq!(LaneKey::new("ΑΣ", "x"), LaneKey::new("ασ", "x"));
        assert_ne!(LaneKey::new("a", "b"), LaneKey::new("b", "a"));
        assert_eq!(LaneKey::new("DB", "Feature/X").to_string(), "db/feature/x");
    }

    #[test]
    fn branches_come_before_main_then_database_then_branch() {
        let mut keys = [("a", "main"), ("b", "x"), ("a", "master"), ("a", "y"), ("b", "main"), ("a", "x")]
            .map(|(database, branch)| LaneKey::new(database, branch));
        keys.sort();
        let shown: Vec<_> = keys.iter().map(LaneKey::to_string).collect();
        assert_eq!(shown, ["a/x", "a/y", "b/x", "a/main", "a/master", "b/main"]);
    }
}
