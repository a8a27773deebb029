//! The report in a real browser, headless: what its script and its style do.
//!
//! With `LAB_PICTURES=FOLDER` in the environment, pictures of the page are left there.

#[path = "../../../src/report/tests/fixture/mod.rs"]
pub(crate) mod fixture;
mod page;
mod sent;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::needs::{Need, needs, proof};
use page::Page;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![proof(needs(Need::Browser, "report::in_a_browser", || page::with(all)))]
}

/// In one browser, which takes longer to start than to answer.
async fn all(page: &mut Page) -> Result<()> {
    page.fresh().await?;
    sorts(page).await.context("it sorts by click and by key")?;
    page.fresh().await?;
    enlarges(page).await.context("it enlarges plots and closes them")?;
    page.fresh().await?;
    alone(page).await.context("it needs no network")?;
    page.fresh().await?;
    narrow_and_dark(page).await.context("it can be narrow and dark")?;
    page.fresh().await?;
    prints(page).await.context("it prints everything")?;
    page.fresh().await?;
    sent::views(page).await.context("a view is its address")?;
    sent::compares(page).await.context("labs are compared")?;
    page.fresh().await?;
    sent::copies(page, &page.run()?).await.context("tables are copied")?;
    let folder = tempfile::tempdir()?;
    sent::hostile(page, &folder.path().join("hostile")).await.context("names stay text")?;
    sent::all_labs(page, folder.path()).await.context("the report of all labs")?;
    sent::explains(page).await.context("flags and ratios explain themselves")
}

/// The labs in the order of their rows, group by group, of the table with this label.
const LABS: &str = "const table = document.querySelector(`[aria-label='${arguments[0]}'] table`);
    return [...table.tBodies].map((body) => [...body.rows].map((row) => row.cells[0].textContent.trim()));";

/// The state of sorting: the header that says so, and what it says.
const SORTED: &str = "return [...document.querySelectorAll('[aria-sort]')]
    .map((th) => `${th.textContent.trim()} ${th.getAttribute('aria-sort')}`);";

async fn sorts(page: &Page) -> Result<()> {
    let table = "Sustainable rate";
    let labs = async |expected: Value| -> Result<()> {
        let found = page.js(LABS, vec![json!(table)]).await?;
        ensure!(found == expected, "{found}, not {expected}");
        Ok(())
    };
    let sorted = async |expected: Value| -> Result<()> {
        let found = page.js(SORTED, Vec::new()).await?;
        ensure!(found == expected, "{found}, not {expected}");
        Ok(())
    };
    let (one, other) = ("One-way, at-most-once", "One-way, at-least-once");
    let original =
        json!([[one, "tcp", "redis"], [other, "rabbitmq"], ["Queue, durable", "redis-stream", "rabbitmq"]]);
    let turned =
        json!([[one, "redis", "tcp"], [other, "rabbitmq"], ["Queue, durable", "rabbitmq", "redis-stream"]]);
    labs(original.clone()).await?;
    sorted(json!([])).await?;
    let of = |head: &str| format!("//*[@aria-label='{table}']//thead//button[normalize-space()='{head}']");

    // By click: 685 µs are less than 2.54 ms, whatever their digits say.
    let p99 = page.find(&of("p99")).await?;
    p99.clone().click().await?;
    labs(original.clone()).await?;
    sorted(json!(["p99 ascending"])).await?;
    p99.click().await?;
    labs(turned.clone()).await?;
    sorted(json!(["p99 descending"])).await?;

    // By key, from the keyboard's focus; the third time gives the report's own order back.
    let rate = page.find(&of("sustained")).await?;
    for (key, state, order) in [
        ("\u{e007}", json!(["sustained ascending"]), &turned),
        (" ", json!(["sustained descending"]), &original),
        ("\u{e007}", json!([]), &original),
    ] {
        rate.send_keys(key).await?;
        sorted(state).await?;
        labs(order.clone()).await?;
    }
    // What was done is said to those who do not see it.
    let said = page.js("return document.querySelector('[role=status]').textContent", Vec::new()).await?;
    ensure!(said == json!("In the order of the report"), "{said}");

    // A cell without a figure stands last, whichever way is sorted; text is sorted as text.
    let table = "One-way: results";
    let of = |head: &str| format!("//*[@aria-label='{table}']//thead//button[normalize-space()='{head}']");
    for _ in 0..2 {
        page.find(&of("messages/s")).await?.click().await?;
        let found = page.js(LABS, vec![json!(table)]).await?;
        let last = found.pointer("/0/6").cloned().unwrap_or_default();
        ensure!(found.pointer("/0/0") == Some(&json!("at-most-once")), "the group's head has moved: {found}");
        ensure!(last == json!("redis"), "a lab that was not measured flat out is not last: {found}");
    }
    page.find(&of("Lab")).await?.click().await?;
    let found = page.js(LABS, vec![json!(table)]).await?;
    let expected = json!(["at-most-once", "redis", "redis", "redis", "tcp", "tcp", "tcp"]);
    ensure!(found.pointer("/0") == Some(&expected), "{found}");

    // All trials together stay below the trials.
    page.js(
        "document.querySelectorAll('details').forEach((details) => { details.open = true; })",
        Vec::new(),
    )
    .await?;
    let label = "Every trial: maximum load, 64\u{202f}B, 1 → 1";
    page.find(&format!("//*[@aria-label='{label}']//thead//button[normalize-space()='messages/s']"))
        .await?
        .click()
        .await?;
    let script =
        "return [...document.querySelectorAll('tr.together')].every((row) => !row.nextElementSibling)";
    ensure!(page.js(script, Vec::new()).await? == json!(true), "the sum of trials was sorted among them");
    Ok(())
}

