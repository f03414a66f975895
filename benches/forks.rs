//! What a fork costs: `cargo bench --bench forks`. Five tables of 1,000 rows, uncommitted and committed.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use branchline::branch::fork::fork;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use support::plain::PlainDolt;

const TABLES: u32 = 5;
const ROUNDS: u32 = 9;

#[tokio::main]
async fn main() {
    let dolt = PlainDolt::start();
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(dolt.port());
    let options = options.prefer_socket(false).user(Some("root"));
    let mut root = Conn::new(options.clone()).await.expect("root logs in");
    for sql in ["CREATE DATABASE f", "USE f"] {
        root.query_drop(sql).await.expect(sql);
    }
    for table in 0..TABLES {
        let create = format!("CREATE TABLE t{table} (id INT PRIMARY KEY, v VARCHAR(50))");
        root.query_drop(create).await.expect("created");
        let fill = format!(
            "INSERT INTO t{table} WITH RECURSIVE s AS (SELECT 1 i UNION ALL SELECT i + 1 FROM s WHERE i < 1000) \
             SELECT i, CONCAT('v', i) FROM s"
        );
        root.query_drop(fill).await.expect("filled");
    }
    for committed in [false, true] {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let mut control = Conn::new(options.clone()).await.expect("root logs in");
            let begun = Instant::now();
            let name = format!("x-{committed}-{round}");
            let forked = fork(&mut control, "f", &name).await.expect("forked");
            times.push((begun.elapsed(), forked.tables_copied));
        }
        times.sort_unstable();
        let (median, copied) = times[times.len() / 2];
        let (slowest, _) = times[times.len() - 1];
        println!("5 tables of 1,000 rows, {copied} copied: median {median:?}, slowest {slowest:?}");
        if !committed {
            root.query_drop("CALL DOLT_COMMIT('-Am', 'all')").await.expect("committed");
        }
    }
}
