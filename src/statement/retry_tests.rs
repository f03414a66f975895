//! Every row of the table, against a table written by hand in another form.

use proptest::prelude::*;

use super::*;

const FAILURES: [Failure; 13] = [
    Failure::Conflict,
    Failure::ConflictStillOpen,
    Failure::ConnectionEnded,
    Failure::MergeConflict,
    Failure::ConstraintViolations,
    Failure::NothingToCommit,
    Failure::SeveralHeads,
    Failure::ReadOnly,
    Failure::Other,
    Failure::LostBeforeSent,
    Failure::LostUnanswered,
    Failure::LostMidAnswer,
    Failure::DoltDown,
];
const PHASES: [Phase; 6] = [
    Phase::Read,
    Phase::Write,
    Phase::InTransaction,
    Phase::Commit,
    Phase::DoltProcedure,
    Phase::Unrepeatable,
];
const BUDGET: Duration = Duration::from_secs(8);

/// Compiles only while the lists above are whole.
fn is_listed(failure: Failure, phase: Phase) -> bool {
    let failure_at = match failure {
        Failure::Conflict => 0,
        Failure::ConflictStillOpen => 1,
        Failure::ConnectionEnded => 2,
        Failure::MergeConflict => 3,
        Failure::ConstraintViolations => 4,
        Failure::NothingToCommit => 5,
        Failure::SeveralHeads => 6,
        Failure::ReadOnly => 7,
        Failure::Other => 8,
        Failure::LostBeforeSent => 9,
        Failure::LostUnanswered => 10,
        Failure::LostMidAnswer => 11,
        Failure::DoltDown => 12,
    };
    let phase_at = match phase {
        Phase::Read => 0,
        Phase::Write => 1,
        Phase::InTransaction => 2,
        Phase::Commit => 3,
        Phase::DoltProcedure => 4,
        Phase::Unrepeatable => 5,
    };
    FAILURES[failure_at] == failure && PHASES[phase_at] == phase
}

/// Circumstances, one block each. Columns: read, write, in a transaction, COMMIT, procedure, unrepeatable.
///
/// again! = same backend, statement; replay! = same backend, transaction; again+, replay+ = on a new one.
const EXPECTED: &str = "
all is well
Conflict              again!  again!  replay! replay! replay! relay
ConflictStillOpen     again!  again!  replay! replay! replay! rollback
ConnectionEnded       again+  again+  replay+ replay+ replay+ relay
MergeConflict         relay   relay   relay   relay   relay   relay
ConstraintViolations  relay   again!  replay! replay! replay! relay
NothingToCommit       done    done    done    done    done    done
SeveralHeads          rollback rollback rollback rollback rollback rollback
ReadOnly              relay   relay   relay   relay   relay   relay
Other                 relay   relay   relay   relay   relay   relay
LostBeforeSent        again+  again+  replay+ replay+ replay+ lost
LostUnanswered        again+  fate    replay+ fate    fate    fate
LostMidAnswer         again+  fate    replay+ fate    fate    fate
DoltDown              again+  again+  replay+ replay+ replay+ lost

the session is pinned
Conflict              again!  again!  replay! replay! replay! relay
ConflictStillOpen     again!  again!  replay! replay! replay! rollback
ConnectionEnded       lost    lost    1213    1213    1213    relay
MergeConflict         relay   relay   relay   relay   relay   relay
ConstraintViolations  relay   again!  replay! replay! replay! relay
NothingToCommit       done    done    done    done    done    done
SeveralHeads          rollback rollback rollback rollback rollback rollback
ReadOnly              relay   relay   relay   relay   relay   relay
Other                 relay   relay   relay   relay   relay   relay
LostBeforeSent        lost    lost    1213    1213    1213    lost
LostUnanswered        lost    fate    1213    fate    fate    fate
LostMidAnswer         lost    fate    1213    fate    fate    fate
DoltDown              lost    lost    1213    1213    1213    lost

once already
Conflict              again!  again!  replay! replay! replay! relay
ConflictStillOpen     again!  again!  replay! replay! replay! rollback
ConnectionEnded       again+  again+  replay+ replay+ replay+ relay
MergeConflict         relay   relay   relay   relay   relay   relay
ConstraintViolations  relay   relay   relay   relay   relay   relay
NothingToCommit       done    done    done    done    done    done
SeveralHeads          rollback rollback rollback rollback rollback rollback
ReadOnly              relay   relay   relay   relay   relay   relay
Other                 relay   relay   relay   relay   relay   relay
LostBeforeSent        again+  again+  replay+ replay+ replay+ lost
LostUnanswered        again+  fate    replay+ fate    fate    fate
LostMidAnswer         again+  fate    replay+ fate    fate    fate
DoltDown              again+  again+  replay+ replay+ replay+ lost

