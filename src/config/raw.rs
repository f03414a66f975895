//! Owns the settings as written: flags, and the config file with the line of each value.
//! Does not check values beyond their type, and knows no defaults: `resolve` does.
//! Always: a key that is not known is a problem, never ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{Document, Section};
use super::problem::{Origin, Problem};

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub origin: Origin,
}

/// Command line flags as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`, each time it was given
    pub listen: Vec<String>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// `--dolt`
    pub dolt: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--dolt-address`
    pub dolt_address: Option<String>,
    /// `--dolt-user`
    pub dolt_user: Option<String>,
    /// `--dolt-password-file`
    pub dolt_password_file: Option<PathBuf>,
}

/// The config file, each value with its line.
#[derive(Debug, Default)]
pub struct RawFile {
    /// `listen`
    pub listen: Option<Written<Vec<String>>>,
    /// `socket`
    pub socket: Option<Written<String>>,
    /// `data_dir`
    pub data_dir: Option<Written<String>>,
    /// `dolt.binary`
    pub dolt_binary: Option<Written<String>>,
    /// `dolt.address`
    pub dolt_address: Option<Written<String>>,
    /// `dolt.user`
    pub dolt_user: Option<Written<String>>,
    /// `dolt.password_file`
    pub dolt_password_file: Option<Written<String>>,
    /// Whole numbers by dotted key: all the `_s`, `_h`, `_ms`, `_mb`, `_max`, `_days` and `_keep` settings.
    pub numbers: BTreeMap<&'static str, Written<i64>>,
    /// `lanes.auto_commit`
    pub lanes_auto_commit: Option<Written<String>>,
    /// `[[lanes.rules]]`
    pub lane_rules: Vec<RawLaneRule>,
    /// `[[merge.rules]]`
    pub merge_rules: Vec<RawMergeRule>,
    /// `branches.reap`
    pub reap: Option<Written<bool>>,
    /// `branches.reap_pattern`
    pub reap_pattern: Option<Written<String>>,
    /// `branches.orphans`
    pub orphans: Option<Written<String>>,
    /// `remotes.on_behind`
    pub on_behind: Option<Written<String>>,
    /// `[remotes.DATABASE]`
    pub remotes: Vec<RawRemote>,
    /// `[alerts]`
    pub alerts: RawAlerts,
    /// `[backups]`
    pub backups: RawBackups,
    /// `routing.main_only`
    pub main_only: Option<Written<Vec<String>>>,
    /// `routing.create_pattern`
    pub create_pattern: Option<Written<String>>,
    /// `routing.user_separator`
    pub user_separator: Option<Written<String>>,
    /// `routing.env_exclude`
    pub env_exclude: Option<Written<Vec<String>>>,
    /// `[[routing.rules]]`
    pub rules: Vec<RawRule>,
    /// `log.filter`
    pub log_filter: Option<Written<String>>,
    /// `log.json`
    pub log_json: Option<Written<bool>>,
}

/// One routing rule as written, in the config file or on the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRule {
    /// Where it begins.
    pub origin: Origin,
    /// Key of the table, as `routing.rules[0]`.
    pub key: String,
    /// Which connections it is for.
    pub conditions: RawConditions,
    /// `branch`
    pub branch: Option<Written<String>>,
    /// Whether `branch` is there, if only with a wrong type that was reported already.
    pub branch_given: bool,
}

/// One lane rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLaneRule {
    /// Where it begins.
    pub origin: Origin,
    /// Key of the table, as `lanes.rules[0]`.
    pub key: String,
    /// Which connections it is for.
    pub conditions: RawConditions,
    /// `own_rows`
    pub own_rows: Option<Written<String>>,
    /// `auto_commit`
    pub auto_commit: Option<Written<String>>,
    /// Whether one of the two is there, if only with a wrong type that was reported already.
    pub setting_given: bool,
}

/// One merge rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMergeRule {
    /// Where it begins.
    pub origin: Origin,
    /// Key of the table, as `merge.rules[0]`.
    pub key: String,
    /// `database`
    pub database: Option<Written<String>>,
    /// `table`
    pub table: Option<Written<String>>,
    /// `column`
    pub column: Option<Written<String>>,
    /// `cells`
    pub cells: Option<Written<String>>,
    /// `deleted`
    pub deleted: Option<Written<String>>,
    /// `updated_at`
    pub updated_at: Option<Written<String>>,
    /// Whether one of the last three is there, if only with a wrong type that was reported already.
    pub setting_given: bool,
    /// The same of `cells`.
    pub cells_given: bool,
}

/// One `[remotes.DATABASE]` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRemote {
    /// Where it begins.
    pub origin: Origin,
    /// Key of the table, as `remotes.beads`.
    pub key: String,
    /// The database.
    pub database: String,
    /// `url`
    pub url: Option<Written<String>>,
    /// `name`
    pub name: Option<Written<String>>,
    /// `push`
    pub push: Option<Written<bool>>,
    /// `on_behind`
    pub on_behind: Option<Written<String>>,
    /// `[[remotes.DATABASE.peers]]`
    pub peers: Vec<RawPeer>,
    /// `[remotes.DATABASE.ledger]`
    pub ledger: Option<RawLedger>,
}

/// One `[[remotes.DATABASE.peers]]` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPeer {
    /// Where it begins.
    pub origin: Origin,
    /// Key of the table, as `remotes.beads.peers[0]`.
    pub key: String,
    /// `name`
    pub name: Option<Written<String>>,
    /// `url`
    pub url: Option<Written<String>>,
    /// `into`
    pub into: Option<Written<String>>,
    /// `every_min`
    pub every_min: Option<Written<i64>>,
}

/// One `[remotes.DATABASE.ledger]` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLedger {
    /// Where it begins.
    pub origin: Origin,
    /// Key of the table, as `remotes.beads.ledger`.
    pub key: String,
    /// `remote`
    pub remote: Option<Written<String>>,
    /// `tables`
    pub tables: Option<Written<Vec<String>>>,
    /// `where`
    pub filter: Option<Written<String>>,
    /// `columns_excluded`
    pub columns_excluded: Option<Written<Vec<String>>>,
}

/// `[alerts]` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawAlerts {
    /// `alert_command`
    pub command: Option<Written<String>>,
    /// `webhook`
    pub webhook: Option<Written<String>>,
    /// `mail`
    pub mail: Option<Written<bool>>,
}

/// `[backups]` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawBackups {
    /// `dir`
    pub dir: Option<Written<String>>,
    /// `databases`
    pub databases: Option<Written<Vec<String>>>,
}

/// Conditions as written, of any kind of rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawConditions {
    /// Those with a text value: account, database, address, program, actor, polecat.
    pub patterns: BTreeMap<&'static str, Written<String>>,
    /// `attributes = { name = glob }`
    pub attributes: BTreeMap<String, Written<String>>,
}

/// Conditions of a rule that take one pattern.
pub const RULE_CONDITIONS: [&str; 6] = ["account", "database", "address", "program", "actor", "polecat"];

/// Reads the text of a config file: what could be read, and what is wrong with the rest.
/// Syntax errors stop it: after one, values can't be trusted.
pub fn parse(path: &Path, text: &str) -> Result<(RawFile, Vec<Problem>), Vec<Problem>> {
    let document = Document::parse(path, text)?;
    let mut raw = RawFile::default();
    let mut root = document.root();

    raw.listen = root.strings("listen");
    raw.socket = root.string("socket");
    raw.data_dir = root.string("data_dir");
    if let Some(mut dolt) = root.section("dolt") {
        raw.dolt_binary = dolt.string("binary");
        raw.dolt_address = dolt.string("address");
        raw.dolt_user = dolt.string("user");
        raw.dolt_password_file = dolt.string("password_file");
        numbers(
            &mut dolt,
            &mut raw,
            &[
                ("health_interval_s", "dolt.health_interval_s"),
                ("health_timeout_s", "dolt.health_timeout_s"),
                ("stop_timeout_s", "dolt.stop_timeout_s"),
            ],
        );
        dolt.finish();
    }
    if let Some(mut routing) = root.section("routing") {
        raw.main_only = routing.strings("main_only");
        raw.create_pattern = routing.string("create_pattern");
        raw.user_separator = routing.string("user_separator");
        raw.env_exclude = routing.strings("env_exclude");
        raw.rules = routing.sections("rules").into_iter().map(rule).collect();
        routing.finish();
    }
    if let Some(mut lanes) = root.section("lanes") {
        numbers(
            &mut lanes,
            &mut raw,
            &[
                ("budget_s", "lanes.budget_s"),
                ("idle_ms", "lanes.idle_ms"),
                ("same_process_idle_ms", "lanes.same_process_idle_ms"),
                ("own_rows_ms", "lanes.own_rows_ms"),
            ],
        );
        raw.lanes_auto_commit = lanes.string("auto_commit");
        raw.lane_rules = lanes.sections("rules").into_iter().map(lane_rule).collect();
        lanes.finish();
    }
    if let Some(mut merge) = root.section("merge") {
        raw.merge_rules = merge.sections("rules").into_iter().map(merge_rule).collect();
        merge.finish();
    }
    if let Some(mut branches) = root.section("branches") {
        numbers(
            &mut branches,
            &mut raw,
            &[
                ("finish_wait_s", "branches.finish_wait_s"),
                ("orphan_after_h", "branches.orphan_after_h"),
                ("dropped_keep_days", "branches.dropped_keep_days"),
                ("tombstone_keep_days", "branches.tombstone_keep_days"),
            ],
        );
        raw.reap = branches.boolean("reap");
        raw.reap_pattern = branches.string("reap_pattern");
        raw.orphans = branches.string("orphans");
        branches.finish();
    }
    if let Some(mut remotes) = root.section("remotes") {
        numbers(
            &mut remotes,
            &mut raw,
            &[
                ("quiet_s", "remotes.quiet_s"),
                ("quiet_max_s", "remotes.quiet_max_s"),
                ("heartbeat_s", "remotes.heartbeat_s"),
                ("timeout_s", "remotes.timeout_s"),
                ("backoff_min_s", "remotes.backoff_min_s"),
                ("backoff_max_s", "remotes.backoff_max_s"),
                ("running_max", "remotes.running_max"),
            ],
        );
        raw.on_behind = remotes.string("on_behind");
        raw.remotes = remotes.named_sections().into_iter().map(remote).collect();
        remotes.finish();
    }
    if let Some(mut alerts) = root.section("alerts") {
        raw.alerts = RawAlerts {
            command: alerts.string("alert_command"),
            webhook: alerts.string("webhook"),
            mail: alerts.boolean("mail"),
        };
        let keys = [("timeout_s", "alerts.timeout_s"), ("failing_after_min", "alerts.failing_after_min")];
        numbers(&mut alerts, &mut raw, &keys);
        alerts.finish();
    }
    if let Some(mut backups) = root.section("backups") {
        raw.backups = RawBackups { dir: backups.string("dir"), databases: backups.strings("databases") };
        numbers(&mut backups, &mut raw, &[("every_h", "backups.every_h"), ("keep", "backups.keep")]);
        backups.finish();
    }
    if let Some(mut limits) = root.section("limits") {
        numbers(
            &mut limits,
            &mut raw,
            &[
                ("clients_max", "limits.clients_max"),
                ("handshake_timeout_s", "limits.handshake_timeout_s"),
                ("drain_timeout_s", "limits.drain_timeout_s"),
            ],
        );
        limits.finish();
    }
    if let Some(mut log) = root.section("log") {
        raw.log_filter = log.string("filter");
        raw.log_json = log.boolean("json");
        numbers(&mut log, &mut raw, &[("rotate_mb", "log.rotate_mb"), ("rotate_keep", "log.rotate_keep")]);
        log.finish();
    }
    root.finish();
    Ok((raw, document.problems()))
}

/// Reads whole numbers under their dotted names.
fn numbers(section: &mut Section<'_, '_>, raw: &mut RawFile, keys: &[(&'static str, &'static str)]) {
    for (key, dotted) in keys {
        if let Some(written) = section.integer(key) {
            raw.numbers.insert(dotted, written);
        }
    }
}

fn conditions(section: &mut Section<'_, '_>) -> RawConditions {
    let mut patterns = BTreeMap::new();
    for key in RULE_CONDITIONS {
        if let Some(written) = section.string(key) {
            patterns.insert(key, written);
        }
    }
    let attributes = section.section("attributes").map(|table| table.all_strings()).unwrap_or_default();
    RawConditions { patterns, attributes }
}

fn rule(mut section: Section<'_, '_>) -> RawRule {
    let conditions = conditions(&mut section);
    let branch_given = section.has("branch");
    let branch = section.string("branch");
    let raw = RawRule { origin: section.origin(), key: section.name(), conditions, branch, branch_given };
    section.finish();
    raw
}

fn lane_rule(mut section: Section<'_, '_>) -> RawLaneRule {
    let conditions = conditions(&mut section);
    let setting_given = section.has("own_rows") || section.has("auto_commit");
    let own_rows = section.string("own_rows");
    let auto_commit = section.string("auto_commit");
    let raw = RawLaneRule {
        origin: section.origin(),
        key: section.name(),
        conditions,
        own_rows,
        auto_commit,
        setting_given,
    };
    section.finish();
    raw
}

fn remote((database, mut section): (String, Section<'_, '_>)) -> RawRemote {
    let raw = RawRemote {
        origin: section.origin(),
        key: section.name(),
        database,
        url: section.string("url"),
        name: section.string("name"),
        push: section.boolean("push"),
        on_behind: section.string("on_behind"),
        peers: section.sections("peers").into_iter().map(peer).collect(),
        ledger: section.section("ledger").map(ledger),
    };
    section.finish();
    raw
}

fn peer(mut section: Section<'_, '_>) -> RawPeer {
    let raw = RawPeer {
        origin: section.origin(),
        key: section.name(),
        name: section.string("name"),
        url: section.string("url"),
        into: section.string("into"),
        every_min: section.integer("every_min"),
    };
    section.finish();
    raw
}

fn ledger(mut section: Section<'_, '_>) -> RawLedger {
    let raw = RawLedger {
        origin: section.origin(),
        key: section.name(),
        remote: section.string("remote"),
        tables: section.strings("tables"),
        filter: section.string("where"),
        columns_excluded: section.strings("columns_excluded"),
    };
    section.finish();
    raw
}

fn merge_rule(mut section: Section<'_, '_>) -> RawMergeRule {
    let cells_given = section.has("cells");
    let raw = RawMergeRule {
        origin: section.origin(),
        key: section.name(),
        database: section.string("database"),
        table: section.string("table"),
        column: section.string("column"),
        setting_given: cells_given || section.has("deleted") || section.has("updated_at"),
        cells: section.string("cells"),
        deleted: section.string("deleted"),
        updated_at: section.string("updated_at"),
        cells_given,
    };
    section.finish();
    raw
}
