//! Owns the texts of refused logins.
//! Does not decide: `directory` does.
//! Advises nothing that Dolt lacks (RENAME USER).
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
    /// The account is bound to a host that Branchline cannot log in to Dolt from, and the user has no other
    /// account at localhost.
    #[error(
        "Access denied for user '{user}': account '{user}'@'{host}' is bound to that host, and Branchline reaches \
         Dolt only from localhost; make it an account for '%', with the same grants: \
         DROP USER '{user}'@'{host}'; CREATE USER '{user}'@'%' IDENTIFIED BY '<password>'"
    )]
    BoundElsewhere {
        /// User name of the account.
        user: String,
        /// Host of the account.
        host: String,
    },
    /// The account can't be reached because the user has another one for localhost, from where we come.
    #[error(
        "Access denied for user '{user}': this client is account '{user}'@'{host}', but Branchline reaches Dolt only \
         from localhost, where Dolt takes this user for account '{user}'@'{local_host}'; make it an \
         account of another name, with the same grants, and log in as that: \
         CREATE USER '{user}_remote'@'%' IDENTIFIED BY '<password>'"
    )]
    Shadowed {
        /// User name of both accounts.
        user: String,
        /// Host of the account that matched.
        host: String,
        /// Host of the account that Dolt takes instead.
        local_host: String,
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
