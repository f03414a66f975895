//! Streams of any length in constant memory: large results, LOAD DATA LOCAL, a long command, a slow reader; each
//! compared with the same straight at Dolt. BRANCHLINE_STREAM_MIB sets the length (default 1024, of which LOAD DATA
//! takes a sixteenth: Dolt digests no more in the time that a test may take).

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::branchline::Branchline;
use support::raw::{Client, FRAME_BYTES_MAX, Failure, Login, header};
use support::watch;

const MIB: usize = 1 << 20;
/// Above what an idle Branchline needs.
const MEMORY_KIB_MAX: u64 = 40 * 1024;
/// Dolt may think about a stream for this long before it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

fn stream_mib() -> usize {
    match std::env::var("BRANCHLINE_STREAM_MIB") {
        Ok(text) => text.parse().expect("BRANCHLINE_STREAM_MIB is a number of MiB"),
        Err(_) => 1024,
    }
}

/// A Branchline, its Dolt's own address, and what it needs when idle.
struct Served {
    branchline: Branchline,
    direct: SocketAddr,
    idle_kib: u64,
}

impl Served {
    /// With a table of `rows` numbers.
    fn start(rows: usize) -> Self {
        let branchline = Branchline::start();
        let direct = SocketAddr::from(([127, 0, 0, 1], branchline.dolt().port));
        let mut root = Client::root(direct);
        root.run("CREATE DATABASE town");
        root.run("CREATE TABLE town.number (id INT PRIMARY KEY)");
        let numbers: Vec<String> = (0..rows).map(|id| format!("({id})")).collect();
        root.run(&format!("INSERT INTO town.number VALUES {}", numbers.join(",")));
        root.run("SET GLOBAL local_infile = 1");
        Client::root(branchline.addr()).run("SELECT COUNT(*) FROM town.number");
        watch::reset_peak(branchline.pid());
        let idle_kib = watch::memory_kib(branchline.pid(), "VmHWM");
        Self { branchline, direct, idle_kib }
    }

    fn client(&self, addr: SocketAddr) -> Client {
        let client = Client::tcp(addr, &Login::root().on("town")).expect("logged in");
        client.wire.patience(ANSWER_WITHIN).expect("set");
        client
    }

    fn assert_constant_memory(&self, what: &str) {
        let peak = watch::memory_kib(self.branchline.pid(), "VmHWM");
        println!("{what}: VmHWM {peak} KiB, idle {} KiB", self.idle_kib);
        assert!(
            peak < self.idle_kib + MEMORY_KIB_MAX,
            "{what}: {} KiB idle, {peak} KiB at most",
            self.idle_kib
        );
    }
}

/// Runs it and prints how long it took.
fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = run();
    println!("{what}: {:?}", begun.elapsed());
    result
}

#[test]
fn a_large_result_is_the_same_bytes_in_constant_memory() {
    let rows = stream_mib();
    let served = Served::start(rows);
    let sql = "SELECT id, REPEAT(CHAR(97 + id % 26), 1048576) FROM number ORDER BY id";
    let [ours, dolts] =
        [("through", served.branchline.addr()), ("direct", served.direct)].map(|(how, addr)| {
            let mut client = served.client(addr);
            timed(&format!("{rows} MiB {how}"), || client.measure(sql)).expect("the whole result")
        });
    assert_eq!(ours.row_count, rows as u64);
    assert!(ours.bytes > (rows * MIB) as u64);
    assert_eq!(ours, dolts);
    served.assert_constant_memory("a large result");
}

#[test]
fn one_huge_row_is_the_same_bytes_in_constant_memory() {
    // Dolt builds a row in memory; ours must be constant all the same. Frames of 16 MiB, several in a row.
    let served = Served::start(2);
    let size = (stream_mib() / 8).min(128) * MIB;
    let sql =
        format!("SELECT REPEAT('abcdefgh', {}), id, REPEAT('x', 16777200) FROM number ORDER BY id", size / 8);
    let [ours, dolts] = [served.branchline.addr(), served.direct]
        .map(|addr| timed("a huge row", || served.client(addr).measure(&sql)).expect("the whole result"));
    assert!(ours.bytes > 2 * size as u64);
    assert_eq!(ours, dolts);
    served.assert_constant_memory("a huge row");
}

#[test]
fn a_slow_reader_holds_dolt_back_and_not_the_result() {
    let rows = (stream_mib() / 8).max(1);
    let served = Served::start(rows);
    let sql = "SELECT id, REPEAT('x', 1048576) FROM number ORDER BY id";
    let mut slow = served.client(served.branchline.addr());
    slow.send_query(sql).expect("sent");
    let mut bytes = 0;
    loop {
        let packet = slow.wire.read_into(&mut |chunk| {
            bytes += chunk.len() as u64;
            // A quarter of a gigabyte a second at most: slower than Dolt.
            std::thread::sleep(Duration::from_micros(chunk.len() as u64 / 256));
        });
        let packet = packet.expect("the whole result");
        if packet.payload.first() == Some(&0xfe) && packet.len < FRAME_BYTES_MAX {
            break;
        }
        assert_ne!(packet.payload.first(), Some(&0xff), "an ERR");
    }
    let dolts = served.client(served.direct).measure(sql).expect("the whole result");
    assert_eq!(bytes, dolts.bytes);
    served.assert_constant_memory("a slow reader");
}

