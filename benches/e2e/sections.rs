//! Owns what is measured and in which order: every section in rounds, every round all servers.
//! Does not start servers and does not judge.
//! Always: an error in one server's cell leaves the others measured and is kept in the result.

use std::net::SocketAddr;

use serde::Serialize;

use crate::args::Plan;
use crate::canned;
use crate::dataset::{self, DATABASE};
use crate::probe;
use crate::stats::{Sample, Summary};
use crate::workload::{self, Endpoint, Operation, Window};

/// A way to the database.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: &'static str,
    pub address: SocketAddr,
    /// The proxy's process, where there is one.
    pub pid: Option<i32>,
}

/// What a section is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Target {
    /// Median added latency at most HAProxy's.
    AddedLatency,
    /// Throughput at least 0.95 of HAProxy's.
    Throughput,
    /// Shown, not judged.
    None,
}

/// What a section does.
#[derive(Debug, Clone)]
enum Work {
    Loop { operation: Operation, connections: usize },
    Large { sql: String, rows: u64, bytes_min: u64 },
}

/// One table of the report.
#[derive(Debug, Clone)]
pub struct Section {
    pub name: String,
    pub target: Target,
    /// Measured against the canned backend.
    pub canned: bool,
    work: Work,
}

/// One server's numbers in a section.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    pub column: String,
    /// All rounds together.
    pub total: Option<Summary>,
    pub rounds: Vec<Option<Summary>>,
    /// The proxy's CPU inside the measured windows.
    pub cpu_seconds: Option<f64>,
    /// The proxy's highest resident memory during the section.
    pub peak_kib: Option<u64>,
    pub errors: Vec<String>,
}

/// A section's numbers.
#[derive(Debug, Clone, Serialize)]
pub struct SectionResult {
    pub name: String,
    pub target: Target,
    pub large: bool,
    pub cells: Vec<Cell>,
}

/// All sections, in the order of the report.
pub fn all(plan: &Plan) -> Vec<Section> {
    let counted = |what: &str, connections: usize| {
        let plural = if connections == 1 { "" } else { "s" };
        format!("{what}, {connections} connection{plural}")
    };
    let looped = |what: &str, operation: Operation, connections: usize, target, canned| Section {
        name: counted(what, connections),
        target,
        canned,
        work: Work::Loop { operation, connections },
    };
    let round_trip = Target::AddedLatency;
    let mut list = Vec::new();
    for connections in [1, 8, 40] {
        list.push(looped("point select", dataset::point(), connections, round_trip, false));
    }
    for connections in [1, 8] {
        list.push(looped("prepared point select", dataset::prepared_point(), connections, round_trip, false));
    }
    list.push(looped("400-row result", dataset::page(), 1, round_trip, false));
    for connections in [1, 8, 40] {
        list.push(looped("connect + SELECT 1 + close", dataset::connect(), connections, Target::None, false));
    }
    let bytes = plan.large_bytes;
    let (sql, rows) = dataset::large(bytes);
    list.push(Section {
        name: format!("{} MiB result, rows of 1 MiB", bytes >> 20),
        target: Target::Throughput,
        canned: false,
        work: Work::Large { sql, rows, bytes_min: bytes },
    });
    for connections in [1, 8, 40] {
        list.push(looped("canned point select", dataset::canned_point(), connections, round_trip, true));
    }
    for (table, row_bytes, words) in [
        (canned::WIDE_TABLE, canned::WIDE_ROW_BYTES, "16 KiB"),
        (canned::NARROW_TABLE, canned::NARROW_ROW_BYTES, "128 B"),
    ] {
        let rows = canned::rows_for(bytes, row_bytes);
        list.push(Section {
            name: format!("canned {} MiB result, rows of {words}", bytes >> 20),
            target: Target::Throughput,
            canned: true,
            work: Work::Large {
                sql: canned::statement(table).replace("{id}", "1"),
                rows,
                bytes_min: rows * row_bytes as u64,
            },
        });
    }
    // Without ", 8 connections", which `--only connect` would match everywhere.
    let what = |section: &Section| section.name.split(',').next().unwrap_or_default().to_owned();
    list.retain(|section| plan.only.as_ref().is_none_or(|text| what(section).contains(text.as_str())));
    list
}

impl Section {
    /// Measures all columns, round by round.
    pub fn run(&self, plan: &Plan, columns: &[Column]) -> SectionResult {
        let large = matches!(self.work, Work::Large { .. });
        let rounds = if large { plan.long_rounds } else { plan.rounds };
        eprintln!("e2e: {} ({rounds} rounds)", self.name);
        columns.iter().filter_map(|column| column.pid).for_each(probe::reset_peak);
        let mut cells: Vec<Cell> = columns
            .iter()
            .map(|column| Cell {
                column: column.name.to_owned(),
                rounds: vec![None; rounds],
                ..Cell::default()
            })
            .collect();
        let mut samples = vec![Sample::default(); columns.len()];
        for round in 0..rounds {
            for index in order(round, columns.len()) {
                let (column, cell) = (&columns[index], &mut cells[index]);
                let mut edges = Vec::new();
                match self.once(plan, column, || edges.extend(column.pid.and_then(probe::cpu_seconds))) {
                    Ok(sample) => {
                        cell.rounds[round] = sample.summary();
                        samples[index].merge(&sample);
                        if let [begin, end] = edges[..] {
                            *cell.cpu_seconds.get_or_insert(0.0) += end - begin;
                        }
                    }
                    Err(error) => cell.errors.push(error),
                }
            }
        }
        for ((cell, sample), column) in cells.iter_mut().zip(&samples).zip(columns) {
            cell.total = sample.summary();
            cell.peak_kib = column.pid.and_then(probe::peak_kib);
        }
        SectionResult { name: self.name.clone(), target: self.target, large, cells }
    }

    fn once(&self, plan: &Plan, column: &Column, mut at_edges: impl FnMut()) -> Result<Sample, String> {
        let endpoint = endpoint(column.address);
        match &self.work {
            Work::Loop { operation, connections } => {
                let window =
                    Window { connections: *connections, warm_up: plan.warm_up, measured: plan.measured };
                workload::run(&endpoint, operation, window, at_edges)
            }
            Work::Large { sql, rows, bytes_min } => {
                at_edges();
                let sample = workload::large(&endpoint, sql, *rows, *bytes_min);
                at_edges();
                sample
            }
        }
    }
}

/// As the benchmark logs in everywhere.
pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { address, user: "root".to_owned(), database: Some(DATABASE.to_owned()) }
}

/// Each round begins with another column, and every other cycle runs backwards, so that no server always
/// follows the same one.
pub fn order(round: usize, columns: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns).map(|index| (index + round) % columns).collect();
    if (round / columns) % 2 == 1 {
        order.reverse();
    }
    order
}
