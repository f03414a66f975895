//! Odd texts, sent to a real Dolt and given to the classifier: both must find the same statements.
#![allow(clippy::unwrap_used)] // helpers outside of #[test] functions

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use branchline::statement::classify::summarize;
use branchline::wire::capability as cap;
use branchline::wire::frame::{HEADER_BYTES, Header, write_packet};
use branchline::wire::handshake::{Greeting, NATIVE_PASSWORD, Response};
use branchline::wire::lenenc;

const READY_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A Dolt of our own, gone at the end.
struct Dolt {
    child: Child,
    port: u16,
    _home: tempfile::TempDir,
}

impl Dolt {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = home.path().join("server.yaml");
        let socket = home.path().join("dolt.sock");
        std::fs::write(
            &config,
            format!(
                "log_level: error\ndata_dir: {}\nlistener:\n  host: 127.0.0.1\n  port: {port}\n  socket: {}\n",
                data.display(),
                socket.display()
            ),
        )
        .unwrap();
        let child = Command::new(dolt_path())
            .args(["sql-server", "--config"])
            .arg(&config)
            .current_dir(&data)
            .env("HOME", home.path())
            .env("DOLT_ROOT_PATH", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut dolt = Self { child, port, _home: home };
        dolt.await_ready();
        dolt
    }

    fn await_ready(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "dolt does not listen on port {} after {READY_WITHIN:?}",
                self.port
            );
            assert!(self.child.try_wait().unwrap().is_none(), "dolt ended before it listened");
            std::thread::yield_now();
        }
    }
}

impl Drop for Dolt {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dolt_path() -> PathBuf {
    if let Some(path) = std::env::var_os("BRANCHLINE_DOLT") {
        return path.into();
    }
    let local = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/dolt");
    if local.exists() {
        return local;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join("dolt")).find(|dolt| dolt.exists()).unwrap_or_else(|| {
        panic!("no Dolt: neither BRANCHLINE_DOLT nor .tools/bin/dolt nor one on PATH; `make` builds one")
    })
}

/// One answer to one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Ok,
    Rows(Vec<Vec<u8>>),
    Err(String),
}

struct Session {
    socket: TcpStream,
    /// For the message of a failing test.
    asked: String,
}

impl Session {
    fn open(dolt: &Dolt) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", dolt.port)).unwrap();
        socket.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        let mut session = Self { socket, asked: "connect".into() };
        let (_, greeting) = session.packet();
        Greeting::read(&greeting).unwrap();
        let response = Response {
            capabilities: cap::LONG_PASSWORD
                | cap::PROTOCOL_41
                | cap::TRANSACTIONS
                | cap::SECURE_CONNECTION
                | cap::MULTI_STATEMENTS
                | cap::MULTI_RESULTS
                | cap::PLUGIN_AUTH,
            max_packet_bytes: 1 << 24,
            charset: 45,
            user: "root".into(),
            auth: Vec::new(),
            database: None,
            plugin: Some(NATIVE_PASSWORD.into()),
            attributes: Default::default(),
        };
        let mut out = Vec::new();
        write_packet(&mut out, 1, &response.payload());
        session.socket.write_all(&out).unwrap();
        let (_, answer) = session.packet();
        assert_eq!(answer[0], 0, "log in: {}", String::from_utf8_lossy(&answer));
        session
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        self.socket.read_exact(&mut header).unwrap_or_else(|error| panic!("after {:?}: {error}", self.asked));
        let header = Header::read(&header).unwrap();
        let mut payload = vec![0; header.len];
        self.socket.read_exact(&mut payload).unwrap();
        (header.seq, payload)
    }

    /// All answers to one COM_QUERY. Dolt goes on after an ERR without saying so; a COM_PING behind the
    /// query tells where its answers end, because its own is numbered from one again.
    fn query(&mut self, text: &[u8]) -> Vec<Answer> {
        self.asked = String::from_utf8_lossy(text).into_owned();
        let mut out = Vec::new();
        write_packet(&mut out, 0, &[b"\x03", text].concat());
        write_packet(&mut out, 0, b"\x0e");
        self.socket.write_all(&out).unwrap();
        let mut answers = Vec::new();
        loop {
            let (seq, first) = self.packet();

            if seq == 1 && !answers.is_empty() {
                assert_eq!(first[0], 0, "COM_PING");
                return answers;
            }
            answers.push(match first[0] {
                0x00 => Answer::Ok,
                0xff => Answer::Err(String::from_utf8_lossy(&first[9..]).into_owned()),
                _ => {
                    let (columns, _) = lenenc::read_int(&first).unwrap();
                    for _ in 0..=columns {
                        self.packet();
                    }
                    let mut rows = Vec::new();
                    loop {
                        let (_, row) = self.packet();
                        if row[0] == 0xfe && row.len() < 9 {
                            break Answer::Rows(rows);
                        }
                        rows.push(row);
                    }
                }
            });
        }
    }
}

