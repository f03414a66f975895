//! The session at the gates: which branches a statement is on, waiting while one of them is finished or dropped,
//! and going to main when it is no more.
//! Does not close gates: `branch` does. Always: nothing is sent to Dolt on a branch whose gate is closed unless
//! it belongs to a transaction that was open before, and no statement meets a branch that Branchline has deleted.

use std::time::SystemTime;

use tokio::time::Instant;

use super::backend::Trouble;
use super::client_socket::Incoming;
use super::command::Plan;
use super::heads::Place;
use super::job::{Body, Job};
use super::route::{Existence, Requested};
use super::routed::Session;
use super::state::HEAD_REF;
use crate::admit::LaneKey;
use crate::branch::gates::{Closed, Gate};
use crate::branch::vanished::BY_HAND;
use crate::branch::{Listing, sql_identifier, sql_literal, vanished};
use crate::clients::Doing;
use crate::dolt::errors;
use crate::observe::time::unix_seconds;
use crate::pool::{Answer, Question};
use crate::statement::classify::{Kind, Pins, Summary, mentions_database, revisions};
use crate::statement::effects::{Class, Effects};
use crate::statement::lexer::DoubleQuotes;
use crate::wire::command::Command;
use crate::wire::response::ErrInfo;

/// A branch that a session was on, and what became of it.
struct Departed {
    /// As the session named it.
    database: String,
    branch: String,
    /// Why the session is on main, for people.
    why: String,
    /// The current database was named with it.
    is_named: bool,
}

impl Session {
    /// The session is on this branch now.
    pub fn enter_branch(&self, database: &str, branch: &str) -> LaneKey {
        let key = LaneKey::new(database, branch);
        if self.here.as_ref() != Some(&key) {
            self.seen_here();
            self.context.book.saw(database, branch, unix_seconds(SystemTime::now()));
        }
        key
    }

    /// For those who ask when somebody was last on its branch.
    pub fn seen_here(&self) {
        if let Some(here) = &self.here {
            self.context.book.saw(here.database(), here.branch(), unix_seconds(SystemTime::now()));
        }
    }

    /// A command begins: waits while one of its branches is being finished or dropped, and follows those that
    /// went away.
    pub async fn step_in(
        &mut self,
        incoming: &Incoming,
        plan: &Plan,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        let on_data = matches!(
            incoming.command,
            Command::Query
                | Command::StmtPrepare
                | Command::StmtExecute
                | Command::StmtFetch
                | Command::FieldList
        );
        if !on_data || plan.kill.is_some() {
            self.follow_departures().await?;
            return Ok(());
        }
        loop {
            self.follow_departures().await?;
            let on = self.branches_of(incoming, plan);
            match self.presence.begin(&on) {
                // One may have gone between the look and the step.
                Ok(()) if self.context.gates.departures() == self.departures_seen => return Ok(()),
                Ok(()) => {}
                Err(closed) => self.wait_at_gate(&on, closed, deadline).await?,
            }
        }
    }

    /// A command is over.
    pub fn step_out(&mut self) {
        if !self.transaction.is_open() {
            self.presence.end();
        }
    }

    async fn wait_at_gate(
        &mut self,
        on: &[LaneKey],
        closed: Closed,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        self.entry().update(|view| view.doing = Doing::WaitingAtGate);
        let opened = tokio::time::timeout_at(deadline, self.context.gates.opened(on)).await;
        self.entry().update(|view| view.doing = Doing::Running);
        opened.map_err(|_| {
            let budget = self.context.config.lanes.budget.as_secs();
            let text = format!(
                "Lock wait timeout exceeded; try restarting transaction: {closed}, and this statement has waited for \
                 its end for {budget} s (lanes.budget_s)"
            );
            Trouble::Tell(ErrInfo::new(1205, "HY000", text))
        })
    }

    /// Branches that a command is on, but for those where Dolt puts new sessions.
    fn branches_of(&self, incoming: &Incoming, plan: &Plan) -> Vec<LaneKey> {
        let mut on: Vec<LaneKey> = self.here.iter().cloned().collect();
        let is_here = |database: &str| {
            self.here.as_ref().is_some_and(|here| here.database().eq_ignore_ascii_case(database))
        };
        let is_elsewhere =
            self.heads.all().any(|head| !is_here(&head.database) && branch_of(&head.place).is_some());
        let text = self.text_of(incoming, plan);
        if is_elsewhere || self.state.head_refs().next().is_some() {
            let current = self.state.database.as_deref().map(Requested::parse);
            let is_meant = |database: &str| {
                current.as_ref().is_some_and(|asked| {
                    asked.branch.is_none() && asked.database.eq_ignore_ascii_case(database)
                }) || mentions_database(text, database)
            };
            for head in self.heads.all() {
                if let Some(branch) = branch_of(&head.place)
                    && is_meant(&head.database)
                {
                    on.push(LaneKey::new(&head.database, branch));
                }
            }
            for (database, branch) in self.state.head_refs() {
                if is_meant(database) {
                    on.push(LaneKey::new(database, &branch));
                }
            }
        }
        on.extend(revisions(text).iter().map(|(database, branch)| LaneKey::new(database, branch)));
        on
    }

