//! The log of a transaction's commands, for running it again: on a newer snapshot, or on another connection.
//! Owns the bounds and the hashes of the answers. Does not send anything.
//! Always: what is not in the log whole is not run again; past a bound only that is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xxhash_rust::xxh3::Xxh3;

/// Most that one session's log may take.
pub const LOG_BYTES_MAX: usize = 1024 * 1024;
/// Most that all logs together may take.
pub const ALL_LOGS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an entry takes beside its bytes.
const ENTRY_BYTES: usize = 96;

/// 128-bit hash of an answer, every byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Of no answer at all.
    pub const NONE: Self = Self(0);
}

/// Hashes an answer as it goes by.
#[derive(Default)]
pub struct AnswerHash(Xxh3);

impl std::fmt::Debug for AnswerHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerHash")
    }
}

impl AnswerHash {
    /// Takes in more of the answer.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that came.
    pub fn digest(&self) -> Digest {
        Digest(self.0.digest128())
    }
}

/// What all logs take together; shared.
#[derive(Debug, Clone, Default)]
pub struct LogBudget(Arc<AtomicUsize>);

impl LogBudget {
    /// Bytes in all logs.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One command of a transaction.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The command's payload. For an execution it has its parameter types.
    pub payload: Arc<[u8]>,
    /// What an execution's statement was prepared from.
    pub prepared: Option<Arc<[u8]>>,
    /// The answer that the client got.
    pub answer: Digest,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.payload.len() + self.prepared.as_ref().map_or(0, |text| text.len())
    }
}

/// Why a transaction can't be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyNot {
    /// Its log would have been longer than a session's may be.
    TooLong,
    /// All logs together would have been.
    AllTooLong,
    /// A command was too long to keep.
    LongCommand,
    /// LOAD DATA LOCAL, long data, a cursor.
    ClientData,
    /// A value that changes from run to run was written: NOW(), UUID(), RAND() and the like.
    ChangingValue,
    /// It changed session variables.
    SessionState,
    /// A part of it was not one transaction: a procedure, several statements.
    Opaque,
}

impl WhyNot {
    /// In words, after "because".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "its statements take more than 1 MiB",
            Self::AllTooLong => "all open transactions together take more than 64 MiB",
            Self::LongCommand => "it has a statement of more than 64 KiB",
            Self::ClientData => "it used LOAD DATA LOCAL, long data or a cursor",
            Self::ChangingValue => "it wrote a value that is another one each time, such as NOW() or UUID()",
            Self::SessionState => "it changed session variables",
            Self::Opaque => "it began or ended inside a procedure or a text of several statements",
        }
    }
}

/// The log of one transaction.
#[derive(Debug)]
pub struct Log {
    entries: Vec<Entry>,
    bytes: usize,
    lost: Option<WhyNot>,
    /// The database when it began.
    database: Option<String>,
    budget: LogBudget,
}

impl Log {
    /// An empty one.
    pub fn new(budget: LogBudget) -> Self {
        Self { entries: Vec::new(), bytes: 0, lost: None, database: None, budget }
    }

    /// A transaction begins, in this database.
    pub fn begin(&mut self, database: Option<String>) {
        self.clear();
        self.database = database;
    }

    /// The database that the transaction began in.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Adds a command that was answered.
    pub fn push(&mut self, entry: Entry) {
        if self.lost.is_some() {
            return;
        }
        let bytes = entry.bytes();
        if self.bytes + bytes > LOG_BYTES_MAX {
            self.lose(WhyNot::TooLong);
        } else if self.budget.0.fetch_add(bytes, Ordering::Relaxed) + bytes > ALL_LOGS_BYTES_MAX {
            self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
            self.lose(WhyNot::AllTooLong);
        } else {
            self.bytes += bytes;
            self.entries.push(entry);
        }
    }

    /// It can't be run again any more.
    pub fn lose(&mut self, why: WhyNot) {
        let first = self.lost.unwrap_or(why);
        self.free();
        self.lost = Some(first);
    }

    /// The commands in order; or why there are none.
    pub fn entries(&self) -> Result<&[Entry], WhyNot> {
        self.lost.map_or(Ok(&self.entries), Err)
    }

    /// The transaction is over.
    pub fn clear(&mut self) {
        self.free();
        self.lost = None;
        self.database = None;
    }

    fn free(&mut self) {
        self.entries = Vec::new();
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry { payload: vec![b'x'; bytes].into(), prepared: None, answer: AnswerHash::default().digest() }
    }

    #[test]
    fn a_log_stops_at_its_bound_and_gives_its_bytes_back() {
        let budget = LogBudget::default();
        let mut log = Log::new(budget.clone());
        log.push(entry(1000));
        assert_eq!(log.entries().unwrap().len(), 1);
        assert_eq!(budget.bytes(), 1000 + ENTRY_BYTES);
        log.push(entry(LOG_BYTES_MAX));
        assert_eq!(log.entries().unwrap_err(), WhyNot::TooLong);
        assert_eq!(budget.bytes(), 0);
        log.push(entry(1));
        log.lose(WhyNot::ClientData);
        assert_eq!(log.entries().unwrap_err(), WhyNot::TooLong, "the first reason stays");
        log.begin(None);
        log.push(entry(1));
        assert_eq!(log.entries().unwrap().len(), 1);
        drop(log);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn all_logs_together_are_bounded() {
        let budget = LogBudget::default();
        let mut logs: Vec<Log> = (0..70).map(|_| Log::new(budget.clone())).collect();
        for log in &mut logs {
            log.push(entry(LOG_BYTES_MAX - ENTRY_BYTES));
        }
        assert_eq!(logs.iter().filter(|log| log.entries().is_ok()).count(), 64);
        assert_eq!(logs[69].entries().unwrap_err(), WhyNot::AllTooLong);
        logs[0].clear();
        logs[69].begin(None);
        logs[69].push(entry(1));
        assert!(logs[69].entries().is_ok());
        drop(logs);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn a_hash_does_not_depend_on_where_the_answer_is_cut() {
        let (mut whole, mut parts) = (AnswerHash::default(), AnswerHash::default());
        whole.update(b"abcdef");
        parts.update(b"abc");
        parts.update(b"def");
        assert_eq!(whole.digest(), parts.digest());
        parts.update(b"g");
        assert_ne!(whole.digest(), parts.digest());
    }
}
