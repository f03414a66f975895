//! The proxy itself: what it passes on, where it cuts, and that Branchline runs with it as without it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::proxy::{At, Direction, FaultProxy, Wrapper};
use super::support::plain::PlainDolt;
use super::support::raw::{Client, Failure, Login};
use super::support::watch;

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn cuts_where_it_is_told_and_nowhere_else() {
    let dolt = PlainDolt::start();
    let dolt = SocketAddr::from((Ipv4Addr::LOCALHOST, dolt.port()));
    let (proxy, addr) = FaultProxy::before(dolt);
    let mut direct = Client::root(dolt);
    direct.run("CREATE DATABASE town");
    direct.run("CREATE TABLE town.t (n INT)");
    direct.run("INSERT INTO town.t VALUES (0)");
    let mut n = 0;
    let update = "UPDATE town.t SET n = n + 1";
    let mut broken = |at, applied: bool| {
        let mut client = Client::root(addr);
        client.run("SELECT 1");
        proxy.cut_at("UPDATE", at);
        assert_eq!(client.query(update), Err(Failure::Closed), "{at:?}");
        n += i32::from(applied);
        watch::until(DEADLINE, "the cut statement has taken effect, or not", || {
            (direct.value("SELECT n FROM town.t") == Ok(n.to_string())).then_some(())
        });
    };
    let len = 4 + 1 + update.len();
    for at in [0, 3, 4, len - 1] {
        broken(At::Request(at), false);
    }
    broken(At::Request(len), true);
    for at in [0, 4, 10] {
        broken(At::Reply(at), true);
    }
    assert_eq!((proxy.cuts(), proxy.matched(), proxy.request_bytes()), (8, 8, len));
    // Past the reply nothing is cut, now or later.
    let mut client = Client::root(addr);
    proxy.cut_at("UPDATE", At::Reply(1000));
    client.run(update);
    client.run(update);
    assert_eq!((proxy.cuts(), proxy.matched()), (8, 9));
    // By count, over all connections.
    let mut other = Client::root(addr);
    proxy.cut_after(Direction::FromDolt, 20);
    let first = client.query("SELECT 1");
    assert!(first == Err(Failure::Closed), "{first:?}");
    other.run("SELECT 1");
    // Held back, and let go.
    let patience = Duration::from_millis(100);
    proxy.stall();
    other.wire.patience(patience).expect("set");
    assert_eq!(other.query("SELECT 2"), Err(Failure::TimedOut));
    proxy.resume();
    other.wire.patience(DEADLINE).expect("set");
    assert_eq!(other.reply(true).expect("it was only late").rows, [[Some("2".to_owned())]]);
    proxy.cut_all();
    assert_eq!(other.query("SELECT 1"), Err(Failure::Closed));
    assert_eq!(proxy.cuts(), 9);
}

#[test]
fn branchline_finds_its_dolt_behind_it_also_after_a_restart() {
    let wrapper = Wrapper::start(|_| {});
    let mut client = Client::root(wrapper.addr());
    client.run("CREATE DATABASE town");
    client.run("CREATE TABLE town.t (n INT)");
    let rows = |addr| {
        Client::tcp(addr, &Login::root()).and_then(|mut client| client.value("SELECT COUNT(*) FROM town.t"))
    };
    assert_eq!(rows(wrapper.dolt()), Ok("0".into()));
    let (before, old) = (wrapper.dolt(), wrapper.kill_dolt().expect("killed"));
    let new = watch::until(DEADLINE, "another Dolt", || {
        wrapper.branchline.try_dolt().filter(|dolt| dolt.pid != old)
    });
    assert_eq!(watch::until(DEADLINE, "it serves", || rows(wrapper.addr()).ok()), "0");
    assert_ne!(wrapper.dolt(), before);
    // The process that Branchline started is Dolt itself, and what Branchline says to it can be broken.
    assert!(std::fs::read_link(format!("/proc/{}/exe", new.pid)).expect("it runs").ends_with("dolt"));
    wrapper.proxy.cut_at("the one", At::Request(6));
    let mut client = Client::root(wrapper.addr());
    let _retried_or_told = client.query("SELECT 'the one'");
    assert_eq!(wrapper.proxy.cuts(), 1);
}
