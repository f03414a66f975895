//! What a client can do wrong on the wire.

use std::time::{Duration, Instant};

use super::support::branchline::Branchline;
use super::support::raw::{Client, Failure, Greeting, Login, PATIENCE, Wire, header};
use super::support::watch;
use super::{HANDSHAKE_TIMEOUT, assert_well, direct, greeted, impatient, login_reply};

/// For what is seen from outside a little later.
const SLACK: Duration = Duration::from_secs(3);

#[test]
fn what_is_not_a_handshake_is_told_or_closed_in_time() {
    let (branchline, _place) = impatient("");
    let good = Login::root().response(&[1; 20]);
    let with_flags = |flags: u32| [&flags.to_le_bytes(), &good[4..]].concat();
    let framed = |seq, payload: &[u8]| [&header(payload.len(), seq), payload].concat();
    let protocol_41: u32 = 1 << 9;
    let ssl: u32 = 1 << 11;
    let cases: [(&str, Vec<u8>, Option<(u16, &str)>); 12] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(), Some((1153, "at most"))),
        ("noise", (0..200_u32).map(|i| (i * 97 + 5) as u8).collect(), Some((1153, "at most"))),
        (
            "a 16 MiB packet",
            [&header(0xff_ffff, 1)[..], &[0xff; 4096]].concat(),
            Some((1153, "16777215 bytes")),
        ),
        ("a wrong sequence number", framed(7, &good), Some((1156, "sequence 7, expected 1"))),
        ("an empty packet", framed(1, b""), Some((1043, "malformed"))),
        ("a cut response", framed(1, &good[..20]), Some((1043, "malformed"))),
        ("a response that says only flags", framed(1, &good[..32]), Some((1043, "malformed"))),
        ("TLS", framed(1, &[&(protocol_41 | ssl).to_le_bytes()[..], &[0; 28]].concat()), Some((3159, "TLS"))),
        ("protocol 3.2", framed(1, &with_flags(1)), Some((1043, "4.1"))),
        ("4.1 without 4.1 passwords", framed(1, &with_flags(protocol_41)), Some((1251, "upgrading"))),
        ("half a packet", framed(1, &good)[..24].to_vec(), None),
        ("nothing", Vec::new(), None),
    ];
    for (what, bytes, want) in cases {
        let (mut wire, _) = greeted(branchline.addr());
        let begun = Instant::now();
        wire.send(&bytes).expect("sent");
        let end = wire.last_word();
        let took = begun.elapsed();
        assert!(took < HANDSHAKE_TIMEOUT + SLACK, "{what}: {took:?}");
        match want {
            Some((code, part)) => {
                assert_eq!(end.code(), code, "{what}: {end}");
                assert!(end.text().contains(part), "{what}: {end}");
            }
            None => assert_eq!(end, Failure::Closed, "{what}"),
        }
        assert_well(&branchline, what);
    }
}

