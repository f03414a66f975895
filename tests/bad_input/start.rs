//! Settings and places that Branchline must not start with: exit code, a message to act on, and nothing left.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::support::branchline::{Branchline, Ended};
use super::support::{dolt_binary, watch};

/// Where root's power to write anywhere is given up.
const NOBODY: u32 = 65534;

/// A `serve` that must not stay; nothing of it may be left.
fn refused(directory: &Path, change: impl FnOnce(&mut Command)) -> Ended {
    let ended = Branchline::refused(directory, |command| {
        command.args(["--listen", "127.0.0.1:0"]);
        change(command);
    });
    assert_eq!(watch::processes_of(directory), [""; 0], "left running");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

/// With its usual directories and Dolt.
fn usual(command: &mut Command, directory: &Path) {
    command.arg("--data-dir").arg(directory.join("data")).arg("--state-dir").arg(directory.join("state"));
    command.arg("--dolt").arg(dolt_binary());
}

fn assert_says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in:\n{}", ended.stderr);
    }
}

#[test]
fn directories_that_cannot_be_used_are_told() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    let path = |name: &str| directory.join(name);
    fs::write(path("file"), "a file").expect("written");
    // A path that can't be right is a wrong setting (2); one that can't be used now is a failure (1).
    for (data, state, what) in [("file", "state", "--data-dir"), ("data", "file", "--state-dir")] {
        let ended = refused(directory, |command| {
            command.arg("--data-dir").arg(path(data)).arg("--state-dir").arg(path(state));
            command.arg("--dolt").arg(dolt_binary());
        });
        assert_says(&ended, 2, &[what, "/file is not a directory"]);
    }
    let below = refused(directory, |command| {
        command.arg("--data-dir").arg(path("file/below")).arg("--state-dir").arg(path("state"));
        command.arg("--dolt").arg(dolt_binary());
    });
    assert_says(&below, 1, &["file/below", "is below something that is not a directory"]);
    assert_eq!(fs::read_to_string(path("file")).as_deref().ok(), Some("a file"));
}

#[test]
fn directories_without_permission_are_told() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    let path = |name: &str| directory.join(name);
    // A user without root's powers must reach everything but write only to `open`.
    let program = path("branchline");
    fs::copy(env!("CARGO_BIN_EXE_branchline"), &program).expect("copied");
    for (name, mode) in [("", 0o755), ("closed", 0o555), ("open", 0o777)] {
        let path = path(name);
        fs::create_dir_all(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    for (data, state) in
        [("closed", "open"), ("open", "closed"), ("closed/new", "open"), ("open", "closed/new")]
    {
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--dolt", "/bin/true"]);
        command.arg("--data-dir").arg(path(data)).arg("--state-dir").arg(path(state));
        command.env("HOME", path("open"));
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().expect("it runs and ends");
        let ended = Ended {
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let parts: &[&str] = match state {
            "open" => &["closed", "may not be written to by this user", "--data-dir"],
            _ => &["closed", "--state-dir"],
        };
        assert_says(&ended, 1, parts);
    }
    assert_eq!(watch::processes_of(directory), [""; 0], "left running");
}

#[test]
fn directories_of_a_running_branchline_are_told_with_its_pid() {
    let first = Branchline::start();
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    let pid = format!("pid {}", first.pid());
    let own = |name: &str| directory.join(name);
    for (data, state) in [(first.data_dir(), &*own("state")), (&*own("data"), first.state_dir())] {
        let ended = refused(directory, |command| {
            command.arg("--data-dir").arg(data).arg("--state-dir").arg(state);
            command.arg("--dolt").arg(dolt_binary());
        });
        assert_says(&ended, 4, &[&pid, "branchline stop"]);
    }
    super::assert_well(&first, "others wanted its directories");
}

#[test]
fn a_port_in_use_is_told_before_dolt_is_started() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let place = tempfile::tempdir().expect("a temporary directory");
    let ended = refused(place.path(), |command| {
        usual(command, place.path());
        command.args(["--listen", &address]);
    });
    assert_says(&ended, 1, &[&address, "another process has it", "--listen"]);
    assert!(!place.path().join("state/dolt.log").exists(), "Dolt was started");
}

#[test]
fn all_problems_of_a_config_are_told_at_once_with_line_and_key() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let config = place.path().join("branchline.toml");
    let text = "listne = [\"127.0.0.1:1\"]\n\
                [limits]\n\
                clients_max = \"many\"\n\
                handshake_timeout_s = 0\n\
                [routing]\n\
                colour = \"blue\"\n\
                user_separator = \"++\"\n\
                [[routing.rules]]\n\
                account = \"a\"\n";
    fs::write(&config, text).expect("written");
    let ended = refused(place.path(), |command| {
        usual(command, place.path());
        command.arg("--config").arg(&config);
    });
    let at = |line: u32, key: &str| format!("{}:{line}: {key}", config.display());
    let problems = [
        at(1, "listne"),
        at(3, "limits.clients_max"),
        at(4, "limits.handshake_timeout_s"),
        at(6, "routing.colour"),
        at(7, "routing.user_separator"),
        at(8, "routing.rules[0]"),
    ];
    let parts: Vec<&str> = problems.iter().map(String::as_str).chain(["6 problems", "listen"]).collect();
    assert_says(&ended, 2, &parts);

    fs::write(&config, "[limits\nclients_max = 1\n").expect("written");
    let ended = refused(place.path(), |command| {
        usual(command, place.path());
        command.arg("--config").arg(&config);
    });
    assert_says(&ended, 2, &[&format!("{}:1: ", config.display())]);

    let missing = place.path().join("missing.toml");
    let ended = refused(place.path(), |command| {
        usual(command, place.path());
        command.arg("--config").arg(&missing);
    });
    assert_says(&ended, 2, &["missing.toml"]);
}

#[test]
fn a_dolt_that_is_missing_too_old_or_none_is_told_with_the_way_to_one() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    let binary = directory.join("dolt");
    let with = |binary: &Path| {
        refused(directory, |command| {
            command.arg("--data-dir").arg(directory.join("data"));
            command.arg("--state-dir").arg(directory.join("state")).arg("--dolt").arg(binary);
        })
    };
    assert_says(&with(&directory.join("nothing")), 1, &["nothing", "does not exist", "make dolt"]);
    let script = |text: &str, mode| {
        fs::write(&binary, text).expect("written");
        fs::set_permissions(&binary, fs::Permissions::from_mode(mode)).expect("chmod");
        with(&binary)
    };
    assert_says(&script("#!/bin/sh\n", 0o644), 1, &["is not an executable file", "1.81.8"]);
    assert_says(
        &script("#!/bin/sh\necho dolt version 1.81.7\n", 0o755),
        1,
        &["is 1.81.7, but at least 1.81.8 is needed", "make dolt"],
    );
    assert_says(&script("#!/bin/sh\necho hello\n", 0o755), 1, &["is no Dolt", "make dolt"]);
    // New enough by its words, and then it does not serve: its own words are shown.
    let broken = "#!/bin/sh\n[ \"$1\" = version ] && { echo dolt version 1.88.1; exit; }\necho the disk is on fire >&2\nexit 3\n";
    assert_says(&script(broken, 0o755), 1, &["Dolt did not start", "the disk is on fire"]);
}
