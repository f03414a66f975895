//! Owns whether a rule matches a connection, and the branch that its template makes.
//! Does not know the order of rules or what else may decide.
//! Always: a condition on something that isn't known doesn't hold; a template with a missing value makes no branch.

use std::net::IpAddr;

use super::branch_name::printable;
use crate::config::{AddressMatch, Conditions, Glob, Rule};
use crate::session::identity::{Identity, PeerAddress, PeerProcess, ProcessEnvironment, ProcessIdentity};

/// Attributes that name the client's program, besides its process.
const PROGRAM_ATTRIBUTES: [&str; 2] = ["program_name", "_client_name"];

/// What a rule says to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This branch.
    Branch(String),
    /// Nothing: this condition doesn't hold.
    NoMatch(String),
    /// Nothing, though it matches: this value of its template is missing.
    Missing(String),
    /// It depends on the peer's process, which was not looked up.
    NeedsProcess,
}

/// Why something of the process can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// Not looked up.
    NotLooked,
    /// Looked up: this is why.
    Because(String),
}

/// What rules look at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The client.
    pub identity: &'a Identity,
    /// The database being opened.
    pub database: &'a str,
    /// `routing.env_exclude`
    pub env_exclude: &'a [String],
}

impl<'a> Facts<'a> {
    /// The peer's process, if known.
    pub fn process(&self) -> Result<&'a ProcessIdentity, Absent> {
        match &self.identity.process {
            PeerProcess::Found(process) => Ok(process),
            PeerProcess::NotLooked => Err(Absent::NotLooked),
            PeerProcess::Unknown { reason } => {
                Err(Absent::Because(format!("the client's process is not known: {reason}")))
            }
        }
    }

    /// Its environment, if it was read and counts.
    pub fn environment(&self) -> Result<&'a ProcessEnvironment, Absent> {
        let ProcessIdentity { pid, program, environment, .. } = self.process()?;
        if self.env_exclude.iter().any(|excluded| excluded == program) {
            return Err(Absent::Because(format!("{program} is in routing.env_exclude")));
        }
        environment.as_ref().map_err(|reason| {
            Absent::Because(format!("the environment of pid {pid} ({program}) was not read: {reason}"))
        })
    }

    fn variable(
        &self,
        name: &str,
        pick: impl Fn(&ProcessEnvironment) -> Option<&str>,
    ) -> Result<&'a str, Absent> {
        pick(self.environment()?).ok_or_else(|| Absent::Because(format!("{name} is not set")))
    }

    fn actor(&self) -> Result<&'a str, Absent> {
        self.variable("BD_ACTOR", |environment| environment.bd_actor.as_deref())
    }

    fn polecat(&self) -> Result<&'a str, Absent> {
        self.variable("GT_POLECAT", |environment| environment.gt_polecat.as_deref())
    }

    fn attribute(&self, name: &str) -> Result<&'a str, Absent> {
        match self.identity.attributes.get(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Absent::Because(format!("connection attribute {} is not set", printable(name)))),
        }
    }

    fn program_attributes(&self) -> impl Iterator<Item = &'a str> {
        let facts = *self;
        PROGRAM_ATTRIBUTES.into_iter().filter_map(move |name| facts.attribute(name).ok())
    }
}

/// What `rule` says to this connection.
pub fn apply(rule: &Rule, facts: &Facts<'_>) -> Verdict {
    match holds(&rule.conditions, facts) {
        Ok(()) => {}
        Err(Absent::NotLooked) => return Verdict::NeedsProcess,
        Err(Absent::Because(reason)) => return Verdict::NoMatch(reason),
    }
    match fill(&rule.branch, facts) {
        Ok(branch) => Verdict::Branch(branch),
        Err(Absent::NotLooked) => Verdict::NeedsProcess,
        Err(Absent::Because(reason)) => Verdict::Missing(reason),
    }
}

/// Whether all conditions hold; `NotLooked` only if no other condition settles it.
pub fn holds(conditions: &Conditions, facts: &Facts<'_>) -> Result<(), Absent> {
    let mut holds = Ok(());
    for held in each(conditions, facts) {
        match held {
            Err(Absent::Because(reason)) => return Err(Absent::Because(reason)),
            Err(Absent::NotLooked) => holds = Err(Absent::NotLooked),
            Ok(()) => {}
        }
    }
    holds
}

fn each<'a>(
    conditions: &'a Conditions,
    facts: &'a Facts<'a>,
) -> impl Iterator<Item = Result<(), Absent>> + 'a {
    let identity = facts.identity;
    let condition = |what: &str, glob: &Option<Glob>, value: &dyn Fn() -> Result<&'a str, Absent>| match glob
    {
        None => Ok(()),
        Some(glob) => value().and_then(|value| matches(what, glob, value)),
    };
    [
        condition("account", &conditions.account, &|| Ok(&identity.user)),
        condition("database", &conditions.database, &|| Ok(facts.database)),
        match &conditions.address {
            Some(address) if !address_matches(address, &identity.address) => {
                Err(Absent::Because(format!("the client's address is not in {}", address_text(address))))
            }
            _ => Ok(()),
        },
        conditions.program.as_ref().map_or(Ok(()), |glob| program_matches(glob, facts)),
        condition("BD_ACTOR", &conditions.actor, &|| facts.actor()),
        condition("GT_POLECAT", &conditions.polecat, &|| facts.polecat()),
    ]
    .into_iter()
    .chain(conditions.attributes.iter().map(|(name, glob)| {
        facts.attribute(name).and_then(|value| matches(&format!("attribute {name}"), glob, value))
    }))
}

