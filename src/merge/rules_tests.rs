//! Rules by table, and properties of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn rules(columns: &[(&str, Kind, Option<CellRule>)], updated_at: Option<usize>) -> TableRules {
    let column = |(name, kind, rule): &(&str, Kind, Option<CellRule>)| ColumnRules {
        name: (*name).to_owned(),
        kind: *kind,
        rule: *rule,
    };
    TableRules {
        columns: columns.iter().map(column).collect(),
        updated_at,
        deleted: DeleteRule::Keep,
        newer: Some(Side::Theirs),
    }
}

fn row(cells: &[&str]) -> Row {
    cells.iter().map(|cell| (*cell != "NULL").then(|| cell.as_bytes().to_vec())).collect()
}

/// One column `c` and `updated_at`, with ours or theirs changed last.
fn decide_cell(
    kind: Kind,
    rule: Option<CellRule>,
    cells: [&str; 3],
    times: [&str; 3],
) -> (String, Option<Why>) {
    let rules = rules(&[("c", kind, rule), ("updated_at", Kind::Bytes, None)], Some(1));
    let [base, ours, theirs] = [0, 1, 2].map(|n| row(&[cells[n], times[n]]));
    let decision = resolve_row(&rules, Some(&base), Some(&ours), Some(&theirs), None);
    let RowOutcome::Present(result) = decision.outcome else { return ("undecided".to_owned(), None) };
    let text =
        result[0].as_ref().map_or("NULL".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned());
    let why = decision.cells.iter().find(|cell| cell.column == 0).map(|cell| cell.why);
    (text, why)
}

