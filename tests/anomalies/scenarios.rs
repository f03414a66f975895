//! Owns the anomalies: each a scenario that plain Dolt fails.
//! Does not run them.
//! Always: the data tell a lost or doubled write by themselves, whatever the writers were told.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::bd;
use super::outcome::Finding;
use super::scenario::Promise::{NoErrors, RetryConflicts};
use super::scenario::{Databases, Judge, Place, Scenario, Turn, Verdict, WRITERS, Write, Wrote};
use super::session::{Kind, Session};
use super::support::raw::Failure;

/// How long a holder sleeps in its transaction: longer than the lane is kept for it.
const HOLDER_SLEEPS: Duration = Duration::from_secs(3);
/// Writers that do so, once each.
const HOLDERS: usize = 3;
/// Rows that fit in a room of the scenario of phantoms.
const SEATS: i64 = 5;

const COUNTER: &[&str] =
    &["CREATE TABLE counter (id VARCHAR(20) PRIMARY KEY, n INT)", "INSERT INTO counter VALUES ('hot', 0)"];
/// Not empty: MAX of an empty table's key has no row in Dolt, where MySQL has NULL.
const SEQUENCE: &[&str] = &[
    "CREATE TABLE sequence (id INT PRIMARY KEY)",
    "INSERT INTO sequence VALUES (0)",
    COUNTER[0],
    COUNTER[1],
];
const DUTY: &[&str] = &[
    "CREATE TABLE duty (id INT PRIMARY KEY, present INT)",
    "INSERT INTO duty VALUES (0, 1), (1, 1)",
    "CREATE TABLE change_log (writer INT, round INT, id INT, delta INT, PRIMARY KEY (writer, round))",
];
const SEAT: &[&str] = &["CREATE TABLE seat (room INT, writer INT, PRIMARY KEY (room, writer))"];
const ROWS: &[&str] = &["CREATE TABLE own (id INT PRIMARY KEY)", "INSERT INTO own VALUES (-1)"];
const LOGGED: &[&str] =
    &[COUNTER[0], COUNTER[1], "CREATE TABLE change_log (writer INT, round INT, PRIMARY KEY (writer, round))"];

const INCREMENT: &str = "UPDATE counter SET n = n + 1 WHERE id = 'hot'";
const TO_VALUE: &str = "UPDATE counter SET n = ? WHERE id = 'hot'";

/// All of them.
pub fn all() -> Vec<Scenario> {
    let increment = Scenario::new("autocommit increment", NoErrors, COUNTER, increment, counter);
    let transaction = Scenario::new("BEGIN; UPDATE; COMMIT", NoErrors, COUNTER, in_transaction, counter);
    let for_update =
        Scenario::new("BEGIN; SELECT … FOR UPDATE; UPDATE; COMMIT", NoErrors, COUNTER, locking, counter);
    let dolt_commit =
        Scenario::new("BEGIN; UPDATE; CALL DOLT_COMMIT; COMMIT", NoErrors, COUNTER, committing, counter);
    let next_id = Scenario::new("INSERT … SELECT MAX(id)+1", NoErrors, SEQUENCE, next_id, sequence);
    let exact = [increment, transaction, for_update, dolt_commit, next_id];
    let [increment, transaction, for_update, ..] = &exact;
    let after_residue =
        |base: &Scenario| base.but(" after 1062 or SHOW WARNINGS", |it| it.before = Some(residue));

    let mut list = Vec::new();
    list.extend(exact.iter().map(|base| base.but(", prepared", |it| it.kind = |_| Kind::Prepared)));
    for base in [transaction, for_update] {
        list.push(base.but(", autocommit = 0", |it| it.kind = |_| Kind::AutocommitOff));
    }
    list.extend(exact.iter().map(after_residue));
    for base in [increment, transaction] {
        list.push(base.but(" in three places", |it| (it.place, it.judge) = (three_places, counters)));
    }
    list.push(Scenario {
        place: three_places,
        ..increment.but(" beside holders that sleep", beside_holders)
    });
    for (name, write) in
        [("writers that vanish", logged as Write), ("writers that vanish, DOLT_COMMIT", logged_and_committed)]
    {
        list.push(Scenario { mortal: true, ..Scenario::new(name, NoErrors, LOGGED, write, survivors) });
    }

    for (name, setup, write, judge) in [
        ("BEGIN; SELECT; UPDATE; COMMIT", COUNTER, read_then_write as Write, counter as Verdict),
        ("write skew between two rows", DUTY, skew_of_rows, duty),
        ("write skew between two databases", DUTY, skew_of_databases, duty_of_both),
        ("phantom counts", SEAT, phantom, seats),
    ] {
        let base = Scenario::new(name, RetryConflicts, setup, write, judge);
        if name.contains("SELECT") {
            list.push(after_residue(&base));
        }
        list.push(Scenario {
            kind: |writer| [Kind::Text, Kind::Prepared, Kind::AutocommitOff][writer % 3],
            ..base
        });
    }
    for (name, write) in [
        ("INSERT; CALL DOLT_COMMIT('-Am')", own_row as Write),
        ("BEGIN; INSERT; COMMIT; CALL DOLT_ADD; CALL DOLT_COMMIT", own_row_as_bd),
    ] {
        list.push(Scenario { rounds: 1, ..Scenario::new(name, NoErrors, ROWS, write, own_commits) });
    }
    list.push(bd::scenario());
    exact.into_iter().chain(list).collect()
}

