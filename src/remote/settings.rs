//! Owns which remotes there are now: the config file, what was added at run time, the town's daemon.json, in this order.
//! Does not push. Always: a file that can't be understood changes nothing, and that is told.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::assigned::AddedRemote;
use super::url::RemoteUrl;
use crate::config::RemotesConfig;
use crate::config::remotes::{self, NAME_DEFAULT, RemoteOf};
use crate::town::daemon_json::{self, DoltRemotes};

/// Where `remote add` keeps what it was told, for people.
pub const ADDED: &str = "remote add";

/// The files that say which remotes there are.
#[derive(Debug, Clone)]
pub struct Files {
    /// `branchline.toml`, wherever it is.
    pub config: PathBuf,
    /// The town, if we are in one.
    pub town: Option<PathBuf>,
}

/// What tells whether a file has changed.
pub type Signature = Vec<Option<(u64, u64, SystemTime)>>;

impl Files {
    /// Cheap.
    pub fn signature(&self) -> Signature {
        let of = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.modified().ok()?))
        };
        let daemon_json = self.town.as_ref().and_then(|town| of(&town.join(daemon_json::PATH)));
        vec![of(&self.config), daemon_json]
    }

    /// Reads both: what is pushed where, and what is wrong with the files. What can't be understood is as `before`.
    pub fn read(&self, added: &[AddedRemote], before: &RemotesConfig) -> (RemotesConfig, Vec<String>) {
        let mut problems = Vec::new();
        let mut config = match remotes::read(&self.config) {
            Ok(config) => config,
            Err(told) => {
                problems.extend(told.iter().map(ToString::to_string));
                // What was added or taken from daemon.json comes again below.
                let of_file = |remote: &RemoteOf| remote.origin.contains(':');
                let mut before = before.clone();
                before.databases.retain(|_, remote| of_file(remote));
                before.discover = None;
                before
            }
        };
        for remote in added {
            add(&mut config.databases, of_added(remote));
        }
        if let Some(town) = &self.town {
            match daemon_json::read(town) {
                Ok(wanted) => of_daemon_json(&mut config, wanted, &mut problems),
                Err(error) => {
                    problems.push(error.to_string());
                    let of_town = |remote: &&RemoteOf| remote.origin == daemon_json::PATH;
                    for remote in before.databases.values().filter(of_town) {
                        add(&mut config.databases, remote.clone());
                    }
                    config.discover.clone_from(&before.discover);
                }
            }
        }
        (config, problems)
    }
}

/// What comes first wins; a section of the config file without a URL gets that of what comes later.
fn add(databases: &mut BTreeMap<String, RemoteOf>, remote: RemoteOf) {
    match databases.entry(remote.database.to_lowercase()) {
        std::collections::btree_map::Entry::Vacant(vacant) => {
            vacant.insert(remote);
        }
        std::collections::btree_map::Entry::Occupied(mut there) => {
            let there = there.get_mut();
            if there.url.is_none() && remote.url.is_some() {
                (there.url, there.name, there.heartbeat) = (remote.url, remote.name, remote.heartbeat);
                there.origin = format!("{}, URL by {}", there.origin, remote.origin);
            }
        }
    }
}

fn of_added(remote: &AddedRemote) -> RemoteOf {
    plain(&remote.database, Some(remote.url.clone()), &remote.name, ADDED)
}

fn plain(database: &str, url: Option<RemoteUrl>, name: &str, origin: &str) -> RemoteOf {
    RemoteOf {
        database: database.to_owned(),
        url,
        name: name.to_owned(),
        push: true,
        heartbeat: true,
        on_behind: None,
        peers: Vec::new(),
        ledger: None,
        origin: origin.to_owned(),
    }
}

