//! Owns the cached snapshot of Dolt's accounts and the verdict on a login.
//! Does not query: an `AccountSource` does.
//! Always: a refusal rests on a snapshot that was loaded after the login arrived. A pass may rest on an
//! older one: Dolt checks the same credentials again when the backend logs in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::native::{self, Stage1, StoredHash};
use super::{Account, Accounts, BackendHost, ClientHost, Denied};

/// What an `AccountSource` runs; `locked` is `account_locked = 'Y'`.
pub const ACCOUNTS_QUERY: &str =
    "SELECT User, Host, plugin, authentication_string, account_locked FROM mysql.user";

/// Reads all accounts; the control connection does.
pub trait AccountSource: Send + Sync {
    /// All rows of `ACCOUNTS_QUERY`, or why not, for the client. Bounded in time by itself.
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
    /// `user@host` of the account, as Dolt's `CURRENT_USER()` writes it.
    pub fn current_user(&self) -> String {
        format!("{}@{}", self.account.user, self.account.host)
    }

    /// Compares Dolt's `CURRENT_USER()` on the backend with the account that matched. If they differ,
    /// `Directory::authenticate_again` may still find the right account.
    pub fn check_current_user(&self, current_user: &str) -> Result<(), Denied> {
        let matched = self.current_user();
        if matched == current_user {
            return Ok(());
        }
        Err(Denied::AccountDiffers {
            user: self.user.clone(),
            matched,
            current_user: current_user.to_owned(),
        })
    }
}

/// The accounts of one Dolt server.
#[derive(Debug)]
pub struct Directory<S> {
    source: S,
    /// Loads begun since start.
    begun: AtomicU64,
    /// Held while a load runs: the others wait for its result.
    loading: tokio::sync::Mutex<()>,
    latest: Mutex<Latest>,
}

/// What the loads brought.
#[derive(Debug, Default)]
struct Latest {
    snapshot: Option<Snapshot>,
    /// The last load, if it failed: its number and why.
    failure: Option<(u64, String)>,
}

#[derive(Debug, Clone)]
struct Snapshot {
    /// Number of the load that brought it.
    load: u64,
    accounts: Arc<Accounts>,
}

impl<S: AccountSource> Directory<S> {
    /// Empty: the first login loads it.
    pub fn new(source: S) -> Self {
        Self {
            source,
            begun: AtomicU64::new(0),
            loading: tokio::sync::Mutex::default(),
            latest: Mutex::default(),
        }
    }

    /// The verdict on a login. Cancel-safe.
    pub async fn authenticate(&self, login: Login<'_>) -> Result<Verified, Denied> {
        let arrival = self.begun.load(Ordering::Acquire);
        let snapshot = match self.latest(|latest| latest.snapshot.clone()) {
            Some(snapshot) => snapshot,
            // Any snapshot will do for a pass, also of a load that is under way.
            None => self.load_newer_than(0, arrival).await?,
        };
        match judge(&snapshot.accounts, login) {
            Err(_) if snapshot.load <= arrival => {
                judge(&self.load_newer_than(arrival, arrival).await?.accounts, login)
            }
            verdict => verdict,
        }
    }

    /// The verdict by accounts as they are now: for a login whose backend turned out to be another
    /// account (`Verified::check_current_user`), which a stale snapshot explains.
    pub async fn authenticate_again(&self, login: Login<'_>) -> Result<Verified, Denied> {
        let arrival = self.begun.load(Ordering::Acquire);
        judge(&self.load_newer_than(arrival, arrival).await?.accounts, login)
    }

    /// A snapshot of a later load than `load`; loads only if the one that was waited for isn't later.
    /// A failure counts for those who arrived before it began, so that a queue doesn't try one by one.
    async fn load_newer_than(&self, load: u64, arrival: u64) -> Result<Snapshot, Denied> {
        let _loading = self.loading.lock().await;
        let waited_for = self.latest(|latest| match (&latest.snapshot, &latest.failure) {
            (Some(snapshot), _) if snapshot.load > load => Some(Ok(snapshot.clone())),
            (_, Some((failed, reason))) if *failed > arrival => Some(Err(reason.clone())),
            _ => None,
        });
        let result = match waited_for {
            Some(result) => result,
            None => self.load().await,
        };
        result.map_err(|reason| Denied::Unavailable { reason })
    }

