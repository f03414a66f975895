//! Owns the settings of a database's other remotes: peers that are fetched, the public ledger.
//! Does not fetch or publish: `remote` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lanes::one_of;
use super::problem::{Origin, Problem};
use super::raw::{RawLedger, RawPeer};
use super::remotes::{RemotesConfig, check_name, checked_url};
use crate::remote::RemoteUrl;
use crate::remote::ledger::rule::SUFFIX;
use crate::remote::ledger::{configured_use, filter};

/// What a ledger holds unless told otherwise.
pub const LEDGER_WHERE_DEFAULT: &str = "status = 'closed'";

/// Longest time between two fetches of a peer.
const EVERY_MIN_MAX: i64 = 7 * 24 * 60;

/// One `[[remotes.DATABASE.peers]]`: another town's repository, which is only read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOf {
    /// Name of the remote.
    pub name: String,
    /// Where it is.
    pub url: RemoteUrl,
    /// Where its main goes.
    pub into: PeerInto,
    /// How often it is fetched; none: by hand only.
    pub every: Option<Duration>,
}

/// Where a peer's main goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeerInto {
    /// A branch `peer/NAME/main` of its own, for queries.
    #[default]
    Branch,
    /// Main, by the rules of `[merge]`.
    Main,
}

impl PeerInto {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 2] = [("branch", Self::Branch), ("main", Self::Main)];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Main => "main",
        }
    }
}

/// One `[remotes.DATABASE.ledger]`: completed rows, published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// The public remote.
    pub remote: RemoteUrl,
    /// Tables that are published.
    pub tables: Vec<String>,
    /// Which of their rows.
    pub filter: String,
    /// Columns that are not published, of whatever table.
    pub columns_excluded: Vec<String>,
}

/// Checks a database's peers; `own` is the name of the remote that it is pushed to.
pub(super) fn peers(raw: &[RawPeer], own: &str, problems: &mut Vec<Problem>) -> Vec<PeerOf> {
    let mut names = BTreeSet::from([own.to_lowercase()]);
    let mut peers = Vec::new();
    for raw in raw {
        let mut problem = |what: &str, key: &str, allowed: &str| {
            problems.push(Problem {
                origin: raw.origin.clone(),
                key: format!("{}.{key}", raw.key),
                what: what.to_owned(),
                allowed: allowed.to_owned(),
            });
        };
        let Some(name) = &raw.name else {
            problem("is missing", "name", "a name for the remote, as \"alice\"");
            continue;
        };
        if !names.insert(name.value.to_lowercase()) {
            problem("is the name of another remote of this database", "name", "a name of its own");
        }
        let Some(url) = &raw.url else {
            problem("is missing", "url", "the URL of the peer's git repository");
            continue;
        };
        let every_min = raw.every_min.as_ref().map_or(0, |written| written.value);
        if !(0..=EVERY_MIN_MAX).contains(&every_min) {
            problem(&format!("is {every_min}"), "every_min", &format!("0 (by hand only) to {EVERY_MIN_MAX}"));
        }
        check_name(&name.value, &raw.origin, &raw.key, problems);
        let into =
            raw.into.as_ref().map(|written| one_of(written, &raw.key, "into", &PeerInto::ALL, problems));
        let every = u64::try_from(every_min).ok().filter(|minutes| *minutes > 0);
        if let Some(url) = checked_url(url, &format!("{}.url", raw.key), problems) {
            peers.push(PeerOf {
                name: name.value.clone(),
                url,
                into: into.flatten().unwrap_or_default(),
                every: every.map(|minutes| Duration::from_secs(60 * minutes)),
            });
        }
    }
    peers
}

/// Checks a ledger.
pub(super) fn ledger(raw: &RawLedger, problems: &mut Vec<Problem>) -> Option<LedgerConfig> {
    let mut missing = |key: &str, allowed: &str| {
        problems.push(Problem {
            origin: raw.origin.clone(),
            key: format!("{}.{key}", raw.key),
            what: "is missing".to_owned(),
            allowed: allowed.to_owned(),
        });
    };
    if raw.tables.as_ref().is_none_or(|tables| tables.value.is_empty()) {
        missing("tables", "the tables to publish, as [\"issues\"]");
    }
    if raw.remote.is_none() {
        missing("remote", "the URL of the public git repository");
    }
    if let Some(written) = &raw.filter
        && let Err(what) = filter::columns(&written.value)
    {
        problems.push(Problem {
            origin: written.origin.clone(),
            key: format!("{}.where", raw.key),
            what,
            allowed: filter::ALLOWED.to_owned(),
        });
    }
    for (key, names) in [("tables", &raw.tables), ("columns_excluded", &raw.columns_excluded)] {
        let Some(names) = names else { continue };
        if let Some(name) =
            names.value.iter().find(|name| name.trim().is_empty() || name.contains(['.', '*', '`']))
        {
            problems.push(Problem {
                origin: names.origin.clone(),
                key: format!("{}.{key}", raw.key),
                what: format!("has {name:?} in it"),
                allowed: format!(
                    "plain names, as [\"{}\"]",
                    if key == "tables" { "issues" } else { "notes" }
                ),
            });
        }
    }
    let (tables, remote) = (raw.tables.as_ref()?, raw.remote.as_ref()?);
    let remote = checked_url(remote, &format!("{}.remote", raw.key), problems)?;
    Some(LedgerConfig {
        remote,
        tables: tables.value.clone(),
        filter: raw
            .filter
            .as_ref()
            .map_or_else(|| LEDGER_WHERE_DEFAULT.to_owned(), |written| written.value.clone()),
        columns_excluded: raw
            .columns_excluded
            .as_ref()
            .map(|written| written.value.clone())
            .unwrap_or_default(),
    })
}

/// That what is published goes nowhere else, and nothing else there.
pub(super) fn check_ledgers(
    config: &RemotesConfig,
    origins: &BTreeMap<String, Origin>,
    problems: &mut Vec<Problem>,
) {
    for (name, remote) in &config.databases {
        let (Some(ledger), Some(origin)) = (&remote.ledger, origins.get(name)) else { continue };
        let mut problem = |key: String, what: String| {
            problems.push(Problem {
                origin: origin.clone(),
                key,
                what,
                allowed: "a git repository of its own for each ledger".to_owned(),
            });
        };
        let key = format!("remotes.{}.ledger", remote.database);
        if let Some(who) = configured_use(config, &ledger.remote.repository(), &remote.database) {
            problem(format!("{key}.remote"), format!("is {}, and {who}", ledger.remote));
        }
        if let Some(own) = config.databases.get(&format!("{}{SUFFIX}", remote.database.to_lowercase())) {
            problem(key, format!("is what {} is: nothing else is set for it", own.database));
        }
    }
}