fn increment(session: &mut Session, _: &mut Turn) -> Result<Wrote, Failure> {
    session.run(INCREMENT, &[])?;
    Ok(Wrote::Yes)
}

fn in_transaction(session: &mut Session, _: &mut Turn) -> Result<Wrote, Failure> {
    session.transaction(|session| session.run(INCREMENT, &[]))?;
    Ok(Wrote::Yes)
}

fn locking(session: &mut Session, _: &mut Turn) -> Result<Wrote, Failure> {
    session.transaction(|session| {
        let n = session.number("SELECT n FROM counter WHERE id = 'hot' FOR UPDATE", &[])?;
        session.run(TO_VALUE, &[&(n + 1).to_string()])
    })?;
    Ok(Wrote::Yes)
}

fn read_then_write(session: &mut Session, _: &mut Turn) -> Result<Wrote, Failure> {
    session.transaction(|session| {
        let n = session.number("SELECT n FROM counter WHERE id = 'hot'", &[])?;
        session.run(TO_VALUE, &[&(n + 1).to_string()])
    })?;
    Ok(Wrote::Yes)
}

fn committing(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    let message = format!("increment {} of writer {}", turn.round, turn.writer);
    session.transaction(|session| {
        session.run(INCREMENT, &[])?;
        session.run("CALL DOLT_COMMIT('-Am', ?)", &[&message])
    })?;
    Ok(Wrote::Yes)
}

fn counter(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    let (n, acknowledged) =
        (judge.number(&format!("SELECT n FROM `{main}`.counter")), judge.run.acknowledged());
    Finding::of(n == acknowledged as i64, format!("the counter reads {n}"))
}

fn next_id(session: &mut Session, _: &mut Turn) -> Result<Wrote, Failure> {
    session.run("INSERT INTO sequence SELECT MAX(id) + 1 FROM sequence", &[])?;
    Ok(Wrote::Yes)
}

fn sequence(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    let rows = judge.number(&format!("SELECT COUNT(*) FROM `{main}`.sequence WHERE id > 0"));
    let largest = judge.number(&format!("SELECT MAX(id) FROM `{main}`.sequence"));
    let wanted = judge.run.acknowledged() as i64;
    Finding::of((rows, largest) == (wanted, wanted), format!("{rows} rows, MAX(id) {largest}"))
}

/// What leaves Dolt in a transaction that nobody began.
fn residue(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    if turn.writer.is_multiple_of(2) {
        match session.run("INSERT INTO counter VALUES ('hot', 0)", &[]) {
            Err(Failure::Server(1062, ..)) => Ok(Wrote::Nothing),
            Err(other) => Err(other),
            Ok(_) => Err(Failure::Protocol("a duplicate key was taken".to_owned())),
        }
    } else {
        session.text("SHOW WARNINGS")?;
        Ok(Wrote::Nothing)
    }
}

fn three_places(writer: usize) -> Place {
    [Place::Main, Place::Branch, Place::Main, Place::Other][writer % 4]
}

fn counters(judge: &mut Judge<'_>) -> Finding {
    let mut right = true;
    let mut texts = Vec::new();
    for place in [Place::Main, Place::Branch, Place::Other] {
        let n = judge.number(&format!("SELECT n FROM `{}`.counter", judge.databases.at(place)));
        let wanted = judge.acknowledged_at(place);
        right &= n == wanted as i64;
        texts.push(format!("{place:?} {n} of {wanted}"));
    }
    Finding::of(right, texts.join(", "))
}

