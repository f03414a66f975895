//! Owns main's own uncommitted rows while something is merged into it: they are put aside, and put back on top of the merge.
//! Does not merge. Always: a row of main that is uncommitted before is uncommitted after with the same contents, unless
//! the branch was forked with it and went on from there; or all of them are Dolt-committed on their own first.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::columns::Table;
use crate::branch::base::{Uncommitted, uncommitted};
use crate::branch::directory::{sql_identifier, sql_literal};
use crate::branch::fork::revision;

/// What is done about main's uncommitted rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// There are none, or there is nothing to merge.
    Leave,
    /// They are put aside and back.
    Carry(Vec<Aside>),
    /// They are Dolt-committed first, for this reason.
    Commit(String),
}

/// A table whose uncommitted rows are aside, in temporary tables of the writer's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aside {
    table: Table,
    rows: String,
    /// Of all its rows that differ from HEAD.
    keys: String,
    /// Of those that are put back.
    back: String,
}

/// Where to look.
pub(in crate::branch) struct Sides<'a> {
    pub database: &'a str,
    pub main: &'a str,
    /// A branch, or a commit.
    pub branch: &'a str,
    /// The base tag's commit.
    pub base: Option<&'a str>,
    /// Main only moves to the branch's commit: Dolt itself keeps rows of tables that the branch has not changed.
    pub is_fast_forward: bool,
}

#[derive(Debug)]
struct Changed {
    table: String,
    is_modified: bool,
    is_schema: bool,
}

/// Looks at main, where `writer` is, outside a transaction, and puts aside what is to be carried.
pub(super) async fn plan(writer: &mut Conn, sides: &Sides<'_>) -> Result<Plan, mysql_async::Error> {
    let own: Vec<Uncommitted> =
        uncommitted(writer).await?.into_iter().filter(|table| !table.ignored).collect();
    if own.iter().any(|table| table.staged) {
        // The merge's commit takes what is staged: only what the merge staged itself may be.
        writer.query_drop("CALL DOLT_RESET()").await?;
    }
    if own.is_empty() {
        return Ok(Plan::Leave);
    }
    let (main, branch) = (sql_literal(sides.main), sql_literal(sides.branch));
    let sql = format!("SELECT dolt_merge_base({main}, {branch}) = dolt_hashof({branch})");
    let is_up_to_date: Option<Option<bool>> = writer.query_first(sql).await?;
    if is_up_to_date.flatten() == Some(true) {
        return Ok(Plan::Leave);
    }
    // All of them, also those that the merge doesn't touch: DOLT_MERGE('--no-commit') stages whatever is uncommitted,
    // and the merge's commit would take it along.
    let merged = changed(writer, &format!("{}...{}", sides.main, sides.branch), None).await?;
    let mut aside = Vec::new();
    for own in changed(writer, "HEAD", Some("WORKING")).await? {
        let name = &own.table;
        let merged = merged.iter().find(|other| other.table == *name);
        if sides.is_fast_forward && merged.is_none() {
            continue;
        }
        if own.is_schema || !own.is_modified || name.starts_with("dolt_") {
            return Ok(Plan::Commit(format!("the definition of {name} changed")));
        }
        if merged.is_some_and(|merged| merged.is_schema) {
            return Ok(Plan::Commit(format!("the branch changed the definition of {name}")));
        }
        match put_aside(writer, name, (aside.len(), merged.is_some()), sides).await? {
            Ok(table) => aside.push(table),
            Err(why) => return Ok(Plan::Commit(why)),
        }
    }
    Ok(if aside.is_empty() { Plan::Leave } else { Plan::Carry(aside) })
}

async fn changed(conn: &mut Conn, from: &str, to: Option<&str>) -> Result<Vec<Changed>, mysql_async::Error> {
    let to = to.map(|to| format!(", {}", sql_literal(to))).unwrap_or_default();
    let sql = format!(
        "SELECT from_table_name, to_table_name, diff_type, schema_change FROM dolt_diff_summary({}{to})",
        sql_literal(from)
    );
    type Row = (String, String, String, bool);
    let rows: Vec<Row> = conn.query(sql).await?;
    let changed = rows.into_iter().flat_map(|(from, to, kind, is_schema)| {
        let is_modified = kind == "modified";
        let renamed = (from != to && !from.is_empty() && !to.is_empty()).then(|| from.clone());
        let name = if to.is_empty() { from } else { to };
        [Some(name), renamed].into_iter().flatten().map(move |table| Changed {
            table,
            is_modified,
            is_schema,
        })
    });
    Ok(changed.collect())
}

