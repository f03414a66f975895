//! Puts the parts together and runs them: Dolt first, then the listeners, then signals until the end.
//! Owns start, drain and stop. Does not serve connections: `session` does.
//! Always: `ready ADDR` is printed only when SQL is served, and Dolt is stopped whatever ends us but SIGKILL.

mod branches;
mod console;
mod dump;
mod incoming;
mod lanes;
mod ledger;
mod outside;
mod remotes;
pub mod listen;
mod signals;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::console::LiveConsole;
use self::listen::Listener;
use self::signals::Signals;
use crate::admin::{BindError, Console, Jobs};

use crate::accounts::Directory;
use crate::admit::{LaneSettings, Lanes};
use crate::branch;
use crate::branch::vanished::{self, Vanished};
use crate::branch::{Book, Branches, Forks, Gates};
use crate::catalog::Catalog;
use crate::clients::Clients;
use crate::config::resolve::CONSOLE_SOCKET;
use crate::config::{Config, DoltSource, LanesConfig};
use crate::dolt::Dolt;
use crate::dolt::journal::Journals;
use crate::observe::alerts::{self, Alerts};
use crate::observe::audit::AuditLog;
use crate::observe::bypass::Bypass;
use crate::observe::time::unix_seconds;
use crate::pool::Pool;
use crate::remote::{self, Remotes};
use crate::session::peer::PeerProcesses;
use crate::session::route::{AssignedRules, Requested};
use crate::session::{Context, ControlAccounts};
use crate::statement::transaction::LogBudget;

/// When sessions were on branches is written so often.
const SEEN_FLUSH: std::time::Duration = std::time::Duration::from_secs(30);

/// Between two looks for writers who bypass us.
const BYPASS_LOOK: Duration = Duration::from_secs(2);

/// Why Branchline did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Dolt did not come up.
    #[error(transparent)]
    Dolt(#[from] crate::dolt::StartError),
    /// An address could not be listened on.
    #[error("cannot listen on {address}: {error}{hint}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The assigned rules could not be read.
    #[error(transparent)]
    Assigned(#[from] crate::session::route::assigned::AssignedError),
    /// What is known of branches could not be read.
    #[error(transparent)]
    Book(#[from] crate::branch::book::BookError),
    /// The audit log could not be opened.
    #[error("cannot open the audit log audit.log in the state directory: {0}")]
    Audit(io::Error),
    /// The console's socket could not be made.
    #[error(transparent)]
    Console(#[from] BindError),
    /// Signals could not be caught.
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
}

/// Runs until SIGTERM or SIGINT. The exit code of `branchline serve`.
pub async fn run(config: Config) -> ExitCode {
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "cannot serve");
            eprintln!("branchline: {error}");
            match error {
                ServeError::Dolt(error) => ExitCode::from(error.exit_code()),
                _ => ExitCode::from(1),
            }
        }
    }
}

async fn serve(config: Config) -> Result<(), ServeError> {
    let started = SystemTime::now();
    // A port that is taken is told before Dolt is started for nothing.
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(Listener::tcp(*address).await?);
    }
    if let Some(path) = &config.socket {
        listeners.push(Listener::unix(path).await?);
    }
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let dolt = tokio::select! {
        started = Dolt::start(&config) => started?,
        // Dropping the start ends what it has begun.
        () = signals.stop() => return Ok(()),
    };
    let served = serve_with(config, started, &dolt, listeners, &mut signals).await;
    dolt.stop().await;
    info!("stopped");
    served
}

