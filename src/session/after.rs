//! What a command that came back has changed in the session.

use std::sync::Arc;

use super::backend::Trouble;
use super::command::Plan;
use super::ending::Ending;
use super::prepared::{BackendStatement, Prepared};
use super::routed::Session;
use crate::branch::vanished;
use crate::statement::classify::{Kind, Pins, Scope, Summary};
use crate::wire::command::Command;
use crate::wire::reply::{Outcome, ReplyTracker};

impl Session {
    /// Whether Dolt's leftover transaction must be rolled back before this command. It may hold a write
    /// that the client was told has failed, so that a BEGIN or COMMIT must not find it; but what the
    /// statement before has left can be asked for only as long as it is there.
    pub fn clears_residue(&self, plan: &Plan, command: Command) -> bool {
        if !self.state.residue || !self.state.autocommit || self.transaction.is_open() {
            return false;
        }
        match (command, &plan.runs) {
            (Command::Query | Command::StmtExecute, Some(runs)) => !matches!(
                runs.statements.first(),
                Some(Kind::Rollback | Kind::Diagnostics | Kind::Kill { .. }) | None
            ),
            // A cursor is open on it.
            (Command::StmtFetch, _) => false,
            (Command::FieldList, _) => true,
            _ => false,
        }
    }

    /// Takes what the reply says into the session's state.
    pub async fn after(
        &mut self,
        command: Command,
        plan: Plan,
        tracker: &ReplyTracker,
        text: Option<Arc<[u8]>>,
        is_opaque: bool,
    ) -> Result<(), Ending> {
        let ok = match tracker.outcome() {
            Some(Outcome::Ok(info)) => Some(*info),
            _ => None,
        };
        match command {
            Command::Query | Command::StmtExecute => {
                let before = self.state.database.clone();
                if let Some(info) = &ok {
                    self.state.saw_status(info);
                }
                if let Some(runs) = &plan.runs {
                    self.after_statements(runs, tracker);
                    let branches = |kind: &Kind| matches!(kind, Kind::Call { procedure, .. } if procedure == "dolt_branch");
                    if runs.statements.iter().any(branches)
                        && let Err(error) = vanished::notice(&self.context).await
                    {
                        tracing::debug!(%error, "cannot tell whether a branch was deleted");
                    }
                    let moved = may_have_moved(runs, tracker).or(is_opaque.then_some(Moved::Branch));
                    if let Some(moved) = moved {
                        self.ask_where_or_lose(moved).await;
                    }
                }
                if before != self.state.database {
                    self.show();
                }
                if let (Some(kill), Some(_)) = (plan.kill, ok)
                    && let Some(client) = kill.ends
                {
                    client.cancel.cancel();
                }
            }
            Command::InitDb if ok.is_some() => {
                // Dolt takes an empty name for no database.
                self.state.database = plan.database.filter(|database| !database.is_empty());
                self.show();
            }
            Command::StmtPrepare => {
                self.after_prepare(plan, tracker, text);
                // Dolt takes a snapshot to prepare in, and keeps it.
                self.state.may_leave_residue(self.transaction.is_open());
            }
            Command::SetOption if ok.is_some() => self.state.multi_statements = self.option_sent.take(),
            Command::ResetConnection => return self.after_reset(tracker).await,
            Command::FieldList => self.state.may_leave_residue(self.transaction.is_open()),
            _ => {}
        }
        Ok(())
    }

    fn after_statements(&mut self, runs: &Summary, tracker: &ReplyTracker) {
        let failed = tracker.had_err();
        // Dolt goes on after an error in the middle, so that any of several may have happened.
        let all_failed = failed && runs.statements.len() <= 1 && runs.whole;
        if !all_failed {
            for kind in &runs.statements {
                self.state.did(kind);
            }
            self.state.pins.insert(runs.pins);
            if failed && runs.statements.iter().any(|kind| matches!(kind, Kind::Set { .. })) {
                self.state.pins.insert(Pins::UNKNOWN_SET);
            }
        }
        let shows_warnings = runs.statements.contains(&Kind::Diagnostics);
        if failed || shows_warnings {
            self.state.may_leave_residue(self.transaction.is_open());
        } else if matches!(runs.statements.last(), Some(Kind::Begin | Kind::Commit | Kind::Rollback))
            && !failed
        {
            self.state.residue = false;
        }
    }

    fn after_prepare(&mut self, plan: Plan, tracker: &ReplyTracker, text: Option<Arc<[u8]>>) {
        let (Some(info), Some(id), Some(summary)) = (tracker.prepared(), plan.statement, plan.prepares)
        else {
            return;
        };
        let Some(backend) = &self.backend else { return };
        let backend = Some(BackendStatement { connection: backend.identity(), id: info.id });
        let prepared =
            Prepared { text, summary, params: info.params, types: Vec::new(), long_data: false, backend };
        self.prepared.insert(id, prepared);
    }

    async fn after_reset(&mut self, tracker: &ReplyTracker) -> Result<(), Ending> {
        self.prepared.clear();
        self.close_transaction();
        self.heads.reset();
        self.state.reset(true);
        if tracker.had_err() {
            // Dolt follows it with an OK that no client expects: a new connection is as good as reset.
            self.backend = None;
        } else {
            // Dolt drops checkouts: the route is applied again.
            let assigned = self.context.assigned.all();
            if self.routed
                && !self.heads.is_empty()
                && let Ok(listing) = self.listing().await
            {
                self.heads.decide(
                    &self.identity,
                    &listing,
                    &self.context.book,
                    &self.context.config.routing,
                    &assigned,
                );
            }
            if let Err(trouble) = self.set_heads().await {
                self.lost = Some(trouble);
            }
        }
        self.show();
        Ok(())
    }

    async fn ask_where_or_lose(&mut self, moved: Moved) {
        if let Err(error) = self.ask_where(moved).await {
            self.lost = self.forget_backend(&error.to_string()).map(Trouble::Tell);
        }
        self.show();
    }
}

/// What statements may have changed in a way that their text doesn't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The current database.
    Database,
    /// The branch too.
    Branch,
}

fn may_have_moved(runs: &Summary, tracker: &ReplyTracker) -> Option<Moved> {
    let moves = |kind: &Kind| match kind {
        Kind::Call { procedure, .. } if procedure == "dolt_checkout" || !procedure.starts_with("dolt_") => {
            Some(Moved::Branch)
        }
        Kind::Set { assignments } => assignments
            .iter()
            .any(|assignment| assignment.scope == Scope::Session && assignment.name.ends_with("_head_ref"))
            .then_some(Moved::Branch),
        Kind::Use { .. } if runs.statements.len() > 1 => Some(Moved::Database),
        _ => None,
    };
    if !runs.whole && runs.statements.len() > 1 {
        return Some(Moved::Branch);
    }
    if tracker.had_err() && runs.statements.len() == 1 {
        return None;
    }
    let moved: Vec<Moved> = runs.statements.iter().filter_map(moves).collect();
    if moved.contains(&Moved::Branch) { Some(Moved::Branch) } else { moved.first().copied() }
}
