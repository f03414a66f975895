//! `branchline jobs`, and waiting for work that the console has begun: progress on a terminal, then its result.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Context;
use super::client::ConsoleClient;
use super::failure::Failure;
use super::output::{self, ResultTable};

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  branchline jobs                     what runs, and what ended within the last 15 minutes
  branchline jobs 12                  wait for job 12 and print its result")]
pub struct JobsArgs {
    /// Wait for this one and print its result
    id: Option<u32>,
}

/// What came of a job.
pub struct Followed {
    /// Its result, if anything came of it.
    pub table: Option<ResultTable>,
    /// Why it failed, or a part of it.
    pub error: Option<String>,
}

pub fn run(context: &Context, args: &JobsArgs) -> Result<(), Failure> {
    let mut client = ConsoleClient::connect(context)?;
    let Some(id) = args.id else {
        return output::list(&client.query("SHOW JOBS")?, context.json, "no jobs");
    };
    let followed = follow(&mut client, id)?;
    if let Some(table) = &followed.table {
        output::list(table, context.json, "nothing to show")?;
    }
    followed.end()
}

/// Runs a console command that begins a job, and waits for it.
pub fn run_job(client: &mut ConsoleClient, sql: &str) -> Result<Followed, Failure> {
    let begun = client.query(sql)?;
    let id = begun.rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    let id = id.ok_or_else(|| Failure::Failed("the console did not answer with a job".to_owned()))?;
    follow(client, id)
}

/// Runs a job and prints a line for each row of what came of it.
pub fn line_by_line(
    context: &Context,
    sql: &str,
    line: impl Fn(&ResultTable, &[Option<String>]) -> String,
) -> Result<(), Failure> {
    let followed = run_job(&mut ConsoleClient::connect(context)?, sql)?;
    if let Some(table) = &followed.table {
        if context.json {
            output::line(&table.json().to_string())?;
        } else {
            for row in &table.rows {
                output::line(&line(table, row))?;
            }
        }
    }
    followed.end()
}

/// Waits for a job; Ctrl-C ends the waiting, not the job.
pub fn follow(client: &mut ConsoleClient, id: u32) -> Result<Followed, Failure> {
    let mut interrupts = client.interrupts()?;
    // Draws nothing where stderr is no terminal.
    let bar = ProgressBar::new_spinner();
    let mut was_there = false;
    loop {
        let seen = match client.query(&format!("SHOW JOB {id}")) {
            Ok(seen) => seen,
            // That is an answer. Of one that was there it may mean that Branchline was started anew.
            Err(Failure::Failed(text)) if !was_there && text.starts_with("there is no job") => {
                return Err(Failure::Failed(text));
            }
            Err(failure) => return Err(unsure(failure, id)),
        };
        was_there = true;
        let get = |column: &str| {
            let at = seen.columns.iter().position(|name| name == column)?;
            seen.rows.first()?.get(at)?.clone()
        };
        match get("state").as_deref() {
            Some("running") => {}
            state => {
                bar.finish_and_clear();
                let error = get("error");
                let result = client.query(&format!("SHOW JOB {id} RESULT"));
                return match (state, result) {
                    (_, Ok(table)) => Ok(Followed { table: Some(table), error }),
                    (Some("failed"), Err(_)) => Ok(Followed { table: None, error }),
                    (_, Err(failure)) => Err(failure),
                };
            }
        }
        let number = |column| get(column).and_then(|number| number.parse::<u64>().ok());
        show(&bar, get("step").or_else(|| get("what")).unwrap_or_default(), number("done"), number("total"));
        if client.interrupted_within(&mut interrupts, POLL) {
            bar.finish_and_clear();
            return Err(Failure::Failed(format!(
                "no longer waiting; job {id} goes on. `branchline jobs {id}` waits for it again, `branchline jobs` lists all"
            )));
        }
    }
}

fn show(bar: &ProgressBar, step: String, done: Option<u64>, total: Option<u64>) {
    let template = match total {
        Some(_) => "{spinner} {msg} [{bar:30}] {pos}/{len}",
        None if done.is_some_and(|done| done > 0) => "{spinner} {msg} {pos}",
        None => "{spinner} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_length(total.unwrap_or(0));
    bar.set_position(done.unwrap_or(0));
    bar.set_message(step);
    bar.tick();
}

/// The job does not end with the connection that asked for it.
fn unsure(failure: Failure, id: u32) -> Failure {
    match failure {
        Failure::Failed(text) => Failure::Failed(format!(
            "{text}\njob {id} may still run, or have ended with Branchline: look with `branchline jobs`, then run it again"
        )),
        other => other,
    }
}

impl Followed {
    /// The rest, once what came of it is printed.
    pub fn end(self) -> Result<(), Failure> {
        match self.error {
            Some(error) => Err(Failure::Failed(error)),
            None => Ok(()),
        }
    }

    /// The first row, by column; or why there is none.
    pub fn row(self) -> Result<ResultTable, Failure> {
        match (self.table, self.error) {
            (_, Some(error)) => Err(Failure::Failed(error)),
            (Some(table), None) if !table.rows.is_empty() => Ok(table),
            _ => Err(Failure::Failed("nothing came of it".to_owned())),
        }
    }
}
