//! The console over its real socket, with mysql_async, raw bytes and the mariadb CLI, against a fake backend.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

mod cli;
mod fake;

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use branchline::admin::{BindError, Console};
use fake::{CLIENT_ID, Fake, PASSWORD};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

struct Served {
    backend: Arc<Fake>,
    path: PathBuf,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

fn serve() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("branchline.sock");
    let backend = Arc::new(Fake::new(dir.path()));
    let stop = CancellationToken::new();
    let console = Console::bind(&path).unwrap();
    let task = tokio::spawn(
        console.serve(Arc::clone(&backend) as Arc<dyn branchline::admin::Backend>, stop.clone()),
    );
    Served { backend, path, stop, task, _dir: dir }
}

/// Nothing here may take longer.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("not within 30 s")
}

async fn connect(served: &Served, password: Option<&str>) -> Result<Conn, mysql_async::Error> {
    let opts = OptsBuilder::default()
        .socket(Some(served.path.display().to_string()))
        .user(Some("me"))
        .pass(password);
    soon(Conn::new(opts)).await
}

async fn rows(conn: &mut Conn, sql: &str) -> Vec<Vec<String>> {
    let rows: Vec<Row> = soon(conn.query(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = |value: Value| match value {
        Value::NULL => "NULL".to_owned(),
        other => mysql_async::from_value(other),
    };
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
}

async fn error(conn: &mut Conn, sql: &str) -> (u16, String) {
    match soon(conn.query_drop(sql)).await {
        Err(mysql_async::Error::Server(error)) => (error.code, error.message),
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn every_command_answers() {
    let served = serve();
    let mut conn = connect(&served, None).await.unwrap();
    let conn = &mut conn;

    let status = rows(conn, "show status;").await;
    let of = |name: &str| {
        status.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name}"))[1].clone()
    };
    assert_eq!(of("pid"), std::process::id().to_string());
    assert_eq!(of("started"), "2001-09-09T01:46:40Z");
    assert_eq!((of("listen"), of("socket")), ("127.0.0.1:3307".into(), "NULL".into()));
    assert_eq!((of("dolt_state"), of("dolt_health_latency_ms")), ("down".into(), "1.500".into()));
    assert_eq!(
        (of("lanes_held"), of("lanes_waiting"), of("lane_reruns")),
        ("1".into(), "3".into(), "2".into())
    );
    assert!(of("bypass").contains("beads was written without Branchline: noticed 3 times"));
    assert_eq!((of("databases"), of("disk_used_bytes")), ("beads, hq".into(), "4096".into()));

    let clients = rows(conn, "/* who */ SHOW CLIENTS").await;
    assert_eq!(
        clients[0][..7],
        [&CLIENT_ID.to_string(), "127.0.0.1:5123", "root@%", "bd", "77", "gastown", "polecat-nux"]
    );

    let lanes = rows(conn, "SHOW LANES").await;
    let statement = &lanes[0][7];
    assert_eq!(lanes[0][..6], ["beads/polecat-nux", "idle", "1500", &CLIENT_ID.to_string(), "root@%", "bd"]);
    assert!(statement.starts_with("INSERT INTO issues") && statement.chars().count() == 80, "{statement}");
    assert_eq!((lanes.len(), lanes[1][1].as_str()), (2, "lent"));
    assert_eq!(lanes[1][8], format!("{CLIENT_ID}, {}", CLIENT_ID + 1));
    assert_eq!(rows(conn, "show lanes all;").await[2][..3], ["hq/main", "free", "NULL"]);
    let totals = rows(conn, "SHOW LANE TOTALS").await;
    for (name, value) in [("held", "1"), ("wait_max_ms", "812"), ("rerun.moved", "2"), ("yields", "0")] {
        assert!(totals.contains(&vec![name.into(), value.into()]), "{name}: {totals:?}");
    }
    assert_eq!(error(conn, "SHOW LANES some").await.0, 1064);

    assert_eq!(rows(conn, "SHOW VERSION").await[1], ["dolt", "1.88.1"]);
    assert_eq!(rows(conn, "SHOW RIGS").await, [["hq", "1", "yes", "/data/hq"]]);
    assert_eq!(rows(conn, "CREATE RIG `my-rig`").await[0][0], "my-rig");
    assert_eq!(error(conn, "CREATE RIG hq").await.0, 1007);
    assert_eq!(error(conn, "CREATE RIG 'a`b'").await.0, 1525);
    assert_eq!(rows(conn, "dump").await, [["line one"], ["line two"]]);
    assert!(rows(conn, "HELP").await.iter().any(|row| row[0] == "KILL id"));

    let config = rows(conn, "SHOW CONFIG").await;
    assert!(config.contains(&vec!["dolt.password".into(), "(set)".into()]));
    assert!(config.contains(&vec!["lanes.same_process_idle_ms".into(), "40".into()]));
    assert!(config.contains(&vec!["lanes.auto_commit".into(), "sql".into()]));
    assert!(!format!("{config:?}").contains(PASSWORD), "the password is shown");

    soon(conn.query_drop(format!("KILL {CLIENT_ID}"))).await.unwrap();
    assert_eq!(*served.backend.killed.lock().unwrap(), [CLIENT_ID]);
    assert_eq!(error(conn, "KILL 5").await.0, 1094);
    assert_eq!(error(conn, "KILL x").await.0, 1525);

    let (code, text) = error(conn, "DROP DATABASE hq").await;
    assert_eq!(code, 1064);
    assert!(text.contains("SHOW HELP") && text.contains("EXPLAIN ROUTE"), "{text}");
    assert_eq!(error(conn, "SHOW STATUS now").await.0, 1064);
}

#[tokio::test]
async fn routes_are_assigned_explained_and_removed() {
    let served = serve();
    let mut conn = connect(&served, None).await.unwrap();
    let conn = &mut conn;
    let assigned =
        rows(conn, "route account 'o''neil' attribute.Team = 'in*', address '10.0.0.0/8' to 'polecat-nux'")
            .await;
    let conditions = "ACCOUNT 'o''neil' ADDRESS '10.0.0.0/8' ATTRIBUTE.Team 'in*'";
    assert_eq!(assigned, [["1", conditions, "polecat-nux"]]);
    let shown = rows(conn, "SHOW ROUTES").await;
    assert_eq!(shown[0][..4], ["1", "assigned", conditions, "polecat-nux"]);
    assert!(shown[0][4].starts_with("uid "), "{:?}", shown[0]);
    assert!(shown.iter().any(|row| row[1] == "main_only" && row[2] == "hq"));

    for (sql, code, want) in [
        ("ROUTE TO 'x'", 1064, "needs a condition"),
        ("ROUTE COLOUR 'x' TO 'y'", 1064, "unknown condition COLOUR"),
        ("ROUTE ACCOUNT 'x'", 1064, "TO is missing"),
        ("ROUTE ACCOUNT 'x' ACCOUNT 'y' TO 'z'", 1064, "twice"),
        ("ROUTE ACCOUNT 'x' TO '{user}'", 1525, "unknown placeholder"),
        ("ROUTE ADDRESS 'here' TO 'x'", 1525, "is no address"),
        ("UNROUTE 9", 1525, "no assigned rule 9"),
        ("EXPLAIN ROUTE COLOUR 'x'", 1064, "unknown key"),
    ] {
        let (got, text) = error(conn, sql).await;
        assert!(got == code && text.contains(want), "{sql}: {got} {text}");
    }
    assert_eq!(rows(conn, "UNROUTE 1").await[0][0], "1");
    assert!(!rows(conn, "SHOW ROUTES").await.iter().any(|row| row[1] == "assigned"));

    let explained = rows(conn, "EXPLAIN ROUTE user 'a+b' database 'gastown' address unix attribute.x 'TO' pid 7 bd_branch polecat-x actor 'm' polecat 'n' program bd").await;
    assert_eq!(explained[0], ["result", "polecat-x", "forked at the first write"]);
    assert_eq!(explained[2], ["5 BD_BRANCH", "polecat-x", "chosen"]);
    let asked = served.backend.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (asked.user.as_deref(), asked.pid, asked.attributes["x"].as_str()),
        (Some("a+b"), Some(7), "TO")
    );
    assert_eq!(asked.address, Some(branchline::session::identity::PeerAddress::Unix));
}

#[tokio::test]
async fn clients_may_prepare_and_ask_their_usual_questions() {
    let served = serve();
    let mut conn = connect(&served, Some("")).await.unwrap();
    let prepared: Vec<(String, Option<String>)> = soon(conn.exec("SHOW STATUS", ())).await.unwrap();
    assert!(prepared.contains(&("dolt_state".into(), Some("down".into()))));
    let ids: Vec<Row> = soon(conn.exec("SHOW CLIENTS", ())).await.unwrap();
    assert_eq!(ids[0].get::<u32, _>("id"), Some(CLIENT_ID));
    assert_eq!(rows(&mut conn, "select @@version_comment limit 1").await, [["Branchline console"]]);
    assert_eq!(rows(&mut conn, "SELECT @@socket, @@wait_timeout").await, [["NULL", "28800"]]);
    assert!(rows(&mut conn, "SHOW WARNINGS").await.is_empty());
    soon(conn.query_drop("SET NAMES utf8mb4")).await.unwrap();
    soon(conn.ping()).await.unwrap();
    let (code, text) = error(&mut conn, "SELECT * FROM t").await;
    assert!(code == 1064 && text.contains("SHOW HELP"), "{text}");
}

#[tokio::test]
async fn a_password_is_refused_with_1045() {
    let served = serve();
    match connect(&served, Some("secret")).await {
        Err(mysql_async::Error::Server(error)) => {
            assert_eq!((error.code, error.state.as_str()), (1045, "28000"));
            assert!(error.message.contains("takes no password"), "{}", error.message);
        }
        other => panic!("{other:?}"),
    }
}

fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(seq);
    packet.extend_from_slice(payload);
    packet
}

async fn read_packet(stream: &mut UnixStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok((header[3], payload))
}

/// Logged in over raw bytes: PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, no password, EOF packets.
async fn raw(served: &Served) -> UnixStream {
    let mut stream = UnixStream::connect(&served.path).await.unwrap();
    read_packet(&mut stream).await.unwrap();
    let mut response = 0x0008_8200_u32.to_le_bytes().to_vec();
    response.extend_from_slice(&[0; 28]);
    response.extend_from_slice(b"me\0\0mysql_native_password\0");
    stream.write_all(&packet(1, &response)).await.unwrap();
    assert_eq!(read_packet(&mut stream).await.unwrap().1[0], 0);
    stream
}

fn query(sql: &str) -> Vec<u8> {
    packet(0, &[b"\x03", sql.as_bytes()].concat())
}

/// The first value of a result set of one column and one row.
async fn value(stream: &mut UnixStream) -> String {
    let mut packets = Vec::new();
    for _ in 0..5 {
        packets.push(read_packet(stream).await.unwrap());
    }
    let seqs: Vec<u8> = packets.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
    String::from_utf8(packets[3].1[1..].to_vec()).unwrap()
}

/// What opensrv without the guard gets wrong, and what a sanitizer would see: `scripts/sanitize-console.sh`.
#[tokio::test]
async fn ten_pipelined_packets_get_ten_right_answers() {
    let served = serve();
    let mut stream = soon(raw(&served)).await;
    for round in 0..50 {
        // Lengths differ, so that a buffer that is replaced too early can't look right by chance.
        let numbers: Vec<u64> = (0..10).map(|i| 10_u64.pow(i) + round).collect();
        let padding = |i: usize| "x".repeat(i * 700);
        let all: Vec<u8> =
            (0..10).flat_map(|i| query(&format!("/*{}*/ SELECT {}", padding(i), numbers[i]))).collect();
        soon(stream.write_all(&all)).await.unwrap();
        for number in numbers {
            assert_eq!(soon(value(&mut stream)).await, number.to_string());
        }
    }
}

#[tokio::test]
async fn a_packet_in_single_bytes_is_one_packet() {
    let served = serve();
    let mut stream = soon(raw(&served)).await;
    for byte in query("SELECT 42") {
        soon(stream.write_all(&[byte])).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(soon(value(&mut stream)).await, "42");
}

#[tokio::test]
async fn commands_that_opensrv_would_nod_through_get_1047() {
    let served = serve();
    let mut stream = soon(raw(&served)).await;
    // COM_STATISTICS, COM_CHANGE_USER, COM_BINLOG_DUMP, nothing at all, a query that is not UTF-8.
    for payload in [&b"\x09"[..], b"\x11root\0", b"\x12\0\0\0\0", b"", b"\x03SELECT '\xff'"] {
        soon(stream.write_all(&packet(0, payload))).await.unwrap();
        let (seq, answer) = soon(read_packet(&mut stream)).await.unwrap();
        assert_eq!(
            (seq, answer[0], u16::from_le_bytes([answer[1], answer[2]])),
            (1, 0xff, 1047),
            "{payload:?}"
        );
    }
    soon(stream.write_all(&query("SELECT 1"))).await.unwrap();
    assert_eq!(soon(value(&mut stream)).await, "1", "and the connection goes on");
}

#[tokio::test]
async fn broken_packets_end_the_connection() {
    let served = serve();
    let too_long = [0xff, 0xff, 0xff, 0, 3];
    let long_data = packet(0, b"\x18\x01\0\0\0\0\0x");
    for bytes in [packet(255, b"\x03SELECT 1"), packet(1, b"\x0e"), too_long.to_vec(), long_data] {
        let mut stream = soon(raw(&served)).await;
        soon(stream.write_all(&bytes)).await.unwrap();
        assert!(soon(read_packet(&mut stream)).await.is_err(), "{bytes:?} was answered");
    }
    for garbage in [&b"GET / HTTP/1.0\r\n\r\n"[..], &packet(1, b"x"), &packet(255, &[0; 40])] {
        let mut stream = UnixStream::connect(&served.path).await.unwrap();
        soon(read_packet(&mut stream)).await.unwrap();
        soon(stream.write_all(garbage)).await.unwrap();
        let mut rest = Vec::new();
        // Closed, whether by FIN or by RST because bytes were left unread.
        let _ = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{garbage:?} was answered: {rest:?}");
    }
    let mut conn = connect(&served, None).await.unwrap();
    assert_eq!(rows(&mut conn, "SELECT 1").await, [["1"]]);
}

#[tokio::test]
async fn greetings_have_their_own_salts() {
    let served = serve();
    let mut greetings = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&served.path).await.unwrap();
        greetings.push(soon(read_packet(&mut stream)).await.unwrap().1);
    }
    let salt = |greeting: &[u8]| {
        let after_version = greeting.iter().position(|b| *b == 0).unwrap() + 5;
        greeting[after_version..after_version + 8].to_vec()
    };
    assert_ne!(salt(&greetings[0]), salt(&greetings[1]));
}

