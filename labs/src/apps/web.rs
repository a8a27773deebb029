//! What the applications' web pages share: a server on the loopback device that
//! talks to pages of its own only.
//!
//! A browser lets any page of the Internet send requests to `127.0.0.1`, and open
//! WebSockets there. So whoever asks must have come under a name of this machine
//! (a stranger's name that was made to point here shows in `Host`), and from a
//! page that was loaded here (`Origin`).

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::place::Place;
use crate::wire::sockets::{Bound, PATIENCE, serve_each};

/// Nothing comes from elsewhere and nothing written in the page is run; WebSockets
/// go back to where the page came from.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Listens on the loopback device; at any free port where `port` is 0.
pub async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!("cannot listen on port {port} of 127.0.0.1; choose another with --port, or 0 for a free one")
    })
}

/// Serves `pages` until `stop` comes; connections that are open then are cut. At most so many are
/// open as a listener may have; one on which no request has come for a while is closed.
pub async fn serve(listener: TcpListener, pages: Router, stop: impl Future<Output = ()>) -> Result<()> {
    let pages = TowerToHyperService::new(pages.layer(middleware::from_fn(ours_only)));
    // Browsers are not peers of a lab: nobody counts what they do wrong.
    let bound = Bound::over(listener, &Place::new("web", None));
    let serve = serve_each(bound, move |socket| {
        let pages = pages.clone();
        async move {
            let Ok(stream) = socket.into_stream() else { return };
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let connection = TokioIo::new(stream);
            // What breaks a connection is the end of that connection.
            let _ = server.serve_connection(connection, pages).with_upgrades().await;
        }
    });
    tokio::select! {
        () = serve => Ok(()),
        () = stop => Ok(()),
    }
}

/// A file of a page, as it was built into this program.
pub fn file<S: Clone + Send + Sync + 'static>(
    media_type: &'static str,
    text: &'static str,
) -> MethodRouter<S> {
    get(move || async move { ([(header::CONTENT_TYPE, media_type)], text) })
}

async fn ours_only(request: Request, next: Next) -> Response {
    if let Err(why) = check(request.headers()) {
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !is_here(host) {
        return Err("This server answers to 127.0.0.1 and localhost only.\n");
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => {
            Err("This server talks to its own pages only.\n")
        }
        _ => Ok(()),
    }
}

/// Whether a `Host` names the loopback device.
fn is_here(host: &str) -> bool {
    let ip = host.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| host.parse::<IpAddr>());
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ip.map_or(name == "localhost", |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_turned_away() {
        for (host, origin, welcome) in [
            ("127.0.0.1:8080", None, true),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), true),
            ("localhost:8080", Some("http://localhost:8080"), true),
            ("[::1]:8080", Some("http://[::1]:8080"), true),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8081"), false),
            ("127.0.0.1:8080", Some("https://evil.example"), false),
            ("127.0.0.1:8080", Some("null"), false),
            // A name of theirs that was made to point here.
            ("evil.example:8080", Some("http://evil.example:8080"), false),
            ("192.168.0.7:8080", None, false),
            ("", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(check(&headers).is_ok(), welcome, "{host} {origin:?}");
        }
    }
}
