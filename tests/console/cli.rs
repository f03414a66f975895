//! The CLI against a served console: what it prints and how it exits.

use std::process::{Output, Stdio};
use std::sync::atomic::Ordering;

use tokio::process::Command;

use super::fake::CLIENT_ID;
use super::{Served, serve, soon};

async fn branchline(served: &Served, args: &[&str]) -> Output {
    let state_dir = served.path.parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.args(args).arg("--state-dir").arg(state_dir).current_dir(state_dir);
    command.env_clear().env("HOME", state_dir).stdin(Stdio::null()).kill_on_drop(true);
    soon(command.output()).await.unwrap()
}

/// stdout of a command that worked, with what changes from run to run replaced.
async fn stdout(served: &Served, args: &[&str]) -> String {
    let output = branchline(served, args).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {} {stderr}", output.status);
    let state_dir = served.path.parent().unwrap().display().to_string();
    String::from_utf8(output.stdout)
        .unwrap()
        .replace(&state_dir, "STATE")
        .replace(&format!("pid {},", std::process::id()), "pid PID,")
}

#[tokio::test]
async fn status_for_people_and_programs() {
    let served = serve();
    insta::assert_snapshot!(stdout(&served, &["status"]).await);
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&served, &["status", "--json"]).await).unwrap();
    assert_eq!(json["pid"], std::process::id());
    assert_eq!(json["uptime_s"], 3725);
    assert_eq!(json["listen"], serde_json::json!(["127.0.0.1:3307"]));
    assert_eq!(json["databases"], serde_json::json!(["beads", "hq"]));
    assert_eq!(json["dolt_pid"], serde_json::Value::Null);
    assert_eq!(json["dolt_version"], "1.88.1");
    assert_eq!(json["alerts"][0], "5 restarts in 10 min");
    assert_eq!((&json["lanes_waiting"], &json["lane_sweeps"]), (&3.into(), &1.into()));
    assert!(json["bypasses"][0].as_str().unwrap().starts_with("beads was written"), "{json}");
}

#[tokio::test]
async fn lists_and_changes() {
    let served = serve();
    insta::assert_snapshot!("clients", stdout(&served, &["clients"]).await);
    let clients: serde_json::Value =
        serde_json::from_str(&stdout(&served, &["clients", "--json"]).await).unwrap();
    assert_eq!((&clients[0]["id"], &clients[0]["branch"]), (&CLIENT_ID.into(), &"polecat-nux".into()));
    insta::assert_snapshot!("lanes", stdout(&served, &["lanes"]).await);
    let lanes: serde_json::Value =
        serde_json::from_str(&stdout(&served, &["lanes", "--all", "--json"]).await).unwrap();
    assert_eq!((&lanes["lanes"][0]["waiting"], &lanes["lanes"][2]["lane"]), (&3.into(), &"hq/main".into()));
    assert_eq!((&lanes["totals"]["grants"], &lanes["totals"]["rerun.moved"]), (&120.into(), &2.into()));
    for list in [&["rig", "list"][..], &["list"]] {
        insta::assert_snapshot!("rigs", stdout(&served, list).await);
    }
    assert_eq!(stdout(&served, &["rig", "init", "new"]).await, "made the rig new\n");
    assert_eq!(stdout(&served, &["init-rig", "new"]).await, "made the rig new\n");

    let set = ["route", "set", "polecat-nux", "--account", "o'neil \\", "--attribute", "team=in*"];
    insta::assert_snapshot!("route_set", stdout(&served, &set).await);
    let routes: serde_json::Value =
        serde_json::from_str(&stdout(&served, &["route", "list", "--json"]).await).unwrap();
    assert_eq!(routes[0]["conditions"], r"ACCOUNT 'o''neil \\' ATTRIBUTE.team 'in*'");
    stdout(&served, &["route", "unset", "1"]).await;
    let explain = ["route", "explain", "--database", "gastown", "--bd-branch", "polecat-x", "--pid", "7"];
    insta::assert_snapshot!("route_explain", stdout(&served, &explain).await);

    assert_eq!(
        stdout(&served, &["kill", &CLIENT_ID.to_string()]).await,
        format!("client {CLIENT_ID} is told to end\n")
    );
    assert_eq!(*served.backend.killed.lock().unwrap(), [CLIENT_ID]);
    for (args, want) in [
        (&["kill", "5"][..], "there is no client 5"),
        (&["rig", "init", "hq"], "hq already"),
        (&["route", "unset", "9"], "no assigned rule 9"),
    ] {
        let output = branchline(&served, args).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && stderr.contains(want) && output.stdout.is_empty(),
            "{args:?}: {stderr}"
        );
    }
}

/// `sql` needs a MySQL server on TCP; the console itself is one when its socket is reached through a port.
async fn bridge(served: &Served) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    *served.backend.listen.lock().unwrap() = listener.local_addr().unwrap();
    let path = served.path.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut console = tokio::net::UnixStream::connect(&path).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut console).await });
        }
    });
}

