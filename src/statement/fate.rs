//! Owns the question what became of a write whose answer was lost: it is killed, waited for until it is gone,
//! and then looked for in what it would have changed. Does not run anything again, and does not know lanes:
//! who else could have written is asked of the caller.
//! Always: nothing is said of a statement that may still be running; a doubt is [`Verdict::CannotTell`].

use std::time::{Duration, Instant};

use crate::branch::{sql_identifier, sql_literal};
use crate::dolt::journal::{Journals, RootHash};
use crate::dolt::{Control, ControlError, ControlSession, Dolt, Ready, State};

/// It gets at least so long, however much of the budget is spent.
pub const WAIT_MIN: Duration = Duration::from_secs(1);
/// Between two looks at the process list.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Dolt cuts the date of a commit to milliseconds.
const DATE_GRAIN: Duration = Duration::from_millis(1);

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It happened, and all of its answer is known.
    Happened {
        /// Of `DOLT_COMMIT`: the new commit's hash.
        head: Option<String>,
    },
    /// It happened; its answer (counts, rows) is lost.
    HappenedAnswerLost,
    /// It did not happen, and never will.
    DidNotHappen,
    /// Not known; why.
    CannotTell(String),
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One statement that commits itself, in one step.
    Write,
    /// What answers a plain OK: COMMIT, or DDL.
    Commit,
    /// `CALL DOLT_COMMIT`.
    DoltCommit {
        /// As Dolt spells it.
        database: String,
        /// The branch that it commits to, as Dolt spells it.
        branch: String,
        /// The message, if it was a literal.
        message: Option<String>,
        /// The branch's commit before, if it is known.
        head_before: Option<String>,
    },
    /// A procedure that moves refs in several steps, of which some may have happened (`DOLT_BRANCH`,
    /// `DOLT_MERGE`, `DOLT_RESET` to a commit, `DOLT_STASH`, `DOLT_CHECKOUT('-b')`), or several statements.
    SeveralSteps,
    /// Changes what no journal shows: accounts, global variables, remotes, files, other servers.
    Elsewhere,
}

/// What a branch's heads were: the commit, and the database hashes of its staged and working tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triple {
    /// Commit hash of the branch.
    pub head: String,
    /// Of the staged tables.
    pub staged: String,
    /// Of the working tables.
    pub working: String,
}

impl Triple {
    /// Asks a session on the branch for it. In a transaction it must be asked before the first write.
    pub const QUESTION: &str =
        "SELECT DOLT_HASHOF('HEAD'), DOLT_HASHOF_DB('STAGED'), DOLT_HASHOF_DB('WORKING')";

    /// From the one row of the answer.
    pub fn parse(row: &[Option<String>]) -> Option<Self> {
        let [Some(head), Some(staged), Some(working)] = row else { return None };
        Some(Self { head: head.clone(), staged: staged.clone(), working: working.clone() })
    }
}

/// How things stood before the statement was sent, with its lane held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBefore {
    /// The database's root.
    Root(RootHash),
    /// The branch's heads, for a Dolt whose files are not ours to read.
    Triple(Triple),
    /// Was not to be had.
    Unknown,
}

/// One branch that it may have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// As Dolt spells it.
    pub database: String,
    /// As Dolt spells it.
    pub branch: String,
    /// Before.
    pub before: StateBefore,
}

/// The question.
pub struct Fate<'a> {
    /// The server.
    pub dolt: &'a Dolt,
    /// Its journals if it is ours.
    pub journals: Option<&'a Journals>,
    /// Dolt's id of the backend that was lost.
    pub backend: u32,
    /// Which run of Dolt that was.
    pub generation: u64,
    /// What was sent.
    pub what: What,
    /// All that it may have written.
    pub watched: Vec<Watched>,
    /// When it was sent.
    pub sent_at: Instant,
    /// Whether anybody else could have moved this database's root since `before` was taken: another lane of it was
    /// active, or Branchline itself wrote. Asked after the root was read.
    pub others: &'a (dyn Fn(&str) -> bool + Send + Sync),
    /// Until when; but see [`WAIT_MIN`].
    pub deadline: Instant,
}

/// What is seen of one watched branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// As before.
    Unmoved,
    /// Moved, and nobody else could.
    Moved,
    /// Moved, and others could.
    MovedAmongOthers,
    /// Not to be compared.
    Unknown,
}

