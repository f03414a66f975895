//! Owns what is held while a branch is changed or ended: its gate, its turn, the lanes, the bypass watch,
//! connections that are used again.
//! Does not change anything itself. Always: dropped, all of it is given up, and what is on a connection is rolled back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::OwnedMutexGuard;

use super::directory::{sql_identifier, sql_literal};
use super::finish::FinishError;
use super::forks::ForkFailed;
use super::gates::Gate;
use crate::admit::{Committed, LaneKey, NotTaken, Seat, Who};
use crate::dolt::{Control, ControlError};
use crate::observe::bypass::Touch;
use crate::session::Context;

/// Connections kept for the next one: two for each of those who work at the same time.
const IDLE_MAX: usize = 8;

/// To tell whether a connection that was kept is still good.
const RESET_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that are used again: a new one costs as much as a third of a finish.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Vec<Conn>>>);

impl Idle {
    /// A connection in the state of a new one.
    pub async fn take(&self, control: &Control) -> Result<Conn, ControlError> {
        loop {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut conn) = kept else { break };
            // Dolt may have been started again since.
            if let Ok(Ok(true)) = tokio::time::timeout(RESET_TIMEOUT, conn.reset()).await {
                return Ok(conn);
            }
        }
        let session = control.dedicated().await?;
        session.into_connection().ok_or_else(|| ControlError::Io("it was given up".into()))
    }

    /// Keeps it for the next one. Not after an error: what that left behind is not known.
    pub fn give_back(&self, conn: Conn) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < IDLE_MAX {
            kept.push(conn);
        }
    }
}

/// The branch is closed, empty, and nobody forks one of its name.
#[derive(Debug)]
pub(super) struct Hold {
    pub gate: Gate,
    _turn: OwnedMutexGuard<()>,
}

/// The lanes of a branch and its main, and the watch for bypasses.
#[derive(Debug)]
pub struct LanesHeld {
    seat: Seat,
    keys: BTreeSet<LaneKey>,
    _touch: Option<Touch>,
}

/// What a database has of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Where Dolt puts new sessions.
    pub main: String,
    /// The branch as Dolt spells it.
    pub branch: Option<String>,
    /// Whether its HEAD is a snapshot that was not taken back.
    pub is_snapshot: bool,
}

/// Closes the branch and waits until nobody has anything open on it.
pub(super) async fn hold(
    context: &Arc<Context>,
    what: &'static str,
    (database, branch): (&str, &str),
    by: &str,
    wait: Duration,
) -> Result<Hold, FinishError> {
    let (database, branch) = (database.to_owned(), branch.to_owned());
    if context.config.routing.is_main_only(&database) {
        return Err(FinishError::MainOnly(database));
    }
    let is_main = |main: &str| branch.eq_ignore_ascii_case(main);
    if is_main("main") || is_main(&context.branches.default_branch(&database)) {
        return Err(FinishError::IsMain { database, branch });
    }
    let gate = context.gates.close(&database, &branch, what, by).map_err(|closed| FinishError::Closed {
        database: database.clone(),
        branch: branch.clone(),
        seconds: closed.since.elapsed().as_secs(),
    })?;
    let deadline = tokio::time::Instant::now() + wait;
    if let Err(still) = gate.emptied(&context.clients, deadline).await {
        let sessions: Vec<String> = still.iter().map(ToString::to_string).collect();
        let (waited_seconds, sessions) = (wait.as_secs(), sessions.join("; "));
        return Err(FinishError::InUse { database, branch, waited_seconds, sessions });
    }
    let turn = context.forks.turn(&database, &branch).lock_owned().await;
    Ok(Hold { gate, _turn: turn })
}

/// Takes these lanes, in their order, and watches the database.
pub(super) async fn take_lanes(
    context: &Arc<Context>,
    database: &str,
    branches: &[&str],
    (by, doing): (&str, &str),
    wait: Duration,
) -> Result<LanesHeld, NotTaken> {
    let keys: BTreeSet<LaneKey> = branches.iter().map(|branch| LaneKey::new(database, branch)).collect();
    let deadline = tokio::time::Instant::now() + wait.max(context.config.lanes.budget);
    let mut lanes = take_keys(context, keys, (by, doing), deadline).await?;
    lanes._touch = context.bypass.as_ref().map(|bypass| bypass.touch(database));
    Ok(lanes)
}

/// Takes these lanes, of whichever databases, in their order.
pub(super) async fn take_keys(
    context: &Arc<Context>,
    keys: BTreeSet<LaneKey>,
    (by, doing): (&str, &str),
    deadline: tokio::time::Instant,
) -> Result<LanesHeld, NotTaken> {
    let who = Who {
        client_id: 0,
        account: by.to_owned(),
        program: "branchline".to_owned(),
        address: "branchline".to_owned(),
        process: None,
    };
    let mut seat = context.lanes.seat(who);
    seat.doing(doing);
    seat.take(&keys, deadline).await?;
    Ok(LanesHeld { seat, keys, _touch: None })
}

impl LanesHeld {
    /// What these lanes' branches of the database hold has moved: those who read it have to check, and what names mean is read
    /// anew.
    pub fn moved(&mut self, context: &Context, database: &str, kind: Committed) {
        let of = LaneKey::new(database, "");
        self.seat.committed(self.keys.iter().filter(|key| key.database() == of.database()), kind);
        context.lanes.touched(database);
        context.catalog.invalidate_database(database);
    }

    /// This lane's branch was Dolt-committed: what others had not committed is a sweep.
    pub fn dolt_committed(&mut self, database: &str, branch: &str) {
        self.seat.committed(&[LaneKey::new(database, branch)], Committed::Dolt);
    }
}

/// Goes to the database and looks for the branch.
pub(super) async fn look(conn: &mut Conn, database: &str, branch: &str) -> Result<Look, FinishError> {
    match conn.query_drop(format!("USE {}", sql_identifier(database))).await {
        Err(mysql_async::Error::Server(error)) if error.code == 1049 => {
            return Err(FinishError::NoDatabase(database.to_owned()));
        }
        used => used.map_err(FinishError::at("open the database"))?,
    }
    let sql = format!(
        "SELECT name, latest_commit_message, name = active_branch() FROM dolt_branches \
         WHERE name = active_branch() OR LOWER(name) = LOWER({})",
        sql_literal(branch)
    );
    let there: Vec<(String, String, bool)> =
        conn.query(sql).await.map_err(FinishError::at("look for the branch"))?;
    let main = there.iter().find(|(.., is_main)| *is_main).map(|(name, ..)| name.clone());
    let spelled = there.iter().find(|(name, ..)| name == branch);
    let found = spelled.or_else(|| there.iter().find(|(name, ..)| name.eq_ignore_ascii_case(branch)));
    Ok(Look {
        main: main.unwrap_or_else(|| "main".to_owned()),
        branch: found.map(|(name, ..)| name.clone()),
        is_snapshot: found.is_some_and(|(_, message, _)| message == super::base::SNAPSHOT_MESSAGE),
    })
}

impl From<FinishError> for ForkFailed {
    fn from(error: FinishError) -> Self {
        Self::NotReady(Box::new(error))
    }
}
