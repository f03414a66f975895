//! Owns the seam between the console and the rest: what may be asked and done, in precise types.
//! Does not format: `commands` turns these values into rows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::Refusal;
use super::branches::BranchBackend;
use super::remotes::RemoteBackend;
use crate::admit::{Cause, Counters, Outcome};
use crate::config::{Config, Rule};
use crate::observe::bypass::Bypassed;
use crate::session::identity::PeerAddress;

/// What the console shows and changes; implemented over the registry, the Dolt handle and the router.
///
/// Calls may take as long as Dolt does; the console puts its own limit on each (`COMMAND_TIMEOUT`).
#[async_trait]
pub trait Backend: BranchBackend + RemoteBackend + Send + Sync + 'static {
    /// `SHOW STATUS`. What can't be learned is absent with its reason; this never fails as a whole.
    async fn status(&self) -> StatusReport;

    /// `SHOW CLIENTS`, by id.
    fn clients(&self) -> Vec<ClientRow>;

    /// `SHOW LANES` and `SHOW LANE TOTALS`.
    fn lanes(&self) -> LanesReport;

    /// `SHOW CONFIG`, and the configured half of `SHOW ROUTES`.
    fn config(&self) -> Arc<Config>;

    /// The assigned half of `SHOW ROUTES`, first match first.
    fn assigned(&self) -> Vec<AssignedRow>;

    /// `ROUTE … TO …`: returns once the rule is on disk.
    async fn assign(&self, rule: Rule, by: &str) -> Result<AssignedRow, Refusal>;

    /// `UNROUTE id`: returns once the rule is gone from disk. An unknown id is refused.
    async fn unassign(&self, id: u32) -> Result<AssignedRow, Refusal>;

    /// `EXPLAIN ROUTE`: which branch would such a connection get, and why. Changes nothing.
    async fn explain(&self, question: RouteQuestion) -> Result<ExplainedRoute, Refusal>;

    /// `SHOW RIGS`, by name.
    async fn rigs(&self) -> Result<Vec<RigRow>, Refusal>;

    /// `CREATE RIG name`. The name was checked by the console (`[A-Za-z0-9_-]`, at most 64 bytes).
    async fn create_rig(&self, name: &str) -> Result<RigRow, Refusal>;

    /// `KILL n`: ends the client with this id of ours. An unknown id is refused with 1094.
    async fn kill(&self, id: u32) -> Result<(), Refusal>;

    /// `DUMP`: the state dump that SIGQUIT writes.
    async fn dump(&self) -> DumpText;
}

/// Text for people, many lines.
pub type DumpText = String;

/// `SHOW STATUS`
#[derive(Debug, Clone)]
pub struct StatusReport {
    /// Our process id.
    pub pid: u32,
    /// Our version.
    pub version: String,
    /// When we started.
    pub started: SystemTime,
    /// How long ago.
    pub uptime: Duration,
    /// Addresses really bound: port 0 has become a port.
    pub listen: Vec<SocketAddr>,
    /// Unix socket that SQL is served on.
    pub socket: Option<PathBuf>,
    /// Data directory.
    pub data_dir: PathBuf,
    /// State directory.
    pub state_dir: PathBuf,
    /// Config file that was read.
    pub config_file: Option<PathBuf>,
    /// Dolt.
    pub dolt: DoltReport,
    /// Databases that Dolt serves, or why they are not known.
    pub databases: Result<Vec<String>, String>,
    /// Clients.
    pub clients: ClientsReport,
    /// Write lanes.
    pub lanes: LaneTotals,
    /// Disk of the data directory, or why it is not known.
    pub disk: Result<DiskReport, String>,
    /// What a person should look at now.
    pub alerts: Vec<String>,
}

/// Dolt, as `SHOW STATUS` shows it.
#[derive(Debug, Clone)]
pub struct DoltReport {
    /// `starting`, `ready`, `down`, `stopping`.
    pub state: &'static str,
    /// Since when.
    pub since: Option<SystemTime>,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Its process id; none while down and for an external server.
    pub pid: Option<u32>,
    /// `dolt_version()`
    pub version: Option<String>,
    /// Where backends connect.
    pub address: Option<String>,
    /// Starts after the first.
    pub restarts: u64,
    /// How long the last health probe took.
    pub health_latency: Option<Duration>,
    /// When it was answered.
    pub health_at: Option<SystemTime>,
    /// What went wrong last, and when.
    pub last_error: Option<(SystemTime, String)>,
}

/// Counts of clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientsReport {
    /// Connected now.
    pub now: usize,
    /// Accepted since start.
    pub accepted: u64,
    /// Refused since start.
    pub refused: u64,
    /// `limits.clients_max`
    pub max: usize,
}

/// Disk of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskReport {
    /// Used by the files in the data directory.
    pub used_bytes: u64,
    /// Free to us on its file system.
    pub free_bytes: u64,
}

