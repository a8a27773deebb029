//! Process manager of a chat: restarts a process that dies, at its old port, where its
//! browsers look for it.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use super::part::{Init, Part, ToPart, Told};
use crate::broker::Server;
use crate::process;

/// Before a part that has died is started again.
const PAUSE: Duration = Duration::from_millis(500);
/// One that dies sooner than this has not lived.
const LIVED: Duration = Duration::from_secs(5);
/// A part that has not lived so often in a row is given up.
const LIVES: usize = 5;
/// How long a part may take to start, and to end.
const STARTING: Duration = Duration::from_secs(30);
const ENDING: Duration = Duration::from_secs(3);

enum News {
    Kill,
    Start,
    GivenUp(String),
}

pub(super) struct ProcessManager {
    json: bool,
    parts: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    broker_runs: watch::Sender<bool>,
    news: mpsc::Sender<News>,
    heard: mpsc::Receiver<News>,
}

impl ProcessManager {
    pub(super) fn new(json: bool) -> Self {
        let (news, heard) = mpsc::channel(16);
        let (stop, broker_runs) = (watch::Sender::new(false), watch::Sender::new(true));
        Self { json, parts: Vec::new(), stop, broker_runs, news, heard }
    }

    /// Starts a part and waits until it is there.
    pub(super) async fn start(&mut self, name: &str, init: Init) -> Result<()> {
        let (ready, is_ready) = oneshot::channel();
        let keeper = Keeper {
            name: name.to_owned(),
            init,
            json: self.json,
            news: self.news.clone(),
            ready: Some(ready),
            broker_runs: self.broker_runs.subscribe(),
        };
        self.parts.push(tokio::spawn(keeper.keep(self.stop.subscribe())));
        tokio::select! {
            ready = timeout(STARTING, is_ready) => {
                ready.with_context(|| format!("{name} did not start in {} s", STARTING.as_secs()))?
                    .with_context(|| format!("{name} did not start"))
            }
            Some(News::GivenUp(why)) = self.heard.recv() => bail!(why),
        }
    }

    /// Does to the broker what pages want, until a part cannot be kept alive.
    pub(super) async fn watch(&mut self, mut server: Option<&mut Server>) -> Result<()> {
        let (mut look, mut told, mut killed) = (interval(Duration::from_secs(1)), false, false);
        loop {
            tokio::select! {
                news = self.heard.recv() => match (news, server.as_deref_mut()) {
                    (Some(News::GivenUp(why)), _) => bail!(why),
                    (Some(News::Kill), Some(server)) => {
                        server.kill()?;
                        killed = true;
                        self.broker_runs.send_replace(false);
                        self.tell("the broker was killed (kill -9), as a page requested");
                    }
                    (Some(News::Start), Some(server)) => {
                        let gone = killed || server.died().is_some();
                        if gone {
                            server.restart().await?;
                            (killed, told) = (false, false);
                            self.broker_runs.send_replace(true);
                            self.tell("the broker runs again, with the same data");
                        }
                    }
                    _ => {}
                },
                _ = look.tick() => {
                    if !killed && !told && let Some(how) = server.as_deref_mut().and_then(Server::died) {
                        told = true;
                        self.broker_runs.send_replace(false);
                        self.tell(&format!("the broker ended: {how}"));
                    }
                }
            }
        }
    }

    fn tell(&self, what: &str) {
        if self.json {
            // The reader of the output has closed it; the chat continues.
            let _ = outln!("{}", json!({ "happened": what }));
        } else {
            errln!("· {what}");
        }
    }

    /// Ends every part.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        for part in self.parts {
            let _ = part.await;
        }
    }
}

/// Keeps one part alive.
struct Keeper {
    name: String,
    init: Init,
    json: bool,
    news: mpsc::Sender<News>,
    ready: Option<oneshot::Sender<()>>,
    broker_runs: watch::Receiver<bool>,
}

impl Keeper {
    async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        let mut short = 0;
        loop {
            let born = Instant::now();
            let why = match self.live(&mut stop).await {
                Ok(None) => return,
                Ok(Some(how)) => how,
                Err(error) => format!("{error:#}"),
            };
            short = if born.elapsed() < LIVED { short + 1 } else { 0 };
            // One that never was there will not be there next time either.
            if self.ready.is_some() || short >= LIVES {
                let _ = self.news.send(News::GivenUp(format!("{} cannot run: {why}", self.name))).await;
                return;
            }
            errln!("· {} ended ({why}); restarting it", self.name);
            sleep(PAUSE).await;
        }
    }

    /// One run of the process: `None` if it ended on request, otherwise the cause.
    async fn live(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Option<String>> {
        let mut child = self.spawn()?;
        let mut input = child.stdin.take().context("no stdin")?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut line = serde_json::to_string(&self.init)?;
        line.push('\n');
        input.write_all(line.as_bytes()).await?;
        let mut failed = None;
        // A part that is started again learns what happened while it was dead.
        self.broker_runs.mark_changed();
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line?,
                Ok(()) = self.broker_runs.changed() => {
                    let runs = *self.broker_runs.borrow_and_update();
                    let mut line = serde_json::to_string(&ToPart::BrokerRuns(runs))?;
                    line.push('\n');
                    // If it has ended, its stdout says so.
                    let _ = input.write_all(line.as_bytes()).await;
                    continue;
                }
                () = is_told(stop) => {
                    drop(input);
                    if timeout(ENDING, child.wait()).await.is_err() {
                        child.kill().await?;
                    }
                    return Ok(None);
                }
            };
            let Some(line) = line else { break };
            match serde_json::from_str(&line)? {
                Told::Serves(port) => self.serves(port)?,
                Told::Joined => self.is_ready(),
                Told::Kill => self.news.send(News::Kill).await?,
                Told::Start => self.news.send(News::Start).await?,
                Told::Failed(why) => failed = Some(why),
            }
        }
        let status = child.wait().await?;
        Ok(Some(failed.unwrap_or_else(|| status.to_string())))
    }

    fn is_ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(());
        }
    }

    /// Its address is printed only once, because it does not change.
    fn serves(&mut self, at: u16) -> Result<()> {
        if let Part::Instance { port, name, .. } = &mut self.init.part {
            *port = at;
            let url = format!("http://127.0.0.1:{at}/");
            if self.ready.is_some() {
                match self.json {
                    true => outln!("{}", json!({ "instance": name, "url": url }))?,
                    false => outln!("{name}: {url}")?,
                }
            }
        }
        self.is_ready();
        Ok(())
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(process::this_program());
        let name = self.name.replace(' ', "-");
        command.args(["chat-part", "--name", &name]).stdin(Stdio::piped()).stdout(Stdio::piped());
        process::die_with_parent(&mut command);
        // Ctrl-C is for the one who started it, and then ends it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
        child.with_context(|| format!("cannot start a process for {}", self.name))
    }
}

async fn is_told(stop: &mut watch::Receiver<bool>) {
    // A sender that is dropped means stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}
