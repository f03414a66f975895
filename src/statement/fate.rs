//! Owns the question what became of a write whose answer was lost.

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It happened, and all of its answer is known.
    Happened {
        /// Of `DOLT_COMMIT`: the new commit's hash.
        head: Option<String>,
    },
    /// It happened; its answer (counts, rows) is lost.
    HappenedAnswerLost,
    /// It did not happen, and never will.
    DidNotHappen,
    /// Not known; why.
    CannotTell(String),
}
