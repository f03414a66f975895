use proptest::prelude::*;

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

fn times() -> Times {
    Times {
        quiet: S(2),
        quiet_max: S(30),
        heartbeat: S(180),
        backoff_min: S(5),
        backoff_max: S(300),
        running_max: 3,
    }
}

fn line(database: &str, repository: &str) -> Line {
    Line { database: database.to_owned(), repository: repository.to_owned(), heartbeat: true, configured: 0 }
}

/// With database `a`, whose first look is done.
fn looked(now: Instant) -> Core {
    let mut core = Core::new(times());
    core.set_lines(vec![line("a", "r")]);
    assert_eq!(names(core.begin(now, |_| false)), ["a heartbeat"], "what was committed before the start");
    core.end("a", true, 0.0, now);
    core
}

fn names(begun: Vec<(Line, Why)>) -> Vec<String> {
    begun.into_iter().map(|(line, why)| format!("{} {}", line.database, why.as_str())).collect()
}

#[test]
fn a_commit_is_pushed_after_the_quiet_and_a_busy_database_after_the_longest() {
    let now = Instant::now();
    let mut core = looked(now);
    core.mark("a", now);
    assert_eq!(core.next(now), Some(now + S(2)));
    core.mark("a", now + S(1));
    assert!(core.begin(now + S(2), |_| false).is_empty());
    assert_eq!(names(core.begin(now + S(3), |_| false)), ["a commit"]);
    core.end("a", true, 0.0, now + S(3));
    for second in 10..39 {
        core.mark("a", now + S(second));
        assert!(core.begin(now + S(second), |_| false).is_empty());
    }
    assert_eq!(names(core.begin(now + S(40), |_| false)), ["a commit"]);
}

#[test]
fn what_is_committed_during_a_push_is_pushed_after_it() {
    let now = Instant::now();
    let mut core = looked(now);
    core.mark("a", now);
    assert_eq!(names(core.begin(now + S(2), |_| false)), ["a commit"]);
    core.mark("a", now + S(3));
    assert!(core.begin(now + S(100), |_| false).is_empty(), "one at a time");
    core.end("a", true, 0.0, now + S(100));
    assert_eq!(names(core.begin(now + S(100), |_| false)), ["a commit"]);
}

#[test]
fn a_heartbeat_looks_without_any_commit_unless_it_is_off() {
    let now = Instant::now();
    let mut core = looked(now);
    assert_eq!(core.next(now), Some(now + S(180)));
    assert_eq!(names(core.begin(now + S(180), |_| false)), ["a heartbeat"]);
    core.end("a", true, 0.0, now + S(180));
    core.set_lines(vec![Line { heartbeat: false, ..line("a", "r") }]);
    assert_eq!(names(core.begin(now + S(180), |_| false)), ["a heartbeat"], "it was configured anew");
    core.end("a", true, 0.0, now + S(180));
    assert_eq!(core.next(now + S(180)), None);
}

#[test]
fn failures_wait_longer_each_time_and_a_success_or_another_configuration_forgets_them() {
    let now = Instant::now();
    let mut core = looked(now);
    let mut at = now;
    core.mark("a", at);
    for want in [5, 10, 20, 40, 80, 160, 300, 300] {
        at = core.next(at).unwrap().max(at);
        assert_eq!(core.begin(at, |_| false).len(), 1);
        core.end("a", false, 0.0, at);
        assert_eq!(core.next(at), Some(at + S(want)));
    }
    core.mark("a", at);
    assert_eq!(core.next(at), Some(at + S(300)), "a commit does not shorten it");
    core.set_lines(vec![Line { configured: 1, ..line("a", "r") }]);
    assert_eq!(core.begin(at, |_| false).len(), 1, "a changed configuration is tried at once");
    core.end("a", false, 1.0, at);
    assert_eq!(core.next(at), Some(at + S(5).mul_f64(1.25)));
    assert!(core.ask("a"));
    assert_eq!(names(core.begin(at, |_| false)), ["a asked"]);
    core.end("a", true, 0.0, at);
    assert_eq!(core.next(at), Some(at + S(180)));
    assert!(!core.ask("b"), "it is pushed nowhere");
}

#[test]
fn one_at_a_time_per_repository_and_a_few_in_all() {
    let now = Instant::now();
    let mut core = Core::new(times());
    let lines = [("a", "r"), ("b", "r"), ("c", "s"), ("d", "t"), ("e", "u")];
    core.set_lines(lines.map(|(database, repository)| line(database, repository)).into());
    let begun = core.begin(now, |_| false);
    assert_eq!(names(begun), ["a heartbeat", "c heartbeat", "d heartbeat"]);
    assert_eq!(core.next(now), None, "an end comes first");
    core.end("c", true, 0.0, now);
    assert_eq!(names(core.begin(now, |_| false)), ["e heartbeat"], "b's repository is busy");
    core.end("a", true, 0.0, now);
    assert_eq!(names(core.begin(now, |_| false)), ["b heartbeat"]);
}

#[test]
fn a_database_that_is_held_is_looked_at_again() {
    let now = Instant::now();
    let mut core = looked(now);
    core.mark("a", now);
    assert!(core.begin(now + S(2), |database| database == "a").is_empty());
    assert_eq!(core.next(now + S(2)), Some(now + S(3)));
    assert_eq!(names(core.begin(now + S(3), |_| false)), ["a commit"]);
}

