//! `lab wrong-views`: makes one event, keeps every message of it, and looks at
//! it as others do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use labs::catalog::Pattern;
use labs::lab::Broker;

use crate::broker::{self, Options, Server, Source};
use crate::command::{BrokerArgs, interruptible, lab, source, usage};
use crate::measure::noise::Meter;
use crate::measure::{host, schedule};
use crate::process::guard;
use crate::results::{Load, Noise, Pause};
use crate::roles::{self, Handle};
use crate::supervisor::Placement;
use crate::trial::{self, Outcome, Spec, TrialOptions};
use crate::validate::pitfalls::{Evidence, FEWEST, Flood, Made, Take, Views};
use crate::{plan, results, runner};

/// Before each measurement, seconds.
const WARMUP: f64 = 0.5;
/// The measured time of a short run, and of the flood, seconds.
const SHORT: f64 = 2.0;
/// Labs that take everything from their sender: one keeps what it cannot move,
/// the other drops it and needs no broker.
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
    #[arg(long, value_name = "S", default_value_t = 15.0)]
    seconds: f64,
    /// Length of the pause, in seconds
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pause: f64,
    /// Message size in bytes, the 32-byte header included
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    size: u64,
    /// Number of short runs without a pause, for comparison
    #[arg(long, value_name = "N", default_value_t = 5)]
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
        return finish(&Evidence::read(dir)?, dir);
    }
    let handle = lab(handles, &args.over)?;
    let load = usage(check(args, handle))?;
    let urls = args.brokers.urls()?;
    let out = args.out.clone().map_or_else(|| runner::default_out("wrong-views"), Ok)?;
    ensure!(
        std::fs::read_dir(&out).map_or(true, |mut entries| entries.next().is_none()),
        "{} exists and is not empty; choose another --out, or look at it again with --redraw",
        out.display()
    );
    guard::enter()?;
    results::private::create(&out)?;
    let studio = Studio { args, handle, handles, load, urls: &urls, out: &out };
    let runtime = roles::runtime(0)?;
    let made = runtime.block_on(interruptible(studio.shoot()));
    runtime.shutdown_background();
    let Some(evidence) = made else {
        eprintln!("\ninterrupted; what is in {} is not complete. Begin anew.", out.display());
        return Ok(ExitCode::from(130));
    };
    finish(&evidence?, &out)
}

/// What cannot be looked at is refused before anything is started.
fn check(args: &WrongViewsArgs, handle: &Handle) -> Result<Load> {
    let entry = &handle.entry;
    ensure!(
        matches!(entry.pattern, Pattern::OneWay | Pattern::PubSub) && entry.broker.is_some(),
        "{} cannot be looked at so: a broker must stand still between one sender and one receiver; take a lab such as pubsub-redis or oneway-nats",
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
        "{rate} messages a second for {} s are too few for p99.9, which needs {FEWEST}; give more --seconds or a higher --load",
        args.seconds
    );
    ensure!(
        rate * SHORT >= FEWEST as f64 / 10.0,
        "{rate} messages a second are too few for the p99 of a run of {SHORT} s; give a higher --load"
    );
    ensure!((2..=100).contains(&args.runs), "{} runs show no spread; give 2 to 100", args.runs);
    Ok(load)
}

/// In the middle of the measured time.
fn pause(args: &WrongViewsArgs) -> Pause {
    Pause { at_s: millionths((args.seconds - args.pause) / 2.0), for_s: args.pause }
}

/// Looks, and writes down what is seen.
fn finish(evidence: &Evidence, out: &Path) -> Result<ExitCode> {
    let views = evidence.views()?;
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    for (name, picture) in crate::validate::pitfalls::pictures(evidence, &views)? {
        write(&name, &picture)?;
    }
    write("views.json", &(serde_json::to_string_pretty(&views)? + "\n"))?;
    write("README.md", &views.readme())?;
    table(&views)?;
    eprintln!("\nThe views: {}", out.join("README.md").display());
    Ok(ExitCode::SUCCESS)
}

fn table(views: &Views) -> Result<()> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(["VIEW", "FIGURE", "IT SAYS", "IT IS", "SO IT IS"]);
    for row in views.rows() {
        table.add_row(row);
    }
    outln!("{}", table.trim_fmt())?;
    Ok(())
}

/// Where the recordings are made.
struct Studio<'a> {
    args: &'a WrongViewsArgs,
    handle: &'a Handle,
    handles: &'a [Handle],
    load: Load,
    urls: &'a BTreeMap<String, String>,
    out: &'a Path,
}

