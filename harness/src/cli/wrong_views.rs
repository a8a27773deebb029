//! `lab wrong-views`: produces one event, records every message of it, and shows what
//! common ways to measure report about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use labs::catalog::Pattern;
use labs::lab::Broker;

use crate::broker::{self, Choices, Options, Server, Source};
use crate::command::{BrokerArgs, interruptible, lab, source, usage};
use crate::measure::noise::Meter;
use crate::measure::{host, schedule};
use crate::process::guard;
use crate::results::{Load, Noise, Pause};
use crate::roles::{self, Handle};
use crate::supervisor::Placement;
use crate::trial::{self, Outcome, Spec, TrialOptions};
use crate::validate::pitfalls::{FEWEST, Flood, Made, RecordedTrial, Recordings, Views};
use crate::{plan, results, runner, units};

/// Before each measurement, seconds.
const WARMUP: f64 = 0.5;
/// The measured time of a short run, and of the flood, seconds.
const SHORT: f64 = 2.0;
/// Labs without back-pressure: one stores what it cannot deliver, the other drops it and needs
/// no broker.
const FLOODED: [&str; 2] = ["oneway-redis", "pubsub-zeromq"];

#[derive(Debug, Args)]
pub(super) struct WrongViewsArgs {
    /// The lab: one-way or publish/subscribe, over a broker
    #[arg(long, value_name = "LAB", default_value = "pubsub-redis")]
    over: String,
    /// Messages per second, evenly spaced
    #[arg(long, value_name = "RATE", default_value = "1000")]
    load: String,
    /// Measured time in seconds; the broker is paused in the middle of it
    #[arg(long, value_name = "S", default_value_t = 15.0, value_parser = units::seconds)]
    seconds: f64,
    /// Length of the pause, in seconds
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = units::seconds)]
    pause: f64,
    /// Message size in bytes, the 32-byte header included
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = units::bytes)]
    size: u64,
    /// Number of short runs without a pause, for comparison
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = units::count)]
    runs: usize,
    /// Analyse the recordings in this folder again, without a new run
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "urls"])]
    redraw: Option<PathBuf>,
    /// Folder to write to; default: a new folder below results/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(super) fn main(args: &WrongViewsArgs, handles: &[Handle]) -> Result<ExitCode> {
    if let Some(dir) = &args.redraw {
        return finish(&Recordings::read(dir)?, dir);
    }
    let handle = lab(handles, &args.over)?;
    let load = usage(check(args, handle))?;
    let choices = args.brokers.choices()?;
    let out = args.out.clone().map_or_else(|| runner::default_out("wrong-views", &host::host()), Ok)?;
    ensure!(
        std::fs::read_dir(&out).map_or(true, |mut entries| entries.next().is_none()),
        "{} exists and is not empty; choose another --out, or draw it again with --redraw",
        out.display()
    );
    guard::enter()?;
    results::private::create(&out)?;
    let recorder = EventRecorder { args, handle, handles, load, choices: &choices, out: &out };
    let runtime = roles::runtime(0)?;
    let made = runtime.block_on(interruptible(recorder.record_all()));
    runtime.shutdown_background();
    let Some(recordings) = made else {
        errln!("\ninterrupted; {} is not complete. Start again with a new folder.", out.display());
        return Ok(ExitCode::from(130));
    };
    finish(&recordings?, &out)
}

/// Invalid options are refused before anything is started.
fn check(args: &WrongViewsArgs, handle: &Handle) -> Result<Load> {
    let entry = &handle.entry;
    ensure!(
        matches!(entry.pattern, Pattern::OneWay | Pattern::PubSub) && entry.broker.is_some(),
        "{} cannot be used here: the command pauses a broker between one sender and one receiver; choose a \
         lab such as pubsub-redis or oneway-nats",
        entry.name
    );
    let load = plan::parse_load(&args.load, None)?;
    let Some(rate) = load.rate else {
        bail!("`{}` is not a fixed load; give messages a second, as in `--load 1000`", args.load);
    };
    let pause = pause(args);
    plan::check(&results::Plan {
        sizes: vec![args.size],
        loads: vec![load.clone()],
        seconds: args.seconds,
        warmup_s: WARMUP,
        record: true,
        pause: Some(pause),
        ..plan::load("quick")?
    })?;
    ensure!(
        rate * args.seconds >= FEWEST as f64,
        "{rate} messages a second for {} s are too few: p99.9 needs {FEWEST} messages; give more --seconds \
         or a higher --load",
        args.seconds
    );
    ensure!(
        rate * SHORT >= FEWEST as f64 / 10.0,
        "{rate} messages a second are too few for the p99 of a run of {SHORT} s; give a higher --load"
    );
    ensure!((2..=100).contains(&args.runs), "{} runs are out of range; give 2 to 100", args.runs);
    Ok(load)
}

