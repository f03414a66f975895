//! A backend for console tests: fixed values, and it remembers what it was told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use branchline::admin::{
    AssignedRow, Backend, BranchBackend, BranchRow, BranchWork, ClientRow, ClientsReport, DiskReport,
    DoltReport, DumpText, ExplainedRoute, ExplainedStep, Jobs, LaneCause, LaneHolderRow, LaneRow, LaneTotals,
    LanesReport, Outcome as Came, Refusal, RemoteBackend, RemoteView, RemoteWork, RigRow, RouteQuestion,
    StatusReport, Table,
};
use branchline::admit::{Cause, Counters, Outcome};
use branchline::branch::history::{DiffQuestion, LogEntry, TableDiff};
use branchline::branch::main_tables::MainTable;
use branchline::config::raw::Flags;
use branchline::config::resolve::Sources;
use branchline::config::{Config, Rule, Secret};
use branchline::observe::bypass::Bypassed;

pub struct Fake {
    config: Arc<Config>,
    /// What `SHOW STATUS` says is served.
    pub listen: Mutex<SocketAddr>,
    /// What `SHOW STATUS` says is our pid.
    pub pid: AtomicU32,
    assigned: Mutex<Vec<AssignedRow>>,
    pub asked: Mutex<Vec<RouteQuestion>>,
    pub killed: Mutex<Vec<u32>>,
    jobs: Jobs,
    /// What was to be begun.
    pub begun: Mutex<Vec<BranchWork>>,
}

pub const CLIENT_ID: u32 = 0x4000_0001;
pub const PASSWORD: &str = "hunter2";

impl Fake {
    pub fn new(state_dir: &std::path::Path) -> Self {
        let flags =
            Flags { data_dir: Some("/data".into()), state_dir: Some(state_dir.into()), ..Flags::default() };
        let sources = Sources { flags, environment: &|_| None, cwd: "/".into(), home: None };
        let mut config = sources.resolve().unwrap();
        config.dolt.source = branchline::config::DoltSource::External {
            address: "127.0.0.1:3306".into(),
            user: "root".into(),
            password: Secret::new(PASSWORD),
        };
        Self {
            config: Arc::new(config),
            pid: AtomicU32::new(std::process::id()),
            listen: Mutex::new("127.0.0.1:3307".parse().unwrap()),
            assigned: Mutex::default(),
            asked: Mutex::default(),
            killed: Mutex::default(),
            jobs: Jobs::new(),
            begun: Mutex::default(),
        }
    }
}

#[async_trait]
impl Backend for Fake {
    async fn status(&self) -> StatusReport {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        StatusReport {
            pid: self.pid.load(Ordering::Relaxed),
            version: "0.1.0".into(),
            started: at(1_000_000_000),
            uptime: Duration::from_secs(3725),
            listen: vec![*self.listen.lock().unwrap()],
            socket: None,
            data_dir: self.config.data_dir.clone(),
            state_dir: self.config.state_dir.clone(),
            config_file: None,
            dolt: DoltReport {
                state: "down",
                since: Some(at(1_000_003_600)),
                reason: Some("killed by signal 9; starting again in 2 s".into()),
                pid: None,
                version: Some("1.88.1".into()),
                address: Some("unix:/s/dolt.sock".into()),
                restarts: 3,
                health_latency: Some(Duration::from_micros(1500)),
                health_at: Some(at(1_000_003_590)),
                last_error: Some((at(1_000_003_600), "killed by signal 9".into())),
            },
            databases: Ok(vec!["beads".into(), "hq".into()]),
            clients: ClientsReport { now: 1, accepted: 7, refused: 2, max: 1000 },
            lanes: self.lanes().totals,
            disk: Ok(DiskReport { used_bytes: 4096, free_bytes: 1 << 40 }),
            alerts: vec!["5 restarts in 10 min".into()],
        }
    }

    fn clients(&self) -> Vec<ClientRow> {
        vec![ClientRow {
            id: CLIENT_ID,
            address: "127.0.0.1:5123".into(),
            account: "root@%".into(),
            program: "bd".into(),
            pid: Some(77),
            database: Some("gastown".into()),
            branch: Some("polecat-nux".into()),
            reason: "BD_BRANCH of bd (pid 77)".into(),
            backend_id: Some(12),
            doing: "idle",
            doing_for: Duration::from_millis(1500),
            in_transaction: false,
            commands: 4,
            connected_for: Duration::from_secs(9),
        }]
    }

