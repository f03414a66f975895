//! Owns what a table of a ledger looks like: which columns of the source's table, of which types, by which key.
//! Does not ask Dolt. Always: an excluded column is in no shape; of a column only its name and type are carried, and of
//! an ENUM or a SET not even the type, as its values are text that nobody meant to publish.

use super::rule::Rule;
use crate::branch::sql_identifier;

/// A column as Dolt shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// `varchar(20)`
    pub kind: String,
    /// Of texts.
    pub collation: Option<String>,
}

/// A column that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the ledger.
    pub kind: String,
    /// Of texts.
    pub collation: Option<String>,
    /// It is an ENUM or a SET in the source.
    pub is_cast: bool,
}

/// A table of the source as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// As the source spells it.
    pub table: String,
    /// What is published.
    pub columns: Vec<Column>,
    /// Names of the key's columns, in its order.
    pub key: Vec<String>,
    /// All columns of the source.
    pub all: Vec<String>,
}

/// What has to be done to the ledger's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Statements, and what each of them changes.
    pub statements: Vec<(String, String)>,
    /// Its rows have to be compared with all of the source's, not only with what has changed there.
    pub compare: bool,
}

impl Shape {
    /// Of a table with these columns and this key; or why it can't be published.
    pub fn of(rule: &Rule, table: &str, shown: &[Shown], key: Vec<String>) -> Result<Self, String> {
        if key.is_empty() {
            return Err(format!("{table} has no primary key; only tables with one can be published"));
        }
        if let Some(excluded) = key.iter().find(|column| rule.excludes(column)) {
            return Err(format!(
                "{excluded} is in columns_excluded and in the primary key of {table}: rows could not be told apart; \
                 leave the table out of `tables`, or publish the key"
            ));
        }
        let mut columns = Vec::new();
        for column in shown.iter().filter(|column| !rule.excludes(&column.name)) {
            columns.push(published(table, column)?);
        }
        let all = shown.iter().map(|column| column.name.clone()).collect();
        Ok(Self { table: table.to_owned(), columns, key, all })
    }

    /// Columns that the ledger's table has and the source's has no more.
    pub fn kept(&self, there: &[Shown]) -> Vec<String> {
        let is_gone = |name: &&String| !self.all.iter().any(|known| known.eq_ignore_ascii_case(name));
        there.iter().map(|column| &column.name).filter(is_gone).cloned().collect()
    }

    /// CREATE TABLE in the ledger.
    pub fn create(&self, ledger: &str) -> String {
        let mut parts: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let is_key = self.key.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
                let null = if is_key { " NOT NULL" } else { "" };
                format!("{} {}{null}", sql_identifier(&column.name), column.declared())
            })
            .collect();
        let key: Vec<String> = self.key.iter().map(|name| sql_identifier(name)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        format!(
            "CREATE TABLE {}.{} ({})",
            sql_identifier(ledger),
            sql_identifier(&self.table),
            parts.join(", ")
        )
    }

    /// What brings the ledger's table, which has these columns and this key, to this shape. Nothing is taken away.
    pub fn change(&self, rule: &Rule, there: &[Shown], key: &[String]) -> Result<Change, String> {
        let table = &self.table;
        let mut change = Change::default();
        if key.len() != self.key.len() || !key.iter().zip(&self.key).all(|(a, b)| a.eq_ignore_ascii_case(b)) {
            return Err(format!(
                "the primary key of {table} was ({}) when it was published and is ({}) now: which rows are which can't be told",
                key.join(", "),
                self.key.join(", ")
            ));
        }
        if let Some(secret) = there.iter().find(|column| rule.excludes(&column.name)) {
            return Err(format!(
                "{} of {table} is in columns_excluded, and was published before",
                secret.name
            ));
        }
        let of_ledger = format!("ALTER TABLE {}.{}", sql_identifier(&rule.ledger), sql_identifier(table));
        for column in &self.columns {
            let name = sql_identifier(&column.name);
            let is_key = self.key.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
            let null = if is_key { " NOT NULL" } else { "" };
            match there.iter().find(|there| there.name.eq_ignore_ascii_case(&column.name)) {
                None => {
                    let statement = format!("{of_ledger} ADD COLUMN {name} {}", column.declared());
                    change
                        .statements
                        .push((statement, format!("the column {} of {table} is new", column.name)));
                    change.compare = true;
                }
                // A wider one stays: it may hold what the source's own would not take any more.
                Some(there) if there.collation == column.collation && holds(&there.kind, &column.kind) => {}
                Some(there) if there.kind != column.kind || there.collation != column.collation => {
                    let statement = format!("{of_ledger} MODIFY COLUMN {name} {}{null}", column.declared());
                    let what = format!(
                        "the column {} of {table} was {} when it was published and is {} now",
                        column.name, there.kind, column.kind
                    );
                    change.statements.push((statement, what));
                    change.compare = true;
                }
                Some(_) => {}
            }
        }
        Ok(change)
    }
}

