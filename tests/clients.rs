//! Real clients, direct and through Branchline: what they see must be the same.
//!
//! Each client's program (`tests/clients/…`) writes a transcript of what it observes. It runs once against the private Dolt
//! and once against Branchline, in two fresh databases of that same Dolt; what must have succeeded is listed besides
//! (`tests/clients/required/…`), so that two equal failures are not taken for a success. `tests/clients/prepare.sh` makes
//! the programs ready.
//! `BRANCHLINE_TEST_CLIENTS_VIA=forwarder` puts a mere byte copier in Branchline's place: a difference that shows there too
//! is the suite's or Dolt's.

#[path = "clients/mysql_async/client.rs"]
mod mysql_async_client;
mod support;
#[path = "clients/transcript.rs"]
mod transcript;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use support::branchline::Branchline;
use support::plain::{Forwarder, PlainDolt};
use support::process::{Process, lines};
use tempfile::TempDir;

const USER: &str = "client";
const PASSWORD: &str = "sesame";
const SOCKET: &str = "sql.sock";
/// For one run of one client; the slowest takes 20 s on two busy cores.
const RUN_DEADLINE: Duration = Duration::from_secs(180);
const SETUP_DEADLINE: Duration = Duration::from_secs(60);

/// With other connections busy, cursors of Dolt 1.88.1 read wrong first rows without Branchline too (0 for 3, 1 for 0). Through
/// Branchline Dolt once closed the connection at a COM_STMT_FETCH; whether it would without is not known. So a client that uses
/// cursors runs alone.
static TRAFFIC: RwLock<()> = RwLock::new(());

/// Clients that use cursors.
const ALONE: [&str; 2] = ["connector", "java"];

/// Where one run of a client finds its server and its files.
pub struct Target {
    addr: SocketAddr,
    /// To be used instead of the address.
    socket: Option<PathBuf>,
    database: String,
    shared: PathBuf,
    scratch: PathBuf,
}

#[test]
fn mariadb_cli() {
    compare("mariadb", 1800, |_| with_arg("bash", "tests/clients/mariadb/client.sh"));
}

#[test]
fn mariadb_cli_over_a_unix_socket() {
    compare("mariadb_socket", 1800, |_| with_arg("bash", "tests/clients/mariadb/client.sh"));
}

#[test]
fn go_sql_driver() {
    compare("go", 1100, |tools| Command::new(&tools["go"]));
}

#[test]
fn pymysql() {
    compare("pymysql", 700, |tools| with_arg(&tools["python"], "tests/clients/python/pymysql_client.py"));
}

#[test]
fn pymysql_over_a_unix_socket() {
    compare("pymysql_socket", 700, |tools| {
        with_arg(&tools["python"], "tests/clients/python/pymysql_client.py")
    });
}

#[test]
fn mysql_connector_python() {
    compare("connector", 795, |tools| with_arg(&tools["python"], "tests/clients/python/connector_client.py"));
}

#[test]
fn node_mysql2() {
    compare("mysql2", 1120, |tools| {
        let mut command = with_arg("node", "tests/clients/node/client.js");
        command.env("BL_NODE_MODULES", &tools["node_modules"]);
        command
    });
}

#[test]
fn connector_j() {
    compare("java", 1500, |tools| {
        let mut command = Command::new("java");
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(format!("{0}/classes:{0}/lib/*", tools["java"])).arg("Client");
        command
    });
}

#[test]
fn mysql_async() {
    for routed_by in ["BD_BRANCH", "BD_ACTOR", "GT_POLECAT"] {
        assert!(
            std::env::var_os(routed_by).is_none(),
            "unset {routed_by}: this client is the test process itself"
        );
    }
    compare_runs("async", 730, |target| block_on(RUN_DEADLINE, mysql_async_client::run(target)));
}

/// Runs a program direct and through Branchline.
fn compare(name: &str, floor: usize, program: impl Fn(&HashMap<String, String>) -> Command) {
    let tools = match &*TOOLS {
        Ok(tools) => tools,
        Err(problem) => panic!("{problem}"),
    };
    compare_runs(name, floor, |target| run_program(program(tools), target));
}

