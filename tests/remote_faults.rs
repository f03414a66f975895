//! What can go wrong at a remote, with real repositories, a real sshd, a real git http-backend and a network that fails:
//! local work goes on, nothing is lost, at most one push runs, and when the fault has ended main is there by itself.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::client::{Client, Login};
use support::git::rigs::Clone;
use support::git::{Access, Fault, FaultyProxy, HttpServer, Repository, Rigs, SshServer};
use support::watch;

/// A commit that waited for a remote would take as long as the remote's faults do, seconds at least.
const COMMIT_MAX: Duration = Duration::from_secs(4);

/// Short times; `timeout_s` is for the test to choose.
fn config(timeout_s: u32, remotes: &[(&str, &str)]) -> String {
    let times = format!(
        "[remotes]\nquiet_s = 0\nheartbeat_s = 2\nbackoff_min_s = 1\nbackoff_max_s = 2\ntimeout_s = {timeout_s}\n"
    );
    remotes.iter().fold(times, |all, (database, url)| format!("{all}[remotes.{database}]\nurl = \"{url}\"\n"))
}

/// Local work, while the remote is at fault.
fn work(rigs: &Rigs, database: &str) {
    for _ in 0..3 {
        let took = rigs.commit(database);
        assert!(took < COMMIT_MAX, "a commit took {took:?}");
    }
}

fn on_shelf(shelf: &Path, name: &str) -> Repository {
    Repository::create(&shelf.join(name))
}

#[test]
fn a_network_that_hangs_refuses_breaks_and_is_slow() {
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = on_shelf(shelf.path(), "a.git");
    let server = HttpServer::start(shelf.path());
    let proxy = FaultyProxy::start(server.port());
    let url = server.url_at(proxy.port(), &repository);
    let rigs = Rigs::start(&config(8, &[("a", &url)]), vec![], &["a"]);
    rigs.await_equal("a", &repository);

    proxy.set(Fault::Hang);
    work(&rigs, "a");
    let record = rigs.await_outcome("a", &["timeout"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("did not end within")), "{record}");
    proxy.set(Fault::None);
    rigs.await_equal("a", &repository);

    proxy.set(Fault::Refuse);
    work(&rigs, "a");
    rigs.await_outcome("a", &["unreachable"]);
    let status = rigs.status("a");
    assert!(status["lag_commits"].as_u64() >= Some(3) && !status["failing_s"].is_null(), "{status}");
    proxy.set(Fault::None);
    rigs.await_equal("a", &repository);

    // At once, and while it takes the data: Dolt tries that 32 times, for longer than our limit.
    for bytes in [10, 50_000] {
        proxy.set(Fault::DropAfter(bytes));
        work(&rigs, "a");
        rigs.commit_bytes("a", 200_000);
        rigs.await_outcome("a", &["unreachable", "timeout"]);
        proxy.set(Fault::None);
        rigs.await_equal("a", &repository);
    }

    rigs.configure(&config(60, &[("a", &url)]));
    proxy.set(Fault::Slow(10_000));
    work(&rigs, "a");
    rigs.await_equal("a", &repository);
    rigs.check_pushes();
}

#[test]
fn ssh_that_does_not_know_the_host_has_no_key_would_ask_or_hangs() {
    let ssh = SshServer::start();
    let repository = Repository::new();
    let remotes = ssh.url(&repository);
    // A database that is not there has the settings looked through every second.
    let remotes = [("a", remotes.as_str()), ("none", "git+file:///nowhere/none.git")];
    let rigs = Rigs::start(&config(60, &remotes), ssh.environment(), &["a"]);
    rigs.await_equal("a", &repository);
    for (access, want) in [
        (Access::UnknownHost, "Host key verification failed"),
        (Access::ChangedHost, "REMOTE HOST IDENTIFICATION HAS CHANGED"),
        // It would ask for the passphrase.
        (Access::Passphrase, "Permission denied (publickey)"),
    ] {
        ssh.grant(access);
        work(&rigs, "a");
        let record = rigs.await_outcome("a", &["auth"]);
        assert!(record["text"].as_str().is_some_and(|text| text.contains(want)), "{access:?}: {record}");
    }
    assert!(rigs.status("a")["advice"].as_str().is_some_and(|advice| advice.contains("git ls-remote")));
    let alerts = rigs.json(&["alerts", "--all"]);
    let auth = alerts.as_array().expect("a list").iter().filter(|alert| alert["kind"] == "auth");
    assert_eq!(auth.count(), 1, "raised once, and not cleared while it lasts: {alerts}");
    ssh.grant(Access::Key);
    rigs.await_equal("a", &repository);

    // It lets us in, and then nothing comes: in our own look, and in the middle of Dolt's push.
    rigs.configure(&config(6, &remotes));
    ssh.force(Some("exec sleep 600"));
    work(&rigs, "a");
    rigs.await_outcome("a", &["timeout"]);
    rigs.configure(&config(20, &remotes));
    ssh.force(Some(
        "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) exec sleep 600;; esac; exec sh -c \"$SSH_ORIGINAL_COMMAND\"",
    ));
    rigs.await_push_running("a");
    work(&rigs, "a");
    rigs.await_outcome("a", &["timeout"]);
    ssh.force(None);
    rigs.configure(&config(60, &remotes));
    rigs.await_equal("a", &repository);
    rigs.check_pushes();
}

