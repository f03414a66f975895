//! Owns the SQL by which rows come from the source to its ledger, and by which they are checked there.
//! Does not run it. Always: the condition and the columns are applied where rows are read, so that nothing else is ever
//! written into the ledger's database, not even for a moment.

use super::rule::Rule;
use super::shape::{Shape, Shown, is_hidden_in_diffs, same_bytes};
use crate::branch::{sql_identifier, sql_literal};

/// A key that was withdrawn: columns and their values.
pub type Key = Vec<(String, String)>;

/// `` `beads/HASH` ``: the database as it was committed.
pub fn at(database: &str, commit: &str) -> String {
    sql_identifier(&format!("{database}/{commit}"))
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Rows of this key, columns of the row named by `prefix`.
pub fn is_key(key: &Key, prefix: &str) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|(column, value)| {
            format!("{} <=> {}", sql_identifier(&format!("{prefix}{column}")), sql_literal(value))
        })
        .collect();
    format!("({})", parts.join(" AND "))
}

fn is_none_of(withdrawn: &[Key]) -> String {
    withdrawn.iter().map(|key| format!(" AND NOT {}", is_key(key, ""))).collect()
}

/// Rows of any of these keys.
pub fn is_any_of(keys: &[Key], prefix: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|key| is_key(key, prefix)).collect();
    if keys.is_empty() { "FALSE".to_owned() } else { format!("({})", keys.join(" OR ")) }
}

/// What the ledger has, besides the source.
#[derive(Debug, Clone, Copy)]
pub struct Has<'a> {
    /// Keys that are not published any more.
    pub withdrawn: &'a [Key],
    /// Columns that the source has no more.
    pub kept: &'a [String],
}

/// Puts all rows that match at `commit` into the ledger; those that it has as they are stay so.
pub fn copy_all(rule: &Rule, shape: &Shape, commit: &str, has: Has<'_>) -> String {
    let from = format!("{}.{}", at(&rule.database, commit), sql_identifier(&shape.table));
    copy(rule, shape, &from, has)
}

/// Puts those into the ledger that match at `to` and have changed since `from`. For a session that is in the source.
/// `None`: Dolt's diff can't show this table's columns.
pub fn copy_changed(rule: &Rule, shape: &Shape, from: &str, to: &str, has: Has<'_>) -> Option<String> {
    if shape.all.iter().any(|name| is_hidden_in_diffs(name)) {
        return None;
    }
    let renamed = shape
        .all
        .iter()
        .map(|name| format!("{} AS {}", sql_identifier(&format!("to_{name}")), sql_identifier(name)));
    let source = format!(
        "(SELECT {} FROM dolt_diff({}, {}, {}) WHERE diff_type IN ('added', 'modified')) AS changed",
        list(renamed),
        sql_literal(from),
        sql_literal(to),
        sql_literal(&shape.table)
    );
    Some(copy(rule, shape, &source, has))
}

fn copy(rule: &Rule, shape: &Shape, source: &str, has: Has<'_>) -> String {
    let names = || shape.columns.iter().map(|column| sql_identifier(&column.name));
    let values = shape.columns.iter().map(|column| {
        let name = sql_identifier(&column.name);
        if column.is_cast { format!("{} AS {name}", column.value(&name)) } else { name }
    });
    let rows = format!(
        "SELECT {} FROM {source} WHERE ({}){}",
        list(values),
        rule.config.filter,
        is_none_of(has.withdrawn)
    );
    let into = format!("REPLACE INTO {}.{}", sql_identifier(&rule.ledger), sql_identifier(&shape.table));
    if has.kept.is_empty() {
        return format!("{into} ({}) {rows}", list(names()));
    }
    let kept = || has.kept.iter().map(|name| sql_identifier(name));
    let key = || shape.key.iter().map(|name| sql_identifier(name));
    let on: Vec<String> = key().map(|name| format!("s.{name} = l.{name}")).collect();
    format!(
        "{into} ({}) SELECT {} FROM ({rows}) AS s LEFT JOIN (SELECT {} FROM {}.{}) AS l ON {}",
        list(names().chain(kept())),
        list(names().map(|name| format!("s.{name}")).chain(kept().map(|name| format!("l.{name}")))),
        list(key().chain(kept())),
        at(&rule.ledger, "main"),
        sql_identifier(&shape.table),
        on.join(" AND ")
    )
}

