//! `lab view`: what the page draws is what happened, and the page talks to nobody else.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fantoccini::{Client, Locator};
use labs::catalog::Entry;
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::browser::{Complaints, Driver};
use crate::conformance::Site;
use crate::needs::{Need, Needs, needs, proof};
use crate::program::{Live, run};
use crate::trial;

/// How long a page may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// A lab for each pattern.
const SOME: [&str; 6] =
    ["oneway-tcp", "reqrep-nats", "pubsub-redis", "pipeline-zeromq", "queue-redis", "durable-jetstream"];

pub(crate) fn trials() -> Vec<Trial> {
    let brokers = |needed: &[Broker]| {
        let needed = needed.iter().map(|broker| Need::Broker(*broker));
        needed.fold(Needs::from(Need::Browser), Needs::and)
    };
    vec![
        trial("view::what_cannot_be_is_said", usage),
        needs(Broker::Redis, "view::a_replay_is_exported_for_other_tools", exported),
        needs(brokers(&[Broker::Redis, Broker::Nats]), "view::what_is_drawn_is_what_happened", || {
            drawn(|entry| SOME.contains(&entry.name.as_str()))
        }),
        proof(needs(brokers(&Broker::ALL), "view::what_is_drawn_of_every_lab_is_what_happened", || {
            drawn(|_| true)
        })),
        needs(brokers(&[Broker::Redis]), "view::replays_of_faults_and_scenarios_open", others),
        needs(brokers(&[Broker::Redis]), "view::a_subscriber_is_killed_by_a_click", || block_on(clicked())),
        needs(Broker::Redis, "view::only_its_own_page_may_act", refused),
    ]
}

fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}

fn usage() -> Result<()> {
    run(&["view", "pubsub-tpc"])?.expect(2)?.told(&["`pubsub-tpc`", "did you mean `pubsub-tcp`?"])?;
    run(&["view", "pubsub-tcp", "--save", "run.txt"])?.expect(2)?.told(&["run.txt", ".html", ".log"])?;
    run(&["view", "pubsub-tcp", "--set", "bath=1"])?.expect(2)?.told(&["`bath`"])?;
    run(&["view", "pubsub-tcp", "--port", "70000"])?.expect(2)?.told(&["70000"])?;
    Ok(())
}

/// Plays the script of a lab, and saves its replay; the account that the program gives.
fn play(entry: &Entry, file: &Path) -> Result<Vec<Value>> {
    let path = file.to_string_lossy();
    let mut words = vec!["view", entry.name.as_str(), "--save", path.as_ref(), "--json"];
    // A node of RabbitMQ's takes seconds of CPU to start: the labs share one.
    let site = match entry.broker {
        Some(Broker::RabbitMq) => Some(Site::new("view", entry.broker)?),
        _ => None,
    };
    let url = site.as_ref().map(Site::url).transpose()?.map(|url| format!("rabbitmq={url}"));
    if let Some(url) = &url {
        words.extend(["--url", url]);
    }
    let ran = run(&words)?.expect(0)?;
    let told: Value = serde_json::from_str(ran.out.trim())?;
    Ok(told["account"].as_array().context("no account")?.clone())
}

/// What was drawn: for each message and receiver its state, and how often it arrived there.
const DRAWN: &str = r#"
    const drawn = new Map();
    for (const arrow of document.querySelectorAll('g.arrow[data-message]')) {
        const { message, to, state } = arrow.dataset;
        const key = JSON.stringify([message, to ?? '', state]);
        drawn.set(key, (drawn.get(key) ?? 0) + (state === 'delivered' ? 1 : 0));
    }
    return [...drawn].map(([key, attempts]) => [...JSON.parse(key), attempts]);
"#;

type Account = BTreeMap<(String, String), (String, u64)>;

