//! `SHOW HELP`: the one list of commands.

use super::Handled;
use crate::admin::answer::{Answer, Table};
use crate::admin::tokens::Tokens;

/// Usage and what it does.
const COMMANDS: &[(&str, &str)] = &[
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
    (
        "SHOW BRANCHES ['database']",
        "branches: worker, age, commits ahead and behind of main, sessions, orphan or not",
    ),
    (
        "BRANCH CREATE 'database' ['name'] …",
        "fork main with all that it holds now; FROM, COMMIT MAIN, WORKER",
    ),
    ("BRANCH DONE 'database' 'branch' …", "bring a branch to main and delete it; PUSH, KEEP, WAIT"),
    ("BRANCH DONE 'database' ALL …", "the same for all branches, or those of PATTERN 'glob'"),
    ("BRANCH DROP 'database' 'branch' [FORCE]", "delete a branch; what main doesn't have is kept as a tag"),
    ("BRANCH UNDROP 'database' 'branch'", "bring a dropped branch back"),
    (
        "BRANCH REAP ['database'] [DRY RUN]",
        "delete branches whose worker is gone and that have nothing unmerged",
    ),
    ("BRANCH CONFLICTS 'database' 'branch' …", "what both sides changed, and what the rules would do"),
    ("BRANCH RESOLVE 'database' 'branch' …", "decide about a row for the next BRANCH DONE"),
    ("SHOW BRANCH LOG 'database' 'branch'", "commits that main doesn't have, and where it was forked"),
    ("SHOW BRANCH DIFF 'database' 'branch'", "what the branch would bring to main"),
    (
        "MAIN TABLE ADD | REMOVE 'database' 'table'",
        "make a table main's on every branch; SHOW MAIN TABLES lists them",
    ),
    (
        "REMOTE ADD 'database' 'url' [NAME 'origin'] [INIT]",
        "push main of the database there from now on; everything is checked first",
    ),
    ("REMOTE REMOVE 'database'", "push it no more"),
    ("SHOW REMOTES", "remotes of each database: where it is pushed, peers, ledger"),
    ("SHOW REMOTE STATUS ['database']", "how far each remote is behind, the last outcome, the next try"),
    ("PUSH ['database', …]", "push main now; all that have a remote if none is named"),
    (
        "PULL ['database', …] [FROM 'remote']",
        "fetch a remote's main and bring it into main by the rules of [merge]; a peer's as its settings say",
    ),
    (
        "CLONE 'url' AS 'database' [REPLACE]",
        "make a database of a remote; one of that name is kept under another with REPLACE",
    ),
    (
        "REMOTE VERIFY ['database', …] [FROM 'remote']",
        "clone the remote anew and compare every commit of main with it",
    ),
    ("SHOW PUSHES 'database' [LIMIT n]", "the last pushes, newest first, 100 at most"),
    ("SHOW LEDGERS ['database']", "public ledgers: rows, how far behind main, when they were pushed"),
    (
        "LEDGER PUBLISH [INIT] [DISCARD] ['database', …]",
        "bring ledgers up to main and push them; all if none is named",
    ),
    ("LEDGER VERIFY ['database']", "clone the public remote and check everything that is in it"),
    (
        "LEDGER WITHDRAW 'database' 'table' KEY 'value', …",
        "take a published row back from now on; the public history keeps it",
    ),
    ("LEDGER REBUILD 'database'", "begin a ledger anew, in an empty repository"),
    (
        "SHOW ALERTS [ALL]",
        "what is wrong with remotes and backups, and who was told; ALL: also what was over within 24 hours",
    ),
    ("SHOW BACKUPS", "the last backup of each database, the last error, the next one"),
    ("BACKUP 'database' 'dir'", "copy the whole database there: every branch, with what is not committed"),
    ("RESTORE 'dir' 'database' [REPLACE]", "make a database from such a copy"),
    ("SHOW JOBS", "long work that runs, or ended within the last 15 minutes"),
    ("SHOW JOB id [RESULT]", "how far it is; what came of it"),
    ("KILL id", "end a client"),
    ("DUMP", "state dump, as SIGQUIT writes it"),
];

pub fn handle(tokens: &mut Tokens) -> Handled {
    if !(tokens.take_words(&["SHOW", "HELP"]) || tokens.take_words(&["HELP"])) {
        return None;
    }
    let mut table = Table::new(["command", "does"]);
    for (usage, does) in COMMANDS {
        table.row([(*usage).into(), (*does).into()]);
    }
    Some(tokens.end("SHOW HELP").map(|()| Answer::Rows(table)))
}

/// All commands in one line.
pub fn names() -> String {
    COMMANDS.iter().map(|(usage, _)| *usage).collect::<Vec<_>>().join(", ")
}
