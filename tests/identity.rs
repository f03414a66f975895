//! What Branchline takes for granted of Dolt's accounts, branch names and forks, against the real server.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use branchline::accounts::directory::ACCOUNTS_QUERY;
use branchline::accounts::native::{self, Stage1};
use branchline::accounts::{Account, AccountSource, Accounts, BackendHost, ClientHost, Directory, Login};
use branchline::branch::fork::{ForkError, fork};
use branchline::session::route::{Requested, branch_name};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, HandshakePacket, HandshakeResponse};
use mysql_common::proto::{MyDeserialize, MySerialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Longer than Dolt takes to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A Dolt of its own in a temporary directory; ended with the test.
struct Dolt {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Dolt {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("data")).expect("made");
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound").port();
        let config = format!(
            "log_level: warning\ndata_dir: {data}\ncfg_dir: {cfg}\nprivilege_file: {cfg}/privileges.db\n\
             branch_control_file: {cfg}/branch_control.db\n\
             listener:\n  host: 127.0.0.1\n  port: {port}\n  socket: {socket}\n",
            data = path("data").display(),
            cfg = path("cfg").display(),
            socket = path("s").display(),
        );
        std::fs::write(path("config.yaml"), config).expect("written");
        let log = std::fs::File::create(path("log")).expect("created");
        let process = Command::new(binary())
            .args(["sql-server", "--config"])
            .arg(path("config.yaml"))
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .env("DOLT_ROOT_PATH", dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("dolt starts");
        let dolt = Self { process, port, dir };
        let begun = Instant::now();
        while dolt.try_root().await.is_err() {
            assert!(
                begun.elapsed() < START_TIMEOUT,
                "{:?}",
                std::fs::read_to_string(dolt.dir.path().join("log"))
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        dolt
    }

    async fn try_root(&self) -> Result<Conn, mysql_async::Error> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some("root"));
        let mut conn = Conn::new(options).await?;
        conn.query_drop("SELECT 1").await?;
        Ok(conn)
    }

    async fn root(&self) -> Conn {
        self.try_root().await.expect("root logs in")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Logs in as Branchline does, with the nonce that Dolt sent; `CURRENT_USER()`, or the ERR.
    async fn current_user(&self, way: BackendHost, user: &str, stage1: &Stage1) -> Result<String, Refused> {
        match way {
            BackendHost::Socket => {
                current_user(UnixStream::connect(self.socket()).await.expect("connects"), user, stage1).await
            }
            BackendHost::Loopback => {
                let at = (Ipv4Addr::LOCALHOST, self.port);
                current_user(TcpStream::connect(at).await.expect("connects"), user, stage1).await
            }
        }
    }
}

impl Drop for Dolt {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BRANCHLINE_DOLT") {
        return path.into();
    }
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/dolt");
    if pinned.exists() { pinned } else { "dolt".into() }
}

/// Code, SQL state, text.
type Refused = (u16, String, String);

async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let header = stream.read_u32_le().await.expect("a packet header");
    let mut payload = vec![0; (header & 0x00ff_ffff) as usize];
    stream.read_exact(&mut payload).await.expect("a packet");
    payload
}

async fn write_packet(stream: &mut (impl AsyncWrite + Unpin), sequence: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("small");
    let header = length | u32::from(sequence) << 24;
    stream.write_all(&[&header.to_le_bytes(), payload].concat()).await.expect("written");
}

fn refused(payload: &[u8]) -> Refused {
    assert_eq!((payload[0], payload[3]), (0xff, b'#'), "an ERR: {}", payload.escape_ascii());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (u16::from_le_bytes([payload[1], payload[2]]), text(&payload[4..9]), text(&payload[9..]))
}

