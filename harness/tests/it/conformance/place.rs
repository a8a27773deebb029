//! Where a check runs: a name that no other check uses, in a shared private
//! broker that lives as long as the test program.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use harness::broker::{self, Options, Server, Source};
use harness::roles::protocol::{Init, Kind};
use labs::lab::{Broker, BrokerAddress, Directory, Knob, Place, Registry};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How long a condition is waited for. Far more than a slow machine needs:
/// only a broken promise takes as long.
const PATIENCE: Duration = Duration::from_secs(180);

/// The knobs that say when a delivery that nobody settles goes to another, in milliseconds.
const CLAIMS: [&str; 2] = ["lease-ms", "claim-ms"];
/// Longer than any check: nothing is taken from a consumer that lives.
const NEVER_CLAIM: usize = 600_000;

/// Where a check runs.
#[derive(Clone)]
pub(crate) struct Site {
    name: String,
    address: Option<BrokerAddress>,
    registry: Arc<Registry>,
    knobs: BTreeMap<String, usize>,
    patience: Duration,
    /// Every place that was made here: they know which knobs were read.
    places: Arc<Mutex<Vec<Place>>>,
}

impl Site {
    /// A site of its own, in the shared broker where it needs one.
    pub(crate) fn new(what: &str, broker: Option<Broker>) -> Result<Self> {
        let address = broker.map(shared).transpose()?;
        Ok(Self::at(what, address))
    }

    /// A site of its own, at this broker.
    pub(crate) fn at(what: &str, address: Option<BrokerAddress>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("it-{}-{number}-{what}", std::process::id());
        let knobs = CLAIMS.iter().map(|knob| ((*knob).to_owned(), NEVER_CLAIM)).collect();
        Self { name, address, registry: Arc::default(), knobs, patience: PATIENCE, places: Arc::default() }
    }

    /// The same, and conditions are waited for no longer than this.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same with knobs.
    pub(crate) fn with(mut self, knobs: &[(&str, usize)]) -> Self {
        self.knobs.extend(knobs.iter().map(|(knob, value)| ((*knob).to_owned(), *value)));
        self
    }

    /// The same, where a delivery that nobody settles soon goes to another.
    pub(crate) fn claiming_soon(self) -> Self {
        let soon = CLAIMS.map(|knob| (knob, 300));
        self.with(&soon).with(&[("look-ms", 20), ("wait-ms", 20)])
    }

    /// A neighbour, whose name begins with this one's.
    pub(crate) fn beside(&self) -> Self {
        Self { name: format!("{}-2", self.name), ..self.clone() }
    }

    /// Another of the same kind, in which nothing is left of this one or its neighbour.
    pub(crate) fn anew(&self) -> Self {
        Self { name: format!("{}-anew", self.name), ..self.clone() }
    }

    /// The place that somebody else has named.
    pub(crate) fn called(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// What a role of this lab is told when it is a process of its own.
    pub(crate) fn init(&self, lab: &str, kind: Kind, index: usize) -> Init {
        Init {
            lab: lab.to_owned(),
            kind,
            index,
            senders: 1,
            receivers: 1,
            run: 1,
            name: self.name.clone(),
            address: self.address.clone(),
            knobs: self.knobs.clone(),
            bind: BTreeMap::new(),
            filter: None,
            measure: None,
            brief: false,
            clock_ahead_ns: 0,
            restarted: false,
        }
    }

    /// The place, for roles that join together.
    pub(crate) fn place(&self) -> Place {
        self.place_of(1)
    }

    /// The place, where so many roles bind.
    pub(crate) fn place_of(&self, binders: usize) -> Place {
        let place = Place::new(&self.name, self.address.as_ref())
            .with_registry(Arc::clone(&self.registry))
            .with_directory(Arc::new(Directory::local(binders)))
            .with_knobs(self.knobs.clone());
        self.places.lock().unwrap_or_else(PoisonError::into_inner).push(place.clone());
        place
    }

    /// The knobs that were read at this site so far.
    pub(crate) fn knobs_asked(&self) -> Vec<Knob> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().flat_map(Place::knobs_asked).collect()
    }

    /// What happens soon, or an error that says what did not.
    pub(crate) async fn soon<T>(&self, what: &str, event: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.patience, event).await {
            Ok(done) => done,
            Err(_) => Err(anyhow!("{what}: not within {} s", self.patience.as_secs_f32())),
        }
    }

    /// The broker's address, with its password: for clients.
    pub(crate) fn url(&self) -> Result<&str> {
        Ok(self.address.as_ref().context("no broker")?.reveal())
    }

    /// This site at another broker.
    pub(crate) fn moved_to(&self, server: &Server) -> Self {
        Self { address: Some(server.address().clone()), ..self.clone() }
    }
}

/// The program of a broker, or why there is none.
pub(crate) fn program(broker: Broker) -> Result<Source, broker::Missing> {
    match broker::find(broker, &BTreeMap::new())? {
        // It keeps less than labs promise.
        Source::Embedded => Err(broker::Missing {
            broker,
            reason: "the embedded one is not what labs are held to".to_owned(),
            remedy: "just brokers".to_owned(),
        }),
        source => Ok(source),
    }
}

/// A broker of one's own, to be killed or looked into; its folder goes with the second.
pub(crate) async fn own(broker: Broker, durable: bool) -> Result<(Server, TempDir)> {
    let dir = tempfile::tempdir().context("no folder for a broker")?;
    let server =
        Server::start(broker, &program(broker)?, &Options { durable, dir: dir.path(), settings: &[] })
            .await?;
    Ok((server, dir))
}

struct Shared {
    address: Result<BrokerAddress, String>,
    keeper: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

static SHARED: [OnceLock<Shared>; Broker::ALL.len()] = [const { OnceLock::new() }; Broker::ALL.len()];

/// The address of the broker that tests share; the first to ask starts it.
pub(crate) fn shared(broker: Broker) -> Result<BrokerAddress> {
    let slot = Broker::ALL.iter().position(|other| *other == broker).context("an unknown broker")?;
    SHARED[slot].get_or_init(|| start(broker)).address.clone().map_err(|error| anyhow!(error))
}

/// A broker is killed when the thread that started it ends, and tests' threads
/// come and go: so it has one of its own.
fn start(broker: Broker) -> Shared {
    let (started, address) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let keep = async move || {
        let (server, dir) = match own(broker, true).await {
            Ok(own) => own,
            Err(error) => return drop(started.send(Err(format!("{error:#}")))),
        };
        let _ = started.send(Ok(server.address().clone()));
        let _ = stopped.await;
        if let Err(error) = server.stop().await {
            eprintln!("{broker} could not be stopped: {error:#}");
        }
        drop(dir);
    };
    let keeper = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime for the broker's keeper").block_on(keep());
    });
    let address = address.recv().unwrap_or_else(|_| Err("the broker's keeper has panicked".to_owned()));
    Shared { address, keeper: Mutex::new(Some((stop, keeper))) }
}

/// Stops what was started for all tests.
pub(crate) fn end() {
    for shared in SHARED.iter().filter_map(OnceLock::get) {
        if let Some((stop, keeper)) = shared.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stop.send(());
            let _ = keeper.join();
        }
    }
}
