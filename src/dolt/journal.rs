//! Owns reading a database's root hash from its files: the last root record of the journal, else the manifest.
//! Does not write, lock or ask Dolt, and does not interpret chunks.
//! Always: a root that is given was the database's root at some moment of the call; what is not understood
//! gives none. An equal root means equal refs and working sets, whoever wrote between.
//!
//! Format (Dolt's `nbs/journal_record.go`): records `length u32, (tag u8, field)…, crc32c u32`, big endian, of
//! two kinds, chunk and root hash; only whole records count, and zeros after them are padding. Dolt appends the
//! root record of a commit last, and answers the client after it is synced. A GC writes the root to the
//! manifest and removes the journal; the next write begins a new one.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::journal_record::{self as record, Next};

/// The journal's name in a database's noms directory: 32 `v`.
pub const JOURNAL: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
const NOMS: &str = ".dolt/noms";
const MANIFEST: &str = "manifest";
/// Bytes read at once. A record that reaches further is skipped by its length.
const WINDOW_BYTES: usize = 16 * 1024;
/// Manifests list table files: far fewer than this.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// How often a GC may replace the files under one look.
const LOOKS_MAX: usize = 3;

/// The hash of a database's root: of all its refs and working sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootHash([u8; 20]);

impl RootHash {
    /// From its bytes.
    pub fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// From Dolt's base 32, 32 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits: u64 = 0;
        let mut count = 0;
        let mut bytes = [0; 20];
        let mut filled = bytes.iter_mut();
        if text.len() != 32 {
            return None;
        }
        for character in text.bytes() {
            let value = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'v' => character - b'a' + 10,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
            count += 5;
            if count >= 8 {
                count -= 8;
                *filled.next()? = (bits >> count & 0xff) as u8;
            }
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for five in self.0.chunks_exact(5) {
            let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for at in (0..8).rev() {
                let value = (bits >> (at * 5) & 31) as u8;
                let character = if value < 10 { b'0' + value } else { b'a' + value - 10 };
                write!(f, "{}", char::from(character))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where reading of one journal has come to.
#[derive(Debug, Default)]
pub struct JournalCursor {
    /// Device and inode of the file.
    file: Option<(u64, u64)>,
    /// End of the last whole record.
    offset: u64,
    /// Bytes and place of the last root record: the same file still has them there.
    anchor: Option<(u64, Vec<u8>)>,
    root: Option<RootHash>,
    moves: u64,
    window: Window,
}

impl JournalCursor {
    /// Reads what was appended since the last time; all of it when the file is another one, or was cut. `None`: it
    /// holds no root record yet, or something that is not understood.
    pub fn advance(&mut self, path: &Path) -> io::Result<Option<RootHash>> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        self.read(&file, (meta.dev(), meta.ino()), meta.size())
    }

    /// How often a root record has named another root than the one before, in the files read so far.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    fn read(&mut self, file: &impl FileAt, id: (u64, u64), size: u64) -> io::Result<Option<RootHash>> {
        self.window.forget();
        if self.file != Some(id) || size < self.offset || !self.is_anchored(file, size)? {
            let window = std::mem::take(&mut self.window);
            *self = Self { file: Some(id), moves: self.moves, window, ..Self::default() };
        }
        let is_understood = self.scan(file, size)?;
        Ok(self.root.filter(|_| is_understood))
    }

    /// An inode may be given to a new journal, which a size can't tell from the old one. What was appended since
    /// mostly comes with the same read.
    fn is_anchored(&mut self, file: &impl FileAt, size: u64) -> io::Result<bool> {
        let Some((at, bytes)) = &self.anchor else { return Ok(self.offset == 0) };
        let there = self.window.get(file, *at, bytes.len(), size)?;
        Ok(there.is_some_and(|there| there.get(..bytes.len()) == Some(bytes)))
    }

    /// Goes over all whole records up to `size`; false at something that is not understood.
    fn scan(&mut self, file: &impl FileAt, size: u64) -> io::Result<bool> {
        loop {
            let left = size - self.offset;
            if left == 0 {
                return Ok(true);
            }
            let Some(head) = self.window.get(file, self.offset, record::HEAD_BYTES, size)? else {
                // Cut under our eyes: not to be understood this time.
                return Ok(false);
            };
            match record::next(head, left) {
                Next::Chunk { bytes } => self.offset += bytes,
                Next::Root { bytes, root } => {
                    let root = RootHash(root);
                    self.anchor = Some((self.offset, head[..bytes as usize].to_vec()));
                    self.moves += u64::from(self.root != Some(root));
                    self.root = Some(root);
                    self.offset += bytes;
                }
                Next::End => return Ok(true),
                Next::Unknown => return Ok(false),
            }
        }
    }
}

/// A part of the file, as it was at one moment of this look.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    begin: u64,
    end: u64,
}

impl Window {
    fn forget(&mut self) {
        (self.begin, self.end) = (0, 0);
    }

