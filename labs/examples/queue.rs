//! Queued delivery, as a whole program: the queue answers for a message until a consumer has
//! acknowledged it.
//!
//!     ./run example queue tcp
//!     ./run example queue rabbitmq amqp://guest:guest@127.0.0.1:5672

use std::io::Write;

use anyhow::Result;
use labs::lab::Place;
use labs::queue::{Consumer as _, Producer as _, Queue};

const MESSAGES: usize = 5;
/// Deliveries that a consumer holds at once and has not settled.
const PREFETCH: u16 = 10;

pub(crate) async fn program<L: Queue>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect and join. Without a broker the queue lives with its producer, which binds.
    let lab = L::open(place).await?;
    let (producer, mut consumer) = tokio::try_join!(lab.producer(), lab.consumer(PREFETCH))?;

    let produce = async {
        for number in 1..=MESSAGES {
            // Returns when the message is *confirmed*: from here on the queue answers for it.
            // A fast producer has many of these in flight instead of one after the other.
            producer.send(format!("message {number}").into()).await?;
        }
        anyhow::Ok(())
    };
    let consume = async {
        let mut done = 0;
        while done < MESSAGES {
            let Some(delivery) = consumer.next().await? else { break };
            let text = String::from_utf8_lossy(&delivery.item);
            // The third message is refused the first time: the queue delivers it again, and
            // says so. A consumer that dies has the same effect on all that it held.
            if text == "message 3" && delivery.attempt == 1 {
                writeln!(out, "refused {text}")?;
                consumer.nack(delivery.receipt).await?;
            } else {
                writeln!(out, "done with {text}, attempt {}", delivery.attempt)?;
                consumer.ack(delivery.receipt).await?;
                done += 1;
            }
            // Acks may wait here to be sent together. A crash before that brings messages
            // again that were done: at least once is not exactly once.
            consumer.flush().await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(produce, consume)?;

    // Leave, and leave nothing in the broker.
    consumer.close().await?;
    producer.close().await?;
    L::remove(place).await
}

labs::example!(queue, Queue, program);
