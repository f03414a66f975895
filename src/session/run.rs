//! Runs one command: lanes, snapshot, there and back, and again where that is safe.
//! Owns the order of these steps. Does not decide: `statement::transaction` says what must be so, and
//! `statement::retry` what to do about a failure.
//! Always: nothing is sent again once a byte of its answer has reached the client, and lanes are given back
//! only when nothing of the command is left running in Dolt.

use tokio::time::Instant;
use tracing::debug;

use super::backend::{Trouble, rollback_packet};
use super::client_socket::Incoming;
use super::command::Plan;
use super::ending::Ending;
use super::job::{Body, Job};
use super::rerun::Rerun;
use super::routed::Session;
use crate::admit::{Cause, Committed, Outcome};
use crate::dolt::errors;
use crate::pool::Question;
use crate::statement::fate::{StateBefore, Verdict, Watched};
use crate::statement::relay::{self, Stopped};
use crate::statement::retry::{self, Action, Effort, Failure, Means, Phase};
use crate::statement::transaction::{AnswerHash, Digest, Does};
use crate::wire::command::Command;
use crate::wire::frame::write_packet;
use crate::wire::reply::{Expect, ReplyTracker};
use crate::wire::response::ErrInfo;

/// How one try ended.
pub enum Tried {
    /// The client has its answer.
    Answered(ReplyTracker, Digest),
    /// The client is told this instead; nothing was sent, or nothing is left of it.
    Tell(ErrInfo),
    /// The client is told this, and the session can't go on.
    TellAndEnd(ErrInfo),
    /// It failed; the client has heard nothing, or only the beginning of an answer.
    Failed(Failed),
    /// The session is over.
    Ended(Ending),
}

/// A failure of Dolt's.
pub struct Failed {
    failure: Failure,
    /// Dolt's error, not relayed yet.
    err: Option<ErrInfo>,
    /// Why the backend is lost, if it is.
    reason: String,
    /// How far the answer got.
    tracker: Option<ReplyTracker>,
}

impl Failed {
    fn lost(failure: Failure, error: impl std::fmt::Display, tracker: Option<ReplyTracker>) -> Self {
        Self { failure, err: None, reason: error.to_string(), tracker }
    }

    fn delivered(&self) -> bool {
        self.tracker.as_ref().is_some_and(ReplyTracker::has_begun)
    }
}

impl Session {
    /// Runs a command that passed `before`.
    pub async fn perform(&mut self, incoming: Incoming, plan: Plan, deadline: Instant) -> Result<(), Ending> {
        let mut job = self.job(&incoming, plan, deadline).await;
        if job.unit.unknown_lanes {
            let text = "Branchline cannot tell what this statement may change, as Dolt does not say which branches there \
                        are; try again";
            self.client.skip(&incoming).await.map(drop)?;
            return Ok(self.client.send_err(1, &ErrInfo::new(1105, "HY000", text)).await?);
        }
        if let Some(refused) = self.refuses_ledger(&job) {
            self.client.skip(&incoming).await.map(drop)?;
            return Ok(self.client.send_err(1, &refused).await?);
        }
        if job.wants.answered {
            return self.answer_begin_or_end(&incoming, &job).await;
        }
        if incoming.is_whole() {
            self.client.skip(&incoming).await?;
        }
        match self.turn_at_remotes(&mut job).await? {
            Ok(at_remotes) => self.at_remotes = at_remotes,
            Err(busy) => return self.tell_and_go_on(&job, &busy).await,
        }
        if let (Some(args), true) = (job.unit.fetches.take(), self.transaction.is_closed()) {
            self.fetch_first(&args).await?;
            // However long that took, its turn at the lane begins now.
            job.deadline = Instant::now() + job.budget;
        }
        // Until others can be told that they are gone, nobody begins anything there.
        let _gates = self.close_deleted(&job);
        self.seat.busy();
        if !job.wants.lanes.is_empty() {
            self.seat.doing(&job.plan.label);
        }
        loop {
            match self.attempt(&mut job).await {
                Tried::Answered(tracker, digest) => return self.answered(job, tracker, digest).await,
                Tried::Tell(err) => return self.tell_and_go_on(&job, &err).await,
                Tried::TellAndEnd(err) => {
                    self.tell_and_go_on(&job, &err).await?;
                    return Err(Ending::DoltLost(err.message));
                }
                Tried::Ended(ending) => return Err(ending),
                Tried::Failed(failed) => {
                    if let Some(done) = self.fail(&mut job, failed).await {
                        return done;
                    }
                    job.tries += 1;
                }
            }
        }
    }

