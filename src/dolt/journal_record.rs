//! Owns the shape of a journal's records (`journal.rs` says where it is from).
//! Does no I/O. Always: a root is only taken from a record whose checksum holds.

/// What is needed of a record to know it: more than a whole root record.
pub(super) const HEAD_BYTES: usize = 64;
/// A root record is no longer than this: 31 bytes without a timestamp, 40 with it.
pub(super) const ROOT_BYTES_MAX: usize = 40;
/// Dolt builds records in a buffer of this size.
const RECORD_BYTES_MAX: u64 = 5 * 1024 * 1024;
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
const KIND_ROOT: u8 = 1;
const KIND_CHUNK: u8 = 2;
const TAG_KIND: u8 = 1;
const TAG_ADDRESS: u8 = 2;
const TAG_PAYLOAD: u8 = 3;
const TAG_TIMESTAMP: u8 = 4;

/// What comes next in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole chunk record.
    Chunk { bytes: u64 },
    /// A whole root record.
    Root { bytes: u64, root: [u8; 20] },
    /// No whole record: the end, a record that is being written or was cut off, or padding.
    End,
    /// Something else.
    Unknown,
}

/// Reads the record that begins with `head`: its first 64 bytes, or all that is left; `left` bytes are.
pub(super) fn next(head: &[u8], left: u64) -> Next {
    let Some((length, rest)) = head.split_first_chunk::<LENGTH_BYTES>() else { return Next::End };
    let bytes = u64::from(u32::from_be_bytes(*length));
    if bytes == 0 {
        return Next::End;
    }
    if bytes > RECORD_BYTES_MAX || bytes < (LENGTH_BYTES + CHECKSUM_BYTES) as u64 {
        return Next::Unknown;
    }
    if bytes > left {
        return Next::End;
    }
    let whole = usize::try_from(bytes).ok().and_then(|bytes| head.get(..bytes));
    let fields = match whole {
        Some(whole) => &whole[LENGTH_BYTES..whole.len() - CHECKSUM_BYTES],
        None => rest,
    };
    match read_fields(fields) {
        Some(Fields { kind: KIND_CHUNK, address: Some(_), has_payload: true }) => Next::Chunk { bytes },
        Some(Fields { kind: KIND_ROOT, address: Some(root), has_payload: false }) => match whole {
            Some(whole) if whole.len() <= ROOT_BYTES_MAX && checksum_holds(whole) => {
                Next::Root { bytes, root }
            }
            _ => Next::Unknown,
        },
        _ => Next::Unknown,
    }
}

struct Fields {
    kind: u8,
    address: Option<[u8; 20]>,
    has_payload: bool,
}

/// Fields in any order; the payload is the last one, whatever it holds.
fn read_fields(mut bytes: &[u8]) -> Option<Fields> {
    let mut fields = Fields { kind: 0, address: None, has_payload: false };
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = match *tag {
            TAG_KIND => {
                let (kind, rest) = rest.split_first()?;
                fields.kind = *kind;
                rest
            }
            TAG_ADDRESS => {
                let (address, rest) = rest.split_first_chunk::<20>()?;
                fields.address = Some(*address);
                rest
            }
            TAG_TIMESTAMP => rest.get(8..)?,
            TAG_PAYLOAD => {
                fields.has_payload = true;
                return Some(fields);
            }
            _ => return None,
        };
    }
    Some(fields)
}

fn checksum_holds(record: &[u8]) -> bool {
    record
        .split_last_chunk::<CHECKSUM_BYTES>()
        .is_some_and(|(record, sum)| u32::from_be_bytes(*sum) == crc32c(record))
}

const CRC_TABLE: [u32; 256] = {
    // Castagnoli, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}
