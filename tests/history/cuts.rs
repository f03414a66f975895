//! The connection between Branchline and Dolt is cut at every byte of a request and of its reply: the client gets the
//! right answer or an error that says what has happened, and the rows agree.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::history::Outcome;
use super::proxy::{At, Wrapper};
use super::support::raw::{Client, Failure, Login};
use super::support::watch;
use super::told;

/// No answer may take longer: below the 10 s after which `bd` gives up.
const CALL_MAX: Duration = Duration::from_secs(9);
/// More bytes than any reply here has.
const REPLY_BYTES_MAX: usize = 600;
const DEADLINE: Duration = Duration::from_secs(20);
const COM_QUERY: u8 = 3;

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// The answer that it would have got without the cut.
    Answer,
    /// That it has happened, and that the answer is lost.
    Happened,
    /// That it has not happened: it may do it again.
    NotHappened,
    /// That nobody knows.
    Unknown,
}

impl Told {
    fn of(failure: &Failure) -> Self {
        match told::of_the_end(failure) {
            Outcome::Ok => Self::Happened,
            Outcome::Fail => Self::NotHappened,
            Outcome::Info => Self::Unknown,
        }
    }
}

/// A statement that is cut, and what is around it; `#` is the number of the attempt.
struct Scenario {
    /// Before it, on the same connection.
    before: &'static [&'static str],
    cut: &'static str,
    /// After it, if it was answered.
    after: &'static [&'static str],
    answer: Answer,
    /// How often it has happened, as one number; empty for what leaves no trace.
    effects: &'static str,
}

/// The only right one.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// An OK: so many rows changed, and no insert id.
    Ok(u8),
    /// A row that begins with what Dolt says to this.
    Value(&'static str),
}

/// Where it was cut, and what the client was told then.
type Seen = BTreeMap<Told, Vec<At>>;

/// A town with a Branchline, its Dolt behind a proxy, and a database.
struct Place {
    wrapper: Wrapper,
    client: Option<Client>,
    direct: Client,
    attempts: u64,
}

impl Place {
    fn new() -> Self {
        let wrapper = Wrapper::start(|_| {});
        let mut root = Client::root(wrapper.addr());
        root.run("CREATE DATABASE town");
        root.run("CREATE TABLE town.t (id INT PRIMARY KEY, n INT)");
        root.run("CREATE TABLE town.log (attempt INT)");
        root.run("INSERT INTO town.t VALUES (1, 0), (2, 0)");
        let on_town = |addr| Client::tcp(addr, &Login::root().on("town")).expect("logged in");
        on_town(wrapper.addr()).run("CALL DOLT_COMMIT('-Am', 'tables')");
        let direct = on_town(wrapper.dolt());
        Self { wrapper, client: None, direct, attempts: 0 }
    }

    fn effects(&mut self, scenario: &Scenario) -> Option<i64> {
        if scenario.effects.is_empty() {
            return None;
        }
        let sql = scenario.effects.replace('#', &self.attempts.to_string());
        Some(self.direct.value(&sql).expect("asked").parse().expect("a number"))
    }

    fn expected(&mut self, answer: Answer) -> Vec<u8> {
        match answer {
            Answer::Ok(changed) => vec![0, changed, 0],
            Answer::Value(sql) => {
                let value = self.direct.value(&sql.replace('#', &self.attempts.to_string())).expect("asked");
                [&[value.len() as u8], value.as_bytes()].concat()
            }
        }
    }

