//! Owns the choice of a connection's branch: who asked for it, in which order, and why.
//! Does not look anything up and does not talk to Dolt: the caller brings the identity, then the branch's existence.
//! Always: what the client asked for itself wins; databases in `main_only` are never routed by anything else.

pub mod assigned;
pub mod branch_name;
mod lanes;
pub mod placement;
pub mod reason;
pub mod requested;
pub mod rules;

pub use assigned::{AssignedRule, AssignedRules};
pub use placement::{Existence, Placement, Refusal, resolve};
pub use reason::{Reason, Source};
pub use requested::Requested;

use super::identity::Identity;
use crate::config::{Routing, Rule};
use branch_name::printable;
use rules::{Absent, Facts, Verdict};

/// The branch a connection should be on for one database, before it is known whether it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Which branch.
    pub branch: Wanted,
    /// Who said so.
    pub reason: Reason,
}

/// Which branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The client named a revision itself (`db/branch`): its name goes to Dolt as it is.
    AsAsked,
    /// This branch, if it exists: `CALL DOLT_CHECKOUT`. The name is valid for Dolt.
    Branch(String),
    /// Somebody named a branch that can't be one.
    Invalid {
        /// The name as given: anything at all.
        name: String,
        /// What is wrong with it.
        problem: branch_name::Problem,
    },
    /// Whatever Dolt gives new sessions.
    Default,
}

/// One step of the precedence, for `route explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `1 client asked`, `2 attribute`, …
    pub step: &'static str,
    /// What was looked at.
    pub considered: String,
    /// What came of it.
    pub outcome: String,
}

/// Databases that have no branches.
const UNVERSIONED: [&str; 5] = ["information_schema", "mysql", "performance_schema", "sys", "dolt_cluster"];

/// Attributes that name a branch, the first that is set counts.
const BRANCH_ATTRIBUTES: [&str; 2] = ["branch", "bd_branch"];

/// The branch for a connection that opens `database`.
pub fn choose(
    identity: &Identity,
    database: Option<&Requested>,
    routing: &Routing,
    assigned: &[AssignedRule],
) -> Choice {
    walk(identity, database, routing, assigned, &mut |_| {})
}

/// Every step that `choose` takes, in order; the last one decided.
pub fn explain(
    identity: &Identity,
    database: Option<&Requested>,
    routing: &Routing,
    assigned: &[AssignedRule],
) -> Vec<Step> {
    let mut steps = Vec::new();
    walk(identity, database, routing, assigned, &mut |step| steps.push(step()));
    steps
}

/// Whether knowing the peer's process could change what `choose` says: a connection that asks by name,
/// opens nothing, or opens a database that isn't routed never pays for a look-up.
pub fn needs_process(
    identity: &Identity,
    database: Option<&Requested>,
    routing: &Routing,
    assigned: &[AssignedRule],
) -> bool {
    if identity.process != super::identity::PeerProcess::NotLooked {
        return false;
    }
    let Some(requested) = database else { return false };
    if before_rules(identity, Some(requested), routing, &mut |_| {}).is_some() {
        return false;
    }
    let facts = Facts { identity, database: &requested.database, env_exclude: &routing.env_exclude };
    for rule in assigned.iter().map(|assigned| &assigned.rule).chain(&routing.rules) {
        match rules::apply(rule, &facts) {
            Verdict::Branch(_) => return false,
            Verdict::NeedsProcess => return true,
            Verdict::NoMatch(_) | Verdict::Missing(_) => {}
        }
    }
    // BD_BRANCH.
    true
}

/// Steps are made only if somebody reads them.
type OnStep<'a> = dyn FnMut(&dyn Fn() -> Step) + 'a;

fn walk(
    identity: &Identity,
    database: Option<&Requested>,
    routing: &Routing,
    assigned: &[AssignedRule],
    on_step: &mut OnStep<'_>,
) -> Choice {
    if let Some((branch, source)) = before_rules(identity, database, routing, on_step) {
        return Choice { branch, reason: Reason { source, notes: Vec::new() } };
    }
    let database = database.map_or("", |requested| &requested.database);
    let facts = Facts { identity, database, env_exclude: &routing.env_exclude };
    let mut notes = Vec::new();
    let (branch, source) = by_rules(&facts, assigned, &routing.rules, &mut notes, on_step)
        .or_else(|| by_environment(&facts, &mut notes, on_step))
        .unwrap_or_else(|| {
            on_step(&|| Step {
                step: "6 default",
                considered: printable(database),
                outcome: "its default branch".to_owned(),
            });
            (Wanted::Default, Source::Default)
        });
    Choice { branch, reason: Reason { source, notes } }
}