/// The commit that a branch is at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    hash: String,
    message: String,
    /// Not the one before, or else made after the statement was sent.
    is_new: bool,
}

/// What it is concluded from. The core: no I/O, no clock.
fn judge(what: &What, traces: &[Trace], head: Option<&Head>) -> Verdict {
    if traces.is_empty() || *what == What::Elsewhere {
        return cannot("what it changes is not in any database's journal");
    }
    if traces.iter().all(|trace| *trace == Trace::Unmoved) {
        return Verdict::DidNotHappen;
    }
    // Nobody else commits on a branch whose lane is held.
    if let (What::DoltCommit { message, .. }, Some(head)) = (what, head)
        && head.is_new
        && message.as_ref().is_none_or(|message| message.trim() == head.message.trim())
    {
        return Verdict::Happened { head: Some(head.hash.clone()) };
    }
    if !traces.contains(&Trace::Moved) {
        let among_others = traces.contains(&Trace::MovedAmongOthers);
        return cannot(if among_others {
            "the database has changed, but others wrote to other branches of it meanwhile"
        } else {
            "the state of the database before it or after it is not known"
        });
    }
    match what {
        What::Commit => Verdict::Happened { head: None },
        // One step, and no new commit: it had nothing to commit but the SQL transaction.
        What::DoltCommit { .. } => Verdict::HappenedAnswerLost,
        What::SeveralSteps => cannot("some of its steps have happened, perhaps not all"),
        What::Write | What::Elsewhere => Verdict::HappenedAnswerLost,
    }
}

/// Kills the statement, waits until it is gone, and says what became of it.
pub async fn find_out(fate: Fate<'_>) -> Verdict {
    let until = fate.deadline.max(Instant::now() + WAIT_MIN);
    let found = tokio::time::timeout_at(until.into(), async {
        gone(fate.dolt, fate.generation, fate.backend).await?;
        let traces = fate.traces().await;
        let head = fate.head().await;
        Ok::<_, &str>(judge(&fate.what, &traces, head.as_ref()))
    });
    let verdict = match found.await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(why)) => cannot(why),
        Err(_) => cannot("it was still running, or Dolt was not back, when the time was over"),
    };
    tracing::info!(?verdict, what = ?fate.what, backend = fate.backend, "the fate of a write");
    verdict
}

/// Kills what is left of a session whose client is gone, and waits until it is no more; says so if it can't see
/// that in time. Whether it is not known to be there any more.
pub async fn end_statement(dolt: &Dolt, generation: u64, backend: u32, limit: Duration) -> bool {
    match tokio::time::timeout(limit, gone(dolt, generation, backend)).await {
        Ok(Ok(())) => true,
        Ok(Err(why)) => {
            tracing::debug!(why, backend, "the statement of a client that is gone");
            true
        }
        Err(_) => {
            tracing::warn!(
                backend,
                limit_s = limit.as_secs(),
                "a statement whose client is gone could not be ended in time: it may still change its branch"
            );
            false
        }
    }
}

/// Returns once the backend and its statement are no more.
async fn gone(dolt: &Dolt, generation: u64, backend: u32) -> Result<(), &'static str> {
    let mut session = None;
    let mut pause = LOOK_FIRST;
    let mut is_killed = false;
    loop {
        let ready = ready(dolt).await?;
        let is_same_run = ready.generation == generation;
        // Ours is started again only when its process has ended. Somebody else's may have been out of reach only.
        if ready.pid.is_some() && !is_same_run {
            return Ok(());
        }
        // In another run the id may be another session's: that one is not ours to kill.
        let kill = is_same_run && !is_killed;
        match look(dolt.control(), &mut session, backend, kill).await {
            Ok(true) => return Ok(()),
            Ok(false) => is_killed |= kill,
            Err(error) => {
                tracing::debug!(%error, "cannot see whether a lost backend is gone: looking again");
                session = None;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_MAX);
    }
}

