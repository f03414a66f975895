//! What the console shows and changes, from the live parts. Formats nothing: `admin` does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;

use super::dump::dump;
use super::lanes;
use crate::admin::{
    AssignedRow, Backend, ClientRow, ClientsReport, DoltReport, DumpText, ExplainedRoute, ExplainedStep,
    Jobs, LanesReport, Refusal, RigRow, RouteQuestion, StatusReport,
};
use crate::branch::sql_identifier;
use crate::clients::Client;
use crate::config::{Config, DoltSource, Rule};
use crate::dolt::{ControlError, State};
use crate::session::Context;
use crate::session::identity::{Identity, PeerAddress, PeerProcess, ProcessEnvironment, ProcessIdentity};
use crate::session::peer::PeerSocket;
use crate::session::route::{self, AssignedRule, Existence, Placement, Requested, Wanted};

/// The console's view of a running Branchline.
pub struct LiveConsole {
    pub(super) context: Arc<Context>,
    pub(super) jobs: Jobs,
    config: Arc<Config>,
    started: SystemTime,
    addresses: Vec<SocketAddr>,
}

impl LiveConsole {
    /// `addresses`: what is really listened on.
    pub fn new(context: Arc<Context>, started: SystemTime, addresses: Vec<SocketAddr>) -> Self {
        let config = Arc::new(context.config.clone());
        Self { context, jobs: Jobs::new(), config, started, addresses }
    }

    async fn databases(&self) -> Result<Vec<String>, String> {
        let listing = self.context.branches.listing().await.map_err(|error| error.to_string())?;
        Ok(listing.databases().map(str::to_owned).collect())
    }

    fn rig(&self, listing: &crate::branch::Listing, name: &str) -> RigRow {
        let path = match self.config.dolt.source {
            DoltSource::Private { .. } => Some(self.config.data_dir.join(name)),
            DoltSource::External { .. } => None,
        };
        RigRow {
            name: name.to_owned(),
            branches: Some(listing.branches(name).count() as u64),
            main_only: self.config.routing.is_main_only(name),
            path: path.filter(|path| path.is_dir()),
        }
    }

    async fn process(&self, question: &RouteQuestion) -> PeerProcess {
        let found = match question.pid {
            Some(pid) => {
                let uid = rustix::process::getuid().as_raw();
                self.context.peers.process_of(PeerSocket::Unix { pid, uid }, None).await
            }
            None => PeerProcess::Unknown { reason: "no process was given".to_owned() },
        };
        let given = [&question.program, &question.bd_branch, &question.actor, &question.polecat];
        if given.iter().all(|value| value.is_none()) {
            return found;
        }
        let mut process = match found {
            PeerProcess::Found(process) => process,
            _ => ProcessIdentity {
                pid: question.pid.unwrap_or(0),
                start_ticks: 0,
                program: String::new(),
                environment: Ok(ProcessEnvironment::default()),
            },
        };
        if let Some(program) = &question.program {
            process.program.clone_from(program);
        }
        let mut environment = process.environment.unwrap_or_default();
        for (value, given) in [
            (&mut environment.bd_branch, &question.bd_branch),
            (&mut environment.bd_actor, &question.actor),
            (&mut environment.gt_polecat, &question.polecat),
        ] {
            if given.is_some() {
                value.clone_from(given);
            }
        }
        process.environment = Ok(environment);
        PeerProcess::Found(process)
    }
}

