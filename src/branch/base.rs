//! Owns the names and records of what is kept beside a branch: its base tag, and the tags of dropped ones.
//! Does not talk to Dolt. Always: a record that can't be read is as good as none.

use serde::{Deserialize, Serialize};

/// The tag of a branch's base: main as it was at the fork, with the rows of ignored tables.
pub const BASE_PREFIX: &str = "branchline-base/";

/// The tag of a branch that was dropped with something on it: `branchline-dropped/NAME/<unix seconds>`.
pub const DROPPED_PREFIX: &str = "branchline-dropped/";

/// What a fork was, as its base tag's message has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkRecord {
    /// Of this format.
    pub version: u32,
    /// For whom, if somebody said so.
    pub worker: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// Unix seconds.
    pub at: u64,
    /// The branch that was forked.
    pub from_branch: String,
    /// Its HEAD then.
    pub from_commit: String,
}

impl ForkRecord {
    /// The one format there is.
    pub const VERSION: u32 = 1;

    /// From a tag's message; `None` if it is not one of ours.
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok().filter(|record: &Self| record.version == Self::VERSION)
    }

    /// A tag's message.
    pub fn message(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The name of a branch's base tag.
pub fn base_tag(branch: &str) -> String {
    format!("{BASE_PREFIX}{branch}")
}

/// The name of a dropped branch's tag.
pub fn dropped_tag(branch: &str, unix_seconds: u64) -> String {
    format!("{DROPPED_PREFIX}{branch}/{unix_seconds}")
}

/// Branch and unix seconds of a dropped branch's tag.
pub fn parse_dropped_tag(tag: &str) -> Option<(&str, u64)> {
    let (branch, seconds) = tag.strip_prefix(DROPPED_PREFIX)?.rsplit_once('/')?;
    Some((branch, seconds.parse().ok()?))
}

/// A branch's name when nobody gave one.
pub fn default_name(worker: &str, unix_seconds: u64) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let worker: String = worker.chars().map(|c| if fits(c) { c } else { '-' }).take(64).collect();
    let worker = worker.trim_matches('-');
    let worker = if worker.is_empty() { "worker" } else { worker };
    format!("polecat-{worker}-{unix_seconds}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::route::branch_name;

    #[test]
    fn a_default_name_is_always_a_branch_name() {
        assert_eq!(default_name("nux", 12), "polecat-nux-12");
        assert_eq!(default_name("gastown/polecats/nux", 12), "polecat-gastown-polecats-nux-12");
        for worker in ["", "-", "..", "é", "x'y`z", &"w".repeat(300)] {
            let name = default_name(worker, 1_800_000_000);
            assert_eq!(branch_name::check(&name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_was_recorded_is_read_again_and_nothing_else() {
        let record = ForkRecord {
            version: 1,
            worker: Some("nux \"the\" 'x'".to_owned()),
            by: "uid 0".to_owned(),
            at: 7,
            from_branch: "main".to_owned(),
            from_commit: "abc".to_owned(),
        };
        assert_eq!(ForkRecord::parse(&record.message()), Some(record.clone()));
        assert_eq!(ForkRecord::parse("by hand"), None);
        assert_eq!(ForkRecord::parse(&ForkRecord { version: 2, ..record }.message()), None);
    }

    #[test]
    fn a_dropped_tag_names_its_branch() {
        assert_eq!(parse_dropped_tag(&dropped_tag("feature/a", 7)), Some(("feature/a", 7)));
        assert_eq!(parse_dropped_tag("branchline-dropped/x"), None);
        assert_eq!(parse_dropped_tag("v1"), None);
    }
}
