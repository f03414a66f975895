//! What is wrong with a remote is told: once, to everybody who should be told, and again when it is over; by the real
//! binary, with a real repository and receivers of our own.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;
use support::branchline::Branchline;
use support::client::{Client, Login};
use support::git::Repository;
use support::watch;

const DEADLINE: Duration = Duration::from_secs(60);

/// Takes POSTs on loopback until the test ends.
struct Receiver {
    url: String,
    taken: Arc<Mutex<Vec<Json>>>,
}

impl Receiver {
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/hooks/hunter2", listener.local_addr().expect("an address"));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                stream.set_read_timeout(Some(DEADLINE)).expect("a limit");
                let (mut request, mut piece) = (Vec::new(), [0; 4096]);
                let body = loop {
                    let text = String::from_utf8_lossy(&request).into_owned();
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let length = head.lines().find_map(|line| {
                            let (name, value) = line.split_once(": ")?;
                            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
                        });
                        if body.len() >= length.unwrap_or(0) {
                            break body.to_owned();
                        }
                    }
                    let count = stream.read(&mut piece).unwrap_or(0);
                    assert!(count > 0, "cut short: {text}");
                    request.extend(&piece[..count]);
                };
                into.lock().expect("not poisoned").push(serde_json::from_str(&body).expect("JSON"));
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self { url, taken }
    }

    fn taken(&self) -> Vec<Json> {
        self.taken.lock().expect("not poisoned").clone()
    }
}

/// A town with a database that is pushed to a repository.
struct Place {
    directory: tempfile::TempDir,
    repository: Repository,
}

