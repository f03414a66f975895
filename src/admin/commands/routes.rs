//! `SHOW ROUTES`, `ROUTE`, `UNROUTE`, `EXPLAIN ROUTE`.

use std::collections::BTreeMap;

use super::Handled;
use crate::admin::answer::{Answer, Cell, Refusal, Table};
use crate::admin::backend::{Backend, ExplainedRoute, RouteQuestion};
use crate::admin::tokens::Tokens;
use crate::config::problem::Origin;
use crate::config::raw::{RULE_CONDITIONS, RawConditions, RawRule, Written};
use crate::config::rule;
use crate::session::identity::PeerAddress;

const ROUTE_USAGE: &str = "ROUTE [ACCOUNT 'glob'] [DATABASE 'glob'] [ADDRESS 'ip, network or unix'] [PROGRAM 'glob'] \
     [ACTOR 'glob'] [POLECAT 'glob'] [ATTRIBUTE.name 'glob'] TO 'branch'";
const EXPLAIN_USAGE: &str = "EXPLAIN ROUTE [USER 'x'] [DATABASE 'x'] [ADDRESS 'x'] [PROGRAM 'x'] [ATTRIBUTE.name 'x'] \
     [PID n] [BD_BRANCH 'x'] [ACTOR 'x'] [POLECAT 'x']";

pub async fn handle(tokens: &mut Tokens, by: &str, backend: &dyn Backend) -> Handled {
    if tokens.take_words(&["SHOW", "ROUTES"]) {
        return Some(tokens.end("SHOW ROUTES").map(|()| Answer::Rows(show(backend))));
    }
    if tokens.take_words(&["ROUTE"]) {
        return Some(assign(tokens, by, backend).await);
    }
    if tokens.take_words(&["UNROUTE"]) {
        return Some(unassign(tokens, backend).await);
    }
    if tokens.take_words(&["EXPLAIN", "ROUTE"]) {
        return Some(match question(tokens) {
            Ok(question) => {
                backend.explain(question).await.map(|explained| Answer::Rows(explained_rows(explained)))
            }
            Err(refusal) => Err(refusal),
        });
    }
    None
}

/// In the order in which they count; settings that have a part in the choice come last.
fn show(backend: &dyn Backend) -> Table {
    let config = backend.config();
    let routing = &config.routing;
    let mut table = Table::new(["id", "kind", "conditions", "branch", "by", "since"]);
    for assigned in backend.assigned() {
        table.row([
            assigned.id.into(),
            "assigned".into(),
            rule::conditions_text(&assigned.rule.conditions).into(),
            assigned.rule.branch.into(),
            assigned.by.into(),
            assigned.at.into(),
        ]);
    }
    for configured in &routing.rules {
        table.row([
            Cell::Null,
            "configured".into(),
            rule::conditions_text(&configured.conditions).into(),
            configured.branch.as_str().into(),
            configured.origin.as_str().into(),
            Cell::Null,
        ]);
    }
    let mut setting = |kind: &str, value: Cell| {
        table.row([Cell::Null, kind.into(), value, Cell::Null, "setting".into(), Cell::Null]);
    };
    setting("main_only", routing.main_only.join(", ").into());
    setting("create_pattern", routing.create_pattern.as_ref().map(ToString::to_string).into());
    setting("user_separator", routing.user_separator.map(String::from).into());
    setting("env_exclude", routing.env_exclude.join(", ").into());
    table
}

async fn assign(tokens: &mut Tokens, by: &str, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let raw = raw_rule(tokens)?;
    let mut problems = Vec::new();
    let Some(mut rule) = rule::resolve(&raw, &mut problems) else {
        let all: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}; allowed: {}", problem.key, problem.what, problem.allowed))
            .collect();
        return Err(Refusal::bad_value(all.join("\n")));
    };
    rule.origin = format!("console, {by}");
    let assigned = backend.assign(rule, by).await?;
    let mut table = Table::new(["id", "conditions", "branch"]);
    let conditions = rule::conditions_text(&assigned.rule.conditions);
    table.row([assigned.id.into(), conditions.into(), assigned.rule.branch.into()]);
    Ok(Answer::Rows(table))
}