    /// One attempt; what the client was told of it, or none if the cut was behind the whole reply.
    fn attempt(&mut self, scenario: &Scenario, at: At) -> Option<Told> {
        self.attempts += 1;
        let before = self.effects(scenario);
        let cuts = self.wrapper.proxy.cuts();
        let addr = self.wrapper.addr();
        let mut client = self
            .client
            .take()
            .unwrap_or_else(|| Client::tcp(addr, &Login::root().on("town")).expect("logged in"));
        let number = self.attempts.to_string();
        for sql in scenario.before {
            client.run(&sql.replace('#', &number));
        }
        let sql = scenario.cut.replace('#', &number);
        self.wrapper.proxy.cut_at(&sql, at);
        let asked = Instant::now();
        let result = ask(&mut client, &sql);
        assert!(asked.elapsed() < CALL_MAX, "{sql} cut at {at:?} took {:?}", asked.elapsed());
        let was_cut = self.wrapper.proxy.cuts() > cuts;
        self.wrapper.proxy.spare();
        let mut told = match &result {
            Ok(answer) => {
                let expected = self.expected(scenario.answer);
                assert!(answer.starts_with(&expected), "{sql} cut at {at:?}: {answer:?}, not {expected:?}");
                Told::Answer
            }
            Err(failure) => Told::of(failure),
        };
        if result.is_ok() {
            for sql in scenario.after {
                if let Err(failure) = client.query(sql) {
                    // The transaction that it was in may be gone, and then that is said.
                    assert_eq!(failure.code(), 1213, "{sql} after {at:?}: {failure}");
                    told = Told::NotHappened;
                }
            }
        }
        match &result {
            Err(Failure::Server(1213, ..)) => drop(client.query("ROLLBACK")),
            Err(Failure::Server(..)) | Ok(_) => {}
            Err(other) => panic!("{sql} cut at {at:?}: {other}: an error would have said what has happened"),
        }
        self.client = Some(client);
        if let (Some(before), Some(after)) = (before, self.effects(scenario)) {
            let allowed = match told {
                Told::Answer | Told::Happened => 1..=1,
                Told::NotHappened => 0..=0,
                Told::Unknown => 0..=1,
            };
            let happened = after - before;
            assert!(allowed.contains(&happened), "{sql} cut at {at:?} happened {happened} times: {result:?}");
        }
        was_cut.then_some(told)
    }

    /// At every byte of the request, behind it, and at every byte of the reply.
    fn everywhere(&mut self, scenario: &Scenario) -> [Seen; 2] {
        let (mut of_request, mut of_reply) = (Seen::new(), Seen::new());
        self.attempt(scenario, At::Reply(REPLY_BYTES_MAX));
        let request_bytes = 4 + 1 + scenario.cut.replace('#', "1000").len();
        for byte in 0..=request_bytes {
            let told = self.attempt(scenario, At::Request(byte)).expect("a request is always cut");
            of_request.entry(told).or_default().push(At::Request(byte));
        }
        let mut byte = 0;
        while let Some(told) = self.attempt(scenario, At::Reply(byte)) {
            of_reply.entry(told).or_default().push(At::Reply(byte));
            byte += 1;
        }
        assert!((11..REPLY_BYTES_MAX).contains(&byte), "a reply of {byte} bytes");
        println!("{}", scenario.cut);
        for (name, seen) in [("request", &of_request), ("reply", &of_reply)] {
            let counts: Vec<_> = seen.iter().map(|(told, at)| format!("{told:?} {}", at.len())).collect();
            println!("    {name}: {}", counts.join(", "));
        }
        [of_request, of_reply]
    }
}

/// The first packet of the reply and, of rows, the values behind it.
fn ask(client: &mut Client, sql: &str) -> Result<Vec<u8>, Failure> {
    client.wire.send_packet(0, &[&[COM_QUERY], sql.as_bytes()].concat())?;
    let first = client.wire.read()?.payload;
    if first[0] == 0 {
        return Ok(first);
    }
    for _ in 0..first[0] {
        client.wire.read()?;
    }
    let mut rows = Vec::new();
    loop {
        let row = client.wire.read()?.payload;
        if row[0] == 0xfe {
            return Ok(rows);
        }
        rows.extend(row);
    }
}

