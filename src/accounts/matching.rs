//! Owns the choice of the account for a login, and of the way to Dolt that yields the same account.
//! Does not verify passwords and does not ask Dolt.
//! Always: the same snapshot gives the same answer.

use std::fmt;
use std::net::IpAddr;

/// One row of `mysql.user`.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// User name, empty for the anonymous account.
    pub user: String,
    /// Host or pattern, as in `user@'10.1.%'`.
    pub host: String,
    /// Authentication plugin.
    pub plugin: String,
    /// Hash of the password, in the plugin's format.
    pub authentication_string: String,
}

/// Where a login comes from, as far as accounts care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientHost {
    /// Our unix socket: `localhost`.
    Unix,
    /// TCP from this address.
    Ip(IpAddr),
}

/// How to log in to Dolt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendHost {
    /// Over Dolt's unix socket: Dolt sees `localhost`.
    Socket,
    /// Over TCP from 127.0.0.1: Dolt sees `localhost`, and patterns such as `127.0.0.%` match too.
    Loopback,
}

/// A snapshot of all accounts.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    accounts: Vec<Account>,
}

impl Accounts {
    /// From the rows of `mysql.user`, in any order.
    pub fn new(accounts: Vec<Account>) -> Self {
        Self { accounts }
    }

    /// The account for a login: the user's own before the anonymous one, the most specific host first.
    pub fn find(&self, _user: &str, _client_host: ClientHost) -> Option<&Account> {
        todo!()
    }

    /// Which way to Dolt makes it take `user` for `account`; None if neither does.
    pub fn backend_host(&self, _user: &str, _account: &Account) -> Option<BackendHost> {
        todo!()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'@'{}' ({})", self.user, self.host, self.plugin)
    }
}
