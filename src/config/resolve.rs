//! Owns the way from what was written to a valid `Config`: precedence, defaults, ranges.
//! Does not parse TOML (`document`) and does not create files.
//! Always: flags before environment before config file before defaults; every problem is reported, not only the first.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problem::{Origin, Problem, Problems};
use super::raw::{Flags, RawFile, Written};
use super::{
    BranchesConfig, Config, DoltConfig, DoltSource, Glob, LanesConfig, Limits, LogConfig, MergePolicy,
    Routing, Secret,
};
use super::{branches, lanes, merge, password_file, places, raw, remotes, rule};

/// Name of the config file in the state directory.
pub const CONFIG_FILE: &str = "branchline.toml";
/// Name of the console's socket in the state directory.
pub const CONSOLE_SOCKET: &str = "branchline.sock";
/// SQL is served here unless told otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:3307";
/// Longest path that fits into a unix socket address (`sun_path` is 108 bytes with its NUL).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Programs that hold connections on behalf of others, so that their environment says nothing of the client.
pub const ENV_EXCLUDE_DEFAULT: [&str; 26] = [
    "gt",
    "ssh",
    "sshd",
    "sshd-session",
    "autossh",
    "mosh-server",
    "tmux",
    "screen",
    "haproxy",
    "socat",
    "nc",
    "ncat",
    "nginx",
    "envoy",
    "traefik",
    "proxysql",
    "mysqlrouter",
    "maxscale",
    "stunnel",
    "docker-proxy",
    "rootlessport",
    "slirp4netns",
    "pasta",
    "kubectl",
    "tailscaled",
    "cloudflared",
];

/// Everything settings may come from.
pub struct Sources<'a> {
    /// Command line flags.
    pub flags: Flags,
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Home directory.
    pub home: Option<PathBuf>,
}

impl Sources<'_> {
    /// The state directory, which is all that commands need to find the running process.
    pub fn state_dir(&self) -> Result<PathBuf, Problems> {
        let mut resolver = Resolver { sources: self, file: RawFile::default(), problems: Vec::new() };
        let dir = resolver.state_dir();
        if resolver.problems.is_empty() { Ok(dir) } else { Err(Problems(resolver.problems)) }
    }

    /// All settings.
    pub fn resolve(&self) -> Result<Config, Problems> {
        let mut resolver = Resolver { sources: self, file: RawFile::default(), problems: Vec::new() };
        let config = resolver.config();
        if resolver.problems.is_empty() { Ok(config) } else { Err(Problems(resolver.problems)) }
    }
}

