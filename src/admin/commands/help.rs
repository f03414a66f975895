//! `SHOW HELP`: the one list of commands.

use super::Handled;
use crate::admin::answer::{Answer, Table};
use crate::admin::tokens::Tokens;

/// Usage and what it does.
const COMMANDS: [(&str, &str); 15] = [
    ("SHOW STATUS", "process, addresses, Dolt, databases, clients, write lanes, disk"),
    ("SHOW CLIENTS", "who is connected, on which branch and why"),
    ("SHOW LANES [ALL]", "write lanes in use or used within the last minute: holder, waiters, counts"),
    ("SHOW LANE TOTALS", "counts over all lanes since the start, by cause"),
    ("SHOW ROUTES", "rules that choose branches, in the order in which they count"),
    ("SHOW CONFIG", "settings in force"),
    ("SHOW VERSION", "versions of Branchline and Dolt"),
    ("SHOW HELP", "this list"),
    ("SHOW RIGS", "databases with their branches"),
    ("CREATE RIG name", "make a database"),
    (
        "ROUTE condition… TO 'branch'",
        "assign a rule; conditions: ACCOUNT, DATABASE, ADDRESS, PROGRAM, ACTOR, POLECAT, ATTRIBUTE.name",
    ),
    ("UNROUTE id", "remove an assigned rule"),
    ("EXPLAIN ROUTE key 'value' …", "which branch would such a connection get, and why"),
    ("KILL id", "end a client"),
    ("DUMP", "state dump, as SIGQUIT writes it"),
];

pub fn handle(tokens: &mut Tokens) -> Handled {
    if !(tokens.take_words(&["SHOW", "HELP"]) || tokens.take_words(&["HELP"])) {
        return None;
    }
    let mut table = Table::new(["command", "does"]);
    for (usage, does) in COMMANDS {
        table.row([usage.into(), does.into()]);
    }
    Some(tokens.end("SHOW HELP").map(|()| Answer::Rows(table)))
}

/// All commands in one line.
pub fn names() -> String {
    COMMANDS.map(|(usage, _)| usage).join(", ")
}