#[test]
fn a_server_that_wants_a_password() {
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = on_shelf(shelf.path(), "a.git");
    let server = HttpServer::with_password(shelf.path(), "another");
    let url = server.url_with("hunter2", &repository);
    // Without credentials git would ask for them.
    let rigs = Rigs::start(&config(60, &[("a", &server.url(&repository))]), vec![], &["a"]);
    let record = rigs.await_outcome("a", &["auth"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("Authentication failed")), "{record}");
    work(&rigs, "a");
    rigs.configure(&config(60, &[("a", &url)]));
    let record = rigs.await_outcome("a", &["auth"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("Authentication failed")), "{record}");
    server.set_password("hunter2");
    rigs.await_equal("a", &repository);
    rigs.check_pushes();
    let said = format!("{}{}", rigs.json(&["remote", "list"]), rigs.json(&["remote", "log", "a"]));
    assert!(!said.contains("hunter2") && !rigs.branchline().stderr().contains("hunter2"), "{said}");
}

#[test]
fn a_protected_ref_and_a_full_disk() {
    let (protected, full) = (Repository::new(), Repository::new());
    let remotes = [("protected", &*protected.file_url()), ("small", &*full.file_url())];
    let rigs = Rigs::start(&config(120, &remotes), vec![], &["protected", "small"]);
    rigs.await_equal("protected", &protected);
    rigs.await_equal("small", &full);

    // Dolt tries each 32 times before it says why.
    std::thread::scope(|scope| {
        scope.spawn(|| protect(&rigs, "protected", &protected));
        scope.spawn(|| fill_disk(&rigs, "small", &full));
    });
    rigs.check_pushes();
}

fn protect(rigs: &Rigs, database: &str, repository: &Repository) {
    repository.protect_data();
    work(rigs, database);
    let record = rigs.await_outcome(database, &["rejected"]);
    let text = record["text"].as_str().unwrap_or_default();
    assert!(text.contains("not allowed to push to the protected ref"), "{record}");
    repository.unprotect_data();
    rigs.await_equal(database, repository);
}

/// What receives may write no file of more than 4 KiB, as on a disk that has no more room.
fn fill_disk(rigs: &Rigs, database: &str, repository: &Repository) {
    let small = rigs.directory().join("small-disk");
    std::fs::write(&small, "#!/bin/sh\nulimit -f 8\nexec git-receive-pack \"$@\"\n").expect("written");
    let settings = rigs.directory().join("home/.gitconfig");
    let text = format!("[remote \"origin\"]\n\treceivepack = sh {}\n", small.display());
    std::fs::write(&settings, text).expect("written");
    rigs.commit_bytes(database, 200_000);
    let record = rigs.await_outcome(database, &["rejected"]);
    let text = record["text"].as_str().unwrap_or_default();
    assert!(text.contains("unpack failed") || text.contains("unpacker error"), "{record}");
    work(rigs, database);
    std::fs::remove_file(settings).expect("removed");
    rigs.await_equal(database, repository);
}

