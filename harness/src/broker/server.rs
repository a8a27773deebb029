//! A running broker: starts and queries it, and kills, restarts and pauses a private one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use labs::lab::{Broker, BrokerAddress, Guarantee};
use labs::printable::causes;
use rustix::process::Signal;

use super::embedded;
use super::mqtt;
use super::nats;
use super::private::Private;
use super::private_options::{About, Options};
use super::rabbitmq;
use super::redis;
use super::requirements::Needs;
use super::source::Source;
use super::stomp;

/// A broker that answers.
pub struct Server {
    address: BrokerAddress,
    about: About,
    private: Option<Private>,
}

/// How long the user's own broker may take to answer all questions.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a start is tried again with other ports when one was taken meanwhile.
const PORT_ATTEMPTS: usize = 5;

impl Server {
    /// Starts a private broker and waits until it answers, or connects to the
    /// user's own and checks it. Start it on a thread that outlives the broker:
    /// the kernel kills it when that thread ends.
    pub async fn start(broker: Broker, source: &Source, options: &Options<'_>) -> Result<Self> {
        if let Source::Url(address) = source {
            let about = ask_in_time(address).await?;
            return Ok(Self { address: address.clone(), about, private: None });
        }
        let mut attempt = 1;
        loop {
            let mut private = launch(broker, source, options)?;
            match wait(&mut private).await {
                Ok(mut about) => {
                    about.settings.insert("source".to_owned(), source.as_str().to_owned());
                    return Ok(Self { address: private.address().clone(), about, private: Some(private) });
                }
                // Another process took the port between our choice and the broker's start.
                Err(_) if attempt < PORT_ATTEMPTS && private.port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Which broker it is.
    pub fn broker(&self) -> Broker {
        self.address.broker()
    }

    /// Its address, as labs open it.
    pub fn address(&self) -> &BrokerAddress {
        &self.address
    }

    /// Its version, as it says it.
    pub fn version(&self) -> &str {
        &self.about.version
    }

    /// The settings in effect: read back, or as given to a private broker that cannot say them; of a
    /// private one also where it comes from.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.about.settings
    }

    /// The most that can be promised with its settings, and why, when that is
    /// less than a lab over this broker may promise.
    pub fn guarantee_limit(&self) -> Option<(Guarantee, String)> {
        self.about.limit.clone()
    }

    /// Why a lab cannot run over this broker as it is: it is too old, lacks a
    /// feature, or takes no messages of this size.
    pub fn why_not(&self, needs: Needs) -> Option<String> {
        let broker = self.broker();
        if let (Some((major, minor)), Some(release)) = (needs.since, self.about.release)
            && release < (major, minor)
        {
            return Some(format!(
                "it needs {broker} {major}.{minor}, and this one is {}",
                self.about.version
            ));
        }
        if let Some(lacking) = needs.features.iter().find(|feature| self.about.lacks.contains(feature)) {
            return Some(format!("it needs {}, which this {broker} broker does not have", lacking.as_str()));
        }
        let (most, name) = self.about.largest.filter(|(most, _)| needs.size > *most)?;
        Some(format!(
            "messages of {} bytes are larger than this {broker} takes: {most} bytes ({name})",
            needs.size
        ))
    }

    /// Why messages of this size cannot be sent over STOMP, which has no way to tell its limit: sends
    /// one to a topic that nobody has subscribed to.
    pub async fn why_not_over_stomp(&self, size: u64) -> Option<String> {
        let tried = tokio::time::timeout(PATIENCE, stomp::try_size(&self.address, size)).await;
        match tried {
            Ok(tried) => tried.err().map(|error| self.address.without_secrets(&causes(&error))),
            Err(_) => Some(format!(
                "RabbitMQ does not take {size} bytes over STOMP within {} s",
                PATIENCE.as_secs()
            )),
        }
    }

    /// What is wrong with the broker now, if anything is; for a trial that came to nothing.
    pub async fn trouble(&self) -> Option<String> {
        let error = ask_in_time(&self.address).await.err()?;
        Some(format!("{error:#}"))
    }

    /// Whether it was started here, and ends with this program.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// The roots of its process trees; `None` for the user's own.
    pub fn pids(&self) -> Option<Vec<u32>> {
        self.private.as_ref().map(Private::pids)
    }

    /// How a private broker's process ended, and its last log lines.
    pub fn died(&mut self) -> Option<String> {
        self.private.as_mut()?.died()
    }

    /// Ends a private broker and removes its folder. Nothing in it is worth a slow goodbye.
    pub async fn stop(mut self) -> Result<()> {
        match self.private.take() {
            Some(private) => private.remove(),
            None => Ok(()),
        }
    }

    /// kill -9 of the broker's process tree; its data stay for [`Server::restart`].
    pub fn kill(&mut self) -> Result<()> {
        self.own("killed")?.kill()
    }

    /// kill -9, if it still runs, and a start on the same data and the same port.
    pub async fn restart(&mut self) -> Result<()> {
        let private = self.own("restarted")?;
        private.kill()?;
        private.spawn()?;
        wait(private).await?;
        Ok(())
    }

    /// Pauses every process of the broker (SIGSTOP).
    pub fn pause(&mut self) -> Result<()> {
        self.own("paused")?.signal(Signal::STOP);
        Ok(())
    }

    /// Lets a paused broker go on (SIGCONT).
    pub fn resume(&mut self) -> Result<()> {
        self.own("resumed")?.signal(Signal::CONT);
        Ok(())
    }

    fn own(&mut self, done: &str) -> Result<&mut Private> {
        let (broker, address) = (self.broker(), &self.address);
        match &mut self.private {
            Some(private) => Ok(private),
            None => bail!(
                "{broker} at {address} is your own and cannot be {done} by lab; leave out --url {broker}=… for a \
                 private one"
            ),
        }
    }
}

/// Starts the processes of a private broker.
fn launch(broker: Broker, source: &Source, options: &Options<'_>) -> Result<Private> {
    match (broker, source) {
        (_, Source::Url(address)) => bail!("lab cannot start {address}"),
        (Broker::Mqtt, Source::Embedded) => embedded::launch(options),
        (_, Source::Embedded) => bail!("this program has no embedded {broker}"),
        (Broker::Redis, Source::Program(program) | Source::Wheel(program)) => redis::launch(program, options),
        (Broker::RabbitMq, Source::Program(program) | Source::Wheel(program)) => {
            rabbitmq::launch(program, options)
        }
        (Broker::Mqtt, Source::Program(program) | Source::Wheel(program)) => mqtt::launch(program, options),
        (Broker::Nats, Source::Program(program) | Source::Wheel(program)) => nats::launch(program, options),
    }
}

/// Asks a broker about itself. A private one must also prove to be the one that was started.
async fn ask(address: &BrokerAddress, private: Option<&Private>) -> Result<About> {
    match address.broker() {
        Broker::Redis => redis::ask(address, private).await,
        Broker::RabbitMq => rabbitmq::ask(address, private).await,
        Broker::Mqtt => mqtt::ask(address, private).await,
        Broker::Nats => nats::ask(address, private).await,
    }
}

/// Asks the user's own broker, or one that was asked before. The error is in one line, without secrets.
async fn ask_in_time(address: &BrokerAddress) -> Result<About> {
    let asked = tokio::time::timeout(PATIENCE, ask(address, None)).await;
    let broker = address.broker();
    let asked =
        asked.map_err(|_| anyhow!("{broker} at {address} did not answer within {} s", PATIENCE.as_secs()))?;
    asked.map_err(|error| anyhow!(address.without_secrets(&causes(&error))))
}

/// Waits until a private broker answers, has ended, or its time is up.
async fn wait(private: &mut Private) -> Result<About> {
    let broker = private.address().broker();
    let deadline = tokio::time::Instant::now() + private.patience();
    loop {
        if let Some(end) = private.died() {
            bail!(
                "{broker} did not start: {end}\nIts program is {}; {}",
                private.program().display(),
                private.advice()
            );
        }
        let answer = tokio::time::timeout_at(deadline, ask(private.address(), Some(private))).await;
        match answer {
            Ok(Ok(about)) => return Ok(about),
            Ok(Err(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(private.interval()).await;
            }
            Ok(Err(error)) => bail!(
                "{broker} did not answer within {} s: {error:#}\n{}\n{}",
                private.patience().as_secs(),
                private.last_lines(),
                private.advice()
            ),
            Err(_) => bail!(
                "{broker} accepted the connection but did not answer within {} s\n{}\n{}",
                private.patience().as_secs(),
                private.last_lines(),
                private.advice()
            ),
        }
    }
}
