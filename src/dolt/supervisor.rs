//! Owns the running of the policy in `core`: performs its actions and tells it what happens.
//! Does not decide. Always: when `run` returns, no process of ours runs and nothing of it is published.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::core::{Action, Event, Policy};
use super::errors;
use super::files::Files;
use super::git;
use super::moves::{self, Moves, NotMoved};
use super::process::{Exit, Keeper, Process};
use super::target::{Answer, Target};
use super::{Control, Facts, Ready, StartError, State};

/// What handles ask for.
#[derive(Debug)]
pub(super) enum Order {
    Lost,
    /// Stop Dolt, rename these, start it again. Answered when they are renamed, or will not be.
    Hold(Moves, oneshot::Sender<Result<(), NotMoved>>),
    Stop,
}

/// What handles see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: watch::Sender<State>,
    pub(super) control: Control,
    pub(super) facts: Mutex<Facts>,
    pub(super) home: Option<std::path::PathBuf>,
}

impl Shared {
    pub(super) fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where Dolt comes from.
pub(super) enum Source {
    Private { files: Files, keeper: Keeper },
    External(Target),
}

pub(super) struct Supervisor {
    pub(super) policy: Policy,
    pub(super) source: Source,
    pub(super) shared: Arc<Shared>,
    pub(super) probe_timeout: Duration,
    pub(super) data_dir: std::path::PathBuf,
    pub(super) state_dir: std::path::PathBuf,
    /// Tells `start`; none once it has been told.
    pub(super) started: Option<oneshot::Sender<Result<(), StartError>>>,
    pub(super) running: Running,
    /// What is to be renamed when Dolt has ended, and who asked.
    pub(super) held: Option<(Moves, oneshot::Sender<Result<(), NotMoved>>)>,
}

/// What there is of a process and its probe.
#[derive(Default)]
pub(super) struct Running {
    process: Option<Process>,
    target: Option<Target>,
    probe: Option<JoinHandle<Result<Answer, String>>>,
    answer: Option<Answer>,
    generation: u64,
    spawned: u64,
    locked: bool,
    /// Since when clients have not been served; none while they are.
    trouble_since: Option<SystemTime>,
    last_words: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.drop_probe();
    }
}

impl Running {
    fn drop_probe(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }
}

