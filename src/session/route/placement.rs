//! Owns what is done about a chosen branch once it is known whether it exists.
//! Does not ask Dolt and does not fork.
//! Always: a branch that was never there is forked only if `create_pattern` says so, else refused by name; one that
//! was finished or dropped is not forked again.

use super::{Choice, Wanted, branch_name::printable};
use crate::config::Routing;

/// Whether the wanted branch exists in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Existence {
    /// Dolt has it.
    Exists {
        /// Dolt's spelling: names are case-insensitive, `DOLT_CHECKOUT` and `active_branch()` aren't.
        spelled: String,
    },
    /// Dolt doesn't have it.
    Missing,
    /// Dolt doesn't have it any more: it was finished or dropped.
    Ended {
        /// `finished at … (merged to main as …)`
        told: String,
    },
}

impl Existence {
    /// Looks `name` up among a database's branches, as Dolt does: whatever the case.
    pub fn among<'a>(name: &str, branches: impl IntoIterator<Item = &'a str>) -> Self {
        let mut other_case = None;
        for branch in branches {
            if branch == name {
                return Self::Exists { spelled: branch.to_owned() };
            }
            if branch.eq_ignore_ascii_case(name) {
                other_case.get_or_insert(branch);
            }
        }
        match other_case {
            Some(branch) => Self::Exists { spelled: branch.to_owned() },
            None => Self::Missing,
        }
    }
}

/// Where the session is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// The client's own `db/branch` goes to Dolt as it is.
    AsAsked,
    /// `CALL DOLT_CHECKOUT` this branch, as Dolt spells it.
    OnBranch(String),
    /// Stay where Dolt puts new sessions.
    Default,
    /// Stay there as well: the branch was finished or dropped.
    Ended {
        /// `polecat-x was finished at … (merged to main as …)`
        told: String,
    },
    /// Read main; fork this branch at the first write.
    ForkAtFirstWrite(String),
    /// Tell the client.
    Refused(Refusal),
}

/// An ERR for the client: 1049, which Dolt sends with HY000.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Names the branch, why it was chosen and what to do.
    pub text: String,
}

impl Refusal {
    /// ER_BAD_DB_ERROR.
    pub const CODE: u16 = 1049;
    /// As Dolt, not 42000.
    pub const SQL_STATE: &'static str = "HY000";
}

/// What to do about `choice` in `database`. `existence` matters only for `Wanted::Branch`.
pub fn resolve(choice: &Choice, database: &str, existence: &Existence, routing: &Routing) -> Placement {
    match (&choice.branch, existence) {
        (Wanted::AsAsked, _) => Placement::AsAsked,
        (Wanted::Default, _) => Placement::Default,
        (Wanted::Branch(_), Existence::Exists { spelled }) => Placement::OnBranch(spelled.clone()),
        (Wanted::Branch(name), Existence::Ended { told }) => {
            Placement::Ended { told: format!("{name} was {told}") }
        }
        (Wanted::Branch(name), Existence::Missing) => match &routing.create_pattern {
            Some(pattern) if pattern.matches(name) => Placement::ForkAtFirstWrite(name.clone()),
            pattern => {
                Placement::Refused(missing(choice, database, name, pattern.as_ref().map(|p| p.as_str())))
            }
        },
        (Wanted::Invalid { name, problem }, _) => Placement::Refused(Refusal {
            text: format!(
                "database not found: {}/{}: chosen by {}, but this can't be a branch name: {problem}",
                printable(database),
                printable(name),
                choice.reason
            ),
        }),
    }
}

fn missing(choice: &Choice, database: &str, name: &str, pattern: Option<&str>) -> Refusal {
    let hint = match pattern {
        Some(pattern) => format!("it is not created by itself, as routing.create_pattern is {pattern}"),
        None => "it is not created by itself, as routing.create_pattern is not set".to_owned(),
    };
    let database = printable(database);
    Refusal {
        text: format!(
            "database not found: {database}/{name}: branch {name} was chosen by {}, but {database} has no such \
             branch; {hint}; create it with CALL DOLT_BRANCH('{name}') or change what chose it",
            choice.reason
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::branch_name::Problem;
    use super::super::reason::{Reason, Source};
    use super::*;
    use crate::config::Glob;

    fn routing(create_pattern: Option<&str>) -> Routing {
        Routing {
            main_only: vec![],
            create_pattern: create_pattern.map(Glob::new),
            user_separator: None,
            env_exclude: vec![],
            rules: vec![],
        }
    }

    fn choice(branch: Wanted) -> Choice {
        let source = Source::BdBranch { pid: 4711, program: "bd".to_owned() };
        Choice { branch, reason: Reason { source, notes: vec![] } }
    }

    #[test]
    fn placements() {
        let exists = Existence::Exists { spelled: "Polecat-x".to_owned() };
        let ended = Existence::Ended { told: "dropped".to_owned() };
        let wanted = |name: &str| choice(Wanted::Branch(name.to_owned()));
        let creates = routing(Some("polecat-*"));
        for (choice, existence, want) in [
            (choice(Wanted::AsAsked), &Existence::Missing, Placement::AsAsked),
            (choice(Wanted::Default), &Existence::Missing, Placement::Default),
            (wanted("polecat-x"), &exists, Placement::OnBranch("Polecat-x".to_owned())),
            (wanted("polecat-z"), &ended, Placement::Ended { told: "polecat-z was dropped".to_owned() }),
            (wanted("z"), &ended, Placement::Ended { told: "z was dropped".to_owned() }),
            (choice(Wanted::AsAsked), &ended, Placement::AsAsked),
            (wanted("polecat-y"), &Existence::Missing, Placement::ForkAtFirstWrite("polecat-y".to_owned())),
        ] {
            assert_eq!(resolve(&choice, "db", existence, &creates), want);
        }
    }

    #[test]
    fn refusals_name_the_branch_why_and_what_to_do() {
        let text =
            |choice: &Choice, routing: &Routing| match resolve(choice, "db", &Existence::Missing, routing) {
                Placement::Refused(refusal) => refusal.text,
                other => panic!("{other:?}"),
            };
        let wanted = choice(Wanted::Branch("feature".to_owned()));
        assert_eq!(
            text(&wanted, &routing(Some("polecat-*"))),
            "database not found: db/feature: branch feature was chosen by BD_BRANCH of pid 4711 (bd), but db has no \
             such branch; it is not created by itself, as routing.create_pattern is polecat-*; create it with CALL \
             DOLT_BRANCH('feature') or change what chose it"
        );
        assert!(text(&wanted, &routing(None)).contains("create_pattern is not set"));
        let invalid = Wanted::Invalid { name: "x'; DROP\n".to_owned(), problem: Problem::Quote };
        assert_eq!(
            text(&choice(invalid), &routing(Some("*"))),
            "database not found: db/x\\'; DROP\\n: chosen by BD_BRANCH of pid 4711 (bd), but this can't be a branch \
             name: a routed branch name has no quotes or backticks"
        );
    }

    #[test]
    fn branches_are_found_whatever_their_case() {
        let branches = ["main", "POLECAT-x", "Polecat-x"];
        let spelled = |name: &str| Existence::Exists { spelled: name.to_owned() };
        assert_eq!(Existence::among("Polecat-x", branches), spelled("Polecat-x"));
        assert_eq!(Existence::among("polecat-X", branches), spelled("POLECAT-x"));
        assert_eq!(Existence::among("polecat", branches), Existence::Missing);
    }
}
