use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::session::identity::ProcessEnvironment;

/// Longer than any of this takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A shell and what it starts; ended with the test.
struct Shell(Child);

impl Shell {
    /// A shell that keeps a connection to `to` open as descriptor 3 and runs `script`, whose `wait_for_end`
    /// ends when the test does.
    fn connected_to(to: SocketAddr, branch: &str, script: &str) -> Self {
        let connect = format!("exec 3<>/dev/tcp/{}/{} 4<&0", to.ip(), to.port());
        Self::run(branch, &format!("{connect}; wait_for_end() {{ read -r _ <&4; }}; {script}"))
    }

    fn run(branch: &str, script: &str) -> Self {
        let child = Command::new("bash")
            .args(["-c", script])
            .env("BD_BRANCH", branch)
            .env("BD_ACTOR", "mayor")
            .env_remove("GT_POLECAT")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("bash starts");
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

async fn listen(ip: impl Into<IpAddr>) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip.into(), 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

async fn accept(listener: &TcpListener) -> (TcpStream, PeerSocket) {
    let (stream, peer) = timeout(DEADLINE, listener.accept()).await.expect("in time").expect("accepted");
    let local = stream.local_addr().expect("connected");
    (stream, PeerSocket::Tcp { local, peer })
}

fn found(process: PeerProcess) -> ProcessIdentity {
    match process {
        PeerProcess::Found(process) => process,
        other => panic!("{other:?}"),
    }
}

fn reason(process: PeerProcess) -> String {
    match process {
        PeerProcess::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// Waits until what the look-up says is as wanted: a child may still be between fork and exec.
async fn until<T>(
    peers: &PeerProcesses,
    socket: PeerSocket,
    wanted: impl Fn(&PeerProcess) -> Option<T>,
) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let process = peers.process_of(socket, None).await;
        if let Some(wanted) = wanted(&process) {
            return wanted;
        }
        assert!(Instant::now() < end, "still {process:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn check_shell(process: &ProcessIdentity, shell: &Shell, branch: &str) {
    assert_eq!((process.pid, process.program.as_str()), (shell.pid(), "bash"));
    let environment = process.environment.as_ref().expect("ours to read");
    assert_eq!(environment.bd_branch.as_deref(), Some(branch));
    assert_eq!(environment.bd_actor.as_deref(), Some("mayor"));
    assert_eq!(environment.gt_polecat, None);
}

#[tokio::test]
async fn the_process_behind_tcp() {
    let (v4, v4_at) = listen(Ipv4Addr::LOCALHOST).await;
    let (v6, v6_at) = listen(Ipv6Addr::LOCALHOST).await;
    let (dual, dual_at) = listen(Ipv6Addr::UNSPECIFIED).await;
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST, dual_at.port()));
    for (listener, to) in [(&v4, v4_at), (&v6, v6_at), (&dual, mapped)] {
        let shell = Shell::connected_to(to, "polecat-x", "wait_for_end");
        let (_stream, socket) = accept(listener).await;
        let peers = PeerProcesses::new();
        // By scan; by a right hint; by hints that are wrong.
        for hint in [None, Some(shell.pid()), Some(1), Some(std::process::id()), Some(u32::MAX)] {
            check_shell(&found(peers.process_of(socket, hint).await), &shell, "polecat-x");
        }
    }
}

#[tokio::test]
async fn processes_that_share_a_socket() {
    let (listener, at) = listen(Ipv4Addr::LOCALHOST).await;
    let same = Shell::connected_to(at, "polecat-x", "cat <&4 & wait_for_end");
    let (_stream, socket) = accept(&listener).await;
    let peers = PeerProcesses::new();
    let holders = |process: &PeerProcess| match process {
        PeerProcess::Found(process) => Some(process.clone()),
        _ => None,
    };
    let process = until(&peers, socket, holders).await;
    let environment = process.environment.expect("ours to read");
    assert_eq!(environment.bd_branch.as_deref(), Some("polecat-x"), "they all say so");
    drop(same);

    let different = Shell::connected_to(at, "polecat-x", "BD_BRANCH=polecat-y cat <&4 & wait_for_end");
    let (_stream, socket) = accept(&listener).await;
    let told = until(&peers, socket, |process| match process {
        PeerProcess::Unknown { reason } => Some(reason.clone()),
        _ => None,
    })
    .await;
    assert!(told.starts_with("2 processes hold the connection (pids "), "{told}");
    assert!(told.contains(&different.pid().to_string()), "{told}");
    let hinted = found(peers.process_of(socket, Some(different.pid())).await);
    check_shell(&hinted, &different, "polecat-x");
}

#[tokio::test]
async fn a_process_that_is_gone() {
    let (listener, at) = listen(Ipv4Addr::LOCALHOST).await;
    let mut shell = Shell::connected_to(at, "polecat-x", "exit");
    let (_stream, socket) = accept(&listener).await;
    shell.0.wait().expect("it ends");
    let told = reason(PeerProcesses::new().process_of(socket, Some(shell.pid())).await);
    assert!(told.contains("closed the connection") || told.contains("another machine"), "{told}");

    let socket = PeerSocket::Unix { pid: shell.pid(), uid: platform::our_uid() };
    let told = reason(PeerProcesses::new().process_of(socket, None).await);
    assert_eq!(told, format!("process {} is gone", shell.pid()));
}

#[tokio::test]
async fn addresses_that_are_not_here() {
    let (_listener, local) = listen(Ipv4Addr::LOCALHOST).await;
    let peers = PeerProcesses::new();
    for peer in ["203.0.113.7:4000", "[2001:db8::7]:4000"] {
        let peer: SocketAddr = peer.parse().expect("an address");
        let local = if peer.is_ipv6() {
            SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, local.port(), 0, 0))
        } else {
            local
        };
        let told = reason(peers.process_of(PeerSocket::Tcp { local, peer }, Some(std::process::id())).await);
        assert_eq!(told, format!("{} is another machine or network namespace", peer.ip()));
    }
    // The kernel would offer the listener itself.
    let told = reason(peers.process_of(PeerSocket::Tcp { local, peer: local }, None).await);
    assert_eq!(told, "127.0.0.1 is another machine or network namespace");
}

