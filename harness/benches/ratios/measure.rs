//! Where both sides of a comparison are measured, one after the other.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use harness::broker::{self, Options, Server};
use harness::plan;
use harness::process::{self, guard};
use harness::results::Load;
use harness::roles::{self, Handle};
use harness::supervisor::Placement;
use harness::trial::{self, Spec, TrialOptions};
use labs::lab::Broker;

/// Declared size of every message, bytes.
pub(super) const SIZE: usize = 64;
/// Before each measurement, seconds.
pub(super) const WARMUP: f64 = 0.3;
/// The measurement, seconds.
pub(super) const SECONDS: f64 = 1.0;

/// Every lab, as it is measured and with loops that only count.
pub(super) fn handles() -> Vec<Handle> {
    roles::handles().into_iter().chain(roles::uninstrumented_handles()).collect()
}

/// One side of a comparison.
pub(super) enum Side {
    /// Messages a second that a lab receives, as the harness measures it.
    Lab(String),
    /// The same of the lab's own loops, where they only count.
    Uninstrumented(String),
    /// A lab's median round trip with one message in flight, ns.
    RoundTrip(String),
    /// A floor.
    Bare(fn(&Stand) -> Result<f64>),
}

/// The labs, the broker that is live, and what was made for the floors.
pub(super) struct Stand {
    handles: Vec<Handle>,
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    /// Whether it keeps things on disk.
    durable: bool,
    pub(super) c_client: OnceCell<Option<std::path::PathBuf>>,
}

impl Stand {
    pub(super) fn new() -> Result<Self> {
        let (handles, runtime) = (handles(), roles::runtime(0)?);
        Ok(Self { handles, runtime, server: None, durable: false, c_client: OnceCell::new() })
    }

    /// Makes this broker the one that is live; none for peers that talk directly.
    pub(super) fn host(&mut self, broker: Option<(Broker, bool)>) -> Result<()> {
        if self.server.as_ref().map(|server| (server.broker(), self.durable)) == broker {
            return Ok(());
        }
        self.stop()?;
        if let Some((broker, durable)) = broker {
            let source = broker::find(broker, &BTreeMap::new())?;
            self.durable = durable;
            let options = Options { durable, dir: &guard::session_dir(), settings: &[] };
            self.server = Some(self.runtime.block_on(Server::start(broker, &source, &options))?);
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => self.runtime.block_on(server.stop()),
            None => Ok(()),
        }
    }

    /// The live broker's address.
    pub(super) fn url(&self) -> Result<&str> {
        Ok(self.server.as_ref().context("no broker is live")?.address().reveal())
    }

    pub(super) fn measure(&mut self, side: &Side) -> Result<f64> {
        match side {
            Side::Bare(bare) => bare(self),
            Side::Lab(lab) => Ok(self.trial(lab, BTreeMap::new())?.throughput_per_s),
            Side::Uninstrumented(lab) => {
                Ok(self.trial(&format!("{}{lab}", roles::UNINSTRUMENTED), BTreeMap::new())?.throughput_per_s)
            }
            Side::RoundTrip(lab) => {
                let one = BTreeMap::from([("in-flight".to_owned(), 1)]);
                let p50 = self.trial(lab, one)?.service_ns.p50;
                Ok(p50.context("too few round trips for a median")? as f64)
            }
        }
    }

    fn trial(&mut self, lab: &str, knobs: BTreeMap<String, usize>) -> Result<harness::results::Trial> {
        let handle = plan::lab(&self.handles, lab)?.clone();
        let spec = Spec {
            placement: Placement { threads: handle.entry.in_process(), ..Placement::default() },
            handle,
            size: SIZE,
            load: Load::max(),
            senders: 1,
            receivers: 1,
            warmup: WARMUP,
            seconds: SECONDS,
            drain: 10.0,
            window: Some(plan::WINDOW),
            knobs,
            seed: 1,
            null_rate: f64::INFINITY,
            options: TrialOptions::default(),
        };
        let trial = trial::run(&spec, self.server.as_mut(), 0, 0, |_| {});
        let trial = self.runtime.block_on(trial)?.trial;
        let lost = trial.counts.lost + trial.counts.corrupt + trial.counts.misrouted;
        match trial.failed {
            Some(failed) => bail!("{failed}"),
            None if lost > 0 => bail!("{lost} messages were lost or damaged"),
            None => Ok(trial),
        }
    }
}

/// A process that ends with its measurement.
pub(super) struct Peer(pub(super) Child);

impl Peer {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        process::die_with_parent(&mut command);
        let name = command.get_program().display().to_string();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().map(Self).with_context(|| format!("cannot start {name}"))
    }

    /// The next line it says.
    pub(super) fn line(&mut self) -> Result<String> {
        use std::io::Read as _;
        let out = self.0.stdout.as_mut().context("no stdout")?;
        // Byte by byte: a buffer would keep what belongs to the next line.
        let (mut line, mut byte) = (Vec::new(), [0]);
        while out.read(&mut byte)? == 1 {
            match byte {
                [b'\n'] => return Ok(String::from_utf8(line)?),
                [byte] => line.push(byte),
            }
        }
        bail!("a process of the floor ended before it had said everything")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