fn beside_holders(scenario: &mut Scenario) {
    (scenario.write, scenario.judge) = (sleeping, counters);
}

fn sleeping(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    // Writers 0, 4 and 8 are all on main.
    if turn.writer / 4 < HOLDERS && turn.writer.is_multiple_of(4) && turn.round == 1 {
        session.transaction(|session| {
            session.run(INCREMENT, &[])?;
            thread::sleep(HOLDER_SLEEPS);
            Ok(())
        })?;
        return Ok(Wrote::Yes);
    }
    increment(session, turn)
}

fn logged(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    let (writer, round) = (turn.writer.to_string(), turn.round.to_string());
    session.transaction(|session| {
        session.run(INCREMENT, &[])?;
        session.run("INSERT INTO change_log VALUES (?, ?)", &[&writer, &round])
    })?;
    Ok(Wrote::Yes)
}

fn logged_and_committed(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    let (writer, round) = (turn.writer.to_string(), turn.round.to_string());
    session.transaction(|session| {
        session.run(INCREMENT, &[])?;
        session.run("INSERT INTO change_log VALUES (?, ?)", &[&writer, &round])?;
        session.run("CALL DOLT_COMMIT('-Am', ?)", &[&format!("round {round} of writer {writer}")])
    })?;
    Ok(Wrote::Yes)
}

/// The counter and the log went together, all that was acknowledged is there, and of a killed writer at most
/// the one write in flight more.
fn survivors(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    let n = judge.number(&format!("SELECT n FROM `{main}`.counter"));
    let mut there: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let rows = judge.rows(&format!("SELECT writer, round FROM `{main}`.change_log ORDER BY writer, round"));
    for row in &rows {
        let round = row[1].parse().expect("a round");
        there.entry(row[0].parse().expect("a writer")).or_default().push(round);
    }
    let (mut lost, mut unasked, mut in_flight) = (0, 0, 0);
    for (writer, outcome) in judge.run.writers.iter().enumerate() {
        let there = there.remove(&writer).unwrap_or_default();
        lost += outcome.acknowledged.iter().filter(|round| !there.contains(round)).count();
        let more = there.iter().filter(|round| !outcome.acknowledged.contains(round)).count();
        match (outcome.killed, more) {
            (_, 0) => {}
            (true, 1) => in_flight += 1,
            _ => unasked += more,
        }
    }
    let killed = judge.run.writers.iter().filter(|writer| writer.killed).count();
    Finding::of(
        lost == 0 && unasked == 0 && n == rows.len() as i64 && killed > 0,
        format!(
            "counter {n}, {} rows, {lost} lost, {unasked} unasked, {killed} writers killed, {in_flight} \
             of their last writes there",
            rows.len()
        ),
    )
}

/// Each writer owns one of two rows, and takes itself off duty only while the other is there.
fn skew_of_rows(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    skew(session, turn, ["duty", "duty"], "")
}

/// Even writers change row 0 in one database, odd ones row 1 in the other; all read both.
fn skew_of_databases(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    let [main, other] = [&turn.databases.main, &turn.databases.other].map(|name| format!("`{name}`."));
    let tables = [&main, &other].map(|database| format!("{database}duty"));
    let database = if turn.writer.is_multiple_of(2) { main } else { other };
    skew(session, turn, [&tables[0], &tables[1]], &database)
}

fn skew(session: &mut Session, turn: &mut Turn, tables: [&str; 2], database: &str) -> Result<Wrote, Failure> {
    let id = turn.writer % 2;
    let (writer, round) = (turn.writer.to_string(), turn.round.to_string());
    let mut nobody = false;
    let wrote = session.transaction(|session| {
        let mut present = [0; 2];
        for (id, table) in tables.iter().enumerate() {
            let sql = format!("SELECT present FROM {table} WHERE id = ?");
            present[id] = session.number(&sql, &[&id.to_string()])?;
        }
        nobody = present == [0, 0];
        // At least one of the two is there: one leaves if both are, and comes back whenever it is away.
        let delta = match (present[id], present[1 - id]) {
            (0, _) => 1,
            (_, 0) => return Ok(Wrote::Nothing),
            _ => -1,
        };
        let (now, id, delta) = ((present[id] + delta).to_string(), id.to_string(), delta.to_string());
        let table = tables[turn.writer % 2];
        session.run(&format!("UPDATE {table} SET present = ? WHERE id = ?"), &[&now, &id])?;
        session.run(
            &format!("INSERT INTO {database}change_log VALUES (?, ?, ?, ?)"),
            &[&writer, &round, &id, &delta],
        )?;
        Ok(Wrote::Yes)
    })?;
    // Only what was committed counts: a read that ended in 1213 promised nothing.
    turn.impossible = nobody;
    Ok(wrote)
}

