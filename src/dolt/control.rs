//! Owns our own connections to Dolt, as a superuser: a small pool and dedicated ones.
//! Does not decide when Dolt is up: the supervisor says where it is. Always: each call ends within its
//! timeout, and a connection goes back to the pool reset or not at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params, Row, Value};
use tokio::sync::Semaphore;

/// Control statements at once; more wait, within their timeout.
const CONNECTIONS_MAX: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(10);
/// For the reset behind the caller's back.
const RESET_TIMEOUT: Duration = Duration::from_secs(2);

/// Our own connections to Dolt; cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
    timeout: Duration,
}

#[derive(Debug)]
struct Shared {
    link: Mutex<Link>,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
enum Link {
    Down(String),
    Up { opts: Opts, generation: u64, idle: Vec<Conn> },
}

/// One connection for a job of several steps; closed when dropped.
#[derive(Debug)]
pub struct ControlSession {
    /// None once a call did not end in time: what it left behind is unknown.
    conn: Option<Conn>,
    timeout: Duration,
}

/// Why a control statement has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// Dolt is not there; the reason is `State::Down`'s.
    #[error("{0}")]
    Down(String),
    /// No answer in time; the statement may have happened.
    #[error("Dolt did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Dolt refused the statement.
    #[error("{message} ({code}/{state})")]
    Server {
        /// MySQL error number.
        code: u16,
        /// SQLSTATE.
        state: String,
        /// Its text.
        message: String,
    },
    /// The connection failed; the statement may have happened.
    #[error("connection to Dolt failed: {0}")]
    Io(String),
}

impl From<mysql_async::Error> for ControlError {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => {
                Self::Server { code: error.code, state: error.state, message: error.message }
            }
            mysql_async::Error::Io(mysql_async::IoError::Io(error)) => Self::Io(error.to_string()),
            other => Self::Io(other.to_string()),
        }
    }
}

impl Control {
    pub(super) fn new() -> Self {
        let link = Mutex::new(Link::Down("Dolt is starting".into()));
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { shared: Arc::new(Shared { link, slots }), timeout: TIMEOUT }
    }

    /// Dolt answers here from now on.
    pub(super) fn set_up(&self, opts: Opts, generation: u64) {
        self.replace(Link::Up { opts, generation, idle: Vec::new() });
    }

    /// Dolt does not answer; callers get the reason.
    pub(super) fn set_down(&self, reason: &str) {
        self.replace(Link::Down(reason.into()));
    }

    fn replace(&self, link: Link) {
        let old = std::mem::replace(&mut *self.shared.lock(), link);
        // The idle connections are closed outside the lock.
        drop(old);
    }

    /// The same connections with another limit per call (default 10 s).
    pub fn with_timeout(&self, timeout: Duration) -> Control {
        Control { shared: self.shared.clone(), timeout }
    }

    /// All rows of one statement, in the text protocol without parameters (every value is `Bytes`) and
    /// prepared with them. Leaves no session state behind, except `USE`: that needs [`Control::dedicated`].
    pub async fn rows(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, ControlError> {
        self.with_conn(async |conn| rows(conn, sql, params).await).await
    }

    /// Runs one statement; the affected rows.
    pub async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<u64, ControlError> {
        self.with_conn(async |conn| execute(conn, sql, params).await).await
    }

    /// A connection of your own for a job of several steps.
    pub async fn dedicated(&self) -> Result<ControlSession, ControlError> {
        let (opts, _) = self.shared.target()?;
        let conn = within(self.timeout, async { Ok(Conn::new(opts).await?) }).await?;
        Ok(ControlSession { conn: Some(conn), timeout: self.timeout })
    }

    async fn with_conn<T>(
        &self,
        job: impl AsyncFnOnce(&mut Conn) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let job = async {
            let slot = self
                .shared
                .slots
                .clone()
                .acquire_owned()
                .await
                .map_err(|e| ControlError::Io(e.to_string()))?;
            let (opts, generation) = self.shared.target()?;
            let mut conn = match self.shared.take_idle(generation) {
                Some(conn) => conn,
                None => Conn::new(opts).await?,
            };
            // After any error Dolt may keep a transaction open: such a connection is dropped here.
            let answer = job(&mut conn).await?;
            let shared = self.shared.clone();
            tokio::spawn(async move {
                let _slot = slot;
                if let Ok(Ok(true)) = tokio::time::timeout(RESET_TIMEOUT, conn.reset()).await {
                    shared.put_idle(conn, generation);
                }
            });
            Ok(answer)
        };
        within(self.timeout, job).await
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self) -> Result<(Opts, u64), ControlError> {
        match &*self.lock() {
            Link::Down(reason) => Err(ControlError::Down(reason.clone())),
            Link::Up { opts, generation, .. } => Ok((opts.clone(), *generation)),
        }
    }

    fn take_idle(&self, wanted: u64) -> Option<Conn> {
        match &mut *self.lock() {
            Link::Up { generation, idle, .. } if *generation == wanted => idle.pop(),
            _ => None,
        }
    }

    fn put_idle(&self, conn: Conn, from: u64) {
        if let Link::Up { generation, idle, .. } = &mut *self.lock()
            && *generation == from
            && idle.len() < CONNECTIONS_MAX
        {
            idle.push(conn);
        }
    }
}

impl ControlSession {
    /// The bare connection, for a job that keeps its own time. `None` if a call on it did not end in time.
    pub fn into_connection(self) -> Option<Conn> {
        self.conn
    }