fn only(seen: &Seen, allowed: &[Told]) {
    for (told, at) in seen {
        assert!(allowed.contains(told), "{told:?} at {at:?}");
    }
}

#[test]
fn a_commit_cut_anywhere_is_answered() {
    let mut place = Place::new();
    let scenario = Scenario {
        before: &["BEGIN", "UPDATE t SET n = n + 1 WHERE id = 1"],
        cut: "COMMIT",
        after: &[],
        answer: Answer::Ok(0),
        effects: "SELECT n FROM t WHERE id = 1",
    };
    let [request, reply] = place.everywhere(&scenario);
    // Run again when it did not arrive; looked up when it did.
    only(&request, &[Told::Answer]);
    only(&reply, &[Told::Answer]);
}

#[test]
fn an_autocommit_update_cut_anywhere_happens_once_or_is_known_to_have_happened() {
    let mut place = Place::new();
    let scenario = Scenario {
        before: &[],
        cut: "UPDATE t SET n=n+1 WHERE id=1",
        after: &[],
        answer: Answer::Ok(1),
        effects: "SELECT n FROM t WHERE id = 1",
    };
    let [request, reply] = place.everywhere(&scenario);
    only(&request, &[Told::Answer, Told::Happened]);
    assert!(request.contains_key(&Told::Answer), "{request:?}");
    only(&reply, &[Told::Happened]);
}

#[test]
fn an_autocommit_insert_cut_anywhere_happens_once_or_is_known_to_have_happened() {
    let mut place = Place::new();
    let scenario = Scenario {
        before: &[],
        cut: "INSERT INTO log VALUES (#)",
        after: &[],
        answer: Answer::Ok(1),
        effects: "SELECT COUNT(*) FROM log WHERE attempt = #",
    };
    let [request, reply] = place.everywhere(&scenario);
    only(&request, &[Told::Answer, Told::Happened]);
    assert!(request.contains_key(&Told::Answer), "{request:?}");
    only(&reply, &[Told::Happened]);
}

#[test]
fn a_dolt_commit_cut_anywhere_is_there_once() {
    let mut place = Place::new();
    let scenario = Scenario {
        before: &["INSERT INTO log VALUES (#)"],
        cut: "CALL DOLT_COMMIT('-Am','c#')",
        after: &[],
        answer: Answer::Value("SELECT commit_hash FROM dolt_log WHERE message = 'c#'"),
        effects: "SELECT COUNT(*) FROM dolt_log WHERE message = 'c#'",
    };
    let [request, reply] = place.everywhere(&scenario);
    only(&request, &[Told::Answer, Told::Happened]);
    assert!(request.contains_key(&Told::Answer), "{request:?}");
    // Its answer is the commit's hash, which can be looked up.
    only(&reply, &[Told::Answer, Told::Happened]);
}

#[test]
fn a_dolt_commit_in_a_transaction_cut_anywhere_is_there_once() {
    let mut place = Place::new();
    let scenario = Scenario {
        before: &["BEGIN", "INSERT INTO log VALUES (#)"],
        cut: "CALL DOLT_COMMIT('-Am','c#')",
        after: &["COMMIT"],
        answer: Answer::Value("SELECT commit_hash FROM dolt_log WHERE message = 'c#'"),
        // Rows and commit agree, or this is neither 0 nor 1.
        effects: "SELECT (SELECT COUNT(*) FROM dolt_log WHERE message = 'c#') + \
                  10 * (SELECT COUNT(*) FROM log WHERE attempt = #) - \
                  10 * (SELECT COUNT(*) FROM dolt_log WHERE message = 'c#')",
    };
    let [request, reply] = place.everywhere(&scenario);
    only(&request, &[Told::Answer, Told::Happened, Told::NotHappened]);
    assert!(request.contains_key(&Told::Answer), "{request:?}");
    only(&reply, &[Told::Answer, Told::Happened]);
}

