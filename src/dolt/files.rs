//! Owns the private Dolt's files in the state directory: its configuration, home, socket path, the link it is
//! run through, and `dolt.json`, which tells others (and the next Branchline) about the running one.
//! Does not start anything. Always: written whole or not at all, readable by this user alone, and never
//! in the data directory.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::lock::{path_error, prepare};
use super::{StartError, process_facts};
use crate::config::Config;

/// `sun_path` holds 108 bytes on Linux and 104 on macOS, with a NUL.
const SOCKET_PATH_BYTES_MAX: usize = 103;
/// Connections besides the clients': control, health, and those that are just closing.
const CONNECTIONS_EXTRA: usize = 50;
/// Idle sessions are Branchline's business, not Dolt's.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The link that Dolt is run through.
pub(super) const PROGRAM: &str = "branchline-dolt";
const REMEDY: &str = "give another --state-dir";

/// Where everything is.
#[derive(Debug)]
pub(super) struct Files {
    data_dir: PathBuf,
    pub(super) home: PathBuf,
    pub(super) config: PathBuf,
    pub(super) socket: PathBuf,
    /// Made for a socket whose path in the state directory would be too long.
    socket_dir: Option<PathBuf>,
    pub(super) program: PathBuf,
    pub(super) log: PathBuf,
    published: PathBuf,
    connections_max: usize,
}

/// `dolt.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) pid: u32,
    pub(super) socket: PathBuf,
    pub(super) port: u16,
    /// Seconds since 1970.
    started: u64,
    /// Its start in the kernel's ticks: with the pid it names the process for good.
    #[serde(default)]
    start_ticks: Option<u64>,
}

impl Published {
    /// Whether that very process still runs.
    pub(super) fn is_running(&self) -> bool {
        self.start_ticks.is_some() && process_facts::start_ticks(self.pid) == self.start_ticks
    }
}

impl Files {
    /// Makes the state directory and the private home in it.
    pub(super) fn prepare(config: &Config) -> Result<Self, StartError> {
        let absolute = |what, path: &Path| {
            std::path::absolute(path).map_err(|error| path_error(what, path, &error, REMEDY))
        };
        prepare("state directory", &config.state_dir, REMEDY)?;
        let state_dir = absolute("state directory", &config.state_dir)?;
        let home = state_dir.join("dolt-home");
        prepare("state directory", &home, REMEDY)?;
        let files = Self {
            data_dir: absolute("data directory", &config.data_dir)?,
            config: state_dir.join("dolt.yaml"),
            socket: state_dir.join("dolt.sock"),
            socket_dir: None,
            program: state_dir.join(PROGRAM),
            log: state_dir.join("dolt.log"),
            published: state_dir.join("dolt.json"),
            connections_max: config.limits.clients_max.saturating_add(CONNECTIONS_EXTRA),
            home,
        };
        write_home(&files.home).map_err(|error| path_error("state directory", &state_dir, &error, REMEDY))?;
        files.with_short_socket()
    }

    /// A socket path that is too long to be bound is replaced by one in a directory of our own.
    fn with_short_socket(mut self) -> Result<Self, StartError> {
        if self.socket.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(self);
        }
        let unique =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() % 1_000_000_000);
        let dir = std::env::temp_dir().join(format!("branchline-{}-{unique}", std::process::id()));
        // Not recursive: it must not exist, or somebody else could own it.
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|error| {
            path_error("socket directory", &dir, &error, "set TMPDIR to a directory of yours")
        })?;
        let socket = dir.join("dolt.sock");
        if socket.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            let _ = std::fs::remove_dir(&dir);
            return Err(StartError::Path {
                what: "socket path",
                path: socket,
                problem: format!("is longer than {SOCKET_PATH_BYTES_MAX} bytes"),
                remedy: "give a shorter --state-dir or TMPDIR".into(),
            });
        }
        tracing::info!(
            socket = %socket.display(),
            "the state directory's path is too long for a unix socket; Dolt's is in a private directory instead"
        );
        self.socket = socket;
        self.socket_dir = Some(dir);
        Ok(self)
    }

    /// Links the name Dolt is run under to its binary. gt takes a process whose name begins with
    /// `dolt` for a stray server and may kill it.
    pub(super) fn link_program(&self, binary: &Path) -> io::Result<()> {
        let new = self.program.with_extension("new");
        let _ = std::fs::remove_file(&new);
        std::os::unix::fs::symlink(binary, &new)?;
        std::fs::rename(new, &self.program)
    }

    /// Makes ready for one start: a free port, the configuration for it, no stale socket.
    pub(super) fn prepare_start(&self) -> io::Result<u16> {
        match std::fs::remove_file(&self.socket) {
            // Dolt would only warn about a socket that is there, and serve without one.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        write_private(&self.config, self.yaml(port)?.as_bytes())?;
        Ok(port)
    }

    fn yaml(&self, port: u16) -> io::Result<String> {
        let timeout_ms = SESSION_TIMEOUT.as_millis();
        Ok(format!(
            "# Written by Branchline at each start of its private Dolt; changes are lost.\n\
             # At info, Dolt writes two lines for every connection.\n\
             log_level: warning\n\
             data_dir: {}\n\
             listener:\n  host: 127.0.0.1\n  port: {port}\n  socket: {}\n  max_connections: {}\n  \
             read_timeout_millis: {timeout_ms}\n  write_timeout_millis: {timeout_ms}\n",
            yaml_string(&self.data_dir)?,
            yaml_string(&self.socket)?,
            self.connections_max,
        ))
    }

    /// Tells others about the running Dolt.
    pub(super) fn publish(&self, pid: u32, port: u16) -> io::Result<()> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let start_ticks = process_facts::start_ticks(pid);
        let published = Published { pid, socket: self.socket.clone(), port, started, start_ticks };
        write_private(&self.published, &serde_json::to_vec(&published)?)
    }

    /// The Dolt that was published last, by us or by a Branchline that was killed.
    pub(super) fn published(&self) -> Option<Published> {
        serde_json::from_slice(&std::fs::read(&self.published).ok()?).ok()
    }

    /// Takes back what is only there while Dolt runs.
    pub(super) fn unpublish(&self) {
        let _ = std::fs::remove_file(&self.published);
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(dir) = &self.socket_dir {
            let _ = std::fs::remove_file(&self.socket);
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Written beside and renamed, mode 0600.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(new, path)
}

/// A path as a double-quoted YAML scalar (JSON's quoting is a part of YAML's). Dolt fills in
/// environment variables before it parses: a literal `$` is `$$`.
fn yaml_string(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not UTF-8, which Dolt needs", path.display()),
        )
    })?;
    Ok(serde_json::Value::from(text).to_string().replace('$', "$$"))
}

