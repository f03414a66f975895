//! Owns which branches are closed while they are finished or dropped, which session has something open on
//! which branch, and which branches went away since the start.
//! Does not run statements and does not move sessions: `session` does both, as it is told here.
//! Always: a session that began something on a branch is seen by whoever closes it afterwards, and what is begun
//! after the gate is closed waits: both look under the same session's lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use tokio::sync::watch;

use crate::admit::LaneKey;
use crate::clients::Clients;

/// All gates. Cheap to clone: clones are the same gates.
#[derive(Debug, Clone)]
pub struct Gates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    closed: Mutex<BTreeMap<LaneKey, Closed>>,
    /// Its length, for those who only want to know whether there is any.
    closed_count: AtomicUsize,
    /// By client id.
    sessions: DashMap<u32, Arc<Mutex<Open>>>,
    /// Branches that went away, and which of all departures theirs was.
    departed: Mutex<BTreeMap<LaneKey, u64>>,
    departures: AtomicU64,
    /// Changes when a gate does.
    doors: watch::Sender<()>,
    /// Changes when a session leaves what is closed.
    steps: watch::Sender<()>,
}

/// A closed gate, as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which branch.
    pub branch: LaneKey,
    /// `finish` or `drop`.
    pub what: &'static str,
    /// Who asked for it.
    pub by: String,
    /// For people.
    pub at: SystemTime,
    /// For measuring.
    pub since: Instant,
}

/// Told to those who find it closed.
impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.since.elapsed().as_secs_f64();
        write!(f, "a {} of {} by {} is under way since {seconds:.1} s", self.what, self.branch, self.by)
    }
}

/// What a session has open.
#[derive(Debug, Default)]
struct Open {
    /// Branches that its statement or transaction is on.
    on: Vec<LaneKey>,
    since: Option<Instant>,
}

/// Somebody who still has something open on a closed branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillOn {
    /// Its connection id.
    pub client_id: u32,
    /// Its account.
    pub account: String,
    /// Its program, if known.
    pub program: String,
    /// Its address.
    pub address: String,
    /// In a transaction; else in a statement.
    pub in_transaction: bool,
    /// For how long it has had it open.
    pub open_for: Duration,
}

/// `client 1073741825 (bd, root@localhost, 127.0.0.1:5123), in a transaction for 12.3 s`
impl std::fmt::Display for StillOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let program = if self.program.is_empty() { "unknown program" } else { &self.program };
        let what = if self.in_transaction { "transaction" } else { "statement" };
        let seconds = self.open_for.as_secs_f64();
        let (id, account, address) = (self.client_id, &self.account, &self.address);
        write!(f, "client {id} ({program}, {account}, {address}), in a {what} for {seconds:.1} s")
    }
}

/// A gate that is closed; dropping it opens it.
#[derive(Debug)]
pub struct Gate {
    gates: Gates,
    branch: LaneKey,
}

/// A session's place among all; dropping it leaves every branch.
#[derive(Debug)]
pub struct Presence {
    gates: Gates,
    client_id: u32,
    open: Arc<Mutex<Open>>,
}

impl Default for Gates {
    fn default() -> Self {
        Self::new()
    }
}

