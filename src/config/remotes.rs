//! Owns the settings of pushes: where each database goes, and how soon, how often and how long it is tried.
//! Does not look for remotes elsewhere (`remote::targets` does) and does not push.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::federation::{LedgerConfig, PeerOf, check_ledgers, ledger, peers};
use super::lanes::one_of;
use super::outside::{AlertsConfig, BackupsConfig, alerts, backups};
use super::problem::{Origin, Problem};
use super::raw::{self, RawFile, RawRemote, Written};
use super::rule::origin_text;
use crate::remote::RemoteUrl;

/// Name of the remote that main is pushed to, unless told otherwise.
pub const NAME_DEFAULT: &str = "origin";

/// How main reaches its remotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotesConfig {
    /// A push waits until nothing was committed for so long.
    pub quiet: Duration,
    /// It does not wait longer than this after the first commit.
    pub quiet_max: Duration,
    /// Main is compared with its remote so often, whatever was seen.
    pub heartbeat: Duration,
    /// A push that takes longer is ended.
    pub timeout: Duration,
    /// First wait after a failure; it doubles with each further one.
    pub backoff_min: Duration,
    /// Longest wait after a failure.
    pub backoff_max: Duration,
    /// Pushes at once, of different databases to different repositories.
    pub running_max: usize,
    /// What is done when the remote has commits that main has not.
    pub on_behind: OnBehind,
    /// By name in lower case.
    pub databases: BTreeMap<String, RemoteOf>,
    /// All other databases that have a remote of this name in Dolt: the town's daemon.json can ask for that.
    pub discover: Option<String>,
    /// `[alerts]`: who is told.
    pub alerts: AlertsConfig,
    /// `[backups]`: copies on this machine.
    pub backups: BackupsConfig,
}

/// One `[remotes.DATABASE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOf {
    /// As written.
    pub database: String,
    /// Where to; none: where Dolt's remote of that name says.
    pub url: Option<RemoteUrl>,
    /// Name of the remote.
    pub name: String,
    /// Whether main is pushed there.
    pub push: bool,
    /// Whether a heartbeat pushes what no commit has announced.
    pub heartbeat: bool,
    /// Instead of `remotes.on_behind`.
    pub on_behind: Option<OnBehind>,
    /// Other towns, whose main is fetched.
    pub peers: Vec<PeerOf>,
    /// What of it is published.
    pub ledger: Option<LedgerConfig>,
    /// Where it stands: `branchline.toml:12`.
    pub origin: String,
}

/// What is done when the remote has commits that main has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBehind {
    /// Somebody is told.
    #[default]
    Alert,
    /// They are merged into main by the rules of `[merge]`, and the result is pushed.
    Merge,
}

impl OnBehind {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 2] = [("alert", Self::Alert), ("merge", Self::Merge)];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Merge => "merge",
        }
    }
}

impl Default for RemotesConfig {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(2),
            quiet_max: Duration::from_secs(30),
            heartbeat: Duration::from_secs(180),
            timeout: Duration::from_secs(300),
            backoff_min: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            running_max: 3,
            on_behind: OnBehind::default(),
            databases: BTreeMap::new(),
            discover: None,
            alerts: AlertsConfig::default(),
            backups: BackupsConfig::default(),
        }
    }
}

impl RemotesConfig {
    /// The times, by key.
    pub fn times(&self) -> [(&'static str, Duration); 6] {
        [
            ("remotes.quiet_s", self.quiet),
            ("remotes.quiet_max_s", self.quiet_max),
            ("remotes.heartbeat_s", self.heartbeat),
            ("remotes.timeout_s", self.timeout),
            ("remotes.backoff_min_s", self.backoff_min),
            ("remotes.backoff_max_s", self.backoff_max),
        ]
    }
}

/// In the words of the config file, the URL without credentials.
impl fmt::Display for RemoteOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Some(url) => write!(f, "{} = {url}", self.name)?,
            None => write!(f, "{} as Dolt has it", self.name)?,
        }
        if !self.push {
            write!(f, ", not pushed")?;
        }
        if let Some(on_behind) = self.on_behind {
            write!(f, ", on_behind {}", on_behind.as_str())?;
        }
        write!(f, " ({})", self.origin)
    }
}

