//! Owns what writers report and how it is shown.
//! Does not judge.
//! Always: an outcome survives the pipe from a writer's process unchanged.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::support::raw::Failure;

/// What one writer saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rounds whose write was acknowledged.
    pub acknowledged: Vec<u32>,
    /// Rounds that had nothing to write, which is an answer, too.
    pub passed: Vec<u32>,
    /// What a writer read that no serial order of transactions allows.
    pub impossible: u32,
    /// Errors that were not retried, by code.
    pub errors: BTreeMap<String, u32>,
    /// The first of them.
    pub first_error: Option<String>,
    /// 1213 that were followed by another try.
    pub retries: u32,
    /// The longest statement, ms.
    pub slowest_ms: u64,
    /// Whether its socket was closed or its process killed in the middle.
    pub killed: bool,
}

impl Outcome {
    /// Counts an error.
    pub fn failed(&mut self, failure: &Failure) {
        let code = match failure {
            Failure::Server(code, ..) => code.to_string(),
            Failure::Closed => "closed".to_owned(),
            Failure::TimedOut => "timed out".to_owned(),
            Failure::Protocol(_) => "protocol".to_owned(),
        };
        *self.errors.entry(code).or_default() += 1;
        self.first_error.get_or_insert_with(|| failure.to_string());
    }
}

/// What a scenario's clients saw together.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// By writer.
    pub writers: Vec<Outcome>,
    /// From the start of all to the end of the last.
    pub seconds: f64,
}

impl Run {
    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.writers.iter().map(|writer| writer.acknowledged.len()).sum()
    }

    /// Reads that no serial order allows.
    pub fn impossible(&self) -> u32 {
        self.writers.iter().map(|writer| writer.impossible).sum()
    }

    /// 1213 that were retried.
    pub fn retries(&self) -> u32 {
        self.writers.iter().map(|writer| writer.retries).sum()
    }

    /// Errors by code.
    pub fn errors(&self) -> BTreeMap<String, u32> {
        let mut all = BTreeMap::new();
        for (code, count) in self.writers.iter().flat_map(|writer| &writer.errors) {
            *all.entry(code.clone()).or_default() += count;
        }
        all
    }

    /// One of the errors.
    pub fn first_error(&self) -> Option<&str> {
        self.writers.iter().find_map(|writer| writer.first_error.as_deref())
    }

    fn slowest_ms(&self) -> u64 {
        self.writers.iter().map(|writer| writer.slowest_ms).max().unwrap_or_default()
    }
}

/// What a server's data say about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether they agree with what was acknowledged.
    pub right: bool,
    /// In numbers.
    pub text: String,
}

impl Finding {
    /// `right`, and the numbers that it comes from.
    pub fn of(right: bool, text: impl Into<String>) -> Self {
        Self { right, text: text.into() }
    }
}

/// Rows for people, printed with `--nocapture` and when a test fails.
#[derive(Debug, Default)]
pub struct Table(String);

impl Table {
    /// A line of the table.
    pub fn add(&mut self, name: &str, run: &Run, finding: &Finding) {
        let errors: Vec<String> =
            run.errors().iter().map(|(code, count)| format!("{count} × {code}")).collect();
        let errors = if errors.is_empty() { "–".to_owned() } else { errors.join(", ") };
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "| {name} | {} | {errors} | {} | {:.2} | {} | {}{} |",
            run.acknowledged(),
            run.retries(),
            run.seconds,
            run.slowest_ms(),
            if finding.right { "" } else { "WRONG: " },
            finding.text
        );
    }

    /// With its head.
    pub fn text(&self, title: &str) -> String {
        format!(
            "\n{title}\n| scenario | acknowledged | errors | retries | s | slowest ms | found |\n\
             |---|--:|---|--:|--:|--:|---|\n{}",
            self.0
        )
    }
}
