//! A session that is logged in and has its branch: what it consists of, and how it gets there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::authenticate::{self, Authenticated};
use super::backend::Trouble;
use super::client_socket::ClientSocket;
use super::context::Context;
use super::ending::Ending;
use super::greet::refuse;
use super::heads::{Heads, Place};
use super::identity::{Identity, PeerProcess};
use super::peer::PeerSocket;
use super::prepared::PreparedStatements;
use super::remotes::AtRemotes;
use super::route::{AssignedRule, Requested, needs_process};
use super::state::SessionState;
use crate::accounts::Verified;
use crate::admit::{LaneKey, Seat, Who};
use crate::branch::Listing;
use crate::branch::gates::Presence;
use crate::clients::{Client, Registration};
use crate::pool::{BackendLogin, Lease};
use crate::statement::transaction::{Log, Transaction};
use crate::wire::capability;
use crate::wire::response::{ErrInfo, OkInfo, ok_payload};

/// A session that is logged in and has its branch.
#[derive(Debug)]
pub struct Session {
    pub context: Arc<Context>,
    pub registration: Registration,
    pub client: ClientSocket,
    pub peer: PeerSocket,
    pub verified: Verified,
    pub login: BackendLogin,
    pub identity: Identity,
    pub heads: Heads,
    /// Whether the heads of all databases were decided.
    pub routed: bool,
    pub state: SessionState,
    pub prepared: PreparedStatements,
    pub backend: Option<Lease>,
    /// A command is with Dolt and its reply is not complete.
    pub in_flight: bool,
    /// What the command keeps others from at remotes.
    pub at_remotes: AtRemotes,
    /// The client's transaction.
    pub transaction: Transaction,
    /// Its commands.
    pub log: Log,
    /// Its place in the write lanes.
    pub seat: Seat,
    /// A lost backend that may still be running a write.
    pub unsettled: Option<(u64, u32)>,
    /// The backend that the transaction is open on, or that the last command went to.
    pub opened_on: Option<(u64, u32)>,
    /// The open transaction has lost its snapshot.
    pub must_rerun: bool,
    /// It makes Dolt commits itself.
    pub dolt_commits: bool,
    /// The open transaction has changed what names mean.
    pub names_changed: bool,
    /// Where Dolt has put this session in databases that nothing routes it in, by lower-case name.
    pub defaults: BTreeMap<String, String>,
    /// What it has open on which branch, for those who finish one.
    pub presence: Presence,
    /// The branch of the current database, unless that is where Dolt puts new sessions.
    pub here: Option<LaneKey>,
    /// How many branches had gone away when it last looked whether one was its own.
    pub departures_seen: u64,
    /// COM_SET_OPTION's choice while Dolt has not agreed yet.
    pub option_sent: Option<bool>,
    /// What the next command is told instead of being run: the backend was lost while nobody waited.
    pub lost: Option<Trouble>,
}

impl Session {
    /// Chooses the branch, opens the backend, and says OK to the client; or says why not.
    pub async fn route(authenticated: Authenticated, context: &Arc<Context>) -> Result<Self, Ending> {
        let Authenticated { accepted, verified, identity, response, nonce, seq } = authenticated;
        let login = BackendLogin {
            user: verified.user.clone(),
            stage1: verified.stage1.clone(),
            host: verified.backend_host,
            capabilities: response.capabilities,
            charset: response.charset,
            database: None,
        };
        let seat = context.lanes.seat(who(&accepted.registration, &identity));
        let presence = context.gates.presence(accepted.registration.client.id);
        let mut session = Self {
            context: Arc::clone(context),
            registration: accepted.registration,
            client: accepted.client,
            peer: accepted.peer,
            verified,
            login,
            identity,
            heads: Heads::default(),
            routed: false,
            state: SessionState::new(response.database.clone(), true),
            prepared: PreparedStatements::default(),
            backend: None,
            in_flight: false,
            at_remotes: AtRemotes::default(),
            transaction: Transaction::default(),
            log: Log::new(context.logs.clone()),
            seat,
            unsettled: None,
            opened_on: None,
            must_rerun: false,
            dolt_commits: false,
            names_changed: false,
            defaults: BTreeMap::new(),
            presence,
            here: None,
            // From before any branch is chosen: one that goes away in the middle is noticed.
            departures_seen: context.gates.departures(),
            option_sent: None,
            lost: None,
        };
        let mut entered = session.enter().await;
        if entered.is_err() && session.follow_departures().await.is_ok_and(|moved| moved) {
            entered = session.enter().await;
        }
        if let Err(Trouble::AccountDiffers(_)) = entered {
            // Accounts may have changed since they were read.
            let login =
                authenticate::login(&session.identity.user, &session.identity.address, &nonce, &response);
            if let Ok(verified) = context.accounts.authenticate_again(login).await {
                session.login.host = verified.backend_host;
                session.verified = verified;
                entered = session.enter().await;
            }
        }
        if let Err(trouble) = entered {
            return Err(refuse(&mut session.client, seq, trouble.into_err()).await);
        }
        // By now the process may be known: its name says more than its driver's.
        session.seat = context.lanes.seat(session.who());
        session.client.send_packet(seq, &ok_payload(OkInfo::default())).await?;
        session.show();
        Ok(session)
    }

    async fn enter(&mut self) -> Result<(), Trouble> {
        let plain =
            self.state.database.as_deref().map(Requested::parse).filter(|asked| asked.branch.is_none());
        if let Some(asked) = plain
            && !self.context.config.routing.is_main_only(&asked.database)
        {
            self.ensure_routed().await?;
        }
        if let Some(database) = self.state.database.clone() {
            self.check_usable(&database)?;
            self.check_departed(&database).await?;
        }
        self.ensure_backend().await
    }

