use super::*;
use proptest::prelude::*;

const START_TIMEOUT: Duration = Duration::from_secs(300);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

fn policy(private: bool) -> Policy {
    Policy::new(Settings {
        private,
        health_interval: Duration::from_secs(30),
        start_timeout: START_TIMEOUT,
        stop_timeout: STOP_TIMEOUT,
    })
}

fn exited(how: &str) -> Event {
    Event::Exited { how: how.into(), locked: false }
}

/// A policy whose Dolt is up since `now`.
fn up(now: Instant) -> Policy {
    let mut policy = policy(true);
    assert_eq!(policy.on(Event::Start, now), [Action::SayStarting, Action::Spawn]);
    assert_eq!(policy.on(Event::Tick, now + START_PROBE_EVERY), [Action::Probe]);
    assert_eq!(policy.on(Event::Answered, now + START_PROBE_EVERY), [Action::SayReady]);
    policy
}

/// Lets it crash and come back after `up_for`; the delay that was chosen.
fn crash(policy: &mut Policy, now: &mut Instant, up_for: Duration) -> (Duration, Vec<Action>) {
    *now += up_for;
    let actions = policy.on(exited("killed"), *now);
    let mut delay = Duration::ZERO;
    if !actions.contains(&Action::Spawn) {
        let at = policy.deadline().expect("a restart is planned");
        delay = at - *now;
        *now = at;
        assert_eq!(policy.on(Event::Tick, *now), [Action::SayStarting, Action::Spawn]);
    }
    *now += START_PROBE_EVERY;
    assert_eq!(policy.on(Event::Tick, *now), [Action::Probe]);
    assert_eq!(policy.on(Event::Answered, *now), [Action::SayReady]);
    (delay, actions)
}

#[test]
fn restarts_at_once_after_a_healthy_minute_and_backs_off_otherwise() {
    let mut now = Instant::now();
    let mut policy = up(now);
    let seconds = Duration::from_secs;
    assert_eq!(crash(&mut policy, &mut now, seconds(61)).0, seconds(0));
    assert_eq!(crash(&mut policy, &mut now, seconds(5)).0, seconds(1));
    assert_eq!(crash(&mut policy, &mut now, seconds(5)).0, seconds(2));
    assert_eq!(crash(&mut policy, &mut now, seconds(5)).0, seconds(4));
}

#[test]
fn the_fifth_restart_in_ten_minutes_alerts_once_and_slows_down() {
    let mut now = Instant::now();
    let mut policy = up(now);
    for _ in 0..4 {
        let (_, actions) = crash(&mut policy, &mut now, Duration::from_secs(5));
        assert!(!actions.iter().any(|a| matches!(a, Action::Alert(_))), "{actions:?}");
    }
    let (delay, actions) = crash(&mut policy, &mut now, Duration::from_secs(5));
    assert_eq!(delay, BACKOFF_MAX);
    assert!(
        actions.iter().any(|a| matches!(a, Action::Alert(text) if text.contains("5 times"))),
        "{actions:?}"
    );
    let (delay, actions) = crash(&mut policy, &mut now, Duration::from_secs(5));
    assert_eq!(delay, BACKOFF_MAX);
    assert!(!actions.iter().any(|a| matches!(a, Action::Alert(_))), "alerted twice: {actions:?}");

    // Ten good minutes: all is forgotten, the alert is taken back.
    now += Duration::from_secs(601);
    assert_eq!(policy.on(Event::Tick, now), [Action::Probe]);
    assert_eq!(policy.on(Event::Answered, now), [Action::ClearAlert]);
    assert_eq!(crash(&mut policy, &mut now, Duration::from_secs(5)).0, Duration::ZERO);
    assert_eq!(crash(&mut policy, &mut now, Duration::from_secs(5)).0, BACKOFF_MIN);
}

#[test]
fn restarts_that_are_far_apart_do_not_alert() {
    let mut now = Instant::now();
    let mut policy = up(now);
    for _ in 0..20 {
        let (delay, actions) = crash(&mut policy, &mut now, Duration::from_secs(200));
        assert_eq!(delay, Duration::ZERO);
        assert!(!actions.iter().any(|a| matches!(a, Action::Alert(_))), "{actions:?}");
    }
}