#[tokio::test]
async fn the_process_behind_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a temp dir");
    let path = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    let _client = tokio::net::UnixStream::connect(&path).await.expect("connected");
    let (stream, _) = listener.accept().await.expect("accepted");
    let credentials = stream.peer_cred().expect("on this system");
    let pid = u32::try_from(credentials.pid().expect("on this system")).expect("positive");
    assert_eq!(pid, std::process::id());
    let peers = PeerProcesses::new();
    let process = found(peers.process_of(PeerSocket::Unix { pid, uid: credentials.uid() }, None).await);
    let ourselves = std::env::current_exe().expect("known");
    assert_eq!(Some(process.program.as_str()), ourselves.file_name().and_then(|name| name.to_str()));
    assert!(process.environment.is_ok());

    let shell = Shell::run("polecat-z", "read -r _");
    let socket = PeerSocket::Unix { pid: shell.pid(), uid: platform::our_uid() };
    // Just started: it may still be in its exec, when its environment is nowhere.
    check_shell(&found(peers.process_of(socket, None).await), &shell, "polecat-z");
    let told = reason(peers.process_of(PeerSocket::Unix { pid: 0, uid: 0 }, None).await);
    assert_eq!(told, "it runs in another pid namespace");
}

#[tokio::test]
async fn another_users_process_is_not_read() {
    let ours = platform::our_uid();
    let socket = PeerSocket::Unix { pid: std::process::id(), uid: ours + 1 };
    let process = PeerProcesses::new().process_of(socket, None).await;
    if ours == 0 {
        let told = found(process).environment.expect_err("not the one that connected");
        assert_eq!(told, "it runs as uid 0, but uid 1 opened the connection");
    } else {
        assert!(reason(process).contains("may not look at"));
    }
}

#[tokio::test]
async fn a_reused_pid_is_told_by_its_start_time() {
    let shell = Shell::run("polecat-new", "read -r _");
    let peers = PeerProcesses::new();
    let socket = PeerSocket::Unix { pid: shell.pid(), uid: platform::our_uid() };
    let now = found(peers.process_of(socket, None).await);
    let remember = |start_ticks| {
        let environment =
            Ok(ProcessEnvironment { bd_branch: Some("polecat-old".to_owned()), ..Default::default() });
        let old = ProcessIdentity { start_ticks, environment, ..now.clone() };
        let mut program = Program::of(shell.pid()).expect("it runs");
        program.image.start_ticks = start_ticks;
        peers.cache.lock().expect("not poisoned").insert(platform::our_uid(), program, old);
    };
    remember(now.start_ticks);
    let process = found(peers.process_of(socket, None).await);
    assert_eq!(
        process.environment.expect("read").bd_branch.as_deref(),
        Some("polecat-old"),
        "the cache is used"
    );
    remember(now.start_ticks - 1);
    check_shell(&found(peers.process_of(socket, None).await), &shell, "polecat-new");
}

#[tokio::test]
async fn a_process_is_read_again_after_an_exec_of_the_same_program() {
    let (listener, at) = listen(Ipv4Addr::LOCALHOST).await;
    let again = "read -r _ <&3; BD_BRANCH=polecat-after exec bash -c 'echo >&3; read -r _ <&4'";
    let shell = Shell::connected_to(at, "polecat-before", again);
    let (mut stream, socket) = accept(&listener).await;
    let peers = PeerProcesses::new();
    check_shell(&found(peers.process_of(socket, None).await), &shell, "polecat-before");
    stream.write_all(b"\n").await.expect("written");
    timeout(DEADLINE, stream.read_u8()).await.expect("in time").expect("the new program speaks");
    check_shell(&found(peers.process_of(socket, None).await), &shell, "polecat-after");
}
