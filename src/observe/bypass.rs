//! Owns noticing that somebody else writes to a Dolt that only Branchline should write to.
//! Does not hinder anybody, and no decision of a statement reads it.
//! Always: what Branchline itself writes inside a [`Touch`] is never counted; in doubt nothing is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::dolt::journal::{Journals, RootHash};

/// One database: its root is expected to stay while none of ours is active. The core: no clock, no I/O.
#[derive(Debug, Default)]
struct Watch {
    /// As it was named first.
    name: String,
    /// Of ours that may write now.
    active: u32,
    /// Of ours that ever began.
    entered: u64,
    /// The root when the last of ours had ended; `None`: not known.
    expected: Option<RootHash>,
    /// How often it was another one.
    count: u64,
    last: Option<SystemTime>,
}

impl Watch {
    /// One of ours begins; `root` is the one now. Whether somebody else has written since the last of ours.
    fn enter(&mut self, root: Option<RootHash>, now: SystemTime) -> bool {
        let is_bypassed = self.look(root, now);
        self.active += 1;
        self.entered += 1;
        self.expected = None;
        is_bypassed
    }

    /// One of ours ends. `root` is read only if it was the last: then nothing of ours moves it any more.
    fn leave(&mut self, root: impl FnOnce() -> Option<RootHash>) {
        debug_assert!(self.active > 0);
        self.active = self.active.saturating_sub(1);
        if self.active == 0 {
            self.expected = root();
        }
    }

    /// Between ours; the first look only takes note.
    fn look(&mut self, root: Option<RootHash>, now: SystemTime) -> bool {
        if self.active > 0 {
            return false;
        }
        let is_bypassed = self.expected.zip(root).is_some_and(|(expected, root)| expected != root);
        if is_bypassed {
            self.count += 1;
            self.last = Some(now);
        }
        self.expected = root.or(self.expected);
        is_bypassed
    }
}

/// A database that somebody else has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bypassed {
    /// Its name.
    pub database: String,
    /// How often it was noticed: at least that many writes.
    pub count: u64,
    /// When it was noticed last.
    pub last: SystemTime,
}

/// Who else writes to the databases of a private Dolt; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bypass {
    journals: Journals,
    watches: Arc<Mutex<BTreeMap<String, Arc<Mutex<Watch>>>>>,
}

impl Bypass {
    /// By these journals.
    pub fn new(journals: Journals) -> Self {
        Self { journals, watches: Arc::default() }
    }

    /// To be held while one of ours may write to this database: from before its statement is sent until it is
    /// answered, or gone.
    pub fn touch(&self, database: &str) -> Touch {
        let watch = self.watch(database);
        let mut locked = lock(&watch);
        // Read under the lock: so none of ours begins or ends between the root and what is concluded from it.
        let before = self.journals.root(database);
        if locked.enter(before, SystemTime::now()) {
            warn(database);
        }
        let (was_alone, number) = (locked.active == 1, locked.entered);
        drop(locked);
        let database = database.to_owned();
        Touch { watch, journals: self.journals.clone(), database, before, was_alone, number }
    }

    /// Looks at these databases now: once when Dolt is ready, so that there is something to compare with, and
    /// then from time to time, so that a write is noticed before one of ours.
    pub fn look<'a>(&self, databases: impl IntoIterator<Item = &'a str>) {
        for database in databases {
            let watch = self.watch(database);
            let mut locked = lock(&watch);
            if locked.active == 0 && locked.look(self.journals.root(database), SystemTime::now()) {
                warn(database);
            }
        }
    }

    /// Databases that somebody else has written, by name.
    pub fn report(&self) -> Vec<Bypassed> {
        let watches: Vec<_> = lock(&self.watches).values().map(Arc::clone).collect();
        let reports = watches.iter().filter_map(|watch| {
            let watch = lock(watch);
            let last = watch.last?;
            Some(Bypassed { database: watch.name.clone(), count: watch.count, last })
        });
        reports.collect()
    }

    fn watch(&self, database: &str) -> Arc<Mutex<Watch>> {
        let mut watches = lock(&self.watches);
        let watch = watches
            .entry(database.to_lowercase())
            .or_insert_with(|| Arc::new(Mutex::new(Watch { name: database.to_owned(), ..Watch::default() })));
        Arc::clone(watch)
    }
}

