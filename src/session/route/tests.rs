use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;
use crate::config::{Conditions, Glob, Rule};
use crate::session::identity::{PeerAddress, PeerProcess, ProcessEnvironment, ProcessIdentity};

fn routing(rules: Vec<Rule>) -> Routing {
    Routing {
        main_only: vec!["hq".to_owned()],
        create_pattern: None,
        user_separator: Some('+'),
        env_exclude: vec!["gt".to_owned()],
        rules,
    }
}

fn rule(origin: &str, branch: &str, change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule { branch: branch.to_owned(), origin: origin.to_owned(), ..Rule::default() };
    change(&mut rule);
    rule
}

fn assigned(id: u32, rule: Rule) -> AssignedRule {
    AssignedRule { id, rule, by: "uid 0".to_owned(), at: UNIX_EPOCH }
}

fn process(program: &str, bd_branch: Option<&str>) -> PeerProcess {
    PeerProcess::Found(ProcessIdentity {
        pid: 4711,
        start_ticks: 1,
        program: program.to_owned(),
        environment: Ok(ProcessEnvironment {
            bd_branch: bd_branch.map(str::to_owned),
            bd_actor: Some("mayor".to_owned()),
            gt_polecat: Some("nux".to_owned()),
        }),
    })
}

fn identity(process: PeerProcess) -> Identity {
    Identity {
        user: "root".to_owned(),
        user_branch: None,
        attributes: BTreeMap::new(),
        address: PeerAddress::Unix,
        process,
    }
}

/// Somebody for whom every step has an answer.
fn everything() -> Identity {
    let mut identity = identity(process("bd", Some("by-env")));
    identity.user_branch = Some("by-user".to_owned());
    identity.attributes.insert("branch".to_owned(), "by-attribute".to_owned());
    identity.attributes.insert("bd_branch".to_owned(), "by-bd-attribute".to_owned());
    identity
}

fn database(name: &str) -> Option<Requested> {
    Some(Requested::parse(name))
}

fn said(choice: &Choice) -> (String, String) {
    let branch = match &choice.branch {
        Wanted::AsAsked => "(as asked)".to_owned(),
        Wanted::Default => "(default)".to_owned(),
        Wanted::Branch(name) => name.clone(),
        Wanted::Invalid { name, .. } => format!("(invalid) {name}"),
    };
    (branch, choice.reason.to_string())
}

#[test]
fn first_match_wins() {
    let configured = routing(vec![
        rule("branchline.toml:8", "nowhere", |rule| rule.conditions.account = Some(Glob::new("other"))),
        rule("branchline.toml:12", "by-rule", |rule| rule.conditions.actor = Some(Glob::new("may*"))),
        rule("branchline.toml:16", "too-late", |_| {}),
    ]);
    let assigned = [assigned(
        7,
        rule("", "by-assigned-{polecat}", |rule| rule.conditions.database = Some(Glob::new("gas*"))),
    )];
    let mut who = everything();
    let check = |who: &Identity, name: Option<Requested>, branch: &str, reason: &str| {
        let choice = choose(who, name.as_ref(), &configured, &assigned);
        assert_eq!(said(&choice), (branch.to_owned(), reason.to_owned()));
    };
    check(&who, None, "(default)", "no database is open");
    check(&who, database("gastown/x"), "(as asked)", "the client asked for x");
    check(&who, database("hq@x"), "(as asked)", "the client asked for x");
    check(&who, database("hq"), "(default)", "hq is in routing.main_only");
    check(&who, database("HQ"), "(default)", "HQ is in routing.main_only");
    check(&who, database("mysql"), "(default)", "mysql has no branches");
    check(&who, database("gastown"), "by-attribute", "connection attribute branch");
    who.attributes.insert("branch".to_owned(), String::new());
    check(&who, database("gastown"), "by-bd-attribute", "connection attribute bd_branch");
    who.attributes.clear();
    check(&who, database("gastown"), "by-user", "the branch in the user name");
    who.user_branch = None;
    check(&who, database("gastown"), "by-assigned-nux", "assigned rule 7");
    check(&who, database("beads"), "by-rule", "rule branchline.toml:12");
    let empty = routing(vec![]);
    let last = choose(&who, database("beads").as_ref(), &empty, &[]);
    assert_eq!(said(&last), ("by-env".to_owned(), "BD_BRANCH of pid 4711 (bd)".to_owned()));
    who.process = process("bd", None);
    let last = choose(&who, database("beads").as_ref(), &empty, &[]);
    assert_eq!(said(&last), ("(default)".to_owned(), "default branch".to_owned()));
}