fn of_daemon_json(config: &mut RemotesConfig, wanted: DoltRemotes, problems: &mut Vec<String>) {
    if !wanted.enabled {
        return;
    }
    let name = wanted.remote.as_deref().unwrap_or(NAME_DEFAULT);
    if !super::url::is_remote_name(name) {
        let allowed = super::url::NAME_ALLOWED;
        problems.push(format!(
            "{}: dolt_remotes.remote is no name for a remote; allowed: {allowed}",
            daemon_json::PATH
        ));
        return;
    }
    for (database, url) in &wanted.databases {
        let url = match url.as_deref().map(RemoteUrl::parse).transpose() {
            Ok(url) => url,
            Err(error) => {
                problems.push(format!("{}: dolt_remotes.databases.{database}: {error}", daemon_json::PATH));
                continue;
            }
        };
        let remote = plain(database, url, name, daemon_json::PATH);
        add(&mut config.databases, RemoteOf { heartbeat: wanted.push_on_heartbeat, ..remote });
    }
    config.discover = wanted.discover.then(|| name.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RemoteUrl {
        RemoteUrl::parse(text).unwrap()
    }

    fn added(database: &str) -> AddedRemote {
        let url = url("git@h:added/x.git");
        AddedRemote { database: database.to_owned(), name: "mine".to_owned(), url, by: "x".to_owned(), at: 0 }
    }

    struct Town(tempfile::TempDir);

    impl Town {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("mayor")).unwrap();
            Self(dir)
        }

        fn files(&self) -> Files {
            Files { config: self.0.path().join("branchline.toml"), town: Some(self.0.path().to_path_buf()) }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.path().join(name), text).unwrap();
        }
    }

    fn shown(config: &RemotesConfig) -> Vec<String> {
        config.databases.values().map(|remote| format!("{}: {remote}", remote.database)).collect()
    }

    #[test]
    fn the_config_file_wins_then_what_was_added_then_the_town() {
        let town = Town::new();
        town.write(
            "branchline.toml",
            "[remotes.a]\nurl = \"git@h:file/a.git\"\n[remotes.b]\non_behind = \"merge\"\n[remotes.e]\npush = false\n",
        );
        town.write(
            "mayor/daemon.json",
            r#"{"dolt_remotes": {"enabled": true, "push_on_heartbeat": false, "databases":
                {"a": "git@h:town/a.git", "c": "git@h:town/c.git", "d": "git@h:town/d.git", "e": "git@h:town/e.git"}}}"#,
        );
        let (config, problems) = town.files().read(&[added("B"), added("c")], &RemotesConfig::default());
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(
            shown(&config),
            [
                "a: origin = git+ssh://git@h/./file/a.git (branchline.toml:1)",
                "b: mine = git+ssh://git@h/./added/x.git, on_behind merge (branchline.toml:3, URL by remote add)",
                "c: mine = git+ssh://git@h/./added/x.git (remote add)",
                "d: origin = git+ssh://git@h/./town/d.git (mayor/daemon.json)",
                "e: origin = git+ssh://git@h/./town/e.git, not pushed (branchline.toml:5, URL by mayor/daemon.json)",
            ]
        );
        assert!(!config.databases["d"].heartbeat && config.databases["c"].heartbeat);
    }

    #[test]
    fn a_file_that_is_broken_changes_nothing() {
        let town = Town::new();
        town.write("branchline.toml", "[remotes.a]\nurl = \"git@h:file/a.git\"\n");
        let json = r#"{"dolt_remotes": {"enabled": true, "databases": {"c": "git@h:town/c.git"}}}"#;
        town.write("mayor/daemon.json", json);
        let files = town.files();
        let (before, _) = files.read(&[], &RemotesConfig::default());
        let signature = files.signature();
        town.write("branchline.toml", "[remotes.a]\nurl = \"ext::sh -c x\"\n");
        assert_ne!(files.signature(), signature);
        town.write("mayor/daemon.json", &json[..json.len() - 2]);
        let (after, problems) = files.read(&[], &before);
        assert_eq!(shown(&after), shown(&before));
        assert_eq!(problems.len(), 2, "{problems:?}");
        town.write(
            "mayor/daemon.json",
            r#"{"dolt_remotes": {"enabled": true, "databases": {"c": "https://u:hunter2@h/a b"}}}"#,
        );
        let (_, problems) = files.read(&[], &before);
        assert!(problems[1].contains("percent-encoded") && !problems[1].contains("hunter2"), "{problems:?}");
        town.write(
            "mayor/daemon.json",
            r#"{"dolt_remotes": {"enabled": false, "databases": {"c": "git@h:x"}}}"#,
        );
        std::fs::remove_file(town.0.path().join("branchline.toml")).unwrap();
        assert_eq!(files.read(&[], &before), (RemotesConfig::default(), vec![]), "gone is gone");
    }
}
