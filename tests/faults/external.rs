//! `--dolt-address`: somebody else's Dolt, which Branchline uses, watches and never ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::branchline::Branchline;
use super::support::plain::PlainDolt;
use super::support::raw::{Client, Login};
use super::support::watch;
use super::{console, counters};

#[test]
fn an_external_dolt_is_used_and_watched_and_never_ended() {
    let mut dolt = PlainDolt::start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], dolt.port()));
    counters(address, 1);
    let mut root = Client::root(address);
    root.run("CREATE USER 'keeper'@'%' IDENTIFIED WITH mysql_native_password BY 'kept secret'");
    root.run("GRANT ALL ON *.* TO 'keeper'@'%' WITH GRANT OPTION");
    root.run("CREATE USER 'app'@'%' IDENTIFIED WITH mysql_native_password BY 'right'");
    root.run("GRANT ALL ON *.* TO 'app'@'%'");
    root.quit();
    let place = tempfile::tempdir().expect("a temporary directory");
    let (password, config) = (place.path().join("password"), place.path().join("branchline.toml"));
    fs::write(&password, "kept secret\n").expect("written");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::write(&config, "[dolt]\nhealth_interval_s = 1\nhealth_timeout_s = 1\n").expect("written");
    let mut branchline = Branchline::start_in(place.path(), |command| {
        command.env_remove("BRANCHLINE_DOLT");
        command.args([
            "--dolt-address",
            &address.to_string(),
            "--dolt-user",
            "keeper",
            "--dolt-password-file",
        ]);
        command.arg(&password).arg("--config").arg(&config);
    });
    let app = Login::account("app", "right").on("town");
    let mut client = Client::tcp(branchline.addr(), &app).expect("logged in");
    client.run("UPDATE counter SET n = 1 WHERE id = 0");
    assert_eq!(
        Client::tcp(branchline.addr(), &Login::account("app", "wrong")).err().map(|f| f.code()),
        Some(1045)
    );
    assert_eq!(client.value("SELECT CURRENT_USER()").as_deref(), Ok("app@%"));

    // It goes away: told promptly, with the reason; it comes back: served, on the old connection too.
    dolt.end();
    let mut console = console(&branchline);
    let mut dolt_row = |key: &str| {
        let rows = console.run("SHOW STATUS").rows;
        rows.into_iter().find(|row| row[0].as_deref() == Some(key)).and_then(|mut row| row.remove(1))
    };
    watch::until(Duration::from_secs(20), "it is reported down", || {
        (dolt_row("dolt_state").as_deref() == Some("down")).then_some(())
    });
    let begun = Instant::now();
    let failure = Client::tcp(branchline.addr(), &app).err().expect("refused");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(failure.text().starts_with("Dolt has been down for "), "{failure}");
    assert!(
        failure.text().contains("refused") && failure.text().contains("looking again every second"),
        "{failure}"
    );
    assert!(!branchline.stderr().contains("kept secret"), "the password is in the log");
    dolt.start_again();
    watch::until(Duration::from_secs(20), "it is served again", || Client::tcp(branchline.addr(), &app).ok());
    assert_eq!(client.value("SELECT n FROM counter").as_deref(), Ok("1"));

    branchline.signal(Signal::TERM);
    assert_eq!(branchline.wait(Duration::from_secs(20)).and_then(|status| status.code()), Some(0));
    assert_eq!(
        Client::root(address).value("SELECT n FROM town.counter").as_deref(),
        Ok("1"),
        "it still runs"
    );
}
