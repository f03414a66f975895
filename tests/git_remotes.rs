//! The remotes of the tests are what they seem: real git reaches them over file, ssh and http, with the right
//! credentials only, and their faults are faults.

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use support::git::{Access, Fault, FaultyProxy, HttpServer, Repository, SshServer};
use tempfile::TempDir;

/// A push of a commit of about this many bytes, as git with Branchline's environment does it.
fn push(url: &str, ssh: Option<&SshServer>, bytes: usize) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let git = || support::git::git(directory.path());
    support::git::run(git(), &["init", "-q", "--initial-branch=main"]);
    // Not compressible.
    let mut random = vec![0; bytes];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    std::fs::write(directory.path().join("file"), &random).expect("written");
    support::git::run(git(), &["add", "file"]);
    support::git::run(git(), &["commit", "-q", "-m", "data"]);
    let mut command = git();
    let inherited = std::env::vars_os().filter(|(name, _)| name != "GIT_SSH_COMMAND");
    for (name, value) in branchline::dolt::git::environment(inherited) {
        if name.to_string_lossy().starts_with("GIT_SSH") || name == "GIT_ASKPASS" {
            command.env(name, value);
        }
    }
    if let Some(ssh) = ssh {
        command.envs(ssh.environment());
    }
    let url = url.trim_start_matches("git+");
    command.args(["push", "-q", url, "HEAD:refs/dolt/data", "--force"]).output().expect("git runs")
}

fn refused(output: &Output, want: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(want), "{want}: {said}");
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn shelf() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn a_repository_changes_hands() {
    let repository = Repository::new();
    assert_eq!(repository.refs().keys().collect::<Vec<_>>(), ["refs/heads/main"]);
    done(&push(&repository.file_url(), None, 10));
    let first = repository.data().expect("pushed");
    repository.protect_data();
    refused(&push(&repository.file_url(), None, 10), "pre-receive hook declined");
    repository.unprotect_data();
    done(&push(&repository.file_url(), None, 10));
    repository.set_data(&first);
    assert_eq!(repository.data(), Some(first));
    repository.delete_data();
    assert_eq!(repository.data(), None);
    repository.take_away();
    refused(&push(&repository.file_url(), None, 10), "does not appear to be a git repository");
    repository.bring_back();
    let other = Repository::new();
    done(&push(&other.file_url(), None, 10));
    repository.replace_with(&other);
    assert_eq!(repository.refs(), other.refs());
    repository.check();
}

#[test]
fn ssh_wants_a_known_host_and_a_key_and_never_a_terminal() {
    let ssh = SshServer::start();
    let repository = Repository::new();
    let url = ssh.url(&repository);
    for (access, want) in [
        (Access::UnknownHost, "Host key verification failed"),
        (Access::ChangedHost, "REMOTE HOST IDENTIFICATION HAS CHANGED"),
        (Access::NoKey, "Permission denied (publickey)"),
        (Access::Passphrase, "Permission denied (publickey)"),
    ] {
        ssh.grant(access);
        refused(&push(&url, Some(&ssh), 10), want);
    }
    ssh.grant(Access::Key);
    done(&push(&url, Some(&ssh), 10));
    ssh.force(Some("ulimit -f 8; exec sh -c \"$SSH_ORIGINAL_COMMAND\""));
    refused(&push(&url, Some(&ssh), 100_000), "remote unpack failed");
    ssh.force(None);
    done(&push(&url, Some(&ssh), 100_000));
    repository.check();
}

#[test]
fn http_wants_its_password_and_takes_chunked_requests() {
    let shelf = shelf();
    let repository = Repository::create(&shelf.path().join("r.git"));
    let open = HttpServer::start(shelf.path());
    done(&push(&open.url(&repository), None, 10));
    // More than http.postBuffer: in chunks.
    done(&push(&open.url(&repository), None, 3 << 20));
    let locked = HttpServer::with_password(shelf.path(), "right");
    refused(&push(&locked.url(&repository), None, 10), "Authentication failed");
    refused(&push(&locked.url_with("wrong", &repository), None, 10), "Authentication failed");
    done(&push(&locked.url_with("right", &repository), None, 10));
    locked.set_password("another");
    refused(&push(&locked.url_with("right", &repository), None, 10), "Authentication failed");
    repository.check();
}

#[test]
fn a_network_has_the_faults_that_are_asked_for() {
    let shelf = shelf();
    let repository = Repository::create(&shelf.path().join("r.git"));
    let server = HttpServer::start(shelf.path());
    let proxy = FaultyProxy::start(server.port());
    let url = server.url_at(proxy.port(), &repository);
    done(&push(&url, None, 200_000));
    assert!(proxy.connections() > 0 && proxy.bytes() > 200_000, "{}", proxy.bytes());

    proxy.set(Fault::Refuse);
    refused(&push(&url, None, 10), "Failed to connect");
    proxy.set(Fault::DropAfter(100_000));
    let before = repository.data();
    assert!(!push(&url, None, 200_000).status.success());
    assert_eq!(repository.data(), before);
    proxy.set(Fault::Slow(100_000));
    let begun = Instant::now();
    done(&push(&url, None, 150_000));
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());

    proxy.set(Fault::Hang);
    let connections = proxy.connections();
    let hanging = std::thread::spawn({
        let url = url.clone();
        move || push(&url, None, 10)
    });
    support::watch::until(Duration::from_secs(20), "git connects", || {
        (proxy.connections() > connections).then_some(())
    });
    assert!(!hanging.is_finished());
    proxy.set(Fault::None);
    done(&hanging.join().expect("no panic"));
    repository.check();
}
