//! Owns the place between Branchline and its private Dolt: a program that is run in Dolt's stead, has the proxy
//! listen where Branchline expects Dolt, and becomes Dolt, which listens elsewhere.
//! Always: Dolt's process is the one that Branchline started (its id, its signals, its end); other subcommands are
//! Dolt's own.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::support::branchline::Branchline;
use super::super::support::dolt_binary;
use super::{FaultProxy, Listener, Target, lock, unix_listener};

/// Said to the thread that answers the program, to end it.
const END: &str = "end";

/// A running Branchline with the proxy between it and its Dolt.
pub struct Wrapper {
    pub branchline: Branchline,
    pub proxy: Arc<FaultProxy>,
    dolt: Arc<Mutex<SocketAddr>>,
    asks: PathBuf,
    answering: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Wrapper {
    /// Starts everything; `change` may add to Branchline's command.
    pub fn start(change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let in_it = |name: &str| directory.path().join(name);
        let (asks, answers) = (in_it("asks"), in_it("answers"));
        for fifo in [&asks, &answers] {
            let made = Command::new("mkfifo").arg(fifo).status().expect("mkfifo runs");
            assert!(made.success(), "mkfifo {}", fifo.display());
        }
        let script = format!(
            "#!/bin/sh\n\
             # BEGIN of Dolt's life: the proxy takes its addresses and names a config with others.\n\
             if [ \"$1\" = sql-server ] && [ \"$2\" = --config ]; then\n\
             \x20 echo \"$3\" >'{asks}'\n  read -r config <'{answers}' || exit 1\n\
             \x20 set -- sql-server --config \"$config\"\nfi\nexec '{dolt}' \"$@\"\n",
            asks = asks.display(),
            answers = answers.display(),
            dolt = dolt_binary().display()
        );
        let program = in_it("dolt");
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");

        let (proxy, dolt) = (Arc::new(FaultProxy::default()), Arc::new(Mutex::new(([0, 0, 0, 0], 0).into())));
        let behind = Behind { socket: in_it("dolt.sock"), proxy: proxy.clone(), dolt: dolt.clone() };
        let (asked, mut answer) = (open(&asks), open(&answers));
        let answering = thread::spawn(move || {
            for config in BufReader::new(asked).lines().map_while(Result::ok).take_while(|line| line != END) {
                let config = behind.take_over(Path::new(&config));
                writeln!(answer, "{}", config.display()).expect("the program is told");
            }
        });
        let branchline = Branchline::start_with(|command| {
            command.arg("--dolt").arg(&program);
            change(command);
        });
        Self { branchline, proxy, dolt, asks, answering: Some(answering), _directory: directory }
    }

    /// Where SQL is served by Branchline.
    pub fn addr(&self) -> SocketAddr {
        self.branchline.addr()
    }

    /// Where Dolt can be asked without the proxy.
    pub fn dolt(&self) -> SocketAddr {
        *lock(&self.dolt)
    }

    /// SIGKILL for Dolt, if one is published.
    pub fn kill_dolt(&self) -> Option<i32> {
        let pid = self.branchline.try_dolt()?.pid;
        kill_process(Pid::from_raw(pid)?, Signal::KILL).ok().map(|()| pid)
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        let _told = writeln!(open(&self.asks), "{END}");
        if let Some(answering) = self.answering.take() {
            let _ended = answering.join();
        }
    }
}

/// Both ways, so that nobody waits for the other side or sees it end.
fn open(fifo: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(fifo).expect("the pipe is there")
}

/// Where Dolt goes.
struct Behind {
    socket: PathBuf,
    proxy: Arc<FaultProxy>,
    dolt: Arc<Mutex<SocketAddr>>,
}

impl Behind {
    /// Listens on the addresses in Branchline's config; returns a config with Dolt's real ones.
    fn take_over(&self, config: &Path) -> PathBuf {
        let text = fs::read_to_string(config).expect("Branchline's config");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
            found.unwrap_or_else(|| panic!("no `{name}` in {text}")).trim()
        };
        let expected: u16 = field("port:").parse().expect("a port");
        let socket: String = serde_json::from_str(field("socket:")).expect("a quoted path");
        let changed = text
            .replace(field("socket:"), &serde_json::Value::from(self.socket.to_str()).to_string())
            .replace(&format!("port: {expected}\n"), &format!("port: {port}\n"));
        let _not_there = fs::remove_file(&self.socket);
        let real = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        *lock(&self.dolt) = real;

        self.proxy.stop_listening();
        let tcp =
            TcpListener::bind((Ipv4Addr::LOCALHOST, expected)).expect("the port that Branchline found free");
        self.proxy.listen(Listener::Tcp(Arc::new(tcp)), Target::Tcp(real));
        let unix = unix_listener(Path::new(&socket.replace("$$", "$"))).expect("the socket can be bound");
        self.proxy.listen(Listener::Unix(Arc::new(unix)), Target::Unix(self.socket.clone()));

        let behind = config.with_extension("behind.yaml");
        fs::write(&behind, changed).expect("written");
        behind
    }
}