impl Column {
    fn declared(&self) -> String {
        match &self.collation {
            Some(collation) => format!("{} COLLATE {collation}", self.kind),
            None => self.kind.clone(),
        }
    }

    /// Its value in a row of the source.
    pub fn value(&self, of: &str) -> String {
        match self.is_cast {
            true => format!("CAST({of} AS CHAR)"),
            false => of.to_owned(),
        }
    }

    /// Whether two values are the same, byte by byte.
    pub fn is_same(&self, one: &str, other: &str) -> String {
        same_bytes(self.collation.is_some(), one, other)
    }
}

/// Whether Dolt's diffs show something of their own under this column's name.
pub fn is_hidden_in_diffs(column: &str) -> bool {
    ["commit", "commit_date"].iter().any(|own| own.eq_ignore_ascii_case(column))
}

/// Whether two values are the same, whatever collation a text has.
pub fn same_bytes(is_text: bool, one: &str, other: &str) -> String {
    match is_text {
        true => format!("CAST({one} AS BINARY) <=> CAST({other} AS BINARY)"),
        false => format!("{one} <=> {other}"),
    }
}

/// Whether a column of the first type holds all that one of the second can hold, in the same form.
fn holds(there: &str, wanted: &str) -> bool {
    let parts = |kind: &str| -> Option<(String, u64)> {
        let (word, length) = kind.strip_suffix(')')?.split_once('(')?;
        Some((word.to_lowercase(), length.parse().ok()?))
    };
    if let (Some((there, length)), Some((wanted, wanted_length))) = (parts(there), parts(wanted)) {
        let is_sized = ["varchar", "varbinary"].contains(&there.as_str());
        return is_sized && there == wanted && length >= wanted_length;
    }
    let sizes = [
        &["tinyint", "smallint", "mediumint", "int", "bigint"][..],
        &["tinyint unsigned", "smallint unsigned", "mediumint unsigned", "int unsigned", "bigint unsigned"],
        &["tinytext", "text", "mediumtext", "longtext"],
    ];
    let at = |sizes: &[&str], kind: &str| sizes.iter().position(|known| known.eq_ignore_ascii_case(kind));
    sizes
        .iter()
        .any(|sizes| at(sizes, there).zip(at(sizes, wanted)).is_some_and(|(there, wanted)| there >= wanted))
}

