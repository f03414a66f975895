//! Owns which URLs are taken for remotes, in the form that Dolt stores, and how they are shown.
//! Does not connect. Always: a `RemoteUrl` names a git repository, holds nothing that git, ssh or a shell would take for
//! an option or a command, and prints without its credentials.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

/// Longest URL that is taken.
const BYTES_MAX: usize = 2048;

/// What may be written; part of every refusal of a URL.
const ALLOWED: &str = "git+ssh://[user@]host/path, git+https://host/path, git+http:// to this machine, git+file:///path, \
     ssh://, https://, file:///path, or user@host:path";

/// The URL of a git repository, as Dolt stores it in `dolt_remotes`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteUrl {
    transport: Transport,
    /// As Dolt has it: `git+https://…`.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Transport {
    Ssh,
    Https,
    Http,
    File,
}

/// Why a text is not taken for a remote's URL. Shows nothing of a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; a remote's URL is {ALLOWED}")]
pub struct UrlError {
    what: String,
}

/// What `is_remote_name` takes.
pub const NAME_ALLOWED: &str = "letters, digits, - _ and ., at most 64, beginning with a letter or digit";

/// Whether a remote may be called so: nothing that git takes for an option or a path.
pub fn is_remote_name(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_fit)
}

impl UrlError {
    /// What is wrong with it.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What would be taken.
    pub fn allowed(&self) -> &'static str {
        ALLOWED
    }
}

fn refuse<T>(what: impl Into<String>) -> Result<T, UrlError> {
    Err(UrlError { what: what.into() })
}

impl RemoteUrl {
    /// Checks it and brings it into Dolt's form.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return refuse("the URL is empty");
        }
        if text.len() > BYTES_MAX {
            return refuse(format!("the URL has {} bytes, at most {BYTES_MAX} are taken", text.len()));
        }
        let strange = |c: &char| c.is_whitespace() || c.is_control() || "'\"`\\$;|&<>(){}*!^".contains(*c);
        if let Some(c) = text.chars().find(strange) {
            return refuse(format!("the URL has {c:?} in it, which must be percent-encoded"));
        }
        if let Some(c) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return refuse(format!("the URL has {c:?} in it: a query or fragment means nothing to git"));
        }
        if text.starts_with('-') {
            return refuse("the URL begins with -, as an option does");
        }
        match text.split_once("://") {
            // `ext::sh -c …` and other helpers of git run programs.
            _ if helper(text) => {
                refuse("git's transport helpers (name::address) run programs and are not taken")
            }
            Some((scheme, rest)) => Self::with_scheme(scheme, rest),
            None => Self::scp_like(text),
        }
    }

    fn with_scheme(scheme: &str, rest: &str) -> Result<Self, UrlError> {
        let lower = scheme.to_ascii_lowercase();
        let transport = match lower.strip_prefix("git+").unwrap_or(&lower) {
            "ssh" => Transport::Ssh,
            "https" => Transport::Https,
            "http" if lower.starts_with("git+") => Transport::Http,
            "http" => {
                return refuse("http:// is not encrypted and taken only as git+http://, to this machine");
            }
            "file" => Transport::File,
            _ => return refuse(format!("{} is no scheme of a git remote", printable(scheme))),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if transport == Transport::File {
            if !authority.is_empty() {
                return refuse("a file URL names an absolute path after three slashes, and no host");
            }
        } else {
            check_authority(transport, authority)?;
        }
        if path.trim_matches('/').is_empty() {
            return refuse("the URL has no path to a repository");
        }
        if path.split('/').any(|part| part.starts_with('-')) {
            return refuse("a part of the path begins with -, as an option does");
        }
        Ok(Self { transport, text: format!("{}{authority}{path}", transport.scheme()) })
    }

    /// `git@host:path`
    fn scp_like(text: &str) -> Result<Self, UrlError> {
        let Some((authority, path)) = text.split_once(':') else {
            return refuse(format!("{} is no URL", printable(text)));
        };
        if authority.is_empty() || authority.contains('/') {
            return refuse(format!("{} is no URL", printable(text)));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/./{path}") };
        Self::with_scheme("git+ssh", &format!("{authority}{path}"))
    }

    /// With credentials, if there are any: only for Dolt and git themselves.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// As git itself takes it.
    pub fn for_git(&self) -> String {
        let plain = self.text.trim_start_matches("git+");
        match plain.strip_prefix("ssh://").and_then(|rest| rest.split_once("/./")) {
            // A path from the account's home; a URL can't say that to every server.
            Some((authority, path)) if !authority.contains(':') => format!("{authority}:{path}"),
            _ => plain.to_owned(),
        }
    }

    /// The same for every way to write the same repository, as far as that can be told.
    pub fn repository(&self) -> String {
        let rest = &self.text[self.transport.scheme().len()..];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if self.transport == Transport::File {
            let there = std::fs::canonicalize(Path::new(path));
            return there
                .map_or_else(|_| path.trim_end_matches('/').to_owned(), |path| path.display().to_string());
        }
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase();
        let usual = match self.transport {
            Transport::Ssh => ":22",
            Transport::Https => ":443",
            Transport::Http => ":80",
            Transport::File => "",
        };
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let path = parts.join("/");
        let host = host.strip_suffix(usual).unwrap_or(&host);
        format!("{host}/{}", path.strip_suffix(".git").unwrap_or(&path))
    }

    /// `text` of an error without this URL's credentials, and without those of any other URL in it.
    pub fn hide_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(user_info) = self.user_info().filter(|_| self.transport != Transport::Ssh) {
            let password = user_info.split_once(':').map(|(_, password)| password);
            for secret in [Some(user_info), password].into_iter().flatten().filter(|secret| secret.len() > 3)
            {
                text = text.replace(secret, "***");
            }
        }
        crate::observe::redact::urls(&text)
    }

    /// Whether it holds what nobody else may read.
    pub fn has_credentials(&self) -> bool {
        self.transport != Transport::Ssh && self.user_info().is_some()
    }

    fn user_info(&self) -> Option<&str> {
        let rest = &self.text[self.transport.scheme().len()..];
        rest.split('/').next()?.rsplit_once('@').map(|(user_info, _)| user_info)
    }
}

