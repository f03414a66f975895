//! Owns asynchronous connections straight to a Dolt server, for tests of what Branchline does there itself.
//! Does not go through Branchline. Always: a statement that fails fails the test, and is named.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

/// A connection of root's on this port of the loopback address.
pub async fn root(port: u16) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .prefer_socket(false)
        .user(Some("root"));
    Conn::new(options).await.expect("root logs in")
}

/// Runs one statement.
pub async fn run(conn: &mut Conn, sql: &str) {
    conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Runs statements, one after another.
pub async fn run_all(conn: &mut Conn, statements: &[&str]) {
    for sql in statements {
        run(conn, sql).await;
    }
}
