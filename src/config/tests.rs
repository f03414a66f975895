//! Resolving: precedence, defaults, and every problem at once.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::problem::Problems;
use super::raw::Flags;
use super::resolve::Sources;
use super::{AutoCommit, Config, DoltSource, Orphans};

fn resolve(cwd: &Path, home: &Path, flags: Flags, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    Sources { flags, environment: &environment, cwd: cwd.into(), home: Some(home.into()) }.resolve()
}

/// A home with a town in it, and a config file in the town's state directory.
fn town(config: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let town = home.path().join("gt");
    std::fs::create_dir_all(town.join("mayor")).unwrap();
    std::fs::create_dir_all(town.join("daemon")).unwrap();
    std::fs::write(town.join("daemon/branchline.toml"), config).unwrap();
    (home, town)
}

#[test]
fn defaults_outside_a_town() {
    let home = tempfile::tempdir().unwrap();
    let config = resolve(home.path(), home.path(), Flags::default(), &[]).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:3307".parse().unwrap()]);
    assert_eq!(config.socket, None);
    assert_eq!(config.data_dir, home.path().join(".dolt-data"));
    assert_eq!(config.state_dir, home.path().join(".branchline"));
    assert_eq!(config.config_file, None);
    assert!(matches!(config.dolt.source, DoltSource::Private { binary: None }));
    assert_eq!(config.dolt.stop_timeout, Duration::from_secs(30));
    assert_eq!(config.routing.main_only, ["hq"]);
    assert_eq!(config.routing.create_pattern.unwrap().as_str(), "polecat-*");
    assert_eq!(config.routing.user_separator, None);
    assert!(config.routing.env_exclude.contains(&"sshd".to_owned()));
    let lanes = &config.lanes;
    assert_eq!((lanes.budget, lanes.lane_idle), (Duration::from_secs(8), Duration::from_secs(2)));
    assert_eq!(lanes.same_process_idle, Duration::from_millis(40));
    assert_eq!((lanes.own_rows_hold, lanes.auto_commit), (Duration::from_secs(1), AutoCommit::Sql));
    let branches = &config.branches;
    assert_eq!((branches.finish_wait, branches.reap), (Duration::from_secs(10), true));
    assert_eq!((branches.reap_pattern.as_str(), branches.orphans), ("polecat-*", Orphans::Alert));
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(
        (branches.orphan_after, branches.dropped_keep, branches.tombstone_keep),
        (days(1), days(7), days(30))
    );
    assert!(lanes.rules.is_empty() && lanes.env_exclude.contains(&"gt".to_owned()));
    assert_eq!(config.limits.clients_max, 1000);
    assert_eq!(config.limits.handshake_timeout, Duration::from_secs(10));
    assert_eq!(config.log.rotate_bytes, 16 * 1024 * 1024);
}