#[tokio::test]
async fn the_socket_is_private_replaced_only_when_stale_and_removed() {
    use std::os::unix::fs::PermissionsExt;
    let served = serve();
    assert_eq!(std::fs::metadata(&served.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Console::bind(&served.path), Err(BindError::Answered { .. })));
    served.stop.cancel();
    soon(served.task).await.unwrap();
    assert!(!served.path.exists());

    drop(std::os::unix::net::UnixListener::bind(&served.path).unwrap());
    assert!(served.path.exists(), "a stale socket");
    drop(Console::bind(&served.path).unwrap());

    std::fs::write(&served.path, "mine").unwrap();
    assert!(matches!(Console::bind(&served.path), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read(&served.path).unwrap(), b"mine");
}

#[tokio::test]
async fn the_mariadb_cli_can_administer() {
    let served = serve();
    let run = |args: &[&str]| {
        let mut command = tokio::process::Command::new("mariadb");
        command.args(["--no-defaults", "--protocol=socket", "-S"]).arg(&served.path).args(args);
        command.env("HOME", served.path.parent().unwrap()).stdin(Stdio::null()).kill_on_drop(true);
        command.output()
    };
    let missing = "the mariadb CLI is needed for this test; tests/clients/prepare.sh installs it";
    let output = soon(run(&["-u", "anyone", "--batch", "-e", "SHOW RIGS; SHOW WARNINGS; KILL 7"]))
        .await
        .expect(missing);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(stdout, "name\tbranches\tmain_only\tpath\nhq\t1\tyes\t/data/hq\n", "{stderr}");
    assert!(stderr.contains("ERROR 1094 (HY000)") && stderr.contains("no client 7"), "{stderr}");

    let output = soon(run(&["-u", "anyone", "-psecret", "-e", "SHOW RIGS"])).await.expect(missing);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("ERROR 1045 (28000)") && !stderr.contains("secret"), "{stderr}");
}
