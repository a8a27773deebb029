//! nats-server, with JetStream in its own folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use labs::lab::{Broker, BrokerAddress, Guarantee, Login};
use labs::printable::{printable, printable_bytes};
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::ports;
use super::private::{Plan, Private, Start};
use super::private_options::{About, Options};
use crate::hint;

/// Longest message, bytes: the harness measures up to 1 MiB, and the default is just that.
const MAX_PAYLOAD: u32 = 8 << 20;

pub(super) fn launch(program: &Path, options: &Options<'_>) -> Result<Private> {
    let dir = super::private_options::folder("nats", options)?;
    let port = ports::free()?;
    let path = dir.path().display().to_string();
    let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut config = format!(
        "server_name: {name:?}\nlisten: \"127.0.0.1:{port}\"\nmax_payload: {MAX_PAYLOAD}\n\
         jetstream {{ store_dir: {path:?} }}\n"
    );
    for (name, value) in options.settings {
        config.push_str(&format!("{name}: {value}\n"));
    }
    let file = dir.path().join("nats.conf");
    std::fs::write(&file, config)
        .with_context(|| format!("cannot write {}; is the disk full?", file.display()))?;
    let args = vec!["-c".to_owned(), file.display().to_string()];
    let env = vec![("PATH".to_owned(), super::private_options::system_path()), ("HOME".to_owned(), path)];
    let plan = Plan {
        address: BrokerAddress::parse(Broker::Nats, &format!("nats://127.0.0.1:{port}"))?,
        programs: vec![Start { log: "nats", program: program.to_owned(), args, env, listens: None }],
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

/// The first line a server says is about itself; who may talk to it shows in
/// its answer to the first PING.
pub(super) async fn ask(address: &BrokerAddress, private: Option<&Private>) -> Result<About> {
    let remedy = || format!("cannot connect to NATS at {address}; is it running there?");
    let mut nats = Conversation::with(address, "nats").await.with_context(remedy)?;
    let line = nats.line().await.with_context(remedy)?;
    let info = line.strip_prefix(b"INFO ").with_context(|| {
        let said = printable_bytes(&line[..line.len().min(100)]);
        format!("the server at {address} does not speak NATS's protocol, but says `{said}`")
    })?;
    let info: Value = serde_json::from_slice(info).with_context(remedy)?;
    let text = |name: &str| printable(info[name].as_str().unwrap_or("unknown"));
    if let Some(private) = private {
        let own = private.dir().file_name().unwrap_or_default().to_string_lossy();
        ensure!(text("server_name") == own, "another NATS server answers at {address}");
    }
    ensure!(
        info["tls_required"] != true,
        "NATS at {address} requires TLS, and TLS is not spoken here; name a server that does not require it"
    );
    greet(&mut nats, address).await.with_context(|| format!("NATS at {address} cannot be used"))?;
    let settings = ["jetstream", "max_payload", "auth_required"];
    let settings = settings.map(|name| (name.to_owned(), printable(&or_false(&info[name]).to_string())));
    Ok(About {
        version: text("version"),
        settings: BTreeMap::from(settings),
        limit: limit(&info),
        largest: info["max_payload"].as_u64().map(|most| (most, "max_payload")),
        ..About::default()
    })
}

/// A server omits features that are off.
fn or_false(value: &Value) -> Value {
    if value.is_null() { json!(false) } else { value.clone() }
}

/// Why nothing can be confirmed here, let alone survive a kill.
fn limit(info: &Value) -> Option<(Guarantee, String)> {
    (info["jetstream"] != true).then(|| {
        let why = "JetStream is off, and core NATS stores nothing; start nats-server with `-js`";
        (Guarantee::AtMostOnce, why.to_owned())
    })
}

/// Says who is calling, and waits until the server has accepted that. A login
/// without a password is a token.
async fn greet(nats: &mut Conversation, address: &BrokerAddress) -> Result<()> {
    let mut hello =
        json!({ "verbose": false, "pedantic": false, "lang": "rust", "version": "0", "name": "lab" });
    match address.login().map(Login::reveal) {
        Some((token, None)) => hello["auth_token"] = json!(token),
        Some((user, Some(password))) => (hello["user"], hello["pass"]) = (json!(user), json!(password)),
        None => {}
    }
    nats.say(format!("CONNECT {hello}\r\nPING\r\n").as_bytes()).await?;
    loop {
        match &*nats.line().await? {
            b"PONG" => return Ok(()),
            error if error.starts_with(b"-ERR") => {
                bail!(
                    "it refuses the login; are user and password right (nats://USER:PASSWORD@HOST)? It says {}",
                    printable_bytes(error)
                )
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_jetstream_nothing_is_promised() {
        assert_eq!(limit(&json!({ "jetstream": true })), None);
        for info in [json!({}), json!({ "jetstream": false })] {
            assert!(limit(&info).expect("limited").1.contains("JetStream is off"));
        }
    }
}
