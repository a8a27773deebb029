//! nats-server, with JetStream in its own folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use super::private::{Plan, Private, Start};
use super::{About, Options, ports};

/// Longest message, bytes: the harness measures up to 1 MiB, and the default is just that.
const MAX_PAYLOAD: u32 = 8 << 20;

pub(super) fn launch(program: &Path, options: &Options<'_>) -> Result<Private> {
    let dir = super::folder("nats", options)?;
    let port = ports::free()?;
    let path = dir.path().display().to_string();
    let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let config = format!(
        "server_name: {name:?}\nlisten: \"127.0.0.1:{port}\"\nmax_payload: {MAX_PAYLOAD}\n\
         jetstream {{ store_dir: {path:?} }}\n"
    );
    let file = dir.path().join("nats.conf");
    std::fs::write(&file, config)
        .with_context(|| format!("cannot write {}; is the disk full?", file.display()))?;
    let args = vec!["-c".to_owned(), file.display().to_string()];
    let env = vec![("PATH".to_owned(), super::system_path()), ("HOME".to_owned(), path)];
    let plan = Plan {
        url: format!("nats://127.0.0.1:{port}"),
        programs: vec![Start { log: "nats", program: program.to_owned(), args, env, listens: None }],
        patience: Duration::from_secs(20),
        interval: Duration::from_millis(5),
        advice: format!("try `{}` by hand, or install it again with `just brokers`", program.display()),
    };
    Private::start(dir, plan)
}

/// The first line a server says is about itself.
pub(super) async fn ask(url: &str, private: Option<&Private>) -> Result<About> {
    let remedy = || format!("cannot talk to NATS at {url}; is it running there?");
    let usual = url.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse().ok());
    let door = labs::lab::Place::new("ask", Some(url)).door("nats", usual.unwrap_or(4222))?;
    let stream = TcpStream::connect((door.host.as_str(), door.port)).await.with_context(remedy)?;
    let mut line = String::new();
    let read = async { BufReader::new(stream).read_line(&mut line).await };
    tokio::time::timeout(Duration::from_secs(5), read).await.with_context(remedy)?.with_context(remedy)?;
    let info = line.strip_prefix("INFO ").with_context(remedy)?;
    let info: Value = serde_json::from_str(info).with_context(remedy)?;
    let text = |name: &str| info[name].as_str().unwrap_or("unknown").to_owned();
    if let Some(private) = private {
        let own = private.dir().file_name().unwrap_or_default().to_string_lossy();
        ensure!(text("server_name") == own, "another NATS server answers at {url}");
    }
    let settings = ["jetstream", "max_payload"].map(|name| (name.to_owned(), info[name].to_string()));
    Ok(About { version: text("version"), settings: BTreeMap::from(settings), limit: None })
}
