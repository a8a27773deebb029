//! One hunt: ventilator and sink in this process, workers in their own.

use std::cell::RefCell;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use labs::apps::crack::{self, Ended, Happened, Job, Order};
use labs::lab::{Directory, Place};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use super::join::PARTS;
use super::plan::{MOST_WORKERS, Plan, knobs};
use super::progress::ProgressDisplay;
use super::workers::{Left, Workers};
use crate::command::thousands;
use crate::{hint, trial};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a worker's process may take to end after its hunt.
const LEAVING: Duration = Duration::from_secs(5);

pub(super) async fn main(plan: &Plan, url: Option<&str>) -> Result<ExitCode> {
    let display = RefCell::new(ProgressDisplay::new(plan, false));
    let ended = run(plan, &plan.job, url, &display).await?;
    display.borrow().result(&ended)?;
    Ok(match (&ended.found, ended.exhausted) {
        (Some(_), _) => ExitCode::SUCCESS,
        (None, true) => ExitCode::FAILURE,
        (None, false) => ExitCode::from(130),
    })
}

/// Hunts until it is over or the user presses Ctrl-C, and leaves nothing.
pub(super) async fn run(
    plan: &Plan,
    job: &Job,
    url: Option<&str>,
    display: &RefCell<ProgressDisplay>,
) -> Result<Ended> {
    let directory = Arc::new(Directory::conducted());
    let place = Place::new(&format!("lab-crack-{:08x}", trial::run_number()), url)
        .with_role("sink")
        .with_directory(Arc::clone(&directory))
        .with_knobs(plan.knobs.clone());
    let mut workers = None;
    let hunted = conduct(plan, job, &place, &directory, url, display, &mut workers).await;
    if let Some(workers) = workers {
        workers.gather(if hunted.is_ok() { LEAVING } else { Duration::ZERO }).await;
    }
    let removed = plan.over.remove(&place).await;
    let ended = hunted?;
    removed?;
    Ok(ended)
}

async fn conduct(
    plan: &Plan,
    job: &Job,
    place: &Place,
    directory: &Directory,
    url: Option<&str>,
    display: &RefCell<ProgressDisplay>,
    workers: &mut Option<Workers>,
) -> Result<Ended> {
    // Every worker ends once, and the user says stop once.
    let (orders, inbox) = mpsc::channel(MOST_WORKERS + 1);
    let open = Notify::new();
    let mut tell = |happened: Happened| {
        if matches!(happened, Happened::Open) {
            open.notify_one();
        }
        display.borrow_mut().note(happened);
    };
    let mut hunting = pin!(crack::hunt(&plan.over.lab, place, job, inbox, &mut tell));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut interrupted, mut stopping) = (pin!(tokio::signal::ctrl_c()), false);
    let mut deserted: Option<Instant> = None;
    let mut help = String::new();
    loop {
        tokio::select! {
            ended = &mut hunting => return ended.map_err(|error| error.context(so_far(display, job))),
            () = open.notified() => {
                let invitation = invitation(plan, place, directory, url);
                let started = match &invitation {
                    Some(command) => Workers::processes(job.workers, command)?,
                    None => Workers::threads(job.workers, &plan.over, place)?,
                };
                help = invitation.map(|command| typed(&command)).unwrap_or_default();
                let mut display = display.borrow_mut();
                display.workers(&started.pids);
                announce(plan, job, &help, place, &display);
                *workers = Some(started);
            }
            (worker, how) = left(workers) => {
                display.borrow_mut().ended(&worker, how.as_deref());
                let order = if how.is_some() { Order::Died(worker) } else { Order::Left(worker) };
                // There is room for each worker; a hunt that is over does not hear it.
                let _ = orders.try_send(order);
            }
            _ = ticks.tick() => {
                display.borrow_mut().tick();
                let nobody = workers.as_ref().is_some_and(|workers| workers.running() == 0);
                match deserted {
                    _ if !nobody || stopping || !display.borrow().is_deserted() => deserted = None,
                    None => {
                        deserted = Some(Instant::now());
                        let wait = plan.patience.as_secs_f64();
                        let line = format!("no worker is left; add one within {wait} s: {help}");
                        display.borrow().say(&line, &json!({ "what": "deserted", "patience_s": wait }));
                    }
                    Some(since) if since.elapsed() >= plan.patience => {
                        bail!("{}: no worker is left, and none has come", so_far(display, job));
                    }
                    Some(_) => {}
                }
            }
            _ = &mut interrupted, if !stopping => {
                stopping = true;
                let _ = orders.try_send(Order::Stop);
                tokio::spawn(async {
                    let _ = tokio::signal::ctrl_c().await;
                    std::process::exit(130);
                });
            }
        }
    }
}

/// The next worker that ends, once there are any.
async fn left(workers: &mut Option<Workers>) -> Left {
    match workers {
        Some(workers) => workers.left().await,
        None => std::future::pending().await,
    }
}

fn so_far(display: &RefCell<ProgressDisplay>, job: &Job) -> String {
    let tried = thousands(display.borrow().tried() as f64);
    format!("the search has ended after {tried} of {} words", thousands(job.words as f64))
}

/// The arguments of `lab crack` that make one more worker; `None` where nobody
/// outside this process can join.
fn invitation(plan: &Plan, place: &Place, directory: &Directory, url: Option<&str>) -> Option<Vec<String>> {
    let over = &plan.over;
    if !over.crosses_processes() {
        return None;
    }
    let announced = directory.announcements();
    let addresses: Vec<String> = announced
        .borrow()
        .iter()
        .filter(|(part, _)| PARTS.contains(&part.as_str()))
        .map(|(part, address)| format!("{part}={address}"))
        .collect();
    let at = url.map_or_else(|| addresses.join(","), str::to_owned);
    let mut command =
        ["--join", over.entry.transport, "--at", &at, "--place", &place.name()].map(str::to_owned).to_vec();
    let usual = knobs(&[], &over.entry).unwrap_or_default();
    for (knob, value) in plan.knobs.iter().filter(|(knob, value)| usual.get(*knob) != Some(value)) {
        command.extend(["--set".to_owned(), format!("{knob}={value}")]);
    }
    Some(command)
}

/// The invitation as it is typed into a shell.
fn typed(arguments: &[String]) -> String {
    let words: Vec<&str> = std::iter::once("crack").chain(arguments.iter().map(String::as_str)).collect();
    hint::command(&words)
}

/// What is about to be done, and how another terminal can help.
fn announce(plan: &Plan, job: &Job, help: &str, place: &Place, display: &ProgressDisplay) {
    let entry = &plan.over.entry;
    let tasks = job.words.div_ceil(job.batch);
    let line = format!(
        "{} ({}): {} words of 1 to {} letters over [{}], in {} tasks",
        entry.name,
        entry.guarantee,
        thousands(job.words as f64),
        plan.longest,
        job.alphabet,
        thousands(tasks as f64)
    );
    let object = json!({
        "what": "open", "lab": entry.name, "guarantee": entry.guarantee.as_str(), "place": place.name(),
        "words": job.words, "tasks": tasks, "batch": job.batch, "window": job.window, "join": help,
    });
    display.say(&line, &object);
    if !help.is_empty() {
        display.say(&format!("another terminal can help: {help}"), &json!({ "what": "help", "type": help }));
    }
}
