//! Owns the audit log: what merges decided, one JSON line each, in `audit.log` in the state directory.
//! Does not decide, and is never read by the data path.
//! Always: what `record` returned Ok for is on disk; a line is whole and in one file; the file is its owner's alone.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::Serialize;

use super::rotate::RotatingFile;
use super::time::utc;

/// Name of the file in the state directory.
pub const AUDIT_FILE: &str = "audit.log";

/// One decision about one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// The table.
    pub table: String,
    /// The row's key, as it is shown to people.
    pub key: String,
    /// What became of the row: `merged`, `kept` or `deleted`.
    pub row: &'static str,
    /// Why, of the row as a whole; for `kept` and `deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The cells that were decided.
    pub cells: Vec<AuditCell>,
}

/// One decided cell: NULL is `None`, what is no UTF-8 is written as hex with 0x.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditCell {
    /// The column.
    pub column: String,
    /// Before both.
    pub base: Option<String>,
    /// On the branch that is merged into.
    pub ours: Option<String>,
    /// On the branch that is merged.
    pub theirs: Option<String>,
    /// What it is now.
    pub result: Option<String>,
    /// By which rule.
    pub why: String,
}

/// Where the decisions of one merge go.
#[async_trait]
pub trait AuditSink: Send + Sync {
    /// Writes them down; once it has returned they are not lost.
    async fn record(&self, entries: Vec<AuditEntry>) -> io::Result<()>;
}

/// For those who only look.
#[derive(Debug, Clone, Copy)]
pub struct NoAudit;

#[async_trait]
impl AuditSink for NoAudit {
    async fn record(&self, _: Vec<AuditEntry>) -> io::Result<()> {
        Ok(())
    }
}

/// The audit log; cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog(Arc<RotatingFile>);

/// How a merge ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeEnd {
    /// With this commit.
    Committed(String),
    /// Nothing of it happened, for this reason.
    RolledBack(String),
}

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    at: &'a str,
    merge: &'a str,
    database: &'a str,
    branch: &'a str,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Event {
    Resolved {
        #[serde(flatten)]
        entry: AuditEntry,
    },
    Committed {
        hash: String,
    },
    RolledBack {
        reason: String,
    },
}

impl AuditLog {
    /// Opens it in the state directory.
    pub fn open(state_dir: &Path, rotate_bytes: u64, rotate_keep: usize) -> io::Result<Self> {
        let file = RotatingFile::open(&state_dir.join(AUDIT_FILE), rotate_bytes, rotate_keep)?;
        Ok(Self(Arc::new(file)))
    }

    /// The sink of one merge; `id` ties its lines together.
    pub fn merge(&self, id: &str, database: &str, branch: &str) -> MergeAudit {
        MergeAudit {
            log: self.clone(),
            merge: id.to_owned(),
            database: database.to_owned(),
            branch: branch.to_owned(),
        }
    }
}

/// The part of the audit log that is about one merge.
#[derive(Debug, Clone)]
pub struct MergeAudit {
    log: AuditLog,
    merge: String,
    database: String,
    branch: String,
}

impl MergeAudit {
    /// Writes how the merge ended.
    pub async fn ended(&self, end: MergeEnd) -> io::Result<()> {
        let event = match end {
            MergeEnd::Committed(hash) => Event::Committed { hash },
            MergeEnd::RolledBack(reason) => Event::RolledBack { reason },
        };
        self.write(vec![event]).await
    }

    async fn write(&self, events: Vec<Event>) -> io::Result<()> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.write_blocking(events));
        written.await.map_err(io::Error::other)?
    }

    fn write_blocking(&self, events: Vec<Event>) -> io::Result<()> {
        let at = utc(SystemTime::now());
        for what in events {
            let line =
                Line { at: &at, merge: &self.merge, database: &self.database, branch: &self.branch, what };
            let mut bytes = serde_json::to_vec(&line)?;
            bytes.push(b'\n');
            (&*self.log.0).write_all(&bytes)?;
        }
        self.log.0.sync()
    }
}

#[async_trait]
impl AuditSink for MergeAudit {
    async fn record(&self, entries: Vec<AuditEntry>) -> io::Result<()> {
        self.write(entries.into_iter().map(|entry| Event::Resolved { entry }).collect()).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn entry(key: &str) -> AuditEntry {
        let cell = AuditCell {
            column: "a".to_owned(),
            base: None,
            ours: Some("1\n".to_owned()),
            theirs: Some("\"".to_owned()),
            result: Some("1\n".to_owned()),
            why: "newest".to_owned(),
        };
        AuditEntry { table: "t".to_owned(), key: key.to_owned(), row: "merged", why: None, cells: vec![cell] }
    }

    #[tokio::test]
    async fn each_decision_is_a_line_of_its_own_also_over_rotations() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = AuditLog::open(dir.path(), 4000, 50).expect("opened");
        let merges: Vec<_> = (0..4)
            .map(|n| {
                let merge = log.merge(&format!("m{n}"), "db", "polecat-x");
                tokio::spawn(async move {
                    for key in 0..20 {
                        merge
                            .record(vec![entry(&format!("{key}a")), entry(&format!("{key}b"))])
                            .await
                            .expect("written");
                    }
                    merge.ended(MergeEnd::Committed(format!("hash{n}"))).await.expect("written");
                })
            })
            .collect();
        for merge in merges {
            merge.await.expect("no panic");
        }
        let path = dir.path().join(AUDIT_FILE);
        let mut lines = Vec::new();
        for file in (0..50).rev().map(|n| RotatingFile::older(&path, n)).filter(|file| file.exists()) {
            let mode = std::fs::metadata(&file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
            let text = std::fs::read_to_string(&file).expect("text");
            lines.extend(
                text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")),
            );
        }
        for n in 0..4 {
            let of_merge: Vec<_> = lines.iter().filter(|line| line["merge"] == format!("m{n}")).collect();
            assert_eq!(of_merge.len(), 41);
            let keys: Vec<_> =
                of_merge[..40].iter().map(|line| line["key"].as_str().expect("a key")).collect();
            let want: Vec<_> = (0..20).flat_map(|key| [format!("{key}a"), format!("{key}b")]).collect();
            assert_eq!(keys, want);
            assert_eq!(of_merge[0]["event"], "resolved");
            assert_eq!(of_merge[0]["cells"][0]["ours"], "1\n");
            assert_eq!(
                (&of_merge[40]["event"], &of_merge[40]["hash"]),
                (&"committed".into(), &format!("hash{n}").into())
            );
        }
    }
}
