//! The session's dealings with write lanes: which ones, waiting for them, and giving them back.
//! Does not decide who may go: `admit` does. Always: a lane is held no longer than something may still come
//! of what was done under it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ending::Ending;
use super::identity::PeerProcess;
use super::job::{Body, Job};
use super::routed::Session;
use super::run::Tried;
use crate::admit::{Cause, Committed, LaneKey, NotTaken, Outcome as Done, OwnRows, Reads};
use crate::clients::Doing;
use crate::dolt::errors;
use crate::statement::fate::{self, StateBefore};
use crate::statement::relay;
use crate::statement::transaction::{Digest, Does, Facts, WhyNot};
use crate::wire::command::Command;
use crate::wire::reply::{Outcome, ReplyTracker};
use crate::wire::response::{ErrInfo, OkInfo};

/// How long the lanes of a statement wait whose end can't be seen.
const END_TIMEOUT: Duration = Duration::from_secs(300);

impl Session {
    /// Takes the lanes that the command needs; waits for them within its budget.
    pub async fn take_lanes(&mut self, job: &Job) -> Result<(), Tried> {
        if let Some(peer) = &job.unit.peer {
            let text = format!(
                "branch {0} of {1} holds what another town has and is only read: write on main, or make a branch of it with \
                 CALL DOLT_BRANCH('name', '{0}') and write there",
                peer.branch(),
                peer.database()
            );
            return Err(Tried::Tell(ErrInfo::new(1290, "HY000", text)));
        }
        let mut lanes = job.wants.lanes.clone();
        if job.wants.lanes_of_reads {
            let (reads, _) = self.transaction.depends_on();
            let read = self.lanes_of(&reads).await.map_err(|trouble| Tried::Tell(trouble.into_err()))?;
            lanes.extend(read);
        }
        if lanes.is_empty() || self.seat.holds_all(&lanes) {
            return Ok(());
        }
        if self.seat.try_take(&lanes).is_some() {
            return Ok(());
        }
        self.learn_process().await;
        let whole = matches!(job.body, Body::Whole(_));
        self.show_doing(Doing::Waiting);
        let taken = tokio::select! {
            biased;
            taken = self.seat.take(&lanes, job.deadline) => taken,
            ending = relay::client_gone(&mut self.client), if whole => return Err(Tried::Ended(ending)),
        };
        self.show_doing(Doing::Running);
        match taken {
            Ok(_) => Ok(()),
            Err(NotTaken::Timeout(blocked)) => {
                let text = format!("Lock wait timeout exceeded; try restarting transaction: {blocked}");
                Err(Tried::Tell(ErrInfo::new(1205, "HY000", text)))
            }
        }
    }

    /// For others to see; since when it serves the command stays.
    fn show_doing(&self, doing: Doing) {
        self.entry().update(|view| view.doing = doing);
    }

    /// Whether anything that the open transaction depends on has moved since its snapshot.
    pub fn has_moved(&self, job: &Job) -> bool {
        let lanes = &self.context.lanes;
        self.transaction.has_moved(&job.unit.writes, |reads, clock| lanes.moved_since(reads, clock))
    }

    /// The lanes of everything that was read.
    async fn lanes_of(&self, reads: &Reads) -> Result<BTreeSet<LaneKey>, super::backend::Trouble> {
        let mut lanes: BTreeSet<LaneKey> = reads.lanes().clone();
        if !reads.is_everything() && reads.databases().is_empty() {
            return Ok(lanes);
        }
        let listing = self.listing().await?;
        let was_read =
            |name: &&str| reads.is_everything() || reads.databases().contains(name.to_lowercase().as_str());
        for database in listing.databases().filter(was_read) {
            lanes.extend(listing.branches(database).map(|branch| LaneKey::new(database, branch)));
        }
        Ok(lanes)
    }

    /// Lanes are lent sooner among sessions of one process. Looked up once, before the session waits, or idles
    /// with a lane.
    pub async fn learn_process(&mut self) {
        if self.seat.knows_process() {
            return;
        }
        if self.identity.process == PeerProcess::NotLooked {
            let hint = self.identity.attributes.get("_pid").and_then(|pid| pid.parse().ok());
            self.identity.process = self.context.peers.process_of(self.peer, hint).await;
        }
        // A process that can't be told is one of its own.
        let pid = match &self.identity.process {
            PeerProcess::Found(process) => process.pid,
            _ => self.entry().id,
        };
        self.seat.set_process(pid);
    }

    /// Takes the answer into the transaction, and gives back the lanes that it ends.
    pub async fn after_transaction(&mut self, job: &Job, tracker: &ReplyTracker, digest: Digest) {
        let err = match tracker.outcome() {
            Some(Outcome::Err(err)) => Some(err.clone()),
            _ => None,
        };
        let ok = match tracker.outcome() {
            Some(Outcome::Ok(ok)) => Some(*ok),
            _ => None,
        };
        self.settle(job, ok, err.as_ref(), Some(digest)).await;
    }

    /// The same for an error that was held back.
    pub async fn after_err(&mut self, job: &Job, err: &ErrInfo) {
        self.settle(job, None, Some(err), None).await;
        self.state.may_leave_residue(self.transaction.is_open());
    }

