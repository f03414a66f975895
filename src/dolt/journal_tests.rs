use std::io::Write;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn root_record(root: u8) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 40, 1, 1, 4];
    record.extend([0, 0, 0, 0, 0x69, 0, 0, root]);
    record.push(2);
    record.extend([root; 20]);
    record.extend(record::crc32c(&record).to_be_bytes());
    record
}

/// As Dolt wrote them before roots had a timestamp.
fn old_root_record(root: u8) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 31, 1, 1, 2];
    record.extend([root; 20]);
    record.extend(record::crc32c(&record).to_be_bytes());
    record
}

fn chunk_record(payload: &[u8]) -> Vec<u8> {
    let mut record = (payload.len() as u32 + 32).to_be_bytes().to_vec();
    record.extend([1, 2, 2]);
    record.extend([0xab; 20]);
    record.push(3);
    record.extend(payload);
    record.extend(record::crc32c(&record).to_be_bytes());
    record
}

fn hash(root: u8) -> Option<RootHash> {
    Some(RootHash([root; 20]))
}

impl FileAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = offset as usize;
        let bytes = self.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

fn read(cursor: &mut JournalCursor, bytes: &[u8]) -> Option<RootHash> {
    cursor.read(&bytes.to_vec(), (1, 1), bytes.len() as u64).expect("no I/O error")
}

