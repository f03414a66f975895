//! What each of Dolt's own procedures, functions and system tables takes and does (Dolt 1.88.1).
//! Owns the one table of them. Does not know sessions, lanes or a user's procedures.
//! Always: a name that is not in the table is not known, and its caller must expect everything of it.
//!
//! Sources: `dprocedures/`, `dtablefunctions/`, `dfunctions/` of Dolt; `tests/dolt_procedures.rs` asks the real Dolt
//! which there are and what they commit. 1.88.1 knows no aliases (`dcommit`, `dadd`, … are gone).

// By its path, as the fuzz crate mounts this file alone.
#[path = "procedures/arguments.rs"]
mod arguments;

use arguments::Arguments;

/// What one CALL touches beside the remote-tracking refs, remotes and statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// Neither a branch nor its working set.
    Nothing,
    /// Branches of the current database.
    Branches {
        /// The session's own is among them.
        current: bool,
        /// Others, as the arguments spell them; some may not exist, or name no branch at all.
        named: Vec<String>,
    },
    /// DOLT_CHECKOUT of one name: nothing if the current database has this branch; else the current branch
    /// (a table is reset) and the one of this name (it is created from a remote's).
    Checkout(String),
    /// Any branch of the current database.
    Database,
    /// Any branch of any database.
    Server,
}

impl Takes {
    fn current() -> Self {
        Self::Branches { current: true, named: Vec::new() }
    }
}

/// Whether it talks to a remote, for as long as that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// No.
    None,
    /// Yes.
    Whole,
    /// Yes, but `CALL DOLT_FETCH` with these arguments before it does the long part and takes nothing.
    FetchFirst(Vec<String>),
}

/// What one CALL of one of Dolt's procedures does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it reads and changes.
    pub takes: Takes,
    /// It commits the open SQL transaction, if it succeeds (DOLT_COMMIT with nothing to commit: although it fails).
    pub commits: bool,
    /// It makes a Dolt commit: rows that others left in the working set may go into it.
    pub dolt_commits: bool,
    /// Whether it talks to a remote.
    pub network: Network,
    /// Names may mean something else afterwards: tables, views, triggers or branches may come and go.
    pub changes_names: bool,
    /// The session may be on another branch afterwards.
    pub moves_head: bool,
}

/// How `takes` follows from the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Nothing,
    Current,
    /// The current branch, and that of `--branch`.
    BranchOption,
    /// Any of its plain arguments may be a branch.
    Positional,
    Checkout,
    Backup,
    Pull,
    Database,
    Server,
}

/// What a procedure does besides what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traits(u8);

const NONE: Traits = Traits(0);
const COMMITS: Traits = Traits(1);
const DOLT_COMMITS: Traits = Traits(1 << 1);
const NETWORK: Traits = Traits(1 << 2);
const NAMES: Traits = Traits(1 << 3);
const HEAD: Traits = Traits(1 << 4);