/// Steps 1 to 3, and the databases to which the others don't apply.
fn before_rules(
    identity: &Identity,
    database: Option<&Requested>,
    routing: &Routing,
    on_step: &mut OnStep<'_>,
) -> Option<(Wanted, Source)> {
    let mut step = |step, considered: &str, outcome: &str| {
        on_step(&|| Step { step, considered: considered.to_owned(), outcome: outcome.to_owned() });
    };
    let Some(requested) = database else {
        step("1 client asked", "no database", "nothing to route");
        return Some((Wanted::Default, Source::NoDatabase));
    };
    let name = printable(&requested.database);
    if let Some(revision) = &requested.branch {
        step("1 client asked", &name, &format!("for {}", printable(revision)));
        return Some((Wanted::AsAsked, Source::Asked(printable(revision))));
    }
    step("1 client asked", &name, "no branch in the database name");
    if UNVERSIONED.iter().any(|unversioned| unversioned.eq_ignore_ascii_case(&requested.database)) {
        step("main only", &name, "has no branches");
        return Some((Wanted::Default, Source::Unversioned(name)));
    }
    if routing.main_only.iter().any(|main_only| main_only.eq_ignore_ascii_case(&requested.database)) {
        step("main only", &name, "is in routing.main_only");
        return Some((Wanted::Default, Source::MainOnly(name)));
    }
    for attribute in BRANCH_ATTRIBUTES {
        match identity.attributes.get(attribute) {
            Some(branch) if !branch.is_empty() => {
                step("2 attribute", attribute, &format!("branch {}", printable(branch)));
                return Some((wanted(branch), Source::Attribute(attribute.to_owned())));
            }
            _ => step("2 attribute", attribute, "not set"),
        }
    }
    if let Some(branch) = &identity.user_branch {
        step("3 user name", &printable(&identity.user), &format!("branch {}", printable(branch)));
        return Some((wanted(branch), Source::UserName));
    }
    step("3 user name", &printable(&identity.user), "no branch in it");
    None
}

/// Step 4.
fn by_rules(
    facts: &Facts<'_>,
    assigned: &[AssignedRule],
    configured: &[Rule],
    notes: &mut Vec<String>,
    on_step: &mut OnStep<'_>,
) -> Option<(Wanted, Source)> {
    let assigned = assigned.iter().map(|assigned| (&assigned.rule, Source::Assigned(assigned.id)));
    let configured = configured.iter().map(|rule| (rule, Source::Rule(rule.origin.clone())));
    for (rule, source) in assigned.chain(configured) {
        let verdict = rules::apply(rule, facts);
        on_step(&|| Step {
            step: "4 rule",
            considered: source.to_string(),
            outcome: match &verdict {
                Verdict::Branch(branch) => format!("branch {}", printable(branch)),
                Verdict::NoMatch(why) => why.clone(),
                Verdict::Missing(why) => format!("matches, but {why}"),
                Verdict::NeedsProcess => "the client's process was not looked up".to_owned(),
            },
        });
        match verdict {
            Verdict::Branch(branch) => return Some((wanted(&branch), source)),
            Verdict::Missing(why) => notes.push(format!("{source} not used: {why}")),
            Verdict::NoMatch(_) | Verdict::NeedsProcess => {}
        }
    }
    None
}

/// Step 5.
fn by_environment(
    facts: &Facts<'_>,
    notes: &mut Vec<String>,
    on_step: &mut OnStep<'_>,
) -> Option<(Wanted, Source)> {
    let mut step = |outcome: &str| {
        on_step(&|| Step {
            step: "5 BD_BRANCH",
            considered: match facts.process() {
                Ok(process) => format!("pid {} ({})", process.pid, printable(&process.program)),
                Err(_) => "the client's process".to_owned(),
            },
            outcome: outcome.to_owned(),
        });
    };
    let absent = match (facts.process(), facts.environment()) {
        (Ok(process), Ok(environment)) => match &environment.bd_branch {
            Some(branch) if !branch.is_empty() => {
                step(&format!("branch {}", printable(branch)));
                let program = printable(&process.program);
                return Some((wanted(branch), Source::BdBranch { pid: process.pid, program }));
            }
            _ => {
                step("not set");
                return None;
            }
        },
        (_, Err(absent)) | (Err(absent), _) => absent,
    };
    match absent {
        Absent::NotLooked => step("was not looked up"),
        Absent::Because(why) => {
            step(&why);
            match facts.process() {
                // Read, but its program speaks for others: worth a word only if there was something to use.
                Ok(process) => match &process.environment {
                    Ok(environment) if environment.bd_branch.is_none() => {}
                    Ok(_) => notes.push(format!("BD_BRANCH of pid {} not used: {why}", process.pid)),
                    Err(_) => notes.push(why),
                },
                Err(_) => notes.push(why),
            }
        }
    }
    None
}

fn wanted(branch: &str) -> Wanted {
    match branch_name::check(branch) {
        Ok(()) => Wanted::Branch(branch.to_owned()),
        Err(problem) => Wanted::Invalid { name: branch.to_owned(), problem },
    }
}

#[cfg(test)]
mod tests;
