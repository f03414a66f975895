//! Owns a Dolt server without Branchline, and a forwarder that copies bytes: the control experiment of end-to-end tests.
//! Does not understand a byte of what it forwards.
//! Always: both end when dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{Process, await_line, lines};

const READY_DEADLINE: Duration = Duration::from_secs(60);

/// `dolt sql-server` on a free port.
pub struct PlainDolt {
    /// None while it was ended.
    process: Option<Process>,
    port: u16,
    directory: TempDir,
}

impl PlainDolt {
    /// Starts it and waits until it accepts connections.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        for name in ["home", "data"] {
            fs::create_dir(root.join(name)).expect("a directory in the temporary directory");
        }
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let config = format!(
            "log_level: info\nlistener: {{host: 127.0.0.1, port: {port}, socket: {root}/dolt.sock}}\n\
             data_dir: {root}/data\ncfg_dir: {root}/data/.doltcfg\n",
            root = root.display()
        );
        fs::write(root.join("config.yaml"), config).expect("the config can be written");
        for (key, value) in [("user.name", "test"), ("user.email", "test@example.com")] {
            let mut set = Command::new(super::dolt_binary());
            set.args(["config", "--global", "--add", key, value]).env("HOME", root.join("home"));
            assert!(set.output().expect("dolt runs").status.success(), "dolt config failed");
        }
        let mut dolt = Self { process: None, port, directory };
        dolt.start_again();
        dolt
    }

    /// Ends it; its port stays free for `start_again`.
    pub fn end(&mut self) {
        self.process = None;
    }

    /// Ends it with SIGKILL; its port stays free for `start_again`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            assert!(process.wait(READY_DEADLINE).is_some(), "dolt outlives SIGKILL");
        }
    }

    /// Starts it after `end`, on the same data and port.
    pub fn start_again(&mut self) {
        let root = self.directory.path();
        // Dolt logs to standard error; it is read from standard output to see the line that says it is ready.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" sql-server --config \"$1\" 2>&1"]);
        command.arg(super::dolt_binary()).arg(root.join("config.yaml"));
        command.env("HOME", root.join("home")).env("TZ", "UTC").current_dir(root);
        let (process, stdout) =
            Process::start("dolt", command, &root.join("stderr"), Duration::from_secs(35));
        let ready =
            await_line(&lines(stdout), READY_DEADLINE, |line| line.contains("Server ready").then_some(()));
        assert!(ready.is_some(), "dolt was not ready within {READY_DEADLINE:?}");
        self.process = Some(process);
    }

    /// Where its databases are.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Its loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("dolt.sock")
    }
}

/// Copies bytes between its own port and `target`, one pair of threads per connection.
pub struct Forwarder {
    addr: SocketAddr,
}

impl Forwarder {
    /// Starts to listen. Its threads end with their connections, the last one with the test process.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(target) else { continue };
                let copies = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in copies.into_iter().filter_map(|(from, to)| Some((from.ok()?, to.ok()?))) {
                    thread::spawn(move || copy(from, to));
                }
            }
        });
        Self { addr }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _best_effort = (from.set_nodelay(true), to.set_nodelay(true));
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..size]).is_err() {
            break;
        }
    }
    let _already_closed = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
}