impl Traits {
    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const COMMIT: Traits = COMMITS.and(DOLT_COMMITS);

/// All of them, by name.
#[rustfmt::skip]
const PROCEDURES: &[(&str, Rule, Traits)] = &[
    ("dolt_add", Rule::BranchOption, NONE),
    ("dolt_assume_cluster_role", Rule::Server, NONE),
    // Its `sync` commits what the session has open; the data itself is only read.
    ("dolt_backup", Rule::Backup, NETWORK),
    ("dolt_branch", Rule::Positional, COMMITS.and(NAMES).and(HEAD)),
    ("dolt_checkout", Rule::Checkout, HEAD),
    ("dolt_cherry_pick", Rule::Current, COMMIT.and(NAMES)),
    ("dolt_clean", Rule::Current, NAMES),
    ("dolt_clone", Rule::Server, NETWORK.and(NAMES)),
    ("dolt_cluster_transition_to_standby", Rule::Server, NONE),
    ("dolt_commit", Rule::BranchOption, COMMIT),
    ("dolt_commit_hash_out", Rule::BranchOption, COMMIT),
    ("dolt_conflicts_resolve", Rule::Current, NAMES),
    ("dolt_count_commits", Rule::Nothing, NONE),
    ("dolt_fetch", Rule::Nothing, NETWORK),
    // It moves no branch. Sessions of a Dolt without auto GC lose their connections by it.
    ("dolt_gc", Rule::Nothing, NONE),
    ("dolt_merge", Rule::Current, COMMIT.and(NAMES)),
    ("dolt_pull", Rule::Pull, COMMIT.and(NETWORK).and(NAMES)),
    ("dolt_purge_dropped_databases", Rule::Nothing, NONE),
    ("dolt_push", Rule::Nothing, NETWORK),
    // It works on a branch of its own, `dolt_rebase_…`, and comes back to the one it began on.
    ("dolt_rebase", Rule::Database, COMMIT.and(NAMES).and(HEAD)),
    ("dolt_remote", Rule::Nothing, NONE),
    ("dolt_reset", Rule::Current, COMMITS.and(NAMES)),
    ("dolt_revert", Rule::Current, COMMIT.and(NAMES)),
    ("dolt_rm", Rule::Current, COMMITS.and(NAMES)),
    ("dolt_stash", Rule::Current, NAMES),
    ("dolt_stats_flush", Rule::Nothing, NONE),
    ("dolt_stats_gc", Rule::Nothing, NONE),
    ("dolt_stats_info", Rule::Nothing, NONE),
    ("dolt_stats_once", Rule::Nothing, NONE),
    ("dolt_stats_purge", Rule::Nothing, NONE),
    ("dolt_stats_restart", Rule::Nothing, NONE),
    ("dolt_stats_stop", Rule::Nothing, NONE),
    ("dolt_stats_timers", Rule::Nothing, NONE),
    ("dolt_stats_wait", Rule::Nothing, NONE),
    // A tag of HEAD is to come after the commits before it.
    ("dolt_tag", Rule::Current, NONE),
    ("dolt_thread_dump", Rule::Nothing, NONE),
    ("dolt_undrop", Rule::Server, NAMES),
    ("dolt_update_column_tag", Rule::Current, NAMES),
    ("dolt_verify_constraints", Rule::Current, NAMES),
];

/// Names of all procedures in the table, lower case, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROCEDURES.iter().map(|(name, ..)| *name)
}

/// What `CALL procedure(args…)` does; `None`: not one of Dolt's. `args` is `None` if they are not all known.
pub fn call(procedure: &str, args: Option<&[String]>) -> Option<Call> {
    let at = PROCEDURES.binary_search_by(|(name, ..)| (*name).cmp(procedure)).ok()?;
    let (_, rule, traits) = PROCEDURES[at];
    let args = Arguments(args);
    let mut call = Call {
        takes: takes(rule, args),
        commits: traits.has(COMMITS),
        dolt_commits: traits.has(DOLT_COMMITS),
        network: if traits.has(NETWORK) { Network::Whole } else { Network::None },
        changes_names: traits.has(NAMES),
        moves_head: traits.has(HEAD),
    };
    match rule {
        Rule::Checkout => {
            // A checkout of what is no branch restores a table or creates the branch, and commits then.
            call.commits = true;
            call.changes_names = true;
        }
        Rule::Backup => {
            call.commits = !matches!(args.first(), Some("add" | "remove" | "rm" | "restore"));
            call.changes_names = call.takes == Takes::Server;
        }
        Rule::Pull => {
            call.moves_head = args.may_have_flag("rebase");
            call.network = args.fetch_before_pull().map_or(Network::Whole, Network::FetchFirst);
        }
        _ => {}
    }
    Some(call)
}

fn takes(rule: Rule, args: Arguments<'_>) -> Takes {
    match rule {
        Rule::Nothing => Takes::Nothing,
        Rule::Current => Takes::current(),
        Rule::BranchOption => match args.branch_option() {
            Some(named) => Takes::Branches { current: true, named },
            None => Takes::Database,
        },
        Rule::Positional => match args.positional() {
            // The current branch is where a new one begins, and is renamed or deleted by its name.
            Some(named) => Takes::Branches { current: false, named },
            None => Takes::Database,
        },
        Rule::Checkout => match args.0 {
            Some([name]) if !name.starts_with('-') && name != "." => Takes::Checkout(name.clone()),
            _ => match args.positional() {
                Some(named) => Takes::Branches { current: true, named },
                None => Takes::Database,
            },
        },
        Rule::Backup => match args.first() {
            Some("add" | "remove" | "rm" | "sync" | "sync-url") => Takes::Nothing,
            _ => Takes::Server,
        },
        Rule::Pull if args.may_have_flag("rebase") => Takes::Database,
        Rule::Pull => Takes::current(),
        Rule::Database => Takes::Database,
        Rule::Server => Takes::Server,
    }
}