/// Whether a connection has left the process list; kills it first.
async fn look(
    control: &Control,
    session: &mut Option<ControlSession>,
    id: u32,
    kill: bool,
) -> Result<bool, ControlError> {
    if session.is_none() {
        *session = Some(control.dedicated().await?);
    }
    let Some(session) = session else { return Ok(false) };
    if kill {
        match session.execute(&format!("KILL {id}"), Vec::new()).await {
            // It has gone by itself.
            Ok(_) | Err(ControlError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let ask = format!("SELECT id FROM information_schema.processlist WHERE id = {id}");
    Ok(session.rows(&ask, Vec::new()).await?.is_empty())
}

async fn ready(dolt: &Dolt) -> Result<std::sync::Arc<Ready>, &'static str> {
    let mut watch = dolt.watch();
    let state = watch.wait_for(|state| matches!(state, State::Ready(_) | State::Stopping)).await;
    match state.as_deref() {
        Ok(State::Ready(ready)) => Ok(std::sync::Arc::clone(ready)),
        _ => Err("Dolt is being stopped"),
    }
}

impl Fate<'_> {
    async fn traces(&self) -> Vec<Trace> {
        let mut traces = Vec::with_capacity(self.watched.len());
        for watched in &self.watched {
            traces.push(match &watched.before {
                StateBefore::Root(before) => self.root_trace(&watched.database, *before),
                StateBefore::Triple(before) => self.triple_trace(watched, before).await,
                StateBefore::Unknown => Trace::Unknown,
            });
        }
        traces
    }

    fn root_trace(&self, database: &str, before: RootHash) -> Trace {
        match self.journals.and_then(|journals| journals.root(database)) {
            None => Trace::Unknown,
            Some(now) if now == before => Trace::Unmoved,
            // Asked last, so that whoever moved it before it was read is known.
            Some(_) if (self.others)(database) => Trace::MovedAmongOthers,
            Some(_) => Trace::Moved,
        }
    }

    /// Nobody else moves the heads of a branch whose lane is held.
    async fn triple_trace(&self, watched: &Watched, before: &Triple) -> Trace {
        match self.triple(watched).await {
            Ok(Some(now)) if now == *before => Trace::Unmoved,
            Ok(Some(_)) => Trace::Moved,
            Ok(None) => Trace::Unknown,
            Err(error) => {
                tracing::debug!(%error, database = watched.database, branch = watched.branch, "no heads to compare");
                Trace::Unknown
            }
        }
    }

    async fn triple(&self, watched: &Watched) -> Result<Option<Triple>, ControlError> {
        let mut session = self.dolt.control().dedicated().await?;
        let name = sql_identifier(&format!("{}/{}", watched.database, watched.branch));
        session.execute(&format!("USE {name}"), Vec::new()).await?;
        let rows = session.rows(Triple::QUESTION, Vec::new()).await?;
        let row = rows.into_iter().next().and_then(|row| mysql_async::from_row_opt(row).ok());
        Ok(row.map(|(head, staged, working)| Triple { head, staged, working }))
    }

    async fn head(&self) -> Option<Head> {
        let What::DoltCommit { database, branch, head_before, .. } = &self.what else { return None };
        let ask = format!(
            "SELECT hash, latest_commit_message, TIMESTAMPDIFF(MICROSECOND, latest_commit_date, UTC_TIMESTAMP(6)) \
             FROM {}.dolt_branches WHERE name = {}",
            sql_identifier(database),
            sql_literal(branch)
        );
        let rows = match self.dolt.control().rows(&ask, Vec::new()).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::debug!(%error, database, branch, "no HEAD to look at");
                return None;
            }
        };
        let row = rows.into_iter().next()?;
        let (hash, message, age_us): (String, String, i64) = mysql_async::from_row_opt(row).ok()?;
        let triple = self.watched.iter().find_map(|watched| match &watched.before {
            StateBefore::Triple(triple) if watched.database == *database && watched.branch == *branch => {
                Some(&triple.head)
            }
            _ => None,
        });
        let is_new = match head_before.as_ref().or(triple) {
            Some(before) => *before != hash,
            None => {
                let since_sent = self.sent_at.elapsed() + DATE_GRAIN;
                u64::try_from(age_us).map_or(true, |age| Duration::from_micros(age) <= since_sent)
            }
        };
        Some(Head { hash, message, is_new })
    }
}