async fn current_user(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    user: &str,
    stage1: &Stage1,
) -> Result<String, Refused> {
    let greeting = read_packet(&mut stream).await;
    let greeting = HandshakePacket::deserialize((), &mut ParseBuf(&greeting)).expect("a greeting");
    let nonce = [greeting.scramble_1_ref(), greeting.scramble_2_ref().unwrap_or_default()].concat();
    let capabilities = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH;
    let response = HandshakeResponse::new(
        Some(native::answer(&nonce[..20], stage1)),
        (8, 0, 33),
        Some(user.as_bytes()),
        None::<&[u8]>,
        Some(AuthPlugin::MysqlNativePassword),
        capabilities,
        None,
        1 << 24,
    );
    let mut bytes = Vec::new();
    response.serialize(&mut bytes);
    write_packet(&mut stream, 1, &bytes).await;
    let mut verdict = read_packet(&mut stream).await;
    if verdict[0] == 0xfe {
        // The account has another plugin than the one we answered for; what we say now doesn't matter.
        write_packet(&mut stream, 3, b"x").await;
        verdict = read_packet(&mut stream).await;
    }
    if verdict[0] != 0 {
        return Err(refused(&verdict));
    }
    write_packet(&mut stream, 0, b"\x03SELECT CURRENT_USER()").await;
    // Column count, column, EOF, row (one string of less than 251 bytes), EOF.
    for _ in 0..3 {
        read_packet(&mut stream).await;
    }
    let row = read_packet(&mut stream).await;
    assert_eq!(usize::from(row[0]), row.len() - 1, "a row of one short string: {}", row.escape_ascii());
    Ok(String::from_utf8(row[1..].to_vec()).expect("UTF-8"))
}

fn account(row: Row) -> Account {
    let (user, host, plugin, authentication_string, locked): (_, _, _, _, String) =
        mysql_async::from_row(row);
    Account { user, host, plugin, authentication_string, locked: locked == "Y" }
}

async fn all_accounts(conn: &mut Conn) -> Vec<Account> {
    conn.query_map(ACCOUNTS_QUERY, account).await.expect("readable")
}

/// `x@10.1.%` as SQL writes it.
fn quoted(account: &str) -> String {
    let (user, host) = account.split_once('@').expect("user@host");
    format!("'{user}'@'{host}'")
}

#[tokio::test]
async fn dolt_takes_us_for_the_account_that_we_expect() {
    let dolt = Dolt::start().await;
    let mut root = dolt.root().await;
    let stage1 = Stage1::of_password("pw");
    let denied = || Err((1045, "28000".to_owned(), "Access denied for user 'x'".to_owned()));
    // Accounts in the order of their creation; who `x` is over the socket, and over loopback TCP.
    for (created, socket, loopback) in [
        (&["x@%"][..], Some("x@%"), Some("x@%")),
        (&["x@localhost"], Some("x@localhost"), Some("x@localhost")),
        (&["x@127.0.0.1"], Some("x@127.0.0.1"), Some("x@127.0.0.1")),
        (&["x@::1"], Some("x@::1"), Some("x@::1")),
        (&["x@10.1.2.3"], None, None),
        (&["x@127.0.0.%"], None, Some("x@127.0.0.%")),
        (&["x@127.0.0._"], None, None),
        (&["x@127.0.0.0/255.255.255.0"], None, None),
        (&["x@local%"], Some("x@local%"), Some("x@local%")),
        (&["x@%", "x@localhost"], Some("x@localhost"), Some("x@localhost")),
        (&["x@%", "x@10.1.2.3"], Some("x@%"), Some("x@%")),
        (&["@%"], Some("@%"), Some("@%")),
        (&["@localhost"], Some("@localhost"), Some("@localhost")),
        (&["@localhost", "x@%"], Some("x@%"), Some("x@%")),
        (&["@localhost", "x@10.1.2.3"], Some("@localhost"), Some("@localhost")),
        // Where several match, Dolt takes the one created first, MySQL the most specific.
        (&["x@127.0.0.%", "x@%"], Some("x@%"), Some("x@127.0.0.%")),
        (&["x@%", "x@127.0.0.%"], Some("x@%"), Some("x@%")),
        (&["x@%", "x@127.0.0.1"], Some("x@%"), Some("x@%")),
        (&["x@127.0.0.1", "x@%"], Some("x@127.0.0.1"), Some("x@127.0.0.1")),
    ] {
        for account in created {
            let create = format!("CREATE USER {} IDENTIFIED BY 'pw'", quoted(account));
            root.query_drop(create).await.expect("created");
        }
        let accounts = Accounts::new(all_accounts(&mut root).await);
        for (way, client, want) in [
            (BackendHost::Socket, ClientHost::Unix, socket),
            (BackendHost::Loopback, ClientHost::Ip(Ipv4Addr::LOCALHOST.into()), loopback),
        ] {
            let taken_for = dolt.current_user(way, "x", &stage1).await;
            assert_eq!(taken_for, want.map(str::to_owned).map_or_else(denied, Ok), "{created:?} by {way:?}");
            // A client that comes the same way is whom Dolt would take it for, except where the order decides.
            let found =
                accounts.find("x", client).map(|account| format!("{}@{}", account.user, account.host));
            let order_decides =
                created.contains(&"x@%") && created.iter().any(|account| account.contains("127.0.0"));
            if !order_decides {
                assert_eq!(found.as_deref(), want, "{created:?} by {way:?}");
            }
            // And the way that is offered for an account, where Dolt has no choice, leads to it.
            for account in all_accounts(&mut root).await.iter().filter(|account| account.user != "root") {
                let name = format!("{}@{}", account.user, account.host);
                if created.contains(&name.as_str())
                    && accounts.backend_host("x", account) == Some(way)
                    && !(order_decides && created.contains(&"x@127.0.0.1"))
                    && !(order_decides && way == BackendHost::Loopback)
                {
                    assert_eq!(taken_for, Ok(name), "{created:?} by {way:?}");
                }
            }
        }
        for account in created {
            root.query_drop(format!("DROP USER {}", quoted(account))).await.expect("dropped");
        }
    }
}

