//! Owns looking for many texts in many bytes at once. Does not know what they are. Always: a text that stands in one piece
//! in what was searched is found; a long one also if it was cut where Dolt cuts long texts.

use std::collections::{BTreeSet, HashMap};

/// Texts that are shorter are in too many places by chance.
pub const TEXT_BYTES_MIN: usize = 9;
/// What a text is found by.
const KEY_BYTES: usize = 8;
/// Long texts are looked for in pieces of this length.
const PIECE_BYTES: usize = 48;
/// At most so many of one text, spread over it.
const PIECES_MAX: usize = 16;

/// Texts to look for.
#[derive(Debug, Default)]
pub struct Texts {
    /// What each text is called.
    names: Vec<String>,
    pieces: Vec<(Vec<u8>, usize)>,
    by_key: HashMap<[u8; KEY_BYTES], Vec<usize>>,
}

impl Texts {
    /// One more, called so in what is found. Too short ones are left out.
    pub fn add(&mut self, text: &[u8], name: &str) {
        if text.len() < TEXT_BYTES_MIN {
            return;
        }
        let id = self.names.len();
        self.names.push(name.to_owned());
        let count = (text.len() / PIECE_BYTES).clamp(1, PIECES_MAX);
        let length = if count == 1 { text.len().min(2 * PIECE_BYTES) } else { PIECE_BYTES };
        let step = if count == 1 { 0 } else { (text.len() - length) / (count - 1) };
        for at in 0..count {
            let piece = text[at * step..at * step + length].to_vec();
            let Some(key) = piece.first_chunk::<KEY_BYTES>() else { continue };
            self.by_key.entry(*key).or_default().push(self.pieces.len());
            self.pieces.push((piece, id));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The pieces that stand in `bytes`.
    pub fn pieces_in(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(KEY_BYTES - 1) {
            let Some(key) = bytes[at..].first_chunk::<KEY_BYTES>() else { break };
            let Some(pieces) = self.by_key.get(key) else { continue };
            found.extend(pieces.iter().filter(|piece| bytes[at..].starts_with(&self.pieces[**piece].0)));
        }
        found
    }

    /// Without those pieces: they stand in what may be seen.
    pub fn forget(&mut self, pieces: &BTreeSet<usize>) {
        for known in self.by_key.values_mut() {
            known.retain(|piece| !pieces.contains(piece));
        }
        self.by_key.retain(|_, known| !known.is_empty());
    }

    /// What the text of a piece is called.
    pub fn name(&self, piece: usize) -> &str {
        &self.names[self.pieces[piece].1]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_found_wherever_they_stand_and_however_they_are_cut() {
        let mut texts = Texts::default();
        texts.add(b"a secret text", "one");
        texts.add(b"short", "too short");
        let long: Vec<u8> = (0..5000_u32).flat_map(|n| n.to_be_bytes()).collect();
        texts.add(&long, "long");
        assert_eq!(texts.len(), 2);
        let found = |bytes: &[u8]| -> BTreeSet<String> {
            texts.pieces_in(bytes).into_iter().map(|piece| texts.name(piece).to_owned()).collect()
        };
        assert_eq!(found(b"\0\0a secret text"), BTreeSet::from(["one".to_owned()]));
        assert_eq!(found(b"a secret tex"), BTreeSet::new());
        assert_eq!(found(&long[7000..12_000]), BTreeSet::from(["long".to_owned()]));
    }

    #[test]
    fn what_may_be_seen_is_no_secret() {
        let mut texts = Texts::default();
        texts.add(b"published and open", "a");
        texts.add(b"only in an open one", "b");
        let seen = texts.pieces_in(b"this was published and open too");
        texts.forget(&seen);
        let found = texts.pieces_in(b"published and open, only in an open one");
        assert_eq!(found.into_iter().map(|piece| texts.name(piece)).collect::<Vec<_>>(), ["b"]);
    }

    proptest! {
        #[test]
        fn one_piece_is_always_found(
            text in proptest::collection::vec(any::<u8>(), TEXT_BYTES_MIN..300),
            before in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut texts = Texts::default();
            texts.add(&text, "it");
            let whole = [&before[..], &text, &before].concat();
            prop_assert!(!texts.pieces_in(&whole).is_empty());
        }
    }
}
