//! The rules of a client's transaction. Pure: events in, what is to be done out.
//!
//! Owns what is open in Dolt and what it depends on. Does not know lanes' holders, sockets or clocks.
//! Always: whatever may commit has its lanes named in its [`Plan`], and a transaction that read before it
//! had them is validated before it may commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::admit::{LaneKey, Reads};
use crate::dolt::errors::{self, Conflict};
use crate::wire::response::{ErrInfo, STATUS_AUTOCOMMIT, STATUS_IN_TRANS};

impl Unit {
    /// Of a command that neither reads nor writes data.
    pub fn nothing() -> Self {
        Self {
            does: Does::Nothing,
            writes: BTreeSet::new(),
            peer: None,
            ledger: None,
            reads: Reads::default(),
            dolt: false,
            dolt_commit: false,
            surely_commits: true,
            changes_names: false,
            fetches: None,
            pushes: Vec::new(),
            unknown_lanes: false,
            repeatable: true,
            single: true,
        }
    }
}

/// What one command does, as far as transactions and lanes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it does.
    pub does: Does,
    /// Lanes it must hold while it runs.
    pub writes: BTreeSet<LaneKey>,
    /// A branch that is only read, which it would write to.
    pub peer: Option<LaneKey>,
    /// A public ledger that it would write to.
    pub ledger: Option<String>,
    /// What its answer depends on.
    pub reads: Reads,
    /// It is one of Dolt's procedures.
    pub dolt: bool,
    /// It makes a Dolt commit.
    pub dolt_commit: bool,
    /// If it succeeds it has committed what was open: not so a merge that found nothing to merge.
    pub surely_commits: bool,
    /// Names may mean something else afterwards: tables, views, triggers.
    pub changes_names: bool,
    /// The arguments of a DOLT_FETCH that does the long part of it, without a lane.
    pub fetches: Option<Vec<String>>,
    /// Arguments of each DOLT_PUSH in it, if they are known.
    pub pushes: Vec<Option<Vec<String>>>,
    /// Its lanes could not be told.
    pub unknown_lanes: bool,
    /// Running it twice does no more than running it once.
    pub repeatable: bool,
    /// It is one statement, so that an error means that nothing of it happened.
    pub single: bool,
}

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Neither reads nor writes data: SET, USE, COM_PING.
    Nothing,
    /// Reads.
    Read,
    /// Reads what it is about to change: FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE.
    LockingRead,
    /// Changes rows; an open transaction stays open.
    Dml,
    /// BEGIN, START TRANSACTION.
    Begin {
        /// WITH CONSISTENT SNAPSHOT.
        consistent: bool,
    },
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint,
    /// Commits what is open, and itself: DDL, Dolt's procedures. What BEGIN began stays begun in Dolt: it goes on
    /// ignoring autocommit until COMMIT or ROLLBACK (facts-dolt.md).
    CommitsItself,
    /// Several statements that begin or end transactions, a user's procedure, or what is not understood.
    Anything,
}

/// How a transaction begins in Dolt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// By this text of the client's.
    Text(Arc<[u8]>),
    /// By any statement, as autocommit is off.
    Implicit,
    /// It is begun: Dolt has committed it but ignores autocommit until COMMIT or ROLLBACK.
    Odd,
}

impl Begin {
    /// What is sent in front of the first statement. Without autocommit Dolt may have taken a snapshot long
    /// ago, with a SET: ROLLBACK makes it take a new one.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Implicit => Some(b"ROLLBACK"),
            Self::Odd => None,
        }
    }

    /// What begins it on another connection.
    pub fn text_elsewhere(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Implicit => b"ROLLBACK",
            Self::Odd => b"BEGIN",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum State {
    /// Nothing is open.
    #[default]
    Closed,
    /// Dolt takes its snapshot with the next statement.
    Begun(Begin),
    Open(Open),
}

/// A transaction with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    begin: Begin,
    /// Commit clock before Dolt took the snapshot.
    snapshot: u64,
    reads: Reads,
    /// Lanes of what it wrote, or read to write it.
    writes: BTreeSet<LaneKey>,
    /// Rows were changed.
    wrote: bool,
    /// Lanes that it moved itself, by something that did not end it, and the commit clock then.
    own: BTreeMap<LaneKey, u64>,
}

