//! What all sessions share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::peer::PeerProcesses;
use super::route::AssignedRules;
use crate::accounts::directory::ACCOUNTS_QUERY;
use crate::accounts::{Account, AccountSource, Directory};
use crate::admit::Lanes;
use crate::branch::vanished::Vanished;
use crate::branch::{Book, Branches, Forks, Gates};
use crate::catalog::Catalog;
use crate::clients::Clients;
use crate::config::Config;
use crate::dolt::journal::Journals;
use crate::dolt::{Control, Dolt};
use crate::observe::alerts::Alerts;
use crate::observe::audit::AuditLog;
use crate::observe::bypass::Bypass;
use crate::pool::Pool;
use crate::remote::Remotes;
use crate::remote::backup::Backups;
use crate::statement::transaction::LogBudget;

/// What all sessions share.
#[derive(Debug)]
pub struct Context {
    /// Settings.
    pub config: Config,
    /// The Dolt behind us.
    pub dolt: Dolt,
    /// Backends.
    pub pool: Pool,
    /// Live clients.
    pub clients: Arc<Clients>,
    /// Dolt's accounts.
    pub accounts: Directory<ControlAccounts>,
    /// Peers' processes.
    pub peers: PeerProcesses,
    /// Databases and branches.
    pub branches: Arc<Branches>,
    /// Forks under way.
    pub forks: Forks,
    /// What is remembered of branches.
    pub book: Arc<Book>,
    /// Branches that are closed while they are finished or dropped.
    pub gates: Gates,
    /// Branches that were deleted past Branchline's own commands.
    pub vanished: Vanished,
    /// What goes to and comes from git remotes.
    pub remotes: Arc<Remotes>,
    /// What is known of backups.
    pub backups: Arc<Backups>,
    /// What is wrong with remotes and backups, and who is told.
    pub alerts: Alerts,
    /// What merges decided.
    pub audit: AuditLog,
    /// Rules assigned at run time.
    pub assigned: AssignedRules,
    /// What names mean.
    pub catalog: Catalog,
    /// Write lanes.
    pub lanes: Lanes,
    /// Logs of all open transactions.
    pub logs: LogBudget,
    /// Roots of the databases, if their files are ours to look at.
    pub journals: Option<Journals>,
    /// Who else writes, if the files are ours to look at.
    pub bypass: Option<Bypass>,
    /// Cancelled when sessions should end as soon as they are idle.
    pub drain: CancellationToken,
}

/// Reads `mysql.user` through the control connection.
#[derive(Debug)]
pub struct ControlAccounts(pub Control);

impl AccountSource for ControlAccounts {
    async fn load(&self) -> Result<Vec<Account>, String> {
        let rows = self.0.rows(ACCOUNTS_QUERY, Vec::new()).await.map_err(|error| error.to_string())?;
        let accounts = rows.into_iter().filter_map(|row| {
            let (user, host, plugin, authentication_string, locked) =
                mysql_async::from_row_opt::<(String, String, String, Option<String>, Option<String>)>(row)
                    .ok()?;
            let authentication_string = authentication_string.unwrap_or_default();
            let locked = locked.is_some_and(|locked| locked.eq_ignore_ascii_case("y"));
            Some(Account { user, host, plugin, authentication_string, locked })
        });
        Ok(accounts.collect())
    }
}