    /// One try.
    async fn attempt(&mut self, job: &mut Job) -> Tried {
        if let Err(trouble) = self.ensure_backend_again().await {
            return match trouble {
                Trouble::Tell(err) => Tried::Tell(err),
                Trouble::Lost(err) => Tried::Failed(Failed::lost(Failure::LostBeforeSent, err.message, None)),
                trouble => Tried::TellAndEnd(trouble.into_err()),
            };
        }
        match self.take_lanes(job).await {
            Ok(()) => {}
            Err(tried) => return tried,
        }
        match self.stand_on_firm_ground(job).await {
            Ok(()) => {}
            Err(tried) => return tried,
        }
        if let Some(id) = job.plan.statement
            && job.command != Command::StmtPrepare
            && let Err(trouble) = self.bind(&mut job.body, job.command, id).await
        {
            return match self.backend {
                Some(_) => Tried::Tell(trouble.into_err()),
                None => {
                    Tried::Failed(Failed::lost(Failure::LostBeforeSent, trouble.into_err().message, None))
                }
            };
        }
        job.clock = self.seat.snapshot();
        if job.wants.commits {
            job.sent_at = std::time::Instant::now();
        }
        if job.wants.commits || job.unit.dolt {
            self.touch(job);
        }
        self.there_and_back(job).await
    }

    /// Sends it, and relays the answer.
    async fn there_and_back(&mut self, job: &mut Job) -> Tried {
        let clears_residue = self.clears_residue(&job.plan, job.command);
        let mut prefix = if clears_residue { rollback_packet() } else { Vec::new() };
        let mut prefixed = usize::from(clears_residue);
        if let Some(begin) = job.wants.begins.clone() {
            if let Some(text) = begin.text() {
                let mut payload = vec![Command::Query.byte()];
                payload.extend_from_slice(text);
                write_packet(&mut prefix, 0, &payload);
                prefixed += 1;
            }
            self.transaction.begins(begin, job.clock);
            self.log.begin(self.state.database.clone());
        }
        let Some(backend) = self.backend.as_mut() else {
            return Tried::Failed(Failed::lost(Failure::LostBeforeSent, "no backend", None));
        };
        self.opened_on = Some(backend.identity());
        self.in_flight = true;
        job.sent = true;
        let expect = job.command.expects().unwrap_or(Expect::One);
        let mut tracker = ReplyTracker::new(expect, backend.deprecate_eof);
        let sent = match &job.body {
            Body::Whole(payload) => {
                write_packet(&mut prefix, 0, payload);
                backend.stream.send(&prefix).await.map_err(|error| Stopped::Dolt(error.into()))
            }
            Body::Streaming(incoming) => {
                relay::send_command(&mut self.client, backend, incoming, &prefix, Some(&mut tracker)).await
            }
        };
        if let Err(stopped) = sent {
            return match stopped {
                Stopped::Client(ending) => Tried::Ended(ending),
                Stopped::Dolt(error) => {
                    Tried::Failed(Failed::lost(Failure::LostUnanswered, error, Some(tracker)))
                }
            };
        }
        for _ in 0..prefixed {
            match backend.answer().await {
                Ok(crate::pool::Answer::Err(err)) => {
                    // No transaction: if the statement behind it is not refused as well, it ran by itself.
                    return match relay::peek_err(&mut self.client, backend).await {
                        Ok(Some(_)) => {
                            Tried::Failed(Failed::lost(Failure::LostBeforeSent, err.to_string(), None))
                        }
                        _ => self.ran_without_its_transaction(&err),
                    };
                }
                Ok(_) => {}
                Err(error) => return Tried::Failed(Failed::lost(Failure::LostUnanswered, error, None)),
            }
        }
        if clears_residue {
            self.state.residue = false;
        }
        if job.command == Command::Query || job.command == Command::StmtExecute {
            match relay::peek_err(&mut self.client, backend).await {
                Ok(None) => {}
                Ok(Some(err)) => {
                    if (errors::is_unknown_database(err.code, &err.message)
                        || errors::is_branch_not_found(&err.message))
                        && job.is_whole()
                        && job.unit.single
                    {
                        return self.branch_not_found(job, err).await;
                    }
                    let failure = Failure::of(err.code, &err.message);
                    let is_plain = matches!(failure, Failure::Other | Failure::NothingToCommit);
                    // More results may follow the error of one statement among several.
                    if !is_plain && job.is_whole() && job.unit.single {
                        relay::drop_peeked(backend);
                        self.in_flight = false;
                        let reason = err.message.clone();
                        return Tried::Failed(Failed { failure, err: Some(err), reason, tracker: None });
                    }
                }
                Err(stopped) => return stopped_before_answer(stopped),
            }
        }
        let mut hash = AnswerHash::default();
        let (seat, may_lend) = (&mut self.seat, !job.wants.commits);
        let relayed = relay::relay_reply(
            &mut self.client,
            backend,
            &mut tracker,
            job.plan.prepare_id(),
            Some(&mut hash),
            &mut || {
                if may_lend {
                    seat.idle();
                }
            },
        )
        .await;
        match relayed {
            Ok(()) => Tried::Answered(tracker, hash.digest()),
            Err(Stopped::Client(ending)) => Tried::Ended(ending),
            Err(Stopped::Dolt(error)) => {
                let failure =
                    if tracker.has_begun() { Failure::LostMidAnswer } else { Failure::LostUnanswered };
                Tried::Failed(Failed::lost(failure, error, Some(tracker)))
            }
        }
    }

