//! The connection phase: greeting, handshake response, authentication switch.
//! Source: MySQL protocol documentation, "Connection Phase".

use std::collections::BTreeMap;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse};
use mysql_common::proto::{MyDeserialize, MySerialize};

use super::{BadFrame, capability};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 20;
/// Longest handshake response that is read: attributes may be 64 KiB, names as much.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1024;
/// The one authentication method served so far.
pub const NATIVE_PASSWORD: &str = "mysql_native_password";

const SSL_REQUEST_BYTES: usize = 32;

/// The server's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Server version string.
    pub version: String,
    /// The connection's id.
    pub connection_id: u32,
    /// Challenge for authentication.
    pub nonce: [u8; NONCE_BYTES],
    /// Offered capability flags.
    pub capabilities: u32,
    /// Default character set.
    pub charset: u8,
    /// Default authentication plugin.
    pub plugin: String,
}

impl Greeting {
    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        let (first, second) = self.nonce.split_at(8);
        let mut scramble_1 = [0; 8];
        scramble_1.copy_from_slice(first);
        let mut scramble_2 = second.to_vec();
        scramble_2.push(0);
        let packet = HandshakePacket::new(
            10,
            self.version.as_bytes(),
            self.connection_id,
            scramble_1,
            Some(scramble_2),
            CapabilityFlags::from_bits_retain(self.capabilities),
            self.charset,
            StatusFlags::empty(),
            Some(self.plugin.as_bytes()),
        );
        let mut out = Vec::with_capacity(128);
        packet.serialize(&mut out);
        // The plugin's name is NUL-terminated on the wire; mysql_common leaves that to the caller.
        if out.last() != Some(&0) {
            out.push(0);
        }
        out
    }

    /// From a payload. By hand: mysql_common computes the nonce's length in an `i8`, which overflows
    /// on bytes that a broken server could send.
    pub fn read(payload: &[u8]) -> Result<Self, BadFrame> {
        const WHAT: BadFrame = BadFrame::Malformed { what: "greeting" };
        let (&protocol, rest) = payload.split_first().ok_or(BadFrame::Empty { what: "greeting" })?;
        if protocol != 10 {
            return Err(WHAT);
        }
        let version_len = rest.iter().position(|b| *b == 0).ok_or(WHAT)?;
        let version = String::from_utf8_lossy(&rest[..version_len]).into_owned();
        let fixed = rest.get(version_len + 1..).ok_or(WHAT)?;
        // id 4, nonce 8, filler 1, low flags 2, charset 1, status 2, high flags 2, nonce length 1, reserved 10
        if fixed.len() < 31 + NONCE_BYTES - 8 {
            return Err(WHAT);
        }
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&fixed[4..12]);
        nonce[8..].copy_from_slice(&fixed[31..31 + NONCE_BYTES - 8]);
        let plugin_at = 31 + usize::from(fixed[20]).saturating_sub(8).max(13);
        let plugin = fixed.get(plugin_at..).unwrap_or_default();
        let plugin = plugin.split(|b| *b == 0).next().unwrap_or_default();
        Ok(Self {
            version,
            connection_id: u32::from_le_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]),
            nonce,
            capabilities: u32::from_le_bytes([fixed[13], fixed[14], fixed[18], fixed[19]]),
            charset: fixed[15],
            plugin: String::from_utf8_lossy(plugin).into_owned(),
        })
    }
}

/// The client's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Capability flags the client uses.
    pub capabilities: u32,
    /// Longest packet it takes; servers ignore it.
    pub max_packet_bytes: u32,
    /// Collation of the connection.
    pub charset: u8,
    /// User name; not UTF-8 is refused.
    pub user: String,
    /// Answer to the nonce.
    pub auth: Vec<u8>,
    /// Database, if named and not empty.
    pub database: Option<String>,
    /// Plugin that `auth` was made with.
    pub plugin: Option<String>,
    /// Connection attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What came as the client's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// It asks for TLS before it says who it is.
    SslRequest,
    /// Its handshake response.
    Response(Box<Response>),
}

impl FirstPacket {
    /// From the payload.
    pub fn read(payload: &[u8]) -> Result<Self, BadFrame> {
        const WHAT: BadFrame = BadFrame::Malformed { what: "handshake response" };
        let flags = payload.first_chunk::<4>().ok_or(WHAT)?;
        let flags = u32::from_le_bytes(*flags);
        if flags & capability::PROTOCOL_41 == 0 {
            return Err(BadFrame::Malformed {
                what: "handshake response: the client does not use protocol 4.1",
            });
        }
        if payload.len() == SSL_REQUEST_BYTES && flags & capability::SSL != 0 {
            return Ok(Self::SslRequest);
        }
        let parsed = HandshakeResponse::deserialize((), &mut ParseBuf(payload)).map_err(|_| WHAT)?;
        let text =
            |bytes: &[u8], what| String::from_utf8(bytes.to_vec()).map_err(|_| BadFrame::Malformed { what });
        Ok(Self::Response(Box::new(Response {
            capabilities: flags,
            max_packet_bytes: u32::from_le_bytes([payload[4], payload[5], payload[6], payload[7]]),
            charset: parsed.collation(),
            user: text(parsed.user(), "handshake response: the user name is not UTF-8")?,
            auth: parsed.scramble_buf().to_vec(),
            database: match parsed.db_name() {
                None | Some(b"") => None,
                Some(name) => Some(text(name, "handshake response: the database name is not UTF-8")?),
            },
            plugin: parsed.auth_plugin().map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned()),
            attributes: parsed.connect_attributes().unwrap_or_default().into_iter().collect(),
        })))
    }
}

