//! Owns the names and records of what is kept beside a branch: its base tag, and the tags of dropped ones.
//! Does not decide when there is one. Always: a record that can't be read is as good as none, and a snapshot that
//! was cut off is known by its message and taken back by whoever comes next.

use std::time::{SystemTime, UNIX_EPOCH};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};

use super::directory::sql_literal;

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

/// Of a commit that exists only to be tagged.
pub const SNAPSHOT_MESSAGE: &str = "Branchline: a snapshot of this branch, taken back at once";

/// Now.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A table that differs from HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uncommitted {
    pub table: String,
    pub staged: bool,
    pub status: String,
    pub ignored: bool,
}

/// Tables of the current branch that differ from HEAD, ignored ones too.
pub(super) async fn uncommitted(conn: &mut Conn) -> Result<Vec<Uncommitted>, mysql_async::Error> {
    let sql = "SELECT table_name, staged, status, ignored FROM dolt_status_ignored";
    conn.query_map(sql, |(table, staged, status, ignored)| Uncommitted { table, staged, status, ignored })
        .await
}

/// Dolt-commits all that is uncommitted on the current branch, ignored tables too; to be tagged, and taken back
/// with `take_back`. The tables.
pub(super) async fn snapshot(conn: &mut Conn) -> Result<Vec<Uncommitted>, mysql_async::Error> {
    let tables = uncommitted(conn).await?;
    let ignored: Vec<String> =
        tables.iter().filter(|table| table.ignored).map(|table| sql_literal(&table.table)).collect();
    if !ignored.is_empty() {
        conn.query_drop(format!("CALL DOLT_ADD('-f', {})", ignored.join(", "))).await?;
    }
    if !tables.is_empty() {
        conn.query_drop(format!("CALL DOLT_COMMIT('-A', '-m', {})", sql_literal(SNAPSHOT_MESSAGE))).await?;
    }
    Ok(tables)
}

/// What `snapshot` committed is uncommitted again.
pub(super) async fn take_back(conn: &mut Conn) -> Result<(), mysql_async::Error> {
    conn.query_drop("CALL DOLT_RESET('--soft', 'HEAD~1')").await?;
    conn.query_drop("CALL DOLT_RESET()").await
}

/// Tags the current branch as the base of `branch`, with what is uncommitted on it, if anything may be.
pub(super) async fn tag(
    conn: &mut Conn,
    branch: &str,
    record: &ForkRecord,
    may_be_uncommitted: bool,
) -> Result<(), mysql_async::Error> {
    let is_snapshot = may_be_uncommitted && !snapshot(conn).await?.is_empty();
    let (tag, message) = (sql_literal(&base_tag(branch)), sql_literal(&record.message()));
    conn.query_drop(format!("CALL DOLT_TAG({tag}, 'HEAD', '-m', {message})")).await?;
    if is_snapshot {
        take_back(conn).await?;
    }
    Ok(())
}

/// Removes a branch's base tag, if it has one.
pub(super) async fn untag(conn: &mut Conn, branch: &str) -> Result<(), mysql_async::Error> {
    match conn.query_drop(format!("CALL DOLT_TAG('-d', {})", sql_literal(&base_tag(branch)))).await {
        Err(mysql_async::Error::Server(error)) if error.message.contains("tag not found") => Ok(()),
        untagged => untagged,
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
