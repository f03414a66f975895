//! What an error tells a client of the statement that got it: whether it has taken effect.
//! Does not guess: what it does not know tells nothing.

use super::history::Outcome;
use super::support::raw::Failure;

/// For the statement that ends a transaction, or is one. Whoever gets `Fail` rolls back before anything else.
pub fn of_the_end(failure: &Failure) -> Outcome {
    let Failure::Server(code, _, text) = failure else { return Outcome::Info };
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    // Dolt rolls back, or leaves to its client to do it (facts of Dolt's errors).
    let refused = has(&[
        "this transaction conflicts",
        "optimistic lock failed",
        "dataset head is not ancestor",
        "Merge conflict detected",
        "constraint violations",
    ]);
    match code {
        1213 | 1205 => Outcome::Fail,
        _ if refused => Outcome::Fail,
        // Branchline's own words, when the answer got lost.
        _ if has(&["has taken effect", "took effect, but its answer"]) => Outcome::Ok,
        _ if has(&["has not taken effect", "did not take effect"]) => Outcome::Fail,
        _ => Outcome::Info,
    }
}
