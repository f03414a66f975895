//! A client's own calls of Dolt's remote procedures: they take turns with Branchline's pushes, which in turn keep away
//! while a database is merged or garbage-collected. Decides nothing about lanes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::Context;
use super::ending::Ending;
use super::job::Job;
use super::routed::Session;
use crate::branch::sql_literal;
use crate::config::remotes::NAME_DEFAULT;
use crate::dolt::git;
use crate::dolt::procedures::{self, Network};
use crate::pool::Question;
use crate::remote::target::{not_pushed_by_clients, of_database};
use crate::remote::turns::{Held, Turn};
use crate::remote::{RemoteUrl, ledger};
use crate::statement::attribution::{Attributed, Touched};
use crate::statement::classify::Kind;
use crate::statement::effects::{Class, Effect, Effects};
use crate::statement::fate;
use crate::statement::relay;
use crate::statement::transaction::{Does, Unit};
use crate::statement::written::target;
use crate::wire::response::ErrInfo;

/// Past a push's own time limit it is over.
const BEYOND_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries to end what a statement started.
const END_AGAIN: Duration = Duration::from_millis(500);
/// One who holds lanes must not wait for one who may be waiting for them.
const WITH_LANES: Duration = Duration::from_secs(2);

/// While these run, no push of the database begins.
const HOLDING: [&str; 6] =
    ["dolt_cherry_pick", "dolt_gc", "dolt_merge", "dolt_pull", "dolt_rebase", "dolt_revert"];

/// What a statement keeps others from while it runs, and until it is gone from Dolt.
#[derive(Debug, Default)]
pub struct AtRemotes {
    /// Whose remotes it talks to, if it does.
    database: Option<String>,
    _turn: Option<Turn>,
    _held: Option<Held>,
}

impl AtRemotes {
    /// Ends the statement of a client that is gone, with all that it started at a remote. What does not end within `limit`
    /// keeps its turn, and is ended on for as long as a push may take.
    pub async fn end(self, context: &Arc<Context>, statement: (u64, u32), limit: Duration) {
        if self.end_within(context, statement, limit).await || self.database.is_none() {
            return;
        }
        let context = Arc::clone(context);
        tokio::spawn(async move {
            let limit = context.remotes.settings().timeout;
            self.end_within(&context, statement, limit).await;
        });
    }

    /// Whether it has ended. Again and again: Dolt may start a git for what it is told to end.
    async fn end_within(&self, context: &Context, (generation, id): (u64, u32), limit: Duration) -> bool {
        let ended = fate::end_statement(&context.dolt, generation, id, limit);
        let dir = self.database.as_deref().and_then(|database| context.remotes.database_dir(database));
        let Some((home, dir)) = context.dolt.home().zip(dir) else { return ended.await };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                has_ended = &mut ended => return has_ended,
                () = tokio::time::sleep(END_AGAIN) => {
                    git::end_processes(home, Some(&dir)).await;
                }
            }
        }
    }
}

impl Session {
    /// The public ledger that a command may write to: it names it, or is in it. What reaches one by a trigger or a
    /// procedure, or can't be told, is not known here: should it write there, nothing is published any more.
    pub(super) fn ledger_written(
        &self,
        unit: &Unit,
        effects: &Effects,
        attributed: &Attributed,
        text: &[u8],
    ) -> Option<String> {
        let may_write = matches!(unit.does, Does::Dml | Does::CommitsItself | Does::Anything);
        if !may_write || attributed.unattributable || attributed.writes.anything {
            return None;
        }
        let base = |database: &str| database.split(['/', '@']).next().unwrap_or_default().to_lowercase();
        let current = self.state.database.as_deref().map(base);
        let is_ledger = |database: &String| ledger::is_ledger(&self.context, database);
        let names = |effect: &Effect| match &effect.class {
            Class::Use { database } => vec![base(database)],
            Class::Dml | Class::Ddl | Class::DatabaseDdl => {
                effect.qualifiers.iter().map(|qualifier| qualifier.database.clone()).collect()
            }
            _ => Vec::new(),
        };
        let mut named: Vec<String> = effects.statements.iter().flat_map(names).collect();
        match effects.statements.as_slice() {
            [Effect { class: Class::DatabaseDdl, .. }] => return named.into_iter().find(is_ledger),
            // What it only reads is counted among what it writes.
            [_] if effects.whole => {
                let target =
                    target(text).map(|database| database.map(|name| base(&name)).or(current.clone()));
                if target.flatten().is_some_and(|database| !is_ledger(&database)) {
                    return None;
                }
            }
            _ => {}
        }
        named.extend(current);
        let Touched { branches, databases, .. } = &attributed.writes;
        named.into_iter().find(|name| {
            is_ledger(name)
                && (databases.contains(name) || branches.iter().any(|(database, _)| database == name))
        })
    }

    /// Why a command that writes to a public ledger is not run: what is there is published.
    pub fn refuses_ledger(&self, job: &Job) -> Option<ErrInfo> {
        let ledger = job.unit.ledger.as_ref()?;
        let text = format!(
            "{ledger} is a public ledger, which only Branchline writes: what is there is published for ever. `branchline ledger \
             withdraw` takes a row back; [remotes] in branchline.toml says what is published. Its rows can be copied with \
             INSERT … SELECT"
        );
        Some(ErrInfo::new(1290, "HY000", text))
    }

