//! What a client is told when its connection to Dolt is lost. Never says more than is known: what may
//! have happened is not called rolled back, and what can't be built again is not pretended.
//!
//! The words matter: `bd` runs a command again whose error contains "lost connection". So only what is
//! safe to run again is told in these words.

use super::backend::Trouble;
use super::ending::Ending;
use super::job::{Body, Job};
use super::routed::Session;
use crate::admit::{Cause, Committed, Outcome};
use crate::statement::retry::Action;
use crate::wire::command::Command;
use crate::wire::reply::ReplyTracker;
use crate::wire::response::ErrInfo;

impl Session {
    /// The backend is gone. What it was doing is not waited for.
    pub fn drop_backend(&mut self) {
        self.backend = None;
        // Dolt gives its ids anew after a restart: KILL must not find somebody else by this one.
        self.entry().update(|view| view.backend_id = None);
        self.in_flight = false;
        self.context.dolt.report_lost();
        self.state.residue = false;
        self.transaction.lost_backend();
    }

    /// The backend is gone and nothing was with it. What the client must be told, if anything was lost.
    pub fn forget_backend(&mut self, reason: &str) -> Option<ErrInfo> {
        self.drop_backend();
        if !self.state.pins.is_empty() {
            self.close_transaction();
            return Some(self.cannot_restore(reason));
        }
        if self.transaction.is_open() && self.log.entries().is_err() {
            self.close_transaction();
            return Some(transaction_lost(reason));
        }
        None
    }

    pub fn cannot_restore(&self, reason: &str) -> ErrInfo {
        let text = format!(
            "The connection to Dolt is gone ({reason}), and this session cannot be restored on a new one because \
             it used: {}. Branchline closes it; connect again",
            self.state.pins
        );
        ErrInfo::new(1105, "HY000", text)
    }

    /// The backend was lost while a command was with it, and it can't be run again: tells the client, if the
    /// reply allows it.
    pub async fn tell_loss(
        &mut self,
        job: &Job,
        told: Action,
        reason: &str,
        tracker: Option<&ReplyTracker>,
    ) -> Result<(), Ending> {
        tracing::info!(%reason, ?told, "lost a backend with a command in flight");
        let (lanes, was_open) = (self.seat.held(), self.transaction.is_open());
        if self.backend.is_some() && told == Action::Tell1213 {
            self.roll_back().await;
        }
        let goes_on = was_open && !job.wants.commits;
        let pinned = self.backend.is_none() && !self.state.pins.is_empty();
        let err = match told {
            _ if pinned && told != Action::TellUnknown => self.cannot_restore(reason),
            Action::Tell1213 | Action::TellLost if was_open => self.refuse_transaction(
                job,
                Cause::BackendLost,
                &format!("as its connection to Dolt ended ({reason})"),
            ),
            told => in_flight_text(told, job.command, reason),
        };
        if matches!(told, Action::TellApplied | Action::TellUnknown) {
            self.count(Outcome::Retry, Cause::FateUnknown);
            // It may have moved them.
            self.seat.committed(&lanes, Committed::Sql);
        }
        self.forget_names(&lanes, false);
        self.close_transaction();
        if goes_on && matches!(told, Action::TellApplied | Action::TellUnknown) {
            // The statement is told apart; that its transaction is gone, with the next command.
            self.lost = Some(Trouble::Tell(transaction_lost(reason)));
        }
        if let (Body::Streaming(incoming), false) = (&job.body, job.sent) {
            // Nothing of it was taken from the client yet.
            let seq = self.client.skip(incoming).await?;
            self.client.send_err(seq, &err).await?;
            return if pinned { Err(Ending::DoltLost(err.message)) } else { Ok(()) };
        }
        let (seq, at_boundary) = tracker.map_or((1, true), |t| (t.next_seq(), t.at_packet_boundary()));
        if !at_boundary {
            return Err(Ending::DoltLost(format!("{reason}, in the middle of a packet")));
        }
        self.client.send_err(seq, &err).await?;
        self.show();
        if pinned { Err(Ending::DoltLost(err.message)) } else { Ok(()) }
    }
}

fn transaction_lost(reason: &str) -> ErrInfo {
    let text =
        format!("Dolt's connection ended ({reason}): the open transaction was rolled back; run it again");
    ErrInfo::new(1213, "40001", text)
}

fn in_flight_text(told: Action, command: Command, reason: &str) -> ErrInfo {
    let command = command.name();
    let text = match told {
        Action::Tell1213 => return transaction_lost(reason),
        Action::TellApplied => {
            format!("{command} took effect, but Dolt's answer to it was lost ({reason}): do not run it again")
        }
        Action::TellUnknown => format!(
            "Dolt's connection ended during {command} ({reason}): whether it took effect is unknown; look before you \
             run it again"
        ),
        _ => format!("Lost connection to Dolt during {command} ({reason}); it is safe to run it again"),
    };
    ErrInfo::new(1105, "HY000", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_to_repeat_is_told_in_words_that_bd_repeats() {
        let safe = in_flight_text(Action::TellLost, Command::Query, "x");
        assert!(safe.message.to_lowercase().contains("lost connection"));
        for told in [Action::TellUnknown, Action::TellApplied] {
            let unsafe_ = in_flight_text(told, Command::Query, "x");
            for word in ["lost connection", "gone away", "broken pipe", "bad connection", "connection reset"]
            {
                assert!(!unsafe_.message.to_lowercase().contains(word), "{word}");
            }
        }
        assert_eq!(in_flight_text(Action::Tell1213, Command::Query, "x").code, 1213);
    }
}
