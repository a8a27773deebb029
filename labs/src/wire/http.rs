//! What request/reply over HTTP stands on: a server that answers POSTs, a
//! connection that makes them, and bodies that are not too long.

use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::door;
use super::link::MAX_FRAME;
use super::socket::{Bound, Socket};
use crate::lab::Place;

/// Connections a server holds open; whoever comes then has to wait.
const GUESTS: usize = 1024;

/// Binds, and announces itself as a URL.
pub async fn bind(place: &Place) -> Result<Bound> {
    Bound::tcp_for("http://", place).await
}

/// What a server says: a body, or the status that tells why there is none.
pub type Answer = Result<Bytes, StatusCode>;

/// Answers the body of every POST, several connections at once; returns never.
pub async fn serve<F>(bound: Bound, answer: impl Fn(Bytes) -> F + Clone + Send + 'static)
where
    F: Future<Output = Answer> + Send + 'static,
{
    door::attend(bound, GUESTS, move |socket| {
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer.clone();
            async move {
                let answer = match read(request).await {
                    Ok(body) => answer(body).await,
                    Err(status) => Err(status),
                };
                let mut response = Response::new(Full::default());
                match answer {
                    Ok(body) => *response.body_mut() = Full::new(body),
                    Err(status) => *response.status_mut() = status,
                }
                Ok::<_, Infallible>(response)
            }
        });
        async move {
            if let Ok(stream) = socket.into_tcp() {
                // A connection that breaks is a client who has left.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        }
    })
    .await;
}

async fn read(request: Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    match Limited::new(request.into_body(), MAX_FRAME).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

/// A connection to a server. It carries one request at a time; dropping it
/// closes it, also when an answer is still to come.
pub struct Line {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

impl Line {
    /// Connects to a server that has announced itself.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = Socket::connect(address).await?.into_tcp()?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends when `requests` is dropped. What breaks it breaks the request as well.
        tokio::spawn(connection);
        let host = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Self { requests, host })
    }

    /// Whether another request can be made, once the last is answered; the
    /// server may have closed the connection in the meantime.
    pub async fn is_good(&mut self) -> bool {
        self.requests.ready().await.is_ok()
    }

    /// Posts `body`; an answer with another status than 200 is an error.
    pub async fn post(&mut self, body: Bytes) -> Result<Bytes> {
        let request = Request::post("/").header(HOST, &self.host).body(Full::new(body))?;
        let response = self.requests.send_request(request).await.context("the responder did not answer")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_FRAME).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed).context("the answer did not come whole")?;
        ensure!(status == StatusCode::OK, "the responder answered {status}");
        Ok(body.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinSet;

    /// A server that answers with what it was asked, but not everything.
    async fn server(name: &str) -> (JoinSet<()>, String) {
        let place = Place::new(&format!("http-{}-{name}", std::process::id()), None);
        let bound = bind(&place).await.expect("a free port");
        let mut server = JoinSet::new();
        server.spawn(serve(bound, async |body: Bytes| match &body[..] {
            b"no" => Err(StatusCode::SERVICE_UNAVAILABLE),
            _ => Ok(body),
        }));
        (server, place.peer().await.expect("it was announced"))
    }

    #[tokio::test]
    async fn a_status_is_an_error_and_the_connection_stays() {
        let (_server, address) = server("status").await;
        let mut line = Line::connect(&address).await.expect("it listens");
        let error = line.post("no".into()).await.expect_err("unavailable");
        assert!(error.to_string().contains("503"), "{error}");
        let error = line.post(vec![0; MAX_FRAME + 1].into()).await.expect_err("too long");
        let refused = error.to_string().contains("413") || !line.is_good().await;
        assert!(refused, "{error}");
        let mut line = Line::connect(&address).await.expect("it listens");
        for body in ["yes", "yes again", ""] {
            assert!(line.is_good().await);
            assert_eq!(line.post(body.into()).await.expect("an answer"), body);
        }
    }

    #[tokio::test]
    async fn only_posts_are_answered() {
        let (_server, address) = server("method").await;
        let mut stream = Socket::connect(&address).await.expect("it listens").into_tcp().expect("over TCP");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }
}
