//! What a command does to transactions and lanes, for the session it runs in.
//! Owns the way from a text's effects to a [`Unit`]: heads, routes, what names mean. Does not run anything.
//! Always: what can't be told takes the lanes of everything that the session could write.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::client_socket::Incoming;
use super::command::Plan;
use super::heads::Place;
use super::job::{Body, Job};
use super::route::Requested;
use super::routed::Session;
use crate::admit::{LaneKey, Reads};
use crate::dolt::procedures::{self, Takes};
use crate::observe::redact;
use crate::statement::changing::Changing;
use crate::statement::effects::{Autocommit, Class, Effect, Effects};
use crate::statement::fate::StateBefore;
use crate::statement::lexer::DoubleQuotes;
use crate::statement::transaction::{Does, Unit, WhyNot};
use crate::wire::command::Command;

/// Characters of a statement that are shown to people.
const LABEL_CHARS_MAX: usize = 200;

impl Session {
    /// A command with everything that is known of it before it runs.
    pub async fn job(&mut self, incoming: &Incoming, mut plan: Plan, deadline: Instant) -> Job {
        let head = self.client.head(incoming);
        let body = match plan.kill.as_mut().and_then(|kill| kill.text.take()) {
            Some(text) if incoming.is_whole() => {
                let mut payload = vec![Command::Query.byte()];
                payload.extend(text);
                Body::Whole(payload)
            }
            _ if incoming.is_whole() => Body::Whole(head.to_vec()),
            _ => Body::Streaming(*incoming),
        };
        let prepares = (incoming.command == Command::StmtPrepare && incoming.is_whole())
            .then(|| Arc::<[u8]>::from(&head[1..]));
        let (unit, opaque, begin_text) = match &plan.runs {
            Some(_) => self.unit_of_text(incoming, &mut plan).await,
            None => (self.unit_of_command(incoming.command), self.opaque_command(incoming), None),
        };
        let wants = self.transaction.plan(&unit, self.state.autocommit);
        let budget = self.context.config.lanes.budget;
        Job {
            command: incoming.command,
            body,
            plan,
            unit,
            wants,
            prepares,
            begin_text,
            opaque,
            deadline,
            budget,
            tries: 0,
            before: StateBefore::Unknown,
            clock: 0,
        }
    }

    /// Of a command without SQL.
    fn unit_of_command(&self, command: Command) -> Unit {
        let does = match command {
            Command::FieldList | Command::StmtFetch => Does::Read,
            _ => Does::Nothing,
        };
        let mut reads = Reads::default();
        if let (Does::Read, Some(lane)) = (does, self.current_lane()) {
            reads.lane(&lane);
        }
        Unit { does, reads, ..Unit::nothing() }
    }

    fn opaque_command(&self, incoming: &Incoming) -> Option<WhyNot> {
        match incoming.command {
            Command::StmtFetch => Some(WhyNot::ClientData),
            Command::InitDb | Command::Ping | Command::FieldList => None,
            _ => None,
        }
    }

    async fn unit_of_text(
        &mut self,
        incoming: &Incoming,
        plan: &mut Plan,
    ) -> (Unit, Option<WhyNot>, Option<Arc<[u8]>>) {
        let text = self.statement_text(incoming, plan);
        let effects = Effects::of(&text, incoming.is_whole(), DoubleQuotes::Text);
        plan.label = redact::statement(&String::from_utf8_lossy(&text), LABEL_CHARS_MAX);
        let may_read_only = effects.whole
            && effects.statements.iter().all(|effect| !effect.class.writes() && !effect.locking);
        let single = effects.whole && effects.statements.len() == 1;
        let mut unit = Unit { single, ..Unit::nothing() };
        // Most commands are reads outside of a transaction: nobody asks what they read.
        if may_read_only && !self.transaction.is_begun() && self.state.autocommit {
            unit.does = does_of(&effects, self.state.autocommit);
            if !matches!(unit.does, Does::Anything) {
                unit.repeatable = effects.statements.iter().all(is_repeatable);
                let begin = begin_text(&unit, &text);
                return (unit, None, begin);
            }
        }
        unit.does = does_of(&effects, self.state.autocommit);
        unit.repeatable = effects.statements.iter().all(is_repeatable);
        for effect in &effects.statements {
            self.attribute(effect, &mut unit).await;
        }
        if !effects.whole {
            self.take_everything(&mut unit).await;
        }
        let opaque = self.opaque_text(incoming, plan, &effects, &unit);
        let begin = begin_text(&unit, &text);
        (unit, opaque, begin)
    }

