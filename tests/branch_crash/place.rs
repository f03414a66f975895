//! Owns the town in which operations are cut short: databases that are alike, who is killed, and what is run again.
//! Does not judge what is left.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::support::branchline::Branchline;
use super::support::client::{Client, Login};
use super::support::{polecat, watch};

pub const BRANCH: &str = "polecat-x";

/// Everything that is awaited here.
const DEADLINE: Duration = Duration::from_secs(60);
/// After five restarts of Dolt within ten minutes Branchline waits a minute before the next.
const DOLT_KILLS_MAX: u32 = 4;

/// What is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Fork,
    Done,
    Drop,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Branchline,
    Dolt,
}

/// Main with rows that are Dolt-committed, rows that aren't, and an ignored table.
const MAIN: &[&str] = &[
    "CREATE TABLE issues (id VARCHAR(20) PRIMARY KEY, title VARCHAR(40), status VARCHAR(20), labels JSON, updated_at DATETIME(6))",
    "CREATE TABLE notes (id INT PRIMARY KEY, note VARCHAR(40))",
    "INSERT INTO dolt_ignore VALUES ('wisp%', true)",
    "CREATE TABLE wisps (id INT PRIMARY KEY, note VARCHAR(40))",
    "INSERT INTO issues VALUES ('bd-1', 'one', 'open', '[\"a\"]', '2026-01-01'), ('bd-2', 'two', 'open', '[]', '2026-01-01'), \
     ('bd-3', 'three', 'open', '[]', '2026-01-01')",
    "INSERT INTO notes VALUES (1, 'of main')",
    "INSERT INTO wisps VALUES (1, 'kept'), (2, 'removed by the branch'), (3, 'changed by the branch')",
    "CALL DOLT_COMMIT('-Am', 'main')",
];

const UNCOMMITTED_ON_MAIN: &[&str] = &[
    "INSERT INTO issues VALUES ('bd-4', 'uncommitted on main', 'open', '[]', '2026-01-02')",
    "INSERT INTO wisps VALUES (5, 'meanwhile on main')",
];

/// A conflict that the rules decide, and uncommitted rows that touch a merged table.
const MEANWHILE_ON_MAIN: &[&str] = &[
    "UPDATE issues SET status = 'hooked', labels = '[\"a\", \"main\"]', updated_at = '2026-01-02' WHERE id = 'bd-1'",
    "CALL DOLT_COMMIT('-am', 'hooked')",
];

const ON_THE_BRANCH: &[&str] = &[
    "UPDATE issues SET status = 'closed', labels = '[\"a\", \"branch\"]', updated_at = '2026-01-03' WHERE id = 'bd-1'",
    "DELETE FROM issues WHERE id = 'bd-3'",
    "INSERT INTO notes VALUES (2, 'of the branch')",
    "CALL DOLT_COMMIT('-Am', 'work')",
    "INSERT INTO issues VALUES ('bd-5', 'uncommitted on the branch', 'open', '[]', '2026-01-03')",
    "INSERT INTO wisps VALUES (4, 'of the branch')",
    "DELETE FROM wisps WHERE id = 2",
    "UPDATE wisps SET note = 'changed' WHERE id = 3",
];

impl Operation {
    fn arguments(self, database: &str) -> Vec<&str> {
        match self {
            Self::Fork => vec!["create", database, BRANCH],
            Self::Done => vec!["done", database, BRANCH],
            Self::Drop => vec!["drop", database, BRANCH, "--force"],
        }
    }
}

/// A town with a Branchline.
pub struct Place {
    directory: TempDir,
    /// None only while it is replaced.
    branchline: Option<Branchline>,
    dolt_kills: u32,
    databases: u32,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let branchline = Some(Branchline::start_in(directory.path(), |_| {}));
        Self { directory, branchline, dolt_kills: 0, databases: 0 }
    }

    fn branchline(&mut self) -> &mut Branchline {
        self.branchline.as_mut().expect("it runs")
    }

    pub fn client(&mut self, login: &Login) -> Client {
        Client::connect(self.branchline().addr(), login)
    }

    fn restart(&mut self) {
        // Waits until both are gone.
        self.branchline = None;
        self.branchline = Some(Branchline::start_in(self.directory.path(), |_| {}));
        self.dolt_kills = 0;
    }

    /// A database to which this operation can be done.
    pub fn prepare(&mut self, operation: Operation) -> String {
        if self.dolt_kills >= DOLT_KILLS_MAX {
            self.restart();
        }
        self.databases += 1;
        let database = format!("crash{}", self.databases);
        let mut main = self.client(&Login::root(""));
        main.run(&format!("CREATE DATABASE {database}"));
        main.run(&format!("USE {database}"));
        run(&mut main, MAIN);
        if operation != Operation::Fork {
            let state = self.branchline().state_dir().to_owned();
            polecat::done(&state, &Operation::Fork.arguments(&database));
            run(&mut self.client(&Login::root(&database).attribute("branch", BRANCH)), ON_THE_BRANCH);
            run(&mut main, MEANWHILE_ON_MAIN);
        }
        run(&mut main, UNCOMMITTED_ON_MAIN);
        database
    }

    /// Starts the operation and kills somebody a while later. Whether it was still running then.
    pub fn kill_during(
        &mut self,
        victim: Victim,
        operation: Operation,
        database: &str,
        delay: Duration,
    ) -> bool {
        let branchline = self.branchline();
        let mut command = polecat::command(branchline.state_dir(), &operation.arguments(database));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("branchline runs");
        // The fault's time, not a wait for something.
        thread::sleep(delay);
        let is_running = child.try_wait().expect("asked").is_none();
        match victim {
            Victim::Branchline => {
                branchline.signal(Signal::KILL);
                assert!(branchline.wait(DEADLINE).is_some(), "branchline outlives SIGKILL");
                end(&mut child);
                self.restart();
            }
            Victim::Dolt => {
                let old = branchline.dolt().pid;
                kill_process(Pid::from_raw(old).expect("a pid"), Signal::KILL).expect("it runs");
                watch::until(DEADLINE, "Dolt is back", || {
                    let is_new = branchline.try_dolt().is_some_and(|dolt| dolt.pid != old);
                    (is_new && Client::try_connect(branchline.addr(), &Login::root("")).is_ok()).then_some(())
                });
                end(&mut child);
                self.dolt_kills += 1;
            }
        }
        is_running
    }

    /// Runs the operation until it is done; what it said at last.
    pub fn again(&mut self, operation: Operation, database: &str) -> String {
        let state = self.branchline().state_dir().to_owned();
        let begun = Instant::now();
        loop {
            let said = polecat::branch(&state, &operation.arguments(database));
            let was_there = operation == Operation::Fork && said.text.contains("exists");
            if said.code == Some(0) || was_there {
                return said.text.lines().next().unwrap_or_default().to_owned();
            }
            // A job may still be at it, or Dolt be coming up.
            assert!(begun.elapsed() < DEADLINE, "{operation:?} of {database} run again: {}", said.text);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// So that the next start need not look at it.
    pub fn forget(&mut self, database: &str) {
        self.client(&Login::root("")).run(&format!("DROP DATABASE {database}"));
    }
}

fn run(client: &mut Client, statements: &[&str]) {
    for sql in statements {
        client.run(sql);
    }
}

/// With nobody left to talk to it has to end by itself.
fn end(child: &mut Child) {
    watch::until(DEADLINE, "the command has ended", || child.try_wait().expect("asked"));
}