/// A commit of the ledger that is checked.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    /// The one before it.
    pub parent: &'a str,
    /// Itself.
    pub commit: &'a str,
    /// The source's, which its rows are of.
    pub source: &'a str,
    /// The columns of the table as the parent has it.
    pub before: &'a [Shown],
    /// As it has them itself.
    pub here: &'a [Shown],
}

/// Counts rows that a commit of the ledger has and should not, or that it lost. For a session that is in the ledger.
/// `kept`: columns that the ledger has and the source has no more.
pub fn count_wrong(
    rule: &Rule,
    shape: &Shape,
    kept: &[String],
    of: Checked<'_>,
    withdrawn: &[Key],
) -> String {
    let to = |name: &str| format!("d.{}", sql_identifier(&format!("to_{name}")));
    let of_source = |name: &str| format!("s.{}", sql_identifier(name));
    let values = list(shape.columns.iter().map(|column| {
        let name = sql_identifier(&column.name);
        format!("{} AS {name}", column.value(&name))
    }));
    let on: Vec<String> =
        shape.key.iter().map(|name| format!("{} = {}", to(name), of_source(name))).collect();
    let mut same: Vec<String> = shape
        .columns
        .iter()
        .map(|column| column.is_same(&to(&column.name), &of_source(&column.name)))
        .collect();
    same.extend(kept.iter().map(|name| {
        let before = format!("d.{}", sql_identifier(&format!("from_{name}")));
        format!("({0} IS NULL OR {0} <=> {before})", to(name))
    }));
    // Dolt calls a row modified whose column has got another type, or that has got an empty column.
    let is_as_before: Vec<String> = of
        .here
        .iter()
        .map(|column| {
            let [to, from] = ["to_", "from_"].map(|side| sql_identifier(&format!("{side}{}", column.name)));
            match of.before.iter().any(|before| before.name.eq_ignore_ascii_case(&column.name)) {
                true => same_bytes(column.collation.is_some(), &to, &from),
                false => format!("{to} IS NULL"),
            }
        })
        .collect();
    format!(
        "SELECT COUNT(*) FROM (SELECT * FROM dolt_diff({}, {}, {}) WHERE NOT (diff_type = 'removed' AND {}) \
         AND NOT (diff_type = 'modified' AND {})) AS d \
         LEFT JOIN (SELECT {values}, 1 AS branchline_matches FROM {}.{} WHERE ({})) AS s ON {} \
         WHERE d.diff_type = 'removed' OR s.branchline_matches IS NULL OR {} OR NOT ({})",
        sql_literal(of.parent),
        sql_literal(of.commit),
        sql_literal(&shape.table),
        is_any_of(withdrawn, "from_"),
        is_as_before.join(" AND "),
        at(&rule.database, of.source),
        sql_identifier(&shape.table),
        rule.config.filter,
        on.join(" AND "),
        is_any_of(withdrawn, "to_"),
        same.join(" AND ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LedgerConfig;
    use crate::remote::RemoteUrl;

    #[test]
    fn rows_are_filtered_where_they_are_read() {
        let config = LedgerConfig {
            remote: RemoteUrl::parse("git+file:///x/r.git").unwrap(),
            tables: vec!["t".to_owned()],
            filter: "s = 'x' OR s = 'y'".to_owned(),
            columns_excluded: vec!["secret".to_owned()],
        };
        let rule = Rule::new("b`d", config);
        let shown = ["id", "s", "secret"].map(|name| Shown {
            name: name.to_owned(),
            kind: "text".to_owned(),
            collation: None,
        });
        let mut shape = Shape::of(&rule, "t", &shown, vec!["id".to_owned()]).unwrap();
        assert_eq!(
            copy_all(
                &rule,
                &shape,
                "abc",
                Has { withdrawn: &[vec![("id".to_owned(), "it's".to_owned())]], kept: &[] }
            ),
            "REPLACE INTO `b``d_ledger`.`t` (`id`, `s`) SELECT `id`, `s` FROM `b``d/abc`.`t` WHERE (s = 'x' OR s = 'y') \
             AND NOT (`id` <=> 'it''s')"
        );
        let none = Has { withdrawn: &[], kept: &[] };
        let changed = copy_changed(&rule, &shape, "a", "b", none).unwrap();
        assert!(
            changed.contains("`to_secret` AS `secret`") && changed.contains("SELECT `id`, `s` FROM (SELECT")
        );
        shape.all.push("Commit".to_owned());
        assert_eq!(copy_changed(&rule, &shape, "a", "b", none), None);
    }
}
