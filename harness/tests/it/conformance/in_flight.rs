//! The order of one producer's messages, with thousands of its sends in flight.

use anyhow::{Result, ensure};
use labs::queue::Queue;

use super::place::Site;
use super::queue::{In, Out, PREFETCH};
use super::stream::{END, Rx, Tx as _, message, take_all};

/// Sends in flight where it is the number that matters: as many as a role has at a rate. Fewer for
/// the broken lab, whose senders are not served in turn when they have to wait.
const IN_FLIGHT: u64 = 5_000;
const IN_FLIGHT_BROKEN: u64 = 800;

/// However many sends of one producer are in flight, one consumer gets them in the order in which
/// they were started.
pub(super) async fn in_flight<L: Queue>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let (producer, consumer) = tokio::try_join!(lab.producer(), lab.consumer(PREFETCH))?;
    let (mut tx, mut rx) = (Out::new::<L>(producer), In::confirming(consumer, L::CONFIRMED));
    let send = async {
        for number in 0..if L::TRANSPORT == "faulty" { IN_FLIGHT_BROKEN } else { IN_FLIGHT } {
            tx.start(message(number, 64))?;
            // The client gets on with some while others wait for it.
            if number % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
        // By then every message that was held back has been sent.
        tx.confirmed(0).await?;
        tx.put(vec![message(END, 32)]).await
    };
    let both = async { tokio::try_join!(send, take_all(&mut rx)) };
    let ((), came) = site.soon("the last message comes", both).await?;
    let late = came.windows(2).find(|pair| pair[0] > pair[1]);
    ensure!(late.is_none(), "a message came after one that was sent later: {late:?}");
    Rx::settle(&mut rx).await?;
    tx.close().await
}
