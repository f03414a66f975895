//! Owns settings for tests that start Dolt without a Branchline around it. Asserts nothing.
//! Always: short times, everything below one directory.

use std::path::Path;
use std::time::Duration;

use branchline::config::{
    BranchesConfig, Config, DoltConfig, DoltSource, Glob, LanesConfig, Limits, LogConfig, MergePolicy,
    RemotesConfig, Routing,
};

/// Data and state in `town`.
pub fn settings(town: &Path, source: DoltSource) -> Config {
    Config {
        listen: vec![],
        socket: None,
        data_dir: town.join("data"),
        state_dir: town.join("state"),
        config_file: None,
        dolt: DoltConfig {
            source,
            health_interval: Duration::from_millis(300),
            health_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(30),
        },
        routing: Routing {
            main_only: vec![],
            create_pattern: Some(Glob::new("polecat-*")),
            user_separator: None,
            env_exclude: vec![],
            rules: vec![],
        },
        lanes: LanesConfig::default(),
        merge: MergePolicy::default(),
        branches: BranchesConfig::default(),
        remotes: RemotesConfig::default(),
        limits: Limits {
            clients_max: 100,
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        },
        log: LogConfig { filter: "info".into(), json: false, rotate_bytes: 1 << 20, rotate_keep: 3 },
    }
}
