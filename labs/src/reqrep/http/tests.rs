use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A server that answers with what it was asked, but not everything.
async fn server(name: &str) -> (JoinSet<()>, String) {
    let place = Place::new(&format!("http-{}-{name}", std::process::id()), None);
    let bound = Bound::tcp_for(SCHEME, &place).await.expect("a free port");
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
    let mut connection = HttpConnection::connect(&address, 0).await.expect("it listens");
    let error = connection.post("no".into()).await.expect_err("unavailable");
    assert!(error.to_string().contains("503"), "{error}");
    let error = connection.post(vec![0; MAX_BODY + 1].into()).await.expect_err("too long");
    let refused = error.to_string().contains("413") || !connection.is_open().await;
    assert!(refused, "{error}");
    let mut connection = HttpConnection::connect(&address, 0).await.expect("it listens");
    for body in ["yes", "yes again", ""] {
        assert!(connection.is_open().await);
        assert_eq!(connection.post(body.into()).await.expect("an answer"), body);
    }
}

#[tokio::test]
async fn only_posts_are_answered() {
    let (_server, address) = server("method").await;
    let mut stream = Socket::connect(&address).await.expect("it listens").into_tcp().expect("over TCP").0;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}