/// The `[remotes]` of a config file that may have changed since the start. One that isn't there has none.
pub fn read(path: &Path) -> Result<RemotesConfig, Vec<Problem>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let what = format!("can't read {}: {error}", path.display());
            let (key, allowed) = ("config".to_owned(), "a readable TOML file".to_owned());
            return Err(vec![Problem { origin: Origin::Default, key, what, allowed }]);
        }
    };
    let (mut file, mut problems) = raw::parse(path, &text)?;
    let config = resolve(&mut file, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Checks `[remotes]`; all its problems are added to `problems`.
pub(super) fn resolve(file: &mut RawFile, problems: &mut Vec<Problem>) -> RemotesConfig {
    let default = RemotesConfig::default();
    let mut seconds = |key: &'static str, default: Duration, range: RangeInclusive<u64>| {
        Duration::from_secs(number(file, key, default.as_secs(), range, problems))
    };
    let mut config = RemotesConfig {
        quiet: seconds("remotes.quiet_s", default.quiet, 0..=3600),
        quiet_max: seconds("remotes.quiet_max_s", default.quiet_max, 1..=86_400),
        heartbeat: seconds("remotes.heartbeat_s", default.heartbeat, 1..=86_400),
        timeout: seconds("remotes.timeout_s", default.timeout, 1..=86_400),
        backoff_min: seconds("remotes.backoff_min_s", default.backoff_min, 1..=3600),
        backoff_max: seconds("remotes.backoff_max_s", default.backoff_max, 1..=86_400),
        running_max: number(file, "remotes.running_max", default.running_max as u64, 1..=32, problems)
            as usize,
        ..default
    };
    config.quiet_max = config.quiet_max.max(config.quiet);
    config.backoff_max = config.backoff_max.max(config.backoff_min);
    if let Some(written) = file.on_behind.take() {
        config.on_behind =
            one_of(&written, "remotes", "on_behind", &OnBehind::ALL, problems).unwrap_or_default();
    }
    let mut ledgers = BTreeMap::new();
    for raw in std::mem::take(&mut file.remotes) {
        if let Some(ledger) = &raw.ledger {
            ledgers.insert(raw.database.to_lowercase(), ledger.origin.clone());
        }
        if let Some(remote) = remote(&raw, problems) {
            config.databases.insert(remote.database.to_lowercase(), remote);
        }
    }
    check_ledgers(&config, &ledgers, problems);
    config.alerts = alerts(file, problems);
    config.backups = backups(file, problems);
    config
}

fn remote(raw: &RawRemote, problems: &mut Vec<Problem>) -> Option<RemoteOf> {
    let before = problems.len();
    let url =
        raw.url.as_ref().and_then(|written| checked_url(written, &format!("{}.url", raw.key), problems));
    let name = raw.name.as_ref().map_or_else(|| NAME_DEFAULT.to_owned(), |written| written.value.clone());
    check_name(&name, &raw.origin, &raw.key, problems);
    let on_behind = raw
        .on_behind
        .as_ref()
        .and_then(|written| one_of(written, &raw.key, "on_behind", &OnBehind::ALL, problems));
    let peers = peers(&raw.peers, &name, problems);
    let ledger = raw.ledger.as_ref().and_then(|raw| ledger(raw, problems));
    (problems.len() == before).then(|| RemoteOf {
        database: raw.database.clone(),
        url,
        name,
        push: raw.push.as_ref().is_none_or(|written| written.value),
        heartbeat: true,
        on_behind,
        peers,
        ledger,
        origin: origin_text(&raw.origin),
    })
}

