//! An MQTT broker: Mosquitto.

mod connack;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use labs::lab::{Broker, BrokerAddress, Endpoint, Guarantee};
use labs::printable::printable;

use super::conversation::Conversation;
use super::private::{Plan, Private, Start};
use super::private_options::{About, Options};
use super::{embedded, find, ports};
use crate::{hint, process};
use connack::connack;

/// Bytes of a packet that are left to topic and properties.
const PACKET_HEAD: u64 = 256;

/// The settings of a private Mosquitto, and why they are not the defaults.
///
/// With the defaults, kill -9 loses what was confirmed since the last save,
/// half an hour ago, and a subscriber that is away gets the first 1,000
/// messages only.
///
/// No setting makes Mosquitto 2.0 save before it confirms. Saving after every
/// change (`autosave_on_changes true`, `autosave_interval 1`) still loses the
/// message that was confirmed last, 50 times out of 50 when the kill follows at
/// once, and writes all that is stored with each message: 200 a second, fewer
/// as they pile up. So it saves every second, and no lab over it is durable.
const SETTINGS: [(&str, &str); 10] = [
    ("persistence", "true"),
    ("autosave_on_changes", "false"),
    ("autosave_interval", "1"),
    // How often it counts its clients for `$SYS`.
    ("sys_interval", "1"),
    // No limit to what waits for a subscriber; the run is bounded by its own account.
    ("max_queued_messages", "0"),
    ("max_queued_bytes", "0"),
    ("max_inflight_messages", "0"),
    ("allow_anonymous", "true"),
    ("set_tcp_nodelay", "true"),
    ("log_dest", "stderr"),
];

pub(super) fn launch(program: &Path, options: &Options<'_>) -> Result<Private> {
    let dir = super::private_options::folder("mosquitto", options)?;
    let port = ports::free()?;
    let path = dir.path().display().to_string();
    let mut config = format!("listener {port} 127.0.0.1\npersistence_location {path}/\n");
    // A user of the system's that may not exist: the broker runs as who starts it.
    if rustix::process::geteuid().is_root() {
        config.push_str("user root\n");
    }
    let own = |name: &str| options.settings.iter().any(|(own, _)| own == name);
    for (name, value) in SETTINGS.into_iter().filter(|(name, _)| !own(name)) {
        config.push_str(&format!("{name} {value}\n"));
    }
    for (name, value) in options.settings {
        config.push_str(&format!("{name} {value}\n"));
    }
    let file = dir.path().join("mosquitto.conf");
    std::fs::write(&file, config)
        .with_context(|| format!("cannot write {}; is the disk full?", file.display()))?;
    let args = vec!["-c".to_owned(), file.display().to_string()];
    let env = vec![
        ("PATH".to_owned(), super::private_options::system_path()),
        ("HOME".to_owned(), path),
        ("LC_ALL".to_owned(), "C".to_owned()),
    ];
    let plan = Plan {
        address: BrokerAddress::parse(Broker::Mqtt, &format!("mqtt://127.0.0.1:{port}"))?,
        programs: vec![Start { log: "mosquitto", program: program.to_owned(), args, env, listens: None }],
        patience: Duration::from_secs(20),
        interval: Duration::from_millis(5),
        advice: format!(
            "try `{}` by hand, or install it again with `{}`",
            program.display(),
            hint::command(&["doctor", "--install"])
        ),
    };
    Private::start(dir, plan)
}