fn cannot(why: impl Into<String>) -> Verdict {
    Verdict::CannotTell(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dolt_commit(message: Option<&str>) -> What {
        What::DoltCommit {
            database: "d".into(),
            branch: "main".into(),
            message: message.map(str::to_owned),
            head_before: None,
        }
    }

    fn head(message: &str, is_new: bool) -> Head {
        Head { hash: "h".into(), message: message.into(), is_new }
    }

    /// `happened`, `with head`, `answer lost`, `did not`, or why it can't be told.
    fn named(verdict: Verdict) -> String {
        match verdict {
            Verdict::Happened { head: None } => "happened".into(),
            Verdict::Happened { head: Some(hash) } => {
                assert_eq!(hash, "h");
                "with head".into()
            }
            Verdict::HappenedAnswerLost => "answer lost".into(),
            Verdict::DidNotHappen => "did not".into(),
            Verdict::CannotTell(why) => why,
        }
    }

    #[test]
    fn what_is_seen_decides() {
        use Trace::{Moved, MovedAmongOthers, Unknown, Unmoved};
        let others = "the database has changed, but others wrote to other branches of it meanwhile";
        let unknown = "the state of the database before it or after it is not known";
        let elsewhere = "what it changes is not in any database's journal";
        let steps = "some of its steps have happened, perhaps not all";
        // By what was sent: write, COMMIT, several steps, elsewhere.
        for (traces, want) in [
            (&[Unmoved][..], ["did not", "did not", "did not", elsewhere]),
            (&[Unmoved, Unmoved], ["did not", "did not", "did not", elsewhere]),
            (&[Moved], ["answer lost", "happened", steps, elsewhere]),
            (&[Unmoved, Moved], ["answer lost", "happened", steps, elsewhere]),
            (&[Moved, MovedAmongOthers, Unknown], ["answer lost", "happened", steps, elsewhere]),
            (&[MovedAmongOthers], [others, others, others, elsewhere]),
            (&[Unmoved, MovedAmongOthers], [others, others, others, elsewhere]),
            (&[Unknown, MovedAmongOthers], [others, others, others, elsewhere]),
            (&[Unknown], [unknown, unknown, unknown, elsewhere]),
            (&[Unmoved, Unknown], [unknown, unknown, unknown, elsewhere]),
            (&[], [elsewhere; 4]),
        ] {
            let sent = [What::Write, What::Commit, What::SeveralSteps, What::Elsewhere];
            for (what, want) in sent.iter().zip(want) {
                assert_eq!(named(judge(what, traces, None)), want, "{what:?} {traces:?}");
            }
        }
    }

    #[test]
    fn a_dolt_commit_is_known_by_its_head() {
        let others = "the database has changed, but others wrote to other branches of it meanwhile";
        let unknown = "the state of the database before it or after it is not known";
        for (trace, message, head, want) in [
            (Trace::Unmoved, Some("m"), Some(head("m", true)), "did not"),
            (Trace::Moved, Some("m"), Some(head("m", true)), "with head"),
            (Trace::Moved, Some(" m\n"), Some(head("m", true)), "with head"),
            (Trace::Moved, None, Some(head("m", true)), "with head"),
            // Nothing to commit: the SQL transaction is committed, and that was all.
            (Trace::Moved, Some("m"), Some(head("m", false)), "answer lost"),
            (Trace::Moved, Some("m"), Some(head("another", true)), "answer lost"),
            (Trace::Moved, Some("m"), None, "answer lost"),
            (Trace::MovedAmongOthers, Some("m"), Some(head("m", true)), "with head"),
            (Trace::MovedAmongOthers, Some("m"), Some(head("m", false)), others),
            (Trace::MovedAmongOthers, Some("m"), Some(head("another", true)), others),
            (Trace::MovedAmongOthers, Some("m"), None, others),
            (Trace::Unknown, Some("m"), Some(head("m", true)), "with head"),
            (Trace::Unknown, Some("m"), Some(head("m", false)), unknown),
        ] {
            let is = named(judge(&dolt_commit(message), &[trace], head.as_ref()));
            assert_eq!(is, want, "{trace:?} {message:?} {head:?}");
        }
        // A HEAD says nothing of what is no DOLT_COMMIT.
        assert_eq!(judge(&What::Write, &[Trace::Moved], Some(&head("m", true))), Verdict::HappenedAnswerLost);
    }

    #[test]
    fn a_triple_is_one_whole_row() {
        let row = ["h", "s", "w"].map(|hash| Some(hash.to_owned()));
        let want = Triple { head: "h".into(), staged: "s".into(), working: "w".into() };
        assert_eq!(Triple::parse(&row), Some(want));
        assert_eq!(Triple::parse(&row[..2]), None);
        assert_eq!(Triple::parse(&[None, row[1].clone(), row[2].clone()]), None);
    }
}
