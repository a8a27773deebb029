//! The floors that need no broker: what the labs do, and nothing else. No stamp,
//! no account, no record. As the labs' roles, both ends are processes of their
//! own (this program again), or threads where the lab is in-process.

use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use harness::measure::clock;
use harness::{process, roles, stats};
use tokio::sync::mpsc;
use zeromq::{PullSocket, PushSocket, Socket, SocketRecv, SocketSend};

use super::measure::{Peer, SECONDS, SIZE, Stand, WARMUP};

/// What `oneway-inproc` has: depth of the channel, and messages taken at once.
const DEPTH: usize = 1024;
const BATCH: usize = 128;
/// What `oneway-tcp` has: a length in front of each message, and bytes a write.
const FRAME: usize = 4 + SIZE;
const WRITE: usize = 64 << 10;
const READ: usize = 256 << 10;
/// What `reqrep-tcp` has: an identifier as well. The lab's length makes it 76.
const PING: usize = 8 + SIZE;
/// Messages between two looks at the clock.
const LOOK: u64 = 64;

static BODY: [u8; SIZE] = [b'm'; SIZE];

/// One end of a floor, as a process.
pub(super) fn main(args: &[&str]) -> Result<()> {
    match args {
        ["blast", "receiver"] => receive_bytes(),
        ["blast", address] => send_bytes(address),
        ["ping-pong", "responder"] => pong(),
        ["ping-pong", address] => ping(address),
        ["zeromq", "receiver"] => roles::runtime(0)?.block_on(pull()),
        ["zeromq", address] => roles::runtime(0)?.block_on(push(address)),
        _ => bail!("there is no floor {args:?}"),
    }
}

/// This program, as one end of a floor.
pub(super) fn end(args: &[&str]) -> Result<Peer> {
    let mut command = Command::new(process::this_program());
    command.arg("bare").args(args);
    Peer::start(command)
}

/// Counts what comes after the warm-up, for as long as a measurement takes.
#[derive(Default)]
pub(super) struct Count {
    from: Option<u64>,
    counted: u64,
}

impl Count {
    /// So many more have come. Messages a second, once the time is over.
    pub(super) fn add(&mut self, messages: u64) -> Option<f64> {
        let now = clock::now();
        let from = *self.from.get_or_insert(now + clock::seconds(WARMUP));
        if now >= from + clock::seconds(SECONDS) {
            return Some(self.counted as f64 / SECONDS);
        }
        self.counted += if now >= from { messages } else { 0 };
        None
    }
}

pub(super) fn blast(_: &Stand) -> Result<f64> {
    two_ends("blast", "receiver", false)
}

pub(super) fn ping_pong(_: &Stand) -> Result<f64> {
    two_ends("ping-pong", "responder", true)
}

pub(super) fn zeromq(_: &Stand) -> Result<f64> {
    two_ends("zeromq", "receiver", false)
}

/// One end binds and says where; the other connects. One of them has the result.
fn two_ends(what: &str, binder: &str, connector_tells: bool) -> Result<f64> {
    let mut bound = end(&[what, binder])?;
    let address = bound.line()?;
    let mut connected = end(&[what, &address])?;
    let teller = if connector_tells { &mut connected } else { &mut bound };
    teller.line()?.parse().context("not a number")
}

fn receive_bytes() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    let (mut buffer, mut bytes, mut count) = (vec![0; READ], 0, Count::default());
    loop {
        let read = stream.read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the sender has left");
        bytes += black_box(&buffer[..read]).len();
        if let Some(rate) = count.add((bytes / FRAME) as u64) {
            println!("{rate}");
            return Ok(());
        }
        bytes %= FRAME;
    }
}

fn send_bytes(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut frame = u32::try_from(SIZE)?.to_be_bytes().to_vec();
    frame.extend_from_slice(&BODY);
    let encoded = frame.repeat(WRITE / FRAME);
    until_left(|| stream.write_all(black_box(&encoded)))
}

/// Goes on until the other side has what it needs and leaves.
pub(super) fn until_left(mut work: impl FnMut() -> std::io::Result<()>) -> Result<()> {
    loop {
        match work() {
            Ok(()) => {}
            Err(left)
                if matches!(
                    left.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn pong() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut message = [0; PING];
    until_left(|| {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)
    })
}

/// The median round trip, ns.
fn ping(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut message = [1; PING];
    let mut round_trips = stats::new_histogram();
    let from = clock::now() + clock::seconds(WARMUP);
    loop {
        let sent = clock::now();
        if sent >= from + clock::seconds(SECONDS) {
            println!("{}", round_trips.value_at_quantile(0.5));
            return Ok(());
        }
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        if sent >= from {
            round_trips.saturating_record(clock::now() - sent);
        }
    }
}

async fn pull() -> Result<()> {
    let mut socket = PullSocket::new();
    println!("{}", socket.bind("tcp://127.0.0.1:0").await?);
    let mut count = Count::default();
    loop {
        for _ in 0..LOOK {
            black_box(socket.recv().await?);
        }
        if let Some(rate) = count.add(LOOK) {
            println!("{rate}");
            return Ok(());
        }
    }
}

async fn push(address: &str) -> Result<()> {
    let mut socket = PushSocket::new();
    socket.connect(address).await?;
    // An error means that the other side has what it needs.
    while socket.send(Bytes::from_static(&BODY).into()).await.is_ok() {}
    Ok(())
}

/// A channel between two threads that have a runtime each.
pub(super) fn channel(_: &Stand) -> Result<f64> {
    let (sender, mut receiver) = mpsc::channel(DEPTH);
    let sending = std::thread::spawn(move || -> Result<()> {
        roles::runtime(0)?.block_on(async { while sender.send(Bytes::from_static(&BODY)).await.is_ok() {} });
        Ok(())
    });
    let receiving = std::thread::spawn(move || -> Result<f64> {
        roles::runtime(0)?.block_on(async {
            let (mut taken, mut count) = (Vec::new(), Count::default());
            loop {
                receiver.recv_many(&mut taken, BATCH).await;
                let messages = taken.drain(..).map(black_box).count() as u64;
                if let Some(rate) = count.add(messages) {
                    return Ok(rate);
                }
            }
        })
    });
    let panicked = |_| anyhow::anyhow!("a thread of the floor panicked");
    let rate = receiving.join().map_err(panicked)?;
    sending.join().map_err(panicked)??;
    rate
}
