//! Long work that somebody asked for on the console: its registry, and running it.
//! Does not know what the work is. Always: a job ends by itself or with Branchline, never with the connection
//! that asked for it; what came of it is kept for a while, in bounded numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Refusal;
use super::branches::Outcome;
use crate::observe::progress::{Progress, Seen};

/// How long the result of a job can be asked for.
const FINISHED_KEPT: Duration = Duration::from_secs(15 * 60);
/// Finished jobs that are remembered; the oldest go first.
const FINISHED_MAX: usize = 1000;
/// Jobs at once: each holds a connection to Dolt or waits for a lane.
const RUNNING_MAX: usize = 200;

/// All jobs; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    shared: Arc<Mutex<Shared>>,
    tasks: TaskTracker,
    /// Cancelled when what still runs is to be given up.
    give_up: CancellationToken,
}

#[derive(Debug, Default)]
struct Shared {
    last_id: u32,
    jobs: BTreeMap<u32, Job>,
}

#[derive(Debug)]
struct Job {
    what: String,
    by: String,
    started: SystemTime,
    began: Instant,
    progress: Progress,
    ended: Option<Ended>,
}

#[derive(Debug)]
struct Ended {
    at: Instant,
    result: Result<Arc<Outcome>, String>,
}

/// What is seen of a job.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// For `SHOW JOB`.
    pub id: u32,
    /// What it does, as `finish beads/polecat-nux`.
    pub what: String,
    /// Who asked for it.
    pub by: String,
    /// Whether it is over.
    pub state: JobState,
    /// When it began.
    pub started: SystemTime,
    /// How long it took, or has taken so far.
    pub ran: Duration,
    /// How far it is.
    pub progress: Seen,
    /// Why it failed.
    pub error: Option<String>,
}

/// Whether a job is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Not yet.
    Running,
    /// It did what it was asked.
    Done,
    /// It did not, or not all of it.
    Failed,
}

impl JobState {
    /// `running`, `done`, `failed`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl Jobs {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `work`, which gets the progress to update; its id.
    pub fn start<W, F>(&self, what: String, by: &str, work: W) -> Result<u32, Refusal>
    where
        W: FnOnce(Progress) -> F,
        F: Future<Output = Result<Outcome, String>> + Send + 'static,
    {
        if self.tasks.is_closed() {
            return Err(Refusal::failed("Branchline is stopping: no new work is begun"));
        }
        let progress = Progress::default();
        let mut shared = self.lock();
        shared.forget_old(Instant::now());
        let running = shared.jobs.values().filter(|job| job.ended.is_none()).count();
        if running >= RUNNING_MAX {
            return Err(Refusal::failed(format!(
                "{RUNNING_MAX} jobs are running, the limit; SHOW JOBS lists them, try again when some are done"
            )));
        }
        shared.last_id += 1;
        let id = shared.last_id;
        let job = Job {
            what,
            by: by.to_owned(),
            started: SystemTime::now(),
            began: Instant::now(),
            progress: progress.clone(),
            ended: None,
        };
        shared.jobs.insert(id, job);
        drop(shared);
        let (jobs, give_up) = (self.clone(), self.give_up.clone());
        let mut work = tokio::spawn(work(progress));
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = &mut work => ended,
                () = give_up.cancelled() => {
                    work.abort();
                    work.await
                }
            };
            let result = ended.unwrap_or_else(|error| match error.is_panic() {
                true => {
                    Err("it ended by a fault of Branchline's, which is in its log; look before you repeat it"
                        .to_owned())
                }
                false => Err("Branchline is stopping, it was given up: run it again".to_owned()),
            });
            jobs.end(id, result);
        });
        Ok(id)
    }

    fn end(&self, id: u32, result: Result<Outcome, String>) {
        let mut shared = self.lock();
        if let Some(job) = shared.jobs.get_mut(&id) {
            match &result {
                Ok(_) => tracing::info!(job = id, what = job.what, by = job.by, "job done"),
                // Whoever asked is told; mostly it is what they asked for.
                Err(error) => tracing::info!(job = id, what = job.what, by = job.by, %error, "job failed"),
            }
            job.ended = Some(Ended { at: Instant::now(), result: result.map(Arc::new) });
        }
    }

    /// One job, if it runs or ended a short while ago.
    pub fn get(&self, id: u32) -> Option<JobRow> {
        let mut shared = self.lock();
        shared.forget_old(Instant::now());
        shared.jobs.get(&id).map(|job| job.row(id))
    }

    /// All of them, by id.
    pub fn all(&self) -> Vec<JobRow> {
        let mut shared = self.lock();
        shared.forget_old(Instant::now());
        shared.jobs.iter().map(|(id, job)| job.row(*id)).collect()
    }

    /// What came of it; `None`: nothing yet, nothing any more, or it failed before anything did.
    pub fn outcome(&self, id: u32) -> Option<Arc<Outcome>> {
        let shared = self.lock();
        shared.jobs.get(&id)?.ended.as_ref()?.result.as_ref().ok().cloned()
    }

    /// Those that run.
    pub fn running(&self) -> Vec<JobRow> {
        self.all().into_iter().filter(|job| job.state == JobState::Running).collect()
    }

    /// No more of them from now on; returns when the last one is over.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends what still runs. Each piece of work is made so that it can be run again.
    pub async fn give_up(&self) {
        self.give_up.cancel();
        self.drained().await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn forget_old(&mut self, now: Instant) {
        let is_old = |job: &Job| {
            job.ended.as_ref().is_some_and(|ended| now.saturating_duration_since(ended.at) > FINISHED_KEPT)
        };
        self.jobs.retain(|_, job| !is_old(job));
        let mut ended: Vec<(Instant, u32)> =
            self.jobs.iter().filter_map(|(id, job)| Some((job.ended.as_ref()?.at, *id))).collect();
        if ended.len() > FINISHED_MAX {
            ended.sort_unstable();
            for (_, id) in &ended[..ended.len() - FINISHED_MAX] {
                self.jobs.remove(id);
            }
        }
    }
}

