//! The state dump of SIGQUIT and of the console's DUMP.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::session::Context;

/// Everything a person could want to know of a process that seems stuck; no statement texts, no secrets.
pub fn dump(context: &Context) -> String {
    let mut out = format!(
        "branchline {} pid {}\ndolt: {:?}\nclients: {} now, {} accepted\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        context.dolt.state(),
        context.clients.count(),
        context.clients.accepted.load(Ordering::Relaxed),
    );
    let now = Instant::now();
    for client in context.clients.all() {
        let view = client.view();
        let _ = writeln!(
            out,
            "client {} {} {} pid {:?} db {:?} branch {:?} ({}) backend {:?} {} for {} ms, in transaction: {}",
            client.id,
            view.address,
            view.account,
            view.pid,
            view.database,
            view.branch,
            view.reason,
            view.backend_id,
            view.doing.as_str(),
            now.duration_since(view.doing_since).as_millis(),
            view.in_transaction,
        );
    }
    out
}