not kept, ten times already, or past the budget
Conflict              1213    1213    1213    1213    1213    relay
ConflictStillOpen     1213    1213    1213    1213    1213    rollback
ConnectionEnded       lost    lost    1213    1213    1213    relay
MergeConflict         relay   relay   relay   relay   relay   relay
ConstraintViolations  relay   relay   relay   relay   relay   relay
NothingToCommit       done    done    done    done    done    done
SeveralHeads          rollback rollback rollback rollback rollback rollback
ReadOnly              relay   relay   relay   relay   relay   relay
Other                 relay   relay   relay   relay   relay   relay
LostBeforeSent        lost    lost    1213    1213    1213    lost
LostUnanswered        lost    fate    1213    fate    fate    fate
LostMidAnswer         lost    fate    1213    fate    fate    fate
DoltDown              lost    lost    1213    1213    1213    lost

the client has a byte
Conflict              1213    1213    1213    1213    1213    relay
ConflictStillOpen     1213    1213    1213    1213    1213    rollback
ConnectionEnded       lost    lost    1213    1213    1213    relay
MergeConflict         relay   relay   relay   relay   relay   relay
ConstraintViolations  relay   relay   relay   relay   relay   relay
NothingToCommit       done    done    done    done    done    done
SeveralHeads          rollback rollback rollback rollback rollback rollback
ReadOnly              relay   relay   relay   relay   relay   relay
Other                 relay   relay   relay   relay   relay   relay
LostBeforeSent        lost    lost    1213    1213    1213    lost
LostUnanswered        lost    unknown 1213    unknown unknown unknown
LostMidAnswer         lost    unknown 1213    unknown unknown unknown
DoltDown              lost    lost    1213    1213    1213    lost
";

fn named(action: Action) -> &'static str {
    match action {
        Action::Relay => "relay",
        Action::RelayCommitted => "done",
        Action::RollBackAndRelay => "rollback",
        Action::RollBackAndRunAgain => "again!",
        Action::RollBackAndReplay => "replay!",
        Action::NewBackendAndRunAgain => "again+",
        Action::NewBackendAndReplay => "replay+",
        Action::FindFate => "fate",
        Action::AnswerForDolt => "answer",
        Action::Tell1213 => "1213",
        Action::TellLost => "lost",
        Action::TellApplied => "applied",
        Action::TellUnknown => "unknown",
    }
}

fn fresh() -> Effort {
    Effort { tries: 0, elapsed: Duration::from_millis(3), budget: BUDGET }
}

const ABLE: Means = Means { logged: true, restorable: true, delivered: false };

/// The circumstances that a block's title names.
fn circumstances(title: &str) -> Vec<(Means, Effort)> {
    let late = Effort { elapsed: BUDGET, ..fresh() };
    let tired = Effort { tries: TRIES_MAX, ..fresh() };
    let pinned = Means { restorable: false, ..ABLE };
    let forgotten = Means { logged: false, ..ABLE };
    match title {
        "all is well" => vec![(ABLE, fresh())],
        "the session is pinned" => vec![(pinned, fresh())],
        "once already" => vec![(ABLE, Effort { tries: 1, ..fresh() })],
        "not kept, ten times already, or past the budget" => {
            let pinned_too = Means { restorable: false, ..forgotten };
            vec![(forgotten, fresh()), (pinned_too, fresh()), (ABLE, tired), (ABLE, late), (pinned, late)]
        }
        "the client has a byte" => {
            let delivered = |means| Means { delivered: true, ..means };
            [ABLE, pinned, forgotten].into_iter().map(|means| (delivered(means), fresh())).collect()
        }
        _ => panic!("no such circumstances: {title}"),
    }
}

#[test]
fn every_row_says_what_the_table_says() {
    let mut cells = 0;
    let blocks: Vec<_> = EXPECTED.trim().split("\n\n").collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let (title, rows) = block.split_once('\n').expect("a title");
        for (failure, line) in FAILURES.into_iter().zip(rows.lines()) {
            let mut words = line.split_whitespace();
            assert_eq!(words.next(), Some(format!("{failure:?}").as_str()), "{title}");
            let words: Vec<_> = words.collect();
            assert_eq!(words.len(), PHASES.len(), "{line}");
            for (phase, want) in PHASES.into_iter().zip(words) {
                assert!(is_listed(failure, phase));
                for (means, effort) in circumstances(title) {
                    let decision = decide(failure, phase, means, effort, 7);
                    let is = named(decision.action);
                    assert_eq!(is, want, "{title}: {failure:?} in {phase:?} with {means:?}, {effort:?}");
                    cells += 1;
                }
            }
        }
        assert_eq!(rows.lines().count(), FAILURES.len(), "{title}");
    }
    assert_eq!(cells, 13 * 6 * (1 + 1 + 1 + 5 + 3));
}

