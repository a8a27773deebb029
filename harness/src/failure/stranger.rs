//! Another program, which writes to a broker or to a peer what no lab would write.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::Place;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// The transports whose protocol is written here.
pub(super) const TRANSPORTS: [&str; 7] =
    ["redis", "redis-stream", "nats", "jetstream", "stomp", "tcp", "unix"];
/// The body of foreign messages.
pub(super) const BODY: &str = "foreign";
/// How long the other side may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends one foreign message: to a topic whose name no lab would give, without a field that every
/// lab writes, or as bytes that are no message at all. `bound` is the address of the peer that
/// listens, where there is no broker.
pub(super) async fn send(transport: &str, place: &Place, bound: Option<&str>) -> Result<()> {
    let sent = async {
        match (transport, bound) {
            ("unix", Some(path)) => {
                let path = path.strip_prefix("unix:").unwrap_or(path);
                garbage(UnixStream::connect(path).await?).await
            }
            ("tcp", Some(address)) => garbage(TcpStream::connect(address).await?).await,
            ("redis", _) => {
                let channel = format!("{}:haus.küche/..", place.name());
                resp(place, &["PUBLISH", &channel, BODY]).await
            }
            ("redis-stream", _) => {
                resp(place, &["XADD", &format!("{}:stream", place.name()), "*", "hello", BODY]).await
            }
            ("nats" | "jetstream", _) => {
                let publish = format!("PUB {}.haus/küche {}\r\n{BODY}\r\n", place.name(), BODY.len());
                let talk = format!("CONNECT {{\"verbose\":false}}\r\n{publish}PING\r\n");
                ask(connect(place, "nats").await?, talk.as_bytes(), "PONG\r\n").await
            }
            ("stomp", _) => {
                let (user, password) = place.endpoint("stomp")?.login.unwrap_or_default();
                let login = format!("login:{user}\npasscode:{password}");
                let topic = format!("/topic/{}.a..b", place.name());
                let talk = format!(
                    "CONNECT\naccept-version:1.2\nhost:/\n{login}\n\n\0SEND\nreceipt:in\ndestination:{topic}\n\n{BODY}\0"
                );
                ask(connect(place, "stomp").await?, talk.as_bytes(), "receipt-id:in").await
            }
            _ => bail!("there is no other program for {transport}"),
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.context("the other side does not answer")?
}

async fn connect(place: &Place, protocol: &str) -> Result<TcpStream> {
    let endpoint = place.endpoint(protocol)?;
    Ok(TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?)
}

/// Four bytes that announce a frame of 4 GiB. The peer closes the connection, and nothing else.
async fn garbage(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    stream.write_all(&[0xff; 4]).await?;
    let mut rest = Vec::new();
    // Closed, or reset.
    let _ = stream.read_to_end(&mut rest).await;
    Ok(())
}

async fn resp(place: &Place, words: &[&str]) -> Result<()> {
    use std::fmt::Write as _;
    let endpoint = place.endpoint("redis")?;
    let mut talk = String::new();
    if let Some((user, password)) = endpoint.login {
        let login: &[&str] = if user.is_empty() { &["AUTH", &password] } else { &["AUTH", &user, &password] };
        command(&mut talk, login);
    }
    command(&mut talk, words);
    write!(talk, "*1\r\n$4\r\nPING\r\n")?;
    ask(connect(place, "redis").await?, talk.as_bytes(), "+PONG\r\n").await
}

fn command(talk: &mut String, words: &[&str]) {
    use std::fmt::Write as _;
    let _ = write!(talk, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(talk, "${}\r\n{word}\r\n", word.len());
    }
}

/// Says something, and waits for an answer.
async fn ask(mut stream: TcpStream, question: &[u8], end: &str) -> Result<()> {
    stream.write_all(question).await?;
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(end) {
        let read = stream.read_buf(&mut answer).await?;
        ensure!(read > 0 && answer.len() < 1 << 20, "the broker refused what the other program said");
    }
    Ok(())
}
