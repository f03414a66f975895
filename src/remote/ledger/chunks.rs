//! Owns reading what a public repository really holds: Dolt's table files and archives, chunk by chunk, decompressed.
//! Does not know what is in a chunk. Always: a file that can't be read whole is an error, so that nothing is taken for
//! searched that was not.
//!
//! Formats: `store/nbs/archive.go` and `store/nbs/table.go` of Dolt. An archive ends with its signature; chunks without a
//! dictionary are in snappy's block format with a checksum of 4 bytes, the others in zstd with that dictionary.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

const ARCHIVE: &[u8] = b"DOLTARC";
const TABLE: [u8; 8] = [0xff, 0xb5, 0xd8, 0xc2, 0x24, 0x63, 0xee, 0x50];
/// Of version 3; those before have an index length that is 4 bytes shorter.
const ARCHIVE_FOOTER: usize = 8 + 4 + 4 + 4 + 3 * 64 + 1 + 7;
const TABLE_FOOTER: usize = 4 + 8 + 8;
const CHECKSUM: usize = 4;
const HASH_PREFIX: usize = 8;
const HASH_SUFFIX: usize = 12;

/// No chunk of Dolt's is larger.
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Calls `found` with each chunk of a file; the number of them. A file of another kind has none.
pub fn each(file: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<usize, String> {
    if file.ends_with(ARCHIVE) {
        return each_of_archive(file, found).ok_or("an archive that is not as Dolt 1.88 writes them")?;
    }
    if file.ends_with(&TABLE) {
        return each_of_table(file, found).ok_or("a table file that is not as Dolt writes them")?;
    }
    Ok(0)
}

fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    usize::try_from(number).ok()
}

fn each_of_archive(file: &[u8], found: &mut dyn FnMut(&[u8])) -> Option<Result<usize, String>> {
    let body = file.len().checked_sub(ARCHIVE_FOOTER)?;
    let footer = &file[body..];
    let version = footer[ARCHIVE_FOOTER - ARCHIVE.len() - 1];
    if !(1..=3).contains(&version) {
        return Some(Err(format!("an archive of version {version}, which is not known")));
    }
    let is_short = version < 3;
    let index_len = if is_short { number(footer, 4, 4)? } else { number(footer, 0, 8)? };
    let (spans, chunks, metadata) = (number(footer, 8, 4)?, number(footer, 12, 4)?, number(footer, 16, 4)?);
    let end = if is_short { body + 4 } else { body }.checked_sub(metadata)?;
    let begin = end.checked_sub(index_len)?;
    let index = &file[begin..end];
    let entry = 8 * spans + chunks * (HASH_PREFIX + 8 + HASH_SUFFIX);
    if entry != index_len {
        return Some(Err("an archive whose index has another length than it says".to_owned()));
    }
    let span = |id: usize| -> Option<&[u8]> {
        let from = if id < 2 { 0 } else { number(index, 8 * (id - 2), 8)? };
        let to = number(index, 8 * id.checked_sub(1)?, 8)?;
        (to <= begin).then(|| file.get(from..to)).flatten()
    };
    let references = 8 * spans + HASH_PREFIX * chunks;
    let mut dictionaries: HashMap<usize, Vec<u8>> = HashMap::new();
    for chunk in 0..chunks {
        let (dictionary, data) =
            (number(index, references + 8 * chunk, 4)?, number(index, references + 8 * chunk + 4, 4)?);
        let data = span(data)?;
        let bytes = match dictionary {
            0 if version > 1 => snappy(data.get(..data.len().checked_sub(CHECKSUM)?)?)?,
            0 => match zstd::bulk::decompress(data, CHUNK_BYTES_MAX) {
                Ok(bytes) => bytes,
                Err(error) => return Some(Err(format!("a chunk of an archive: {error}"))),
            },
            id => {
                let dictionary = match dictionaries.entry(id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        new.insert(zstd::bulk::decompress(span(id)?, CHUNK_BYTES_MAX).ok()?)
                    }
                };
                let decompressor = zstd::bulk::Decompressor::with_dictionary(dictionary);
                match decompressor.and_then(|mut known| known.decompress(data, CHUNK_BYTES_MAX)) {
                    Ok(bytes) => bytes,
                    Err(error) => return Some(Err(format!("a chunk of an archive: {error}"))),
                }
            }
        };
        found(&bytes);
    }
    Some(Ok(chunks))
}

