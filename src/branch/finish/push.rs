//! Owns the push of main after a finish, when one was asked for. Does not decide anything by its outcome: the branch is
//! finished all the same. Always: over within `PUSH_TIMEOUT`.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Pushed;
use crate::branch::directory::{sql_identifier, sql_literal};

/// Dolt has no limit of its own.
const PUSH_TIMEOUT: Duration = Duration::from_secs(300);

/// Pushes main to `origin`. The connection is not to be used again if that fails.
pub(super) async fn push(conn: &mut Conn, database: &str, main: &str) -> Pushed {
    let pushed = async {
        conn.query_drop(format!("USE {}", sql_identifier(database))).await?;
        let remotes: Option<u64> =
            conn.query_first("SELECT COUNT(*) FROM dolt_remotes WHERE name = 'origin'").await?;
        if remotes == Some(0) {
            return Ok(Pushed::NoRemote);
        }
        let sql = format!("CALL DOLT_PUSH('origin', {})", sql_literal(main));
        let row: Option<mysql_async::Row> = conn.query_first(sql).await?;
        let message = row.and_then(|row| row.get::<Option<String>, _>(1)).flatten();
        Ok::<_, mysql_async::Error>(Pushed::Done(message.unwrap_or_default()))
    };
    match tokio::time::timeout(PUSH_TIMEOUT, pushed).await {
        Ok(Ok(pushed)) => pushed,
        Ok(Err(error)) => Pushed::Failed(error.to_string()),
        Err(_) => Pushed::Failed(format!("not within {} s", PUSH_TIMEOUT.as_secs())),
    }
}