    /// The registry's entry.
    pub fn entry(&self) -> &Arc<Client> {
        &self.registration.client
    }

    /// Decides the branch of every database, once; and of databases that came since.
    pub async fn ensure_routed(&mut self) -> Result<(), Trouble> {
        let assigned = self.context.assigned.all();
        if !self.routed {
            self.look_at_process(&assigned).await;
        }
        if !self.routed && !may_be_routed(&self.identity, &self.context.config.routing.rules, assigned.len())
        {
            self.routed = true;
            return Ok(());
        }
        if self.routed && self.heads.is_empty() {
            return Ok(());
        }
        let listing = self.listing().await?;
        self.routed = true;
        let changed = self.heads.decide(
            &self.identity,
            &listing,
            &self.context.book,
            &self.context.config.routing,
            &assigned,
        );
        if changed && self.backend.is_some() {
            self.set_heads().await?;
        }
        self.show();
        Ok(())
    }

    /// All databases and branches, none of them half made.
    pub async fn listing(&self) -> Result<Arc<Listing>, Trouble> {
        let context = &self.context;
        context.forks.listing(context.dolt.control(), &context.branches).await.map_err(|error| {
            let text = format!("Branchline cannot read the list of branches: {error}");
            Trouble::Tell(ErrInfo::new(1105, "HY000", text))
        })
    }

    /// Looks up the peer's process, unless what the client sent itself decides everywhere.
    async fn look_at_process(&mut self, assigned: &[AssignedRule]) {
        // Of no database in particular: one that nothing exempts.
        let any = Requested { database: String::new(), branch: None };
        if needs_process(&self.identity, Some(&any), &self.context.config.routing, assigned) {
            let hint = self.identity.attributes.get("_pid").and_then(|pid| pid.parse().ok());
            self.identity.process = self.context.peers.process_of(self.peer, hint).await;
            if let PeerProcess::Found(process) = &self.identity.process {
                self.entry().update(|view| {
                    view.pid = Some(process.pid);
                    view.program.clone_from(&process.program);
                });
            }
        }
    }

    /// Refuses a database that the session's route does not exist in.
    pub fn check_usable(&self, database: &str) -> Result<(), Trouble> {
        let asked = Requested::parse(database);
        match self.heads.get(&asked.database).map(|head| &head.place) {
            Some(Place::Refused(text)) if asked.branch.is_none() => {
                Err(Trouble::Tell(ErrInfo::new(1049, "HY000", text.clone())))
            }
            _ => Ok(()),
        }
    }

    /// Whether the client's connection allows several statements in one text.
    pub fn multi_statements(&self) -> bool {
        self.state.multi_statements.unwrap_or(self.login.capabilities & capability::MULTI_STATEMENTS != 0)
    }

    /// Brings what others see of this session up to date.
    pub fn show(&mut self) {
        let database = self.state.database.clone();
        let asked = database.as_deref().map(Requested::parse);
        let head = asked.as_ref().and_then(|asked| self.heads.get(&asked.database));
        let (branch, reason) = match (&asked, head.map(|head| (&head.place, &head.reason))) {
            (Some(Requested { branch: Some(branch), .. }), _) => {
                (Some(branch.clone()), "the client asked for it by name".to_owned())
            }
            (_, Some((Place::Routed(branch) | Place::Chosen(branch), reason))) => {
                (Some(branch.clone()), reason.clone())
            }
            (_, Some((Place::Pending(branch), reason))) => {
                (None, format!("{reason}; {branch} will be forked at the first write"))
            }
            (_, Some((_, reason))) => (None, reason.clone()),
            (Some(_), None) => (None, "default branch".to_owned()),
            (None, None) => (None, "no database yet".to_owned()),
        };
        let here = asked.as_ref().zip(branch.as_ref()).map(|(asked, branch)| (&asked.database, branch));
        self.here = here.map(|(database, branch)| self.enter_branch(database, branch));
        let backend_id = self.backend.as_ref().map(|backend| backend.id);
        let in_transaction = self.transaction.is_begun();
        self.entry().update(|view| {
            view.database = database;
            view.branch = branch;
            view.reason = reason;
            view.backend_id = backend_id;
            view.in_transaction = in_transaction;
        });
    }
}

impl Session {
    /// Whose seat it is, as people are shown it.
    pub fn who(&self) -> Who {
        who(&self.registration, &self.identity)
    }
}

fn who(registration: &Registration, identity: &Identity) -> Who {
    let view = registration.client.view();
    let attribute = |name: &str| identity.attributes.get(name).cloned();
    let program = match view.program.is_empty() {
        true => attribute("program_name").or_else(|| attribute("_client_name")).unwrap_or_default(),
        false => view.program,
    };
    Who {
        client_id: registration.client.id,
        account: view.account,
        program,
        address: view.address,
        process: view.pid,
    }
}

/// Whether anything at all could route this identity away from a default branch.
fn may_be_routed(identity: &Identity, rules: &[crate::config::Rule], assigned: usize) -> bool {
    let by_attribute = ["branch", "bd_branch"].iter().any(|name| identity.attributes.contains_key(*name));
    let by_process = match &identity.process {
        PeerProcess::Found(process) => {
            process.environment.as_ref().is_ok_and(|environment| environment.bd_branch.is_some())
        }
        _ => false,
    };
    by_attribute || by_process || identity.user_branch.is_some() || !rules.is_empty() || assigned > 0
}
