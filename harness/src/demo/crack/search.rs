//! One search: ventilator and sink in this process, workers in their own.

use std::cell::RefCell;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use labs::apps::crack::{self, Job, Order, Outcome, SearchEvent};
use labs::lab::{BrokerAddress, Directory, Place};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use super::join::PARTS;
use super::plan::{MOST_WORKERS, Plan, knobs};
use super::progress::ProgressDisplay;
use super::workers::{Left, Workers};
use crate::command::{end_at_next, thousands};
use crate::process::signals::Interrupts;
use crate::{broker, hint, trial};

/// How often the progress display is updated.
const TICK: Duration = Duration::from_millis(100);
/// Maximum time for a worker's process to end after the search.
const LEAVING: Duration = Duration::from_secs(5);

pub(super) async fn main(plan: &Plan, address: Option<&BrokerAddress>) -> Result<ExitCode> {
    let display = RefCell::new(ProgressDisplay::new(plan, false));
    let outcome = run(plan, &plan.job, address, &display).await?;
    display.borrow().result(&outcome)?;
    Ok(match (&outcome.found, outcome.exhausted) {
        (Some(_), _) => ExitCode::SUCCESS,
        (None, true) => ExitCode::FAILURE,
        (None, false) => ExitCode::from(130),
    })
}

/// Searches until the search is over or the user presses Ctrl-C. Removes everything that it
/// has created in the broker.
pub(super) async fn run(
    plan: &Plan,
    job: &Job,
    address: Option<&BrokerAddress>,
    display: &RefCell<ProgressDisplay>,
) -> Result<Outcome> {
    let directory = Arc::new(Directory::supervised());
    let place = Place::new(&format!("lab-crack-{:08x}", trial::run_number()), address)
        .with_role("sink")
        .with_directory(Arc::clone(&directory))
        .with_knobs(plan.knobs.clone());
    let mut workers = None;
    let searched = supervise(plan, job, &place, &directory, address, display, &mut workers).await;
    if let Some(workers) = workers {
        workers.join_all(if searched.is_ok() { LEAVING } else { Duration::ZERO }).await;
    }
    let removed = plan.over.remove(&place).await;
    let outcome = searched?;
    removed?;
    Ok(outcome)
}

/// Starts the workers, and tells the search and the user what happens to them.
async fn supervise(
    plan: &Plan,
    job: &Job,
    place: &Place,
    directory: &Directory,
    address: Option<&BrokerAddress>,
    display: &RefCell<ProgressDisplay>,
    workers: &mut Option<Workers>,
) -> Result<Outcome> {
    // Each worker ends once, and the user stops the search once.
    let (orders, inbox) = mpsc::channel(MOST_WORKERS + 1);
    let open = Notify::new();
    let mut on_event = |event: SearchEvent| {
        if matches!(event, SearchEvent::Open) {
            open.notify_one();
        }
        display.borrow_mut().note(event);
    };
    let mut searching = pin!(crack::search(&plan.over.lab, place, job, inbox, &mut on_event));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut interrupts, mut stopping) = (Some(Interrupts::new()?), false);
    let mut deserted: Option<Instant> = None;
    let mut help = String::new();
    loop {
        tokio::select! {
            outcome = &mut searching => return outcome.map_err(|error| error.context(so_far(display, job))),
            () = open.notified() => {
                let invitation = invitation(plan, place, directory, address)?;
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
                // There is room for each worker; a search that is over takes no orders.
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
                        bail!("{}: no worker is left, and none has joined", so_far(display, job));
                    }
                    Some(_) => {}
                }
            }
            () = interruption(&mut interrupts), if !stopping => {
                stopping = true;
                let _ = orders.try_send(Order::Stop);
                if let Some(interrupts) = interrupts.take() {
                    end_at_next(interrupts);
                }
            }
        }
    }
}

async fn interruption(interrupts: &mut Option<Interrupts>) {
    match interrupts {
        Some(interrupts) => interrupts.next().await,
        None => std::future::pending().await,
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

/// The arguments of `lab crack` that start one more worker; `None` if workers outside this
/// process cannot join.
fn invitation(
    plan: &Plan,
    place: &Place,
    directory: &Directory,
    address: Option<&BrokerAddress>,
) -> Result<Option<Vec<String>>> {
    let over = &plan.over;
    if !over.crosses_processes() {
        return Ok(None);
    }
    let announced = directory.announcements();
    let addresses: Vec<String> = announced
        .borrow()
        .iter()
        .filter(|(part, _)| PARTS.contains(&part.as_str()))
        .map(|(part, address)| format!("{part}={address}"))
        .collect();
    let at = match address {
        Some(address) => broker::for_another_terminal(address)?,
        None => addresses.join(","),
    };
    let mut command =
        ["--join", over.entry.transport, "--at", &at, "--place", &place.name()].map(str::to_owned).to_vec();
    let usual = knobs(&[], &over.entry).unwrap_or_default();
    for (knob, value) in plan.knobs.iter().filter(|(knob, value)| usual.get(*knob) != Some(value)) {
        command.extend(["--set".to_owned(), format!("{knob}={value}")]);
    }
    Ok(Some(command))
}

/// The invitation as a shell command.
fn typed(arguments: &[String]) -> String {
    let words: Vec<&str> = std::iter::once("crack").chain(arguments.iter().map(String::as_str)).collect();
    hint::command(&words)
}

/// Prints what will be searched, and how another terminal can add a worker.
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