#[test]
fn a_statement_in_a_transaction_cut_anywhere_is_replayed_unseen_or_rolled_back() {
    let mut place = Place::new();
    let scenario = Scenario {
        before: &["BEGIN", "SELECT n FROM t", "INSERT INTO log VALUES (#)"],
        cut: "UPDATE t SET n=n+1 WHERE id=1",
        after: &["COMMIT"],
        answer: Answer::Ok(1),
        effects: "SELECT n FROM t WHERE id = 1",
    };
    for seen in place.everywhere(&scenario) {
        only(&seen, &[Told::Answer, Told::NotHappened]);
        assert!(seen.contains_key(&Told::Answer), "nothing was replayed: {seen:?}");
    }
}

#[test]
fn a_read_cut_anywhere_succeeds() {
    let mut place = Place::new();
    place.direct.run("UPDATE t SET n = 7 WHERE id = 2");
    let scenario = Scenario {
        before: &[],
        cut: "SELECT n FROM t WHERE id=2",
        after: &[],
        answer: Answer::Value("SELECT n FROM t WHERE id = 2"),
        effects: "",
    };
    for seen in place.everywhere(&scenario) {
        only(&seen, &[Told::Answer]);
    }
}

/// Where the database moves for others too, nobody can tell from its root whether this one was among them.
#[test]
fn what_cannot_be_told_is_said() {
    let mut place = Place::new();
    place.direct.run("CALL DOLT_BRANCH('other')");
    let addr = place.wrapper.addr();
    let scenario = Scenario {
        before: &[],
        cut: "UPDATE t SET n=n+1 WHERE id=1",
        after: &[],
        answer: Answer::Ok(1),
        effects: "SELECT n FROM t WHERE id = 1",
    };
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        scope.spawn(|| write_elsewhere(addr, &over));
        let over = AtEnd(&over);
        // Until it was said, and at least so often that each kind had its chance.
        let mut seen = Seen::new();
        watch::until(DEADLINE, "it is said that it is unknown", || {
            let attempts: usize = seen.values().map(Vec::len).sum();
            let at = At::Reply(attempts % 8);
            let told = place.attempt(&scenario, at).expect("a reply has 11 bytes");
            seen.entry(told).or_default().push(at);
            (attempts >= 30 && seen.contains_key(&Told::Unknown)).then_some(())
        });
        drop(over);
        seen
    });
    let counts: BTreeMap<_, _> = seen.iter().map(|(told, at)| (told, at.len())).collect();
    println!("beside a writer on another branch: {counts:?}");
    only(&seen, &[Told::Happened, Told::Unknown]);
}

/// Set when dropped: on panic too, or the thread that looks at it would be waited for.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn write_elsewhere(addr: SocketAddr, over: &AtomicBool) {
    let mut client = Client::tcp(addr, &Login::root().on("town/other")).expect("logged in");
    while !over.load(Ordering::Relaxed) {
        client.run("UPDATE t SET n = n + 1 WHERE id = 2");
    }
}

#[test]
fn what_is_cut_each_time_ends_in_time_and_has_not_happened() {
    let mut place = Place::new();
    let mut client = Client::tcp(place.wrapper.addr(), &Login::root().on("town")).expect("logged in");
    let sql = "UPDATE t SET n=n+1 WHERE id=1";
    place.wrapper.proxy.cut_each(sql, At::Request(20), u64::MAX);
    let asked = Instant::now();
    let failure = client.query(sql).expect_err("it never arrives");
    assert!(asked.elapsed() < CALL_MAX, "{:?}", asked.elapsed());
    assert_eq!(Told::of(&failure), Told::NotHappened, "{failure}");
    assert!(place.wrapper.proxy.cuts() > 1, "it was tried again");
    place.wrapper.proxy.spare();
    // Neither then nor now, and the lane is free.
    client.run(sql);
    assert_eq!(place.direct.value("SELECT n FROM t WHERE id = 1").as_deref(), Ok("1"));
}
