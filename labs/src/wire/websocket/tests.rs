use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of ours, and a peer that is not.
async fn pair(name: &str) -> (WsConnection, WebSocketStream<TcpStream>) {
    let place = Place::new(&format!("websocket-{}-{name}", std::process::id()), None);
    let mut bound = bind(&place).await.expect("a free port");
    let address = place.peer().await.expect("it was announced");
    let accept = async {
        let (socket, _) = bound.accept().await.into_tcp().expect("over TCP");
        accept_async(socket).await.expect("a handshake")
    };
    let (ours, theirs) = tokio::join!(WsConnection::connect(&address), accept);
    (ours.expect("a connection"), theirs)
}

#[tokio::test]
async fn a_writer_with_nothing_to_write_answers_pings() {
    let (ours, mut theirs) = pair("ping").await;
    let _writer = WsWriter::new(ours);
    theirs.send(Message::Ping("anybody there?".into())).await.expect("written");
    let answer = timeout(PATIENCE, theirs.next()).await.expect("soon").expect("open").expect("whole");
    assert_eq!(answer, Message::Pong("anybody there?".into()));
}

#[tokio::test]
async fn a_writer_that_waits_to_write_is_woken_while_pings_come() {
    const MANY: usize = 400;
    let (ours, mut theirs) = pair("blocked").await;
    let mut writer = WsWriter::new(ours);
    let talk = async {
        for _ in 0..MANY {
            writer.put(Message::binary(vec![7; 64 << 10])).await.expect("open");
        }
        writer.flush().await.expect("open");
    };
    let hear = async {
        let mut came = 0;
        while came < MANY {
            theirs.send(Message::Ping(Bytes::new())).await.expect("written");
            // The writer fills the connection in the meantime, and has to wait.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let enough = (came + 10).min(MANY);
            while came < enough {
                let message = theirs.next().await.expect("open").expect("whole");
                came += usize::from(message.is_binary());
            }
        }
    };
    timeout(PATIENCE, async { tokio::join!(talk, hear) }).await.expect("all comes soon");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_on_both_sides() {
    let (mut ours, mut theirs) = pair("long").await;
    let long = Message::binary(vec![0; MAX_MESSAGE + 1]);
    assert!(ours.put(long.clone()).expect_err("too long").to_string().contains("is too long"));
    // Our side breaks the connection off, so that this may fail.
    let send = async { drop(theirs.send(long).await) };
    let (came, ()) = tokio::join!(
        async {
            let came = ours.next().await;
            drop(ours);
            came
        },
        send
    );
    assert!(format!("{:#}", came.expect_err("too long")).contains("too long"));
}