async fn serve_with(
    config: Config,
    started: SystemTime,
    dolt: &Dolt,
    listeners: Vec<Listener>,
    signals: &mut Signals,
) -> Result<(), ServeError> {
    let assigned = AssignedRules::load(&config.state_dir)?;
    let book = Arc::new(Book::load(&config.state_dir)?);
    let console = Console::bind(&config.state_dir.join(CONSOLE_SOCKET))?;
    let audit = AuditLog::open(&config.state_dir, config.log.rotate_bytes, config.log.rotate_keep);
    let audit = audit.map_err(ServeError::Audit)?;
    let context = Arc::new(context(config, dolt.clone(), assigned, book, audit));
    recover_forks(&context).await;
    remote::clone::clean_up(&context).await;
    let addresses = listeners.iter().filter_map(Listener::tcp_address).collect();
    let live = Arc::new(LiveConsole::new(Arc::clone(&context), started, addresses));
    let stopping = CancellationToken::new();
    let jobs = live.jobs.clone();
    let console = tokio::spawn(console.serve(live, stopping.clone()));
    tokio::spawn(watch_for_bypasses(Arc::clone(&context), stopping.clone()));
    let reaping = branch::reap::reap_in_time(Arc::clone(&context), stopping.clone());
    tokio::spawn(reaping);
    let parts = [
        ("telling what is wrong", tokio::spawn(tell(Arc::clone(&context), stopping.clone()))),
        ("pushing", tokio::spawn(remote::worker::run(Arc::clone(&context), stopping.clone()))),
        ("publishing ledgers", tokio::spawn(remote::ledger::run(Arc::clone(&context), stopping.clone()))),
        ("fetching peers", tokio::spawn(remote::peers::run(Arc::clone(&context), stopping.clone()))),
        ("backing up", tokio::spawn(remote::backup::worker::run(Arc::clone(&context), stopping.clone()))),
        ("seeing branches", tokio::spawn(see_branches(Arc::clone(&context), stopping.clone()))),
        ("the console", console),
    ];
    let accepting = CancellationToken::new();
    let sessions = TaskTracker::new();
    let ready: String = listeners.iter().map(|listener| format!("ready {listener}\n")).collect();
    // In one piece, and whoever started us may have stopped listening.
    let _ = io::stdout().write_all(ready.as_bytes()).and_then(|()| io::stdout().flush());
    for listener in listeners {
        info!(address = %listener, "serving");
        tokio::spawn(listener.accept(Arc::clone(&context), accepting.clone(), sessions.clone()));
    }
    signals.until_stop(|| dump::dump(&context)).await;
    info!("stopping: no new connections");
    accepting.cancel();
    tokio::join!(drain(&context, &sessions), drain_jobs(&jobs, &context));
    stopping.cancel();
    for (what, part) in parts {
        if let Err(error) = part.await {
            warn!(%error, "{what} ended badly");
        }
    }
    Ok(())
}

/// What all sessions share, for this Dolt.
pub fn context(
    config: Config,
    dolt: Dolt,
    assigned: AssignedRules,
    book: Arc<Book>,
    audit: AuditLog,
) -> Context {
    let data_dir = match config.dolt.source {
        DoltSource::Private { .. } => Some(config.data_dir.clone()),
        DoltSource::External { .. } => None,
    };
    let control = dolt.control().clone();
    let remotes = Arc::new(Remotes::new(&config, data_dir.as_deref()));
    let journals = data_dir.as_deref().map(Journals::new);
    let lanes = Lanes::new(lane_settings(&config.lanes));
    let marks = Arc::clone(&remotes);
    lanes.on_moved(move |key| marks.moved(key));
    Context {
        pool: Pool::new(dolt.clone()),
        clients: Arc::new(Clients::new()),
        accounts: Directory::new(ControlAccounts(control.clone())),
        peers: PeerProcesses::new(),
        catalog: Catalog::new(control.clone(), data_dir.is_some()),
        lanes,
        logs: LogBudget::default(),
        bypass: journals.clone().map(Bypass::new),
        journals,
        remotes,
        backups: Arc::new(remote::backup::Backups::load(&config.state_dir)),
        alerts: Alerts::load(&config.state_dir),
        branches: Arc::new(Branches::new(control, data_dir)),
        forks: Forks::new(),
        audit,
        book,
        gates: Gates::new(),
        vanished: Vanished::default(),
        assigned,
        drain: CancellationToken::new(),
        dolt,
        config,
    }
}