fn each_of_table(file: &[u8], found: &mut dyn FnMut(&[u8])) -> Option<Result<usize, String>> {
    let footer = file.len().checked_sub(TABLE_FOOTER)?;
    let chunks = number(file, footer, 4)?;
    let lengths = footer.checked_sub((HASH_SUFFIX + 4).checked_mul(chunks)?)?;
    let mut at = 0;
    for chunk in 0..chunks {
        let length = number(file, lengths + 4 * chunk, 4)?;
        let data = file.get(at..(at + length).checked_sub(CHECKSUM)?)?;
        found(&snappy(data)?);
        at += length;
    }
    Some(Ok(chunks))
}

/// Snappy's block format. `None`: it is none.
fn snappy(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut take = |count: usize| {
        let (taken, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        Some(taken)
    };
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = take(1)?[0];
        length |= usize::from(byte & 127) << shift;
        shift += 7;
        match byte {
            0..128 => break,
            _ if shift > 28 => return None,
            _ => {}
        }
    }
    if length > CHUNK_BYTES_MAX {
        return None;
    }
    let little =
        |bytes: &[u8]| bytes.iter().rev().fold(0_usize, |number, byte| (number << 8) | usize::from(*byte));
    let mut out: Vec<u8> = Vec::with_capacity(length);
    while out.len() < length {
        let tag = usize::from(take(1)?[0]);
        let (count, offset) = match tag & 3 {
            0 => {
                let count = match tag >> 2 {
                    short @ 0..60 => short,
                    long => little(take(long - 59)?),
                };
                out.extend_from_slice(take(count.checked_add(1)?)?);
                continue;
            }
            1 => (((tag >> 2) & 7) + 4, ((tag >> 5) << 8) | little(take(1)?)),
            2 => ((tag >> 2) + 1, little(take(2)?)),
            _ => ((tag >> 2) + 1, little(take(4)?)),
        };
        let from = out.len().checked_sub(offset).filter(|_| offset > 0)?;
        // It may run into what it writes.
        for at in from..from + count {
            out.push(out[at]);
        }
    }
    (out.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn snappy_literals_and_copies() {
        // Length 11: "abcd", a copy of 4 bytes from 4 back, a copy that runs into itself.
        let mut block = vec![11, 3 << 2];
        block.extend(b"abcd");
        block.extend([1, 4, (2 << 2) | 2, 1, 0]);
        assert_eq!(snappy(&block).as_deref(), Some(&b"abcdabcdddd"[..]));
        for broken in [&block[..7], &[4, 1, 9][..], &[255, 255, 255, 255, 255][..], &[][..]] {
            assert_eq!(snappy(broken), None);
        }
    }

    #[test]
    fn a_table_file() {
        let chunk = [&[5, 4 << 2][..], b"hello", &[0; CHECKSUM]].concat();
        let mut file = chunk.clone();
        file.extend([0; 12]);
        file.extend((chunk.len() as u32).to_be_bytes());
        file.extend([0; HASH_SUFFIX]);
        file.extend(1_u32.to_be_bytes());
        file.extend([0; 8]);
        file.extend(TABLE);
        let mut seen = Vec::new();
        assert_eq!(each(&file, &mut |chunk| seen.push(chunk.to_vec())), Ok(1));
        assert_eq!(seen, [b"hello"]);
        file.remove(0);
        assert!(each(&file, &mut |_| {}).is_err());
        assert_eq!(each(b"5:__DOLT__:x", &mut |_| {}), Ok(0));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..3) {
            let _ = snappy(&bytes);
            match kind {
                0 => bytes.extend(TABLE),
                1 => bytes.extend([&[3][..], ARCHIVE].concat()),
                _ => {}
            }
            let _ = each(&bytes, &mut |_| {});
        }
    }
}
