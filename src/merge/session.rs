//! Session settings of a merge, so that values are read and written as they are.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::branch::sql_literal;

/// What the connection had before.
pub(super) struct Settings {
    sql_mode: String,
    time_zone: String,
    foreign_key_checks: u8,
    dont_merge_json: u8,
}

impl Settings {
    /// Foreign keys are checked at the end, as a whole. Dolt merges JSON by place, which makes two sides' arrays one
    /// that neither meant: the rules do it.
    pub(super) async fn apply(conn: &mut Conn) -> Result<Self, mysql_async::Error> {
        let before: Option<(String, String, u8, u8)> = conn
            .query_first("SELECT @@sql_mode, @@time_zone, @@foreign_key_checks, @@dolt_dont_merge_json")
            .await?;
        let (sql_mode, time_zone, foreign_key_checks, dont_merge_json) = before.unwrap_or_default();
        conn.query_drop(
            "SET sql_mode = 'STRICT_TRANS_TABLES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', \
             foreign_key_checks = 0, dolt_dont_merge_json = 1",
        )
        .await?;
        Ok(Self { sql_mode, time_zone, foreign_key_checks, dont_merge_json })
    }

    pub(super) async fn restore(self, conn: &mut Conn) -> Result<(), mysql_async::Error> {
        let sql = format!(
            "SET sql_mode = {}, time_zone = {}, foreign_key_checks = {}, dolt_dont_merge_json = {}",
            sql_literal(&self.sql_mode),
            sql_literal(&self.time_zone),
            self.foreign_key_checks,
            self.dont_merge_json
        );
        conn.query_drop(sql).await
    }
}