    fn text_of<'a>(&'a self, incoming: &Incoming, plan: &Plan) -> &'a [u8] {
        match (incoming.command, plan.statement) {
            (Command::Query | Command::StmtPrepare, _) => &self.client.head(incoming)[1..],
            (_, Some(id)) => {
                self.prepared.get(id).and_then(|known| known.text.as_deref()).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Decides the heads; again if a branch went away while they were set.
    pub async fn ensure_routed_here(&mut self) -> Result<(), Trouble> {
        let Err(trouble) = self.ensure_routed().await else { return Ok(()) };
        if self.follow_departures().await? { Ok(()) } else { Err(trouble) }
    }

    /// Puts the session on main in each database where its branch went away since it last looked; whether there
    /// was one.
    pub async fn follow_departures(&mut self) -> Result<bool, Trouble> {
        let gates = self.context.gates.clone();
        let (seen, now) = (self.departures_seen, gates.departures());
        if seen == now {
            return Ok(false);
        }
        let on: Vec<(String, String, bool)> = self
            .all_branches()
            .into_iter()
            .filter(|(database, branch, _)| gates.has_gone_since(seen, &LaneKey::new(database, branch)))
            .collect();
        let mut departed = Vec::new();
        if !on.is_empty() {
            let listing = self.listing().await?;
            departed = on.into_iter().filter_map(|on| self.departed(on, &listing)).collect();
        }
        self.departures_seen = now;
        if departed.is_empty() {
            return Ok(false);
        }
        self.leave_branches(&departed).await?;
        Ok(true)
    }

    /// All branches that the session is on: database, branch, and whether the current database was named with it.
    pub fn all_branches(&self) -> Vec<(String, String, bool)> {
        let mut on: Vec<(String, String, bool)> = self
            .heads
            .all()
            .filter_map(|head| {
                branch_of(&head.place).map(|branch| (head.database.clone(), branch.to_owned(), false))
            })
            .collect();
        on.extend(self.state.head_refs().map(|(database, branch)| (database.to_owned(), branch, false)));
        let asked = self.state.database.as_deref().map(Requested::parse);
        if let Some(Requested { database, branch: Some(branch) }) = asked {
            on.push((database, branch, true));
        }
        on
    }

    /// What became of a branch; none if there is one of this name again.
    fn departed(
        &self,
        (database, branch, is_named): (String, String, bool),
        listing: &Listing,
    ) -> Option<Departed> {
        if listing.existence(&database, &branch) != Existence::Missing {
            return None;
        }
        let database = listing.database(&database).map_or(database, str::to_owned);
        let why = match self.context.book.tombstone(&database, &branch) {
            Some(tombstone) => format!("was on {branch}, which was {}", tombstone.told()),
            None => format!("was on {branch}, which is no more"),
        };
        Some(Departed { database, branch, why, is_named })
    }

    /// Its branches are no more: the session, and its backend if it has one, go to main.
    async fn leave_branches(&mut self, departed: &[Departed]) -> Result<(), Trouble> {
        let lost_transaction = self.transaction.is_open();
        for gone in departed {
            self.heads.departed(&gone.database, &gone.why);
            self.state.forget_head_ref(&gone.database);
            let default = self.context.branches.default_branch(&gone.database);
            self.defaults.insert(gone.database.to_lowercase(), default);
            if gone.is_named {
                self.state.database = Some(gone.database.clone());
            }
        }
        let moved = self.move_backend(departed).await;
        // What Dolt forgot to clear, the ROLLBACK has cleared.
        if lost_transaction || self.transaction.is_odd() {
            self.close_transaction();
        }
        self.presence.end();
        self.show();
        moved?;
        let Some(Departed { branch, why, .. }) = departed.first().filter(|_| lost_transaction) else {
            return Ok(());
        };
        let text = format!(
            "serialization failure: the transaction on {branch} was rolled back, as the session {why}; run the whole \
             transaction again, on main"
        );
        Err(Trouble::Tell(ErrInfo::new(1213, "40001", text)))
    }

    /// Moves what the session has open in Dolt, so that what it is pinned by stays. One that can't be moved is
    /// dropped: the next is made as the tracked state says.
    async fn move_backend(&mut self, departed: &[Departed]) -> Result<(), Trouble> {
        // They belonged to `database/branch`, and went with it.
        let lost_tables =
            self.state.pins.contains(Pins::TEMPORARY_TABLE) && departed.iter().any(|gone| gone.is_named);
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        let mut questions = vec![Question::query("ROLLBACK")];
        for gone in departed {
            let name = sql_identifier(&format!("{}{HEAD_REF}", gone.database));
            let main = self.context.branches.default_branch(&gone.database);
            questions.push(Question::Query(format!("SET {name} = {}", sql_literal(&main))));
        }
        questions.push(Question::InitDb(self.state.database.clone().unwrap_or_default()));
        self.in_flight = true;
        let asked = backend.ask(&questions).await;
        self.in_flight = false;
        self.state.residue = false;
        let is_moved =
            asked.is_ok_and(|answers| !answers.iter().any(|answer| matches!(answer, Answer::Err(_))));
        if is_moved && !lost_tables {
            return Ok(());
        }
        self.backend = None;
        self.entry().update(|view| view.backend_id = None);
        if self.state.pins.is_empty() {
            return Ok(());
        }
        let why = departed.first().map(|gone| gone.why.clone()).unwrap_or_default();
        let text = format!(
            "This session {why}, and it cannot be moved to main because it used: {}. Branchline closes it; connect \
             again",
            self.state.pins
        );
        Err(Trouble::TellAndEnd(ErrInfo::new(1105, "HY000", text)))
    }

    /// Gates of the branches that the client is about to delete or rename itself.
    pub fn close_deleted(&self, job: &Job) -> Vec<Gate> {
        let deletes =
            |kind: &Kind| matches!(kind, Kind::Call { procedure, .. } if procedure == "dolt_branch");
        let is_call = job.plan.runs.as_ref().is_some_and(|runs| runs.statements.iter().any(deletes));
        let (Body::Whole(payload), Command::Query, true) = (&job.body, job.command, is_call) else {
            return Vec::new();
        };
        let Some(database) = self.state.database.as_deref().map(|name| Requested::parse(name).database)
        else {
            return Vec::new();
        };
        let effects = Effects::of(&payload[1..], true, DoubleQuotes::Text);
        let mut gates = Vec::new();
        for effect in &effects.statements {
            let Class::Call { procedure, literal_args: Some(args) } = &effect.class else { continue };
            let is_flag = |arg: &&String| arg.starts_with('-');
            let ends = ["-d", "-D", "--delete", "-df", "-Df", "-m", "-M", "--move"];
            if procedure != "dolt_branch" || !args.iter().any(|arg| ends.contains(&arg.as_str())) {
                continue;
            }
            let by = self.entry().view().account;
            let named = args.iter().filter(|arg| !is_flag(arg));
            gates.extend(
                named.filter_map(|name| self.context.gates.close(&database, name, BY_HAND, &by).ok()),
            );
        }
        gates
    }

    /// Dolt says that the session's branch is not there: somebody deleted it past Branchline's commands. Goes to
    /// main; what the client is told, as its statement was not run. None if it is another database that Dolt
    /// doesn't find.
    pub async fn left_vanished(&mut self, message: &str) -> Option<ErrInfo> {
        let message = message.to_lowercase();
        let is_told = |(database, branch, _): &(String, String, bool)| {
            errors::is_branch_not_found(&message)
                || message.contains(&format!("{database}/{branch}").to_lowercase())
        };
        if !self.all_branches().iter().any(is_told) {
            return None;
        }
        vanished::notice(&self.context).await.ok()?;
        match self.follow_departures().await {
            Ok(false) => None,
            Ok(true) => {
                let reason = self.entry().view().reason;
                let text = format!(
                    "This session {reason}: it is on main now, and this statement was not run; run it again if it \
                     should be run there"
                );
                Some(ErrInfo::new(1105, "HY000", text))
            }
            Err(trouble) => Some(trouble.into_err()),
        }
    }

    /// Says what became of a branch that is asked for by name and is no more; Dolt would only say that it isn't
    /// there.
    pub async fn refuse_departed(&self, plan: &Plan, summary: Option<&Summary>) -> Result<(), Trouble> {
        let used =
            summary.into_iter().flat_map(|summary| &summary.statements).filter_map(|kind| match kind {
                Kind::Use { database } => Some(database),
                _ => None,
            });
        for name in plan.database.iter().chain(used) {
            self.check_departed(name).await?;
        }
        Ok(())
    }

    /// The same for one name.
    pub async fn check_departed(&self, name: &str) -> Result<(), Trouble> {
        let Requested { database, branch: Some(branch) } = Requested::parse(name) else { return Ok(()) };
        let Some(tombstone) = self.context.book.tombstone(&database, &branch) else { return Ok(()) };
        if self.listing().await?.existence(&database, &branch) != Existence::Missing {
            return Ok(());
        }
        let text = format!(
            "database not found: {database}/{branch}: branch {branch} was {}; use {database}, or make the branch \
             again",
            tombstone.told()
        );
        Err(Trouble::Tell(ErrInfo::new(1049, "HY000", text)))
    }

    /// Of branches that are to be forked, those that were not finished or dropped meanwhile.
    pub async fn still_to_fork(
        &mut self,
        pending: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>, Trouble> {
        let mut left = Vec::new();
        for (database, branch) in pending {
            match self.context.book.tombstone(&database, &branch) {
                Some(tombstone)
                    if self.listing().await?.existence(&database, &branch) == Existence::Missing =>
                {
                    let why = format!("{branch} was {}", tombstone.told());
                    self.heads.departed(&database, &why);
                    self.show();
                }
                _ => left.push((database, branch)),
            }
        }
        Ok(left)
    }
}

/// The branch that a session is on, or is about to get.
fn branch_of(place: &Place) -> Option<&str> {
    match place {
        Place::Routed(branch) | Place::Chosen(branch) | Place::Pending(branch) => Some(branch),
        Place::Default | Place::Refused(_) => None,
    }
}
