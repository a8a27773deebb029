//! Another program, which uses the broker's own client and knows nothing of the labs.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use labs::lab::Place;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeromq::{DealerSocket, PushSocket, Socket as _, SocketSend as _, ZmqMessage};

/// One message in the words of its protocol.
pub(super) enum Put {
    /// A command of Redis.
    Redis(Vec<Bytes>),
    /// Commands of NATS, as they stand on the wire.
    Nats(Vec<u8>),
    /// `basic.publish`: exchange, routing key, properties.
    Amqp(String, String, BasicProperties),
    /// PUBLISH: topic, properties.
    Mqtt(String, PublishProperties),
    /// A SEND frame of STOMP, without its receipt: what follows the command.
    Stomp(Vec<u8>),
    /// The frames of a message, from a DEALER.
    Dealer(Vec<Bytes>),
    /// The frames of a message, from a PUSH socket.
    Push(Vec<Bytes>),
    /// Through the lab itself, which is in memory and takes this body for a foreign one.
    Lab(Bytes),
}

/// The sockets of ØMQ that were used: closed, they would drop what they have not written.
#[derive(Default)]
pub(super) struct Stranger {
    dealer: Option<DealerSocket>,
    push: Option<PushSocket>,
}

impl Stranger {
    /// Returns when the broker has handled the message: whether it has taken it.
    pub(super) async fn put(&mut self, place: &Place, put: Put) -> Result<bool> {
        let done = match put {
            Put::Stomp(frame) => return stomp(place, &frame).await,
            Put::Redis(command) => redis(place, &command).await,
            Put::Nats(commands) => nats(place, &commands).await,
            Put::Amqp(exchange, key, properties) => amqp(place, &exchange, &key, properties).await,
            Put::Mqtt(topic, properties) => mqtt(place, topic, properties).await,
            Put::Dealer(frames) => {
                let socket = match &mut self.dealer {
                    Some(socket) => socket,
                    none => {
                        let mut socket = DealerSocket::new();
                        socket.connect(&address(place).await?).await?;
                        none.insert(socket)
                    }
                };
                socket.send(of(frames)?).await.context("the responder takes nothing")
            }
            Put::Push(frames) => {
                let socket = match &mut self.push {
                    Some(socket) => socket,
                    none => {
                        let mut socket = PushSocket::new();
                        socket.connect(&address(place).await?).await?;
                        none.insert(socket)
                    }
                };
                socket.send(of(frames)?).await.context("the receiver takes nothing")
            }
            Put::Lab(_) => bail!("a lab in memory has no other clients"),
        };
        done.map(|()| true)
    }
}

async fn address(place: &Place) -> Result<String> {
    Ok(format!("tcp://{}", place.peer().await?.trim_start_matches("tcp://")))
}

fn of(frames: Vec<Bytes>) -> Result<ZmqMessage> {
    ZmqMessage::try_from(frames).ok().context("a message needs a frame")
}

async fn redis(place: &Place, command: &[Bytes]) -> Result<()> {
    let client = redis::Client::open(place.broker()?.reveal())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut words = redis::Cmd::new();
    for word in command {
        words.arg(&word[..]);
    }
    words.exec_async(&mut connection).await.context("Redis refused")
}

/// Byte by byte: the client would refuse to write some of it.
async fn nats(place: &Place, commands: &[u8]) -> Result<()> {
    let endpoint = place.endpoint("nats")?;
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").await?;
    stream.write_all(commands).await?;
    // NATS handles commands in order.
    stream.write_all(b"PING\r\n").await?;
    let said = until(&mut stream, &["PONG\r\n"]).await?;
    ensure!(!said.contains("-ERR"), "NATS refused: {said}");
    Ok(())
}

async fn amqp(place: &Place, exchange: &str, key: &str, properties: BasicProperties) -> Result<()> {
    let connection = lapin::Connection::connect(place.broker()?.reveal(), Default::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let published =
        channel.basic_publish(exchange.into(), key.into(), options, b"foreign", properties).await?;
    published.await.context("RabbitMQ does not confirm")?;
    connection.close(200, "done".into()).await.context("cannot close")
}

async fn mqtt(place: &Place, topic: String, properties: PublishProperties) -> Result<()> {
    let endpoint = place.endpoint("mqtt")?;
    let (client, mut events) = AsyncClient::new(MqttOptions::new("", endpoint.host, endpoint.port), 4);
    // At QoS 1 the broker says when it has handled the message.
    client.publish_with_properties(topic, QoS::AtLeastOnce, false, "foreign", properties).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::PubAck(_))) {}
    client.disconnect().await?;
    while events.poll().await.is_ok() {}
    Ok(())
}

async fn stomp(place: &Place, frame: &[u8]) -> Result<bool> {
    let endpoint = place.endpoint("stomp")?;
    let (user, password) = endpoint.login.context("no login")?;
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    let mut frames = Vec::new();
    write!(
        frames,
        "CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:{password}\n\n\0SEND\nreceipt:in\n"
    )?;
    frames.extend_from_slice(frame);
    stream.write_all(&frames).await?;
    let said = until(&mut stream, &["receipt-id:in", "ERROR"]).await?;
    Ok(!said.contains("ERROR"))
}

/// Reads until one of these has come.
async fn until(stream: &mut TcpStream, ends: &[&str]) -> Result<String> {
    let mut seen = Vec::new();
    while !ends.iter().any(|end| String::from_utf8_lossy(&seen).contains(end)) {
        let read = stream.read_buf(&mut seen).await?;
        ensure!(read > 0, "the broker has closed the connection: {}", String::from_utf8_lossy(&seen));
    }
    Ok(String::from_utf8_lossy(&seen).into_owned())
}
