//! Owns the check of one routing rule, whether it stands in the config file or was typed on the console,
//! and of the conditions that all kinds of rules share. Does not match rules: `session::route` does.

use std::net::IpAddr;

use super::problem::{Origin, Problem};
use super::raw::{RawConditions, RawRule, Written};
use super::{AddressMatch, Conditions, Glob, Rule};

/// Placeholders of a branch template, without `{attribute:NAME}`.
pub const PLACEHOLDERS: [&str; 5] = ["account", "database", "program", "actor", "polecat"];
const PLACEHOLDERS_ALLOWED: &str = "{account}, {database}, {program}, {actor}, {polecat}, {attribute:NAME}";
const ADDRESS_ALLOWED: &str = "an IP address, a network as 10.0.0.0/8, or \"unix\"";

/// Checks a rule; all its problems are added to `problems`.
pub fn resolve(raw: &RawRule, problems: &mut Vec<Problem>) -> Option<Rule> {
    let before = problems.len();
    let conditions = conditions(&raw.conditions, &raw.key, problems);
    match &raw.branch {
        Some(written) => {
            if let Err((what, allowed)) = check_template(&written.value) {
                problems.push(problem(written, &raw.key, "branch", what, allowed));
            }
        }
        None if raw.branch_given => return None,
        None => problems.push(Problem {
            origin: raw.origin.clone(),
            key: format!("{}.branch", raw.key),
            what: "is missing".to_owned(),
            allowed: "a branch name, or a template with ".to_owned() + PLACEHOLDERS_ALLOWED,
        }),
    }
    if problems.len() > before {
        return None;
    }
    let branch = raw.branch.as_ref()?.value.clone();
    Some(Rule { conditions, branch, origin: origin_text(&raw.origin) })
}

/// Checks what a rule of any kind asks of a connection. `key` is the rule's.
pub(super) fn conditions(raw: &RawConditions, key: &str, problems: &mut Vec<Problem>) -> Conditions {
    let glob = |name: &str| raw.patterns.get(name).map(|written| Glob::new(written.value.clone()));
    let attribute = |(name, glob): (&String, &Written<String>)| (name.clone(), Glob::new(glob.value.clone()));
    let address = raw.patterns.get("address").and_then(|written| match parse_address(&written.value) {
        Ok(address) => Some(address),
        Err(what) => {
            problems.push(problem(written, key, "address", what, ADDRESS_ALLOWED));
            None
        }
    });
    Conditions {
        account: glob("account"),
        database: glob("database"),
        address,
        program: glob("program"),
        attributes: raw.attributes.iter().map(attribute).collect(),
        actor: glob("actor"),
        polecat: glob("polecat"),
    }
}

/// What is wrong with one value of a rule.
pub(super) fn problem(
    written: &Written<String>,
    rule: &str,
    name: &str,
    what: String,
    allowed: &str,
) -> Problem {
    let origin = written.origin.clone();
    Problem { origin, key: format!("{rule}.{name}"), what, allowed: allowed.to_owned() }
}

/// `branchline.toml:12`: short enough for a table.
pub(super) fn origin_text(origin: &Origin) -> String {
    match origin {
        Origin::File { path, line } => {
            format!("{}:{line}", path.file_name().unwrap_or_default().to_string_lossy())
        }
        other => other.to_string(),
    }
}

/// Parses `address =` of a rule.
pub fn parse_address(text: &str) -> Result<AddressMatch, String> {
    if text.eq_ignore_ascii_case("unix") {
        return Ok(AddressMatch::Unix);
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is no address"))?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = match bits {
        None => bits_max,
        Some(bits) => match bits.parse() {
            Ok(bits) if bits <= bits_max => bits,
            _ => return Err(format!("{text:?} has a prefix length that is not between 0 and {bits_max}")),
        },
    };
    Ok(AddressMatch::Network { address, prefix_bits })
}

