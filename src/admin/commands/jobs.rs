//! `SHOW JOBS`, `SHOW JOB id`, `SHOW JOB id RESULT`.

use super::{Handled, branch_rows};
use crate::admin::answer::{Answer, Refusal, Table};
use crate::admin::backend::Backend;
use crate::admin::jobs::{JobRow, JobState};
use crate::admin::tokens::Tokens;

const USAGE: &str = "SHOW JOB id [RESULT], with an id from SHOW JOBS";

pub fn handle(tokens: &mut Tokens, backend: &dyn Backend) -> Handled {
    if tokens.take_words(&["SHOW", "JOBS"]) {
        return Some(tokens.end("SHOW JOBS").map(|()| Answer::Rows(rows(backend.jobs().all()))));
    }
    if tokens.take_words(&["SHOW", "JOB"]) {
        return Some(show(tokens, backend));
    }
    None
}

fn show(tokens: &mut Tokens, backend: &dyn Backend) -> Result<Answer, Refusal> {
    let id = tokens.id("SHOW JOB")?;
    let result = tokens.take_words(&["RESULT"]);
    tokens.end(USAGE)?;
    let Some(job) = backend.jobs().get(id) else {
        return Err(Refusal::bad_value(format!(
            "there is no job {id}; SHOW JOBS lists those that run or ended within the last 15 minutes"
        )));
    };
    if !result {
        return Ok(Answer::Rows(rows(vec![job])));
    }
    match (backend.jobs().outcome(id), job) {
        (Some(outcome), _) => Ok(Answer::Rows(branch_rows::outcome(&outcome))),
        (None, JobRow { state: JobState::Running, .. }) => {
            Err(Refusal::failed(format!("job {id} is still running; SHOW JOB {id} tells how far it is")))
        }
        (None, job) => Err(Refusal::failed(job.error.unwrap_or_else(|| "nothing came of it".to_owned()))),
    }
}

/// What a command that begins a job answers.
pub(super) fn job_row(id: u32) -> Answer {
    let mut table = Table::new(["job"]);
    table.row([id.into()]);
    Answer::Rows(table)
}

fn rows(jobs: Vec<JobRow>) -> Table {
    let mut table =
        Table::new(["id", "what", "state", "step", "done", "total", "ran_ms", "started", "by", "error"]);
    for job in jobs {
        let runs = job.state == JobState::Running;
        let step = Some(job.progress.step).filter(|step| runs && !step.is_empty());
        table.row([
            job.id.into(),
            job.what.into(),
            job.state.as_str().into(),
            step.into(),
            Some(job.progress.done).filter(|_| runs).into(),
            job.progress.total.filter(|_| runs).into(),
            (job.ran.as_millis() as u64).into(),
            job.started.into(),
            job.by.into(),
            job.error.into(),
        ]);
    }
    table
}