impl Transport {
    fn scheme(self) -> &'static str {
        match self {
            Self::Ssh => "git+ssh://",
            Self::Https => "git+https://",
            Self::Http => "git+http://",
            Self::File => "git+file://",
        }
    }
}

/// `git+https://***@host/path`; the account of ssh is no secret.
impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user_info() {
            Some(user_info) if self.transport != Transport::Ssh => {
                f.write_str(&self.text.replacen(user_info, "***", 1))
            }
            _ => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteUrl({self})")
    }
}

fn check_authority(transport: Transport, authority: &str) -> Result<(), UrlError> {
    let (user_info, host) = match authority.rsplit_once('@') {
        Some((user_info, host)) => (Some(user_info), host),
        None => (None, authority),
    };
    if let Some(user_info) = user_info {
        if user_info.is_empty() || user_info.starts_with('-') || user_info.contains('@') {
            return refuse("what stands before the host is no account");
        }
        if transport == Transport::Ssh && user_info.contains(':') {
            return refuse(
                "ssh takes no password from a URL: use a key that needs no passphrase, or an agent",
            );
        }
    }
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return refuse("the port is no number from 1 to 65535");
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if name.is_empty() || name.starts_with('-') || !name.chars().all(is_name) {
        return refuse(format!("{} is no host", printable(name)));
    }
    let is_loopback =
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if transport == Transport::Http && !is_loopback {
        return refuse(format!("git+http:// is not encrypted and taken only to this machine, not to {name}"));
    }
    Ok(())
}

/// `name::address`
fn helper(text: &str) -> bool {
    text.split_once("::").is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))
    })
}

