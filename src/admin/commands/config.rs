//! `SHOW CONFIG`: the settings in force. Passwords are not part of the answer.

use std::time::Duration;

use super::Handled;
use crate::admin::answer::{Answer, Cell, Table};
use crate::admin::backend::Backend;
use crate::admin::tokens::Tokens;
use crate::config::branches::{days, hours};
use crate::config::{Config, DoltSource, rule};

pub fn handle(tokens: &mut Tokens, backend: &dyn Backend) -> Handled {
    if !tokens.take_words(&["SHOW", "CONFIG"]) {
        return None;
    }
    Some(tokens.end("SHOW CONFIG").map(|()| Answer::Rows(rows(&backend.config()))))
}

fn rows(config: &Config) -> Table {
    let mut table = Table::new(["key", "value"]);
    let mut row = |key: &str, value: Cell| table.row([key.into(), value]);
    let path = |path: &std::path::Path| Cell::Text(path.display().to_string());

    row("config_file", config.config_file.as_deref().map(path).into());
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    row("listen", listen.join(", ").into());
    row("socket", config.socket.as_deref().map(path).into());
    row("data_dir", path(&config.data_dir));
    row("state_dir", path(&config.state_dir));
    match &config.dolt.source {
        DoltSource::Private { binary } => row("dolt.binary", binary.as_deref().map(path).into()),
        DoltSource::External { address, user, password } => {
            row("dolt.address", address.as_str().into());
            row("dolt.user", user.as_str().into());
            row("dolt.password", if password.reveal().is_empty() { "(none)" } else { "(set)" }.into());
        }
    }
    row("dolt.health_interval_s", config.dolt.health_interval.as_secs().into());
    row("dolt.health_timeout_s", config.dolt.health_timeout.as_secs().into());
    row("dolt.stop_timeout_s", config.dolt.stop_timeout.as_secs().into());
    let routing = &config.routing;
    row("routing.main_only", routing.main_only.join(", ").into());
    row("routing.create_pattern", routing.create_pattern.as_ref().map(ToString::to_string).into());
    row("routing.user_separator", routing.user_separator.map(String::from).into());
    row("routing.env_exclude", routing.env_exclude.join(", ").into());
    for (index, each) in routing.rules.iter().enumerate() {
        let text = format!(
            "{} TO {} ({})",
            rule::conditions_text(&each.conditions),
            rule::quote(&each.branch),
            each.origin
        );
        row(&format!("routing.rules[{index}]"), text.into());
    }
    let lanes = &config.lanes;
    let milliseconds = |duration: Duration| Cell::from(duration.as_millis() as u64);
    row("lanes.budget_s", lanes.budget.as_secs().into());
    row("lanes.idle_ms", milliseconds(lanes.lane_idle));
    row("lanes.same_process_idle_ms", milliseconds(lanes.same_process_idle));
    row("lanes.own_rows_ms", milliseconds(lanes.own_rows_hold));
    row("lanes.auto_commit", lanes.auto_commit.as_str().into());
    for (index, each) in lanes.rules.iter().enumerate() {
        row(&format!("lanes.rules[{index}]"), each.to_string().into());
    }
    for (index, each) in config.merge.rules.iter().enumerate() {
        row(&format!("merge.rules[{index}]"), each.to_string().into());
    }
    let branches = &config.branches;
    row("branches.finish_wait_s", branches.finish_wait.as_secs().into());
    row("branches.reap", if branches.reap { "true" } else { "false" }.into());
    row("branches.reap_pattern", branches.reap_pattern.as_str().into());
    row("branches.orphan_after_h", hours(branches.orphan_after).into());
    row("branches.orphans", branches.orphans.as_str().into());
    row("branches.dropped_keep_days", days(branches.dropped_keep).into());
    row("branches.tombstone_keep_days", days(branches.tombstone_keep).into());
    let remotes = &config.remotes;
    for (key, time) in remotes.times() {
        row(key, time.as_secs().into());
    }
    row("remotes.running_max", remotes.running_max.into());
    row("remotes.on_behind", remotes.on_behind.as_str().into());
    for remote in remotes.databases.values() {
        row(&format!("remotes.{}", remote.database), remote.to_string().into());
        for peer in &remote.peers {
            let every = peer.every.map(|every| format!(", every {} min", every.as_secs() / 60));
            let text = format!("{}, into {}{}", peer.url, peer.into.as_str(), every.unwrap_or_default());
            row(&format!("remotes.{}.peers.{}", remote.database, peer.name), text.into());
        }
        if let Some(ledger) = &remote.ledger {
            let excluded = match ledger.columns_excluded.as_slice() {
                [] => String::new(),
                columns => format!(", without {}", columns.join(", ")),
            };
            let text = format!(
                "{} where {}{excluded} to {}",
                ledger.tables.join(", "),
                ledger.filter,
                ledger.remote
            );
            row(&format!("remotes.{}.ledger", remote.database), text.into());
        }
    }
    let (alerts, backups) = (&remotes.alerts, &remotes.backups);
    // Both may hold a token.
    row("alerts.alert_command", alerts.command.as_ref().map(|_| "set").into());
    row("alerts.webhook", alerts.webhook.as_ref().map(|_| "set").into());
    row("alerts.mail", alerts.mail.to_string().into());
    row("alerts.timeout_s", alerts.timeout.as_secs().into());
    row("alerts.failing_after_min", (alerts.failing_after.as_secs() / 60).into());
    row("backups.dir", backups.dir.as_ref().map(|dir| dir.display().to_string()).into());
    row("backups.every_h", backups.every.map(|every| every.as_secs() / 3600).into());
    row("backups.keep", backups.keep.into());
    row("backups.databases", Some(backups.databases.join(", ")).filter(|names| !names.is_empty()).into());
    row("limits.clients_max", config.limits.clients_max.into());
    row("limits.handshake_timeout_s", config.limits.handshake_timeout.as_secs().into());
    row("limits.drain_timeout_s", config.limits.drain_timeout.as_secs().into());
    row("log.filter", config.log.filter.as_str().into());
    row("log.json", if config.log.json { "true" } else { "false" }.into());
    row("log.rotate_mb", (config.log.rotate_bytes / (1024 * 1024)).into());
    row("log.rotate_keep", config.log.rotate_keep.into());
    table
}
