//! The chat's page in a real browser, headless: two pages on two instances.
//!
//! With `LAB_PICTURES=FOLDER` in the environment, pictures of the page are left there.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use fantoccini::Client;
use labs::apps::chat::over::{self, Over};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::house::{House, PATIENCE};
use crate::browser::{DevTools, Driver};
use crate::needs::{Need, Needs, needs, proof};

/// Peer to peer and through each broker, with and without a history.
const OVER: [&str; 6] = ["zeromq", "redis", "redis-stream", "rabbitmq", "mqtt", "nats"];

/// The one that every run of the tests opens: it has a history, and a broker.
const ALWAYS: &str = "redis-stream";

pub(super) fn trials() -> Vec<Trial> {
    let overs = over::all().into_iter().filter(|over| OVER.contains(&over.name.as_str()));
    overs
        .map(|over| {
            let all = Needs::from(over.broker).and(Need::Browser);
            let name = format!("chat::browser_over_{}", over.name.replace('-', "_"));
            let always = over.name == ALWAYS;
            let trial = needs(all, &name, move || super::block_on(pages(&over)));
            if always { trial } else { proof(trial) }
        })
        .collect()
}

/// What people could type to make a program of it.
const ATTACKS: [&str; 8] = [
    "<script>window.owned = 1</script>",
    "<img src=x onerror=\"window.owned = 1\">",
    "<svg onload=window.owned=1>",
    "\"><b>bold</b><a href=\"javascript:window.owned=1\">go</a>",
    "<iframe srcdoc=\"<script>parent.owned=1</script>\"></iframe>",
    "</p></li></ol><h1>page</h1>",
    "{{7*7}} ${7*7} &lt;b&gt; &amp;",
    "\u{202e}gnp.exe <style>body{display:none}</style>",
];

async fn pages(over: &Over) -> Result<()> {
    let more: &[&str] = if over.broker.is_some() { &["--break"] } else { &[] };
    let house = House::start(&over.name, &[&["--instances", "2"], more].concat())?;
    let driver = Driver::start()?;
    let ann = Page::open(&driver, &house.pages[0], "Ann").await?;
    let bob = Page::open(&driver, &house.pages[1], "<b>Bob</b>").await?;
    let done = play(over, &house, &ann, &bob).await;
    let pictures = pictures(over, &ann).await;
    for page in [ann, bob] {
        page.client.close().await?;
    }
    done.with_context(|| format!("the chat itself said:\n{}", house.live.said()))?;
    pictures?;
    house.end()
}