impl Gates {
    /// All open.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            closed: Mutex::default(),
            closed_count: AtomicUsize::new(0),
            sessions: DashMap::new(),
            departed: Mutex::default(),
            departures: AtomicU64::new(0),
            doors: watch::Sender::new(()),
            steps: watch::Sender::new(()),
        }))
    }

    /// Closes the gate of a branch: what begins on it from now on waits. One that is closed already is told.
    pub fn close(&self, database: &str, branch: &str, what: &'static str, by: &str) -> Result<Gate, Closed> {
        let branch = LaneKey::new(database, branch);
        let mut closed = self.closed_ones();
        if let Some(already) = closed.get(&branch) {
            return Err(already.clone());
        }
        let (by, at, since) = (by.to_owned(), SystemTime::now(), Instant::now());
        closed.insert(branch.clone(), Closed { branch: branch.clone(), what, by, at, since });
        self.0.closed_count.store(closed.len(), Ordering::SeqCst);
        drop(closed);
        Ok(Gate { gates: self.clone(), branch })
    }

    /// Who closed a branch, if it is closed.
    pub fn closed(&self, database: &str, branch: &str) -> Option<Closed> {
        self.is_any_closed().then(|| self.closed_ones().get(&LaneKey::new(database, branch)).cloned())?
    }

    /// All closed gates, by branch.
    pub fn all_closed(&self) -> Vec<Closed> {
        self.closed_ones().values().cloned().collect()
    }

    /// Whether anything is closed at all: one load.
    pub fn is_any_closed(&self) -> bool {
        self.0.closed_count.load(Ordering::SeqCst) > 0
    }

    /// A session's place.
    pub fn presence(&self, client_id: u32) -> Presence {
        let open = Arc::default();
        self.0.sessions.insert(client_id, Arc::clone(&open));
        Presence { gates: self.clone(), client_id, open }
    }

    /// The branch is no more. Sessions that are on it are moved before their next statement. To be said after
    /// its tombstone is in the book and before its gate is opened.
    pub fn gone(&self, database: &str, branch: &str) {
        let mut departed = self.0.departed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.0.departures.load(Ordering::SeqCst) + 1;
        departed.insert(LaneKey::new(database, branch), number);
        self.0.departures.store(number, Ordering::SeqCst);
    }

    /// How many branches went away so far: one load tells a session that there is nothing new.
    pub fn departures(&self) -> u64 {
        self.0.departures.load(Ordering::SeqCst)
    }

    /// Whether a branch went away after the first `seen` departures.
    pub fn has_gone_since(&self, seen: u64, branch: &LaneKey) -> bool {
        let departed = self.0.departed.lock().unwrap_or_else(PoisonError::into_inner);
        departed.get(branch).is_some_and(|number| *number > seen)
    }

    /// Waits until none of these branches is closed.
    pub async fn opened(&self, branches: &[LaneKey]) {
        let mut doors = self.0.doors.subscribe();
        while self.first_closed(branches).is_some() {
            // The sender is ours: it does not go away while we wait.
            let _ = doors.changed().await;
        }
    }

    /// Clients that have something open on a branch, by id.
    pub fn open_on(&self, branch: &LaneKey) -> Vec<(u32, Duration)> {
        let mut found = Vec::new();
        for session in &self.0.sessions {
            let open = lock(session.value());
            if open.on.contains(branch) {
                let open_for = open.since.map_or(Duration::ZERO, |since| since.elapsed());
                found.push((*session.key(), open_for));
            }
        }
        found.sort_unstable();
        found
    }

    fn first_closed(&self, branches: &[LaneKey]) -> Option<Closed> {
        if !self.is_any_closed() {
            return None;
        }
        let closed = self.closed_ones();
        branches.iter().find_map(|branch| closed.get(branch).cloned())
    }

    fn closed_ones(&self) -> MutexGuard<'_, BTreeMap<LaneKey, Closed>> {
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// The branch.
    pub fn branch(&self) -> &LaneKey {
        &self.branch
    }

    /// Waits until no session has a transaction or a statement open on the branch; at the deadline: who has.
    pub async fn emptied(
        &self,
        clients: &Clients,
        deadline: tokio::time::Instant,
    ) -> Result<(), Vec<StillOn>> {
        let mut steps = self.gates.0.steps.subscribe();
        loop {
            let open = self.gates.open_on(&self.branch);
            if open.is_empty() {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, steps.changed()).await.is_err() {
                return Err(open.into_iter().map(|(id, open_for)| still_on(clients, id, open_for)).collect());
            }
        }
    }

    /// See [`Gates::gone`].
    pub fn gone(&self) {
        self.gates.gone(self.branch.database(), self.branch.branch());
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut closed = self.gates.closed_ones();
        closed.remove(&self.branch);
        self.gates.0.closed_count.store(closed.len(), Ordering::SeqCst);
        drop(closed);
        self.gates.0.doors.send_replace(());
    }
}

