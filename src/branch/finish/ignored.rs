//! Owns bringing home the rows of ignored tables, which Dolt never merges: base, main and branch, row by row.
//! Does not decide rows that both changed: `merge` does. Always: a row that only one side changed is as that side
//! has it; a table that can't be carried stops the finish before main is touched.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::FinishError;
use super::columns::Table;
use super::decide::{Decider, Versions};
use super::dirty::has_trigger;
use crate::branch::directory::{sql_identifier, sql_literal};
use crate::branch::fork::revision;

/// Rows that both changed are read so many at a time.
const PAGE: usize = 500;

/// Where the three versions are.
pub(super) struct Places<'a> {
    pub database: &'a str,
    pub main: &'a str,
    pub branch: &'a str,
    /// The base tag's commit; without one nothing is ever removed.
    pub base: Option<&'a str>,
}

/// A table with something to bring home; which rows is in a temporary table of the writer's connection.
#[derive(Debug)]
pub(super) struct Carry {
    table: Table,
    base: Option<String>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// By key, in this temporary table: `is_plain` if only the branch changed the row.
    Keyed { keys: String, plain: u64, both: u64 },
    /// All of them, in place of main's.
    All,
}

/// Looks at the ignored tables of the branch, outside a transaction: `writer` on main, `reader` on the branch. Makes
/// on main those that it lacks, empty.
pub(super) async fn plan(
    writer: &mut Conn,
    reader: &mut Conn,
    places: &Places<'_>,
    tables: &[String],
) -> Result<Vec<Carry>, FinishError> {
    let mut carried = Vec::new();
    for name in tables {
        if let Some(carry) = plan_one(writer, reader, places, name, carried.len()).await? {
            carried.push(carry);
        }
    }
    Ok(carried)
}

async fn plan_one(
    writer: &mut Conn,
    reader: &mut Conn,
    places: &Places<'_>,
    name: &str,
    number: usize,
) -> Result<Option<Carry>, FinishError> {
    let at = FinishError::at;
    let refuse = |why: String| FinishError::Ignored {
        database: places.database.to_owned(),
        main: places.main.to_owned(),
        table: name.to_owned(),
        why,
    };
    let Some(theirs) = Table::load(reader, name).await.map_err(at("read an ignored table"))? else {
        return Ok(None);
    };
    let base = base_of(reader, places, name, &theirs).await.map_err(at("read an ignored table's base"))?;
    let ours = Table::load(writer, name).await.map_err(at("read an ignored table of main"))?;
    let is_new = ours.is_none();
    let hash_of = format!("SELECT dolt_hashof_table({})", sql_literal(name));
    let theirs_hash: Option<String> =
        reader.query_first(&hash_of).await.map_err(at("compare an ignored table"))?;
    if base.as_ref().is_some_and(|base| Some(&base.hash) == theirs_hash.as_ref()) {
        return Ok(None);
    }
    let ours = match ours {
        Some(ours) => ours,
        None => {
            writer.query_drop(&theirs.create).await.map_err(at("make an ignored table on main"))?;
            theirs.clone()
        }
    };
    let ours_hash: Option<String> =
        writer.query_first(&hash_of).await.map_err(at("compare an ignored table"))?;
    if ours_hash == theirs_hash {
        return Ok(None);
    }
    if !ours.has_same_columns(&theirs) {
        return Err(refuse(
            "its columns on the branch are not those on main; make them equal with ALTER TABLE on one of them, or \
             drop the table on the branch, and run it again"
                .to_owned(),
        ));
    }
    if has_trigger(writer, name).await.map_err(at("look for triggers"))? {
        return Err(refuse(
            "it has triggers on main, which would write a second time what they wrote on the branch; drop them on \
             main, run it again, and create them again"
                .to_owned(),
        ));
    }
    if ours.key.is_empty() {
        let is_untouched = is_new || base.is_some_and(|base| Some(base.hash) == ours_hash);
        if !is_untouched {
            return Err(refuse(
                "it has no primary key, and its rows differ on main and on the branch: which belong together can't \
                 be told; give it a primary key on both, or make its rows equal on both, and run it again"
                    .to_owned(),
            ));
        }
        return Ok(Some(Carry { table: ours, base: None, rows: Rows::All }));
    }
    let base = base.filter(|base| base.is_comparable).map(|_| places.base.unwrap_or_default().to_owned());
    let keys = format!("branchline_home_{number}");
    for sql in [
        format!("DROP TEMPORARY TABLE IF EXISTS {keys}"),
        format!("CREATE TEMPORARY TABLE {keys} AS {}", keys_to_carry(&ours, places, base.as_deref())),
    ] {
        writer.query_drop(sql).await.map_err(at("compare an ignored table's rows"))?;
    }
    let count = format!("SELECT COUNT(*), CAST(COALESCE(SUM(is_plain), 0) AS UNSIGNED) FROM {keys}");
    let counted: Option<(u64, u64)> =
        writer.query_first(count).await.map_err(at("count an ignored table's rows"))?;
    let (all, plain) = counted.unwrap_or_default();
    if all == 0 {
        return Ok(None);
    }
    Ok(Some(Carry { table: ours, base, rows: Rows::Keyed { keys, plain, both: all - plain } }))
}