    /// Why a transaction can't be run again after this command.
    fn opaque_text(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        effects: &Effects,
        unit: &Unit,
    ) -> Option<WhyNot> {
        if !incoming.is_whole() {
            return Some(WhyNot::LongCommand);
        }
        if matches!(unit.does, Does::Anything) {
            return Some(WhyNot::Opaque);
        }
        if plan.runs.as_ref().is_some_and(|runs| !runs.pins.is_empty()) {
            return Some(WhyNot::SessionState);
        }
        if incoming.command == Command::StmtExecute
            && (plan.statement.and_then(|id| self.prepared.get(id)).is_some_and(|known| known.long_data)
                || self.client.head(incoming).get(5).is_some_and(|flags| *flags != 0))
        {
            return Some(WhyNot::ClientData);
        }
        let feeds_a_write = matches!(unit.does, Does::Dml);
        let changing = effects.changing();
        if (feeds_a_write && !changing.is_empty())
            || changing.contains(Changing::SESSION)
            || changing.contains(Changing::LOCK)
        {
            return Some(WhyNot::ChangingValue);
        }
        None
    }

    /// Adds what one statement takes and reads.
    async fn attribute(&mut self, effect: &Effect, unit: &mut Unit) {
        if effect.elsewhere.anything {
            unit.reads.everything();
        }
        let mut lanes: BTreeSet<LaneKey> = self.current_lane().into_iter().collect();
        for qualifier in &effect.qualifiers {
            if self.context.branches.may_have(&qualifier.database) {
                let lane = match &qualifier.revision {
                    Some(revision) => LaneKey::new(&qualifier.database, revision),
                    None => self.lane_of(&qualifier.database),
                };
                lanes.insert(lane);
            }
        }
        for lane in &lanes {
            unit.reads.lane(lane);
            if effect.elsewhere.branches {
                unit.reads.database(lane.database());
            }
        }
        match &effect.class {
            Class::Dml | Class::Ddl | Class::DatabaseDdl => unit.writes.extend(lanes),
            Class::Read | Class::Export if effect.locking => unit.writes.extend(lanes),
            Class::Call { procedure, literal_args } => {
                match procedures::call(procedure, literal_args.as_deref()) {
                    Some(call) => {
                        unit.dolt = true;
                        unit.dolt_commit |= call.dolt_commits;
                        self.take_for_procedure(call.takes, unit).await;
                    }
                    None => self.take_everything(unit).await,
                }
            }
            Class::Prepare | Class::Execute | Class::Unknown => self.take_everything(unit).await,
            _ => {}
        }
    }

    async fn take_for_procedure(&mut self, takes: Takes, unit: &mut Unit) {
        let Some(current) = self.current_lane() else {
            return;
        };
        let database = current.database().to_string();
        match takes {
            Takes::Nothing => {}
            Takes::Branches { current: own, named } => {
                if own {
                    unit.writes.insert(current);
                }
                unit.writes.extend(named.iter().map(|branch| LaneKey::new(&database, branch)));
            }
            Takes::Checkout(name) => {
                let is_branch = match self.listing().await {
                    Ok(listing) => listing.branches(&database).any(|known| known.eq_ignore_ascii_case(&name)),
                    Err(_) => false,
                };
                if !is_branch {
                    unit.writes.insert(LaneKey::new(&database, &name));
                    unit.writes.insert(current);
                }
            }
            Takes::Database => match self.listing().await {
                Ok(listing) => {
                    unit.writes.extend(listing.branches(&database).map(|b| LaneKey::new(&database, b)));
                    unit.writes.insert(current);
                }
                Err(_) => self.take_everything(unit).await,
            },
            Takes::Server => self.take_everything(unit).await,
        }
    }