#[test]
fn a_repository_that_is_gone_emptied_rewritten_or_somebody_elses() {
    let repository = Repository::new();
    let rigs = Rigs::start(&config(30, &[("a", &repository.file_url())]), vec![], &["a"]);
    rigs.await_equal("a", &repository);

    repository.take_away();
    work(&rigs, "a");
    rigs.await_outcome("a", &["unreachable"]);
    repository.bring_back();
    rigs.await_equal("a", &repository);

    // Dolt would loop for ever over a push to data that it thinks is there.
    let data = repository.data().expect("pushed");
    repository.delete_data();
    work(&rigs, "a");
    let record = rigs.await_outcome("a", &["rewritten"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("is gone")), "{record}");
    assert_eq!(repository.data(), None, "nothing is put in its place");
    repository.set_data(&data);
    rigs.await_equal("a", &repository);

    // Somebody who was at an older commit forces theirs.
    let forced = repository.copy();
    let theirs = Clone::of(&forced);
    work(&rigs, "a");
    rigs.await_equal("a", &repository);
    let ours = repository.copy();
    theirs.run(&["sql", "-q", "INSERT INTO t VALUES (1000000, 1)"]);
    theirs.run(&["commit", "-Am", "forced"]);
    theirs.run(&["push", "origin", "main"]);
    repository.replace_with(&forced);
    work(&rigs, "a");
    rigs.await_outcome("a", &["rewritten"]);
    assert_eq!(repository.data(), forced.data(), "nothing is pushed over it");
    repository.replace_with(&ours);
    rigs.await_equal("a", &repository);

    // Somebody restores it from a backup: what Dolt has sent since is not there, and it would build on that.
    let older = repository.copy();
    work(&rigs, "a");
    rigs.await_equal("a", &repository);
    let ours = repository.copy();
    repository.replace_with(&older);
    work(&rigs, "a");
    let record = rigs.await_outcome("a", &["rewritten"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("set back on purpose")), "{record}");
    assert_eq!(repository.data(), older.data(), "nothing is pushed over it");
    Clone::of(&repository);
    repository.replace_with(&ours);
    rigs.await_equal("a", &repository);

    // A client goes over it by force, with a history of its own: Dolt knows what it has sent.
    let mut client = rigs.client("a");
    client.run("CALL DOLT_RESET('--hard', 'HEAD~2')");
    client.run("INSERT INTO t VALUES (2000000, 1)");
    client.run("CALL DOLT_COMMIT('-Am', 'another history')");
    client.run("CALL DOLT_PUSH('--force', 'origin', 'main')");
    rigs.await_equal("a", &repository);

    // Another database's data.
    let other = Repository::new();
    let others = Rigs::start(&config(30, &[("b", &other.file_url())]), vec![], &["b"]);
    others.await_equal("b", &other);
    let ours = repository.copy();
    repository.replace_with(&other);
    work(&rigs, "a");
    rigs.await_outcome("a", &["other data"]);
    assert_eq!(repository.data(), other.data(), "nothing is pushed over it");
    repository.replace_with(&ours);
    rigs.await_equal("a", &repository);
    rigs.check_pushes();
}

#[test]
fn git_is_missing_until_it_is_installed() {
    let repository = Repository::new();
    let bin = tempfile::tempdir().expect("a temporary directory");
    let path = vec![("PATH", bin.path().as_os_str().to_owned())];
    let rigs = Rigs::start(&config(30, &[("a", &repository.file_url())]), path, &["a"]);
    work(&rigs, "a");
    let record = rigs.await_outcome("a", &["dolt error"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("install it")), "{record}");
    let search = std::env::var_os("PATH").expect("a PATH");
    let git = std::env::split_paths(&search).map(|dir| dir.join("git")).find(|git| git.is_file());
    std::os::unix::fs::symlink(git.expect("git"), bin.path().join("git")).expect("a link");
    rigs.await_equal("a", &repository);
    rigs.check_pushes();
}

#[test]
fn branchline_and_dolt_die_in_the_middle_of_a_push() {
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = on_shelf(shelf.path(), "a.git");
    let server = HttpServer::start(shelf.path());
    let proxy = FaultyProxy::start(server.port());
    let settings = config(100, &[("a", &server.url_at(proxy.port(), &repository))]);
    let mut rigs = Rigs::start(&settings, vec![], &["a"]);
    rigs.await_equal("a", &repository);

    let in_the_middle = |rigs: &Rigs| {
        // Slow first, so that it is met while it runs.
        proxy.set(Fault::Slow(5_000));
        work(rigs, "a");
        rigs.await_push_running("a");
        proxy.set(Fault::Hang);
        assert!(!rigs.processes().is_empty());
    };
    in_the_middle(&rigs);
    let before = rigs.sessions();
    let dolt = rigs.branchline().dolt().pid;
    kill_process(Pid::from_raw(dolt).expect("a pid"), Signal::KILL).expect("killed");
    rigs.until("Dolt is there again", || rigs.branchline().try_dolt().filter(|now| now.pid != dolt));
    assert!(rigs.sessions().is_disjoint(&before), "gits of the Dolt that died go on");
    work(&rigs, "a");
    proxy.set(Fault::None);
    rigs.await_equal("a", &repository);

    in_the_middle(&rigs);
    rigs.kill();
    rigs.start_again();
    work(&rigs, "a");
    proxy.set(Fault::None);
    rigs.await_equal("a", &repository);
    rigs.check_pushes();
}

