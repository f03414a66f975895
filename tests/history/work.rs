//! One session of a run: does what its plan says and writes down what it did and was told.
//! Does not judge. Always: what it writes down as `Fail` was refused, rolled back, or never ended.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Session, Statement};
use super::history::{Key, Op, Outcome, Txn, Value};
use super::plan::{self, DATABASES, End, Plan, Step, Style};
use super::support::raw::Failure;
use super::support::watch;
use super::told;

/// Until a client that connects again and again is let in.
const CONNECT_DEADLINE: Duration = Duration::from_secs(40);

/// What a session wrote down.
#[derive(Debug, Default)]
pub struct Log {
    pub txns: Vec<Txn>,
    /// What no client may see, whatever breaks.
    pub wrong: Vec<String>,
    /// Errors by step and text.
    pub errors: Vec<String>,
    /// The longest wait for one answer.
    pub slowest: Duration,
}

/// A client for the length of a round.
pub struct Worker {
    addr: SocketAddr,
    number: usize,
    clock: Instant,
    session: Option<Session>,
    log: Log,
}

/// A transaction on its way.
#[derive(Default)]
struct Attempt {
    ops: Vec<Op>,
    /// The lists that it has read, with its own appends.
    seen: HashMap<Key, Vec<Value>>,
}

impl Worker {
    /// `clock` is the run's.
    pub fn new(addr: SocketAddr, number: usize, clock: Instant) -> Self {
        Self { addr, number, clock, session: None, log: Log::default() }
    }

    pub fn into_log(self) -> Log {
        self.log
    }

    /// Runs one transaction, whatever becomes of it.
    pub fn run(&mut self, plan: &Plan) {
        self.connect();
        let began = self.now();
        let mut attempt = Attempt::default();
        let result = self.transaction(plan, &mut attempt);
        let (outcome, note) = match result {
            Ok(outcome) => (outcome, String::new()),
            Err((outcome, step, failure)) => {
                self.failed(step, &failure);
                (outcome, format!("{step}: {failure}"))
            }
        };
        let style = plan::style(self.number);
        let note = format!("{style:?}, {:?}{}{note}", plan.end, if note.is_empty() { "" } else { "; " });
        let ended = self.now();
        self.log.txns.push(Txn { session: self.number, began, ended, ops: attempt.ops, outcome, note });
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    fn connect(&mut self) {
        if self.session.is_some() {
            return;
        }
        let (addr, number) = (self.addr, self.number);
        let session = watch::until(CONNECT_DEADLINE, "a client is let in", || {
            let mut session = Session::connect(addr, DATABASES[plan::home(number)]).ok()?;
            if plan::style(number) == Style::Off {
                session.text("SET autocommit = 0").ok()?;
            }
            Some(session)
        });
        self.session = Some(session);
    }

    /// The outcome, or what failed: what that makes of the transaction, at which step, and how.
    fn transaction(
        &mut self,
        plan: &Plan,
        attempt: &mut Attempt,
    ) -> Result<Outcome, (Outcome, &'static str, Failure)> {
        let aborted = |step| move |failure| (Outcome::Fail, step, failure);
        let at_the_end = |step| move |failure| (told::of_the_end(&failure), step, failure);
        if !matches!(plan::style(self.number), Style::Single | Style::Off) {
            self.text("BEGIN").map_err(aborted("BEGIN"))?;
        }
        for step in &plan.steps {
            match step {
                Step::Think => thread::sleep(plan::THINKS),
                Step::Read { key, lock } => self.read(*key, *lock, attempt).map_err(aborted("read"))?,
                Step::Append { key, value } | Step::AppendRead { key, value } => {
                    let result = self.append(step, *key, *value, attempt);
                    // An append by itself is its own end.
                    if plan.end == End::Autocommit {
                        result.map_err(at_the_end("append"))?;
                    } else {
                        result.map_err(aborted("append in a transaction"))?;
                    }
                }
            }
        }
        match plan.end {
            End::Autocommit => {}
            End::Commit => self.text("COMMIT").map_err(at_the_end("COMMIT")).map(drop)?,
            End::DoltCommit => {
                let commit = format!("CALL DOLT_COMMIT('-Am', 'session {}')", self.number);
                self.text(&commit).map_err(at_the_end("DOLT_COMMIT"))?;
                // Everything has happened; what is said now cannot change that.
                if let Err(failure) = self.text("COMMIT") {
                    self.failed("COMMIT after DOLT_COMMIT", &failure);
                }
            }
            End::Rollback => {
                self.text("ROLLBACK").map_err(aborted("ROLLBACK"))?;
                return Ok(Outcome::Fail);
            }
            End::Close => {
                self.session.take().into_iter().for_each(Session::close);
                return Ok(Outcome::Fail);
            }
            End::CloseAtCommit => {
                self.session.take().into_iter().for_each(|session| session.send_and_close("COMMIT"));
                return Ok(Outcome::Info);
            }
        }
        Ok(Outcome::Ok)
    }

    fn read(&mut self, key: Key, lock: bool, attempt: &mut Attempt) -> Result<(), Failure> {
        let answer = self.execute(&plan::read(key, lock, plan::home(self.number)))?;
        let list = plan::list(key, &answer);
        attempt.seen.insert(key, list.clone());
        attempt.ops.push(Op::Read(key, list));
        Ok(())
    }

    fn append(&mut self, step: &Step, key: Key, value: Value, attempt: &mut Attempt) -> Result<(), Failure> {
        let seen = attempt.seen.get(&key).filter(|_| matches!(step, Step::AppendRead { .. }));
        let statement = plan::append(key, value, seen.map(Vec::as_slice), plan::home(self.number));
        // Also what was not acknowledged may have happened.
        attempt.ops.push(Op::Append(key, value));
        if let Some(seen) = attempt.seen.get_mut(&key) {
            seen.push(value);
        }
        self.execute(&statement).map(drop)
    }

    fn execute(&mut self, statement: &Statement) -> Result<Vec<String>, Failure> {
        if plan::style(self.number) == Style::Prepared {
            return self.timed(|session| session.prepared(statement));
        }
        self.text(&statement.text())
    }

    fn text(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        self.timed(|session| session.text(sql))
    }

    fn timed<T>(&mut self, ask: impl FnOnce(&mut Session) -> Result<T, Failure>) -> Result<T, Failure> {
        let asked = Instant::now();
        let session = self.session.as_mut().expect("connected before the transaction");
        let result = ask(session);
        self.log.slowest = self.log.slowest.max(asked.elapsed());
        result
    }

    /// Leaves no transaction open, and nothing unseen.
    fn failed(&mut self, step: &'static str, failure: &Failure) {
        self.log.errors.push(format!("{step}: {}", summary(failure)));
        match failure {
            Failure::Server(1062, ..) => {
                self.log.wrong.push(format!("a second execution of an append, or a stale MAX: {failure}"));
            }
            Failure::TimedOut | Failure::Protocol(_) => {
                self.log.wrong.push(format!("session {}, {step}: {failure}", self.number));
            }
            Failure::Server(..) | Failure::Closed => {}
        }
        let goes_on = matches!(failure, Failure::Server(..)) && self.text("ROLLBACK").is_ok();
        if !goes_on {
            self.session = None;
        }
    }
}

/// One line for the same error of different transactions.
fn summary(failure: &Failure) -> String {
    match failure {
        Failure::Server(code, _, text) => {
            let text: String =
                text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).take(100).collect();
            format!("{code} {text}")
        }
        other => format!("{other:?}"),
    }
}
