//! What it costs to find a client's process: `cargo bench --bench lookups`.
//! Among some 300 processes; clients that name their process, and clients that don't.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline::session::identity::PeerProcess;
use branchline::session::peer::{PeerProcesses, PeerSocket};
use tokio::net::{TcpListener, TcpStream};

/// Other processes, as a town has.
const BYSTANDERS: usize = 220;
const ROUNDS: usize = 200;
const AT_ONCE: usize = 40;

/// Ended by the end of its standard input.
struct Client(Child);

impl Client {
    fn connected_to(to: SocketAddr) -> Self {
        let script = format!("exec 3<>/dev/tcp/{}/{}; read -r _", to.ip(), to.port());
        Self::bash(&script)
    }

    fn bash(script: &str) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", script]).env("BD_BRANCH", "polecat-x").stdin(Stdio::piped());
        Self(command.spawn().expect("bash starts"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, PeerSocket) {
    let (stream, peer) = listener.accept().await.expect("accepted");
    let local = stream.local_addr().expect("connected");
    (stream, PeerSocket::Tcp { local, peer })
}

async fn look_up(peers: &PeerProcesses, socket: PeerSocket, hint: Option<u32>, pid: u32) {
    match peers.process_of(socket, hint).await {
        PeerProcess::Found(process) => assert_eq!(process.pid, pid),
        other => panic!("{other:?}"),
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("not negative")
}

fn report(name: &str, mut times: Vec<Duration>, used: Duration) {
    times.sort_unstable();
    let count = times.len();
    println!(
        "{name}: median {:?}, p95 {:?}, CPU {:?}",
        times[count / 2],
        times[count * 95 / 100],
        used / u32::try_from(count).expect("few")
    );
}

#[tokio::main]
async fn main() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let at = listener.local_addr().expect("bound");
    let _bystanders: Vec<Client> = (0..BYSTANDERS).map(|_| Client::bash("read -r _")).collect();
    let client = Client::connected_to(at);
    let pid = client.0.id();
    let (_stream, socket) = accept(&listener).await;
    let is_process = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    let processes = std::fs::read_dir("/proc")
        .expect("there")
        .flatten()
        .filter_map(|entry| is_process(entry).then_some(()));
    println!("{} processes", processes.count());

    let peers = Arc::new(PeerProcesses::new());
    for (name, hint, fresh) in [
        ("one, named by the client", Some(pid), false),
        ("one, named by the client, nothing remembered", Some(pid), true),
        ("one, not named", None, false),
        ("one, not named, nothing remembered", None, true),
    ] {
        let (mut times, begun) = (Vec::new(), cpu());
        for _ in 0..ROUNDS {
            let new = PeerProcesses::new();
            let start = Instant::now();
            look_up(if fresh { &new } else { &peers }, socket, hint, pid).await;
            times.push(start.elapsed());
        }
        report(name, times, cpu() - begun);
    }

    // A login: a process of its own that has just connected.
    let (mut times, begun) = (Vec::new(), cpu());
    for _ in 0..ROUNDS {
        let client = Client::connected_to(at);
        let (_stream, socket) = accept(&listener).await;
        let start = Instant::now();
        look_up(&peers, socket, None, client.0.id()).await;
        times.push(start.elapsed());
    }
    report("one, not named, that has just started", times, cpu() - begun);

    let (mut times, mut used) = (Vec::new(), Duration::ZERO);
    for _ in 0..ROUNDS / 10 {
        let mut logins = Vec::new();
        for _ in 0..AT_ONCE {
            let client = Client::connected_to(at);
            let (stream, socket) = accept(&listener).await;
            logins.push((client, stream, socket));
        }
        let (start, begun) = (Instant::now(), cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for (client, _, socket) in &logins {
            let (peers, pid, socket) = (Arc::clone(&peers), client.0.id(), *socket);
            tasks.spawn(async move { look_up(&peers, socket, None, pid).await });
        }
        tasks.join_all().await;
        times.push(start.elapsed());
        used += cpu() - begun;
    }
    report("40 at once, not named, all just started", times, used);
}