/// Shakes hands as a client of MQTT 5 does, which the labs are, and asks for `$SYS/broker/version`.
pub(super) async fn ask(address: &BrokerAddress, private: Option<&Private>) -> Result<About> {
    let remedy = || format!("cannot connect to an MQTT broker at {address}; is one running there?");
    let endpoint = address.endpoint("mqtt")?;
    let mut mqtt = Conversation::with(address, "mqtt").await.with_context(remedy)?;
    if let Some(private) = private {
        // MQTT has no word for who answers, but the kernel knows who listens.
        ensure!(
            process::listens(&process::tree(&private.pids()), endpoint.port),
            "another program answers at {address}"
        );
    }
    mqtt.say(&connect_packet(&endpoint)).await.with_context(remedy)?;
    let connack = connack(&mut mqtt).await;
    let limits = connack.with_context(|| format!("the MQTT broker at {address} cannot be used"))?;
    if private.is_some_and(|private| private.log_name() == embedded::LOG) {
        let _ = mqtt.say(&DISCONNECT).await;
        return Ok(embedded::about());
    }
    let told = version_told(&mut mqtt).await;
    let asked = || find::version_of(Broker::Mqtt, private?.program()).ok();
    let version = told.or_else(asked).unwrap_or_else(|| "unknown".to_owned());
    let _ = mqtt.say(&DISCONNECT).await;
    let mut settings = limits.settings();
    let limit = match private {
        Some(_) => {
            settings.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
            None
        }
        None if limits.most_qos == 0 => {
            Some((Guarantee::AtMostOnce, "this MQTT broker takes no message above QoS 0".to_owned()))
        }
        // MQTT has no way to ask for them.
        None => Some((
            Guarantee::AtLeastOnce,
            "MQTT brokers do not report their persistence settings, so durability is unknown".to_owned(),
        )),
    };
    let largest = limits.largest_packet.map(|most| {
        (
            u64::from(most).saturating_sub(PACKET_HEAD),
            "the maximum packet size, less 256 bytes for topic and properties",
        )
    });
    Ok(About { version, lacks: limits.lacking(), settings, limit, largest, ..About::default() })
}

/// What Mosquitto says its version is. The retained answer comes with the
/// acknowledgement or, from other brokers, never.
async fn version_told(mqtt: &mut Conversation) -> Option<String> {
    let read = async {
        mqtt.say(&subscribe_packet("$SYS/broker/version")).await?;
        while version(mqtt.unread()).is_none() && mqtt.unread().len() < 1 << 16 {
            mqtt.more().await?;
        }
        anyhow::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), read).await;
    version(mqtt.unread())
}

/// MQTT 5, clean start, keep alive 10 s, no properties, an identifier of the broker's choice.
fn connect_packet(endpoint: &Endpoint) -> Vec<u8> {
    let (user, password) = endpoint.login.as_ref().map_or(("", ""), |(user, password)| (user, password));
    let mut flags = 0x02;
    let mut login = Vec::new();
    for (part, flag) in [(user, 0x80), (password, 0x40)] {
        if !part.is_empty() {
            flags |= flag;
            login.extend(text(part));
        }
    }
    packet(0x10, &[&b"\x00\x04MQTT\x05"[..], &[flags, 0, 10, 0, 0, 0], &login].concat())
}

fn subscribe_packet(topic: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1, 0][..], &text(topic), &[0]].concat())
}

const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Type, length in groups of seven bits, body.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    while length > 0x7f {
        packet.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

/// A text behind its length; one that is too long for MQTT is cut.
fn text(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

/// The text behind `version ` in an answer that has come whole.
fn version(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (_, rest) = text.split_once("mosquitto version ")?;
    Some(printable(rest.split_whitespace().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_into_the_first_packet() {
        let endpoint = |login: Option<(&str, &str)>| Endpoint {
            host: String::new(),
            port: 0,
            login: login.map(|(user, password)| (user.to_owned(), password.to_owned())),
        };
        let bare = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00";
        assert_eq!(connect_packet(&endpoint(None)), bare);
        let with = connect_packet(&endpoint(Some(("me", "pw"))));
        assert_eq!(with, b"\x10\x15\x00\x04MQTT\x05\xc2\x00\x0a\x00\x00\x00\x00\x02me\x00\x02pw");
        let user = connect_packet(&endpoint(Some(("me", ""))));
        assert_eq!(user, b"\x10\x11\x00\x04MQTT\x05\x82\x00\x0a\x00\x00\x00\x00\x02me");
        // 13 bytes, and two texts of 2 + 100: 217 is 0x59 + 1 * 128.
        let long = "x".repeat(100);
        assert_eq!(connect_packet(&endpoint(Some((&long, &long))))[..3], [0x10, 0xd9, 0x01]);
    }

    #[test]
    fn versions_are_found_in_an_answer() {
        let answer = b"\x90\x03\x00\x01\x00\x31\x2f\x00\x13$SYS/broker/versionmosquitto version 2.0.11";
        assert_eq!(version(answer).as_deref(), Some("2.0.11"));
        assert_eq!(version(&answer[..20]), None);
    }

    #[test]
    fn fuzz_mqtt_versions() {
        let answer = b"\x90\x03\x00\x01\x00\x31\x2f\x00\x13$SYS/broker/versionmosquitto version 2.0.11";
        fuzz::Target::new("mqtt_versions").seed(answer).run(|input| {
            let version = version(input);
            version.is_some_and(|version| !version.is_empty())
        });
    }
}