async fn enlarges(page: &Page) -> Result<()> {
    let is_open = "return document.querySelector('dialog').open";
    let widths =
        "const width = (within) => document.querySelector(`${within} svg`).getBoundingClientRect().width;
        return [width('#limits figure'), width('dialog')];";
    let plot = page.find("//*[@id='limits']//figure[1]//*[contains(@class, 'plot')]").await?;
    let button = page.find("//*[@id='limits']//figure[1]//button").await?;
    // A click on the picture, Enter on it, and its button all do the same.
    for way in ["click", "enter", "button"] {
        match way {
            "click" => plot.click().await?,
            "enter" => plot.send_keys("\u{e007}").await?,
            _ => button.send_keys(" ").await?,
        }
        ensure!(page.js(is_open, Vec::new()).await? == json!(true), "{way} opens nothing");
        let both: Vec<f64> = serde_json::from_value(page.js(widths, Vec::new()).await?)?;
        ensure!(both[1] > both[0] * 1.3, "{way}: the picture is no larger: {both:?} px");
        page.picture(&format!("enlarged-{way}")).await?;
        // Escape closes it, wherever the focus is in it.
        page.client.active_element().await?.send_keys("\u{e00c}").await?;
        ensure!(page.js(is_open, Vec::new()).await? == json!(false), "{way}: Escape does not close it");
    }
    let focused = page.js("return document.activeElement.textContent", Vec::new()).await?;
    ensure!(focused == json!("Enlarge"), "the focus does not come back, but is at {focused}");
    Ok(())
}

/// One file, and a policy under which it can load nothing and run nothing else.
async fn alone(page: &Page) -> Result<()> {
    let loaded =
        page.js("return performance.getEntriesByType('resource').map((entry) => entry.name)", Vec::new());
    let loaded = loaded.await?;
    ensure!(loaded == json!([]), "the report loads {loaded}");
    let scripted =
        page.js("return document.documentElement.classList.contains('scripted')", Vec::new()).await?;
    ensure!(scripted == json!(true), "its own script did not run");
    let complaints = page.complaints().await?;
    ensure!(complaints.is_empty(), "the browser complains: {complaints:?}");

    // What somebody smuggled into a result_set would be held back.
    let attack = "window.blocked = [];
        addEventListener('securitypolicyviolation', (event) => window.blocked.push(event.effectiveDirective));
        const add = (name, values) => document.body.append(Object.assign(document.createElement(name), values));
        add('img', { src: 'http://127.0.0.1:9/x.png' });
        add('script', { textContent: 'window.owned = true' });
        add('style', { textContent: 'body { display: none }' });
        add('iframe', { src: 'http://127.0.0.1:9/' });";
    page.js(attack, Vec::new()).await?;
    for directive in ["img-src", "script-src-elem", "style-src-elem", "frame-src"] {
        page.until(directive, "return window.blocked.includes(arguments[0])").await?;
    }
    let owned = page
        .js("return window.owned === true || getComputedStyle(document.body).display === 'none'", Vec::new());
    ensure!(owned.await? == json!(false), "the policy lets foreign things in");
    Ok(())
}

