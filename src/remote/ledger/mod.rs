//! Owns public ledgers: for a database, one of its own that holds completed rows and goes to a public remote.
//! Does not decide which rows are complete: the setting's condition does. Always: a row reaches a ledger's database only
//! if it was Dolt-committed on main and matched there, and only its published columns do; what was published is never
//! removed, but withdrawn by hand; history is never rewritten.

mod audit;
pub mod chunks;
mod error;
pub mod filter;
mod look;
mod publish;
mod push;
mod rebuild;
pub mod rule;
mod run;
pub mod scratch;
pub mod search;
mod shape;
pub mod state;
mod status;
mod take_back;
mod text;
pub mod verify;
mod withdraw;

use std::sync::Arc;
use std::time::SystemTime;

pub use error::LedgerError;
pub use push::{REMOTE, configured_use, ledger_at};
pub use rebuild::rebuild;
pub use rule::Rule;
pub use run::run;
pub(super) use scratch::sweep;
pub use status::{LedgerStatus, status};
pub use withdraw::{STAYS_IN_HISTORY, Withdrawn, withdraw};

use crate::branch::sql_identifier;
use crate::config::RemotesConfig;
use crate::observe::alerts::{self, Kind, Said};
use crate::observe::bypass::Touch;
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::remote::call::RemoteSession;
use crate::remote::turns::Turn;
use crate::remote::{Outcome, git};
use crate::session::Context;

/// What the sessions of a ledger's work run under, whatever the server's default is.
const SQL_MODE: &str = "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'";

/// How to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct How {
    /// Make the first branch of an empty repository.
    pub init: bool,
    /// Take back uncommitted changes that somebody made in the ledger.
    pub discard: bool,
    /// Its remote is another one now: bring all of its history there.
    pub moved: bool,
}

/// What a publishing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The source.
    pub database: String,
    /// Rows that are new or newer, by table.
    pub rows: Vec<(String, u64)>,
    /// Head of the source that the ledger is up to.
    pub source: String,
    /// Head of the ledger, seen at the public remote.
    pub head: String,
    /// Commits that the remote got.
    pub pushed: u64,
}

/// The settings as they are now.
pub(crate) fn settings(context: &Context) -> Arc<RemotesConfig> {
    context.remotes.settings()
}

/// All ledgers that are configured.
pub fn all(context: &Context) -> Vec<Rule> {
    let settings = settings(context);
    let ledgers = settings.databases.values();
    ledgers.filter_map(|remote| Some(Rule::new(&remote.database, remote.ledger.clone()?))).collect()
}

/// The ledger of a database.
pub fn rule_of(context: &Context, database: &str) -> Result<Rule, LedgerError> {
    let mut rules = all(context).into_iter();
    rules
        .find(|rule| rule.database.eq_ignore_ascii_case(database))
        .ok_or_else(|| LedgerError::NotConfigured(database.to_owned()))
}

/// Whether this database is some other one's ledger: only Branchline writes there.
pub fn is_ledger(context: &Context, database: &str) -> bool {
    let lower = database.to_lowercase();
    // Asked of nearly every write: most names end otherwise.
    let Some(source) = lower.strip_suffix(rule::SUFFIX) else { return false };
    settings(context).databases.get(source).is_some_and(|remote| remote.ledger.is_some())
}

/// Whether there is such a ledger, with this remote as it is shown.
pub fn is_noted(settings: &RemotesConfig, ledger: &str, remote: &str) -> bool {
    let source = ledger.strip_suffix(rule::SUFFIX).and_then(|source| settings.databases.get(source));
    let config = source.and_then(|of| of.ledger.as_ref());
    config.is_some_and(|config| alerts::shown(&config.remote.to_string()) == remote)
}

/// One at work on a ledger: its turn, its session, and the bypass watch told.
struct Work {
    session: RemoteSession,
    _turn: Turn,
    _touch: Option<Touch>,
}

impl Work {
    async fn begin(context: &Context, rule: &mut Rule) -> Result<Self, LedgerError> {
        let turn = context.remotes.turns.take(&rule.ledger, Some(&rule.config.remote.repository())).await;
        unchanged(context, rule)?;
        let listing = context.branches.listing().await;
        let listing = listing.map_err(|error| LedgerError::at("list databases")(error.into()))?;
        let Some(database) = listing.database(&rule.database) else {
            return Err(LedgerError::Refused(format!("there is no database {}", rule.database)));
        };
        *rule = Rule::new(database, rule.config.clone());
        let touch = context.bypass.as_ref().map(|bypass| bypass.touch(&rule.ledger));
        let opened = RemoteSession::open(context, &rule.ledger, false).await;
        let mut session = opened.map_err(LedgerError::at("open a connection"))?;
        session.rows(SQL_MODE).await.map_err(LedgerError::at("open a connection"))?;
        Ok(Self { session, _turn: turn, _touch: touch })
    }

