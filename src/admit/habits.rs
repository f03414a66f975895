//! Owns what is believed of clients: whether they Dolt-commit after their SQL commits.
//! Does not know lanes or time. Always: a bounded number of entries; who is not known is believed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::OwnRows;

/// Program and account pairs remembered; past it the half used least recently is forgotten.
const ENTRIES_MAX: usize = 4096;
const SCORE_FIRST: i8 = 1;
const SCORE_MAX: i8 = 3;
const SCORE_MIN: i8 = -3;

/// Scores by program and account.
#[derive(Debug, Default)]
pub(super) struct Habits {
    scores: HashMap<Arc<str>, Score>,
    uses: u64,
}

#[derive(Debug, Clone, Copy)]
struct Score {
    score: i8,
    used: u64,
}

/// Names a program under an account.
pub(super) fn habit_of(program: &str, account: &str) -> Arc<str> {
    format!("{program}\0{account}").into()
}

impl Habits {
    /// Whether a lane is worth keeping for it.
    pub(super) fn believes(&self, habit: &str, rule: OwnRows) -> bool {
        match rule {
            OwnRows::Always => true,
            OwnRows::Never => false,
            OwnRows::Learn => self.scores.get(habit).map_or(SCORE_FIRST, |entry| entry.score) > 0,
        }
    }

    /// It Dolt-committed after a SQL commit of its own.
    pub(super) fn hit(&mut self, habit: &Arc<str>) {
        self.change(habit, |score| score.max(0) + 1);
    }

    /// It went on without, or was too slow.
    pub(super) fn miss(&mut self, habit: &Arc<str>) {
        self.change(habit, |score| score - 1);
    }

    fn change(&mut self, habit: &Arc<str>, by: impl Fn(i8) -> i8) {
        self.uses += 1;
        let used = self.uses;
        if !self.scores.contains_key(habit) && self.scores.len() >= ENTRIES_MAX {
            let mut uses: Vec<u64> = self.scores.values().map(|entry| entry.used).collect();
            let middle = uses.len() / 2;
            let middle = *uses.select_nth_unstable(middle).1;
            self.scores.retain(|_, entry| entry.used > middle);
        }
        let entry = self.scores.entry(Arc::clone(habit)).or_insert(Score { score: SCORE_FIRST, used });
        entry.score = by(entry.score).clamp(SCORE_MIN, SCORE_MAX);
        entry.used = used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn believed_at_first_and_by_experience_after() {
        let mut habits = Habits::default();
        let bd = habit_of("bd", "root@localhost");
        let script = habit_of("python3", "root@localhost");
        assert!(habits.believes(&bd, OwnRows::Learn));
        habits.miss(&script);
        assert!(!habits.believes(&script, OwnRows::Learn), "one miss is enough at first");
        assert!(habits.believes(&bd, OwnRows::Learn), "of another program nothing was learned");
        for _ in 0..10 {
            habits.hit(&bd);
        }
        for left in [true, true, false] {
            habits.miss(&bd);
            assert_eq!(habits.believes(&bd, OwnRows::Learn), left, "at most three are remembered");
        }
        for _ in 0..10 {
            habits.miss(&bd);
        }
        habits.hit(&bd);
        assert!(habits.believes(&bd, OwnRows::Learn), "one Dolt commit is enough");
    }

    #[test]
    fn a_rule_is_stronger() {
        let mut habits = Habits::default();
        let who = habit_of("a", "b");
        assert!(!habits.believes(&who, OwnRows::Never));
        habits.miss(&who);
        assert!(habits.believes(&who, OwnRows::Always));
    }

    #[test]
    fn program_and_account_are_not_run_together() {
        assert_ne!(habit_of("ab", "c"), habit_of("a", "bc"));
    }

    #[test]
    fn entries_are_bounded_and_the_recent_stay() {
        let mut habits = Habits::default();
        let names: Vec<_> = (0..=ENTRIES_MAX).map(|n| habit_of(&n.to_string(), "x")).collect();
        for name in &names {
            habits.miss(name);
        }
        assert!(habits.scores.len() <= ENTRIES_MAX);
        assert!(!habits.believes(&names[ENTRIES_MAX], OwnRows::Learn));
        assert!(habits.believes(&names[0], OwnRows::Learn), "forgotten: believed again");
    }
}
