//! The loop of a session: wait for a command, run it, until an ending.

use std::time::{Duration, Instant};

use tokio::io::Interest;
use tracing::debug;

use super::backend::Trouble;
use super::client_socket::Incoming;
use super::ending::Ending;
use super::greet::protocol_error;
use super::remotes::AtRemotes;
use super::routed::Session;
use crate::admit::Committed;
use crate::clients::Doing;
use crate::pool::Lease;
use crate::wire::BadFrame;

/// How long a lane waits for the end of a statement whose client is gone.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves a session to its end, and leaves nothing of it running in Dolt.
pub async fn serve(mut session: Session) -> Ending {
    let cancel = session.entry().cancel.clone();
    let ending = tokio::select! {
        biased;
        () = cancel.cancelled() => Ending::Killed,
        ending = serve_commands(&mut session) => ending,
    };
    session.leave(&ending).await;
    ending
}

async fn serve_commands(session: &mut Session) -> Ending {
    loop {
        let incoming = match session.next_command().await {
            Ok(incoming) => incoming,
            Err(ending) => return ending,
        };
        session.entry().update(|view| {
            view.doing = Doing::Running;
            view.doing_since = Instant::now();
        });
        session.entry().commands.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Err(ending) = session.run(incoming).await {
            return ending;
        }
        session.at_remotes = AtRemotes::default();
        session.step_out();
        let in_transaction = session.transaction.is_begun();
        session.entry().update(|view| {
            view.doing = Doing::Idle;
            view.doing_since = Instant::now();
            view.in_transaction = in_transaction;
        });
    }
}

impl Session {
    /// Waits for a command; meanwhile gives memory back and notices that Dolt or Branchline goes away.
    async fn next_command(&mut self) -> Result<Incoming, Ending> {
        loop {
            match self.client.incoming() {
                Ok(Some(incoming)) => return Ok(incoming),
                Ok(None) => {}
                Err(bad) => return Err(self.out_of_protocol(bad).await),
            }
            if self.client.inbox.is_empty() {
                self.client.inbox.release();
                if let Some(backend) = self.backend.as_mut() {
                    backend.inbox.release();
                }
            }
            let may_drain = self.client.inbox.is_empty() && !self.transaction.is_begun();
            tokio::select! {
                biased;
                ready = self.client.stream.ready(Interest::READABLE) => {
                    ready?;
                    self.client.fill().await?;
                }
                reason = watch_idle(self.backend.as_mut()) => self.lost_while_idle(&reason),
                () = self.context.drain.cancelled(), if may_drain => return Err(Ending::Drained),
            }
        }
    }

    async fn out_of_protocol(&mut self, bad: BadFrame) -> Ending {
        let seq = match bad {
            BadFrame::SequenceGap { got, .. } => got.wrapping_add(1),
            _ => 1,
        };
        protocol_error(&mut self.client, seq, bad).await
    }

    /// Dolt hung up while nobody waited for an answer.
    fn lost_while_idle(&mut self, reason: &str) {
        debug!(reason, "Dolt closed an idle backend");
        let err = self.forget_backend(reason);
        if let Some(err) = err {
            let ends = !self.state.pins.is_empty();
            self.lost = Some(if ends { Trouble::TellAndEnd(err) } else { Trouble::Tell(err) });
        }
    }

    /// Ends what is left of the session in Dolt, and only then gives its lanes back.
    async fn leave(&mut self, ending: &Ending) {
        self.seen_here();
        let at_remotes = std::mem::take(&mut self.at_remotes);
        let (generation, id) = match (self.backend.take(), self.unsettled) {
            (Some(backend), None) if !self.in_flight => return backend.quit().await,
            (Some(backend), None) => backend.identity(),
            (_, Some(unsettled)) => unsettled,
            (None, None) => return,
        };
        match ending {
            // Dolt does not look for a vanished peer on its unix socket: its statement must be told to end.
            Ending::Killed | Ending::ClientVanished | Ending::ClientProtocol(_) => {
                at_remotes.end(&self.context, (generation, id), LEAVE_TIMEOUT).await;
                // It may have happened before it ended.
                let lanes = self.seat.held();
                self.forget_names(&lanes, false);
                self.seat.committed(&lanes, Committed::Sql);
            }
            _ => {}
        }
    }
}

/// Returns why, when Dolt closes the backend or says something unasked.
async fn watch_idle(backend: Option<&mut Lease>) -> String {
    let Some(backend) = backend else { return std::future::pending().await };
    if let Err(error) = backend.stream.ready(Interest::READABLE).await {
        return error.to_string();
    }
    match backend.fill().await {
        Ok(()) => "Dolt sent something that nobody asked for".to_owned(),
        Err(error) => error.to_string(),
    }
}