#[test]
fn what_is_configured_anew_during_a_push_is_tried_at_once_after_it() {
    for is_well in [true, false] {
        let now = Instant::now();
        let mut core = looked(now);
        core.mark("a", now);
        assert_eq!(names(core.begin(now + S(2), |_| false)), ["a commit"]);
        core.set_lines(vec![Line { configured: 1, ..line("a", "s") }]);
        core.end("a", is_well, 0.0, now + S(3));
        assert_eq!(names(core.begin(now + S(3), |_| false)), ["a heartbeat"], "it went to the old one");
        core.end("a", true, 0.0, now + S(4));
        assert_eq!(core.next(now + S(4)), Some(now + S(184)));
    }
}

#[test]
fn what_is_removed_ends_its_push_and_is_gone() {
    let now = Instant::now();
    let mut core = looked(now);
    core.mark("a", now);
    core.begin(now + S(2), |_| false);
    core.set_lines(Vec::new());
    assert_eq!(core.outlook("a", now), Some((None, true)));
    core.end("a", false, 0.0, now + S(3));
    assert_eq!((core.outlook("a", now), core.next(now)), (None, None));
}

#[derive(Debug, Clone)]
enum Step {
    Mark(usize),
    Ask(usize),
    End(usize, bool),
    Wait(u64),
    Hold(usize),
    Reconfigure,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Step::Mark),
        1 => (0..4_usize).prop_map(Step::Ask),
        4 => ((0..4_usize), any::<bool>()).prop_map(|(which, well)| Step::End(which, well)),
        6 => (0..20_000_u64).prop_map(Step::Wait),
        1 => (0..4_usize).prop_map(Step::Hold),
        1 => Just(Step::Reconfigure),
    ]
}

proptest! {
    /// Never two at once, never too many, waits within their bounds; and when all pushes end well, all that was
    /// committed is pushed within the longest wait.
    #[test]
    fn whatever_happens(steps in proptest::collection::vec(step(), 1..120), jitter in 0.0..1.0_f64) {
        let databases = ["a", "b", "c", "d"];
        let repositories = ["r", "r", "s", "t"];
        let lines = |configured| -> Vec<Line> {
            (0..4).map(|which| Line { configured, ..line(databases[which], repositories[which]) }).collect()
        };
        let limits = Times { running_max: 2, ..times() };
        let mut core = Core::new(limits);
        core.set_lines(lines(0));
        let mut now = Instant::now();
        let (mut running, mut unpushed, mut held) = ([false; 4], [true; 4], None);
        let mut last_failure = [None; 4];
        // Configured anew during their push, which tells nothing of that.
        let mut outdated = [false; 4];
        let mut configured = 0;
        let begin = |core: &mut Core, now, held: Option<usize>, running: &mut [bool; 4], unpushed: &mut [bool; 4], last: &mut [Option<Instant>; 4]| {
            for (line, why) in core.begin(now, |name| held.is_some_and(|which| databases[which] == name)) {
                let which = databases.iter().position(|name| *name == line.database).unwrap();
                assert!(!running[which] && held != Some(which), "twice, or while held");
                if let (Some(failed), true) = (last[which], why != Why::Asked) {
                    assert!(now >= failed + limits.backoff_min, "too soon after a failure");
                }
                (running[which], unpushed[which]) = (true, false);
            }
            assert!(running.iter().filter(|running| **running).count() <= 2);
            assert!(!(running[0] && running[1]), "the same repository");
        };
        for step in steps {
            match step {
                Step::Mark(which) => { core.mark(databases[which], now); unpushed[which] = true; }
                Step::Ask(which) => { core.ask(databases[which]); }
                Step::End(which, well) if running[which] => {
                    core.end(databases[which], well, jitter, now);
                    running[which] = false;
                    let is_outdated = std::mem::take(&mut outdated[which]);
                    last_failure[which] = (!well && !is_outdated).then_some(now);
                    if !well || is_outdated {
                        unpushed[which] = true;
                        let (next, _) = core.outlook(databases[which], now).unwrap();
                        prop_assert!(next.unwrap() <= now + limits.backoff_max);
                    }
                }
                Step::End(..) => {}
                Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds),
                Step::Hold(which) => held = if held == Some(which) { None } else { Some(which) },
                Step::Reconfigure => {
                    configured += 1;
                    core.set_lines(lines(configured));
                    (last_failure, outdated) = ([None; 4], running);
                }
            }
            begin(&mut core, now, held, &mut running, &mut unpushed, &mut last_failure);
        }
        // From now on all goes well.
        for which in 0..4 {
            if running[which] {
                core.end(databases[which], true, jitter, now);
                (running[which], last_failure[which]) = (false, None);
                unpushed[which] |= outdated[which];
            }
        }
        let until = now + limits.backoff_max + limits.quiet_max;
        while unpushed.contains(&true) {
            begin(&mut core, now, None, &mut running, &mut unpushed, &mut last_failure);
            for which in 0..4 {
                if running[which] {
                    core.end(databases[which], true, jitter, now);
                    (running[which], last_failure[which]) = (false, None);
                }
            }
            let next = core.next(now);
            prop_assert!(next.is_some_and(|next| next <= until), "something is never pushed");
            now = now.max(next.unwrap());
        }
    }
}