/// A session's transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    state: State,
    /// Lanes of a transaction that was refused with 1213: the next one takes them first, and succeeds.
    first: BTreeSet<LaneKey>,
}

/// What must be so before a command may be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Not sent at all, but answered with an OK.
    pub answered: bool,
    /// Lanes to hold.
    pub lanes: BTreeSet<LaneKey>,
    /// What was read must be held still as well.
    pub lanes_of_reads: bool,
    /// Dolt takes its snapshot now; with this text in front.
    pub begins: Option<Begin>,
    /// The open transaction may go on only if nothing that it depends on has moved.
    pub validate: bool,
    /// It may change a branch, by itself or by what it commits.
    pub commits: bool,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Status flags of the last OK or EOF.
    pub status: Option<u16>,
    /// The error that ended it.
    pub err: Option<&'a ErrInfo>,
    /// Commit clock before it was sent.
    pub clock: u64,
    /// Whether autocommit was on before it.
    pub autocommit: bool,
}

/// What a command that came back means for the lanes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct After {
    /// These branches may have moved.
    pub committed: BTreeSet<LaneKey>,
    /// Nothing is open any more: the lanes are given back, or kept for a Dolt commit.
    pub ended: bool,
    /// It belongs in the transaction's log.
    pub logged: bool,
    /// The transaction goes on, but can't be run again any more.
    pub opaque: bool,
}

impl Transaction {
    /// Whether losing the backend now loses something of the client's.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the client believes a transaction to be open.
    pub fn is_begun(&self) -> bool {
        match &self.state {
            State::Closed => false,
            State::Begun(begin) => matches!(begin, Begin::Text(_)),
            State::Open(_) => true,
        }
    }

    /// Whether nothing is open or begun.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether Dolt takes a snapshot with whatever comes next, and keeps it.
    pub fn is_odd(&self) -> bool {
        self.state == State::Begun(Begin::Odd)
    }

