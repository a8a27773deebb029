//! `lab status`: all who are known are asked, and the answer says who has not
//! answered.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use harness::process::{runs, tree};
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::browser::{DevTools, Driver};
use crate::conformance::Site;
use crate::needs::{Need, Needs, needs};
use crate::program::{Live, run};
use crate::{trial, wait_until};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("status::what_cannot_be_is_said", usage)];
    for (over, broker) in [
        ("redis", Broker::Redis),
        ("redis-stream", Broker::Redis),
        ("rabbitmq", Broker::RabbitMq),
        ("mqtt", Broker::Mqtt),
        ("stomp", Broker::RabbitMq),
        ("nats", Broker::Nats),
        ("jetstream", Broker::Nats),
    ] {
        let name = format!("status::{over}::complete_or_not_is_said");
        trials.push(needs(broker, &name, move || complete(over, broker)));
    }
    trials.extend([
        needs(Broker::Redis, "status::late_answers_are_counted_and_dropped", late),
        needs(Broker::Redis, "status::who_is_silent_is_missed_and_then_forgotten", paused),
        needs(Broker::Redis, "status::workers_come_and_go", comes_and_goes),
        needs(Broker::Nats, "status::the_page_is_for_this_machine_only", page),
        needs(Needs::from(Broker::Redis).and(Need::Browser), "status::the_page_fits_a_phone", || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(narrow())
        }),
    ]);
    trials
}

fn usage() -> Result<()> {
    run(&["status", "--over", "redsi"])?.expect(2)?.told(&["`redsi`", "did you mean `redis`?"])?;
    run(&["status", "--over", "tcp"])?.expect(2)?.told(&["`tcp`", "rabbitmq"])?;
    run(&["status", "--workers", "1", "--slow", "2"])?.expect(2)?.told(&["2 slow", "--workers"])?;
    run(&["status", "--join"])?.expect(2)?.told(&["--url redis=URL"])?;
    run(&["status", "--place", "a b"])?.expect(2)?.told(&["`a b`", "letters"])?;
    Ok(())
}

fn names(status: &Value, list: &str) -> Vec<String> {
    let rows = status[list].as_array().into_iter().flatten();
    rows.filter_map(|row| row["name"].as_str().or(row.as_str()).map(str::to_owned)).collect()
}

/// All answer; then one does not. Nothing stays in the broker.
fn complete(over: &str, broker: Broker) -> Result<()> {
    let site = Site::new(&format!("status-{over}"), Some(broker))?;
    let (url, place) = (format!("{broker}={}", site.url()?), site.place().name());
    // Long for those who answer at once, even on a machine that is busy.
    let ask = ["status", "--json", "--over", over, "--url", &url, "--place", &place, "--deadline", "5000"];
    let ran = run(&[&ask[..], &["--workers", "4"]].concat())?.expect(0)?;
    let status: Value = serde_json::from_str(&ran.out)?;
    ensure!(status["known"] == 4 && status["answered"] == 4 && status["complete"] == true, "{status}");
    ensure!(names(&status, "workers") == ["worker-1", "worker-2", "worker-3", "worker-4"], "{status}");
    let all = status["workers"].as_array().context("no workers")?;
    let numbers = ["pid", "jobs_done", "queue", "uptime_s"];
    ensure!(all.iter().all(|row| numbers.iter().all(|field| row[field].is_u64())), "{status}");
    let left = all.iter().filter_map(|row| row["pid"].as_u64()).any(|pid| runs(pid as u32));
    ensure!(!left, "a worker has outlived the question");

    let short = [&ask[..8], &["--workers", "2", "--slow", "1", "--deadline", "1500"]].concat();
    let ran = run(&short[..])?;
    let status: Value = serde_json::from_str(&ran.out)?;
    ensure!(ran.code == 3, "an incomplete answer ended with {}", ran.code);
    ensure!(status["known"] == 2 && status["complete"] == false, "{status}");
    ensure!(names(&status, "missing").contains(&"worker-2".to_owned()), "{status}");

    if broker == Broker::Redis {
        let mut redis = redis::Client::open(site.url()?)?.get_connection()?;
        let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{place}*")).query(&mut redis)?;
        ensure!(keys.is_empty(), "{keys:?} stay in the broker");
    }
    Ok(())
}

/// A `lab status` that goes on, and its page.
struct Page {
    live: Live,
    address: String,
    url: String,
}

impl Page {
    fn open(args: &[&str]) -> Result<Self> {
        let mut live = Live::start(&[&["status", "--port", "0"][..], args].concat())?;
        live.until_said("--join")?;
        let said = live.said();
        let after = |words: &str| -> Result<String> {
            let (_, rest) = said.split_once(words).with_context(|| format!("no `{words}` in {said}"))?;
            Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
        };
        Ok(Self { address: after("http://")?, url: after("--url ")?, live })
    }

