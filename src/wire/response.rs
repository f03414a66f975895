//! OK, ERR and EOF packets: reading those of Dolt, writing our own.
//! Source: MySQL protocol documentation, "Generic Response Packets".

use super::lenenc;

/// `SERVER_STATUS_IN_TRANS`
pub const STATUS_IN_TRANS: u16 = 0x0001;
/// `SERVER_STATUS_AUTOCOMMIT`
pub const STATUS_AUTOCOMMIT: u16 = 0x0002;
/// `SERVER_MORE_RESULTS_EXISTS`
pub const STATUS_MORE_RESULTS: u16 = 0x0008;
/// `SERVER_STATUS_CURSOR_EXISTS`
pub const STATUS_CURSOR_EXISTS: u16 = 0x0040;
/// `SERVER_STATUS_LAST_ROW_SENT`
pub const STATUS_LAST_ROW_SENT: u16 = 0x0080;

/// First byte of OK.
pub const OK: u8 = 0x00;
/// First byte of EOF, and of the OK that ends a result set under DEPRECATE_EOF.
pub const EOF: u8 = 0xfe;
/// First byte of ERR.
pub const ERR: u8 = 0xff;
/// First byte of a LOCAL INFILE request.
pub const LOCAL_INFILE: u8 = 0xfb;

/// What an OK or EOF says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OkInfo {
    /// Rows changed or found.
    pub affected_rows: u64,
    /// First generated AUTO_INCREMENT value.
    pub insert_id: u64,
    /// Status flags.
    pub status: u16,
    /// Warnings.
    pub warnings: u16,
}

impl OkInfo {
    /// From an OK's payload, its first byte (0x00 or 0xFE) included.
    pub fn read_ok(payload: &[u8]) -> Option<Self> {
        let (affected_rows, a) = lenenc::read_int(payload.get(1..)?)?;
        let (insert_id, b) = lenenc::read_int(payload.get(1 + a..)?)?;
        let rest = payload.get(1 + a + b..)?;
        let [s0, s1, w0, w1] = *rest.first_chunk::<4>()?;
        Some(Self {
            affected_rows,
            insert_id,
            status: u16::from_le_bytes([s0, s1]),
            warnings: u16::from_le_bytes([w0, w1]),
        })
    }

    /// From an EOF's payload.
    pub fn read_eof(payload: &[u8]) -> Option<Self> {
        let [_, w0, w1, s0, s1] = *payload.first_chunk::<5>()?;
        Some(Self {
            status: u16::from_le_bytes([s0, s1]),
            warnings: u16::from_le_bytes([w0, w1]),
            ..Self::default()
        })
    }
}

/// What an ERR says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrInfo {
    /// MySQL's error number.
    pub code: u16,
    /// Five characters, `HY000` if the packet has none.
    pub sqlstate: String,
    /// The text; not UTF-8 is replaced.
    pub message: String,
}

impl ErrInfo {
    /// From an ERR's payload, its first byte 0xFF included.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let [_, c0, c1] = *payload.first_chunk::<3>()?;
        let rest = &payload[3..];
        let (sqlstate, message) = match rest {
            [b'#', state @ ..] if state.len() >= 5 => (&state[..5], &state[5..]),
            _ => (&b"HY000"[..], rest),
        };
        Some(Self {
            code: u16::from_le_bytes([c0, c1]),
            sqlstate: String::from_utf8_lossy(sqlstate).into_owned(),
            message: String::from_utf8_lossy(message).into_owned(),
        })
    }

    /// One of our own.
    pub fn new(code: u16, sqlstate: &str, message: impl Into<String>) -> Self {
        debug_assert_eq!(sqlstate.len(), 5);
        Self { code, sqlstate: sqlstate.to_owned(), message: message.into() }
    }

    /// The payload.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.message.len());
        out.push(ERR);
        out.extend_from_slice(&self.code.to_le_bytes());
        out.push(b'#');
        out.extend_from_slice(self.sqlstate.as_bytes());
        out.extend_from_slice(self.message.as_bytes());
        out
    }
}

impl std::fmt::Display for ErrInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ERROR {} ({}): {}", self.code, self.sqlstate, self.message)
    }
}

/// An OK's payload.
pub fn ok_payload(info: OkInfo) -> Vec<u8> {
    let mut out = vec![OK];
    lenenc::write_int(&mut out, info.affected_rows);
    lenenc::write_int(&mut out, info.insert_id);
    out.extend_from_slice(&info.status.to_le_bytes());
    out.extend_from_slice(&info.warnings.to_le_bytes());
    out
}

/// An EOF's payload, for clients without DEPRECATE_EOF.
pub fn eof_payload(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![EOF, 0, 0, low, high]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ok_round_trip(affected_rows: u64, insert_id: u64, status: u16, warnings: u16) {
            let info = OkInfo { affected_rows, insert_id, status, warnings };
            prop_assert_eq!(OkInfo::read_ok(&ok_payload(info)), Some(info));
        }

        #[test]
        fn err_round_trip(code: u16, message in "\\PC*") {
            let err = ErrInfo::new(code, "42000", message);
            prop_assert_eq!(ErrInfo::read(&err.payload()), Some(err));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = OkInfo::read_ok(&bytes);
            let _ = OkInfo::read_eof(&bytes);
            let _ = ErrInfo::read(&bytes);
        }
    }
}
