//! Owns one SQL connection of the shell: connecting, running a statement, Ctrl-C, printing what came back.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::super::client::Status;
use super::super::failure::Failure;
use super::super::output::{self, ResultTable};
use super::Args;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a statement that was killed may take to say so.
const KILLED_TIMEOUT: Duration = Duration::from_secs(5);

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Tables with row counts and times.
    Interactive,
    /// Tables only.
    Plain,
    /// One array of objects per result set.
    Json,
}

/// Where to connect, and as whom.
#[derive(Clone)]
pub struct Target {
    opts: OptsBuilder,
    address: String,
}

impl Target {
    /// The first address that the running process serves, or its socket.
    pub fn from_status(status: &Status, args: &Args) -> Result<Self, Failure> {
        let password = match &args.password_file {
            None => None,
            Some(path) => Some(crate::config::read_password(path).map_err(Failure::Usage)?),
        };
        let opts = OptsBuilder::default()
            .user(Some(args.user.clone()))
            .pass(password.as_ref().map(|secret| secret.reveal()))
            .db_name(args.database.clone())
            // Else the driver would go on over any socket that the server names.
            .prefer_socket(false);
        let listen =
            status.get("listen").and_then(|list| list.split(", ").find_map(|each| each.parse().ok()));
        let (opts, address) = match (listen, status.get("socket")) {
            (Some(std::net::SocketAddr::V4(v4)), _) if v4.ip().is_unspecified() => {
                (opts.ip_or_hostname("127.0.0.1").tcp_port(v4.port()), format!("127.0.0.1:{}", v4.port()))
            }
            (Some(std::net::SocketAddr::V6(v6)), _) if v6.ip().is_unspecified() => {
                (opts.ip_or_hostname("::1").tcp_port(v6.port()), format!("[::1]:{}", v6.port()))
            }
            (Some(address), _) => {
                (opts.ip_or_hostname(address.ip().to_string()).tcp_port(address.port()), address.to_string())
            }
            (None, Some(socket)) => (opts.socket(Some(socket)), socket.to_owned()),
            (None, None) => {
                return Err(Failure::Failed(
                    "the running process serves no SQL yet; see `branchline status`".to_owned(),
                ));
            }
        };
        Ok(Self { opts, address })
    }
}

/// A connection of the shell.
pub struct Session {
    runtime: Runtime,
    target: Target,
    conn: Conn,
    look: Look,
}

impl Session {
    /// Connects.
    pub fn connect(target: Target, look: Look) -> Result<Self, Failure> {
        let runtime = super::super::process::runtime()?;
        let conn = runtime.block_on(connect(&target))?;
        Ok(Self { runtime, target, conn, look })
    }

    /// Where it is connected.
    pub fn address(&self) -> &str {
        &self.target.address
    }

    /// Runs one statement and prints all its result sets.
    pub fn run(&mut self, sql: &str) -> Result<(), Failure> {
        let (conn, target) = (&mut self.conn, &self.target);
        let begun = Instant::now();
        let interruptible = self.look == Look::Interactive;
        let outcome = self.runtime.block_on(async {
            let id = conn.id();
            let query = query(conn, sql);
            tokio::pin!(query);
            tokio::select! {
                outcome = &mut query => Some(outcome),
                () = interrupted(), if interruptible => {
                    kill(target, id).await;
                    timeout(KILLED_TIMEOUT, &mut query).await.ok()
                }
            }
        });
        match outcome {
            Some(Ok(tables)) => {
                for table in &tables {
                    self.print(table, begun.elapsed())?;
                }
                Ok(())
            }
            Some(Err(error)) => {
                if !matches!(error, mysql_async::Error::Server(_)) {
                    self.reconnect()?;
                }
                Err(Failure::Failed(describe(&error)))
            }
            None => {
                self.reconnect()?;
                Err(Failure::Failed(
                    "the statement was given up and the connection replaced; what it did is not known"
                        .to_owned(),
                ))
            }
        }
    }

    /// Settings of the old session (transaction, variables, branch by checkout) are gone, and that is said.
    fn reconnect(&mut self) -> Result<(), Failure> {
        if self.look == Look::Interactive {
            self.conn = self.runtime.block_on(connect(&self.target))?;
            eprintln!(
                "connected again to {}; session settings and an open transaction are gone",
                self.target.address
            );
        }
        Ok(())
    }

    fn print(&self, table: &ResultTable, took: Duration) -> Result<(), Failure> {
        let rows = table.rows.len();
        let seconds = took.as_secs_f64();
        if self.look == Look::Json {
            if table.columns.is_empty() {
                return output::line(&serde_json::json!({"affected_rows": table.affected}).to_string());
            }
            return output::line(&table.json().to_string());
        }
        if !table.columns.is_empty() && (rows > 0 || self.look == Look::Plain) {
            output::line(&table.bordered())?;
        }
        if self.look == Look::Interactive {
            let count = match (table.columns.is_empty(), rows) {
                (true, _) => format!("OK, {} rows affected", table.affected),
                (false, 1) => "1 row".to_owned(),
                (false, _) => format!("{rows} rows"),
            };
            let info = if table.info.is_empty() { String::new() } else { format!(", {}", table.info) };
            output::line(&format!("{count}{info} ({seconds:.3} s)"))?;
        }
        Ok(())
    }
}

async fn connect(target: &Target) -> Result<Conn, Failure> {
    match timeout(CONNECT_TIMEOUT, Conn::new(target.opts.clone())).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(Failure::Failed(format!("{}: {}", target.address, describe(&error)))),
        Err(_) => {
            let limit = CONNECT_TIMEOUT.as_secs();
            Err(Failure::Failed(format!("{}: no connection within {limit} s", target.address)))
        }
    }
}

async fn query(conn: &mut Conn, sql: &str) -> Result<Vec<ResultTable>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut tables = vec![ResultTable::next(&mut result).await?];
    while !result.is_empty() {
        tables.push(ResultTable::next(&mut result).await?);
    }
    Ok(tables)
}

/// Ctrl-C. If it can't be listened for, it ends the whole program, as usual.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Asks the server to end the statement; whether it did shows in the statement's own answer.
async fn kill(target: &Target, id: u32) {
    eprintln!("ending the statement …");
    let kill = async {
        let mut conn = connect(target).await.ok()?;
        conn.query_drop(format!("KILL QUERY {id}")).await.ok()
    };
    let _ = timeout(KILLED_TIMEOUT, kill).await;
}

/// `ERROR 1213 (40001): text`
fn describe(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(error) => {
            format!("ERROR {} ({}): {}", error.code, error.state, error.message)
        }
        other => other.to_string(),
    }
}
