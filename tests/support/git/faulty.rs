//! Owns a network between git and a server that can hang, slow down, break and refuse.
//! Does not understand what it carries. Always: what is set holds for connections that are open too; when dropped, its
//! port is closed and its connections with it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::watch;

const POLL: Duration = Duration::from_millis(10);
/// A slow network carries its bytes in pieces at this distance.
const PACE: Duration = Duration::from_millis(50);
const SETTLED_DEADLINE: Duration = Duration::from_secs(10);

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Carries.
    None,
    /// Connects and carries nothing.
    Hang,
    /// Nobody listens; what is open breaks.
    Refuse,
    /// A connection breaks when it has carried so many bytes, both ways together.
    DropAfter(u64),
    /// So many bytes a second, each way.
    Slow(u64),
}

/// A port that leads to a server on another.
pub struct FaultyProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    fault: Mutex<Fault>,
    /// Whether the port is open.
    is_open: AtomicBool,
    is_over: AtomicBool,
    connections: AtomicUsize,
    bytes: AtomicU64,
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

impl FaultyProxy {
    /// To this port on loopback, without a fault.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            is_open: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(listener, SocketAddr::from(([127, 0, 0, 1], target)), &shared)
        });
        Self { addr, shared, accepting: Some(accepting) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// What the network does from now on.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        let is_open = fault != Fault::Refuse;
        watch::until(SETTLED_DEADLINE, "the proxy's port is as it should be", || {
            (self.shared.is_open.load(Ordering::SeqCst) == is_open).then_some(())
        });
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes carried so far, both ways.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            let _it_panicked = accepting.join();
        }
    }
}

fn accept(listener: TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    let addr = listener.local_addr().expect("a bound listener has an address");
    listener.set_nonblocking(true).expect("set");
    let mut listener = Some(listener);
    while !shared.is_over() {
        if shared.fault() == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(addr).ok().inspect(|new| new.set_nonblocking(true).expect("set"));
        }
        shared.is_open.store(listener.is_some(), Ordering::SeqCst);
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(shared);
                thread::spawn(move || carry(client, target, &shared));
            }
            _ => thread::sleep(POLL),
        }
    }
}

/// One connection, until it ends or breaks.
fn carry(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let carried = Arc::new(AtomicU64::new(0));
    let ways = [(client.try_clone(), server.try_clone()), (server.try_clone(), client.try_clone())];
    let ways = ways.into_iter().filter_map(|(from, to)| Some((from.ok()?, to.ok()?)));
    let copies: Vec<_> = ways
        .map(|(from, to)| {
            let (shared, carried) = (Arc::clone(shared), Arc::clone(&carried));
            thread::spawn(move || copy(from, to, &shared, &carried))
        })
        .collect();
    for copy in copies {
        let _it_panicked = copy.join();
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Shared, carried: &AtomicU64) {
    let set = from.set_nonblocking(false).and(from.set_read_timeout(Some(PACE))).and(to.set_nodelay(true));
    if set.is_err() {
        return;
    }
    let mut buffer = vec![0; 64 * 1024];
    let broken = loop {
        if shared.is_over() {
            break true;
        }
        let total = carried.load(Ordering::SeqCst);
        let piece = match shared.fault() {
            Fault::None => buffer.len(),
            Fault::Hang => {
                thread::sleep(POLL);
                continue;
            }
            Fault::Refuse => break true,
            Fault::DropAfter(bytes) if total >= bytes => break true,
            Fault::DropAfter(bytes) => usize::try_from(bytes - total).unwrap_or(usize::MAX).min(buffer.len()),
            Fault::Slow(rate) => (rate as usize / 20).clamp(1, buffer.len()),
        };
        let begun = Instant::now();
        match from.read(&mut buffer[..piece]) {
            Ok(0) => break false,
            Ok(size) => {
                // It may have begun to hang while this was waited for.
                while shared.fault() == Fault::Hang && !shared.is_over() {
                    thread::sleep(POLL);
                }
                carried.fetch_add(size as u64, Ordering::SeqCst);
                shared.bytes.fetch_add(size as u64, Ordering::SeqCst);
                if to.write_all(&buffer[..size]).is_err() {
                    break true;
                }
                if let Fault::Slow(_) = shared.fault() {
                    thread::sleep(PACE.saturating_sub(begun.elapsed()));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break true,
        }
    };
    if broken {
        let _already_closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    } else {
        let _already_closed = to.shutdown(Shutdown::Write);
    }
}
