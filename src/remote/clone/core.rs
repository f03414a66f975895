//! Owns in which order a cloned database takes its name, and what a swap that was cut off comes to. The core: what is
//! where in, the next step out. Always: at every moment there is the old database or the new one, whole; steps lead
//! to an end from wherever it was cut off.

/// Where the databases of a swap are. `dropped`: where Dolt keeps dropped databases, from which it takes them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// A database of the name answers.
    pub live: bool,
    /// There is one of the name among the dropped ones.
    pub dropped: bool,
    /// The old one answers under the name that it is kept under.
    pub aside_live: bool,
    /// The old one is among the dropped ones, under that name.
    pub aside_dropped: bool,
    /// The new one is still where it was cloned to.
    pub fresh: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Drop the old one, which Dolt keeps.
    Drop,
    /// Give it the name that it is kept under.
    NameAside,
    /// Take it back under that name.
    TakeAsideBack,
    /// Put the new one among the dropped ones.
    PlaceFresh,
    /// Take what has the name there back: the new one, or the old one again.
    TakeBack,
    /// The new one is not wanted any more.
    RemoveFresh,
    /// All is where it belongs.
    End,
}

/// The next step of a swap that goes on. `keep`: there is an old one to keep.
pub fn forward(found: Found, keep: bool) -> Step {
    match (found.fresh, keep) {
        (true, true) if found.live && !found.aside_live && !found.aside_dropped => Step::Drop,
        (true, true) if found.aside_dropped => Step::TakeAsideBack,
        (true, true) if found.dropped && !found.aside_live => Step::NameAside,
        (true, _) => Step::PlaceFresh,
        (false, _) if found.live => Step::End,
        (false, _) if found.dropped => Step::TakeBack,
        (false, _) => Step::End,
    }
}

/// The next step after a swap was cut off: what has begun is completed if the old one has its other name already;
/// else all is as before.
pub fn recover(found: Found, keep: bool) -> Step {
    let is_aside = found.aside_live || found.aside_dropped;
    match found.fresh {
        true if keep && is_aside => forward(found, keep),
        true if keep && !found.live && found.dropped => Step::TakeBack,
        true => Step::RemoveFresh,
        false if found.aside_dropped => Step::TakeAsideBack,
        false => forward(found, keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a step makes of it.
    fn done(found: &mut Found, step: Step) {
        match step {
            Step::Drop => (found.live, found.dropped) = (false, true),
            Step::NameAside => (found.dropped, found.aside_dropped) = (false, true),
            Step::TakeAsideBack => (found.aside_dropped, found.aside_live) = (false, true),
            Step::PlaceFresh => (found.fresh, found.dropped) = (false, true),
            Step::TakeBack => (found.dropped, found.live) = (false, true),
            Step::RemoveFresh => found.fresh = false,
            Step::End => {}
        }
    }

    fn steps(mut found: Found, keep: bool, next: fn(Found, bool) -> Step) -> (Vec<Step>, Found) {
        let mut steps = Vec::new();
        loop {
            let step = next(found, keep);
            if step == Step::End {
                return (steps, found);
            }
            done(&mut found, step);
            steps.push(step);
            assert!(steps.len() < 10, "{steps:?}");
        }
    }

    #[test]
    fn in_order() {
        use Step::{Drop, NameAside, PlaceFresh, TakeAsideBack, TakeBack};
        let (new, _) = steps(Found { fresh: true, ..Found::default() }, false, forward);
        assert_eq!(new, [PlaceFresh, TakeBack]);
        let (replaced, end) = steps(Found { fresh: true, live: true, ..Found::default() }, true, forward);
        assert_eq!(replaced, [Drop, NameAside, TakeAsideBack, PlaceFresh, TakeBack]);
        assert_eq!(end, Found { live: true, aside_live: true, ..Found::default() });
    }

    #[test]
    fn cut_off_anywhere_it_comes_to_an_end_with_nothing_lost() {
        for keep in [false, true] {
            let start = Found { fresh: true, live: keep, ..Found::default() };
            let (forward, _) = steps(start, keep, forward);
            let mut found = start;
            for cut in 0..=forward.len() {
                let (_, end) = steps(found, keep, recover);
                assert!(!end.fresh && !end.dropped && !end.aside_dropped, "{cut}: {end:?}");
                match keep {
                    // The old one is there: under its name, or under the other beside the new one.
                    true => assert!(end.live && (cut < 2 || end.aside_live), "{cut}: {end:?}"),
                    false => assert_eq!(end.live, cut > 0, "{cut}: {end:?}"),
                }
                if let Some(step) = forward.get(cut) {
                    done(&mut found, *step);
                }
            }
        }
    }
}
