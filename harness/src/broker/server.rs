//! A running broker: starts and queries it, and kills, restarts and pauses a private one.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use labs::lab::{Broker, Guarantee};
use rustix::process::Signal;

use super::address::without_password;
use super::embedded;
use super::mqtt;
use super::nats;
use super::private::Private;
use super::private_options::{About, Options};
#[cfg(feature = "rabbitmq")]
use super::rabbitmq;
#[cfg(feature = "redis")]
use super::redis;
use super::source::Source;
#[cfg(not(feature = "rabbitmq"))]
use super::without::rabbitmq;
#[cfg(not(feature = "redis"))]
use super::without::redis;

/// A broker that answers.
pub struct Server {
    broker: Broker,
    url: String,
    version: String,
    settings: BTreeMap<String, String>,
    limit: Option<(Guarantee, String)>,
    private: Option<Private>,
}

/// How often a start is tried again with other ports when one was taken meanwhile.
const PORT_ATTEMPTS: usize = 5;

impl Server {
    /// Starts a private broker and waits until it answers, or connects to the
    /// user's own and checks it. Start it on a thread that outlives the broker:
    /// the kernel kills it when that thread ends.
    pub async fn start(broker: Broker, source: &Source, options: &Options<'_>) -> Result<Self> {
        if let Source::Url(url) = source {
            let about = ask(broker, url, None).await?;
            return Ok(Self::new(broker, url.clone(), about, None));
        }
        let mut attempt = 1;
        loop {
            let mut private = launch(broker, source, options)?;
            match wait(broker, &mut private).await {
                Ok(mut about) => {
                    about.settings.insert("source".to_owned(), source.as_str().to_owned());
                    return Ok(Self::new(broker, private.url().to_owned(), about, Some(private)));
                }
                // Another process took the port between our choice and the broker's start.
                Err(_) if attempt < PORT_ATTEMPTS && private.port_was_taken() => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn new(broker: Broker, url: String, about: About, private: Option<Private>) -> Self {
        let About { version, settings, limit } = about;
        Self { broker, url, version, settings, limit, private }
    }

    /// Which broker it is.
    pub fn broker(&self) -> Broker {
        self.broker
    }

    /// Its address, as labs open it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its version, as it says it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The settings in effect: read back, or as given to a private broker that cannot say them; of a
    /// private one also where it comes from.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// The most that can be promised with its settings, and why, when that is
    /// less than a lab over this broker may promise.
    pub fn guarantee_limit(&self) -> Option<(Guarantee, String)> {
        self.limit.clone()
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
        let broker = self.broker;
        let private = self.own("restarted")?;
        private.kill()?;
        private.spawn()?;
        wait(broker, private).await?;
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
        let (broker, url) = (self.broker, &self.url);
        match &mut self.private {
            Some(private) => Ok(private),
            None => bail!(
                "{broker} at {} is your own and cannot be {done} by lab; leave out --url {broker}=… for a \
                 private one",
                without_password(url)
            ),
        }
    }
}

/// Starts the processes of a private broker.
fn launch(broker: Broker, source: &Source, options: &Options<'_>) -> Result<Private> {
    match (broker, source) {
        (_, Source::Url(url)) => bail!("lab cannot start {}", without_password(url)),
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
async fn ask(broker: Broker, url: &str, private: Option<&Private>) -> Result<About> {
    match broker {
        Broker::Redis => redis::ask(url, private).await,
        Broker::RabbitMq => rabbitmq::ask(url, private).await,
        Broker::Mqtt => mqtt::ask(url, private).await,
        Broker::Nats => nats::ask(url, private).await,
    }
}

/// Waits until a private broker answers, has ended, or its time is up.
async fn wait(broker: Broker, private: &mut Private) -> Result<About> {
    let deadline = tokio::time::Instant::now() + private.patience();
    loop {
        if let Some(end) = private.died() {
            bail!(
                "{broker} did not start: {end}\nIts program is {}; {}",
                private.program().display(),
                private.advice()
            );
        }
        let answer = tokio::time::timeout_at(deadline, ask(broker, private.url(), Some(private))).await;
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
