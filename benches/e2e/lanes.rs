//! Owns the sections of contended writes: what is written, by how many, in rounds of direct and Branchline.
//! Does not judge, and compares no HAProxy: it has no say in what a write costs.
//! Always: what was acknowledged is counted against what the data say afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use serde::Serialize;

use crate::args::Plan;
use crate::client::Client;
use crate::contend::{self, Crowd, Tally};
use crate::sections::{Column, order};
use crate::stats::Summary;
use crate::workload::Endpoint;

/// Begins the name of each of these sections, so that `--only lanes` finds them.
const PREFIX: &str = "lanes: ";
/// Workers of the largest crowd; each has a branch.
const WORKERS_MAX: usize = 50;
/// Insert and commit, so many times by each worker of the document's table.
pub const CYCLES: usize = 5;
const READERS: usize = 4;

/// What a writer does over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Autocommit `n = n + 1` of one row.
    Increment,
    /// BEGIN; INSERT; CALL DOLT_COMMIT; COMMIT.
    DoltCommit,
    /// INSERT; CALL DOLT_COMMIT('-Am').
    InsertThenCommit,
}

/// What is asked of Branchline, compared with direct.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum LaneTarget {
    /// Acknowledged writes per second, at least this share.
    Rate(f64),
    /// 99th percentile of a write, at most this share.
    P99(f64),
    /// Reads per second, at least this share.
    Reads(f64),
    /// No errors, and the data hold what was acknowledged; direct is not compared.
    Exact,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// Writers for the measured time, with readers beside them.
    Window { write: Write, writers: usize, readers: usize },
    /// So many workers × `CYCLES`, to the end of the last.
    Cycles { workers: usize, own_branches: bool },
}

/// One table of the report.
#[derive(Debug, Clone)]
pub struct LaneSection {
    name: String,
    work: Work,
    targets: &'static [LaneTarget],
}

/// One server's round.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LaneRound {
    /// Writes acknowledged, warm-up included.
    pub acknowledged: u64,
    /// Writes that the data show.
    pub applied: u64,
    /// Errors by code.
    pub errors: BTreeMap<String, u64>,
    /// Acknowledged writes in the measured time; a transaction from its BEGIN to COMMIT's answer.
    pub writes: Option<Summary>,
    /// Reads beside them.
    pub reads: Option<Summary>,
    /// Measured time, or what all cycles took.
    pub seconds: f64,
}

/// One server's numbers in a section.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LaneCell {
    pub column: String,
    pub rounds: Vec<Option<LaneRound>>,
    /// What broke, as opposed to being refused.
    pub broken: Vec<String>,
}

/// A section's numbers.
#[derive(Debug, Clone, Serialize)]
pub struct LaneResult {
    pub name: String,
    pub targets: Vec<LaneTarget>,
    pub cells: Vec<LaneCell>,
}

/// All sections that the plan wants.
pub fn all(plan: &Plan) -> Vec<LaneSection> {
    use LaneTarget::{Exact, P99, Rate, Reads};
    use Write::{DoltCommit, Increment};
    let window = |what: &str, write, writers, readers, targets| LaneSection {
        name: format!("{PREFIX}{what}"),
        work: Work::Window { write, writers, readers },
        targets,
    };
    let mut list = vec![
        window("hot row, autocommit, 50 writers", Increment, 50, 0, &[Rate(0.7), P99(1.0), Exact]),
        window(
            "BEGIN; INSERT; DOLT_COMMIT; COMMIT, 50 writers",
            DoltCommit,
            50,
            0,
            &[Rate(0.95), P99(1.0), Exact],
        ),
        window("autocommit, one writer", Increment, 1, 0, &[Rate(0.9), Exact]),
        window("BEGIN; INSERT; DOLT_COMMIT; COMMIT, one writer", DoltCommit, 1, 0, &[Rate(0.9), Exact]),
        window("reads beside 50 writers", Increment, 50, READERS, &[Reads(1.0), Exact]),
    ];
    for own_branches in [false, true] {
        for workers in [10, 20, 50] {
            let place = if own_branches { "a branch each" } else { "one branch" };
            list.push(LaneSection {
                name: format!("{PREFIX}{workers} workers × {CYCLES} insert+commit on {place}"),
                work: Work::Cycles { workers, own_branches },
                targets: &[Exact],
            });
        }
    }
    list.retain(|section| plan.only.as_ref().is_none_or(|text| section.name.contains(text.as_str())));
    list
}

/// Measures all sections on the columns that it is about.
pub fn run(plan: &Plan, columns: &[Column]) -> Vec<LaneResult> {
    let sections = all(plan);
    let columns: Vec<&Column> = columns.iter().filter(|column| column.name != "haproxy").collect();
    if sections.is_empty() {
        return Vec::new();
    }
    let prepared: Vec<Result<Site, String>> = columns.iter().map(|column| Site::create(column)).collect();
    sections.iter().map(|section| section.run(plan, &columns, &prepared)).collect()
}

