//! Owns the POST of an alert to the administrator's webhook.
//! Always: of its URL nothing but scheme, host and port is shown; it is not sent elsewhere by a redirect; it ends in time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::channel::Problem;

/// `https://host:port/…`
pub(super) fn shown(url: &str) -> String {
    match url.parse::<Uri>() {
        Ok(uri) => match (uri.scheme_str(), uri.host(), uri.port_u16()) {
            (Some(scheme), Some(host), Some(port)) => format!("{scheme}://{host}:{port}/…"),
            (Some(scheme), Some(host), None) => format!("{scheme}://{host}/…"),
            _ => "webhook".to_owned(),
        },
        Err(_) => "webhook".to_owned(),
    }
}

/// Well if it is answered with 2xx in time.
pub(super) async fn post(url: &str, message: &[u8], limit: Duration) -> Result<(), Problem> {
    let (url, message) = (url.to_owned(), message.to_vec());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own: it ends by its limit, and stopping does not wait for it.
    let spawned = std::thread::Builder::new().name("webhook".to_owned()).spawn(move || {
        let _ = sender.send(post_blocking(&url, &message, limit));
    });
    spawned.map_err(|error| Problem::passing(format!("no thread for it: {error}")))?;
    receiver.await.unwrap_or_else(|_| Err(Problem::lasting("it ended by a fault of Branchline's")))
}

fn post_blocking(url: &str, message: &[u8], limit: Duration) -> Result<(), Problem> {
    let is_https = url.starts_with("https://");
    let mut config = Agent::config_builder()
        .timeout_global(Some(limit))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("branchline/", env!("CARGO_PKG_VERSION")));
    let uri = url.parse::<Uri>().map_err(|_| Problem::lasting("alerts.webhook is not a URL"))?;
    if is_loopback(uri.host().unwrap_or_default()) {
        config = config.proxy(None);
    }
    if is_https {
        config = config.tls_config(tls()?);
    }
    let agent = config.build().new_agent();
    let answer = agent
        .post(url)
        .header("Content-Type", "application/json")
        .send(message)
        .map_err(|error| problem(&error, limit))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    let text = format!("it answered {}{hint}", status.as_u16());
    // What is asked wrongly is wrong the next time too; but not when it asks for patience.
    let may_pass =
        !status.is_redirection() && (!status.is_client_error() || [408, 429].contains(&status.as_u16()));
    Err(Problem { text, may_pass })
}

/// Never the error's own text where that may hold the URL.
fn problem(error: &Error, limit: Duration) -> Problem {
    match error {
        Error::Timeout(_) => {
            Problem::passing(format!("it did not answer within {} s (alerts.timeout_s)", limit.as_secs()))
        }
        Error::HostNotFound => Problem::passing("its host is not known"),
        Error::ConnectionFailed => Problem::passing("it can't be connected to"),
        Error::Io(error) => Problem::passing(format!("connection: {error}")),
        Error::Rustls(error) => Problem::passing(format!("TLS: {error}")),
        Error::Tls(what) => Problem::passing(format!("TLS: {what}")),
        Error::BadUri(_) => Problem::lasting("alerts.webhook is not a URL"),
        Error::Protocol(_) | Error::Http(_) => Problem::passing("its answer is not HTTP"),
        _ => Problem::passing("the request failed"),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The certificates this machine trusts: an administrator's own authority is among them.
fn tls() -> Result<TlsConfig, Problem> {
    static ROOTS: OnceLock<Arc<Vec<Certificate<'static>>>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        let owned = |certificate: &[u8]| Certificate::from_der(certificate).to_owned();
        Arc::new(loaded.certs.iter().map(|certificate| owned(certificate)).collect())
    });
    if roots.is_empty() {
        return Err(Problem::lasting(
            "this machine has no certificates to trust (package ca-certificates, or SSL_CERT_FILE)",
        ));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::clone(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn of_a_url_the_host_is_shown() {
        for (url, want) in [
            ("https://hooks.example/T0/secret?token=hunter2", "https://hooks.example/…"),
            ("https://bob:hunter2@hooks.example:8443/x", "https://hooks.example:8443/…"),
            ("http://[::1]:80/hunter2", "http://[::1]:80/…"),
            ("https://", "webhook"),
            ("https:///hunter2", "webhook"),
        ] {
            assert_eq!(shown(url), want, "{url}");
        }
    }

    /// Answers one request with this; what was asked.
    fn answer_once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hunter2", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let (mut asked, mut piece) = (Vec::new(), [0; 1024]);
            while !String::from_utf8_lossy(&asked).ends_with("{\"a\":1}") {
                let count = stream.read(&mut piece).unwrap();
                assert!(count > 0);
                asked.extend(&piece[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (url, asked)
    }

    #[tokio::test]
    async fn the_message_is_posted_and_the_status_counts() {
        let (url, asked) = answer_once("HTTP/1.1 204 No Content\r\n\r\n");
        post(&url, b"{\"a\":1}", LIMIT).await.unwrap();
        let asked = asked.join().unwrap().to_lowercase();
        assert!(asked.starts_with("post /hunter2 http/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json\r\n"), "{asked}");
        for (answer, want, may_pass) in [
            ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "it answered 500", true),
            ("HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", "it answered 429", true),
            ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "it answered 404", false),
            (
                "HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                "it answered 307; redirects are not followed",
                false,
            ),
            ("SSH-2.0-x\r\n\r\n", "its answer is not HTTP", true),
        ] {
            let (url, asked) = answer_once(answer);
            let problem = post(&url, b"{\"a\":1}", LIMIT).await.unwrap_err();
            assert_eq!(problem, Problem { text: want.to_owned(), may_pass });
            asked.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_receiver_that_says_nothing_or_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hunter2", listener.local_addr().unwrap());
        let problem = post(&url, b"{}", Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(problem, Problem::passing("it did not answer within 1 s (alerts.timeout_s)"));
        drop(listener);
        let problem = post(&url, b"{}", LIMIT).await.unwrap_err();
        assert!(problem.may_pass && !problem.text.contains("hunter2"), "{problem:?}");
        // Plain HTTP where TLS is expected.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/hunter2", listener.local_addr().unwrap());
        let answer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let problem = post(&url, b"{}", LIMIT).await.unwrap_err();
        assert!(!problem.text.contains("hunter2"), "{problem:?}");
        answer.join().unwrap();
    }
}
