//! `SHOW STATUS`, `SHOW VERSION`, `DUMP`.

use std::fmt::Display;
use std::time::Duration;

use super::Handled;
use crate::admin::answer::{Answer, Cell, Table};
use crate::admin::backend::{Backend, StatusReport};
use crate::admin::tokens::Tokens;
use crate::observe::time;

pub async fn handle(tokens: &mut Tokens, backend: &dyn Backend) -> Handled {
    if tokens.take_words(&["SHOW", "STATUS"]) {
        if let Err(refusal) = tokens.end("SHOW STATUS") {
            return Some(Err(refusal));
        }
        return Some(Ok(Answer::Rows(rows(&backend.status().await))));
    }
    if tokens.take_words(&["SHOW", "VERSION"]) {
        if let Err(refusal) = tokens.end("SHOW VERSION") {
            return Some(Err(refusal));
        }
        let report = backend.status().await;
        let mut table = Table::new(["name", "version"]);
        table.row(["branchline".into(), report.version.into()]);
        table.row(["dolt".into(), report.dolt.version.into()]);
        return Some(Ok(Answer::Rows(table)));
    }
    if tokens.take_words(&["DUMP"]) {
        if let Err(refusal) = tokens.end("DUMP") {
            return Some(Err(refusal));
        }
        let mut table = Table::new(["dump"]);
        for line in backend.dump().await.lines() {
            table.row([line.into()]);
        }
        return Some(Ok(Answer::Rows(table)));
    }
    None
}

/// Names carry the unit; a value that is not there is NULL, with the reason in a row of its own.
fn rows(report: &StatusReport) -> Table {
    let mut table = Table::new(["name", "value"]);
    let mut row = |name: &str, value: Cell| table.row([name.into(), value]);
    let text = |value: &dyn Display| Cell::Text(value.to_string());
    let list = |values: &[String]| Cell::Text(values.join(", "));
    let millis = |duration: Duration| Cell::Text(format!("{:.3}", duration.as_secs_f64() * 1000.0));

    row("pid", report.pid.into());
    row("version", report.version.as_str().into());
    row("started", report.started.into());
    row("uptime_s", report.uptime.as_secs().into());
    row("listen", list(&report.listen.iter().map(ToString::to_string).collect::<Vec<_>>()));
    row("socket", report.socket.as_ref().map(|path| text(&path.display())).into());
    row("data_dir", text(&report.data_dir.display()));
    row("state_dir", text(&report.state_dir.display()));
    row("config_file", report.config_file.as_ref().map(|path| text(&path.display())).into());

    let dolt = &report.dolt;
    row("dolt_state", dolt.state.into());
    row("dolt_since", dolt.since.into());
    row("dolt_reason", dolt.reason.clone().into());
    row("dolt_pid", dolt.pid.into());
    row("dolt_version", dolt.version.clone().into());
    row("dolt_address", dolt.address.clone().into());
    row("dolt_restarts", dolt.restarts.into());
    row("dolt_health_latency_ms", dolt.health_latency.map(millis).into());
    row("dolt_health_at", dolt.health_at.into());
    let last_error = dolt.last_error.as_ref().map(|(at, error)| format!("{}: {error}", time::utc(*at)));
    row("dolt_last_error", last_error.into());

    match &report.databases {
        Ok(databases) => row("databases", list(databases)),
        Err(reason) => {
            row("databases", Cell::Null);
            row("databases_unknown_because", reason.as_str().into());
        }
    }
    row("clients_now", report.clients.now.into());
    row("clients_max", report.clients.max.into());
    row("clients_accepted", report.clients.accepted.into());
    row("clients_refused", report.clients.refused.into());
    row("lanes_held", report.lanes.held.into());
    row("lanes_waiting", report.lanes.waiting.into());
    row("lane_reruns", report.lanes.counters.reruns.into());
    row("lane_conflicts", report.lanes.counters.conflicts.into());
    row("lane_sweeps", report.lanes.counters.sweeps.into());
    match &report.disk {
        Ok(disk) => {
            row("disk_used_bytes", disk.used_bytes.into());
            row("disk_free_bytes", disk.free_bytes.into());
        }
        Err(reason) => {
            row("disk_used_bytes", Cell::Null);
            row("disk_free_bytes", Cell::Null);
            row("disk_unknown_because", reason.as_str().into());
        }
    }
    for bypass in &report.lanes.bypasses {
        row("bypass", super::lanes::bypass_text(bypass).into());
    }
    for alert in &report.alerts {
        row("alert", alert.as_str().into());
    }
    table
}