impl Place {
    fn new(alerts: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let repository = Repository::create(&directory.path().join("beads.git"));
        for name in ["mayor", "state", "bin"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let place = Self { directory, repository };
        let config = format!(
            "[remotes]\nquiet_s = 0\nbackoff_min_s = 1\n[remotes.beads]\nurl = \"{}\"\n[alerts]\nfailing_after_min = 0\n{alerts}",
            place.repository.file_url()
        );
        std::fs::write(place.path("state/branchline.toml"), config).expect("written");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program that is found as `gt`.
    fn gt(&self, script: &str) {
        let path = self.path("bin/gt");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made a program");
    }

    fn start(&self) -> Branchline {
        let on_path = std::env::var("PATH").expect("a PATH");
        let bin = self.path("bin").display().to_string();
        Branchline::start_in(self.directory.path(), |command| {
            command.env("PATH", format!("{bin}:{on_path}"));
        })
    }
}

fn say(branchline: &Branchline, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.args(arguments).arg("--state-dir").arg(branchline.state_dir());
    let output = command.output().expect("branchline runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn alerts(branchline: &Branchline, all: bool) -> Vec<Json> {
    let mut arguments = vec!["alerts", "--json"];
    arguments.extend(all.then_some("--all"));
    let text = say(branchline, &arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn make_beads(branchline: &Branchline) {
    let mut client = Client::connect(branchline.addr(), &Login::root(""));
    for sql in [
        "CREATE DATABASE beads",
        "USE beads",
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "CALL DOLT_COMMIT('-Am', 'one')",
    ] {
        client.run(sql);
    }
}

fn await_pushed(branchline: &Branchline) {
    watch::until(DEADLINE, "it is pushed", || {
        say(branchline, &["push", "beads"]).contains("up to date").then_some(())
    });
}

fn messages(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn what_is_wrong_is_told_once_to_everybody_and_again_when_it_is_over() {
    let receiver = Receiver::start("204 No Content");
    let place = Place::new(&format!("webhook = \"{}\"\nalert_command = \"COMMAND\"\n", receiver.url));
    // Quotes of the shell survive the way through the settings.
    let [file, mails] = ["told's.json", "mails"].map(|name| place.path(name));
    let config = place.path("state/branchline.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    let command = format!("cat >> '''{}'''", file.display()).replace("'''", "\\\"");
    std::fs::write(&config, text.replace("COMMAND", &command)).expect("written");
    place.gt(&format!(
        "pwd > {0}.dir; printf '%s|' \"$@\" | tr '\\n' ' ' >> {0}; echo >> {0}",
        mails.display()
    ));
    let branchline = place.start();
    make_beads(&branchline);
    await_pushed(&branchline);
    assert!(say(&branchline, &["alerts"]).contains("nothing is wrong"));

    place.repository.take_away();
    let pushed = say(&branchline, &["push", "beads"]);
    assert!(pushed.contains("unreachable"), "{pushed}");
    let told = watch::until(DEADLINE, "everybody is told", || {
        let alerts = alerts(&branchline, false);
        alerts.first().filter(|alert| !alert["told"].is_null()).cloned()
    });
    assert_eq!((&told["kind"], &told["database"]), (&"failing".into(), &"beads".into()), "{told}");
    let how = told["told"].as_str().expect("a text");
    assert!(
        how.starts_with("log; command done; http://127.0.0.1:") && how.ends_with("/… done; mail done"),
        "{how}"
    );
    let [by_command] = messages(&file).try_into().expect("one message");
    assert_eq!(receiver.taken(), std::slice::from_ref(&by_command), "both get the same");
    let url = place.repository.file_url();
    for (field, want) in [("event", "raised"), ("kind", "failing"), ("database", "beads"), ("remote", &url)] {
        assert_eq!(by_command[field], *want, "{by_command}");
    }
    assert!(
        by_command["since"].as_str().is_some_and(|since| since.ends_with('Z') && since.len() == 20),
        "{by_command}"
    );
    assert!(
        by_command["text"].as_str().is_some_and(|text| text.starts_with("unreachable: ")),
        "{by_command}"
    );
    for field in ["advice", "host"] {
        assert!(by_command[field].as_str().is_some_and(|text| !text.is_empty()), "{by_command}");
    }
    let mail = std::fs::read_to_string(&mails).expect("a mail");
    assert!(
        mail.starts_with("mail|send|mayor/|-s|Branchline: failing raised: beads|-m|failing raised "),
        "{mail}"
    );
    let from = std::fs::read_to_string(mails.with_extension("dir")).expect("a directory");
    assert_eq!(Path::new(from.trim()), place.directory.path().canonicalize().expect("a path"));
    let status = say(&branchline, &["status"]);
    assert!(status.contains("ALERT") && status.contains("failing: beads"), "{status}");
    let shown = say(&branchline, &["alerts"]);
    assert!(shown.contains("failing beads") && shown.contains("told: log; command done"), "{shown}");

    // It goes on being wrong, also after a restart: nobody is told again.
    say(&branchline, &["push", "beads"]);
    drop(branchline);
    let branchline = place.start();
    say(&branchline, &["push", "beads"]);
    assert_eq!(alerts(&branchline, false), [told.clone()]);
    assert_eq!((messages(&file).len(), receiver.taken().len()), (1, 1));

    place.repository.bring_back();
    await_pushed(&branchline);
    let over = watch::until(DEADLINE, "everybody is told that it is over", || {
        let alerts = alerts(&branchline, true);
        alerts.first().filter(|alert| !alert["told_cleared"].is_null()).cloned()
    });
    assert!(alerts(&branchline, false).is_empty());
    assert_eq!(over["since"], told["since"]);
    let told = messages(&file);
    assert_eq!((told.len(), &told[1]["event"], &told[1]["since"]), (2, &"cleared".into(), &told[0]["since"]));
    assert_eq!(receiver.taken(), told);
    assert_eq!(std::fs::read_to_string(&mails).expect("mails").lines().count(), 2);
    let mode =
        std::fs::metadata(branchline.state_dir().join("alerts.json")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The webhook's path is a secret.
    assert!(
        !branchline.stderr().contains("hunter2")
            && !say(&branchline, &["alerts", "--all"]).contains("hunter2")
    );
}

#[test]
fn receivers_that_fail_are_tried_three_times_and_hold_nobody_up() {
    let receiver = Receiver::start("500 No");
    let place = Place::new(&format!(
        "webhook = \"{}\"\nalert_command = \"echo $$ >> ../pids; exec sleep 600\"\ntimeout_s = 1\n",
        receiver.url
    ));
    // Without a way to say where, the command's file is beside Branchline's working directory; so name it.
    let config = place.path("state/branchline.toml");
    let text = std::fs::read_to_string(&config).expect("read");
    let pids = place.path("pids");
    std::fs::write(&config, text.replace("../pids", &pids.display().to_string())).expect("written");
    place.gt("echo the mayor is out >&2; exit 4");
    let branchline = place.start();
    make_beads(&branchline);
    await_pushed(&branchline);
    place.repository.take_away();
    say(&branchline, &["push", "beads"]);
    // While that is being told, pushes go on.
    place.repository.bring_back();
    await_pushed(&branchline);
    let told = watch::until(DEADLINE, "all have been tried", || {
        let alerts = alerts(&branchline, true);
        alerts.first().filter(|alert| !alert["told_cleared"].is_null()).cloned()
    });
    for how in ["told", "told_cleared"] {
        let how = told[how].as_str().expect("a text");
        for part in [
            "command failed: did not end within 1 s (alerts.timeout_s) and was ended",
            "/… failed: it answered 500",
            "mail failed: exit status: 4: the mayor is out",
        ] {
            assert!(how.contains(part), "{how}");
        }
    }
    let events: Vec<Json> = receiver.taken().iter().map(|message| message["event"].clone()).collect();
    assert_eq!(
        events,
        ["raised", "raised", "raised", "cleared", "cleared", "cleared"],
        "in order, three tries each"
    );
    let started = std::fs::read_to_string(&pids).expect("pids");
    assert_eq!(started.lines().count(), 6);
    for pid in started.lines() {
        let pid = pid.parse().expect("a pid");
        watch::until(DEADLINE, "its command is ended", || (!watch::is_running(pid)).then_some(()));
    }
    assert!(!branchline.stderr().contains("hunter2"));
}
