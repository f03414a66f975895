//! Owns the texts of refused logins.
//! Does not decide: `directory` does.
//! Always: before the password was verified, an unknown user and a wrong password read the same.

use thiserror::Error;

/// Why a login is refused. `Display` is what the client may be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denied {
    /// No such account for this client, or a wrong password: Dolt's own words, which name no host.
    #[error("Access denied for user '{user}'")]
    Credentials {
        /// User name as sent.
        user: String,
    },
    /// The account authenticates with something that can't be passed on to Dolt.
    #[error(
        "Access denied for user '{user}': account '{user}'@'{host}' uses {plugin}, which Branchline cannot \
         pass on to Dolt; run: ALTER USER '{user}'@'{host}' IDENTIFIED WITH mysql_native_password BY '<password>'"
    )]
    Plugin {
        /// User name of the account.
        user: String,
        /// Host of the account.
        host: String,
        /// Its plugin.
        plugin: String,
    },
    /// The account is bound to a host that Branchline cannot log in to Dolt from.
    #[error(
        "Access denied for user '{user}': account '{user}'@'{host}' is bound to that host, and Branchline reaches \
         Dolt only from localhost; use an account for '%' or 'localhost', e.g. run: \
         RENAME USER '{user}'@'{host}' TO '{user}'@'%'"
    )]
    BoundElsewhere {
        /// User name of the account.
        user: String,
        /// Host of the account.
        host: String,
    },
    /// Dolt logged us in as another account than the one that matched here.
    #[error(
        "Access denied for user '{user}': this client is account {matched}, but Dolt takes Branchline's login for \
         {current_user}; drop one of the two accounts or give them different user names"
    )]
    AccountDiffers {
        /// User name as sent.
        user: String,
        /// The account that matched the client.
        matched: String,
        /// What Dolt's CURRENT_USER() says.
        current_user: String,
    },
    /// Dolt's accounts could not be read.
    #[error("Branchline cannot read Dolt's accounts now: {reason}")]
    Unavailable {
        /// What the control connection said.
        reason: String,
    },
}

impl Denied {
    /// MySQL error code.
    pub fn code(&self) -> u16 {
        match self {
            Denied::Unavailable { .. } => 1105,
            _ => 1045,
        }
    }

    /// SQL state that goes with the code.
    pub fn sql_state(&self) -> &'static str {
        match self {
            Denied::Unavailable { .. } => "HY000",
            _ => "28000",
        }
    }
}
