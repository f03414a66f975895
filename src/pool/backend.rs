//! One connection to Dolt, logged in.

use std::fmt;
use std::io;

use crate::net::{Inbox, Stream};
use crate::statement::transaction::{AnswerHash, Digest};
use crate::wire::BadFrame;
use crate::wire::command::Command;
use crate::wire::frame::{self, Header};
use crate::wire::reply::{Expect, Outcome, PrepareInfo, Progress, ReplyTracker};
use crate::wire::response::{ErrInfo, OkInfo};
use crate::wire::rows::read_text_rows;

/// Answers to our own questions are short; a longer one is a mistake of ours.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// One connection to Dolt, logged in. Dropping it closes it without COM_QUIT.
#[derive(Debug)]
pub struct Backend {
    /// The socket.
    pub stream: Stream,
    /// What came from Dolt and was not relayed yet.
    pub inbox: Inbox,
    /// Dolt's connection id, for `KILL`.
    pub id: u32,
    /// Whether result sets end in OK instead of EOF.
    pub deprecate_eof: bool,
    /// Which run of Dolt it belongs to.
    pub generation: u64,
}

/// What we ask of Dolt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// COM_QUERY.
    Query(String),
    /// COM_INIT_DB. Dolt takes an empty name for no database, which no SQL can say.
    InitDb(String),
}

impl Question {
    /// COM_QUERY.
    pub fn query(sql: &str) -> Self {
        Self::Query(sql.to_owned())
    }

    fn command(&self) -> (Command, &str) {
        match self {
            Self::Query(sql) => (Command::Query, sql),
            Self::InitDb(database) => (Command::InitDb, database),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (command, text) = self.command();
        match self {
            Self::Query(_) => f.write_str(text),
            Self::InitDb(_) => write!(f, "{} {text}", command.name()),
        }
    }
}

/// The answer to a question of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No result set.
    Ok(OkInfo),
    /// A result set; NULL is `None`.
    Rows(Vec<Vec<Option<String>>>),
    /// Dolt refused it.
    Err(ErrInfo),
}