#[async_trait]
impl Backend for LiveConsole {
    async fn status(&self) -> StatusReport {
        let data_dir = self.config.data_dir.clone();
        let is_ours = matches!(self.config.dolt.source, DoltSource::Private { .. });
        let disk = tokio::task::spawn_blocking(move || match is_ours {
            true => crate::observe::disk::usage(&data_dir).map_err(|error| error.to_string()),
            false => Err("not known: this Dolt is not run by Branchline".to_owned()),
        });
        let facts = self.context.dolt.facts();
        let clients = &self.context.clients;
        StatusReport {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            uptime: self.started.elapsed().unwrap_or_default(),
            listen: self.addresses.clone(),
            socket: self.config.socket.clone(),
            data_dir: self.config.data_dir.clone(),
            state_dir: self.config.state_dir.clone(),
            config_file: self.config.config_file.clone(),
            dolt: dolt_report(&self.context),
            databases: self.databases().await,
            clients: ClientsReport {
                now: clients.count(),
                accepted: clients.accepted.load(Ordering::Relaxed),
                refused: clients.refused.load(Ordering::Relaxed),
                max: self.config.limits.clients_max,
            },
            lanes: self.lanes().totals,
            disk: disk.await.unwrap_or_else(|error| Err(error.to_string())),
            alerts: facts
                .alerts
                .into_iter()
                .chain(self.context.book.alerts().into_values())
                .chain(
                    self.context.remotes.problems().into_iter().map(|problem| format!("remotes: {problem}")),
                )
                .chain(self.context.alerts.lines())
                .collect(),
        }
    }

    fn clients(&self) -> Vec<ClientRow> {
        self.context.clients.all().iter().map(|client| client_row(client)).collect()
    }

    fn lanes(&self) -> LanesReport {
        lanes::report(&self.context.lanes, &self.context.clients, self.context.bypass.as_ref())
    }

    fn config(&self) -> Arc<Config> {
        let remotes = self.context.remotes.settings();
        Arc::new(Config { remotes: (*remotes).clone(), ..(*self.config).clone() })
    }

    fn assigned(&self) -> Vec<AssignedRow> {
        self.context.assigned.all().iter().cloned().map(assigned_row).collect()
    }

    async fn assign(&self, rule: Rule, by: &str) -> Result<AssignedRow, Refusal> {
        let (context, by) = (Arc::clone(&self.context), by.to_owned());
        let assigned =
            tokio::task::spawn_blocking(move || context.assigned.assign(rule, &by, SystemTime::now()));
        match assigned.await {
            Ok(Ok(rule)) => Ok(assigned_row(rule)),
            Ok(Err(error)) => Err(Refusal::failed(error.to_string())),
            Err(error) => Err(Refusal::failed(error.to_string())),
        }
    }

    async fn unassign(&self, id: u32) -> Result<AssignedRow, Refusal> {
        let context = Arc::clone(&self.context);
        match tokio::task::spawn_blocking(move || context.assigned.unassign(id)).await {
            Ok(Ok(Some(rule))) => Ok(assigned_row(rule)),
            Ok(Ok(None)) => {
                Err(Refusal::bad_value(format!("there is no assigned route {id}; SHOW ROUTES lists them")))
            }
            Ok(Err(error)) => Err(Refusal::failed(error.to_string())),
            Err(error) => Err(Refusal::failed(error.to_string())),
        }
    }

    async fn explain(&self, question: RouteQuestion) -> Result<ExplainedRoute, Refusal> {
        let routing = &self.config.routing;
        let (user, user_branch) = routing.split_user(question.user.as_deref().unwrap_or("root"));
        let process = self.process(&question).await;
        let identity = Identity {
            user,
            user_branch,
            attributes: question.attributes,
            address: question.address.unwrap_or(PeerAddress::Tcp { ip: [127, 0, 0, 1].into(), port: 0 }),
            process,
        };
        let requested = question.database.as_deref().map(Requested::parse);
        let assigned = self.context.assigned.all();
        let choice = route::choose(&identity, requested.as_ref(), routing, &assigned);
        let database = requested.as_ref().map_or("", |requested| requested.database.as_str());
        let listing =
            self.context.branches.listing().await.map_err(|error| Refusal::failed(error.to_string()))?;
        let existence = match &choice.branch {
            Wanted::Branch(name) => self.context.book.existence(&listing, database, name),
            _ => Existence::Missing,
        };
        let (branch, placement) = match route::resolve(&choice, database, &existence, routing) {
            Placement::AsAsked => {
                (requested.as_ref().and_then(|r| r.branch.clone()), "as the client asked".to_owned())
            }
            Placement::OnBranch(branch) => (Some(branch), "on the branch".to_owned()),
            Placement::Default => (None, "on the database's default branch".to_owned()),
            Placement::Ended { told } => (None, format!("on the database's default branch: {told}")),
            Placement::ForkAtFirstWrite(branch) => {
                (Some(branch), "reads the default branch; the branch is forked at the first write".to_owned())
            }
            Placement::Refused(refusal) => (None, format!("refused: {}", refusal.text)),
        };
        let steps = route::explain(&identity, requested.as_ref(), routing, &assigned);
        let steps = steps
            .into_iter()
            .map(|step| ExplainedStep {
                step: step.step.to_owned(),
                considered: step.considered,
                outcome: step.outcome,
            })
            .collect();
        Ok(ExplainedRoute { branch, placement, reason: choice.reason.to_string(), steps })
    }

