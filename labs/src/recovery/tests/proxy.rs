//! Real labs over TCP, through a proxy that can cut.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::{ConnectionLost, Recovering};
use crate::lab::{Directory, Lab, Place};
use crate::oneway::{OneWay as _, Receiver as _, Sender as _};
use crate::pubsub::{PubSub as _, Publisher as _, Subscriber as _};
use crate::reqrep::{RequestReply as _, Requester as _, Responder as _};
use crate::topic::{Filter, Topic};

/// Longer than anything takes here, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Forwards connections to one address, until it cuts them.
struct Proxy {
    address: String,
    cuts: watch::Sender<u64>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// `scheme`: what an address begins with, as `ws://`.
    async fn before(upstream: &str) -> Result<Self> {
        let (scheme, host) = upstream.rsplit_once("//").unwrap_or(("", upstream));
        let (scheme, host) = (scheme.to_owned(), host.to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?;
        let address = if scheme.is_empty() { port.to_string() } else { format!("{scheme}//{port}") };
        let cuts = watch::Sender::new(0);
        let (mut task, cutting) = (JoinSet::new(), cuts.clone());
        task.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, host) = (cutting.subscribe(), host.clone());
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(&host).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Ok(Self { address, cuts, _task: task })
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Where those who connect find the proxy instead of the binder.
    fn place(&self, name: &str) -> Place {
        let directory = Directory::supervised();
        directory.tell("", vec![self.address.clone()]);
        Place::new(name, None).with_directory(Arc::new(directory))
    }
}

/// A place for binders, and the name that it and those who connect have in common.
fn site(name: &str) -> (Place, String) {
    let name = format!("proxy-{}-{name}", std::process::id());
    (Place::new(&name, None), name)
}

async fn one_way<L: crate::oneway::OneWay>(name: &str) -> Result<()> {
    let (place, name) = site(name);
    let mut receiver = Recovering::<L>::open(&place).await?.receiver().await?;
    let proxy = Proxy::before(&place.peer().await?).await?;
    let near = proxy.place(&name);
    let mut sender = Recovering::<L>::open(&near).await?.sender().await?;
    for cut in 0..3_u64 {
        // Until one arrives over this connection: what is lost with one is not sent again.
        let mut sent = 0;
        loop {
            sender.send(Bytes::from(format!("{cut} {sent}"))).await?;
            sender.flush().await?;
            sent += 1;
            let Ok(received) = timeout(Duration::from_millis(100), receiver.recv()).await else { continue };
            // `None`: the connection before has ended, and no other was there.
            let Some(body) = received? else { continue };
            if body.starts_with(format!("{cut} ").as_bytes()) {
                break;
            }
        }
        proxy.cut();
    }
    assert!(near.incidents().counts().reconnects >= 2, "{:?}", near.incidents().counts());
    Ok(())
}

#[tokio::test]
async fn one_way_over_tcp_goes_on() -> Result<()> {
    timeout(LONG, one_way::<crate::oneway::tcp::Tcp>("oneway")).await?
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn one_way_over_websocket_goes_on() -> Result<()> {
    timeout(LONG, one_way::<crate::oneway::websocket::WebSocket>("oneway-ws")).await?
}

#[cfg(feature = "zeromq")]
#[tokio::test]
async fn one_way_over_zeromq_goes_on() -> Result<()> {
    timeout(LONG, one_way::<crate::oneway::zeromq::ZeroMq>("oneway-zmq")).await?
}

async fn pub_sub<L: crate::pubsub::PubSub>(name: &str) -> Result<()> {
    let (place, name) = site(name);
    let topic = Topic::new("a.b")?;
    let mut publisher = Recovering::<L>::open(&place).await?.publisher().await?;
    let proxy = Proxy::before(&place.peer().await?).await?;
    let near = proxy.place(&name);
    let mut subscriber = Recovering::<L>::open(&near).await?.subscriber(&Filter::All).await?;
    for cut in 0..3_u64 {
        loop {
            publisher.publish(&topic, Bytes::from(cut.to_string())).await?;
            publisher.flush().await?;
            let Ok(event) = timeout(Duration::from_millis(100), subscriber.next()).await else { continue };
            if event?.is_some_and(|event| event.body == cut.to_string()) {
                break;
            }
        }
        proxy.cut();
    }
    assert!(near.incidents().counts().reconnects >= 2, "{:?}", near.incidents().counts());
    Ok(())
}

#[tokio::test]
async fn subscribers_over_tcp_join_again() -> Result<()> {
    timeout(LONG, pub_sub::<crate::pubsub::tcp::Tcp>("pubsub")).await?
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn subscribers_over_websocket_join_again() -> Result<()> {
    timeout(LONG, pub_sub::<crate::pubsub::websocket::WebSocket>("pubsub-ws")).await?
}

#[cfg(feature = "zeromq")]
#[tokio::test]
async fn subscribers_over_zeromq_join_again() -> Result<()> {
    timeout(LONG, pub_sub::<crate::pubsub::zeromq::ZeroMq>("pubsub-zmq")).await?
}

/// Two responders, of which one is behind a proxy that cuts.
async fn request_reply<L: crate::reqrep::RequestReply>(name: &str) -> Result<()> {
    let (mut addresses, mut proxies) = (Vec::new(), Vec::new());
    let mut responders = Vec::new();
    for number in 0..2 {
        let (place, _) = site(&format!("{name}-{number}"));
        let responder = Recovering::<L>::open(&place).await?.responder().await?;
        let proxy = Proxy::before(&place.peer().await?).await?;
        addresses.push(proxy.address.clone());
        proxies.push(proxy);
        responders.push(responder);
    }
    let answering =
        async |mut responder: <Recovering<L> as crate::reqrep::RequestReply>::Responder| -> Result<()> {
            loop {
                if let Some((request, to)) = responder.next().await? {
                    responder.reply(to, request.0.into()).await?;
                }
            }
        };
    let directory = Directory::supervised();
    directory.tell("", addresses);
    let near = site(name).0.with_directory(Arc::new(directory));
    let requester = Recovering::<L>::open(&near).await?.requester().await?;
    let asking = async {
        let mut answered = BTreeSet::new();
        for number in 0..60_u32 {
            if number % 20 == 19 {
                proxies[0].cut();
            }
            let request = number.to_string();
            match requester.ask(request.clone().into_bytes().into()).await {
                Ok(reply) => {
                    assert_eq!(reply.0, request);
                    answered.insert(number);
                }
                Err(error) => assert!(error.is::<ConnectionLost>(), "{error:#}"),
            }
        }
        assert!(answered.len() >= 57, "{} of 60", answered.len());
        // Both are away for a moment: `ask` waits.
        proxies.iter().for_each(Proxy::cut);
        while requester.ask("once more".into()).await.is_err() {}
        Ok::<_, anyhow::Error>(())
    };
    let [first, second] = <[_; 2]>::try_from(responders).ok().context("two responders")?;
    tokio::select! {
        done = asking => done,
        ended = answering(first) => ended,
        ended = answering(second) => ended,
    }
}

#[tokio::test]
async fn requests_over_tcp_go_on() -> Result<()> {
    timeout(LONG, request_reply::<crate::reqrep::tcp::Tcp>("reqrep")).await?
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn requests_over_websocket_go_on() -> Result<()> {
    timeout(LONG, request_reply::<crate::reqrep::websocket::WebSocket>("reqrep-ws")).await?
}

#[cfg(feature = "http")]
#[tokio::test]
async fn requests_over_http_go_on() -> Result<()> {
    timeout(LONG, request_reply::<crate::reqrep::http::Http>("reqrep-http")).await?
}

#[cfg(feature = "zeromq")]
#[tokio::test]
async fn requests_over_zeromq_go_on() -> Result<()> {
    timeout(LONG, request_reply::<crate::reqrep::zeromq_dealer::ZeroMqDealer>("reqrep-dealer")).await??;
    Ok(())
}

#[cfg(feature = "outbox")]
#[tokio::test]
async fn a_queue_over_tcp_delivers_everything() -> Result<()> {
    use crate::queue::tcp::Tcp;
    use crate::queue::{Consumer as _, Producer as _, Queue as _};
    let all = async {
        let (place, name) = site("queue");
        let lab = Recovering::<Tcp>::open(&place).await?;
        let producer = lab.producer().await?;
        let proxy = Proxy::before(&place.peer().await?).await?;
        let near = proxy.place(&name);
        let mut consumer = Recovering::<Tcp>::open(&near).await?.consumer(8).await?;
        let mut seen = BTreeSet::new();
        for number in 0..100_u32 {
            producer.send(Bytes::from(number.to_string())).await?;
        }
        while seen.len() < 100 {
            let delivery = consumer.next().await?.context("a message")?;
            seen.insert(delivery.item);
            if seen.len() % 30 == 0 {
                proxy.cut();
            }
            consumer.ack(delivery.receipt).await?;
        }
        consumer.flush().await?;
        consumer.close().await?;
        producer.close().await?;
        assert!(near.incidents().counts().reconnects >= 3, "{:?}", near.incidents().counts());
        Tcp::remove(&place).await
    };
    timeout(LONG, all).await?
}