/// Lines of `id,text` for LOAD DATA, from a small generator so that nothing is stored.
fn lines(from: usize, out: &mut Vec<u8>) {
    const LINE_TEXT_BYTES: usize = 1000;
    const DIGITS: &[u8] = b"0123456789abcdef";
    for id in from..from + LINES_PER_PACKET {
        out.extend_from_slice(format!("{id},").as_bytes());
        let mut state = id as u64 + 1;
        for _ in 0..LINE_TEXT_BYTES / 16 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            out.extend((0..16).map(|i| DIGITS[(state >> (4 * i)) as usize & 15]));
        }
        out.push(b'\n');
    }
}

const LINES_PER_PACKET: usize = 1000;

/// LOAD DATA LOCAL of about `mib` MiB; the rows sent.
fn load(client: &mut Client, table: &str, mib: usize) -> Result<usize, Failure> {
    let sql = format!(
        "LOAD DATA LOCAL INFILE 'generated' INTO TABLE {table} FIELDS TERMINATED BY ',' LINES TERMINATED BY '\\n'"
    );
    client.send_query(&sql)?;
    let request = client.wire.read()?;
    assert_eq!(request.payload, b"\xfbgenerated");
    let (mut seq, mut rows, mut sent) = (request.seq.wrapping_add(1), 0, 0);
    let mut packet = Vec::new();
    while sent < mib * MIB {
        packet.clear();
        lines(rows, &mut packet);
        client.wire.send(&header(packet.len(), seq))?;
        client.wire.send(&packet)?;
        (seq, rows, sent) = (seq.wrapping_add(1), rows + LINES_PER_PACKET, sent + packet.len());
    }
    client.wire.send(&header(0, seq))?;
    client.reply(true)?;
    Ok(rows)
}

#[test]
fn load_data_is_the_same_rows_in_constant_memory() {
    let mib = (stream_mib() / 16).max(1);
    let served = Served::start(1);
    let mut sent = 0;
    for (table, addr) in [("ours", served.branchline.addr()), ("straight", served.direct)] {
        let mut client = served.client(addr);
        client.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, body VARCHAR(1100))"));
        sent = timed(&format!("{mib} MiB into {table}"), || load(&mut client, table, mib)).expect("loaded");
        // The connection is at the end of its reply, and the session goes on.
        assert_eq!(client.value(&format!("SELECT COUNT(*) FROM {table}")), Ok(sent.to_string()));
    }
    // Row by row: `dolt_hashof_table` depends on the table's name.
    let same =
        "SELECT COUNT(*) FROM ours JOIN straight ON ours.id = straight.id AND ours.body = straight.body";
    assert_eq!(served.client(served.direct).value(same), Ok(sent.to_string()));
    served.assert_constant_memory("LOAD DATA");
}

#[test]
fn a_long_command_is_relayed_and_dolts_answer_arrives() {
    let size = (stream_mib() / 5).max(17) * MIB;
    let served = Served::start(1);
    // Sixteen MiB at a time, so that the test itself does not count for much either.
    let ask = |addr: SocketAddr, size: usize| -> Result<Vec<Vec<Option<String>>>, Failure> {
        let mut client = served.client(addr);
        let (head, end) = (b"\x03SELECT LENGTH('".as_slice(), b"')".as_slice());
        let (mut left, mut seq) = (size, 0_u8);
        loop {
            let len = left.min(FRAME_BYTES_MAX);
            let mut frame = header(len, seq).to_vec();
            let payload_at = size - left;
            frame.extend((payload_at..payload_at + len).map(|at| match at {
                at if at < head.len() => head[at],
                at if at >= size - end.len() => end[at - (size - end.len())],
                _ => b'y',
            }));
            if client.wire.send(&frame).is_err() {
                // Refused while it was being sent: the answer may be there.
                return Err(client.wire.last_word());
            }
            (left, seq) = (left - len, seq.wrapping_add(1));
            if len < FRAME_BYTES_MAX {
                break;
            }
        }
        client.reply(true).map(|reply| reply.rows)
    };
    for size in [size, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 64 * MIB + 1] {
        let dolts = timed(&format!("{size} bytes direct"), || ask(served.direct, size));
        let ours = timed(&format!("{size} bytes through"), || ask(served.branchline.addr(), size));
        println!("{size}: {dolts:?}, {ours:?}");
        assert_eq!(ours, dolts, "{size} bytes");
        assert_eq!(Client::root(served.branchline.addr()).value("SELECT 1").as_deref(), Ok("1"));
    }
    served.assert_constant_memory("a long command");
}
