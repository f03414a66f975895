//! Owns the words for why a connection is on its branch.
//! Does not decide.
//! Always: names the thing that a person would change to change the branch.

use std::fmt;

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
    /// The client named this revision itself.
    Asked(String),
    /// No database is open.
    NoDatabase,
    /// This database is in `routing.main_only`.
    MainOnly(String),
    /// This database has no branches: `information_schema`, `mysql`, ….
    Unversioned(String),
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

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Asked(revision) => write!(f, "the client asked for {revision}"),
            Source::NoDatabase => f.write_str("no database is open"),
            Source::MainOnly(database) => write!(f, "{database} is in routing.main_only"),
            Source::Unversioned(database) => write!(f, "{database} has no branches"),
            Source::Attribute(name) => write!(f, "connection attribute {name}"),
            Source::UserName => f.write_str("the branch in the user name"),
            Source::Assigned(id) => write!(f, "assigned rule {id}"),
            Source::Rule(origin) => write!(f, "rule {origin}"),
            // A process that `route explain` was only told of.
            Source::BdBranch { pid: 0, .. } => f.write_str("BD_BRANCH as given"),
            Source::BdBranch { pid, program } => write!(f, "BD_BRANCH of pid {pid} ({program})"),
            Source::Default => f.write_str("default branch"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)?;
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}
