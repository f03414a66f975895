//! One command: what must be so before it may run, then there and back.

use std::sync::Arc;

use tokio::time::Instant;

use super::backend::Trouble;
use super::client_socket::Incoming;
use super::ending::Ending;
use super::heads::Place;
use super::job::Body;
use super::kill::Kill;
use super::prepared::{self, BackendStatement, Execute, Prepared};
use super::routed::Session;
use crate::statement::classify::{Kind, Summary, mentions_database, mentions_qualifier, summarize};
use crate::statement::relay::{Stopped, send_command};
use crate::wire::command::Command;
use crate::wire::frame::{HEADER_BYTES, PAYLOAD_BYTES_MAX, write_packet};
use crate::wire::response::ErrInfo;

/// What is known of a command before it runs.
#[derive(Debug, Default)]
pub struct Plan {
    /// What it will do, for COM_QUERY and COM_STMT_EXECUTE.
    pub runs: Option<Arc<Summary>>,
    /// What it would do if executed, for COM_STMT_PREPARE.
    pub prepares: Option<Arc<Summary>>,
    /// Our id of the statement that is prepared, executed, reset or fetched from.
    pub statement: Option<u32>,
    /// Database of COM_INIT_DB.
    pub database: Option<String>,
    /// The only statement is a KILL.
    pub kill: Option<Kill>,
    /// After an ERR, more results may follow that no client expects.
    pub may_go_on_after_error: bool,
    /// The statement in words for people, cut short.
    pub label: String,
}

impl Plan {
    /// Our id of the statement that is being prepared.
    pub fn prepare_id(&self) -> Option<u32> {
        self.prepares.as_ref().and(self.statement)
    }
}

impl Session {
    /// Runs one command. An error is the session's ending.
    pub async fn run(&mut self, incoming: Incoming) -> Result<(), Ending> {
        let deadline = Instant::now() + self.context.config.lanes.budget;
        match incoming.command {
            Command::Quit => Err(Ending::ClientQuit),
            Command::StmtClose => self.close_statement(&incoming).await,
            Command::StmtSendLongData => self.send_long_data(&incoming).await,
            _ => match self.before(&incoming, deadline).await {
                Ok(plan) => self.perform(incoming, plan, deadline).await,
                Err(trouble) => self.tell(&incoming, trouble).await,
            },
        }
    }

    /// Answers a command with an ERR of ours instead of running it.
    async fn tell(&mut self, incoming: &Incoming, trouble: Trouble) -> Result<(), Ending> {
        let seq = self.client.skip(incoming).await?;
        match trouble {
            Trouble::Tell(err) | Trouble::Lost(err) => Ok(self.client.send_err(seq, &err).await?),
            Trouble::TellAndEnd(err) | Trouble::AccountDiffers(err) => {
                self.client.send_err(seq, &err).await?;
                Err(Ending::DoltLost(err.message))
            }
        }
    }

    /// Everything that must be so before the command may be sent.
    async fn before(&mut self, incoming: &Incoming, deadline: Instant) -> Result<Plan, Trouble> {
        if let Some(trouble) = self.lost.take() {
            return Err(trouble);
        }
        let plan = self.plan(incoming)?;
        let summary = plan.runs.clone().or_else(|| plan.prepares.clone());
        if self.must_route(incoming, &plan, summary.as_deref()) {
            self.ensure_routed_here().await?;
        }
        self.step_in(incoming, &plan, deadline).await?;
        self.refuse_databases(incoming, &plan, summary.as_deref())?;
        self.refuse_departed(&plan, summary.as_deref()).await?;
        if let Some(runs) = &plan.runs
            && runs.may_write
            && self.heads.all().any(|head| matches!(head.place, Place::Pending(_)))
        {
            let text = self.statement_text(incoming, &plan);
            let pending = self.pending_forks(|database| mentions_database(&text, database));
            let pending = self.still_to_fork(pending).await?;
            if !pending.is_empty() {
                self.fork(pending).await?;
            }
        }
        Ok(plan)
    }