impl Job {
    fn row(&self, id: u32) -> JobRow {
        let (state, error) = match &self.ended {
            None => (JobState::Running, None),
            Some(Ended { result: Err(error), .. }) => (JobState::Failed, Some(error.clone())),
            Some(Ended { result: Ok(outcome), .. }) => match outcome.failure() {
                Some(failure) => (JobState::Failed, Some(failure)),
                None => (JobState::Done, None),
            },
        };
        let until = self.ended.as_ref().map_or_else(Instant::now, |ended| ended.at);
        JobRow {
            id,
            what: self.what.clone(),
            by: self.by.clone(),
            state,
            started: self.started,
            ran: until.saturating_duration_since(self.began),
            progress: self.progress.seen(),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Outcome {
        Outcome::Finished(Vec::new())
    }

    async fn over(jobs: &Jobs, id: u32) -> JobRow {
        while jobs.get(id).unwrap().state == JobState::Running {
            tokio::task::yield_now().await;
        }
        jobs.get(id).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_seen_while_it_runs_and_a_while_after() {
        let jobs = Jobs::new();
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let id = jobs
            .start("finish a/b".to_owned(), "uid 0", |progress| async move {
                progress.step("merge", Some(4));
                progress.advance(1);
                gate.await.unwrap();
                Ok(nothing())
            })
            .unwrap();
        tokio::task::yield_now().await;
        let seen = jobs.get(id).unwrap();
        assert_eq!(
            (seen.state, seen.what.as_str(), seen.by.as_str()),
            (JobState::Running, "finish a/b", "uid 0")
        );
        assert_eq!(seen.progress, Seen { step: "merge".to_owned(), done: 1, total: Some(4) });
        assert!(jobs.outcome(id).is_none());
        go.send(()).unwrap();
        assert_eq!(over(&jobs, id).await.state, JobState::Done);
        assert!(jobs.outcome(id).is_some());
        tokio::time::advance(FINISHED_KEPT - Duration::from_secs(1)).await;
        assert!(jobs.get(id).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(jobs.get(id).is_none() && jobs.outcome(id).is_none());
    }

    #[tokio::test]
    async fn a_refusal_a_partial_failure_and_a_panic_are_failures() {
        let jobs = Jobs::new();
        let refused = jobs.start("a".to_owned(), "x", |_| async { Err("no".to_owned()) }).unwrap();
        assert_eq!(over(&jobs, refused).await.error.as_deref(), Some("no"));
        let partly = vec![("b".to_owned(), Err("in use".to_owned()))];
        let partly = jobs.start("b".to_owned(), "x", |_| async { Ok(Outcome::Finished(partly)) }).unwrap();
        let seen = over(&jobs, partly).await;
        assert_eq!(seen.state, JobState::Failed);
        assert!(jobs.outcome(partly).is_some(), "what was done is shown all the same");
        let panics = jobs.start("c".to_owned(), "x", |_| async { panic!("a fault for the test") }).unwrap();
        assert!(over(&jobs, panics).await.error.unwrap().contains("fault of Branchline's"));
    }

    #[tokio::test(start_paused = true)]
    async fn finished_ones_and_running_ones_are_bounded() {
        let jobs = Jobs::new();
        for _ in 0..FINISHED_MAX + 10 {
            let id = jobs.start("a".to_owned(), "x", |_| async { Ok(nothing()) }).unwrap();
            over(&jobs, id).await;
        }
        let all = jobs.all();
        assert_eq!((all.len(), all[0].id), (FINISHED_MAX, 11), "the oldest went first");
        for _ in 0..RUNNING_MAX {
            jobs.start("b".to_owned(), "x", |_| std::future::pending()).unwrap();
        }
        let refused = jobs.start("b".to_owned(), "x", |_| std::future::pending()).unwrap_err();
        assert!(refused.to_string().contains("200 jobs are running"), "{refused}");
        assert_eq!(jobs.running().len(), RUNNING_MAX);
    }

    #[tokio::test]
    async fn stopping_waits_and_then_gives_up() {
        let jobs = Jobs::new();
        let id = jobs.start("a".to_owned(), "x", |_| std::future::pending()).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(20), jobs.drained()).await;
        assert!(waited.is_err(), "it is waited for");
        let refused = jobs.start("b".to_owned(), "x", |_| async { Ok(nothing()) }).unwrap_err();
        assert!(refused.to_string().contains("stopping"), "{refused}");
        jobs.give_up().await;
        assert!(jobs.get(id).unwrap().error.unwrap().contains("run it again"));
    }
}
