//! What a command does to transactions and lanes, for the session it runs in.
//! Owns the way from a text's effects to a [`Unit`]: heads, routes, what names mean. Does not run anything.
//! Always: what can't be told takes the lanes of everything that the session could write.

use std::sync::Arc;

use tokio::time::Instant;

use super::client_socket::Incoming;
use super::command::Plan;
use super::heads::Place;
use super::job::{Body, Job};
use super::prepared::{self, Execute};
use super::route::Requested;
use super::routed::Session;
use crate::admit::{LaneKey, Reads};
use crate::branch::list::is_peer;
use crate::dolt::procedures::{self, Call, Network, Takes};
use crate::observe::redact;
use crate::statement::attribution::{Attributed, Place as Where};
use crate::statement::changing::Changing;
use crate::statement::classify::Pins;
use crate::statement::effects::{Autocommit, Class, Effect, Effects};
use crate::statement::lexer::{DoubleQuotes, Lexer, TokenKind};
use crate::statement::transaction::{self, Does, Unit, WhyNot};
use crate::statement::written::written;
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
        // Long data and cursors are with the backend: a second time it would be another execution.
        let once = incoming.command == Command::StmtFetch
            || incoming.command == Command::StmtExecute
                && (head.get(5).is_some_and(|flags| *flags != 0)
                    || plan
                        .statement
                        .and_then(|id| self.prepared.get(id))
                        .is_some_and(|known| known.long_data));
        let (unit, opaque, begin_text) = match &plan.runs {
            Some(_) => self.unit_of_text(incoming, &mut plan).await,
            None => (self.unit_of_command(incoming.command), self.opaque_command(incoming), None),
        };
        let wants = match incoming.command {
            // It reads no row: the snapshot is taken when it is executed, under the lane if it writes.
            Command::StmtPrepare if !self.transaction.is_odd() => transaction::Plan::default(),
            _ => self.transaction.plan(&unit, self.state.autocommit),
        };
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
            once,
            sent: false,
            deadline,
            budget,
            tries: 0,
            before: Vec::new(),
            touches: Vec::new(),
            clock: 0,
            sent_at: std::time::Instant::now(),
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
        let text = self.called_with(incoming, plan, &text).unwrap_or(text);
        let is_known = match incoming.command {
            Command::StmtExecute => {
                plan.statement.and_then(|id| self.prepared.get(id)).is_some_and(|known| known.text.is_some())
            }
            _ => incoming.is_whole(),
        };
        let effects = Effects::of(&text, is_known, DoubleQuotes::Text);
        let may_read_only = effects.whole
            && effects.statements.iter().all(|effect| {
                let calls =
                    dolt_call(effect).is_some_and(|call| call.takes != Takes::Nothing || call.commits);
                !effect.class.writes() && !effect.locking && !calls
            });
        let single = effects.whole && effects.statements.len() == 1;
        let mut unit = Unit {
            does: does_of(&effects, &text, self.state.autocommit),
            repeatable: effects.statements.iter().all(is_repeatable),
            single,
            ..Unit::nothing()
        };
        // Most commands are reads outside of a transaction: nobody asks what they read, nor where.
        let is_outside = self.transaction.is_closed() && self.state.autocommit;
        // A DOLT_REMOTE writes no branch, but refs of remotes.
        let calls_dolt = effects.statements.iter().any(|effect| dolt_call(effect).is_some());
        if may_read_only && is_outside && unit.does != Does::Anything && !calls_dolt {
            let begin = begin_text(&unit, &text);
            return (unit, None, begin);
        }
        self.learn_current_default().await;
        plan.label = redact::cut(&redact::statement(&text), LABEL_CHARS_MAX);
        unit.changes_names = !effects.whole || effects.statements.iter().any(changes_names);
        for effect in &effects.statements {
            if let Class::Call { procedure, literal_args } = &effect.class
                && procedure == "dolt_push"
            {
                unit.pushes.push(literal_args.clone());
            }
            if let Some(call) = dolt_call(effect) {
                unit.dolt = true;
                unit.dolt_commit |= call.dolt_commits;
                unit.surely_commits &= surely_commits(effect);
                if let (Network::FetchFirst(args), true) = (call.network, unit.single) {
                    unit.fetches = Some(args);
                }
            }
        }
        let attributed = self.attribute(&text, &effects).await;
        let calls = matches!(effects.statements.as_slice(), [Effect { class: Class::Call { .. }, .. }]);
        if unit.does == Does::Anything
            && calls
            && effects.whole
            && !unit.dolt
            && !attributed.ends_transactions
        {
            unit.does = Does::Dml;
        }
        self.take_lanes_into(&attributed, &mut unit).await;
        unit.peer = peer_written(&unit, &text);
        unit.ledger = self.ledger_written(&unit, &effects, &attributed, &text);
        let opaque = match effects.statements.iter().any(|effect| is_opaque(effect, &text)) {
            true => Some(WhyNot::SessionState),
            false => self.opaque_text(incoming, plan, &attributed, &unit),
        };
        let begin = begin_text(&unit, &text);
        (unit, opaque, begin)
    }

    /// A prepared CALL with its values: what Dolt's procedures take depends on them.
    fn called_with(&self, incoming: &Incoming, plan: &Plan, text: &[u8]) -> Option<Vec<u8>> {
        let is_call = text.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"call"));
        if incoming.command != Command::StmtExecute || !incoming.is_whole() || !is_call {
            return None;
        }
        let known = self.prepared.get(plan.statement?)?;
        let payload = self.client.head(incoming);
        let execute = Execute::read(payload, known.params)?;
        let types = execute.types(payload, known.params).unwrap_or(&known.types);
        prepared::with_values(text, &execute, payload, known.params, types)
    }

    /// What a text reads and writes, by its words and by what they mean.
    async fn attribute(&self, text: &[u8], effects: &Effects) -> Attributed {
        let asks = |effect: &Effect| {
            matches!(effect.class, Class::DatabaseDdl | Class::Use { .. })
                || dolt_call(effect).is_some_and(|call| names_branches(&call.takes))
                || effect.qualifiers.iter().any(|qualifier| qualifier.revision.is_some())
        };
        let listing = match effects.statements.iter().any(asks) {
            true => self.listing().await.ok(),
            false => None,
        };
        let head = |database: &str, revision: Option<&str>| match (revision, &listing) {
            (None, _) if self.heads.knows(database) || self.context.branches.may_have(database) => {
                Some(self.lane_of(database).branch().to_string())
            }
            (None, _) => None,
            (Some(revision), None) => Some(revision.to_owned()),
            (Some(revision), Some(listing)) => listing
                .branches(database)
                .find(|known| known.eq_ignore_ascii_case(revision))
                .map(str::to_owned),
        };
        let place = Where { database: self.state.database.as_deref(), head: &head };
        self.context.catalog.attribute(text, effects, &place).await
    }

    /// Adds what was attributed, whole databases branch by branch.
    async fn take_lanes_into(&mut self, attributed: &Attributed, unit: &mut Unit) {
        let Attributed { writes, reads, unattributable, .. } = attributed;
        let key = |(database, branch): &(String, String)| LaneKey::new(database, branch);
        unit.writes.extend(writes.branches.iter().map(key));
        for lane in reads.branches.iter().map(key).chain(unit.writes.clone()) {
            unit.reads.lane(&lane);
        }
        for database in reads.databases.iter().chain(&writes.databases) {
            unit.reads.database(database);
        }
        let everything = *unattributable || writes.anything;
        if everything || reads.anything {
            unit.reads.everything();
        }
        let may_write = !matches!(unit.does, Does::Nothing | Does::Read);
        if may_write && (everything || !writes.databases.is_empty()) {
            unit.writes.extend(self.current_lane());
            let Ok(listing) = self.listing().await else {
                unit.unknown_lanes = true;
                return;
            };
            for database in listing.databases() {
                if everything || writes.databases.contains(&database.to_lowercase()) {
                    unit.writes.insert(self.lane_of(database));
                    unit.writes.extend(listing.branches(database).map(|name| LaneKey::new(database, name)));
                }
            }
        }
    }

    /// Why a transaction can't be run again after this command.
    fn opaque_text(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        attributed: &Attributed,
        unit: &Unit,
    ) -> Option<WhyNot> {
        if !incoming.is_whole() {
            return Some(WhyNot::LongCommand);
        }
        if matches!(unit.does, Does::Anything) {
            return Some(WhyNot::Opaque);
        }
        // ROLLBACK does not take rows of a temporary table back.
        let temporary = unit.does == Does::Dml && self.state.pins.contains(Pins::TEMPORARY_TABLE);
        if temporary || plan.runs.as_ref().is_some_and(|runs| !runs.pins.is_empty()) {
            return Some(WhyNot::SessionState);
        }
        if incoming.command == Command::StmtExecute
            && (plan.statement.and_then(|id| self.prepared.get(id)).is_some_and(|known| known.long_data)
                || self.client.head(incoming).get(5).is_some_and(|flags| *flags != 0))
        {
            return Some(WhyNot::ClientData);
        }
        let changing = attributed.changing;
        let feeds_a_write = unit.does == Does::Dml && (!changing.is_empty() || attributed.hidden_changing);
        if feeds_a_write || changing.contains(Changing::SESSION) || changing.contains(Changing::LOCK) {
            return Some(WhyNot::ChangingValue);
        }
        None
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
fn does_of(effects: &Effects, text: &[u8], autocommit: bool) -> Does {
    let mut all = Does::Nothing;
    let single = effects.statements.len() == 1;
    for effect in &effects.statements {
        let one = match &effect.class {
            Class::Read | Class::Export if effect.locking => Does::LockingRead,
            Class::Read | Class::Export => Does::Read,
            Class::Dml => Does::Dml,
            Class::Begin { consistent_snapshot, .. } => {
                // What is not understood whole is for Dolt to judge, now.
                Does::Begin { consistent: *consistent_snapshot || begin_form(text).is_none() }
            }
            Class::Commit { .. } => Does::Commit,
            Class::Rollback { .. } => Does::Rollback,
            Class::Savepoint => Does::Savepoint,
            Class::Ddl | Class::DatabaseDdl => Does::CommitsItself,
            Class::Call { .. } => match dolt_call(effect) {
                Some(call) if call.commits => Does::CommitsItself,
                Some(call) if call.takes == Takes::Nothing => Does::Nothing,
                // DOLT_ADD and its like: part of the transaction.
                Some(_) => Does::Dml,
                None => Does::Anything,
            },
            Class::Set { autocommit: Some(Autocommit::Unclear) } => Does::Anything,
            Class::Set { autocommit: Some(_) } if !single => Does::Anything,
            Class::Set { autocommit: Some(Autocommit::On) } if !autocommit => Does::CommitsItself,
            Class::Prepare | Class::Execute | Class::Unknown => Does::Anything,
            _ => Does::Nothing,
        };
        if single {
            all = one;
        } else {
            all = match (all, one) {
                (Does::Anything, _) | (_, Does::Anything) => Does::Anything,
                (_, Does::Begin { .. } | Does::Commit | Does::Rollback | Does::CommitsItself) => {
                    Does::Anything
                }
                (Does::Dml, _) | (_, Does::Dml) => Does::Dml,
                (Does::LockingRead, _) | (_, Does::LockingRead) => Does::LockingRead,
                (Does::Read, _) | (_, Does::Read) => Does::Read,
                (_, one) => one,
            };
        }
    }
    if effects.whole { all } else { Does::Anything }
}

fn dolt_call(effect: &Effect) -> Option<Call> {
    match &effect.class {
        Class::Call { procedure, literal_args } => procedures::call(procedure, literal_args.as_deref()),
        _ => None,
    }
}

/// Whether it must be known which branches there are.
fn names_branches(takes: &Takes) -> bool {
    match takes {
        Takes::Nothing => false,
        Takes::Branches { named, .. } => !named.is_empty(),
        Takes::Checkout(_) | Takes::Database | Takes::Server => true,
    }
}

/// Whether names may mean something else afterwards.
fn changes_names(effect: &Effect) -> bool {
    let is_call = matches!(effect.class, Class::Call { .. });
    effect.changes_names || (is_call && dolt_call(effect).is_none_or(|call| call.changes_names))
}

/// A branch that holds what another town has, if this writes there: all that it writes, or what it names first.
fn peer_written(unit: &Unit, text: &[u8]) -> Option<LaneKey> {
    if unit.writes.iter().all(|key| is_peer(key.branch())) {
        return unit.writes.first().cloned();
    }
    let (database, revision) = written(text).filter(|(_, revision)| is_peer(revision))?;
    Some(LaneKey::new(&database, &revision))
}

/// Whether it may be sent a second time when the first one's answer was lost.
fn is_repeatable(effect: &Effect) -> bool {
    match &effect.class {
        Class::Admin | Class::Export | Class::Temporary => false,
        Class::Call { .. } => false,
        _ => !effect.changing.contains(Changing::LOCK),
    }
}

/// What is sent in the place of a BEGIN.
fn begin_text(unit: &Unit, text: &[u8]) -> Option<Arc<[u8]>> {
    let is_begin = matches!(unit.does, Does::Begin { .. });
    is_begin.then(|| begin_form(text).map_or_else(|| Arc::from(text), |form| Arc::from(form.as_bytes())))
}

/// The plain forms of BEGIN that Dolt understands, in its own words.
fn begin_form(text: &[u8]) -> Option<&'static str> {
    let mut lexer = Lexer::new(text, DoubleQuotes::Text);
    let mut words = String::new();
    while let Some(token) = lexer.next_token() {
        match token.kind {
            TokenKind::Word => {
                words.push_str(std::str::from_utf8(lexer.bytes(token)).ok()?);
                words.push(' ');
            }
            TokenKind::Semicolon => {}
            _ => return None,
        }
    }
    words.make_ascii_uppercase();
    match words.trim_end() {
        "BEGIN" | "BEGIN WORK" | "START TRANSACTION" | "START TRANSACTION READ WRITE" => Some("BEGIN"),
        "START TRANSACTION READ ONLY" => Some("START TRANSACTION READ ONLY"),
        _ => None,
    }
}

/// Whether it commits an open transaction whenever it succeeds; of Dolt's procedures some may find nothing to do.
fn surely_commits(effect: &Effect) -> bool {
    match &effect.class {
        Class::Call { procedure, .. } => {
            matches!(
                procedure.as_str(),
                "dolt_commit" | "dolt_commit_hash_out" | "dolt_branch" | "dolt_reset" | "dolt_rm"
            )
        }
        _ => true,
    }
}

/// Whether it must not be run a second time: it changes the session, or what no ROLLBACK takes back.
fn is_opaque(effect: &Effect, text: &[u8]) -> bool {
    match &effect.class {
        Class::Set { .. } | Class::SetTransaction | Class::Temporary | Class::Admin | Class::Export => true,
        Class::Call { procedure, .. } => dolt_call(effect).is_some() && procedure != "dolt_add",
        Class::Other => {
            text.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"kill"))
        }
        // Its file is the client's.
        Class::Dml => text.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"load")),
        _ => false,
    }
}