async fn play(over: &Over, house: &House, ann: &Page, bob: &Page) -> Result<()> {
    ann.sees("#people bdi", "<b>Bob</b>").await?;
    // Fan-out, and text that stays text.
    for attack in ATTACKS {
        ann.say(attack).await?;
    }
    for page in [ann, bob] {
        for attack in ATTACKS {
            page.sees("#log p", attack).await?;
        }
        let foreign = "#log :is(script, img, svg, iframe, b, a, h1, style)";
        let found = page
            .js(&format!("return document.querySelectorAll('{foreign}').length + (window.owned ?? 0)"))
            .await?;
        ensure!(found == json!(0), "what was typed became HTML");
    }
    ensure!(bob.says_of_way("Ann").await?, "the way of a message is not told");

    // Rooms.
    bob.join("<b>Bob</b>", "rust").await?;
    ann.say("only in the lobby").await?;
    ann.sees("#log p", "only in the lobby").await?;
    bob.say("only in rust").await?;
    bob.sees("#log p", "only in rust").await?;
    ensure!(!bob.has("#log p", "only in the lobby").await?, "a room is heard in another");
    bob.join("<b>Bob</b>", "lobby").await?;
    if over.has_history() {
        bob.sees("#log p", "only in the lobby").await?;
    }

    // The page comes back by itself.
    house.kill("instance-B")?;
    ann.say("while B was away").await?;
    bob.sees("#state", "connected").await?;
    let missed = if over.has_history() { "missed" } else { "nobody kept it" };
    bob.until("says what it has missed", &note("This page had no instance for", missed)).await?;
    heard_again(over, ann, bob, "after B").await?;
    if over.has_history() {
        bob.sees("#log p", "while B was away").await?;
    }

    if over.broker.is_some() {
        let button = ann.place_of("#start").await?;
        // A button can be pressed on either page only when that does something.
        for page in [ann, bob] {
            page.until("offers to kill the broker", &can_press("#kill", "#start")).await?;
        }
        ann.click("#kill").await?;
        for page in [ann, bob] {
            page.until("offers to start the broker", &can_press("#start", "#kill")).await?;
        }
        ann.until(
            "says that the transport is away",
            "return document.querySelector('#state').className === 'bad'",
        )
        .await?;
        // Whatever the page says of the trouble, the way out stays where it was.
        let now = ann.place_of("#start").await?;
        ensure!(button == now, "the button has moved from {button} to {now}");
        ann.say("while the broker was away").await?;
        ann.click("#start").await?;
        ann.sees("#log p", "while the broker was away").await?;
        heard_again(over, ann, bob, "after the broker").await?;
    }

    if over.has_history() {
        bob.sees("#log p", "while the broker was away").await?;
        // The seam: somebody comes while somebody speaks.
        ann.say_many(30).await?;
        bob.js("sessionStorage.setItem('name', 'Eve'); location.reload()").await?;
        for page in [ann, bob] {
            page.sees("#log p", "many 29").await?;
        }
        // What was said before Eve was there comes from the history, once that is back.
        let said: Vec<String> = (0..30).map(|number| format!("many {number}")).collect();
        let shown = "[...document.querySelectorAll('#log p')].map((found) => found.textContent).filter((text) => text.startsWith('many '))";
        let whole = format!("return JSON.stringify({shown}) === JSON.stringify({})", json!(said));
        bob.until("shows all at the seam, in order and once", &whole).await?;
    }
    let texts = ann.texts().await?;
    for text in ["only in the lobby", "while B was away"] {
        let times = texts.iter().filter(|seen| *seen == text).count();
        ensure!(times == 1, "`{text}` is shown {times} times");
    }
    Ok(())
}

/// Where nobody keeps what is said, Ann speaks until she is heard.
async fn heard_again(over: &Over, ann: &Page, bob: &Page, text: &str) -> Result<()> {
    for attempt in 0..100 {
        let said = format!("{text} {attempt}");
        ann.say(&said).await?;
        ann.sees("#log p", &said).await?;
        if over.has_history() {
            return bob.sees("#log p", &said).await;
        }
        if bob.has("#log p", &said).await? {
            return Ok(());
        }
    }
    bail!("Bob has never heard Ann again: {text}")
}

/// Whether a note on the page has both texts.
fn note(one: &str, two: &str) -> String {
    format!(
        "return [...document.querySelectorAll('#log li.note')].some((note) => note.textContent.includes('{one}') \
         && note.textContent.includes('{two}'))"
    )
}

/// Whether one button can be pressed, and not the other.
fn can_press(one: &str, other: &str) -> String {
    format!("return !document.querySelector('{one}').disabled && document.querySelector('{other}').disabled")
}

/// One browser with one page.
struct Page {
    client: Client,
}

impl Page {
    async fn open(driver: &Driver, url: &str, name: &str) -> Result<Self> {
        let client = driver.browser().await?;
        client.goto(url).await?;
        let page = Self { client };
        page.sees("#state", "connected").await?;
        page.join(name, "lobby").await?;
        Ok(page)
    }

    async fn js(&self, script: &str) -> Result<Value> {
        Ok(self.client.execute(script, Vec::new()).await?)
    }