/// Held while one of ours may write to a database.
#[derive(Debug)]
#[must_use = "what is written after its end counts as somebody else's"]
pub struct Touch {
    watch: Arc<Mutex<Watch>>,
    journals: Journals,
    database: String,
    before: Option<RootHash>,
    was_alone: bool,
    number: u64,
}

impl Touch {
    /// Whether another one of ours may have moved the database since this one began.
    pub fn has_company(&self) -> bool {
        !self.was_alone || lock(&self.watch).entered != self.number
    }

    /// The database's root when this began, to compare with if an answer is lost.
    pub fn root_before(&self) -> Option<RootHash> {
        self.before
    }

    /// Keeps it for good: a statement of ours may still be running, so this database is not watched any more.
    pub fn abandon(self) {
        lock(&self.watch).active += 1;
    }
}

impl Drop for Touch {
    fn drop(&mut self) {
        lock(&self.watch).leave(|| self.journals.root(&self.database));
    }
}

fn warn(database: &str) {
    tracing::warn!(
        database,
        "somebody else has written to this database, past Branchline: writes may get lost; let all clients connect \
         to Branchline"
    );
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn root(number: u8) -> Option<RootHash> {
        Some(RootHash::new([number; 20]))
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn what_moves_between_ours_is_somebody_elses() {
        let mut watch = Watch::default();
        assert!(!watch.enter(root(1), at(1)), "nothing is known yet");
        watch.leave(|| root(2));
        assert!(!watch.enter(root(2), at(2)));
        assert!(!watch.enter(root(3), at(3)), "the other one of ours");
        watch.leave(|| panic!("not the last"));
        watch.leave(|| root(4));
        assert!(watch.enter(root(5), at(4)));
        watch.leave(|| root(6));
        assert!(watch.look(root(7), at(5)));
        assert!(!watch.look(root(7), at(6)), "counted once");
        assert_eq!((watch.count, watch.last), (2, Some(at(5))));
    }

    #[test]
    fn what_is_not_known_is_not_counted() {
        let mut watch = Watch::default();
        watch.enter(root(1), at(1));
        watch.leave(|| None);
        assert!(!watch.enter(root(2), at(2)));
        watch.leave(|| root(2));
        assert!(!watch.look(None, at(3)), "in the middle of a GC");
        assert!(!watch.look(root(2), at(4)));
        assert!(watch.look(root(3), at(5)));
    }

    proptest! {
        /// Ours and somebody else's, in any order: nothing of ours is counted, and all of somebody else's that
        /// stands between two of ours.
        #[test]
        fn exactly_the_gaps_that_somebody_used_are_counted(steps in proptest::collection::vec(0_u8..5, 0..60)) {
            let mut watch = Watch::default();
            let (mut now, mut active, mut known, mut used, mut want) = (0_u8, 0_u32, false, false, 0_u64);
            for step in steps {
                match step {
                    0 => {
                        want += u64::from(used && known && active == 0);
                        used = false;
                        active += 1;
                        watch.enter(root(now), at(0));
                        known = true;
                    }
                    1 if active > 0 => {
                        active -= 1;
                        watch.leave(|| root(now));
                    }
                    2 if active > 0 => now = now.wrapping_add(1),
                    3 => {
                        now = now.wrapping_add(1);
                        used = active == 0;
                    }
                    4 => {
                        want += u64::from(used && known && active == 0);
                        used = false;
                        known = true;
                        watch.look(root(now), at(0));
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(watch.count, want);
        }
    }
}
