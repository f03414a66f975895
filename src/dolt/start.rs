//! Owns the way from settings to a running supervisor: locks, files, binary, and whatever a Branchline that was
//! killed left behind. Always: no process is signalled that is not provably a Dolt of ours.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::beside::{Beside, BesideError};
use super::core::{Policy, Settings};
use super::files::{Files, Published};
use super::git;
use super::lock::{DirLock, foreign_dolt, path_error};
use super::process::{Keeper, Launch};
use super::supervisor::{Running, Shared, Source, Supervisor};
use super::target::Target;
use super::{Control, Dolt, Facts, Inner, StartError, State, binary, errors, moves};
use crate::config::{Config, DoltSource};

/// A large journal takes minutes to replay.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(300);
/// Never less between SIGTERM and SIGKILL: a kill during a write has corrupted journals.
const STOP_TIMEOUT_MIN: Duration = Duration::from_secs(30);
/// After SIGKILL only the kernel is waited for.
const KILLED_TIMEOUT: Duration = Duration::from_secs(5);
/// Opening one database, to see whether that works.
const OPEN_MAX: Duration = Duration::from_secs(120);
/// The free port that was chosen may be taken before Dolt binds it.
const PORT_ATTEMPTS: usize = 3;

pub(super) async fn start(config: &Config, shim: PathBuf) -> Result<Dolt, StartError> {
    let binary = match &config.dolt.source {
        DoltSource::External { address, user, password } => {
            let (address, user, password) = (address.clone(), user.clone(), password.clone());
            let source = Source::External(Target::External { address, user, password });
            return supervise(config, source, None).await;
        }
        DoltSource::Private { binary } => binary.as_deref(),
    };
    let mut attempts = 1..PORT_ATTEMPTS;
    loop {
        match start_private(config, binary, shim.clone()).await {
            Err(StartError::Failed { output, .. })
                if (output.iter().any(|line| errors::is_address_in_use(line))
                    || moves::give_up_doubtful(&config.state_dir, &output))
                    && attempts.next().is_some() => {}
            Err(error) if error.lacks_name() => return Err(named(error, config).await),
            started => return started,
        }
    }
}

/// Finds the database that Dolt can't open: it says which only of the first.
async fn named(error: StartError, config: &Config) -> StartError {
    let data_dir = absolute(&config.data_dir);
    let Ok(beside) = Beside::new(&config.state_dir) else { return error };
    for entry in std::fs::read_dir(&data_dir).into_iter().flatten().flatten() {
        let (dir, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name.starts_with('.') || !dir.join(".dolt").is_dir() {
            continue;
        }
        let opened = beside.run(&["sql", "-q", "SELECT 1"], &dir, OPEN_MAX, |_| {}).await;
        if let Err(BesideError::Failed(text)) = opened
            && errors::is_corrupt_journal(&text)
        {
            return error.naming(&name, &data_dir);
        }
    }
    error
}

async fn start_private(config: &Config, binary: Option<&Path>, shim: PathBuf) -> Result<Dolt, StartError> {
    let mut locks = vec![DirLock::take("data directory", &config.data_dir, "give another --data-dir")?];
    if !same_directory(&config.data_dir, &config.state_dir) {
        locks.push(DirLock::take("state directory", &config.state_dir, "give another --state-dir")?);
    }
    let files = Files::prepare(config)?;
    if let Some(previous) = files.published() {
        // It may be waiting for a git that waits for a remote.
        let (ended, _) = tokio::join!(
            end_previous(&previous, stop_timeout(config)),
            git::end_processes(&files.home, None)
        );
        ended?;
        files.unpublish();
    }
    git::end_processes(&files.home, None).await;
    if let Some(pid) = foreign_dolt(&config.data_dir) {
        return Err(StartError::ForeignDolt { pid: Some(pid), data_dir: config.data_dir.clone() });
    }
    let binary = binary::find(binary, &files.home).await?;
    tracing::info!(path = %binary.path.display(), version = %binary.version, "found Dolt");
    let unusable =
        |error| path_error("state directory", &config.state_dir, &error, "give another --state-dir");
    files.link_program(&binary.path).map_err(unusable)?;
    let launch = Launch {
        shim,
        program: files.program.clone(),
        config: files.config.clone(),
        home: files.home.clone(),
        log: files.log.clone(),
        rotate_bytes: config.log.rotate_bytes,
        rotate_keep: config.log.rotate_keep,
    };
    let keeper = Keeper::start(launch).map_err(unusable)?;
    supervise(config, Source::Private { files, keeper }, Some(locks)).await
}

async fn supervise(config: &Config, source: Source, locks: Option<Vec<DirLock>>) -> Result<Dolt, StartError> {
    let settings = Settings {
        private: matches!(source, Source::Private { .. }),
        health_interval: config.dolt.health_interval,
        start_timeout: START_TIMEOUT,
        stop_timeout: stop_timeout(config),
    };
    let shared = Arc::new(Shared {
        state: watch::Sender::new(State::Starting { since: SystemTime::now() }),
        control: Control::new(),
        facts: Mutex::new(Facts::default()),
        home: match &source {
            Source::Private { files, .. } => Some(files.home.clone()),
            Source::External(_) => None,
        },
    });
    let (started_sender, started) = oneshot::channel();
    let (orders, taken) = mpsc::unbounded_channel();
    let finished = CancellationToken::new();
    let supervisor = Supervisor {
        policy: Policy::new(settings),
        source,
        shared: shared.clone(),
        probe_timeout: config.dolt.health_timeout,
        data_dir: absolute(&config.data_dir),
        state_dir: absolute(&config.state_dir),
        started: Some(started_sender),
        running: Running::default(),
        held: None,
    };
    let guard = finished.clone().drop_guard();
    tokio::spawn(async move {
        supervisor.run(taken).await;
        // The claim on the directories ends after Dolt has, and `stop` returns after that.
        drop(locks);
        drop(guard);
    });
    let dolt = Dolt { inner: Arc::new(Inner { shared, orders, finished }) };
    let ended = || StartError::failed("its supervisor ended");
    match started.await.unwrap_or_else(|_| Err(ended())) {
        Ok(()) => Ok(dolt),
        Err(error) => {
            dolt.stop().await;
            Err(error)
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn stop_timeout(config: &Config) -> Duration {
    config.dolt.stop_timeout.max(STOP_TIMEOUT_MIN)
}

fn same_directory(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Waits for the Dolt of a Branchline that was killed: the kernel has sent it SIGTERM, and it may still be
/// writing. `Published::is_running` compares the start time, so the pid is not somebody else's.
async fn end_previous(previous: &Published, stop_timeout: Duration) -> Result<(), StartError> {
    for (signal, patience) in [(Signal::TERM, stop_timeout), (Signal::KILL, KILLED_TIMEOUT)] {
        let Some(pid) = running_pid(previous) else { return Ok(()) };
        tracing::warn!(pid = previous.pid, ?signal, "waiting for the previous Branchline's Dolt to end");
        let _ = kill_process(pid, signal);
        let until = Instant::now() + patience;
        while running_pid(previous).is_some() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    if running_pid(previous).is_none() {
        return Ok(());
    }
    let reason =
        format!("the previous Branchline's Dolt (pid {}) does not end, not even killed", previous.pid);
    Err(StartError::failed(reason))
}

fn running_pid(previous: &Published) -> Option<Pid> {
    if !previous.is_running() {
        return None;
    }
    Pid::from_raw(i32::try_from(previous.pid).ok()?)
}
