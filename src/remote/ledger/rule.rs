//! Owns what a ledger publishes, and the stamp that each of its commits carries of that.
//! Does not ask Dolt. Always: a stamp tells from which source commit and by which condition its rows came, and no more.

use sha1::{Digest, Sha1};

use crate::config::LedgerConfig;

/// Added to the name of the source.
pub const SUFFIX: &str = "_ledger";
/// The table of keys that were withdrawn.
pub const WITHDRAWN_TABLE: &str = "branchline_withdrawn";
/// Who makes the commits.
pub const AUTHOR: &str = "Branchline <branchline@localhost>";
/// The same without the address.
pub const AUTHOR_NAME: &str = "Branchline";

const SOURCE: &str = "Branchline-Source: ";
const RULE: &str = "Branchline-Rule: ";

/// What is published of which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The source as Dolt spells it.
    pub database: String,
    /// Its ledger.
    pub ledger: String,
    /// What of it.
    pub config: LedgerConfig,
}

/// What a commit of the ledger says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The source's commit that its rows are of.
    pub source: String,
    /// Of the condition.
    pub rule: String,
}

impl Rule {
    /// Of a database with this setting.
    pub fn new(database: &str, config: LedgerConfig) -> Self {
        Self { database: database.to_owned(), ledger: format!("{database}{SUFFIX}"), config }
    }

    /// Changes with the condition.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha1::new();
        hash.update(b"branchline ledger 1\0");
        hash.update(self.config.filter.trim().as_bytes());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this column is left out.
    pub fn excludes(&self, column: &str) -> bool {
        self.config.columns_excluded.iter().any(|excluded| excluded.eq_ignore_ascii_case(column))
    }

    /// Whether this table is published.
    pub fn has_table(&self, table: &str) -> bool {
        self.config.tables.iter().any(|known| known.eq_ignore_ascii_case(table))
    }

    /// The message of a commit.
    pub fn message(&self, subject: &str, source: &str) -> String {
        format!("{subject}\n\n{SOURCE}{source}\n{RULE}{}\n", self.fingerprint())
    }
}

impl Stamp {
    /// Of a commit's message, if it has one.
    pub fn of(message: &str) -> Option<Self> {
        let last = |key: &str| message.lines().rev().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let source = last(SOURCE)?;
        let is_hash = source.len() == 32 && source.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_hash.then_some(())?;
        Some(Self { source: source.to_owned(), rule: last(RULE)?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::RemoteUrl;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_changes_with_the_condition() {
        let config = LedgerConfig {
            remote: RemoteUrl::parse("git+file:///x/r.git").unwrap(),
            tables: vec!["issues".to_owned()],
            filter: "status = 'closed'".to_owned(),
            columns_excluded: vec!["notes".to_owned()],
        };
        let rule = Rule::new("beads", config.clone());
        let source = "9ulsn9qtroir9i9disgcb1ng021dq80r";
        let message = rule.message("1 row of issues", source);
        let stamp = Stamp::of(&message).unwrap();
        assert_eq!((stamp.source.as_str(), &stamp.rule), (source, &rule.fingerprint()));
        let other = Rule::new("beads", LedgerConfig { filter: "status = 'done'".to_owned(), ..config });
        assert_ne!(other.fingerprint(), rule.fingerprint());
        assert_eq!(rule.ledger, "beads_ledger");
        assert!(rule.excludes("Notes") && !rule.excludes("title") && rule.has_table("ISSUES"));
    }

    #[test]
    fn what_is_no_stamp() {
        for message in ["", "work", "x\n\nBranchline-Source: short\nBranchline-Rule: y", "Branchline-Rule: y"]
        {
            assert_eq!(Stamp::of(message), None, "{message}");
        }
    }
}
