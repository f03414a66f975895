//! Owns what statements about whole rows need to know of a table: its key, its columns, how they are compared.
//! Does not read rows. Always: rows that compare as equal are equal byte by byte, whatever their collation.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::branch::directory::sql_identifier;
use crate::branch::fork::is_generated;

/// A table as its definition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub name: String,
    /// Quoted; empty if it has none.
    pub key: Vec<String>,
    /// All that can be written, quoted.
    pub columns: Vec<String>,
    /// Of those, the ones whose `=` takes different texts for equal.
    loose: Vec<String>,
    /// `SHOW CREATE TABLE`.
    pub create: String,
}

impl Table {
    /// As it is where `conn` is; `None`: there is none.
    pub async fn load(conn: &mut Conn, name: &str) -> Result<Option<Self>, mysql_async::Error> {
        let quoted = sql_identifier(name);
        let create: Option<(String, String)> =
            match conn.query_first(format!("SHOW CREATE TABLE {quoted}")).await {
                Err(mysql_async::Error::Server(error)) if error.code == 1146 => None,
                create => create?,
            };
        let Some((_, create)) = create else { return Ok(None) };
        let rows: Vec<mysql_async::Row> = conn.query(format!("SHOW FULL COLUMNS FROM {quoted}")).await?;
        let mut table =
            Self { name: name.to_owned(), key: Vec::new(), columns: Vec::new(), loose: Vec::new(), create };
        for row in rows {
            let text = |column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
            let column = sql_identifier(&text("Field"));
            if is_generated(&column, &table.create) {
                continue;
            }
            if text("Key") == "PRI" {
                table.key.push(column.clone());
            }
            if !text("Collation").is_empty() && !text("Collation").ends_with("_bin") {
                table.loose.push(column.clone());
            }
            table.columns.push(column);
        }
        Ok(Some(table))
    }

    /// `a, b, c`, each with what stands before it.
    pub fn list(&self, before: &str) -> String {
        list(&self.columns, before)
    }

    /// The key's columns.
    pub fn key_list(&self, before: &str) -> String {
        list(&self.key, before)
    }

    /// Whether two rows have the same key.
    pub fn same_key(&self, left: &str, right: &str) -> String {
        let pairs: Vec<String> =
            self.key.iter().map(|column| format!("{left}.{column} = {right}.{column}")).collect();
        pairs.join(" AND ")
    }

    /// Whether two rows are the same; rows of an outer join that are not there are the same too.
    pub fn same_row(&self, left: &str, right: &str) -> String {
        let same = |column: &String| match self.loose.contains(column) {
            true => format!("BINARY {left}.{column} <=> BINARY {right}.{column}"),
            false => format!("{left}.{column} <=> {right}.{column}"),
        };
        let pairs: Vec<String> = self.columns.iter().map(same).collect();
        format!("({})", pairs.join(" AND "))
    }

    /// Whether a row of an outer join is not there.
    pub fn missing(&self, of: &str) -> String {
        format!("{of}.{} IS NULL", self.key[0])
    }

    /// Whether rows can be copied as they are.
    pub fn has_same_columns(&self, other: &Self) -> bool {
        let sorted = |columns: &[String]| {
            let mut columns = columns.to_vec();
            columns.sort_unstable();
            columns
        };
        sorted(&self.columns) == sorted(&other.columns) && self.key == other.key
    }
}

fn list(columns: &[String], before: &str) -> String {
    columns.iter().map(|column| format!("{before}{column}")).collect::<Vec<_>>().join(", ")
}