/// In the middle of the measured time.
fn pause(args: &WrongViewsArgs) -> Pause {
    Pause { at_s: millionths((args.seconds - args.pause) / 2.0), for_s: args.pause }
}

/// Computes the figures, and writes the page.
fn finish(recordings: &Recordings, out: &Path) -> Result<ExitCode> {
    let views = recordings.views()?;
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, picture) in crate::validate::pitfalls::pictures(recordings, &views)? {
        write(&name, &picture)?;
    }
    write("views.json", &(serde_json::to_string_pretty(&views)? + "\n"))?;
    write("README.md", &views.readme())?;
    table(&views)?;
    errln!("\nThe page: {}", out.join("README.md").display());
    Ok(ExitCode::SUCCESS)
}

fn table(views: &Views) -> Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(["PITFALL", "FIGURE", "REPORTED", "ACTUAL", "ERROR"]);
    for row in views.rows() {
        table.add_row(row);
    }
    outln!("{}", table.trim_fmt())?;
    Ok(())
}

/// Records the event, and everything that it is compared with.
struct EventRecorder<'a> {
    args: &'a WrongViewsArgs,
    handle: &'a Handle,
    handles: &'a [Handle],
    load: Load,
    choices: &'a Choices,
    out: &'a Path,
}

/// The settings in which trials differ.
struct TrialSetup<'a> {
    what: &'a str,
    handle: &'a Handle,
    load: Load,
    warmup: f64,
    seconds: f64,
    options: TrialOptions,
}

