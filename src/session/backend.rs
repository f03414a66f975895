//! The session's connection to Dolt: opening one that looks as the tracked state says.
//! Always: a backend that is handed to a command has the right account, the right branch in every
//! database that was decided, and all tracked settings; else there is none.

use std::time::Duration;

use tracing::debug;

use super::after::Moved;
use super::heads::Place;
use super::route::Requested;
use super::routed::Session;
use super::state::HEAD_REF;
use crate::branch::{sql_identifier, sql_literal};
use crate::dolt::State;
use crate::pool::{Answer, BackendError, BackendLogin, ConnectError, Lease, LeaseError, Question};
use crate::wire::command::Command;
use crate::wire::frame::write_packet;
use crate::wire::response::ErrInfo;

/// How long a session waits for a Dolt that is coming back. Below the 10 s after which `bd` gives up.
pub const DOLT_WAIT: Duration = Duration::from_secs(5);

/// How long the supervisor may take to see that Dolt is gone: it waits for the process, so it is quick.
const NOTICE_WAIT: Duration = Duration::from_millis(500);

/// Why a command is not run.
#[derive(Debug)]
pub enum Trouble {
    /// The client is told; the session goes on.
    Tell(ErrInfo),
    /// The client is told; the session can't go on.
    TellAndEnd(ErrInfo),
    /// Dolt takes us for another account than the client's; told, and the session can't go on.
    AccountDiffers(ErrInfo),
    /// The backend was lost before anything of the command was sent: to be tried on another one, or told.
    Lost(ErrInfo),
}

impl Trouble {
    /// What the client is told.
    pub fn into_err(self) -> ErrInfo {
        match self {
            Self::Tell(err) | Self::TellAndEnd(err) | Self::AccountDiffers(err) | Self::Lost(err) => err,
        }
    }
}

impl Session {
    /// Opens a backend if there is none.
    pub async fn ensure_backend(&mut self) -> Result<(), Trouble> {
        if self.backend.is_some() {
            return Ok(());
        }
        let login = BackendLogin { database: self.state.database.clone(), ..self.login.clone() };
        let mut lease = self.lease(&login).await?;
        self.dress(&mut lease).await?;
        self.backend = Some(lease);
        let id = self.backend.as_ref().map(|backend| backend.id);
        self.entry().update(|view| view.backend_id = id);
        Ok(())
    }

    /// Opens a backend for a session that has lost its own.
    pub async fn ensure_backend_again(&mut self) -> Result<(), Trouble> {
        if self.backend.is_none() && !self.state.pins.is_empty() {
            return Err(Trouble::TellAndEnd(self.cannot_restore("it was dropped after a failure")));
        }
        if self.backend.is_none() && !self.heads.is_empty() {
            wait_for_dolt(&self.context.dolt).await;
            // A database that was dropped since must not keep the session from the others.
            if let Ok(listing) = self.listing().await {
                self.heads.forget_dropped(&listing);
            }
        }
        self.ensure_backend().await
    }

    async fn lease(&self, login: &BackendLogin) -> Result<Lease, Trouble> {
        let context = &self.context;
        wait_for_dolt(&context.dolt).await;
        let mut lease = context.pool.lease(login).await;
        if let Err(LeaseError::Connect(ConnectError::Io(error))) = &lease {
            // Most likely Dolt has just died, and the supervisor has not seen it yet.
            debug!(%error, "no backend: trying once more");
            wait_for_change(&context.dolt).await;
            wait_for_dolt(&context.dolt).await;
            lease = context.pool.lease(login).await;
        }
        match lease {
            Ok(lease) => Ok(lease),
            Err(LeaseError::Connect(ConnectError::Refused(err))) => Err(Trouble::Tell(err)),
            Err(LeaseError::Connect(ConnectError::Io(error))) => Err(failed(error.into())),
            Err(error) => {
                debug!(%error, "no backend");
                Err(Trouble::Tell(ErrInfo::new(1105, "HY000", error.to_string())))
            }
        }
    }

