//! A consumer's connection to one producer that keeps its queue itself, over
//! TCP. It is made again for as long as the consumer lives.

use std::time::Duration;

use anyhow::{Context, Result};

use super::lines::End;
use super::link::Link;
use super::word::Word;

/// How long to wait before connecting again.
const RETRY: Duration = Duration::from_millis(50);

/// Keeps the connection until the consumer has gone. An error when there is
/// nobody at the address in the first place.
pub(crate) async fn keep(address: String, mut end: End) -> Result<()> {
    let mut link = Link::connect(&address).await?;
    while talk(&mut link, &mut end).await.is_err() {
        // The producer may be back soon, at the same address.
        end.lost().await;
        link = loop {
            tokio::time::sleep(RETRY).await;
            if let Ok(link) = Link::connect(&address).await {
                break link;
            }
        };
    }
    Ok(())
}

/// Returns when the consumer has gone; an error when the connection has broken.
async fn talk(link: &mut Link, end: &mut End) -> Result<()> {
    link.put(&[&Word::Join(end.limit).head()])?;
    link.flush().await?;
    loop {
        tokio::select! {
            frame = link.next() => {
                end.heard(Word::read(frame?.context("the producer has gone")?)?).await;
                while let Some(frame) = link.buffered()? {
                    end.heard(Word::read(frame)?).await;
                }
            }
            word = end.next_to_say() => {
                let Some(word) = word else { return Ok(()) };
                link.put(&[&word.head()])?;
                while let Some(word) = end.more_to_say() {
                    link.put(&[&word.head()])?;
                }
                link.flush().await?;
            }
        }
    }
}
