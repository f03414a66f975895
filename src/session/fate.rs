//! Answers in Dolt's place: a transaction that did nothing, and a commit whose answer was lost.
//! Always: what is answered here has happened.

use super::ending::Ending;
use super::heads::Place;
use super::job::Job;
use super::routed::Session;
use crate::statement::classify::Kind;
use crate::statement::fate::{self, Fate, Verdict, What};
use crate::statement::transaction::{Digest, Does};
use crate::wire::capability;
use crate::wire::command::Command;
use crate::wire::frame::write_packet;
use crate::wire::lenenc;
use crate::wire::response::{EOF, OkInfo, STATUS_AUTOCOMMIT, STATUS_IN_TRANS, eof_payload, ok_payload};

/// How Dolt describes the only column of DOLT_COMMIT's answer: `hash`, a text.
const HASH_COLUMN: &[u8] = b"\x03def\0\0\0\x04hash\x04hash\x0c\xff\0\xff\xff\xff\xff\xfc\x01\0\0\0\0";

impl Session {
    /// An OK with the flags that Dolt would give now.
    pub fn ok_payload(&self) -> Vec<u8> {
        ok_payload(OkInfo { status: self.status(), ..OkInfo::default() })
    }

    fn status(&self) -> u16 {
        let autocommit = if self.state.autocommit { STATUS_AUTOCOMMIT } else { 0 };
        autocommit | if self.transaction.is_begun() { STATUS_IN_TRANS } else { 0 }
    }

    /// Ends what may still run of a command in Dolt, and finds out whether it happened.
    pub async fn find_fate(&mut self, job: &Job) -> Verdict {
        let Some((generation, backend)) = self.opened_on else {
            return Verdict::CannotTell("no backend".to_owned());
        };
        self.unsettled = Some((generation, backend));
        let (seat, clock) = (&self.seat, job.clock);
        let touched = |database: &str| {
            let touch = job.touches.iter().find(|(of, _)| of.eq_ignore_ascii_case(database));
            touch.is_none_or(|(_, touch)| touch.has_company())
        };
        let verdict = fate::find_out(Fate {
            dolt: &self.context.dolt,
            journals: self.context.journals.as_ref(),
            backend,
            generation,
            what: self.what(job),
            watched: job.before.clone(),
            sent_at: job.sent_at,
            others: &|database| touched(database) || seat.others_active_since(database, clock),
            deadline: job.deadline.into_std(),
        })
        .await;
        self.unsettled = None;
        self.in_flight = false;
        verdict
    }

    fn what(&self, job: &Job) -> What {
        match job.unit.does {
            _ if !job.unit.repeatable && !job.wants.commits => What::Elsewhere,
            _ if !job.is_whole() || !job.unit.single => What::SeveralSteps,
            Does::Commit | Does::Begin { .. } => What::Commit,
            Does::CommitsItself if job.unit.dolt_commit && job.before.len() == 1 => What::DoltCommit {
                database: job.before[0].database.clone(),
                branch: self.spelled(&job.before[0].branch),
                message: None,
                head_before: None,
            },
            Does::CommitsItself | Does::Dml if job.unit.dolt => What::SeveralSteps,
            Does::CommitsItself => What::Commit,
            Does::Anything => What::SeveralSteps,
            _ => What::Write,
        }
    }

    /// A branch as Dolt spells it, from its lane.
    pub fn spelled(&self, branch: &str) -> String {
        let places = self.heads.all().map(|head| &head.place);
        let routed = places.filter_map(|place| match place {
            Place::Routed(name) | Place::Chosen(name) => Some(name),
            _ => None,
        });
        let known = routed.chain(self.defaults.values()).find(|name| name.eq_ignore_ascii_case(branch));
        known.map_or_else(|| branch.to_owned(), String::clone)
    }

    /// It happened, and the answer is known.
    pub async fn answer_for_dolt(&mut self, job: &Job, verdict: Verdict) -> Result<(), Ending> {
        self.settle_as_done(job).await;
        if let Some(runs) = &job.plan.runs {
            for kind in &runs.statements {
                self.state.did(kind);
                // Only one that turns it on commits anything.
                if let Kind::Set { assignments } = kind
                    && assignments.iter().any(|assignment| assignment.name == "autocommit")
                {
                    self.state.autocommit = true;
                }
            }
        }
        let reply = match verdict {
            Verdict::Happened { head: Some(head) } if job.unit.dolt_commit => self.hash_reply(job, &head),
            _ => {
                let mut out = Vec::new();
                write_packet(&mut out, 1, &self.ok_payload());
                out
            }
        };
        self.client.stream.send(&reply).await?;
        self.seat.idle();
        self.show();
        Ok(())
    }

    async fn settle_as_done(&mut self, job: &Job) {
        let ok = OkInfo { status: self.status() & STATUS_AUTOCOMMIT, ..OkInfo::default() };
        self.settle(job, Some(ok), None, Some(Digest::NONE)).await;
    }

    /// The answer to CALL DOLT_COMMIT.
    fn hash_reply(&self, job: &Job, head: &str) -> Vec<u8> {
        let mut row = Vec::new();
        if job.command == Command::StmtExecute {
            // Binary protocol: header, and a bitmap of the NULLs.
            row.extend_from_slice(&[0, 0]);
        }
        lenenc::write_bytes(&mut row, head.as_bytes());
        let status = self.status();
        let deprecate_eof = self.login.capabilities & capability::DEPRECATE_EOF != 0;
        let mut out = Vec::new();
        let mut seq = write_packet(&mut out, 1, &[1]);
        seq = write_packet(&mut out, seq, HASH_COLUMN);
        if !deprecate_eof {
            seq = write_packet(&mut out, seq, &eof_payload(status));
        }
        seq = write_packet(&mut out, seq, &row);
        if deprecate_eof {
            let mut end = ok_payload(OkInfo { status, ..OkInfo::default() });
            end[0] = EOF;
            write_packet(&mut out, seq, &end);
        } else {
            write_packet(&mut out, seq, &eof_payload(status));
        }
        out
    }
}