    /// Dolt does not find a database, or the session's branch. Its answer was looked at, and is still to be relayed.
    async fn branch_not_found(&mut self, job: &mut Job, err: ErrInfo) -> Tried {
        if let Some(backend) = self.backend.as_mut() {
            relay::drop_peeked(backend);
        }
        self.in_flight = false;
        if let Some(told) = self.left_vanished(&err.message).await {
            return match self.backend.is_none() && !self.state.pins.is_empty() {
                true => Tried::TellAndEnd(told),
                false => Tried::Tell(told),
            };
        }
        debug!(tries = job.tries, "not the session's branch");
        let reason = err.message.clone();
        Tried::Failed(Failed {
            failure: Failure::of(err.code, &err.message),
            err: Some(err),
            reason,
            tracker: None,
        })
    }

    /// Does what the table says about a failure. `None`: try again.
    async fn fail(&mut self, job: &mut Job, failed: Failed) -> Option<Result<(), Ending>> {
        let lost = failed.err.is_none() || failed.failure == Failure::ConnectionEnded;
        if lost {
            self.drop_backend();
        }
        let phase = self.phase(job);
        let means = Means {
            logged: job.is_whole()
                && !job.once
                && (!self.transaction.is_open() || self.log.entries().is_ok()),
            restorable: self.state.pins.is_empty(),
            delivered: failed.delivered(),
        };
        let mut decision = retry::decide(failed.failure, phase, means, effort(job), random());
        debug!(reason = failed.reason, ?phase, ?means, tries = job.tries, action = ?decision.action, "Dolt failed");
        if decision.action == Action::FindFate {
            let verdict = self.find_fate(job).await;
            debug!(?verdict, "what became of it");
            if matches!(verdict, Verdict::CannotTell(_)) {
                self.leave_lanes_to_the_end(job);
            }
            decision = retry::settle(&verdict, phase, means, effort(job), random());
            if decision.action == Action::AnswerForDolt {
                return Some(self.answer_for_dolt(job, verdict).await);
            }
        }
        match decision.action {
            Action::RollBackAndRunAgain | Action::RollBackAndReplay => {
                self.count(Outcome::Retry, cause_of(&failed));
                self.roll_back().await;
                tokio::time::sleep(decision.after).await;
                // A newer snapshot, whatever has moved: the one it had is gone.
                self.must_rerun = self.transaction.is_open();
                None
            }
            Action::NewBackendAndRunAgain | Action::NewBackendAndReplay => {
                self.count(Outcome::Retry, cause_of(&failed));
                self.drop_backend();
                tokio::time::sleep(decision.after).await;
                None
            }
            Action::Relay | Action::RelayCommitted => {
                let err = failed.err.unwrap_or_else(|| ErrInfo::new(1105, "HY000", failed.reason));
                Some(self.relay_err(job, &err).await)
            }
            Action::RollBackAndRelay => {
                // In a transaction it sticks until the client rolls back.
                if !self.transaction.is_open() {
                    self.roll_back().await;
                }
                let err = failed.err.unwrap_or_else(|| ErrInfo::new(1105, "HY000", failed.reason));
                Some(self.relay_err(job, &err).await)
            }
            told => {
                if failed.delivered() && phase != Phase::Read && phase != Phase::InTransaction {
                    self.leave_lanes_to_the_end(job);
                }
                Some(self.tell_loss(job, told, &failed.reason, failed.tracker.as_ref()).await)
            }
        }
    }

