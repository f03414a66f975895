use proptest::prelude::*;

use super::*;

const AFTER_S: u64 = 900;

fn well() -> Core {
    Core::restore(AFTER_S, Kept::default())
}

fn shown(actions: &[Action]) -> Vec<String> {
    let one = |action: &Action| match action {
        Action::Raised(alert) => format!("+{} {}", alert.kind.as_str(), alert.since),
        Action::Cleared(alert) => format!("-{} {}", alert.kind.as_str(), alert.since),
    };
    actions.iter().map(one).collect()
}

fn tried(
    core: &mut Core,
    database: &str,
    remote: &str,
    outcome: Outcome,
    text: &str,
    now: u64,
) -> Vec<Action> {
    core.remote_outcome(outcome, Said { database, remote, text, advice: outcome.advice() }, now)
}

#[test]
fn one_story_after_another() {
    use Outcome::{Auth, Behind, NoBranch, Pushed, Rejected, Rewritten, Timeout, Unreachable, UpToDate};
    // Each: seconds, outcome (None: time passes), what is told.
    type Step = (u64, Option<Outcome>, &'static [&'static str]);
    let stories: [(&str, &[Step]); 9] = [
        ("all is well", &[(0, Some(Pushed), &[]), (9, Some(UpToDate), &[])]),
        (
            "credentials: told once, over when well",
            &[(5, Some(Auth), &["+auth 5"]), (9, Some(Auth), &[]), (20, Some(Pushed), &["-auth 5"])],
        ),
        (
            "a remote that can't be reached says nothing of credentials",
            &[
                (5, Some(Auth), &["+auth 5"]),
                (9, Some(Unreachable), &[]),
                (12, Some(Timeout), &[]),
                (15, Some(Auth), &[]),
                (20, Some(UpToDate), &["-auth 5"]),
            ],
        ),
        (
            "reading says nothing of what a push needs; a hook that refuses has let us in",
            &[
                (5, Some(Auth), &["+auth 5"]),
                (9, Some(Behind), &["+behind 9"]),
                (12, Some(Rejected), &["-auth 5"]),
                (20, Some(Pushed), &["-behind 9"]),
            ],
        ),
        (
            "behind and rewritten exclude each other; an empty one is not ahead",
            &[
                (5, Some(Behind), &["+behind 5"]),
                (6, Some(Unreachable), &[]),
                (7, Some(Rewritten), &["-behind 5", "+rewritten 7"]),
                (8, Some(Behind), &["-rewritten 7", "+behind 8"]),
                (9, Some(NoBranch), &["-behind 8"]),
            ],
        ),
        (
            "failing exactly after its time, since the first failure, whatever failed",
            &[
                (100, Some(Unreachable), &[]),
                (500, Some(Timeout), &[]),
                (999, None, &[]),
                (1000, None, &["+failing 100"]),
                (1001, None, &[]),
                (1002, Some(Unreachable), &[]),
                (1003, Some(Pushed), &["-failing 100"]),
                (9000, None, &[]),
            ],
        ),
        (
            "an outcome tells it as well as the clock; being well begins anew",
            &[
                (100, Some(Unreachable), &[]),
                (900, Some(Pushed), &[]),
                (1000, Some(Unreachable), &[]),
                (1899, Some(Unreachable), &[]),
                (1900, Some(Unreachable), &["+failing 1000"]),
            ],
        ),
        (
            "a clock that is set back does not put it off",
            &[
                (100_000, Some(Unreachable), &[]),
                (100, Some(Unreachable), &[]),
                (1000, None, &["+failing 100"]),
            ],
        ),
        (
            "credentials that are missing for long are failing too",
            &[
                (0, Some(Auth), &["+auth 0"]),
                (900, None, &["+failing 0"]),
                (901, Some(UpToDate), &["-auth 0", "-failing 0"]),
            ],
        ),
    ];
    for (story, steps) in stories {
        let mut core = well();
        for (now, outcome, want) in steps {
            let actions = match outcome {
                Some(outcome) => tried(&mut core, "Beads", "origin", *outcome, "no", *now),
                None => core.tick(*now),
            };
            assert_eq!(shown(&actions), *want, "{story}, second {now}");
        }
    }
}

#[test]
fn remotes_and_databases_are_told_apart_but_not_by_case() {
    let mut core = well();
    assert_eq!(tried(&mut core, "a", "x", Outcome::Auth, "", 1).len(), 1);
    assert_eq!(tried(&mut core, "a", "y", Outcome::Auth, "", 1).len(), 1);
    assert_eq!(tried(&mut core, "b", "x", Outcome::Auth, "", 1).len(), 1);
    assert_eq!(tried(&mut core, "A", "x", Outcome::Auth, "", 1).len(), 0);
    assert_eq!(tried(&mut core, "A", "y", Outcome::Pushed, "", 2).len(), 1);
    assert_eq!(core.raised().len(), 2);
}

#[test]
fn a_removed_remote_ends_its_alerts_but_not_those_of_backups() {
    let mut core = well();
    tried(&mut core, "a", "x", Outcome::Auth, "", 1);
    let said = Said { database: "a", remote: "/backups", text: "full", advice: "" };
    assert!(core.raise(Kind::Backup, said, 2).is_some());
    assert_eq!(shown(&core.forget("A", 3)), ["-auth 1"]);
    assert!(core.tick(2000).is_empty(), "it is not failing any more");
    tried(&mut core, "A", "x", Outcome::Auth, "", 2001);
    tried(&mut core, "A", "y", Outcome::Auth, "", 2002);
    assert_eq!(shown(&core.keep(|database, remote| (database, remote) == ("a", "y"), 2003)), ["-auth 2001"]);
    assert_eq!(shown(&core.forget("a", 2004)), ["-auth 2002"]);
    assert_eq!(core.raised().len(), 1);
    assert_eq!(shown(&Vec::from_iter(core.clear(Kind::Backup, "a", "/backups", 4))), ["-backup 2"]);
}

