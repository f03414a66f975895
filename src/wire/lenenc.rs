//! Length-encoded integers and strings.
//! Source: MySQL protocol documentation, "Protocol::LengthEncodedInteger".

/// Reads an integer; returns it and the bytes it took. `None` if `bytes` ends first or the first byte
/// is 0xFB (NULL) or 0xFF (ERR), which are not integers.
pub fn read_int(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => return Some((u64::from(first), 1)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let mut le = [0u8; 8];
    le.get_mut(..width)?.copy_from_slice(rest.get(..width)?);
    Some((u64::from_le_bytes(le), 1 + width))
}

/// Appends an integer in its shortest form.
pub fn write_int(out: &mut Vec<u8>, value: u64) {
    let le = value.to_le_bytes();
    match value {
        0..=0xfa => out.push(le[0]),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&le[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&le[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&le);
        }
    }
}

/// Appends a length-encoded string.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a string; returns it and the bytes it took with its length.
pub fn read_bytes(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (len, width) = read_int(bytes)?;
    let end = width.checked_add(usize::try_from(len).ok()?)?;
    Some((bytes.get(width..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges() {
        for (value, width) in [
            (0, 1),
            (250, 1),
            (251, 3),
            (0xffff, 3),
            (0x10000, 4),
            (0xff_ffff, 4),
            (0x100_0000, 9),
            (u64::MAX, 9),
        ] {
            let mut out = Vec::new();
            write_int(&mut out, value);
            assert_eq!(out.len(), width);
            assert_eq!(read_int(&out), Some((value, width)));
            assert_eq!(read_int(&out[..width - 1]), None);
        }
        assert_eq!(read_int(&[0xfb]), None);
        assert_eq!(read_int(&[0xff, 0, 0]), None);
        assert_eq!(read_bytes(&[3, b'a', b'b']), None);
        assert_eq!(read_bytes(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }

    proptest! {
        #[test]
        fn round_trip(value: u64, tail: Vec<u8>) {
            let mut out = Vec::new();
            write_int(&mut out, value);
            let width = out.len();
            out.extend(tail);
            prop_assert_eq!(read_int(&out), Some((value, width)));
        }
    }
}