    fn plan(&mut self, incoming: &Incoming) -> Result<Plan, Trouble> {
        let head = self.client.head(incoming);
        let mut plan = Plan::default();
        match incoming.command {
            Command::Query => {
                let text = &head[1..];
                let summary = summarize(text, incoming.is_whole());
                plan.may_go_on_after_error =
                    self.multi_statements() && may_hold_several(text, incoming.is_whole());
                if let [Kind::Kill { query_only, id, id_span }] = summary.statements.as_slice() {
                    plan.kill = Some(self.translate_kill(text, *id, *query_only, id_span.clone()));
                }
                plan.runs = Some(Arc::new(summary));
            }
            Command::StmtPrepare => {
                if self.prepared.is_full() {
                    let limit = prepared::PREPARED_MAX;
                    let text = format!(
                        "Can't create more than max_prepared_stmt_count statements (current value: {limit})"
                    );
                    return Err(Trouble::Tell(ErrInfo::new(1461, "42000", text)));
                }
                plan.prepares = Some(Arc::new(summarize(&head[1..], incoming.is_whole())));
                plan.statement = Some(self.prepared.next_id());
            }
            Command::StmtExecute | Command::StmtReset | Command::StmtFetch => {
                let id = prepared::statement_id(head);
                let known = id.and_then(|id| self.prepared.get(id));
                let (Some(id), Some(known)) = (id, known) else {
                    return Err(Trouble::Tell(no_such_statement(incoming.command, id.is_some())));
                };
                plan.statement = Some(id);
                if incoming.command == Command::StmtExecute {
                    plan.runs = Some(Arc::clone(&known.summary));
                }
            }
            Command::SetOption => {
                // Dolt follows the ERR for any other option with an EOF that no client expects.
                self.option_sent = match head {
                    [_, 0, 0, ..] => Some(true),
                    [_, 1, 0, ..] => Some(false),
                    _ => {
                        let text = "error handling ComSetOption packet";
                        return Err(Trouble::Tell(ErrInfo::new(1047, "08S01", text)));
                    }
                };
            }
            Command::InitDb => plan.database = Some(String::from_utf8_lossy(&head[1..]).into_owned()),
            _ => {}
        }
        Ok(plan)
    }

    /// Whether the command may touch a database whose branch was not decided yet.
    fn must_route(&self, incoming: &Incoming, plan: &Plan, summary: Option<&Summary>) -> bool {
        let named = plan.database.as_deref().or_else(|| {
            summary.and_then(|summary| {
                summary.statements.iter().find_map(|kind| match kind {
                    Kind::Use { database } => Some(database.as_str()),
                    _ => None,
                })
            })
        });
        if let Some(named) = named {
            let asked = super::route::Requested::parse(named);
            return asked.branch.is_none() && !self.heads.knows(&asked.database);
        }
        match (incoming.command, summary) {
            (Command::Query | Command::StmtPrepare, Some(summary)) => {
                let text = &self.client.head(incoming)[1..];
                if self.routed {
                    self.mentions_new_database(text)
                } else {
                    may_touch_another_database(text, summary)
                }
            }
            _ => false,
        }
    }

    /// Whether a routed session names a database that was made after its branches were decided.
    fn mentions_new_database(&self, text: &[u8]) -> bool {
        !self.heads.is_empty()
            && text.contains(&b'.')
            && mentions_qualifier(text, |name| {
                !self.heads.knows(name) && self.context.branches.may_have(name)
            })
    }

    /// Refuses what names a database that the session's route does not exist in.
    fn refuse_databases(
        &self,
        incoming: &Incoming,
        plan: &Plan,
        summary: Option<&Summary>,
    ) -> Result<(), Trouble> {
        if let Some(database) = &plan.database {
            self.check_usable(database)?;
        }
        let Some(summary) = summary else { return Ok(()) };
        for kind in &summary.statements {
            if let Kind::Use { database } = kind {
                self.check_usable(database)?;
            }
        }
        if self.heads.all().any(|head| matches!(head.place, Place::Refused(_))) {
            let text = self.statement_text(incoming, plan);
            for head in self.heads.all() {
                if mentions_database(&text, &head.database) {
                    self.check_usable(&head.database)?;
                }
            }
        }
        Ok(())
    }

