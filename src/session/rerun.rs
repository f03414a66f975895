//! Runs the open transaction again from its log: on a newer snapshot, or on a new backend.
//! Owns the comparison of the answers. Always: equal answers to every command, or the client is told 1213
//! and nothing of the transaction is left in Dolt.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::job::Job;
use super::prepared::{self, Execute};
use super::routed::Session;
use crate::admit::{Cause, LaneKey, Outcome};
use crate::pool::{Answer, Backend, BackendError, Question};
use crate::statement::transaction::{Digest, Entry, WhyNot};
use crate::wire::command::Command;
use crate::wire::response::ErrInfo;

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub enum Rerun {
    /// Every answer was the same: the client notices nothing.
    Same,
    /// An answer differs; rolled back.
    Different,
    /// It can't be run again.
    Impossible(WhyNot),
}

impl Session {
    /// Runs it again on the backend of the moment.
    pub async fn rerun(&mut self) -> Result<Rerun, BackendError> {
        let entries = match self.log.entries() {
            Ok(entries) => entries.to_vec(),
            Err(why) => return Ok(Rerun::Impossible(why)),
        };
        let begin = match self.transaction.snapshot() {
            Some((begin, _)) => String::from_utf8_lossy(begin.text_elsewhere()).into_owned(),
            None => return Ok(Rerun::Same),
        };
        let began_in = self.log.database().map(str::to_owned);
        let Some(backend) = self.backend.as_mut() else {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        };
        let mut questions = vec![Question::query("ROLLBACK")];
        let elsewhere = began_in != self.state.database;
        if elsewhere {
            questions.push(Question::InitDb(began_in.unwrap_or_default()));
        }
        questions.push(Question::Query(begin));
        let clock = self.seat.snapshot();
        refuse_errors(backend.ask(&questions).await?)?;
        for entry in &entries {
            if replay(backend, entry).await? != entry.answer {
                let mut questions = vec![Question::query("ROLLBACK")];
                if elsewhere {
                    questions.push(Question::InitDb(self.state.database.clone().unwrap_or_default()));
                }
                refuse_errors(backend.ask(&questions).await?)?;
                return Ok(Rerun::Different);
            }
        }
        self.transaction.ran_again(clock);
        self.opened_on = Some(backend.identity());
        self.state.residue = false;
        Ok(Rerun::Same)
    }

    /// The transaction is not to be had any more: what the client is told. The next one takes its lanes first.
    pub fn refuse_transaction(&mut self, job: &Job, cause: Cause, why: &str) -> ErrInfo {
        let (reads, writes) = self.transaction.depends_on();
        let mut first: BTreeSet<LaneKey> = writes.union(&job.wants.lanes).cloned().collect();
        let lanes: Vec<String> = first.iter().map(ToString::to_string).collect();
        first.extend(reads.lanes().iter().cloned());
        self.transaction.refused(first);
        self.log.clear();
        self.must_rerun = false;
        self.state.residue = true;
        self.count(Outcome::Conflict, cause);
        let on = if lanes.is_empty() { String::new() } else { format!(" on {}", lanes.join(", ")) };
        let text = format!(
            "serialization failure: this transaction{on} was rolled back, {why}; run the whole transaction again"
        );
        ErrInfo::new(1213, "40001", text)
    }

    /// The log's entry of a command. An execution is kept with the types that an earlier one bound.
    pub fn entry_of(
        &self,
        command: Command,
        payload: &[u8],
        id: Option<u32>,
        answer: Digest,
    ) -> Result<Entry, WhyNot> {
        if command != Command::StmtExecute {
            return Ok(Entry { payload: payload.into(), prepared: None, answer });
        }
        let known = id.and_then(|id| self.prepared.get(id)).ok_or(WhyNot::ClientData)?;
        let text = known.text.clone().ok_or(WhyNot::LongCommand)?;
        let execute = Execute::read(payload, known.params).ok_or(WhyNot::ClientData)?;
        let payload: Arc<[u8]> = match execute.bound_flag_at {
            Some(at) if !execute.has_types && !known.types.is_empty() => {
                prepared::with_types(payload, at, &known.types).into()
            }
            Some(_) if !execute.has_types => return Err(WhyNot::ClientData),
            _ => payload.into(),
        };
        Ok(Entry { payload, prepared: Some(text), answer })
    }
}

/// None of these may fail: a statement behind a BEGIN that did would commit by itself.
fn refuse_errors(answers: Vec<Answer>) -> Result<(), BackendError> {
    match answers.into_iter().find_map(|answer| if let Answer::Err(err) = answer { Some(err) } else { None })
    {
        Some(err) => Err(std::io::Error::other(err.to_string()).into()),
        None => Ok(()),
    }
}

async fn replay(backend: &mut Backend, entry: &Entry) -> Result<Digest, BackendError> {
    let Some(text) = &entry.prepared else {
        return backend.run(&entry.payload).await;
    };
    let info = match backend.prepare(text).await? {
        Ok(info) => info,
        // The answer to the execution can't be what it was.
        Err(_) => return Ok(Digest::NONE),
    };
    let mut payload = entry.payload.to_vec();
    if let Some(id) = payload.get_mut(1..5) {
        id.copy_from_slice(&info.id.to_le_bytes());
    }
    let digest = backend.run(&payload).await?;
    backend.close_statement(info.id).await?;
    Ok(digest)
}
