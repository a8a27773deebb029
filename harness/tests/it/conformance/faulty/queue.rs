//! `queue-tcp`, broken in ways that only show when a process is killed, or
//! when one looks at what a confirmation says.

use anyhow::Result;
use bytes::Bytes;
use harness::roles::{Handle, Handles};
use labs::catalog::Visitor as _;
use labs::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use labs::queue::tcp::Tcp;
use labs::queue::{Confirmed, Consumer, Delivery, Queue};

/// The producer begins with an empty log.
pub(in super::super) const STARTS_ANEW: u8 = 0;
/// The consumer acks what it has not done yet.
pub(in super::super) const ACKS_AT_ONCE: u8 = 1;
/// What is only stored is said to be acked.
pub(in super::super) const HASTY: u8 = 2;

/// The lab with one of these faults.
pub(in super::super) struct Outbox<const FAULT: u8> {
    place: Place,
    whole: Tcp,
}

/// For the processes of its roles.
pub(super) fn handles() -> Vec<Handle> {
    let mut handles = Handles::new();
    handles.queue::<Outbox<STARTS_ANEW>>();
    handles.queue::<Outbox<ACKS_AT_ONCE>>();
    handles.0
}

impl<const FAULT: u8> Lab for Outbox<FAULT> {
    const TRANSPORT: &'static str = match FAULT {
        STARTS_ANEW => "starts-anew",
        ACKS_AT_ONCE => "acks-at-once",
        _ => "hasty",
    };
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), whole: Tcp::open(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        Tcp::remove(place).await
    }
}

impl<const FAULT: u8> Queue for Outbox<FAULT> {
    const CONFIRMED: Confirmed = match FAULT {
        HASTY => Confirmed::Acked,
        _ => Confirmed::Stored,
    };
    type Producer = <Tcp as Queue>::Producer;
    type Consumer = Taker<FAULT>;
    type DeadLetters = <Tcp as Queue>::DeadLetters;

    async fn producer(&self) -> Result<Self::Producer> {
        if FAULT == STARTS_ANEW {
            Tcp::remove(&self.place).await?;
        }
        self.whole.producer().await
    }

    async fn consumer(&self, prefetch: u16) -> Result<Taker<FAULT>> {
        Ok(Taker(self.whole.consumer(prefetch).await?))
    }

    async fn dead_letters(&self) -> Result<Self::DeadLetters> {
        self.whole.dead_letters().await
    }
}

type Whole = <Tcp as Queue>::Consumer;

pub(in super::super) struct Taker<const FAULT: u8>(Whole);

impl<const FAULT: u8> Consumer for Taker<FAULT> {
    type Item = Bytes;
    type Receipt = Option<<Whole as Consumer>::Receipt>;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Self::Receipt>>> {
        let Some(Delivery { item, attempt, receipt }) = self.0.next().await? else { return Ok(None) };
        if FAULT != ACKS_AT_ONCE {
            return Ok(Some(Delivery { item, attempt, receipt: Some(receipt) }));
        }
        self.0.ack(receipt).await?;
        self.0.flush().await?;
        Ok(Some(Delivery { item, attempt, receipt: None }))
    }

    async fn ack(&mut self, receipt: Self::Receipt) -> Result<()> {
        match receipt {
            Some(receipt) => self.0.ack(receipt).await,
            None => Ok(()),
        }
    }

    async fn nack(&mut self, receipt: Self::Receipt) -> Result<()> {
        match receipt {
            Some(receipt) => self.0.nack(receipt).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
