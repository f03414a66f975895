//! Owns a proxy that breaks connections to a Dolt on purpose: at a byte of a request or of its reply, after some
//! bytes, or all at once. Knows of the protocol only where packets and replies begin.
//! Always: a cut is of both sides, and every byte before it went through; ends with its owner.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

mod packets;
mod wrapper;

use packets::{Replies, Requests};
pub use wrapper::Wrapper;

/// Where a connection is cut, once a request with a certain text is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before this byte of the request's packet, header included; its length: right behind it.
    Request(usize),
    /// Before this byte of the reply, when it comes.
    Reply(usize),
}

/// Seen from Dolt's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToDolt,
    FromDolt,
}

#[derive(Debug)]
struct Trap {
    text: Vec<u8>,
    at: At,
    /// For how many requests.
    times: u64,
}

/// What the pumps look at before each piece.
#[derive(Debug, Default)]
struct Orders {
    trap: Option<Trap>,
    /// Cut whatever connection this many more bytes have gone through in this direction.
    bytes: Option<(Direction, u64)>,
    matched: u64,
    cuts: u64,
    /// Length of the last request that matched, header included.
    request_bytes: usize,
    /// Nothing passes until it is taken back.
    stalled: bool,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    resumed: Condvar,
    /// Both ends of each connection.
    open: Mutex<HashMap<u64, [Socket; 2]>>,
    numbers: Mutex<u64>,
}

/// The proxy; knows its Dolt and its own addresses once it was told to listen.
#[derive(Debug, Default)]
pub struct FaultProxy {
    shared: Arc<Shared>,
    listeners: Mutex<Vec<Listener>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    /// Passes on between a new loopback port and `target`.
    pub fn before(target: SocketAddr) -> (Self, SocketAddr) {
        let proxy = Self::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("bound");
        proxy.listen(Listener::Tcp(Arc::new(listener)), Target::Tcp(target));
        (proxy, addr)
    }

    fn listen(&self, listener: Listener, target: Target) {
        lock(&self.listeners).push(listener.clone());
        let shared = self.shared.clone();
        thread::spawn(move || {
            while let Ok(client) = listener.accept() {
                // A Dolt that is not there: its client sees the connection end.
                if let Ok(server) = target.connect() {
                    shared.pass_on(client, server);
                }
            }
        });
    }

    fn stop_listening(&self) {
        for listener in lock(&self.listeners).drain(..) {
            listener.stop();
        }
    }

    /// Cuts the next connection on which a request holds `text`, there.
    pub fn cut_at(&self, text: &str, at: At) {
        self.cut_each(text, at, 1);
    }

    /// The same for the next `times` such requests.
    pub fn cut_each(&self, text: &str, at: At, times: u64) {
        lock(&self.shared.orders).trap = Some(Trap { text: text.as_bytes().to_vec(), at, times });
    }

    /// Cuts the connection on which the byte after this many more, over all connections, would pass.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        lock(&self.shared.orders).bytes = Some((direction, bytes));
    }

    /// Takes back what was ordered and has not happened.
    pub fn spare(&self) {
        let mut orders = lock(&self.shared.orders);
        (orders.trap, orders.bytes) = (None, None);
    }

    /// Cuts every connection now.
    pub fn cut_all(&self) {
        for (_, sockets) in lock(&self.shared.open).drain() {
            sockets.iter().for_each(Socket::cut);
        }
    }

    /// Lets nothing pass in either direction, connections stay open.
    pub fn stall(&self) {
        lock(&self.shared.orders).stalled = true;
    }

    /// What was held back goes on.
    pub fn resume(&self) {
        lock(&self.shared.orders).stalled = false;
        self.shared.resumed.notify_all();
    }

    /// Connections that were cut by `cut_at` and `cut_after`.
    pub fn cuts(&self) -> u64 {
        lock(&self.shared.orders).cuts
    }

    /// Requests that a trap was for.
    pub fn matched(&self) -> u64 {
        lock(&self.shared.orders).matched
    }

    /// Length of the last of them, header included.
    pub fn request_bytes(&self) -> usize {
        lock(&self.shared.orders).request_bytes
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.stop_listening();
        self.cut_all();
        self.resume();
    }
}

impl Shared {
    fn pass_on(self: &Arc<Self>, client: Socket, server: Socket) {
        let copies = client.try_clone().and_then(|c| Ok([c, server.try_clone()?]));
        let again = client.try_clone().and_then(|c| Ok([c, server.try_clone()?]));
        let (Ok(sockets), Ok([client_too, server_too])) = (copies, again) else { return };
        let mut numbers = lock(&self.numbers);
        *numbers += 1;
        let number = *numbers;
        drop(numbers);
        lock(&self.open).insert(number, sockets);
        // Replies wait for this: the request at which they are to be cut.
        let marked = Arc::new(Mutex::new(None));
        let (up, down) = (self.clone(), self.clone());
        let mark = marked.clone();
        thread::spawn(move || {
            let mut requests = Requests::new(&up.orders, &mark);
            up.pump(number, client, server, Direction::ToDolt, &mut |bytes| requests.on(bytes));
        });
        thread::spawn(move || {
            let mut replies = Replies::new(&down.orders, &marked);
            down.pump(number, server_too, client_too, Direction::FromDolt, &mut |bytes| replies.on(bytes));
        });
    }

    /// Copies until an end or a cut; `pass` says what of the bytes so far may pass.
    fn pump(
        &self,
        number: u64,
        mut from: Socket,
        mut to: Socket,
        direction: Direction,
        pass: &mut dyn FnMut(&[u8]) -> Passed,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let Passed { mut bytes, mut cut } = pass(&buffer[..count]);
            cut |= self.count(direction, &mut bytes);
            if to.write_all(&bytes).is_err() || cut {
                break;
            }
        }
        // MySQL has no half-closed connections.
        from.cut();
        to.cut();
        lock(&self.open).remove(&number);
    }

    /// Waits while all is stalled; shortens `bytes` to what may pass before a cut by count, and says whether that
    /// is now.
    fn count(&self, direction: Direction, bytes: &mut Vec<u8>) -> bool {
        let orders = lock(&self.orders);
        let stalled = |orders: &mut Orders| orders.stalled;
        let mut orders = self.resumed.wait_while(orders, stalled).unwrap_or_else(PoisonError::into_inner);
        let Some((_, left)) = orders.bytes.as_mut().filter(|(wanted, _)| *wanted == direction) else {
            return false;
        };
        if *left >= bytes.len() as u64 {
            *left -= bytes.len() as u64;
            return false;
        }
        bytes.truncate(*left as usize);
        orders.bytes = None;
        orders.cuts += 1;
        true
    }
}

/// What may go on, and whether the connection ends there.
#[derive(Debug, Default)]
struct Passed {
    bytes: Vec<u8>,
    cut: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn cut(&self) {
        let _already_closed = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

#[derive(Debug, Clone)]
enum Listener {
    Tcp(Arc<TcpListener>),
    Unix(Arc<UnixListener>),
}

impl Listener {
    fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Self::Unix(listener) => Socket::Unix(listener.accept()?.0),
        })
    }

    /// Also wakes whoever accepts.
    fn stop(&self) {
        let fd = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        };
        let _already_stopped = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
    }
}

#[derive(Debug, Clone)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Target {
    fn connect(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(addr) => {
                let stream = TcpStream::connect(addr)?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Self::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        })
    }
}

fn unix_listener(path: &Path) -> io::Result<UnixListener> {
    let _not_there = std::fs::remove_file(path);
    UnixListener::bind(path)
}
