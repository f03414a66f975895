//! Owns in which order a new database takes a name that nobody has, under a running Dolt, and what comes of it after it was
//! cut off. The core: what is where in, the next step out. Always: steps lead to an end from wherever it was cut off,
//! with the database there whole or not at all.

/// Where it is. `dropped`: where Dolt keeps dropped databases, from which it takes them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// A database of the name answers.
    pub live: bool,
    /// There is one of the name among the dropped ones.
    pub dropped: bool,
    /// It is still where it was made.
    pub fresh: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put it among the dropped ones.
    PlaceFresh,
    /// Take what has the name there back.
    TakeBack,
    /// It is not wanted any more.
    RemoveFresh,
    /// All is where it belongs.
    End,
}

/// The next step of one that goes on.
pub fn forward(found: Found) -> Step {
    match found {
        Found { fresh: true, live: false, .. } => Step::PlaceFresh,
        // Somebody was faster.
        Found { fresh: true, live: true, .. } => Step::RemoveFresh,
        Found { dropped: true, live: false, .. } => Step::TakeBack,
        Found { .. } => Step::End,
    }
}

/// The next step after it was cut off.
pub fn recover(found: Found) -> Step {
    match found {
        Found { fresh: true, .. } => Step::RemoveFresh,
        other => forward(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a step makes of it.
    fn done(found: &mut Found, step: Step) {
        match step {
            Step::PlaceFresh => (found.fresh, found.dropped) = (false, true),
            Step::TakeBack => (found.dropped, found.live) = (false, true),
            Step::RemoveFresh => found.fresh = false,
            Step::End => {}
        }
    }

    fn steps(mut found: Found, next: fn(Found) -> Step) -> (Vec<Step>, Found) {
        let mut steps = Vec::new();
        loop {
            let step = next(found);
            if step == Step::End {
                return (steps, found);
            }
            done(&mut found, step);
            steps.push(step);
            assert!(steps.len() < 5, "{steps:?}");
        }
    }

    #[test]
    fn cut_off_anywhere_it_comes_to_an_end_and_nothing_is_left() {
        let start = Found { fresh: true, ..Found::default() };
        let (all, end) = steps(start, forward);
        assert_eq!((&all[..], end.live), (&[Step::PlaceFresh, Step::TakeBack][..], true));
        let mut found = start;
        for cut in 0..=all.len() {
            let (_, end) = steps(found, recover);
            assert_eq!(end, Found { live: cut > 0, ..Found::default() }, "{cut}");
            if let Some(step) = all.get(cut) {
                done(&mut found, *step);
            }
        }
    }

    #[test]
    fn what_somebody_else_made_meanwhile_is_left_alone() {
        let (all, end) = steps(Found { fresh: true, live: true, dropped: false }, forward);
        assert_eq!((&all[..], end.live), (&[Step::RemoveFresh][..], true));
        let (all, end) = steps(Found { fresh: false, live: true, dropped: true }, forward);
        assert!(all.is_empty() && end.live);
    }
}