    /// The repository where the ledger was published last, and its head there.
    async fn was_at(
        &mut self,
        rule: &Rule,
        noted: &state::Noted,
        is_there: bool,
    ) -> Result<Option<(String, Option<String>)>, LedgerError> {
        if let Some(was) = &noted.pushed_to {
            return Ok(Some((was.clone(), noted.pushed.clone())));
        }
        let remembered = match is_there {
            true => push::remembered(&mut self.session, rule).await?,
            false => None,
        };
        Ok(remembered.map(|(was, head)| (was, Some(head))))
    }

    /// Refuses a ledger that was published elsewhere, unless all of its history is to go to its new remote: then up to
    /// which commit it was public. And a remote that has lost what was there.
    async fn moved(
        &mut self,
        rule: &Rule,
        (noted, refs): (&state::Noted, &git::Refs),
        how: How,
        is_there: bool,
    ) -> Result<Option<String>, LedgerError> {
        match self.was_at(rule, noted, is_there).await? {
            Some((was, _)) if was == rule.config.remote.repository() && refs.dolt_data.is_none() => {
                let text = "what was pushed there before is gone";
                Err(push::failed(rule, Outcome::Rewritten, text.to_owned()))
            }
            Some((was, _)) if was != rule.config.remote.repository() && !how.moved => {
                Err(LedgerError::Moved {
                    database: rule.database.clone(),
                    was,
                    remote: rule.config.remote.to_string(),
                })
            }
            Some((was, pushed)) if was != rule.config.remote.repository() => Ok(pushed),
            _ => Ok(None),
        }
    }

    /// The ledger's database has to be there.
    async fn has_ledger(&mut self, rule: &Rule) -> Result<bool, LedgerError> {
        Ok(look::database(&mut self.session, &rule.ledger).await?.is_some())
    }
}

/// Brings a ledger up to main's last commit and to its public remote.
pub async fn publish(
    context: &Arc<Context>,
    mut rule: Rule,
    how: How,
    progress: &Progress,
) -> Result<Published, LedgerError> {
    let published = publish_once(context, &mut rule, how, progress).await;
    let published = published.map_err(|error| match error {
        LedgerError::Dolt { step, error } => LedgerError::Later { step, error },
        error => error,
    });
    let failure = published.as_ref().err().map(ToString::to_string);
    note(context, &rule.ledger, move |noted| noted.failure = failure).await;
    tell(context, &rule, &published);
    published
}

async fn publish_once(
    context: &Arc<Context>,
    rule: &mut Rule,
    how: How,
    progress: &Progress,
) -> Result<Published, LedgerError> {
    progress.step(format!("publish {}", rule.database), None);
    let timeout = settings(context).timeout;
    let mut work = Work::begin(context, rule).await?;
    let noted = noted(context, rule)?;
    push::refuse_mixed(&mut work.session, rule, &settings(context), false).await?;
    // While the remote is away nothing is written: whatever came together here would all become public later.
    let mut refs = push::look_there(rule).await?;
    if how.init && refs.branches == 0 {
        push::init(rule, &context.config.state_dir).await?;
        refs = push::look_there(rule).await?;
    }
    if refs.branches == 0 {
        let text = "the repository has no branch, and Dolt's data needs one beside it";
        return Err(push::failed(rule, Outcome::NoBranch, text.to_owned()));
    }
    let is_there = work.has_ledger(rule).await?;
    let moved_at = work.moved(rule, (&noted, &refs), how, is_there).await?;
    if !is_there {
        if moved_at.is_some() {
            return Err(LedgerError::Refused(format!(
                "there is no database {0} whose history could go to {1}: `branchline clone URL {0}` from where it was, or \
                 `branchline ledger rebuild {2}`",
                rule.ledger, rule.config.remote, rule.database
            )));
        }
        create(&mut work, rule, &refs).await?;
    } else if how.discard || noted.changing {
        publish::discard(&mut work.session, rule).await?;
    }
    note(context, &rule.ledger, |noted| noted.changing = false).await;
    let there = push::look(context, &mut work.session, rule, refs, timeout).await?;
    let public = there.head.clone().or(moved_at);
    if !take_back::to_public(context, &mut work.session, rule, public.as_deref(), progress).await? {
        // What is there does not come before what is here: a push says which way, and does nothing.
        if there.head.is_none() {
            return Err(audit::foreign(rule, "a history without the commit that was public".to_owned()));
        }
        let head = look::main_of(&mut work.session, &rule.ledger).await?;
        push::push(context, &mut work.session, rule, there, &head, timeout).await?;
        return Err(push::failed(rule, Outcome::Behind, "its main is not one of the ledger's".to_owned()));
    }
    withdraw::apply(&mut work.session, rule, &context.remotes.ledgers.of(&rule.ledger)).await?;
    let written = publish::write(context, &mut work.session, rule, progress).await?;
    context.catalog.invalidate_database(&rule.ledger);
    let audited = audit::check(&mut work.session, rule, public.as_deref(), &written.head, progress).await?;
    if let Some(gone) = audited.gone.into_iter().next() {
        return Err(audit::foreign(rule, gone));
    }
    let checked = written.head.clone();
    note(context, &rule.ledger, |noted| noted.checked = Some(checked)).await;
    unchanged(context, rule)?;
    progress.step(format!("push {} to {}", rule.ledger, rule.config.remote), None);
    let pushed = push::push(context, &mut work.session, rule, there, &written.head, timeout).await?;
    let (seen, repository) = (written.head.clone(), rule.config.remote.repository());
    note(context, &rule.ledger, |noted| {
        noted.pushed = Some(seen);
        noted.pushed_to = Some(repository);
        noted.pushed_at = Some(unix_seconds(SystemTime::now()));
    })
    .await;
    let publish::Written { head, source, rows } = written;
    Ok(Published { database: rule.database.clone(), rows, source, head, pushed })
}