    async fn until(&self, what: &str, condition: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.js(condition).await? != json!(true) {
            if Instant::now() > deadline {
                bail!(
                    "the page never {what}; it shows:\n{}",
                    self.js("return document.body.innerText").await?
                );
            }
            sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether an element shows exactly this.
    async fn has(&self, selector: &str, text: &str) -> Result<bool> {
        let script = "return [...document.querySelectorAll(arguments[0])].some((found) => found.textContent === arguments[1])";
        Ok(self.client.execute(script, vec![json!(selector), json!(text)]).await? == json!(true))
    }

    async fn sees(&self, selector: &str, text: &str) -> Result<()> {
        let script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)";
        let deadline = Instant::now() + PATIENCE;
        while !self.has(selector, text).await? {
            if Instant::now() > deadline {
                let shown = self.client.execute(script, vec![json!(selector)]).await?;
                bail!("{selector} never showed `{text}`, but {shown}");
            }
            sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn join(&self, name: &str, room: &str) -> Result<()> {
        let script = "document.querySelector('#name').value = arguments[0]; document.querySelector('#room').value = arguments[1]; document.querySelector('#join').requestSubmit()";
        self.client.execute(script, vec![json!(name), json!(room)]).await?;
        let entered = format!(
            "return document.querySelector('#log').getAttribute('aria-label') === 'Messages in {room}'"
        );
        self.until("entered the room", &entered).await?;
        self.until("is ready for a message", "return document.activeElement.id === 'text'").await
    }

    async fn say(&self, text: &str) -> Result<()> {
        let script = "document.querySelector('#text').value = arguments[0]; document.querySelector('#say').requestSubmit()";
        self.client.execute(script, vec![json!(text)]).await?;
        Ok(())
    }

    async fn say_many(&self, count: usize) -> Result<()> {
        // As fast as the instance lets one person speak.
        let script = "let next = 0; const timer = setInterval(() => { document.querySelector('#text').value = `many ${next}`; document.querySelector('#say').requestSubmit(); next += 1; if (next === arguments[0]) clearInterval(timer); }, 40)";
        let script = script.replace("arguments[0]", &count.to_string());
        self.js(&script).await?;
        Ok(())
    }

    /// Where something is on the page.
    async fn place_of(&self, selector: &str) -> Result<Value> {
        let script =
            "const { x, y } = document.querySelector(arguments[0]).getBoundingClientRect(); return [x, y]";
        Ok(self.client.execute(script, vec![json!(selector)]).await?)
    }

    async fn click(&self, selector: &str) -> Result<()> {
        self.client.find(fantoccini::Locator::Css(selector)).await?.click().await?;
        Ok(())
    }

    async fn texts(&self) -> Result<Vec<String>> {
        let texts = self
            .js("return [...document.querySelectorAll('#log p')].map((found) => found.textContent)")
            .await?;
        Ok(serde_json::from_value(texts)?)
    }

    /// Whether a message of somebody tells every leg of its way, in milliseconds.
    async fn says_of_way(&self, who: &str) -> Result<bool> {
        let script = "return [...document.querySelectorAll('#log li')].filter((item) => item.querySelector('.name')?.textContent === arguments[0]).some((item) => [...item.querySelectorAll('td:last-child')].filter((cell) => cell.textContent.endsWith(' ms')).length >= 4)";
        Ok(self.client.execute(script, vec![json!(who)]).await? == json!(true))
    }
}

/// Pictures for those who want to see: narrow and wide, light and dark.
async fn pictures(over: &Over, page: &Page) -> Result<()> {
    let Some(folder) = std::env::var_os("LAB_PICTURES") else { return Ok(()) };
    std::fs::create_dir_all(&folder)?;
    page.js("document.querySelector('#log li:last-child details').open = true; document.querySelector('#log').scrollTop = 1e9").await?;
    for scheme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        for (size, width, height) in [("wide", 1440, 900), ("narrow", 390, 844)] {
            let metrics =
                json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
            page.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
            let name = format!("chat-{}-{size}-{scheme}.png", over.name);
            std::fs::write(Path::new(&folder).join(name), page.client.screenshot().await?)?;
        }
    }
    Ok(())
}

impl Page {
    async fn devtools(&self, command: &str, params: Value) -> Result<()> {
        self.client.issue_cmd(DevTools { command: command.to_owned(), params }).await?;
        Ok(())
    }
}