    /// Whether it has changed rows.
    pub fn wrote(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.wrote)
    }

    /// How it began, and the commit clock of its snapshot.
    pub fn snapshot(&self) -> Option<(&Begin, u64)> {
        match &self.state {
            State::Open(open) => Some((&open.begin, open.snapshot)),
            _ => None,
        }
    }

    /// What an open transaction depends on: read, and written.
    pub fn depends_on(&self) -> (Reads, BTreeSet<LaneKey>) {
        match &self.state {
            State::Open(open) => (open.reads.clone(), open.writes.clone()),
            _ => Default::default(),
        }
    }

    /// What must be so before the command may be sent.
    pub fn plan(&self, unit: &Unit, autocommit: bool) -> Plan {
        let implicit = State::Begun(Begin::Implicit);
        let state = match &self.state {
            State::Closed if !autocommit => &implicit,
            state => state,
        };
        match state {
            State::Closed => self.plan_closed(unit),
            State::Begun(begin) => self.plan_begun(unit, begin),
            State::Open(open) => plan_open(unit, open),
        }
    }

    fn plan_closed(&self, unit: &Unit) -> Plan {
        match unit.does {
            Does::Begin { consistent: false } => Plan { answered: true, ..Plan::default() },
            Does::Begin { consistent: true } => Plan { lanes: self.first.clone(), ..Plan::default() },
            Does::Dml | Does::CommitsItself | Does::Anything => {
                Plan { lanes: unit.writes.clone(), commits: !unit.writes.is_empty(), ..Plan::default() }
            }
            _ => Plan::default(),
        }
    }

    fn plan_begun(&self, unit: &Unit, begin: &Begin) -> Plan {
        let begins = || Some(begin.clone());
        match unit.does {
            Does::Begin { consistent: false } if matches!(begin, Begin::Text(_)) => {
                Plan { answered: true, ..Plan::default() }
            }
            Does::Commit | Does::Rollback if matches!(begin, Begin::Text(_)) => {
                Plan { answered: true, ..Plan::default() }
            }
            // Only the flag that Dolt forgot to clear is at stake, or nothing.
            Does::Commit | Does::Rollback => Plan::default(),
            Does::Nothing if *begin == Begin::Implicit => Plan::default(),
            Does::Nothing => Plan { begins: begins(), ..Plan::default() },
            Does::Begin { .. } => Plan { lanes: self.first.clone(), ..Plan::default() },
            Does::Read | Does::Savepoint => {
                Plan { begins: begins(), lanes: self.first.clone(), ..Plan::default() }
            }
            Does::LockingRead | Does::Dml | Does::CommitsItself | Does::Anything => Plan {
                begins: begins(),
                lanes: self.first.union(&unit.writes).cloned().collect(),
                commits: matches!(unit.does, Does::CommitsItself | Does::Anything) && !unit.writes.is_empty(),
                ..Plan::default()
            },
        }
    }

    /// A command that takes a snapshot in Dolt is about to be sent, at this commit clock.
    pub fn begins(&mut self, begin: Begin, clock: u64) {
        self.state = State::Open(Open {
            begin,
            snapshot: clock,
            reads: Reads::default(),
            writes: BTreeSet::new(),
            wrote: false,
            own: BTreeMap::new(),
        });
    }

    /// It was answered without Dolt.
    pub fn answered(&mut self, unit: &Unit, text: Option<Arc<[u8]>>) {
        self.state = match (unit.does, text) {
            (Does::Begin { .. }, Some(text)) => State::Begun(Begin::Text(text)),
            _ => State::Closed,
        };
    }

    /// The open transaction was run again, with equal answers, on a snapshot taken at this commit clock.
    pub fn ran_again(&mut self, clock: u64) {
        if let State::Open(open) = &mut self.state {
            open.snapshot = clock;
            open.own.clear();
        }
    }

    /// What is open has moved these lanes itself, which it holds and had validated.
    pub fn moved_itself(&mut self, lanes: &BTreeSet<LaneKey>, clock: u64) {
        if let State::Open(open) = &mut self.state {
            open.own.extend(lanes.iter().map(|lane| (lane.clone(), clock)));
        }
    }

    /// Whether anything that the open transaction depends on, or that these lanes have, moved after its snapshot.
    pub fn has_moved(&self, others: &BTreeSet<LaneKey>, moved_since: impl Fn(&Reads, u64) -> bool) -> bool {
        let State::Open(open) = &self.state else { return false };
        let mut reads = Reads::default();
        if open.reads.is_everything() {
            reads.everything();
        }
        open.reads.databases().iter().for_each(|database| reads.database(database));
        let lanes: BTreeSet<&LaneKey> = open.reads.lanes().iter().chain(&open.writes).chain(others).collect();
        let mut own_moved = false;
        for lane in lanes {
            match open.own.get(lane) {
                Some(clock) => {
                    let mut one = Reads::default();
                    one.lane(lane);
                    own_moved |= moved_since(&one, *clock);
                }
                None => reads.lane(lane),
            }
        }
        own_moved || moved_since(&reads, open.snapshot)
    }

    /// It was rolled back, and the client is told 1213. What it depended on is taken first the next time.
    pub fn refused(&mut self, lanes: BTreeSet<LaneKey>) {
        self.state = State::Closed;
        self.first = lanes;
    }

    /// The connection to Dolt is gone. What Dolt had begun by itself, it has to be told elsewhere.
    pub fn lost_backend(&mut self) {
        if self.state == State::Begun(Begin::Odd) {
            self.state = State::Begun(Begin::Text(Arc::from(&b"BEGIN"[..])));
        }
    }

    /// Nothing is open any more: rolled back, reset, lost.
    pub fn closed(&mut self) {
        self.state = State::Closed;
    }

    /// Takes in what came back.
    pub fn after(&mut self, unit: &Unit, facts: Facts<'_>, begin_text: Option<Arc<[u8]>>) -> After {
        let failed = facts.err.is_some();
        let was_open = self.is_open();
        let in_trans = facts.status.is_some_and(|status| status & STATUS_IN_TRANS != 0);
        let mut after = After::default();
        if let State::Open(open) = &mut self.state {
            open.reads.extend(&unit.reads);
            if !unit.writes.is_empty() {
                open.writes.extend(unit.writes.iter().cloned());
                open.wrote |= !matches!(unit.does, Does::LockingRead | Does::Read);
            }
        }
        match unit.does {
            Does::Nothing | Does::Read | Does::LockingRead | Does::Savepoint | Does::Dml => {
                after.logged = was_open;
                if !was_open && unit.does == Does::Dml {
                    after.committed.clone_from(&unit.writes);
                }
            }
            Does::Begin { .. } if !failed => {
                after.committed = self.written();
                let begin = begin_text.map_or(Begin::Odd, Begin::Text);
                self.begins(begin, facts.clock);
            }
            Does::Commit if !failed => {
                after.committed = self.written();
                self.state = State::Closed;
            }
            Does::Rollback if !failed => self.state = State::Closed,
            Does::Begin { .. } | Does::Commit | Does::Rollback => after.committed = self.written(),
            Does::CommitsItself => {
                let explicit = match &self.state {
                    State::Open(Open { begin, .. }) | State::Begun(begin) => *begin != Begin::Implicit,
                    State::Closed => false,
                };
                let is_over = unit.surely_commits || (facts.autocommit && !in_trans);
                if failed && was_open && !unit.dolt {
                    // Nothing of it happened, and it committed nothing; run again, it might.
                    after.opaque = true;
                } else {
                    after.committed = self.written();
                    after.committed.extend(unit.writes.iter().cloned());
                    match &mut self.state {
                        State::Closed => {}
                        State::Open(open) if failed || !is_over => {
                            open.wrote |= !unit.writes.is_empty();
                            after.opaque = true;
                        }
                        _ if failed => {}
                        state if explicit => *state = State::Begun(Begin::Odd),
                        state => *state = State::Closed,
                    }
                }
            }
            Does::Anything => {
                after.committed = self.written();
                after.committed.extend(unit.writes.iter().cloned());
                // Without flags the more cautious state.
                let is_open = match facts.status {
                    Some(status) => in_trans || status & STATUS_AUTOCOMMIT == 0,
                    None => was_open || !facts.autocommit,
                };
                match &mut self.state {
                    _ if !is_open => self.state = State::Closed,
                    // What is open now began somewhere in the middle.
                    State::Open(open) if was_open => open.begin = Begin::Odd,
                    _ => self.begins(Begin::Odd, facts.clock),
                }
                if let State::Open(open) = &mut self.state {
                    after.opaque = true;
                    open.reads.extend(&unit.reads);
                    open.writes.extend(unit.writes.iter().cloned());
                    open.wrote |= !unit.writes.is_empty();
                }
            }
        }
        if facts.err.is_some_and(rolls_back) {
            self.state = State::Closed;
        }
        after.ended = matches!(self.state, State::Closed);
        // Not by a ROLLBACK, which drivers send after 1213, or a statement of its own in between.
        if after.ended && was_open && !failed {
            self.first.clear();
        }
        after
    }

    fn written(&self) -> BTreeSet<LaneKey> {
        match &self.state {
            State::Open(open) if open.wrote => open.writes.clone(),
            _ => BTreeSet::new(),
        }
    }
}

fn plan_open(unit: &Unit, open: &Open) -> Plan {
    let lanes = || open.writes.union(&unit.writes).cloned().collect::<BTreeSet<_>>();
    match unit.does {
        Does::Nothing | Does::Read | Does::Savepoint | Does::Rollback => Plan::default(),
        Does::LockingRead | Does::Dml => Plan { lanes: lanes(), validate: true, ..Plan::default() },
        Does::Commit | Does::Begin { .. } if !open.wrote => Plan::default(),
        Does::Commit | Does::Begin { .. } => {
            Plan { lanes: lanes(), lanes_of_reads: true, validate: true, commits: true, ..Plan::default() }
        }
        Does::CommitsItself | Does::Anything => {
            let commits = open.wrote || !unit.writes.is_empty();
            Plan { lanes: lanes(), lanes_of_reads: commits, validate: commits, commits, ..Plan::default() }
        }
    }
}

/// Whether Dolt has rolled the transaction back with this error (facts-dolt.md).
fn rolls_back(err: &ErrInfo) -> bool {
    errors::conflict(err.code, &err.message) == Some(Conflict::RolledBack)
        || errors::is_merge_conflict(&err.message)
        || errors::is_constraint_violations(&err.message)
}