/// What is noted of the ledger, if all of it can be read.
fn noted(context: &Context, rule: &Rule) -> Result<state::Noted, LedgerError> {
    context.remotes.ledgers.check().map_err(LedgerError::Refused)?;
    Ok(context.remotes.ledgers.of(&rule.ledger))
}

/// What the settings say now has to be what they said when it was asked for.
fn unchanged(context: &Context, rule: &Rule) -> Result<(), LedgerError> {
    match rule_of(context, &rule.database) {
        Ok(now) if now.config == rule.config => Ok(()),
        _ => Err(LedgerError::Stale(format!(
            "the settings of the ledger of {} were changed meanwhile; nothing was published, and it is tried again with \
             what they say now",
            rule.database
        ))),
    }
}

/// A ledger's database that is not there is made, if the public repository has no data of one.
async fn create(work: &mut Work, rule: &Rule, refs: &git::Refs) -> Result<(), LedgerError> {
    // Before anything is made: what does not fit is told at once.
    let source = look::main_of(&mut work.session, &rule.database).await?;
    look::shapes(&mut work.session, rule, &source).await?;
    if refs.dolt_data.is_some() {
        return Err(LedgerError::Refused(format!(
            "{} holds Dolt data, and there is no database {} here that they could be of. If they are this ledger's: \
             `branchline clone {} {}`, then publish again. If not: give the ledger an empty repository",
            rule.config.remote, rule.ledger, rule.config.remote, rule.ledger
        )));
    }
    let sql = format!("CREATE DATABASE {}", sql_identifier(&rule.ledger));
    work.session.rows(&sql).await.map_err(LedgerError::at("make the ledger's database"))?;
    Ok(())
}

/// A file write, not on a thread that others need. Whether it is on disk.
async fn note(
    context: &Arc<Context>,
    ledger: &str,
    change: impl FnOnce(&mut state::Noted) + Send + 'static,
) -> bool {
    let (context, ledger) = (Arc::clone(context), ledger.to_owned());
    let changed = tokio::task::spawn_blocking(move || context.remotes.ledgers.change(&ledger, change));
    changed.await.unwrap_or(false)
}

/// What was withdrawn has to be on disk before anything else is done.
fn not_noted(context: &Context, rule: &Rule) -> LedgerError {
    LedgerError::Refused(format!(
        "what is known of the ledger of {} can't be written to {}: nothing was changed",
        rule.database,
        context.config.state_dir.join("ledgers.json").display()
    ))
}

/// Tells people, if it needs one of them.
fn tell(context: &Context, rule: &Rule, published: &Result<Published, LedgerError>) {
    let (ledger, remote) = (rule.ledger.as_str(), rule.config.remote.to_string());
    match published {
        Ok(_) => {
            context.alerts.note(ledger, &remote, Outcome::UpToDate, "", "");
            context.alerts.clear(Kind::Ledger, ledger, &remote);
        }
        Err(LedgerError::Remote { outcome, text, .. }) => {
            context.alerts.note(ledger, &remote, *outcome, text, &error::advice(*outcome, ledger))
        }
        Err(error) if error.needs_somebody() => {
            let text = error.to_string();
            let advice = "what to do is in the text; then `branchline ledger publish`";
            context
                .alerts
                .raise(Kind::Ledger, Said { database: ledger, remote: &remote, text: &text, advice });
        }
        Err(error) => {
            let (outcome, text) = (Outcome::DoltError, error.to_string());
            context.alerts.note(ledger, &remote, outcome, &text, outcome.advice())
        }
    }
}
