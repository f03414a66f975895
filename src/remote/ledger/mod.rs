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
pub mod rule;
mod run;
pub mod scratch;
pub mod search;
mod shape;
pub mod state;
mod status;
mod text;
pub mod verify;
mod withdraw;

use std::sync::Arc;
use std::time::SystemTime;

pub use error::LedgerError;
pub use push::{REMOTE, configured_use, ledger_at};
pub use rule::Rule;
pub use run::run;
pub use status::{LedgerStatus, status};
pub use withdraw::{STAYS_IN_HISTORY, Withdrawn, withdraw};

use crate::branch::sql_identifier;
use crate::config::RemotesConfig;
use crate::observe::alerts::{self, Kind, Said};
use crate::observe::bypass::Touch;
use crate::observe::progress::Progress;
use crate::observe::time::unix_seconds;
use crate::remote::Outcome;
use crate::remote::call::RemoteSession;
use crate::remote::turns::Turn;
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
    let remotes = settings(context);
    database.len() > rule::SUFFIX.len()
        && database
            .to_lowercase()
            .strip_suffix(rule::SUFFIX)
            .and_then(|source| remotes.databases.get(source))
            .is_some_and(|remote| remote.ledger.is_some())
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
        let touch = context.bypass.as_ref().map(|bypass| bypass.touch(&rule.ledger));
        let opened = RemoteSession::open(context, &rule.ledger, false).await;
        let mut session = opened.map_err(LedgerError::at("open a connection"))?;
        session.rows(SQL_MODE).await.map_err(LedgerError::at("open a connection"))?;
        let Some(database) = look::database(&mut session, &rule.database).await? else {
            return Err(LedgerError::Refused(format!("there is no database {}", rule.database)));
        };
        *rule = Rule::new(&database, rule.config.clone());
        Ok(Self { session, _turn: turn, _touch: touch })
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
    let settings = settings(context);
    let mut work = Work::begin(context, rule).await?;
    push::refuse_mixed(&mut work.session, rule, &settings).await?;
    if how.init && push::look_there(rule).await?.branches == 0 {
        push::init(rule, &context.config.state_dir).await?;
    }
    if !work.has_ledger(rule).await? {
        create(&mut work, rule).await?;
    } else if how.discard {
        publish::discard(&mut work.session, rule).await?;
    }
    let noted = context.remotes.ledgers.of(&rule.ledger);
    let written = publish::write(&mut work.session, rule, &noted, progress).await?;
    context.catalog.invalidate_database(&rule.ledger);
    check_unchecked(context, &mut work, rule, &written.head, progress).await?;
    progress.step(format!("push {} to {}", rule.ledger, rule.config.remote), None);
    let repository = rule.config.remote.repository();
    let was_there = context.remotes.ledgers.of(&rule.ledger).pushed_to.as_ref() == Some(&repository);
    let pushed = push::push(&mut work.session, rule, was_there, settings.timeout).await?;
    let seen = written.head.clone();
    note(context, &rule.ledger, |noted| {
        noted.pushed = Some(seen);
        noted.pushed_to = Some(repository);
        noted.pushed_at = Some(unix_seconds(SystemTime::now()));
    })
    .await;
    let publish::Written { head, source, rows } = written;
    Ok(Published { database: rule.database.clone(), rows, source, head, pushed })
}

/// A ledger's database that is not there is made, if the public repository has no data of one.
async fn create(work: &mut Work, rule: &Rule) -> Result<(), LedgerError> {
    // Before anything is made: what does not fit is told at once.
    let source = look::main_of(&mut work.session, &rule.database).await?;
    look::shapes(&mut work.session, rule, &source).await?;
    if push::look_there(rule).await?.dolt_data.is_some() {
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

/// Checks the commits that were not checked yet.
async fn check_unchecked(
    context: &Arc<Context>,
    work: &mut Work,
    rule: &Rule,
    head: &str,
    progress: &Progress,
) -> Result<(), LedgerError> {
    let noted = context.remotes.ledgers.of(&rule.ledger);
    let from = match noted.checked {
        Some(checked) if look::is_ancestor(&mut work.session, &rule.ledger, &checked, head).await? => {
            Some(checked)
        }
        _ => None,
    };
    audit::check(&mut work.session, rule, from.as_deref(), head, progress).await?;
    let head = head.to_owned();
    note(context, &rule.ledger, |noted| noted.checked = Some(head)).await;
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

/// Tells people, if it needs one of them.
fn tell(context: &Context, rule: &Rule, published: &Result<Published, LedgerError>) {
    let (ledger, remote) = (rule.ledger.as_str(), rule.config.remote.to_string());
    match published {
        Ok(_) => {
            context.alerts.note(ledger, &remote, Outcome::UpToDate, "");
            context.alerts.clear(Kind::Ledger, ledger, &remote);
        }
        Err(LedgerError::Remote { outcome, text, .. }) => {
            context.alerts.note(ledger, &remote, *outcome, text)
        }
        Err(error) if error.needs_somebody() => {
            let text = error.to_string();
            let advice = "what to do is in the text; then `branchline ledger publish`";
            context
                .alerts
                .raise(Kind::Ledger, Said { database: ledger, remote: &remote, text: &text, advice });
        }
        Err(error) => context.alerts.note(ledger, &remote, Outcome::DoltError, &error.to_string()),
    }
}

/// Takes the ledger's database away, so that the next publishing begins a new history. The public repository has to be
/// another one, without data: what was public stays public.
pub async fn rebuild(
    context: &Arc<Context>,
    mut rule: Rule,
    progress: &Progress,
) -> Result<Published, LedgerError> {
    let mut work = Work::begin(context, &mut rule).await?;
    push::refuse_mixed(&mut work.session, &rule, &settings(context)).await?;
    let source = look::main_of(&mut work.session, &rule.database).await?;
    look::shapes(&mut work.session, &rule, &source).await?;
    if push::look_there(&rule).await?.dolt_data.is_some() {
        return Err(LedgerError::Refused(format!(
            "{} holds Dolt data: a new ledger is never pushed over an old one. Set `remote` in [remotes.{}.ledger] to an \
             empty repository first",
            rule.config.remote, rule.database
        )));
    }
    let is_there = work.has_ledger(&rule).await?;
    let mut kept = context.remotes.ledgers.of(&rule.ledger).withdrawn;
    if is_there {
        kept.extend(look::all_withdrawn(&mut work.session, &rule).await?);
    }
    // What was withdrawn stays so; and its keys are not named in the new one.
    let noted = note(context, &rule.ledger, |noted| {
        *noted = state::Noted { withdrawn: kept, ..state::Noted::default() };
    });
    if !noted.await {
        return Err(LedgerError::Refused(format!(
            "the rows that were withdrawn from the ledger of {} can't be written to {}: nothing was changed",
            rule.database,
            context.config.state_dir.join("ledgers.json").display()
        )));
    }
    if is_there {
        let sql = format!("DROP DATABASE {}", sql_identifier(&rule.ledger));
        work.session.rows(&sql).await.map_err(LedgerError::at("take the old ledger away"))?;
    }
    drop(work);
    publish(context, rule, How::default(), progress).await
}
