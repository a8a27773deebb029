//! Redis, and servers that speak its protocol.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use labs::lab::Guarantee;
use redis::aio::MultiplexedConnection;

use super::address::without_password;
use super::ports;
use super::private::{Plan, Private, Start};
use super::private_options::{About, Options};
use crate::hint;

/// The settings that decide what a lab over Redis can promise, and how it behaves under pressure.
const SETTINGS: [&str; 5] = ["appendonly", "appendfsync", "save", "maxmemory", "client-output-buffer-limit"];

pub(super) fn launch(program: &Path, options: &Options<'_>) -> Result<Private> {
    let dir = super::private_options::folder("redis", options)?;
    let port = ports::free()?.to_string();
    let path = dir.path().display().to_string();
    let append = if options.durable { "yes" } else { "no" };
    // Everything sits on the command line: no file of the system's is read.
    let args: Vec<String> = [
        ["--port", &port],
        ["--bind", "127.0.0.1"],
        ["--protected-mode", "yes"],
        ["--daemonize", "no"],
        ["--dir", &path],
        ["--save", ""],
        ["--appendonly", append],
        // With `no` each command is in the kernel's hands before it is answered, and so
        // survives kill -9 of the process. With `everysec` it does not: while an fsync
        // runs, Redis puts off its writes for up to two seconds and still answers. A power cut
        // loses what the kernel has not written yet; only `always` has an answer to that.
        ["--appendfsync", "no"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    let env = vec![
        ("PATH".to_owned(), super::private_options::system_path()),
        ("HOME".to_owned(), path),
        ("LC_ALL".to_owned(), "C".to_owned()),
    ];
    let plan = Plan {
        url: format!("redis://127.0.0.1:{port}"),
        programs: vec![Start { log: "redis", program: program.to_owned(), args, env, listens: None }],
        patience: Duration::from_secs(20),
        interval: Duration::from_millis(5),
        advice: format!(
            "try `{} --port 0 --save ''` by hand, or install it again with `{}`",
            program.display(),
            hint::command(&["doctor", "--install"])
        ),
    };
    Private::start(dir, plan)
}

pub(super) async fn ask(url: &str, private: Option<&Private>) -> Result<About> {
    let remedy = || {
        format!(
            "cannot connect to Redis at {}; is it running, and is the address right (redis://HOST:PORT)?",
            without_password(url)
        )
    };
    let client = redis::Client::open(url).with_context(remedy)?;
    let mut connection = client.get_multiplexed_async_connection().await.with_context(remedy)?;
    let _: String = redis::cmd("PING").query_async(&mut connection).await.with_context(remedy)?;
    if let Some(private) = private {
        // Another broker may have taken the port: ours is the one that works in our folder.
        let dir = config(&mut connection, "dir").await?;
        ensure!(same(&dir, private.dir()), "another Redis answers at {url}");
    }
    let info: String =
        redis::cmd("INFO").arg("server").query_async(&mut connection).await.with_context(remedy)?;
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = match (field("valkey_version"), field("redis_version")) {
        (Some(valkey), _) => format!("valkey {valkey}"),
        (None, redis) => redis.unwrap_or("unknown").to_owned(),
    };
    let mut settings = BTreeMap::new();
    for name in SETTINGS {
        // A hosted Redis may not let its settings be read.
        if let Ok(value) = config(&mut connection, name).await {
            settings.insert(name.to_owned(), value);
        }
    }
    let limit = limit(&settings).map(|why| (Guarantee::AtLeastOnce, why));
    Ok(About { version, settings, limit })
}

/// Why confirmed messages may not survive kill -9 with these settings.
fn limit(settings: &BTreeMap<String, String>) -> Option<String> {
    let setting = |name: &str| settings.get(name).map(String::as_str);
    match (setting("appendonly"), setting("appendfsync")) {
        (Some("yes"), Some("no" | "always")) => None,
        (Some("yes"), Some(sync)) => Some(format!(
            "appendfsync is `{sync}`: while an fsync runs, Redis confirms messages before it writes them, \
             and kill -9 loses them"
        )),
        (Some(value), _) if value != "yes" => {
            Some(format!("appendonly is `{value}`: kill -9 of Redis loses confirmed messages"))
        }
        _ => Some(
            "`appendonly` and `appendfsync` of Redis cannot be read, so durability is unknown".to_owned(),
        ),
    }
}

async fn config(connection: &mut MultiplexedConnection, name: &str) -> Result<String> {
    let values: BTreeMap<String, String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg(name)
        .query_async(connection)
        .await
        .with_context(|| format!("cannot read the Redis setting `{name}`"))?;
    values
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
        .with_context(|| format!("Redis has no setting `{name}`"))
}

fn same(one: &str, other: &Path) -> bool {
    match (std::fs::canonicalize(one), std::fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_survive_a_kill_are_durable() {
        let limited = |append: &str, sync: &str| {
            let settings = [("appendonly", append), ("appendfsync", sync)];
            limit(&settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        assert_eq!(limited("yes", "no"), None);
        assert_eq!(limited("yes", "always"), None);
        assert!(limited("yes", "everysec").expect("limited").contains("everysec"));
        assert!(limited("no", "always").expect("limited").contains("appendonly is `no`"));
        assert!(limit(&BTreeMap::new()).is_some());
    }
}