#[test]
fn crc32c_is_castagnolis() {
    assert_eq!(record::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn hashes_are_read_and_shown_as_dolt_does() {
    let text = "0123456789abcdefghijklmnopqrstuv";
    let root = RootHash::parse(text).expect("a hash");
    assert_eq!(root.to_string(), text);
    assert_eq!(root.0[..3], [0x00, 0x44, 0x32]);
    for wrong in ["", "0123456789abcdefghijklmnopqrstuw", "0123456789ABCDEFGHIJKLMNOPQRSTUV", &text[1..]] {
        assert_eq!(RootHash::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_manifest_names_the_root() {
    let (lock, root) = ("0".repeat(32), "1".repeat(32));
    let want = RootHash::parse(&root);
    assert!(want.is_some());
    for (text, want) in [
        (format!("5:__DOLT__:{lock}:{root}:{lock}:{JOURNAL}:12"), want),
        (format!("4:7.18:{lock}:{root}:{lock}:3"), want),
        (format!("6:__DOLT__:{lock}:{root}:{lock}"), None),
        (format!("5:__DOLT__:{lock}"), None),
        (format!("5:__DOLT__:{lock}:short:{lock}"), None),
        (String::new(), None),
    ] {
        assert_eq!(manifest_root(&text), want, "{text}");
    }
}

#[test]
fn the_last_whole_root_record_counts() {
    let (a, b, chunk) = (root_record(1), root_record(2), chunk_record(&[7; 100]));
    let big = chunk_record(&vec![9; 100_000]);
    let mut damaged = root_record(3);
    damaged[20] ^= 1;
    let fake = chunk_record(&root_record(9));
    for (what, parts, want) in [
        ("nothing", vec![], None),
        ("chunks only", vec![&chunk[..], &chunk[..]], None),
        ("one root", vec![&a[..]], hash(1)),
        ("an old one", vec![&old_root_record(4)[..]], hash(4)),
        ("chunks behind it", vec![&a[..], &chunk[..], &big[..]], hash(1)),
        ("the last", vec![&a[..], &chunk[..], &b[..]], hash(2)),
        ("over a chunk longer than the window", vec![&a[..], &big[..], &b[..]], hash(2)),
        ("a chunk that holds a root record", vec![&a[..], &fake[..]], hash(1)),
        ("padding", vec![&a[..], &[0; 9000][..]], hash(1)),
        ("three bytes", vec![&a[..], &b[..3]], hash(1)),
        ("a record that is being written", vec![&a[..], &b[..39]], hash(1)),
        ("a chunk that is being written", vec![&a[..], &big[..50_000]], hash(1)),
        ("a wrong checksum", vec![&a[..], &damaged[..]], None),
        ("an unknown kind", vec![&a[..], &[0, 0, 0, 10, 1, 3, 0, 0, 0, 0][..]], None),
        ("an unknown tag", vec![&a[..], &[0, 0, 0, 10, 7, 1, 0, 0, 0, 0][..]], None),
        ("no record is so short", vec![&a[..], &[0, 0, 0, 3, 1, 1, 2][..]], None),
        ("no record is so long", vec![&a[..], &[1, 0, 0, 0, 1, 2, 2][..]], None),
    ] {
        assert_eq!(read(&mut JournalCursor::default(), &parts.concat()), want, "{what}");
    }
}

#[test]
fn a_cursor_reads_on_and_starts_over() {
    let mut cursor = JournalCursor::default();
    let mut file = root_record(1);
    assert_eq!(read(&mut cursor, &file), hash(1));
    file.extend(chunk_record(&[5; 2000]));
    assert_eq!(read(&mut cursor, &file), hash(1));
    // Dolt repeats the root when much was written without one: that moves nothing.
    file.extend(root_record(1));
    assert_eq!((read(&mut cursor, &file), cursor.moves()), (hash(1), 1));
    let whole = file.len();
    file.extend(root_record(2));
    assert_eq!(read(&mut cursor, &file[..whole + 10]), hash(1));
    assert_eq!((read(&mut cursor, &file), cursor.moves()), (hash(2), 2));
    // Cut off after a crash, and written on.
    file.truncate(whole);
    assert_eq!(read(&mut cursor, &file), hash(1));
    // Another journal of the same inode, as long as the old one and longer.
    let another = [chunk_record(&vec![6; whole]), root_record(8)].concat();
    assert_eq!(read(&mut cursor, &another), hash(8));
    // Another inode.
    let id = (1, 2);
    let file = root_record(3);
    assert_eq!(cursor.read(&file, id, file.len() as u64).expect("no I/O error"), hash(3));
}

#[test]
fn what_is_not_understood_may_be_later() {
    let mut cursor = JournalCursor::default();
    let good = [root_record(1), root_record(2)].concat();
    let mut bad = good.clone();
    bad[60] ^= 1;
    assert_eq!(read(&mut cursor, &bad), None);
    assert_eq!(read(&mut cursor, &good), hash(2));
}

#[test]
fn a_database_without_a_journal_has_its_manifest() {
    let data = tempfile::tempdir().expect("temp dir");
    let noms = data.path().join("Town/.dolt/noms");
    std::fs::create_dir_all(&noms).expect("made");
    let journals = Journals::new(data.path());
    assert_eq!(journals.root("Town"), None);
    let (lock, root) = ("0".repeat(32), "1".repeat(32));
    std::fs::write(noms.join(MANIFEST), format!("5:__DOLT__:{lock}:{root}:{lock}")).expect("written");
    assert_eq!(journals.root("town"), RootHash::parse(&root));
    std::fs::write(noms.join(JOURNAL), []).expect("written");
    assert_eq!(journals.root("Town"), RootHash::parse(&root), "a journal just begun");
    std::fs::write(noms.join(JOURNAL), root_record(7)).expect("written");
    assert_eq!(journals.root("TOWN"), hash(7));
    for name in ["", ".", "..", "Town/x", "no-such"] {
        assert_eq!(journals.root(name), None, "{name}");
    }
    std::fs::remove_dir_all(data.path().join("Town")).expect("dropped");
    assert_eq!(journals.root("Town"), None);
}

/// Not a bound that a busy machine breaks: the figures are printed, and the bound is a hundred times the goal.
#[test]
fn looking_is_cheap() {
    let data = tempfile::tempdir().expect("temp dir");
    let noms = data.path().join("d/.dolt/noms");
    std::fs::create_dir_all(&noms).expect("made");
    let mut file = File::create(noms.join(JOURNAL)).expect("made");
    let journals = Journals::new(data.path());
    let append = |file: &mut File, bytes: usize, root: u8| {
        let chunk = chunk_record(&[3; 4000]);
        let mut out = Vec::with_capacity(bytes + 5000);
        while out.len() < bytes {
            out.extend(&chunk);
        }
        out.extend(root_record(root));
        file.write_all(&out).expect("written");
    };
    append(&mut file, 4000, 1);
    assert_eq!(journals.root("d"), hash(1));
    let looks = |root: u8| {
        let begun = Instant::now();
        for _ in 0..1000 {
            assert_eq!(journals.root("d"), hash(root));
        }
        begun.elapsed() / 1000
    };
    let unchanged = looks(1);
    let mut spent = std::time::Duration::ZERO;
    for at in 0..200_u8 {
        append(&mut file, 20_000, at);
        let begun = Instant::now();
        assert_eq!(journals.root("d"), hash(at));
        spent += begun.elapsed();
    }
    let small = spent / 200;
    append(&mut file, 50 << 20, 77);
    let begun = Instant::now();
    assert_eq!(journals.root("d"), hash(77));
    let large = begun.elapsed();
    println!("unchanged {unchanged:?}, 20 kB appended {small:?}, 50 MB appended {large:?}");
    assert!(small < std::time::Duration::from_millis(1), "{small:?}");
}

fn records() -> impl Strategy<Value = Vec<(Vec<u8>, Option<u8>)>> {
    let record = prop_oneof![
        (0_u8..4).prop_map(|root| (root_record(root), Some(root))),
        (0_usize..40_000, any::<u8>()).prop_map(|(bytes, fill)| (chunk_record(&vec![fill; bytes]), None)),
    ];
    proptest::collection::vec(record, 0..8)
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
        let mut cursor = JournalCursor::default();
        let _ = read(&mut cursor, &bytes[..cut.min(bytes.len())]);
        // No checksum holds by chance.
        prop_assert_eq!(read(&mut cursor, &bytes), None);
    }

    #[test]
    fn at_any_cut_the_root_is_that_of_the_whole_records(records in records(), cuts in proptest::collection::vec(0.0..1.0, 1..6)) {
        let file: Vec<u8> = records.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|part: f64| (part * file.len() as f64) as usize).collect();
        cuts.push(file.len());
        let mut cursor = JournalCursor::default();
        // In any order: a file may be cut too.
        for cut in cuts {
            let mut end = 0;
            let mut want = None;
            for (bytes, root) in &records {
                end += bytes.len();
                if end <= cut {
                    want = root.or(want);
                }
            }
            prop_assert_eq!(read(&mut cursor, &file[..cut]), want.and_then(hash));
        }
    }

    #[test]
    fn a_damaged_byte_gives_no_root_that_was_not_written(
        records in records(), at in 0.0..1.0, flip in 1_u8..=255,
    ) {
        let mut file: Vec<u8> = records.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        prop_assume!(!file.is_empty());
        let at = ((at * file.len() as f64) as usize).min(file.len() - 1);
        file[at] ^= flip;
        let root = read(&mut JournalCursor::default(), &file);
        let written: Vec<_> = records.iter().filter_map(|(_, root)| root.and_then(hash)).collect();
        prop_assert!(root.is_none_or(|root| written.contains(&root)));
    }
}