    /// The SQL text of a command, as far as it is known.
    pub fn statement_text(&self, incoming: &Incoming, plan: &Plan) -> Vec<u8> {
        match (incoming.command, plan.statement) {
            (Command::Query | Command::StmtPrepare, _) => self.client.head(incoming)[1..].to_vec(),
            (_, Some(id)) => {
                self.prepared.get(id).and_then(|known| known.text.as_deref()).unwrap_or_default().to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// Makes sure that the backend has the statement, and puts its id of it in the packet.
    pub async fn bind(&mut self, body: &mut Body, command: Command, id: u32) -> Result<(), Trouble> {
        let gone = |why: &str| {
            let text = format!(
                "Prepared statement {id} was lost with its connection to Dolt ({why}); prepare it again"
            );
            Trouble::Tell(ErrInfo::new(1243, "HY000", text))
        };
        let Some(backend) = self.backend.as_mut() else { return Err(gone("no connection")) };
        let Some(known) = self.prepared.get_mut(id) else { return Err(gone("unknown")) };
        let is_here = known.backend.is_some_and(|statement| statement.connection == backend.identity());
        if !is_here {
            if known.long_data || command == Command::StmtFetch {
                return Err(gone("with its cursor or its long data"));
            }
            let text = known.text.clone().ok_or_else(|| gone("its text was too long to keep"))?;
            let info = match backend.prepare(&text).await {
                Ok(Ok(info)) => info,
                Ok(Err(err)) => return Err(Trouble::Tell(err)),
                Err(error) => {
                    self.drop_backend();
                    return Err(Trouble::Tell(ErrInfo::new(1105, "HY000", error.to_string())));
                }
            };
            known.backend = Some(BackendStatement { connection: backend.identity(), id: info.id });
        }
        let Some(statement) = known.backend else { return Err(gone("unknown")) };
        let is_whole = matches!(body, Body::Whole(_));
        if command == Command::StmtExecute {
            let head: &[u8] = match body {
                Body::Whole(payload) => payload,
                Body::Streaming(incoming) => self.client.head(incoming),
            };
            let execute = Execute::read(head, known.params).ok_or_else(|| gone("its packet is cut"))?;
            if let Some(types) = execute.types(head, known.params) {
                known.types = types.to_vec();
            }
            if !is_here && !execute.has_types && known.params > 0 {
                // The types were bound on a backend that is gone: put them in again.
                let at = execute.bound_flag_at.ok_or_else(|| gone("its parameter types"))?;
                if known.types.is_empty() || !is_whole || head.len() + known.types.len() >= PAYLOAD_BYTES_MAX
                {
                    return Err(gone("with its parameter types"));
                }
                *body = Body::Whole(prepared::with_types(head, at, &known.types));
            }
            known.long_data = false;
        }
        let payload = match body {
            Body::Whole(payload) => payload.as_mut_slice(),
            Body::Streaming(_) => &mut self.client.inbox.bytes_mut()[HEADER_BYTES..],
        };
        if let Some(place) = payload.get_mut(1..5) {
            place.copy_from_slice(&statement.id.to_le_bytes());
        }
        Ok(())
    }

    async fn close_statement(&mut self, incoming: &Incoming) -> Result<(), Ending> {
        let known =
            prepared::statement_id(self.client.head(incoming)).and_then(|id| self.prepared.remove(id));
        self.client.skip(incoming).await?;
        if let (Some(Prepared { backend: Some(statement), .. }), Some(backend)) =
            (known, self.backend.as_mut())
            && statement.connection == backend.identity()
        {
            let mut out = Vec::new();
            let mut payload = vec![Command::StmtClose.byte()];
            payload.extend_from_slice(&statement.id.to_le_bytes());
            write_packet(&mut out, 0, &payload);
            if let Err(error) = backend.stream.send(&out).await {
                self.lost = self.forget_backend(&error.to_string()).map(Trouble::Tell);
            }
        }
        Ok(())
    }

    /// Has no reply: what can't be sent makes the execution fail, as MySQL has it.
    async fn send_long_data(&mut self, incoming: &Incoming) -> Result<(), Ending> {
        let id = prepared::statement_id(self.client.head(incoming));
        let param =
            self.client.head(incoming).get(5..7).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        let known = id.and_then(|id| self.prepared.get_mut(id));
        let (Some(known), Some(backend)) = (known, self.backend.as_mut()) else {
            return self.client.skip(incoming).await.map(drop);
        };
        known.long_data = true;
        let here = known.backend.filter(|statement| statement.connection == backend.identity());
        // Dolt closes the connection on a parameter that the statement does not have.
        let (Some(statement), true) = (here, param.is_some_and(|param| param < known.params)) else {
            return self.client.skip(incoming).await.map(drop);
        };
        self.client.inbox.bytes_mut()[HEADER_BYTES + 1..HEADER_BYTES + 5]
            .copy_from_slice(&statement.id.to_le_bytes());
        match send_command(&mut self.client, backend, incoming, &[], None).await {
            Ok(()) => Ok(()),
            Err(Stopped::Client(ending)) => Err(ending),
            Err(Stopped::Dolt(error)) => {
                self.lost = self.forget_backend(&error.to_string()).map(Trouble::Tell);
                Ok(())
            }
        }
    }
}

/// What Dolt says of a statement that it does not know. Not left to it, as our ids are not its ids; and it
/// crashes on a reset.
fn no_such_statement(command: Command, has_id: bool) -> ErrInfo {
    match command {
        Command::StmtFetch => ErrInfo::new(1047, "08S01", "error handling ComStmtFetch packet"),
        Command::StmtReset => ErrInfo::new(2014, "08S01", "commands were executed in an improper order"),
        _ if has_id => ErrInfo::new(2014, "HY000", "statement ID is not found from record"),
        _ => ErrInfo::new(2027, "HY000", "reading statement ID failed"),
    }
}

/// Whether a text may hold more than one statement for Dolt. A `;` in a string costs a fence, no more.
fn may_hold_several(text: &[u8], whole: bool) -> bool {
    let text = text.trim_ascii_end();
    !whole || text.iter().position(|byte| *byte == b';').is_some_and(|at| at + 1 < text.len())
}

fn starts_with_word(text: &[u8], word: &str) -> bool {
    let text = text.trim_ascii_start();
    text.len() > word.len()
        && text[..word.len()].eq_ignore_ascii_case(word.as_bytes())
        && text[word.len()].is_ascii_whitespace()
}

/// Whether a text may reach a database other than the current one. Says yes when in doubt.
fn may_touch_another_database(text: &[u8], summary: &Summary) -> bool {
    let qualified = text.contains(&b'.');
    let quiet = |kind: &Kind| match kind {
        Kind::Set { .. }
        | Kind::Begin
        | Kind::Commit
        | Kind::Rollback
        | Kind::Savepoint
        | Kind::SetTransaction
        | Kind::Diagnostics
        | Kind::Kill { .. } => true,
        Kind::Read => {
            starts_with_word(text, "select")
                || ["databases", "schemas", "variables", "status", "processlist"]
                    .iter()
                    .any(|what| starts_with_show(text, what))
        }
        _ => false,
    };
    qualified || !summary.whole || !summary.statements.iter().all(quiet)
}

fn starts_with_show(text: &[u8], what: &str) -> bool {
    starts_with_word(text, "show")
        && text.trim_ascii_start()[4..]
            .trim_ascii_start()
            .get(..what.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(what.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_stay_in_the_current_database_are_told() {
        for (text, want) in [
            ("SHOW DATABASES", false),
            ("select 1", false),
            ("SELECT * FROM issues", false),
            ("SELECT * FROM gastown.issues", true),
            ("SHOW TABLES FROM gastown", true),
            ("SET NAMES utf8mb4", false),
            ("BEGIN", false),
            ("INSERT INTO issues VALUES (1)", true),
            ("CALL p()", true),
        ] {
            assert_eq!(
                may_touch_another_database(text.as_bytes(), &summarize(text.as_bytes(), true)),
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn several_statements_are_suspected_rather_than_missed() {
        for (text, want) in [
            ("select 1", false),
            ("select 1; ", false),
            ("select 1;;", true),
            ("select 1; select 2", true),
            ("select ';x'", true),
        ] {
            assert_eq!(may_hold_several(text.as_bytes(), true), want, "{text}");
        }
        assert!(may_hold_several(b"select", false));
    }
}
