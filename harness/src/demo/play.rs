//! `lab play`: plays one role by hand. Each line typed is a message; each message
//! received is printed as a line. Other events are reported on stderr.

mod parts;
mod typed;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use labs::catalog::Pattern;

use super::place::place_name;
use crate::broker::{self, Choice, Choices, Server};
use crate::command::{BrokerArgs, Given, Usage, interruptible, lab, source, start};
use crate::process::guard;
use crate::roles::protocol::{Event, FromRole, Init, Kind, ToRole, What, kinds};
use crate::roles::{self, Handle, Peers};
use crate::supervisor::{Heard, Placement, Roles};
use crate::{hint, plan, trial};
use parts::{binders, by_part, parts};
use typed::{Open, Typed};

/// How long a role may take to leave when it is interrupted.
const LEAVING: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct PlayArgs {
    /// The lab, as in `oneway-tcp`
    lab: String,
    /// The role, as in `sender`; a wrong name lists the valid ones
    role: String,
    /// Where the other side is: the address, the broker's URL or the @FILE with that URL that the first
    /// terminal shows. A pipeline's worker needs NAME=ADDRESS for each of tasks, results and control
    #[arg(long, value_name = "ADDRESS")]
    at: Vec<Given>,
    /// Which topics a subscriber wants: all, exact:TOPIC, prefix:TEXT, glob:PATTERN, words:PATTERN or subjects:PATTERN
    #[arg(long)]
    filter: Option<String>,
    /// Number of this instance when several play the same role
    #[arg(long, default_value_t = 0)]
    index: usize,
    /// Remove from your own broker what was played there under --place, then exit
    #[arg(long)]
    forget: bool,
    /// Name in the broker that the roles share; default: lab-play- and the pattern
    #[arg(long, value_name = "NAME")]
    place: Option<String>,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(crate) fn main(args: &PlayArgs, handles: &[Handle]) -> Result<ExitCode> {
    let handle = lab(handles, &args.lab)?;
    let kinds = kinds(handle.entry.pattern);
    let Some(kind) = kinds.iter().copied().find(|kind| kind.as_str() == args.role) else {
        let known: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let near = plan::nearest(&args.role, known.iter().copied());
        let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        bail!(Usage(format!("{} has no role `{}`; {hint}it has: {}", args.lab, args.role, known.join(", "))));
    };
    if handle.entry.in_process() {
        bail!(Usage(format!(
            "{} works only within one process, but two terminals are two processes; use `{}`",
            args.lab,
            hint::command(&["run", &args.lab])
        )));
    }
    if handle.entry.broker.is_none() && kind.binds(false).is_empty() && args.at.is_empty() {
        let other = kinds.iter().find(|kind| !kind.binds(false).is_empty()).map_or("", |kind| kind.as_str());
        bail!(Usage(format!(
            "a {kind} of {} needs the address of the other side: run `{}` in another terminal and add the \
             --at that it shows",
            args.lab,
            hint::command(&["play", &args.lab, other])
        )));
    }
    if let Some(filter) = &args.filter {
        crate::command::usage(filter.parse::<labs::topic::Filter>().map(|_| ()))?;
    }
    let mut choices = args.brokers.choices()?;
    let mut at: Vec<String> = args.at.iter().map(|Given(at)| at.clone()).collect();
    if let Some(which) = handle.entry.broker
        && let Some(text) = at.pop()
    {
        let address = broker::address(which, &text).map_err(|error| Usage(format!("--at: {error:#}")))?;
        choices.insert(which, Choice::Address(address));
    }
    let place = place_name(handle, args.place.as_deref())?;
    // What a producer has confirmed is delivered by the next one, after days as well.
    guard::enter_and_keep_logs()?;
    let runtime = roles::runtime(0)?;
    let played = runtime.block_on(play(Played { args, handle, kind, choices, at, place }));
    runtime.shutdown_background();
    played
}

/// What is played.
struct Played<'a> {
    args: &'a PlayArgs,
    handle: &'a Handle,
    kind: Kind,
    choices: Choices,
    /// Addresses of the other side, where there is no broker.
    at: Vec<String>,
    place: String,
}