/// Notices who writes past us, also while nobody writes through us. What was read may have moved by that.
async fn watch_for_bypasses(context: Arc<Context>, stopping: CancellationToken) {
    let Some(bypass) = context.bypass.clone() else { return };
    let mut seen = 0;
    loop {
        if let Ok(listing) = context.branches.listing().await {
            let (bypass, listing) = (bypass.clone(), Arc::clone(&listing));
            let looked = tokio::task::spawn_blocking(move || bypass.look(listing.databases()));
            let _ = looked.await;
        }
        let report = bypass.report();
        let count = report.iter().map(|bypassed| bypassed.count).sum();
        if count > seen {
            seen = count;
            report.iter().for_each(|bypassed| context.lanes.touched(&bypassed.database));
        }
        tokio::select! {
            () = tokio::time::sleep(BYPASS_LOOK) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Tells people what is wrong.
async fn tell(context: Arc<Context>, stopping: CancellationToken) {
    let place = alerts::Place::here(context.remotes.town().map(Path::to_path_buf));
    let settings = || context.remotes.settings().alerts.clone();
    alerts::deliver(context.alerts.clone(), settings, place, stopping).await;
}

/// Notes which branches sessions are on, and notices which ones come and go past us.
async fn see_branches(context: Arc<Context>, stopping: CancellationToken) {
    let mut last_flush = tokio::time::Instant::now();
    loop {
        if let Err(error) = vanished::notice(&context).await {
            tracing::debug!(%error, "cannot tell which branches there are");
        }
        let is_last = tokio::select! {
            () = tokio::time::sleep(BYPASS_LOOK) => false,
            () = stopping.cancelled() => true,
        };
        if !is_last && last_flush.elapsed() < SEEN_FLUSH {
            continue;
        }
        last_flush = tokio::time::Instant::now();
        let now = unix_seconds(SystemTime::now());
        for client in context.clients.all() {
            let view = client.view();
            if let (Some(database), Some(branch)) = (view.database, view.branch) {
                context.book.saw(&Requested::parse(&database).database, &branch, now);
            }
        }
        let book = Arc::clone(&context.book);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || book.flush()).await {
            warn!(%error, "when branches were last used is not written");
        }
        if is_last {
            return;
        }
    }
}

fn lane_settings(lanes: &LanesConfig) -> LaneSettings {
    LaneSettings {
        budget: lanes.budget,
        lane_idle: lanes.lane_idle,
        same_process_idle: lanes.same_process_idle,
        own_rows_hold: lanes.own_rows_hold,
    }
}

/// Removes what a crash left of forks. It may fail: a branch that would be wrong to use is looked at again
/// before a session gets it.
async fn recover_forks(context: &Context) {
    if let Err(error) = context.forks.recover(context.dolt.control(), &context.branches).await {
        warn!(%error, "cannot clean up after forks that were cut off");
    }
}

/// Lets idle clients go at once, those in a statement or transaction within the limit, and then the rest.
async fn drain(context: &Context, sessions: &TaskTracker) {
    sessions.close();
    context.drain.cancel();
    let limit = context.config.limits.drain_timeout;
    if tokio::time::timeout(limit, sessions.wait()).await.is_err() {
        let left = context.clients.all();
        warn!(clients = left.len(), "still busy after limits.drain_timeout_s: ending them");
        for client in left {
            client.cancel.cancel();
        }
        sessions.wait().await;
    }
}

/// Lets work that was begun on the console come to its end within the limit. What is given up can be run again. A database that
/// is about to take its name goes on to its end, also when whoever asked is gone.
async fn drain_jobs(jobs: &Jobs, context: &Context) {
    let limit = context.config.limits.drain_timeout;
    if tokio::time::timeout(limit, jobs.drained()).await.is_err() {
        for job in jobs.running() {
            warn!(
                job = job.id,
                what = job.what,
                "still running after limits.drain_timeout_s: it is given up; run it again"
            );
        }
        jobs.give_up().await;
    }
    context.remotes.placing.close();
    if tokio::time::timeout(limit, context.remotes.placing.wait()).await.is_err() {
        warn!(
            "a database is still being put in place after limits.drain_timeout_s: the next start completes it"
        );
    }
}
