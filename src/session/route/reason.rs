//! Owns the words for why a connection is on its branch.

/// Why; `Display` is what people see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What decided.
    pub source: Source,
    /// What was there but did not count, and why.
    pub notes: Vec<String>,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The client named the revision itself.
    Asked(String),
    /// No database was named.
    NoDatabase,
    /// The database is in `routing.main_only`.
    MainOnly(String),
    /// A connection attribute, by name.
    Attribute(String),
    /// `account+branch`.
    UserName,
    /// A rule assigned at run time, by id.
    Assigned(u32),
    /// A rule from the config file, by where it stands.
    Rule(String),
    /// BD_BRANCH of this process.
    BdBranch {
        /// Process id.
        pid: u32,
        /// Its program.
        program: String,
    },
    /// Nothing said otherwise.
    Default,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