    /// Why a client's own push is not run: what it pushes does not belong where that would go.
    async fn refuses_push(&self, database: &str, job: &Job) -> Option<ErrInfo> {
        if job.unit.pushes.is_empty() {
            return None;
        }
        let refused = |text: String| Some(ErrInfo::new(1290, "HY000", text));
        // What comes before it may change where that is.
        if !job.unit.single {
            return refused("DOLT_PUSH has to be sent by itself: where it goes is checked first".to_owned());
        }
        let remotes = of_database(&self.context, database).await.ok()?;
        let settings = self.context.remotes.settings();
        let why = job.unit.pushes.iter().find_map(|args| {
            let named = args.as_deref().and_then(procedures::pushed_to);
            let is_meant = |(name, url): &&(String, RemoteUrl)| match named {
                Some(named) => name == named,
                // Dolt takes this one, or that of the branch.
                None => {
                    name == NAME_DEFAULT || remotes.len() == 1 || ledger::ledger_at(&settings, url).is_some()
                }
            };
            let refusal =
                |(_, url): &(String, RemoteUrl)| not_pushed_by_clients(&self.context, database, url);
            remotes.iter().filter(is_meant).find_map(refusal)
        })?;
        refused(format!(
            "{database} is not pushed there: {why}. `branchline remote list` shows where each database goes"
        ))
    }

    /// Fetches what a DOLT_PULL is about to merge, so that the lane need not wait for a network. Whatever goes wrong,
    /// the pull itself will say.
    pub async fn fetch_first(&mut self, args: &[String]) -> Result<(), Ending> {
        if self.ensure_backend_again().await.is_err() {
            return Ok(());
        }
        let args: Vec<String> = args.iter().map(|arg| sql_literal(arg)).collect();
        let question = Question::Query(format!("CALL DOLT_FETCH({})", args.join(", ")));
        let _ours = self.current_lane().zip(self.context.bypass.as_ref()).map(|(l, b)| b.touch(l.database()));
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        self.in_flight = true;
        let questions = [question];
        let fetched = tokio::select! {
            biased;
            fetched = backend.ask(&questions) => fetched,
            ending = relay::client_gone(&mut self.client) => return Err(ending),
        };
        self.in_flight = false;
        match fetched {
            Ok(_) => self.state.may_leave_residue(self.transaction.is_open()),
            Err(error) => {
                tracing::debug!(%error, "the fetch before a pull was lost");
                self.drop_backend();
            }
        }
        Ok(())
    }

    /// A client's forced push has succeeded: what was seen there before says nothing any more.
    pub async fn has_pushed(&self, job: &Job) {
        let is_forced = |args: &Option<Vec<String>>| args.as_deref().is_none_or(procedures::is_forced);
        let Some(database) = self.at_remotes.database.clone() else { return };
        if job.unit.pushes.iter().any(is_forced) {
            let remotes = Arc::clone(&self.context.remotes);
            let _ = tokio::task::spawn_blocking(move || remotes.records.forget_seen(&database)).await;
        }
    }

    /// Waits for the database's turn at its remotes, if the command talks to one. Inside: why it may not run.
    pub async fn turn_at_remotes(&mut self, job: &mut Job) -> Result<Result<AtRemotes, ErrInfo>, Ending> {
        let nothing = || Ok(Ok(AtRemotes::default()));
        let Some(runs) = &job.plan.runs else { return nothing() };
        let calls = |wanted: &dyn Fn(&str) -> bool| {
            runs.statements
                .iter()
                .any(|kind| matches!(kind, Kind::Call { procedure, .. } if wanted(procedure)))
        };
        let talks = |procedure: &str| {
            procedures::call(procedure, None).is_some_and(|call| call.network != Network::None)
        };
        let (network, holding) = (calls(&talks), calls(&|procedure| HOLDING.contains(&procedure)));
        if !network && !holding {
            return nothing();
        }
        let Some(lane) = self.current_lane() else { return nothing() };
        if let Some(refused) = self.refuses_push(lane.database(), job).await {
            return Ok(Err(refused));
        }
        let remotes = &self.context.remotes;
        let held = holding.then(|| remotes.turns.hold(lane.database()));
        let mut turn = None;
        if network {
            let wait = match self.transaction.is_closed() {
                true => remotes.settings().timeout + BEYOND_TIMEOUT,
                false => WITH_LANES,
            };
            turn = tokio::select! {
                biased;
                taken = tokio::time::timeout(wait, remotes.turns.take(lane.database(), None)) => match taken {
                    Ok(turn) => Some(turn),
                    Err(_) => return Ok(Err(busy(lane.database(), wait, self.transaction.is_closed()))),
                },
                ending = relay::client_gone(&mut self.client) => return Err(ending),
            };
            // However long that took, the statement's own time begins now.
            job.deadline = Instant::now() + job.budget;
        }
        let database = network.then(|| lane.database().to_string());
        Ok(Ok(AtRemotes { database, _turn: turn, _held: held }))
    }
}

fn busy(database: &str, waited: Duration, may_wait: bool) -> ErrInfo {
    let advice = match may_wait {
        true => "`branchline jobs` and SHOW PROCESSLIST show what",
        false => "in a transaction it is not waited for any longer: COMMIT first, or try again",
    };
    let text = format!(
        "Lock wait timeout exceeded: something else has talked to a remote of {database} for more than {} s, and one at a \
         time does; nothing was done. {advice}",
        waited.as_secs()
    );
    ErrInfo::new(1205, "HY000", text)
}