/// Both find the same statements, whether these succeed or not.
const SAME: &[&str] = &[
    "SELECT 1",
    "SELECT 1;",
    " \t\r\nSELECT 1 ; ; ",
    "SELECT 1; SELECT 2",
    "SELECT 1;SELECT 2;",
    "/* x; */ SELECT 1",
    "/**/SELECT/**/1/*;*/;SELECT 2",
    "SELECT 1;#x;\nSELECT 2",
    "SELECT 1;-- x;\nSELECT 2",
    "SELECT 1 -- x;\n, 2; SELECT 3",
    "SELECT 5--1\n",
    "SELECT 5--1; SELECT 2",
    "SELECT 5 - -1; SELECT 2",
    "SELECT 1//1; SELECT 2\n, 2",
    "SELECT 1 --\r; SELECT 2",
    "SELECT 1e--1; SELECT 2",
    "SELECT 1.5e+1, .5, 0x3b, x'3b', b'1'; SELECT 2",
    "SELECT ';'; SELECT \";\"; SELECT 2",
    r"SELECT 'a\';b'; SELECT 2",
    r"SELECT 'a\\'; SELECT 2",
    "SELECT 'a'';b'; SELECT 2",
    "SELECT \"a\"\";b\"; SELECT 2",
    "SELECT \"a\\\"; SELECT 2; -- \"",
    "SELECT 'a' 'b;' ; SELECT 2",
    "SELECT 'a' /* ; */ 'b'; SELECT 2",
    "SELECT '\0;'; SELECT 2",
    "SELECT N'a;', _utf8mb4'b;'; SELECT 2",
    r"SELECT 1 AS `a\`; SELECT 2",
    "SELECT 1 AS `a``;b`; SELECT 2",
    "SELECT 1 AS `é;`; SELECT 'é;'",
    "SELECT @`a b`; SELECT 2",
    "SELECT @`a-b`; SELECT 2; -- `",
    "SELECT @'x'; SELECT 2",
    "SELECT @@x'; SELECT 2 -- '; SELECT 3\n, 3",
    "SELECT @@session.`sql_mode`; SELECT 2",
    "SET @x := ';', @`y` = 2; SELECT @x",
    "/*!50003 SELECT 1 */; SELECT 2",
    "/*!99999 SELECT 1 */",
    "SELECT 1 /*! , 2 */; SELECT 3",
    "SELECT /*M! 7 */; SELECT /*M!100100 8 */",
    "SELECT 1 /*!500 ; */, 2; SELECT 3",
    "/*!40101 SET NAMES utf8mb4 */; SELECT 2",
    "USE d; SELECT 1",
    "USE `d/main`; SELECT DATABASE()",
    "USE d/main; SELECT DATABASE()",
    "USE",
    "BEGIN; SELECT 1; COMMIT; ROLLBACK",
    "START TRANSACTION; SAVEPOINT a; ROLLBACK TO a; RELEASE SAVEPOINT a; COMMIT",
    "SELECT 1; SELECT * FROM nosuch; SELECT 2",
    "INSERT INTO t VALUES (1); SELECT 3",
    "KILL 99999; SELECT 1",
    "LOCK TABLES t READ; SELECT 1; UNLOCK TABLES",
    "WITH a AS (SELECT 1) SELECT * FROM a; TABLE t; VALUES ROW(1)",
    "(SELECT 1) UNION (SELECT 2); SELECT 3",
    "EXPLAIN SELECT 1; DESC t; SHOW TABLES",
    "SELECT 1 INTO @a; SELECT @a",
    "SELECT GET_LOCK('a', 1); SELECT RELEASE_LOCK('a')",
    "PREPARE s FROM 'SELECT 1; '; DEALLOCATE PREPARE s",
    "CREATE PROCEDURE p1() BEGIN SELECT 1; SELECT 2; END; SELECT 3",
    "CREATE PROCEDURE p2() IF 1 THEN SELECT 1; ELSEIF IF(1, 2, 3) THEN SELECT 2; ELSE SELECT 3; END IF; SELECT 3",
    "CREATE PROCEDURE p3() BEGIN SELECT CASE WHEN 1 THEN IF(1,2,3) END; END; SELECT 3",
    "CREATE PROCEDURE p4() BEGIN CASE 1 WHEN 1 THEN SELECT 1; ELSE SELECT 2; END CASE; END; SELECT 3",
    "CREATE PROCEDURE p5() BEGIN DECLARE x INT DEFAULT 0; WHILE x < 2 DO SET x = x + 1; END WHILE; END; SELECT 3",
    "CREATE PROCEDURE p6() BEGIN l: LOOP LEAVE l; END LOOP l; REPEAT SELECT 1; UNTIL 1 END REPEAT; END; SELECT 3",
    "CREATE PROCEDURE p7(IN a INT, OUT b VARCHAR(20)) COMMENT 'x;' BEGIN SELECT IF(a, 1, 2); END; SELECT 3",
    "CREATE DEFINER=`root`@`localhost` PROCEDURE p8() BEGIN BEGIN SELECT 1; END; END; SELECT 3",
    "CALL p1(); SELECT 3",
    // A body that is one plain statement can't be followed by anything: Dolt 1.88.1 drops the connection.
    "CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = IF(1, 2, 3)",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN INSERT INTO t VALUES (9); END; SELECT 3",
];