fn duty(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    on_duty(judge, [&main, &main])
}

fn duty_of_both(judge: &mut Judge<'_>) -> Finding {
    let Databases { main, other } = judge.databases.clone();
    on_duty(judge, [&main, &other])
}

/// Nobody saw an empty room, every logged change is in the rows, and every acknowledged one in the log.
fn on_duty(judge: &mut Judge<'_>, databases: [&str; 2]) -> Finding {
    let mut right = true;
    let (mut logged, mut texts) = (0, Vec::new());
    for (id, database) in databases.iter().enumerate() {
        let present = judge.number(&format!("SELECT present FROM `{database}`.duty WHERE id = {id}"));
        let log = format!("FROM `{database}`.change_log WHERE id = {id}");
        let sum = 1 + judge.number(&format!("SELECT SUM(delta) {log}"));
        logged += judge.number(&format!("SELECT COUNT(*) {log}"));
        right &= present == sum;
        texts.push(format!("row {id} is {present}, its log says {sum}"));
    }
    let (wanted, impossible) = (judge.run.acknowledged() as i64, judge.run.impossible());
    right &= logged == wanted && impossible == 0;
    texts.push(format!("{logged} logged, {impossible} saw nobody"));
    Finding::of(right, texts.join(", "))
}

fn phantom(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    let (room, writer) = (turn.round.to_string(), turn.writer.to_string());
    session.transaction(|session| {
        if session.number("SELECT COUNT(*) FROM seat WHERE room = ?", &[&room])? >= SEATS {
            return Ok(Wrote::Nothing);
        }
        session.run("INSERT INTO seat VALUES (?, ?)", &[&room, &writer])?;
        Ok(Wrote::Yes)
    })
}

fn seats(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    let rooms = judge.rows(&format!("SELECT COUNT(*) FROM `{main}`.seat GROUP BY room ORDER BY room"));
    let taken: Vec<i64> = rooms.iter().map(|row| row[0].parse().expect("a count")).collect();
    let total: i64 = taken.iter().sum();
    let right = taken.iter().all(|taken| *taken == SEATS)
        && taken.len() == judge.scenario.rounds as usize
        && total == judge.run.acknowledged() as i64;
    Finding::of(right, format!("{SEATS} seats a room, taken: {taken:?}"))
}

fn own_row(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    session.run("INSERT INTO own VALUES (?)", &[&turn.writer.to_string()])?;
    session.run("CALL DOLT_COMMIT('-Am', ?)", &[&format!("row {}", turn.writer)])?;
    Ok(Wrote::Yes)
}

fn own_row_as_bd(session: &mut Session, turn: &mut Turn) -> Result<Wrote, Failure> {
    let writer = turn.writer.to_string();
    session.transaction(|session| session.run("INSERT INTO own VALUES (?)", &[&writer]))?;
    session.run("CALL DOLT_ADD(?)", &["own"])?;
    let author = "bd <bd@example.com>";
    session.run("CALL DOLT_COMMIT('-m', ?, '--author', ?)", &[&format!("row {writer}"), author])?;
    Ok(Wrote::Yes)
}

/// One Dolt commit per writer, with its own row and no other.
fn own_commits(judge: &mut Judge<'_>) -> Finding {
    let main = judge.databases.main.clone();
    judge.dolt.run(&format!("USE `{main}`"));
    let rows = judge.rows(
        "SELECT log.message, diff.to_id FROM dolt_diff_own AS diff JOIN dolt_log AS log \
         ON log.commit_hash = diff.to_commit WHERE diff.diff_type = 'added' AND diff.to_id >= 0",
    );
    let own = rows.iter().filter(|row| row[0] == format!("row {}", row[1])).count();
    let commits = judge.number("SELECT COUNT(*) FROM dolt_log WHERE message LIKE 'row %'");
    let uncommitted = judge.number("SELECT COUNT(*) FROM dolt_status");
    let right = own == WRITERS && rows.len() == WRITERS && commits == WRITERS as i64 && uncommitted == 0;
    let swept = rows.len() - own;
    Finding::of(right, format!("{commits} commits, {own} rows in their own, {swept} in another's"))
}