impl LaneSection {
    fn run(&self, plan: &Plan, columns: &[&Column], sites: &[Result<Site, String>]) -> LaneResult {
        let rounds = plan.long_rounds;
        eprintln!("e2e: {} ({rounds} rounds)", self.name);
        let cell = |column: &&Column| LaneCell {
            column: column.name.to_owned(),
            rounds: vec![None; rounds],
            ..LaneCell::default()
        };
        let mut cells: Vec<LaneCell> = columns.iter().map(cell).collect();
        for round in 0..rounds {
            for index in order(round, columns.len()) {
                let measured =
                    sites[index].as_ref().map_err(Clone::clone).and_then(|site| self.once(plan, site));
                match measured {
                    Ok(measured) => cells[index].rounds[round] = Some(measured),
                    Err(error) => cells[index].broken.push(error),
                }
            }
        }
        LaneResult { name: self.name.clone(), targets: self.targets.to_vec(), cells }
    }

    fn once(&self, plan: &Plan, site: &Site) -> Result<LaneRound, String> {
        let before = site.applied()?;
        let tally = match self.work {
            Work::Window { write, writers, readers } => {
                let (warm_up, measured) = (plan.contended / 5, plan.contended);
                let crowd = Crowd { writers, readers, write, warm_up, measured };
                contend::window(&site.endpoint, &crowd, &site.next_id)?
            }
            Work::Cycles { workers, own_branches } => {
                let place = |worker| {
                    if own_branches { site.branch(worker) } else { site.endpoint.clone() }
                };
                contend::cycles((0..workers).map(place).collect(), &site.next_id)?
            }
        };
        let Tally { acknowledged, errors, writes, reads } = tally;
        let applied = site.applied()? - before;
        let seconds = writes.seconds;
        let (writes, reads) = (writes.summary(), reads.summary());
        Ok(LaneRound { acknowledged, applied, errors, writes, reads, seconds })
    }
}

/// A column's own database: each grows by its own writes only.
struct Site {
    endpoint: Endpoint,
    next_id: AtomicU64,
}

impl Site {
    fn create(column: &Column) -> Result<Self, String> {
        let database = format!("lanes_{}", column.name.replace(' ', "_"));
        let endpoint = Endpoint { address: column.address, user: "root".to_owned(), database: None };
        let mut client = endpoint.connect().map_err(|error| format!("setting up: {error}"))?;
        let mut run = |sql: &str| {
            client.query(sql).map(|_| ()).map_err(|error| format!("setting up with `{sql}`: {error}"))
        };
        run(&format!("CREATE DATABASE {database}"))?;
        run(&format!("USE {database}"))?;
        run("CREATE TABLE counter (id VARCHAR(20) PRIMARY KEY, n BIGINT)")?;
        run("INSERT INTO counter VALUES ('hot', 0)")?;
        run("CREATE TABLE item (id BIGINT PRIMARY KEY, body VARCHAR(100))")?;
        run("CREATE TABLE page (id BIGINT PRIMARY KEY, body VARCHAR(100))")?;
        let rows: Vec<String> = (1..=contend::PAGES).map(|id| format!("({id}, 'page {id}')")).collect();
        run(&format!("INSERT INTO page VALUES {}", rows.join(",")))?;
        run("CALL DOLT_COMMIT('-Am', 'tables')")?;
        for worker in 0..WORKERS_MAX {
            run(&format!("CALL DOLT_BRANCH('w{worker}')"))?;
        }
        let endpoint = Endpoint { database: Some(database), ..endpoint };
        Ok(Self { endpoint, next_id: AtomicU64::new(1) })
    }

    fn branch(&self, worker: usize) -> Endpoint {
        let database = self.endpoint.database.as_ref().map(|name| format!("{name}/w{worker}"));
        Endpoint { database, ..self.endpoint.clone() }
    }

    /// The counter and the rows, of all branches.
    fn applied(&self) -> Result<u64, String> {
        let mut client = self.endpoint.connect().map_err(|error| error.to_string())?;
        let mut sum = number(&mut client, "SELECT n FROM counter")?;
        sum += number(&mut client, "SELECT COUNT(*) FROM item")?;
        let database = self.endpoint.database.clone().unwrap_or_default();
        for worker in 0..WORKERS_MAX {
            sum += number(&mut client, &format!("SELECT COUNT(*) FROM `{database}/w{worker}`.item"))?;
        }
        Ok(sum)
    }
}

/// The only value of a statement's only row, at most 250 digits.
fn number(client: &mut Client, sql: &str) -> Result<u64, String> {
    let reply = client.query(sql).map_err(|error| format!("{sql}: {error}"))?;
    let digits = reply.first_row.get(1..).and_then(|bytes| std::str::from_utf8(bytes).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("{sql}: {:?}", reply.first_row))
}