/// A comment after the last `;` gets an OK of its own, announced by the flags of the answer before.
const WITH_AN_OK_FOR_THE_COMMENT: &[&str] =
    &["", "-- x", "/* x */", ";", "/*!5 SELECT 1 */", "SELECT 1; -- x", "SELECT 1; /* x */", "SELECT 1;#x\n"];

/// Dolt answers the first statement it can't read with an error, and executes nothing after it.
const REFUSED: &[&str] = &[
    "nosuch; SELECT 1",
    "SELECT 1; nosuch; SELECT 2",
    "SELECT $x; SELECT 2",
    "SELECT 1 AS é; SELECT 2",
    "SELECT 1\x0b; SELECT 2",
    "SELECT (1; SELECT 2",
    "DELIMITER //\nSELECT 1 //",
    "SELECT 1; 'a",
    "SELECT 1; SELECT `a",
    "SELECT 1 /* x",
    "SELECT 1 \0; SELECT 2",
    "SELECT 1.5a; SELECT 2",
    "SELECT x'0'; SELECT 2",
    "SELECT @`a;b`; SELECT 2",
];

/// Dolt executes SELECT 5, which stands in a comment or is cut in a surprising way: never taken for whole.
const HIDDEN: &[&str] =
    &[";#SELECT 5\n", "SELECT 1;;#SELECT 5\n", "/* x */;#SELECT 5\n", "/*! SELECT 1; SELECT 5 -- */"];

#[test]
fn dolt_finds_the_same_statements() {
    let dolt = Dolt::start();
    let mut session = Session::open(&dolt);
    let set_up = session
        .query(b"CREATE DATABASE d; USE d; CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)");
    assert_eq!(set_up, vec![Answer::Ok; 4]);
    let ask = |text: &str| {
        let mut session = Session::open(&dolt);
        assert_eq!(session.query(b"USE d"), [Answer::Ok]);
        (session.query(text.as_bytes()), summarize(text.as_bytes(), true))
    };
    for text in SAME {
        let (answers, summary) = ask(text);
        assert!(summary.whole, "{text}");
        assert_eq!(answers.len(), summary.statements.len(), "{text}: {answers:?} {:?}", summary.statements);
        let refused = |answer: &Answer| matches!(answer, Answer::Err(why) if why.contains("syntax error"));
        assert!(!answers.iter().any(refused), "{text}: {answers:?}");
    }
    for text in WITH_AN_OK_FOR_THE_COMMENT {
        let (answers, summary) = ask(text);
        assert!(summary.whole && !summary.may_write, "{text}");
        assert_eq!(answers.len(), summary.statements.len() + 1, "{text}: {answers:?}");
        assert_eq!(answers.last(), Some(&Answer::Ok), "{text}");
    }
    for text in REFUSED {
        let (answers, summary) = ask(text);
        assert!(
            matches!(answers.last(), Some(Answer::Err(why)) if why.contains("syntax error")),
            "{text}: {answers:?}"
        );
        assert!(answers.len() <= summary.statements.len(), "{text}: {answers:?} {:?}", summary.statements);
    }
    for text in HIDDEN {
        let (answers, summary) = ask(text);
        assert_eq!(answers.last(), Some(&Answer::Rows(vec![b"\x015".to_vec()])), "{text}");
        assert!(!summary.whole && summary.may_write, "{text}");
    }
}