    /// Dolt refused the BEGIN and ran what came behind it.
    fn ran_without_its_transaction(&mut self, err: &ErrInfo) -> Tried {
        let lanes = self.seat.held();
        self.seat.committed(&lanes, Committed::Sql);
        self.drop_backend();
        self.close_transaction();
        let text = format!(
            "Dolt did not begin the transaction ({err}), and whether the statement took effect is unknown; look before \
             you run it again"
        );
        Tried::Tell(ErrInfo::new(1105, "HY000", text))
    }

    /// What the table calls what is under way.
    fn phase(&self, job: &Job) -> Phase {
        if !job.is_whole() || (job.wants.commits && !job.unit.single) {
            return if job.wants.commits { Phase::Unrepeatable } else { self.phase_inside(job) };
        }
        match job.unit.does {
            _ if !job.unit.repeatable && !job.wants.commits => Phase::Unrepeatable,
            _ if job.unit.dolt && job.wants.commits => Phase::DoltProcedure,
            _ if !job.wants.commits => self.phase_inside(job),
            _ if self.transaction.is_open() => Phase::Commit,
            _ => Phase::Write,
        }
    }

    fn phase_inside(&self, job: &Job) -> Phase {
        if self.transaction.is_open() && job.unit.does != Does::Nothing {
            Phase::InTransaction
        } else {
            Phase::Read
        }
    }

    /// Notes what the command may change as it is now, as far as that costs nothing, and that it is ours.
    fn touch(&self, job: &mut Job) {
        let Some(bypass) = &self.context.bypass else { return };
        let held = self.seat.held();
        job.before.clear();
        job.touches.clear();
        for lane in &held {
            if job.touches.iter().all(|(database, _)| database != lane.database().as_ref()) {
                let touch = bypass.touch(lane.database());
                job.touches.push((lane.database().to_string(), touch));
            }
            let touch = job.touches.iter().find(|(database, _)| database == lane.database().as_ref());
            let root = touch.and_then(|(_, touch)| touch.root_before());
            job.before.push(Watched {
                database: lane.database().to_string(),
                branch: lane.branch().to_string(),
                before: root.map_or(StateBefore::Unknown, StateBefore::Root),
            });
        }
        // What takes no lane may still move refs of remotes.
        if let (true, Some(lane)) = (held.is_empty(), self.current_lane()) {
            job.touches.push((lane.database().to_string(), bypass.touch(lane.database())));
        }
    }

    /// The answer is complete: what it changes.
    async fn answered(&mut self, job: Job, tracker: ReplyTracker, digest: Digest) -> Result<(), Ending> {
        if tracker.had_err()
            && job.plan.may_go_on_after_error
            && let Err(error) = self.discard_after_error().await
        {
            // The client has its answer; only the connection is lost.
            self.lost = self.forget_backend(&error).map(Trouble::Tell);
        }
        self.in_flight = false;
        if !tracker.had_err() {
            self.has_pushed(&job).await;
        }
        if self.backend.as_ref().is_some_and(|backend| !backend.inbox.is_empty()) {
            // What stands there would be taken for the next command's answer.
            self.lost = self.forget_backend("Dolt sent more than one answer").map(Trouble::Tell);
        }
        self.after_transaction(&job, &tracker, digest).await;
        // A holder that idles may have to lend: to whom, its process decides.
        if self.transaction.is_open() && !self.seat.held().is_empty() {
            self.learn_process().await;
        }
        let is_opaque = job.unit.does == Does::Anything && !tracker.had_err();
        self.after(job.command, job.plan, &tracker, job.prepares, is_opaque).await?;
        self.seat.idle();
        Ok(())
    }