#[test]
fn three_failed_probes_end_it_and_a_kill_waits_for_the_timeout() {
    let start = Instant::now();
    let mut policy = up(start);
    let mut now = start;
    for round in 1..=FAILURES_MAX {
        now = policy.deadline().expect("a probe is planned");
        assert_eq!(policy.on(Event::Tick, now), [Action::Probe]);
        let actions = policy.on(Event::Unanswered("timeout".into()), now);
        if round < FAILURES_MAX {
            assert_eq!(actions, []);
        } else {
            assert!(
                matches!(&actions[..], [Action::SayDown(why), Action::Terminate] if why.contains("timeout"))
            );
        }
    }
    assert_eq!(policy.deadline(), Some(now + STOP_TIMEOUT));
    assert_eq!(policy.on(Event::Tick, now + STOP_TIMEOUT - Duration::from_millis(1)), []);
    assert_eq!(policy.on(Event::Tick, now + STOP_TIMEOUT), [Action::Kill]);
    assert_eq!(policy.deadline(), None, "killed once, then only waited for");
    let actions = policy.on(exited("SIGKILL"), now + STOP_TIMEOUT);
    assert!(
        matches!(&actions[0], Action::SayDown(why) if why.contains("does not answer SQL")),
        "{actions:?}"
    );
}

#[test]
fn one_good_probe_forgives_two_bad_ones() {
    let mut policy = up(Instant::now());
    for outcome in [false, false, true, false, false] {
        let now = policy.deadline().expect("a probe is planned");
        assert_eq!(policy.on(Event::Tick, now), [Action::Probe]);
        let event = if outcome { Event::Answered } else { Event::Unanswered("slow".into()) };
        assert_eq!(policy.on(event, now), []);
    }
}

#[test]
fn a_lost_backend_is_probed_at_once_but_only_one_probe_at_a_time() {
    let now = Instant::now();
    let mut policy = up(now);
    let now = now + Duration::from_secs(1);
    assert_eq!(policy.on(Event::Lost, now), [Action::Probe]);
    assert_eq!(policy.on(Event::Lost, now), []);
}

#[test]
fn a_first_start_that_fails_is_given_up_and_a_later_one_is_not() {
    let now = Instant::now();
    let mut first = policy(true);
    first.on(Event::Start, now);
    assert_eq!(first.on(exited("bad flag"), now), [Action::GiveUp("bad flag".into())]);

    let mut slow = policy(true);
    slow.on(Event::Start, now);
    assert_eq!(slow.on(Event::Tick, now + START_TIMEOUT), [Action::Terminate]);
    let actions = slow.on(exited("SIGTERM"), now + START_TIMEOUT);
    assert!(matches!(&actions[..], [Action::GiveUp(why)] if why.contains("within 300 s")), "{actions:?}");

    let mut later = up(now);
    later.on(exited("killed"), now + Duration::from_secs(61));
    let actions = later.on(exited("killed again"), now + Duration::from_secs(62));
    assert!(matches!(&actions[..], [Action::SayDown(why)] if why.contains("in 1 s")), "{actions:?}");
}

#[test]
fn a_foreign_lock_is_not_hurried() {
    let now = Instant::now();
    let mut policy = up(now);
    let actions =
        policy.on(Event::Exited { how: "locked".into(), locked: true }, now + Duration::from_secs(90));
    assert_eq!(actions, [Action::SayDown("locked; it is started again in 60 s".into())]);
}

#[test]
fn stop_works_in_every_phase() {
    let now = Instant::now();
    let mut running = up(now);
    assert_eq!(running.on(Event::Stop, now), [Action::SayStopping, Action::Terminate]);
    assert_eq!(running.on(Event::Stop, now), [Action::SayStopping]);
    assert_eq!(running.on(exited("SIGTERM"), now), [Action::Finish]);
    assert_eq!(running.on(Event::Stop, now), []);

    let mut pausing = up(now);
    pausing.on(exited("killed"), now + Duration::from_secs(1));
    assert_eq!(pausing.on(Event::Stop, now), [Action::SayStopping, Action::Finish]);
    assert_eq!(pausing.deadline(), None);
}