impl Supervisor {
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut events = VecDeque::from([Event::Start]);
        loop {
            while let Some(event) = events.pop_front() {
                for action in self.policy.on(event, Instant::now()) {
                    if matches!(action, Action::Finish | Action::GiveUp(_)) {
                        self.finish(action);
                        return;
                    }
                    events.extend(self.perform(action).await);
                }
            }
            events.push_back(self.next_event(&mut orders).await);
        }
    }

    async fn next_event(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Event {
        let deadline = self.policy.deadline();
        let exit = async {
            match &mut self.running.process {
                Some(process) => {
                    (&mut process.exit).await.unwrap_or(Exit { status: None, last_words: vec![] })
                }
                None => pending().await,
            }
        };
        let probed = async {
            match &mut self.running.probe {
                Some(probe) => probe.await.unwrap_or_else(|error| Err(format!("the probe failed: {error}"))),
                None => pending().await,
            }
        };
        let tick = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            exit = exit => self.on_exit(exit),
            outcome = probed => self.on_probed(outcome),
            // All handles gone: nobody could stop it any more.
            order = orders.recv() => match order {
                Some(Order::Lost) => Event::Lost,
                Some(Order::Hold(moves, answer)) => self.on_hold(moves, answer),
                Some(Order::Stop) | None => Event::Stop,
            },
            () = tick => Event::Tick,
        }
    }

    fn on_hold(&mut self, moves: Moves, answer: oneshot::Sender<Result<(), NotMoved>>) -> Event {
        if self.held.is_some() {
            let why = "Dolt is being stopped for another change already".to_owned();
            let _ = answer.send(Err(NotMoved { why, as_before: true }));
            return Event::Tick;
        }
        self.held = Some((moves, answer));
        Event::Hold
    }

    fn refuse_hold(&mut self, why: &str) {
        if let Some((_, answer)) = self.held.take() {
            let _ = answer.send(Err(NotMoved { why: why.to_owned(), as_before: true }));
        }
    }

    async fn move_directories(&mut self) {
        let Some((moves, answer)) = self.held.take() else { return };
        // Nothing went wrong with this one: the next start does not count.
        self.running.spawned = self.running.spawned.saturating_sub(1);
        let (state_dir, data_dir) = (self.state_dir.clone(), self.data_dir.clone());
        let moved = tokio::task::spawn_blocking(move || moves::run(&state_dir, &data_dir, moves)).await;
        let moved = moved.unwrap_or_else(|error| {
            Err(NotMoved { why: format!("a fault of Branchline's: {error}"), as_before: false })
        });
        let _ = answer.send(moved);
    }

    fn on_exit(&mut self, exit: Exit) -> Event {
        self.running.process = None;
        self.running.drop_probe();
        if let Source::Private { files, .. } = &self.source {
            files.unpublish();
        }
        // At the first start whoever starts it does this.
        if self.started.is_none() {
            moves::give_up_doubtful(&self.state_dir, &exit.last_words);
        }
        let locked = exit.last_words.iter().any(|line| errors::is_locked_by_another_dolt(line));
        let how = exit.describe();
        tracing::info!(%how, last_words = ?exit.last_words.last(), "Dolt's process is gone");
        self.running.locked = locked;
        self.running.last_words = exit.last_words;
        Event::Exited {
            how: if locked { "another Dolt process holds the databases".into() } else { how },
            locked,
        }
    }

    fn on_probed(&mut self, outcome: Result<Answer, String>) -> Event {
        self.running.probe = None;
        match outcome {
            Ok(answer) => {
                let mut facts = self.shared.facts();
                facts.health_latency = Some(answer.latency);
                facts.health_at = Some(SystemTime::now());
                drop(facts);
                self.running.answer = Some(answer);
                Event::Answered
            }
            Err(why) => {
                if matches!(*self.shared.state.borrow(), State::Ready(_)) {
                    tracing::warn!(%why, "Dolt's health probe was not answered");
                    self.shared.facts().last_error = Some((SystemTime::now(), why.clone()));
                }
                Event::Unanswered(why)
            }
        }
    }

    async fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn => return self.spawn().await.err().map(Event::SpawnFailed),
            Action::Probe => self.probe(),
            Action::Terminate => {
                // Our own idle connections would only hold it up.
                self.shared.control.set_down("Dolt is being ended");
                // Dolt waits for its git, which may wait for a remote that does not answer.
                if let Some(home) = &self.shared.home {
                    git::end_processes(home, None).await;
                }
                if let Some(process) = &self.running.process {
                    process.terminate();
                }
            }
            Action::Kill => {
                tracing::warn!("Dolt did not end after SIGTERM: SIGKILL");
                if let Some(process) = &self.running.process {
                    process.kill();
                }
            }
            Action::SayStarting => {
                self.shared.control.set_down("Dolt is starting");
                let since = self.running.trouble_since.unwrap_or_else(SystemTime::now);
                self.shared.state.send_replace(State::Starting { since });
            }
            Action::SayReady => self.say_ready(),
            Action::SayDown(reason) => self.say_down(reason),
            Action::SayHeld => {
                let reason = "Dolt is stopped for a moment: a database is being replaced".to_owned();
                tracing::info!("{reason}");
                self.shared.control.set_down(&reason);
                let since = *self.running.trouble_since.get_or_insert_with(SystemTime::now);
                self.shared.state.send_replace(State::Down { since, reason });
            }
            Action::Move => {
                self.move_directories().await;
                return Some(Event::Moved);
            }
            Action::RefuseHold => {
                self.refuse_hold("Dolt does not answer now; run it again when it does");
            }
            Action::SayStopping => {
                self.shared.control.set_down("Dolt is being stopped");
                self.shared.state.send_replace(State::Stopping);
            }
            Action::Alert(text) => {
                tracing::error!(alert = %text, "Dolt keeps failing");
                self.shared.facts().alerts.push(text);
            }
            Action::ClearAlert => {
                tracing::info!("Dolt has been well for ten minutes");
                self.shared.facts().alerts.clear();
            }
            Action::Finish | Action::GiveUp(_) => {}
        }
        None
    }

    async fn spawn(&mut self) -> Result<(), String> {
        let Source::Private { files, keeper } = &self.source else { return Ok(()) };
        // Gits of one that died would go on beside those of the next.
        if let Some(home) = &self.shared.home {
            git::end_processes(home, None).await;
        }
        let (state_dir, data_dir) = (self.state_dir.clone(), self.data_dir.clone());
        let completed = tokio::task::spawn_blocking(move || moves::complete(&state_dir, &data_dir)).await;
        completed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let port =
            files.prepare_start().map_err(|error| format!("Dolt's files cannot be written: {error}"))?;
        let process = keeper.spawn().await.map_err(|error| format!("Dolt cannot be started: {error}"))?;
        let pid = process.pid;
        if let Err(error) = files.publish(pid, port) {
            tracing::warn!(%error, "cannot write dolt.json");
        }
        let data_dir = self.data_dir.clone();
        self.running.target = Some(Target::Private { data_dir, socket: files.socket.clone(), port, pid });
        self.running.process = Some(process);
        self.running.spawned += 1;
        self.shared.facts().restarts = self.running.spawned - 1;
        tracing::info!(pid, port, "Dolt is starting");
        Ok(())
    }

    fn probe(&mut self) {
        let identify = !matches!(*self.shared.state.borrow(), State::Ready(_));
        let target = match &self.source {
            Source::External(target) => Some(target),
            Source::Private { .. } => self.running.target.as_ref(),
        };
        self.running.probe =
            target.map(|target| tokio::spawn(target.clone().probe(self.probe_timeout, identify)));
    }

    fn say_ready(&mut self) {
        let Some(Answer { opts, endpoint, identity: Some((greeting, dolt_version)), .. }) =
            self.running.answer.clone()
        else {
            return;
        };
        self.running.generation += 1;
        self.running.trouble_since = None;
        let ready = Ready {
            endpoint,
            greeting,
            dolt_version,
            pid: self.running.process.as_ref().map(|process| process.pid),
            since: SystemTime::now(),
            generation: self.running.generation,
        };
        tracing::info!(version = %ready.dolt_version, generation = ready.generation, "Dolt is ready");
        moves::settle(&self.state_dir);
        self.shared.control.set_up(opts, ready.generation);
        self.shared.state.send_replace(State::Ready(Arc::new(ready)));
        self.tell_start(Ok(()));
    }

    fn say_down(&mut self, reason: String) {
        tracing::warn!(%reason, last_words = ?self.running.last_words, "Dolt is down");
        self.shared.control.set_down(&reason);
        self.shared.facts().last_error = Some((SystemTime::now(), reason.clone()));
        // How long clients have been waiting counts from the first trouble, over all attempts.
        let since = *self.running.trouble_since.get_or_insert_with(SystemTime::now);
        self.shared.state.send_replace(State::Down { since, reason });
        // Somebody else's server may be late: that is no reason not to start.
        self.tell_start(Ok(()));
    }

    fn finish(&mut self, action: Action) {
        if let Action::GiveUp(reason) = action {
            let data_dir = self.data_dir.clone();
            let error = if self.running.locked {
                StartError::ForeignDolt { pid: super::lock::foreign_dolt(&data_dir), data_dir }
            } else {
                StartError::ended(reason, std::mem::take(&mut self.running.last_words), &data_dir)
            };
            self.tell_start(Err(error));
        }
        self.refuse_hold("Branchline is being stopped");
        self.tell_start(Err(StartError::failed("it was stopped")));
    }

    fn tell_start(&mut self, result: Result<(), StartError>) {
        if let Some(started) = self.started.take() {
            let _ = started.send(result);
        }
    }
}