    async fn discard_after_error(&mut self) -> Result<(), String> {
        let Some(backend) = self.backend.as_mut() else { return Ok(()) };
        match backend.discard_after_error().await {
            Ok(0) => Ok(()),
            Ok(discarded) => {
                tracing::warn!(
                    discarded,
                    "Dolt went on with a multi-statement after an error; its further results were discarded"
                );
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells the client an error of ours; what it asked for was not done.
    async fn tell_and_go_on(&mut self, job: &Job, err: &ErrInfo) -> Result<(), Ending> {
        if let Body::Streaming(incoming) = &job.body {
            let seq = self.client.skip(incoming).await?;
            self.client.send_err(seq, err).await?;
        } else {
            self.client.send_err(1, err).await?;
        }
        self.give_back_unless_open();
        self.seat.idle();
        self.show();
        Ok(())
    }

    /// Tells the client an error of Dolt's that was held back.
    async fn relay_err(&mut self, job: &Job, err: &ErrInfo) -> Result<(), Ending> {
        self.after_err(job, err).await;
        self.tell_and_go_on_sent(err).await
    }

    async fn tell_and_go_on_sent(&mut self, err: &ErrInfo) -> Result<(), Ending> {
        self.client.send_err(1, err).await?;
        self.give_back_unless_open();
        self.seat.idle();
        self.show();
        Ok(())
    }

    /// Rolls back on this backend; one that can't is dropped.
    pub async fn roll_back(&mut self) {
        let Some(backend) = self.backend.as_mut() else { return };
        self.in_flight = true;
        let asked = backend.ask(&[Question::query("ROLLBACK")]).await;
        self.in_flight = false;
        self.state.residue = false;
        if asked.is_err() {
            self.drop_backend();
        }
    }

    /// Makes sure that what the client has seen in its transaction still holds, where that matters now.
    async fn stand_on_firm_ground(&mut self, job: &Job) -> Result<(), Tried> {
        // What is rolled back need not hold.
        if !self.transaction.is_open() || job.unit.does == Does::Rollback {
            return Ok(());
        }
        let elsewhere = self.backend.as_ref().map(|backend| backend.identity()) != self.opened_on;
        let moved = job.wants.validate && self.has_moved(job);
        if !elsewhere && !moved && !self.must_rerun {
            return Ok(());
        }
        let cause = if elsewhere { Cause::BackendLost } else { Cause::Moved };
        self.count(Outcome::Rerun, cause);
        self.in_flight = true;
        let rerun = tokio::time::timeout_at(job.deadline, self.rerun()).await;
        self.in_flight = false;
        match rerun {
            Ok(Ok(Rerun::Same)) => {
                self.must_rerun = false;
                Ok(())
            }
            Ok(Ok(Rerun::Different)) => Err(Tried::Tell(self.refuse_transaction(
                job,
                Cause::AnswerChanged,
                "what it read has changed",
            ))),
            Ok(Ok(Rerun::Impossible(why))) => {
                self.roll_back().await;
                Err(Tried::Tell(self.refuse_transaction(
                    job,
                    Cause::NotRepeatable,
                    &format!(
                        "what it read may have changed, and it could not be run again because {}",
                        why.as_str()
                    ),
                )))
            }
            Ok(Err(error)) => Err(Tried::Failed(Failed::lost(Failure::LostBeforeSent, error, None))),
            Err(_) => {
                self.drop_backend();
                Err(Tried::Tell(self.refuse_transaction(
                    job,
                    cause,
                    "running it again took longer than the budget",
                )))
            }
        }
    }
}

fn stopped_before_answer(stopped: Stopped) -> Tried {
    match stopped {
        Stopped::Client(ending) => Tried::Ended(ending),
        Stopped::Dolt(error) => Tried::Failed(Failed::lost(Failure::LostUnanswered, error, None)),
    }
}

/// What is counted of a failure that is tried again.
fn cause_of(failed: &Failed) -> Cause {
    match failed.failure {
        Failure::Conflict => Cause::DoltConflict,
        Failure::ConflictStillOpen if failed.reason.contains("not ancestor") => Cause::HeadNotAncestor,
        Failure::ConflictStillOpen => Cause::OptimisticLock,
        Failure::ConstraintViolations => Cause::ConstraintViolation,
        Failure::ConnectionEnded if failed.reason.contains("cluster roles") => Cause::RoleTransition,
        Failure::ConnectionEnded => Cause::GarbageCollection,
        Failure::DoltDown => Cause::DoltDown,
        _ => Cause::BackendLost,
    }
}

/// For the jitter of a pause: nothing secret depends on it.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn effort(job: &Job) -> Effort {
    let budget = job.budget;
    let left = job.deadline.saturating_duration_since(Instant::now());
    Effort { tries: job.tries, elapsed: budget.saturating_sub(left), budget }
}
