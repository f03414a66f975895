//! Checks who a client is, against Dolt's own accounts.

use super::context::Context;
use super::ending::Ending;
use super::greet::{Accepted, Greeted, protocol_error, read_packet, refuse};
use super::identity::{Identity, PeerAddress, PeerProcess};
use crate::accounts::{ClientHost, Login, Verified};
use crate::wire::capability;
use crate::wire::handshake::{NATIVE_PASSWORD, NONCE_BYTES, Response, auth_switch_payload};
use crate::wire::response::ErrInfo;

/// A client whose password was checked.
#[derive(Debug)]
pub struct Authenticated {
    /// What came before.
    pub accepted: Accepted,
    /// Its account.
    pub verified: Verified,
    /// What is known of it.
    pub identity: Identity,
    /// Its handshake response.
    pub response: Response,
    /// The challenge that it answered.
    pub nonce: [u8; NONCE_BYTES],
    /// Sequence number of our next packet.
    pub seq: u8,
}

/// Switches to mysql_native_password if the client began with something else, and checks the answer.
pub async fn authenticate(greeted: Greeted, context: &Context) -> Result<Authenticated, Ending> {
    let Greeted { mut accepted, nonce, mut response, mut seq } = greeted;
    let other_plugin = response.capabilities & capability::PLUGIN_AUTH != 0
        && response.plugin.as_deref().is_some_and(|plugin| plugin != NATIVE_PASSWORD);
    if other_plugin {
        accepted.client.send_packet(seq, &auth_switch_payload(&nonce)).await?;
        let (answer, next) = match read_packet(&mut accepted.client, seq.wrapping_add(1)).await {
            Err(Ending::ClientProtocol(bad)) => {
                return Err(protocol_error(&mut accepted.client, seq, bad).await);
            }
            other => other?,
        };
        response.auth = answer;
        seq = next;
    }
    let (user, user_branch) = context.config.routing.split_user(&response.user);
    let address = accepted.peer_address();
    let login = login(&user, &address, &nonce, &response);
    let verified = match context.accounts.authenticate(login).await {
        Ok(verified) => verified,
        Err(denied) => {
            let err = ErrInfo::new(denied.code(), denied.sql_state(), denied.to_string());
            return Err(refuse(&mut accepted.client, seq, err).await);
        }
    };
    let attributes = std::mem::take(&mut response.attributes);
    let program = attributes.get("program_name").or_else(|| attributes.get("_client_name")).cloned();
    accepted.registration.client.update(|view| {
        view.account = format!("{}@{}", verified.account.user, verified.account.host);
        view.program = program.unwrap_or_default();
    });
    let identity = Identity { user, user_branch, attributes, address, process: PeerProcess::NotLooked };
    Ok(Authenticated { accepted, verified, identity, response, nonce, seq })
}

/// What the accounts are asked.
pub fn login<'a>(
    user: &'a str,
    address: &PeerAddress,
    nonce: &'a [u8; NONCE_BYTES],
    response: &'a Response,
) -> Login<'a> {
    let client_host = match *address {
        PeerAddress::Unix => ClientHost::Unix,
        PeerAddress::Tcp { ip, .. } => ClientHost::Ip(ip),
    };
    Login { user, client_host, nonce, response: &response.auth }
}