impl EventRecorder<'_> {
    async fn record_all(&self) -> Result<Recordings> {
        let broker = self.handle.entry.broker.context("a lab over a broker has one")?;
        let source = source(self.handle, broker, self.choices)?;
        ensure!(
            source.is_private(),
            "this command does not pause your own {broker}; leave out --url {broker}=…"
        );
        let noise = quiet();
        let mut brokers = BTreeMap::new();
        let args = self.args;
        let pause = pause(args);
        let mut setup = TrialSetup {
            what: "open loop",
            handle: self.handle,
            load: self.load.clone(),
            warmup: WARMUP,
            seconds: args.seconds,
            options: TrialOptions { record: true, pause: Some(pause), ..TrialOptions::default() },
        };
        let (open, open_trial) = self.record(&setup, &source, "open-loop.csv", &mut brokers).await?;
        (setup.what, setup.options.lockstep) = ("closed loop", true);
        let (closed, closed_trial) = self.record(&setup, &source, "closed-loop.csv", &mut brokers).await?;
        let (mut runs, mut trials) = (Vec::new(), Vec::new());
        for number in 1..=args.runs {
            let what = format!("run {number} of {}", args.runs);
            let options = TrialOptions { record: true, ..TrialOptions::default() };
            let short = TrialSetup { what: &what, seconds: SHORT, options, load: self.load.clone(), ..setup };
            let (run, trial) =
                self.record(&short, &source, &format!("run-{number}.csv"), &mut brokers).await?;
            runs.push(run);
            trials.push(trial);
        }
        let made = Made {
            created: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            host: host::host(),
            noise,
            lab: self.handle.entry.name.clone(),
            size: args.size,
            rate: self.load.rate.unwrap_or_default(),
            pause,
            open: open_trial,
            closed: closed_trial,
            runs: trials,
            flood: self.flood(&mut brokers).await?,
            versions: host::versions(brokers),
        };
        Ok(Recordings { made, open, closed, runs })
    }

    /// Records every message of one trial, over a new broker.
    async fn record(
        &self,
        setup: &TrialSetup<'_>,
        source: &Source,
        file: &str,
        brokers: &mut BTreeMap<String, String>,
    ) -> Result<(crate::measure::trace::MessageTrace, RecordedTrial)> {
        let broker = setup.handle.entry.broker.context("a lab over a broker has one")?;
        let mut server = self.start(broker, source, brokers).await?;
        let outcome = self.run_trial(setup, Some(&mut server)).await?;
        server.stop().await?;
        let recording = outcome.recording.context("the trial left no recording")?;
        let path = self.out.join(file);
        std::fs::write(&path, recording.csv())
            .with_context(|| format!("cannot write {}; is the disk full?", path.display()))?;
        let trial = RecordedTrial {
            file: file.to_owned(),
            warmup_s: setup.warmup,
            seconds: setup.seconds,
            counts: outcome.trial.counts,
            paused: outcome.trial.paused,
            flags: outcome.trial.flags,
        };
        Ok((recording, trial))
    }

    async fn run_trial(&self, setup: &TrialSetup<'_>, server: Option<&mut Server>) -> Result<Outcome> {
        let size = usize::try_from(self.args.size)?;
        errln!("{}: {}, {} for {} s", setup.what, setup.handle.entry.name, setup.load.label(), setup.seconds);
        let spec = Spec {
            handle: setup.handle.clone(),
            size,
            load: setup.load.clone(),
            senders: 1,
            receivers: 1,
            warmup: setup.warmup,
            seconds: setup.seconds,
            drain: 10.0,
            window: None,
            knobs: BTreeMap::new(),
            seed: 1,
            placement: Placement::default(),
            null_rate: schedule::null_rate(size)?,
            options: setup.options,
        };
        let outcome = trial::run(&spec, server, 0, 0, |_| {}).await?;
        match &outcome.trial.failed {
            Some(failed) => bail!("{}: {failed}", setup.what),
            None => Ok(outcome),
        }
    }

    /// A sender without a window.
    async fn flood(&self, brokers: &mut BTreeMap<String, String>) -> Result<Flood> {
        let private = BTreeMap::new();
        let here = |name: &&str| -> Option<(&Handle, Option<Source>)> {
            let handle = plan::lab(self.handles, name).ok()?;
            match handle.entry.broker {
                None => Some((handle, None)),
                Some(broker) => Some((handle, Some(broker::find(broker, &private).ok()?))),
            }
        };
        let (handle, source) = FLOODED.iter().find_map(here).context("ØMQ needs no broker")?;
        let setup = TrialSetup {
            what: "flood",
            handle,
            load: Load::max(),
            warmup: 0.0,
            seconds: SHORT,
            options: TrialOptions::default(),
        };
        let mut server = match (handle.entry.broker, &source) {
            (Some(broker), Some(source)) => Some(self.start(broker, source, brokers).await?),
            _ => None,
        };
        let trial = self.run_trial(&setup, server.as_mut()).await?.trial;
        if let Some(server) = server {
            server.stop().await?;
        }
        Ok(Flood {
            lab: handle.entry.name.clone(),
            seconds: SHORT,
            counts: trial.counts,
            received_per_s: trial.throughput_per_s,
        })
    }

    async fn start(
        &self,
        broker: Broker,
        source: &Source,
        brokers: &mut BTreeMap<String, String>,
    ) -> Result<Server> {
        let server = Server::start(
            broker,
            source,
            &Options { durable: false, dir: &guard::session_dir(), settings: &[] },
        )
        .await?;
        brokers.insert(broker.to_string(), server.version().to_owned());
        Ok(server)
    }
}

/// Half a second of the machine left alone.
fn quiet() -> Noise {
    let noise = Meter::before();
    Noise { steal: millionths(noise.steal), foreign_cpu: millionths(noise.foreign_cpu), ..noise }
}

/// As decimals that JSON gives back to the last bit: looking again at a folder
/// must not change it.
fn millionths(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
