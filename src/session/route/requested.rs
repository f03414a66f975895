//! Owns the split of a database name into database and revision.
//! Does not know which databases or revisions exist.
//! Always: splits where Dolt's `SplitRevisionDbName` does.

/// A database name as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Before the first `/` or `@`.
    pub database: String,
    /// After it: a branch, tag or commit, possibly with slashes of its own.
    pub branch: Option<String>,
}

impl Requested {
    /// Splits at the first `/` or `@`.
    pub fn parse(name: &str) -> Self {
        // Dolt takes an empty revision (`db/`) for none.
        match name.split_once(['/', '@']) {
            Some((database, revision)) => Self {
                database: database.to_owned(),
                branch: (!revision.is_empty()).then(|| revision.to_owned()),
            },
            None => Self { database: name.to_owned(), branch: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_where_dolt_does() {
        for (name, database, branch) in [
            ("db", "db", None),
            ("db/x", "db", Some("x")),
            ("db@x", "db", Some("x")),
            ("db/feature/x", "db", Some("feature/x")),
            ("db/x@y", "db", Some("x@y")),
            ("db@x/y", "db", Some("x/y")),
            ("db/", "db", None),
            ("/x", "", Some("x")),
            ("", "", None),
            ("db/0123456789abcdefghijklmnopqrstuv", "db", Some("0123456789abcdefghijklmnopqrstuv")),
            ("db/main~1", "db", Some("main~1")),
        ] {
            let want = Requested { database: database.to_owned(), branch: branch.map(str::to_owned) };
            assert_eq!(Requested::parse(name), want, "{name}");
        }
    }
}