/// Both transcripts whole, as required and equal, or a panic that shows where not. A name that ends in `_socket` is run over
/// the servers' unix sockets; the same is required of it.
fn compare_runs(name: &str, floor: usize, run: impl Fn(&Target) -> String) {
    let client = name.strip_suffix("_socket").unwrap_or(name);
    let path = repository().join(format!("tests/clients/required/{client}.txt"));
    let required = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let alone = ALONE.contains(&name).then(|| TRAFFIC.write().unwrap_or_else(PoisonError::into_inner));
    let among = alone.is_none().then(|| TRAFFIC.read().unwrap_or_else(PoisonError::into_inner));
    let servers = Servers::shared();
    let ways = [
        ("direct", 'd', servers.direct(), servers.direct_socket()),
        ("branchline", 'r', servers.routed(), servers.routed_socket()),
    ];
    let transcripts = ways.map(|(way, mark, addr, socket)| {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let target = Target {
            addr,
            socket: (client != name).then_some(socket),
            database: format!("bl_{mark}_{name}"),
            shared: repository().join("tests/clients/shared"),
            scratch: scratch.path().to_owned(),
        };
        servers.fresh_database(&target.database);
        let transcript = run(&target);
        transcript::keep(name, way, &transcript);
        transcript::assert_whole(name, way, &transcript, floor);
        transcript::assert_required(name, way, &transcript, &required);
        transcript
    });
    drop((alone, among));
    let [direct, through] = transcripts.map(|seen| transcript::without_what_differs(&seen, &required));
    transcript::assert_equal(name, &direct, &through, || servers.said());
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn with_arg(program: &str, script: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(repository().join(script));
    command
}

/// The program's transcript. It gets nothing of our environment that could route or configure it.
fn run_program(mut command: Command, target: &Target) -> String {
    let own: Vec<(OsString, OsString)> =
        command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    command.env_clear().envs(own).current_dir(&target.scratch);
    for kept in ["PATH", "JAVA_HOME"] {
        command.envs(std::env::var_os(kept).map(|value| (kept, value)));
    }
    command.env("HOME", &target.scratch).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "ignore");
    command.env("BL_HOST", target.addr.ip().to_string()).env("BL_PORT", target.addr.port().to_string());
    command.env("BL_USER", USER).env("BL_PASSWORD", PASSWORD).env("BL_DATABASE", &target.database);
    command.envs(target.socket.as_ref().map(|path| ("BL_SOCKET", path)));
    command.env("BL_SHARED", &target.shared).env("BL_SCRATCH", &target.scratch);
    let (mut process, stdout) =
        Process::start("client", command, &target.scratch.join("stderr"), Duration::from_secs(5));
    let output = lines(stdout);
    let status = process.wait(RUN_DEADLINE);
    let written: Vec<String> =
        if status.is_some() { output.iter().collect() } else { output.try_iter().collect() };
    let last = written.last().map_or("nothing", String::as_str);
    match status {
        Some(status) if status.success() => written.join("\n") + "\n",
        Some(status) => panic!("{}: {status} after `{last}`\n{}", target.database, process.stderr_tail()),
        None => panic!(
            "{}: still running after {RUN_DEADLINE:?}, last: `{last}`\n{}",
            target.database,
            process.stderr_tail()
        ),
    }
}

/// What `prepare.sh` says, by key.
static TOOLS: LazyLock<Result<HashMap<String, String>, String>> = LazyLock::new(|| {
    let script = repository().join("tests/clients/prepare.sh");
    let output = Command::new(&script).output().map_err(|error| format!("{}: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!(
            "the real clients cannot be prepared:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let written = String::from_utf8_lossy(&output.stdout);
    Ok(written
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect())
});

/// One Dolt and the way in front of it, shared by the tests that run at the same time.
enum Servers {
    Branchline { branchline: Branchline, directory: TempDir },
    Control { dolt: PlainDolt, forwarder: Forwarder },
}

impl Servers {
    /// The running servers, or new ones. The last test that holds them stops them.
    fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Servers>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(servers) = running.upgrade() {
            return servers;
        }
        let servers = Arc::new(Self::start());
        *running = Arc::downgrade(&servers);
        servers
    }

    fn start() -> Self {
        let servers = match std::env::var("BRANCHLINE_TEST_CLIENTS_VIA").as_deref() {
            Ok("forwarder") => {
                let dolt = PlainDolt::start();
                let forwarder = Forwarder::start(SocketAddr::from(([127, 0, 0, 1], dolt.port())));
                Self::Control { dolt, forwarder }
            }
            Ok(other) => panic!("BRANCHLINE_TEST_CLIENTS_VIA={other}: only `forwarder` is known"),
            Err(_) => {
                let directory = tempfile::tempdir().expect("a temporary directory");
                let branchline = Branchline::start_with(|command| {
                    command.arg("--socket").arg(directory.path().join(SOCKET));
                });
                Self::Branchline { branchline, directory }
            }
        };
        servers.as_root(&[
            "SET GLOBAL local_infile = 1",
            &format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'"),
            &format!("GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION"),
        ]);
        servers
    }

    /// The private Dolt's own port.
    fn direct(&self) -> SocketAddr {
        let port = match self {
            Self::Branchline { branchline, .. } => branchline.dolt().port,
            Self::Control { dolt, .. } => dolt.port(),
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// The port that clients are meant to use.
    fn routed(&self) -> SocketAddr {
        match self {
            Self::Branchline { branchline, .. } => branchline.addr(),
            Self::Control { forwarder, .. } => forwarder.addr(),
        }
    }

    /// The private Dolt's own unix socket.
    fn direct_socket(&self) -> PathBuf {
        match self {
            Self::Branchline { branchline, .. } => branchline.dolt().socket,
            Self::Control { dolt, .. } => dolt.socket(),
        }
    }

    /// The unix socket that clients are meant to use. The control has none in front of Dolt's.
    fn routed_socket(&self) -> PathBuf {
        match self {
            Self::Branchline { directory, .. } => directory.path().join(SOCKET),
            Self::Control { dolt, .. } => dolt.socket(),
        }
    }

    fn fresh_database(&self, name: &str) {
        self.as_root(&[&format!("CREATE DATABASE {name}")]);
    }

    /// Runs statements as root, through the front door.
    fn as_root(&self, statements: &[&str]) {
        let addr = self.routed();
        block_on(SETUP_DEADLINE, async {
            let options = mysql_async::OptsBuilder::default()
                .ip_or_hostname(addr.ip().to_string())
                .tcp_port(addr.port())
                .user(Some("root"))
                .prefer_socket(false);
            let mut root = mysql_async::Conn::new(options).await.expect("root logs in without a password");
            for statement in statements {
                root.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
            root.disconnect().await.expect("root logs out");
        });
    }

    /// What Branchline logged, for a failure's report.
    fn said(&self) -> String {
        match self {
            Self::Branchline { branchline, .. } => branchline.stderr_tail(),
            Self::Control { .. } => String::new(),
        }
    }
}

fn block_on<T>(deadline: Duration, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| panic!("not done within {deadline:?}"))
    })
}