/// Err: why its rows can't be carried.
async fn put_aside(
    writer: &mut Conn,
    name: &str,
    (number, is_merged): (usize, bool),
    sides: &Sides<'_>,
) -> Result<Result<Aside, String>, mysql_async::Error> {
    let Some(table) = Table::load(writer, name).await? else {
        return Ok(Err(format!("{name} is not there any more")));
    };
    if table.key.is_empty() {
        return Ok(Err(format!("{name} has no primary key")));
    }
    if has_trigger(writer, name).await? {
        return Ok(Err(format!("{name} has triggers")));
    }
    let (quoted, literal) = (sql_identifier(name), sql_literal(name));
    let (rows, keys) = (format!("branchline_rows_{number}"), format!("branchline_keys_{number}"));
    let (back, both) = (format!("branchline_back_{number}"), format!("branchline_both_{number}"));
    let key_of_diff: Vec<String> = table.key.iter().map(|key| diff_key(key)).collect();
    let to: Vec<String> = table.columns.iter().map(|column| prefixed("to_", column)).collect();
    let (key_of_diff, to) = (key_of_diff.join(", "), to.join(", "));
    let diff = format!("dolt_diff('HEAD', 'WORKING', {literal})");
    for temporary in [&rows, &keys, &back, &both] {
        writer.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {temporary}")).await?;
    }
    for sql in [
        format!("CREATE TEMPORARY TABLE {rows} LIKE {quoted}"),
        format!(
            "INSERT INTO {rows} ({}) SELECT {to} FROM {diff} WHERE diff_type <> 'removed'",
            table.list("")
        ),
        format!("CREATE TEMPORARY TABLE {keys} AS SELECT {key_of_diff} FROM {diff}"),
        format!("CREATE TEMPORARY TABLE {back} AS SELECT {key_of_diff} FROM {diff}"),
    ] {
        writer.query_drop(sql).await?;
    }
    if !is_merged {
        return Ok(Ok(Aside { table, rows, keys, back }));
    }
    writer.query_drop(overlap(&table, sides, (&rows, &keys, &both))).await?;
    // Rows with which the branch was forked are its own by now; equal ones come with the merge.
    let (count, settled): (u64, Option<u64>) = writer
        .query_first(format!("SELECT COUNT(*), CAST(SUM(is_settled) AS UNSIGNED) FROM {both}"))
        .await?
        .unwrap_or_default();
    if count != settled.unwrap_or_default() {
        let open = count - settled.unwrap_or_default();
        return Ok(Err(format!("{open} of its rows in {name} were changed on the branch too")));
    }
    if count > 0 {
        for temporary in [&rows, &back] {
            writer.query_drop(delete(temporary, &table, &both)).await?;
        }
    }
    writer.query_drop(format!("DROP TEMPORARY TABLE {both}")).await?;
    Ok(Ok(Aside { table, rows, keys, back }))
}

/// Keys that both have changed, and whether the branch's version is what is wanted in any case.
fn overlap(table: &Table, sides: &Sides<'_>, (rows, keys, both): (&str, &str, &str)) -> String {
    let (quoted, literal) = (sql_identifier(&table.name), sql_literal(&table.name));
    let range = sql_literal(&format!("{}...{}", sides.main, sides.branch));
    let key_of_diff: Vec<String> = table.key.iter().map(|key| diff_key(key)).collect();
    let theirs = revision(sides.database, sides.branch);
    let mut settled = table.same_row("o", "b");
    let mut joins = format!(
        "LEFT JOIN {rows} o ON {} LEFT JOIN {theirs}.{quoted} b ON {}",
        table.same_key("o", "k"),
        table.same_key("b", "k")
    );
    if let Some(base) = sides.base {
        let base = revision(sides.database, base);
        joins.push_str(&format!(" LEFT JOIN {base}.{quoted} s ON {}", table.same_key("s", "k")));
        settled = format!("{settled} OR {}", table.same_row("o", "s"));
    }
    format!(
        "CREATE TEMPORARY TABLE {both} AS SELECT {}, ({settled}) AS is_settled FROM {keys} k \
         JOIN (SELECT {} FROM dolt_diff({range}, {literal})) d ON {} {joins}",
        table.key_list("k."),
        key_of_diff.join(", "),
        table.same_key("d", "k")
    )
}

