//! Owns what `mayor/daemon.json` says of remotes. Reads nothing else of it and never writes it.
//! Always: both forms of it are understood: `databases` with URLs at the top, and gt's newer one under `patrols`, with names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where it is below a town.
pub const PATH: &str = "mayor/daemon.json";

/// `dolt_remotes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DoltRemotes {
    /// Whether the file wants anything pushed.
    pub enabled: bool,
    /// Whether a heartbeat pushes what no commit has announced.
    pub push_on_heartbeat: bool,
    /// Name of the remote.
    pub remote: Option<String>,
    /// Databases and where they go; none: where Dolt's remote of that name says.
    pub databases: BTreeMap<String, Option<String>>,
    /// All databases that have such a remote: gt's newer form without a list.
    pub discover: bool,
}

/// Why it says nothing.
#[derive(Debug, thiserror::Error)]
pub enum DaemonJsonError {
    /// It can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what gt writes.
    #[error("{}: {what}; what it said before stays in force, but not over a restart, until that is mended", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Reads it; a file that isn't there wants nothing.
pub fn read(town: &Path) -> Result<DoltRemotes, DaemonJsonError> {
    let path = town.join(PATH);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DoltRemotes::default()),
        Err(source) => return Err(DaemonJsonError::Read { path, source }),
    };
    parse(&text).map_err(|what| DaemonJsonError::Form { path, what })
}

fn parse(text: &str) -> Result<DoltRemotes, String> {
    // A URL may hold a credential, so that no piece of the text goes into the error.
    let all: Value = serde_json::from_str(text)
        .map_err(|error| format!("no JSON at line {}, column {}", error.line(), error.column()))?;
    let newer = all.get("patrols").and_then(|patrols| patrols.get("dolt_remotes"));
    let Some(section) = newer.or_else(|| all.get("dolt_remotes")).filter(|section| !section.is_null()) else {
        return Ok(DoltRemotes::default());
    };
    let Value::Object(section) = section else { return Err("dolt_remotes is no object".to_owned()) };
    let flag = |key: &str, default: bool| match section.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(format!("dolt_remotes.{key} is neither true nor false")),
    };
    let text = |key: &str| match section.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("dolt_remotes.{key} is no text")),
    };
    let mut remotes = DoltRemotes {
        enabled: flag("enabled", false)?,
        push_on_heartbeat: flag("push_on_heartbeat", true)?,
        remote: text("remote")?,
        ..DoltRemotes::default()
    };
    if let Some(branch) = text("branch")?.filter(|branch| branch != "main") {
        return Err(format!("dolt_remotes.branch is {branch:?}, and only main is ever pushed"));
    }
    match section.get("databases") {
        None | Some(Value::Null) => remotes.discover = true,
        Some(Value::Object(databases)) => {
            for (database, url) in databases {
                let Value::String(url) = url else {
                    return Err(format!("dolt_remotes.databases: the URL of {database} is no text"));
                };
                remotes.databases.insert(database.clone(), Some(url.clone()).filter(|url| !url.is_empty()));
            }
        }
        Some(Value::Array(databases)) => {
            for database in databases {
                let Value::String(database) = database else {
                    return Err("dolt_remotes.databases has something that is no name".to_owned());
                };
                remotes.databases.insert(database.clone(), None);
            }
            remotes.discover = databases.is_empty();
        }
        Some(_) => return Err("dolt_remotes.databases is neither an object nor a list".to_owned()),
    }
    Ok(remotes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let older = parse(
            r#"{"dolt_server": {"port": 3307}, "dolt_remotes": {"enabled": true, "push_on_heartbeat": false,
                "databases": {"hq": "git@h:a/hq.git", "x": ""}}}"#,
        )
        .unwrap();
        assert!(older.enabled && !older.push_on_heartbeat && !older.discover);
        assert_eq!(older.databases["hq"].as_deref(), Some("git@h:a/hq.git"));
        assert_eq!(older.databases["x"], None);
        let newer = parse(
            r#"{"patrols": {"dolt_remotes": {"enabled": true, "interval": 900000000000, "remote": "mine",
                "databases": ["hq"]}}, "dolt_remotes": {"enabled": false}}"#,
        )
        .unwrap();
        assert!(newer.enabled && newer.push_on_heartbeat && !newer.discover);
        assert_eq!((newer.remote.as_deref(), &newer.databases["hq"]), (Some("mine"), &None));
        assert!(parse(r#"{"patrols": {"dolt_remotes": {"enabled": true}}}"#).unwrap().discover);
        for nothing in ["{}", r#"{"dolt_remotes": null}"#, r#"{"patrols": {}}"#] {
            assert_eq!(parse(nothing), Ok(DoltRemotes::default()), "{nothing}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_text() {
        for (text, want) in [
            ("{\"dolt_remotes\": {\"databases\": {\"a\": \"https://u:hunter2@h/a\"", "no JSON at line 1"),
            (r#"{"dolt_remotes": []}"#, "no object"),
            (r#"{"dolt_remotes": {"enabled": "yes"}}"#, "enabled is neither"),
            (r#"{"dolt_remotes": {"databases": {"a": 1}}}"#, "the URL of a is no text"),
            (r#"{"dolt_remotes": {"databases": [1]}}"#, "no name"),
            (r#"{"dolt_remotes": {"branch": "dev"}}"#, "only main"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(want) && !told.contains("hunter2"), "{text}: {told}");
        }
    }
}
