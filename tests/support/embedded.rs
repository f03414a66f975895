//! Owns a Branchline in the test's own process, so that a test can close gates and look into the book. Its Dolt
//! is real. Asserts nothing about branches.
//! Always: gone when dropped, and its Dolt with it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use branchline::branch::{Book, Gate, Tombstone};
use branchline::config::{Config, DoltSource};
use branchline::dolt::{Dolt, State};
use branchline::observe::audit::AuditLog;
use branchline::server::context;
use branchline::server::listen::Listener;
use branchline::session::Context;
use branchline::session::route::AssignedRules;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Login};
use super::settings::settings;

/// For Dolt's start, and its stop.
const DEADLINE: Duration = Duration::from_secs(60);

/// A Branchline in this process.
pub struct Embedded {
    runtime: Runtime,
    pub context: Arc<Context>,
    address: SocketAddr,
    _town: TempDir,
}

impl Embedded {
    /// Starts one.
    pub fn start(change: impl FnOnce(&mut Config)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let town = tempfile::tempdir().expect("a temporary directory");
        let mut config = settings(town.path(), DoltSource::Private { binary: None });
        change(&mut config);
        let (context, address) = runtime.block_on(async {
            let shim = PathBuf::from(env!("CARGO_BIN_EXE_branchline"));
            let started = tokio::time::timeout(DEADLINE, Dolt::start_through(&config, shim)).await;
            let dolt = started.expect("start ends in time").expect("Dolt starts");
            let assigned = AssignedRules::load(&config.state_dir).expect("no rules yet");
            let book = Arc::new(Book::load(&config.state_dir).expect("an empty book"));
            let audit = AuditLog::open(&config.state_dir, 1 << 20, 3).expect("opened");
            let context = Arc::new(context(config, dolt, assigned, book, audit));
            let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
            let address = listener.tcp_address().expect("TCP");
            let (accepting, sessions) = (CancellationToken::new(), TaskTracker::new());
            tokio::spawn(listener.accept(Arc::clone(&context), accepting, sessions));
            (context, address)
        });
        Self { runtime, context, address, _town: town }
    }

    /// Runs something of Branchline's own.
    pub fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// A root session through Branchline, or why there is none.
    pub fn try_login(&self, login: &Login) -> Result<Client, String> {
        Client::try_connect(self.address, login).map_err(|err| err.to_string())
    }

    /// A session through Branchline.
    pub fn login(&self, login: &Login) -> Client {
        Client::connect(self.address, login)
    }

    /// A root session that is routed to this branch.
    pub fn on(&self, branch: &str, database: &str) -> Client {
        self.login(&Login::root(database).attribute("branch", branch))
    }

    /// A root session with Dolt itself.
    pub fn direct(&self, database: &str) -> Client {
        let State::Ready(ready) = self.context.dolt.state() else { panic!("Dolt is not ready") };
        let address = ready.endpoint.tcp.expect("a loopback port");
        Client::connect(address, &Login::root(database))
    }

    /// A database with a table `t`, Dolt-committed, and these branches.
    pub fn database(&self, name: &str, branches: &[&str]) {
        let mut client = self.direct("");
        client.run(&format!("CREATE DATABASE `{name}`"));
        client.run(&format!("USE `{name}`"));
        client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, s VARCHAR(64))");
        client.run("CALL DOLT_COMMIT('-Am', 'tables')");
        for branch in branches {
            client.run(&format!("CALL DOLT_BRANCH('{branch}')"));
        }
    }

    /// Ends a branch whose gate is closed and empty, as a finish does, but for the merge.
    pub fn end(&self, gate: Gate, tombstone: Tombstone) {
        let sql = format!("CALL DOLT_BRANCH('-D', '{}')", tombstone.branch);
        self.direct(&tombstone.database).run(&sql);
        self.context.book.bury(tombstone).expect("written");
        gate.gone();
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            let stopped = tokio::time::timeout(DEADLINE, self.context.dolt.stop()).await;
            if stopped.is_err() && !std::thread::panicking() {
                panic!("Dolt does not stop");
            }
        });
    }
}
