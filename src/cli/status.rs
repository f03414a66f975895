//! `branchline status`.

use serde_json::{Map, Value as Json};

use super::client::{ConsoleClient, Status};
use super::failure::Failure;
use super::{Context, output};

/// Rows that are lists: arrays in JSON.
const LISTS: [&str; 2] = ["listen", "databases"];

pub fn run(context: &Context) -> Result<(), Failure> {
    let status = ConsoleClient::connect(context)?.status()?;
    if context.json { output::line(&json(&status).to_string()) } else { output::line(&text(&status)) }
}

/// One object; numbers are numbers, `bypass` and `alert` rows become the lists `bypasses` and `alerts`.
fn json(status: &Status) -> Json {
    let mut object = Map::new();
    let mut lists = [("bypass", "bypasses", Vec::new()), ("alert", "alerts", Vec::new())];
    for row in &status.0.rows {
        let (Some(name), value) = (row[0].as_deref(), row[1].as_deref()) else { continue };
        if let Some((_, _, list)) = lists.iter_mut().find(|(row, ..)| *row == name) {
            list.push(output::json_value(value, false));
            continue;
        }
        let json = match value {
            Some(list) if LISTS.contains(&name) => {
                list.split(", ").filter(|item| !item.is_empty()).map(Json::from).collect()
            }
            _ => output::json_value(value, is_number(name)),
        };
        object.insert(name.to_owned(), json);
    }
    for (_, name, list) in lists {
        object.insert(name.to_owned(), Json::Array(list));
    }
    Json::Object(object)
}

/// Names of numbers end in their unit, or are counts.
fn is_number(name: &str) -> bool {
    let counts = [
        "pid",
        "dolt_pid",
        "dolt_restarts",
        "clients_now",
        "clients_max",
        "clients_accepted",
        "clients_refused",
        "lanes_held",
        "lanes_waiting",
        "lane_reruns",
        "lane_conflicts",
        "lane_sweeps",
    ];
    counts.contains(&name) || ["_s", "_ms", "_bytes"].iter().any(|unit| name.ends_with(unit))
}

fn text(status: &Status) -> String {
    let get = |name: &str| status.get(name).unwrap_or("?");
    let known = |name: &str| status.get(name);
    let number = |name: &str| known(name).and_then(|text| text.parse::<u64>().ok());
    let mut lines = Vec::new();
    let mut line = |label: &str, value: String| lines.push(format!("{label:<11} {value}"));

    let uptime = number("uptime_s").map_or_else(|| "?".to_owned(), duration);
    line("Branchline", format!("running, version {}, pid {}, up {uptime}", get("version"), get("pid")));
    let socket = known("socket").map(|socket| format!(", {socket}")).unwrap_or_default();
    line("serves", format!("{}{socket}", get("listen")));
    line("data dir", get("data_dir").to_owned());
    line("state dir", get("state_dir").to_owned());

    let mut dolt = format!("{} since {}", get("dolt_state"), get("dolt_since"));
    for (name, label) in [("dolt_version", "version "), ("dolt_pid", "pid "), ("dolt_restarts", "restarts: ")]
    {
        if let Some(value) = known(name) {
            dolt += &format!(", {label}{value}");
        }
    }
    line("Dolt", dolt);
    if let Some(reason) = known("dolt_reason") {
        line("", reason.to_owned());
    }
    if let Some(latency) = known("dolt_health_latency_ms") {
        line("latency", format!("{latency} ms at {}", get("dolt_health_at")));
    }
    let databases = known("databases").or(known("databases_unknown_because")).unwrap_or("?");
    line("databases", databases.to_owned());
    line(
        "clients",
        format!(
            "{} of {}, {} accepted, {} refused",
            get("clients_now"),
            get("clients_max"),
            get("clients_accepted"),
            get("clients_refused")
        ),
    );
    line(
        "lanes",
        format!(
            "{} held, {} waiting; {} reruns, {} conflicts, {} sweeps",
            get("lanes_held"),
            get("lanes_waiting"),
            get("lane_reruns"),
            get("lane_conflicts"),
            get("lane_sweeps")
        ),
    );
    line(
        "disk",
        match (number("disk_used_bytes"), number("disk_free_bytes")) {
            (Some(used), Some(free)) => format!("{} used, {} free", bytes(used), bytes(free)),
            _ => get("disk_unknown_because").to_owned(),
        },
    );
    for row in &status.0.rows {
        let label = match row[0].as_deref() {
            Some("bypass") => "BYPASS",
            Some("alert") => "ALERT",
            _ => continue,
        };
        line(label, row[1].clone().unwrap_or_default());
    }
    lines.join("\n")
}

/// `2 d 3 h`, the two largest units.
fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units.iter().skip(first).take(2) {
        parts.push(format!("{} {unit}", rest / size));
        rest %= size;
    }
    parts.join(" ")
}

/// `1.5 GiB`
fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (seconds, want) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (180_000, "2 d 2 h")]
        {
            assert_eq!(duration(seconds), want);
        }
        for (count, want) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB"), (1 << 50, "1024.0 TiB")]
        {
            assert_eq!(bytes(count), want);
        }
    }
}
