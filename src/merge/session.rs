//! Session settings of a merge, so that values are read and written as they are.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::branch::sql_identifier;

/// For `writer`. Foreign keys are checked at the end, as a whole. Dolt merges JSON by place, which makes two sides'
/// arrays one that neither meant: the rules do it.
const APPLY: &str = "SET sql_mode = 'STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', \
     foreign_key_checks = 0, dolt_dont_merge_json = 1";

const RESTORE: &str = "SET sql_mode = DEFAULT, time_zone = DEFAULT, foreign_key_checks = DEFAULT, \
     dolt_dont_merge_json = DEFAULT";

/// Both connections, each in one round trip; `reader` goes to the database.
pub(super) async fn apply(
    writer: &mut Conn,
    reader: &mut Conn,
    database: &str,
) -> Result<(), mysql_async::Error> {
    let reading = format!("USE {}; {APPLY}", sql_identifier(database));
    tokio::try_join!(writer.query_drop(APPLY), reader.query_drop(reading))?;
    Ok(())
}

/// As the server sets new sessions.
pub(super) async fn restore(writer: &mut Conn) -> Result<(), mysql_async::Error> {
    writer.query_drop(RESTORE).await
}
