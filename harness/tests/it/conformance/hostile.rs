//! A bad peer costs its own connection, and nothing more: while the roles of a lab exchange
//! messages, strangers connect to its listener and break the protocol in every way that is known
//! here. All messages arrive, and those who broke the protocol are counted.

use std::cell::Cell;
use std::io::ErrorKind;

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use labs::lab::{Lab, Place};
use labs::pipeline::Stage;
use labs::reqrep::RequestReply;
use libtest_mimic::Trial;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::broken::fault;
use super::faulty::strangers::{DIES, KEEPS_OPEN, Listening, PATIENT, UNCOUNTED};
use super::place::Site;
use super::reqrep::{OPEN, ask, serve};
use super::stream::{Stream, Tx as _, each_once, message, noise, take};
use super::{Promise, oneway, trial};

/// Connections that are made and closed, one after the other.
const VISITS: usize = 200;
/// Connections that are made and say nothing.
const SILENT: usize = 20;
/// Messages at a time.
const FEW: u64 = 3;
/// Messages, or requests, after the strangers have left.
const BATCH: u64 = 300;

/// Whether a lab has listeners that strangers can reach.
pub(super) fn listens<L: Lab>() -> bool {
    L::BROKER.is_none() && L::TRANSPORT != "inproc"
}

/// What a listener of the lab takes for an error.
#[derive(Clone, Copy)]
pub(super) struct Listener {
    /// The body of a whole frame that means nothing; empty where any frame is a message.
    pub(super) foreign: &'static [u8],
    /// The type of ØMQ socket that it talks to.
    pub(super) socket: &'static [u8],
}

/// One way to break a protocol.
pub(super) struct Attack {
    what: &'static str,
    /// What is sent first, and answered.
    pub(super) first: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    /// Whether the listener ends the connection by itself; otherwise the stranger leaves.
    ends: bool,
}

/// The stranger leaves in the middle of something.
fn leaves(what: &'static str, bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { what, first: Vec::new(), bytes: bytes.into(), ends: false }
}

/// The listener has to end it.
fn ends(what: &'static str, bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { what, first: Vec::new(), bytes: bytes.into(), ends: true }
}

/// What is thrown at a listener of this transport; each is counted once.
fn attacks(transport: &str, Listener { foreign, socket }: Listener) -> Vec<Attack> {
    let some = !foreign.is_empty();
    match transport {
        "tcp" | "unix" => {
            let foreign = some.then(|| ends("a foreign frame", framed(foreign)));
            frames().into_iter().chain(foreign).collect()
        }
        "websocket" => {
            let masked = [&[0x82, 0x80 | foreign.len() as u8, 0, 0, 0, 0][..], foreign].concat();
            let foreign = some.then(|| upgraded("a foreign message", &masked));
            websocket().into_iter().chain(foreign).collect()
        }
        "http" => http(),
        "zeromq" => zeromq(socket),
        other => unreachable!("a lab over {other} that listens"),
    }
}

pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn frames() -> Vec<Attack> {
    let noise = |seed| [0x80_u8].into_iter().chain(noise(seed, 300)).collect::<Vec<u8>>();
    vec![
        ends("a frame of 4 GiB", [0xff; 4]),
        ends("a frame that is one byte too long", ((16_u32 << 20) + 1).to_be_bytes()),
        ends("HTTP", *b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        ends("noise", noise(1)),
        ends("other noise", noise(2)),
        leaves("half a length", [0, 0]),
        leaves("half a frame", [&[0, 0, 1, 0][..], &[7; 100]].concat()),
        leaves("half a long frame", [&[0, 0x80, 0, 0][..], &[7; 300_000]].concat()),
    ]
}

pub(super) fn upgraded(what: &'static str, bytes: &[u8]) -> Attack {
    let first = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    Attack { first: first.to_vec(), ..ends(what, bytes) }
}

fn websocket() -> Vec<Attack> {
    vec![
        ends("noise", noise(3, 300).collect::<Vec<u8>>()),
        ends("no upgrade", *b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        leaves("half a handshake", *b"GET / HTTP/1.1\r\nhost: loc"),
        upgraded("a frame without a mask", &[0x82, 3, 1, 2, 3]),
        upgraded("a frame of 2^40 bytes", &[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
        upgraded("reserved bits", &[0xf2, 0x80, 1, 2, 3, 4]),
    ]
}

fn http() -> Vec<Attack> {
    vec![
        ends("noise", noise(4, 300).collect::<Vec<u8>>()),
        leaves("half a head", *b"POST / HTTP/1.1\r\nhost: loc"),
        leaves("half a body", *b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf"),
        ends(
            "a body of 2^40 bytes",
            *b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1099511627776\r\n\r\nx",
        ),
        ends(
            "broken chunks",
            *b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        ),
    ]
}

/// How a ØMQ connection begins.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// What a ØMQ socket of this type sends before its first message.
pub(super) fn joined(socket: &[u8]) -> Vec<u8> {
    let property = [&[11][..], b"Socket-Type", &(socket.len() as u32).to_be_bytes(), socket].concat();
    let command = [&[5][..], b"READY", &property].concat();
    [&greeting()[..], &[4, command.len() as u8], &command].concat()
}

/// `socket` is the type of socket that may speak to the listener.
fn zeromq(socket: &[u8]) -> Vec<Attack> {
    let greeting = greeting();
    let after = |bytes: &[u8]| [&joined(socket)[..], bytes].concat();
    let many = [1, 1, 7].repeat(100);
    let mut attacks = vec![
        ends("noise", [0_u8].into_iter().chain(noise(5, 300)).collect::<Vec<u8>>()),
        ends("noise in place of a command", [&greeting[..], &[7; 300]].concat()),
        leaves("a greeting only", greeting.clone()),
        ends("a socket of the wrong type", joined(b"PAIR")),
        ends("a command of 2^40 bytes", [&greeting[..], &[6, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat()),
    ];
    // One who has joined a PUSH socket gets messages like everybody else.
    if socket == b"PULL" {
        return attacks;
    }
    attacks.extend([
        ends("a frame of 2^40 bytes", after(&[2, 0, 0, 1, 0, 0, 0, 0, 0, 0])),
        ends("a frame of 2^63 bytes", after(&[2, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        ends("a message of too many frames", after(&many)),
        leaves("half a frame", after(&[0, 10, 1, 2, 3])),
        leaves("the first byte of a frame", after(&[2])),
    ]);
    attacks
}

pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

pub(super) async fn connect(address: &str) -> Result<Box<dyn Connection>> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Box::new(UnixStream::connect(path).await?));
    }
    let address = address.split_once("://").map_or(address, |(_, address)| address);
    Ok(Box::new(TcpStream::connect(address).await?))
}

/// Sends, and waits until the listener has closed the connection.
async fn throw(address: &str, attack: &Attack) -> Result<()> {
    let mut connection = connect(address).await?;
    let mut answer = [0; 1024];
    if !attack.first.is_empty() {
        connection.write_all(&attack.first).await?;
        ensure!(connection.read(&mut answer).await? > 0, "no answer to {}", attack.what);
    }
    // It may be closed before all is sent.
    let sent = connection.write_all(&attack.bytes).await;
    if !attack.ends && sent.is_ok() {
        connection.flush().await?;
        let _ = connection.shutdown().await;
    }
    loop {
        match connection.read(&mut answer).await {
            Ok(0) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Ok(());
            }
            read => drop(read?),
        }
    }
}

/// Everything at every listener of the place.
async fn throw_all(site: &Site, place: &Place, transport: &str, listener: Listener) -> Result<()> {
    let before = place.incidents().counts().peers_disconnected;
    let addresses = addresses(place);
    ensure!(!addresses.is_empty(), "nothing listens");
    let (mut broke, mut silent) = (0, Vec::new());
    for address in &addresses {
        for _ in 0..SILENT {
            silent.push(connect(address).await?);
        }
        for _ in 0..VISITS {
            drop(connect(address).await?);
        }
        for attack in attacks(transport, listener) {
            let what = format!("the listener ends the connection of one that sends {}", attack.what);
            site.soon(&what, throw(address, &attack)).await?;
            broke += 1;
            let mut counts = place.incidents().watch();
            let counted = async {
                let enough = counts.wait_for(|counts| counts.peers_disconnected >= before + broke).await;
                enough.map(drop).context("nobody counts")
            };
            site.soon(&format!("it is counted that somebody sent {}", attack.what), counted).await?;
        }
    }
    // Those who were silent for too long may be among them.
    let counted = place.incidents().counts().peers_disconnected - before;
    let most = broke + silent.len() as u64;
    ensure!(counted <= most, "{counted} peers were counted, and {broke} broke the protocol");
    Ok(())
}

pub(super) fn addresses(place: &Place) -> Vec<String> {
    let stages = [Stage::Tasks, Stage::Results].map(|stage| place.namespace(stage.namespace()));
    let known = |place: &Place| place.peers().now_or_never().and_then(Result::ok).unwrap_or_default();
    [place.clone()].iter().chain(&stages).flat_map(known).collect()
}

/// A stream's messages arrive, whatever others do to its listener.
pub(super) async fn stream<S: Stream>(site: Site, listener: Listener) -> Result<()> {
    // A ventilator that has enough credit does not look at what comes.
    let place = site.clone().with(&[("credit", 4)]).place();
    let (mut tx, mut rx) = site.soon("both ends join", S::join(&place)).await?;
    let over = Cell::new(false);
    let strangers = async {
        throw_all(&site, &place, S::Lab::TRANSPORT, listener).await?;
        over.set(true);
        anyhow::Ok(())
    };
    // A few at a time, while the strangers are there and afterwards.
    let exchange = async {
        let (mut sent, mut came, mut after) = (0, Vec::new(), 0);
        while after < BATCH {
            let numbers = sent..sent + FEW;
            (sent, after) = (numbers.end, after + u64::from(over.get()) * FEW);
            tx.put(numbers.clone().map(|number| message(number, 100)).collect()).await?;
            tx.flush().await?;
            for _ in numbers {
                let number = site.soon("the messages of those who keep to the protocol come", take(&mut rx));
                came.push(number.await?);
            }
            tokio::task::yield_now().await;
        }
        each_once(&came, 0..sent)
    };
    tokio::try_join!(strangers, exchange).map(drop)
}

/// Requests are answered, whatever others do to the responder's listener.
pub(super) async fn requests<L: RequestReply>(site: Site, listener: Listener) -> Result<()> {
    let (place, (requester, mut responder)) = join_at::<L>(&site).await?;
    let answered = Cell::new(0);
    let asking = async {
        let (over, asked) = (Cell::new(false), Cell::new(0));
        let strangers = async {
            throw_all(&site, &place, L::TRANSPORT, listener).await?;
            over.set(true);
            anyhow::Ok(())
        };
        let meanwhile = async {
            while !over.get() {
                ask(&requester, asked.replace(asked.get() + 1)).await?;
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(strangers, meanwhile)?;
        try_join_all((0..BATCH).map(|number| ask(&requester, asked.get() + number))).await.map(drop)
    };
    let both = async {
        tokio::select! {
            biased;
            done = asking => done,
            ended = serve::<L>(&mut responder, &answered, OPEN) => ended.context("the responder broke"),
        }
    };
    site.soon("every request is answered", both).await
}

async fn join_at<L: RequestReply>(site: &Site) -> Result<(Place, (L::Requester, L::Responder))> {
    let place = site.place();
    let lab = L::open(&place).await?;
    let joined = tokio::try_join!(lab.requester(), lab.responder())?;
    Ok((place, joined))
}

/// For each fault a lab that has it, and fails.
pub(super) fn trials() -> Vec<Trial> {
    fn strangers<const FAULT: u8>() -> Promise {
        const LISTENER: Listener = Listener { foreign: b"", socket: b"" };
        Promise::of::<Listening<FAULT>, _>("hostile", |site| {
            stream::<oneway::Way<Listening<FAULT>>>(site, LISTENER)
        })
    }
    vec![
        trial("conformance::listeners_go_on_with_few_files".to_owned(), None, super::few_files::few_files),
        trial("broken::hostile_is_fair".to_owned(), None, || {
            strangers::<PATIENT>().hold(Site::new("patient", None)?)
        }),
        fault("hostile_dies", strangers::<DIES>(), "a frame of 4294967295 bytes"),
        fault("hostile_is_not_counted", strangers::<UNCOUNTED>(), "it is counted that somebody sent"),
        fault("hostile_stays", strangers::<KEEPS_OPEN>(), "the listener ends the connection of one"),
    ]
}
