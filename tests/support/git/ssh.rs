//! Owns a real `sshd` and the keys, known hosts and settings of a client of it.
//! Does not touch this machine's sshd, nor anybody's ~/.ssh. Always: it and its sessions are gone when dropped.
//!
//! ssh looks for ~/.ssh in the account's home, whatever HOME says. So git gets a directory first on its PATH with an
//! `ssh` that adds `-F`; all other options stay those that Branchline gives.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::process::Process;
use super::{Repository, descendants, free_port, program, watch};

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// What the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// All that it needs.
    Key,
    /// It has never seen this host.
    UnknownHost,
    /// It knows the host with another key.
    ChangedHost,
    /// No key that is taken.
    NoKey,
    /// Its key has a passphrase.
    Passphrase,
}

/// `sshd` on a free port.
pub struct SshServer {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl SshServer {
    /// Starts it; the client has a key.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        for (name, passphrase) in
            [("host", ""), ("other-host", ""), ("key", ""), ("locked", "secret"), ("unknown", "")]
        {
            let mut keygen = Command::new(program("ssh-keygen", "openssh-client"));
            keygen.args(["-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f"]);
            super::run(keygen, &[root.join(name)]);
        }
        if rustix::process::geteuid().is_root() {
            // sshd insists on it; only its package's service makes it otherwise.
            fs::create_dir_all("/run/sshd").expect("/run/sshd");
        }
        let port = free_port();
        let settings = [
            format!("Port {port}"),
            "ListenAddress 127.0.0.1".to_owned(),
            format!("HostKey {}", root.join("host").display()),
            "PidFile none".to_owned(),
            format!("AuthorizedKeysFile {}", root.join("authorized_keys").display()),
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "PermitRootLogin prohibit-password".to_owned(),
            "PrintMotd no".to_owned(),
            "PrintLastLog no".to_owned(),
            "MaxStartups 100".to_owned(),
            // The default takes a second of a busy processor.
            "KexAlgorithms curve25519-sha256".to_owned(),
            "SetEnv GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C".to_owned(),
        ];
        fs::write(root.join("sshd_config"), settings.join("\n") + "\n").expect("written");
        write_wrapper(&root.join("bin"), &root.join("config"));
        authorize(root, None);
        grant(root, Access::Key);
        let mut command = Command::new(program("sshd", "openssh-server"));
        command.args(["-D", "-e", "-f"]).arg(root.join("sshd_config"));
        let (mut process, _stdout) = Process::start("sshd", command, &root.join("sshd.log"), STOP_DEADLINE);
        watch::until(READY_DEADLINE, "sshd listens", || {
            let said = process.stderr();
            assert!(process.wait(Duration::ZERO).is_none(), "sshd ended: {said}");
            said.contains("Server listening").then_some(())
        });
        Self { process, port, directory }
    }

    /// What it says.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As Dolt takes it.
    pub fn url(&self, repository: &Repository) -> String {
        self.url_at(self.port, repository)
    }

    /// The same by way of another port, as a proxy's.
    pub fn url_at(&self, port: u16, repository: &Repository) -> String {
        format!("git+ssh://127.0.0.1:{port}{}", repository.path().display())
    }

    /// What a git that is to reach it needs in its environment.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut path = self.directory.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        // Without an agent of whoever runs the tests.
        vec![("PATH", path), ("SSH_AUTH_SOCK", OsString::new())]
    }

    /// What the client has from now on.
    pub fn grant(&self, access: Access) {
        grant(self.directory.path(), access);
    }

    /// A command that is run in the place of the client's, as a forced command is; `$SSH_ORIGINAL_COMMAND` is that.
    pub fn force(&self, command: Option<&str>) {
        authorize(self.directory.path(), command);
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        // Sessions outlive their server.
        let sessions = descendants(self.process.pid());
        self.process.stop();
        for pid in sessions.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _already_gone = kill_process(pid, Signal::KILL);
        }
    }
}

fn write_wrapper(bin: &Path, config: &Path) {
    fs::create_dir(bin).expect("made");
    let real: PathBuf = program("ssh", "openssh-client");
    let script = format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", real.display(), config.display());
    fs::write(bin.join("ssh"), script).expect("written");
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).expect("set");
}

/// Settings are replaced by renaming: a client may read them at any moment.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("renamed");
}

fn grant(root: &Path, access: Access) {
    let host_key = match access {
        Access::UnknownHost => None,
        Access::ChangedHost => Some("other-host"),
        Access::Key | Access::NoKey | Access::Passphrase => Some("host"),
    };
    let known = host_key.map(|name| {
        let key = fs::read_to_string(root.join(name).with_extension("pub")).expect("a key");
        format!("test-host {key}")
    });
    put(&root.join("known_hosts"), &known.unwrap_or_default());
    let key = match access {
        Access::NoKey => "unknown",
        Access::Passphrase => "locked",
        Access::Key | Access::UnknownHost | Access::ChangedHost => "key",
    };
    let config = format!(
        "Host *\n  HostKeyAlias test-host\n  IdentityFile {key}\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n",
        key = root.join(key).display(),
        known = root.join("known_hosts").display()
    );
    put(&root.join("config"), &config);
}

fn authorize(root: &Path, command: Option<&str>) {
    let options =
        command.map(|command| format!("command=\"{}\" ", command.replace('"', "\\\""))).unwrap_or_default();
    let keys = ["key", "locked"].map(|name| {
        let key = fs::read_to_string(root.join(name).with_extension("pub")).expect("a key");
        format!("{options}{key}")
    });
    put(&root.join("authorized_keys"), &keys.concat());
}