    /// `wanted` bytes from `at` on, or all up to `size`; `None` if they are gone.
    fn get(&mut self, file: &impl FileAt, at: u64, wanted: usize, size: u64) -> io::Result<Option<&[u8]>> {
        let wanted = (wanted as u64).min(size.saturating_sub(at));
        if at < self.begin || at + wanted > self.end {
            let length = (size.saturating_sub(at)).min(WINDOW_BYTES as u64) as usize;
            self.forget();
            self.bytes.resize(WINDOW_BYTES, 0);
            match file.read_exact_at(&mut self.bytes[..length], at) {
                Ok(()) => (self.begin, self.end) = (at, at + length as u64),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let from = (at - self.begin) as usize;
        Ok(Some(&self.bytes[from..from + wanted as usize]))
    }
}

/// Reading at a place, so that tests need no file.
trait FileAt {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl FileAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

/// The root in a manifest: `5:noms version:lock:root:…`, `4:noms version:lock:root:…`.
fn manifest_root(text: &str) -> Option<RootHash> {
    let mut fields = text.split(':');
    let version = fields.next()?;
    if !matches!(version, "4" | "5") || fields.next()?.is_empty() {
        return None;
    }
    RootHash::parse(fields.next()?)?;
    RootHash::parse(fields.next()?)
}

/// The roots of a data directory's databases; cheap to clone. Each call reads from the page cache and blocks
/// for as long as that takes: microseconds, unless very much was appended since the last one.
#[derive(Debug, Clone)]
pub struct Journals {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    databases: Mutex<HashMap<String, Arc<Database>>>,
}

#[derive(Debug)]
struct Database {
    noms: PathBuf,
    cursor: Mutex<JournalCursor>,
}

impl Journals {
    /// Of the databases in this directory.
    pub fn new(data_dir: &Path) -> Self {
        let shared = Shared { data_dir: data_dir.to_owned(), databases: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The root of a database now; case of its name does not matter. `None`: not known.
    pub fn root(&self, database: &str) -> Option<RootHash> {
        let (key, found) = self.database(database)?;
        let root = found.root();
        match root {
            Ok(root) => root,
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    // Dropped: another one of this name may be in another directory.
                    self.databases().remove(&key);
                } else {
                    tracing::warn!(%error, database, "cannot read the journal");
                }
                None
            }
        }
    }

    fn databases(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Database>>> {
        self.shared.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self, name: &str) -> Option<(String, Arc<Database>)> {
        let key = name.to_lowercase();
        if let Some(known) = self.databases().get(&key) {
            let known = Arc::clone(known);
            return Some((key, known));
        }
        let noms = self.directory(name)?.join(NOMS);
        let new = Arc::new(Database { noms, cursor: Mutex::default() });
        let known = Arc::clone(self.databases().entry(key.clone()).or_insert(new));
        Some((key, known))
    }

    /// The directory of a database: as Dolt does, by its name in any case.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return None;
        }
        let data_dir = &self.shared.data_dir;
        let exact = data_dir.join(name);
        if exact.join(NOMS).is_dir() {
            return Some(exact);
        }
        let mut others = std::fs::read_dir(data_dir).ok()?.filter_map(Result::ok).filter(|entry| {
            let is_same =
                entry.file_name().to_str().is_some_and(|is| is.to_lowercase() == name.to_lowercase());
            is_same && entry.path().join(NOMS).is_dir()
        });
        let found = others.next()?.path();
        // Two that differ in case only: which one Dolt means is not known.
        others.next().is_none().then_some(found)
    }
}

impl Database {
    fn root(&self) -> io::Result<Option<RootHash>> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let journal = self.noms.join(JOURNAL);
        for _ in 0..LOOKS_MAX {
            match cursor.advance(&journal) {
                Ok(Some(root)) => return Ok(Some(root)),
                // Created this moment, before the first root record went in.
                Ok(None) if cursor.offset == 0 => {}
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let manifest = read_small(&self.noms.join(MANIFEST))?;
            // A journal that was begun meanwhile knows better.
            let is_there = std::fs::metadata(&journal).is_ok_and(|meta| meta.size() > 0);
            if !is_there {
                return Ok(manifest_root(&manifest));
            }
        }
        Ok(None)
    }
}

fn read_small(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    File::open(path)?.take(MANIFEST_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
