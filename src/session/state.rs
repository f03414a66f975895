//! What a session's connection to Dolt must look like, so that it can be built again on a new one.
//! Owns the tracked state. Does not talk to Dolt: `restore` does.
//! Always: what is not tracked is in `pins`, and then the session says so instead of going on without it.

use crate::statement::classify::{Kind, Pins, Scope};
use crate::wire::response::{OkInfo, STATUS_AUTOCOMMIT};

/// What the session variable of a database's branch ends with.
pub const HEAD_REF: &str = "_head_ref";

/// Settings kept for a new backend; a client that sets more keeps its backend or loses it.
const SETTINGS_MAX: usize = 256;

/// What a session's connection to Dolt must look like.
#[derive(Debug, Clone)]
pub struct SessionState {
    /// Current database as the client named it, `db/branch` included.
    pub database: Option<String>,
    /// Assignments to run again: variable and `SET` text, in order.
    settings: Vec<(String, String)>,
    /// State that can't be built again.
    pub pins: Pins,
    /// COM_SET_OPTION's choice, if it was used.
    pub multi_statements: Option<bool>,
    /// Whether autocommit is on.
    pub autocommit: bool,
    /// Dolt may have left an implicit transaction open that nobody asked for (facts-dolt.md).
    pub residue: bool,
}

impl SessionState {
    /// Right after login.
    pub fn new(database: Option<String>, autocommit: bool) -> Self {
        Self {
            database,
            settings: Vec::new(),
            pins: Pins::NONE,
            multi_statements: None,
            autocommit,
            residue: false,
        }
    }

    /// An ERR, SHOW WARNINGS or a PREPARE came back: outside a transaction of the client's, Dolt leaves one open.
    pub fn may_leave_residue(&mut self, in_transaction: bool) {
        self.residue |= self.autocommit && !in_transaction;
    }

    /// Whether `SET`s must be run again, and which.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(|(_, sql)| sql.as_str())
    }

    /// The status flags of an OK or EOF.
    pub fn saw_status(&mut self, info: &OkInfo) {
        self.autocommit = info.status & STATUS_AUTOCOMMIT != 0;
    }

    /// One statement succeeded.
    pub fn did(&mut self, kind: &Kind) {
        match kind {
            Kind::Use { database } => self.database = Some(database.clone()),
            Kind::Set { assignments } => {
                for assignment in assignments {
                    if assignment.scope != Scope::Session {
                        continue;
                    }
                    match &assignment.replay {
                        Some(sql) => self.set(&assignment.name, sql),
                        None => self.pins.insert(Pins::UNKNOWN_SET),
                    }
                }
            }
            // SET TRANSACTION is not kept: Dolt gives it no effect (facts-dolt.md).
            Kind::UnlockTables => self.pins.remove(Pins::LOCK_TABLES),
            Kind::ReleaseLocks => self.pins.remove(Pins::NAMED_LOCK),
            _ => {}
        }
    }

    /// Branches that the client has set by `SET database_head_ref = 'branch'`, in lower case: database and branch.
    pub fn head_refs(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().filter_map(|(name, sql)| {
            let database = name.strip_suffix(HEAD_REF)?;
            let (_, value) = sql.split_once('=')?;
            Some((database, value.trim().trim_matches(['\'', '"', '`']).to_lowercase()))
        })
    }

    /// The client's `SET database_head_ref` no longer counts.
    pub fn forget_head_ref(&mut self, database: &str) {
        let variable = format!("{}{HEAD_REF}", database.to_lowercase());
        self.settings.retain(|(name, _)| *name != variable);
    }

    fn set(&mut self, name: &str, sql: &str) {
        self.settings.retain(|(known, _)| known != name);
        if self.settings.len() == SETTINGS_MAX {
            self.pins.insert(Pins::UNKNOWN_SET);
            return;
        }
        self.settings.push((name.to_owned(), sql.to_owned()));
    }

    /// COM_RESET_CONNECTION succeeded.
    pub fn reset(&mut self, autocommit: bool) {
        *self = Self::new(self.database.take(), autocommit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::classify::Assignment;

    fn set(name: &str, sql: Option<&str>, scope: Scope) -> Kind {
        Kind::Set {
            assignments: vec![Assignment {
                name: name.into(),
                scope,
                replay: sql.map(str::to_owned),
                value: None,
            }],
        }
    }

    #[test]
    fn the_last_setting_counts_and_comes_last() {
        let mut state = SessionState::new(None, true);
        state.did(&set("sql_mode", Some("SET sql_mode=''"), Scope::Session));
        state.did(&set("time_zone", Some("SET time_zone='+00:00'"), Scope::Session));
        state.did(&set("sql_mode", Some("SET sql_mode='ANSI'"), Scope::Session));
        state.did(&set("max_connections", Some("SET GLOBAL max_connections=5"), Scope::Global));
        assert_eq!(state.settings().collect::<Vec<_>>(), ["SET time_zone='+00:00'", "SET sql_mode='ANSI'"]);
        assert!(state.pins.is_empty());
        state.did(&set("sql_mode", None, Scope::Session));
        assert!(state.pins.contains(Pins::UNKNOWN_SET));
    }

    #[test]
    fn an_error_inside_a_transaction_leaves_no_residue() {
        let mut state = SessionState::new(None, true);
        state.may_leave_residue(true);
        assert!(!state.residue);
        state.may_leave_residue(false);
        assert!(state.residue);
        let mut state = SessionState::new(None, true);
        state.saw_status(&OkInfo::default());
        state.may_leave_residue(false);
        assert!(!state.residue, "with autocommit off everything is the client's transaction");
    }
}