struct Resolver<'a> {
    sources: &'a Sources<'a>,
    file: RawFile,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    fn config(&mut self) -> Config {
        let state_dir = self.state_dir();
        let config_file = self.read_config_file(&state_dir);
        let data_dir = self.data_dir(&state_dir);
        let routing = self.routing();
        let config = Config {
            listen: self.listen(),
            socket: self.socket(),
            data_dir,
            state_dir,
            config_file,
            dolt: self.dolt(),
            lanes: self.lanes(&routing),
            branches: self.branches(),
            routing,
            merge: self.merge(),
            remotes: remotes::resolve(&mut self.file, &mut self.problems),
            limits: Limits {
                clients_max: self.number("limits.clients_max", 1000, 1..=100_000) as usize,
                handshake_timeout: self.seconds("limits.handshake_timeout_s", 10, 1..=300),
                drain_timeout: self.seconds("limits.drain_timeout_s", 3, 0..=3600),
            },
            log: self.log(),
        };
        // Sections are checked one after the other; people fix a file from top to bottom.
        self.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        config
    }

    fn state_dir(&mut self) -> PathBuf {
        let flag = self.sources.flags.state_dir.clone();
        let written = self.path("--state-dir", flag, "BRANCHLINE_STATE_DIR", None);
        let dir = match &written {
            Some(written) => written.value.clone(),
            None => places::state_dir(&self.sources.cwd, self.sources.home.as_deref()).unwrap_or_else(|| {
                self.no_home("state_dir", "--state-dir DIR");
                PathBuf::new()
            }),
        };
        let origin = written.map_or(Origin::Default, |written| written.origin);
        if dir.exists() && !dir.is_dir() {
            self.problem(
                &origin,
                "state_dir",
                format!("{} is not a directory", dir.display()),
                "a directory",
            );
        }
        self.check_socket_path(&origin, "state_dir", &dir.join(CONSOLE_SOCKET));
        dir
    }

    fn read_config_file(&mut self, state_dir: &Path) -> Option<PathBuf> {
        let flag = self.sources.flags.config.clone();
        let written = self.path("--config", flag, "BRANCHLINE_CONFIG", None);
        let (path, origin) = match written {
            Some(written) => (written.value, Some(written.origin)),
            None => (state_dir.join(CONFIG_FILE), None),
        };
        let text = match (std::fs::read_to_string(&path), origin) {
            (Ok(text), _) => text,
            (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => return None,
            (Err(error), origin) => {
                let what = format!("can't read {}: {error}", path.display());
                self.problem(&origin.unwrap_or(Origin::Default), "config", what, "a readable TOML file");
                return Some(path);
            }
        };
        match raw::parse(&path, &text) {
            Ok((file, problems)) => {
                self.file = file;
                self.problems.extend(problems);
            }
            Err(problems) => self.problems.extend(problems),
        }
        Some(path)
    }

    fn data_dir(&mut self, state_dir: &Path) -> PathBuf {
        let flag = self.sources.flags.data_dir.clone();
        let file = self.file.data_dir.take();
        let written = self.path("--data-dir", flag, "BRANCHLINE_DATA_DIR", file);
        let dir = match &written {
            Some(written) => written.value.clone(),
            None => places::data_dir(&self.sources.cwd, self.sources.home.as_deref()).unwrap_or_else(|| {
                self.no_home("data_dir", "--data-dir DIR");
                PathBuf::new()
            }),
        };
        let origin = written.map_or(Origin::Default, |written| written.origin);
        if dir.exists() && !dir.is_dir() {
            self.problem(&origin, "data_dir", format!("{} is not a directory", dir.display()), "a directory");
        }
        if !dir.as_os_str().is_empty() && state_dir.starts_with(&dir) {
            let what = format!("the state directory {} is inside {}", state_dir.display(), dir.display());
            self.problem(
                &origin,
                "data_dir",
                what,
                "a state directory elsewhere: Dolt takes what is in its data directory for databases",
            );
        }
        dir
    }

    fn listen(&mut self) -> Vec<SocketAddr> {
        let flags = self.sources.flags.listen.clone();
        let written = if !flags.is_empty() {
            Written { value: flags, origin: Origin::Flag("--listen") }
        } else if let Some(text) = self.environment("BRANCHLINE_LISTEN") {
            let value = text.split(',').map(|part| part.trim().to_owned()).collect();
            Written { value, origin: Origin::Environment("BRANCHLINE_LISTEN") }
        } else {
            let default = || Written { value: vec![LISTEN_DEFAULT.to_owned()], origin: Origin::Default };
            self.file.listen.take().unwrap_or_else(default)
        };
        let mut listen: Vec<SocketAddr> = Vec::new();
        for text in &written.value {
            match parse_listen(text) {
                Ok(address) if address.port() != 0 && listen.contains(&address) => {
                    self.problem(
                        &written.origin,
                        "listen",
                        format!("{text:?} is there twice"),
                        "each address once",
                    );
                }
                Ok(address) => listen.push(address),
                Err(what) => {
                    let allowed = "IP:PORT, as 127.0.0.1:3307 or [::1]:3307; port 0 picks a free one";
                    self.problem(&written.origin, "listen", what, allowed);
                }
            }
        }
        if written.value.is_empty() {
            self.problem(&written.origin, "listen", "the list is empty".to_owned(), "at least one IP:PORT");
        }
        listen
    }

    fn socket(&mut self) -> Option<PathBuf> {
        let flag = self.sources.flags.socket.clone();
        let file = self.file.socket.take();
        let written = self.path("--socket", flag, "BRANCHLINE_SOCKET", file)?;
        self.check_socket_path(&written.origin, "socket", &written.value);
        Some(written.value)
    }

    fn dolt(&mut self) -> DoltConfig {
        let health_interval_s = self.number("dolt.health_interval_s", 30, 1..=3600);
        let health_timeout_s =
            self.number("dolt.health_timeout_s", 10.min(health_interval_s), 1..=health_interval_s);
        DoltConfig {
            source: self.dolt_source(),
            health_interval: Duration::from_secs(health_interval_s),
            health_timeout: Duration::from_secs(health_timeout_s),
            stop_timeout: self.seconds("dolt.stop_timeout_s", 30, 30..=3600),
        }
    }

    fn dolt_source(&mut self) -> DoltSource {
        let flags = &self.sources.flags;
        let (binary, address) = (flags.dolt.clone(), flags.dolt_address.clone());
        let (user, password) = (flags.dolt_user.clone(), flags.dolt_password_file.clone());
        let file = self.file.dolt_binary.take();
        let binary = self.path("--dolt", binary, "BRANCHLINE_DOLT", file);
        let file = self.file.dolt_address.take();
        let address = self.text("--dolt-address", address, "BRANCHLINE_DOLT_ADDRESS", file);
        let file = self.file.dolt_user.take();
        let user = self.text("--dolt-user", user, "BRANCHLINE_DOLT_USER", file);
        let file = self.file.dolt_password_file.take();
        let password = self.path("--dolt-password-file", password, "BRANCHLINE_DOLT_PASSWORD_FILE", file);

        let password_secret = match &password {
            None => Secret::default(),
            Some(written) => password_file::read(&written.value).unwrap_or_else(|what| {
                let allowed =
                    "a file with the password in its first line, readable by its owner only (chmod 600)";
                self.problem(&written.origin, "dolt.password_file", what, allowed);
                Secret::default()
            }),
        };
        let Some(address) = address else {
            let unused =
                [("dolt.user", user.map(|w| w.origin)), ("dolt.password_file", password.map(|w| w.origin))];
            for (key, origin) in unused {
                if let Some(origin) = origin {
                    let what = "is only used with an external Dolt, and there is no dolt.address".to_owned();
                    self.problem(&origin, key, what, "set it together with dolt.address (--dolt-address)");
                }
            }
            return DoltSource::Private { binary: binary.map(|written| written.value) };
        };
        if !is_server_address(&address.value) {
            let what = format!("{:?} is no address", address.value);
            self.problem(
                &address.origin,
                "dolt.address",
                what,
                "HOST:PORT, or the absolute path of a unix socket",
            );
        }
        let user = user.map_or_else(|| "root".to_owned(), |written| written.value);
        DoltSource::External { address: address.value, user, password: password_secret }
    }

    fn routing(&mut self) -> Routing {
        let user_separator = self.file.user_separator.take().and_then(|written| {
            let mut chars = written.value.chars();
            match (chars.next(), chars.next()) {
                (None, _) => None,
                (Some(separator), None) if !separator.is_alphanumeric() => Some(separator),
                _ => {
                    let what = format!("is {:?}", written.value);
                    let allowed = "one character that is no letter or digit, as \"+\"; \"\" turns it off";
                    self.problem(&written.origin, "routing.user_separator", what, allowed);
                    None
                }
            }
        });
        let create_pattern = match self.file.create_pattern.take() {
            None => Some(Glob::new("polecat-*")),
            Some(written) if written.value.is_empty() => None,
            Some(written) => Some(Glob::new(written.value)),
        };
        let raw_rules = std::mem::take(&mut self.file.rules);
        let defaults = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Routing {
            main_only: self.file.main_only.take().map_or_else(|| defaults(&["hq"]), |written| written.value),
            create_pattern,
            user_separator,
            env_exclude: self
                .file
                .env_exclude
                .take()
                .map_or_else(|| defaults(&ENV_EXCLUDE_DEFAULT), |written| written.value),
            rules: raw_rules.iter().filter_map(|raw| rule::resolve(raw, &mut self.problems)).collect(),
        }
    }

    fn lanes(&mut self, routing: &Routing) -> LanesConfig {
        let default = LanesConfig::default();
        let auto_commit = self.file.lanes_auto_commit.take();
        let raw_rules = std::mem::take(&mut self.file.lane_rules);
        LanesConfig {
            budget: self.seconds("lanes.budget_s", default.budget.as_secs(), 1..=600),
            lane_idle: self.milliseconds("lanes.idle_ms", default.lane_idle, 10..=600_000),
            same_process_idle: self.milliseconds(
                "lanes.same_process_idle_ms",
                default.same_process_idle,
                1..=600_000,
            ),
            own_rows_hold: self.milliseconds("lanes.own_rows_ms", default.own_rows_hold, 1..=60_000),
            auto_commit: auto_commit
                .and_then(|written| lanes::auto_commit(&written, "lanes", &mut self.problems))
                .unwrap_or_default(),
            rules: raw_rules.iter().filter_map(|raw| lanes::resolve(raw, &mut self.problems)).collect(),
            env_exclude: routing.env_exclude.clone(),
        }
    }

    fn merge(&mut self) -> MergePolicy {
        let raw_rules = std::mem::take(&mut self.file.merge_rules);
        let mut rules: Vec<_> =
            raw_rules.iter().filter_map(|raw| merge::resolve(raw, &mut self.problems)).collect();
        rules.extend(MergePolicy::default().rules);
        MergePolicy { rules }
    }

    fn branches(&mut self) -> BranchesConfig {
        let default = BranchesConfig::default();
        let orphans = self.file.orphans.take();
        BranchesConfig {
            finish_wait: self.seconds("branches.finish_wait_s", default.finish_wait.as_secs(), 0..=3600),
            reap: self.file.reap.take().map_or(default.reap, |written| written.value),
            reap_pattern: self
                .file
                .reap_pattern
                .take()
                .map_or(default.reap_pattern, |written| Glob::new(written.value)),
            orphan_after: branches::from_hours(self.number("branches.orphan_after_h", 24, 1..=8760)),
            orphans: orphans
                .map_or(default.orphans, |written| branches::orphans(&written, &mut self.problems)),
            dropped_keep: branches::from_days(self.number("branches.dropped_keep_days", 7, 0..=3650)),
            tombstone_keep: branches::from_days(self.number("branches.tombstone_keep_days", 30, 1..=3650)),
        }
    }

    fn log(&mut self) -> LogConfig {
        let filter = self.file.log_filter.take();
        if let Some(written) = &filter
            && let Err(error) = tracing_subscriber::EnvFilter::try_new(&written.value)
        {
            let what = format!("{:?}: {error}", written.value);
            self.problem(
                &written.origin,
                "log.filter",
                what,
                "error, warn, info, debug, trace, or TARGET=LEVEL,…",
            );
        }
        LogConfig {
            filter: filter.map_or_else(|| "info".to_owned(), |written| written.value),
            json: self.file.log_json.take().is_some_and(|written| written.value),
            rotate_bytes: self.number("log.rotate_mb", 16, 1..=10_240) * 1024 * 1024,
            rotate_keep: self.number("log.rotate_keep", 5, 1..=1000) as usize,
        }
    }

    fn seconds(&mut self, key: &'static str, default: u64, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(key, default, range))
    }

    fn milliseconds(
        &mut self,
        key: &'static str,
        default: Duration,
        range: std::ops::RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_millis(self.number(key, default.as_millis() as u64, range))
    }

    fn number(&mut self, key: &'static str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        let Some(written) = self.file.numbers.remove(key) else { return default };
        match u64::try_from(written.value) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let allowed = format!("{} to {}", range.start(), range.end());
                self.problem(&written.origin, key, format!("is {}", written.value), &allowed);
                default
            }
        }
    }

    fn text(
        &self,
        flag_name: &'static str,
        flag: Option<String>,
        variable: &'static str,
        file: Option<Written<String>>,
    ) -> Option<Written<String>> {
        flag.map(|value| Written { value, origin: Origin::Flag(flag_name) })
            .or_else(|| {
                self.environment(variable)
                    .map(|value| Written { value, origin: Origin::Environment(variable) })
            })
            .or(file)
    }

    /// A path, absolute: flags and variables are seen from the working directory, the config file's from its own.
    fn path(
        &mut self,
        flag_name: &'static str,
        flag: Option<PathBuf>,
        variable: &'static str,
        file: Option<Written<String>>,
    ) -> Option<Written<PathBuf>> {
        let from_file =
            |written: Written<String>| Written { value: written.value.into(), origin: written.origin };
        let written = flag
            .map(|value| Written { value, origin: Origin::Flag(flag_name) })
            .or_else(|| {
                let value = self.environment(variable)?.into();
                Some(Written { value, origin: Origin::Environment(variable) })
            })
            .or(file.map(from_file))?;
        if written.value.as_os_str().is_empty() {
            self.problem(&written.origin, "", "the path is empty".to_owned(), "a path");
            return None;
        }
        let base = match &written.origin {
            Origin::File { path, .. } => path.parent().unwrap_or(&self.sources.cwd),
            _ => &self.sources.cwd,
        };
        let value = places::absolute(&written.value, base, self.sources.home.as_deref());
        Some(Written { value, origin: written.origin })
    }

    /// Set but empty counts as not set, as shells make it easy to pass one on.
    fn environment(&self, name: &str) -> Option<String> {
        (self.sources.environment)(name).filter(|value| !value.is_empty())
    }

    fn check_socket_path(&mut self, origin: &Origin, key: &str, path: &Path) {
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let what = format!("the unix socket {} would have a path of {bytes} bytes", path.display());
            self.problem(origin, key, what, &format!("at most {SOCKET_PATH_BYTES_MAX} bytes"));
        }
    }

    fn no_home(&mut self, key: &str, flag: &str) {
        let what = "there is no town here and HOME is not set".to_owned();
        self.problem(&Origin::Default, key, what, flag);
    }

    fn problem(&mut self, origin: &Origin, key: &str, what: String, allowed: &str) {
        let problem =
            Problem { origin: origin.clone(), key: key.to_owned(), what, allowed: allowed.to_owned() };
        self.problems.push(problem);
    }
}

/// `IP:PORT`, or `localhost:PORT`. Other names are not looked up: what is served must not depend on DNS.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse::<u16>()
        && let Some(address) = ("127.0.0.1", port).to_socket_addrs().ok().and_then(|mut all| all.next())
    {
        return Ok(address);
    }
    Err(format!("{text:?} is no address"))
}

/// `host:port` or an absolute path.
fn is_server_address(text: &str) -> bool {
    if text.starts_with('/') {
        return true;
    }
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}