#[test]
fn commands_that_are_none_end_the_session_or_get_dolts_answer() {
    let (branchline, _place) = impatient("");
    // (what, bytes, code through Branchline)
    let query = |seq| [&header(9, seq)[..], b"\x03SELECT 1"].concat();
    let cases: [(&str, Vec<u8>, u16); 3] = [
        ("a wrong sequence number", query(5), 1156),
        ("an empty packet", header(0, 0).to_vec(), 1043),
        (
            "16 MiB that continue with a wrong number",
            {
                let mut bytes = header(0xff_ffff, 0).to_vec();
                bytes.push(3);
                bytes.resize(4 + 0xff_ffff, b' ');
                bytes.extend_from_slice(&header(1, 9));
                bytes.push(b' ');
                bytes
            },
            0,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut client = Client::root(branchline.addr());
        client.wire.send(&bytes).expect("sent");
        let end = client.wire.last_word();
        assert_ne!(end, Failure::TimedOut, "{what}");
        assert_eq!(end.code(), code, "{what}: {end}");
        assert_well(&branchline, what);
    }
    // Commands that Dolt doesn't know get its own answer, and the session goes on.
    let dolt = direct(&branchline);
    for command in [0x00, 0x05, 0x09, 0x11, 0x1d, 0x20, 0x6f, 0xff] {
        let answers = [branchline.addr(), dolt].map(|addr| {
            let mut client = Client::root(addr);
            client.wire.send_packet(0, &[command, b'x', b'y']).expect("sent");
            let packet = client.wire.read_into(&mut |_| {}).expect("an answer");
            assert_eq!(client.value("SELECT 7").as_deref(), Ok("7"), "after {command:#x} at {addr}");
            (packet.seq, packet.payload)
        });
        assert_eq!(answers[0], answers[1], "{command:#x}");
    }
    // A client that says half a command and nothing more is idle, not an error, and harms nobody.
    let mut half = Client::root(branchline.addr());
    half.wire.send(&query(0)[..7]).expect("sent");
    assert_well(&branchline, "half a command");
    half.wire.send(&query(0)[7..]).expect("sent");
    assert_eq!(half.reply(true).expect("the other half came").rows, [[Some("1".to_owned())]]);
}

#[test]
fn names_of_any_bytes_get_dolts_answer_or_a_clear_one() {
    let (branchline, _place) = impatient("");
    let dolt = direct(&branchline);
    Client::root(dolt).run("CREATE DATABASE town");
    let long = "n".repeat(300);
    let strange =
        ["a'b", "a\"b", "a`b", "`; DROP DATABASE town; --", "../../etc", "a\\b", "ü", " ", "%", &long];
    for name in strange {
        let login = Login::account(name, "x");
        let [ours, dolts] = [branchline.addr(), dolt].map(|addr| login_reply(addr, &login));
        assert_eq!((ours.seq, &ours.payload), (dolts.seq, &dolts.payload), "user {name:?}");
    }
    for name in strange.into_iter().filter(|name| *name != "%") {
        let results = [branchline.addr(), dolt].map(|addr| {
            let by_login = Client::tcp(addr, &Login::root().on(name)).map(|_| ());
            let mut client = Client::root(addr);
            client.wire.send_packet(0, &[b"\x02", name.as_bytes()].concat()).expect("sent");
            let by_command = client.wire.read().map(|_| ());
            let by_use = client.query(&format!("USE `{}`", name.replace('`', "``"))).map(|_| ());
            assert_eq!(client.value("SELECT 3").as_deref(), Ok("3"), "after {name:?} at {addr}");
            [by_login, by_command, by_use]
        });
        for (ours, dolts) in results[0].iter().zip(&results[1]) {
            assert_eq!(ours, dolts, "database {name:?}");
            assert!(ours.is_err(), "database {name:?}");
        }
    }
    // NULs end the field: what follows is read as another one, by everybody.
    for login in [Login::account("ro\0ot", ""), Login::root().on("to\0wn")] {
        let (mut wire, greeting) = greeted(branchline.addr());
        wire.send_packet(1, &login.response(&greeting.nonce)).expect("sent");
        wire.patience(HANDSHAKE_TIMEOUT + SLACK).expect("set");
        assert_ne!(wire.last_word(), Failure::TimedOut, "{login:?}");
        assert_well(&branchline, "a NUL in a name");
    }
    // 64 KiB are read and answered; what no handshake needs is not read.
    let long = "n".repeat(64 * 1024);
    for login in [Login::account(&long, ""), Login::root().on(&long)] {
        let [ours, dolts] = [branchline.addr(), dolt].map(|addr| Client::tcp(addr, &login).map(|_| ()));
        assert!(ours == dolts, "{:.300} {:.300}", format!("{ours:?}"), format!("{dolts:?}"));
        assert!(matches!(ours, Err(Failure::Server(1045 | 1049, ..))));
    }
    let endless = "n".repeat(300 * 1024);
    for login in [Login::account(&endless, ""), Login::root().on(&endless)] {
        let failure = Client::tcp(branchline.addr(), &login).err().expect("refused");
        assert_eq!(failure.code(), 1153, "{failure}");
        assert!(failure.text().contains("at most 262144"), "{failure}");
    }
    assert_eq!(
        Client::root(dolt).value("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name='town'"),
        Ok("1".into())
    );
    assert_well(&branchline, "names");
}

#[test]
fn a_storm_of_silent_clients_costs_dolt_nothing_and_leaves_nothing() {
    let (branchline, _place) = impatient("clients_max = 4000\n");
    let dolt = direct(&branchline);
    // Descriptors and memory of a process that has served already.
    assert_well(&branchline, "the start");
    let storm = || {
        let begun = Instant::now();
        let mut silent = Vec::new();
        for i in 0..1000 {
            let wire = Wire::tcp(branchline.addr()).expect("a connection");
            if i % 2 == 0 {
                silent.push(wire);
            }
            // The rest hang up at once, without a byte, as `bd`'s probe does.
            if let Some(left) = Duration::from_millis(i + 1).checked_sub(begun.elapsed()) {
                std::thread::sleep(left);
            }
        }
        for mut wire in silent {
            Greeting::read(&mut wire).expect("a greeting");
            assert_eq!(wire.last_word(), Failure::Closed);
        }
        assert_well(&branchline, "the storm");
    };
    let next_id = || Greeting::read(&mut Wire::tcp(dolt).expect("a connection")).expect("a greeting").id;
    storm();
    let (descriptors, memory) =
        (watch::descriptors(branchline.pid()), watch::memory_kib(branchline.pid(), "VmRSS"));
    let before = next_id();
    storm();
    // One of ours, one of `assert_well`, and perhaps a health probe or two.
    let seen = next_id() - before;
    assert!(seen <= 8, "Dolt saw {seen} connections");
    watch::until(SLACK, "descriptors return", || {
        (watch::descriptors(branchline.pid()) <= descriptors + 2).then_some(())
    });
    let after = watch::memory_kib(branchline.pid(), "VmRSS");
    assert!(after < memory + 4 * 1024, "{memory} KiB before the second storm, {after} KiB after it");
}

#[test]
fn the_limit_of_clients_is_told_with_its_name_and_frees_up() {
    let (branchline, _place) = impatient("clients_max = 3\n");
    let mut clients: Vec<_> = (0..3).map(|_| Client::root(branchline.addr())).collect();
    let failure = Client::tcp(branchline.addr(), &Login::root()).err().expect("refused");
    assert_eq!(failure.code(), 1040, "{failure}");
    assert!(failure.text().contains("at most 3 (limits.clients_max)"), "{failure}");
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1").as_deref(), Ok("1"));
    }
    clients.pop();
    watch::until(SLACK, "a place is free", || Client::tcp(branchline.addr(), &Login::root()).ok());
}

#[test]
fn the_default_handshake_timeout_is_ten_seconds() {
    let branchline = Branchline::start();
    let console = Wire::unix(&branchline.state_dir().join("branchline.sock")).expect("the console");
    let mut console = Client::log_in(console, &Login::root()).expect("the console lets us in");
    let shown = console.run("SHOW CONFIG");
    let row = shown.rows.iter().find(|row| row[0].as_deref() == Some("limits.handshake_timeout_s"));
    assert_eq!(row.map(|row| row[1].as_deref()), Some(Some("10")), "{:?}", shown.rows);
    // It holds: a silent client is let go after it, not before.
    let (mut wire, _) = greeted(branchline.addr());
    let begun = Instant::now();
    assert_eq!(wire.last_word(), Failure::Closed);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9) && took < PATIENCE, "{took:?}");
}