impl Presence {
    /// Something begins on these branches, besides those where something is open already. If a gate of one of
    /// them is closed nothing begins, and it is told.
    pub fn begin(&self, branches: &[LaneKey]) -> Result<(), Closed> {
        // Whoever closes a gate looks here afterwards, under this lock: either we see the gate closed, or we are
        // seen.
        let mut open = lock(&self.open);
        let were = open.on.len();
        for branch in branches {
            if !open.on.contains(branch) {
                open.on.push(branch.clone());
            }
        }
        if let Some(closed) = self.gates.first_closed(&open.on[were..]) {
            open.on.truncate(were);
            drop(open);
            self.stepped();
            return Err(closed);
        }
        open.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Nothing is open any more.
    pub fn end(&self) {
        let mut open = lock(&self.open);
        open.on.clear();
        open.since = None;
        drop(open);
        self.stepped();
    }

    fn stepped(&self) {
        if self.gates.is_any_closed() {
            self.gates.0.steps.send_replace(());
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.gates.0.sessions.remove(&self.client_id);
        self.stepped();
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn still_on(clients: &Clients, client_id: u32, open_for: Duration) -> StillOn {
    let view = clients.get(client_id).map(|client| client.view());
    let (account, program, address, in_transaction) = match view {
        Some(view) => (view.account, view.program, view.address, view.in_transaction),
        None => Default::default(),
    };
    StillOn { client_id, account, program, address, in_transaction, open_for }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_millis(50)
    }

    fn x() -> Vec<LaneKey> {
        vec![LaneKey::new("db", "x")]
    }

    #[tokio::test]
    async fn what_was_begun_before_goes_on_and_the_rest_waits() {
        let (gates, clients) = (Gates::new(), Clients::new());
        let (old, new) = (gates.presence(1), gates.presence(2));
        old.begin(&x()).expect("open");
        let gate = gates.close("DB", "X", "finish", "uid 0").expect("open until now");
        old.begin(&x()).expect("it goes on");
        let closed = new.begin(&[LaneKey::new("db", "y"), LaneKey::new("db", "x")]).expect_err("closed");
        assert!(
            closed.to_string().starts_with("a finish of db/x by uid 0 is under way since 0."),
            "{closed}"
        );
        assert!(gates.open_on(&LaneKey::new("db", "y")).is_empty(), "nothing of it began");
        let still = gate.emptied(&clients, soon()).await.expect_err("one is left");
        assert_eq!(still.iter().map(|still| still.client_id).collect::<Vec<_>>(), [1]);
        assert!(gates.close("db", "x", "drop", "uid 0").is_err());
        let (emptied, ()) = tokio::join!(gate.emptied(&clients, soon()), async { old.end() });
        assert_eq!(emptied, Ok(()));
        gate.gone();
        let one = x();
        let waiting = gates.opened(&one);
        let ((), ()) = tokio::join!(waiting, async { drop(gate) });
        new.begin(&x()).expect("open again");
        assert!(gates.has_gone_since(0, &x()[0]) && !gates.has_gone_since(1, &x()[0]));
        assert!(!gates.is_any_closed() && gates.close("db", "x", "drop", "uid 0").is_ok());
    }

    #[tokio::test]
    async fn a_session_that_ends_leaves_its_branches() {
        let (gates, clients) = (Gates::new(), Clients::new());
        let session = gates.presence(7);
        session.begin(&x()).expect("open");
        let gate = gates.close("db", "x", "finish", "uid 0").expect("open until now");
        let (emptied, ()) = tokio::join!(gate.emptied(&clients, soon()), async { drop(session) });
        assert_eq!(emptied, Ok(()));
    }

    /// Many threads begin and end while another closes: after `emptied` nobody is inside.
    #[test]
    fn nobody_is_inside_a_gate_that_is_closed_and_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let gates = Gates::new();
        let inside: Arc<AtomicUsize> = Arc::default();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads: Vec<_> = (0..4)
            .map(|id| {
                let (session, inside, stop) = (gates.presence(id), Arc::clone(&inside), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let (x, mut begun) = (x(), 0_u64);
                    while !stop.load(Ordering::Relaxed) {
                        if session.begin(&x).is_ok() {
                            begun += 1;
                            inside.fetch_add(1, Ordering::SeqCst);
                            std::hint::spin_loop();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            session.end();
                        }
                    }
                    begun
                })
            })
            .collect();
        let clients = Clients::new();
        for _ in 0..300 {
            let gate = gates.close("db", "x", "finish", "uid 0").expect("one closes");
            let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
            runtime.block_on(gate.emptied(&clients, deadline)).expect("all leave");
            for _ in 0..100 {
                assert_eq!(inside.load(Ordering::SeqCst), 0);
            }
            drop(gate);
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        let begun: u64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert!(begun > 300, "they did run: {begun}");
    }
}