/// Reads Dolt's accounts as the control connection will.
struct Source(tokio::sync::Mutex<Conn>);

impl AccountSource for Source {
    async fn load(&self) -> Result<Vec<Account>, String> {
        Ok(all_accounts(&mut *self.0.lock().await).await)
    }
}

#[tokio::test]
async fn refusals_say_what_dolt_says() {
    let dolt = Dolt::start().await;
    let mut root = dolt.root().await;
    for create in [
        "CREATE USER x@'%' IDENTIFIED BY 'pw'",
        "CREATE USER 'none'@'%'",
        "CREATE USER far@'10.9.9.9' IDENTIFIED BY 'pw'",
        "CREATE USER sha2@'%' IDENTIFIED WITH caching_sha2_password BY 'pw'",
    ] {
        root.query_drop(create).await.expect("created");
    }
    let directory = Directory::new(Source(tokio::sync::Mutex::new(root)));
    let nonce = b"0123456789abcdefghij";
    for (user, password, passes) in [
        ("x", "pw", true),
        ("x", "wrong", false),
        ("x", "", false),
        ("none", "", true),
        ("none", "pw", false),
        ("far", "pw", false),
        ("sha2", "wrong", false),
        ("nobody", "pw", false),
        ("nobody", "", false),
        ("it's", "pw", false),
        ("root", "", true),
        ("event_scheduler", "", false),
    ] {
        let given = Stage1::of_password(password);
        let response = native::answer(nonce, &given);
        let login = Login { user, client_host: ClientHost::Unix, nonce, response: &response };
        let ours = directory.authenticate(login).await;
        for way in [BackendHost::Socket, BackendHost::Loopback] {
            let dolts = dolt.current_user(way, user, &given).await;
            match &ours {
                Ok(verified) => {
                    assert_eq!(dolts, Ok(verified.current_user()), "{user} by {way:?}");
                    // What was recovered from the client's answer logs in as well as the password.
                    let by_stage1 = dolt.current_user(way, &verified.user, &verified.stage1).await;
                    assert_eq!(verified.check_current_user(&by_stage1.expect("logs in")), Ok(()));
                }
                Err(denied) => {
                    let told = (denied.code(), denied.sql_state().to_owned(), denied.to_string());
                    assert_eq!(dolts, Err(told), "{user} by {way:?}");
                }
            }
        }
        assert_eq!(ours.is_ok(), passes, "{user} {password}");
    }
}

