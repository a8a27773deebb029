//! An MQTT broker: Mosquitto.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::private::{Plan, Private, Start};
use super::{About, Options, find, ports};

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
    // How often it counts its clients, for whoever looks at `$SYS`.
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
    let dir = super::folder("mosquitto", options)?;
    let port = ports::free()?;
    let path = dir.path().display().to_string();
    let mut config = format!("listener {port} 127.0.0.1\npersistence_location {path}/\n");
    // A user of the system's that may not exist: the broker runs as who starts it.
    if rustix::process::geteuid().is_root() {
        config.push_str("user root\n");
    }
    for (name, value) in SETTINGS {
        config.push_str(&format!("{name} {value}\n"));
    }
    let file = dir.path().join("mosquitto.conf");
    std::fs::write(&file, config)
        .with_context(|| format!("cannot write {}; is the disk full?", file.display()))?;
    let args = vec!["-c".to_owned(), file.display().to_string()];
    let env = vec![
        ("PATH".to_owned(), super::system_path()),
        ("HOME".to_owned(), path),
        ("LC_ALL".to_owned(), "C".to_owned()),
    ];
    let plan = Plan {
        url: format!("mqtt://127.0.0.1:{port}"),
        programs: vec![Start { log: "mosquitto", program: program.to_owned(), args, env, listens: None }],
        patience: Duration::from_secs(20),
        interval: Duration::from_millis(5),
        advice: format!("try `{}` by hand, or install it again with `just brokers`", program.display()),
    };
    Private::start(dir, plan)
}

/// Shakes hands as a client of MQTT 3.1.1 does, and asks for `$SYS/broker/version`.
pub(super) async fn ask(url: &str, private: Option<&Private>) -> Result<About> {
    let remedy = || format!("cannot talk MQTT to {url}; is a broker running there?");
    let (connect, subscribe) = (connect_packet(), subscribe_packet("$SYS/broker/version"));
    let place = labs::lab::Place::new("ask", Some(url));
    let door = place.door("mqtt", port_of(url).unwrap_or(1883))?;
    let mut stream = TcpStream::connect((door.host.as_str(), door.port)).await.with_context(remedy)?;
    stream.write_all(&connect).await.with_context(remedy)?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.with_context(remedy)?;
    ensure!(connack[0] == 0x20 && connack[3] == 0, "the broker at {url} refuses clients without a name");
    stream.write_all(&subscribe).await.with_context(remedy)?;
    // The retained answer comes with the acknowledgement or never.
    let mut answer = Vec::new();
    let read = async {
        while version(&answer).is_none() && stream.read_buf(&mut answer).await? > 0 {}
        anyhow::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), read).await;
    let _ = stream.write_all(&[0xe0, 0]).await;
    let version = version(&answer).unwrap_or_else(|| "unknown".to_owned());
    let version = match private {
        Some(private) if version == "unknown" => {
            find::version_of(labs::lab::Broker::Mqtt, private.program()).unwrap_or(version)
        }
        _ => version,
    };
    let mut settings = BTreeMap::new();
    let limit = match private {
        Some(_) => {
            settings.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
            None
        }
        // MQTT has no way to ask for them.
        None => Some((
            labs::lab::Guarantee::AtLeastOnce,
            "MQTT brokers do not tell their persistence settings, so durability is not known".to_owned(),
        )),
    };
    Ok(About { version, settings, limit })
}

fn port_of(url: &str) -> Option<u16> {
    url.rsplit_once(':')?.1.trim_end_matches('/').parse().ok()
}

fn connect_packet() -> Vec<u8> {
    // MQTT 3.1.1, clean session, keep alive 10 s, an identifier of the broker's choice.
    let body = b"\x00\x04MQTT\x04\x02\x00\x0a\x00\x00";
    [&[0x10, body.len() as u8][..], body].concat()
}

fn subscribe_packet(topic: &str) -> Vec<u8> {
    let body = [&[0, 1, 0, topic.len() as u8][..], topic.as_bytes(), &[0]].concat();
    [&[0x82, body.len() as u8][..], &body].concat()
}

/// The text behind `version ` in an answer that has come whole.
fn version(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (_, rest) = text.split_once("mosquitto version ")?;
    Some(rest.split_whitespace().next()?.to_owned())
}
