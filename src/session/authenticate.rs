//! Checks who a client is, against Dolt's own accounts.

use super::context::Context;
use super::ending::Ending;
use super::greet::{Accepted, Greeted, protocol_error, read_packet, refuse};
use super::identity::{Identity, PeerAddress, PeerProcess};
use crate::accounts::{ClientHost, Login, Verified};
use crate::wire::capability;
use crate::wire::handshake::{NATIVE_PASSWORD, Response, auth_switch_payload};
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
    let (user, user_branch) = split_user(&response.user, context.config.routing.user_separator);
    let address = accepted.peer_address();
    let client_host = match address {
        PeerAddress::Unix => ClientHost::Unix,
        PeerAddress::Tcp { ip, .. } => ClientHost::Ip(ip),
    };
    let login = Login { user: &user, client_host, nonce: &nonce, response: &response.auth };
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
    Ok(Authenticated { accepted, verified, identity, response, seq })
}

/// `account+branch`, if the separator is on and something stands on both sides.
fn split_user(user: &str, separator: Option<char>) -> (String, Option<String>) {
    match separator.and_then(|separator| user.split_once(separator)) {
        Some((account, branch)) if !account.is_empty() && !branch.is_empty() => {
            (account.to_owned(), Some(branch.to_owned()))
        }
        _ => (user.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_split_only_when_asked_for() {
        let split = |user, separator| {
            let (account, branch) = split_user(user, separator);
            (account, branch.unwrap_or_default())
        };
        assert_eq!(split("bd+polecat-nux", Some('+')), ("bd".into(), "polecat-nux".into()));
        assert_eq!(split("bd+a+b", Some('+')), ("bd".into(), "a+b".into()));
        assert_eq!(split("bd+polecat-nux", None), ("bd+polecat-nux".into(), String::new()));
        assert_eq!(split("+x", Some('+')), ("+x".into(), String::new()));
        assert_eq!(split("x+", Some('+')), ("x+".into(), String::new()));
    }
}