/// A remote's URL, if it can be one.
pub(super) fn checked_url(
    written: &Written<String>,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<RemoteUrl> {
    match RemoteUrl::parse(&written.value) {
        Ok(url) => Some(url),
        Err(error) => {
            problems.push(Problem {
                origin: written.origin.clone(),
                key: key.to_owned(),
                what: error.what().to_owned(),
                allowed: error.allowed().to_owned(),
            });
            None
        }
    }
}

/// That a remote can be called so.
pub(super) fn check_name(name: &str, origin: &Origin, key: &str, problems: &mut Vec<Problem>) {
    if !crate::remote::url::is_remote_name(name) {
        problems.push(Problem {
            origin: origin.clone(),
            key: format!("{key}.name"),
            what: "is no name for a remote".to_owned(),
            allowed: crate::remote::url::NAME_ALLOWED.to_owned(),
        });
    }
}

/// A whole number of `numbers`, within its range.
pub(super) fn number(
    file: &mut RawFile,
    key: &'static str,
    default: u64,
    range: RangeInclusive<u64>,
    problems: &mut Vec<Problem>,
) -> u64 {
    let Some(written) = file.numbers.remove(key) else { return default };
    match u64::try_from(written.value) {
        Ok(number) if range.contains(&number) => number,
        _ => {
            problems.push(Problem {
                origin: written.origin.clone(),
                key: key.to_owned(),
                what: format!("is {}", written.value),
                allowed: format!("{} to {}", range.start(), range.end()),
            });
            default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<RemotesConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("branchline.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_whole_section() {
        let config = written(
            "[remotes]\nquiet_s = 1\non_behind = \"merge\"\n\n[remotes.Beads]\nurl = \"git@h:a/b.git\"\n\n\
             [remotes.hq]\nname = \"mine\"\npush = false\non_behind = \"alert\"\n",
        )
        .unwrap();
        assert_eq!((config.quiet, config.on_behind), (Duration::from_secs(1), OnBehind::Merge));
        let beads = &config.databases["beads"];
        assert_eq!(beads.to_string(), "origin = git+ssh://git@h/./a/b.git (branchline.toml:5)");
        assert_eq!(
            config.databases["hq"].to_string(),
            "mine as Dolt has it, not pushed, on_behind alert (branchline.toml:8)"
        );
        assert_eq!(written("").unwrap(), RemotesConfig::default());
    }

    #[test]
    fn what_is_wrong_is_told_without_credentials() {
        let ledger = |more: &str| {
            format!("[remotes.a.ledger]\nremote = \"git@h:p.git\"\ntables = [\"issues\"]\n{more}")
        };
        for (text, want) in [
            ("[remotes]\nquiet_s = -1", "remotes.quiet_s: is -1"),
            ("[remotes]\nheartbeat_s = 0", "1 to 86400"),
            ("[remotes]\nquit_s = 1", "did you mean `quiet_s`?"),
            ("[remotes]\non_behind = \"force\"", "\"alert\", \"merge\""),
            ("[remotes.a]\nurl = \"ssh://u:hunter2@h/x\"", "remotes.a.url: ssh takes no password"),
            ("[remotes.a]\nurl = \"ext::sh -c x\"", "remotes.a.url: "),
            ("[remotes.a]\nname = \"-x\"", "no name for a remote"),
            ("[remotes.a]\npsh = true", "did you mean `push`?"),
            ("[remotes.a]\npush = \"yes\"", "true or false"),
            (
                "[remotes.a.ledger]\nremote = \"git@h:p.git\"\ntables = []",
                "remotes.a.ledger.tables: is missing",
            ),
            (&ledger("where = \"status = 'closed'; DROP TABLE x\""), "remotes.a.ledger.where: has ; in it"),
            (&ledger("where = \"status = 'closed' -- x\""), "remotes.a.ledger.where: has a comment in it"),
            (
                &ledger("columns_excluded = [\"issues.notes\"]"),
                "remotes.a.ledger.columns_excluded: has \"issues.notes\"",
            ),
            (
                &ledger("[remotes.b]\nurl = \"https://h/p\""),
                "remotes.a.ledger.remote: is git+ssh://git@h/./p.git, and b is pushed",
            ),
            (&ledger("[remotes.A_ledger]\nurl = \"git@h:q.git\""), "nothing else is set for it"),
        ] {
            let told = written(text).expect_err(text);
            assert!(told.contains(want) && !told.contains("hunter2"), "{text}: {told}");
        }
    }
}