struct Base {
    hash: String,
    is_comparable: bool,
}

/// The table in the base tag; `reader` is on the branch afterwards.
async fn base_of(
    reader: &mut Conn,
    places: &Places<'_>,
    name: &str,
    theirs: &Table,
) -> Result<Option<Base>, mysql_async::Error> {
    let Some(base) = places.base else { return Ok(None) };
    reader.query_drop(format!("USE {}", revision(places.database, base))).await?;
    let table = Table::load(reader, name).await?;
    let found = match table {
        None => None,
        Some(table) => {
            let sql = format!("SELECT dolt_hashof_table({})", sql_literal(name));
            let hash: Option<String> = reader.query_first(sql).await?;
            Some(Base { hash: hash.unwrap_or_default(), is_comparable: table.has_same_columns(theirs) })
        }
    };
    reader.query_drop(format!("USE {}", revision(places.database, places.branch))).await?;
    Ok(found)
}

/// Keys of rows that the branch changed since the base and that main doesn't have like that.
fn keys_to_carry(table: &Table, places: &Places<'_>, base: Option<&str>) -> String {
    let quoted = sql_identifier(&table.name);
    let theirs = format!("{}.{quoted}", revision(places.database, places.branch));
    let Some(base) = base else {
        // What is not on main comes home; what differs is decided; nothing is removed.
        return format!(
            "SELECT {}, ({}) AS is_plain FROM {theirs} b LEFT JOIN {quoted} o ON {} WHERE NOT {}",
            table.key_list("b."),
            table.missing("o"),
            table.same_key("o", "b"),
            table.same_row("o", "b")
        );
    };
    let base = format!("{}.{quoted}", revision(places.database, base));
    let half = |from: &str, other: &str, condition: String, alias: (&str, &str)| {
        let (k, x) = alias;
        format!(
            "SELECT {}, {} AS is_plain FROM {from} {k} LEFT JOIN {other} {x} ON {} LEFT JOIN {quoted} o ON {} \
             WHERE {condition} AND NOT {}",
            table.key_list(&format!("{k}.")),
            table.same_row("o", "s"),
            table.same_key(x, k),
            table.same_key("o", k),
            table.same_row("o", "b")
        )
    };
    let changed = half(&theirs, &base, format!("NOT {}", table.same_row("b", "s")), ("b", "s"));
    let removed = half(&base, &theirs, table.missing("b"), ("s", "b"));
    format!("{changed} UNION ALL {removed}")
}

