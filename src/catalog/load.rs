//! Reads a branch's facts from Dolt, on one connection of its own.
//! Does not interpret them. Always: bounded in tables and bytes; past a bound it is an error.

use std::collections::BTreeSet;

use super::schema::{Facts, Nonlocal, Object, ObjectKind};
use crate::branch::sql_identifier;
use crate::dolt::{Control, ControlError, Row};

/// Texts of views, triggers, procedures and events together.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// Tables whose definition is looked at for `ON UPDATE`; others count as if they had it.
const DEFINITIONS_MAX: usize = 256;

/// Why there are no facts.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("a row has other columns than Dolt 1.88.1 gives")]
    Columns,
    #[error("the texts of its views, triggers and procedures are longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

/// All of one branch. The caller's timeout is for each step.
pub(super) async fn facts(control: &Control, database: &str, branch: &str) -> Result<Facts, LoadError> {
    // `information_schema` shows a branch only to a session that is on it.
    let mut session = control.dedicated().await?;
    session.execute(&format!("USE {}", sql_identifier(&format!("{database}/{branch}"))), Vec::new()).await?;
    let mut facts = Facts::default();
    let mut bytes = 0;
    let texts = "SELECT type, name, fragment FROM dolt_schemas \
                 UNION ALL SELECT 'procedure', name, create_stmt FROM dolt_procedures";
    for row in session.rows(texts, Vec::new()).await? {
        let (kind, name, text): (String, String, String) = columns(row)?;
        bytes += text.len();
        if bytes > TEXT_BYTES_MAX {
            return Err(LoadError::TooLong);
        }
        let kind = match kind.as_str() {
            "view" => ObjectKind::View,
            "trigger" => ObjectKind::Trigger,
            "procedure" => ObjectKind::Procedure,
            _ => ObjectKind::Event,
        };
        facts.objects.push(Object { kind, name, text });
    }
    let nonlocal = "SELECT table_name, COALESCE(target_ref, '') FROM dolt_nonlocal_tables";
    for row in session.rows(nonlocal, Vec::new()).await? {
        let (pattern, target) = columns(row)?;
        facts.nonlocal.push(Nonlocal { pattern, target });
    }
    for row in session.rows("SELECT pattern, CAST(ignored AS CHAR) FROM dolt_ignore", Vec::new()).await? {
        let (pattern, ignored): (String, String) = columns(row)?;
        facts.ignored.push((pattern, ignored == "1"));
    }
    let mut with_times = BTreeSet::new();
    // A literal default is given without its quotes: only an expression is one that may change.
    let defaults = "SELECT table_name, IF(extra LIKE '%DEFAULT_GENERATED%', column_default, ''), data_type \
                    FROM information_schema.columns WHERE table_schema = DATABASE() \
                    AND (extra LIKE '%DEFAULT_GENERATED%' OR data_type IN ('datetime', 'timestamp'))";
    for row in session.rows(defaults, Vec::new()).await? {
        let (table, default, data_type): (String, String, String) = columns(row)?;
        if matches!(data_type.as_str(), "datetime" | "timestamp") {
            with_times.insert(table.clone());
        }
        facts.defaults.push((table, default));
    }
    let views: BTreeSet<&str> = facts.views().collect();
    with_times.retain(|table| !views.contains(table.as_str()) && !facts.has_changing_default(table));
    // ON UPDATE is told by nothing but the table's definition.
    for (at, table) in with_times.into_iter().enumerate() {
        let definition = if at < DEFINITIONS_MAX {
            let sql = format!("SHOW CREATE TABLE {}", sql_identifier(&table));
            let row = session.rows(&sql, Vec::new()).await?.into_iter().next().ok_or(LoadError::Columns)?;
            let (_, definition): (String, String) = columns(row)?;
            definition
        } else {
            "CURRENT_TIMESTAMP".to_owned()
        };
        facts.defaults.push((table, definition));
    }
    Ok(facts)
}

fn columns<T: mysql_async::prelude::FromRow>(row: Row) -> Result<T, LoadError> {
    mysql_async::from_row_opt(row).map_err(|_| LoadError::Columns)
}