fn matches(what: &str, glob: &Glob, value: &str) -> Result<(), Absent> {
    if glob.matches(value) {
        return Ok(());
    }
    Err(Absent::Because(format!("{what} {} does not match {glob}", printable(value))))
}

fn program_matches(glob: &Glob, facts: &Facts<'_>) -> Result<(), Absent> {
    if facts.program_attributes().any(|program| glob.matches(program)) {
        return Ok(());
    }
    matches("program", glob, &facts.process()?.program)
}

/// Fills a template in; text outside `{…}` stays as it is.
fn fill(template: &str, facts: &Facts<'_>) -> Result<String, Absent> {
    let mut branch = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        branch.push_str(text);
        let Some((variable, after)) = after.split_once('}') else {
            return Err(Absent::Because("its branch template has a { without a }".to_owned()));
        };
        branch.push_str(value_of(variable, facts)?);
        rest = after;
    }
    branch.push_str(rest);
    Ok(branch)
}

fn value_of<'a>(variable: &str, facts: &Facts<'a>) -> Result<&'a str, Absent> {
    match variable {
        "account" => Ok(&facts.identity.user),
        "database" => Ok(facts.database),
        "program" => match facts.process() {
            Ok(process) => Ok(&process.program),
            Err(absent) => facts.program_attributes().next().ok_or(absent),
        },
        "actor" => facts.actor(),
        "polecat" => facts.polecat(),
        _ => match variable.strip_prefix("attribute:") {
            Some(name) => facts.attribute(name),
            None => Err(Absent::Because(format!("its branch template has no {{{}}}", printable(variable)))),
        },
    }
}

/// Checks a branch template before anything matches it; the text says what is wrong.
pub fn check_template(template: &str) -> Result<(), String> {
    if template.is_empty() {
        return Err("a rule needs a branch".to_owned());
    }
    let mut example = String::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((variable, after)) = after.split_once('}') else {
            return Err(format!("{} has a {{ without a }}", printable(template)));
        };
        let known = ["account", "database", "program", "actor", "polecat"].contains(&variable)
            || variable.strip_prefix("attribute:").is_some_and(|name| !name.is_empty());
        if !known {
            return Err(format!(
                "{{{}}} is not one of {{account}}, {{database}}, {{program}}, {{actor}}, {{polecat}}, \
                 {{attribute:NAME}}",
                printable(variable)
            ));
        }
        example.push_str(text);
        example.push('x');
        rest = after;
    }
    example.push_str(rest);
    super::branch_name::check(&example)
        .map_err(|problem| format!("{} can't be a branch name: {problem}", printable(template)))
}

/// Reads `unix`, an address or `address/bits`.
pub fn parse_address(text: &str) -> Option<AddressMatch> {
    if text == "unix" {
        return Some(AddressMatch::Unix);
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let prefix_bits = bits.map_or(Some(bits_max), |bits| bits.parse().ok())?;
    (prefix_bits <= bits_max).then_some(AddressMatch::Network { address, prefix_bits })
}

/// The inverse of `parse_address`.
pub fn address_text(address: &AddressMatch) -> String {
    match address {
        AddressMatch::Unix => "unix".to_owned(),
        AddressMatch::Network { address, prefix_bits } => format!("{address}/{prefix_bits}"),
    }
}

fn address_matches(wanted: &AddressMatch, peer: &PeerAddress) -> bool {
    match (wanted, peer) {
        (AddressMatch::Unix, PeerAddress::Unix) => true,
        (AddressMatch::Network { address, prefix_bits }, PeerAddress::Tcp { ip, .. }) => {
            match (address, ip.to_canonical()) {
                (IpAddr::V4(network), IpAddr::V4(ip)) => {
                    let host_bits = 32 - u32::from(*prefix_bits).min(32);
                    (network.to_bits() ^ ip.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
                }
                (IpAddr::V6(network), IpAddr::V6(ip)) => {
                    let host_bits = 128 - u32::from(*prefix_bits).min(128);
                    (network.to_bits() ^ ip.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
                }
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |ip: &str| PeerAddress::Tcp { ip: ip.parse().expect("an address"), port: 1 };
        for (wanted, peer, want) in [
            ("unix", PeerAddress::Unix, true),
            ("unix", tcp("127.0.0.1"), false),
            ("10.0.0.0/8", tcp("10.9.9.9"), true),
            ("10.0.0.0/8", tcp("11.9.9.9"), false),
            ("10.0.0.0/8", tcp("::ffff:10.9.9.9"), true),
            ("10.0.0.1", tcp("10.0.0.1"), true),
            ("10.0.0.1", tcp("10.0.0.2"), false),
            ("0.0.0.0/0", tcp("10.0.0.2"), true),
            ("0.0.0.0/0", tcp("fd00::1"), false),
            ("fd00::/8", tcp("fd12::1"), true),
            ("::/0", tcp("fd12::1"), true),
            ("::/0", PeerAddress::Unix, false),
        ] {
            let wanted = parse_address(wanted).expect("an address");
            assert_eq!(address_matches(&wanted, &peer), want, "{wanted:?} ~ {peer:?}");
            assert_eq!(parse_address(&address_text(&wanted)), Some(wanted));
        }
        for text in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0"] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }

    #[test]
    fn templates() {
        for good in
            ["main", "polecat-{polecat}", "{account}/{database}", "a-{attribute:role}", "{actor}{program}"]
        {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        for bad in ["", "{", "a{b}", "{attribute:}", "a b", "x/{actor}/", "HEAD", "x'{actor}"] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
    }
}
