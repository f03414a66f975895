//! Owns what the console may ask of public ledgers. Does not format.

/// Long work with ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerWork {
    /// `LEDGER PUBLISH`
    Publish {
        /// All that are configured, if empty.
        databases: Vec<String>,
        /// Make the first branch of an empty repository.
        init: bool,
        /// Take back uncommitted changes that somebody made in the ledger.
        discard: bool,
        /// Bring all of its history to its new remote.
        moved: bool,
    },
    /// `LEDGER VERIFY`
    Verify {
        /// All that are configured, if none.
        database: Option<String>,
    },
    /// `LEDGER WITHDRAW`
    Withdraw {
        /// The source.
        database: String,
        /// The table.
        table: String,
        /// Values of its primary key.
        key: Vec<String>,
    },
    /// `LEDGER REBUILD`
    Rebuild {
        /// The source.
        database: String,
    },
}
