//! Owns the meaning of Dolt's error texts: most of them come as 1105/HY000, so the text decides.
//! Does not decide what to do about them. Always: matches what Dolt 1.81.8 to 1.88.1 say.

/// The connection can never be used again, though it is still open: after an online GC or a change of
/// the cluster role. A new one works.
pub fn kills_connection(message: &str) -> bool {
    message.contains("this connection can no longer be used")
        && (message.contains("performed an online garbage collection")
            || message.contains("transitioned cluster roles"))
}

/// The server, or one database of it, refuses all writes. Not MySQL's 1290.
pub fn is_read_only(message: &str) -> bool {
    message.contains("database server is set to read only mode")
        || (message.contains("Database ") && message.trim_end().ends_with(" is read-only."))
}

/// `DOLT_COMMIT` found nothing to commit; the SQL transaction *was* committed.
pub fn is_nothing_to_commit(message: &str) -> bool {
    message.trim_end().ends_with("nothing to commit")
}

/// A commit met a conflict of rows; Dolt has rolled back, and it would meet it again.
pub fn is_merge_conflict(message: &str) -> bool {
    message.contains("Merge conflict detected, ")
}

/// A commit would leave rows that break a constraint; Dolt has rolled back.
pub fn is_constraint_violations(message: &str) -> bool {
    message.contains("resulted in a working set with constraint violations")
}

/// A transaction wrote on more than one branch or database. Each COMMIT fails so until a ROLLBACK.
pub fn is_several_heads(message: &str) -> bool {
    message.contains("Cannot commit changes on more than one branch / database")
}

/// Another Dolt process holds the database's files.
pub fn is_locked_by_another_dolt(message: &str) -> bool {
    message.contains("locked by another dolt process")
}

/// Some database's journal is damaged, for which Dolt does not start.
pub fn is_corrupt_journal(line: &str) -> bool {
    line.contains("corrupted journal")
}

/// The database for which Dolt does not start. It names only the first one that it opens.
pub fn unloadable_database(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Failed to load database ")?;
    Some(rest.split_once(" due to error")?.0)
}

/// A port or socket that Dolt was to listen on is taken.
pub fn is_address_in_use(message: &str) -> bool {
    message.contains("address already in use")
        || (message.contains("Port ") && message.contains("already in use"))
}

/// The branch that this session works on, or the database, is not there (1049, which Dolt sends as HY000).
pub fn is_unknown_database(code: u16, message: &str) -> bool {
    code == 1049 || message.starts_with("database not found: ")
}

/// The branch that this session works on was deleted under it; also what is said of any branch that isn't there.
pub fn is_branch_not_found(message: &str) -> bool {
    message.trim_end().ends_with("branch not found")
}

/// `KILL` from another session.
pub fn is_killed(message: &str) -> bool {
    message.contains("context canceled")
}

/// What an error says about the transaction it happened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Dolt has rolled back: the whole transaction may be run again.
    RolledBack,
    /// Dolt has not rolled back, in autocommit neither: ROLLBACK first, then again.
    StillOpen,
}

/// Whether somebody else's commit came in between.
pub fn conflict(code: u16, message: &str) -> Option<Conflict> {
    if code == 1213 || message.contains("serialization failure: this transaction conflicts") {
        return Some(Conflict::RolledBack);
    }
    let open = message.contains("optimistic lock failed on database Root update")
        || message.contains("dataset head is not ancestor of commit");
    open.then_some(Conflict::StillOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GC: &str = "this connection was established when this server performed an online garbage collection. \
                      this connection can no longer be used. please reconnect.";
    const ROLES: &str =
        "this server transitioned cluster roles. this connection can no longer be used. please reconnect.";
    const LOCKED: &str = "database \"hq\" is locked by another dolt process; either clone the database to run a second \
                          server, or stop the dolt process which currently holds an exclusive write lock on the database";
    const CONFLICT: &str = "serialization failure: this transaction conflicts with a committed transaction from another \
                            client, try restarting transaction.";

    const MERGE: &str = "Merge conflict detected, @autocommit transaction rolled back. @autocommit must be disabled so \
                         that merge conflicts can be resolved";
    const VIOLATIONS: &str = "Committing this transaction resulted in a working set with constraint violations, \
                              transaction rolled back.";

    #[test]
    fn each_text_means_one_thing() {
        type Predicate = fn(&str) -> bool;
        let predicates: [(&str, Predicate); 9] = [
            ("kills", kills_connection),
            ("read-only", is_read_only),
            ("nothing", is_nothing_to_commit),
            ("merge", is_merge_conflict),
            ("constraint", is_constraint_violations),
            ("heads", is_several_heads),
            ("locked", is_locked_by_another_dolt),
            ("in use", is_address_in_use),
            ("killed", is_killed),
        ];
        for (text, want) in [
            (GC, "kills"),
            (ROLES, "kills"),
            ("database server is set to read only mode", "read-only"),
            ("Database gastown is read-only.", "read-only"),
            ("nothing to commit", "nothing"),
            (MERGE, "merge"),
            (VIOLATIONS, "constraint"),
            ("Cannot commit changes on more than one branch / database", "heads"),
            (LOCKED, "locked"),
            ("the database is locked by another dolt process", "locked"),
            ("listen tcp 127.0.0.1:3306: bind: address already in use", "in use"),
            ("Port 3306 already in use.", "in use"),
            ("context canceled", "killed"),
            (CONFLICT, ""),
            ("table not found: read_only", ""),
            ("duplicate primary key given: [nothing to commit here]", ""),
        ] {
            let holds: Vec<_> = predicates.iter().filter(|(_, p)| p(text)).map(|(name, _)| *name).collect();
            let want: Vec<_> = [want].into_iter().filter(|name| !name.is_empty()).collect();
            assert_eq!(holds, want, "{text}");
        }
    }

    #[test]
    fn conflicts_say_whether_the_transaction_is_still_open() {
        for (code, text, want) in [
            (1213, CONFLICT, Some(Conflict::RolledBack)),
            (1105, "optimistic lock failed on database Root update", Some(Conflict::StillOpen)),
            (1105, "dataset head is not ancestor of commit", Some(Conflict::StillOpen)),
            (1062, "duplicate primary key given: [1]", None),
        ] {
            assert_eq!(conflict(code, text), want, "{text}");
        }
        assert!(is_unknown_database(1105, "database not found: gastown/gone"));
        assert!(!is_unknown_database(1146, "table not found: t"));
    }
}
