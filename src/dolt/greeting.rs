//! Owns reading Dolt's greeting from a raw connection: what Dolt says before anybody has logged in.
//! Does not log in. Always: bounded in time and bytes; bits that we have no name for are kept.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};

use super::{Endpoint, Greeting};

/// A greeting has about 80 bytes.
const GREETING_BYTES_MAX: usize = 4096;
const PROTOCOL_10: u8 = 10;
const ERR: u8 = 0xff;

/// Connects, reads the first packet, closes.
pub(super) async fn read(endpoint: &Endpoint, timeout: Duration) -> Result<Greeting, String> {
    let read = async {
        let io = |error: std::io::Error| format!("cannot read Dolt's greeting: {error}");
        match (&endpoint.socket, endpoint.tcp) {
            (Some(socket), _) => first_packet(UnixStream::connect(socket).await.map_err(io)?).await,
            (None, Some(address)) => first_packet(TcpStream::connect(address).await.map_err(io)?).await,
            (None, None) => Err("nowhere to connect to".into()),
        }
    };
    let packet = tokio::time::timeout(timeout, read)
        .await
        .map_err(|_| format!("no greeting from Dolt within {} s", timeout.as_secs_f32()))??;
    parse(&packet)
}

async fn first_packet(mut stream: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let io = |error: std::io::Error| format!("cannot read Dolt's greeting: {error}");
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.map_err(io)?;
    let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    if length > GREETING_BYTES_MAX {
        return Err(format!("a greeting of {length} bytes is no MySQL greeting"));
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await.map_err(io)?;
    Ok(packet)
}

/// Protocol::HandshakeV10.
fn parse(packet: &[u8]) -> Result<Greeting, String> {
    let short = || "Dolt's greeting is cut short".to_string();
    match packet.first() {
        Some(&PROTOCOL_10) => {}
        // Code, text: before the greeting there is no SQLSTATE.
        Some(&ERR) => {
            let text = String::from_utf8_lossy(packet.get(3..).unwrap_or_default()).into_owned();
            return Err(format!("Dolt refuses connections: {text}"));
        }
        Some(other) => return Err(format!("protocol version {other} instead of {PROTOCOL_10}")),
        None => return Err(short()),
    }
    let rest = &packet[1..];
    let end = rest.iter().position(|byte| *byte == 0).ok_or_else(short)?;
    let version = String::from_utf8_lossy(&rest[..end]).into_owned();
    // Connection id (4), nonce (8), filler (1), then what we want.
    let rest = rest.get(end + 1 + 4 + 8 + 1..).ok_or_else(short)?;
    let [low0, low1, charset, _, _, high0, high1, ..] = *rest else { return Err(short()) };
    Ok(Greeting { version, capabilities: u32::from_le_bytes([low0, low1, high0, high1]), charset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Vec<u8> {
        let mut packet = b"\x0a8.0.33\0".to_vec();
        packet.extend([1, 0, 0, 0]);
        packet.extend(b"12345678\0");
        packet.extend([0x8f, 0xa2, 255, 2, 0, 0xbb, 0x81]);
        packet
    }

    #[test]
    fn reads_version_capabilities_and_charset() {
        let want = Greeting { version: "8.0.33".into(), capabilities: 0x81bb_a28f, charset: 255 };
        assert_eq!(parse(&greeting()), Ok(want));
    }

    #[test]
    fn every_cut_is_an_error() {
        let whole = greeting();
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(parse(b"\x09old\0").is_err());
        let refused = parse(b"\xff\x10\x04Too many connections").expect_err("refused");
        assert!(refused.contains("Too many connections"), "{refused}");
    }
}
