//! Owns when ledgers are published by themselves: after main's commits, by the times of `[remotes]`.
//! Does not publish. Always: one at a time per ledger; a failure that stays is told once, and tried again with growing
//! waits; not in a client's path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{How, LedgerError, Published, Rule, all, publish};
use crate::branch::sql_identifier;
use crate::observe::progress::Progress;
use crate::remote::core::{Core, Line, Times};
use crate::session::Context;

/// Between two looks at the heads of main: one short question for each ledger.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Publishes what is due until `stopping`.
pub async fn run(context: Arc<Context>, stopping: CancellationToken) {
    let mut watch = Watch::new(&context);
    loop {
        watch.look(&context).await;
        watch.begin(&context);
        tokio::select! {
            () = stopping.cancelled() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = watch.running.join_next() => {
                if let Ok((database, outcome)) = ended {
                    watch.end(&database, outcome);
                }
            }
        }
    }
    // Each one's calls end what they began.
    watch.running.shutdown().await;
}

struct Watch {
    core: Core,
    /// By source in lower case.
    rules: BTreeMap<String, Rule>,
    heads: BTreeMap<String, String>,
    /// What was told last of those that fail.
    failures: BTreeMap<String, String>,
    running: JoinSet<(String, Result<Published, LedgerError>)>,
}

impl Watch {
    fn new(context: &Context) -> Self {
        Self {
            core: Core::new(times(context)),
            rules: BTreeMap::new(),
            heads: BTreeMap::new(),
            failures: BTreeMap::new(),
            running: JoinSet::new(),
        }
    }

    /// Takes up changed settings, and looks where main is.
    async fn look(&mut self, context: &Context) {
        let rules: BTreeMap<String, Rule> =
            all(context).into_iter().map(|rule| (rule.database.to_lowercase(), rule)).collect();
        if rules != self.rules {
            self.core.set_times(times(context));
            self.core.set_lines(rules.iter().map(line).collect());
            self.heads.retain(|database, _| rules.contains_key(database));
            self.failures.retain(|database, _| rules.contains_key(database));
            self.rules = rules;
        }
        for (key, rule) in &self.rules {
            let database = sql_identifier(&rule.database);
            let sql = format!("SELECT hash FROM {database}.dolt_branches WHERE name = 'main'");
            let Ok(rows) = context.dolt.control().rows(&sql, Vec::new()).await else { continue };
            let head = rows.into_iter().next().and_then(|mut row| row.take_opt::<String, _>(0)?.ok());
            let Some(head) = head else { continue };
            if self.heads.get(key) != Some(&head) {
                // The first look marks nothing: a line that is new is due anyway.
                if self.heads.insert(key.clone(), head).is_some() {
                    self.core.mark(key, std::time::Instant::now());
                }
            }
        }
    }

    fn begin(&mut self, context: &Arc<Context>) {
        let (turns, rules) = (&context.remotes.turns, &self.rules);
        // It is the ledger that is written, not its source.
        let is_held = |source: &str| rules.get(source).is_some_and(|rule| turns.is_held(&rule.ledger));
        for (line, _) in self.core.begin(std::time::Instant::now(), is_held) {
            let Some(rule) = self.rules.get(&line.database).cloned() else {
                self.core.end(&line.database, false, 0.0, std::time::Instant::now());
                continue;
            };
            let context = Arc::clone(context);
            self.running.spawn(async move {
                // A fault of ours is this publishing's failure and no more.
                let task = tokio::spawn(async move {
                    publish(&context, rule, How::default(), &Progress::default()).await
                });
                let fault = |_| Err(LedgerError::Refused("it ended by a fault of Branchline's".to_owned()));
                let outcome = tokio_util::task::AbortOnDropHandle::new(task).await;
                (line.database, outcome.unwrap_or_else(fault))
            });
        }
    }

    fn end(&mut self, database: &str, outcome: Result<Published, LedgerError>) {
        self.core.end(database, outcome.is_ok(), 0.5, std::time::Instant::now());
        match outcome {
            Ok(published) => {
                if self.failures.remove(database).is_some() {
                    tracing::info!(database, "the ledger is published again");
                }
                if published.pushed > 0 {
                    let rows: u64 = published.rows.iter().map(|(_, count)| count).sum();
                    tracing::info!(database, rows, commits = published.pushed, "the ledger was published");
                }
            }
            Err(error) => {
                let text = error.to_string();
                // Once per state: it is tried again and again.
                if self.failures.get(database) != Some(&text) {
                    tracing::warn!(database, needs_somebody = error.needs_somebody(), "{text}");
                    self.failures.insert(database.to_owned(), text);
                }
            }
        }
    }
}

fn times(context: &Context) -> Times {
    let settings = super::settings(context);
    Times {
        quiet: settings.quiet,
        quiet_max: settings.quiet_max,
        heartbeat: settings.heartbeat,
        backoff_min: settings.backoff_min,
        backoff_max: settings.backoff_max,
        running_max: settings.running_max,
    }
}

fn line((database, rule): (&String, &Rule)) -> Line {
    let configured = format!("{:?}\n{}", rule.config, rule.config.remote.reveal());
    Line {
        database: database.clone(),
        repository: rule.config.remote.repository(),
        heartbeat: true,
        configured: xxhash_rust::xxh3::xxh3_64(configured.as_bytes()),
    }
}
