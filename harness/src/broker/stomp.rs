//! RabbitMQ's STOMP plugin: whether it takes a frame of some size.

use anyhow::{Context as _, Result, bail};
use labs::lab::BrokerAddress;
use labs::printable::printable_bytes;

use super::conversation::Conversation;

/// Sends a frame with a body of this size to a topic that nobody has subscribed to.
pub(super) async fn try_size(address: &BrokerAddress, size: u64) -> Result<()> {
    let size = usize::try_from(size)?;
    let (user, password) = address.endpoint("stomp")?.login.unwrap_or_default();
    let mut stomp = Conversation::with(address, "stomp").await.context("the STOMP plugin does not answer")?;
    let vhost = address.vhost();
    let connect = format!(
        "CONNECT\naccept-version:1.2\nhost:{vhost}\nheart-beat:0,0\nlogin:{user}\npasscode:{password}\n\n\0"
    );
    stomp.say(connect.as_bytes()).await?;
    answer(&mut stomp, "CONNECTED").await?;
    let head = format!("SEND\ndestination:/topic/lab-check\nreceipt:size\ncontent-length:{size}\n\n");
    let sent = async {
        stomp.say(&[head.as_bytes(), &vec![b'.'; size], b"\0"].concat()).await?;
        answer(&mut stomp, "RECEIPT").await
    };
    sent.await.with_context(|| format!("RabbitMQ does not take a frame of {size} bytes over STOMP"))
}

/// Reads a frame; an error unless it is this one.
async fn answer(stomp: &mut Conversation, expected: &str) -> Result<()> {
    let mut said = Vec::new();
    loop {
        let byte = stomp.exactly(1).await?[0];
        match byte {
            // Frames may have empty lines between them.
            b'\n' | b'\r' if said.is_empty() => {}
            0 => break,
            byte => said.push(byte),
        }
    }
    if !said.starts_with(expected.as_bytes()) {
        bail!("it says {}", printable_bytes(&said[..said.len().min(300)]));
    }
    Ok(())
}