/// Dolt's global configuration, so that nothing of the user's is read or written.
pub(super) fn write_home(home: &Path) -> io::Result<()> {
    let dir = home.join(".dolt");
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("config_global.json");
    // Dolt keeps settings of its own there (server_uuid, SET PERSIST): only ours are set.
    let mut settings: serde_json::Map<String, serde_json::Value> =
        std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    for (name, value) in [("metrics.disabled", "true"), ("versioncheck.disabled", "true")] {
        settings.insert(name.into(), value.into());
    }
    for (name, value) in [("user.name", "branchline"), ("user.email", "branchline@localhost")] {
        settings.entry(name).or_insert_with(|| value.into());
    }
    write_private(&path, serde_json::Value::Object(settings).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Files {
        Files {
            data_dir: dir.join("a \"quoted\" $HOME: 'dir'"),
            home: dir.join("dolt-home"),
            config: dir.join("dolt.yaml"),
            socket: dir.join("dolt.sock"),
            socket_dir: None,
            program: dir.join("branchline-dolt"),
            log: dir.join("dolt.log"),
            published: dir.join("dolt.json"),
            connections_max: 550,
        }
    }

    #[test]
    fn the_configuration_quotes_paths() {
        let yaml = files(Path::new("/s")).yaml(4567).expect("yaml");
        assert!(yaml.contains(r#"data_dir: "/s/a \"quoted\" $$HOME: 'dir'""#), "{yaml}");
        assert!(
            yaml.contains("\n  port: 4567\n  socket: \"/s/dolt.sock\"\n  max_connections: 550\n"),
            "{yaml}"
        );
    }

    #[test]
    fn a_path_too_long_for_a_socket_gets_a_private_directory() {
        use std::os::unix::fs::PermissionsExt;
        let deep = PathBuf::from(format!("/{}", "long/".repeat(30)));
        let files = files(&deep).with_short_socket().expect("short");
        let dir = files.socket.parent().expect("parent").to_path_buf();
        assert!(!files.socket.starts_with(&deep));
        assert_eq!(std::fs::metadata(&dir).expect("made").permissions().mode() & 0o777, 0o700);
        drop(files);
        assert!(!dir.exists());
    }

    #[test]
    fn what_is_published_names_the_process_and_goes_away() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temp dir");
        let files = files(dir.path());
        files.publish(std::process::id(), 4567).expect("publish");
        let mode = std::fs::metadata(&files.published).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let published = files.published().expect("read");
        assert!(published.is_running());
        // The same pid, another process.
        let other = Published { start_ticks: Some(1), ..published };
        assert!(!other.is_running());
        files.unpublish();
        assert!(files.published().is_none());
    }

    #[test]
    fn the_home_keeps_what_dolt_wrote_there() {
        let dir = tempfile::tempdir().expect("temp dir");
        let files = files(dir.path());
        let path = files.home.join(".dolt").join("config_global.json");
        write_home(&files.home).expect("write");
        std::fs::write(&path, r#"{"sqlserver.global.server_uuid":"u","user.name":"me"}"#).expect("write");
        write_home(&files.home).expect("write");
        let text = std::fs::read_to_string(path).expect("read");
        let read: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(read["sqlserver.global.server_uuid"], "u");
        assert_eq!(read["user.name"], "me");
        assert_eq!(read["metrics.disabled"], "true");
    }
}