    async fn load(&self) -> Result<Snapshot, String> {
        let load = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let result = self.source.load().await;
        self.latest(|latest| match result {
            Ok(accounts) => {
                let snapshot = Snapshot { load, accounts: Arc::new(Accounts::new(accounts)) };
                *latest = Latest { snapshot: Some(snapshot.clone()), failure: None };
                Ok(snapshot)
            }
            Err(reason) => {
                latest.failure = Some((load, reason.clone()));
                Err(reason)
            }
        })
    }

    fn latest<T>(&self, look: impl FnOnce(&mut Latest) -> T) -> T {
        look(&mut self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Does the same work for users that don't exist.
fn judge(accounts: &Accounts, login: Login<'_>) -> Result<Verified, Denied> {
    let credentials = || Denied::Credentials { user: login.user.to_owned() };
    let found = accounts.find(login.user, login.client_host);
    let stored = match found {
        // Only the log says why: the password can't be checked, so whoever it is may be a stranger, who must
        // not learn which accounts there are. Dolt itself says the plain 1045 as well.
        Some(account) if account.plugin != native::PLUGIN => {
            tracing::info!(
                ?account,
                "login refused: only mysql_native_password can be passed on to Dolt; run ALTER USER … IDENTIFIED \
                 WITH mysql_native_password BY …"
            );
            StoredHash::Nobody
        }
        Some(account) => StoredHash::parse(&account.authentication_string).unwrap_or_else(|_| {
            tracing::warn!(?account, "authentication_string is no mysql_native_password hash; login refused");
            StoredHash::Nobody
        }),
        None => StoredHash::Nobody,
    };
    let stage1 = native::verify(login.nonce, login.response, &stored).map_err(|_| credentials())?;
    let account = found.filter(|account| !account.locked).ok_or_else(credentials)?;
    let backend_host =
        accounts.backend_host(login.user, account).ok_or_else(|| unreachable(accounts, account))?;
    Ok(Verified { user: login.user.to_owned(), account: account.clone(), stage1, backend_host })
}

fn unreachable(accounts: &Accounts, account: &Account) -> Denied {
    let (user, host) = (account.user.clone(), account.host.clone());
    match accounts.shadowing(account) {
        Some(other) => Denied::Shadowed { user, host, local_host: other.host.clone() },
        None => Denied::BoundElsewhere { user, host },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::{Notify, Semaphore};

    use super::*;

    const NONCE: &[u8; 20] = b"0123456789abcdefghij";
    const PW: &str = "*D821809F681A40A6E379B50D0463EFAE20BDD122";

    /// Each load waits for a permit, then hands out what is in `accounts`.
    struct Source {
        accounts: Mutex<Result<Vec<Account>, String>>,
        loads: AtomicUsize,
        begun: Notify,
        permits: Semaphore,
    }

    impl Source {
        fn new(accounts: Vec<Account>, permits: usize) -> Arc<Self> {
            Arc::new(Self {
                accounts: Mutex::new(Ok(accounts)),
                loads: AtomicUsize::new(0),
                begun: Notify::new(),
                permits: Semaphore::new(permits),
            })
        }

        fn set(&self, accounts: Result<Vec<Account>, String>) {
            *self.accounts.lock().expect("not poisoned") = accounts;
        }

        fn loads(&self) -> usize {
            self.loads.load(Ordering::SeqCst)
        }
    }

    impl AccountSource for Arc<Source> {
        async fn load(&self) -> Result<Vec<Account>, String> {
            self.loads.fetch_add(1, Ordering::SeqCst);
            // What the query sees is fixed when it begins.
            let seen = self.accounts.lock().expect("not poisoned").clone();
            self.begun.notify_one();
            self.permits.acquire().await.expect("open").forget();
            seen
        }
    }

    fn account(user: &str, host: &str, hash: &str) -> Account {
        Account {
            user: user.to_owned(),
            host: host.to_owned(),
            plugin: native::PLUGIN.to_owned(),
            authentication_string: hash.to_owned(),
            locked: false,
        }
    }

    fn login<'a>(user: &'a str, response: &'a [u8]) -> Login<'a> {
        Login { user, client_host: ClientHost::Unix, nonce: NONCE, response }
    }

    fn pw() -> Vec<u8> {
        native::answer(NONCE, &Stage1::of_password("pw"))
    }

    fn credentials(user: &str) -> Denied {
        Denied::Credentials { user: user.to_owned() }
    }

    async fn join_all<T: 'static>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.expect("no panic"));
        }
        all
    }

    #[tokio::test]
    async fn fifty_logins_at_once_cost_one_query() {
        let source = Source::new(vec![account("root", "localhost", "")], 0);
        let directory = Arc::new(Directory::new(Arc::clone(&source)));
        let tasks = (0..50)
            .map(|_| {
                let directory = Arc::clone(&directory);
                tokio::spawn(async move { directory.authenticate(login("root", b"")).await.map(|_| ()) })
            })
            .collect();
        source.begun.notified().await;
        source.permits.add_permits(50);
        assert_eq!(join_all(tasks).await, vec![Ok(()); 50]);
        assert_eq!(source.loads(), 1);
        directory.authenticate(login("root", b"")).await.expect("from the snapshot");
        assert_eq!(source.loads(), 1);
    }

    #[tokio::test]
    async fn fifty_wrong_passwords_at_once_cost_one_query_more() {
        let source = Source::new(vec![account("x", "%", PW)], 1);
        let directory = Arc::new(Directory::new(Arc::clone(&source)));
        directory.authenticate(login("x", &pw())).await.expect("right");
        let tasks = (0..50)
            .map(|_| {
                let directory = Arc::clone(&directory);
                tokio::spawn(async move { directory.authenticate(login("x", b"wrong")).await.map(|_| ()) })
            })
            .collect();
        source.begun.notified().await;
        // The first is in its query; the others arrive behind it and share the next.
        tokio::task::yield_now().await;
        source.permits.add_permits(50);
        assert_eq!(join_all(tasks).await, vec![Err(credentials("x")); 50]);
        assert!(source.loads() <= 3, "{} loads", source.loads());
    }

    #[tokio::test]
    async fn a_refusal_sees_an_account_made_just_before_the_login() {
        let source = Source::new(vec![], 100);
        let directory = Directory::new(Arc::clone(&source));
        assert_eq!(directory.authenticate(login("x", &pw())).await.err(), Some(credentials("x")));
        assert_eq!(source.loads(), 1, "loaded after the login arrived: final");
        source.set(Ok(vec![account("x", "%", PW)]));
        let verified = directory.authenticate(login("x", &pw())).await.expect("there now");
        assert_eq!(verified.current_user(), "x@%");
        assert_eq!(source.loads(), 2);
    }

    #[tokio::test]
    async fn a_refusal_does_not_rest_on_a_query_begun_before_the_login() {
        let source = Source::new(vec![], 0);
        let directory = Arc::new(Directory::new(Arc::clone(&source)));
        let early = tokio::spawn({
            let directory = Arc::clone(&directory);
            async move { directory.authenticate(login("x", &pw())).await.map(|_| ()) }
        });
        source.begun.notified().await;
        source.set(Ok(vec![account("x", "%", PW)]));
        let late = tokio::spawn({
            let directory = Arc::clone(&directory);
            async move { directory.authenticate(login("x", &pw())).await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        source.permits.add_permits(10);
        assert_eq!(early.await.expect("no panic"), Err(credentials("x")));
        assert_eq!(late.await.expect("no panic"), Ok(()));
    }

    #[tokio::test]
    async fn a_failed_query_is_told_and_tried_again() {
        let source = Source::new(vec![], 100);
        source.set(Err("Dolt is restarting since 3 s".to_owned()));
        let directory = Directory::new(Arc::clone(&source));
        let denied = directory.authenticate(login("root", b"")).await.expect_err("no accounts");
        assert_eq!(denied, Denied::Unavailable { reason: "Dolt is restarting since 3 s".to_owned() });
        source.set(Ok(vec![account("root", "localhost", "")]));
        directory.authenticate(login("root", b"")).await.expect("back");
    }

    #[tokio::test]
    async fn a_login_that_goes_away_does_not_hold_up_the_next() {
        let source = Source::new(vec![account("root", "localhost", "")], 0);
        let directory = Arc::new(Directory::new(Arc::clone(&source)));
        let gone = tokio::spawn({
            let directory = Arc::clone(&directory);
            async move { directory.authenticate(login("root", b"")).await.map(|_| ()) }
        });
        source.begun.notified().await;
        gone.abort();
        assert!(gone.await.expect_err("aborted").is_cancelled());
        source.permits.add_permits(1);
        directory.authenticate(login("root", b"")).await.expect("its own query");
    }

    #[tokio::test]
    async fn refusals_say_what_to_do_only_after_the_password() {
        let mut locked = account("locked", "%", PW);
        locked.locked = true;
        let mut sha2 = account("sha2", "%", "$A$005$x");
        sha2.plugin = "caching_sha2_password".to_owned();
        let all = vec![locked, sha2, account("far", "10.9.9.9", PW), account("broken", "%", "*123")];
        let all = [all, vec![account("two", "%", PW), account("two", "localhost", PW)]].concat();
        let directory = Directory::new(Source::new(all, 100));
        let far = ClientHost::Ip("10.9.9.9".parse().expect("an address"));
        let pw = pw();
        for (user, client_host, response, want) in [
            ("nobody", ClientHost::Unix, &pw[..], "Access denied for user 'nobody'"),
            ("locked", ClientHost::Unix, &pw, "Access denied for user 'locked'"),
            ("broken", ClientHost::Unix, &pw, "Access denied for user 'broken'"),
            ("far", ClientHost::Unix, &pw, "Access denied for user 'far'"),
            ("far", far, b"wrong", "Access denied for user 'far'"),
            (
                "far",
                far,
                &pw,
                "Access denied for user 'far': account 'far'@'10.9.9.9' is bound to that host, and Branchline \
                 reaches Dolt only from localhost; make it an account for '%', with the same grants: \
                 DROP USER 'far'@'10.9.9.9'; CREATE USER 'far'@'%' IDENTIFIED BY '<password>'",
            ),
            ("sha2", ClientHost::Unix, &pw, "Access denied for user 'sha2'"),
            (
                "two",
                far,
                &pw,
                "Access denied for user 'two': this client is account 'two'@'%', but Branchline reaches Dolt only \
                 from localhost, where Dolt takes this user for account 'two'@'localhost'; make it an account of \
                 another name, with the same grants, and log in as that: \
                 CREATE USER 'two_remote'@'%' IDENTIFIED BY '<password>'",
            ),
            ("two", far, b"wrong", "Access denied for user 'two'"),
        ] {
            let login = Login { user, client_host, nonce: NONCE, response };
            let denied = directory.authenticate(login).await.expect_err("refused");
            assert_eq!(
                (denied.to_string().as_str(), denied.code(), denied.sql_state()),
                (want, 1045, "28000")
            );
        }
    }

    #[tokio::test]
    async fn another_account_at_dolt_is_refused_by_name() {
        let directory = Directory::new(Source::new(vec![account("x", "%", PW)], 100));
        let verified = directory.authenticate(login("x", &pw())).await.expect("right");
        assert_eq!(verified.check_current_user("x@%"), Ok(()));
        let denied = verified.check_current_user("x@localhost").expect_err("another");
        assert!(
            denied.to_string().contains("x@%,") && denied.to_string().contains("x@localhost"),
            "{denied}"
        );
    }
}
