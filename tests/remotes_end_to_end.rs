//! Main reaches its remote by itself, soon and once: 200 commits by 20 clients, over file, ssh and http at the same time,
//! with real git, and verified by fresh clones.

mod support;

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::git::rigs::Clone;
use support::git::{HttpServer, Repository, Rigs, SshServer};

const CLIENTS: u32 = 20;
const COMMITS_EACH: u32 = 10;
/// Between two commits of a client, so that they take longer than `quiet_max_s`.
const PAUSE: Duration = Duration::from_millis(900);
/// After the last commit.
const EQUAL_WITHIN: Duration = Duration::from_secs(35);
const QUIET: f64 = 2.0;

#[test]
fn two_hundred_commits_by_twenty_clients_reach_each_kind_of_remote() {
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let databases = ["by_file", "by_ssh", "by_http"];
    let repositories = databases.map(|name| Repository::create(&shelf.path().join(format!("{name}.git"))));
    let ssh = SshServer::start();
    let http = HttpServer::start(shelf.path());
    let urls = [repositories[0].file_url(), ssh.url(&repositories[1]), http.url(&repositories[2])];
    let remotes: String = databases
        .iter()
        .zip(&urls)
        .map(|(database, url)| format!("[remotes.{database}]\nurl = \"{url}\"\n"))
        .collect();
    let config = format!("[remotes]\nquiet_max_s = 4\n{remotes}");
    let rigs = Rigs::start(&config, ssh.environment(), &databases);
    for (database, repository) in databases.iter().zip(&repositories) {
        rigs.await_equal(database, repository);
    }

    let rigs = &rigs;
    thread::scope(|scope| {
        for (database, repository) in databases.iter().zip(&repositories) {
            scope.spawn(move || one(rigs, database, repository));
        }
    });
    rigs.check_pushes();
}

/// All of one database.
fn one(rigs: &Rigs, database: &str, repository: &Repository) {
    let before: Vec<_> =
        rigs.pushes(database).into_iter().filter(|push| push["outcome"] == "pushed").collect();
    let begun = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut client = rigs.client(database);
                for round in 0..COMMITS_EACH {
                    let id = number * COMMITS_EACH + round;
                    client.run(&format!("INSERT INTO t VALUES ({id}, {id})"));
                    client.run(&format!("CALL DOLT_COMMIT('-Am', 'row {id}')"));
                    thread::sleep(PAUSE);
                }
            });
        }
    });
    let last = Instant::now();
    let last_at = SystemTime::now();
    rigs.until(&format!("{database} is up to date"), || {
        let status = rigs.status(database);
        (status["state"] == "up to date" && status["lag_commits"] == 0).then_some(())
    });
    let (equal_after, in_all) = (last.elapsed(), begun.elapsed());
    let pushes: Vec<_> =
        rigs.pushes(database).into_iter().filter(|push| push["outcome"] == "pushed").collect();
    let pushes = &pushes[..pushes.len() - before.len()];
    println!(
        "{database}: equal {equal_after:?} after the last commit, {} pushes in {in_all:?}",
        pushes.len()
    );

    let clone = Clone::of(repository);
    let mut client = rigs.client(database);
    assert_eq!(clone.row("SELECT dolt_hashof('main') AS head"), client.row("SELECT dolt_hashof('main')"));
    let (rows, sum) = (CLIENTS * COMMITS_EACH, (0..CLIENTS * COMMITS_EACH).sum::<u32>());
    assert_eq!(clone.row("SELECT COUNT(*), SUM(n) FROM t"), format!("{rows},{sum}"));
    let commits = "SELECT COUNT(DISTINCT message) FROM dolt_log WHERE message LIKE 'row %'";
    assert_eq!(clone.row(commits), rows.to_string());
    repository.check();

    assert!(equal_after <= EQUAL_WITHIN, "{database}: {equal_after:?}");
    let most = 1.0 + in_all.as_secs_f64() / QUIET;
    assert!(pushes.len() as f64 <= most, "{database}: {} pushes in {in_all:?}: {pushes:#?}", pushes.len());
    let pushed: u64 = pushes.iter().filter_map(|push| push["commits"].as_u64()).sum();
    assert_eq!(pushed, u64::from(rows), "{database}: each commit once: {pushes:#?}");
    let seconds = last_at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let first = pushes.last().and_then(|push| push["at"].as_str()).expect("a push");
    assert!(unix_seconds(first) < seconds, "{database}: no push ran while there were commits: {first}");
}

/// `2026-11-30T06:01:43Z`, of the day that it is.
fn unix_seconds(text: &str) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let clock = text.split_once('T').expect("a time").1.trim_end_matches('Z');
    let parts = clock.split(':').map(|part| part.split('.').next().unwrap_or_default());
    let seconds = parts.fold(0, |all, part| all * 60 + part.parse::<u64>().expect("a number"));
    let today = now - now % 86_400 + seconds;
    // It was before midnight.
    if today > now + 60 { today - 86_400 } else { today }
}
