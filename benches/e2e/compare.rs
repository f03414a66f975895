//! Owns the comparison from the first server started to the last number measured.
//! Does not print the report or end the servers.
//! Always: direct, HAProxy and Branchline lead to the same Dolt.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::args::Plan;
use crate::idle::{self, IdleResult};
use crate::lanes::{self, LaneResult};
use crate::probe::{self, Machine};
use crate::processes::Scratch;
use crate::sections::{self, Column, SectionResult};
use crate::servers::{self, Behind};
use crate::{canned, dataset};

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    pub machine: Machine,
    pub quick: bool,
    pub rounds: usize,
    pub seconds_per_round: f64,
    pub idle: Vec<IdleResult>,
    pub sections: Vec<SectionResult>,
    pub lanes: Vec<LaneResult>,
    /// CPU used by processes that are no part of this, as a share of the machine.
    pub foreign_cpu_share: f64,
    /// CPU the hypervisor kept for others, as a share of the machine.
    pub stolen_cpu_share: f64,
    /// Whatever was left out, and why.
    pub remarks: Vec<String>,
}

/// Starts the servers, measures all sections and describes the circumstances.
pub fn run(plan: &Plan) -> Result<Results, String> {
    if std::env::var_os("BD_BRANCH").is_some() {
        return Err(
            "BD_BRANCH is set: Branchline would route the benchmark to that branch; unset it".to_owned()
        );
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .map_err(|error| format!("the limit of open files could not be raised: {error}"))?;
    let (dolt, haproxy) = (servers::find_dolt(plan.dolt.as_deref())?, servers::find_haproxy()?);
    let machine = Machine::describe(&dolt, &haproxy);
    let scratch = Scratch::new()?;
    let lab = Lab::start(plan, &scratch, &dolt, &haproxy)?;

    let before = probe::machine_cpu();
    let own_before = lab.cpu();
    let started = std::time::Instant::now();
    let sections = sections::all(plan);
    let mut idle = Vec::new();
    // First, while the proxies' allocators hold nothing left over from other sections.
    if plan.idle_clients > 0 && plan.only.is_none() {
        for column in &lab.columns {
            idle.extend(column.pid.map(|pid| idle::measure(column, pid, plan.idle_clients)));
        }
    }
    let sections: Vec<SectionResult> = sections
        .iter()
        .map(|section| section.run(plan, if section.canned { &lab.canned_columns } else { &lab.columns }))
        .collect();
    let lanes = lanes::run(plan, &lab.columns);
    let capacity = started.elapsed().as_secs_f64() * machine.cores as f64;
    let after = probe::machine_cpu();
    let foreign = (after.busy - before.busy - (lab.cpu() - own_before)).max(0.0);
    Ok(Results {
        machine,
        quick: plan.quick,
        rounds: plan.rounds,
        seconds_per_round: plan.measured.as_secs_f64(),
        idle,
        sections,
        lanes,
        foreign_cpu_share: foreign / capacity,
        stolen_cpu_share: (after.stolen - before.stolen) / capacity,
        remarks: lab.remarks,
    })
}

/// The running servers.
struct Lab {
    columns: Vec<Column>,
    canned_columns: Vec<Column>,
    pids: Vec<i32>,
    remarks: Vec<String>,
}

impl Lab {
    fn start(plan: &Plan, scratch: &Scratch, dolt: &Path, haproxy: &Path) -> Result<Self, String> {
        let binary =
            plan.branchline.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_branchline")));
        let (branchline, direct) = if plan.with_branchline {
            let server = servers::start_branchline(scratch, "branchline", &binary, Behind::Private(dolt))?;
            (Some(server), servers::private_dolt(scratch, "branchline")?)
        } else {
            (None, servers::start_dolt(scratch, dolt)?)
        };
        dataset::create(&sections::endpoint(direct.address), plan.large_bytes)?;
        let canned = canned::start(direct.address, plan.large_bytes)?;
        let frontends = servers::start_haproxy(scratch, haproxy, &[direct.address, canned])?;
        let mut remarks = Vec::new();
        let canned_branchline = if plan.with_branchline {
            // It needs the real Dolt behind the canned backend for its control connection.
            servers::start_branchline(scratch, "branchline-canned", &binary, Behind::External(canned))
                .map_err(|error| remarks.push(format!("canned sections without Branchline: {error}")))
                .ok()
        } else {
            remarks.push("--without-branchline: only direct and HAProxy were measured".to_owned());
            None
        };
        let columns = |direct, haproxy: servers::Server, branchline: Option<servers::Server>| {
            let mut list = vec![
                Column { name: "direct", address: direct, pid: None },
                Column { name: "haproxy", address: haproxy.address, pid: Some(haproxy.pid) },
            ];
            list.extend(branchline.map(|server| Column {
                name: "branchline",
                address: server.address,
                pid: Some(server.pid),
            }));
            if plan.control {
                list.push(Column { name: "direct again", address: direct, pid: None });
            }
            list
        };
        Ok(Self {
            columns: columns(direct.address, frontends[0], branchline),
            canned_columns: columns(canned, frontends[1], canned_branchline),
            pids: [Some(direct), Some(frontends[0]), branchline, canned_branchline]
                .into_iter()
                .flatten()
                .map(|server| server.pid)
                .chain([std::process::id() as i32])
                .collect(),
            remarks,
        })
    }

    fn cpu(&self) -> f64 {
        self.pids.iter().filter_map(|pid| probe::cpu_seconds(*pid)).sum()
    }
}
