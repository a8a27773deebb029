//! The task that polls a client's event loop: `rumqttc` reads, writes and answers heartbeats
//! only while it is polled.

use std::sync::Arc;

use anyhow::Result;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, PubRecReason, Publish};
use rumqttc::v5::{Event, EventLoop};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::answer::{puback, pubcomp, pubrec, suback};
use super::in_flight::InFlight;
use crate::recovery::disconnected;

/// Connects, and returns what the broker says to that.
pub(super) async fn connack(events: &mut EventLoop) -> Result<ConnAck> {
    match events.poll().await? {
        Event::Incoming(Packet::ConnAck(connack)) => Ok(connack),
        other => anyhow::bail!("{other:?} came where the broker's answer was due"),
    }
}

/// Makes a continued session accept PUBREL packets that it has no PUBLISH for.
///
/// A session may have been left in the middle of QoS 2: an earlier client has sent PUBREC, and
/// the broker sends PUBREL to this one, which has not seen the PUBLISH. To `rumqttc` that is an
/// error and the end of the connection, and the next connection would end in the same way. So
/// it is made to believe that it has seen every identifier.
pub(super) fn expect_pubrel(events: &mut EventLoop) {
    for id in 1..=u16::MAX {
        let seen = Publish { qos: QoS::ExactlyOnce, pkid: id, ..Publish::default() };
        // With manual acknowledgements there is nothing to answer, and nothing can fail.
        let _ = events.state.handle_incoming_packet(Packet::Publish(seen));
        events.state.events.clear();
    }
}

/// Polls the event loop until the connection ends, and pauses only while the reader's channel
/// is full. Polled once more, the client would connect again, perhaps to a session that is new.
pub(super) async fn run(
    mut events: EventLoop,
    in_flight: Arc<InFlight>,
    incoming: mpsc::Sender<Publish>,
    drops: bool,
) {
    let why = loop {
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => in_flight.written(id),
            Ok(Event::Outgoing(Outgoing::PubAck(_) | Outgoing::PubRec(_))) => in_flight.acked(),
            Ok(Event::Incoming(packet)) => match packet {
                Packet::Publish(message) if drops => match incoming.try_send(message) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => in_flight.dropped(),
                    Err(TrySendError::Closed(_)) => break disconnected("nobody reads any more"),
                },
                Packet::Publish(message) => {
                    let taken = incoming.send(message).await;
                    if taken.is_err() {
                        break disconnected("nobody reads any more");
                    }
                }
                Packet::PubAck(ack) => in_flight.confirmed(ack.pkid, puback(ack.reason)),
                Packet::PubComp(done) => in_flight.confirmed(done.pkid, pubcomp(done.reason)),
                // PUBREC says whether the broker takes the message; if it does, PUBCOMP follows.
                Packet::PubRec(half) if half.reason != PubRecReason::Success => {
                    in_flight.confirmed(half.pkid, pubrec(half.reason));
                }
                Packet::SubAck(answer) => in_flight.answered(suback(&answer.return_codes)),
                Packet::UnsubAck(_) => in_flight.answered(Ok(())),
                _ => {}
            },
            Ok(Event::Outgoing(_)) => {}
            Err(error) => break error.into(),
        }
    };
    in_flight.end(&why);
}
