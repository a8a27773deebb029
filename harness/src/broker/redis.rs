//! Redis, and servers that speak its protocol.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use labs::lab::{Broker, BrokerAddress, Guarantee, Login};
use labs::printable::{printable, printable_bytes};

use super::conversation::Conversation;
use super::ports;
use super::private::{Plan, Private, Start};
use super::private_options::{About, Options};
use crate::hint;

/// The settings that decide what a lab over Redis can promise, and how it behaves under pressure.
const SETTINGS: [&str; 5] = ["appendonly", "appendfsync", "save", "maxmemory", "client-output-buffer-limit"];

/// Most strings of one answer: a setting has two.
const MOST_STRINGS: usize = 1024;

pub(super) fn launch(program: &Path, options: &Options<'_>) -> Result<Private> {
    let dir = super::private_options::folder("redis", options)?;
    let port = ports::free()?.to_string();
    let path = dir.path().display().to_string();
    let append = if options.durable { "yes" } else { "no" };
    // Everything sits on the command line: no file of the system's is read.
    let mut args: Vec<String> = [
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
    // The last of two counts.
    args.extend(options.settings.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]));
    let env = vec![
        ("PATH".to_owned(), super::private_options::system_path()),
        ("HOME".to_owned(), path),
        ("LC_ALL".to_owned(), "C".to_owned()),
    ];
    let plan = Plan {
        address: BrokerAddress::parse(Broker::Redis, &format!("redis://127.0.0.1:{port}"))?,
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

pub(super) async fn ask(address: &BrokerAddress, private: Option<&Private>) -> Result<About> {
    let connected = Conversation::with(address, "redis").await;
    let mut redis = connected.with_context(|| {
        format!("cannot connect to Redis at {address}; is it running, and is the address right?")
    })?;
    let asked = talk(&mut redis, address, private).await;
    asked.with_context(|| format!("Redis at {address} cannot be used"))
}

async fn talk(redis: &mut Conversation, address: &BrokerAddress, private: Option<&Private>) -> Result<About> {
    if let Some((user, Some(password))) = address.login().map(Login::reveal) {
        let auth: &[&str] = if user.is_empty() { &["AUTH", password] } else { &["AUTH", user, password] };
        let answer = call(redis, auth).await?;
        answer
            .map_err(|error| anyhow!("it refuses the login; are user and password right? It says {error}"))?;
    }
    match call(redis, &["PING"]).await? {
        Ok(answer) if answer == ["PONG"] => {}
        Ok(answer) => bail!("it answers `{}` to PING", answer.concat()),
        Err(error) if error.starts_with("NOAUTH") => {
            bail!("it wants a login (redis://USER:PASSWORD@HOST); it says {error}")
        }
        Err(error) => bail!("it says {error}"),
    }
    if address.database() > 0 {
        let number = address.database().to_string();
        let answer = call(redis, &["SELECT", &number]).await?;
        answer.map_err(|error| anyhow!("it has no database {number}; it says {error}"))?;
    }
    if let Some(private) = private {
        // Another broker may have taken the port: ours is the one that works in our folder.
        let dir = config(redis, "dir").await?.context("it does not say in which folder it works")?;
        ensure!(same(&dir, private.dir()), "another Redis answers at {address}");
    }
    let mut info = String::new();
    for section in ["server", "replication", "cluster"] {
        // A hosted Redis may refuse it.
        if let Ok(texts) = call(redis, &["INFO", section]).await? {
            info.push_str(&texts.concat());
        }
    }
    let mut settings = BTreeMap::new();
    for name in SETTINGS {
        // A hosted Redis may not let its settings be read.
        if let Some(value) = config(redis, name).await? {
            settings.insert(name.to_owned(), value);
        }
    }
    about(&info, settings)
}

/// What follows from the answer to INFO and from the settings.
fn about(info: &str, settings: BTreeMap<String, String>) -> Result<About> {
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    ensure!(
        field("redis_mode") != Some("cluster") && field("cluster_enabled") != Some("1"),
        "it is a node of a cluster, and the labs use keys that a cluster keeps on several nodes; name a Redis that \
         is not in cluster mode"
    );
    ensure!(
        field("redis_mode") != Some("sentinel"),
        "it is a sentinel, which keeps no messages; name the Redis that it watches"
    );
    ensure!(field("role") != Some("slave"), "it is a replica, which takes no messages; name its primary");
    let version = match (field("valkey_version"), field("redis_version")) {
        (Some(valkey), _) => format!("valkey {valkey}"),
        (None, redis) => redis.unwrap_or("unknown").to_owned(),
    };
    let release = field("redis_version").and_then(release);
    let limit = limit(&settings).map(|why| (Guarantee::AtLeastOnce, why));
    Ok(About { version, release, settings, limit, ..About::default() })
}

/// `7.0` of `7.0.15`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// A command, and the strings of its answer or the text of its error.
async fn call(redis: &mut Conversation, words: &[&str]) -> Result<Result<Vec<String>, String>> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    redis.say(command.as_bytes()).await?;
    let (kind, head) = head(redis).await?;
    match kind {
        b'-' => Ok(Err(head)),
        b'*' => {
            let mut strings = Vec::new();
            for _ in 0..length(&head)?.min(MOST_STRINGS) {
                let (kind, head) = self::head(redis).await?;
                strings.push(string(redis, kind, head).await?);
            }
            Ok(Ok(strings))
        }
        kind => Ok(Ok(vec![string(redis, kind, head).await?])),
    }
}