async fn play(played: Played<'_>) -> Result<ExitCode> {
    let Played { args, handle, kind, choices, at, place } = played;
    let mut server = None;
    if let Some(which) = handle.entry.broker {
        let source = source(handle, which, &choices)?;
        if source.is_private() {
            errln!("· starting a private {which}");
        }
        match interruptible(start(&handle.entry, which, &source, true)).await {
            Some(started) => server = Some(started?),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
    if args.forget {
        return forget(handle, &place, server.as_ref(), args.index).await;
    }
    let binds = kind.binds(false);
    // A role that binds hands on what it is told of others.
    let addresses =
        if handle.entry.broker.is_none() { by_part(&at, parts(handle))? } else { BTreeMap::new() };
    let missing: Vec<&str> =
        parts(handle).iter().copied().filter(|part| !addresses.contains_key(*part)).collect();
    if handle.entry.broker.is_none() && binds.is_empty() && !missing.is_empty() {
        bail!(Usage(format!(
            "a {kind} of {} needs the addresses of {}; missing: {}; find them in the output of {}",
            args.lab,
            parts(handle).join(", "),
            missing.join(", "),
            binders(handle, &missing)
        )));
    }
    let bind = addresses.iter().filter(|(part, _)| binds.contains(&part.as_str()));
    let bind = bind.map(|(part, address)| (part.clone(), address.clone())).collect();
    let init = Init {
        address: server.as_ref().map(|server| server.address().clone()),
        bind,
        filter: args.filter.clone(),
        ..Init::by_hand(&handle.entry.name, kind, args.index, place.clone())
    };
    // A thread: this process is the role, and ends with it.
    let mut roles = Roles::start(handle, vec![init], Placement { threads: true, ..Placement::default() })?;
    if handle.entry.broker.is_none() && binds.is_empty() {
        let peers: Peers =
            addresses.iter().map(|(part, address)| (part.clone(), vec![address.clone()])).collect();
        roles.tell(0, ToRole::Peers { peers });
    }
    let other = other_side(args, handle, kind, server.as_ref())?;
    let talking = converse(&mut roles, handle, kind, Others { line: other, addresses });
    let ended = match interruptible(talking).await {
        Some(ended) => ended,
        None => {
            // The role ends cleanly: files that it created, such as a socket, are removed.
            roles.shut_down(LEAVING).await;
            Ok(ExitCode::SUCCESS)
        }
    };
    // With --at the broker is the other terminal's, which says this at its own end.
    if let Some(server) = server.filter(|server| !server.is_private() && args.at.is_empty()) {
        // Other roles may still use it, and messages may wait in it: only the user knows.
        let (lab, broker) = (&handle.entry.name, server.broker());
        let own = format!("{broker}={}", server.address());
        let line = hint::command(&["play", lab, kind.as_str(), "--forget", "--place", &place, "--url", &own]);
        let login = if server.address().is_secret() { " (with your login)" } else { "" };
        errln!("· `{place}` stays in {broker}; when nobody uses it any more, remove it with{login}: {line}");
    }
    ended
}

/// Removes what roles of this lab have left in the user's own broker.
async fn forget(handle: &Handle, place: &str, server: Option<&Server>, index: usize) -> Result<ExitCode> {
    let Some(server) = server.filter(|server| !server.is_private()) else {
        bail!(Usage("--forget is for your own broker: add its --url BROKER=URL".to_owned()));
    };
    // The names of durable subscribers: those of the roles.
    let subscribers = (0..=index).map(|index| format!("{}-{index}", Kind::Subscriber)).collect();
    trial::remove(handle, place, Some(server.address()), subscribers).await?;
    errln!("· what `{place}` had in {} was removed", server.broker());
    Ok(ExitCode::SUCCESS)
}

/// The command for the other side, where there is a broker.
fn other_side(
    args: &PlayArgs,
    handle: &Handle,
    kind: Kind,
    server: Option<&Server>,
) -> Result<Option<String>> {
    let Some(server) = server else { return Ok(None) };
    let other = kinds(handle.entry.pattern).iter().find(|other| **other != kind);
    let other = other.map_or("", |other| other.as_str());
    let at = broker::for_another_terminal(server.address())?;
    let mut words = vec!["play", &handle.entry.name, other, "--at", &at];
    if let Some(place) = &args.place {
        words.extend(["--place", place]);
    }
    Ok(Some(hint::command(&words)))
}

/// What is known of the other sides.
struct Others {
    /// The command for one, where there is a broker.
    line: Option<String>,
    /// The addresses of parts, where there is none.
    addresses: BTreeMap<String, String>,
}

async fn converse(roles: &mut Roles, handle: &Handle, kind: Kind, mut others: Others) -> Result<ExitCode> {
    let mut lines = typed::lines();
    // A durable subscriber settles its events, like a consumer.
    let settles = handle.entry.pattern == Pattern::Durable && kind == Kind::Subscriber;
    let manners = if settles { Kind::Consumer } else { kind };
    let speaks = !matches!(manners, Kind::Receiver | Kind::Subscriber);
    let (mut open, mut ended, mut bound) = (Open::default(), false, 0);
    loop {
        tokio::select! {
            line = lines.recv(), if !ended && open.has_room() => match line {
                Some(Typed::Line(line)) => match typed::command(manners, &line) {
                    Ok(command) => {
                        open.begin(line.len());
                        roles.tell(0, ToRole::Command(command));
                    }
                    Err(instead) => errln!("· {instead}"),
                },
                Some(Typed::TooLong) => errln!(
                    "· not sent: a line is longer than {} MiB; split it",
                    typed::MOST_LINE >> 20
                ),
                Some(Typed::Broken(why)) => errln!("· the standard input cannot be read any more: {why}"),
                None => {
                    ended = true;
                    // No more lines: a sending role leaves when everything is settled, a
                    // receiving role continues.
                    if leaves(kind) && open.is_empty() {
                        roles.tell(0, ToRole::Stop);
                    }
                }
            },
            (_, heard) = roles.hear() => match heard {
                Heard::Line(FromRole::Bound { namespace, address }) => {
                    others.addresses.insert(namespace, address);
                    bound += 1;
                    if bound == kind.binds(false).len() {
                        invite(handle, kind, &others.addresses);
                    }
                }
                Heard::Line(FromRole::Ready) => {
                    if let Some(line) = &others.line {
                        errln!("· in another terminal: {line}");
                    }
                    errln!("· {kind} is ready{}", if speaks { manual(manners) } else { "" });
                }
                Heard::Line(FromRole::Event(event)) => {
                    open.note(manners, event.what);
                    show(manners, &event)?;
                    if ended && leaves(kind) && open.is_empty() {
                        roles.tell(0, ToRole::Stop);
                    }
                }
                Heard::Line(FromRole::Failed { error }) => bail!("{error}"),
                Heard::Left(Some(why)) => bail!("{why}"),
                Heard::Left(None) => return Ok(ExitCode::SUCCESS),
                Heard::Line(_) | Heard::Remote(_) => {}
            }
        }
    }
}

/// Whether the end of input ends the role.
fn leaves(kind: Kind) -> bool {
    matches!(kind, Kind::Sender | Kind::Requester | Kind::Publisher | Kind::Ventilator | Kind::Producer)
}

fn manual(kind: Kind) -> &'static str {
    match kind {
        Kind::Publisher => "; type `TOPIC: TEXT`, or only the text",
        Kind::Responder => "; type the reply to the oldest request",
        Kind::Worker | Kind::Consumer => "; type `ack` or `nack` to settle the oldest delivery",
        Kind::Sink => "; type `stop` to end all workers",
        _ => "; type a message",
    }
}

/// Tells how the other side gets here: the whole command, once everything of it that this role
/// can know is known. A pipeline has two roles that bind: the first tells the second, which tells
/// the workers.
fn invite(handle: &Handle, kind: Kind, addresses: &BTreeMap<String, String>) {
    let lab = &handle.entry.name;
    let waits = |other: &&Kind| {
        **other != kind && other.binds(false).iter().any(|part| !addresses.contains_key(*part))
    };
    let kinds = kinds(handle.entry.pattern);
    let other = kinds
        .iter()
        .find(waits)
        .or_else(|| kinds.iter().find(|other| **other != kind && other.binds(false).is_empty()));
    let other = other.map_or("", |other| other.as_str());
    let at = addresses.iter().map(|(part, address)| match part.as_str() {
        "" => address.clone(),
        part => format!("{part}={address}"),
    });
    let at = at.collect::<Vec<_>>().join(",");
    errln!("· in another terminal: {}", hint::command(&["play", lab, other, "--at", &at]));
}

fn show(kind: Kind, event: &Event) -> Result<()> {
    let text = &event.text;
    // On stderr, so that a program that reads the replies gets nothing else.
    if let (What::Replied, Kind::Requester, Some(about)) = (event.what, kind, &event.about) {
        errln!("· reply to `{about}`:");
    }
    let mut out = std::io::stdout().lock();
    match (event.what, kind) {
        (What::Received | What::Requested, Kind::Subscriber) => {
            write!(out, "{}: ", event.topic.as_deref().unwrap_or(""))?;
            out.write_all(text.bytes())?;
        }
        (What::Received, _) | (What::Requested, Kind::Responder) | (What::Replied, Kind::Requester) => {
            out.write_all(text.bytes())?;
            if event.what == What::Received && event.attempt.is_some_and(|attempt| attempt > 1) {
                write!(out, " (again)")?;
            }
        }
        (What::Failed, _) => {
            let about = event.about.as_ref().map(|about| format!(" (`{about}`)")).unwrap_or_default();
            errln!("· failed{about}: {text}");
            return Ok(());
        }
        (What::Incident, _) => {
            errln!("· {text}");
            return Ok(());
        }
        (what, _) => {
            errln!("· {}: {text}", format!("{what:?}").to_lowercase());
            return Ok(());
        }
    }
    writeln!(out)?;
    Ok(out.flush()?)
}
