//! What a client is told when its connection to Dolt is lost. Never says more than is known: what may
//! have happened is not called rolled back, and what can't be built again is not pretended.
//!
//! The words matter: `bd` runs a command again whose error contains "lost connection". So only what is
//! safe to run again is told in these words.

use super::ending::Ending;
use super::routed::Session;
use crate::pool::BackendError;
use crate::wire::command::Command;
use crate::wire::reply::ReplyTracker;
use crate::wire::response::ErrInfo;

/// What was going on when the backend was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// A command that can't have changed anything.
    Read(Command),
    /// Inside a transaction, and not its end.
    Transaction(Command),
    /// Anything else: it may have happened.
    Write(Command),
}

impl Session {
    /// The backend is gone and nothing was with it. What the client must be told, if anything was lost.
    pub fn forget_backend(&mut self, reason: &str) -> Option<ErrInfo> {
        self.backend = None;
        // Dolt gives its ids anew after a restart: KILL must not find somebody else by this one.
        self.entry().update(|view| view.backend_id = None);
        self.in_flight = false;
        self.context.dolt.report_lost();
        let in_transaction = self.state.in_transaction();
        self.state.ended_transaction();
        self.state.residue = false;
        if !self.state.pins.is_empty() {
            return Some(self.cannot_restore(reason));
        }
        in_transaction.then(|| transaction_lost(reason))
    }

    fn cannot_restore(&self, reason: &str) -> ErrInfo {
        let text = format!(
            "The connection to Dolt is gone ({reason}), and this session cannot be restored on a new one because \
             it used: {}. Branchline closes it; connect again",
            self.state.pins
        );
        ErrInfo::new(1105, "HY000", text)
    }

    /// The backend was lost while a command was with it: tells the client, if the reply allows it.
    pub async fn lost_in_flight(
        &mut self,
        error: BackendError,
        during: During,
        tracker: Option<&ReplyTracker>,
    ) -> Result<(), Ending> {
        let reason = error.to_string();
        tracing::info!(%reason, ?during, "lost a backend with a command in flight");
        let pinned = !self.state.pins.is_empty();
        let err = match self.forget_backend(&reason) {
            Some(err) if pinned => err,
            _ => in_flight_text(during, &reason),
        };
        let (seq, at_boundary) = tracker.map_or((1, true), |t| (t.next_seq(), t.at_packet_boundary()));
        if !at_boundary {
            return Err(Ending::DoltLost(format!("{reason}, in the middle of a packet")));
        }
        self.client.send_err(seq, &err).await?;
        if pinned { Err(Ending::DoltLost(err.message)) } else { Ok(()) }
    }
}

fn transaction_lost(reason: &str) -> ErrInfo {
    let text =
        format!("Dolt's connection ended ({reason}): the open transaction was rolled back; run it again");
    ErrInfo::new(1213, "40001", text)
}

fn in_flight_text(during: During, reason: &str) -> ErrInfo {
    match during {
        During::Transaction(_) => transaction_lost(reason),
        During::Read(command) => {
            let text = format!(
                "Lost connection to Dolt during {} ({reason}); it is safe to run it again",
                command.name()
            );
            ErrInfo::new(1105, "HY000", text)
        }
        During::Write(command) => {
            let text = format!(
                "Dolt's connection ended during {} ({reason}): whether it took effect is unknown; look before you \
                 run it again",
                command.name()
            );
            ErrInfo::new(1105, "HY000", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_to_repeat_is_told_in_words_that_bd_repeats() {
        let read = in_flight_text(During::Read(Command::Query), "x");
        assert!(read.message.to_lowercase().contains("lost connection"));
        let write = in_flight_text(During::Write(Command::Query), "x");
        for word in ["lost connection", "gone away", "broken pipe", "bad connection", "connection reset"] {
            assert!(!write.message.to_lowercase().contains(word), "{word}");
        }
        assert_eq!(in_flight_text(During::Transaction(Command::Query), "x").code, 1213);
    }
}