/// A database that Branchline does not push: its clients do.
#[test]
fn a_client_that_vanishes_while_it_pushes_keeps_its_turn_until_that_has_ended() {
    /// Less than git needs to give up by itself.
    const ENDED_WITHIN: Duration = Duration::from_secs(25);
    const PUSH: &str = "CALL DOLT_PUSH('h', 'main')";
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = on_shelf(shelf.path(), "a.git");
    let server = HttpServer::start(shelf.path());
    let proxy = FaultyProxy::start(server.port());
    let rigs = Rigs::start(&config(100, &[]), vec![], &["a"]);
    let mut client = rigs.client("a");
    client.run(&format!("CALL DOLT_REMOTE('add', 'h', '{}')", server.url_at(proxy.port(), &repository)));
    proxy.set(Fault::Hang);
    let mut first = rigs.client("a");
    first.send(3, PUSH.as_bytes());
    rigs.until("it pushes", || (!rigs.sessions().is_empty()).then_some(()));
    let of_first = rigs.sessions();

    // Who may hold what the first one needs does not wait for it, and does not push beside it.
    client.run("BEGIN");
    client.row("SELECT 1");
    let busy = client.err(PUSH);
    assert!(busy.code == 1205 && busy.message.contains("COMMIT first"), "{busy}");
    client.run("ROLLBACK");

    let second = std::thread::spawn({
        let mut second = rigs.client("a");
        move || second.run(PUSH)
    });
    drop(first);
    let port = rigs.branchline().dolt().port;
    let mut dolt = Client::connect(([127, 0, 0, 1], port).into(), &Login::root(""));
    let pushes = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'CALL DOLT_PUSH%'";
    watch::until(ENDED_WITHIN, "what the vanished client began has ended", || {
        assert!(matches!(dolt.row(pushes).as_str(), "0" | "1"), "two push at once");
        rigs.sessions().is_disjoint(&of_first).then_some(())
    });
    proxy.set(Fault::None);
    second.join().expect("the second one pushes");
    assert_eq!(Clone::of(&repository).row("SELECT COUNT(*) FROM t"), "0");
    rigs.check_pushes();
}

/// With a remote that hangs, against without one: the medians of one run, sample by sample in turn.
#[test]
fn a_commit_takes_as_long_with_a_dead_remote_as_without() {
    const SAMPLES: usize = 300;
    const ROUNDS_MAX: usize = 8;
    let shelf = tempfile::tempdir().expect("a temporary directory");
    let repository = on_shelf(shelf.path(), "a.git");
    let server = HttpServer::start(shelf.path());
    let proxy = FaultyProxy::start(server.port());
    proxy.set(Fault::Hang);
    let url = server.url_at(proxy.port(), &repository);
    let with = Rigs::start(&config(3, &[("a", &url)]), vec![], &["a"]);
    let without = Rigs::start(&config(3, &[]), vec![], &["a"]);
    let mut samples: [Vec<Duration>; 2] = [vec![], vec![]];
    let mut clients = [with.client("a"), without.client("a")];
    // From here on one push after the other hangs.
    watch::until(Duration::from_secs(30), "a push is tried", || (proxy.connections() > 0).then_some(()));
    let mut number = 0;
    for round in 1..=ROUNDS_MAX {
        for _ in 0..SAMPLES {
            number += 1;
            // Neither is always the first one after the other's work.
            let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let client = &mut clients[which];
                let begun = Instant::now();
                client.run(&format!("INSERT INTO t VALUES ({number}, {number})"));
                client.run("CALL DOLT_COMMIT('-Am', 'a row')");
                samples[which].push(begun.elapsed());
            }
        }
        let [dead, none] = samples.each_mut().map(|samples| {
            samples.sort_unstable();
            samples[samples.len() / 2]
        });
        let ratio = dead.as_secs_f64() / none.as_secs_f64();
        println!(
            "a commit: {dead:?} with a dead remote, {none:?} without; ratio {ratio:.3} of {number} each"
        );
        if ratio <= 1.1 {
            break;
        }
        assert!(round < ROUNDS_MAX, "{dead:?} with a dead remote, {none:?} without");
    }
    let record = with.await_outcome("a", &["timeout"]);
    assert!(record["text"].as_str().is_some_and(|text| text.contains("did not end")), "{record}");
}