impl Response {
    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        let has = |flag| self.capabilities & flag != 0;
        let attributes = has(capability::CONNECT_ATTRS)
            .then(|| self.attributes.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
        let plugin = self.plugin.as_deref().unwrap_or(NATIVE_PASSWORD);
        let packet = HandshakeResponse::new(
            Some(self.auth.as_slice()),
            (8, 0, 33),
            Some(self.user.as_bytes()),
            self.database.as_deref().map(str::as_bytes),
            has(capability::PLUGIN_AUTH).then(|| AuthPlugin::from_bytes(plugin.as_bytes())),
            CapabilityFlags::from_bits_retain(self.capabilities),
            attributes,
            self.max_packet_bytes,
        );
        let mut out = Vec::with_capacity(128);
        packet.serialize(&mut out);
        // mysql_common has a collation of its own choice at this place.
        out[8] = self.charset;
        out
    }
}

/// `AuthSwitchRequest` to mysql_native_password with this nonce.
pub fn auth_switch_payload(nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    let mut data = nonce.to_vec();
    data.push(0);
    let mut out = Vec::with_capacity(64);
    AuthSwitchRequest::new(NATIVE_PASSWORD.as_bytes(), data).serialize(&mut out);
    out
}

/// An `AuthSwitchRequest` of Dolt: the plugin's name and its data.
pub fn read_auth_switch(payload: &[u8]) -> Option<(String, Vec<u8>)> {
    let [super::response::EOF, rest @ ..] = payload else { return None };
    let name_len = rest.iter().position(|b| *b == 0)?;
    let name = String::from_utf8_lossy(&rest[..name_len]).into_owned();
    let data = rest[name_len + 1..].strip_suffix(&[0]).unwrap_or(&rest[name_len + 1..]);
    Some((name, data.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nonce() -> [u8; NONCE_BYTES] {
        *b"abcdefghijklmnopqrst"
    }

    #[test]
    fn greeting_round_trip() {
        let greeting = Greeting {
            version: "8.0.33".into(),
            connection_id: 0x4000_0001,
            nonce: nonce(),
            capabilities: capability::UNDERSTOOD,
            charset: 45,
            plugin: NATIVE_PASSWORD.into(),
        };
        let payload = greeting.payload();
        assert_eq!(Greeting::read(&payload), Ok(greeting));
        for cut in 0..payload.len() - NATIVE_PASSWORD.len() - 2 {
            assert!(Greeting::read(&payload[..cut]).is_err(), "{cut}");
        }
    }

    fn response(user: String, database: Option<String>, attributes: BTreeMap<String, String>) -> Response {
        let mut capabilities = capability::UNDERSTOOD;
        if database.is_none() {
            capabilities &= !capability::CONNECT_WITH_DB;
        }
        Response {
            capabilities,
            max_packet_bytes: 1 << 24,
            charset: 33,
            user,
            auth: vec![1; 20],
            database,
            plugin: Some(NATIVE_PASSWORD.into()),
            attributes,
        }
    }

    proptest! {
        #[test]
        fn response_round_trip(user in "[^\0]{0,40}", database in proptest::option::of("[^\0]{1,40}"),
                               attributes in prop::collection::btree_map("\\PC{0,12}", "\\PC{0,300}", 0..6)) {
            let response = response(user, database, attributes);
            prop_assert_eq!(FirstPacket::read(&response.payload()), Ok(FirstPacket::Response(Box::new(response))));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = FirstPacket::read(&bytes);
            let _ = Greeting::read(&bytes);
            let _ = read_auth_switch(&bytes);
        }

        #[test]
        fn damaged_responses_are_read_or_refused(at in 0usize..200, byte: u8, cut in 0usize..300) {
            let mut payload = response("root".into(), Some("db".into()), [("k".into(), "v".into())].into()).payload();
            let at = at % payload.len();
            payload[at] = byte;
            payload.truncate(cut.max(1));
            let _ = FirstPacket::read(&payload);
        }
    }

    #[test]
    fn auth_switch_round_trip() {
        let payload = auth_switch_payload(&nonce());
        assert_eq!(read_auth_switch(&payload), Some((NATIVE_PASSWORD.to_owned(), nonce().to_vec())));
    }

    #[test]
    fn an_ssl_request_is_told_from_a_response() {
        let mut payload = vec![0; SSL_REQUEST_BYTES];
        payload[..4].copy_from_slice(&(capability::PROTOCOL_41 | capability::SSL).to_le_bytes());
        assert_eq!(FirstPacket::read(&payload), Ok(FirstPacket::SslRequest));
    }
}