    fn get(&self, path: &str, host: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn status(&self) -> Result<Value> {
        let answer = self.get("/status.json", &self.address)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
        Ok(serde_json::from_str(body)?)
    }

    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Result<()> {
        let mut last = Value::Null;
        wait_until(what, || {
            last = self.status()?;
            Ok(condition(&last))
        })
        .with_context(|| format!("the last answer was {last}"))
    }

    /// Ctrl-C: nothing of it runs any more.
    fn close(self) -> Result<()> {
        let below = tree(&[self.live.pid()]);
        self.live.signal_group(Signal::INT)?;
        let ran = self.live.end()?;
        ensure!(ran.code == 0, "Ctrl-C ended it with {}\n{}", ran.code, ran.err);
        let left: Vec<u32> = below.into_iter().filter(|pid| runs(*pid)).collect();
        ensure!(left.is_empty(), "processes {left:?} are left");
        Ok(())
    }
}

fn late() -> Result<()> {
    let page = Page::open(&["--workers", "2", "--slow", "1", "--deadline", "200"])?;
    page.until("a late answer is counted", |status| status["late"].as_u64() >= Some(2))?;
    let status = page.status()?;
    let slow = &status["workers"][1];
    ensure!(slow["name"] == "worker-2" && slow["answer"] == "none", "a late answer was taken: {status}");
    page.close()
}

/// A worker that is stopped counts until it was silent for long enough.
fn paused() -> Result<()> {
    let page = Page::open(&["--workers", "2", "--pause", "1", "--deadline", "200"])?;
    page.until("the paused one is forgotten", |status| status["known"] == 1 && status["complete"] == true)?;
    let status = page.status()?;
    ensure!(status["missing"] == serde_json::json!([]), "nobody is known and missing");
    ensure!(names(&status, "gone") == ["worker-1"], "it has vanished: {status}");
    page.close()
}

fn comes_and_goes() -> Result<()> {
    let page = Page::open(&["--workers", "1"])?;
    page.until("one is known", |status| status["known"] == 1)?;
    let mut guest = Live::start(&["status", "--join", "--url", &page.url])?;
    guest.until_said("Ctrl-C ends it")?;
    page.until("the guest is known", |status| status["known"] == 2 && status["complete"] == true)?;
    guest.signal_group(Signal::INT)?;
    guest.end()?.expect(0)?;
    page.until("the guest has left", |status| status["known"] == 1 && names(status, "gone").len() == 1)?;
    page.close()
}

fn page() -> Result<()> {
    let page = Page::open(&["--over", "nats", "--workers", "1"])?;
    let index = page.get("/", &page.address)?;
    ensure!(index.contains("200 OK") && index.contains("<caption>"), "{index}");
    ensure!(index.to_lowercase().contains("content-security-policy: default-src 'none'"), "{index}");
    for file in ["/page.css", "/page.js"] {
        ensure!(page.get(file, &page.address)?.contains("200 OK"), "{file} is missing");
    }
    let script = page.get("/page.js", &page.address)?;
    ensure!(script.contains("textContent") && !script.contains("innerHTML"), "text may become HTML");
    let stranger = page.get("/status.json", "evil.example")?;
    ensure!(stranger.contains("403"), "a stranger's name is served: {stranger}");
    page.until("it is answered", |status| status["complete"] == true)?;
    page.close()
}

/// In a browser as wide as a phone, with a worker that has gone. With `LAB_PICTURES=FOLDER` in the
/// environment, pictures of the page are left there.
async fn narrow() -> Result<()> {
    let page = Page::open(&["--workers", "2", "--pause", "1", "--deadline", "200"])?;
    page.until("the paused one is forgotten", |status| names(status, "gone") == ["worker-1"])?;
    let driver = Driver::start()?;
    let browser = driver.browser().await?;
    let looked = look(&page, &browser).await;
    browser.close().await?;
    looked?;
    page.close()
}

async fn look(page: &Page, browser: &fantoccini::Client) -> Result<()> {
    browser.goto(&format!("http://{}", page.address)).await?;
    let devtools = async |command: &str, params: Value| -> Result<()> {
        browser.issue_cmd(DevTools { command: command.to_owned(), params }).await?;
        Ok(())
    };
    let gone = "return [...document.querySelectorAll('tr.gone')].map((row) => row.textContent)";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(180);
    loop {
        let shown = browser.execute(gone, Vec::new()).await?;
        if shown[0].as_str().is_some_and(|row| row.starts_with("worker-1last seen ")) {
            break;
        }
        ensure!(std::time::Instant::now() < deadline, "the one that has gone is not shown, but {shown}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for scheme in ["light", "dark"] {
        let features = serde_json::json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        devtools("Emulation.setEmulatedMedia", serde_json::json!({ "features": features })).await?;
        for width in [1440, 390] {
            let metrics = serde_json::json!({
                "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": false
            });
            devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
            let wide = browser.execute("return document.documentElement.scrollWidth", Vec::new()).await?;
            ensure!(wide.as_u64() <= Some(width), "at {width} px the page is {wide} px wide");
            if let Some(folder) = std::env::var_os("LAB_PICTURES") {
                std::fs::create_dir_all(&folder)?;
                let file = std::path::Path::new(&folder).join(format!("status-{width}-{scheme}.png"));
                std::fs::write(file, browser.screenshot().await?)?;
            }
        }
    }
    Ok(())
}