#[test]
fn the_last_text_is_shown_and_what_is_over_is_kept_for_a_day() {
    let mut core = well();
    tried(&mut core, "a", "x", Outcome::Auth, "first", 1);
    tried(&mut core, "a", "x", Outcome::Auth, "second", 2);
    assert_eq!(core.raised()[0].text, "second");
    tried(&mut core, "a", "x", Outcome::Pushed, "", 10);
    let untold: Vec<Event> = core.untold().into_iter().map(|(_, event)| event).collect();
    assert_eq!(untold, [Event::Raised, Event::Cleared]);
    core.tick(10 + CLEARED_KEPT_S);
    assert_eq!(core.cleared().len(), 1, "nobody has been told");
    for event in [Event::Raised, Event::Cleared] {
        core.told(1, event, "log".to_owned());
    }
    core.tick(9 + CLEARED_KEPT_S);
    assert_eq!((core.cleared().len(), core.untold().len()), (1, 0));
    core.tick(10 + CLEARED_KEPT_S);
    assert!(core.cleared().is_empty());
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    proptest::sample::select(vec![
        Outcome::UpToDate,
        Outcome::Pushed,
        Outcome::Behind,
        Outcome::Rewritten,
        Outcome::Rejected,
        Outcome::Unreachable,
        Outcome::Auth,
        Outcome::NoBranch,
        Outcome::Timeout,
        Outcome::Busy,
        Outcome::OtherData,
        Outcome::DoltError,
    ])
}

#[derive(Debug, Clone)]
enum Step {
    Outcome(usize, Outcome),
    Tick,
    Forget(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        6 => (0_usize..3, outcomes()).prop_map(|(line, outcome)| Step::Outcome(line, outcome)),
        3 => Just(Step::Tick),
        1 => (0_usize..2).prop_map(Step::Forget),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec((0_u64..400, step), 0..80)
}

/// Two databases, one with two remotes.
const LINES: [(&str, &str); 3] = [("a", "x"), ("a", "y"), ("b", "x")];

proptest! {
    #[test]
    fn raised_and_cleared_take_turns_and_well_means_no_alert(steps in steps()) {
        let mut core = well();
        let mut now = 1_000_000;
        let mut open = std::collections::BTreeSet::new();
        let mut first_failure: [Option<u64>; 3] = [None; 3];
        for (passes, step) in steps {
            now += passes;
            let mut well = None;
            let actions = match step {
                Step::Outcome(at, outcome) => {
                    let (database, remote) = LINES[at];
                    if outcome.is_well() {
                        well = Some(LINES[at]);
                        first_failure[at] = None;
                    } else {
                        first_failure[at].get_or_insert(now);
                    }
                    tried(&mut core, database, remote, outcome, "text", now)
                }
                Step::Tick => core.tick(now),
                Step::Forget(at) => {
                    let database = ["a", "b"][at];
                    for (line, first) in LINES.iter().zip(&mut first_failure) {
                        if line.0 == database {
                            *first = None;
                        }
                    }
                    core.forget(database, now)
                }
                Step::Restart => {
                    let kept = core.kept();
                    let bytes = serde_json::to_vec(&kept).unwrap();
                    core = Core::restore(AFTER_S, serde_json::from_slice(&bytes).unwrap());
                    prop_assert_eq!(core.kept(), kept);
                    Vec::new()
                }
            };
            for action in &actions {
                match action {
                    Action::Raised(alert) => prop_assert!(open.insert(alert.key()), "raised twice: {:?}", alert),
                    Action::Cleared(alert) => prop_assert!(open.remove(&alert.key()), "not raised: {:?}", alert),
                }
            }
            let raised: std::collections::BTreeSet<Key> = core.raised().iter().map(Alert::key).collect();
            prop_assert_eq!(&raised, &open);
            if let Some((database, remote)) = well {
                prop_assert!(!core.raised().iter().any(|a| (a.database.as_str(), a.remote.as_str()) == (database, remote)));
            }
            // Failing: exactly those whose first failure is so long ago, once the core has heard the time.
            let now_heard = core.tick(now);
            for action in &now_heard {
                let Action::Raised(alert) = action else { panic!("{action:?}") };
                prop_assert!(open.insert(alert.key()));
            }
            for (at, (database, remote)) in LINES.iter().enumerate() {
                let key = Key::new(Kind::Failing, database, remote);
                let is_due = first_failure[at].is_some_and(|first| now - first >= AFTER_S);
                prop_assert_eq!(core.raised.contains_key(&key), is_due, "{} {} at {}", database, remote, now);
                if let Some(alert) = core.raised.get(&key) {
                    prop_assert_eq!(Some(alert.since), first_failure[at]);
                }
            }
            let waiting = LINES.iter().zip(first_failure).filter_map(|(_, first)| first).map(|f| f + AFTER_S);
            prop_assert_eq!(core.next(), waiting.filter(|at| *at > now).min());
        }
    }
}