/// A row of `SHOW CLIENTS`.
#[derive(Debug, Clone)]
pub struct ClientRow {
    /// The id in our greeting, for `KILL`.
    pub id: u32,
    /// `127.0.0.1:5123` or `unix`.
    pub address: String,
    /// Account as `user@host`; empty before authentication.
    pub account: String,
    /// Program; empty if not known.
    pub program: String,
    /// Process id if known.
    pub pid: Option<u32>,
    /// Current database as the client named it.
    pub database: Option<String>,
    /// Branch of that database; none on its default branch.
    pub branch: Option<String>,
    /// Why it is on that branch.
    pub reason: String,
    /// Dolt's id of its backend.
    pub backend_id: Option<u32>,
    /// `connecting`, `idle`, `running`, `waiting for a lane`.
    pub doing: &'static str,
    /// For how long.
    pub doing_for: Duration,
    /// Whether a transaction is open.
    pub in_transaction: bool,
    /// Commands served.
    pub commands: u64,
    /// How long it has been connected.
    pub connected_for: Duration,
}

/// Write lanes: now, and since the start.
#[derive(Debug, Clone, Default)]
pub struct LanesReport {
    /// In the order in which lanes are taken.
    pub lanes: Vec<LaneRow>,
    /// Over all of them.
    pub totals: LaneTotals,
}

/// A row of `SHOW LANES`.
#[derive(Debug, Clone, Default)]
pub struct LaneRow {
    /// `database/branch`, in lower case.
    pub lane: String,
    /// `busy`, `idle`, `kept`: what its holder does; `lent`: nobody holds it, but a transaction will take
    /// it again; `free`.
    pub state: &'static str,
    /// Who holds it.
    pub holder: Option<LaneHolderRow>,
    /// Clients whose transaction lost it and takes it again at COMMIT.
    pub lent_by: Vec<u32>,
    /// Clients that wait for it.
    pub waiting: usize,
    /// How long the one has waited that waits longest.
    pub longest_wait: Option<Duration>,
    /// Whether it is held, waited for or lent, or was used within the last minute.
    pub is_active: bool,
    /// Its counts since the start.
    pub counters: Counters,
    /// Dolt commits within the last minute that took rows of others along.
    pub sweeps_per_minute: u32,
}

/// Who holds a lane.
#[derive(Debug, Clone, Default)]
pub struct LaneHolderRow {
    /// The id in our greeting, for `KILL`.
    pub client_id: u32,
    /// `user@host`
    pub account: String,
    /// Empty if not known.
    pub program: String,
    /// The statement that it runs, or ran last; fit to be shown.
    pub statement: String,
    /// For how long it has been in the row's state: running the statement, idle since it, or kept.
    pub state_for: Duration,
    /// For how long it has held the lane.
    pub held_for: Duration,
}

/// Over all lanes, since the start.
#[derive(Debug, Clone, Default)]
pub struct LaneTotals {
    /// Lanes held now.
    pub held: usize,
    /// Clients that wait now.
    pub waiting: usize,
    /// Sums over all lanes.
    pub counters: Counters,
    /// Sweeps within the last minute.
    pub sweeps_per_minute: u32,
    /// What was done about which cause, how often; only what happened.
    pub causes: Vec<LaneCause>,
    /// Databases that somebody writes who does not come through Branchline.
    pub bypasses: Vec<Bypassed>,
}

/// How often a cause led to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneCause {
    /// What was done.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
    /// How often.
    pub count: u64,
}

/// A rule that somebody assigned while Branchline ran.
#[derive(Debug, Clone)]
pub struct AssignedRow {
    /// For `UNROUTE`.
    pub id: u32,
    /// What it matches and which branch.
    pub rule: Rule,
    /// Who.
    pub by: String,
    /// When.
    pub at: SystemTime,
}

/// A connection that might be, for `EXPLAIN ROUTE`. What was not given is as if the client had not sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteQuestion {
    /// User name as the client would send it, `account+branch` included.
    pub user: Option<String>,
    /// Database as the client would name it, `db/branch` included.
    pub database: Option<String>,
    /// Where from; 127.0.0.1 if not given.
    pub address: Option<PeerAddress>,
    /// Program.
    pub program: Option<String>,
    /// Connection attributes.
    pub attributes: BTreeMap<String, String>,
    /// A process to look up as if it were the peer; the values below win over what it has.
    pub pid: Option<u32>,
    /// BD_BRANCH of the process.
    pub bd_branch: Option<String>,
    /// BD_ACTOR of the process.
    pub actor: Option<String>,
    /// GT_POLECAT of the process.
    pub polecat: Option<String>,
}

/// The answer to a `RouteQuestion`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedRoute {
    /// The branch; none for the database's default branch.
    pub branch: Option<String>,
    /// What would be done: `on the branch`, `forked at the first write`, `refused: …`.
    pub placement: String,
    /// Why, in the words of `SHOW CLIENTS`.
    pub reason: String,
    /// What was considered, in order; the last one decided.
    pub steps: Vec<ExplainedStep>,
}

/// One thing that was considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedStep {
    /// Step of the precedence, as `2 attribute`.
    pub step: String,
    /// What was looked at.
    pub considered: String,
    /// What came of it.
    pub outcome: String,
}

/// A row of `SHOW RIGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RigRow {
    /// Database name.
    pub name: String,
    /// Branches of the database, if they could be read.
    pub branches: Option<u64>,
    /// Whether identity never routes it away from its default branch.
    pub main_only: bool,
    /// Where its data is.
    pub path: Option<PathBuf>,
}
