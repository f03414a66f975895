//! The CLI without a server: exit code, stdout and stderr of help, wrong usage, wrong settings, nothing running.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// In an empty home, with nothing of the real environment.
fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command
        .args(args)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("COLUMNS", "110")
        .stdin(Stdio::null());
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

/// Exit code, stdout and stderr in one text.
fn shown(home: &Path, args: &[&str]) -> String {
    let output = run(home, args);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(&home.display().to_string(), "HOME")
    };
    let code = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    format!("exit: {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_and_wrong_usage() {
    let home = tempfile::tempdir().unwrap();
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help_serve", &["serve", "--help"]),
        ("help_route_set", &["route", "set", "--help"]),
        ("version", &["--version"]),
        ("no_command", &[]),
        ("unknown_command", &["sttus"]),
        ("unknown_flag", &["status", "--jsn"]),
        ("bad_attribute", &["route", "set", "b", "--attribute", "x y=z"]),
    ] {
        insta::assert_snapshot!(name, shown(home.path(), args));
    }
}

#[test]
fn every_command_that_needs_a_server_says_where_it_looked() {
    let home = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("not_running", shown(home.path(), &["status"]));
    for args in [
        &["stop"][..],
        &["clients"],
        &["lanes"],
        &["lanes", "--watch"],
        &["kill", "1"],
        &["sql", "-e", "SELECT 1"],
        &["rig", "list"],
        &["list"],
        &["init-rig", "x"],
        &["route", "list"],
        &["route", "set", "b", "--account", "a"],
        &["route", "unset", "1"],
        &["route", "explain"],
        &["status", "--json"],
    ] {
        let state = home.path().join("elsewhere");
        let args = [args, &["--state-dir", state.to_str().unwrap()]].concat();
        let output = run(home.path(), &args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {stderr}");
        assert!(
            stderr.contains(state.to_str().unwrap()) && stderr.contains("branchline start"),
            "{args:?}: {stderr}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert!(!home.path().join("elsewhere").exists(), "looking makes nothing");
}

#[test]
fn wrong_settings_are_reported_together_and_nothing_starts() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".branchline")).unwrap();
    std::fs::write(
        home.path().join(".branchline/branchline.toml"),
        "lissten = []\n[limits]\nclients_max = -1\n[dolt]\nadress = \"x\"\n",
    )
    .unwrap();
    let flags = ["--listen", "nowhere", "--dolt-address", "nowhere"];
    insta::assert_snapshot!("wrong_settings", shown(home.path(), &[&["serve"][..], &flags].concat()));
    let output = run(home.path(), &[&["start"][..], &flags].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(!home.path().join(".branchline/branchline.log").exists());
}

#[test]
fn start_does_not_swap_the_data_directory() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join(".branchline");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("start.json"), r#"{"data_dir": "/srv/rigs"}"#).unwrap();
    let output = run(home.path(), &["start"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("served /srv/rigs") && stderr.contains("branchline restart"), "{stderr}");
    assert!(!state.join("branchline.log").exists());
}

#[test]
fn completions_and_manual() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(home.path(), &["completions", shell]);
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("explain") && script.contains("data-dir"), "{shell}");
    }
    let page = String::from_utf8(run(home.path(), &["man"]).stdout).unwrap();
    assert!(page.starts_with(".ie") && page.contains("branchline"));
    assert!(run(home.path(), &["man", "--out", "pages"]).status.success());
    for page in ["branchline.1", "branchline-route-explain.1"] {
        assert!(home.path().join("pages").join(page).exists(), "{page}");
    }
}

#[test]
fn logs_show_the_end_and_follow_across_rotation() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join(".branchline");
    insta::assert_snapshot!("no_log", shown(home.path(), &["logs"]));
    std::fs::create_dir(&state).unwrap();
    let log = state.join("branchline.log");
    std::fs::write(&log, "one\ntwo\n{\"level\":\"INFO\"}\n").unwrap();
    std::fs::write(state.join("dolt.log"), "dolt's\n").unwrap();
    let stdout = |args: &[&str]| String::from_utf8(run(home.path(), args).stdout).unwrap();
    assert_eq!(stdout(&["logs", "-n", "2"]), "two\n{\"level\":\"INFO\"}\n");
    assert_eq!(stdout(&["logs", "--json", "-n", "2"]), "{\"line\":\"two\"}\n{\"level\":\"INFO\"}\n");
    assert_eq!(stdout(&["logs", "--dolt"]), "dolt's\n");

    let mut follower =
        command(home.path(), &["logs", "-f", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = BufReader::new(follower.stdout.take().unwrap());
    std::thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || lines.recv_timeout(std::time::Duration::from_secs(30)).expect("no line within 30 s");
    assert_eq!(next(), "{\"level\":\"INFO\"}");
    let append = |line: &str| {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    };
    append("three\nlast of ");
    assert_eq!(next(), "three");
    append("the old file\n");
    std::fs::rename(&log, state.join("branchline.log.1")).unwrap();
    append("first of the new\n");
    assert_eq!((next(), next()), ("last of the old file".to_owned(), "first of the new".to_owned()));
    follower.kill().unwrap();
    follower.wait().unwrap();
}
