//! Owns how each server is found, configured, started and known to be ready.
//! Does not end them: `processes` does.
//! Always: everything listens on 127.0.0.1 on a free port.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::processes::{Scratch, find_program, is_file};
use crate::workload::Endpoint;

const START_WAIT: Duration = Duration::from_secs(60);
/// 1,000 idle clients through each proxy in turn, and room for those that are just closing.
const DOLT_CONNECTIONS_MAX: u32 = 4000;

/// A server that answers.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    pub address: SocketAddr,
    pub pid: i32,
}

/// Finds Dolt as Branchline does.
pub fn find_dolt(wanted: Option<&Path>) -> Result<PathBuf, String> {
    let wanted =
        wanted.map(Path::to_owned).or_else(|| std::env::var_os("BRANCHLINE_DOLT").map(PathBuf::from));
    if let Some(path) = wanted {
        return if is_file(&path) { Ok(path) } else { Err(format!("no Dolt at {}", path.display())) };
    }
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/dolt");
    if is_file(&local) {
        return Ok(local);
    }
    find_program("dolt").ok_or_else(|| {
        "Dolt was looked for at --dolt, BRANCHLINE_DOLT, .tools/bin/dolt and in PATH; `make tools` puts it into .tools".to_owned()
    })
}

/// Finds HAProxy, or says how to get it.
pub fn find_haproxy() -> Result<PathBuf, String> {
    find_program("haproxy")
        .ok_or_else(|| "HAProxy is not installed; on Debian: apt-get install -y haproxy".to_owned())
}

/// Starts a Dolt of our own.
pub fn start_dolt(scratch: &Scratch, dolt: &Path) -> Result<Server, String> {
    let address = free_address()?;
    let data = scratch.path("dolt-data");
    let config = scratch.path("dolt.yaml");
    let text = format!(
        "log_level: warning\nlistener:\n  host: 127.0.0.1\n  port: {}\n  max_connections: {DOLT_CONNECTIONS_MAX}\n  \
         socket: {}\ndata_dir: {}\n",
        address.port(),
        scratch.path("dolt.sock").display(),
        data.display(),
    );
    make_directory(&data)?;
    write(&config, &text)?;
    let mut command = Command::new(dolt);
    command.arg("sql-server").arg("--config").arg(&config).current_dir(&data).stdout(Stdio::null());
    let pid = scratch.start("dolt", &mut command, |_| ())?;
    scratch.await_ready("dolt", START_WAIT, || answers(address))?;
    Ok(Server { address, pid })
}

/// Starts one HAProxy with a TCP frontend per backend; hands back the frontends in the same order.
pub fn start_haproxy(
    scratch: &Scratch,
    haproxy: &Path,
    backends: &[SocketAddr],
) -> Result<Vec<Server>, String> {
    let mut frontends = Vec::new();
    // Defaults except for what a TCP proxy has to be told; `nbthread` stays at one per core.
    let mut text = "global\n  maxconn 8192\n\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n".to_owned();
    for (index, backend) in backends.iter().enumerate() {
        let address = free_address()?;
        text += &format!("\nlisten mysql{index}\n  bind {address}\n  server backend{index} {backend}\n");
        frontends.push(address);
    }
    let config = scratch.path("haproxy.cfg");
    write(&config, &text)?;
    let mut command = Command::new(haproxy);
    command.arg("-db").arg("-f").arg(&config).stdout(Stdio::null());
    let pid = scratch.start("haproxy", &mut command, |_| ())?;
    for address in &frontends {
        scratch.await_ready("haproxy", START_WAIT, || answers(*address))?;
    }
    Ok(frontends.into_iter().map(|address| Server { address, pid }).collect())
}

/// What stands behind a Branchline.
#[derive(Debug, Clone, Copy)]
pub enum Behind<'a> {
    /// A Dolt that it starts itself.
    Private(&'a Path),
    /// A server that is there already.
    External(SocketAddr),
}

/// Starts a Branchline and waits for its `ready ADDR`.
pub fn start_branchline(
    scratch: &Scratch,
    name: &str,
    binary: &Path,
    behind: Behind<'_>,
) -> Result<Server, String> {
    let (data, state) = (scratch.path(&format!("{name}-data")), branchline_state(scratch, name));
    make_directory(&data)?;
    make_directory(&state)?;
    let mut command = Command::new(binary);
    command.arg("serve").args(["--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(&data).arg("--state-dir").arg(&state);
    match behind {
        Behind::Private(dolt) => command.arg("--dolt").arg(dolt),
        Behind::External(address) => {
            command.args(["--dolt-address", &address.to_string(), "--dolt-user", "root"])
        }
    };
    command.stdout(Stdio::piped());
    let (lines, told) = mpsc::channel();
    let pid = scratch.start(name, &mut command, |child| {
        if let Some(stdout) = child.stdout.take() {
            // Reads on to the end, so that the pipe never fills.
            std::thread::spawn(move || {
                BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
            });
        }
    })?;
    let address = scratch.await_ready(name, START_WAIT, || {
        told.try_iter().find_map(|line| line.strip_prefix("ready ")?.trim().parse().ok())
    })?;
    scratch.await_ready(name, START_WAIT, || answers(address))?;
    Ok(Server { address, pid })
}

/// The Dolt that a Branchline runs, from its `dolt.json`.
pub fn private_dolt(scratch: &Scratch, name: &str) -> Result<Server, String> {
    let path = branchline_state(scratch, name).join("dolt.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let number =
        |key: &str| json[key].as_u64().ok_or_else(|| format!("{}: no number `{key}`", path.display()));
    let port = u16::try_from(number("port")?).map_err(|_| format!("{}: no port", path.display()))?;
    let pid = i32::try_from(number("pid")?).map_err(|_| format!("{}: no pid", path.display()))?;
    Ok(Server { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), pid })
}

fn branchline_state(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path(&format!("{name}-state"))
}

/// A free port now. Somebody else may take it before its server does, which the server will report.
pub fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}

/// A statement went through; an accepted connection alone proves nothing.
fn answers(address: SocketAddr) -> Option<()> {
    let endpoint = Endpoint { address, user: "root".to_owned(), database: None };
    let mut client = endpoint.connect().ok()?;
    client.query("SELECT 1").ok()?;
    client.quit().ok()
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
