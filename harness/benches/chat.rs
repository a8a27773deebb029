//! Many browsers at one instance of the chat, a steady number of messages a
//! second, and what became of every one of them at every browser.
//!
//! `cargo bench -p harness --bench chat -- --over redis --clients 500 --rate 200 --seconds 30`

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use futures_util::{SinkExt as _, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Those of the browsers who speak.
const SPEAKERS: usize = 20;

#[derive(Parser)]
struct Args {
    /// The transport
    #[arg(long, default_value = "redis")]
    over: String,
    /// Browsers at the instance
    #[arg(long, default_value_t = 500)]
    clients: usize,
    /// Messages a second, of all together
    #[arg(long, default_value_t = 200)]
    rate: usize,
    /// For so long
    #[arg(long, default_value_t = 30)]
    seconds: usize,
    #[arg(long, hide = true)]
    bench: bool,
}

type Socket = WebSocketStream<TcpStream>;

/// What all browsers heard: times from saying to hearing, and how often each number came.
struct Heard {
    times: Histogram<u64>,
    copies: BTreeMap<usize, usize>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["chat", "--over", &args.over, "--port", "0", "--json"]);
    harness::process::die_with_parent(&mut command);
    let mut lab = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut page = None;
    for line in BufReader::new(lab.stdout.take().context("no pipe")?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        page = line["url"].as_str().map(str::to_owned).or(page);
        if line["labs"].is_array() {
            break;
        }
    }
    let page = page.context("the chat did not start")?;
    let instance = harness::process::tree(&[lab.id()]).into_iter().find(|&pid| is_instance(pid));
    let instance = instance.context("there is no instance")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(measure(&args, &page, instance));
    harness::process::signal(lab.id(), rustix::process::Signal::TERM);
    lab.wait()?;
    println!("{}", serde_json::to_string_pretty(&done?)?);
    Ok(())
}

async fn measure(args: &Args, page: &str, instance: u32) -> Result<Value> {
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let heard = Arc::new(Mutex::new(Heard { times: Histogram::new(3)?, copies: BTreeMap::new() }));
    let (begun, mut speakers) = (Instant::now(), Vec::new());
    let before = memory(instance)?;
    for number in 0..args.clients {
        let mut socket = connect(address).await?;
        let join =
            json!({ "type": "join", "name": format!("browser {number}"), "room": "lobby", "after": null });
        socket.send(Message::text(join.to_string())).await?;
        until_joined(&mut socket).await?;
        let (sink, stream) = socket.split();
        if number < SPEAKERS {
            speakers.push(sink);
        }
        tokio::spawn(hear(stream, Arc::clone(&heard), begun));
    }
    let total = args.rate * args.seconds;
    let (started, mut memories) = (Instant::now(), vec![memory(instance)?]);
    for number in 0..total {
        // Each has its time from the beginning on: a late one does not delay the next.
        let due = started + Duration::from_secs_f64(number as f64 / args.rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let text = format!("#{number} {}", due.duration_since(begun).as_nanos());
        let say = json!({ "type": "say", "id": format!("m-{number}"), "text": text });
        speakers[number % SPEAKERS].send(Message::text(say.to_string())).await?;
        if number % (5 * args.rate) == 0 {
            memories.push(memory(instance)?);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let expected = total * args.clients;
    loop {
        let copies: usize = lock(&heard).copies.values().sum();
        if copies >= expected || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    memories.push(memory(instance)?);
    let heard = lock(&heard);
    let copies: usize = heard.copies.values().sum();
    let doubled: usize = heard.copies.values().map(|count| count.saturating_sub(args.clients)).sum();
    ensure!(heard.copies.keys().all(|number| *number < total), "something was heard that nobody said");
    let ms = |quantile: f64| heard.times.value_at_quantile(quantile) as f64 / 1e6;
    Ok(json!({
        "over": args.over, "browsers": args.clients, "said_per_s": args.rate, "seconds": args.seconds,
        "said": total, "copies_expected": expected, "copies_heard": copies,
        "lost": expected.saturating_sub(copies), "doubled": doubled,
        "ms": { "p50": ms(0.5), "p99": ms(0.99), "p999": ms(0.999), "max": heard.times.max() as f64 / 1e6 },
        "instance_mib": { "before_anybody_came": before, "every_5_s": memories },
    }))
}

async fn connect(address: &str) -> Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(tokio_tungstenite::client_async(format!("ws://{address}/socket"), stream).await?.0)
}

async fn until_joined(socket: &mut Socket) -> Result<()> {
    let mut connected = false;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        connected |= text.contains(r#""problems":{}"#);
        if connected && text.contains(r#""type":"joined""#) {
            return Ok(());
        }
        // The transport may come after the room.
        if connected && text.contains(r#""type":"transport""#) {
            return Ok(());
        }
    }
    bail!("the instance has hung up")
}

/// Hears live messages until the end; not read as JSON, which would be this program's own delay.
async fn hear(
    mut stream: impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
    heard: Arc<Mutex<Heard>>,
    begun: Instant,
) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        if !text.contains(r#""type":"said""#) {
            continue;
        }
        let Some((number, at)) = text.split_once("\"text\":\"#").and_then(|(_, rest)| {
            let (number, rest) = rest.split_once(' ')?;
            Some((number.parse().ok()?, rest.split('"').next()?.parse::<u128>().ok()?))
        }) else {
            continue;
        };
        let took = begun.elapsed().as_nanos().saturating_sub(at) as u64;
        let mut heard = lock(&heard);
        *heard.copies.entry(number).or_default() += 1;
        let _ = heard.times.record(took);
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_instance(pid: u32) -> bool {
    let line = procfs::process::Process::new(pid as i32).and_then(|process| process.cmdline());
    line.is_ok_and(|line| line.iter().any(|arg| arg.starts_with("instance-")))
}

/// Resident memory of a process, MiB.
fn memory(pid: u32) -> Result<f64> {
    let status = procfs::process::Process::new(pid as i32)?.status()?;
    Ok(status.vmrss.context("no memory is told")? as f64 / 1024.0)
}
