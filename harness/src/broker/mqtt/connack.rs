//! What a broker says to CONNECT: whether it speaks MQTT 5, and its limits.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::BrokerFeature;
use labs::printable::printable_bytes;

use crate::broker::conversation::Conversation;

const CONNACK: u8 = 0x20;
/// Longest CONNACK, bytes.
const LONGEST: usize = 1 << 16;

/// The limits of a broker, as its CONNACK has them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The highest quality of service.
    pub(super) most_qos: u8,
    /// Bytes of the largest packet, if there is a limit.
    pub(super) largest_packet: Option<u32>,
    /// Features that labs use and the broker lacks.
    lacks: Vec<&'static str>,
}

impl Limits {
    /// What labs need and it does not have.
    pub(super) fn lacking(&self) -> Vec<BrokerFeature> {
        let shared = BrokerFeature::SharedSubscriptions;
        let shared = self.lacks.contains(&shared.as_str()).then_some(shared);
        shared.into_iter().chain((self.most_qos < 2).then_some(BrokerFeature::QualityOfService2)).collect()
    }

    /// As settings of the broker.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::from([("maximum QoS".to_owned(), self.most_qos.to_string())]);
        settings.extend(self.largest_packet.map(|most| ("maximum packet size".to_owned(), most.to_string())));
        if !self.lacks.is_empty() {
            settings.insert("lacks".to_owned(), self.lacks.join(", "));
        }
        settings
    }
}

/// Reads the answer to CONNECT.
pub(super) async fn connack(mqtt: &mut Conversation) -> Result<Limits> {
    let head = mqtt.exactly(2).await.map_err(|error| {
        error.context(
            "it ends the connection of a client of MQTT 5; the labs need a broker that speaks MQTT 5",
        )
    })?;
    ensure!(
        head[0] == CONNACK,
        "it does not speak MQTT, but says `{}`",
        printable_bytes(&[&head[..], &mqtt.unread()[..mqtt.unread().len().min(98)]].concat())
    );
    // The length is in groups of seven bits.
    let (mut length, mut shift, mut byte) = (usize::from(head[1] & 0x7f), 7, head[1]);
    while byte & 0x80 != 0 && shift < 28 {
        byte = mqtt.exactly(1).await?[0];
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
    }
    ensure!(length <= LONGEST, "its answer to CONNECT is longer than {LONGEST} bytes");
    read(&mqtt.exactly(length).await?)
}

/// Flags, a reason code and, in MQTT 5 only, properties.
fn read(body: &[u8]) -> Result<Limits> {
    let reason = *body.get(1).context("its answer to CONNECT is cut off")?;
    match reason {
        0 => {}
        4 | 5 | 0x86 | 0x87 | 0x8c => {
            bail!("it refuses the login; are user and password right (mqtt://USER:PASSWORD@HOST)?")
        }
        // Return code 1 of MQTT 3.1.1, and the reason code of MQTT 5.
        1 | 0x84 => bail!("it does not speak MQTT 5, which the labs speak"),
        2 | 0x85 => bail!("it refuses clients without a name (reason code {reason:#04x})"),
        3 | 0x88 | 0x89 | 0x97 | 0x9f => bail!("it takes no more clients now (reason code {reason:#04x})"),
        _ => bail!("it refuses clients (reason code {reason:#04x})"),
    }
    ensure!(body.len() > 2, "it answers in MQTT 3.1.1, and the labs speak MQTT 5");
    let mut limits = Limits { most_qos: 2, largest_packet: None, lacks: Vec::new() };
    let mut rest = properties(&body[2..]).context("its answer to CONNECT is cut off")?;
    while let [identifier, value @ ..] = rest {
        let length = match identifier {
            // Maximum QoS, retain, wildcards, identifiers and shared subscriptions: a byte each.
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            // Receive maximum, topic aliases, server keep alive.
            0x13 | 0x21 | 0x22 => 2,
            // Session expiry, maximum packet size.
            0x11 | 0x27 => 4,
            // Texts and data: two bytes of length.
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => 2 + short(value).context("a property is cut off")?,
            0x26 => {
                let name = 2 + short(value).context("a property is cut off")?;
                name + 2 + value.get(name..).and_then(short).context("a property is cut off")?
            }
            other => bail!("its answer to CONNECT has an unknown property, {other:#04x}"),
        };
        let value = value.get(..length).context("a property is cut off")?;
        match (identifier, value) {
            (0x24, [most]) => limits.most_qos = *most,
            (0x25, [0]) => limits.lacks.push("retained messages"),
            (0x28, [0]) => limits.lacks.push("wildcards"),
            (0x2a, [0]) => limits.lacks.push(BrokerFeature::SharedSubscriptions.as_str()),
            (0x27, &[a, b, c, d]) => limits.largest_packet = Some(u32::from_be_bytes([a, b, c, d])),
            _ => {}
        }
        rest = &rest[1 + length..];
    }
    Ok(limits)
}

/// The properties behind their length.
fn properties(bytes: &[u8]) -> Option<&[u8]> {
    let (mut length, mut at) = (0_usize, 0);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            return bytes.get(at..at.checked_add(length)?);
        }
        if at == 4 {
            return None;
        }
    }
}

fn short(bytes: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded bodies of CONNACK: Mosquitto 2.0 (topic aliases, an assigned name, a receive
    /// maximum), one with every limit, and brokers that speak MQTT 3.1.1.
    #[test]
    fn limits_are_read_from_recorded_answers() {
        let mosquitto = b"\0\0\x0d\x22\0\x0a\x12\0\x04auto\x21\0\x14";
        assert_eq!(
            read(mosquitto).expect("read"),
            Limits { most_qos: 2, largest_packet: None, lacks: vec![] }
        );
        let small = b"\0\0\x0d\x24\x01\x25\0\x27\0\0\x10\0\x2a\0\x28\x01";
        let limits = read(small).expect("read");
        assert_eq!((limits.most_qos, limits.largest_packet), (1, Some(4096)));
        assert_eq!(limits.settings()["lacks"], "retained messages, shared subscriptions");
        let lacking = [BrokerFeature::SharedSubscriptions, BrokerFeature::QualityOfService2];
        assert_eq!(limits.lacking(), lacking);
        assert_eq!(read(mosquitto).expect("read").lacking(), []);
        for (body, said) in [
            (&b"\0\x01"[..], "does not speak MQTT 5"),
            (b"\0\x84\0", "does not speak MQTT 5"),
            (b"\0\0", "answers in MQTT 3.1.1"),
            (b"\0\x05", "refuses the login"),
            (b"\0\x86\0", "refuses the login"),
            (b"\0\x89\0", "takes no more clients"),
            (b"\0", "cut off"),
            (b"\0\0\x05\x27\0", "cut off"),
            (b"\0\0\x01\x77", "unknown property"),
        ] {
            let error = format!("{:#}", read(body).expect_err("no limits"));
            assert!(error.contains(said), "{body:?}: {error}");
        }
    }

    #[test]
    fn fuzz_connack() {
        let seeds =
            [&b"\0\0\x0d\x22\0\x0a\x12\0\x04auto\x21\0\x14"[..], b"\0\0\x08\x26\0\x01a\0\x02bc\x24\x01"];
        fuzz::Target::new("connack").seeds(seeds).run(|input| read(input).is_ok());
    }
}
