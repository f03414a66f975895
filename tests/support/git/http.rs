//! Owns a real `git http-backend` behind a real web server, lighttpd, which hands it whole requests, chunked ones too.
//! Does not touch this machine's web servers. Always: gone when dropped.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::super::process::Process;
use super::{Repository, free_port, program, watch};

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Serves the repositories of one directory on a free port.
pub struct HttpServer {
    _process: Process,
    port: u16,
    directory: TempDir,
}

impl HttpServer {
    /// For everybody.
    pub fn start(repositories: &Path) -> Self {
        Self::serve(repositories, false)
    }

    /// For the account `bob`, who has this password.
    pub fn with_password(repositories: &Path, password: &str) -> Self {
        let server = Self::serve(repositories, true);
        server.set_password(password);
        server
    }

    fn serve(repositories: &Path, with_password: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        let port = free_port();
        let backend = program("git-http-backend", "git");
        let auth = if with_password {
            format!(
                "server.modules += (\"mod_auth\", \"mod_authn_file\")\n\
                 auth.backend = \"plain\"\nauth.backend.plain.userfile = \"{}\"\n\
                 auth.require = (\"/\" => (\"method\" => \"basic\", \"realm\" => \"git\", \"require\" => \"valid-user\"))\n",
                root.join("users").display()
            )
        } else {
            String::new()
        };
        let settings = format!(
            "server.modules = (\"mod_alias\", \"mod_setenv\")\n{auth}server.modules += (\"mod_cgi\")\n\
             server.document-root = \"{root}\"\nserver.errorlog = \"{root}/error.log\"\n\
             server.upload-dirs = (\"{root}\")\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\n\
             alias.url = (\"/\" => \"{backend}/\")\ncgi.assign = (\"\" => \"\")\n\
             setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{repositories}\", \"GIT_HTTP_EXPORT_ALL\" => \"1\",\n  \
             \"GIT_CONFIG_NOSYSTEM\" => \"1\", \"GIT_CONFIG_GLOBAL\" => \"/dev/null\", \"HOME\" => \"{root}\",\n  \
             \"LC_ALL\" => \"C\", \"PATH\" => env.PATH)\n",
            root = root.display(),
            backend = backend.display(),
            repositories = repositories.display(),
        );
        fs::write(root.join("users"), "").expect("written");
        fs::write(root.join("lighttpd.conf"), settings).expect("written");
        let mut command = Command::new(program("lighttpd", "lighttpd"));
        command.arg("-D").arg("-f").arg(root.join("lighttpd.conf"));
        let (mut process, _stdout) = Process::start("lighttpd", command, &root.join("stderr"), STOP_DEADLINE);
        watch::until(READY_DEADLINE, "lighttpd listens", || {
            let said = process.stderr();
            assert!(process.wait(Duration::ZERO).is_none(), "lighttpd ended: {said}");
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).ok()
        });
        Self { _process: process, port, directory }
    }

    /// Another password for `bob` from now on.
    pub fn set_password(&self, password: &str) {
        let users = self.directory.path().join("users");
        let new = users.with_extension("new");
        fs::write(&new, format!("bob:{password}\n")).expect("written");
        fs::rename(&new, &users).expect("renamed");
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
        format!("git+http://127.0.0.1:{port}/{}", repository.name())
    }

    /// With `bob`'s credentials in it.
    pub fn url_with(&self, password: &str, repository: &Repository) -> String {
        format!("git+http://bob:{password}@127.0.0.1:{}/{}", self.port, repository.name())
    }

    /// What its log says.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }
}
