//! Owns what Linux says: the kernel's socket table by netlink, processes by /proc. All of it blocks.
//! Does not decide; remembers only what can't have changed.
//! Always: a socket is found by all four of its addresses and ports, never by its port alone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::Image;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An answer about one socket is some 100 bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// Largest environment that is read; the kernel allows 6 MiB for arguments and environment together.
const ENVIRONMENT_BYTES_MAX: u64 = 8 << 20;

/// The client's end of a TCP connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientSocket {
    pub(super) inode: u32,
    pub(super) uid: u32,
}

/// Finds the socket whose own end is `peer` and whose other end is `local`.
pub(super) fn client_socket(local: SocketAddr, peer: SocketAddr) -> Result<ClientSocket, String> {
    let header = find(local, peer)
        .map_err(|error| format!("the kernel's socket table can't be read: {error}"))?
        .ok_or_else(|| format!("{} is another machine or network namespace", peer.ip().to_canonical()))?;
    if header.inode == 0 {
        return Err("the client has closed the connection".to_owned());
    }
    Ok(ClientSocket { inode: header.inode, uid: header.uid })
}

fn find(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<InetResponseHeader>> {
    let (source, destination) = (peer.ip().to_canonical(), local.ip().to_canonical());
    let (family, mut id) = match source {
        IpAddr::V4(_) => (AF_INET, SocketId::new_v4()),
        IpAddr::V6(_) => (AF_INET6, SocketId::new_v6()),
    };
    id.source_address = source;
    id.source_port = peer.port();
    id.destination_address = destination;
    id.destination_port = local.port();
    // INET_DIAG_NOCOOKIE: whichever socket has these addresses.
    id.cookie = [0xff; 8];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    // The kernel has answered by the time that `send` returns.
    let dont_wait = rustix::net::RecvFlags::DONTWAIT.bits().cast_signed();
    socket.recv(&mut answer, dont_wait)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
            let header = response.header;
            // Where no connection matches, the kernel offers a listener on the same port.
            let same = header.state != TCP_LISTEN
                && header.socket_id.source_port == peer.port()
                && header.socket_id.destination_port == local.port();
            Ok(same.then_some(header))
        }
        NetlinkPayload::Error(error) => match error.to_io() {
            error if error.kind() == io::ErrorKind::NotFound => Ok(None),
            error => Err(error),
        },
        _ => Err(io::Error::other("unexpected kind of answer")),
    }
}

