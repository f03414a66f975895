//! Owns the choice of the account for a login, and of the way to Dolt that yields the same account.
//! Does not verify passwords and does not ask Dolt.
//! Always: the same snapshot gives the same answer, whatever the order of its rows.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const LOCALHOST: &str = "localhost";

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
    /// `account_locked` is `Y`: nobody may log in with it.
    pub locked: bool,
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
    /// Most specific host first.
    accounts: Vec<Account>,
}

impl Accounts {
    /// From the rows of `mysql.user`, in any order.
    pub fn new(mut accounts: Vec<Account>) -> Self {
        accounts.sort_by(|a, b| specificity(&a.host).cmp(&specificity(&b.host)));
        Self { accounts }
    }

    /// The account for a login. As Dolt: `user@localhost` for whoever is local, then the user's other
    /// accounts, then the anonymous ones. Where Dolt takes the first that was created, MySQL's order
    /// holds here: the most specific host first; the caller compares with Dolt's `CURRENT_USER()`.
    pub fn find(&self, user: &str, client_host: ClientHost) -> Option<&Account> {
        self.matching(user, &HostNames::of(client_host)).into_iter().next()
    }

    /// Which way to Dolt makes it take `user` (the name as sent) for `account`; None if neither does.
    /// A way on which no other account of the user matches comes first: there Dolt has no choice.
    pub fn backend_host(&self, user: &str, account: &Account) -> Option<BackendHost> {
        let ways = [
            (BackendHost::Socket, ClientHost::Unix),
            (BackendHost::Loopback, ClientHost::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        ];
        let usable = ways.into_iter().filter_map(|(way, host)| {
            let matching = self.matching(user, &HostNames::of(host));
            matching.contains(&account).then_some((matching.len(), way))
        });
        usable.min_by_key(|(others, _)| *others).map(|(_, way)| way)
    }

    /// For an account that no way leads to: the account of the same user name that Dolt takes instead.
    pub fn shadowing(&self, account: &Account) -> Option<&Account> {
        let local = [ClientHost::Unix, ClientHost::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let found = local.into_iter().find_map(|host| self.find(&account.user, host))?;
        (found.user == account.user).then_some(found)
    }

    /// Accounts of snapshot order among which Dolt would choose.
    fn matching(&self, user: &str, client: &HostNames) -> Vec<&Account> {
        let of = |user: &str| self.accounts.iter().filter(move |account| account.user == user).collect();
        let own: Vec<&Account> = of(user);
        if let Some(exact) = own.iter().find(|account| account.host == client.name) {
            return vec![exact];
        }
        let own: Vec<&Account> = own.into_iter().filter(|account| client.matches(&account.host)).collect();
        if !own.is_empty() || user.is_empty() {
            return own;
        }
        let anonymous: Vec<&Account> = of("");
        anonymous.into_iter().filter(|account| client.matches(&account.host)).collect()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = if self.locked { ", locked" } else { "" };
        write!(f, "'{}'@'{}' ({}{locked})", self.user, self.host, self.plugin)
    }
}

/// Sorts first what is more specific, as MySQL does: names without a wildcard, then those whose
/// first wildcard comes later.
fn specificity(host: &str) -> impl Ord + use<'_> {
    let wildcard = host.find('%').unwrap_or(usize::MAX);
    (Reverse(wildcard), Reverse(host.len()), host)
}

/// What Dolt compares account hosts with (`GetUser` in go-mysql-server): its loopback addresses are
/// `localhost`, but patterns see the address too.
struct HostNames {
    name: String,
    address: Option<String>,
}

impl HostNames {
    fn of(client: ClientHost) -> Self {
        match client {
            ClientHost::Unix => Self { name: LOCALHOST.to_owned(), address: None },
            ClientHost::Ip(ip) => {
                let ip = ip.to_canonical();
                let address = ip.to_string();
                if ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST) {
                    Self { name: LOCALHOST.to_owned(), address: Some(address) }
                } else {
                    Self { name: address, address: None }
                }
            }
        }
    }

    fn matches(&self, host: &str) -> bool {
        host == self.name
            || (self.name == LOCALHOST && (host == "127.0.0.1" || host == "::1"))
            || like(host, &self.name)
            || self.address.as_deref().is_some_and(|address| like(host, address))
    }
}

