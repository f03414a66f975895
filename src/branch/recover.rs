//! Owns what is done about forks that a crash of Dolt or Branchline cut off.
//! Does not decide who goes where; the caller has the branch's turn, so that no fork of it is under way.
//! Always: no branch lacks main's uncommitted rows because of us, and none that somebody wrote to is removed.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::base;
use super::fork::{UNFINISHED_PREFIX, exists, hash_of_everything, on, on_default};

/// What was found, and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// No fork of this branch was cut off.
    Nothing,
    /// It had not got its name: what was built is removed.
    Removed,
    /// It had got its name and all rows: only the rest of the old name was left.
    Complete,
    /// It had got its name but not its rows, and nobody had written to it: removed, to be forked again.
    RemovedWithName,
    /// Somebody wrote to it, or made it by hand: it is left as it is, whatever it lacks.
    LeftAsItIs,
}

/// Cleans up after a fork of `name` in `database` that was cut off. `control` is left with another current
/// database.
pub async fn recover(
    control: &mut Conn,
    database: &str,
    name: &str,
) -> Result<Recovered, mysql_async::Error> {
    let unfinished = format!("{UNFINISHED_PREFIX}{name}");
    control.query_drop("ROLLBACK").await?;
    on_default(control, database).await?;
    if !exists(control, &unfinished).await? {
        return Ok(Recovered::Nothing);
    }
    let recovered = if exists(control, name).await? {
        // DOLT_BRANCH('-m') makes the branch, then gives it its rows, then removes the old one.
        let built = Contents::of(control, database, &unfinished).await?;
        let named = Contents::of(control, database, name).await?;
        if built.commit == named.commit && built.working == named.working {
            Recovered::Complete
        } else if built.commit == named.commit && named.working == named.head {
            Recovered::RemovedWithName
        } else {
            Recovered::LeftAsItIs
        }
    } else {
        Recovered::Removed
    };
    on_default(control, database).await?;
    if recovered == Recovered::RemovedWithName {
        control.exec_drop("CALL DOLT_BRANCH('-D', ?)", (name,)).await?;
    }
    control.exec_drop("CALL DOLT_BRANCH('-D', ?)", (&unfinished,)).await?;
    if matches!(recovered, Recovered::Removed | Recovered::RemovedWithName) {
        base::untag(control, name).await?;
    }
    if recovered == Recovered::LeftAsItIs {
        tracing::warn!(
            database,
            branch = name,
            "a fork was cut off, and its branch has other changes: it is left as it is, but may lack uncommitted \
             rows that main had"
        );
    } else {
        tracing::info!(database, branch = name, ?recovered, "a fork was cut off");
    }
    Ok(recovered)
}

/// A branch by hashes.
struct Contents {
    commit: String,
    /// All tables of that commit.
    head: String,
    /// All tables now, ignored ones too.
    working: String,
}

impl Contents {
    async fn of(control: &mut Conn, database: &str, branch: &str) -> Result<Self, mysql_async::Error> {
        on(control, database, branch).await?;
        let hashes: Option<(String, String)> =
            control.query_first("SELECT dolt_hashof('HEAD'), dolt_hashof_db('HEAD')").await?;
        let (commit, head) = hashes.unwrap_or_default();
        Ok(Self { commit, head, working: hash_of_everything(control).await? })
    }
}
