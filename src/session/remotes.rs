//! A client's own calls of Dolt's remote procedures: they take turns with Branchline's pushes, which in turn keep away
//! while a database is merged or garbage-collected. Decides nothing about lanes.

use std::time::Duration;

use tokio::time::Instant;

use super::ending::Ending;
use super::job::Job;
use super::routed::Session;
use crate::dolt::procedures::{self, Network};
use crate::remote::ledger;
use crate::remote::turns::{Held, Turn};
use crate::statement::attribution::{Attributed, Touched};
use crate::statement::classify::Kind;
use crate::statement::effects::{Class, Effect, Effects};
use crate::statement::relay;
use crate::statement::transaction::{Does, Unit};
use crate::statement::written::target;
use crate::wire::response::ErrInfo;

/// Past a push's own time limit it is over.
const BEYOND_TIMEOUT: Duration = Duration::from_secs(30);
/// One who holds lanes must not wait for one who may be waiting for them.
const WITH_LANES: Duration = Duration::from_secs(2);

/// While these run, no push of the database begins.
const HOLDING: [&str; 6] =
    ["dolt_cherry_pick", "dolt_gc", "dolt_merge", "dolt_pull", "dolt_rebase", "dolt_revert"];

/// What a statement keeps others from while it runs.
#[derive(Debug, Default)]
pub struct AtRemotes {
    _turn: Option<Turn>,
    _held: Option<Held>,
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

    /// Waits for the database's turn at its remotes, if the command talks to one.
    pub async fn turn_at_remotes(&mut self, job: &mut Job) -> Result<AtRemotes, Ending> {
        let Some(runs) = &job.plan.runs else { return Ok(AtRemotes::default()) };
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
            return Ok(AtRemotes::default());
        }
        let Some(lane) = self.current_lane() else { return Ok(AtRemotes::default()) };
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
                taken = tokio::time::timeout(wait, remotes.turns.take(lane.database(), None)) => taken.ok(),
                ending = relay::client_gone(&mut self.client) => return Err(ending),
            };
            // However long that took, the statement's own time begins now.
            job.deadline = Instant::now() + job.budget;
        }
        Ok(AtRemotes { _turn: turn, _held: held })
    }
}