#[tokio::test]
async fn what_a_refusal_says_to_run_helps() {
    let dolt = Dolt::start().await;
    let mut root = dolt.root().await;
    for (created, remedy, user, is) in [
        (
            &["'x'@'%'", "'x'@'localhost'"][..],
            &["CREATE USER 'x_remote'@'%' IDENTIFIED BY 'pw'"][..],
            "x_remote",
            "x_remote@%",
        ),
        (
            &["'far'@'10.9.9.9'"],
            &["DROP USER 'far'@'10.9.9.9'", "CREATE USER 'far'@'%' IDENTIFIED BY 'pw'"],
            "far",
            "far@%",
        ),
    ] {
        for account in created {
            root.query_drop(format!("CREATE USER {account} IDENTIFIED BY 'pw'")).await.expect("created");
        }
        for sql in remedy {
            root.query_drop(*sql).await.expect(sql);
        }
        // Also for a client from where the old account was.
        let accounts = Accounts::new(all_accounts(&mut root).await);
        let client = ClientHost::Ip(Ipv4Addr::new(10, 9, 9, 9).into());
        let account = accounts.find(user, client).expect("an account");
        let way = accounts.backend_host(user, account).expect("a way to Dolt");
        let taken_for = dolt.current_user(way, user, &Stage1::of_password("pw")).await;
        assert_eq!(taken_for, Ok(is.to_owned()), "{remedy:?}");
        assert_eq!(format!("{}@{}", account.user, account.host), is);
    }
}

#[tokio::test]
async fn branch_names_and_revisions_are_read_as_dolt_does() {
    let dolt = Dolt::start().await;
    let mut root = dolt.root().await;
    root.query_drop("CREATE DATABASE db").await.expect("created");
    root.query_drop("USE db").await.expect("there");
    for name in [
        "polecat-nux",
        "Polecat_1.2",
        "feature/a/b",
        "a@b",
        "-a",
        "a$b",
        "a;b",
        "a,b(c)",
        "a{b}",
        "a#b",
        "a%b",
        "a&b",
        "HEAD",
        "head",
        "-",
        "@",
        "0123456789abcdefghijklmnopqrstuv",
        "0123456789abcdefghijklmnopqrstuw",
        "x y",
        "x\ty",
        "é",
        "a*",
        "a~1",
        "a^",
        "a\\b",
        "a:b",
        "a?b",
        "a[b",
        "/x",
        "x/",
        "x//y",
        ".x",
        "a/-b",
        "--force",
        "a/.x",
        "a..b",
        "a.",
        "a.lock",
        "a.lock/b",
        "a@{1}",
        "x\u{7f}y",
    ] {
        let made = root.exec_drop("CALL DOLT_BRANCH(?)", (name,)).await;
        assert_eq!(branch_name::check(name).is_ok(), made.is_ok(), "{name:?}: {made:?}");
    }
    for name in ["db/feature/a/b", "db@feature/a/b", "db/a@b", "db@a@b", "db/POLECAT-NUX"] {
        let requested = Requested::parse(name);
        root.query_drop(format!("USE `{name}`")).await.expect("there");
        let on: Option<String> =
            root.query_first("SELECT active_branch()").await.expect("an answer").flatten();
        let on = on.expect("a branch");
        let branch = requested.branch.expect("one is named");
        assert!(on.eq_ignore_ascii_case(&branch), "{name}: {on}");
        assert_eq!(requested.database, "db");
    }
}

/// Hash of everything, uncommitted changes and branches, as seen on main.
async fn state_of_main(
    conn: &mut Conn,
    database: &str,
) -> (String, Vec<(String, bool, String)>, Vec<String>) {
    conn.query_drop(format!("USE `{database}/main`")).await.expect("there");
    let hash: Option<String> = conn.query_first("SELECT dolt_hashof_db()").await.expect("a hash");
    let status = conn.query("SELECT * FROM dolt_status ORDER BY table_name").await.expect("a status");
    let branches = conn.query("SELECT name FROM dolt_branches ORDER BY name").await.expect("branches");
    (hash.expect("a hash"), status, branches)
}

