//! Owns the settings of what leaves Branchline besides pushes: alerts and backups.
//! Does not send or copy anything: `remote` does.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::Problem;
use super::raw::RawFile;
use super::remotes::number;

/// `[alerts]`: who is told when a remote needs somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertsConfig {
    /// A command of the administrator's; gets the alert as JSON on stdin. Run by `sh -c`.
    pub command: Option<String>,
    /// An `http://` or `https://` URL that gets the same JSON by POST.
    pub webhook: Option<String>,
    /// Whether the mayor gets mail, in a town with `gt`.
    pub mail: bool,
    /// Each of these gets so long.
    pub timeout: Duration,
    /// A remote that fails is an alert after so long.
    pub failing_after: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            command: None,
            webhook: None,
            mail: true,
            timeout: Duration::from_secs(10),
            failing_after: Duration::from_secs(15 * 60),
        }
    }
}

/// `[backups]`: copies of whole databases on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupsConfig {
    /// Below which the copies are; none: no backups by themselves.
    pub dir: Option<PathBuf>,
    /// How often; none: by hand only.
    pub every: Option<Duration>,
    /// Copies kept of each database.
    pub keep: usize,
    /// Of these databases; of all if empty.
    pub databases: Vec<String>,
}

impl Default for BackupsConfig {
    fn default() -> Self {
        Self { dir: None, every: None, keep: 7, databases: Vec::new() }
    }
}

/// Checks `[alerts]`.
pub(super) fn alerts(file: &mut RawFile, problems: &mut Vec<Problem>) -> AlertsConfig {
    let default = AlertsConfig::default();
    let raw = std::mem::take(&mut file.alerts);
    let webhook = raw.webhook.and_then(|written| {
        let is_http = ["http://", "https://"].iter().any(|scheme| written.value.starts_with(scheme));
        if !is_http || written.value.contains(char::is_whitespace) {
            problems.push(Problem {
                origin: written.origin,
                key: "alerts.webhook".to_owned(),
                what: "is no URL that can be posted to".to_owned(),
                allowed: "a URL that begins with http:// or https://".to_owned(),
            });
            return None;
        }
        Some(written.value)
    });
    AlertsConfig {
        command: raw.command.map(|written| written.value).filter(|command| !command.trim().is_empty()),
        webhook,
        mail: raw.mail.map_or(default.mail, |written| written.value),
        timeout: Duration::from_secs(number(
            file,
            "alerts.timeout_s",
            default.timeout.as_secs(),
            1..=300,
            problems,
        )),
        failing_after: Duration::from_secs(
            60 * number(
                file,
                "alerts.failing_after_min",
                default.failing_after.as_secs() / 60,
                0..=10_080,
                problems,
            ),
        ),
    }
}

/// Checks `[backups]`.
pub(super) fn backups(file: &mut RawFile, problems: &mut Vec<Problem>) -> BackupsConfig {
    let default = BackupsConfig::default();
    let raw = std::mem::take(&mut file.backups);
    let dir = raw.dir.and_then(|written| {
        let dir = PathBuf::from(&written.value);
        if !dir.is_absolute() {
            problems.push(Problem {
                origin: written.origin,
                key: "backups.dir".to_owned(),
                what: format!("is {:?}", written.value),
                allowed: "an absolute path".to_owned(),
            });
            return None;
        }
        Some(dir)
    });
    let hours = number(file, "backups.every_h", 0, 0..=8760, problems);
    BackupsConfig {
        dir,
        every: (hours > 0).then(|| Duration::from_secs(3600 * hours)),
        keep: number(file, "backups.keep", default.keep as u64, 1..=1000, problems) as usize,
        databases: raw.databases.map(|written| written.value).unwrap_or_default(),
    }
}
