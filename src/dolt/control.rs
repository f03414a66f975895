//! Owns our own connections to Dolt, as a superuser: a small pool and dedicated ones.
//! Does not decide when Dolt is up. Always: each call ends within its timeout, and a connection
//! goes back to the pool clean or not at all.

use std::time::Duration;

use mysql_async::{Row, Value};

/// Our own connections to Dolt; cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    timeout: Duration,
}

/// One connection for a job of several steps; closed when dropped.
#[derive(Debug)]
pub struct ControlSession {
    _private: (),
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

impl Control {
    /// The same connections with another limit per call (default 10 s).
    pub fn with_timeout(&self, timeout: Duration) -> Control {
        Control { timeout, ..self.clone() }
    }

    /// All rows of one statement. Leave no session state behind: that is what `dedicated` is for.
    pub async fn rows(&self, _sql: &str, _params: Vec<Value>) -> Result<Vec<Row>, ControlError> {
        todo!()
    }

    /// Runs one statement; the affected rows.
    pub async fn execute(&self, _sql: &str, _params: Vec<Value>) -> Result<u64, ControlError> {
        todo!()
    }

    /// A connection of your own for a job of several steps.
    pub async fn dedicated(&self) -> Result<ControlSession, ControlError> {
        todo!()
    }
}

impl ControlSession {
    /// All rows of one statement.
    pub async fn rows(&mut self, _sql: &str, _params: Vec<Value>) -> Result<Vec<Row>, ControlError> {
        todo!()
    }

    /// Runs one statement; the affected rows.
    pub async fn execute(&mut self, _sql: &str, _params: Vec<Value>) -> Result<u64, ControlError> {
        todo!()
    }
}