/// `address =` as it would be written.
pub fn address_text(address: &AddressMatch) -> String {
    match address {
        AddressMatch::Unix => "unix".to_owned(),
        AddressMatch::Network { address, prefix_bits } => {
            let bits_max = if address.is_ipv4() { 32 } else { 128 };
            if *prefix_bits == bits_max { address.to_string() } else { format!("{address}/{prefix_bits}") }
        }
    }
}

/// Conditions in one line, as the console's `ROUTE` takes them; `*` where there is none.
pub fn conditions_text(conditions: &Conditions) -> String {
    let globs = [
        ("ACCOUNT", &conditions.account),
        ("DATABASE", &conditions.database),
        ("PROGRAM", &conditions.program),
        ("ACTOR", &conditions.actor),
        ("POLECAT", &conditions.polecat),
    ];
    let mut parts: Vec<String> = globs
        .iter()
        .filter_map(|(key, glob)| glob.as_ref().map(|glob| format!("{key} {}", quote(glob.as_str()))))
        .collect();
    if let Some(address) = &conditions.address {
        parts.push(format!("ADDRESS {}", quote(&address_text(address))));
    }
    parts.extend(
        conditions.attributes.iter().map(|(name, glob)| format!("ATTRIBUTE.{name} {}", quote(glob.as_str()))),
    );
    if parts.is_empty() { "*".to_owned() } else { parts.join(" ") }
}

/// `'text'`, with quotes and backslashes doubled.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Checks placeholders and the characters between them; whether the filled-in name is valid is known only then.
fn check_template(template: &str) -> Result<(), (String, &'static str)> {
    if template.is_empty() {
        return Err(("is empty".to_owned(), "a branch name or a template"));
    }
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        check_literal(&rest[..at])?;
        let Some((name, after)) = rest[at..].strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            return Err((format!("{template:?} has a brace without its partner"), PLACEHOLDERS_ALLOWED));
        };
        let attribute = name.strip_prefix("attribute:").is_some_and(|name| !name.is_empty());
        if !attribute && !PLACEHOLDERS.contains(&name) {
            return Err((format!("unknown placeholder {{{name}}}"), PLACEHOLDERS_ALLOWED));
        }
        rest = after;
    }
    check_literal(rest)
}

fn check_literal(text: &str) -> Result<(), (String, &'static str)> {
    let wrong = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\'\"`".contains(c);
    match text.chars().find(|c| wrong(*c)) {
        Some(c) => Err((
            format!("the character {c:?} can't be in a branch name"),
            "no spaces, quotes, control characters or ~ ^ : ? * [ \\",
        )),
        None if text.contains("..") => Err(("`..` can't be in a branch name".to_owned(), "single dots")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("unix", Ok("unix")),
            ("UNIX", Ok("unix")),
            ("127.0.0.1", Ok("127.0.0.1")),
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("::1/128", Ok("::1")),
            ("fd00::/8", Ok("fd00::/8")),
            ("10.0.0.0/33", Err("\"10.0.0.0/33\" has a prefix length that is not between 0 and 32")),
            ("10.0.0.0/", Err("\"10.0.0.0/\" has a prefix length that is not between 0 and 32")),
            ("localhost", Err("\"localhost\" is no address")),
        ] {
            let got = parse_address(text).map(|address| address_text(&address));
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn templates() {
        for (template, want) in [
            ("polecat-{polecat}", Ok(())),
            ("{account}/{attribute:team}", Ok(())),
            ("plain", Ok(())),
            ("", Err("is empty")),
            ("{user}", Err("unknown placeholder {user}")),
            ("{attribute:}", Err("unknown placeholder {attribute:}")),
            ("{account", Err("\"{account\" has a brace without its partner")),
            ("account}", Err("\"account}\" has a brace without its partner")),
            ("a b", Err("the character ' ' can't be in a branch name")),
            ("a..b", Err("`..` can't be in a branch name")),
        ] {
            assert_eq!(check_template(template).map_err(|e| e.0), want.map_err(str::to_owned), "{template}");
        }
    }
}
