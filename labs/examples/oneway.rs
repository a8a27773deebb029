//! One-way, as a whole program: a sender sends, a receiver takes.
//!
//!     ./run example oneway tcp
//!     ./run example oneway redis redis://127.0.0.1:6379

use std::io::Write;

use anyhow::Result;
use labs::lab::Place;
use labs::oneway::{OneWay, Receiver as _, Sender as _};

const MESSAGES: usize = 10;

pub(crate) async fn program<L: OneWay>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect. Both roles live in this program; usually each is a process of its own.
    let lab = L::open(place).await?;
    // Join. Without a broker the receiver binds a port, and the sender connects to it.
    let (mut sender, mut receiver) = tokio::try_join!(lab.sender(), lab.receiver())?;

    let send = async {
        for number in 1..=MESSAGES {
            // Returns when the message is *accepted*: it may still wait in a buffer here.
            sender.send(format!("message {number}").into()).await?;
        }
        // Returns when all messages are *written*: none of them waits here any more.
        // The sender learns nothing more: nobody tells it what the receiver got.
        sender.flush().await?;
        sender.close().await
    };
    let receive = async {
        for _ in 0..MESSAGES {
            // None: every sender has left, on transports that can tell.
            let Some(body) = receiver.recv().await? else { break };
            writeln!(out, "received {}", String::from_utf8_lossy(&body))?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(send, receive)?;

    // Leave nothing in the broker.
    L::remove(place).await
}

labs::example!(one_way, OneWay, program);
