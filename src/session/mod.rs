//! One connection: accept → greet → identify → authenticate → route → serve until quit.
//! Owns the client's side and the order of things. Does not know what SQL means: `statement` does.
//! Always: nothing is opened towards Dolt before the client's handshake response, and every ending has
//! a name.

pub mod identity;
pub mod peer;
pub mod route;

mod after;
mod auto_commit;
mod authenticate;
mod backend;
mod client_socket;
mod command;
mod context;
mod ending;
mod fork;
mod gate;
mod greet;
mod fate;
mod heads;
mod job;
mod kill;
mod lanes;
mod loss;
mod prepared;
mod remotes;
mod rerun;
mod routed;
mod run;
mod serve;
mod state;
mod unit;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{Instrument, debug, info_span};

pub use client_socket::{COMMAND_HEAD_BYTES_MAX, ClientSocket, Incoming};
pub use context::{Context, ControlAccounts};
pub use ending::Ending;
pub use greet::Accepted;

use routed::Session;

/// A connection's whole life. Returns when it is over and everything it held is given back.
pub async fn run(accepted: Accepted, context: Arc<Context>) {
    let span = info_span!("client", id = accepted.registration.client.id, address = %accepted.address_text());
    let client = Arc::clone(&accepted.registration.client);
    async {
        let ending = connect_and_serve(accepted, &context).await;
        match &ending {
            Ending::Refused(_) | Ending::HandshakeTimedOut(_) | Ending::ClientProtocol(_) => {
                context.clients.refused.fetch_add(1, Ordering::Relaxed);
                tracing::info!(%ending, "session ended");
            }
            Ending::DoltLost(_) | Ending::Killed => tracing::info!(%ending, "session ended"),
            _ => debug!(%ending, commands = client.commands.load(Ordering::Relaxed), "session ended"),
        }
    }
    .instrument(span)
    .await;
}

async fn connect_and_serve(accepted: Accepted, context: &Arc<Context>) -> Ending {
    let timeout = context.config.limits.handshake_timeout;
    let cancel = accepted.registration.client.cancel.clone();
    let connecting = async {
        let greeted = greet::greet(accepted, context).await?;
        let authenticated = authenticate::authenticate(greeted, context).await?;
        Session::route(authenticated, context).await
    };
    let session = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ending::Killed,
        // Nobody is served yet: a client that says nothing must not hold up the end.
        () = context.drain.cancelled() => return Ending::Drained,
        connected = tokio::time::timeout(timeout, connecting) => match connected {
            Ok(Ok(session)) => session,
            Ok(Err(ending)) => return ending,
            Err(_) => return Ending::HandshakeTimedOut(timeout.as_secs()),
        },
    };
    serve::serve(session).await
}
