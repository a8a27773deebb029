//! One-way over TCP, and variants in which a stranger who breaks the protocol does harm.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use labs::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use labs::oneway::{OneWay, Receiver, Sender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The connection ends, and that is counted.
pub(in super::super) const PATIENT: u8 = 0;
/// The receiver ends.
pub(in super::super) const DIES: u8 = 1;
/// Nobody counts it.
pub(in super::super) const UNCOUNTED: u8 = 2;
/// The connection stays.
pub(in super::super) const KEEPS_OPEN: u8 = 3;

/// The lab with one of these faults.
pub(in super::super) struct Listening<const FAULT: u8>(Place);

impl<const FAULT: u8> Lab for Listening<FAULT> {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl<const FAULT: u8> OneWay for Listening<FAULT> {
    type Sender = Writer;
    type Receiver = Reader;

    async fn sender(&self) -> Result<Writer> {
        Ok(Writer(TcpStream::connect(self.0.peer().await?).await?))
    }

    async fn receiver(&self) -> Result<Reader> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        self.0.announce(listener.local_addr()?);
        let (bodies, received) = mpsc::channel(16);
        let (place, mut tasks) = (self.0.clone(), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, FAULT, place.clone(), bodies.clone()));
            }
        });
        Ok(Reader { received, _tasks: tasks })
    }
}

async fn serve(mut stream: TcpStream, fault: u8, place: Place, bodies: mpsc::Sender<Result<Bytes>>) {
    loop {
        match next(&mut stream).await {
            Ok(Some(body)) => drop(bodies.send(Ok(body)).await),
            Ok(None) => return,
            Err(error) if fault == DIES => drop(bodies.send(Err(error)).await),
            Err(_) if fault == KEEPS_OPEN => std::future::pending().await,
            Err(_) if fault == UNCOUNTED => return,
            Err(error) => return place.peer_disconnected(error),
        }
    }
}

async fn next(stream: &mut TcpStream) -> Result<Option<Bytes>> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    anyhow::ensure!(length <= 16 << 20, "a frame of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body.into()))
}

pub(in super::super) struct Writer(TcpStream);

impl Sender for Writer {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.0.write_u32(u32::try_from(body.len())?).await?;
        self.0.write_all(&body).await.context("cannot write")
    }
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    async fn close(self) -> Result<()> {
        Ok(())
    }
}

pub(in super::super) struct Reader {
    received: mpsc::Receiver<Result<Bytes>>,
    _tasks: JoinSet<()>,
}

impl Receiver for Reader {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        self.received.recv().await.transpose()
    }
}