/// In the transaction: main gets the rows. How many.
pub(super) async fn carry(
    writer: &mut Conn,
    places: &Places<'_>,
    carried: &[Carry],
    decider: &mut Decider<'_>,
) -> Result<u64, FinishError> {
    if carried.is_empty() {
        return Ok(0);
    }
    let at = FinishError::at;
    writer.query_drop("SET foreign_key_checks = 0").await.map_err(at("carry ignored tables"))?;
    let mut rows = 0;
    for Carry { table, base, rows: which } in carried {
        let quoted = sql_identifier(&table.name);
        let theirs = format!("{}.{quoted}", revision(places.database, places.branch));
        let step = at("carry an ignored table's rows");
        match which {
            Rows::All => {
                let columns = table.list("");
                let replaced = async {
                    writer.query_drop(format!("DELETE FROM {quoted}")).await?;
                    let insert = format!("INSERT INTO {quoted} ({columns}) SELECT {columns} FROM {theirs}");
                    writer.query_drop(insert).await
                };
                replaced.await.map_err(step)?;
                rows += writer.affected_rows();
            }
            Rows::Keyed { keys, plain, both } => {
                if *both > 0 {
                    decider.prepare(writer, &table.name).await?;
                    decide(writer, places, table, base.as_deref(), (keys, &theirs), decider).await?;
                }
                replace_plain(writer, table, keys, &theirs).await.map_err(step)?;
                decider.write_cells(writer).await.map_err(at("write decided rows"))?;
                rows += plain + both;
            }
        }
    }
    writer.query_drop("SET foreign_key_checks = 1").await.map_err(at("carry ignored tables"))?;
    Ok(rows)
}

/// Rows of these keys are as on the branch.
async fn replace_plain(
    writer: &mut Conn,
    table: &Table,
    keys: &str,
    theirs: &str,
) -> Result<(), mysql_async::Error> {
    let quoted = sql_identifier(&table.name);
    writer
        .query_drop(format!(
            "DELETE m FROM {quoted} m JOIN {keys} k ON {} WHERE k.is_plain",
            table.same_key("m", "k")
        ))
        .await?;
    writer
        .query_drop(format!(
            "INSERT INTO {quoted} ({}) SELECT {} FROM {theirs} b JOIN {keys} k ON {} WHERE k.is_plain",
            table.list(""),
            table.list("b."),
            table.same_key("b", "k")
        ))
        .await
}

/// Decides the rows that both changed. Those that become the branch's are marked as plain; single cells are
/// written afterwards.
async fn decide(
    writer: &mut Conn,
    places: &Places<'_>,
    table: &Table,
    base: Option<&str>,
    (keys, theirs): (&str, &str),
    decider: &mut Decider<'_>,
) -> Result<(), FinishError> {
    let at = FinishError::at;
    let quoted = sql_identifier(&table.name);
    let width = table.columns.len();
    let base_from = match base {
        Some(base) => {
            let base = format!("{}.{quoted}", revision(places.database, base));
            format!("LEFT JOIN {base} s ON {}", table.same_key("s", "k"))
        }
        None => String::new(),
    };
    let base_columns = if base.is_some() { format!(", {}", table.list("s.")) } else { String::new() };
    let mut offset = 0;
    let mut theirs_keys: Vec<String> = Vec::new();
    loop {
        let page = format!(
            "SELECT {}, {}{base_columns} FROM {keys} k LEFT JOIN {quoted} o ON {} LEFT JOIN {theirs} b ON {} {base_from} \
             WHERE NOT k.is_plain ORDER BY {} LIMIT {PAGE} OFFSET {offset}",
            table.list("o."),
            table.list("b."),
            table.same_key("o", "k"),
            table.same_key("b", "k"),
            table.key_list("k.")
        );
        let rows: Vec<mysql_async::Row> =
            writer.query(page).await.map_err(at("read rows that both changed"))?;
        let count = rows.len();
        for row in rows {
            let versions = Versions::split(row, width, table);
            if let Some(condition) = decider.decide(table, versions).await? {
                theirs_keys.push(condition);
            }
        }
        if count < PAGE {
            break;
        }
        offset += PAGE;
    }
    for some in theirs_keys.chunks(PAGE) {
        let sql = format!("UPDATE {keys} SET is_plain = 1 WHERE {}", some.join(" OR "));
        writer.query_drop(sql).await.map_err(at("mark decided rows"))?;
    }
    Ok(())
}

/// After the transaction, whatever came of it.
pub(super) async fn forget(writer: &mut Conn, carried: &[Carry]) -> Result<(), mysql_async::Error> {
    for carry in carried {
        if let Rows::Keyed { keys, .. } = &carry.rows {
            writer.query_drop(format!("DROP TEMPORARY TABLE IF EXISTS {keys}")).await?;
        }
    }
    Ok(())
}

impl Carry {
    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table.name
    }
}
