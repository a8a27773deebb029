//! The checker's own end of TCP: a listener for the exercises without a broker.
//!
//! Messages are frames: four bytes of length, big-endian, then that many bytes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::history::What;
use super::program::{Events, Heard};
use super::trouble::Trouble;

/// The longest frame of a program, bytes.
const LONGEST: usize = 1 << 20;
/// Most connections of a run.
const MOST_CONNECTIONS: usize = 100;

/// What is done with a frame that has come.
pub(crate) enum Reaction {
    /// Nothing.
    None,
    /// It is sent back, at that time at the earliest; frames behind it wait.
    Echo(Option<Instant>),
}

/// Decides what is done with a frame.
pub(crate) type OnFrame = Rc<dyn Fn(&str) -> Reaction>;

/// The listener and its connections.
#[derive(Clone, Default)]
pub(crate) struct Tcp {
    open: Rc<RefCell<BTreeMap<usize, Rc<Mutex<OwnedWriteHalf>>>>>,
    rule: Rc<RefCell<Option<OnFrame>>>,
}

impl Tcp {
    /// Listens; returns the address.
    pub(crate) async fn listen(&self, events: Events) -> Result<std::net::SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for the exercise")?;
        let address = listener.local_addr().context("a listener without an address")?;
        let tcp = self.clone();
        let count = Cell::new(0);
        tokio::task::spawn_local(async move {
            while count.get() < MOST_CONNECTIONS {
                let Ok((stream, _)) = listener.accept().await else { return };
                let connection = count.replace(count.get() + 1);
                tcp.opened(connection, stream, events.clone());
            }
        });
        Ok(address)
    }

    fn opened(&self, connection: usize, stream: TcpStream, events: Events) {
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let write = Rc::new(Mutex::new(write));
        self.open.borrow_mut().insert(connection, write.clone());
        let _ = events.send(Heard::What(What::Opened));
        let rule = self.rule.clone();
        let open = self.open.clone();
        tokio::task::spawn_local(async move {
            if let Err(trouble) = frames(read, connection, &write, &rule, &events).await {
                let _ = events.send(Heard::Trouble(trouble));
            }
            open.borrow_mut().remove(&connection);
            let _ = events.send(Heard::What(What::Closed));
        });
    }

    /// What is done with frames from now on.
    pub(crate) fn on_frame(&self, rule: OnFrame) {
        *self.rule.borrow_mut() = Some(rule);
    }

    /// Writes bytes as they are; nothing happens when the connection has ended.
    pub(crate) async fn write(&self, connection: usize, bytes: &[u8]) {
        let write = self.open.borrow().get(&connection).cloned();
        if let Some(write) = write {
            let _ = write.lock().await.write_all(bytes).await;
        }
    }

    /// Ends the sending side of a connection: the program reads the end of the stream.
    pub(crate) async fn finish(&self, connection: usize) {
        let write = self.open.borrow().get(&connection).cloned();
        if let Some(write) = write {
            let _ = write.lock().await.shutdown().await;
        }
    }
}

/// A body with its length in front.
pub(crate) fn frame(body: &str) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body.as_bytes());
    frame
}

async fn frames(
    mut read: OwnedReadHalf,
    connection: usize,
    write: &Mutex<OwnedWriteHalf>,
    rule: &RefCell<Option<OnFrame>>,
    events: &Events,
) -> Result<(), Trouble> {
    loop {
        let mut length = [0; 4];
        if read.read_exact(&mut length).await.is_err() {
            return Ok(());
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(Trouble::new(
                format!("the program has announced a frame of {length} bytes; at most {LONGEST} are allowed"),
                "a frame is four bytes of length, big-endian, then that many bytes",
            ));
        }
        let mut body = vec![0; length];
        if read.read_exact(&mut body).await.is_err() {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let reaction = rule.borrow().as_ref().map_or(Reaction::None, |rule| rule(&body));
        let _ = events.send(Heard::What(What::Frame { connection, own: false, body: body.clone() }));
        if let Reaction::Echo(at) = reaction {
            if let Some(at) = at {
                tokio::time::sleep_until(at).await;
            }
            let _ = events.send(Heard::What(What::Frame { connection, own: true, body: body.clone() }));
            if write.lock().await.write_all(&frame(&body)).await.is_err() {
                return Ok(());
            }
        }
    }
}
