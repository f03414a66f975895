//! Owns how far a long piece of work has come, for whoever waits for it.
//! Does not decide anything. Always: cheap to update, and never a reason to wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared between the one who works and those who look; clones are the same work.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    step: Mutex<String>,
    done: AtomicU64,
    /// 0: not known.
    total: AtomicU64,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// What it is at, in a few words.
    pub step: String,
    /// Of this step.
    pub done: u64,
    /// How much there is to do in this step; `None`: not known.
    pub total: Option<u64>,
}

impl Progress {
    /// Begins a step; `total` if it is known how much there is to do.
    pub fn step(&self, step: impl Into<String>, total: Option<u64>) {
        let mut current = self.0.step.lock().unwrap_or_else(PoisonError::into_inner);
        *current = step.into();
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    /// So much more of the step is done.
    pub fn advance(&self, by: u64) {
        self.0.done.fetch_add(by, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn seen(&self) -> Seen {
        let step = self.0.step.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let total = self.0.total.load(Ordering::Relaxed);
        Seen { step, done: self.0.done.load(Ordering::Relaxed), total: (total > 0).then_some(total) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_step_begins_at_nothing() {
        let progress = Progress::default();
        progress.step("merge", Some(10));
        progress.advance(4);
        let same = progress.clone();
        assert_eq!(same.seen(), Seen { step: "merge".to_owned(), done: 4, total: Some(10) });
        same.step("delete the branch", None);
        assert_eq!(progress.seen(), Seen { step: "delete the branch".to_owned(), done: 0, total: None });
    }
}
