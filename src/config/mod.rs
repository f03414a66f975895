//! Owns the settings as the rest of the program sees them: checked, complete, with defaults.
//! Does not read files or arguments itself: `raw` does, and `resolve` turns raw into this.
//! Always: a `Config` that exists is valid; nobody checks a setting again.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub mod branches;
mod document;
pub mod federation;
mod lanes;
mod merge;
pub mod outside;
mod password_file;
pub mod remotes;
pub mod places;
pub mod problem;
pub mod raw;
pub mod resolve;
pub mod rule;
#[cfg(test)]
#[path = "tests.rs"]
mod resolve_tests;

pub use branches::{BranchesConfig, Orphans};
pub use federation::{LedgerConfig, PeerInto, PeerOf};
pub use lanes::{AutoCommit, LaneRule, LaneRules, LanesConfig, OwnRows};
pub use merge::{CellRule, DeleteRule, MergePolicy, MergeRule, UPDATED_AT};
pub use outside::{AlertsConfig, BackupsConfig};
pub use password_file::read as read_password;
pub use remotes::{OnBehind, RemoteOf, RemotesConfig};

/// Everything `branchline serve` runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// TCP addresses that SQL is served on.
    pub listen: Vec<SocketAddr>,
    /// Unix socket that SQL is served on, besides TCP.
    pub socket: Option<PathBuf>,
    /// Directory that holds one Dolt database per subdirectory.
    pub data_dir: PathBuf,
    /// Directory for our own files: lock, console socket, Dolt's private config, logs.
    pub state_dir: PathBuf,
    /// The config file that was read, if there was one.
    pub config_file: Option<PathBuf>,
    /// The Dolt server behind us.
    pub dolt: DoltConfig,
    /// How a connection gets its branch.
    pub routing: Routing,
    /// How writes wait for each other; see `admit`.
    pub lanes: LanesConfig,
    /// How conflicts of merges are resolved; see `merge`.
    pub merge: MergePolicy,
    /// How branches end; see `branch`.
    pub branches: BranchesConfig,
    /// What is pushed where, and when; see `remote`.
    pub remotes: RemotesConfig,
    /// Upper bounds.
    pub limits: Limits,
    /// What is written to our log.
    pub log: LogConfig,
}

/// Where Dolt is and how it is watched.
#[derive(Debug, Clone)]
pub struct DoltConfig {
    /// Ours to run, or somebody else's.
    pub source: DoltSource,
    /// Time between two health probes by SQL.
    pub health_interval: Duration,
    /// How long a single health probe may take.
    pub health_timeout: Duration,
    /// Time between SIGTERM and SIGKILL; never below 30 s.
    pub stop_timeout: Duration,
}

/// Ours to run, or somebody else's.
#[derive(Debug, Clone)]
pub enum DoltSource {
    /// Branchline spawns and restarts it; `binary` overrides the search.
    Private {
        /// `--dolt`.
        binary: Option<PathBuf>,
    },
    /// `--dolt-address`: a server that somebody else runs.
    External {
        /// `host:port`, or the path of a unix socket.
        address: String,
        /// Account of the control connection.
        user: String,
        /// Its password.
        password: Secret,
    },
}

/// How a connection gets its branch; see `session::route`.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Databases that identity never routes away from their default branch.
    pub main_only: Vec<String>,
    /// A routed branch that does not exist yet is forked at the first write if its name matches.
    pub create_pattern: Option<Glob>,
    /// Splits `account+branch` user names; off by default.
    pub user_separator: Option<char>,
    /// Programs (base name of the executable) that speak for others: their environment is not used.
    pub env_exclude: Vec<String>,
    /// Rules from the config file, first match wins.
    pub rules: Vec<Rule>,
}

impl Routing {
    /// Whether identity never routes this database.
    pub fn is_main_only(&self, database: &str) -> bool {
        self.main_only.iter().any(|name| name.eq_ignore_ascii_case(database))
    }

