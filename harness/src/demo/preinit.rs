//! `lab preinit`: accepts requests before the connection exists, and sends them when it
//! does.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use futures_util::future::join_all;
use labs::apps::preinit::{self, Early, Failure, State};
use labs::catalog::{self, Particular, Pattern, Visitor};
use labs::erased::RequestReplyLab;
use labs::lab::{Directory, Place};
use labs::reqrep::{Command, RequestReply, Responder as _};
use serde_json::{Value, json};

use crate::broker::{self, Options, Server};
use crate::command::{BrokerArgs, OverArgs, Usage, interruptible};
use crate::process::guard;
use crate::{hint, roles, trial};

/// Requests that may wait.
const DEPTH: usize = 4;
/// Deadlines: of those that wait for the connection, and of one that will not live to see it.
/// Longer than a broker takes to start on a busy machine.
const PATIENT: Duration = Duration::from_secs(300);
const IMPATIENT: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct PreinitArgs {
    #[command(flatten)]
    over: OverArgs,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

struct Demo {
    entry: catalog::Entry,
    lab: RequestReplyLab,
}

/// Hears what happens.
type Tell = Rc<dyn Fn(Value, String)>;

#[derive(Default)]
struct Demos(Vec<Demo>);

impl Visitor for Demos {
    fn request_reply<L: RequestReply>(&mut self) {
        let entry = catalog::Entry::of::<L>(Pattern::RequestReply, Particular::None);
        self.0.push(Demo { entry, lab: RequestReplyLab::of::<L>() });
    }
}

pub(crate) fn main(args: &PreinitArgs) -> Result<ExitCode> {
    let over = args.over.name(Some("redis"))?;
    let mut demos = Demos::default();
    catalog::visit(&mut demos);
    // In-process labs share the queue of requests, so there is nothing to connect.
    demos.0.retain(|demo| !demo.entry.in_process());
    let Some(demo) = demos.0.iter().find(|demo| word(&demo.entry) == over) else {
        let known = crate::command::transports(Pattern::RequestReply, |lab| !lab.in_process());
        return Err(crate::command::no_transport("preinit", over, &known));
    };
    let choices = args.brokers.choices()?;
    let source = demo.entry.broker.map(|which| {
        let source = broker::find(which, &choices).map_err(|why| anyhow!("{why}"))?;
        if !source.is_private() {
            bail!(Usage(format!(
                "`{}` sends requests while the broker is down and then starts it; it does not stop your own \
                 broker; leave out --url {which}=… for a private one",
                hint::command(&["preinit"])
            )));
        }
        Ok((which, source))
    });
    let source = source.transpose()?;
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let json = args.json;
    let tell: Tell = Rc::new(move |value, text| {
        // The reader of the output has closed it. The scenario still runs to its end.
        let _ = if json { outln!("{value}") } else { outln!("  {text}") };
    });
    let playing = async {
        let mut server = None;
        if let Some((which, source)) = &source {
            errln!("looking for a port for a private {which} …");
            let options = Options { durable: true, dir: &guard::session_dir(), settings: &[] };
            server = Some(Server::start(*which, source, &options).await?);
        }
        if !json {
            outln!("preinit: {}, with requests made before the connection exists\n", demo.entry.name)?;
        }
        let told = demonstrate(&demo.lab, server.as_mut(), tell).await;
        if let Some(server) = server {
            server.stop().await?;
        }
        told?;
        if json {
            outln!("{}", json!({ "read": "labs/src/apps/preinit.rs" }))
        } else {
            outln!("\n  read on:   labs/src/apps/preinit.rs, {}", demo.entry.source)
        }?;
        Ok(ExitCode::SUCCESS)
    };
    let done = runtime.block_on(interruptible(playing));
    runtime.shutdown_background();
    done.unwrap_or(Ok(ExitCode::from(130)))
}

fn word(entry: &catalog::Entry) -> String {
    entry.name.trim_start_matches("reqrep-").to_owned()
}

/// The demonstration, over any request/reply lab.
async fn demonstrate(lab: &RequestReplyLab, mut server: Option<&mut Server>, tell: Tell) -> Result<()> {
    let name = format!("lab-preinit-{:08x}", trial::run_number());
    let address = server.as_ref().map(|server| server.address().clone());
    if let Some(server) = &mut server {
        server.kill()?;
        let text = format!("{} is down; it will be at {}", server.broker(), server.address());
        tell(json!({ "what": "down", "broker": server.broker().to_string() }), text);
    }
    // If the peers connect directly, the requester does not even have an address.
    let directory = Arc::new(Directory::supervised());
    let place =
        Place::new(&name, address.as_ref()).with_role("requester").with_directory(Arc::clone(&directory));
    let (early, driver) = preinit::early(*lab, place, DEPTH);
    let replies = RefCell::new(Vec::new());
    tokio::pin!(driver);

    let asking = async {
        join_all((1..=3).map(|number| ask(&early, number, PATIENT, &tell)))
            .await
            .into_iter()
            .collect::<Vec<_>>()
    };
    let early_on = async {
        // The fourth waits in vain, the fifth finds no room.
        let (_, refused) = tokio::join!(biased;
            ask(&early, 4, IMPATIENT, &tell),
            ask(&early, 5, PATIENT, &tell));
        drop(refused);
        if address.is_some() {
            let mut state = early.state();
            let tried = |state: &State| matches!(state, State::Connecting { failed, .. } if *failed >= 2);
            let why = match &*state.wait_for(tried).await? {
                State::Connecting { failed, why } => (*failed, why.clone().unwrap_or_default()),
                State::Connected => (0, String::new()),
            };
            tell(
                json!({ "what": "connecting", "failed": why.0, "why": why.1, "waiting": early.waiting() }),
                format!(
                    "connecting: {} attempts failed, {} requests wait; {}",
                    why.0,
                    early.waiting(),
                    why.1
                ),
            );
        } else {
            tell(
                json!({ "what": "connecting", "failed": 0, "why": "no address yet", "waiting": early.waiting() }),
                format!("connecting: there is no address yet, {} requests wait", early.waiting()),
            );
        }
        anyhow::Ok(())
    };
    tokio::pin!(asking);
    // The three are asked first, and go on waiting.
    tokio::select! {
        biased;
        _ = &mut asking => bail!("a request was answered before a responder was there"),
        early_on = early_on => early_on?,
        () = &mut driver => bail!("the task that connects has ended"),
    }

    // Nobody connects meanwhile: over a transport that keeps nothing for those
    // who are not there, requests would go to a broker without a responder.
    let mine = Arc::new(Directory::local(1));
    let service =
        Place::new(&name, address.as_ref()).with_role("responder").with_directory(Arc::clone(&mine));
    if let Some(server) = &mut server {
        errln!("starting {} …", server.broker());
        server.restart().await?;
        tell(
            json!({ "what": "up", "broker": server.broker().to_string() }),
            format!("{} is up", server.broker()),
        );
    }
    let mut responder = lab.responder(&service).await?;
    tell(json!({ "what": "responder" }), "the responder has joined".to_owned());
    if address.is_none() {
        let addresses = mine.announcements().borrow().iter().map(|(_, address)| address.clone()).collect();
        directory.tell("", addresses);
    }

    let serving = async {
        while let Some((request, to)) = responder.next().await? {
            let text = String::from_utf8_lossy(&request).into_owned();
            tell(json!({ "what": "received", "request": text }), format!("the responder receives `{text}`"));
            responder.reply(to, format!("re: {text}").into()).await?;
        }
        bail!("the responder reports that no requester can connect any more")
    };
    let answered = async {
        tokio::select! {
            answers = &mut asking => { replies.replace(answers); anyhow::Ok(()) }
            ended = serving => ended,
            () = &mut driver => bail!("the task that connects has ended"),
        }
    };
    answered.await?;
    let late = replies.borrow().iter().filter(|reply| reply.is_err()).count();
    if late > 0 {
        bail!("{late} of 3 requests got no reply");
    }
    let connected = *early.state().borrow() == State::Connected;
    tell(
        json!({ "what": "state", "connected": connected, "waiting": early.waiting() }),
        format!(
            "{}; {} requests wait",
            if connected { "connected" } else { "not connected" },
            early.waiting()
        ),
    );
    lab.remove(&service).await.context("cannot remove what this run left in the broker")
}

/// Sends a request, and prints its result.
async fn ask(early: &Early, number: u32, deadline: Duration, tell: &Tell) -> Result<(), Failure> {
    let request = format!("request {number}");
    tell(
        json!({ "what": "asked", "request": request, "deadline_ms": deadline.as_millis() as u64 }),
        format!("requests `{request}`, waits up to {} ms", deadline.as_millis()),
    );
    match early.ask(Command::from(request.clone()), deadline).await {
        Ok(reply) => {
            let reply = String::from_utf8_lossy(&reply).into_owned();
            tell(
                json!({ "what": "replied", "request": request, "reply": reply }),
                format!("`{request}` got the reply `{reply}`"),
            );
            Ok(())
        }
        Err(why) => {
            let what = match why {
                Failure::Full(_) => "refused",
                Failure::Expired(_) => "expired",
                Failure::TimedOut(_) => "timed_out",
                Failure::Failed(_) => "failed",
            };
            tell(
                json!({ "what": what, "request": request, "why": why.to_string() }),
                format!("`{request}` got no reply: {why}"),
            );
            Err(why)
        }
    }
}