#[tokio::test]
async fn a_fork_holds_all_that_main_holds() {
    let dolt = Dolt::start().await;
    let mut root = dolt.root().await;
    for sql in [
        "CREATE DATABASE f",
        "USE f",
        "CREATE TABLE t1 (id INT PRIMARY KEY, v VARCHAR(50), n INT, g INT GENERATED ALWAYS AS (n * 2) STORED)",
        "CREATE TABLE t2 (id VARCHAR(36) PRIMARY KEY, t1id INT, FOREIGN KEY (t1id) REFERENCES t1 (id))",
        "CREATE TABLE counted (id INT AUTO_INCREMENT PRIMARY KEY, v TEXT)",
        "CREATE TABLE keyless (a INT, b INT)",
        "CREATE TABLE gone (id INT PRIMARY KEY)",
        "CREATE TABLE a_log (id INT)",
        "CREATE VIEW old_view AS SELECT 1",
        "INSERT INTO t1 (id, v, n) WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 1000) \
         SELECT i, CONCAT('v', i), i FROM s",
        "CREATE TRIGGER tr AFTER INSERT ON t1 FOR EACH ROW INSERT INTO a_log VALUES (new.id)",
        "INSERT INTO dolt_ignore VALUES ('wisp%', true)",
        "CALL DOLT_COMMIT('-Am', 'init')",
    ] {
        root.query_drop(sql).await.expect(sql);
    }
    // Nothing uncommitted.
    let mut control = dolt.root().await;
    let clean = fork(&mut control, "f", "polecat-clean").await.expect("forked");
    assert_eq!((clean.hash, clean.tables_copied), (state_of_main(&mut root, "f").await.0, 0));

    for sql in [
        "UPDATE t1 SET n = -1 WHERE id < 10",
        "INSERT INTO t1 (id, v, n) VALUES (5001, 'it''s \\\\ new', 1)",
        "DELETE FROM t1 WHERE id = 500",
        "ALTER TABLE t2 ADD extra INT DEFAULT 3",
        "INSERT INTO t2 VALUES ('a', 5001, 4)",
        "INSERT INTO counted (v) VALUES ('x'), ('y')",
        "DELETE FROM counted WHERE v = 'y'",
        "INSERT INTO keyless VALUES (1, 1), (1, 1)",
        "CREATE TABLE new_one (id INT PRIMARY KEY, j JSON, b BLOB, at TIMESTAMP(6) DEFAULT NOW(6))",
        "INSERT INTO new_one (id, j, b) VALUES (1, '{\"a\": [1, null]}', 0x00ff27)",
        "DROP TABLE gone",
        "DROP VIEW old_view",
        "CREATE VIEW new_view AS SELECT id FROM t1",
        "CREATE TABLE wisps (id INT PRIMARY KEY, v TEXT)",
        "INSERT INTO wisps VALUES (1, 'ignored')",
    ] {
        root.query_drop(sql).await.expect(sql);
    }
    let before = state_of_main(&mut root, "f").await;
    let forked = fork(&mut control, "f", "polecat-x").await.expect("forked");
    let mut after = state_of_main(&mut root, "f").await;
    assert_eq!(after.2, ["main", "polecat-clean", "polecat-x"], "and nothing unfinished");
    after.2.pop();
    assert_eq!(after, before, "main is as it was");
    assert_eq!(forked.hash, before.0);
    root.query_drop("USE `f/polecat-x`").await.expect("there");
    let wisp: Option<String> = root.query_first("SELECT v FROM wisps").await.expect("copied");
    assert_eq!(wisp.as_deref(), Some("ignored"));
    let logged: Option<u64> = root.query_first("SELECT COUNT(*) FROM a_log").await.expect("copied");
    assert_eq!(logged, Some(1), "copying fires no trigger that lasts");
    root.query_drop("INSERT INTO t1 (id, v, n) VALUES (6000, 'z', 1)").await.expect("a write");
    let logged: Option<u64> = root.query_first("SELECT COUNT(*) FROM a_log").await.expect("there");
    assert_eq!(logged, Some(2), "but triggers are there");
    assert_eq!(state_of_main(&mut root, "f").await.0, before.0, "main does not see it");

    let again = fork(&mut control, "f", "POLECAT-x").await.expect_err("exists");
    assert!(matches!(again, ForkError::Exists { .. }), "{again}");
    let bad = fork(&mut control, "f", "x'; DROP").await.expect_err("no name");
    assert!(matches!(bad, ForkError::Name { .. }), "{bad}");
    // What cannot be copied exactly is refused and leaves nothing.
    root.query_drop("USE f").await.expect("there");
    root.query_drop("CREATE PROCEDURE pp() SELECT 1").await.expect("created");
    let refused = fork(&mut control, "f", "polecat-y").await.expect_err("a procedure");
    assert!(refused.to_string().contains("uncommitted triggers, procedures"), "{refused}");
    assert_eq!(state_of_main(&mut root, "f").await.2, ["main", "polecat-clean", "polecat-x"]);
}