    /// What can't be attributed takes everything that this session could write.
    async fn take_everything(&mut self, unit: &mut Unit) {
        unit.reads.everything();
        unit.writes.extend(self.current_lane());
        if let Ok(listing) = self.listing().await {
            for database in listing.databases() {
                unit.writes.insert(self.lane_of(database));
            }
        }
    }

    /// The lane of the current database's branch.
    pub fn current_lane(&self) -> Option<LaneKey> {
        let asked = self.state.database.as_deref().map(Requested::parse)?;
        Some(match asked.branch {
            Some(branch) => LaneKey::new(&asked.database, &branch),
            None => self.lane_of(&asked.database),
        })
    }

    /// The lane of the branch that the session is on in a database.
    pub fn lane_of(&self, database: &str) -> LaneKey {
        match self.heads.get(database).map(|head| &head.place) {
            Some(Place::Routed(branch) | Place::Chosen(branch)) => LaneKey::new(database, branch),
            _ => match self.defaults.get(&database.to_lowercase()) {
                Some(branch) => LaneKey::new(database, branch),
                None => LaneKey::new(database, &self.context.branches.default_branch(database)),
            },
        }
    }
}

/// What a text does to the transaction, all its statements together.
fn does_of(effects: &Effects, autocommit: bool) -> Does {
    let mut all = Does::Nothing;
    let single = effects.statements.len() == 1;
    for effect in &effects.statements {
        let one = match &effect.class {
            Class::Read | Class::Export if effect.locking => Does::LockingRead,
            Class::Read | Class::Export => Does::Read,
            Class::Dml => Does::Dml,
            Class::Begin { consistent_snapshot, .. } => Does::Begin { consistent: *consistent_snapshot },
            Class::Commit { .. } => Does::Commit,
            Class::Rollback { .. } => Does::Rollback,
            Class::Savepoint => Does::Savepoint,
            Class::Ddl | Class::DatabaseDdl => Does::CommitsItself,
            Class::Call { procedure, literal_args } => {
                match procedures::call(procedure, literal_args.as_deref()) {
                    Some(call) if call.commits => Does::CommitsItself,
                    Some(call) if call.takes == Takes::Nothing => Does::Nothing,
                    Some(_) => Does::CommitsItself,
                    None => Does::Anything,
                }
            }
            Class::Set { autocommit: Some(set) } if !autocommit && *set != Autocommit::Off => Does::Commit,
            Class::Prepare | Class::Execute | Class::Unknown => Does::Anything,
            _ => Does::Nothing,
        };
        if single {
            all = one;
        } else {
            all = match (all, one) {
                (Does::Anything, _) | (_, Does::Anything) => Does::Anything,
                (_, Does::Begin { .. } | Does::Commit | Does::Rollback | Does::CommitsItself) => Does::Anything,
                (Does::Dml, _) | (_, Does::Dml) => Does::Dml,
                (Does::LockingRead, _) | (_, Does::LockingRead) => Does::LockingRead,
                (Does::Read, _) | (_, Does::Read) => Does::Read,
                (_, one) => one,
            };
        }
    }
    if effects.whole { all } else { Does::Anything }
}

/// Whether it may be sent a second time when the first one's answer was lost.
fn is_repeatable(effect: &Effect) -> bool {
    match &effect.class {
        Class::Admin | Class::Export | Class::Temporary => false,
        Class::Call { .. } => false,
        _ => !effect.changing.contains(Changing::LOCK),
    }
}

fn begin_text(unit: &Unit, text: &[u8]) -> Option<Arc<[u8]>> {
    matches!(unit.does, Does::Begin { .. }).then(|| Arc::from(text))
}