fn account(rows: impl IntoIterator<Item = [Value; 4]>) -> Account {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |[message, to, state, attempts]: [Value; 4]| {
        // How often something arrived is drawn where it arrived.
        let attempts = if state == "delivered" { attempts.as_u64().unwrap_or(u64::MAX) } else { 0 };
        ((text(&message), text(&to)), (text(&state), attempts))
    };
    rows.into_iter().map(row).collect()
}

/// The page of each lab, opened from disk, draws the account that the program has given.
fn drawn(wanted: fn(&Entry) -> bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let entries: Vec<Entry> = labs::catalog::entries().into_iter().filter(wanted).collect();
    // Most of a run is waiting: several at a time.
    let played: Vec<Result<(String, Vec<Value>)>> = std::thread::scope(|scope| {
        let (entries, folder) = (&entries, folder.path());
        let threads = (0..4).map(|first| {
            scope.spawn(move || {
                let mine = entries.iter().skip(first).step_by(4);
                let play = |entry: &Entry| {
                    let account = play(entry, &folder.join(format!("{}.html", entry.name)));
                    Ok((entry.name.clone(), account.with_context(|| entry.name.clone())?))
                };
                mine.map(play).collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    ensure!(played.len() == entries.len(), "a thread has panicked");
    let driver = Driver::start()?;
    block_on(async {
        let browser = driver.browser().await?;
        for played in played {
            let (lab, told) = played?;
            compare(&browser, folder.path(), &lab, &told).await.with_context(|| lab.clone())?;
        }
        browser.close().await?;
        Ok(())
    })
}

async fn compare(browser: &Client, folder: &Path, lab: &str, told: &[Value]) -> Result<()> {
    let file = folder.join(format!("{lab}.html"));
    let size = file.metadata()?.len();
    ensure!(size <= 300_000, "the file has {size} bytes");
    browser.goto(&format!("file://{}", file.display())).await?;
    until(browser, "return window.labView?.ready === true").await?;
    browser.execute("labView.show('space-time'); labView.seek(1);", vec![]).await?;
    let rows = browser.execute(DRAWN, vec![]).await?;
    let rows: Vec<[Value; 4]> = serde_json::from_value(rows)?;
    let fields = ["message", "to", "state", "attempts"];
    let of = |row: &Value| fields.map(|field| row[field].clone());
    let expected = account(told.iter().map(of));
    // A channel within a process ends with its receiver, and its sender with it.
    let least = if lab == "oneway-inproc" { 4 } else { 10 };
    ensure!(expected.len() >= least, "too little happened: {told:?}");
    let drawn = account(rows);
    ensure!(drawn == expected, "drawn: {drawn:#?}\nhappened: {expected:#?}");
    // The table beside the picture counts the same.
    let counted = browser.execute("return labView.account()", vec![]).await?;
    let counted = account(counted.as_array().context("no account")?.iter().map(of));
    ensure!(counted == expected, "counted: {counted:#?}\nhappened: {expected:#?}");
    quiet(browser).await
}

/// Fails when the browser has complained: a script has failed, or the policy has blocked something.
async fn quiet(browser: &Client) -> Result<()> {
    let complaints = browser.issue_cmd(Complaints).await?;
    let complaints: Vec<&Value> = complaints
        .as_array()
        .into_iter()
        .flatten()
        // A browser asks every server for an icon.
        .filter(|complaint| !complaint["message"].as_str().is_some_and(|text| text.contains("favicon")))
        .collect();
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

async fn until(browser: &Client, condition: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while browser.execute(condition, vec![]).await? != json!(true) {
        if Instant::now() > deadline {
            let page = browser.execute("return document.body.innerText", vec![]).await?;
            bail!("gave up waiting until `{condition}`; the page shows {page}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The replays of a run under a fault, and of a scenario with two parts.
fn others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fault.html");
    // The verdict may be that nobody can tell, on a busy machine.
    run(&["break", "queue-redis", "--fault", "receiver-kill", "--save", &file.to_string_lossy()])?;
    let ran = run(&["break", "run", "effects-once", "--out", &folder.path().to_string_lossy()])?;
    ensure!([0, 3].contains(&ran.code), "{}{}", ran.out, ran.err);
    let driver = Driver::start()?;
    block_on(async {
        let browser = driver.browser().await?;
        for (name, parts) in [("fault.html", 1), ("effects-once-queue-redis.html", 2)] {
            let file = folder.path().join(name);
            ensure!(file.metadata().with_context(|| name)?.len() <= 300_000, "{name} is too long");
            browser.goto(&format!("file://{}", file.display())).await?;
            until(&browser, "return window.labView?.ready === true").await?;
            for part in 0..parts {
                let choose = "const part = document.getElementById('part'); \
                              if (arguments[0]) { part.value = String(arguments[0]); \
                              part.dispatchEvent(new Event('change')); } \
                              labView.show('space-time'); labView.seek(1);";
                browser.execute(choose, vec![json!(part)]).await?;
                let drawn = browser.execute(DRAWN, vec![]).await?;
                let counted = browser.execute("return labView.account().length", vec![]).await?;
                let drawn = drawn.as_array().map_or(0, Vec::len) as u64;
                ensure!(drawn >= 5, "{name}, part {part}: {drawn} deliveries are drawn");
                ensure!(counted.as_u64() == Some(drawn), "{name}, part {part}: {counted} and {drawn}");
            }
            quiet(&browser).await.with_context(|| name)?;
        }
        browser.close().await?;
        Ok(())
    })
}

/// A replay for ShiViz and for OpenTelemetry.
fn exported() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    for name in ["run.log", "run.json"] {
        run(&["view", "queue-redis", "--save", &file(name).to_string_lossy()])?.expect(0)?;
    }
    let log = std::fs::read_to_string(file("run.log"))?;
    ensure!(log.starts_with("(?<host>") && log.contains("producer-0 {") && log.contains("\nkilled"), "{log}");
    let spans: Value = serde_json::from_str(&std::fs::read_to_string(file("run.json"))?)?;
    let names: Vec<&str> = spans["resourceSpans"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|resource| resource["resource"]["attributes"][0]["value"]["stringValue"].as_str())
        .collect();
    ensure!(names.contains(&"producer-0") && names.contains(&"consumer-0"), "{names:?}");
    Ok(())
}

/// A lab that is being viewed, and the address of its page.
fn view(lab: &str) -> Result<(Live, String)> {
    let mut view = Live::start(&["view", lab, "--json"])?;
    let line = view.lines()?.next().with_context(|| view.said())??;
    let told: Value = serde_json::from_str(&line)?;
    Ok((view, told["url"].as_str().context("no address")?.to_owned()))
}

/// Ctrl-C ends it well.
fn ends(view: Live) -> Result<()> {
    view.signal_group(Signal::INT)?;
    view.end()?.expect(0).map(drop)
}

/// As a new user does it: look, kill a subscriber, see what it misses, start it again.
async fn clicked() -> Result<()> {
    let (view, url) = view("pubsub-redis")?;
    let driver = Driver::start()?;
    let browser = driver.browser().await?;
    browser.goto(&url).await?;
    let state = |role: &str, state: &str| {
        format!("return labView?.account().some((row) => row.to === '{role}' && row.state === '{state}')")
    };
    until(&browser, "return window.labView?.ready === true").await?;
    until(&browser, &state("subscriber-1", "delivered")).await?;
    let text = "<img src=x onerror=\"document.title='hit'\">";
    let field = browser.find(Locator::Id("text")).await?;
    field.clear().await?;
    field.send_keys(text).await?;
    browser.find(Locator::Id("act-send")).await?.click().await?;
    let kill = Locator::Css("#role-acts [data-act=kill][data-of=subscriber-1]");
    browser.wait().at_most(PATIENCE).for_element(kill).await?.click().await?;
    until(&browser, &state("subscriber-1", "missed")).await?;
    let restart = Locator::Css("#role-acts [data-act=restart][data-of=subscriber-1]:not([aria-disabled])");
    browser.wait().at_most(PATIENCE).for_element(restart).await?.click().await?;
    let last = "const of = labView.account().filter((row) => row.to === 'subscriber-1'); \
                return of.at(-1).state === 'delivered' && of.some((row) => row.state === 'missed')";
    until(&browser, last).await?;
    ensure!(browser.find_all(Locator::Css("img")).await?.is_empty(), "what was typed is an element");
    ensure!(browser.title().await? != "hit", "what was typed was run");
    // Nothing was loaded from elsewhere.
    let loaded = browser
        .execute("return performance.getEntriesByType('resource').map((entry) => entry.name)", vec![])
        .await?;
    let own = url.split_once("/#").map_or(url.as_str(), |(own, _)| own);
    let foreign: Vec<&Value> = loaded
        .as_array()
        .into_iter()
        .flatten()
        .filter(|name| !name.as_str().is_some_and(|name| name.starts_with(own)))
        .collect();
    ensure!(foreign.is_empty(), "loaded from elsewhere: {foreign:?}");
    quiet(&browser).await?;
    browser.close().await?;
    ends(view)
}

/// Asks the server of a view, as any program on this machine can.
async fn ask(url: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut socket = tokio::net::TcpStream::connect(host).await?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str(&format!("Host: {host}\r\n"));
    }
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    socket.write_all(format!("{request}\r\n{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| answer.clone())?, answer))
}

fn refused() -> Result<()> {
    let (view, url) = view("pubsub-redis")?;
    let token = url.split_once('#').context("no token")?.1.to_owned();
    ensure!(token.len() == 32, "a short token: {token}");
    block_on(async {
        let join = Some(r#"{"act":"join"}"#);
        let own: &[(&str, &str)] = &[("X-Lab-Token", &token)];
        let foreign = &[("X-Lab-Token", token.as_str()), ("Origin", "https://evil.example")][..];
        let elsewhere = &[("X-Lab-Token", token.as_str()), ("Host", "evil.example")][..];
        let wrong = &[("X-Lab-Token", "0123456789abcdef0123456789abcdef")][..];
        let long = format!(r#"{{"act":"send","text":"{}"}}"#, "x".repeat(201));
        let huge = "x".repeat(5_000);
        for (path, headers, body, status) in [
            ("/", &[][..], None, 200),
            ("/events?since=0", own, None, 200),
            ("/events?since=x", own, None, 400),
            ("/events?since=0", &[], None, 403),
            ("/events?since=0", wrong, None, 403),
            ("/save.html", &[], None, 403),
            ("/act", &[], join, 403),
            ("/act", wrong, join, 403),
            ("/act", foreign, join, 403),
            ("/act", elsewhere, join, 403),
            ("/act", own, None, 405),
            ("/act", own, Some("{"), 400),
            ("/act", own, Some(r#"{"act":"explode"}"#), 400),
            ("/act", own, Some(&huge), 413),
            ("/act", own, Some(&long), 409),
            ("/act", own, Some(r#"{"act":"kill","role":"nobody-7"}"#), 409),
            ("/act", own, Some(r#"{"act":"slow","role":"subscriber-0"}"#), 409),
            ("/act", own, join, 204),
            ("/save.log", own, None, 200),
        ] {
            let (answer, text) = ask(&url, path, headers, body).await?;
            ensure!(answer == status, "{path} {headers:?} {body:?}: {answer}, not {status}\n{text}");
        }
        let (_, page) = ask(&url, "/", &[], None).await?;
        ensure!(page.to_lowercase().contains("content-security-policy: default-src 'none'"), "{page}");
        ensure!(!page.contains(&token), "the page has the token in it");
        anyhow::Ok(())
    })?;
    ends(view)
}