/// Dolt's host patterns: `%` is any text; `_`, netmasks and case-insensitivity are not supported.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('%');
    let Some(first) = parts.next() else { return false };
    let Some(last) = parts.next_back() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Account {
        let (user, host) = text.split_once('@').expect("user@host");
        Account {
            user: user.to_owned(),
            host: host.to_owned(),
            plugin: "mysql_native_password".to_owned(),
            authentication_string: String::new(),
            locked: false,
        }
    }

    fn accounts(all: &[&str]) -> Accounts {
        Accounts::new(all.iter().map(|text| account(text)).collect())
    }

    fn ip(text: &str) -> ClientHost {
        ClientHost::Ip(text.parse().expect("an address"))
    }

    #[test]
    fn the_most_specific_account_is_found_in_any_order() {
        let unix = ClientHost::Unix;
        for (all, user, client, want) in [
            (&["x@%"][..], "x", unix, Some("x@%")),
            (&["x@%", "x@localhost"], "x", unix, Some("x@localhost")),
            (&["x@%", "x@localhost"], "x", ip("127.0.0.1"), Some("x@localhost")),
            (&["x@%", "x@localhost"], "x", ip("::1"), Some("x@localhost")),
            (&["x@%", "x@localhost"], "x", ip("::ffff:127.0.0.1"), Some("x@localhost")),
            (&["x@%", "x@localhost"], "x", ip("10.1.2.3"), Some("x@%")),
            (&["x@%", "x@10.%", "x@10.1.%", "x@10.1.2.3"], "x", ip("10.1.2.3"), Some("x@10.1.2.3")),
            (&["x@%", "x@10.%", "x@10.1.%", "x@10.1.2.3"], "x", ip("10.1.2.4"), Some("x@10.1.%")),
            (&["x@%", "x@10.%", "x@10.1.%", "x@10.1.2.3"], "x", ip("10.2.2.4"), Some("x@10.%")),
            (&["x@%", "x@10.%", "x@10.1.%", "x@10.1.2.3"], "x", unix, Some("x@%")),
            (&["x@127.0.0.%"], "x", ip("127.0.0.1"), Some("x@127.0.0.%")),
            (&["x@127.0.0.%"], "x", unix, None),
            (&["x@127.0.0.1"], "x", unix, Some("x@127.0.0.1")),
            (&["x@10.1.2.3"], "x", ip("10.1.2.30"), None),
            (&["x@10.1.0.0/255.255.0.0"], "x", ip("10.1.2.3"), None),
            (&["x@10.1.2._"], "x", ip("10.1.2.3"), None),
            (&["X@%"], "x", unix, None),
            // Dolt prefers the user's own account to a more specific anonymous one; MySQL doesn't.
            (&["@localhost", "x@%"], "x", unix, Some("x@%")),
            (&["@localhost", "x@10.1.2.3"], "x", unix, Some("@localhost")),
            (&["@%"], "whoever", ip("10.1.2.3"), Some("@%")),
            (&["@%"], "", unix, Some("@%")),
            (&["x@"], "x", unix, None),
            (&[], "x", unix, None),
        ] {
            let mut reversed = all.to_vec();
            reversed.reverse();
            for all in [all, &reversed] {
                let accounts = accounts(all);
                assert_eq!(
                    accounts.find(user, client),
                    want.map(account).as_ref(),
                    "{user} from {client:?} in {all:?}"
                );
            }
        }
    }

    #[test]
    fn the_way_to_dolt_yields_the_same_account() {
        use BackendHost::{Loopback, Socket};
        for (all, user, which, want) in [
            (&["x@%"][..], "x", "x@%", Some(Socket)),
            (&["x@localhost"], "x", "x@localhost", Some(Socket)),
            (&["x@127.0.0.1"], "x", "x@127.0.0.1", Some(Socket)),
            (&["x@::1"], "x", "x@::1", Some(Socket)),
            (&["x@10.1.2.3"], "x", "x@10.1.2.3", None),
            (&["x@127.0.0.%"], "x", "x@127.0.0.%", Some(Loopback)),
            // From elsewhere `%` matched, but Dolt always takes localhost for us.
            (&["x@%", "x@localhost"], "x", "x@%", None),
            (&["x@%", "x@localhost"], "x", "x@localhost", Some(Socket)),
            // On the socket only `%` matches; on loopback Dolt takes the one created first.
            (&["x@%", "x@127.0.0.%"], "x", "x@%", Some(Socket)),
            (&["x@%", "x@127.0.0.%"], "x", "x@127.0.0.%", Some(Loopback)),
            (&["x@%", "x@10.1.%"], "x", "x@10.1.%", None),
            (&["@localhost"], "x", "@localhost", Some(Socket)),
            (&["@%"], "x", "@%", Some(Socket)),
            (&["@localhost", "x@%"], "x", "@localhost", None),
        ] {
            assert_eq!(
                accounts(all).backend_host(user, &account(which)),
                want,
                "{which} for {user} in {all:?}"
            );
        }
    }

    #[test]
    fn what_dolt_takes_instead() {
        for (all, which, want) in [
            (&["x@%", "x@localhost"][..], "x@%", Some("x@localhost")),
            (&["x@%", "x@10.1.2.3"], "x@10.1.2.3", Some("x@%")),
            (&["x@127.0.0.%", "x@10.1.2.3"], "x@10.1.2.3", Some("x@127.0.0.%")),
            (&["x@10.1.2.3"], "x@10.1.2.3", None),
            (&["@localhost", "x@10.1.2.3"], "x@10.1.2.3", None),
            (&["@localhost", "@%"], "@%", Some("@localhost")),
        ] {
            let accounts = accounts(all);
            assert_eq!(accounts.shadowing(&account(which)), want.map(account).as_ref(), "{which} in {all:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("%", "", true),
            ("%", "10.0.0.1", true),
            ("10.%", "10.0.0.1", true),
            ("10.%", "110.0.0.1", false),
            ("%.1", "10.0.0.1", true),
            ("10.%.1", "10.1", false),
            ("10.%.%.1", "10.0.0.1", true),
            ("1%1", "1", false),
            ("a%b%b", "ab", false),
            ("a%b%b", "abxb", true),
            ("localhost", "localhost", false),
        ] {
            assert_eq!(like(pattern, text), want, "{pattern} ~ {text}");
        }
    }
}