#[test]
fn held_for_a_moment_it_is_ended_and_started_again_without_counting_as_a_restart() {
    let mut now = Instant::now();
    let mut policy = up(now);
    // More often than restarts that raise the alert.
    for _ in 0..2 * RESTARTS_MAX {
        now += Duration::from_secs(1);
        assert_eq!(policy.on(Event::Hold, now), [Action::SayHeld, Action::Terminate]);
        assert_eq!(policy.deadline(), Some(now + STOP_TIMEOUT), "killed if it does not end");
        assert_eq!(policy.on(Event::Hold, now), [Action::RefuseHold], "one at a time");
        // Also if it ended otherwise than by SIGTERM.
        assert_eq!(policy.on(exited("killed"), now), [Action::Move]);
        assert_eq!(policy.on(Event::Lost, now), []);
        assert_eq!(policy.on(Event::Moved, now), [Action::SayStarting, Action::Spawn]);
        assert_eq!(policy.on(Event::Hold, now), [Action::RefuseHold], "it does not answer yet");
        now += START_PROBE_EVERY;
        assert_eq!(policy.on(Event::Tick, now), [Action::Probe]);
        assert_eq!(policy.on(Event::Answered, now), [Action::SayReady]);
    }
    // A stop in between ends it; what is to be renamed is renamed by the next start, or never began.
    policy.on(Event::Hold, now);
    assert_eq!(policy.on(Event::Stop, now), [Action::SayStopping]);
    assert_eq!(policy.on(exited("SIGTERM"), now), [Action::Finish]);

    let mut pausing = up(now);
    pausing.on(exited("killed"), now + Duration::from_secs(1));
    assert_eq!(pausing.on(Event::Hold, now), [Action::RefuseHold]);
    assert_eq!(policy_of_another().on(Event::Hold, now), [Action::RefuseHold]);
}

/// Somebody else's server, up.
fn policy_of_another() -> Policy {
    let now = Instant::now();
    let mut policy = policy(false);
    policy.on(Event::Start, now);
    policy.on(Event::Answered, now);
    policy
}

#[test]
fn somebody_elses_server_is_only_looked_at() {
    let mut now = Instant::now();
    let mut policy = policy(false);
    assert_eq!(policy.on(Event::Start, now), [Action::SayStarting, Action::Probe]);
    let refused = || Event::Unanswered("connection refused".into());
    assert!(matches!(&policy.on(refused(), now)[..], [Action::SayDown(_)]));
    now = policy.deadline().expect("looked for again");
    assert_eq!(policy.on(Event::Tick, now), [Action::Probe]);
    assert_eq!(policy.on(refused(), now), [], "the same reason is said once");
    now = policy.deadline().expect("looked for again");
    assert_eq!(policy.on(Event::Tick, now), [Action::Probe]);
    assert_eq!(policy.on(Event::Answered, now), [Action::SayReady]);
    assert_eq!(policy.on(Event::Stop, now), [Action::SayStopping, Action::Finish]);
}

fn events() -> impl Strategy<Value = (u64, u8)> {
    (0..90_000u64, 0..8u8)
}

proptest! {
    /// Whatever happens: one process at a time, a kill only 30 s after SIGTERM, one probe at a time,
    /// and as long as it is not over something is planned or awaited.
    #[test]
    fn keeps_its_promises(steps in proptest::collection::vec(events(), 1..200), private: bool) {
        let mut now = Instant::now();
        let mut policy = policy(private);
        let (mut alive, mut probing, mut terminated, mut over) = (false, false, None::<Instant>, false);
        let mut queue = vec![Event::Start];
        for (advance_ms, kind) in steps {
            now += Duration::from_millis(advance_ms);
            match kind {
                0 if alive => { alive = false; probing = false; queue.push(exited("gone")); }
                1 if probing => { probing = false; queue.push(Event::Answered); }
                2 if probing => { probing = false; queue.push(Event::Unanswered("no".into())); }
                3 => queue.push(Event::Lost),
                4 if advance_ms < 2_000 => queue.push(Event::Stop),
                6 => queue.push(Event::Hold),
                5 => if let Some(at) = policy.deadline() { now = now.max(at); queue.push(Event::Tick); },
                _ => queue.push(Event::Tick),
            }
            while !queue.is_empty() {
                for action in policy.on(queue.remove(0), now) {
                    prop_assert!(!over || action == Action::RefuseHold, "{action:?} after the end");
                    match action {
                        Action::Spawn => { prop_assert!(private && !alive); alive = true; terminated = None; }
                        Action::Probe => { prop_assert!(!probing); probing = true; }
                        Action::Terminate => { prop_assert!(alive); terminated = Some(now); }
                        Action::Kill => {
                            let at = terminated.expect("SIGTERM came first");
                            prop_assert!(alive && now - at >= STOP_TIMEOUT);
                        }
                        Action::Move => { prop_assert!(!alive); queue.insert(0, Event::Moved); }
                        Action::Finish | Action::GiveUp(_) => { prop_assert!(!alive); over = true; }
                        _ => {}
                    }
                }
            }
            prop_assert!(over || alive || probing || policy.deadline().is_some());
        }
    }
}
