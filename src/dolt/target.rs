//! Owns how Dolt is reached and asked: address, account, and the probes that say whether it answers SQL.
//! Does not decide what an answer means for the state.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mysql_async::{Opts, OptsBuilder, Row};

use super::control::{ControlError, ask_once};
use super::lock::ServerInfo;
use super::{Endpoint, Greeting, greeting};
use crate::config::Secret;

/// A superuser that Dolt makes at each start for its own command line: not persisted, not root, so
/// whatever users do to their accounts our connections go on working.
const LOCAL_USER: &str = "__dolt_local_user__";
/// What a packet may hold that we send or get on control connections.
const PACKET_BYTES_MAX: usize = 64 << 20;

/// How Dolt is reached.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// Ours: with the account that it writes into its data directory.
    Private { data_dir: PathBuf, socket: PathBuf, port: u16, pid: u32 },
    /// Somebody else's.
    External { address: String, user: String, password: Secret },
}

/// An answered probe.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) opts: Opts,
    pub(super) endpoint: Endpoint,
    pub(super) latency: Duration,
    /// Asked when Dolt has come up.
    pub(super) identity: Option<(Greeting, String)>,
}

impl Target {
    /// A real statement over a new connection: an accept proves nothing, and an old connection does not show
    /// that new ones are served. `identify` also asks who is there.
    pub(super) async fn probe(self, timeout: Duration, identify: bool) -> Result<Answer, String> {
        let (opts, endpoint) = self.resolve().await?;
        let asked = Instant::now();
        let ask = |sql| ask_once(opts.clone(), sql, timeout);
        ask("SELECT 1").await.map_err(describe)?;
        let latency = asked.elapsed();
        let mut identity = None;
        if identify {
            let rows = ask("SELECT dolt_version()").await.map_err(describe)?;
            let version = rows.first().and_then(|row: &Row| row.get_opt::<String, _>(0)).and_then(Result::ok);
            let version = version.ok_or_else(|| "it does not say which Dolt it is".to_string())?;
            identity = Some((greeting::read(&endpoint, timeout).await?, version));
        }
        Ok(Answer { opts, endpoint, latency, identity })
    }

    async fn resolve(&self) -> Result<(Opts, Endpoint), String> {
        // `prefer_socket` would move to any server's socket; known limits spare a query per connection.
        let builder = OptsBuilder::default()
            .prefer_socket(false)
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .wait_timeout(Some(3600))
            .stmt_cache_size(0);
        match self {
            Self::Private { data_dir, socket, port, pid } => {
                let info = ServerInfo::read(data_dir).filter(|info| info.pid == *pid);
                let info = info.ok_or_else(|| "it has not made its local account yet".to_string())?;
                let builder = builder
                    .socket(socket.to_str().map(str::to_owned))
                    .user(Some(LOCAL_USER))
                    .pass(Some(info.secret));
                let tcp = Some(SocketAddr::from(([127, 0, 0, 1], *port)));
                Ok((builder.into(), Endpoint { socket: Some(socket.clone()), tcp }))
            }
            Self::External { address, user, password } => {
                let builder = builder.user(Some(user.clone())).pass(Some(password.reveal()));
                if address.starts_with('/') {
                    let endpoint = Endpoint { socket: Some(address.into()), tcp: None };
                    return Ok((builder.socket(Some(address.clone())).into(), endpoint));
                }
                let unresolved =
                    |problem: String| format!("the address {address} cannot be resolved: {problem}");
                let mut found =
                    tokio::net::lookup_host(address).await.map_err(|e| unresolved(e.to_string()))?;
                let tcp = found.next().ok_or_else(|| unresolved("no address".into()))?;
                let builder = builder.ip_or_hostname(tcp.ip().to_string()).tcp_port(tcp.port());
                Ok((builder.into(), Endpoint { socket: None, tcp: Some(tcp) }))
            }
        }
    }
}

fn describe(error: ControlError) -> String {
    match error {
        ControlError::Timeout(timeout) => format!("no answer within {} s", timeout.as_secs_f32()),
        ControlError::Io(problem) => problem,
        refused => refused.to_string(),
    }
}