    pub async fn settle(
        &mut self,
        job: &Job,
        ok: Option<OkInfo>,
        err: Option<&ErrInfo>,
        digest: Option<Digest>,
    ) {
        let status = ok.map(|ok| ok.status);
        // Without a row changed a look at the root is worth its microseconds.
        let changed_rows = ok.map_or(0, |ok| ok.affected_rows);
        // Its SQL transaction is committed all the same.
        let err = err.filter(|err| !errors::is_nothing_to_commit(&err.message));
        let was_open = self.transaction.is_open();
        let facts = Facts { status, err, clock: job.clock, autocommit: self.state.autocommit };
        let after = self.transaction.after(&job.unit, facts, job.begin_text.clone());
        if after.opaque {
            self.log.lose(WhyNot::Opaque);
        } else if after.logged {
            self.log_command(job, digest);
        } else if !self.transaction.is_open() {
            self.log.clear();
        } else if !was_open || matches!(job.unit.does, Does::Anything | Does::Begin { .. }) {
            self.log.begin(self.state.database.clone());
            if job.unit.does == Does::Anything {
                self.log.lose(WhyNot::Opaque);
            }
        }
        if let Some(backend) = &self.backend {
            self.opened_on = Some(backend.identity());
        }
        let kind = match (job.unit.dolt_commit && err.is_none(), job.unit.dolt) {
            (true, _) if was_open => Committed::SqlAndDolt,
            (true, _) => Committed::Dolt,
            (false, true) => Committed::Other,
            (false, false) => Committed::Sql,
        };
        self.names_changed |= job.unit.changes_names;
        if !after.committed.is_empty() && changed_rows == 0 && self.has_moved_nothing(job) {
            // A CREATE TABLE IF NOT EXISTS of one that exists, an UPDATE of no row: nobody's snapshot is older by it.
            self.names_changed = false;
        } else if !after.committed.is_empty() {
            if std::mem::take(&mut self.names_changed) {
                self.forget_names(&after.committed, job.unit.reads.is_everything());
            }
            self.seat.committed(&after.committed, kind);
            self.transaction.moved_itself(&after.committed, self.seat.snapshot());
        }
        self.dolt_commits |= job.unit.dolt_commit;
        if kind == Committed::Sql && err.is_none() && !after.committed.is_empty() && self.auto_commits() {
            self.auto_commit(&after.committed).await;
        }
        if !after.ended {
            return;
        }
        let own_rows = self.own_rows();
        if self.seat.believes(own_rows) {
            self.seat.keep(own_rows);
        } else {
            self.seat.release_all();
        }
    }

    /// Whether Dolt's data are seen to be what they were before the command.
    fn has_moved_nothing(&self, job: &Job) -> bool {
        let Some(journals) = &self.context.journals else { return false };
        !job.before.is_empty()
            && job.before.iter().all(|watched| match &watched.before {
                StateBefore::Root(before) => journals.root(&watched.database) == Some(*before),
                _ => false,
            })
    }

    /// What was sent may still be running, and nobody can say for how long: the lanes are given back once it is gone.
    pub fn leave_lanes_to_the_end(&mut self, job: &mut Job) {
        let Some((generation, backend)) = self.opened_on else { return };
        let lanes = self.seat.held();
        let next = self.context.lanes.seat(self.who());
        let mut seat = std::mem::replace(&mut self.seat, next);
        let touches = std::mem::take(&mut job.touches);
        let context = Arc::clone(&self.context);
        tokio::spawn(async move {
            fate::end_statement(&context.dolt, generation, backend, END_TIMEOUT).await;
            for lane in &lanes {
                context.catalog.invalidate(lane.database(), lane.branch());
            }
            seat.committed(&lanes, Committed::Sql);
            drop((seat, touches));
        });
    }

    /// Before others may see the change.
    pub fn forget_names(&self, lanes: &BTreeSet<LaneKey>, everywhere: bool) {
        if everywhere {
            return self.context.catalog.invalidate_all();
        }
        for lane in lanes {
            self.context.catalog.invalidate(lane.database(), lane.branch());
        }
    }

    fn own_rows(&self) -> OwnRows {
        self.context.config.lanes.choose(&self.identity, self.state.database.as_deref()).own_rows
    }

    fn log_command(&mut self, job: &Job, digest: Option<Digest>) {
        // A statement is prepared again from its text when it is executed again; COM_PING and the like do nothing.
        if !matches!(
            job.command,
            Command::Query | Command::StmtExecute | Command::StmtFetch | Command::InitDb | Command::FieldList
        ) {
            return;
        }
        let entry = match (&job.body, digest, job.opaque) {
            (_, _, Some(why)) => Err(why),
            (Body::Streaming(_), _, _) => Err(WhyNot::LongCommand),
            (_, None, _) => return,
            (Body::Whole(payload), Some(answer), None) => {
                self.entry_of(job.command, payload, job.plan.statement, answer)
            }
        };
        match entry {
            Ok(entry) => self.log.push(entry),
            Err(why) => self.log.lose(why),
        }
    }

    /// Gives the lanes back if nothing of the client's is open under them.
    pub fn give_back_unless_open(&mut self) {
        if !self.transaction.is_begun() && !self.transaction.is_open() {
            self.seat.release_all();
        }
    }

    /// Counts what was done about a cause, on the lanes held.
    pub fn count(&self, outcome: Done, cause: Cause) {
        self.seat.count(outcome, cause, &self.seat.held());
    }

    /// The session's connection ended while nobody waited, or was reset: nothing is open any more.
    pub fn close_transaction(&mut self) {
        self.transaction.closed();
        self.log.clear();
        self.must_rerun = false;
        self.seat.release_all();
    }

    /// Answers BEGIN, or the COMMIT or ROLLBACK of a transaction that did nothing, without Dolt.
    pub async fn answer_begin_or_end(
        &mut self,
        incoming: &super::client_socket::Incoming,
        job: &Job,
    ) -> Result<(), Ending> {
        let seq = self.client.skip(incoming).await?;
        self.transaction.answered(&job.unit, job.begin_text.clone());
        self.log.clear();
        self.client.send_packet(seq, &self.ok_payload()).await?;
        self.give_back_unless_open();
        self.show();
        Ok(())
    }
}