#[test]
fn cells_by_rule() {
    use CellRule::{Manual, Max, Newest, Sum, Union};
    let ours_newer = ["1", "3", "2"];
    let theirs_newer = ["1", "2", "3"];
    let same = ["1", "2", "2"];
    let untold = ["NULL", "NULL", "NULL"];
    let (newest_ours, newest_theirs) = (Why::Newest(Side::Ours), Why::Newest(Side::Theirs));
    for (kind, rule, cells, times, want, why) in [
        (Kind::Bytes, None, ["a", "b", "c"], ours_newer, "b", Some(newest_ours)),
        (Kind::Bytes, None, ["a", "b", "c"], theirs_newer, "c", Some(newest_theirs)),
        (Kind::Bytes, None, ["a", "z", "c"], same, "z", Some(Why::Tie)),
        (Kind::Bytes, None, ["a", "z", "c"], untold, "c", Some(Why::NewerCommit(Side::Theirs))),
        (Kind::Bytes, None, ["a", "z", "c"], ["1", "1", "NULL"], "z", Some(newest_ours)),
        (Kind::Bytes, None, ["a", "a", "c"], ours_newer, "c", None),
        (Kind::Bytes, None, ["a", "b", "a"], theirs_newer, "b", None),
        (Kind::Bytes, None, ["a", "b", "b"], theirs_newer, "b", None),
        (Kind::Bytes, None, ["a", "NULL", "b"], ours_newer, "NULL", Some(newest_ours)),
        (Kind::Exact, None, ["1", "10", "9"], same, "10", Some(Why::Tie)),
        (Kind::Exact, Some(Max), ["1", "10", "9"], theirs_newer, "10", Some(Why::Max)),
        (Kind::Exact, Some(Max), ["1", "-10", "-9"], same, "-9", Some(Why::Max)),
        (Kind::Exact, Some(Max), ["1", "1.50", "1.5001"], same, "1.5001", Some(Why::Max)),
        (Kind::Exact, Some(Max), ["1", "NULL", "-9"], ours_newer, "-9", Some(Why::Max)),
        (Kind::Float, Some(Max), ["1", "1e+20", "3"], same, "1e+20", Some(Why::Max)),
        (Kind::Time, Some(Max), ["00:00:00", "-100:00:00", "-99:00:00"], same, "-99:00:00", Some(Why::Max)),
        (Kind::Time, Some(Max), ["00:00:00", "100:00:00", "99:00:00"], same, "100:00:00", Some(Why::Max)),
        (Kind::Exact, Some(Sum), ["5", "7", "4"], same, "6", Some(Why::Sum)),
        (Kind::Exact, Some(Sum), ["5", "6", "6"], same, "7", Some(Why::Sum)),
        (Kind::Exact, Some(Sum), ["5", "5", "6"], same, "6", None),
        (Kind::Exact, Some(Sum), ["NULL", "2", "3"], same, "5", Some(Why::Sum)),
        (Kind::Exact, Some(Sum), ["0.10", "-0.25", "0.15"], same, "-0.20", Some(Why::Sum)),
        (Kind::Exact, Some(Sum), ["1", "NULL", "3"], ours_newer, "NULL", Some(newest_ours)),
        (Kind::Bytes, Some(Sum), ["a", "b", "c"], same, "undecided", None),
        (Kind::Exact, Some(Manual), ["1", "2", "3"], same, "undecided", None),
        (Kind::Exact, Some(Manual), ["1", "2", "1"], same, "2", None),
        (
            Kind::Json,
            None,
            [r#"["a", "b"]"#, r#"["b"]"#, r#"["a", "b", "c"]"#],
            same,
            r#"["b", "c"]"#,
            Some(Why::Union),
        ),
        (Kind::Json, None, ["NULL", r#"["b", "b"]"#, r#"["a"]"#], same, r#"["a", "b"]"#, Some(Why::Union)),
        (Kind::Json, Some(Newest), ["[]", r#"["b"]"#, r#"["a"]"#], ours_newer, r#"["b"]"#, Some(newest_ours)),
        (Kind::Json, None, ["1", "2", r#"["a"]"#], ours_newer, "2", Some(newest_ours)),
        (
            Kind::Json,
            None,
            [
                r#"{"k": 1, "l": [1, 2], "m": 1}"#,
                r#"{"k": 2, "l": [2], "m": 1}"#,
                r#"{"k": 3, "l": [1, 2, 3], "n": 12345678901234567890.10}"#,
            ],
            theirs_newer,
            r#"{"k": 3, "l": [2, 3], "n": 12345678901234567890.10}"#,
            Some(Why::Union),
        ),
        (Kind::Bytes, None, ["[]", "[1]", "[2]"], ours_newer, "[1]", Some(newest_ours)),
        (Kind::Bytes, Some(Union), ["[]", "[1]", "[2]"], ours_newer, "[1, 2]", Some(Why::Union)),
        (Kind::Bytes, Some(Union), ["[]", "[1]", "no array"], ours_newer, "[1]", Some(newest_ours)),
    ] {
        let got = decide_cell(kind, rule, cells, times);
        assert_eq!(got, (want.to_owned(), why), "{kind:?} {rule:?} {cells:?} {times:?}");
    }
}

#[test]
fn updated_at_gets_the_later_one() {
    let rules = rules(&[("a", Kind::Bytes, None), ("updated_at", Kind::Bytes, None)], Some(1));
    let versions = [row(&["x", "1"]), row(&["y", "3"]), row(&["x", "2"])];
    let decision = resolve_row(&rules, Some(&versions[0]), Some(&versions[1]), Some(&versions[2]), None);
    assert_eq!(decision.outcome, RowOutcome::Present(row(&["y", "3"])));
    assert_eq!(decision.cells, [CellDecision { column: 1, value: row(&["3"])[0].clone(), why: Why::Max }]);
}

#[test]
fn a_row_that_one_side_has_not() {
    let mut rules = rules(&[("a", Kind::Bytes, None)], None);
    let (old, new) = (row(&["old"]), row(&["new"]));
    let present = || RowOutcome::Present(new.clone());
    let set = Choice::Set(BTreeMap::from([("A".to_owned(), Some("set".to_owned()))]));
    let (ours, theirs) = (Choice::Ours, Choice::Theirs);
    for (base, our, their, rule, choice, want, why) in [
        (None, Some(&new), None, DeleteRule::Manual, None, present(), None),
        (None, None, Some(&new), DeleteRule::Manual, None, present(), None),
        (Some(&new), Some(&new), None, DeleteRule::Manual, None, RowOutcome::Absent, None),
        (Some(&new), None, Some(&new), DeleteRule::Manual, None, RowOutcome::Absent, None),
        (Some(&old), None, None, DeleteRule::Manual, None, RowOutcome::Absent, None),
        (Some(&old), None, Some(&new), DeleteRule::Keep, None, present(), Some(Why::KeptChanged)),
        (Some(&old), Some(&new), None, DeleteRule::Keep, None, present(), Some(Why::KeptChanged)),
        (Some(&old), Some(&new), None, DeleteRule::Delete, None, RowOutcome::Absent, Some(Why::Deleted)),
        (Some(&old), None, Some(&new), DeleteRule::Manual, None, RowOutcome::Undecided(vec![]), None),
        (
            Some(&old),
            None,
            Some(&new),
            DeleteRule::Manual,
            Some(&ours),
            RowOutcome::Absent,
            Some(Why::Decided),
        ),
        (Some(&old), None, Some(&new), DeleteRule::Delete, Some(&theirs), present(), Some(Why::Decided)),
        (
            Some(&old),
            Some(&new),
            None,
            DeleteRule::Keep,
            Some(&theirs),
            RowOutcome::Absent,
            Some(Why::Decided),
        ),
        (
            Some(&old),
            None,
            Some(&new),
            DeleteRule::Manual,
            Some(&set),
            RowOutcome::Present(row(&["set"])),
            Some(Why::Decided),
        ),
    ] {
        rules.deleted = rule;
        let version = |row: Option<&'_ Row>| row.cloned();
        let (base, our, their) = (version(base), version(our), version(their));
        let decision = resolve_row(&rules, base.as_deref(), our.as_deref(), their.as_deref(), choice);
        assert_eq!(
            (decision.outcome, decision.why),
            (want, why),
            "{base:?} {our:?} {their:?} {rule:?} {choice:?}"
        );
    }
}

#[test]
fn a_choice_decides_what_both_changed_and_nothing_else() {
    let columns = [
        ("a", Kind::Exact, Some(CellRule::Manual)),
        ("b", Kind::Exact, Some(CellRule::Manual)),
        ("c", Kind::Exact, None),
    ];
    let rules = rules(&columns, None);
    let [base, ours, theirs] = [row(&["0", "0", "0"]), row(&["1", "1", "0"]), row(&["2", "2", "2"])];
    let set = Choice::Set(BTreeMap::from([("a".to_owned(), None)]));
    let undecided = |columns: &[usize]| RowOutcome::Undecided(columns.to_vec());
    for (choice, want) in [
        (None, undecided(&[0, 1])),
        (Some(Choice::Ours), RowOutcome::Present(row(&["1", "1", "2"]))),
        (Some(Choice::Theirs), RowOutcome::Present(row(&["2", "2", "2"]))),
        (Some(set), undecided(&[1])),
    ] {
        let decision = resolve_row(&rules, Some(&base), Some(&ours), Some(&theirs), choice.as_ref());
        assert_eq!(decision.outcome, want, "{choice:?}");
    }
}

fn cell() -> impl Strategy<Value = Cell> {
    let values =
        ["0", "1", "2", "-10", "10", "0.5", "[]", "[1]", "[1, 2]", "[3]", "{\"a\": 1}", "{\"a\": [2]}", "x"];
    proptest::option::weighted(
        0.9,
        proptest::sample::select(values.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
    )
}

fn column() -> impl Strategy<Value = (Kind, Option<CellRule>)> {
    let kinds = vec![Kind::Exact, Kind::Float, Kind::Json, Kind::Time, Kind::Bytes];
    let rules = vec![
        None,
        Some(CellRule::Newest),
        Some(CellRule::Union),
        Some(CellRule::Max),
        Some(CellRule::Sum),
        Some(CellRule::Manual),
    ];
    (proptest::sample::select(kinds), proptest::sample::select(rules))
}

fn other(side: Side) -> Side {
    if side == Side::Ours { Side::Theirs } else { Side::Ours }
}

proptest! {
    #[test]
    fn it_does_not_matter_which_side_is_ours(
        columns in proptest::collection::vec(column(), 4),
        versions in proptest::collection::vec(proptest::option::weighted(0.85, proptest::collection::vec(cell(), 4)), 3),
        has_time in any::<bool>(),
        newer in proptest::option::of(any::<bool>()),
        deleted in proptest::sample::select(vec![DeleteRule::Keep, DeleteRule::Delete, DeleteRule::Manual]),
    ) {
        let names = ["a", "b", "c", "d"];
        let columns: Vec<_> = columns.iter().zip(names).map(|((kind, rule), name)| (name, *kind, *rule)).collect();
        let mut forth = rules(&columns, has_time.then_some(3));
        forth.deleted = deleted;
        forth.newer = newer.map(|ours| if ours { Side::Ours } else { Side::Theirs });
        let back = TableRules { newer: forth.newer.map(other), ..forth.clone() };
        let [base, one, two] = [0, 1, 2].map(|n| versions[n].as_deref());
        let forth = resolve_row(&forth, base, one, two, None);
        let back = resolve_row(&back, base, two, one, None);
        prop_assert_eq!(&forth.outcome, &back.outcome);
        prop_assert_eq!(forth.cells.len(), back.cells.len());
    }

    #[test]
    fn what_one_side_changed_survives(
        columns in proptest::collection::vec(column(), 3),
        base in proptest::collection::vec(cell(), 3),
        changed in proptest::collection::vec(cell(), 3),
        whose in proptest::collection::vec(any::<bool>(), 3),
    ) {
        let names = ["a", "b", "c"];
        let columns: Vec<_> = columns.iter().zip(names).map(|((kind, rule), name)| (name, *kind, *rule)).collect();
        let rules = rules(&columns, Some(2));
        let (mut ours, mut theirs, mut want) = (base.clone(), base.clone(), base.clone());
        for (at, by_ours) in whose.iter().enumerate() {
            let side = if *by_ours { &mut ours } else { &mut theirs };
            side[at].clone_from(&changed[at]);
            want[at].clone_from(&changed[at]);
        }
        let decision = resolve_row(&rules, Some(&base), Some(&ours), Some(&theirs), None);
        prop_assert_eq!(decision.outcome, RowOutcome::Present(want));
        prop_assert!(decision.cells.is_empty());
    }
}