#[test]
fn what_did_not_count_is_noted() {
    let unread = |program: &str, reason: &str| {
        let mut process = process(program, None);
        if let PeerProcess::Found(found) = &mut process {
            found.environment = Err(reason.to_owned());
        }
        process
    };
    let gone = PeerProcess::Unknown { reason: "it is gone".to_owned() };
    for (process, reason) in [
        (
            process("gt", Some("x")),
            "default branch; BD_BRANCH of pid 4711 not used: gt is in routing.env_exclude",
        ),
        (process("gt", None), "default branch"),
        (gone, "default branch; the client's process is not known: it is gone"),
        (
            unread("bd", "it runs as uid 7"),
            "default branch; the environment of pid 4711 (bd) was not read: it runs as uid 7",
        ),
        (PeerProcess::NotLooked, "default branch"),
    ] {
        let choice = choose(&identity(process), database("beads").as_ref(), &routing(vec![]), &[]);
        assert_eq!(said(&choice), ("(default)".to_owned(), reason.to_owned()));
    }
    let routing = routing(vec![rule("b.toml:3", "x-{attribute:role}", |_| {})]);
    let choice = choose(&identity(process("bd", None)), database("beads").as_ref(), &routing, &[]);
    assert_eq!(
        said(&choice).1,
        "default branch; rule b.toml:3 not used: connection attribute role is not set"
    );
}

#[test]
fn rules_match_on_each_condition() {
    let mut who = identity(process("bd", None));
    who.attributes.insert("role".to_owned(), "witness".to_owned());
    who.attributes.insert("program_name".to_owned(), "dashboard".to_owned());
    let glob = |text: &str| Some(Glob::new(text));
    type Change = fn(&mut Rule, Option<Glob>);
    let changes: [(&str, Change); 7] = [
        ("root", |rule, glob| rule.conditions.account = glob),
        ("beads", |rule, glob| rule.conditions.database = glob),
        ("bd", |rule, glob| rule.conditions.program = glob),
        ("dashboard", |rule, glob| rule.conditions.program = glob),
        ("mayor", |rule, glob| rule.conditions.actor = glob),
        ("nux", |rule, glob| rule.conditions.polecat = glob),
        ("witness", |rule, glob| {
            rule.conditions.attributes = glob.into_iter().map(|glob| ("role".to_owned(), glob)).collect()
        }),
    ];
    for (text, change) in changes {
        for (pattern, want) in [(text.to_owned(), "x"), (format!("{text}-not"), "(default)")] {
            let routing = routing(vec![rule("b.toml:1", "x", |rule| change(rule, glob(&pattern)))]);
            let choice = choose(&who, database("beads").as_ref(), &routing, &[]);
            assert_eq!(said(&choice).0, want, "{pattern}");
        }
    }
    let excluded = identity(process("gt", None));
    let by_actor = routing(vec![rule("b.toml:1", "x", |rule| rule.conditions.actor = glob("*"))]);
    assert_eq!(said(&choose(&excluded, database("beads").as_ref(), &by_actor, &[])).0, "(default)");
}

#[test]
fn templates_are_filled_in() {
    let mut who = identity(process("bd", None));
    who.attributes.insert("role".to_owned(), "witness".to_owned());
    let template = "{account}.{database}.{program}/{actor}-{polecat}-{attribute:role}";
    let routing = routing(vec![rule("b.toml:1", template, |_| {})]);
    let choice = choose(&who, database("beads").as_ref(), &routing, &[]);
    assert_eq!(said(&choice).0, "root.beads.bd/mayor-nux-witness");
}

#[test]
fn names_that_cannot_be_branches_are_kept_out_of_sql() {
    let sql = "x'); DROP TABLE issues; --";
    let choice =
        choose(&identity(process("bd", Some(sql))), database("beads").as_ref(), &routing(vec![]), &[]);
    assert_eq!(choice.branch, Wanted::Invalid { name: sql.to_owned(), problem: branch_name::Problem::Quote });
    assert_eq!(choice.reason.to_string(), "BD_BRANCH of pid 4711 (bd)");
}

#[test]
fn a_process_is_looked_up_only_where_it_could_matter() {
    let plain = routing(vec![]);
    let mut who = identity(PeerProcess::NotLooked);
    let needs = |who: &Identity, name: Option<Requested>, routing: &Routing| {
        needs_process(who, name.as_ref(), routing, &[])
    };
    assert!(needs(&who, database("beads"), &plain));
    for name in [None, database("beads/x"), database("hq"), database("information_schema")] {
        assert!(!needs(&who, name.clone(), &plain), "{name:?}");
    }
    let all = routing(vec![rule("b.toml:1", "x", |_| {})]);
    assert!(!needs(&who, database("beads"), &all), "a rule decides without it");
    let program = || rule("b.toml:1", "x", |rule| rule.conditions.program = Some(Glob::new("bd")));
    assert!(needs(&who, database("beads"), &routing(vec![program(), rule("b.toml:2", "y", |_| {})])));
    let template = routing(vec![rule("b.toml:1", "x-{polecat}", |_| {}), rule("b.toml:2", "y", |_| {})]);
    assert!(needs(&who, database("beads"), &template));
    let both = rule("b.toml:1", "x-{polecat}", |rule| rule.conditions.account = Some(Glob::new("other")));
    assert!(!needs(&who, database("beads"), &routing(vec![both, rule("b.toml:2", "y", |_| {})])));
    who.attributes.insert("program_name".to_owned(), "bd".to_owned());
    assert!(!needs(&who, database("beads"), &routing(vec![program()])), "the attribute will do");
    who.attributes.insert("branch".to_owned(), "x".to_owned());
    assert!(!needs(&who, database("beads"), &plain));
    assert!(!needs(&identity(process("bd", None)), database("beads"), &plain), "it was looked up");
}

