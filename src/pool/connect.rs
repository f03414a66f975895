//! Opening a backend: connect, greet, log in as the client's account.

use std::io;
use std::time::Duration;

use super::backend::Backend;
use crate::accounts::{BackendHost, Stage1, native};
use crate::dolt::Ready;
use crate::net::{Inbox, Stream};
use crate::wire::frame::{HEADER_BYTES, Header, write_packet};
use crate::wire::handshake::{
    Greeting, NATIVE_PASSWORD, NONCE_BYTES, RESPONSE_BYTES_MAX, Response, read_auth_switch,
};
use crate::wire::response::{self, ErrInfo};
use crate::wire::{BadFrame, capability};

/// A Dolt that accepts but does not greet is wedged; the supervisor's probes will find out too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Dolt's refusal repeats the name that it refuses, which may be as long as the client's whole response.
const LOGIN_PACKET_BYTES_MAX: usize = RESPONSE_BYTES_MAX + 64 * 1024;
const MAX_PACKET_BYTES: u32 = 1 << 30;

/// As whom, and how, to log in.
#[derive(Debug, Clone)]
pub struct BackendLogin {
    /// User name for Dolt.
    pub user: String,
    /// The account's secret.
    pub stage1: Stage1,
    /// Which way makes Dolt take us for the same account.
    pub host: BackendHost,
    /// The client's capability flags.
    pub capabilities: u32,
    /// The client's collation.
    pub charset: u8,
    /// Database as the client named it.
    pub database: Option<String>,
}

/// Why a backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Dolt refused the login: its own words.
    #[error("{0}")]
    Refused(ErrInfo),
    /// No connection.
    #[error("cannot connect to Dolt: {0}")]
    Io(#[from] io::Error),
    /// Dolt did not finish the handshake in time.
    #[error("Dolt did not answer a login within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// Not the protocol.
    #[error("Dolt's handshake is malformed: {0}")]
    Protocol(#[from] BadFrame),
    /// Dolt wants an authentication method that can't be passed on.
    #[error("Dolt asks for authentication by {0}, which Branchline cannot pass on")]
    Plugin(String),
    /// There is no way of this kind to this Dolt.
    #[error("this Dolt has no {0}, which the account needs")]
    NoWay(&'static str),
}

/// Opens a backend within the time limit.
pub async fn connect(ready: &Ready, login: &BackendLogin) -> Result<Backend, ConnectError> {
    tokio::time::timeout(CONNECT_TIMEOUT, log_in(ready, login)).await.map_err(|_| ConnectError::Timeout)?
}

async fn log_in(ready: &Ready, login: &BackendLogin) -> Result<Backend, ConnectError> {
    let mut stream = open(ready, login.host).await?;
    let mut inbox = Inbox::new();
    let (payload, _) = read_packet(&mut stream, &mut inbox).await?;
    if payload.first() == Some(&response::ERR) {
        return Err(refused(&payload));
    }
    let greeting = Greeting::read(&payload)?;
    let mut capabilities = login.capabilities & greeting.capabilities & capability::UNDERSTOOD;
    // Dolt throws attributes away: not worth their bytes.
    capabilities &= !(capability::CONNECT_ATTRS | capability::CONNECT_WITH_DB);
    capabilities |= capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::PLUGIN_AUTH;
    if login.database.is_some() {
        capabilities |= capability::CONNECT_WITH_DB;
    }
    let response = Response {
        capabilities,
        max_packet_bytes: MAX_PACKET_BYTES,
        charset: login.charset,
        user: login.user.clone(),
        auth: if greeting.plugin == NATIVE_PASSWORD {
            native::answer(&greeting.nonce, &login.stage1)
        } else {
            Vec::new()
        },
        database: login.database.clone(),
        plugin: Some(NATIVE_PASSWORD.to_owned()),
        attributes: Default::default(),
    };
    send_packet(&mut stream, 1, &response.payload()).await?;
    loop {
        let (payload, seq) = read_packet(&mut stream, &mut inbox).await?;
        match payload.first() {
            Some(&response::OK) => break,
            Some(&response::ERR) => return Err(refused(&payload)),
            Some(&response::EOF) => {
                let (plugin, data) = read_auth_switch(&payload)
                    .ok_or(BadFrame::Malformed { what: "authentication switch" })?;
                if plugin != NATIVE_PASSWORD || data.len() != NONCE_BYTES {
                    return Err(ConnectError::Plugin(plugin));
                }
                send_packet(&mut stream, seq.wrapping_add(1), &native::answer(&data, &login.stage1)).await?;
            }
            _ => return Err(BadFrame::Malformed { what: "login reply" }.into()),
        }
    }
    inbox.release();
    Ok(Backend {
        stream,
        inbox,
        id: greeting.connection_id,
        deprecate_eof: capabilities & capability::DEPRECATE_EOF != 0,
        generation: ready.generation,
    })
}

async fn open(ready: &Ready, host: BackendHost) -> Result<Stream, ConnectError> {
    let endpoint = &ready.endpoint;
    match (host, &endpoint.socket, endpoint.tcp) {
        (BackendHost::Socket, Some(path), _) => Ok(Stream::connect_unix(path).await?),
        // Somebody else's server may have no socket that we can reach.
        (BackendHost::Socket | BackendHost::Loopback, _, Some(address)) => {
            Ok(Stream::connect_tcp(address).await?)
        }
        (BackendHost::Loopback, _, None) => Err(ConnectError::NoWay("TCP address")),
        (BackendHost::Socket, None, None) => Err(ConnectError::NoWay("address")),
    }
}

async fn send_packet(stream: &mut Stream, seq: u8, payload: &[u8]) -> Result<(), ConnectError> {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    write_packet(&mut out, seq, payload);
    Ok(stream.send(&out).await?)
}

async fn read_packet(stream: &mut Stream, inbox: &mut Inbox) -> Result<(Vec<u8>, u8), ConnectError> {
    loop {
        if let Some(header) = Header::read(inbox.bytes()) {
            if header.len > LOGIN_PACKET_BYTES_MAX {
                let (bytes, bytes_max) = (header.len, LOGIN_PACKET_BYTES_MAX);
                return Err(BadFrame::TooLong { bytes, bytes_max, phase: "login to Dolt" }.into());
            }
            if let Some(payload) = inbox.bytes().get(HEADER_BYTES..HEADER_BYTES + header.len) {
                let payload = payload.to_vec();
                inbox.consume(HEADER_BYTES + header.len);
                return Ok((payload, header.seq));
            }
        }
        if inbox.fill(stream).await? == 0 {
            // So Dolt shows that max_connections is reached (facts-dolt.md).
            let text =
                "Dolt closed the connection during login (it does so when its max_connections is reached)";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
        }
    }
}

fn refused(payload: &[u8]) -> ConnectError {
    match ErrInfo::read(payload) {
        Some(err) => ConnectError::Refused(err),
        None => BadFrame::Malformed { what: "ERR" }.into(),
    }
}
