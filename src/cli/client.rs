//! Owns the client's end of the console: finding the running process, asking it within a time limit.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, IoError, OptsBuilder};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::Context;
use super::failure::Failure;
use super::output::ResultTable;
use crate::config::resolve::CONSOLE_SOCKET;

/// The console answers its greeting at once, or is stuck.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A little more than the console gives a command.
const QUERY_TIMEOUT: Duration = Duration::from_secs(65);

/// A connection to the console of the running process.
pub struct ConsoleClient {
    runtime: Runtime,
    conn: Conn,
    state_dir: PathBuf,
}

/// Why there is no connection.
enum NoConsole {
    /// The process behind it is being killed: a moment later nobody listens.
    Ending,
    Failure(Failure),
}

const ENDING_TRIES: u32 = 40;
const ENDING_PAUSE: Duration = Duration::from_millis(50);

impl ConsoleClient {
    /// Finds the process by the state directory.
    pub fn connect(context: &Context) -> Result<Self, Failure> {
        Self::connect_in(&context.flags.state_dir()?)
    }

    /// The process of this state directory.
    pub fn connect_in(state_dir: &Path) -> Result<Self, Failure> {
        for _ in 0..ENDING_TRIES {
            match Self::try_connect_in(state_dir) {
                Err(NoConsole::Ending) => std::thread::sleep(ENDING_PAUSE),
                Err(NoConsole::Failure(failure)) => return Err(failure),
                Ok(client) => return Ok(client),
            }
        }
        let socket = state_dir.join(CONSOLE_SOCKET);
        Err(Failure::Failed(format!("{}: it hangs up at once, again and again", socket.display())))
    }

    fn try_connect_in(state_dir: &Path) -> Result<Self, NoConsole> {
        let socket = state_dir.join(CONSOLE_SOCKET);
        // The system's own error first: a driver's would not tell "not there" from "not allowed".
        if let Err(error) = UnixStream::connect(&socket) {
            return Err(NoConsole::Failure(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::not_running(state_dir),
                ErrorKind::PermissionDenied => Failure::Failed(format!(
                    "{}: {error}; the console is for the user that runs Branchline",
                    socket.display()
                )),
                _ => Failure::Failed(format!("{}: {error}", socket.display())),
            }));
        }
        let runtime = super::process::runtime().map_err(NoConsole::Failure)?;
        let opts = OptsBuilder::default()
            .socket(Some(socket.display().to_string()))
            .user(Some("branchline"))
            .max_allowed_packet(Some(crate::admin::PACKET_BYTES_MAX))
            .wait_timeout(Some(28_800));
        let conn = runtime.block_on(async { timeout(CONNECT_TIMEOUT, Conn::new(opts)).await });
        let conn = match conn {
            Ok(Ok(conn)) => conn,
            Ok(Err(mysql_async::Error::Io(IoError::Io(error))))
                if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
            {
                return Err(NoConsole::Ending);
            }
            Ok(Err(error)) => {
                return Err(NoConsole::Failure(Failure::Failed(format!("{}: {error}", socket.display()))));
            }
            Err(_) => {
                let limit = CONNECT_TIMEOUT.as_secs();
                let text = format!("{}: no greeting within {limit} s", socket.display());
                return Err(NoConsole::Failure(Failure::Failed(text)));
            }
        };
        Ok(Self { runtime, conn, state_dir: state_dir.to_path_buf() })
    }

    /// Where it was found.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// One command and its rows.
    pub fn query(&mut self, sql: &str) -> Result<ResultTable, Failure> {
        let conn = &mut self.conn;
        let query = async {
            let result = conn.query_iter(sql).await?;
            ResultTable::collect(result).await
        };
        match self.runtime.block_on(async { timeout(QUERY_TIMEOUT, query).await }) {
            Ok(Ok(table)) => Ok(table),
            Ok(Err(mysql_async::Error::Server(error))) => Err(Failure::Failed(error.message)),
            Ok(Err(error)) => Err(Failure::Failed(format!("the console: {error}"))),
            Err(_) => Err(Failure::Failed(format!(
                "the console did not answer within {} s",
                QUERY_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Ctrl-C from now on: it no longer ends the process by itself.
    pub fn interrupts(&self) -> Result<Signal, Failure> {
        let _guard = self.runtime.enter();
        Ok(signal(SignalKind::interrupt())?)
    }

    /// Waits; whether Ctrl-C came meanwhile.
    pub fn interrupted_within(&self, interrupts: &mut Signal, time: Duration) -> bool {
        self.runtime.block_on(async { timeout(time, interrupts.recv()).await.is_ok() })
    }

    /// `SHOW STATUS`, to look values up by name.
    pub fn status(&mut self) -> Result<Status, Failure> {
        Ok(Status(self.query("SHOW STATUS")?))
    }
}

/// `SHOW STATUS` by name.
pub struct Status(pub ResultTable);

impl Status {
    /// A value; none if NULL or not there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.rows.iter().find(|row| row[0].as_deref() == Some(name))?.get(1)?.as_deref()
    }

    /// The process id.
    pub fn pid(&self) -> Result<i32, Failure> {
        let pid = self.get("pid").and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| Failure::Failed("the console's status has no pid".to_owned()))
    }
}