    /// The same connection with another limit per call from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// All rows of one statement.
    pub async fn rows(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, ControlError> {
        self.with_conn(async |conn| rows(conn, sql, params).await).await
    }

    /// Runs one statement; the affected rows.
    pub async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, ControlError> {
        self.with_conn(async |conn| execute(conn, sql, params).await).await
    }

    async fn with_conn<T>(
        &mut self,
        job: impl AsyncFnOnce(&mut Conn) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        // Taken out, so that a call that is cancelled or not answered in time leaves nothing to use.
        let mut conn =
            self.conn.take().ok_or_else(|| ControlError::Io("it was given up after a failure".into()))?;
        let result = within(self.timeout, job(&mut conn)).await;
        if let Ok(_) | Err(ControlError::Server { .. }) = result {
            self.conn = Some(conn);
        }
        result
    }
}

/// Opens one connection and asks it something, outside the pool: for probes.
pub(super) async fn ask_once(opts: Opts, sql: &str, timeout: Duration) -> Result<Vec<Row>, ControlError> {
    let ask = async {
        let mut conn = Conn::new(opts).await?;
        let rows = rows(&mut conn, sql, Vec::new()).await?;
        conn.disconnect().await?;
        Ok(rows)
    };
    within(timeout, ask).await
}

async fn within<T>(
    timeout: Duration,
    job: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    tokio::time::timeout(timeout, job).await.unwrap_or(Err(ControlError::Timeout(timeout)))
}

async fn rows(conn: &mut Conn, sql: &str, params: Vec<Value>) -> Result<Vec<Row>, ControlError> {
    if params.is_empty() {
        return Ok(conn.query(sql).await?);
    }
    Ok(conn.exec(sql, Params::Positional(params)).await?)
}

async fn execute(conn: &mut Conn, sql: &str, params: Vec<Value>) -> Result<u64, ControlError> {
    if params.is_empty() {
        conn.query_drop(sql).await?;
    } else {
        conn.exec_drop(sql, Params::Positional(params)).await?;
    }
    Ok(conn.affected_rows())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn while_dolt_is_down_callers_get_the_reason_at_once() {
        let control = Control::new();
        control.set_down("Dolt was ended by signal 9; it is started again in 1 s");
        for result in [
            control.rows("SELECT 1", vec![]).await.map(|_| ()),
            control.execute("SELECT 1", vec![]).await.map(|_| ()),
            control.dedicated().await.map(|_| ()),
        ] {
            let Err(ControlError::Down(reason)) = result else { panic!("{result:?}") };
            assert!(reason.contains("signal 9"), "{reason}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_accepts_and_says_nothing_is_a_timeout() {
        let dir = tempfile::tempdir().expect("temp dir");
        let socket = dir.path().join("silent.sock");
        let _listener = tokio::net::UnixListener::bind(&socket).expect("bind");
        let control = Control::new();
        let opts = mysql_async::OptsBuilder::default().socket(socket.to_str().map(str::to_owned));
        control.set_up(opts.into(), 1);
        let result = control.with_timeout(Duration::from_secs(3)).rows("SELECT 1", vec![]).await;
        assert!(matches!(result, Err(ControlError::Timeout(_))), "{result:?}");
    }
}
