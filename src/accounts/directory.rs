//! Owns the cached snapshot of Dolt's accounts and the verdict on a login.
//! Does not query: an `AccountSource` does.
//! Always: a refusal rests on a snapshot that was loaded after the login arrived.

use super::{Account, Accounts, BackendHost, ClientHost, Denied, Stage1};

/// What an `AccountSource` runs.
pub const ACCOUNTS_QUERY: &str = "SELECT User, Host, plugin, authentication_string FROM mysql.user";

/// Reads all accounts; the control connection does.
pub trait AccountSource: Send + Sync {
    /// All rows of `ACCOUNTS_QUERY`, or why not, for the client.
    fn load(&self) -> impl Future<Output = Result<Vec<Account>, String>> + Send;
}

/// A client's answer to our nonce.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// User name as sent (after `user_separator`).
    pub user: &'a str,
    /// Where from.
    pub client_host: ClientHost,
    /// Our nonce.
    pub nonce: &'a [u8; 20],
    /// The client's mysql_native_password answer; empty for an empty password.
    pub response: &'a [u8],
}

/// A login that proved its password.
#[derive(Debug, Clone)]
pub struct Verified {
    /// User name to log in to Dolt with (differs from `account.user` for the anonymous account).
    pub user: String,
    /// The account that matched.
    pub account: Account,
    /// For `native::answer` to Dolt's nonce.
    pub stage1: Stage1,
    /// Which way to Dolt.
    pub backend_host: BackendHost,
}

impl Verified {
    /// Compares Dolt's `CURRENT_USER()` on the backend with the account that matched.
    pub fn check_current_user(&self, _current_user: &str) -> Result<(), Denied> {
        todo!()
    }
}

/// The accounts of one Dolt server.
#[derive(Debug)]
pub struct Directory<S> {
    source: S,
}

impl<S: AccountSource> Directory<S> {
    /// Empty: the first login loads it.
    pub fn new(source: S) -> Self {
        Self { source }
    }

    /// The verdict on a login. Cancel-safe.
    pub async fn authenticate(&self, _login: Login<'_>) -> Result<Verified, Denied> {
        let _ = &self.source;
        todo!()
    }
}
