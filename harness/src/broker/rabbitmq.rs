//! RabbitMQ over AMQP 0-9-1.
//!
//! A private node is a whole Erlang system of its own: its own name service
//! (epmd) in the foreground, its own cookie, ports, configuration and data, and the
//! plugins for STOMP and MQTT. Nothing of the system's configuration is read. On a quiet two-core
//! machine it answers after about four seconds; loading the code takes nearly
//! all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use labs::lab::{Broker, BrokerAddress};
use labs::printable::printable_bytes;

use super::amqp;
use super::conversation::Conversation;
use super::plugins::plugins;
use super::private::{Plan, Private, Start};
use super::private_options::{About, Options};
use super::{find, ports};
use crate::hint;

/// Definitions (queues, exchanges, bindings) written before Mnesia moves them
/// from its log to their tables. With its default of 1,000, RabbitMQ 3.10 now
/// and then forgets a durable queue that was declared shortly before kill -9,
/// confirmed messages and all, although its log has it. Costs messages nothing.
const DUMP_EVERY: u32 = 1;

/// Whether idle schedulers spin before they sleep. Spinning wins microseconds on
/// a machine with cores to spare and takes the roles' CPU on a small one. `none`
/// is also what newer RabbitMQ versions choose.
const BUSY_WAIT: &str = "none";

