//! Owns when a database is backed up next. The core: no tokio, no I/O; seconds since 1970 in and out.
//! Always: a failure is tried again sooner than the next backup is due, but not at once.

/// First wait after a failure; it doubles with each further one.
const RETRY_MIN_S: u64 = 60;
const RETRY_MAX_S: u64 = 3600;

/// What is known of a database's scheduled backups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// When the last good one was made.
    pub good: Option<u64>,
    /// When one was tried last.
    pub tried: Option<u64>,
    /// How many failed since the last good one.
    pub failures: u32,
}

/// When the next one is due; not after `now` means at once. A time in the future, which a clock that was set back leaves,
/// says nothing: so it is due at once, rather than when the clock gets there.
pub fn due(every_s: u64, past: Past, now: u64) -> u64 {
    if past.failures > 0 {
        let doubled = 2_u64.saturating_pow((past.failures - 1).min(16));
        let wait = RETRY_MIN_S.saturating_mul(doubled).min(RETRY_MAX_S).min(every_s);
        return after(past.tried, wait, now);
    }
    after(past.good, every_s, now)
}

fn after(time: Option<u64>, wait: u64, now: u64) -> u64 {
    time.filter(|time| *time <= now).map_or(now, |time| time.saturating_add(wait))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn times() {
        for (what, past, now, want) in [
            ("never", Past::default(), 1000, 1000),
            ("yesterday", Past { good: Some(1000), tried: Some(1000), failures: 0 }, 5000, 1000 + DAY),
            ("overdue", Past { good: Some(1000), tried: Some(1000), failures: 0 }, 5 * DAY, 1000 + DAY),
            ("the clock was set back", Past { good: Some(9000), tried: Some(9000), failures: 0 }, 5000, 5000),
            ("the first failed", Past { good: None, tried: Some(1000), failures: 1 }, 1000, 1060),
            ("the third in a row failed", Past { good: Some(1), tried: Some(1000), failures: 3 }, 1000, 1240),
            ("many failed", Past { good: Some(1), tried: Some(1000), failures: 400 }, 1000, 4600),
            ("failed, clock set back", Past { good: Some(1), tried: Some(9000), failures: 1 }, 1000, 1000),
        ] {
            assert_eq!(due(DAY, past, now), want, "{what}");
        }
        assert_eq!(
            due(30, Past { good: None, tried: Some(1000), failures: 9 }, 1000),
            1030,
            "not later than usual"
        );
    }

    proptest! {
        /// Whoever asks again when told to finds it due; a good one is `every_s` old at most, when nothing fails.
        #[test]
        fn what_is_due_is_due_then(every_s in 1_u64..100_000, good: Option<u32>, tried: Option<u32>, failures in 0_u32..50, now: u32) {
            let past = Past { good: good.map(u64::from), tried: tried.map(u64::from), failures };
            let at = due(every_s, past, now.into());
            prop_assert!(at <= u64::from(now) + every_s);
            let then = at.max(now.into());
            prop_assert!(due(every_s, past, then) <= then);
        }
    }
}