    /// `account+branch`, if the separator is on and something stands on both sides.
    pub fn split_user(&self, user: &str) -> (String, Option<String>) {
        match self.user_separator.and_then(|separator| user.split_once(separator)) {
            Some((account, branch)) if !account.is_empty() && !branch.is_empty() => {
                (account.to_owned(), Some(branch.to_owned()))
            }
            _ => (user.to_owned(), None),
        }
    }
}

/// What a rule asks of a connection: all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Account's user name.
    pub account: Option<Glob>,
    /// Database being opened.
    pub database: Option<Glob>,
    /// Client address: an IP, or a network as `10.0.0.0/8`; `unix` for the socket.
    pub address: Option<AddressMatch>,
    /// Base name of the client's executable, or its `program_name` / `_client_name` attribute.
    pub program: Option<Glob>,
    /// Connection attributes by name.
    pub attributes: BTreeMap<String, Glob>,
    /// BD_ACTOR of the client's process.
    pub actor: Option<Glob>,
    /// GT_POLECAT of the client's process.
    pub polecat: Option<Glob>,
}

/// One `[[routing.rules]]` entry.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// Which connections it is for.
    pub conditions: Conditions,
    /// Branch, with `{account}`, `{database}`, `{program}`, `{actor}`, `{polecat}` and `{attribute:NAME}` filled in.
    pub branch: String,
    /// Where the rule stands, for `route explain`: `branchline.toml:12`.
    pub origin: String,
}

/// What `address =` in a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressMatch {
    /// Any peer on the unix socket.
    Unix,
    /// Peers whose address has these leading bits.
    Network {
        /// Network address.
        address: std::net::IpAddr,
        /// Leading bits that count.
        prefix_bits: u8,
    },
}

/// Upper bounds; every refusal names one of these.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Clients served at once; past it 1040.
    pub clients_max: usize,
    /// From accept to the end of authentication.
    pub handshake_timeout: Duration,
    /// How long running statements and transactions may go on after SIGTERM.
    pub drain_timeout: Duration,
}

/// What is written to our log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A `tracing` filter, `info` by default.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// A log file is rotated at this size.
    pub rotate_bytes: u64,
    /// Rotated files kept beside the current one.
    pub rotate_keep: usize,
}

/// A case-insensitive pattern with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Any text is a valid pattern.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Linear in `text` × number of stars, no recursion: patterns come from people, texts from peers.
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().flat_map(char::to_lowercase).collect();
        let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some('?') => {
                    p += 1;
                    t += 1;
                }
                Some(c) if *c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((star_p, star_t)) => {
                        p = star_p + 1;
                        t = star_t + 1;
                        star = Some((star_p, star_t + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password: shown nowhere.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The one way to the text, so that each use can be found.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("polecat-*", "polecat-nux", true),
            ("polecat-*", "Polecat-Nux", true),
            ("polecat-*", "polecat", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaxxbxxb", true),
            ("*a*b", "xxaxxbxxc", false),
            ("é*", "ÉTÉ", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), want, "{pattern} ~ {text}");
        }
    }

    #[test]
    fn a_user_name_is_split_only_when_asked_for() {
        let split = |user: &str, user_separator| {
            let routing = Routing {
                main_only: Vec::new(),
                create_pattern: None,
                user_separator,
                env_exclude: Vec::new(),
                rules: Vec::new(),
            };
            let (account, branch) = routing.split_user(user);
            (account, branch.unwrap_or_default())
        };
        assert_eq!(split("bd+polecat-nux", Some('+')), ("bd".into(), "polecat-nux".into()));
        assert_eq!(split("bd+a+b", Some('+')), ("bd".into(), "a+b".into()));
        assert_eq!(split("bd+polecat-nux", None), ("bd+polecat-nux".into(), String::new()));
        assert_eq!(split("+x", Some('+')), ("+x".into(), String::new()));
        assert_eq!(split("x+", Some('+')), ("x+".into(), String::new()));
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }
}