#[tokio::test]
async fn sql_runs_commands_and_scripts() {
    let served = serve();
    bridge(&served).await;
    let sql = "SHOW RIGS; -- no;\nSELECT 42, 'x' ; SELECT database()";
    let output = branchline(&served, &["sql", "gastown", "-e", sql]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("branchline: ERROR 1064 (42000): unknown command"), "{stderr}");
    insta::assert_snapshot!("sql_until_the_first_error", String::from_utf8_lossy(&output.stdout));

    let json = stdout(&served, &["sql", "--json", "-e", "SELECT 42, DATABASE(); KILL 1073741825"]).await;
    assert_eq!(json, "[{\"42\":42,\"DATABASE()\":null}]\n{\"affected_rows\":0}\n");

    let state_dir = served.path.parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.args(["sql", "--json", "--state-dir"]).arg(state_dir).env_clear().env("HOME", state_dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    soon(tokio::io::AsyncWriteExt::write_all(&mut stdin, b"DELIMITER //\nSELECT 1//\nSELECT 2"))
        .await
        .unwrap();
    drop(stdin);
    let output = soon(child.wait_with_output()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[{\"1\":1}]\n[{\"2\":2}]\n");

    let password = state_dir.join("password");
    std::fs::write(&password, "secret\n").unwrap();
    for (mode, code, want) in [(0o644, 2, "mode 0644"), (0o600, 1, "ERROR 1045 (28000)")] {
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let output =
            branchline(&served, &["sql", "-e", "SELECT 1", "--password-file", password.to_str().unwrap()])
                .await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(code) && stderr.contains(want) && !stderr.contains("secret"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn start_where_one_runs_is_exit_4() {
    let served = serve();
    let output = branchline(&served, &["start", "--data-dir", "/nowhere/data"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains(&format!("pid {} serves 127.0.0.1:3307", std::process::id())), "{stderr}");
}

#[tokio::test]
async fn restart_does_not_swap_the_data_directory() {
    let served = serve();
    let output = branchline(&served, &["restart"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && stderr.contains("the running process serves /data"),
        "{stderr}"
    );
}

#[tokio::test]
async fn stop_terminates_and_waits() {
    let served = serve();
    let mut running = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
    served.backend.pid.store(running.id().unwrap(), Ordering::Relaxed);
    let output = branchline(&served, &["stop", "--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json, serde_json::json!({"stopped": true, "pid": running.id().unwrap()}));
    let ended = running.try_wait().unwrap().expect("stop returned before the process was gone");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(15));

    let mut stubborn = Command::new("sh");
    stubborn.args(["-c", "trap '' TERM; echo trapped; while :; do sleep 1; done"]);
    stubborn.stdout(Stdio::piped()).kill_on_drop(true);
    let mut stubborn = stubborn.spawn().unwrap();
    let mut trapped = [0; 8];
    soon(tokio::io::AsyncReadExt::read_exact(stubborn.stdout.as_mut().unwrap(), &mut trapped)).await.unwrap();
    served.backend.pid.store(stubborn.id().unwrap(), Ordering::Relaxed);
    let output = branchline(&served, &["stop", "--stop-timeout-s", "1"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && stderr.contains("within 1 s"), "{stderr}");
    assert!(stubborn.try_wait().unwrap().is_none(), "stop never kills");
    stubborn.kill().await.unwrap();
}

#[tokio::test]
async fn branches_are_listed_and_sorted() {
    let served = serve();
    insta::assert_snapshot!("branches", stdout(&served, &["branch", "list", "--sort", "ahead"]).await);
    let json = stdout(&served, &["branch", "list", "--json", "--sort", "age_s", "--reverse"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = json.as_array().unwrap().iter().map(|row| row["branch"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "polecat-a", "polecat-b"]);
    assert_eq!((&json[0]["age_s"], &json[2]["ahead"]), (&200_000.into(), &serde_json::Value::Null));
    let output = branchline(&served, &["branch", "list", "--sort", "size"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_failed_job_fails_the_command_and_an_interrupted_one_goes_on() {
    use branchline::admin::{BranchWork, JobState};
    let served = serve();
    let output = branchline(&served, &["nuke", "be'ads", "polecat-\\x", "--force"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && stderr.contains("can't be dropped"), "{stderr}");
    assert!(output.stdout.is_empty() && !stderr.contains('['), "no bar where there is no terminal: {stderr}");
    let drop = BranchWork::Drop { database: "be'ads".into(), branch: "polecat-\\x".into(), force: true };
    assert_eq!(*served.backend.begun.lock().unwrap(), [drop]);

    let state_dir = served.path.parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_branchline"));
    command.args(["branch", "undrop", "beads", "x", "--state-dir"]).arg(state_dir);
    command.env_clear().env("HOME", state_dir).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let jobs = branchline::admin::BranchBackend::jobs(served.backend.as_ref());
    soon(async {
        while jobs.running().first().is_none_or(|job| job.progress.done == 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let id = jobs.running()[0].id;
    // It catches the signal once it has asked how far the job is.
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    soon(async {
        while !catches_interrupts(pid) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = soon(child.wait_with_output()).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("job {id} goes on")), "{stderr}");
    assert_eq!(jobs.get(id).unwrap().state, JobState::Running);
    let listed: serde_json::Value =
        serde_json::from_str(&stdout(&served, &["jobs", "--json"]).await).unwrap();
    assert_eq!(
        (&listed[1]["step"], &listed[1]["done"], &listed[1]["total"]),
        (&"bring it back".into(), &3.into(), &10.into())
    );
}

/// Whether the process has a handler for SIGINT.
fn catches_interrupts(pid: rustix::process::Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 1) != 0
}