/// A backend can't be used any more.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The connection failed or was closed.
    #[error("lost connection to Dolt: {0}")]
    Lost(#[from] io::Error),
    /// Dolt sent what is not the protocol.
    #[error("Dolt's reply is malformed: {0}")]
    Protocol(#[from] BadFrame),
}

impl Backend {
    /// Asks several questions at once and waits for all answers, in order. Not cancel-safe: a
    /// cancelled question leaves the connection in the middle of a reply, so drop it then.
    pub async fn ask(&mut self, questions: &[Question]) -> Result<Vec<Answer>, BackendError> {
        let mut out = Vec::new();
        for question in questions {
            let (command, text) = question.command();
            let mut payload = vec![command.byte()];
            payload.extend_from_slice(text.as_bytes());
            frame::write_packet(&mut out, 0, &payload);
        }
        self.stream.send(&out).await?;
        let mut answers = Vec::with_capacity(questions.len());
        for _ in questions {
            answers.push(self.answer().await?);
        }
        Ok(answers)
    }

    /// Reads the reply to a question that was sent already.
    pub async fn answer(&mut self) -> Result<Answer, BackendError> {
        let mut tracker = ReplyTracker::new(Expect::Results, self.deprecate_eof);
        let mut seen = 0;
        loop {
            let (taken, progress) = tracker.feed(&self.inbox.bytes()[seen..])?;
            seen += taken;
            match progress {
                Progress::Done => break,
                Progress::LocalInfile => return Err(BadFrame::Malformed { what: "answer" }.into()),
                Progress::More if seen > ANSWER_BYTES_MAX => {
                    let phase = "answer to a question of Branchline's own";
                    return Err(BadFrame::TooLong { bytes: seen, bytes_max: ANSWER_BYTES_MAX, phase }.into());
                }
                Progress::More => self.fill().await?,
            }
        }
        let reply = &self.inbox.bytes()[..seen];
        let answer = match tracker.outcome() {
            Some(Outcome::Err(err)) => Answer::Err(err.clone()),
            Some(Outcome::Ok(info)) => match read_text_rows(reply, self.deprecate_eof) {
                Some(rows) => Answer::Rows(rows),
                None => Answer::Ok(*info),
            },
            None => return Err(BadFrame::Malformed { what: "answer" }.into()),
        };
        self.inbox.consume(seen);
        Ok(answer)
    }

    /// COM_SET_OPTION: 0 turns multi-statements on, 1 off.
    pub async fn set_option(&mut self, option: u16) -> Result<(), BackendError> {
        let [low, high] = option.to_le_bytes();
        self.send_payload(&[Command::SetOption.byte(), low, high]).await?;
        self.one_reply(Expect::One).await?;
        Ok(())
    }

    /// Prepares a statement again that the client prepared on another backend.
    pub async fn prepare(&mut self, text: &[u8]) -> Result<Result<PrepareInfo, ErrInfo>, BackendError> {
        let mut payload = vec![Command::StmtPrepare.byte()];
        payload.extend_from_slice(text);
        self.send_payload(&payload).await?;
        let tracker = self.one_reply(Expect::Prepare).await?;
        match (tracker.prepared(), tracker.outcome()) {
            (Some(info), _) => Ok(Ok(info)),
            (None, Some(Outcome::Err(err))) => Ok(Err(err.clone())),
            (None, _) => Err(BadFrame::Malformed { what: "prepare reply" }.into()),
        }
    }

    /// Runs a command of the client's again: the hash of its answer, which nobody else gets.
    pub async fn run(&mut self, payload: &[u8]) -> Result<Digest, BackendError> {
        self.send_payload(payload).await?;
        let expect = payload.first().and_then(|byte| Command::from_byte(*byte).expects());
        let mut tracker = ReplyTracker::new(expect.unwrap_or(Expect::One), self.deprecate_eof);
        let mut hash = AnswerHash::default();
        loop {
            let (taken, progress) = tracker.feed(self.inbox.bytes())?;
            hash.update(&self.inbox.bytes()[..taken]);
            self.inbox.consume(taken);
            match progress {
                Progress::Done => return Ok(hash.digest()),
                Progress::LocalInfile => return Err(BadFrame::Malformed { what: "answer" }.into()),
                Progress::More => self.fill().await?,
            }
        }
    }

    /// COM_STMT_CLOSE, which has no answer.
    pub async fn close_statement(&mut self, id: u32) -> Result<(), BackendError> {
        let mut payload = vec![Command::StmtClose.byte()];
        payload.extend_from_slice(&id.to_le_bytes());
        self.send_payload(&payload).await
    }

    /// What makes a statement of one backend different from the same id on another.
    pub fn identity(&self) -> (u64, u32) {
        (self.generation, self.id)
    }

    async fn send_payload(&mut self, payload: &[u8]) -> Result<(), BackendError> {
        let mut out = Vec::new();
        frame::write_packet(&mut out, 0, payload);
        Ok(self.stream.send(&out).await?)
    }

    /// Reads a reply to its end and forgets its bytes.
    async fn one_reply(&mut self, expect: Expect) -> Result<ReplyTracker, BackendError> {
        let mut tracker = ReplyTracker::new(expect, self.deprecate_eof);
        loop {
            let (taken, progress) = tracker.feed(self.inbox.bytes())?;
            self.inbox.consume(taken);
            match progress {
                Progress::Done => return Ok(tracker),
                Progress::LocalInfile => return Err(BadFrame::Malformed { what: "reply" }.into()),
                Progress::More => self.fill().await?,
            }
        }
    }

    /// After an ERR in the middle of several statements Dolt goes on with the next one (facts-dolt.md),
    /// which no client expects: reads and forgets what follows, up to the answer to a command that Dolt
    /// does not know, sent as a fence. Returns how many results were thrown away.
    pub async fn discard_after_error(&mut self) -> Result<u32, BackendError> {
        const FENCE: u8 = 0x09;
        self.send_payload(&[FENCE]).await?;
        let mut discarded = 0;
        loop {
            let header = loop {
                match Header::read(self.inbox.bytes()) {
                    Some(header) => break header,
                    None => self.fill().await?,
                }
            };
            let mut tracker = ReplyTracker::resumed(Expect::Results, self.deprecate_eof);
            loop {
                let (taken, progress) = tracker.feed(self.inbox.bytes())?;
                self.inbox.consume(taken);
                match progress {
                    Progress::Done => break,
                    Progress::LocalInfile => return Err(BadFrame::Malformed { what: "reply" }.into()),
                    Progress::More => self.fill().await?,
                }
            }
            // 1047, and numbered from 1 again: no statement ends so.
            if header.seq == 1 && matches!(tracker.outcome(), Some(Outcome::Err(err)) if err.code == 1047) {
                return Ok(discarded);
            }
            discarded += tracker.results();
        }
    }

    /// Reads once; a closed connection is an error here.
    pub async fn fill(&mut self) -> Result<(), BackendError> {
        if self.inbox.fill(&mut self.stream).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Dolt closed the connection").into());
        }
        Ok(())
    }

    /// Says COM_QUIT and closes.
    pub async fn quit(mut self) {
        let mut out = Vec::new();
        frame::write_packet(&mut out, 0, &[Command::Quit.byte()]);
        // Best effort: a Dolt that is gone needs no farewell.
        let _ = self.stream.send(&out).await;
    }
}

impl Answer {
    /// The first row, for questions that have one.
    pub fn row(&self) -> Option<&[Option<String>]> {
        match self {
            Self::Rows(rows) => rows.first().map(Vec::as_slice),
            _ => None,
        }
    }
}
