//! Logins that must be refused, in Dolt's own bytes where it has them; and plugins that are switched away from.

use std::net::{Ipv4Addr, SocketAddr};

use super::support::raw::{Client, Failure, Login, Wire};
use super::{assert_well, direct, impatient, login_reply};

#[test]
fn refused_logins_read_as_dolt_says_them() {
    let (branchline, _place) = impatient("");
    let dolt = direct(&branchline);
    let mut root = Client::root(dolt);
    for sql in [
        "CREATE DATABASE town",
        "CREATE USER 'app'@'%' IDENTIFIED WITH mysql_native_password BY 'right'",
        "CREATE USER 'far'@'10.1.2.3' IDENTIFIED WITH mysql_native_password BY 'right'",
        "CREATE USER 'near'@'127.0.0.1' IDENTIFIED WITH mysql_native_password BY 'right'",
        "CREATE USER 'second'@'127.0.0.2' IDENTIFIED WITH mysql_native_password BY 'right'",
        "CREATE USER 'sha'@'%' IDENTIFIED WITH caching_sha2_password BY 'right'",
        "GRANT ALL ON *.* TO 'app'@'%'",
        "GRANT ALL ON *.* TO 'near'@'127.0.0.1'",
    ] {
        root.run(sql);
    }
    // Same sequence number, same bytes.
    for (user, password) in [
        ("app", "wrong"),
        ("app", ""),
        ("nobody", "right"),
        ("nobody", ""),
        ("root", "something"),
        ("far", "right"),
        ("far", "wrong"),
        ("near", "wrong"),
        ("", "right"),
    ] {
        let login = Login::account(user, password);
        let [ours, dolts] = [branchline.addr(), dolt].map(|addr| login_reply(addr, &login));
        assert_eq!((ours.seq, &ours.payload), (dolts.seq, &dolts.payload), "{user} with {password:?}");
        assert_eq!(ours.payload.get(..3), Some(&[0xff, 0x15, 0x04][..]), "1045 for {user} with {password:?}");
    }
    for user in ["app", "near"] {
        let login = Login::account(user, "right").on("town");
        let seen = [branchline.addr(), dolt].map(|addr| {
            Client::tcp(addr, &login).expect("logged in").value("SELECT CURRENT_USER()").expect("asked")
        });
        assert_eq!(seen[0], seen[1], "{user}");
        let other = Client::tcp(branchline.addr(), &Login::account(user, "right").on("nowhere"));
        let dolts = Client::tcp(dolt, &Login::account(user, "right").on("nowhere"));
        assert_eq!(other.err(), dolts.err(), "{user} on a database that does not exist");
    }
    // Its password can't be checked, so that whoever asks may be a stranger: the reason is only in the log.
    let sha = Client::tcp(branchline.addr(), &Login::account("sha", "right")).err().expect("refused");
    assert_eq!((sha.code(), sha.text()), (1045, "Access denied for user 'sha'"));
    // The password is right, but Branchline can't be this account for Dolt: said, with what to do.
    let from = Ipv4Addr::new(127, 0, 0, 2);
    let second = |password| {
        let wire = Wire::tcp_from(from, branchline.addr()).expect("a connection");
        Client::log_in(wire, &Login::account("second", password)).map(|_| ()).expect_err("refused")
    };
    let bound = second("right");
    assert_eq!(bound.code(), 1045, "{bound}");
    assert!(
        bound.text().contains("bound to that host") && bound.text().contains("CREATE USER 'second'@'%'"),
        "{bound}"
    );
    assert_eq!(
        second("wrong").text(),
        "Access denied for user 'second'",
        "no hint before the password is right"
    );
    assert_well(&branchline, "refused logins");
}

#[test]
fn clients_that_begin_with_another_plugin_are_switched() {
    let (branchline, _place) = impatient("");
    let mut root = Client::root(direct(&branchline));
    root.run("CREATE USER 'app'@'%' IDENTIFIED WITH mysql_native_password BY 'right'");
    for plugin in ["caching_sha2_password", "mysql_clear_password", "sha256_password", "no_such_plugin", ""] {
        for (user, password, good) in [("app", "right", true), ("app", "wrong", false), ("root", "", true)] {
            let login = Login { plugin, ..Login::account(user, password) };
            let result = Client::tcp(branchline.addr(), &login)
                .map(|mut client| client.value("SELECT CURRENT_USER()"));
            match result {
                Ok(Ok(name)) if good => assert!(name.starts_with(user), "{name}"),
                Err(Failure::Server(1045, state, _)) if !good => assert_eq!(state, "28000"),
                other => panic!("{user}/{password} beginning with {plugin:?}: {other:?}"),
            }
        }
    }
    assert_well(&branchline, "switches");
}

#[test]
fn a_switch_that_is_answered_badly_ends_in_time() {
    let (branchline, _place) = impatient("");
    let addr: SocketAddr = branchline.addr();
    for (what, bytes, code) in [
        ("an empty answer", vec![0, 0, 0, 3], 1045),
        ("a short answer", vec![3, 0, 0, 3, 1, 2, 3], 1045),
        ("a wrong number", vec![1, 0, 0, 9, 1], 1156),
        ("a long answer", vec![0xff, 0xff, 0xff, 3, 1], 1153),
        ("silence", vec![], 0),
    ] {
        let (mut wire, greeting) = super::greeted(addr);
        let login = Login { plugin: "caching_sha2_password", ..Login::account("app", "right") };
        wire.send_packet(1, &login.response(&greeting.nonce)).expect("sent");
        assert_eq!(wire.read().expect("the switch").payload[0], 0xfe);
        wire.send(&bytes).expect("sent");
        let end = wire.last_word();
        assert_eq!(end.code(), code, "{what}: {end}");
        assert_ne!(end, Failure::TimedOut, "{what}");
    }
    assert_well(&branchline, "bad answers to a switch");
}