#[test]
fn flags_before_environment_before_file() {
    let (home, town) = town("listen = [\"127.0.0.1:1\"]\ndata_dir = \"from-file\"\nsocket = \"s.sock\"\n");
    let file_only = resolve(&town, home.path(), Flags::default(), &[]).unwrap();
    assert_eq!(file_only.listen, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(file_only.data_dir, town.join("daemon/from-file"), "paths in the file are seen from the file");
    assert_eq!(file_only.socket, Some(town.join("daemon/s.sock")));

    let variables = [
        ("BRANCHLINE_LISTEN", "127.0.0.1:2, [::1]:0"),
        ("BRANCHLINE_DATA_DIR", "from-env"),
        ("BRANCHLINE_SOCKET", ""),
    ];
    let environment = resolve(&town, home.path(), Flags::default(), &variables).unwrap();
    assert_eq!(environment.listen, ["127.0.0.1:2".parse().unwrap(), "[::1]:0".parse().unwrap()]);
    assert_eq!(environment.data_dir, town.join("from-env"));
    assert_eq!(environment.socket, Some(town.join("daemon/s.sock")), "an empty variable is not set");

    let flags = Flags {
        listen: vec!["127.0.0.1:0".into(), "127.0.0.1:0".into()],
        data_dir: Some("/d".into()),
        ..Flags::default()
    };
    let flags = resolve(&town, home.path(), flags, &variables).unwrap();
    assert_eq!(flags.listen.len(), 2, "port 0 may be asked for twice");
    assert_eq!(flags.data_dir, Path::new("/d"));
}

#[test]
fn a_full_file() {
    let (home, town) = town(
        r#"
listen = ["127.0.0.1:3307"]
[dolt]
address = "127.0.0.1:3306"
user = "proxy"
password_file = "password"
health_interval_s = 5
health_timeout_s = 5
stop_timeout_s = 45
[routing]
main_only = []
create_pattern = ""
user_separator = "+"
env_exclude = ["gt"]
[[routing.rules]]
account = "ci"
address = "10.0.0.0/8"
attributes = { team = "infra*" }
branch = "ci-{database}"
[lanes]
budget_s = 20
idle_ms = 500
same_process_idle_ms = 5
own_rows_ms = 300
auto_commit = "dolt"
[[lanes.rules]]
program = "bd"
own_rows = "always"
[[lanes.rules]]
database = "hq"
attributes = { team = "infra*" }
own_rows = "never"
auto_commit = "sql"
[[merge.rules]]
database = "bd*"
table = "issues"
column = "retries"
cells = "sum"
[[merge.rules]]
table = "links"
deleted = "delete"
updated_at = "changed"
[limits]
clients_max = 0x10
handshake_timeout_s = 2
drain_timeout_s = 0
[log]
filter = "info,branchline::session=debug"
json = true
rotate_mb = 1
rotate_keep = 1
[branches]
finish_wait_s = 0
reap = false
reap_pattern = "temp-*"
orphan_after_h = 2
orphans = "finish"
dropped_keep_days = 0
tombstone_keep_days = 2
"#,
    );
    let password = town.join("daemon/password");
    std::fs::write(&password, "hunter2\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = resolve(&town, home.path(), Flags::default(), &[]).unwrap();
    match &config.dolt.source {
        DoltSource::External { address, user, password } => {
            assert_eq!(
                (address.as_str(), user.as_str(), password.reveal()),
                ("127.0.0.1:3306", "proxy", "hunter2")
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(config.routing.main_only.is_empty() && config.routing.create_pattern.is_none());
    assert_eq!(config.routing.user_separator, Some('+'));
    assert_eq!(config.routing.rules[0].origin, "branchline.toml:15");
    assert_eq!(config.routing.rules[0].conditions.attributes["team"].as_str(), "infra*");
    let lanes = &config.lanes;
    let times = [lanes.lane_idle, lanes.same_process_idle, lanes.own_rows_hold];
    assert_eq!(times, [500, 5, 300].map(Duration::from_millis));
    assert_eq!((lanes.budget, lanes.auto_commit), (Duration::from_secs(20), AutoCommit::Dolt));
    let rules: Vec<String> = lanes.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "PROGRAM 'bd' OWN_ROWS always (branchline.toml:26)",
            "DATABASE 'hq' ATTRIBUTE.team 'infra*' OWN_ROWS never AUTO_COMMIT sql (branchline.toml:29)",
        ]
    );
    assert_eq!(lanes.env_exclude, ["gt"]);
    let rules: Vec<String> = config.merge.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "DATABASE 'bd*' TABLE 'issues' COLUMN 'retries' CELLS sum (branchline.toml:34)",
            "TABLE 'links' DELETED delete UPDATED_AT 'changed' (branchline.toml:39)",
            "COLUMN 'compaction_level' CELLS max (default)",
            "COLUMN 'estimated_minutes' CELLS manual (default)",
        ]
    );
    assert_eq!(config.limits.clients_max, 16);
    let branches = &config.branches;
    assert_eq!((branches.finish_wait, branches.reap), (Duration::ZERO, false));
    assert_eq!((branches.reap_pattern.as_str(), branches.orphans), ("temp-*", Orphans::Finish));
    assert_eq!(branches.orphan_after, Duration::from_secs(7200));
    assert_eq!(
        (branches.dropped_keep, branches.tombstone_keep),
        (Duration::ZERO, Duration::from_secs(172_800))
    );
    assert!(config.log.json);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn all_problems_at_once_with_line_and_key() {
    let (home, town) = town(
        r#"listne = ["127.0.0.1:1"]
socket = 5
[dolt]
user = "x"
stop_timeout_s = 5
[routing]
main_only = "hq"
user_separator = "ab"
[[routing.rules]]
acount = "ci"
branch = "{user}"
[[routing.rules]]
address = "here"
[lanes]
budget_s = 0
idle_ms = 601000
auto_commit = "Dolt"
[[lanes.rules]]
program = "bd"
[[lanes.rules]]
own_rows = "sometimes"
auto_commit = true
address = "there"
branch = "x"
[[merge.rules]]
table = "t"
[[merge.rules]]
colunm = "c"
column = "c"
cells = "newset"
[[merge.rules]]
column = "c"
deleted = "never"
updated_at = ""
[limits]
clients_max = 0
[log]
filter = "a=b=c"
json = "yes"
[colours]
"#,
    );
    let flags = Flags { listen: vec!["example.com:1".into()], ..Flags::default() };
    let problems = resolve(&town, home.path(), flags, &[]).unwrap_err();
    let file = town.join("daemon/branchline.toml").display().to_string();
    insta::assert_snapshot!("all_problems", problems.to_string().replace(&file, "FILE"));
}

#[test]
fn syntax_errors_have_line_and_column() {
    let (home, town) = town("listen = [\"127.0.0.1:1\"]\n[dolt\nuser = = 3\n");
    let problems = resolve(&town, home.path(), Flags::default(), &[]).unwrap_err();
    let file = town.join("daemon/branchline.toml").display().to_string();
    insta::assert_snapshot!("syntax", problems.to_string().replace(&file, "FILE"));
}

#[test]
fn directories_that_cannot_be() {
    let (home, town) = town("");
    std::fs::write(town.join("file"), "").unwrap();
    let flags = |data: &str, state: String| Flags {
        data_dir: Some(data.into()),
        state_dir: Some(state.into()),
        ..Flags::default()
    };
    for (data, state, want) in [
        ("file", "daemon".to_owned(), "is not a directory"),
        ("data", "file".to_owned(), "is not a directory"),
        ("data", "data/state".to_owned(), "inside"),
        ("data", "data".to_owned(), "inside"),
        ("data", "s".repeat(120), "at most 107 bytes"),
    ] {
        let problems = resolve(&town, home.path(), flags(data, state), &[]).unwrap_err().to_string();
        assert!(problems.contains(want), "{data}: {problems}");
    }
    let flags = Flags { config: Some("none.toml".into()), ..Flags::default() };
    let problems = resolve(&town, home.path(), flags, &[]).unwrap_err().to_string();
    assert!(problems.contains("--config: config: can't read"), "{problems}");
}
