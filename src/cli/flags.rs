//! Owns the flags that are settings; every command takes them, as scripts pass the same ones to each.
//! Does not check them: `config::resolve` does, so that all problems are reported together.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::problem::Problems;
use crate::config::resolve::Sources;
use crate::config::{Config, places, raw};

/// Settings; each wins over its variable, that over the config file.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
#[command(next_help_heading = "Settings")]
#[serde(default)]
pub struct Flags {
    /// Directory with one Dolt database per subdirectory [default: <town>/.dolt-data, else ~/.dolt-data] [env: BRANCHLINE_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to serve SQL on; may be repeated [default: 127.0.0.1:3307] [env: BRANCHLINE_LISTEN, comma-separated]
    #[arg(long, global = true, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Unix socket to serve SQL on, besides TCP [env: BRANCHLINE_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Directory for Branchline's own files, by which commands find the running process [default: <town>/daemon, else ~/.branchline] [env: BRANCHLINE_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// From `DoltFlag`, of the commands that have it.
    #[arg(skip)]
    pub dolt: Option<PathBuf>,
    /// Config file [default: <state-dir>/branchline.toml if it exists] [env: BRANCHLINE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Use a Dolt server that somebody else runs: HOST:PORT or a socket's path [env: BRANCHLINE_DOLT_ADDRESS]
    #[arg(long, global = true, value_name = "ADDR")]
    pub dolt_address: Option<String>,
    /// Account on that server [default: root] [env: BRANCHLINE_DOLT_USER]
    #[arg(long, global = true, value_name = "USER")]
    pub dolt_user: Option<String>,
    /// File with its password, mode 0600 [env: BRANCHLINE_DOLT_PASSWORD_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub dolt_password_file: Option<PathBuf>,
}

/// `--dolt`, which is not for every command: `logs --dolt` means something else.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct DoltFlag {
    /// Dolt binary, at least 1.81.8 [default: .tools/bin/dolt, then PATH] [env: BRANCHLINE_DOLT]
    #[arg(long, value_name = "PATH")]
    pub dolt: Option<PathBuf>,
}

impl Flags {
    /// All settings, checked.
    pub fn resolve(&self) -> Result<Config, Problems> {
        self.with_sources(|sources| sources.resolve())
    }

    /// The state directory alone.
    pub fn state_dir(&self) -> Result<PathBuf, Problems> {
        self.with_sources(|sources| sources.state_dir())
    }

    /// These, and what is not given here from `other`.
    pub fn or(self, other: Flags) -> Flags {
        Flags {
            data_dir: self.data_dir.or(other.data_dir),
            listen: if self.listen.is_empty() { other.listen } else { self.listen },
            socket: self.socket.or(other.socket),
            state_dir: self.state_dir.or(other.state_dir),
            dolt: self.dolt.or(other.dolt),
            config: self.config.or(other.config),
            dolt_address: self.dolt_address.or(other.dolt_address),
            dolt_user: self.dolt_user.or(other.dolt_user),
            dolt_password_file: self.dolt_password_file.or(other.dolt_password_file),
        }
    }

    /// The same with absolute paths, and the directories always named: gt looks for `--data-dir` in the arguments.
    pub fn pinned(&self, config: &Config) -> Flags {
        let absolute = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| places::absolute(path, &cwd(), home().as_deref()))
        };
        Flags {
            data_dir: Some(config.data_dir.clone()),
            state_dir: Some(config.state_dir.clone()),
            listen: self.listen.clone(),
            socket: absolute(&self.socket),
            dolt: absolute(&self.dolt),
            config: absolute(&self.config),
            dolt_address: self.dolt_address.clone(),
            dolt_user: self.dolt_user.clone(),
            dolt_password_file: absolute(&self.dolt_password_file),
        }
    }

    /// As arguments.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                args.extend([name.into(), value]);
            }
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.clone().into_os_string());
        let text = |text: &Option<String>| text.as_ref().map(OsString::from);
        add("--data-dir", path(&self.data_dir));
        add("--state-dir", path(&self.state_dir));
        for address in &self.listen {
            add("--listen", Some(address.into()));
        }
        add("--socket", path(&self.socket));
        add("--dolt", path(&self.dolt));
        add("--config", path(&self.config));
        add("--dolt-address", text(&self.dolt_address));
        add("--dolt-user", text(&self.dolt_user));
        add("--dolt-password-file", path(&self.dolt_password_file));
        args
    }

    fn with_sources<T>(&self, use_them: impl FnOnce(&Sources<'_>) -> T) -> T {
        let flags = raw::Flags {
            data_dir: self.data_dir.clone(),
            listen: self.listen.clone(),
            socket: self.socket.clone(),
            state_dir: self.state_dir.clone(),
            dolt: self.dolt.clone(),
            config: self.config.clone(),
            dolt_address: self.dolt_address.clone(),
            dolt_user: self.dolt_user.clone(),
            dolt_password_file: self.dolt_password_file.clone(),
        };
        use_them(&Sources { flags, environment: &|name| std::env::var(name).ok(), cwd: cwd(), home: home() })
    }
}

fn cwd() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| "/".into())
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}