    fn lanes(&self) -> LanesReport {
        let mut counters = Counters::default();
        (counters.grants, counters.waits, counters.reruns, counters.sweeps) = (120, 14, 2, 1);
        (counters.wait_total, counters.wait_max) = (Duration::from_millis(2500), Duration::from_millis(812));
        let holder = LaneHolderRow {
            client_id: CLIENT_ID,
            account: "root@%".into(),
            program: "bd".into(),
            statement: format!("INSERT INTO issues VALUES ({})", "1, ".repeat(50)),
            state_for: Duration::from_millis(1500),
            held_for: Duration::from_millis(1700),
        };
        let held = LaneRow {
            lane: "beads/polecat-nux".into(),
            state: "idle",
            holder: Some(holder),
            waiting: 3,
            longest_wait: Some(Duration::from_millis(700)),
            is_active: true,
            counters: counters.clone(),
            sweeps_per_minute: 1,
            ..LaneRow::default()
        };
        let lent = LaneRow {
            lane: "beads/main".into(),
            state: "lent",
            lent_by: vec![CLIENT_ID, CLIENT_ID + 1],
            is_active: true,
            ..LaneRow::default()
        };
        let free = LaneRow { lane: "hq/main".into(), state: "free", ..LaneRow::default() };
        let cause = LaneCause { outcome: Outcome::Rerun, cause: Cause::Moved, count: 2 };
        let last = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let totals = LaneTotals {
            held: 1,
            waiting: 3,
            counters,
            sweeps_per_minute: 1,
            causes: vec![cause],
            bypasses: vec![Bypassed { database: "beads".into(), count: 3, last }],
        };
        LanesReport { lanes: vec![held, lent, free], totals }
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    fn assigned(&self) -> Vec<AssignedRow> {
        self.assigned.lock().unwrap().clone()
    }

    async fn assign(&self, rule: Rule, by: &str) -> Result<AssignedRow, Refusal> {
        let mut assigned = self.assigned.lock().unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let row = AssignedRow { id: assigned.len() as u32 + 1, rule, by: by.to_owned(), at };
        assigned.push(row.clone());
        Ok(row)
    }

    async fn unassign(&self, id: u32) -> Result<AssignedRow, Refusal> {
        let mut assigned = self.assigned.lock().unwrap();
        match assigned.iter().position(|row| row.id == id) {
            Some(at) => Ok(assigned.remove(at)),
            None => {
                Err(Refusal::bad_value(format!("there is no assigned rule {id}; SHOW ROUTES lists them")))
            }
        }
    }

    async fn explain(&self, question: RouteQuestion) -> Result<ExplainedRoute, Refusal> {
        let branch = question.bd_branch.clone();
        self.asked.lock().unwrap().push(question);
        Ok(ExplainedRoute {
            branch,
            placement: "forked at the first write".into(),
            reason: "BD_BRANCH".into(),
            steps: vec![ExplainedStep {
                step: "5 BD_BRANCH".into(),
                considered: "polecat-x".into(),
                outcome: "chosen".into(),
            }],
        })
    }

    async fn rigs(&self) -> Result<Vec<RigRow>, Refusal> {
        Ok(vec![RigRow {
            name: "hq".into(),
            branches: Some(1),
            main_only: true,
            path: Some("/data/hq".into()),
        }])
    }

    async fn create_rig(&self, name: &str) -> Result<RigRow, Refusal> {
        if name == "hq" {
            return Err(Refusal::exists("there is a database hq already"));
        }
        Ok(RigRow { name: name.to_owned(), branches: Some(1), main_only: false, path: None })
    }

    async fn kill(&self, id: u32) -> Result<(), Refusal> {
        if id != CLIENT_ID {
            return Err(Refusal::no_such_client(format!("there is no client {id}; SHOW CLIENTS lists them")));
        }
        self.killed.lock().unwrap().push(id);
        Ok(())
    }

    async fn dump(&self) -> DumpText {
        "line one\nline two\n".into()
    }
}

/// Work comes to nothing at once, a drop fails, an undrop never ends.
#[async_trait]
impl BranchBackend for Fake {
    fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    async fn start(&self, work: BranchWork, by: &str) -> Result<u32, Refusal> {
        self.begun.lock().unwrap().push(work.clone());
        let text = "it can't be dropped: \u{1b}]0;title";
        self.jobs.start("some work".to_owned(), by, |progress| async move {
            match work {
                BranchWork::Drop { .. } => Err(text.to_owned()),
                BranchWork::Undrop { .. } => {
                    progress.step("bring it back", Some(10));
                    progress.advance(3);
                    std::future::pending().await
                }
                _ => Ok(Came::Finished(Vec::new())),
            }
        })
    }

    async fn branches(&self, database: Option<&str>) -> Result<Vec<BranchRow>, Refusal> {
        let branch = |branch: &str, ahead, age_s| BranchRow {
            database: database.unwrap_or("beads").to_owned(),
            branch: branch.to_owned(),
            age: Some(Duration::from_secs(age_s)),
            last_write: Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
            ahead,
            behind: Some(2),
            uncommitted: Some(1),
            ..BranchRow::default()
        };
        let mut rows = vec![branch("polecat-a", Some(10), 3900), branch("polecat-b", None, 59)];
        rows.push(BranchRow {
            worker: Some("nux".to_owned()),
            sessions: 3,
            orphan: true,
            ..branch("c", Some(9), 200_000)
        });
        Ok(rows)
    }

    async fn branch_log(&self, database: &str, branch: &str, limit: usize) -> Result<Vec<LogEntry>, Refusal> {
        Err(Refusal::failed(format!("no log of {database}/{branch} with {limit}")))
    }

    async fn branch_diff(&self, question: DiffQuestion) -> Result<Vec<TableDiff>, Refusal> {
        Err(Refusal::failed(format!("no diff: {question:?}")))
    }

    async fn main_tables(&self, database: &str) -> Result<Vec<MainTable>, Refusal> {
        Err(Refusal::failed(format!("no main tables of {database}")))
    }
}

/// Nothing comes of work with remotes; what was asked is told as it was understood.
#[async_trait]
impl RemoteBackend for Fake {
    async fn start_remote(&self, work: RemoteWork, by: &str) -> Result<u32, Refusal> {
        let told = format!("{work:?}");
        self.jobs.start(told, by, |_| async move {
            let mut table = Table::new(["database", "outcome", "text"]);
            table.row(["beads".into(), "auth".into(), "permission denied".into()]);
            Ok(Came::Table { table, failure: Some("1 of 1 databases was not pushed".to_owned()) })
        })
    }

    async fn show_remote(&self, view: RemoteView) -> Result<Table, Refusal> {
        let mut table = Table::new(["view"]);
        table.row([format!("{view:?}").into()]);
        Ok(table)
    }
}