fn published(table: &str, shown: &Shown) -> Result<Column, String> {
    // Dolt's diffs have columns `to_commit` and `to_commit_date` of their own.
    if is_hidden_in_diffs(&shown.name) {
        return Err(format!(
            "Dolt can't compare the column {} of {table} between two commits; put it into columns_excluded",
            shown.name
        ));
    }
    let lower = shown.kind.to_lowercase();
    let is_cast = lower.starts_with("enum(") || lower.starts_with("set(");
    if is_cast {
        let kind = if lower.starts_with("set(") { "text" } else { "varchar(255)" };
        let collation = Some(shown.collation.clone().unwrap_or_else(|| "utf8mb4_0900_bin".to_owned()));
        return Ok(Column { name: shown.name.clone(), kind: kind.to_owned(), collation, is_cast });
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '(' | ')' | ',' | ' ' | '_');
    if !lower.chars().all(is_plain) || !shown.collation.as_deref().unwrap_or_default().chars().all(is_plain) {
        return Err(format!(
            "{} of {table} is of the type {}, which is not published; put it into columns_excluded",
            shown.name, shown.kind
        ));
    }
    Ok(Column {
        name: shown.name.clone(),
        kind: shown.kind.clone(),
        collation: shown.collation.clone(),
        is_cast,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LedgerConfig;
    use crate::remote::RemoteUrl;

    fn rule(excluded: &[&str]) -> Rule {
        let config = LedgerConfig {
            remote: RemoteUrl::parse("git+file:///x/r.git").unwrap(),
            tables: vec!["issues".to_owned()],
            filter: "status = 'closed'".to_owned(),
            columns_excluded: excluded.iter().map(|name| (*name).to_owned()).collect(),
        };
        Rule::new("beads", config)
    }

    fn shown(name: &str, kind: &str) -> Shown {
        let is_text = ["char", "text"].iter().any(|word| kind.contains(word));
        let collation = is_text.then(|| "utf8mb4_0900_bin".to_owned());
        Shown { name: name.to_owned(), kind: kind.to_owned(), collation }
    }

    fn issues() -> Vec<Shown> {
        [
            ("id", "varchar(20)"),
            ("status", "enum('open','secret state')"),
            ("notes", "text"),
            ("n", "int unsigned"),
        ]
        .map(|(name, kind)| shown(name, kind))
        .to_vec()
    }

    #[test]
    fn only_names_and_types_are_carried() {
        let shape = Shape::of(&rule(&["NOTES"]), "issues", &issues(), vec!["id".to_owned()]).unwrap();
        assert_eq!(
            shape.create("beads_ledger"),
            "CREATE TABLE `beads_ledger`.`issues` (`id` varchar(20) COLLATE utf8mb4_0900_bin NOT NULL, \
             `status` varchar(255) COLLATE utf8mb4_0900_bin, `n` int unsigned, PRIMARY KEY (`id`))"
        );
        assert_eq!(shape.columns[1].value("`status`"), "CAST(`status` AS CHAR)");
    }

    #[test]
    fn a_wider_column_stays() {
        for (there, wanted, want) in [
            ("varchar(20)", "varchar(10)", true),
            ("varchar(20)", "varchar(20)", true),
            ("varchar(10)", "varchar(20)", false),
            ("char(20)", "char(10)", false),
            ("decimal(10,2)", "decimal(8,2)", false),
            ("bigint", "int", true),
            ("int", "int unsigned", false),
            ("text", "varchar(10)", false),
            ("longtext", "text", true),
            ("datetime(6)", "datetime", false),
        ] {
            assert_eq!(holds(there, wanted), want, "{there} for {wanted}");
        }
    }

    #[test]
    fn tables_that_cannot_be_published() {
        let refused = |excluded: &[&str], key: &[&str]| {
            let key = key.iter().map(|name| (*name).to_owned()).collect();
            Shape::of(&rule(excluded), "issues", &issues(), key).unwrap_err()
        };
        assert!(refused(&[], &[]).contains("no primary key"));
        assert!(refused(&["id"], &["id"]).contains("in the primary key"));
        let with = [issues(), vec![shown("Commit_Date", "int")]].concat();
        let hidden = Shape::of(&rule(&[]), "issues", &with, vec!["id".to_owned()]).unwrap_err();
        assert!(hidden.contains("Commit_Date of issues") && hidden.contains("columns_excluded"), "{hidden}");
        assert!(Shape::of(&rule(&["commit_date"]), "issues", &with, vec!["id".to_owned()]).is_ok());
    }

    #[test]
    fn the_ledger_follows_the_source_but_loses_nothing() {
        let (rule, key) = (rule(&["notes"]), vec!["id".to_owned()]);
        let shape = Shape::of(&rule, "issues", &issues(), key.clone()).unwrap();
        let mut there =
            vec![shown("id", "varchar(20)"), shown("status", "varchar(255)"), shown("n", "int unsigned")];
        assert_eq!(shape.change(&rule, &there, &key).unwrap(), Change::default());
        there.push(shown("old", "int"));
        assert_eq!(shape.change(&rule, &there, &key).unwrap(), Change::default(), "a dropped one is kept");
        there[2].kind = "int".to_owned();
        there.remove(1);
        let change = shape.change(&rule, &there, &key).unwrap();
        let statements: Vec<&str> = change.statements.iter().map(|(sql, _)| sql.as_str()).collect();
        assert_eq!(
            statements,
            [
                "ALTER TABLE `beads_ledger`.`issues` ADD COLUMN `status` varchar(255) COLLATE utf8mb4_0900_bin",
                "ALTER TABLE `beads_ledger`.`issues` MODIFY COLUMN `n` int unsigned"
            ]
        );
        assert!(change.compare);
        assert!(shape.change(&rule, &there, &["n".to_owned()]).unwrap_err().contains("primary key"));
        there.push(shown("Notes", "text"));
        assert!(shape.change(&rule, &there, &key).unwrap_err().contains("published before"));
    }
}