async fn narrow_and_dark(page: &Page) -> Result<()> {
    // The ground, the text, and the lightest and darkest ink of a plot's texts, 0 to 255.
    let colours = "const light = (colour) => {
            const [r, g, b] = colour.match(/[0-9.]+/g).map(Number);
            return 0.3 * r + 0.6 * g + 0.1 * b;
        };
        const of = (selector, property) => [...document.querySelectorAll(selector)]
            .map((found) => light(getComputedStyle(found)[property]));
        const inks = of('figure svg text', 'fill');
        return [...of('body', 'backgroundColor'), ...of('figure .plot', 'backgroundColor').slice(0, 1),
            Math.min(...inks), Math.max(...inks)];";
    for (scheme, is_dark) in [("light", false), ("dark", true)] {
        page.scheme(scheme).await?;
        for (size, width) in [("wide", 1280), ("narrow", 400), ("phone", 360)] {
            page.width(width).await?;
            let script =
                "const page = document.documentElement; return [page.clientWidth, page.scrollWidth];";
            let both: Vec<u32> = serde_json::from_value(page.js(script, Vec::new()).await?)?;
            ensure!(both[0] == both[1], "at {width} px the page scrolls sideways: {both:?} px");
            page.picture(&format!("{size}-{scheme}")).await?;
        }
        // On a usual screen no column of the results is cut off.
        page.width(1440).await?;
        let cut = "return [...document.querySelectorAll('table.answer')]
            .filter((table) => table.parentElement.scrollWidth > table.parentElement.clientWidth)
            .map((table) => table.parentElement.getAttribute('aria-label'))";
        let cut = page.js(cut, Vec::new()).await?;
        ensure!(cut == json!([]), "at 1440 px these tables are cut off: {cut}");
        let found: Vec<f64> = serde_json::from_value(page.js(colours, Vec::new()).await?)?;
        let [ground, plot, darkest, lightest] = found[..] else { anyhow::bail!("{found:?}") };
        let told = format!("{scheme}: ground {ground}, plot {plot}, text in plots {darkest} to {lightest}");
        ensure!((ground < 60.0) == is_dark && (plot < 60.0) == is_dark, "{told}");
        // Every text of a plot stands out from what is behind it.
        ensure!(if is_dark { darkest > plot + 90.0 } else { lightest < plot - 90.0 }, "{told}");
    }
    Ok(())
}

/// A4 across, without its margins, px.
const PAPER: u32 = 1047;

/// Half of its height, px.
const HALF_PAGE: u32 = 359;

async fn prints(page: &Page) -> Result<()> {
    let pages = page.print().await?;
    ensure!(pages <= 30, "the report has {pages} pages on paper");
    page.scheme("dark").await?;
    page.paper().await?;
    page.width(PAPER).await?;
    // What is closed on the screen stays closed.
    let rows = "const rows = [...document.querySelectorAll('details tbody tr')];
        const shown = (row) => row.getBoundingClientRect().height > 4 && row.checkVisibility({ contentVisibilityAuto: true });
        return [rows.length, rows.filter(shown).length];";
    let found: Vec<u64> = serde_json::from_value(page.js(rows, Vec::new()).await?)?;
    ensure!(
        found[0] > 300 && found[1] == 0,
        "of {} closed rows of evidence {} are printed",
        found[0],
        found[1]
    );
    let large = format!(
        "return [...document.querySelectorAll('figure svg')]
            .filter((plot) => plot.getBoundingClientRect().height > {HALF_PAGE})
            .map((plot) => plot.parentElement.getAttribute('aria-label'))"
    );
    let large = page.js(&large, Vec::new()).await?;
    ensure!(large == json!([]), "larger than half a page: {large}");
    let ground = page.js("return getComputedStyle(document.body).backgroundColor", Vec::new()).await?;
    ensure!(ground == json!("rgb(255, 255, 255)"), "paper is printed {ground}");
    page.picture("paper").await?;

    // What somebody has opened is printed, and takes pages.
    let open = "document.querySelectorAll('details').forEach((details) => { details.open = true; })";
    page.js(open, Vec::new()).await?;
    let found: Vec<u64> = serde_json::from_value(page.js(rows, Vec::new()).await?)?;
    ensure!(found[0] == found[1], "of {} open rows of evidence {} are printed", found[0], found[1]);
    let cut = "return [...document.querySelectorAll('table, figure svg')]
        .filter((found) => found.getBoundingClientRect().right > innerWidth + 1)
        .map((found) => found.getAttribute('aria-label') ?? found.parentElement.getAttribute('aria-label'))";
    let cut = page.js(cut, Vec::new()).await?;
    ensure!(cut == json!([]), "wider than the page, and cut: {cut}");
    let all = page.print().await?;
    ensure!(pages < all, "{pages} pages without the evidence, {all} with it");
    Ok(())
}

/// Draws the result_set that has everything into a folder; the address of its report.
fn draw(folder: &Path) -> Result<String> {
    fixture::everything(folder);
    let written = harness::report::draw(folder)?;
    let path = written.html.to_str().context("the temporary folder's name is not text")?;
    Ok(format!("file://{path}"))
}
