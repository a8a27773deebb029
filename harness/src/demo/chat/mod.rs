//! `lab chat`: starts the chat, with instances and history in processes of their own, and
//! the broker between them.

mod part;
mod process_manager;
mod transport;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use labs::apps::chat::history;
use labs::apps::chat::over::Over;
use labs::catalog;
use labs::lab::{BrokerAddress, Place};
use serde_json::json;

use crate::broker::{self, Needs, Options, Server, Source};
use crate::command::{BrokerArgs, OverArgs, Usage, interruptible};
use crate::process::guard;
use crate::roles;

use part::{Init, Part};
use process_manager::ProcessManager;
use transport::{find, library};

pub(crate) use part::{PartArgs, main as part};

/// Instances that one command starts, at most.
const INSTANCES: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    over: OverArgs,
    /// Port of the first instance on 127.0.0.1; further instances get the next ports. 0 picks free ports
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// How many instances to start, 1 to 16
    #[arg(long, default_value_t = 1, value_name = "N", overrides_with = "instances")]
    instances: usize,
    /// Name of the first instance; further instances get the next letters. Over your own broker all names must differ
    #[arg(long, default_value = "A")]
    name: String,
    /// Peer to peer: the address where this instance publishes, as in 127.0.0.1:5000
    #[arg(long, value_name = "ADDRESS", requires = "peers")]
    bind: Option<String>,
    /// Peer to peer: the addresses where all instances publish, this one included
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', requires = "bind")]
    peers: Vec<String>,
    /// Where the history service runs, if the transport can have one
    #[arg(long, value_enum, default_value_t = History::Here)]
    history: History,
    /// File of the history. With your own broker it is in your data folder; with a private one it is deleted with the broker
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Prefix of the chat's topics and queues in the broker
    #[arg(long, value_name = "NAME", default_value = "chat")]
    place: String,
    /// Let the page kill and restart the broker; needs a private broker
    #[arg(long = "break")]
    breakable: bool,
    /// Remove what the chat has left in your own broker, then exit
    #[arg(long)]
    forget: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum History {
    /// Started here
    Here,
    /// Another terminal has it
    Elsewhere,
    /// There is none
    No,
}

