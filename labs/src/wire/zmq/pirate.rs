//! A consumer's connection to one producer that keeps its queue itself, over
//! ØMQ: heartbeats both ways. The crate's DEALER does not connect again by
//! itself and does not say that it has lost its peer: silence does.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::wire::lines::End;
use crate::wire::word::Word;

/// Signs of life in the time after which a peer is given up.
const BEATS: u32 = 4;
/// How long to wait before connecting again.
const RETRY: Duration = Duration::from_millis(50);

/// Keeps the connection until the consumer has gone. An error when there is
/// nobody at the address in the first place.
pub(crate) async fn keep(address: String, lease: Duration, mut end: End) -> Result<()> {
    let mut socket = connect(&address).await?;
    while talk(&mut socket, lease, &mut end).await.is_err() {
        end.lost().await;
        socket = loop {
            tokio::time::sleep(RETRY).await;
            // The crate gives up connecting after 30 s: too long for one that comes back.
            if let Ok(Ok(socket)) = tokio::time::timeout(lease, connect(&address)).await {
                break socket;
            }
        };
    }
    Ok(())
}

async fn connect(address: &str) -> Result<DealerSocket> {
    let address = format!("tcp://{}", address.trim_start_matches("tcp://"));
    let mut socket = DealerSocket::new();
    let connected = socket.connect(&address).await;
    connected.with_context(|| format!("cannot connect to {address}; is the other side running?"))?;
    Ok(socket)
}

/// Returns when the consumer has gone; an error when the producer is silent.
async fn talk(socket: &mut DealerSocket, lease: Duration, end: &mut End) -> Result<()> {
    let mut beat = tokio::time::interval(lease / BEATS);
    let (mut heard, mut known, mut leaving) = (Instant::now(), None, false);
    loop {
        tokio::select! {
            message = socket.recv() => {
                heard = Instant::now();
                let word = read(message?)?;
                // Only the first welcome is news, the others are signs of life;
                // but one from another queue means that the first is gone.
                if let Word::Welcome(log) = word {
                    match known.replace(log) {
                        None => {}
                        Some(before) if before == log => continue,
                        Some(_) => bail!("another producer answers"),
                    }
                }
                end.heard(word).await;
            }
            word = end.next_to_say() => {
                let Some(word) = word else { return Ok(()) };
                leaving |= matches!(word, Word::Leave(_));
                socket.send(ZmqMessage::from(word.head())).await?;
            }
            // One that leaves does not join again.
            _ = beat.tick(), if !leaving => {
                if heard + lease < Instant::now() {
                    bail!("the producer is silent");
                }
                socket.send(ZmqMessage::from(Word::Join(end.limit).head())).await?;
            }
        }
    }
}

fn read(message: ZmqMessage) -> Result<Word> {
    let mut frames = message.into_vec().into_iter();
    let mut word = Word::read(frames.next().unwrap_or_default())?;
    if let Word::Message(_, _, body) = &mut word {
        *body = frames.next().context("a message without a body")?;
    }
    Ok(word)
}