fn raw_rule(tokens: &mut Tokens) -> Result<RawRule, Refusal> {
    let mut patterns = BTreeMap::new();
    let mut attributes = BTreeMap::new();
    let written = |value| Written { value, origin: Origin::Console };
    while !tokens.take_words(&["TO"]) {
        tokens.take_mark(',');
        let Some(key) = tokens.word() else {
            return Err(Refusal::syntax(format!("a condition or TO is missing; usage: {ROUTE_USAGE}")));
        };
        let value = tokens.value(&key)?;
        let lower = key.to_lowercase();
        let twice = if let Some(name) = attribute_name(&key) {
            attributes.insert(name, written(value)).is_some()
        } else if let Some(known) = RULE_CONDITIONS.iter().find(|known| **known == lower) {
            patterns.insert(*known, written(value)).is_some()
        } else {
            return Err(Refusal::syntax(format!("unknown condition {key}; usage: {ROUTE_USAGE}")));
        };
        if twice {
            return Err(Refusal::syntax(format!(
                "{key} is there twice; all conditions must hold, so give it once"
            )));
        }
    }
    if patterns.is_empty() && attributes.is_empty() {
        // In the file everybody sees what was meant; here it is one slip away from routing all clients.
        return Err(Refusal::syntax(format!(
            "a rule needs a condition (ACCOUNT '*' is every client); usage: {ROUTE_USAGE}"
        )));
    }
    let branch = tokens.value("TO")?;
    tokens.end(ROUTE_USAGE)?;
    let branch = Some(written(branch));
    Ok(RawRule {
        origin: Origin::Console,
        key: "route".to_owned(),
        conditions: RawConditions { patterns, attributes },
        branch,
        branch_given: true,
    })
}

async fn unassign(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let id = tokens.id("UNROUTE")?;
    tokens.end("UNROUTE id, with an id from SHOW ROUTES")?;
    let gone = backend.unassign(id).await?;
    let mut table = Table::new(["id", "conditions", "branch"]);
    table.row([gone.id.into(), rule::conditions_text(&gone.rule.conditions).into(), gone.rule.branch.into()]);
    Ok(Answer::Rows(table))
}

fn question(tokens: &mut Tokens) -> Result<RouteQuestion, Refusal> {
    let mut question = RouteQuestion::default();
    while !tokens.is_empty() {
        tokens.take_mark(',');
        let Some(key) = tokens.word() else { break };
        let value = tokens.value(&key)?;
        if let Some(name) = attribute_name(&key) {
            question.attributes.insert(name, value);
            continue;
        }
        match key.to_lowercase().as_str() {
            "user" | "account" => question.user = Some(value),
            "database" => question.database = Some(value),
            "address" => question.address = Some(peer_address(&value)?),
            "program" => question.program = Some(value),
            "pid" => {
                let pid = value
                    .parse()
                    .map_err(|_| Refusal::bad_value(format!("PID takes a number; this is {value:?}")))?;
                question.pid = Some(pid);
            }
            "bd_branch" => question.bd_branch = Some(value),
            "actor" => question.actor = Some(value),
            "polecat" => question.polecat = Some(value),
            _ => return Err(Refusal::syntax(format!("unknown key {key}; usage: {EXPLAIN_USAGE}"))),
        }
    }
    tokens.end(EXPLAIN_USAGE)?;
    Ok(question)
}

/// `attribute.NAME`; names keep their case.
fn attribute_name(key: &str) -> Option<String> {
    let (kind, name) = key.split_once('.')?;
    (kind.eq_ignore_ascii_case("attribute") && !name.is_empty()).then(|| name.to_owned())
}

fn peer_address(text: &str) -> Result<PeerAddress, Refusal> {
    if text.eq_ignore_ascii_case("unix") {
        return Ok(PeerAddress::Unix);
    }
    if let Ok(ip) = text.parse() {
        return Ok(PeerAddress::Tcp { ip, port: 0 });
    }
    match text.parse::<std::net::SocketAddr>() {
        Ok(address) => Ok(PeerAddress::Tcp { ip: address.ip(), port: address.port() }),
        Err(_) => {
            Err(Refusal::bad_value(format!("ADDRESS takes an IP, IP:PORT or 'unix'; this is {text:?}")))
        }
    }
}

/// The result first, then what was considered.
fn explained_rows(explained: ExplainedRoute) -> Table {
    let mut table = Table::new(["step", "considered", "outcome"]);
    let no_branch = if explained.placement.starts_with("refused") { "(none)" } else { "(default branch)" };
    let branch = explained.branch.unwrap_or_else(|| no_branch.to_owned());
    table.row(["result".into(), branch.into(), explained.placement.into()]);
    table.row(["reason".into(), Cell::Null, explained.reason.into()]);
    for step in explained.steps {
        table.row([step.step.into(), step.considered.into(), step.outcome.into()]);
    }
    table
}