pub(crate) fn main(args: &ChatArgs) -> Result<ExitCode> {
    let over = find(args.over.name(None)?)?;
    check(args, &over)?;
    let choices = args.brokers.choices()?;
    let source = over.broker.map(|broker| {
        let source = broker::find(broker, &choices).map_err(|why| anyhow!("{why}"))?;
        match source.why_not(broker, over.guarantee, &over.name) {
            Some(why) => bail!("a chat over {} cannot run: {why}", over.name),
            None => Ok(source),
        }
    });
    let source = source.transpose()?;
    let is_private = source.as_ref().is_some_and(Source::is_private);
    if args.breakable && !is_private {
        bail!(Usage(
            "--break kills a private broker, but there is none here: leave out --url or --break".to_owned()
        ));
    }
    if args.forget && (is_private || source.is_none()) {
        bail!(Usage(
            "--forget is for your own broker, as in `--url redis=redis://localhost:6379`; a private broker \
             leaves nothing behind"
                .to_owned()
        ));
    }
    let ports = ports(args)?;
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(run(args, over, source, ports));
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

fn check(args: &ChatArgs, over: &Over) -> Result<()> {
    let instances = args.instances;
    if !(1..=INSTANCES).contains(&instances) {
        bail!(Usage(format!("--instances {instances} is out of range: 1 to {INSTANCES} can be started")));
    }
    if args.port > 0 && usize::from(args.port) + instances > 1 + usize::from(u16::MAX) {
        bail!(Usage(format!("--port {} leaves no room for {instances} ports", args.port)));
    }
    let word = |name: &str, longest| {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
        !name.is_empty() && name.len() <= longest && name.bytes().all(plain)
    };
    if !word(&args.name, 16) {
        bail!(Usage(format!(
            "--name `{}` is not a name: use 1 to 16 letters, digits, `_` or `-`",
            args.name
        )));
    }
    if !word(&args.place, 64) {
        bail!(Usage(format!(
            "--place `{}` is not a name: use 1 to 64 letters, digits, `_` or `-`",
            args.place
        )));
    }
    if args.bind.is_some() && (!over.mesh || instances > 1) {
        bail!(Usage("--bind and --peers are for one instance over a transport without a broker: tcp, unix, websocket or zeromq".to_owned()));
    }
    if let Some(bind) = &args.bind
        && !args.peers.contains(bind)
    {
        bail!(Usage(format!(
            "--peers must include {bind}, the address where this instance publishes: it receives its own \
             messages there"
        )));
    }
    if args.history != History::No && args.store.is_some() && !over.has_history() {
        bail!(Usage(format!("--store needs a history, but {} has none: {}", over.name, no_history(over))));
    }
    Ok(())
}

/// The ports of the instances; an error now is better than one in each of them.
fn ports(args: &ChatArgs) -> Result<Vec<u16>> {
    let count = args.instances as u16;
    let ports: Vec<u16> = (0..count).map(|at| if args.port == 0 { 0 } else { args.port + at }).collect();
    for &port in &ports {
        TcpListener::bind(("127.0.0.1", port)).with_context(|| {
            format!(
                "port {port} of 127.0.0.1 is in use; choose another with --port, or `--port 0` for free ones"
            )
        })?;
    }
    Ok(ports)
}

/// The reason why messages are not stored.
fn no_history(over: &Over) -> String {
    match over.name.as_str() {
        "none" => "events stay in the memory of the instance".to_owned(),
        name => format!("messages are not stored: {name} has no lab with durable subscribers"),
    }
}

/// `A`, `B`, `C`, or `lab`, `lab-2`, `lab-3`.
fn names(first: &str, count: usize) -> Vec<String> {
    let letter = first.bytes().next().filter(|c| first.len() == 1 && c.is_ascii_uppercase());
    let name = |at: usize| match letter {
        Some(letter) if usize::from(letter) + at <= usize::from(b'Z') => {
            char::from(letter + at as u8).to_string()
        }
        _ if at == 0 => first.to_owned(),
        _ => format!("{first}-{}", at + 1),
    };
    (0..count).map(name).collect()
}

async fn run(args: &ChatArgs, over: Over, source: Option<Source>, ports: Vec<u16>) -> Result<()> {
    let mut server = None;
    if let (Some(which), Some(source)) = (over.broker, &source) {
        if source.is_private() {
            errln!("· starting a private {which} …");
        }
        let options = Options { durable: true, dir: &guard::session_dir(), settings: &[] };
        let started = match interruptible(Server::start(which, source, &options)).await {
            Some(started) => started?,
            None => return Ok(()),
        };
        let labs = catalog::entries().into_iter().filter(|lab| over.labs.contains(&lab.name));
        if let Some(why) =
            labs.into_iter().find_map(|lab| started.why_not(Needs::of(lab.broker_since, lab.broker_features)))
        {
            bail!("a chat over {} cannot run over {}: {why}", over.name, started.address());
        }
        server = Some(started);
    }
    let address = server.as_ref().map(|server| server.address().clone());
    if let Some(server) = &server {
        // Other clients need the password of the private broker: they find it in a file.
        let at = match server.is_private() {
            true => broker::for_another_terminal(server.address())?,
            false => server.address().to_string(),
        };
        if args.json {
            outln!("{}", json!({ "broker": at }))?;
        } else {
            errln!("· broker: {at}");
        }
    }
    if args.forget {
        return forget(&over, &args.place, address.as_ref()).await;
    }
    let mut processes = ProcessManager::new(args.json);
    let init =
        |part| Init { over: over.name.clone(), place: args.place.clone(), address: address.clone(), part };
    let history = match (over.has_history(), args.history) {
        (false, _) => Err(no_history(&over)),
        (true, History::No) => Err("messages are not stored, because of `--history no`".to_owned()),
        (true, _) => Ok(()),
    };
    let started = async {
        if history.is_ok() && args.history == History::Here {
            let own = source.as_ref().is_some_and(|source| !source.is_private());
            processes.start("history", init(Part::History { store: store(args, own)? })).await?;
        }
        let names = names(&args.name, args.instances);
        let meshes = meshes(args, &over, &names)?;
        for ((name, port), mesh) in names.into_iter().zip(ports).zip(meshes) {
            let (history, breakable, called) = (history.clone(), args.breakable, name.clone());
            let part = Part::Instance { name, port, mesh, history, breakable };
            processes.start(&format!("instance {called}"), init(part)).await?;
        }
        anyhow::Ok(())
    };
    match interruptible(started).await {
        None => {}
        Some(started) => {
            started?;
            tell(args, &over)?;
            if let Some(watched) = interruptible(processes.watch(server.as_mut())).await {
                watched?;
            }
        }
    }
    processes.end().await;
    match server {
        Some(server) => server.stop().await,
        None => Ok(()),
    }
}

/// Where each instance publishes, and where all do; for each of them.
type Mesh = Option<(String, Vec<String>)>;

fn meshes(args: &ChatArgs, over: &Over, names: &[String]) -> Result<Vec<Mesh>> {
    if !over.mesh {
        return Ok(names.iter().map(|_| None).collect());
    }
    if let Some(bind) = &args.bind {
        let peers = args.peers.iter().map(|peer| over.address(peer)).collect();
        return Ok(vec![Some((over.address(bind), peers))]);
    }
    let address = |name: &String| -> Result<String> {
        Ok(over.address(&match over.name.as_str() {
            "unix" => guard::session_dir().join(format!("{name}.socket")).display().to_string(),
            _ => format!("127.0.0.1:{}", broker::free_port()?),
        }))
    };
    let all: Vec<String> = names.iter().map(address).collect::<Result<_>>()?;
    Ok(all.iter().map(|own| Some((own.clone(), all.clone()))).collect())
}

/// Where the history is kept. A private broker's subscription goes with it, and
/// so may the store; in your own it stays, and what was acknowledged is nowhere else.
fn store(args: &ChatArgs, own_broker: bool) -> Result<PathBuf> {
    if let Some(store) = &args.store {
        return Ok(store.clone());
    }
    let name = format!("{}-{}.redb", args.place, args.over.name(None)?);
    if !own_broker {
        return Ok(guard::session_dir().join(name));
    }
    let folder =
        dirs::data_dir().context("there is no data folder for the history; name a file with --store")?;
    Ok(folder.join("messaging-lab").join(name))
}

async fn forget(over: &Over, place: &str, address: Option<&BrokerAddress>) -> Result<()> {
    let about = "cannot remove what the chat left in the broker";
    let place_of_all = Place::new(place, address);
    match &over.durable {
        Some(durable) => history::forget(durable, &place_of_all).await,
        None => over.pub_sub.remove(&place_of_all).await,
    }
    .context(about)?;
    if let Some(asked_with) = &over.library {
        asked_with.remove(&library(place, address)).await.context(about)?;
    }
    errln!("· everything of the chat `{place}` was removed from the broker");
    Ok(())
}

fn tell(args: &ChatArgs, over: &Over) -> Result<()> {
    if args.json {
        return Ok(outln!("{}", json!({ "labs": over.labs }))?);
    }
    errln!("· built on {}; read on in labs/src/apps/chat/", over.labs.join(", "));
    errln!("· Ctrl-C ends the chat");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn instances_are_named_in_a_row() {
        assert_eq!(names("A", 3), ["A", "B", "C"]);
        assert_eq!(names("Z", 2), ["Z", "Z-2"]);
        assert_eq!(names("lab", 2), ["lab", "lab-2"]);
    }
}
