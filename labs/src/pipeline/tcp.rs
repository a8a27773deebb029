//! A pipeline over plain TCP, with credit-based flow control.
//!
//! Ventilator and sink listen, workers connect to both. A worker tells the
//! ventilator how many more tasks it will take (its credit, four bytes,
//! big-endian) and gives that credit back as it finishes, so that a slow
//! worker gets less. Without credits the ventilator would fill the socket
//! buffers of the slow one. A worker that dies takes its tasks with it.
//!
//! Run it with `just lab pipeline-tcp`.

use anyhow::{Result, bail};
use bytes::Bytes;

use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::oneway::Sender;
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::credit::Ventilator;
use crate::wire::hub::Hub;
use crate::wire::link::Link;

/// Tasks a worker holds at most: finished ones are replaced by half of this.
const CREDIT: usize = 256;
/// Bytes collected before they are written without being asked to.
const WRITE: usize = 64 << 10;

/// `pipeline-tcp`.
pub struct Tcp {
    place: Place,
    credit: u32,
    write: usize,
}

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        let credit = u32::try_from(place.knob("credit", CREDIT)).unwrap_or(u32::MAX).max(1);
        Ok(Self { place: place.clone(), credit, write: place.knob("write-bytes", WRITE) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl Pipeline for Tcp {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = TcpPush;
    type Pull = TcpPull;
    type Control = pubsub::tcp::Tcp;

    async fn push(&self, stage: Stage) -> Result<TcpPush> {
        let place = self.place.part(stage.part());
        Ok(match stage {
            Stage::Tasks => TcpPush::Ventilator(Ventilator::bind(&place, self.write).await?),
            Stage::Results => TcpPush::Worker(Link::connect(&place.peer().await?).await?, self.write),
        })
    }

    async fn pull(&self, stage: Stage) -> Result<TcpPull> {
        let place = self.place.part(stage.part());
        Ok(match stage {
            Stage::Tasks => {
                let mut link = Link::connect(&place.peer().await?).await?;
                link.put(&[&self.credit.to_be_bytes()])?;
                link.flush().await?;
                TcpPull::Worker { link, finished: 0, half: (self.credit / 2).max(1) }
            }
            Stage::Results => TcpPull::Sink(Hub::bind(&place).await?),
        })
    }
}

/// The end that hands on.
pub enum TcpPush {
    /// Tasks, to whoever has credit.
    Ventilator(Ventilator),
    /// Results, to the one sink.
    Worker(Link, usize),
}

impl Sender for TcpPush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        match self {
            Self::Ventilator(ventilator) => ventilator.hand_out(body).await,
            Self::Worker(link, write) => {
                link.put(&[&body])?;
                if link.unwritten() >= *write { link.flush().await } else { Ok(()) }
            }
        }
    }

    async fn flush(&mut self) -> Result<()> {
        match self {
            Self::Ventilator(ventilator) => {
                ventilator.flush().await;
                Ok(())
            }
            Self::Worker(link, _) => link.flush().await,
        }
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// The end that takes.
pub enum TcpPull {
    /// Tasks, as many as there is credit for.
    Worker {
        /// To the ventilator.
        link: Link,
        /// Tasks finished since credit was last given back.
        finished: u32,
        /// When to give it back.
        half: u32,
    },
    /// Results, from every worker.
    Sink(Hub),
}

impl Consumer for TcpPull {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let item = match self {
            Self::Worker { link, .. } => link.next().await?,
            Self::Sink(hub) => hub.next().await?.map(|(_, result)| result),
        };
        Ok(item.map(|item| Delivery { item, attempt: 1, receipt: () }))
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        if let Self::Worker { finished, half, .. } = self {
            *finished += 1;
            if *finished >= *half {
                return self.flush().await;
            }
        }
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("a stream does not take a task back")
    }

    /// Gives back the credit of what is finished.
    async fn flush(&mut self) -> Result<()> {
        if let Self::Worker { link, finished, .. } = self
            && *finished > 0
        {
            link.put(&[&finished.to_be_bytes()])?;
            *finished = 0;
            link.flush().await?;
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}