/// In the transaction, before the merge: main's tables are as in its HEAD.
pub(super) async fn revert(writer: &mut Conn, aside: &[Aside]) -> Result<(), mysql_async::Error> {
    writer.query_drop("SET foreign_key_checks = 0").await?;
    for Aside { table, keys, .. } in aside {
        let quoted = sql_identifier(&table.name);
        writer.query_drop(delete(&quoted, table, keys)).await?;
        writer
            .query_drop(format!(
                "INSERT INTO {quoted} ({}) SELECT {} FROM {quoted} AS OF 'HEAD' h JOIN {keys} k ON {}",
                table.list(""),
                table.list("h."),
                table.same_key("h", "k")
            ))
            .await?;
    }
    writer.query_drop("SET foreign_key_checks = 1").await
}

/// In the transaction, after the merge: main's rows are on top of it. False: they don't fit there.
pub(super) async fn put_back(writer: &mut Conn, aside: &[Aside]) -> Result<bool, mysql_async::Error> {
    writer.query_drop("SET foreign_key_checks = 0").await?;
    for Aside { table, rows, back, .. } in aside {
        let quoted = sql_identifier(&table.name);
        writer.query_drop(delete(&quoted, table, back)).await?;
        let columns = table.list("");
        let insert = format!("INSERT INTO {quoted} ({columns}) SELECT {columns} FROM {rows}");
        match writer.query_drop(insert).await {
            // A unique key, or a check: with the branch's rows it is not kept.
            Err(mysql_async::Error::Server(error)) if matches!(error.code, 1062 | 3819) => return Ok(false),
            inserted => inserted?,
        }
    }
    writer.query_drop("SET foreign_key_checks = 1").await?;
    let violated: Option<u64> = writer.query_first("CALL DOLT_VERIFY_CONSTRAINTS()").await?;
    Ok(violated == Some(0))
}

/// After the transaction, whatever came of it.
pub(super) async fn forget(writer: &mut Conn, aside: &[Aside]) -> Result<(), mysql_async::Error> {
    for Aside { rows, keys, back, .. } in aside {
        for temporary in [rows, keys, back] {
            writer.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {temporary}")).await?;
        }
    }
    Ok(())
}

/// Whether writing to a table on this branch does more than that.
pub(super) async fn has_trigger(conn: &mut Conn, table: &str) -> Result<bool, mysql_async::Error> {
    let triggers: Vec<mysql_async::Row> = conn.query("SHOW TRIGGERS").await?;
    let is_on = |row: &mysql_async::Row| {
        let on = row.get::<Option<String>, _>("Table").flatten();
        on.is_some_and(|on| on.eq_ignore_ascii_case(table))
    };
    Ok(triggers.iter().any(is_on))
}

fn delete(from: &str, table: &Table, keys: &str) -> String {
    let key = table.key_list("");
    match table.key.as_slice() {
        [_] => format!("DELETE FROM {from} WHERE {key} IN (SELECT {key} FROM {keys})"),
        _ => format!("DELETE m FROM {from} m JOIN {keys} k ON {}", table.same_key("m", "k")),
    }
}

/// A key's column of a `dolt_diff`, under its own name.
fn diff_key(quoted: &str) -> String {
    format!("COALESCE({}, {}) AS {quoted}", prefixed("to_", quoted), prefixed("from_", quoted))
}

/// `` `a` `` as `` `to_a` ``.
fn prefixed(prefix: &str, quoted: &str) -> String {
    format!("`{prefix}{}", &quoted[1..])
}