/// What differs from one trial to the next.
struct Scene<'a> {
    what: &'a str,
    handle: &'a Handle,
    load: Load,
    warmup: f64,
    seconds: f64,
    options: TrialOptions,
}

impl Studio<'_> {
    async fn shoot(&self) -> Result<Evidence> {
        let broker = self.handle.entry.broker.context("a lab over a broker has one")?;
        let source = source(self.handle, broker, self.urls)?;
        ensure!(
            source.is_private(),
            "your own {broker} is not stopped from here; leave out --url {broker}=…"
        );
        let noise = quiet();
        let mut brokers = BTreeMap::new();
        let args = self.args;
        let pause = pause(args);
        let mut scene = Scene {
            what: "open loop",
            handle: self.handle,
            load: self.load.clone(),
            warmup: WARMUP,
            seconds: args.seconds,
            options: TrialOptions { record: true, pause: Some(pause), ..TrialOptions::default() },
        };
        let (open, open_take) = self.record(&scene, &source, "open-loop.csv", &mut brokers).await?;
        (scene.what, scene.options.lockstep) = ("closed loop", true);
        let (closed, closed_take) = self.record(&scene, &source, "closed-loop.csv", &mut brokers).await?;
        let (mut runs, mut takes) = (Vec::new(), Vec::new());
        for number in 1..=args.runs {
            let what = format!("run {number} of {}", args.runs);
            let options = TrialOptions { record: true, ..TrialOptions::default() };
            let short = Scene { what: &what, seconds: SHORT, options, load: self.load.clone(), ..scene };
            let (run, take) =
                self.record(&short, &source, &format!("run-{number}.csv"), &mut brokers).await?;
            runs.push(run);
            takes.push(take);
        }
        let made = Made {
            created: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            host: host::host(),
            noise,
            lab: self.handle.entry.name.clone(),
            size: args.size,
            rate: self.load.rate.unwrap_or_default(),
            pause,
            open: open_take,
            closed: closed_take,
            runs: takes,
            flood: self.flood(&mut brokers).await?,
            versions: host::versions(brokers),
        };
        Ok(Evidence { made, open, closed, runs })
    }

    /// One trial, every message of it, over a broker that is new.
    async fn record(
        &self,
        scene: &Scene<'_>,
        source: &Source,
        file: &str,
        brokers: &mut BTreeMap<String, String>,
    ) -> Result<(crate::measure::trace::MessageTrace, Take)> {
        let broker = scene.handle.entry.broker.context("a lab over a broker has one")?;
        let mut server = self.start(broker, source, brokers).await?;
        let outcome = self.play(scene, Some(&mut server)).await?;
        server.stop().await?;
        let recording = outcome.recording.context("the trial left no recording")?;
        let path = self.out.join(file);
        std::fs::write(&path, recording.csv())
            .with_context(|| format!("cannot write {}; is the disk full?", path.display()))?;
        let take = Take {
            file: file.to_owned(),
            warmup_s: scene.warmup,
            seconds: scene.seconds,
            counts: outcome.trial.counts,
            paused: outcome.trial.paused,
            flags: outcome.trial.flags,
        };
        Ok((recording, take))
    }

    async fn play(&self, scene: &Scene<'_>, server: Option<&mut Server>) -> Result<Outcome> {
        let size = usize::try_from(self.args.size)?;
        eprintln!(
            "{}: {}, {} for {} s",
            scene.what,
            scene.handle.entry.name,
            scene.load.label(),
            scene.seconds
        );
        let spec = Spec {
            handle: scene.handle.clone(),
            size,
            load: scene.load.clone(),
            senders: 1,
            receivers: 1,
            warmup: scene.warmup,
            seconds: scene.seconds,
            drain: 10.0,
            window: None,
            knobs: BTreeMap::new(),
            seed: 1,
            placement: Placement::default(),
            null_rate: schedule::null_rate(size)?,
            options: scene.options,
        };
        let outcome = trial::run(&spec, server, 0, 0, |_| {}).await?;
        match &outcome.trial.failed {
            Some(failed) => bail!("{}: {failed}", scene.what),
            None => Ok(outcome),
        }
    }

    /// A sender that nothing holds back.
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
        let scene = Scene {
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
        let trial = self.play(&scene, server.as_mut()).await?.trial;
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
        let server =
            Server::start(broker, source, &Options { durable: false, dir: &guard::session_dir() }).await?;
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