/// Short, and nothing that may be a credential.
fn printable(text: &str) -> String {
    match text.contains('@') {
        true => "this".to_owned(),
        false => format!("{:?}", crate::observe::redact::cut(text, 60)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_taken_and_how_dolt_has_it() {
        for (text, dolt, git) in [
            ("git@h:a/b.git", "git+ssh://git@h/./a/b.git", "git@h:a/b.git"),
            ("git@h:/a/b.git", "git+ssh://git@h/a/b.git", "ssh://git@h/a/b.git"),
            ("git@h:a/b", "git+ssh://git@h/./a/b", "git@h:a/b"),
            ("ssh://git@h:22/a", "git+ssh://git@h:22/a", "ssh://git@h:22/a"),
            ("HTTPS://h/a.git", "git+https://h/a.git", "https://h/a.git"),
            ("git+https://u:p@h:443/a", "git+https://u:p@h:443/a", "https://u:p@h:443/a"),
            (
                "git+http://127.0.0.1:8080/a.git",
                "git+http://127.0.0.1:8080/a.git",
                "http://127.0.0.1:8080/a.git",
            ),
            ("git+http://[::1]/a", "git+http://[::1]/a", "http://[::1]/a"),
            ("file:///tmp/x", "git+file:///tmp/x", "file:///tmp/x"),
            ("git+file:///tmp/x.git", "git+file:///tmp/x.git", "file:///tmp/x.git"),
        ] {
            let url = RemoteUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.reveal(), url.for_git().as_str()), (dolt, git), "{text}");
            assert_eq!(RemoteUrl::parse(dolt).as_ref(), Ok(&url), "what Dolt stores is taken as it is");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for (text, want) in [
            ("", "is empty"),
            ("git+https://h/a b", "percent-encoded"),
            ("git+https://h/a'b", "percent-encoded"),
            ("--upload-pack=touch", "begins with -"),
            ("git+ssh://-oProxyCommand=x/a", "is no host"),
            ("git+ssh://-oProxyCommand=x@h/a", "no account"),
            ("-oProxyCommand=x:a", "begins with -"),
            ("git@h:--upload-pack=x", "begins with -"),
            ("git+file:///a/-x", "begins with -"),
            ("ext::sh", "transport helpers"),
            ("ext::sh%20-c", "transport helpers"),
            ("fd::7/a", "transport helpers"),
            ("git+https://h", "no path"),
            ("git+https://h/", "no path"),
            ("git+https:///a", "is no host"),
            ("git+https://h:99999/a", "no number"),
            ("git+https://h/a?token=hunter2", "query or fragment"),
            ("http://127.0.0.1/a", "taken only as git+http"),
            ("git+http://example.org/a", "only to this machine"),
            ("git+file://host/a", "three slashes"),
            ("ssh://git:hunter2@h/a", "no password from a URL"),
            ("aws://x/y", "no scheme"),
            ("/tmp/x.git", "is no URL"),
            ("origin", "is no URL"),
        ] {
            let refused = RemoteUrl::parse(text).expect_err(text).to_string();
            assert!(refused.contains(want) && refused.contains("git+file:///path"), "{text}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(RemoteUrl::parse(&format!("git+file:///{}", "x".repeat(BYTES_MAX))).is_err());
    }

    #[test]
    fn credentials_are_not_shown() {
        let url = RemoteUrl::parse("git+https://bob:hunter2@h/a").unwrap();
        assert_eq!(url.to_string(), "git+https://***@h/a");
        assert_eq!(format!("{url:?}"), "RemoteUrl(git+https://***@h/a)");
        let said = "fatal: unable to access 'https://bob:hunter2@h/a/': password hunter2 was refused";
        assert_eq!(url.hide_in(said), "fatal: unable to access 'https://***@h/a/': password *** was refused");
        assert!(url.has_credentials());
        let ssh = RemoteUrl::parse("git@h:a").unwrap();
        assert!(!ssh.has_credentials());
        assert_eq!(ssh.to_string(), "git+ssh://git@h/./a", "an ssh account is no secret");
    }

    #[test]
    fn the_same_repository_is_known_by_its_host_and_path() {
        let of = |text| RemoteUrl::parse(text).unwrap().repository();
        assert_eq!(of("git@H:a/b.git"), of("https://bob:pw@h/a/b"));
        assert_ne!(of("git@h:a/b.git"), of("git@h:a/c.git"));
        assert_eq!(of("ssh://git@h:22//a/./b"), of("https://h:443/a/b.git/"));
        assert_ne!(of("ssh://git@h:2222/a"), of("ssh://git@h/a"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.git");
        std::fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("l.git")).unwrap();
        let url = |name: &str| format!("git+file://{}/{name}", dir.path().display());
        assert_eq!(of(&url("r.git")), of(&url("l.git")));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_and_no_password_is_shown(text in "[ -~]{0,40}") {
            let with = format!("https://bob:hunter2@{text}");
            for text in [text, with] {
                let shown = match RemoteUrl::parse(&text) {
                    Ok(url) => format!("{url} {url:?} {}", url.hide_in(&text)),
                    Err(error) => error.to_string(),
                };
                prop_assert!(!shown.contains("hunter2"), "{text}: {shown}");
            }
        }
    }
}