pub(super) fn launch(program: &Path, options: &Options<'_>) -> Result<Private> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let erlang = find::erlang(&path).map_err(|what| {
        let install = hint::command(&["doctor", "--install"]);
        anyhow!("Erlang's `{what}` is not on PATH or where packages put it; run `{install}`")
    })?;
    let dir = super::private_options::folder("rabbitmq", options)?;
    let (amqp, distribution, epmd) = (ports::free()?, ports::free()?, ports::free()?);
    let (stomp, mqtt) = (ports::free()?, ports::free()?);
    // The password keeps two private nodes apart: another node on our port does not know it.
    let password = format!("{:032x}", super::private_options::random()?);
    let home = dir.path().display().to_string();
    let inside = |name: &str| dir.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text)
            .with_context(|| format!("cannot write {}; is the disk full?", inside(name)))
    };
    let own: String = options.settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    write(
        "rabbitmq.conf",
        &format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\ndefault_user = lab\ndefault_pass = {password}\n\
             stomp.listeners.tcp.1 = 127.0.0.1:{stomp}\nmqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}\n\
             log.console = true\nlog.console.level = info\nlog.file = false\n{own}"
        ),
    )?;
    write("enabled_plugins", "[rabbitmq_mqtt,rabbitmq_stomp].\n")?;
    write("rabbitmq-env.conf", "")?;

    let mut env: Vec<(String, String)> = [
        ("HOME", home.clone()),
        ("TMPDIR", home.clone()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("PATH", format!("{}:{}", erlang.bin.display(), super::private_options::system_path())),
        ("ERL_EPMD_PORT", epmd.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let epmd_start = Start {
        log: "epmd",
        program: erlang.epmd,
        args: ["-address", "127.0.0.1", "-port", &epmd.to_string()].map(str::to_owned).to_vec(),
        env: env.clone(),
        listens: Some(epmd),
    };
    let node = format!("lab-{amqp}@localhost");
    // With the name given here the distribution is up before RabbitMQ looks for
    // it, which saves it a second Erlang system that would start an epmd.
    let start_args = format!(
        "-mnesia dump_log_write_threshold {DUMP_EVERY} -noinput -start_epmd false -sname {node} -kernel inet_dist_use_interface {{127,0,0,1}} \
         -kernel inet_dist_listen_min {distribution} -kernel inet_dist_listen_max {distribution}"
    );
    env.extend(
        [
            ("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
            ("RABBITMQ_CONF_ENV_FILE", inside("rabbitmq-env.conf")),
            ("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", inside("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins")),
            ("RABBITMQ_BASE", home.clone()),
            ("RABBITMQ_MNESIA_BASE", inside("data")),
            ("RABBITMQ_LOG_BASE", inside("log")),
            ("RABBITMQ_PID_FILE", inside("pid")),
            ("RABBITMQ_NODENAME", node),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", amqp.to_string()),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            ("RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD", BUSY_WAIT.to_owned()),
            // The launcher then becomes the node, instead of a shell that waits for it.
            ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
            ("RABBITMQ_SERVER_START_ARGS", start_args),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let plan = Plan {
        address: BrokerAddress::parse(
            Broker::RabbitMq,
            &format!("amqp://lab:{password}@127.0.0.1:{amqp}/%2f#stomp={stomp}&mqtt={mqtt}"),
        )?,
        programs: vec![
            epmd_start,
            Start { log: "rabbitmq", program: program.to_owned(), args: Vec::new(), env, listens: None },
        ],
        patience: Duration::from_secs(120),
        interval: Duration::from_millis(20),
        advice: "check that `localhost` is in /etc/hosts and that Erlang fits RabbitMQ, or use a running one with \
                 --url rabbitmq=amqp://USER:PASSWORD@HOST"
            .to_owned(),
    };
    Private::start(dir, plan)
}

pub(super) async fn ask(address: &BrokerAddress, private: Option<&Private>) -> Result<About> {
    let connected = Conversation::with(address, "amqp").await;
    let mut amqp = connected.with_context(|| {
        format!("cannot connect to RabbitMQ at {address}; is it running, and is the address right?")
    })?;
    let asked = amqp::log_in(&mut amqp, address).await;
    let greeting = asked.with_context(|| format!("RabbitMQ at {address} cannot be used"))?;
    let mut settings = BTreeMap::new();
    let version = text_of(&greeting, "version").unwrap_or_else(|| "unknown".to_owned());
    for name in ["product", "platform", "cluster_name"] {
        if let Some(value) = text_of(&greeting, name) {
            settings.insert(name.to_owned(), value);
        }
    }
    for (protocol, port, open) in plugins(address) {
        // A private node's listeners may open a little after the first.
        ensure!(open || private.is_none(), "RabbitMQ does not listen for {protocol} at port {port} yet");
        let state = if open { "open" } else { "closed" };
        settings.insert(format!("{protocol} port"), format!("{port}, {state}"));
    }
    if private.is_some() {
        settings.insert("mnesia_dump_log_write_threshold".to_owned(), DUMP_EVERY.to_string());
        settings.insert("plugins".to_owned(), "rabbitmq_mqtt, rabbitmq_stomp".to_owned());
        settings.insert("scheduler_busy_wait".to_owned(), BUSY_WAIT.to_owned());
    }
    Ok(About { version, settings, ..About::default() })
}

/// A long string in a field table: the name with its length, `S`, a length of four bytes, the text.
fn text_of(table: &[u8], name: &str) -> Option<String> {
    let mut key = vec![name.len() as u8];
    key.extend_from_slice(name.as_bytes());
    key.push(b'S');
    let at = table.windows(key.len()).position(|window| window == key)? + key.len();
    let length = u32::from_be_bytes(table.get(at..at + 4)?.try_into().ok()?) as usize;
    Some(printable_bytes(table.get(at + 4..at.checked_add(4)?.checked_add(length)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_a_greeting() {
        let table = b"\x00\x00\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8\x04rest";
        for (name, expected) in
            [("version", Some("3.10.8")), ("product", Some("RabbitMQ")), ("platform", None)]
        {
            assert_eq!(text_of(table, name).as_deref(), expected, "{name}");
        }
        assert_eq!(text_of(b"\x07versionS\x00\x00\x00\xff3", "version"), None, "cut short");
    }

    #[test]
    fn fuzz_greetings() {
        let table = b"\x00\x00\x07productS\x00\x00\x00\x08RabbitMQ\x07versionS\x00\x00\x00\x063.10.8\x04rest";
        fuzz::Target::new("greetings").seed(table).run(|input| text_of(input, "version").is_some());
    }
}