/// The kind of an answer, and the rest of its first line.
async fn head(redis: &mut Conversation) -> Result<(u8, String)> {
    let line = redis.line().await?;
    let Some((kind @ (b'+' | b'-' | b':' | b'$' | b'*'), rest)) = line.split_first() else {
        bail!(
            "it does not speak Redis's protocol, but says `{}`",
            printable_bytes(&line[..line.len().min(100)])
        );
    };
    Ok((*kind, printable_bytes(rest)))
}

async fn string(redis: &mut Conversation, kind: u8, head: String) -> Result<String> {
    if kind != b'$' || head == "-1" {
        return Ok(head);
    }
    let length = length(&head)?;
    let bytes = redis.exactly(length + 2).await?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn length(head: &str) -> Result<usize> {
    head.parse().ok().with_context(|| format!("it says `{head}` where it should say a length"))
}

/// A setting; `None` where it may not be read.
async fn config(redis: &mut Conversation, name: &str) -> Result<Option<String>> {
    let Ok(pairs) = call(redis, &["CONFIG", "GET", name]).await? else { return Ok(None) };
    let mut pairs = pairs.chunks_exact(2);
    Ok(pairs.find(|pair| pair[0] == name).map(|pair| printable(&pair[1])))
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

fn same(one: &str, other: &Path) -> bool {
    match (std::fs::canonicalize(one), std::fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded answers to INFO; only what is read here.
    #[test]
    fn versions_and_modes_are_read_from_recorded_answers() {
        let about = |info: &str| about(&info.replace(' ', "\r\n"), BTreeMap::new());
        for (info, version, release) in [
            (
                "redis_version:6.0.16 redis_mode:standalone role:master cluster_enabled:0",
                "6.0.16",
                Some((6, 0)),
            ),
            ("redis_version:6.2.5 redis_mode:standalone role:master", "6.2.5", Some((6, 2))),
            (
                "redis_version:7.2.4 server_name:valkey valkey_version:8.0.1 redis_mode:standalone",
                "valkey 8.0.1",
                Some((7, 2)),
            ),
            ("", "unknown", None),
        ] {
            let about = about(info).expect(info);
            assert_eq!((about.version.as_str(), about.release), (version, release));
        }
        for (info, said) in [
            ("redis_version:7.0.15 redis_mode:cluster", "a node of a cluster"),
            ("redis_version:7.0.15 cluster_enabled:1", "a node of a cluster"),
            ("redis_version:7.0.15 redis_mode:sentinel", "a sentinel"),
            ("redis_version:7.0.15 redis_mode:standalone role:slave", "a replica"),
        ] {
            let error = about(info).expect_err(info).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

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