#[test]
fn a_known_fate_is_settled() {
    const VERDICTS: &str = "
        DidNotHappen        again+  again+  replay+ replay+ replay+ lost
        Happened            answer  answer  answer  answer  answer  unknown
        HappenedAnswerLost  applied applied applied applied applied unknown
        CannotTell          unknown unknown unknown unknown unknown unknown";
    const UNABLE: &str = "
        DidNotHappen        lost    lost    1213    1213    1213    lost
        Happened            answer  answer  answer  answer  answer  unknown
        HappenedAnswerLost  applied applied applied applied applied unknown
        CannotTell          unknown unknown unknown unknown unknown unknown";
    let verdicts = [
        Verdict::DidNotHappen,
        Verdict::Happened { head: None },
        Verdict::HappenedAnswerLost,
        Verdict::CannotTell("others wrote too".into()),
    ];
    let pinned = Means { restorable: false, ..ABLE };
    let late = Effort { elapsed: BUDGET, ..fresh() };
    for (table, means, effort) in [(VERDICTS, ABLE, fresh()), (UNABLE, pinned, fresh()), (UNABLE, ABLE, late)]
    {
        for (verdict, line) in verdicts.iter().zip(table.trim().lines()) {
            let words: Vec<_> = line.split_whitespace().collect();
            assert!(format!("{verdict:?}").starts_with(words[0]), "{line}");
            for (phase, want) in PHASES.into_iter().zip(&words[1..]) {
                let is = named(settle(verdict, phase, means, effort, 7).action);
                assert_eq!(is, *want, "{verdict:?} in {phase:?}");
            }
        }
    }
}

#[test]
fn texts_are_failures() {
    for (code, text, want) in [
        (1213, "whatever", Failure::Conflict),
        (1105, "optimistic lock failed on database Root update", Failure::ConflictStillOpen),
        (1105, "dataset head is not ancestor of commit", Failure::ConflictStillOpen),
        (1105, "nothing to commit", Failure::NothingToCommit),
        (1105, "Cannot commit changes on more than one branch / database", Failure::SeveralHeads),
        (1105, "Merge conflict detected, transaction rolled back. Merge conflicts …", Failure::MergeConflict),
        (
            1105,
            "Committing this transaction resulted in a working set with constraint violations, transaction rolled back.",
            Failure::ConstraintViolations,
        ),
        (1105, "Database hq is read-only.", Failure::ReadOnly),
        (
            1105,
            "this server transitioned cluster roles. this connection can no longer be used. please reconnect.",
            Failure::ConnectionEnded,
        ),
        (1062, "duplicate primary key given: [1]", Failure::Other),
        (1064, "syntax error", Failure::Other),
    ] {
        assert_eq!(Failure::of(code, text), want, "{text}");
    }
}

proptest! {
    #[test]
    fn pauses_grow_stay_bounded_and_never_pass_the_budget(
        tries in 0_u32..64, elapsed_ms in 0_u64..20_000, random: u64,
    ) {
        let effort = Effort { tries, elapsed: Duration::from_millis(elapsed_ms), budget: BUDGET };
        let decision = decide(Failure::Conflict, Phase::Write, ABLE, effort, random);
        prop_assert!(decision.after <= PAUSE_MAX);
        prop_assert!(decision.after <= PAUSE_FIRST.saturating_mul(1 << tries.min(16)));
        prop_assert!(effort.elapsed + decision.after <= BUDGET || decision.after.is_zero());
        let spent = tries >= TRIES_MAX || effort.elapsed >= BUDGET;
        prop_assert_eq!(decision.action == Action::Tell1213, spent);
    }

    #[test]
    fn nothing_is_run_again_behind_a_delivered_byte(
        failure in 0_usize..13, phase in 0_usize..6, logged: bool, restorable: bool, tries in 0_u32..12, random: u64,
    ) {
        let means = Means { logged, restorable, delivered: true };
        let effort = Effort { tries, ..fresh() };
        let decision = decide(FAILURES[failure], PHASES[phase], means, effort, random);
        let again = ["again!", "again+", "replay!", "replay+", "fate"];
        prop_assert!(!again.contains(&named(decision.action)));
        prop_assert!(decision.after.is_zero());
    }
}