    /// Sets everything tracked on a new backend, and checks that it is who and where it should be.
    async fn dress(&mut self, lease: &mut Lease) -> Result<(), Trouble> {
        let mut questions: Vec<Question> = self.state.settings().map(Question::query).collect();
        questions.extend(self.head_questions());
        questions.push(Question::query("SELECT CURRENT_USER(), @@autocommit, ACTIVE_BRANCH(), DATABASE()"));
        let answers = lease.ask(&questions).await.map_err(failed)?;
        for (question, answer) in questions.iter().zip(&answers) {
            if let Answer::Err(err) = answer {
                return Err(Trouble::Tell(ErrInfo::new(
                    err.code,
                    &err.sqlstate,
                    format!("Branchline could not set up the session on Dolt: {question}: {}", err.message),
                )));
            }
        }
        let Some([Some(current_user), Some(autocommit), branch, database]) =
            answers.last().and_then(Answer::row)
        else {
            let text = "Dolt did not say who and where the session is";
            return Err(Trouble::Tell(ErrInfo::new(1105, "HY000", text)));
        };
        self.verified.check_current_user(current_user).map_err(|denied| {
            Trouble::AccountDiffers(ErrInfo::new(denied.code(), denied.sql_state(), denied.to_string()))
        })?;
        self.check_database(database.as_deref())?;
        self.check_branch(branch.as_deref())?;
        self.learn_default(branch.as_deref());
        self.state.autocommit = autocommit == "1";
        if let Some(on) = self.state.multi_statements {
            lease.set_option(u16::from(!on)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Promise 3 begins with the database.
    fn check_database(&self, current: Option<&str>) -> Result<(), Trouble> {
        let name = |name: Option<&str>| name.map(|name| Requested::parse(name).database.to_lowercase());
        if name(current) == name(self.state.database.as_deref()) {
            return Ok(());
        }
        let text = format!(
            "Branchline could not put this session into {}: Dolt says it is in {}",
            self.state.database.as_deref().unwrap_or("no database"),
            current.unwrap_or("no database"),
        );
        Err(Trouble::TellAndEnd(ErrInfo::new(1049, "HY000", text)))
    }

    /// Promise 3: a connection is never on the wrong branch.
    fn check_branch(&self, active: Option<&str>) -> Result<(), Trouble> {
        let asked =
            self.state.database.as_deref().map(Requested::parse).filter(|asked| asked.branch.is_none());
        let Some(head) = asked.and_then(|asked| self.heads.get(&asked.database).cloned()) else {
            return Ok(());
        };
        match &head.place {
            Place::Routed(want) | Place::Chosen(want)
                if active.is_none_or(|is| !is.eq_ignore_ascii_case(want)) =>
            {
                let text = format!(
                    "Branchline could not put this session on branch {want} of {} ({}): Dolt says it is on {}",
                    head.database,
                    head.reason,
                    active.unwrap_or("no branch"),
                );
                Err(Trouble::TellAndEnd(ErrInfo::new(1049, "HY000", text)))
            }
            _ => Ok(()),
        }
    }

    /// Where Dolt puts sessions that nothing routes: the lane of their writes.
    fn learn_default(&mut self, active: Option<&str>) {
        let asked = self.state.database.as_deref().map(Requested::parse);
        if let (Some(Requested { database, branch: None }), Some(active)) = (asked, active)
            && !matches!(
                self.heads.get(&database).map(|head| &head.place),
                Some(Place::Routed(_) | Place::Chosen(_))
            )
        {
            self.context.branches.learn_default(&database, active);
            self.defaults.insert(database.to_lowercase(), active.to_owned());
        }
    }

    /// The same for a database that the session went into later.
    pub async fn learn_current_default(&mut self) {
        let asked = self.state.database.as_deref().map(Requested::parse);
        let Some(Requested { database, branch: None }) = asked else { return };
        let key = database.to_lowercase();
        let is_known = self.defaults.contains_key(&key)
            || matches!(
                self.heads.get(&database).map(|head| &head.place),
                Some(Place::Routed(_) | Place::Chosen(_))
            );
        let Some(backend) = self.backend.as_mut().filter(|_| !is_known) else { return };
        let asked = backend.ask(&[Question::query("SELECT ACTIVE_BRANCH()")]).await;
        let branch = asked.ok().and_then(|answers| answers.first()?.row()?.first()?.clone());
        match branch {
            Some(branch) => {
                self.state.may_leave_residue(self.transaction.is_open());
                self.learn_default(Some(&branch));
            }
            None => {
                self.defaults.insert(key, self.context.branches.default_branch(&database));
            }
        }
    }

    /// Sets all decided heads on the backend in use.
    pub async fn set_heads(&mut self) -> Result<(), Trouble> {
        let questions = self.head_questions();
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        let answers = backend.ask(&questions).await.map_err(failed);
        match answers.map(|answers| {
            answers.into_iter().find_map(|answer| match answer {
                Answer::Err(err) => Some(err),
                _ => None,
            })
        }) {
            Ok(None) => Ok(()),
            Ok(Some(err)) => {
                self.backend = None;
                Err(Trouble::Tell(err))
            }
            Err(trouble) => {
                self.backend = None;
                Err(trouble)
            }
        }
    }

    /// What sets all decided heads.
    ///
    /// `SET` of a database's head reference takes nothing but a branch. CALL DOLT_CHECKOUT would take the
    /// name of a table too, and throw away its uncommitted rows. But Dolt goes into that database with it,
    /// so that the session has to be put back into its own, or into none.
    fn head_questions(&self) -> Vec<Question> {
        let heads = self.heads.to_set();
        if heads.is_empty() && !self.state.settings().any(|sql| sql.contains(HEAD_REF)) {
            return Vec::new();
        }
        let set = |(database, branch): &(String, String)| {
            let name = sql_identifier(&format!("{database}{HEAD_REF}"));
            Question::Query(format!("SET {name} = {}", sql_literal(branch)))
        };
        let mut questions: Vec<Question> = heads.iter().map(set).collect();
        questions.push(Question::InitDb(self.state.database.clone().unwrap_or_default()));
        questions
    }

    /// Asks where the session is, after a statement that may have moved it. A branch counts as the client's own
    /// choice only if the statement may have chosen one: a session that is still to get its branch reads main.
    pub async fn ask_where(&mut self, moved: Moved) -> Result<(), BackendError> {
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        let answers = backend.ask(&[Question::query("SELECT DATABASE(), ACTIVE_BRANCH()")]).await?;
        if let Some([database, branch]) = answers.first().and_then(Answer::row) {
            self.state.database.clone_from(database);
            let asked = database.as_deref().map(Requested::parse);
            if let (Some(Requested { database, branch: None }), Some(branch)) = (asked, branch) {
                let known = self.heads.get(&database).map(|head| &head.place);
                let is_new = match known {
                    Some(Place::Routed(known) | Place::Chosen(known)) => known != branch,
                    _ => true,
                };
                if is_new && moved == Moved::Branch {
                    self.heads.chose(&database, branch);
                }
            }
        }
        Ok(())
    }
}

/// Waits a little for a Dolt that went away just now: its restart is a pause, not an error.
pub async fn wait_for_dolt(dolt: &crate::dolt::Dolt) {
    let mut watch = dolt.watch();
    let ready = watch.wait_for(|state| match state {
        State::Ready(_) | State::Stopping => true,
        State::Starting { since } | State::Down { since, .. } => {
            since.elapsed().is_ok_and(|elapsed| elapsed > DOLT_WAIT)
        }
    });
    let _ = tokio::time::timeout(DOLT_WAIT, ready).await;
}

/// Waits until the supervisor has noticed what a failed connection shows; a probe was asked for by then.
async fn wait_for_change(dolt: &crate::dolt::Dolt) {
    let mut watch = dolt.watch();
    watch.mark_unchanged();
    let _ = tokio::time::timeout(NOTICE_WAIT, watch.changed()).await;
}

fn failed(error: BackendError) -> Trouble {
    Trouble::Lost(ErrInfo::new(
        1105,
        "HY000",
        format!("Branchline could not set up the session on Dolt: {error}"),
    ))
}

/// A `ROLLBACK` to go before a command.
pub fn rollback_packet() -> Vec<u8> {
    let mut out = Vec::new();
    let mut payload = vec![Command::Query.byte()];
    payload.extend_from_slice(b"ROLLBACK");
    write_packet(&mut out, 0, &payload);
    out
}
