//! Greets a client and reads who it says it is.

use std::net::SocketAddr;

use super::backend::wait_for_dolt;
use super::client_socket::ClientSocket;
use super::context::Context;
use super::ending::Ending;
use super::identity::PeerAddress;
use super::peer::PeerSocket;
use crate::clients::Registration;
use crate::wire::BadFrame;
use crate::wire::capability;
use crate::wire::frame::{HEADER_BYTES, Header};
use crate::wire::handshake::{
    FirstPacket, Greeting, NATIVE_PASSWORD, NONCE_BYTES, RESPONSE_BYTES_MAX, Response,
};
use crate::wire::response::ErrInfo;

/// A client that connected. Nothing was said yet.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub client: ClientSocket,
    /// The other end, as the kernel says. A Unix peer whose credentials can't be told has pid 0.
    pub peer: PeerSocket,
    /// Its place among the live clients.
    pub registration: Registration,
}

/// A client that answered our greeting.
#[derive(Debug)]
pub struct Greeted {
    /// What came before.
    pub accepted: Accepted,
    /// Our challenge.
    pub nonce: [u8; NONCE_BYTES],
    /// Its response.
    pub response: Response,
    /// Sequence number of our next packet.
    pub seq: u8,
}

impl Accepted {
    /// Where from, for people.
    pub fn address_text(&self) -> String {
        match self.peer {
            PeerSocket::Unix { pid, .. } => format!("unix pid {pid}"),
            PeerSocket::Tcp { peer, .. } => peer.to_string(),
        }
    }

    /// Where from, for rules.
    pub fn peer_address(&self) -> PeerAddress {
        match self.peer {
            PeerSocket::Unix { .. } => PeerAddress::Unix,
            PeerSocket::Tcp { peer: SocketAddr::V4(v4), .. } => {
                PeerAddress::Tcp { ip: (*v4.ip()).into(), port: v4.port() }
            }
            PeerSocket::Tcp { peer, .. } => {
                PeerAddress::Tcp { ip: peer.ip().to_canonical(), port: peer.port() }
            }
        }
    }
}

/// Greets; or says why not: at once, unless Dolt went away only just now.
pub async fn greet(mut accepted: Accepted, context: &Context) -> Result<Greeted, Ending> {
    let limit = context.config.limits.clients_max;
    if context.clients.count() > limit {
        let text = format!("Too many connections: Branchline serves at most {limit} (limits.clients_max)");
        return Err(refuse(&mut accepted.client, 0, ErrInfo::new(1040, "08004", text)).await);
    }
    // `bd` never repeats a login that was refused: a restart of Dolt should be a pause for it.
    wait_for_dolt(&context.dolt).await;
    let ready = match context.pool.ready() {
        Ok(ready) => ready,
        Err(down) => {
            return Err(refuse(&mut accepted.client, 0, ErrInfo::new(1105, "HY000", down.to_string())).await);
        }
    };
    let nonce = nonce();
    let greeting = Greeting {
        version: ready.greeting.version.clone(),
        connection_id: accepted.registration.client.id,
        nonce,
        capabilities: ready.greeting.capabilities & capability::UNDERSTOOD,
        charset: ready.greeting.charset,
        plugin: NATIVE_PASSWORD.to_owned(),
    };
    accepted.client.send_packet(0, &greeting.payload()).await?;
    let (payload, seq) = match read_packet(&mut accepted.client, 1).await {
        Err(Ending::ClientVanished) if accepted.client.inbox.is_empty() => return Err(Ending::ProbeOnly),
        Err(Ending::ClientProtocol(bad)) => return Err(protocol_error(&mut accepted.client, 1, bad).await),
        other => other?,
    };
    let response = match FirstPacket::read(&payload) {
        Ok(FirstPacket::Response(response)) => *response,
        Ok(FirstPacket::SslRequest) => {
            let text = "Branchline does not offer TLS; connect without it (ssl-mode=DISABLED)";
            return Err(refuse(&mut accepted.client, seq, ErrInfo::new(3159, "HY000", text)).await);
        }
        Err(bad) => return Err(protocol_error(&mut accepted.client, seq, bad).await),
    };
    if response.capabilities & capability::REQUIRED_OF_CLIENT != capability::REQUIRED_OF_CLIENT {
        let text =
            "Client does not support authentication protocol requested by server; consider upgrading it";
        return Err(refuse(&mut accepted.client, seq, ErrInfo::new(1251, "08004", text)).await);
    }
    Ok(Greeted { accepted, nonce, response, seq })
}

/// Reads one packet of the handshake; its payload and the sequence number that follows it.
pub async fn read_packet(client: &mut ClientSocket, want: u8) -> Result<(Vec<u8>, u8), Ending> {
    loop {
        if let Some(header) = Header::read(client.inbox.bytes()) {
            if header.len > RESPONSE_BYTES_MAX {
                let (bytes, bytes_max) = (header.len, RESPONSE_BYTES_MAX);
                return Err(BadFrame::TooLong { bytes, bytes_max, phase: "handshake" }.into());
            }
            if header.seq != want {
                return Err(BadFrame::SequenceGap { want, got: header.seq }.into());
            }
            if let Some(payload) = client.inbox.bytes().get(HEADER_BYTES..HEADER_BYTES + header.len) {
                let payload = payload.to_vec();
                client.inbox.consume(HEADER_BYTES + header.len);
                return Ok((payload, header.seq.wrapping_add(1)));
            }
        }
        client.fill().await?;
    }
}

/// Tells a client no, and that is its ending.
pub async fn refuse(client: &mut ClientSocket, seq: u8, err: ErrInfo) -> Ending {
    // It may be gone already; the ending stays the same.
    let _ = client.send_err(seq, &err).await;
    Ending::Refused(err.to_string())
}

/// Tells a client that it does not speak the protocol, and that is its ending.
pub async fn protocol_error(client: &mut ClientSocket, seq: u8, bad: BadFrame) -> Ending {
    let (code, sqlstate) = match bad {
        BadFrame::SequenceGap { .. } => (1156, "08S01"),
        BadFrame::TooLong { .. } => (1153, "08S01"),
        BadFrame::Malformed { .. } | BadFrame::Empty { .. } => (1043, "08S01"),
    };
    let _ =
        client.send_err(seq, &ErrInfo::new(code, sqlstate, format!("Bad handshake or packet: {bad}"))).await;
    Ending::ClientProtocol(bad)
}

/// Random bytes, none of them NUL or `$`: clients read the nonce as a C string, and some split at `$`.
fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    let mut at = 0;
    while at < NONCE_BYTES {
        let mut random = [0u8; 2 * NONCE_BYTES];
        // Fails only before the kernel's pool is seeded, and then blocks instead: see getrandom(2).
        let count = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
        for byte in random[..count].iter().map(|byte| byte & 0x7f).filter(|byte| !matches!(byte, 0 | b'$')) {
            if at < NONCE_BYTES {
                nonce[at] = byte;
                at += 1;
            }
        }
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_and_are_c_strings() {
        let (a, b) = (nonce(), nonce());
        assert_ne!(a, b);
        assert!(a.iter().chain(&b).all(|byte| (1..0x80).contains(byte) && *byte != b'$'));
    }
}