#[test]
fn every_step_is_explained() {
    let routing =
        routing(vec![rule("b.toml:3", "x", |rule| rule.conditions.account = Some(Glob::new("other")))]);
    let who = identity(process("bd", Some("polecat-x")));
    let steps = explain(&who, database("beads").as_ref(), &routing, &[]);
    let lines: Vec<String> =
        steps.iter().map(|step| format!("{} | {} | {}", step.step, step.considered, step.outcome)).collect();
    assert_eq!(
        lines,
        [
            "1 client asked | beads | no branch in the database name",
            "2 attribute | branch | not set",
            "2 attribute | bd_branch | not set",
            "3 user name | root | no branch in it",
            "4 rule | rule b.toml:3 | account root does not match other",
            "5 BD_BRANCH | pid 4711 (bd) | branch polecat-x",
        ]
    );
}

/// Anybody, with values that may be anything.
fn anybody() -> impl Strategy<Value = Identity> {
    let text = || proptest::option::of(".{0,8}|polecat-[a-z]{1,3}");
    (".{0,8}", text(), text(), text(), text(), text(), any::<bool>()).prop_map(
        |(user, user_branch, attribute, bd_branch, actor, polecat, looked)| {
            let environment = Ok(ProcessEnvironment { bd_branch, bd_actor: actor, gt_polecat: polecat });
            let found = ProcessIdentity { pid: 1, start_ticks: 1, program: "bd".to_owned(), environment };
            Identity {
                user,
                user_branch,
                attributes: attribute.into_iter().map(|value| ("branch".to_owned(), value)).collect(),
                address: PeerAddress::Unix,
                process: if looked { PeerProcess::Found(found) } else { PeerProcess::NotLooked },
            }
        },
    )
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let text = || proptest::option::of(r"[a-z*?]{0,4}");
    (text(), text(), text(), r"[a-z{}:'/]{0,6}|\{(account|actor|polecat|program|attribute:branch)\}")
        .prop_map(|(account, database, actor, branch)| Rule {
            conditions: Conditions {
                account: account.map(Glob::new),
                database: database.map(Glob::new),
                actor: actor.map(Glob::new),
                ..Conditions::default()
            },
            branch,
            origin: "b.toml:1".to_owned(),
        })
}

proptest! {
    #[test]
    fn main_only_is_never_routed(who in anybody(), rules in proptest::collection::vec(any_rule(), 0..4)) {
        let choice = choose(&who, database("hq").as_ref(), &routing(rules), &[]);
        prop_assert_eq!(choice.branch, Wanted::Default);
    }

    #[test]
    fn what_the_client_asked_for_wins(
        who in anybody(),
        rules in proptest::collection::vec(any_rule(), 0..4),
        name in "[a-z]{0,3}|hq|mysql",
        revision in ".{1,9}",
    ) {
        let asked = Requested::parse(&format!("{name}/{revision}"));
        let routing = routing(rules);
        let choice = choose(&who, Some(&asked), &routing, &[]);
        prop_assert_eq!(&choice.branch, &Wanted::AsAsked);
        prop_assert_eq!(resolve(&choice, &name, &Existence::Missing, &routing), Placement::AsAsked);
    }

    #[test]
    fn nothing_panics_and_what_is_routed_is_a_branch_name(
        who in anybody(),
        rules in proptest::collection::vec(any_rule(), 0..4),
        name in ".{0,12}",
    ) {
        let (routing, asked) = (routing(rules), Requested::parse(&name));
        let choice = choose(&who, Some(&asked), &routing, &[]);
        if let Wanted::Branch(branch) = &choice.branch {
            prop_assert_eq!(branch_name::check(branch), Ok(()));
        }
        let _ = (explain(&who, Some(&asked), &routing, &[]), resolve(&choice, &name, &Existence::Missing, &routing));
    }

    #[test]
    fn what_needs_no_process_is_the_same_with_any(
        mut who in anybody(),
        rules in proptest::collection::vec(any_rule(), 0..4),
        found in anybody(),
    ) {
        who.process = PeerProcess::NotLooked;
        let (routing, name) = (routing(rules), database("beads"));
        if !needs_process(&who, name.as_ref(), &routing, &[]) {
            let without = choose(&who, name.as_ref(), &routing, &[]);
            who.process = found.process;
            let with = choose(&who, name.as_ref(), &routing, &[]);
            prop_assert_eq!(without.branch, with.branch);
        }
    }
}
