//! Owns one call of a Dolt procedure that talks to a remote: its time limit, and the end of all that it started.
//! Does not know what the procedure does. Always: when a call returns, or is dropped and a moment has passed, neither its
//! statement nor a git process of it is running; a call says when its fate is not known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::url::RemoteUrl;
use crate::branch::sql_identifier;
use crate::dolt::{Control, ControlError, git};
use crate::session::Context;

/// A killed statement is gone within this, or Dolt hangs.
const GONE_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// For USE and the like.
const SHORT: Duration = Duration::from_secs(10);

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Dolt refused, or its git did; without credentials.
    #[error("{0}")]
    Refused(String),
    /// It did not end in time and was ended. What it did by then has to be looked at.
    #[error("it did not end within {} s and was ended", .0.as_secs())]
    Timeout(Duration),
    /// Dolt was not there, or went away. What was done by then has to be looked at.
    #[error("{0}")]
    Lost(String),
}

impl CallError {
    /// Without this URL's credentials.
    pub fn hiding(self, url: &RemoteUrl) -> Self {
        match self {
            Self::Refused(text) => Self::Refused(url.hide_in(&text)),
            Self::Lost(text) => Self::Lost(url.hide_in(&text)),
            timeout @ Self::Timeout(_) => timeout,
        }
    }
}

impl From<ControlError> for CallError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Server { message, .. } => Self::Refused(message),
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<mysql_async::Error> for CallError {
    fn from(error: mysql_async::Error) -> Self {
        ControlError::from(error).into()
    }
}

/// A connection on main of a database, for calls of Dolt's remote procedures.
#[derive(Debug)]
pub struct RemoteSession {
    conn: Option<Conn>,
    control: Control,
    ending: Ending,
}

/// What it takes to end a call.
#[derive(Debug, Clone)]
struct Ending {
    id: u32,
    home: Option<PathBuf>,
    database_dir: Option<PathBuf>,
}

impl RemoteSession {
    /// Goes to the database; to no database if there is none of that name yet, as for a clone.
    pub async fn open(context: &Context, database: &str, exists: bool) -> Result<Self, CallError> {
        let control = context.dolt.control().clone();
        let session = control.dedicated().await?;
        let lost = || CallError::Lost("the connection to Dolt was given up".to_owned());
        let mut conn = session.into_connection().ok_or_else(lost)?;
        if exists {
            let used = conn.query_drop(format!("USE {}", sql_identifier(database)));
            within(SHORT, async { Ok(used.await?) }).await?;
        }
        let ending = Ending {
            id: conn.id(),
            home: context.dolt.home().map(PathBuf::from),
            database_dir: context.remotes.database_dir(database),
        };
        Ok(Self { conn: Some(conn), control, ending })
    }

    /// A statement that needs no network.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, CallError> {
        self.call(sql, SHORT).await
    }

    /// The first value of the first row.
    pub async fn value<T: mysql_async::prelude::FromValue>(
        &mut self,
        sql: &str,
    ) -> Result<Option<T>, CallError> {
        let rows = self.rows(sql).await?;
        Ok(rows.into_iter().next().and_then(|mut row| row.take_opt::<Option<T>, _>(0)?.ok()?))
    }

    /// A statement that may wait for a remote, and is ended after `limit`. After a timeout the session is over.
    pub async fn call(&mut self, sql: &str, limit: Duration) -> Result<Vec<Row>, CallError> {
        let lost = || CallError::Lost("an earlier call on this connection was given up".to_owned());
        let mut conn = self.conn.take().ok_or_else(lost)?;
        let mut guard = Guard { control: self.control.clone(), ending: Some(self.ending.clone()) };
        let answer = tokio::time::timeout(limit, conn.query(sql)).await;
        match answer {
            Ok(Ok(rows)) => {
                guard.ending = None;
                self.conn = Some(conn);
                Ok(rows)
            }
            Ok(Err(error)) => {
                guard.ending = None;
                let error = CallError::from(error);
                if let CallError::Refused(_) = error {
                    self.conn = Some(conn);
                }
                Err(error)
            }
            Err(_) => {
                if let Some(ending) = guard.ending.take() {
                    end(&self.control, &ending).await;
                }
                Err(CallError::Timeout(limit))
            }
        }
    }

    /// Where Dolt keeps the database, if that is ours.
    pub fn database_dir(&self) -> Option<&Path> {
        self.ending.database_dir.as_deref()
    }

    /// The bare connection, for work that keeps its own time.
    pub fn into_connection(self) -> Option<Conn> {
        self.conn
    }
}

/// A call that is dropped is ended all the same.
struct Guard {
    control: Control,
    ending: Option<Ending>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let (Some(ending), Ok(runtime)) = (self.ending.take(), tokio::runtime::Handle::try_current()) {
            let control = self.control.clone();
            runtime.spawn(async move { end(&control, &ending).await });
        }
    }
}

/// The statement first, so that it starts no more processes; then what it started; then it has to be gone.
async fn end(control: &Control, ending: &Ending) {
    let Ending { id, home, database_dir } = ending;
    if let Err(error) = control.execute(&format!("KILL {id}"), Vec::new()).await {
        tracing::debug!(%error, "the call of a remote's procedure could not be killed");
    }
    if let (Some(home), Some(dir)) = (home, database_dir) {
        let count = git::end_processes(home, Some(dir)).await;
        if count > 0 {
            tracing::info!(count, database = %dir.display(), "git processes of a remote were ended");
        }
    }
    let until = tokio::time::Instant::now() + GONE_WITHIN;
    let sql = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id}");
    while tokio::time::Instant::now() < until {
        match control.rows(&sql, Vec::new()).await {
            Ok(mut rows) => {
                let count = rows.pop().and_then(|mut row| row.take_opt::<u64, _>(0)?.ok());
                if count == Some(0) {
                    return;
                }
            }
            // Dolt is gone, and the statement with it.
            Err(ControlError::Down(_)) => return,
            Err(_) => {}
        }
        tokio::time::sleep(POLL).await;
    }
    tracing::warn!(id, "a call of a remote's procedure is still there after it was killed");
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(CallError::Timeout(limit)))
}