/// Whether one of the process's descriptors is this socket.
pub(super) fn holds(pid: u32, inode: u32) -> bool {
    let mut found = false;
    let seen = each_socket(CWD, &format!("/proc/{pid}/fd"), |socket| {
        found = socket == inode;
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    seen.is_some() && found
}

/// The process's sockets; none of a process that is gone or may not be looked at.
fn sockets_of(proc: &OwnedFd, pid: u32) -> Box<[u32]> {
    let mut sockets = Vec::new();
    each_socket(proc, &format!("{pid}/fd"), |socket| {
        sockets.push(socket);
        ControlFlow::Continue(())
    });
    sockets.into_boxed_slice()
}

/// None if the directory can't be opened.
fn each_socket(
    at: impl AsFd,
    descriptors: &str,
    mut on_socket: impl FnMut(u32) -> ControlFlow<()>,
) -> Option<()> {
    let descriptors = openat(at, descriptors, DIRECTORY, Mode::empty()).ok()?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let mut entries = RawDir::new(&descriptors, &mut buffer);
    let mut target = [0; 32];
    while let Some(Ok(entry)) = entries.next() {
        if let Ok(length) = readlinkat_raw(&descriptors, entry.file_name(), &mut target[..])
            && let Some(socket) = target.get(..length).and_then(socket_inode)
            && on_socket(socket).is_break()
        {
            break;
        }
    }
    Some(())
}

/// Of a link like `socket:[4711]`.
fn socket_inode(link: &[u8]) -> Option<u32> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

/// Which processes hold which sockets, kept from scan to scan. A process whose CPU clock stands where it
/// stood before its descriptors were listed has not run since, so it has opened and closed nothing.
/// Known exceptions: it shares its descriptors with another process (CLONE_FILES without CLONE_THREAD),
/// or it has CPU timers and is in its current time slice. Neither can hide a connection's only holder
/// from a look-up, as one that finds no holder looks at all processes anew.
#[derive(Debug, Default)]
pub(super) struct SocketTable {
    by_pid: HashMap<u32, Seen>,
    /// Sorted.
    by_inode: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct Seen {
    /// Read before the sockets were listed.
    cpu_clock: TimeSpec,
    sockets: Box<[u32]>,
}

impl SocketTable {
    /// Lists the sockets of processes that have run since the last scan; with `all`, of all processes.
    pub(super) fn scan(&mut self, all: bool) -> Result<(), String> {
        let mut old = std::mem::take(&mut self.by_pid);
        self.by_inode.clear();
        if all {
            old.clear();
        }
        let unreadable = |error: rustix::io::Errno| format!("/proc can't be read: {error}");
        let proc = openat(CWD, "/proc", DIRECTORY, Mode::empty()).map_err(unreadable)?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 32768];
        let mut entries = RawDir::new(&proc, &mut buffer);
        while let Some(entry) = entries.next() {
            let Ok(Ok(pid)) = entry.map_err(unreadable)?.file_name().to_str().map(str::parse) else {
                continue;
            };
            let cpu_clock = cpu_clock(pid);
            let sockets = match old.remove(&pid) {
                Some(seen) if Some(seen.cpu_clock) == cpu_clock => seen.sockets,
                _ => sockets_of(&proc, pid),
            };
            self.by_inode.extend(sockets.iter().map(|inode| (*inode, pid)));
            if let Some(cpu_clock) = cpu_clock {
                self.by_pid.insert(pid, Seen { cpu_clock, sockets });
            }
        }
        self.by_inode.sort_unstable();
        // One that holds a socket by several descriptors holds it once.
        self.by_inode.dedup();
        Ok(())
    }

    /// All processes that had this socket among their descriptors, in order.
    pub(super) fn holders(&self, inode: u32) -> Vec<u32> {
        let from = self.by_inode.partition_point(|(other, _)| *other < inode);
        let of_it = self.by_inode.iter().skip(from).take_while(|(other, _)| *other == inode);
        of_it.map(|(_, pid)| *pid).collect()
    }
}

/// Time that all threads of the process have run, in nanoseconds; any process's may be read.
fn cpu_clock(pid: u32) -> Option<TimeSpec> {
    // MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h.
    let clock = (!i32::try_from(pid).ok()? << 3) | 2;
    clock_gettime(ClockId::from_raw(clock)).ok()
}

/// What tells one program image from another with the same pid; None if there is no such process.
pub(super) fn image(pid: u32) -> Option<Image> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too. After it, proc(5)'s third field comes first.
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let start_ticks = fields.nth(22 - 3)?.parse().ok()?;
    let environment_start = fields.nth(50 - 22 - 1)?.parse().ok()?;
    let environment_end = fields.next()?.parse().ok()?;
    Some(Image { start_ticks, environment: (environment_start, environment_end) })
}

/// Path of the executable; None if there is no such process or it may not be looked at.
pub(super) fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Whose process it is; root for one that keeps others from looking (setuid).
pub(super) fn uid_of(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| metadata.uid())
}

/// Our own uid.
pub(super) fn our_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The environment the process was started with, or why it can't be read.
pub(super) fn environment(pid: u32) -> Result<Vec<u8>, String> {
    let mut block = Vec::new();
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut block));
    match read {
        Ok(_) => Ok(block),
        Err(error) => Err(error.to_string()),
    }
}