/// The remote that a DOLT_PUSH with these arguments names.
pub fn pushed_to(args: &[String]) -> Option<&str> {
    Arguments(Some(args)).first_after_user()
}

/// Whether a DOLT_PUSH with these arguments may go over what is there.
pub fn is_forced(args: &[String]) -> bool {
    let flags = Arguments(Some(args));
    flags.may_have_flag("f") || flags.may_have_flag("force") || args.iter().any(|arg| arg.starts_with('+'))
}

/// Whether a CALL may change a branch's data or refs, or commit; a user's procedure may. A checkout of one plain
/// name counts as none, although there may be a table and no branch of that name.
pub fn writes(procedure: &str, args: Option<&[String]>) -> bool {
    match call(procedure, args) {
        None => true,
        Some(Call { takes: Takes::Checkout(_), .. }) => false,
        Some(call) => call.takes != Takes::Nothing || call.commits,
    }
}

/// What a function or system table of Dolt's reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reads {
    /// Nothing that a commit changes.
    Nothing,
    /// The branch that the session is on.
    Branch,
    /// Any branch of the database.
    Database,
    /// A query that is kept elsewhere: whatever that reads.
    Query,
}

/// Dolt's functions and table functions.
#[rustfmt::skip]
const FUNCTIONS: &[(&str, Reads)] = &[
    ("active_branch", Reads::Nothing),
    ("dolt_branch_status", Reads::Database),
    ("dolt_diff", Reads::Database),
    ("dolt_diff_stat", Reads::Database),
    ("dolt_diff_summary", Reads::Database),
    ("dolt_hashof", Reads::Database),
    ("dolt_hashof_db", Reads::Database),
    ("dolt_hashof_table", Reads::Branch),
    ("dolt_join_cost", Reads::Query),
    ("dolt_json_diff", Reads::Nothing),
    ("dolt_log", Reads::Database),
    ("dolt_merge_base", Reads::Database),
    ("dolt_patch", Reads::Database),
    ("dolt_preview_merge_conflicts", Reads::Database),
    ("dolt_preview_merge_conflicts_summary", Reads::Database),
    ("dolt_query_diff", Reads::Query),
    ("dolt_reflog", Reads::Database),
    ("dolt_schema_diff", Reads::Database),
    ("dolt_storage_format", Reads::Nothing),
    ("dolt_test_run", Reads::Query),
    ("dolt_version", Reads::Nothing),
    ("has_ancestor", Reads::Database),
    ("hashof", Reads::Database),
];

/// System tables that show nothing but the session's branch. Any other `dolt_…` may show all.
const BRANCH_TABLES: &[&str] = &[
    "dolt_conflicts",
    "dolt_constraint_violations",
    "dolt_docs",
    "dolt_help",
    "dolt_ignore",
    "dolt_log",
    "dolt_merge_status",
    "dolt_nonlocal_tables",
    "dolt_procedures",
    "dolt_query_catalog",
    "dolt_rebase",
    "dolt_schema_conflicts",
    "dolt_schemas",
    "dolt_statistics",
    "dolt_status",
    "dolt_status_ignored",
    "dolt_tests",
];

/// The same, by the beginning of their names.
const BRANCH_TABLE_PREFIXES: &[&str] = &[
    "dolt_ci_",
    "dolt_conflicts_",
    "dolt_constraint_violations_",
    "dolt_diff_",
    "dolt_history_",
    "dolt_workspace_",
];

/// What the function of this lower-case name reads; `None`: not one of Dolt's.
pub fn function(name: &str) -> Option<Reads> {
    match FUNCTIONS.binary_search_by(|(known, _)| (*known).cmp(name)) {
        Ok(at) => Some(FUNCTIONS[at].1),
        Err(_) => name.starts_with("dolt_").then_some(Reads::Query),
    }
}

/// What the system table of this lower-case name shows; `None`: not one of Dolt's.
pub fn system_table(name: &str) -> Option<Reads> {
    if !name.starts_with("dolt_") {
        return None;
    }
    let of_branch =
        BRANCH_TABLES.contains(&name) || BRANCH_TABLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    Some(if of_branch { Reads::Branch } else { Reads::Database })
}

/// Whether what names mean is kept in this table, so that a write to it changes that.
pub fn keeps_names(table: &str) -> bool {
    matches!(table, "dolt_schemas" | "dolt_procedures" | "dolt_nonlocal_tables" | "dolt_ignore")
}

#[cfg(test)]
mod tests;