    async fn rigs(&self) -> Result<Vec<RigRow>, Refusal> {
        let listing =
            self.context.branches.listing().await.map_err(|error| Refusal::failed(error.to_string()))?;
        Ok(listing.databases().map(|name| self.rig(&listing, name)).collect())
    }

    async fn create_rig(&self, name: &str) -> Result<RigRow, Refusal> {
        let sql = format!("CREATE DATABASE {}", sql_identifier(name));
        match self.context.dolt.control().execute(&sql, Vec::new()).await {
            Ok(_) => {}
            Err(ControlError::Server { code: 1007, .. }) => {
                return Err(Refusal::exists(format!("rig {name} exists already; SHOW RIGS lists them")));
            }
            Err(error) => return Err(Refusal::failed(format!("cannot create rig {name}: {error}"))),
        }
        let listing =
            self.context.branches.listing().await.map_err(|error| Refusal::failed(error.to_string()))?;
        Ok(self.rig(&listing, name))
    }

    async fn kill(&self, id: u32) -> Result<(), Refusal> {
        match self.context.clients.get(id) {
            Some(client) => {
                client.cancel.cancel();
                Ok(())
            }
            None => Err(Refusal::no_such_client(format!("there is no client {id}; SHOW CLIENTS lists them"))),
        }
    }

    async fn dump(&self) -> DumpText {
        dump(&self.context)
    }
}

fn assigned_row(assigned: AssignedRule) -> AssignedRow {
    AssignedRow { id: assigned.id, rule: assigned.rule, by: assigned.by, at: assigned.at }
}

fn client_row(client: &Client) -> ClientRow {
    let view = client.view();
    ClientRow {
        id: client.id,
        address: view.address,
        account: view.account,
        program: view.program,
        pid: view.pid,
        database: view.database,
        branch: view.branch,
        reason: view.reason,
        backend_id: view.backend_id,
        doing: view.doing.as_str(),
        doing_for: Instant::now().duration_since(view.doing_since),
        in_transaction: view.in_transaction,
        commands: client.commands.load(Ordering::Relaxed),
        connected_for: client.since.elapsed().unwrap_or_default(),
    }
}

fn dolt_report(context: &Context) -> DoltReport {
    let facts = context.dolt.facts();
    let mut report = DoltReport {
        state: "stopping",
        since: None,
        reason: None,
        pid: None,
        version: None,
        address: None,
        restarts: facts.restarts,
        health_latency: facts.health_latency,
        health_at: facts.health_at,
        last_error: facts.last_error,
    };
    match context.dolt.state() {
        State::Starting { since } => (report.state, report.since) = ("starting", Some(since)),
        State::Down { since, reason } => {
            (report.state, report.since, report.reason) = ("down", Some(since), Some(reason));
        }
        State::Ready(ready) => {
            (report.state, report.since, report.pid) = ("ready", Some(ready.since), ready.pid);
            report.version = Some(ready.dolt_version.clone());
            let socket = ready.endpoint.socket.as_ref().map(|path| path.display().to_string());
            report.address = socket.or_else(|| ready.endpoint.tcp.map(|address| address.to_string()));
        }
        State::Stopping => {}
    }
    report
}
