//! What an error tells a client of the statement that got it: whether it has taken effect.
//! Does not guess: what it does not know tells nothing.

use super::history::Outcome;
use super::support::raw::Failure;

/// For the statement that ends a transaction, or is one. Whoever gets `Fail` rolls back before anything else.
pub fn of_the_end(failure: &Failure) -> Outcome {
    let Failure::Server(code, _, text) = failure else { return Outcome::Info };
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    // Dolt rolls back, or leaves it to its client (facts of Dolt's errors).
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
        // Branchline's own words, when an answer got lost.
        _ if has(&["whether it took effect is unknown"]) => Outcome::Info,
        _ if has(&["safe to run it again"]) => Outcome::Fail,
        _ if has(&["took effect, but Dolt's answer"]) => Outcome::Ok,
        _ => Outcome::Info,
    }
}

#[test]
fn each_kind_of_words_is_understood() {
    for (code, text, wanted) in [
        (1213, "serialization failure: this transaction conflicts with", Outcome::Fail),
        (1105, "optimistic lock failed on database Root update", Outcome::Fail),
        (1105, "Lost connection to Dolt during COM_QUERY (x); it is safe to run it again", Outcome::Fail),
        (
            1105,
            "Dolt's connection ended during COMMIT (x): whether it took effect is unknown; look",
            Outcome::Info,
        ),
        (
            1105,
            "COM_QUERY took effect, but Dolt's answer to it was lost (x): do not run it again",
            Outcome::Ok,
        ),
        (1105, "context canceled", Outcome::Info),
    ] {
        assert_eq!(of_the_end(&Failure::Server(code, "HY000".into(), text.into())), wanted, "{text}");
    }
    assert_eq!(of_the_end(&Failure::Closed), Outcome::Info);
}
